"""Kernel that fits a logistic of fixed width to single rows: the criterion ``sigmoid``. Eight rows at a time."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.vectors import WIDTH, build_streams, plus
from wafer.kernels.lanes import (
    COUNT,
    FIRST,
    LAST,
    PLACE,
    SEARCH,
    SPLIT_SIZE,
    TOTAL,
    box_size,
    first_pixel,
    gather,
    split_rows,
    window,
)

_RUNNING, _DONE, _FAILED = 1.0, 0.0, -1.0
# what one call leaves to the next: vectors over the rows, then numbers of the edge
_C, _STEP, _DAMP, _STATE, _LOW, _RISE, _K0, _K1, _K2, _U = (WIDTH * k for k in range(10))
_TIE, _LEFT, _RIGHT, _PER_WIDTH, _OFFSET, _GAIN, _RHO2 = range(WIDTH * 10, WIDTH * 10 + 7)
_WORK_SIZE = WIDTH * 11


class _Rows:
    """The logistic at the pixels of eight rows, one pixel after the other; 0 outside the windows."""

    def __init__(self, m: Any, masked: bool, lanes: Any, work: Any) -> None:
        self.m, self.masked = m, masked
        self.one, self.zero = m.constant(1.0), m.constant(0.0)
        self.decay = m.exp(m.load(work, _C) * m.spread(work, _PER_WIDTH))
        self.first, self.last = m.load(lanes, FIRST), m.load(lanes, LAST)
        self.index = m.slot(self.zero)

    def inside(self, value: Any) -> Any:
        """``value`` in the window of each row, else 0; call it once a step."""
        if not self.masked:
            return value
        k = self.index.get()
        self.index.set(k + self.one)
        value = self.m.select("<", k, self.first, self.zero, value)
        return self.m.select(">", k, self.last, self.zero, value)

    def at(self, falls: Any) -> Any:
        return self.one / self.m.fma(self.decay, falls, self.one)


def _prepare_newton(masked: bool, m: Any, arrays: Any) -> Any:
    """One step of every row that is not done: levels by least squares, the centre by Newton's method."""
    box, falls, lanes, work = arrays
    rows = _Rows(m, masked, lanes, work)
    p1, p2, p3, p4, q1, q2, q3 = (m.slot(rows.zero) for _ in range(7))

    def step(at: Any) -> None:
        value = m.load(box, at[0])
        f = rows.inside(rows.at(m.load(falls, at[1])))
        f2 = f * f
        f3 = f2 * f
        p1.set(p1.get() + f)
        p2.set(p2.get() + f2)
        p3.set(p3.get() + f3)
        p4.set(m.fma(f2, f2, p4.get()))
        q1.set(m.fma(value, f, q1.get()))
        q2.set(m.fma(value, f2, q2.get()))
        q3.set(m.fma(value, f3, q3.get()))

    def finish() -> None:
        one, zero, two, three = rows.one, rows.zero, m.constant(2.0), m.constant(3.0)
        f1, f2, f3, f4, v1, v2, v3 = (s.get() for s in (p1, p2, p3, p4, q1, q2, q3))
        tie, per = m.spread(work, _TIE), m.spread(work, _PER_WIDTH)
        # design: 1 - f (left), f (right), -rise f' (centre); f' = (f - f^2) / width
        s00 = tie + m.load(lanes, COUNT) - two * f1 + f2
        s01, s11 = f1 - f2, tie + f2
        left, right = m.load(lanes, TOTAL) - v1 + tie * m.spread(work, _LEFT), v1 + tie * m.spread(work, _RIGHT)
        inverse = one / (s00 * s11 - s01 * s01)
        low = (left * s11 - right * s01) * inverse
        rise = (right * s00 - left * s01) * inverse - low
        m_d, m_fd, m_dd = (f1 - f2) * per, (f2 - f3) * per, ((f2 - f3) - (f3 - f4)) * per * per
        r_d = (v1 - v2) * per - low * m_d - rise * m_fd
        bent = (v1 - three * v2 + two * v3) - low * (f1 - three * f2 + two * f3) - rise * (f2 - three * f3 + two * f4)
        s02, s12, s22 = rise * (m_fd - m_d), zero - rise * m_fd, rise * rise * m_dd

        def without_levels(corner: Any, a: Any, b: Any) -> Any:
            return corner - (s11 * a * a - two * s01 * a * b + s00 * b * b) * inverse

        gauss = without_levels(s22, s02, s12)
        newton = without_levels(s22 - rise * bent * per * per, s02 - r_d, s12 + r_d)
        share = m.constant(0.03) * gauss
        # Newton where the cost is bent as much as for a row that follows the shape, else Gauss and Newton
        change = (zero - rise * r_d) / m.select(">", newton, share, newton, gauss)
        size = m.select("<", change, zero, zero - change, change)
        before = m.load(work, _STEP)
        far = m.constant(0.3) * m.select("<", before, zero, zero - before, before)
        # One pixel per step: a larger one leaves the region in which the linearisation holds. Where steps alternate,
        # half of them, and half again, close in; Newton's are whole again after that.
        damp = m.load(work, _DAMP)
        same = m.select(">", newton, share, one, damp)
        turned = m.select("<", change * before, zero, m.constant(0.5) * damp, same)
        damp = m.select(">", size, far, turned, same)
        bounded = m.select("<", change, zero - one, zero - one, change)
        bounded = m.select(">", bounded, one, one, bounded)
        place = m.load(work, _C)
        moved = place + bounded * damp
        # a Newton step leaves the square of the error
        close = m.select(">", newton, share, m.constant(2e-4), m.constant(2e-4))
        failed = m.constant(_FAILED)
        state = m.select("<", size * damp, close, m.constant(_DONE), m.constant(_RUNNING))
        state = m.select("<", moved, rows.first, failed, state)
        state = m.select(">", moved, rows.last, failed, state)
        state = m.select(">", gauss, m.constant(1e-9) * s22, state, failed)
        running = m.load(work, _STATE)
        for value, at in ((moved, _C), (change, _STEP), (damp, _DAMP), (state, _STATE)):
            m.store(m.select(">", running, zero, value, m.load(work, at)), work, at)
        # the weight of a pixel in the place: k0 + k1 f + k2 (f - f^2)
        a, b = (s11 * s02 - s01 * s12) * inverse, (s00 * s12 - s01 * s02) * inverse
        for value, at in (
            (a / gauss, _K0),
            ((b - a) / gauss, _K1),
            (rise * per / gauss, _K2),
            (low, _LOW),
            (rise, _RISE),
        ):
            m.store(value, work, at)

    return step, finish


