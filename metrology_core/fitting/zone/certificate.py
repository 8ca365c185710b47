"""Proof that a zone is the smallest (about here), and how it follows the points: multipliers, curvature,
sensitivities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrology_core.fitting.zone.problem import ZoneProblem

if TYPE_CHECKING:
    from metrology_core.fitting.zone.exchange import ZoneAnswer

_EPS = 2.220446049250313e-16
# Residual of the optimality condition, relative, up to which a fit counts as converged.
RESIDUAL_LIMIT = 1e-10
# Derivatives (of order one) below this tell nothing: a direction held by curvature is known to the root of rounding.
RANK = 1e-6
CORNER = 1e-10


@dataclass(eq=False)
class Certificate:
    """First-order condition 0 = sum lambda_i s_i grad d_i with lambda >= 0, sum lambda = 1, and the second-order one.

    `residual`: the larger of the stationarity residual (relative to the largest derivative) and of the scatter of the
    contacts' distances beyond rounding, relative to the zone. `curvature`: smallest eigenvalue of the Lagrangian's
    Hessian in the directions that the contacts leave free, None where they leave none. `response` (unknowns, k, 3):
    change of the free parameters and of h (last) per displacement of the contacts, in scaled units.
    """

    residual: float
    curvature: float | None
    unique: bool
    response: np.ndarray


def certify(
    problem: ZoneProblem,
    answer: ZoneAnswer,
    centroid: np.ndarray,
    normals: np.ndarray,
    touching: Callable[[], tuple[np.ndarray, np.ndarray]],
) -> Certificate:
    """Judge an answer.

    normals (k, 3): directions in which the contacts' distances grow; touching: gives all points on the borders (m, 3,
    scaled) and their sides, asked for only where the contacts alone do not prove the solution unique.
    """
    from metrology_core.kernels import minimax as kernels

    k, nf = len(answer.contacts), len(problem.columns)
    if k == 0:
        return Certificate(0.0, None, True, np.zeros((nf + 1, 0, 3)))
    touch, signs, lam = answer.touch, answer.signs, answer.multipliers
    rows = derivatives(problem, touch, answer.pose)
    gradient = np.abs((rows * (lam * signs)) @ np.ones(k)).max(initial=0.0)
    stationarity = float(gradient / max(float(np.abs(rows).max(initial=0.0)), 1e-300))
    if problem.law == 1:  # the direction from the axis to a contact is known to rounding over its length
        stationarity = max(stationarity - 16.0 * _EPS * answer.reference / max(abs(answer.h), 1e-300), 0.0)
    distance = np.empty(k)
    kernels.all_distances(problem.row.kind, problem.law, touch, np.zeros(3), 1.0, answer.pose, distance)
    scatter = float(np.ptp(signs * distance))
    zone = max(abs(answer.high - answer.low), abs(answer.h), 1e-300)
    scatter = max(scatter - 8.0 * _EPS * answer.reference, 0.0) / zone
    negative = max(-float(lam.min()), 0.0)
    hess = hessian(problem, touch, signs, lam, answer.pose, answer.h, centroid)
    curvature, unique, free = second_order(rows, hess)
    if not unique:
        points, sides = touching()
        if len(points) > k:
            # points that touch without pressing may block every direction that the contacts leave free
            pressing = derivatives(problem, points, answer.pose) * sides
            unique = bool(kernels.least_push(np.ascontiguousarray(pressing.T @ free.T)) > 1e-9)
            unique = unique or _curved_by_all(problem, answer, centroid, points, sides, pressing)
    response = _response(problem, answer, rows, hess, normals, vertex=curvature is None)
    # numpy, because Python's max drops what is not a number
    return Certificate(float(np.max((stationarity, scatter, negative))), curvature, unique, response)


def derivatives(problem: ZoneProblem, touch: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(nf, k) derivatives of the contacts' distances."""
    from metrology_core.kernels import minimax as kernels

    nf = len(problem.columns)
    c, at = np.empty(len(touch)), np.empty((nf, len(touch)))
    kernels.subset_rows(problem.row.kind, problem.law, touch, pose, problem.columns, nf, c, at)
    return at


