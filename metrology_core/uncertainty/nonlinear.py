"""Nonlinear least squares: Levenberg-Marquardt with exact derivatives, ended by undamped Gauss-Newton steps.

The damping follows Nielsen (gain ratio); columns are scaled as in MINPACK. Steps come from a QR of the augmented
Jacobian, never from normal equations. The end is judged by the relative size of undamped steps: the fixed point does
not depend on how it was approached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.errors import FitError, ParameterError
from metrology_core.uncertainty.derivatives import differentiable
from metrology_core.uncertainty.model import Joint
from metrology_core.uncertainty.taylor import Taylor

MAX_ITERATIONS = 2000
STARTING_DAMPING = (1e-3, 1.0, 1e3)
BEND_LIMIT = 0.75
REFUSE_BENT = True
"""Largest second-order correction, relative to the step, that is still believed (Transtrum & Sethna 2012)."""


@dataclass(frozen=True, eq=False)
class NonlinearFit:
    """Estimates of a nonlinear least-squares fit; ``covariance`` is ``s^2 (J'J)^-1`` at the solution, or
    ``(J'J)^-1`` in units of the given standard uncertainties. ``status`` is ``converged``, ``not_converged`` or
    ``degenerate``; ``last_step`` the largest relative size of the last undamped step."""

    names: tuple[str, ...]
    coefficients: np.ndarray
    standard_errors: np.ndarray
    covariance: np.ndarray
    residuals: np.ndarray
    rss: float
    residual_sd: float
    dof: int
    iterations: int
    last_step: float
    status: Literal["converged", "not_converged", "degenerate"]
    scaled: bool

    @property
    def correlation(self) -> np.ndarray:
        u = np.where(self.standard_errors > 0.0, self.standard_errors, 1.0)
        r = self.covariance / np.outer(u, u)
        np.fill_diagonal(r, 1.0)
        return r

    def require(self) -> NonlinearFit:
        """Itself if converged, else `FitError`."""
        if self.status != "converged":
            raise FitError(f"the fit is {self.status}", got=f"last relative step {self.last_step:.2g}")
        return self

    def joint(self) -> Joint:
        """The coefficients as inputs of a `Model`, with their covariance and degrees of freedom."""
        dof = float(self.dof) if self.scaled else math.inf
        return Joint.normal(dict(zip(self.names, self.coefficients.tolist())), self.covariance, dof=dof)


class _Problem:
    def __init__(self, model: Callable[..., Any], x: Any, y: np.ndarray, names: Sequence[str], w: Any) -> None:
        self.model, self.x, self.y, self.names, self.w = differentiable(model), x, y, list(names), w

    def residuals(self, b: np.ndarray) -> np.ndarray | None:
        with np.errstate(all="ignore"):
            value = np.asarray(self.model(self.x, **dict(zip(self.names, b))), dtype=np.float64)
        if value.shape not in ((), self.y.shape):
            raise ParameterError("the model does not give one value per reading", got=f"shape {value.shape}")
        r = (self.y - value) * self.w
        return r if np.isfinite(r).all() else None

    def linear(self, b: np.ndarray) -> np.ndarray:
        """Places of parameters in which the model is linear, all together: second derivatives that vanish at two
        points. For given others their best values are the solution of a linear problem."""
        found: list[int] = []
        for i in range(len(b)):
            directions = np.zeros((len(b), len(found) + 1))
            directions[i, :] = 1.0
            directions[found, range(len(found))] = 1.0
            if all(self._straight(b * factor + shift, directions) for factor, shift in ((1.0, 0.0), (1.1, 1e-3))):
                found.append(i)
        return np.array(found, dtype=np.int64)

    def _straight(self, b: np.ndarray, directions: np.ndarray) -> bool:
        series = {n: Taylor.variable(v, row, 2) for n, v, row in zip(self.names, b, directions)}
        with np.errstate(all="ignore"):
            found = self.model(self.x, **series)
        if not isinstance(found, Taylor) or not np.isfinite(found.terms[0]).all():
            return False
        size = np.abs(found.terms[0]).max(initial=0.0)
        return bool(np.abs(found.terms[1]).max(initial=0.0) <= 1e-12 * size)

    def jacobian(self, b: np.ndarray) -> np.ndarray | None:
        p = len(b)
        series = {name: Taylor.variable(value, np.eye(p)[i], 1) for i, (name, value) in enumerate(zip(self.names, b))}
        with np.errstate(all="ignore"):
            found = self.model(self.x, **series)
        if not isinstance(found, Taylor):
            raise ParameterError("the model does not depend on its parameters")
        j = np.broadcast_to(found.terms[0], (len(self.y), p)) * np.reshape(self.w, (-1, 1))
        return j if np.isfinite(j).all() else None


def nonlinear_fit(
    model: Callable[..., Any],
    x: Any,
    y: Sequence[float],
    start: Mapping[str, float],
    *,
    u: Sequence[float] | None = None,
) -> NonlinearFit:
    """Fit ``y = model(x, **parameters)`` from ``start``; ``x`` is passed through as it is (an array, a tuple).

    ``u``: standard uncertainties of independent readings; without them the scatter of the residuals is taken.
    Raises `ParameterError` for wrong shapes or a start without a finite residual; a fit that does not converge is
    returned with its status.
    """
    values = np.asarray(y, dtype=np.float64)
    weights: Any = 1.0
    if u is not None:
        weights = 1.0 / np.asarray(u, dtype=np.float64)
        if weights.shape != values.shape or not np.isfinite(weights).all() or weights.min() <= 0.0:
            raise ParameterError("standard uncertainties", expected=f"{len(values)} positive numbers")
    names = tuple(start)
    n, p = len(values), len(names)
    if n < p or p == 0:
        raise ParameterError("fewer readings than parameters", got=f"{n} readings, {p} parameters")
    given = x if isinstance(x, tuple) else np.asarray(x, dtype=np.float64)
    problem = _Problem(model, given, values, names, weights)
    b = np.array([float(v) for v in start.values()])
    r = problem.residuals(b)
    if r is None or problem.jacobian(b) is None:
        raise ParameterError("the model has no finite value at the start", got=repr(dict(start)))
    found: NonlinearFit | None = None
    easy = problem.linear(b)
    none = np.array([], dtype=np.int64)
    plans = [(damping, none) for damping in STARTING_DAMPING]
    if 0 < len(easy) < p:
        plans.insert(0, (1e-3, easy))
        plans.append((1e3, easy))
    for damping, fixed in plans:  # a first step too bold may end where the model no longer depends on anything
        end, iterations = _descend(problem, b, r, damping, fixed)
        other = _finish(problem, end, names, iterations, u is None)
        if other.status == "converged":
            near = _relabelled(problem, other.coefficients, b)
            return other if near is None else _finish(problem, near, names, other.iterations, u is None)
        if found is None or other.rss < found.rss:
            found = other
    assert found is not None
    return found


def _relabelled(problem: _Problem, found: np.ndarray, start: np.ndarray) -> np.ndarray | None:
    """The same terms under other names, where that is nearer to the start: sums of like terms (two exponentials, peaks)
    do not change when the parameters of two of them are exchanged, and which comes out is a matter of rounding."""
    p = len(found)
    if p > 12:
        return None
    r = problem.residuals(found)
    assert r is not None
    rounding = 1e-9 * float(np.linalg.norm(problem.y * problem.w))
    scale = np.maximum(np.abs(start), 1e-300)
    pairs = [(i, k) for i in range(p) for k in range(i + 1, p) if found[i] != found[k]]
    best, least = None, float(np.sum(((found - start) / scale) ** 2))
    for a, first in enumerate(pairs):
        for second in (None, *(pair for pair in pairs[a + 1 :] if not set(pair) & set(first))):
            other = found.copy()
            other[list(first)] = found[[first[1], first[0]]]
            if second is not None:
                other[list(second)] = found[[second[1], second[0]]]
            away = float(np.sum(((other - start) / scale) ** 2))
            r_new = problem.residuals(other) if away < least else None
            if r_new is not None and float(np.linalg.norm(r_new - r)) <= rounding:
                best, least = other, away
    return best


def _descend(
    problem: _Problem, b: np.ndarray, r: np.ndarray, damping: float, easy: np.ndarray
) -> tuple[np.ndarray, int]:
    """Levenberg-Marquardt until undamped steps are safe; with ``easy`` parameters projected out (variable projection,
    Kaufman 1975): the search goes over the others alone, the easy ones are always at their best."""
    j = problem.jacobian(b)
    assert j is not None
    d = np.zeros(j.shape[1] - len(easy))
    growth = 2.0
    b, r, j = _solve_linear(problem, easy, b, r, j)
    hard = np.setdiff1d(np.arange(len(b)), easy)
    cost = _square(r)
    quiet = 0
    for iteration in range(MAX_ITERATIONS):
        reduced, rest = _project(j, r, easy, hard)
        norms = np.linalg.norm(reduced, axis=0)
        d = np.maximum(d, np.where(norms > 0.0, norms, 1e-300))
        part = _step(reduced, rest, d * math.sqrt(damping))
        step = np.zeros(len(b))
        step[hard] = part
        trial = b + step
        r_new = problem.residuals(trial)
        if len(easy) and r_new is not None and (j_try := problem.jacobian(trial)) is not None:
            trial, r_new, _ = _solve_linear(problem, easy, trial, r_new, j_try)
        predicted = float(np.sum((reduced @ part) ** 2) + 2.0 * damping * np.sum((d * part) ** 2))
        new_cost = math.inf if r_new is None else _square(r_new)
        gain = (cost - new_cost) / predicted if predicted > 0.0 else -1.0
        j_new = problem.jacobian(trial) if gain > 0.0 and r_new is not None else None
        small = np.all(np.abs(trial - b) <= 1e-9 * np.abs(trial) + 1e-300)
        if j_new is not None and r_new is not None:
            before = cost
            b, r, j = trial, r_new, j_new
            cost = new_cost
            drop = (before - cost) / before if before > 0.0 else 0.0
            damping *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            growth = 2.0
            quiet = quiet + 1 if drop < 1e-13 else 0
        else:
            damping *= growth
            growth *= 2.0
        if (small and damping < 1e3) or quiet >= 3 or cost == 0.0 or damping > 1e30:
            return b, iteration + 1
    return b, MAX_ITERATIONS


def _project(j: np.ndarray, r: np.ndarray, easy: np.ndarray, hard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian of the hard parameters and residuals, free of what the easy ones can explain."""
    if not len(easy):
        return j, r
    scale = np.linalg.norm(j[:, easy], axis=0)
    q, _ = np.linalg.qr(j[:, easy] / np.where(scale > 0.0, scale, 1.0))
    reduced = j[:, hard] - q @ (q.T @ j[:, hard])
    return reduced, r - q @ (q.T @ r)


def _solve_linear(
    problem: _Problem, easy: np.ndarray, b: np.ndarray, r: np.ndarray, j: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parameters in which the model is linear at their best for the others, where that helps."""
    if not len(easy):
        return b, r, j
    better = b.copy()
    better[easy] += _step(j[:, easy], r, None)
    r_new, j_new = problem.residuals(better), problem.jacobian(better)
    if r_new is None or j_new is None or not _square(r_new) < _square(r):
        return b, r, j
    return better, r_new, j_new


def _square(r: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        return float(np.sum(r * r))


def _step(j: np.ndarray, r: np.ndarray, damping: np.ndarray | None) -> np.ndarray:
    """Least-squares step of scaled columns, by QR of the (augmented) Jacobian."""
    scale = np.linalg.norm(j, axis=0)
    scale[scale == 0.0] = 1.0
    a, right = j / scale, r
    if damping is not None:
        a = np.vstack([a, np.diag(damping / scale)])
        right = np.concatenate([r, np.zeros(j.shape[1])])
    q, t = np.linalg.qr(a)
    diagonal = np.abs(np.diag(t))
    if diagonal.min() <= 1e-15 * diagonal.max():
        return np.linalg.lstsq(a, right, rcond=None)[0] / scale
    return np.linalg.solve(t, q.T @ right) / scale


def _finish(problem: _Problem, b: np.ndarray, names: tuple[str, ...], iterations: int, scaled: bool) -> NonlinearFit:
    """Undamped Gauss-Newton until the steps stop shrinking; then the covariance."""
    best, best_size = b, math.inf
    j = problem.jacobian(b)
    r = problem.residuals(b)
    assert j is not None and r is not None
    # rounding of the model is all that is left of the residuals of exact data
    allowed = 1.0001 * _square(r) + 100.0 * (np.finfo(float).eps * float(np.linalg.norm(problem.y * problem.w))) ** 2
    waiting = 0
    for _ in range(60):
        step = _step(j, r, None)
        size = float(np.max(np.abs(step) / np.maximum(np.abs(b), 1e-300)))
        trial = b + step
        r_new, j_new = problem.residuals(trial), problem.jacobian(trial)
        if r_new is None or j_new is None or _square(r_new) > allowed:
            break
        iterations += 1
        b, r, j = trial, r_new, j_new
        if size < 0.9 * best_size:
            best, best_size, waiting = b, size, 0
        else:
            waiting += 1
        if best_size < 1e-15 or waiting >= 4:
            break
    if best is not b:
        b = best
        r, j = problem.residuals(b), problem.jacobian(b)
        assert r is not None and j is not None
    n, p = j.shape
    scale = np.linalg.norm(j, axis=0)
    singular = not scale.all()
    scale[scale == 0.0] = 1.0
    _, t = np.linalg.qr(j / scale)
    diagonal = np.abs(np.diag(t))
    singular = singular or diagonal.min() <= 1e-14 * diagonal.max()
    inverse = np.full((p, p), math.inf) if singular else np.linalg.solve(t, np.eye(p)) / scale[:, None]
    rss = math.fsum((r * r).tolist())
    dof = n - p
    variance = rss / dof if dof else 0.0
    covariance = inverse @ inverse.T * (variance if scaled else 1.0)
    status: Literal["converged", "not_converged", "degenerate"]
    status = "degenerate" if singular else "converged" if best_size < 1e-6 else "not_converged"
    return NonlinearFit(
        names,
        b,
        np.sqrt(np.diag(covariance)),
        covariance,
        r,
        rss,
        math.sqrt(variance),
        dof,
        iterations,
        best_size,
        status,
        scaled,
    )
