"""Linear least squares with certified digits.

Small problems (up to some ten thousand numbers) are solved in exact rational arithmetic: readings are ratios, so are
the normal equations, and the solution is rounded once. No conditioning costs a digit there; a design without full rank
is recognised, not guessed. Larger ones take Householder QR with scaled columns, refined with residuals in twice the
working precision (Bjoerck, Numerical Methods for Least Squares Problems, 1996, 2.9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.exact import Reading, as_fractions, root
from metrology_core.uncertainty.model import Joint

EXACT_LIMIT = 600_000
"""Largest n p (p + 1) / 2 of the exact path: about a second."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Estimates of a linear least-squares fit.

    ``coefficients`` (p,), ``standard_errors`` (p,), ``covariance`` (p, p); ``residual_sd`` is ``sqrt(rss / dof)``,
    ``dof = n - p``; ``r_squared`` is about the mean where the design holds a constant, about zero otherwise;
    ``f`` tests all other coefficients. With given standard uncertainties of the readings the covariance is theirs
    (``scaled`` False) and ``birge`` says how the residuals compare with them.
    """

    coefficients: np.ndarray
    standard_errors: np.ndarray
    covariance: np.ndarray
    rss: float
    residual_sd: float
    dof: int
    n: int
    r_squared: float
    f: float
    scaled: bool
    method: str

    @property
    def correlation(self) -> np.ndarray:
        u = np.where(self.standard_errors > 0.0, self.standard_errors, 1.0)
        r = self.covariance / np.outer(u, u)
        np.fill_diagonal(r, 1.0)
        return r

    @property
    def birge(self) -> float:
        """Birge ratio: residuals against the stated uncertainties (only with ``u``)."""
        return self.residual_sd

    def joint(self, *names: str) -> Joint:
        """The coefficients as inputs of a `Model`, with their covariance and degrees of freedom."""
        if len(names) != len(self.coefficients):
            raise ParameterError("one name per coefficient", expected=f"{len(self.coefficients)}", got=f"{len(names)}")
        dof = float(self.dof) if self.scaled else math.inf
        return Joint.normal(dict(zip(names, self.coefficients.tolist())), self.covariance, dof=dof)


def linear_fit(design: Any, y: Sequence[Reading], *, u: Sequence[float] | None = None) -> LinearFit:
    """Fit ``y = design @ coefficients``; ``design`` (n, p) as rows of numbers (floats, or decimal texts).

    ``u``: standard uncertainties of independent readings; without them the scatter of the residuals is taken. Raises
    `ParameterError` for shapes that do not fit, fewer readings than coefficients, or a design without full rank.
    """
    rows = design.tolist() if isinstance(design, np.ndarray) else [list(row) for row in design]
    values: list[Any] = np.asarray(y).tolist() if hasattr(y, "tolist") else list(y)
    n = len(values)
    p = len(rows[0]) if rows else 0
    if len(rows) != n or p == 0 or any(len(row) != p for row in rows):
        raise ParameterError("design and readings do not fit", expected="n rows of p numbers and n readings")
    if n < p:
        raise ParameterError("fewer readings than coefficients", got=f"{n} readings, {p} coefficients")
    if n * p * (p + 1) // 2 <= EXACT_LIMIT:
        return _exact([as_fractions(row) for row in rows], as_fractions(values), _weights(u, n))
    return _by_qr(np.asarray(design, dtype=np.float64), np.asarray(values, dtype=np.float64), u)


def polynomial_fit(
    x: Sequence[Reading], y: Sequence[Reading], degree: int, *, u: Sequence[float] | None = None, intercept: bool = True
) -> LinearFit:
    """Fit a polynomial in ``x``, lowest power first; the powers are exact on the small path."""
    if degree < (0 if intercept else 1):
        raise ParameterError("the degree of a polynomial", expected="at least 1 without intercept, else 0")
    first = 0 if intercept else 1
    if len(x) * (degree + 2) ** 2 // 2 <= EXACT_LIMIT:
        rows = [[v**k for k in range(first, degree + 1)] for v in as_fractions(list(x))]
        return linear_fit(rows, y, u=u)
    powers = np.vander(np.asarray(x, dtype=np.float64), degree + 1, increasing=True)[:, first:]
    return linear_fit(powers, y, u=u)


def _weights(u: Sequence[float] | None, n: int) -> list[Fraction] | None:
    if u is None:
        return None
    spread = [float(v) for v in u]
    if len(spread) != n or not all(math.isfinite(v) and v > 0.0 for v in spread):
        raise ParameterError("standard uncertainties", expected=f"{n} positive numbers")
    return [1 / Fraction(v) ** 2 for v in spread]


def _exact(rows: list[list[Fraction]], y: list[Fraction], w: list[Fraction] | None) -> LinearFit:
    n, p = len(y), len(rows[0])
    # whole numbers: each column over its own denominator, the readings over theirs
    columns = [[row[j] for row in rows] for j in range(p)]
    scales = [math.lcm(*(v.denominator for v in column)) for column in columns]
    a = [[int(v * s) for v in column] for column, s in zip(columns, scales)]
    sy = math.lcm(*(v.denominator for v in y))
    b = [int(v * sy) for v in y]
    sw = math.lcm(*(v.denominator for v in w)) if w else 1
    weights = [int(v * sw) for v in w] if w else None
    aw = [[v * k for v, k in zip(column, weights)] for column in a] if weights else a
    bw = [v * k for v, k in zip(b, weights)] if weights else b
    normal = [[sum(p_ * q for p_, q in zip(aw[i], a[j])) for j in range(p)] for i in range(p)]
    right = [sum(p_ * q for p_, q in zip(aw[i], b)) for i in range(p)]
    solution, inverse, determinant = _solve_exactly(normal, right)
    beta = [Fraction(s, determinant) for s in solution]  # for the scaled columns and readings
    yy = sum(p_ * q for p_, q in zip(bw, b))
    rss = yy - sum(c * r for c, r in zip(beta, right))  # times sw sy^2
    unit = Fraction(1, sw * sy * sy)
    dof = n - p
    coefficients = [c * s / sy for c, s in zip(beta, scales)]
    variance = rss * unit / dof if dof else Fraction(0)
    factor = Fraction(1) if w else variance
    covariance = [
        [Fraction(inverse[i][j], determinant) * sw * scales[i] * scales[j] * factor for j in range(p)] for i in range(p)
    ]
    constant = any(all(v == column[0] for v in column) and column[0] for column in a)
    total = Fraction(yy)
    if constant:
        sum_w = sum(weights) if weights else n
        total = yy - Fraction(sum(bw) ** 2, sum_w)
    explained = total - rss
    others = p - 1 if constant else p
    f = float(explained / others / (rss / dof)) if others and dof and rss else math.inf
    return LinearFit(
        np.array([float(c) for c in coefficients]),
        np.array([root(covariance[i][i]) for i in range(p)]),
        np.array([[float(v) for v in row] for row in covariance]),
        float(rss * unit),
        root(variance),
        dof,
        n,
        float(explained / total) if total else 1.0,
        f,
        w is None,
        "exact rational normal equations",
    )


def _solve_exactly(matrix: list[list[int]], right: list[int]) -> tuple[list[int], list[list[int]], int]:
    """Solution and inverse of a whole-number system over one denominator (fraction-free elimination, Bareiss 1968)."""
    p = len(matrix)
    work = [[*row, value, *(int(i == j) for j in range(p))] for i, (row, value) in enumerate(zip(matrix, right))]
    previous = 1
    for k in range(p):
        pivot_row = next((i for i in range(k, p) if work[i][k]), None)
        if pivot_row is None:
            raise ParameterError(
                "the design has no full rank: some coefficients cannot be told apart",
                where=f"column {k + 1}",
                remedy="leave out the column that the others make up",
            )
        work[k], work[pivot_row] = work[pivot_row], work[k]
        pivot = work[k][k]
        for i in range(p):
            if i != k:
                head = work[i][k]
                work[i] = [(pivot * v - head * t) // previous for v, t in zip(work[i], work[k])]
        previous = pivot
    return [row[p] for row in work], [row[p + 1 :] for row in work], previous


def two_product(a: np.ndarray, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Product and its rounding error (Dekker); exact while nothing overflows."""
    split = 134217729.0
    product = a * b
    ah = split * a
    ah = ah - (ah - a)
    bh = split * b
    bh = bh - (bh - b)
    al, bl = a - ah, b - bh
    return product, ((ah * bh - product) + ah * bl + al * bh) + al * bl


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and its rounding error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def precise_residuals(x: np.ndarray, beta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``y - x @ beta`` accumulated in twice the working precision."""
    high, low = y.copy(), np.zeros_like(y)
    for j in range(x.shape[1]):
        product, error = two_product(x[:, j], -beta[j])
        high, rest = two_sum(high, product)
        low += rest + error
    return high + low


def _by_qr(x: np.ndarray, y: np.ndarray, u: Sequence[float] | None) -> LinearFit:
    n, p = x.shape
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ParameterError("a reading is not a finite number")
    if u is not None:
        _weights(u, n)
        weight = 1.0 / np.asarray(u, dtype=np.float64)
        xs, ys = x * weight[:, None], y * weight
    else:
        xs, ys = x, y
    scale = np.linalg.norm(xs, axis=0)
    if not scale.all():
        raise ParameterError("the design has no full rank: a column is zero")
    q, r = np.linalg.qr(xs / scale)
    if np.abs(np.diag(r)).min() < n * np.finfo(float).eps:
        raise ParameterError(
            "the design has no full rank in double precision", remedy="centre and scale the columns, or leave one out"
        )
    beta = np.linalg.solve(r, q.T @ ys) / scale
    for _ in range(4):
        beta = beta + np.linalg.solve(r, q.T @ precise_residuals(xs, beta, ys)) / scale
    residuals = precise_residuals(xs, beta, ys)
    rss = math.fsum((residuals * residuals).tolist())
    dof = n - p
    inverse = np.linalg.solve(r, np.eye(p)) / scale[:, None]
    variance = rss / dof if dof else 0.0
    covariance = inverse @ inverse.T * (1.0 if u is not None else variance)
    constant = bool(np.any(np.ptp(x, axis=0) == 0.0))
    centre = float(np.average(y, weights=None if u is None else weight**2)) if constant else 0.0
    shifted = (y - centre) * (1.0 if u is None else weight)
    total = math.fsum((shifted * shifted).tolist())
    others = p - 1 if constant else p
    f = (total - rss) / others / variance if others and variance else math.inf
    errors = np.sqrt(np.diag(covariance))
    ratio = (total - rss) / total if total else 1.0
    return LinearFit(beta, errors, covariance, rss, math.sqrt(variance), dof, n, ratio, f, u is None, "QR, refined")