def hessian(
    problem: ZoneProblem,
    touch: np.ndarray,
    signs: np.ndarray,
    multipliers: np.ndarray,
    pose: np.ndarray,
    h: float,
    centroid: np.ndarray,
) -> np.ndarray:
    """(nf, nf) second derivatives of the Lagrangian of points that touch."""
    from metrology_core.kernels import minimax as kernels

    nf = len(problem.columns)
    hess = np.empty((nf, nf))
    kernels.lagrangian_hessian(
        problem.row.kind, problem.law, touch, len(touch), signs, multipliers, pose, centroid, problem.columns, nf,
        max(abs(h), 1e-12), hess,
    )  # fmt: skip
    return hess


def second_order(rows: np.ndarray, hess: np.ndarray) -> tuple[float | None, bool, np.ndarray]:
    """Smallest curvature in the null space of the contacts' derivatives, whether it is positive, and that space (q,
    nf).
    """
    # scaled coordinates: derivatives are of order one, so such as curvature alone holds (to the root of rounding) count
    # as none
    _, values, vectors = np.linalg.svd(rows.T)
    # more contacts than directions, all pressing, are a corner that is solved to rounding: there small derivatives
    # count (of a circle of which a short arc is seen)
    rank = int((values > (RANK if rows.shape[1] <= len(rows) else CORNER)).sum())
    if rank == len(rows):
        return None, True, np.empty((0, len(rows)))
    free = vectors[rank:]
    least = float(np.linalg.eigvalsh(free @ hess @ free.T)[0])
    # rounding of the second differences is about 1e-11; a flat direction is not a strict minimum
    return least, least > 1e-8, free


def _curved_by_all(
    problem: ZoneProblem,
    answer: ZoneAnswer,
    centroid: np.ndarray,
    points: np.ndarray,
    sides: np.ndarray,
    pressing: np.ndarray,
) -> bool:
    """Whether the load shared by all touching points gives positive curvature where it leaves directions free.

    With more touching points than unknowns the multipliers are not unique; any valid ones may serve as proof. Those
    of least norm spread the load evenly.
    """
    nf, m = pressing.shape
    system = np.vstack((pressing, np.ones(m)))
    lam = np.linalg.pinv(system, rcond=RANK) @ np.append(np.zeros(nf), 1.0)
    if not (lam.min() >= -1e-12 and np.abs(system @ lam - np.append(np.zeros(nf), 1.0)).max() <= RANK):
        return False
    hess = hessian(problem, points, sides, np.maximum(lam, 0.0), answer.pose, answer.h, centroid)
    return second_order(pressing[:, lam > 1e-9], hess)[1]


def _response(
    problem: ZoneProblem,
    answer: ZoneAnswer,
    rows: np.ndarray,
    hess: np.ndarray,
    normals: np.ndarray,
    vertex: bool,
) -> np.ndarray:
    nf, k = rows.shape
    signs, lam = answer.signs, answer.multipliers
    size = nf + k + 1
    matrix = np.zeros((size, size))
    matrix[:nf, :nf] = hess
    matrix[:nf, nf:-1] = rows * signs
    matrix[nf:-1, :nf] = (rows * signs).T
    matrix[nf:-1, -1] = matrix[-1, nf:-1] = -1.0
    right = np.zeros((size, 3 * k))
    for i in range(k):
        right[nf + i, 3 * i : 3 * i + 3] = signs[i] * normals[i]
    if not vertex:
        # a contact that moves along the surface turns its normal: it matters where curvature holds the solution
        step = 1e-4 * min(max(abs(answer.h), 1e-12), 0.1) if problem.law == 1 else 1e-6
        for i in range(k):
            for axis in range(3):
                moved = answer.touch.copy()
                moved[i, axis] += step
                up = derivatives(problem, moved, answer.pose)[:, i]
                moved[i, axis] -= 2.0 * step
                down = derivatives(problem, moved, answer.pose)[:, i]
                right[:nf, 3 * i + axis] = lam[i] * signs[i] * (up - down) / (2.0 * step)
    try:
        solved = -np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solved = -np.linalg.pinv(matrix) @ right
    return np.asarray(np.concatenate((solved[:nf], solved[-1:])).reshape(nf + 1, k, 3))
