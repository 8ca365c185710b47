"""Kernel that shifts a tabulated edge shape to single rows: the criterion ``model``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.vectors import WIDTH, build_streams, plus
from wafer.kernels.lanes import PLACE, SEARCH, SPLIT_SIZE, box_size, first_pixel, gather, split_rows, window

PHASES = 16  # entries of a tabulated shape per pixel
_T, _CONTRAST, _RHO = range(3)  # what the sums of a row read


def phases(table: np.ndarray, longest: float) -> tuple[np.ndarray, int, int]:
    """Shapes (2, 3, n) in the order that rows read them: one phase between pixels after the other.

    All pixels of a row lie at the same phase between two entries of a table, so entries `PHASES` apart stand together.
    Returns (3, 2, PHASES + 1, length), the last phase the first one a pixel on; falling edges mirrored, so that both
    run along the row; the ends go on for ``longest`` pixels; the length, and the place of the first entry.
    """
    pad = int(math.ceil(longest)) + 2 * WIDTH + SEARCH
    half = (table.shape[2] - 1) // (2 * PHASES)
    length = 2 * half + 1 + 2 * pad
    entry = PHASES * (np.arange(length) - pad) + np.arange(PHASES + 1)[:, None]
    both = np.stack([table[0, :, ::-1], table[1]])
    out = both[:, :, np.clip(entry, 0, table.shape[2] - 1)]
    return np.ascontiguousarray(out.transpose(1, 0, 2, 3)), length, pad


def _prepare_sums(m: Any, arrays: Any) -> Any:
    """Sums of residual times derivative, of the change of that over the phase, and of the squared derivative; all
    whitened."""
    shape, steep, weight, row, inside, state, out = arrays
    t, contrast, minus_rho = (m.spread(state, k) for k in (_T, _CONTRAST, _RHO))
    zero = m.constant(0.0)
    product, change, squares = (m.slot(zero) for _ in range(3))
    before = [m.slot(zero) for _ in range(4)]

    def step(at: Any) -> None:
        (f, df), (g, dg), (w, dw) = (
            (m.fma(t, b - a, a), b - a)
            for a, b in ((m.load(x, at[0]), m.load(x, at[1])) for x in (shape, steep, weight))
        )
        rest, scaled = m.load(row, at[2]) - contrast * f, w * contrast
        parts = (rest * w, g * w, rest * dw - scaled * df, m.fma(g, dw, w * dg))
        white = []
        for slot, part in zip(before, parts, strict=True):
            white.append(m.fma(minus_rho, m.after(slot.get(), part), part))
            slot.set(part)
        r, d, r_t, d_t = white
        keep = m.load(inside, at[3])
        r, d = r * keep, d * keep
        product.set(m.fma(r, d, product.get()))
        squares.set(m.fma(d, d, squares.get()))
        change.set(m.fma(r_t, d, m.fma(r, d_t, change.get())))

    def finish() -> None:
        for k, slot in enumerate((product, change, squares)):
            m.put(m.total(slot.get()), out, m.add(m.given[4], k))

    return step, finish


def _prepare_search(m: Any, arrays: Any) -> Any:
    """Sums of squared residuals with the shape moved by -SEARCH to SEARCH pixels."""
    shape, weight, row, inside, state, out = arrays
    contrast, zero = m.spread(state, _CONTRAST), m.constant(0.0)
    totals = [m.slot(zero) for _ in range(2 * SEARCH + 1)]

    def step(at: Any) -> None:
        value, keep = m.load(row, at[1]), m.load(inside, at[2])
        for k, total in enumerate(totals):
            here = plus(m, at[0], SEARCH - k)
            rest = (value - contrast * m.load(shape, here)) * (m.load(weight, here) * keep)
            total.set(m.fma(rest, rest, total.get()))

    def finish() -> None:
        for k, slot in enumerate(totals):
            m.put(m.total(slot.get()), out, k)

    return step, finish


_sums = build_streams(_prepare_sums, "template_sums")
_squares = build_streams(_prepare_search, "template_squares")


@inner
def best_start(c: float, a: int, b: int, squares: np.ndarray) -> float:
    """The place ``c`` moved by the whole pixels that leave the smallest sum of squares, inside the window, and on to
    the vertex of the parabola through it and its neighbours."""
    low, best = 1e300, 0
    for s in range(-SEARCH, SEARCH + 1):
        if squares[s + SEARCH] < low and a <= c + s <= b:
            low = squares[s + SEARCH]
            best = s
    c += best
    if abs(best) < SEARCH:
        before, after = squares[best + SEARCH - 1], squares[best + SEARCH + 1]
        if before > low and after > low:
            c += 0.5 * (before - after) / (before - 2.0 * low + after)
    return min(max(c, float(a)), float(b))


@kernel
def fit_template(
    image: np.ndarray,
    start: int,
    stop: int,
    top: int,
    slope: float,
    middle: float,
    seed: np.ndarray,
    reach_left: np.ndarray,
    reach_right: np.ndarray,
    polarity: np.ndarray,
    level: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    table: np.ndarray,
    length: int,
    pad: int,
    search: bool,
    noise: np.ndarray,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Shift a tabulated edge shape to each edge of each row by Newton's method; returns the number lost.

    Arguments as for `wafer.kernels.edges.locate_edges`. ``table``, ``length``, ``pad`` come from `phases`, flat: for
    falling (0) and rising (1) edges the shape (0 dark to 1 bright), its derivative per pixel, and the inverse of the
    standard deviation of the noise there (any scale), constant beyond their ends.

    The levels are ``low`` and ``high``, the residuals are weighted with the noise and whitened for the correlation of
    neighbouring pixels (first-order autoregression). The place is where the residuals have no part along the
    derivative. The start is the split or, with ``search``, the best of `SEARCH` pixels on either side of it by the sum
    of squares.
    """
    nx = image.shape[1]
    n_edges = seed.size
    size = box_size(reach_left, reach_right, slope, nx)
    box, lanes, ends = np.empty(WIDTH * size), np.empty(SPLIT_SIZE), np.empty((2, WIDTH), np.int64)
    # the rows of a group one after the other, and ones with as many zeros after them: what lies in a window
    space = size + WIDTH
    values, inside = np.empty(WIDTH * space), np.empty(2 * space)
    for i in range(space):
        inside[i], inside[space + i] = 1.0, 0.0
    state, squares = np.empty(WIDTH), np.empty(2 * SEARCH + 1)
    sums = np.empty(3 * WIDTH)
    c, damp, last = np.empty(WIDTH), np.empty(WIDTH), np.empty(WIDTH)
    active = np.empty(WIDTH, np.int64)
    third = table.size // 3
    shape, steep, weight = table[:third], table[third : 2 * third], table[2 * third :]
    half = (length - 1) // 2 - pad
    zero_phase = pad + half
    rho = min(max(noise[2], 0.0), 0.9)
    fresh = math.sqrt(1.0 - rho * rho)
    state[_RHO] = -rho
    lost = 0
    for number in range((stop - start + WIDTH - 1) // WIDTH * n_edges):
        first_row, e = start + number // n_edges * WIDTH, number % n_edges
        rows = min(WIDTH, stop - first_row)
        p = polarity[e]
        contrast = high[e] - low[e]
        window(first_row, rows, slope, middle, seed[e], reach_left[e], reach_right[e], nx, ends)
        n = gather(image, first_row, rows, ends, p, level[e], box, lanes)
        split_rows(box, n, contrast, lanes)
        origin = first_pixel(ends)
        side = (PHASES + 1) * length if p > 0 else 0
        state[_CONTRAST] = contrast
        # The weights are relative: the noise at the level gives its scale.
        scale = math.sqrt(max(noise[0] + noise[1] * level[e], 0.0)) * weight[side + zero_phase]
        running = 0
        for k in range(rows):
            j = first_row + k - top
            out_x[e, j] = np.nan
            out_u[e, j] = np.nan
            out_state[e, j] = 1
            if lanes[PLACE + k] < 0.0:
                continue
            row = image[first_row + k]
            a, b = ends[0, k], ends[1, k]
            at = origin + int(lanes[PLACE + k])
            v0 = row[at] - level[e]
            c[k] = at + v0 / (v0 - (row[at + 1] - level[e]))
            damp[k], last[k] = 1.0, 0.0
            n = b - a + 1
            groups = (n + WIDTH - 1) // WIDTH
            for i in range(n):
                values[k * space + i] = row[a + i] - low[e]
            for i in range(n, groups * WIDTH):
                values[k * space + i] = 0.0
            if search:
                q = (a - c[k]) * PHASES
                m = int(math.floor(q) if p > 0 else math.ceil(q))
                at = side + (m % PHASES) * length + m // PHASES + zero_phase
                _squares((at, k * space, space - n), groups, (shape, weight, values, inside, state, squares))
                c[k] = best_start(c[k], a, b, squares)
            active[running] = k
            running += 1
        lost += rows
        for _trial in range(40):
            # The sums of one row do not wait for those of another: a processor works at several of them at once.
            for i in range(running):
                k = active[i]
                n = ends[1, k] - ends[0, k] + 1
                q = (ends[0, k] - c[k]) * PHASES
                m = int(math.floor(q))
                state[_T] = q - m
                at = side + (m % PHASES) * length + m // PHASES + zero_phase
                _sums(
                    (at, at + length, k * space, space - n, 3 * k), (n + WIDTH - 1) // WIDTH,
                    (shape, steep, weight, values, inside, state, sums),
                )  # fmt: skip
            left = 0
            for i in range(running):
                k = active[i]
                product, change, square = sums[3 * k], sums[3 * k + 1], sums[3 * k + 2]
                if square <= 1e-300:
                    continue
                # Newton where the sum falls as steeply as for a row that follows the shape, else Gauss and Newton;
                # the edge moves to where the row is darker than the shape: minus on the bright side.
                expected = contrast * square
                fall = -p * PHASES * change
                newton = fall > 0.03 * expected
                dc = -p * product / (fall if newton else expected)
                # One pixel per step: a larger one leaves the region in which the linearisation holds. Where steps
                # alternate, half of them, and half again, close in; Newton's are whole again after that.
                if dc * last[k] < 0.0 and abs(dc) > 0.3 * abs(last[k]):
                    damp[k] *= 0.5
                elif newton:
                    damp[k] = 1.0
                last[k] = dc
                c[k] += min(max(dc, -1.0), 1.0) * damp[k]
                if not (ends[0, k] <= c[k] <= ends[1, k]):
                    continue
                # A Newton step leaves of the error its square, and what the kinks of the table add to it.
                if abs(dc) * damp[k] < (2e-5 if newton else 2e-4):
                    j = first_row + k - top
                    out_x[e, j] = c[k]
                    out_u[e, j] = scale * fresh / (contrast * math.sqrt(square))
                    out_state[e, j] = 0
                    lost -= 1
                    continue
                active[left] = k
                left += 1
            running = left
            if running == 0:
                break
    return lost
