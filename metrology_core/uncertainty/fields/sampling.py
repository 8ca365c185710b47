"""Drawing correlated errors: trial t of a field is a pure function of (seed, id, t) and of nothing else.

White numbers are Threefry words of (seed, stream of the id, trial, place). A full circle or a complete grid is drawn
by the Fourier transform of the embedding, few points by a Cholesky factor, all others by a Vecchia factor. One trial is
one call that shares nothing with its neighbours: blocks, threads and workers change no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.uncertainty.fields import circulant, vecchia
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import Coordinates

_ALIKE, _SAME = 1 << 13, 1e-12  # remembered pairs, and the distance in lengths below which they are one
DENSE_POINTS = 300  # below, the Cholesky factor of all points is as cheap as neighbours


@dataclass(frozen=True, eq=False)
class FieldSampler:
    """Draws errors (trials, n) of one field at fixed points: ``sampler(start, stop)``, as `fit_trials` asks for them.

    ``method``: ``circulant`` (exact), ``cholesky`` (exact) or ``vecchia`` (each point from its 30 nearest earlier
    ones); ``words`` says more.
    """

    seed: int
    id: str
    n: int
    method: str
    words: str
    _scale: np.ndarray
    _nugget: float
    _parts: dict[str, Any]

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Errors (stop - start, n) of trials start to stop, in the unit of sigma."""
        if not 0 <= start <= stop:
            raise ParameterError("trials run from start to stop", got=f"{start}, {stop}")
        out = np.empty((stop - start, self.n))

        def work(a: int, b: int) -> None:
            for i in range(a, b):
                self._draw(start + i, out[i])

        run_blocks(work, stop - start, serial_below=4 if self.n > 256 else 64)
        return out

    def _white(self, trial: int, substream: int, count: int) -> np.ndarray:
        from metrology_core.kernels import threefry
        from metrology_core.uncertainty import tables
        from metrology_core.uncertainty.sampling import stream_of

        even = count + count % 2
        words, z = np.empty(even, np.uint64), np.empty(even)
        # the place is the counter, the trial the substream: trials below 2^62 never share a counter with `substream`
        stream = np.uint64(stream_of(f"{self.id}/{substream}"))
        table = tables.standard("normal")
        threefry.variates(np.uint64(self.seed), stream, np.uint64(trial), 0, table, words, z)
        return z[:count]

    def _draw(self, trial: int, out: np.ndarray) -> None:
        from metrology_core.kernels import correlation as k

        parts = self._parts
        if self.method == "white":
            out[:] = 0.0
        elif self.method == "circulant":
            root, sizes, grid = parts["root"], parts["sizes"], parts["grid"]
            out[:] = circulant.synthesise(root, sizes, grid, self._white(trial, 0, 2 * root.size))
        elif self.method == "cholesky":
            k.lower_product(parts["factor"], self._white(trial, 0, self.n), out)
        else:
            law: vecchia.Factor = parts["law"]
            field = np.empty(self.n)
            k.unfold(law.order.neighbours, law.weights, law.spread, self._white(trial, 0, self.n), field)
            out[law.order.order] = field
        out *= self._scale
        if self._nugget > 0.0:
            out += self._nugget * self._white(trial, 1, self.n)


def sampler(
    at: Coordinates | None, kernel: Kernel | None, sigma: np.ndarray, nugget: float, seed: int, id: str
) -> FieldSampler:
    """A sampler at the points ``at`` with standard deviations sigma (n,) of the correlated and ``nugget`` of the
    independent part; without a kernel all errors are independent."""
    if not 0 <= seed < 2**64:
        raise ParameterError("a seed is a whole number below 2^64", got=repr(seed))
    n = len(sigma)
    if at is None or kernel is None or not (sigma > 0.0).any():
        return FieldSampler(seed, id, n, "white", "independent errors", np.zeros(n), nugget, {})
    grid = circulant.find_grid(at)
    if grid is not None:
        found = circulant.roots(grid, at, kernel)
        if found is not None:
            root, sizes, cut = found
            words = f"circulant of {sizes[0]} x {sizes[1]}" + (f", {cut:.1e} of it cut" if cut > 1e-12 else ", exact")
            parts = {"root": root, "sizes": sizes, "grid": grid}
            return FieldSampler(seed, id, n, "circulant", words, sigma, nugget, parts)
    if n <= DENSE_POINTS:
        return FieldSampler(
            seed, id, n, "cholesky", "Cholesky factor of all points", sigma, nugget, {"factor": _cholesky(at, kernel)}
        )
    law = vecchia.factor(at, kernel, 0.0, vecchia.coarse_to_fine(at.place))
    words = f"each point from its {vecchia.NEIGHBOURS} nearest earlier ones (Vecchia)"
    return FieldSampler(seed, id, n, "vecchia", words, sigma, nugget, {"law": law})


def dense(at: Coordinates, kernel: Kernel, other: Coordinates | None = None) -> np.ndarray:
    """(n, m) correlations of the points with those of ``other`` (default: themselves)."""
    from metrology_core.kernels import correlation as k

    out = np.empty((len(at.x), len(at.x if other is None else other.x)))
    reach = max(at.numbers[1], float(np.ptp(at.x[:, 1]))) if at.metric == k.WRAPPED else 0.0
    if other is None and 0.0 < reach < 1e5 * kernel.length:  # whole numbers of that distance have 64 bits
        keys = np.full((_ALIKE, 2), -1, dtype=np.int64)
        k.symmetric_wrapped(kernel.code, kernel.table(), at.numbers, at.x, _SAME, keys, np.empty(_ALIKE), out)
    elif other is None:
        k.symmetric(at.metric, kernel.code, kernel.table(), at.numbers, at.x, out)
    else:
        k.matrix(at.metric, kernel.code, kernel.table(), at.numbers, at.x, other.x, out)
    return out


def _cholesky(at: Coordinates, kernel: Kernel) -> np.ndarray:
    """Lower factor; what rounding makes negative (repeated places, very smooth kernels) becomes zero."""
    a = dense(at, kernel)
    n = len(a)
    lower = np.zeros_like(a)
    left = np.diag(a).copy()
    if np.linalg.eigvalsh(a)[0] < -1e-8 * n:
        raise ParameterError(
            f"the {kernel.name} kernel is not positive definite with the {at.along} distance of these points",
            remedy="take metric='auto' or 'chordal'",
        )
    for k in range(n):
        if left[k] <= 1e-13:
            continue
        column = a[k:, k] - np.einsum("nm,m->n", lower[k:, :k], lower[k, :k])
        lower[k:, k] = column / np.sqrt(left[k])
        left[k:] -= lower[k:, k] ** 2
    return lower
