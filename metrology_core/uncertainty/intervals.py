"""Coverage intervals and regions from Monte Carlo values (JCGM 101 7.7, JCGM 102 7.7), and the numerical tolerance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metrology_core.errors import ParameterError

IntervalKind = Literal["shortest", "symmetric"]
RegionKind = Literal["ellipsoid", "box", "smallest"]


def numerical_tolerance(u: float, digits: int = 2) -> float:
    """Numerical tolerance of a standard uncertainty known to ``digits`` significant digits (JCGM 101 7.9.2).

    ``u = c 10^l`` with c a whole number of that many digits; the tolerance is ``10^l / 2``. Raises `ParameterError`
    for u = 0 (a stationary point): no number of digits means anything there.
    """
    if not (math.isfinite(u) and u > 0.0):
        raise ParameterError(
            "a numerical tolerance needs a positive standard uncertainty",
            got=repr(u),
            remedy="the linear law gives u = 0 at a stationary point of the model, or where correlated inputs cancel: "
            "use Monte Carlo or second order",
        )
    if digits < 1:
        raise ParameterError("significant digits", expected=">= 1", got=repr(digits))
    exponent = math.floor(math.log10(u)) - (digits - 1)
    if round(u / 10.0**exponent) >= 10**digits:  # 9.96 with two digits is 10
        exponent += 1
    return 0.5 * 10.0**exponent


def coverage_interval(ordered: np.ndarray, p: float, kind: IntervalKind = "shortest") -> tuple[float, float]:
    """Interval of probability ``p`` of sorted values (JCGM 101 7.7): probabilistically symmetric, or the shortest."""
    m = len(ordered)
    if not 0.0 < p < 1.0:
        raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
    q = int(p * m + 0.5)
    if not 0 < q < m:
        raise ParameterError("too few trials for this coverage probability", got=f"{m} trials, p = {p}")
    if kind == "symmetric":
        r = (m - q) // 2 if (m - q) % 2 == 0 else (m - q + 1) // 2
        r = max(r, 1)
    elif kind == "shortest":
        r = 1 + int(np.argmin(ordered[q:] - ordered[: m - q]))
    else:
        raise ParameterError(f"unknown interval {kind!r}", expected="shortest or symmetric")
    return float(ordered[r - 1]), float(ordered[r + q - 1])


def tail_sorted(values: np.ndarray, p: float) -> np.ndarray:
    """A copy in which the ``1 - p`` smallest and largest values are sorted, which is all an interval looks at."""
    m = len(values)
    q = int(p * m + 0.5)
    k = m - q
    if k * 4 > m:
        return np.sort(values)
    out = np.partition(values, (k, q - 1))
    out[: k + 1].sort()
    out[q - 1 :].sort()
    return out


@dataclass(frozen=True, eq=False)
class Region:
    """A coverage region of a vector output.

    ``ellipsoid``: ``(y - centre)' U^-1 (y - centre) <= k^2`` with ``axes`` (m, m), half axes as columns; ``box``:
    ``centre +- k u``; ``smallest``: the union of ``cells`` (n, m) (lower corners) of size ``cell`` (m,).
    ``volume`` is that of the region.
    """

    kind: RegionKind
    p: float
    k: float
    centre: np.ndarray
    u: np.ndarray
    volume: float
    axes: np.ndarray | None = None
    cells: np.ndarray | None = None
    cell: np.ndarray | None = None

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (n, m) lie inside."""
        d = np.atleast_2d(points) - self.centre
        if self.kind == "box":
            return np.all(np.abs(d) <= self.k * self.u, axis=1)
        if self.kind == "ellipsoid":
            assert self.axes is not None
            lengths = np.linalg.norm(self.axes, axis=0)
            z = d @ (self.axes / lengths) / lengths
            return (z * z).sum(axis=1) <= 1.0
        assert self.cells is not None and self.cell is not None
        origin = self.cells.min(axis=0)
        index = np.floor((np.atleast_2d(points) - origin) / self.cell + 1e-9).astype(np.int64)
        inside = {tuple(row) for row in np.rint((self.cells - origin) / self.cell).astype(np.int64)}
        return np.array([tuple(row) in inside for row in index])


def coverage_region(values: np.ndarray, p: float, kind: RegionKind, *, cells: int = 50) -> Region:
    """Region of probability ``p`` from Monte Carlo values (m, M) (JCGM 102 7.7.2 to 7.7.4).

    ``smallest`` counts values in a grid of ``cells`` per axis over their range and keeps the fullest cells; it is for
    two or three outputs. Raises `ParameterError` for outputs that are dependent (ellipsoid) or exact.
    """
    m, count = values.shape
    if not 0.0 < p < 1.0:
        raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
    centre, u = values.mean(axis=1), values.std(axis=1, ddof=1)
    # differences of equal inputs leave their rounding, some units in the last place of the value
    if not (u > 8.0 * np.finfo(float).eps * np.abs(centre)).all():
        raise ParameterError("an output does not vary: leave it out of the region")
    need = min(count - 1, int(p * count + 0.5))
    if kind == "ellipsoid":
        covariance = np.atleast_2d(np.cov(values))
        r = covariance / np.outer(u, u)
        if np.linalg.eigvalsh(r).min() < 1e-12:
            raise ParameterError("the outputs are linearly dependent", remedy="leave one out of the region")
        z = np.linalg.solve(np.linalg.cholesky(r), (values - centre[:, None]) / u[:, None])
        k = math.sqrt(float(np.partition((z * z).sum(axis=0), need - 1)[need - 1]))
        lengths, vectors = np.linalg.eigh(covariance)
        axes = vectors * (k * np.sqrt(lengths))
        ball = math.pi ** (m / 2.0) / math.gamma(m / 2.0 + 1.0)
        return Region(kind, p, k, centre, u, ball * float(np.prod(k * np.sqrt(lengths))), axes)
    if kind == "box":
        reach = np.max(np.abs(values - centre[:, None]) / u[:, None], axis=0)
        k = float(np.partition(reach, need - 1)[need - 1])
        return Region(kind, p, k, centre, u, float(np.prod(2.0 * k * u)))
    if kind != "smallest":
        raise ParameterError(f"unknown region {kind!r}", expected="ellipsoid, box or smallest")
    if m > 3:
        raise ParameterError("the smallest region is counted for two or three outputs", got=f"{m}")
    low, high = values.min(axis=1), values.max(axis=1)
    size = (high - low) / cells
    index = np.minimum(((values - low[:, None]) / size[:, None]).astype(np.int64), cells - 1)
    flat = np.ravel_multi_index(tuple(index), (cells,) * m)
    counts = np.bincount(flat, minlength=cells**m)
    order = np.argsort(-counts, kind="stable")
    filled = int(np.searchsorted(np.cumsum(counts[order]), p * count)) + 1
    chosen = np.array(np.unravel_index(np.sort(order[:filled]), (cells,) * m)).T
    corners = low + chosen * size
    return Region(kind, p, math.nan, centre, u, filled * float(np.prod(size)), cells=corners, cell=size)
