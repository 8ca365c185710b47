"""`CorrelatedField`: errors along a surface, as declared or estimated, and what they do to a linear result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.fields import cells, circulant, sampling
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import METRICS, Coordinates, coordinates

SPREAD_ERROR = 2e-3  # relative error of variances by the grid: largest seen beside all pairs, see the tests
CELL_ERROR = 2e-3  # and by the cells


@dataclass(frozen=True, eq=False)
class CorrelatedField:
    """Errors of points along the surface normal: a correlated part and an independent one.

    ``sigma``: standard deviation of the correlated part (a number, or (n,) for the points that the field will meet);
    ``kernel``: its correlation; ``nugget``: standard deviation of an independent part beside it; ``metric``: auto |
    geodesic | wrapped | chordal (`surfaces.coordinates`). Lengths in the unit of the points. Raises `ParameterError`.
    """

    sigma: Any
    kernel: Kernel
    nugget: float = 0.0
    metric: str = "auto"

    def __post_init__(self) -> None:
        sigma = np.asarray(self.sigma, dtype=np.float64)
        if sigma.ndim > 1 or not np.isfinite(sigma).all() or (sigma < 0.0).any():
            raise ParameterError(
                "sigma of a field is a standard deviation, or one per point", got=repr(self.sigma)[:80]
            )
        if not (math.isfinite(self.nugget) and self.nugget >= 0.0):
            raise ParameterError("the independent part of a field is a standard deviation", got=repr(self.nugget))
        if self.metric not in METRICS:
            raise ParameterError("unknown distance", expected=", ".join(METRICS), got=repr(self.metric))
        if not isinstance(self.kernel, Kernel):
            raise ParameterError(
                "a field needs a kernel", expected="for example exponential(2.0)", got=repr(self.kernel)
            )

    def on(self, feature: Any, xyz: Any) -> FieldOnPoints:
        """The field at points xyz (n, 3 or 2) of a feature (None: points in space)."""
        xyz = np.asarray(xyz, dtype=np.float64)
        at = coordinates(feature, xyz, self.kernel, self.metric)
        sigma = np.asarray(self.sigma, dtype=np.float64)
        if sigma.ndim == 1 and len(sigma) != len(xyz):
            raise ParameterError("sigma does not fit the points", expected=f"{len(xyz)} numbers", got=str(len(sigma)))
        return FieldOnPoints(self, at, np.ascontiguousarray(np.broadcast_to(sigma, len(xyz))))

    @property
    def total(self) -> float:
        """Standard deviation of one point (root mean square where it differs): both parts together."""
        return math.sqrt(float(np.mean(np.square(self.sigma))) + self.nugget**2)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        s = np.asarray(self.sigma)
        return {
            **self.kernel.to_dict(),
            "sigma": float(s) if s.ndim == 0 else "per point",
            "nugget": self.nugget,
            "metric": self.metric,
        }


@dataclass(frozen=True, eq=False)
class Sandwich:
    """``G C G'`` (p, p) and how it was made.

    ``method``: ``circulant`` (exact), ``pairs`` (all pairs, exact), ``grid`` (points spread onto a fine grid, FFT),
    ``cells`` (points of small cells act together), ``independent``;
    ``words`` for a report; ``relative`` an estimate of the relative error of variances (0: exact).
    """

    value: np.ndarray
    method: str
    words: str
    relative: float


@dataclass(frozen=True, eq=False)
class FieldOnPoints:
    """A field at given points: products with its covariance, its matrix (small n), its samples, effective numbers."""

    field: CorrelatedField
    at: Coordinates
    sigma: np.ndarray

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.sigma)

    def sandwich(self, sensitivities: Any) -> Sandwich:
        """``G C G'`` for G (p, n): covariance of p linear results of the errors, without the matrix C (n, n).

        Full circles with equal steps and complete grids on lines, planes and cylinders: exact by FFT. Up to
        `cells.EXACT_POINTS` points: all pairs. More: a fine grid on lines, planes, circles and cylinders, else cells.
        """
        g = np.asarray(sensitivities, dtype=np.float64)
        if g.ndim != 2 or g.shape[1] != self.n:
            raise ParameterError(
                "sensitivities do not fit the points", expected=f"(p, {self.n})", got=str(np.shape(sensitivities))
            )
        used = np.flatnonzero((g != 0.0).any(axis=0)) if self.n > cells.EXACT_POINTS else np.arange(self.n)
        kernel = self.field.kernel
        h = np.ascontiguousarray((g * self.sigma).T)
        value, method, words, relative = np.zeros((len(g), len(g))), "independent", "independent errors", 0.0
        if (self.sigma > 0.0).any() and len(used):
            # results held by a few points (contacts) need no grid
            grid = circulant.find_grid(self.at) if len(used) == self.n else None
            found = None if grid is None else circulant.product(grid, self.at, kernel, h)
            if found is not None:
                value, method, words = found, "circulant", f"exact by FFT, {self.at.words}"
            else:
                at, part = self.at, h
                if len(used) < self.n:
                    part = np.ascontiguousarray(h[used])
                    at = Coordinates(
                        self.at.x[used], self.at.metric, self.at.numbers, self.at.along, self.at.words, self.at.place
                    )
                value, method, words, relative = _pairs(at, kernel, part)
        if self.field.nugget > 0.0:
            value = value + self.field.nugget**2 * np.einsum("an,bn->ab", g, g)
        return Sandwich(value, method, words, relative)

    def matrix(self) -> np.ndarray:
        """C (n, n), for up to 5000 points."""
        if self.n > 5000:
            raise ParameterError("the matrix would be too large", expected="up to 5000 points", got=str(self.n))
        c = sampling.dense(self.at, self.field.kernel) * np.outer(self.sigma, self.sigma)
        c[np.diag_indices_from(c)] += self.field.nugget**2
        return c

    def sampler(self, seed: int, id: str) -> sampling.FieldSampler:
        """Draws of the errors: ``sampler(start, stop)`` gives (stop - start, n); pass it to `fit_trials`.

        ``id`` names the cause: two samplers with the same seed, id and points give the same errors.
        """
        return sampling.sampler(self.at, self.field.kernel, self.sigma, self.field.nugget, seed, id)

    def effective_number(self, sensitivities: Any = None) -> np.ndarray:
        """(p,) number of independent points of the same standard deviation and geometry that would know the results
        as well: ``n u_independent^2 / u^2``; default: for the mean of the errors."""
        g = np.full((1, self.n), 1.0 / self.n) if sensitivities is None else np.asarray(sensitivities, dtype=np.float64)
        return effective(self, g, self.sandwich(g).value)


def _pairs(at: Coordinates, kernel: Kernel, h: np.ndarray) -> tuple[np.ndarray, str, str, float]:
    """``H' R H`` of points that fill no grid, the method, words and the estimated relative error."""
    if len(h) > cells.EXACT_POINTS:
        spread = circulant.spread_product(at, kernel, h)
        if spread is not None:
            return spread[0], "grid", f"spread onto {spread[1]} nodes, {at.words}", SPREAD_ERROR
    pairs = cells.pair_sum(at, kernel, h)
    if len(h) <= cells.EXACT_POINTS:
        return pairs.value, "pairs", f"all pairs, {at.words}", 0.0
    words = f"{pairs.cells} cells of points, {at.words}"
    if pairs.rows < 1.0:
        words += f", {pairs.rows:.0%} of the rows"
    return pairs.value, "cells", words, math.hypot(pairs.relative, CELL_ERROR)


def effective(field: FieldOnPoints, g: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """n times the variance that independent errors would give over the one there is; NaN where there is none."""
    variance = field.sigma**2 + field.field.nugget**2
    white = np.einsum("an,n->a", g**2, variance)
    there = np.diag(covariance)
    return np.asarray(np.divide(field.n * white, there, out=np.full(len(g), math.nan), where=there > 0.0))
