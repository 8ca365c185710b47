"""Uncertainty of the peak to valley from the two extreme points, in memory that does not grow with the points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metrology_core.fitting.canonical import chart_columns
from metrology_core.fitting.sources import used_slices
from metrology_core.kernels import layout

if TYPE_CHECKING:
    from metrology_core.fitting.result import Fit


def form_uncertainty(fit: Fit) -> float:
    """`Fit.form_uncertainty` of many points: one pass finds the extremes, their rows of the Jacobian do the rest."""
    from metrology_core.kernels import fitmain as k

    evidence = fit._known()
    assert fit.associated is not None
    kind, p = evidence.row.kind, layout.N_PARAMETERS[evidence.row.kind]
    line = fit.kind == "line" and evidence.row.dimension == 3
    best: dict[int, tuple[float, np.ndarray, float]] = {}
    for xyz, weights in used_slices(evidence.xyz, evidence.used, evidence.weights):
        if not len(xyz):
            continue
        d = fit.associated.distance(xyz[:, : evidence.row.dimension])
        for side, index in ((1, int(np.argmax(d))), (-1, int(np.argmin(d)))):
            if (not line or side > 0) and (side not in best or side * d[index] > side * best[side][0]):
                weight = float(weights[index]) if len(weights) else 1.0
                best[side] = (float(d[index]), xyz[index].copy(), weight)
    columns = chart_columns(evidence.row)
    lever, own = np.zeros(len(columns)), 0.0
    angles = [i for i, name in enumerate(fit._chart()) if name.startswith(("tilt", "rotation", "half_angle"))]
    for side, (_, point, weight) in best.items():
        rows = np.empty((layout.N_ROWS[kind], p + 1))
        k.design_rows(kind, point, evidence.centre, evidence.scale, evidence.pose, rows)
        jacobian = rows[:, columns]
        jacobian[:, angles] /= evidence.scale
        factors = [float(side)]
        if line:
            size = math.hypot(rows[0, p], rows[1, p]) or 1.0
            factors = [2.0 * rows[0, p] / size, 2.0 * rows[1, p] / size]
        for factor, row in zip(factors, jacobian):
            lever += factor * row
            own += factor**2 / weight * fit.sigma**2
    # residuals are (I - H) noise: the fitted part takes some of the variance away
    return math.sqrt(max(0.0, own - float(lever @ fit.covariance @ lever)))
