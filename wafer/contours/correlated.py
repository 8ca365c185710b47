"""Mean and spread of edge placement errors that hang together along edges.

Errors of neighbouring vertices are alike over the correlation length of the process, and a registered design has been
drawn to them, so the plain formulas claim too much. Here the decay of the correlation along the *boundary* of each
polygon is fitted, R(t) = exp(-(t/xi)^(2H)) over the distance t along it, corners and unseen stretches included;
polygons are independent. With it follow

* what the errors lost to the mean and the registration, which are linear in the distances: d = E y + B (K y), so the
  expected mean square is s^2 c plus noise with c < 1 (0.93 to 0.98 for images of 320 to 512 px);
* how far the mean square scatters: Gaussian, Var = 2 tr(C C), C the covariance of d; and beside it by the scatter of
  the mean square between pieces of boundaries, which knows edges of unlike roughness. The larger of the two counts;
* the variance of the mean: cluster-robust over pieces (Liang and Zeger, Biometrika 73 (1986) 13), with the bias that
  registration and unlike lengths of the pieces cause taken off under R, and Satterthwaite's degrees of freedom (Bell
  and McCaffrey, Survey Methodology 28 (2002) 169).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metrology_core.spreads import mean_variance_spread

_CELL = 4.0  # px of an edge whose vertices count as one place in sums over pairs
_PIECE = 32.0  # px, least length of a piece
_PIECES = 4.0  # decay lengths in a piece: pieces are independent but for their ends
_MOST_LAG = 256.0  # px, longest decay that is looked for
_UNSEEN = 8.0  # px, correlation length where none is seen: a quarter of the least piece
_LEAST_OF_MODEL = 0.1  # share of its own variance that the scatter of pieces must be able to show
_LENGTHS = np.exp(np.linspace(0.0, math.log(_MOST_LAG), 100))  # px, candidates of xi: 6 % apart
_HURSTS = np.linspace(0.25, 1.0, 16)


@dataclass(frozen=True)
class Decay:
    """Correlation exp(-(t/length)^(2 hurst)) of errors ``t`` apart along an edge; ``seen`` whether they showed one."""

    length: float
    hurst: float
    seen: bool

    def __call__(self, t: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.exp(-((t / self.length) ** (2.0 * self.hurst)))
        return result

    @property
    def reach(self) -> float:
        """Distance at which a tenth is left."""
        return self.length * math.log(10.0) ** (0.5 / self.hurst)


@dataclass(frozen=True, eq=False)
class Spread:
    """``variance`` of the process about its mean with standard uncertainty ``u`` and ``dof`` of that, ``gaussian`` the
    one that the decay gives; ``quantiles`` of its root; ``noise`` the mean variance of single vertices; ``lost`` share
    of the variance that mean and registration took. ``mean_variance``, ``mean_dof`` of the mean, noise included.
    ``pieces`` of boundaries that counted."""

    variance: float
    u: float
    gaussian: float
    dof: float
    quantiles: np.ndarray
    noise: float
    lost: float
    mean_variance: float
    mean_dof: float
    decay: Decay
    pieces: int


@dataclass(frozen=True, eq=False)
class Errors:
    """Edge placement errors ``epe`` (n,) of all vertices, ``own`` (n,) variances of their noise; ``boundary`` (n,)
    number or -1, ``place`` (n,) along it, ``around`` by boundary number: length of a closed one, else inf. ``regular``
    indices of those whose mean and spread are asked for; ``j`` (n, 4) change of an error per motion of the design,
    ``solve`` (4, n) motion per change of a distance; ``px`` length of a pixel."""

    epe: np.ndarray
    own: np.ndarray
    boundary: np.ndarray
    place: np.ndarray
    around: np.ndarray
    regular: np.ndarray
    j: np.ndarray
    solve: np.ndarray
    px: float


def spread_of(e: Errors) -> Spread:
    """Mean and spread of the errors at ``regular``; needs ten or more vertices."""
    f = _Fitted(e)
    s, n, k, b, cells, own = e.regular, e.regular.size, f.k, f.b, f.cells, e.own[e.regular]
    # covariance of the errors: blocks + noise + [b, m] w [b, m]'
    m = f.process * f.rk[cells.of[s]] + own[:, None] * k[:, s].T
    whole = f.process * (cells.k @ f.rk) + (k * e.own) @ k.T
    u = np.column_stack((b, m))
    weight = cells.counts(s)
    squares = sum(float(weight[p] @ (r * r) @ weight[p]) for p, r in zip(cells.parts, f.blocks, strict=True))
    squares += float(np.sum((f.process + own) ** 2 - f.process**2))
    middle = _product(f.blocks, cells.parts, cells.sums(u, s)) + (u * own[:, None]).T @ u
    gaussian = math.sqrt(2.0 * _square_trace(squares, middle, u.T @ u, _hinge(whole))) / n
    share = np.bincount(f.piece[s], minlength=f.pieces) / n
    of_piece = np.bincount(f.piece[s], weights=f.d * f.d - f.square, minlength=f.pieces)
    alone = 1.0 - float(np.sum(share**2))
    between = math.sqrt(float(np.sum(of_piece**2)) / alone) / n if alone > 0.0 else 0.0
    u_square = max(gaussian, between)
    mean_variance, mean_dof = f.of_linear(k[0] + e.j[s].mean(axis=0) @ e.solve)
    quantiles = mean_variance_spread(
        max(f.square / f.kept, 0.0), u_square / f.kept, f.dof, max(f.noise / f.kept, 0.0)
    )  # fmt: skip
    return Spread(f.variance, u_square / f.kept, gaussian / f.kept, f.dof, quantiles, float(own.mean()), 1.0 - f.kept,
                  mean_variance, mean_dof, f.decay, f.pieces)  # fmt: skip


def linear_variance(e: Errors, row: np.ndarray) -> tuple[float, float]:
    """Variance and its degrees of freedom of ``row`` (n,) times the distances, a linear map of those that the errors
    were registered by (a row of ``solve``)."""
    return _Fitted(e).of_linear(row)


class _Fitted:
    """Errors with their decay and what follows from it: ``d`` the errors less their mean, equal to y + b (k y) of the
    distances y; ``square`` their mean square, of which ``noise`` is noise and ``kept`` a share of the process'
    ``variance``; ``blocks`` its covariance over stretches, ``piece`` numbers."""

    def __init__(self, e: Errors) -> None:
        self.e = e
        s = e.regular
        n, count = s.size, e.epe.size
        self.d = e.epe[s] - e.epe[s].mean()
        self.held = np.any(e.solve != 0.0, axis=1)
        one = np.zeros(count)
        one[s] = 1.0 / n
        self.k = k = np.vstack((one[None], e.solve[self.held]))
        self.b = b = np.column_stack((-np.ones(n), (e.j[s] - e.j[s].mean(axis=0))[:, self.held]))
        self.cells = cells = _Cells(e, k)
        self.decay, self.rk = _decay(e, cells, self.d, b)
        own = e.own[s]
        self.noise = float(own.sum() + 2.0 * np.sum(own * np.einsum("ik,ki->i", b, k[:, s]))
                           + np.trace((b.T @ b) @ ((k * e.own) @ k.T))) / n  # fmt: skip
        pulled = 2.0 * np.sum(cells.sums(b, s) * self.rk) + np.trace((b.T @ b) @ cells.k @ self.rk)
        self.kept = 1.0 + float(pulled) / n
        self.square = float(np.mean(self.d * self.d))
        self.variance = (self.square - self.noise) / self.kept
        self.process = max(self.variance, 1e-4 * self.square)
        self.blocks = [self.process * r for r in cells.correlations(self.decay)]
        self.piece = _pieces(e, cells, self.decay)
        self.pieces = int(self.piece.max()) + 1
        share = np.bincount(self.piece[s], minlength=self.pieces) / n
        self.dof = max(1.0 / float(np.sum(share**2)) - 1.0, 1.0)

    def of_linear(self, a: np.ndarray) -> tuple[float, float]:
        """Variance of a' y by the scatter of pieces, and its degrees of freedom.

        Scores a_g' r_g of pieces are q_g' y of the distances, and their expected products G = q' V q under the model
        say how much of a' V a the pieces show.
        """
        e, cells, process, k, rk = self.e, self.cells, self.process, self.k, self.rk
        s, count = e.regular, e.epe.size
        residual = np.zeros(count)
        residual[s] = self.d
        full = np.zeros((count, self.b.shape[1]))
        full[s] = self.b
        # line ends that hold the place have a mean of their own
        others = np.flatnonzero((a != 0.0) & np.isfinite(e.epe) & ~np.isin(np.arange(count), s))
        others = others[cells.of[others] >= 0]
        if others.size:
            residual[others] = e.epe[others] - e.epe[others].mean()
            full[others, 1:] = (e.j[others] - e.j[others].mean(axis=0))[:, self.held]
            full = np.column_stack((full, np.where(np.isin(np.arange(count), others), -1.0, 0.0)))
            row = np.zeros(count)
            row[others] = 1.0 / others.size
            k = np.vstack((k, row[None]))
            extra = cells.sums(row[cells.inside, None], cells.inside)
            extra = np.concatenate([r @ extra[p] for p, r in zip(cells.parts, self.blocks, strict=True)]) / process
            rk = np.column_stack((rk, extra))
        at, total = cells.inside, self.pieces

        def by_piece(values: np.ndarray) -> np.ndarray:
            return np.bincount(self.piece[at], weights=values[at], minlength=total)

        of_cell = np.zeros(cells.size, np.int64)
        of_cell[cells.of[at]] = self.piece[at]
        weight = cells.sums(a[at, None], at)[:, 0]
        noise = by_piece(a * a * e.own)
        plain, squares, seen = 0.0, 0.0, []
        for part, block in zip(cells.parts, self.blocks, strict=True):
            mine = of_cell[part]
            first = int(mine.min())
            rows = np.zeros((int(mine.max()) - first + 1, mine.size))
            rows[mine - first, np.arange(mine.size)] = weight[part]
            inner = rows @ block @ rows.T + np.diag(noise[first : first + len(rows)])
            plain += float(inner.sum())
            squares += float(np.sum(inner**2))
            seen.append((slice(first, first + len(rows)), inner))
        ab = np.column_stack([by_piece(a * column) for column in full.T])
        avk = np.column_stack([
            process * np.bincount(of_cell, weights=weight * rk[:, c], minlength=total) + by_piece(a * e.own * k[c])
            for c in range(len(k))
        ])  # fmt: skip
        whole = process * cells.sums(k[:, at].T, at).T @ rk + (k * e.own) @ k.T
        w = _hinge(whole)
        u = np.column_stack((ab, avk))
        trace = sum(float(np.trace(inner)) for _, inner in seen) + float(np.sum((u @ w) * u))
        middle = sum(u[p].T @ inner @ u[p] for p, inner in seen)
        squared = _square_trace(squares, np.asarray(middle), u.T @ u, w)
        if not (trace > _LEAST_OF_MODEL * plain and squared > 0.0):
            return plain, self.dof  # pieces that hold the place alone say nothing of it
        scores = by_piece(a * residual)
        return float(np.sum(scores**2)) * plain / trace, max(trace**2 / squared, 1.0)


class _Cells:
    """Vertices in short stretches of boundaries: ``of`` (n,) number of the stretch, -1 outside; ``parts`` slices of the
    stretches of each boundary; ``k`` (q, m) sums of the rows of a linear map over stretches."""

    def __init__(self, e: Errors, k: np.ndarray) -> None:
        inside = np.flatnonzero((e.boundary >= 0) & np.isfinite(e.place))
        key = np.column_stack((e.boundary[inside], np.floor(e.place[inside] / (_CELL * e.px))))
        unique, of = np.unique(key, axis=0, return_inverse=True)
        of = of.reshape(-1)
        self.size = len(unique)
        self.of = np.full(e.epe.size, -1)
        self.of[inside] = of
        self.inside = inside
        self.centre = np.bincount(of, weights=e.place[inside], minlength=self.size) / np.bincount(of)
        first = np.flatnonzero(np.r_[True, np.diff(unique[:, 0]) != 0.0])
        self.parts = [slice(int(a), int(z)) for a, z in zip(first, np.r_[first[1:], self.size], strict=True)]
        self.around = e.around[unique[first, 0].astype(np.int64)]
        self.k = self.sums(k[:, inside].T, inside).T

    def sums(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(m, q) sums over stretches of ``values`` (len(at), q) of the vertices ``at``."""
        of = self.of[at]
        result: np.ndarray = np.column_stack([np.bincount(of, weights=c, minlength=self.size) for c in values.T])
        return result

    def counts(self, at: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.bincount(self.of[at], minlength=self.size).astype(np.float64)
        return result

    def correlations(self, decay: Decay) -> Iterator[np.ndarray]:
        for part, around in zip(self.parts, self.around, strict=True):
            t = np.abs(self.centre[part, None] - self.centre[None, part])
            yield decay(np.minimum(t, around - t))


def _product(blocks: list[np.ndarray], parts: list[slice], values: np.ndarray) -> np.ndarray:
    """values' blocks values."""
    total = np.zeros((values.shape[1], values.shape[1]))
    for part, block in zip(parts, blocks, strict=True):
        total += values[part].T @ block @ values[part]
    return total


def _hinge(whole: np.ndarray) -> np.ndarray:
    """Middle of b whole b' + m b' + b m' as [b, m] w [b, m]'."""
    one = np.eye(len(whole))
    result: np.ndarray = np.block([[whole, one], [one, np.zeros_like(one)]])
    return result


def _square_trace(squares: float, middle: np.ndarray, outer: np.ndarray, w: np.ndarray) -> float:
    """tr(C C) of C = A + u w u' from tr(A A), u' A u and u' u."""
    a, b = w @ middle, w @ outer
    return max(squares + 2.0 * float(np.trace(a)) + float(np.trace(b @ b)), 0.0)


def _decay(e: Errors, cells: _Cells, d: np.ndarray, b: np.ndarray) -> tuple[Decay, np.ndarray]:
    """Decay of the correlation by least squares on the mean products of errors over their distance (single vertices
    left out: those hold noise), and R K' over stretches. The products lie too low by what mean and registration took;
    that follows from the decay, so they are found in turn."""
    s = e.regular
    lag, product, count = _products(e, d)
    square = float(np.mean(d * d))
    decay, pull = Decay(_UNSEEN * e.px, 0.5, False), 0.0
    b_sums, weight = cells.sums(b, s), cells.counts(s)
    for _ in range(3):
        lifted = product + pull
        near = float(lifted[:3].mean()) if lag.size > 3 else 0.0
        if not near > max(0.1 * square, 3.0 * square / math.sqrt(max(float(count[:3].sum()), 1.0))):
            decay = Decay(_UNSEEN * e.px, 0.5, False)
            break
        low = np.flatnonzero(lifted < 0.1 * near)
        use = lag <= max(1.5 * float(lag[low[0]] if low.size else lag[-1]), 5.0 * _CELL * e.px)
        t, y, w = lag[use], lifted[use], count[use]
        shape = np.exp(-((t / (_LENGTHS * e.px)[:, None, None]) ** (2.0 * _HURSTS[None, :, None])))
        along, own = shape @ (w * y), (shape * shape) @ w
        gain = np.where(along > 0.0, along**2 / own, -1.0)
        i, h = np.unravel_index(int(np.argmax(gain)), gain.shape)
        decay = Decay(float(_LENGTHS[i]) * e.px, float(_HURSTS[h]), True)
        rk = _times_k(cells, decay)
        krk = cells.k @ rk
        lost = pairs = 0.0
        for part in cells.parts:
            mine = float(weight[part].sum())
            sums = b_sums[part].sum(axis=0)
            lost += float(2.0 * sums @ (weight[part] @ rk[part]) + sums @ krk @ sums)
            pairs += mine * mine
        pull = -float(along[i, h] / own[i, h]) * lost / pairs
    return decay, _times_k(cells, decay)


def _times_k(cells: _Cells, decay: Decay) -> np.ndarray:
    """(m, q) R K'."""
    result: np.ndarray = np.concatenate(
        [r @ cells.k[:, part].T for part, r in zip(cells.parts, cells.correlations(decay), strict=True)]
    )
    return result


def _products(e: Errors, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, mean products of the errors of pairs of vertices of a boundary, and numbers of pairs, in bins."""
    s = e.regular
    order = np.lexsort((e.place[s], e.boundary[s]))
    boundary, place, r = e.boundary[s][order], e.place[s][order], d[order]
    step = _CELL * e.px
    bins = int(_MOST_LAG / _CELL)
    total, count, distance = np.zeros(bins), np.zeros(bins), np.zeros(bins)
    for lag in range(2, min(s.size, int(_MOST_LAG)) + 1):
        same = boundary[lag:] == boundary[:-lag]
        t = (place[lag:] - place[:-lag])[same]
        if not t.size or float(np.median(t)) > bins * step:
            break
        t = np.minimum(t, e.around[boundary[lag:][same]] - t)
        k = np.floor(t / step).astype(np.int64)
        good = (k >= 0) & (k < bins)
        total += np.bincount(k[good], weights=(r[lag:] * r[:-lag])[same][good], minlength=bins)
        distance += np.bincount(k[good], weights=t[good], minlength=bins)
        count += np.bincount(k[good], minlength=bins)
    seen = count > 0.0
    return distance[seen] / count[seen], total[seen] / count[seen], count[seen]


def _pieces(e: Errors, cells: _Cells, decay: Decay) -> np.ndarray:
    """(n,) numbers of equally long pieces of boundaries, made of whole stretches; -1 outside."""
    length = max(_PIECE * e.px, _PIECES * decay.reach)
    of_cell = np.empty(cells.size, np.int64)
    number = 0
    for part in cells.parts:
        at = cells.centre[part]
        low, span = float(at[0]), float(at[-1] - at[0]) + _CELL * e.px
        count = max(1, round(span / length))
        inner = np.minimum(((at - low) / span * count).astype(np.int64), count - 1)
        _, inner = np.unique(inner, return_inverse=True)
        of_cell[part] = number + inner
        number += int(inner.max()) + 1
    result = np.full(e.epe.size, -1)
    result[cells.inside] = of_cell[cells.of[cells.inside]]
    return result
