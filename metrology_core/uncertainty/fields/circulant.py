"""Fields on regular places by the fast Fourier transform: exact products and exact sampling without a matrix.

Full circles with equal steps are circulant as they are; lines, planes and cylinders become so by embedding: the grid is
continued until the correlation has died out (Dietrich and Newsam, SIAM J. Sci. Comput. 18 (1997) 1088). For products
any continuation is exact; for sampling the eigenvalues must not be negative, so the grid is doubled until they are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.kernels import correlation as _codes
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import Coordinates

MAX_GRID = 1 << 25  # numbers in an embedding grid: 256 MB
MAX_SPREAD = 1 << 23  # nodes of a grid that points are spread onto
NODES_PER_LENGTH, NODES = 10.0, 128.0
_REGULAR = 1e-7  # of a step: places count as regular within this


@dataclass(frozen=True, eq=False)
class Grid:
    """Points that fill a regular grid: point i is at ``index[i]`` (flat) of ``shape`` with ``steps``; the first axis is
    closed (a full turn) or open."""

    shape: tuple[int, int]
    steps: tuple[float, float]
    index: np.ndarray
    closed: bool


def find_grid(at: Coordinates) -> Grid | None:
    """The regular grid that the points fill completely, one point a node; None where there is none."""
    n = len(at.x)
    if n < 2 or at.metric == _codes.SPHERE or (at.metric == _codes.EUCLIDEAN and np.ptp(at.x[:, 2]) > 0.0):
        return None
    closed = at.metric in (_codes.WRAPPED, _codes.CIRCLE)
    found = []
    for k in (0, 1):
        axis = _axis(at.x[:, k], at.numbers[1] if closed and k == 0 else 0.0)
        if axis is None:
            return None
        found.append(axis)
    (n0, s0, i0), (n1, s1, i1) = found
    if n0 * n1 != n or (at.metric == _codes.CIRCLE and n1 != 1):
        return None
    index = i0 * n1 + i1
    seen = np.zeros(n, np.bool_)
    seen[index] = True
    return Grid((n0, n1), (s0, s1), index, closed) if seen.all() else None


def _axis(values: np.ndarray, period: float) -> tuple[int, float, np.ndarray] | None:
    """(count, step, number of each value) of equal steps; with a period they go all the way round."""
    low, span = float(values.min()), float(np.ptp(values))
    scale = max(span, abs(low), period)
    if span <= 1e-12 * scale:
        return 1, 1.0, np.zeros(len(values), np.int64)
    # the second smallest distinct value gives the step; rounding of equal values is far below it
    above = values[values > low + 1e-9 * scale]
    step = float(above.min()) - low
    if span / step > len(values) + 1.0:
        return None
    count = round(span / step) + 1
    step = period / count if period else span / (count - 1)
    place = (values - low) / step
    number = np.rint(place).astype(np.int64)
    # the start is itself rounded: judge against the mean offset
    offset = place - number
    if np.abs(offset - offset.mean()).max() > max(_REGULAR, 1e-13 * scale / step):
        return None
    return count, step, number


def _lags(count: int, size: int, step: float) -> np.ndarray:
    lag = np.arange(size)
    return np.minimum(lag, size - lag) * step


def first_row(grid: Grid, at: Coordinates, kernel: Kernel, sizes: tuple[int, int]) -> np.ndarray:
    """Correlations of node 0 with every node of the (embedding) grid of these sizes."""
    s = _lags(grid.shape[0], sizes[0], grid.steps[0])
    z = _lags(grid.shape[1], sizes[1], grid.steps[1])
    if at.metric == _codes.WRAPPED:
        period, images = at.numbers[1], int(at.numbers[4])
        total = np.zeros((len(s), len(z)))
        for k in range(-images, images + 1):
            total += kernel(np.hypot((s + k * period)[:, None], z[None, :]))
        return total / at.numbers[3]
    return np.asarray(kernel(np.hypot(s[:, None], z[None, :])))


def embedding(grid: Grid, kernel: Kernel, factor: int = 1, *, sampling: bool = False) -> tuple[int, int]:
    """Sizes of the circulant grid: an open axis is continued at least to twice its length."""
    from scipy.fft import next_fast_len

    sizes = []
    for k in (0, 1):
        n = grid.shape[k]
        if n == 1 or (k == 0 and grid.closed):
            sizes.append(n)
            continue
        least = 2 * n - 1
        if sampling:  # long correlations make the folded lags kink: give them room to die out
            least = max(least, factor * (n + math.ceil(kernel.range(1e-3) / grid.steps[k])))
        sizes.append(int(next_fast_len(least, real=True)))
    return sizes[0], sizes[1]


def product(grid: Grid, at: Coordinates, kernel: Kernel, h: np.ndarray) -> np.ndarray | None:
    """``H' R H`` (p, p) for columns h (n, p); None where the embedding would be too large."""
    values = np.zeros((h.shape[1], *grid.shape))
    for k in range(h.shape[1]):
        values[k].reshape(-1)[grid.index] = h[:, k]
    return on_nodes(grid, at, kernel, values)