def _prepare_noise(masked: bool, m: Any, arrays: Any) -> Any:
    """Standard deviation of the place of each row: the noise of each pixel through its weight."""
    falls, lanes, work = arrays
    rows = _Rows(m, masked, lanes, work)
    k0, k1, k2 = (m.load(work, at) for at in (_K0, _K1, _K2))
    gain = m.spread(work, _GAIN)
    offset, rise = m.fma(gain, m.load(work, _LOW), m.spread(work, _OFFSET)), gain * m.load(work, _RISE)
    squares, shared, before = (m.slot(rows.zero) for _ in range(3))

    def step(at: Any) -> None:
        f = rows.at(m.load(falls, at[0]))
        variance = m.fma(rise, f, offset)
        variance = m.select(">", variance, rows.zero, variance, rows.zero)
        part = rows.inside(m.fma(k2, f - f * f, m.fma(k1, f, k0)) * m.sqrt(variance))
        squares.set(m.fma(part, part, squares.get()))
        shared.set(m.fma(part, before.get(), shared.get()))
        before.set(part)

    def finish() -> None:
        total = m.fma(m.spread(work, _RHO2), shared.get(), squares.get())
        m.store(m.sqrt(m.select(">", total, rows.zero, total, rows.zero)), work, _U)

    return step, finish


def _prepare_shape(m: Any, arrays: Any) -> Any:
    """The logistic between the levels of the edge, from `SEARCH` pixels before the first to as many after the last."""
    falls, lanes, work, shape = arrays
    rows = _Rows(m, False, lanes, work)
    low = m.spread(work, _LEFT)
    rise = m.spread(work, _RIGHT) - low

    def step(at: Any) -> None:
        m.store(m.fma(rise, rows.at(m.load(falls, at[0])), low), shape, at[0])

    return step, lambda: None


def _prepare_search(masked: bool, m: Any, arrays: Any) -> Any:
    """Move the places by the whole pixels that leave the smallest sum of squares, inside the window."""
    box, lanes, work, shape = arrays
    rows = _Rows(m, masked, lanes, work)
    totals = [m.slot(rows.zero) for _ in range(2 * SEARCH + 1)]

    def step(at: Any) -> None:
        value, keep = m.load(box, at[0]), rows.inside(rows.one)
        for k, total in enumerate(totals):
            rest = value - m.load(shape, plus(m, at[0], WIDTH * (2 * SEARCH - k)))
            rest = rest * keep if masked else rest
            total.set(m.fma(rest, rest, total.get()))

    def finish() -> None:
        place = m.load(work, _C)
        least, best = m.constant(1e300), place
        for k, total in enumerate(totals):
            moved = place + m.constant(float(k - SEARCH))
            squares = m.select("<", moved, rows.first, m.constant(math.inf), total.get())
            squares = m.select(">", moved, rows.last, m.constant(math.inf), squares)
            best = m.select("<", squares, least, moved, best)
            least = m.select("<", squares, least, squares, least)
        m.store(best, work, _C)

    return step, finish


