"""Claimed covariance against repeated measurement: least squares on every feature, zones whose contacts stay fixed.

    python -m benchmarks.accuracy.covariance [--trials 100000] [--features sphere,plane] [--criteria least_squares]

Least squares: independent errors along x, y and z on exact points; every chart parameter's standard deviation over
what the fits claim on average, and the largest difference of a correlation coefficient. Zones: known sets
(`testing.known_zone`) whose next point is 25 standard deviations away from becoming a contact; chart parameters and
form against what one fit claims. The relative standard error of a standard deviation is 1 / sqrt(2 trials).
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from metrology_core import fit, fit_trials
from metrology_core.features import (
    Circle,
    Circle2D,
    Cone,
    Cylinder,
    Ellipse,
    Ellipse2D,
    Feature,
    Line,
    Line2D,
    ParallelPlanes,
    Plane,
    Slot,
    Sphere,
    Torus,
)
from metrology_core.testing import known_zone
from metrology_core.testing.surfaces import sample_feet

PLACE, AXIS = (12.0, -7.0, 3.0), (0.36, -0.48, 0.8)
ACROSS = (0.8, 0.6, 0.0)
FEATURES: dict[str, tuple[Feature, dict[str, Any]]] = {
    "line": (Line(PLACE, AXIS), {"length": 40.0}),
    "line2d": (Line2D(PLACE[:2], (0.6, 0.8)), {"length": 40.0}),
    "plane": (Plane(PLACE, AXIS), {}),
    "circle": (Circle(PLACE, AXIS, 12.0), {}),
    "circle2d": (Circle2D(PLACE[:2], 12.0), {}),
    "sphere": (Sphere(PLACE, 25.0), {}),
    "cylinder": (Cylinder(PLACE, AXIS, 8.0), {}),
    "cone": (Cone(PLACE, AXIS, 20.0, 0.35), {"length": 30.0}),
    "torus": (Torus(PLACE, AXIS, 30.0, 7.0), {}),
    "ellipse": (Ellipse(PLACE, AXIS, ACROSS, 20.0, 11.0), {}),
    "ellipse2d": (Ellipse2D(PLACE[:2], (0.6, 0.8), 20.0, 11.0), {}),
    "slot": (Slot(PLACE, AXIS, ACROSS, 40.0, 16.0), {}),
    "parallel_planes": (ParallelPlanes(PLACE, AXIS, 15.0), {}),
}
ONE_SIDED = {"circle2d", "sphere", "cylinder", "parallel_planes"}  # with an inscribed and a circumscribed one
BLOCK = 2000
SIGMA = 1e-3


def observed(values: dict[str, np.ndarray], base: Feature) -> np.ndarray:
    """(trials, m) numbers that fix features near `base`: places across directions that may slide, axes, sizes."""
    own = base.parameters
    name = next((k for k in ("axis", "direction", "normal") if k in own), None)
    w = own[name] if name else None
    parts = []
    for key, value in values.items():
        if key == "point" and w is not None:
            y, a = value - own["point"], values[str(name)]
            if base.kind in ("plane", "parallel_planes"):
                parts.append((np.sum(y * a, axis=1) / (a @ w))[:, None])
            else:
                parts.append(y - a * ((y @ w) / (a @ w))[:, None])
        elif key == "radius" and base.kind == "cone":
            y, a = own["point"] - values["point"], values["axis"]
            parts.append((value + (y @ w) / (a @ w) * np.tan(values["half_angle"]))[:, None])
        else:
            parts.append(value.reshape(len(value), -1))
    return np.concatenate(parts, axis=1)


def one(feature: Feature) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, dtype=float)[None] for name, value in feature.parameters.items()}


def coordinates(base: Feature, values: dict[str, np.ndarray]) -> np.ndarray:
    """(trials, p) chart coordinates about `base`, to first order."""
    here = observed(one(base), base)[0]
    slopes = []
    for i in range(len(base.chart)):
        step = np.zeros(len(base.chart))
        step[i] = 1e-5
        high, low = base.moved(step), base.moved(-step)
        slopes.append((observed(one(high), base)[0] - observed(one(low), base)[0]) / 2e-5)
    values = {name: values[name] for name in base.parameters}
    return (observed(values, base) - here) @ np.linalg.pinv(np.array(slopes).T).T


def compare(
    points: np.ndarray, feature: Feature, criterion: str, sigma: float, trials: int, rng: Any, **options: Any
) -> tuple[dict[str, float], float]:
    """(measured / claimed standard deviation by name, largest difference of a correlation coefficient)."""
    base = fit(points, feature.kind, criterion=criterion, start=feature, **options)
    assert base.associated is not None
    found, forms, claims = [], [], np.zeros((len(feature.chart),) * 2)
    least = criterion == "least_squares"
    done = 0
    while done < trials:
        m = min(BLOCK, trials - done)
        moves = sigma * rng.standard_normal((m, *points.shape))
        part = fit_trials(
            points, feature.kind, moves, criterion=criterion, start=base.associated, keep="all", **options
        )
        part.require()
        found.append(coordinates(base.associated, part.parameters))
        forms.append(part.form)
        if least:
            claims += part.covariance.sum(axis=0) / trials
        done += m
    spread = np.cov(np.concatenate(found).T)
    names = list(feature.chart)
    measured = np.sqrt(np.diag(spread))
    if not least:
        claims = np.asarray(base.covariance) * (sigma / base.noise) ** 2  # type: ignore[attr-defined]
    claimed = np.sqrt(np.diag(claims))
    free = claimed > 0.0
    result = {n: float(a / b) for n, a, b, f in zip(names, measured, claimed, free, strict=True) if f}
    unit = np.outer(claimed, claimed)[np.ix_(free, free)]
    both = spread[np.ix_(free, free)] / np.outer(measured, measured)[np.ix_(free, free)]
    difference = float(np.abs(both - claims[np.ix_(free, free)] / unit).max())
    if criterion == "minimum_zone":  # the far border of one-sided criteria is held by a point that may change
        claim = base.form_uncertainty * sigma / base.noise  # type: ignore[attr-defined]
        result["form"] = float(np.concatenate(forms).std(ddof=1) / claim) if claim > 0.0 else 1.0
    return result, difference


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--features", default=",".join(FEATURES))
    parser.add_argument("--criteria", default="least_squares,minimum_zone,maximum_inscribed,minimum_circumscribed")
    chosen = parser.parse_args(arguments)
    worst = 0.0
    for name in chosen.features.split(","):
        feature, options = FEATURES[name]
        for criterion in chosen.criteria.split(","):
            if criterion.startswith(("maximum", "minimum_c")) and name not in ONE_SIDED:
                continue
            begin = time.perf_counter()
            rng = np.random.default_rng(1)
            if criterion == "least_squares":
                points = sample_feet(feature, 60, rng, **options).points
                found = compare(points, feature, criterion, SIGMA, chosen.trials, rng)
            else:
                known = known_zone(feature, 30, zone=0.05, seed=3, gap=0.3, criterion=criterion, **options)
                found = compare(known.points, feature, criterion, known.gap / 25.0, chosen.trials, rng)
            table, difference = found
            words = "  ".join(f"{key} {value:.4f}" for key, value in table.items())
            sys.stdout.write(
                f"{name:15s} {criterion:21s} {words}  correlation +-{difference:.4f}  "
                f"({time.perf_counter() - begin:.0f} s)\n"
            )
            sys.stdout.flush()
            worst = max([worst, *(abs(value - 1.0) for value in table.values())])
    error = 1.0 / np.sqrt(2.0 * chosen.trials)
    sys.stdout.write(f"largest deviation from 1: {worst:.4f} ({chosen.trials} trials, standard error {error:.4f})\n")
    return 0 if worst <= max(0.02, 4.5 * error) else 1


if __name__ == "__main__":
    raise SystemExit(main())