def on_nodes(grid: Grid, at: Coordinates, kernel: Kernel, values: np.ndarray) -> np.ndarray | None:
    """The product for values (p, n0, n1) on the nodes of a grid."""
    from scipy import fft

    sizes = embedding(grid, kernel)
    if sizes[0] * sizes[1] > MAX_GRID:
        return None
    row = first_row(grid, at, kernel, sizes)
    # one axis alone is transformed along itself, so that half of the spectrum is saved; the row is even, its
    # transform real: the eigenvalues of the circulant
    line = sizes[1] == 1
    power = np.ascontiguousarray((fft.rfft(row[:, 0]) if line else fft.rfft2(row)).real)
    last = sizes[0] if line else sizes[1]
    twice = np.full(power.shape[-1], 2.0)
    twice[0] = 1.0
    if last % 2 == 0:
        twice[-1] = 1.0
    spectra = [fft.rfft(v[:, 0], n=sizes[0]) if line else fft.rfft2(v, s=sizes) for v in values]
    weight = power * twice
    p = len(values)
    result = np.empty((p, p))
    for a in range(p):
        scaled = weight * spectra[a]
        for b in range(a + 1):
            value = float(np.sum(scaled.real * spectra[b].real) + np.sum(scaled.imag * spectra[b].imag))
            result[a, b] = result[b, a] = value / (sizes[0] * sizes[1])
    return result


def spread_product(at: Coordinates, kernel: Kernel, h: np.ndarray) -> tuple[np.ndarray, int] | None:
    """``H' R H`` for points anywhere on a line, plane, circle or cylinder, spread linearly onto a fine grid (structured
    kernel interpolation, Wilson and Nickisch, ICML 2015), and the number of its nodes; None where it would be too
    large. A point's own correlation is put right; for pairs the error falls with the square of the step."""
    from metrology_core.kernels import correlation as k

    if at.metric == _codes.SPHERE or (at.metric == _codes.EUCLIDEAN and np.ptp(at.x[:, 2]) > 0.0):
        return None
    closed = at.metric in (_codes.WRAPPED, _codes.CIRCLE)
    low, span = at.x[:, :2].min(axis=0), np.ptp(at.x[:, :2], axis=0)
    if closed:
        low[0], span[0] = 0.0, float(at.numbers[1])
    # results vary along the feature itself, not along the correlation: never fewer than NODES along an axis
    aim = np.minimum(kernel.length / NODES_PER_LENGTH, np.where(span > 0.0, span / NODES, np.inf))
    # an open axis needs one node beyond the last point, and one without extent needs two
    counts = [max(1, math.ceil(span[axis] / aim[axis] - 1e-9)) + (0 if closed and axis == 0 else 2) for axis in (0, 1)]
    if math.prod(counts) * (2.0 if closed else 4.0) > MAX_SPREAD:
        return None
    steps = [
        span[0] / counts[0] if closed else (span[0] / (counts[0] - 2) or aim[0]),
        span[1] / (counts[1] - 2) or aim[1],
    ]
    grid = Grid((counts[0], counts[1]), (float(steps[0]), float(steps[1])), np.empty(0, np.int64), closed)
    row = first_row(grid, at, kernel, (max(2, counts[0]), counts[1]))
    values, own = np.zeros((h.shape[1], *grid.shape)), np.zeros(h.shape[1])
    h = np.ascontiguousarray(h)

    def work(start: int, stop: int) -> None:
        k.spread(
            at.x, low, np.array(steps), np.array(grid.shape), closed, h, np.ascontiguousarray(row[:2, :2]), start, stop,
            values, own,
        )  # fmt: skip

    run_blocks(work, h.shape[1], serial_below=2)
    found = on_nodes(grid, at, kernel, values)
    if found is None:
        return None
    # the correction of the diagonal for products of two columns: as for their geometric mean, an error of second order
    root = np.sqrt(np.clip(own, 0.0, None))
    like = np.einsum("na,nb->ab", h, h)
    size = np.sqrt(np.diag(like))
    with np.errstate(invalid="ignore", divide="ignore"):
        angle = np.where(np.outer(size, size) > 0.0, like / np.outer(size, size), 0.0)
    return found + angle * np.outer(root, root), math.prod(counts)


def roots(grid: Grid, at: Coordinates, kernel: Kernel) -> tuple[np.ndarray, tuple[int, int], float] | None:
    """Square roots of the eigenvalues for sampling, the sizes of the grid, and the largest share that had to be cut
    (0 where the embedding is exact); None where no embedding that fits in memory has less than 1e-6 of it."""
    from scipy import fft

    best: tuple[np.ndarray, tuple[int, int], float] | None = None
    for factor in (1, 2, 4):
        sizes = embedding(grid, kernel, factor, sampling=True)
        if sizes[0] * sizes[1] > MAX_GRID:
            break
        power = fft.fft2(first_row(grid, at, kernel, sizes)).real
        cut = float(np.sum(np.clip(-power, 0.0, None)) / np.sum(np.abs(power)))
        if best is None or cut < best[2]:
            best = (np.sqrt(np.clip(power, 0.0, None)), sizes, cut)
        if cut < 1e-12:
            break
    return best if best is not None and best[2] < 1e-6 else None


def synthesise(root: np.ndarray, sizes: tuple[int, int], grid: Grid, white: np.ndarray) -> Any:
    """One field (n,) of unit variance from 2 x sizes white numbers."""
    from scipy import fft

    total = sizes[0] * sizes[1]
    noise = white[: 2 * total : 2] + 1j * white[1 : 2 * total : 2]
    made = fft.fft2(root * noise.reshape(sizes)) / math.sqrt(total)
    return np.ascontiguousarray(made.real[: grid.shape[0], : grid.shape[1]]).reshape(-1)[grid.index]
