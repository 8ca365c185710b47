"""Noise of quantities that are linear in the edges of contours, propagated exactly from the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wafer.contours.grey import GreyNoise
from wafer.contours.strips import STEP, add_row_lags, smoothed_grey
from wafer.contours.trace import REACH, Trace, side_by_side
from wafer.kernels.strips import combine_noise

_TILE = 192  # rows of weights at a time


@dataclass(frozen=True, eq=False)
class _Part:
    """Strips of one kind: feet and normals, weights of their samples (strips, samples), place of the first one."""

    x: np.ndarray
    y: np.ndarray
    ux: np.ndarray
    uy: np.ndarray
    along: np.ndarray
    first: float

    def lay(self, near: np.ndarray, across: np.ndarray, left: int, top: int, shape: tuple[int, int]) -> np.ndarray:
        """Weights of the pixels, (h, w, k), of combinations ``across`` (len(near), k) of the strips ``near``."""
        out = np.empty((*shape, across.shape[1]))
        combine_noise(
            self.x[near], self.y[near], self.ux[near], self.uy[near], self.first, STEP,
            np.ascontiguousarray(self.along[near]), np.ascontiguousarray(across), left, top, out,
        )  # fmt: skip
        return out


class Functionals:
    """Combinations of the edges of ``found`` and what the noise of the pixels does to them.

    The zero of each group is part of an edge: edge = place + shift - mean(shift) + crossing of the mean profile.
    """

    def __init__(self, image: np.ndarray, found: Trace, noise: GreyNoise) -> None:
        self.found, self.noise, self.shape = found, noise, (image.shape[0], image.shape[1])
        self._shared: dict[int, tuple[np.ndarray, float]] = {}
        self.deviation = np.sqrt(noise.variance(smoothed_grey(image)))
        parallel = found.parallel
        self.reach = max(REACH, -found.zero_first) + parallel + 3.0
        # its own strips, and those that the mean profile of its group is made of
        self.own, self.zero = (
            _Part(
                *side_by_side(found.seeds, moved, parallel, found.spacing),
                np.repeat(along / parallel, parallel, axis=0), first,
            )
            for moved, along, first in (
                (found.moved, found.ray, found.first), (found.soft, found.zero, found.zero_first)
            )
        )  # fmt: skip

    def covariance(self, coefficients: np.ndarray) -> np.ndarray:
        """(k, k) covariance of the combinations ``coefficients`` (k, n); those of lost edges do not count."""
        found, parallel = self.found, self.found.parallel
        wanted = np.where(found.state == 0, coefficients, 0.0)
        k = wanted.shape[0]
        of_group = np.zeros_like(wanted)
        for g in range(int(found.group.max()) + 1):
            mine = found.pooled & (found.group == g)
            if mine.any():
                of_group[:, mine] = wanted[:, found.group == g].sum(axis=1, keepdims=True) / mine.sum()
        across = [np.repeat(v.T, parallel, axis=0) for v in (wanted - of_group, of_group)]
        ny, nx = self.shape
        covariance = np.zeros((k, k))
        for top in range(0, ny, _TILE):
            rows = min(_TILE, ny - top)
            total = np.zeros((rows, nx, k))
            for part, weights in zip((self.own, self.zero), across, strict=True):
                near = np.flatnonzero((part.y > top - self.reach) & (part.y < top + rows + self.reach))
                if near.size:
                    # a margin of four rows: samples at its border are left out, their other pixels lie in the next tile
                    total += part.lay(near, weights[near], 0, top - 4, (rows + 8, nx))[4 : 4 + rows]
            scaled = total * self.deviation[top : top + rows, :, None]
            flat = scaled.reshape(-1, k)
            covariance += flat.T @ flat
            add_row_lags(covariance, scaled, self.noise)
        return covariance

    def variances(self, combinations: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Variances of combinations of few neighbouring edges, each (indices, coefficients) of one group.

        As the diagonal of `covariance`, but each in a window of its own: where the mean profile is that of edges all
        over the image, what they add is laid out once and shared.
        """
        return np.array([self._variance(mine, values) for mine, values in combinations])

    def _variance(self, mine: np.ndarray, values: np.ndarray) -> float:
        found = self.found
        values = np.where(found.state[mine] == 0, values, 0.0)
        group = int(found.group[mine[0]])
        pool = np.flatnonzero(found.pooled & (found.group == group))
        local = np.isin(pool, mine).all()
        total = float(values.sum())
        own, zero = values, np.zeros(mine.size)
        if local and pool.size:
            zero = np.where(np.isin(mine, pool), total / pool.size, 0.0)
            own = values - zero
        strips = (mine[:, None] * found.parallel + np.arange(found.parallel)).ravel()
        near, rows, columns = self._window(strips)
        weights = np.zeros((rows[1] - rows[0], columns[1] - columns[0], 1))
        shape = (weights.shape[0], weights.shape[1])
        for part, share in ((self.own, own), (self.zero, zero)):
            weights += part.lay(near, np.repeat(share, found.parallel)[:, None], columns[0], rows[0], shape)
        inside = slice(max(0, -rows[0]), min(rows[1], self.shape[0]) - rows[0])
        window = (slice(max(rows[0], 0), min(rows[1], self.shape[0])), slice(*columns))
        scaled = weights[inside, :, 0] * self.deviation[window]
        variance = self._product(scaled, scaled)
        if not local and pool.size:
            common, square = self._common(group, pool)
            variance += 2.0 * total * self._product(scaled, common[window]) + total * total * square
        return variance

    def _window(self, strips: np.ndarray) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
        """Strips and the rows and columns that they can reach, a margin of four rows beyond the image included."""
        x = np.concatenate([self.own.x[strips], self.zero.x[strips]])
        y = np.concatenate([self.own.y[strips], self.zero.y[strips]])
        ny, nx = self.shape
        # neighbours in a row correlate: the common part counts as far beside a window as the correlation reaches
        wide = self.reach + 4.0 + len(self.noise.lags)
        rows = max(-4, int(np.floor(y.min() - wide))), min(ny + 4, int(np.ceil(y.max() + wide)))
        columns = max(0, int(np.floor(x.min() - wide))), min(nx, int(np.ceil(x.max() + wide)))
        return strips, rows, columns

    def _common(self, group: int, pool: np.ndarray) -> tuple[np.ndarray, float]:
        """What the zero of a group that lies all over the image adds to an edge: weights times standard deviations of
        all pixels, and its variance."""
        if group not in self._shared:
            ny, nx = self.shape
            strips = (pool[:, None] * self.found.parallel + np.arange(self.found.parallel)).ravel()
            share = np.full((strips.size, 1), 1.0 / pool.size)
            weights = self.zero.lay(strips, share, 0, -4, (ny + 8, nx)) - self.own.lay(
                strips, share, 0, -4, (ny + 8, nx)
            )
            scaled = weights[4 : 4 + ny, :, 0] * self.deviation
            self._shared[group] = scaled, self._product(scaled, scaled)
        return self._shared[group]

    def _product(self, a: np.ndarray, b: np.ndarray) -> float:
        """Covariance of two combinations from their weights times standard deviations (h, w)."""
        total = float(np.vdot(a, b))
        for lag, r in enumerate(self.noise.lags, start=1):
            total += r * float(np.vdot(a[:, :-lag], b[:, lag:]) + np.vdot(a[:, lag:], b[:, :-lag]))
        return total
