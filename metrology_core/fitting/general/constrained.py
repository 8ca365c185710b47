"""Least squares with all points on one side: sequential quadratic programs, ended by Newton on the multipliers.

The quadratic program is strictly convex and small (unknowns) with many rows (points): the dual active-set method of
D. Goldfarb and A. Idnani, Math. Program. 27 (1983) 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.fitting.general.least import SINGULAR, conditioning, weighted
from metrology_core.fitting.general.solution import EPS, Model, Solution, curvature, reference

_TURNS = 60


def quadratic_program(
    hess: np.ndarray, gradient: np.ndarray, a: np.ndarray, b: np.ndarray, tolerance: float
) -> tuple[np.ndarray, list[int], np.ndarray] | None:
    """min y'Hy / 2 + g'y subject to a y + b >= 0, a (n, q): (y, active rows, multipliers), None where infeasible."""
    lower = np.linalg.cholesky(hess)
    inverse = np.linalg.inv(lower)  # small and scaled to unit diagonal by the caller
    half = inverse.T @ inverse
    y = -half @ gradient
    active: list[int] = []
    u = np.empty(0)
    length = np.linalg.norm(a, axis=1)
    length[length == 0.0] = 1.0
    for _ in range(20 * (len(gradient) + 5)):
        slack = (a @ y + b) / length
        slack[active] = 0.0
        i = int(np.argmin(slack))
        if slack[i] >= -tolerance:
            return y, active, u
        normal = a[i]
        own = 0.0
        for _ in range(4 * len(gradient) + 8):
            if active:
                n = a[active].T
                hn = half @ n
                r = np.linalg.lstsq(n.T @ hn, hn.T @ normal, rcond=None)[0]
                z = half @ normal - hn @ r
            else:
                r, z = np.empty(0), half @ normal
            push = float(z @ normal)
            full = np.inf
            if push > 1e-14 * float(normal @ half @ normal):
                full = -float(normal @ y + b[i]) / push
            ratio, leaving = np.inf, -1
            for k in range(len(active)):
                if r[k] > 1e-14 and u[k] / r[k] < ratio:
                    ratio, leaving = u[k] / r[k], k
            t = min(full, ratio)
            if not np.isfinite(t):
                return None
            u = u - t * r
            own += t
            if np.isfinite(full):
                y = y + t * z
            if t == full:
                active = [*active, i]
                u = np.append(u, own)
                break
            active = active[:leaving] + active[leaving + 1 :]
            u = np.delete(u, leaving)
        else:
            return None
    return None


def one_sided_least_squares(model: Model, start: Any, side: float) -> Solution:
    """Minimise the weighted sum of squares with side * c >= 0 for the first row of every point."""
    state = start
    q = model.size
    rho = 0.0
    active: list[int] = []
    u = np.empty(0)
    count = 0
    radius = 1.0
    while count < _TURNS:
        count += 1
        c, j = weighted(model, state)
        rows = model.rows(state)
        b, a = side * rows.c[0], side * rows.j[0]
        norms = np.linalg.norm(j, axis=0)
        if conditioning(j)[1] < SINGULAR:
            return Solution(
                state, "degenerate", float(c @ c), np.inf, count, np.inf, reason="a parameter is undetermined"
            )
        scaled = j / norms
        extent = max(float(np.ptp(rows.c[0])), 64.0 * EPS)
        answer = quadratic_program(scaled.T @ scaled, scaled.T @ c, a / norms, b, 1e-12 * extent)
        if answer is None:
            return Solution(
                state, "degenerate", float(c @ c), np.inf, count, np.inf,
                reason="no such feature has all points on this side",
            )  # fmt: skip
        y, active, u = answer
        step = y / norms
        rho = max(rho, 2.0 * float(u.max(initial=0.0)))
        length = float(np.abs(step).max())
        if length < 1e-7 * min(1.0, extent) or length < 1e-12:
            break

        def merit(s: Any, rho: float = rho, count: int = max(1, len(active))) -> float:
            r, _ = weighted(model, s)
            bad = np.minimum(0.0, side * model.rows(s).c[0])
            return 0.5 * float(r @ r) + rho * float(-bad.min(initial=0.0)) * count

        before = merit(state)
        t = min(1.0, radius / length) if length > radius else 1.0
        for _ in range(20):
            trial = model.move(state, t * step)
            if merit(trial) < before or length * t < 1e-9:
                break
            t *= 0.5
        state = trial
    return _polish(model, state, np.array(active, dtype=np.int64), u, side, count, q)


def _polish(model: Model, state: Any, active: np.ndarray, u: np.ndarray, side: float, count: int, q: int) -> Solution:
    root = model.root_weights()
    best, best_size, best_u = state, np.inf, u
    previous = np.inf
    hess = np.empty((q, q))
    for turn in range(20):
        count += 1
        c, j = weighted(model, state)
        rows = model.rows(state)
        factors = rows.c.copy() if root is None else rows.c * root**2
        factors[0, active] -= side * u
        hess = j.T @ j + curvature(model, state, factors)
        a = side * rows.j[0, active]
        k = len(active)
        matrix = np.zeros((q + k, q + k))
        matrix[:q, :q], matrix[:q, q:], matrix[q:, :q] = hess, -a.T, -a
        solved = np.linalg.lstsq(matrix, np.append(-(j.T @ c), side * rows.c[0, active]), rcond=EPS)[0]
        step, u = solved[:q], solved[q:]
        size = float(np.abs(step).max(initial=0.0))
        if not size < 1.0:
            break
        if size <= best_size:
            best, best_size, best_u = state, size, u
        if size <= 0.5 * EPS or (turn >= 2 and size < 1e-9 and size >= 0.5 * previous):
            break
        previous = size
        state = model.move(state, step)
    state, u = best, best_u
    c, j = weighted(model, state)
    rows = model.rows(state)
    distance = side * rows.c[0]
    a = side * rows.j[0, active]
    norms = np.linalg.norm(j, axis=0)
    size_c = max(float(np.linalg.norm(c)), 1e-300)
    ref = reference(model, state)
    balance = np.abs(j.T @ c - a.T @ u) / np.where(norms > 0.0, norms, 1.0)
    stationarity = max(0.0, float(balance.max(initial=0.0)) - 16.0 * EPS * ref * np.sqrt(len(c))) / size_c
    outside = max(0.0, -float(distance.min()) - 8.0 * EPS * ref) / max(float(np.ptp(distance)), 1e-300)
    load = max(float(np.abs(u).max(initial=0.0)), 1e-300)
    negative = max(0.0, -float(u.min(initial=0.0))) / load
    residual = max(stationarity, outside, negative if negative > 1e-12 else 0.0)
    others = np.ones(distance.size, bool)
    others[active] = False
    gap = float(distance[others].min(initial=np.inf))
    free = _null(a)
    bent = float(np.linalg.eigvalsh(free.T @ hess @ free)[0]) if free.shape[1] else np.inf
    status = "converged" if best_size < 1e-9 and residual <= 1e-10 else "not_converged"
    return Solution(
        state, status, float(c @ c), residual, count, best_size, active, np.full(len(active), side), u, hess,
        unique=bool(bent > 0.0), gap=gap, reason="" if status == "converged" else "the conditions were not met",
    )  # fmt: skip


def _null(a: np.ndarray) -> np.ndarray:
    """(q, m) orthonormal directions that rows a (k, q) do not see."""
    if not len(a):
        return np.eye(a.shape[1])
    _, values, vectors = np.linalg.svd(a)
    rank = int((values > 1e-9 * max(values[0], 1e-300)).sum())
    return np.asarray(vectors[rank:].T)
