"""Slow twin of the zone fits: sequential linear programs over all points by HiGHS, numerical derivatives, no active
sets.

Shares no code with the product's solver: distances come from the features, steps through `feature.moved`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog


def slow_zone(points: np.ndarray, start: Any, criterion: str = "minimum_zone", rounds: int = 60) -> tuple[float, Any]:
    """Width of the zone (minimum_zone) or radius (inscribed, circumscribed) and the feature, from a start."""
    feature = start
    p = len(feature.chart)
    radial = criterion != "minimum_zone"
    free = list(range(p - 1 if radial else p))
    if feature.kind in ("circle", "ellipse") and feature.dimension == 3:
        free = [i for i in free if feature.chart[i] not in ("shift_w", "tilt_u", "tilt_v")]
    in_space = feature.kind == "line" and feature.dimension == 3
    sides = {"maximum_inscribed": (-1.0,), "minimum_circumscribed": (1.0,)}.get(
        criterion, (1.0,) if in_space else (1.0, -1.0)
    )

    def worst(f: Any) -> float:
        d = f.distance(points)
        return max(float((s * d).max()) for s in sides)

    reach = float(np.ptp(points, axis=0).max())
    h = worst(feature)
    trust = 0.3
    for _ in range(rounds):
        spread = max(float(np.ptp(feature.distance(points))), 1e-9 * reach)
        jac = np.empty((len(points), len(free)))
        scale = np.array([1.0 if feature.chart[i].startswith(("tilt", "rotation", "half")) else reach for i in free])
        for column, i in enumerate(free):
            delta = np.zeros(p)
            e = 1e-6 * scale[column]
            if in_space:
                e = 1e-4 * spread / reach * scale[column]
            delta[i] = e
            jac[:, column] = (feature.moved(delta).distance(points) - feature.moved(-delta).distance(points)) / (
                2.0 * e
            )
        d = feature.distance(points)
        a = np.concatenate([np.column_stack((s * jac * scale / spread, -np.ones(len(points)))) for s in sides])
        b = np.concatenate([-s * d / spread for s in sides])
        limit = trust if not in_space else trust * spread / reach * 3.0
        answer = linprog(
            np.append(np.zeros(len(free)), 1.0), A_ub=a, b_ub=b, method="highs-ds",
            bounds=[(-limit, limit)] * len(free) + [(None, None)],
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )  # fmt: skip
        if answer.x is None:
            break
        delta = np.zeros(p)
        delta[free] = answer.x[:-1] * scale
        trial = feature.moved(delta)
        value = worst(trial)
        if value < h:
            gain = h - value
            feature, h = trial, value
            if gain < 1e-13 * spread:
                break
        else:
            trust *= 0.25
            if trust < 1e-12:
                break
    if criterion == "minimum_zone":
        return (2.0 * h if in_space else float(np.ptp(feature.distance(points)))), feature
    d = feature.distance(points)
    return float(feature.radius + (d.max() if criterion == "minimum_circumscribed" else d.min())), feature
