"""Proof that a zone is the smallest (about here), and how it follows the points: multipliers, curvature,
sensitivities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.fitting.zone.exchange import ZoneAnswer
from metrology_core.fitting.zone.problem import ZoneProblem

_EPS = 2.220446049250313e-16
# Residual of the optimality condition, relative, up to which a fit counts as converged.
RESIDUAL_LIMIT = 1e-10


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


def certify(problem: ZoneProblem, answer: ZoneAnswer, centroid: np.ndarray, normals: np.ndarray) -> Certificate:
    """Judge an answer; `normals` (k, 3): directions in which the contacts' distances grow."""
    from metrology_core.kernels import minimax as kernels

    k, nf = len(answer.contacts), len(problem.columns)
    if k == 0:
        return Certificate(0.0, None, True, np.zeros((nf + 1, 0, 3)))
    touch, signs, lam = answer.touch, answer.signs, answer.multipliers
    rows = _rows(problem, touch, answer.pose)
    gradient = np.abs((rows * (lam * signs)) @ np.ones(k)).max(initial=0.0)
    stationarity = float(gradient / max(float(np.abs(rows).max(initial=0.0)), 1e-300))
    distance = np.empty(k)
    kernels.all_distances(problem.row.kind, problem.law, touch, np.zeros(3), 1.0, answer.pose, distance)
    scatter = float(np.ptp(signs * distance))
    zone = max(abs(answer.high - answer.low), abs(answer.h), 1e-300)
    scatter = max(0.0, scatter - 8.0 * _EPS * answer.reference) / zone
    negative = max(0.0, -float(lam.min()))
    hess = np.empty((nf, nf))
    kernels.lagrangian_hessian(
        problem.row.kind, problem.law, touch, k, signs, lam, answer.pose, centroid, problem.columns, nf,
        max(abs(answer.h), 1e-12), hess,
    )  # fmt: skip
    curvature, unique = _second_order(rows, hess)
    response = _response(problem, answer, rows, hess, normals, vertex=curvature is None)
    return Certificate(max(stationarity, scatter, negative), curvature, unique, response)


def _rows(problem: ZoneProblem, touch: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(nf, k) derivatives of the contacts' distances."""
    from metrology_core.kernels import minimax as kernels

    nf = len(problem.columns)
    c, at = np.empty(len(touch)), np.empty((nf, len(touch)))
    kernels.subset_rows(problem.row.kind, problem.law, touch, pose, problem.columns, nf, c, at)
    return at


def _second_order(rows: np.ndarray, hess: np.ndarray) -> tuple[float | None, bool]:
    """Smallest curvature in the null space of the contacts' derivatives, and whether the solution is strict."""
    size = np.abs(rows).max(axis=1)
    size[size == 0.0] = 1.0
    scaled = (rows / size[:, None]).T
    _, values, vectors = np.linalg.svd(scaled)
    rank = int((values > 1e-9 * max(float(values[0]), 1e-300)).sum())
    if rank == len(size):
        return None, True
    free = vectors[rank:]
    reduced = free @ (hess / np.outer(size, size)) @ free.T
    least = float(np.linalg.eigvalsh(reduced)[0])
    # rounding of the second differences is about 1e-11; a flat direction is not a strict minimum
    return least, least > 1e-8


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
                up = _rows(problem, moved, answer.pose)[:, i]
                moved[i, axis] -= 2.0 * step
                down = _rows(problem, moved, answer.pose)[:, i]
                right[:nf, 3 * i + axis] = lam[i] * signs[i] * (up - down) / (2.0 * step)
    try:
        solved = -np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solved = -np.linalg.pinv(matrix) @ right
    return np.asarray(np.concatenate((solved[:nf], solved[-1:])).reshape(nf + 1, k, 3))
