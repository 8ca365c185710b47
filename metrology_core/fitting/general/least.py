"""Least squares of any model: Levenberg-Marquardt by QR, ended by undamped steps judged by their size."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.fitting.general.solution import EPS, Model, Solution, curvature

_TURNS = 100
SINGULAR = 1e-13  # smallest singular value of J with unit columns below which a parameter is undetermined


def weighted(model: Model, state: Any) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (rows,) and Jacobian (rows, q), multiplied by the roots of the weights."""
    rows = model.rows(state)
    c, j = rows.c, rows.j
    root = model.root_weights()
    if root is not None:
        c, j = c * root, j * root[:, None]
    return c.reshape(-1), j.reshape(-1, j.shape[2])


def conditioning(jacobian: np.ndarray) -> tuple[float, float]:
    """(condition, smallest singular value) of J with unit columns."""
    norms = np.linalg.norm(jacobian, axis=0)
    if not (norms > 0.0).all() or not np.isfinite(norms).all():
        return np.inf, 0.0
    values = np.linalg.svd(np.linalg.qr(jacobian / norms)[1], compute_uv=False)
    return (float(values[0] / values[-1]) if values[-1] > 0.0 else np.inf), float(values[-1])


def least_squares(model: Model, start: Any) -> Solution:
    """Minimise the weighted sum of squares from a start."""
    state = start
    q = model.size
    c, j = weighted(model, state)
    cost = float(c @ c)
    if q == 0:
        return Solution(state, "converged", cost, 0.0, 0, 0.0, hessian=np.empty((0, 0)))
    damping = 1e-3
    count = 0
    while count < _TURNS:
        count += 1
        norms = np.linalg.norm(j, axis=0)
        norms[norms == 0.0] = 1.0
        triangle = np.asarray(np.linalg.qr(np.column_stack((j / norms, c)), mode="r"))
        r, right = triangle[:q, :q], triangle[:q, q]
        better = False
        for _ in range(12):
            stacked = np.vstack((r, np.sqrt(damping) * np.eye(q)))
            step = -np.linalg.lstsq(stacked, np.append(right, np.zeros(q)), rcond=None)[0] / norms
            trial = model.move(state, step)
            c_new, j_new = weighted(model, trial)
            new = float(c_new @ c_new)
            if np.isfinite(new) and new < cost:
                better = True
                break
            damping = max(4.0 * damping, 1e-12)
        if not better:
            break
        gain = cost - new
        state, c, j, cost = trial, c_new, j_new, new
        damping = max(1e-14, 0.1 * damping)
        if gain <= 1e-10 * cost or float(np.abs(step).max()) < 1e-8:
            break
    return _polish(model, state, count)


def _polish(model: Model, state: Any, count: int) -> Solution:
    """Steps without damping until they stop shrinking; the second-order term where they shrink slowly."""
    best, best_size, previous = state, np.inf, np.inf
    newton = False
    size = np.inf
    for turn in range(30):
        count += 1
        c, j = weighted(model, state)
        norms = np.linalg.norm(j, axis=0)
        norms[norms == 0.0] = 1.0
        if newton:
            root = model.root_weights()
            rows = model.rows(state)
            factors = rows.c if root is None else rows.c * root**2
            full = j.T @ j + curvature(model, state, factors)
            step = -np.linalg.lstsq(full / np.outer(norms, norms), (j.T @ c) / norms, rcond=EPS)[0] / norms
        else:
            step = -np.linalg.lstsq(j / norms, c, rcond=EPS)[0] / norms
        size = float(np.abs(step).max())
        if not size < 1.0:
            break
        if size <= best_size:
            best, best_size = state, size
        if size <= 0.5 * EPS or (turn >= 3 and size < 1e-10 and size >= 0.5 * previous):
            break
        newton = newton or (turn >= 2 and size > 0.2 * previous and size > 1e-13)
        previous = size
        state = model.move(state, step)
    state = best
    c, j = weighted(model, state)
    cost = float(c @ c)
    norms = np.linalg.norm(j, axis=0)
    gradient = np.abs(j.T @ c) / np.where(norms > 0.0, norms, 1.0)
    size_c = float(np.sqrt(cost))
    noise = 8.0 * EPS * float(np.sqrt(len(c)))  # residuals are differences of coordinates of order one
    residual = max(0.0, float(gradient.max(initial=0.0)) - noise) / size_c if size_c > 0.0 else 0.0
    _, least = conditioning(j)
    if not np.isfinite(cost) or least < SINGULAR:
        return Solution(state, "degenerate", cost, residual, count, best_size, reason="a parameter is undetermined")
    status = "converged" if best_size < 1e-9 else "not_converged"
    reason = "" if status == "converged" else "the last step is too large"
    return Solution(state, status, cost, residual, count, best_size, hessian=j.T @ j, reason=reason)
