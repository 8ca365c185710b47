"""The last digits of a minimum-maximum alignment: the conditions of its optimum, solved for the contacts alone.

Linear programs end where the fall that they promise is lost in rounding. Where there are fewer contacts than motions
and the worst value, the optimum lies on a ridge whose curvature they do not see: along it the worst changes in second
order, so that a gradient of 1e-7 is left. Here the contacts are made equal and the gradient of their weighted sum
is brought to zero by Newton steps, the curvature along the ridge taken from differences of the gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pointcloud.registration.se3 import Pose

FloatArray = NDArray[np.float64]
Rows = Callable[[Pose], tuple[FloatArray, FloatArray]]  # signed values (m,), their rows (m, k)
Moved = Callable[[Pose, FloatArray], Pose]
_STEPS, _DIFFERENCE, _FAR = 8, 1e-6, 1e-3  # a difference and a step too long, in the scaled chart
ENOUGH = 1e-14


def multipliers(rows: FloatArray) -> FloatArray:
    """Weights (m,) with sum one that cancel the gradients rows (m, k) best."""
    m, k = rows.shape
    size = float(np.abs(rows).max(initial=0.0)) or 1.0
    system = np.vstack([rows.T / size, np.ones(m)])
    return np.asarray(np.linalg.lstsq(system, np.r_[np.zeros(k), 1.0], rcond=None)[0])


def gradient_left(rows: FloatArray, weights: FloatArray) -> float:
    """What the weights leave of the gradients, over the largest of them."""
    return float(np.linalg.norm(weights @ rows) / max(float(np.linalg.norm(rows, axis=1).max()), 1e-300))


def polish(pose: Pose, rows_at: Rows, moved: Moved) -> tuple[Pose, FloatArray, float]:
    """(pose, weights, gradient left) from a pose near the optimum; the best that was met."""
    best: tuple[Pose, FloatArray, float] | None = None
    for _ in range(_STEPS):
        value, rows = rows_at(pose)
        weights = multipliers(rows)
        left = gradient_left(rows, weights)
        uneven = float(np.ptp(value) / max(float(np.abs(value).max()), 1e-300))
        if best is None or max(left, uneven) < best[2]:
            best = pose, weights, max(left, uneven)
        elif max(left, uneven) > 100.0 * best[2]:
            break
        if max(left, uneven) <= ENOUGH:
            break
        m, k = rows.shape
        step = np.linalg.lstsq(np.hstack([rows, -np.ones((m, 1))]), -value, rcond=None)[0][:k]
        ridge = np.linalg.svd(rows - rows[0], full_matrices=True)[2][m - 1 :].T if m <= k else np.zeros((k, 0))
        if ridge.shape[1]:
            slope = ridge.T @ (weights @ rows)
            curvature = np.column_stack(
                [
                    ridge.T
                    @ (weights @ (rows_at(moved(pose, np.asarray(_DIFFERENCE * z, dtype=np.float64)))[1] - rows))
                    / _DIFFERENCE
                    for z in ridge.T
                ]
            )
            along = np.linalg.lstsq(curvature, -slope, rcond=1e-12)[0]
            step = step + ridge @ (along - ridge.T @ step)
        if not np.isfinite(step).all() or float(np.linalg.norm(step)) > _FAR:
            break
        pose = moved(pose, np.asarray(step, dtype=np.float64))
    assert best is not None
    return best
