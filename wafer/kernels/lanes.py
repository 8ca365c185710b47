"""Eight rows of an edge side by side: their pixels in the order that vectors read, and the crossings in them.

A group is up to eight neighbouring rows of one edge. `gather` copies its windows into a ``box`` with the eight rows
next to each other, so that one instruction does the same to all of them and sums run along the row as they always did.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.vectors import WIDTH, build_streams, plus

FIRST, LAST, COUNT, TOTAL, BEST, PLACE = (WIDTH * k for k in range(6))  # vectors of `split_rows`
_LEVEL, _POLARITY = 6 * WIDTH, 6 * WIDTH + 1
SPLIT_SIZE = 7 * WIDTH
SEARCH = 4  # pixels that fits look at on either side of the split


@inner
def box_size(reach_left: np.ndarray, reach_right: np.ndarray, slope: float, nx: int) -> int:
    """Pixels that the windows of eight rows span at most, one more, and what fills the last vector."""
    longest = 0.0
    for e in range(reach_left.size):
        longest = max(longest, reach_left[e] + reach_right[e])
    return min(int(math.ceil(longest)), nx) + int(math.ceil(abs(slope) * WIDTH)) + 3 + WIDTH


@inner
def window(
    top: int, rows: int, slope: float, middle: float, seed: float, left: float, right: float, nx: int, ends: np.ndarray
) -> None:
    """First and last pixel of the windows of an edge in the rows from ``top``, ``ends`` (2, n); those beyond ``rows``
    repeat."""
    for k in range(ends.shape[1]):
        centre = seed + slope * (top + min(k, rows - 1) - middle)
        ends[0, k] = max(int(math.ceil(centre - left)), 0)
        ends[1, k] = min(int(math.floor(centre + right)), nx - 1)


@inner
def first_pixel(ends: np.ndarray) -> int:
    """The first pixel of all windows of a group: where its box begins."""
    a = ends[0, 0]
    for k in range(1, ends.shape[1]):
        a = min(a, ends[0, k])
    return int(a)


def _prepare_turn(m: Any, arrays: Any) -> Any:
    """``polarity (I - level)`` of eight pieces of rows, pixel by pixel. ``given``: the eight places in the image, and
    that in the box."""
    image, lanes, box = arrays
    level, polarity = m.spread(lanes, _LEVEL), m.spread(lanes, _POLARITY)

    def step(at: Any) -> None:
        rows = [(m.load(image, at[k]) - level) * polarity for k in range(WIDTH)]
        place = m.add(m.given[WIDTH], m.times(m.add(at[0], m.times(m.given[0], -1)), WIDTH))
        for k, column in enumerate(m.transpose(rows)):
            m.store(column, box, m.add(place, WIDTH * k))

    return step, lambda: None


_turn = build_streams(_prepare_turn, "turn_rows")


@inner
def gather(
    image: np.ndarray, top: int, rows: int, ends: np.ndarray, p: float, level: float, box: np.ndarray,
    lanes: np.ndarray,
) -> int:  # fmt: skip
    """Copy ``p (I - level)`` of the windows of ``rows`` rows from ``top`` to ``box`` (8 numbers for each pixel).

    ``ends`` (2, 8) comes from `window`. Returns the number of pixels from the first of all
    windows to the last; what lies outside a window is 0, and rows that are not there repeat the last one. ``lanes``
    gets the first and the last pixel of each window, counted from the first of all.
    """
    a, b = ends[0, 0], ends[1, 0]
    for k in range(1, WIDTH):
        a, b = min(a, ends[0, k]), max(b, ends[1, k])
    n = max(b - a + 1, 0)
    alike = True
    for k in range(WIDTH):
        alike = alike and ends[0, k] == a and ends[1, k] == b
    pieces, nx = (n + WIDTH - 1) // WIDTH, image.shape[1]
    if alike and a + pieces * WIDTH <= nx:  # whole vectors, none beyond the end of a row
        lanes[_LEVEL], lanes[_POLARITY] = level, p
        for k in range(WIDTH):
            lanes[FIRST + k], lanes[LAST + k] = 0.0, n - 1.0
        at, step, last = top * nx + a, nx, top * nx + a + (rows - 1) * nx
        places = (
            at, min(at + step, last), min(at + 2 * step, last), min(at + 3 * step, last), min(at + 4 * step, last),
            min(at + 5 * step, last), min(at + 6 * step, last), min(at + 7 * step, last), 0,
        )  # fmt: skip
        _turn(places, pieces, (image, lanes, box))
        for k in range(WIDTH):
            box[WIDTH * n + k] = 0.0
        return n
    for k in range(WIDTH):
        row = image[top + min(k, rows - 1)]
        first, last = ends[0, k], ends[1, k]
        lanes[FIRST + k] = first - a
        lanes[LAST + k] = last - a
        if first > a or last < b:
            for i in range(n + 1):
                box[WIDTH * i + k] = 0.0
        for i in range(first, last + 1):
            box[WIDTH * (i - a) + k] = p * (row[i] - level)
    for k in range(WIDTH):
        box[WIDTH * n + k] = 0.0
    return n


def _prepare_split(m: Any, arrays: Any) -> Any:
    """Pixels so far, running sum, its least value at a crossing, and where that is."""
    box, lanes = arrays
    zero, one, last = m.constant(0.0), m.constant(1.0), m.load(lanes, LAST)
    index, total, best, place = (m.slot(v) for v in (zero, zero, zero, m.constant(-1.0)))

    def step(at: Any) -> None:
        value, after, k = m.load(box, at[0]), m.load(box, plus(m, at[0], WIDTH)), index.get()
        total.set(total.get() + value)
        seen = m.select("<", value, zero, total.get(), zero)
        seen = m.select("<", after, zero, zero, seen)
        seen = m.select("<", k, last, seen, zero)
        place.set(m.select("<", seen, best.get(), k, place.get()))
        best.set(m.select("<", seen, best.get(), seen, best.get()))
        index.set(k + one)

    def finish() -> None:
        first, at = m.load(lanes, FIRST), place.get()
        count = last - first + one
        left = at - first + one
        m.store(count, lanes, COUNT)
        m.store(total.get(), lanes, TOTAL)
        step_of = (total.get() - best.get()) / (count - left) - best.get() / left
        m.store(step_of, lanes, BEST)
        m.store(at, lanes, PLACE)

    return step, finish


_split = build_streams(_prepare_split, "split_lanes")


@inner
def split_rows(box: np.ndarray, n: int, contrast: float, lanes: np.ndarray) -> None:
    """Left pixel of the crossing that splits each row best into a dark and a bright side, -1 where there is no step;
    to ``lanes[PLACE:]``.

    The sign change at which the running sum of ``p (I - threshold)`` is smallest: the most likely place of a sharp
    step. It does not depend on where the edge was expected, so it does not pull noisy edges toward the straight line.
    Noise alone also has a best split, but not a step of a quarter of the contrast.
    """
    _split((0,), n, (box, lanes))
    for k in range(WIDTH):
        if lanes[PLACE + k] >= 0.0 and lanes[BEST + k] < 0.25 * contrast:
            lanes[PLACE + k] = -1.0