_newton, _newton_masked = (
    build_streams(functools.partial(_prepare_newton, k), f"logistic_newton_{k:d}") for k in (False, True)
)
_noise, _noise_masked = (
    build_streams(functools.partial(_prepare_noise, k), f"logistic_noise_{k:d}") for k in (False, True)
)
_search, _search_masked = (
    build_streams(functools.partial(_prepare_search, k), f"logistic_search_{k:d}") for k in (False, True)
)
_shape = build_streams(_prepare_shape, "logistic_shape")


@inner
def _start(box: np.ndarray, rows: int, n: int, lanes: np.ndarray, work: np.ndarray) -> bool:
    """Places of the splits to ``work``; True where all eight windows are ``n`` pixels long."""
    alike = True
    for k in range(WIDTH):
        at = lanes[PLACE + k]
        work[_C + k] = lanes[FIRST + k]
        work[_STEP + k] = 0.0
        work[_DAMP + k] = 1.0
        work[_STATE + k] = _FAILED
        if at >= 0.0 and k < rows:
            i = WIDTH * int(at) + k
            work[_C + k] = at + box[i] / (box[i] - box[i + WIDTH])
            work[_STATE + k] = _RUNNING
        alike = alike and lanes[COUNT + k] == n
    return alike


@kernel
def fit_logistic(
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
    width: np.ndarray,
    tie: float,
    search: bool,
    noise: np.ndarray,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Fit centre and levels of a logistic to each edge of each row by Newton's method; returns the number lost.

    Arguments as for `wafer.kernels.edges.locate_edges`. ``width`` (2,) of falling (0) and rising (1) edges. The levels
    are free, with observations of ``low`` and ``high`` that weigh as much as ``tie`` pixels: at every centre they are
    those of least squares, and the centre alone is sought. The start is the split or, with ``search``, the best of
    `SEARCH` pixels on either side of it by the sum of squares.
    """
    nx = image.shape[1]
    n_edges = seed.size
    size = box_size(reach_left, reach_right, slope, nx)
    box, lanes, ends = np.empty(WIDTH * size), np.empty(SPLIT_SIZE), np.empty((2, WIDTH), np.int64)
    work, shape = np.empty(_WORK_SIZE), np.empty(WIDTH * (size + 2 * SEARCH))
    length = WIDTH * (size + 2 * SEARCH)
    falls = np.empty(2 * length)
    for side in range(2):
        for i in range(length):
            falls[side * length + i] = math.exp((SEARCH - i // WIDTH) / width[side])
    work[_TIE], work[_RHO2] = tie, 2.0 * noise[2]
    lost = 0
    for number in range((stop - start + WIDTH - 1) // WIDTH * n_edges):
        first_row, e = start + number // n_edges * WIDTH, number % n_edges
        rows = min(WIDTH, stop - first_row)
        p = polarity[e]
        side = 1 if p > 0 else 0
        contrast = high[e] - low[e]
        window(first_row, rows, slope, middle, seed[e], reach_left[e], reach_right[e], nx, ends)
        n = gather(image, first_row, rows, ends, p, level[e], box, lanes)
        split_rows(box, n, contrast, lanes)
        alike = _start(box, rows, n, lanes, work)
        # in the box grey is p (I - level): every edge rises
        work[_LEFT] = p * ((low[e] if p > 0 else high[e]) - level[e])
        work[_RIGHT] = work[_LEFT] + contrast
        work[_PER_WIDTH] = 1.0 / width[side]
        work[_OFFSET], work[_GAIN] = noise[0] + noise[1] * level[e], noise[1] * p
        table = falls[side * length : (side + 1) * length]
        if search:
            _shape((0,), n + 2 * SEARCH, (table, lanes, work, shape))
            if alike:
                _search((0,), n, (box, lanes, work, shape))
            else:
                _search_masked((0,), n, (box, lanes, work, shape))
        at = WIDTH * SEARCH
        for _trial in range(40):
            if alike:
                _newton((0, at), n, (box, table, lanes, work))
            else:
                _newton_masked((0, at), n, (box, table, lanes, work))
            running = False
            for k in range(WIDTH):
                running = running or work[_STATE + k] == _RUNNING
            if not running:
                break
        if alike:
            _noise((at,), n, (table, lanes, work))
        else:
            _noise_masked((at,), n, (table, lanes, work))
        origin = first_pixel(ends)
        for k in range(rows):
            y = first_row + k
            if work[_STATE + k] != _DONE or work[_RISE + k] < 0.25 * contrast:
                lost += 1
                out_x[e, y] = np.nan
                out_u[e, y] = np.nan
                out_state[e, y] = 1
                continue
            out_x[e, y] = origin + work[_C + k]
            out_u[e, y] = work[_U + k]
            out_state[e, y] = 0
    return lost
