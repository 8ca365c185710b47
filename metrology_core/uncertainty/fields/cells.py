"""Sums over all pairs of very many points: points of one small cell act together, far ones not at all.

The matrix of correlations becomes one of low rank (a row per cell) plus its exact diagonal. Cells of a third of the
correlation length act at the mean place of their points; within a cell the pairs are taken as those of a disc of the
same spread. Where even the cells are too many, the outer sum runs over a regular part of them, weighted up; `relative`
says how far the two halves of that part are apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrology_core.blocks import run_blocks, thread_count
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import Coordinates

EXACT_POINTS = 4000  # all pairs of so many points take a tenth of a second
CELLS_PER_LENGTH, CELLS_ACROSS = 3.0, 40.0
MAX_CELLS = 100_000
MAX_BOXES = 1 << 25
MAX_PAIRS = 4e7
_STRIPS = 64  # parts of the outer sum, folded in order: the same bits for any number of threads


@dataclass(frozen=True, eq=False)
class PairSum:
    """``H' R H`` and how it was made: ``cells`` that stood for the points, share of the ``rows`` that were summed, and
    ``relative`` disagreement of two halves of them (0: all were)."""

    value: np.ndarray
    cells: int
    rows: float
    relative: float


def pair_sum(at: Coordinates, kernel: Kernel, h: np.ndarray) -> PairSum:
    """``H' R H`` (p, p) of columns h (n, p), exact up to `EXACT_POINTS` points."""
    n = len(h)
    if n <= EXACT_POINTS:
        return _sum(at.x, at, kernel, h, skip=False)
    from metrology_core.kernels import correlation as k

    own, cells = _cell_of(at, kernel)
    p = h.shape[1]
    count, x, spread = np.zeros(cells, np.int64), np.zeros((cells, 4)), np.zeros(cells)
    mass, points = np.zeros((cells, p)), np.zeros((cells, p, p))
    k.gather(at.x, h, own, count, x, spread, mass, points)
    full = count > 0
    x, spread, mass, points = x[full], spread[full], mass[full], points[full]
    if at.metric == k.SPHERE:  # means of places on a sphere lie inside it
        x[:, :3] *= (at.numbers[2] / np.linalg.norm(x[:, :3], axis=1))[:, None]
    # pairs of different points of one cell: correlation at distances of a disc with that mean square radius
    inner = _mean_within(kernel, np.sqrt(spread))
    within = np.einsum("c,cab->ab", inner, mass[:, :, None] * mass[:, None, :] - points)
    far = _sum(x, at, kernel, mass, skip=True)
    return PairSum(far.value + within + points.sum(axis=0), len(x), far.rows, far.relative)


def _cell_of(at: Coordinates, kernel: Kernel) -> tuple[np.ndarray, int]:
    """Number of the small cell of each point, and how many numbers there are."""
    low, span = at.x[:, :3].min(axis=0), np.ptp(at.x[:, :3], axis=0)
    # results vary along the feature itself, however long the correlation is
    edge = min(kernel.length / CELLS_PER_LENGTH, float(span.max()) / CELLS_ACROSS)
    while True:
        shape = np.floor(span / edge).astype(np.int64) + 1
        boxes = math.prod(int(v) for v in shape)
        if boxes < MAX_BOXES:
            index = ((at.x[:, :3] - low) / edge).astype(np.int64)
            number: np.ndarray = (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]
            there = np.zeros(boxes, np.bool_)
            there[number] = True
            cells = int(np.count_nonzero(there))
            if cells <= MAX_CELLS:
                return np.cumsum(there)[number] - 1, cells
        edge *= 1.4


def _mean_within(kernel: Kernel, radius: np.ndarray) -> np.ndarray:
    """Mean correlation of two random points of a disc with root mean square radius ``radius``."""
    # distances of pairs in the unit disc (edge 1, rms radius 1/sqrt 2) by their quantiles
    level = (np.arange(32) + 0.5) / 32
    grid = np.linspace(0.0, 2.0, 4001)
    density = 4.0 * grid / np.pi * np.arccos(grid / 2.0) - grid**2 / np.pi * np.sqrt(np.clip(4.0 - grid**2, 0.0, None))
    law = np.cumsum(density)
    distance = np.interp(level, law / law[-1], grid)
    return np.asarray(np.mean(kernel(math.sqrt(2.0) * radius[:, None] * distance[None, :]), axis=1))


def _sum(x: np.ndarray, at: Coordinates, kernel: Kernel, h: np.ndarray, *, skip: bool) -> PairSum:
    from metrology_core.kernels import correlation as k

    n, p = h.shape
    reach = kernel.range()
    x, h = np.array(x, order="C"), np.ascontiguousarray(h)
    low, span = x[:, :3].min(axis=0), np.ptp(x[:, :3], axis=0)
    closed = at.metric in (k.WRAPPED, k.CIRCLE)
    if closed:
        low[0], span[0] = 0.0, float(at.numbers[1])
    shape = np.clip(np.floor(span / reach).astype(np.int64), 1, 128)
    if closed and shape[0] < 3:
        shape[0] = 1
    edge = np.where(shape > 1, span / shape, np.inf)
    index = np.clip(np.floor((x[:, :3] - low) / edge).astype(np.int64), 0, shape - 1)
    number = (index[:, 0] * shape[1] + index[:, 1]) * shape[2] + index[:, 2]
    x[:, 3] = number
    members = np.argsort(number, kind="stable")
    bins = np.searchsorted(number[members], np.arange(math.prod(int(v) for v in shape) + 1))
    # pairs that all rows would take: neighbours of every coarse cell
    size = np.diff(bins).reshape(shape).astype(np.float64)
    around = _neighbourhood(size, bool(closed and shape[0] >= 3))
    pairs = float(np.sum(size * around))
    step = max(1, math.ceil(pairs / MAX_PAIRS))
    rows = members[step // 2 :: step]
    weights = np.full(len(rows), n / len(rows))
    edges = np.linspace(0, len(rows), _STRIPS + 1).astype(np.int64)
    parts = np.zeros((_STRIPS, p, p))
    table = kernel.table()

    def work(start: int, stop: int) -> None:
        for strip in range(start, stop):
            k.pair_sums(
                at.metric, kernel.code, table, at.numbers, x, h, rows, weights, bins, edges[strip : strip + 2], shape,
                members, skip, parts[strip],
            )  # fmt: skip

    run_blocks(work, _STRIPS, serial_below=2 if thread_count() > 1 and len(rows) > 200 else _STRIPS + 1)
    value = np.zeros((p, p))
    for part in parts:
        value += part
    relative = 0.0
    if step > 1:
        odd = 2.0 * parts[1::2].sum(axis=0)
        top = np.abs(np.diag(value)) + 1e-300
        relative = float(np.max(np.abs(np.diag(odd) - np.diag(value)) / top))
    return PairSum((value + value.T) / 2.0, n, len(rows) / n, relative)


def _neighbourhood(size: np.ndarray, closed: bool) -> np.ndarray:
    total = np.zeros_like(size)
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    padded = np.pad(padded, ((1, 1), (0, 0), (0, 0)), mode="wrap" if closed else "constant")
    for i in range(3):
        for j in range(3):
            for m in range(3):
                total += padded[i : i + size.shape[0], j : j + size.shape[1], m : m + size.shape[2]]
    return total
