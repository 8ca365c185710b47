"""Kernels for edges in smoothed rows: a separable filter that never leaves the cache, and the crossings in it.

Single precision: greys are taken relative to a level between line and space, so that rounding stays below 1e-6 of the
step. Sixteen rows stand side by side, pixel after pixel, so that one instruction does the same to all of them. Every
output pixel is the same sum in the same order whatever block it is computed in.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.vectors import SINGLE_WIDTH, build_streams
from wafer.kernels.lanes import window

ROWS = SINGLE_WIDTH  # rows that stand side by side
GAP = 32  # pixels between windows that are filtered rather than skipped
# what the search for crossings reads and leaves: vectors over the rows, then numbers of the edge
_FIRST, _LAST, _PLACE, _STEP, _LEFT, _RIGHT = (ROWS * k for k in range(6))
_POLARITY, _LEVEL = ROWS * 6, ROWS * 6 + 1
_LANES_SIZE = ROWS * 7


@inner
def mirrored(i: int, n: int) -> int:
    """Index of pixel ``i`` of an image that goes on as its mirror image about the outer pixels."""
    while i < 0 or i >= n:
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


@inner
def row_length(nx: int) -> int:
    """Numbers of a row in a strip: no multiple of what a way of the cache holds, or rows would push each other out."""
    return (nx + ROWS - 1) // ROWS * ROWS + ROWS


@inner
def fill_strip(image: np.ndarray, start: int, reach: int, zero: float, strip: np.ndarray) -> int:
    """Rows ``start - reach`` and following of ``image``, less ``zero``, in single precision."""
    ny, nx = image.shape
    for i in range(strip.shape[0]):
        row = image[mirrored(start - reach + i, ny)]
        to = strip[i]
        for x in range(nx):
            to[x] = np.float32(row[x] - zero)
    return 0


def _prepare_along(m: Any, arrays: Any) -> Any:
    """Weighted sums of rows for sixteen rows, and the sixteen pixels of each of them side by side.

    ``given``: place in the strip of the first row that the first one needs, place in ``out``, length of a row, taps on
    either side of the middle.
    """
    strip, taps, out = arrays
    start, to, stride, reach = m.given
    middle = m.spread(taps, 0)

    def step(at: Any) -> None:
        rows = [m.add(at[0], m.times(stride, m.add(reach, lane))) for lane in range(ROWS)]
        sums = [m.slot(middle * m.load(strip, row)) for row in rows]

        def tap(j: Any) -> None:
            weight, away = m.spread(taps, m.add(j, 1)), m.times(stride, m.add(j, 1))
            for row, total in zip(rows, sums, strict=True):
                both = m.load(strip, m.add(row, away)) + m.load(strip, m.add(row, m.times(away, -1)))
                total.set(m.fma(weight, both, total.get()))

        m.each(reach, tap)
        place = m.add(to, m.times(m.add(at[0], m.times(start, -1)), ROWS))
        for k, column in enumerate(m.transpose([total.get() for total in sums])):
            m.store(column, out, m.add(place, ROWS * k))

    return step, lambda: None


def _prepare_across(m: Any, arrays: Any) -> Any:
    """Weighted sums of neighbouring pixels of sixteen rows. ``given``: first place read, first written, taps."""
    padded, taps, out = arrays
    reach = m.given[2]
    middle = m.spread(taps, 0)

    def step(at: Any) -> None:
        total = m.slot(middle * m.load(padded, at[0]))

        def tap(j: Any) -> None:
            away = m.times(m.add(j, 1), ROWS)
            both = m.load(padded, m.add(at[0], away)) + m.load(padded, m.add(at[0], m.times(away, -1)))
            total.set(m.fma(m.spread(taps, m.add(j, 1)), both, total.get()))

        m.each(reach, tap)
        m.store(total.get(), out, at[1])

    return step, lambda: None


def _prepare_crossings(masked: bool, m: Any, arrays: Any) -> Any:
    """`wafer.kernels.lanes.split_rows` for sixteen rows, with the greys on both sides of the crossing."""
    soft, lanes = arrays
    zero, one = m.constant(0.0), m.constant(1.0)
    first, last = m.load(lanes, _FIRST), m.load(lanes, _LAST)
    polarity, level = m.spread(lanes, _POLARITY), m.spread(lanes, _LEVEL)
    index, total, best, left, right = (m.slot(zero) for _ in range(5))
    place = m.slot(m.constant(-1.0))

    def step(at: Any) -> None:
        here, after, k = m.load(soft, at[0]), m.load(soft, m.add(at[0], ROWS)), index.get()
        value = polarity * (here - level)
        if masked:
            value = m.select("<", k, first, zero, value)
            value = m.select(">", k, last, zero, value)
        total.set(total.get() + value)
        seen = m.select("<", value, zero, total.get(), zero)
        seen = m.select("<", polarity * (after - level), zero, zero, seen)
        seen = m.select("<", k, last, seen, zero)
        for slot, changed in ((place, k), (left, here), (right, after)):
            slot.set(m.select("<", seen, best.get(), changed, slot.get()))
        best.set(m.select("<", seen, best.get(), seen, best.get()))
        index.set(k + one)

    def finish() -> None:
        count, before = last - first + one, place.get() - first + one
        rise = (total.get() - best.get()) / (count - before) - best.get() / before
        for value, at in ((place.get(), _PLACE), (rise, _STEP), (left.get(), _LEFT), (right.get(), _RIGHT)):
            m.store(value, lanes, at)

    return step, finish


_along = build_streams(_prepare_along, "smooth_along", single=True)
_across = build_streams(_prepare_across, "smooth_across", single=True)
_crossings, _crossings_masked = (
    build_streams(functools.partial(_prepare_crossings, k), f"soft_crossings_{k:d}", single=True) for k in (False, True)
)


@inner
def filter_along(
    strip: np.ndarray, stride: int, row: int, nx: int, taps: np.ndarray, reach_x: int, padded: np.ndarray
) -> None:
    """Sixteen rows of ``strip`` (``stride`` numbers each) from ``row`` filtered across the rows, to ``padded``:
    pixel by pixel the sixteen rows, with ``reach_x`` pixels of their mirror image on either side."""
    _along((row * stride, reach_x * ROWS, stride, taps.size - 1), (nx + ROWS - 1) // ROWS, (strip, taps, padded))
    for i in range(reach_x):
        before, after = reach_x + mirrored(-1 - i, nx), reach_x + mirrored(nx + i, nx)
        for k in range(ROWS):
            padded[(reach_x - 1 - i) * ROWS + k] = padded[before * ROWS + k]
            padded[(reach_x + nx + i) * ROWS + k] = padded[after * ROWS + k]


@inner
def filter_across(padded: np.ndarray, a: int, b: int, taps: np.ndarray, soft: np.ndarray) -> None:
    """The pixels ``a`` to ``b`` (exclusive) of sixteen rows filtered along the rows, to the same pixels of ``soft``."""
    _across(((taps.size - 1 + a) * ROWS, a * ROWS, taps.size - 1), b - a, (padded, taps, soft))


@kernel
def smooth_rows(
    image: np.ndarray, start: int, stop: int, taps_x: np.ndarray, taps_y: np.ndarray, zero: float, out: np.ndarray
) -> int:
    """Rows ``start`` to ``stop`` of the filtered image to the same rows of ``out`` (ny, nx) float64.

    ``taps_*`` (reach + 1,) float32 are the weights from the middle outward. The image goes on as its mirror image.
    """
    nx = image.shape[1]
    rx, ry = taps_x.size - 1, taps_y.size - 1
    groups, stride = (stop - start + ROWS - 1) // ROWS, row_length(nx)
    strip = np.zeros((groups * ROWS + 2 * ry, stride), dtype=np.float32)
    padded = np.zeros((stride + 2 * rx) * ROWS, dtype=np.float32)
    soft = np.empty(nx * ROWS, dtype=np.float32)
    fill_strip(image, start, ry, zero, strip)
    for group in range(groups):
        filter_along(strip, stride, group * ROWS, nx, taps_y, rx, padded)
        filter_across(padded, 0, nx, taps_x, soft)
        for k in range(min(ROWS, stop - start - group * ROWS)):
            row = out[start + group * ROWS + k]
            for x in range(nx):
                row[x] = soft[x * ROWS + k] + zero
    return 0


@kernel
def smoothed_crossings(
    image: np.ndarray,
    start: int,
    stop: int,
    slope: float,
    middle: float,
    seed: np.ndarray,
    reach_left: np.ndarray,
    reach_right: np.ndarray,
    polarity: np.ndarray,
    level: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    steepness: np.ndarray,
    noise: np.ndarray,
    taps_x: np.ndarray,
    taps_y: np.ndarray,
    zero: float,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Threshold edges in filtered rows: `wafer.kernels.edges.locate_edges` on what `smooth_rows` would give.

    Each row is read once and filtered where a window needs it. ``noise`` = (variance at grey 0, per grey level,
    correlation of neighbours), all of the filtered image. Returns the number lost.
    """
    nx = image.shape[1]
    n_edges = seed.size
    rx, ry = taps_x.size - 1, taps_y.size - 1
    groups, stride = (stop - start + ROWS - 1) // ROWS, row_length(nx)
    strip = np.zeros((groups * ROWS + 2 * ry, stride), dtype=np.float32)
    padded = np.zeros((stride + 2 * rx) * ROWS, dtype=np.float32)
    soft = np.zeros((nx + 1) * ROWS, dtype=np.float32)
    lanes = np.zeros(_LANES_SIZE, dtype=np.float32)
    ends = np.empty((n_edges, 2, ROWS), np.int64)
    origin, beyond = np.empty(n_edges, np.int64), np.empty(n_edges, np.int64)
    places, errors = np.empty(ROWS), np.empty(ROWS)
    fill_strip(image, start, ry, zero, strip)
    lost = 0
    for group in range(groups):
        top = start + group * ROWS
        rows = min(ROWS, stop - top)
        filter_along(strip, stride, group * ROWS, nx, taps_y, rx, padded)
        span = done = 0
        for e in range(n_edges):
            window(top, rows, slope, middle, seed[e], reach_left[e], reach_right[e], nx, ends[e])
            a, b = ends[e, 0, 0], ends[e, 1, 0]
            for k in range(1, ROWS):
                a, b = min(a, ends[e, 0, k]), max(b, ends[e, 1, k])
            origin[e], beyond[e] = a, b + 1
            if a > done + GAP:
                if done > span:
                    filter_across(padded, span, done, taps_x, soft)
                span = a
            done = max(done, b + 1)
        if done > span:
            filter_across(padded, span, done, taps_x, soft)
        for e in range(n_edges):
            at = level[e] - zero
            variance = max(noise[0] + noise[1] * level[e], 0.0)
            n = beyond[e] - origin[e]
            alike = True
            for k in range(ROWS):
                lanes[_FIRST + k] = ends[e, 0, k] - origin[e]
                lanes[_LAST + k] = ends[e, 1, k] - origin[e]
                alike = alike and ends[e, 1, k] - ends[e, 0, k] == n - 1
            lanes[_POLARITY], lanes[_LEVEL] = polarity[e], at
            if alike:
                _crossings((origin[e] * ROWS,), n, (soft, lanes))
            else:
                _crossings_masked((origin[e] * ROWS,), n, (soft, lanes))
            for k in range(ROWS):
                v0 = float(lanes[_LEFT + k]) - at
                t = v0 / (v0 - (float(lanes[_RIGHT + k]) - at))
                spread = (1.0 - t) * (1.0 - t) + t * t + 2.0 * noise[2] * t * (1.0 - t)
                places[k] = origin[e] + lanes[_PLACE + k] + t
                errors[k] = math.sqrt(max(variance * spread, 0.0)) / steepness[e]
            limit = 0.25 * (high[e] - low[e])
            for k in range(rows):
                found = lanes[_PLACE + k] >= 0.0 and lanes[_STEP + k] >= limit
                out_x[e, top + k] = places[k] if found else np.nan
                out_u[e, top + k] = errors[k] if found else np.nan
                out_state[e, top + k] = 0 if found else 1
                lost += 0 if found else 1
    return lost
