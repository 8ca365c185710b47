"""How the places of edges scatter about their lattice: variance components, exact for a finite number of edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrology_core.quantity import two_sided_factor
from wafer.edges import EdgeSet
from wafer.lines.places import noise_covariance

if TYPE_CHECKING:
    from wafer.lines.pitch import PitchFit

_LEAST_PAIRS = 3  # of each kind of stripe
_LEAST_DOF = 3
_WALK_EDGES = 12  # from here on an alternation of the places is told apart from scatter
_DOMINANT = 0.98  # largest share of the variance in the two covariances: the matrix stays positive


@dataclass(frozen=True, eq=False)
class Scatter:
    """Scatter of the places of edges, in squared pixels.

    One variance for all edges, one covariance for the two edges of a bright stripe and one for those of a dark one
    (``parts``, (3,), noise taken off; ``total`` with noise). ``matrix`` (n_edges, n_edges) is their covariance without
    noise, alternation of the places (pitch walk) added. ``seen`` (3,) is ``total`` with the covariances as far as
    chance does not explain them, ``spread`` (3, 3) the covariance of the estimates of ``total`` if ``seen`` is true.
    """

    matrix: np.ndarray
    parts: np.ndarray
    total: np.ndarray
    seen: np.ndarray
    spread: np.ndarray
    pairs: tuple[np.ndarray, np.ndarray]

    def of(self, weights: np.ndarray) -> np.ndarray:
        """(3,): how often variance and covariances enter the variance of ``weights @ places``."""
        product = weights[:-1] * weights[1:]
        return np.array([weights @ weights, *(2.0 * float(product[mine].sum()) for mine in self.pairs)])

    def dof(self, weights: np.ndarray) -> float:
        """Degrees of freedom of the sampling variance of ``weights @ places``.

        That is a difference of the total variance, whose degrees of freedom are those of `total_dof`, and of the noise,
        which is known: as much of the variance as is sampling carries all of its spread.
        """
        t = self.of(weights)
        total, own = float(t @ self.total), float(t @ self.parts)
        return max(1.0, self.total_dof(weights) * (own / total) ** 2) if total > 0.0 and own > 0.0 else 1.0

    def total_dof(self, weights: np.ndarray) -> float:
        """``2 T^2 / var(T)`` of the total variance T of ``weights @ places`` (Satterthwaite), from ``seen``: taken from
        the estimate itself they would be small wherever it is, and intervals too wide."""
        t = self.of(weights)
        total, variance = float(t @ self.seen), float(t @ self.spread @ t)
        return max(1.0, 2.0 * total * total / variance) if total > 0.0 and variance > 0.0 else 1.0


class _Forms:
    """The quadratic forms r'r, r'Br and r'Dr of the residuals r: sums of squares, of products over bright stripes (B)
    and over dark ones (D); their expectations and covariances are traces."""

    def __init__(self, design: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> None:
        n = design.shape[0]
        q = np.linalg.qr(design)[0]
        self.residual = np.eye(n) - q @ q.T
        self.kernels = [np.eye(n)]
        for mine in pairs:
            kernel = np.diag(mine.astype(np.float64), 1)
            self.kernels.append(kernel + kernel.T)
        self.forms = [self.residual @ k @ self.residual for k in self.kernels]
        expected = np.stack(self.forms).reshape(3, -1) @ np.stack(self.kernels).reshape(3, -1).T
        self.solve = np.linalg.inv(expected)

    def estimate(self, rest: np.ndarray) -> np.ndarray:
        """Unbiased (3,) components: the forms set equal to their expectations (Rao's MINQUE with the weights of
        independent edges, J. Multivariate Anal. 1 (1971) 257)."""
        return np.asarray(self.solve @ np.array([float(rest @ f @ rest) for f in self.forms]))

    def spread(self, parts: np.ndarray) -> np.ndarray:
        """(3, 3) covariance of the estimates where ``parts`` are true: cov(r'Fr, r'Gr) = 2 tr(F S G S)."""
        matrix = sum(p * k for p, k in zip(parts, self.kernels, strict=True))
        each = np.stack(self.forms) @ matrix
        between = 2.0 * each.reshape(3, -1) @ each.transpose(0, 2, 1).reshape(3, -1).T
        return np.asarray(self.solve @ between @ self.solve.T)


def edge_scatter(edges: EdgeSet, fit: PitchFit, beside: np.ndarray | None = None) -> Scatter | None:
    """Scatter of the places about the lattice of ``fit``; None for less than three stripes of each kind. ``beside``
    (n_edges,): one more column of the design, whose share is no scatter either.

    Lines that vary make neighbouring spaces vary together, so the scatter of the spaces alone tells too little about
    their mean. The same edges read as lines or as spaces (an inverted image) give the same scatter.
    """
    index = np.flatnonzero(np.isfinite(fit.residual))
    n, n_all = index.size, fit.residual.size
    polarity = edges.polarity[index]
    next_to = np.diff(index) == 1
    pairs = (next_to & (polarity[:-1] > 0), next_to & (polarity[:-1] < 0))
    design = fit.design[index] if beside is None else np.column_stack([fit.design[index], beside[index]])
    walk = np.zeros((n, 0))
    if n >= _WALK_EDGES:
        # Pitch walk is no scatter: it moves every second line. Each polarity has its own amplitude.
        side = polarity > 0
        walk = np.zeros((n, 2))
        for column, mine in enumerate((side, ~side)):
            walk[mine, column] = np.where(fit.number[index][mine] % 2 == 0, 1.0, -1.0)
        design = np.column_stack([design, walk])
    if min(int(mine.sum()) for mine in pairs) < _LEAST_PAIRS or n - design.shape[1] < _LEAST_DOF:
        return None
    forms = _Forms(design, pairs)
    rest = forms.residual @ fit.residual[index]
    total = forms.estimate(rest)
    if not total[0] > 0.0:
        return None
    total[1:] = _held(total[1:], total[0])
    noise = float(np.diag(noise_covariance(edges))[index].mean())
    parts = total.copy()
    parts[0] = max(total[0] - noise, 0.0)
    parts[1:] = _held(total[1:], parts[0])
    # Satterthwaite's degrees of freedom take the components as known. Covariances that are nothing but chance make
    # them too small on average: they enter as far as they are seen (positive part of 1 - variance / square).
    chance = np.diag(forms.spread(np.array([total[0], 0.0, 0.0])))[1:]
    seen = total.copy()
    seen[1:] *= np.maximum(0.0, 1.0 - chance / np.maximum(total[1:] ** 2, 1e-300))
    spread = forms.spread(seen)
    matrix = np.zeros((n_all, n_all))
    matrix[np.ix_(index, index)] = sum(p * k for p, k in zip(parts, forms.kernels, strict=True))
    if walk.size:
        shift = np.zeros(n_all)
        shift[index] = walk @ np.linalg.lstsq(design, fit.residual[index], rcond=None)[0][-2:]
        matrix += np.outer(shift, shift)
    marks = tuple(np.zeros(n_all - 1, bool) for _ in pairs)
    for target, mine in zip(marks, pairs, strict=True):
        target[index[:-1][mine]] = True
    return Scatter(matrix, parts, total, seen, spread, (marks[0], marks[1]))


def _held(covariances: np.ndarray, variance: float) -> np.ndarray:
    """Both covariances so that the matrix stays positive (their magnitudes add up to less than the variance): the
    weaker one gives way."""
    out = covariances.copy()
    strong = int(np.argmax(np.abs(out)))
    out[strong] = np.clip(out[strong], -_DOMINANT * variance, _DOMINANT * variance)
    left = _DOMINANT * variance - abs(float(out[strong]))
    out[1 - strong] = np.clip(out[1 - strong], -left, left)
    return out


@dataclass(frozen=True)
class WidthTrend:
    """A trend of the widths over the field, in pixels: ``change`` of the width from line to line with its standard
    uncertainty ``change_u``, and what it adds to the standard uncertainty of the pitch and of the widths."""

    change: float
    change_u: float
    pitch_u: float
    width_u: float


def width_trend(edges: EdgeSet, fit: PitchFit) -> WidthTrend | None:
    """How the widths change over the field beyond what the scan stretches, and what follows from it.

    Where lines become wider along the field, begins and ends of lines have pitches of their own. Their mean is the
    pitch if the cause moves both alike; whatever share of it falls on one of them, the pitch lies between the two. And
    lines of one field are no independent samples of their width then: it lies within what they span. Both are
    rectangular distributions, with the chance part taken off; zero where chance explains the trend (95 % limit of a t
    test). A trend of lines is the opposite one of spaces. None for too few edges.
    """
    index = np.flatnonzero(np.isfinite(fit.residual))
    side = np.where(edges.polarity == fit.begins, -1.0, 1.0)
    trend = side * (fit.number - fit.number.mean())
    scatter = edge_scatter(edges, fit, trend)
    column = trend[index]
    column = column - fit.design[index] @ np.linalg.lstsq(fit.design[index], column, rcond=None)[0]
    norm = float(column @ column)
    if scatter is None or not norm > 0.0:
        return None
    weights = np.zeros(fit.residual.size)
    weights[index] = 2.0 * column / norm  # both edges move apart
    change = float(weights[index] @ fit.residual[index])
    variance = max(float(scatter.of(weights) @ scatter.total), 0.0)
    change_u = math.sqrt(variance)
    seen = abs(change) > two_sided_factor(0.95, scatter.total_dof(weights)) * change_u
    u = math.sqrt((change**2 - variance) / 12.0) if seen else 0.0
    return WidthTrend(change, change_u, u, u * 0.5 * float(index[-1] - index[0]))
