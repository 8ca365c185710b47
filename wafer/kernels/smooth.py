"""Kernels for edges in smoothed rows: a separable filter that never leaves the cache, and the crossings in it.

Single precision: greys are taken relative to a level between line and space, so that rounding stays below 1e-6 of the
step. Every output pixel is the same sum in the same order whatever block it is computed in.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel

LANES = 16  # rows whose crossings are looked for together
GAP = 32  # pixels between windows that are filtered rather than skipped


@inner
def mirrored(i: int, n: int) -> int:
    """Index of pixel ``i`` of an image that goes on as its mirror image about the outer pixels."""
    while i < 0 or i >= n:
        i = -i if i < 0 else 2 * (n - 1) - i
    return i


@inner
def smooth_along(strip: np.ndarray, first: int, taps: np.ndarray, out: np.ndarray) -> int:
    """Weighted sum of the rows about row ``first + taps.size - 1`` of ``strip`` (rows, nx); ``out`` (nx)."""
    n = out.size
    reach = taps.size - 1
    centre = strip[first + reach]
    w = taps[0]
    for x in range(n):
        out[x] = w * centre[x]
    j = 1
    while j < reach:
        a, b = strip[first + reach - j], strip[first + reach + j]
        c, d = strip[first + reach - j - 1], strip[first + reach + j + 1]
        w, v = taps[j], taps[j + 1]
        for x in range(n):
            out[x] += w * (a[x] + b[x]) + v * (c[x] + d[x])
        j += 2
    if j == reach:
        a, b = strip[first + reach - j], strip[first + reach + j]
        w = taps[j]
        for x in range(n):
            out[x] += w * (a[x] + b[x])
    return 0


@inner
def smooth_across(padded: np.ndarray, taps: np.ndarray, a: int, b: int, out: np.ndarray) -> int:
    """Weighted sum of neighbours for the pixels ``a`` to ``b`` (exclusive); ``padded`` begins ``taps.size - 1`` earlier
    than ``out``."""
    reach = taps.size - 1
    n = b - a
    centre = padded[a + reach : b + reach]
    to = out[a:b]
    w = taps[0]
    for x in range(n):
        to[x] = w * centre[x]
    j = 1
    while j < reach:
        p, q = padded[a + reach - j : b + reach - j], padded[a + reach + j : b + reach + j]
        r, s = padded[a + reach - j - 1 : b + reach - j - 1], padded[a + reach + j + 1 : b + reach + j + 1]
        w, v = taps[j], taps[j + 1]
        for x in range(n):
            to[x] += w * (p[x] + q[x]) + v * (r[x] + s[x])
        j += 2
    if j == reach:
        p, q = padded[a + reach - j : b + reach - j], padded[a + reach + j : b + reach + j]
        w = taps[j]
        for x in range(n):
            to[x] += w * (p[x] + q[x])
    return 0


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


@inner
def pad_ends(padded: np.ndarray, reach: int, nx: int) -> int:
    """Fill both ends of a padded row with its mirror image about the outer pixels."""
    for i in range(reach):
        padded[reach - 1 - i] = padded[reach + mirrored(-1 - i, nx)]
        padded[reach + nx + i] = padded[reach + mirrored(nx + i, nx)]
    return 0


@kernel
def smooth_rows(
    image: np.ndarray, start: int, stop: int, taps_x: np.ndarray, taps_y: np.ndarray, zero: float, out: np.ndarray
) -> int:
    """Rows ``start`` to ``stop`` of the filtered image to the same rows of ``out`` (ny, nx) float64.

    ``taps_*`` (reach + 1,) float32 are the weights from the middle outward. The image goes on as its mirror image.
    """
    nx = image.shape[1]
    rx, ry = taps_x.size - 1, taps_y.size - 1
    strip = np.empty((stop - start + 2 * ry, nx), dtype=np.float32)
    padded = np.empty(nx + 2 * rx, dtype=np.float32)
    soft = np.empty(nx, dtype=np.float32)
    fill_strip(image, start, ry, zero, strip)
    for y in range(start, stop):
        smooth_along(strip, y - start, taps_y, padded[rx : rx + nx])
        pad_ends(padded, rx, nx)
        smooth_across(padded, taps_x, 0, nx, soft)
        for x in range(nx):
            out[y, x] = soft[x] + zero
    return 0


@inner
def running_sums(soft: np.ndarray, first: int, last: int, sums: np.ndarray) -> int:
    """Sums of the rows of ``soft`` from column ``first`` to before each column; four chains at a time."""
    for lane in range(0, LANES, 4):
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        p, q, r, s = soft[lane], soft[lane + 1], soft[lane + 2], soft[lane + 3]
        to, tp, tq, tr = sums[lane], sums[lane + 1], sums[lane + 2], sums[lane + 3]
        for i in range(first, last):
            to[i], tp[i], tq[i], tr[i] = a, b, c, d
            a += p[i]
            b += q[i]
            c += r[i]
            d += s[i]
        to[last], tp[last], tq[last], tr[last] = a, b, c, d
    return 0


@inner
def best_split(
    soft: np.ndarray, sums: np.ndarray, lane: int, a: int, b: int, p: float, level: float, contrast: float
) -> int:
    """`wafer.kernels.edges.split` by running sums of row ``lane``; most rows have one crossing."""
    # A falling edge is a rising one of the negative: signed values save a branch in the loop, and counting in 32 bits
    # lets it run over as many pixels at once as the comparison does.
    sign = np.float32(p)
    at = np.float32(p * level)
    left, right = soft[lane, a:b], soft[lane, a + 1 : b + 1]
    hits = nil = np.uint32(0)
    places = np.uint32(0)
    one = np.uint32(1)
    for i in range(np.uint32(max(b - a, 0))):
        hit = (sign * left[i] < at) & (sign * right[i] >= at)
        hits = np.uint32(hits + (one if hit else nil))
        places = np.uint32(places + (np.uint32(i) if hit else nil))
    count, k = int(hits), a + int(places)
    if count == 0:
        return -1
    start = sums[lane, a]
    best = p * (sums[lane, k + 1] - start - (k - a + 1) * level) if count == 1 else 0.0
    if count > 1:
        k = -1
        for i in range(a, b):
            if sign * soft[lane, i] < at and sign * soft[lane, i + 1] >= at:
                total = p * (sums[lane, i + 1] - start - (i - a + 1) * level)
                if total < best:
                    best = total
                    k = i
    if k < 0 or best >= 0.0:
        return -1
    total = p * (sums[lane, b + 1] - start - (b - a + 1) * level)
    if (total - best) / (b - k) - best / (k - a + 1) < 0.25 * contrast:
        return -1
    return k


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
    groups = (stop - start + LANES - 1) // LANES
    strip = np.empty((groups * LANES + 2 * ry, nx), dtype=np.float32)
    padded = np.empty(nx + 2 * rx, dtype=np.float32)
    # a row more than the image is wide: the rows of a group must not fall into the same places of the cache
    # not a multiple of the cache's stride: the rows of a group must not fall into the same places of it
    soft = np.zeros((LANES, nx + 17), dtype=np.float32)
    sums = np.zeros((LANES, nx + 9))
    fill_strip(image, start, ry, zero, strip)
    lost = 0
    for group in range(groups):
        top = start + group * LANES
        begin, end = nx, 0
        for lane in range(LANES):
            smooth_along(strip, top - start + lane, taps_y, padded[rx : rx + nx])
            pad_ends(padded, rx, nx)
            span = done = 0
            for e in range(n_edges):
                centre = seed[e] + slope * (top + lane - middle)
                a = max(int(math.ceil(centre - reach_left[e])), 0)
                b = min(int(math.floor(centre + reach_right[e])) + 1, nx)
                if a > done + GAP:
                    if done > span:
                        smooth_across(padded, taps_x, span, done, soft[lane])
                        begin, end = min(begin, span), max(end, done)
                    span = a
                done = max(done, b)
            if done > span:
                smooth_across(padded, taps_x, span, done, soft[lane])
                begin, end = min(begin, span), max(end, done)
        running_sums(soft, min(begin, end), end, sums)
        for e in range(n_edges):
            at = level[e] - zero
            variance = max(noise[0] + noise[1] * level[e], 0.0)
            for lane in range(min(LANES, stop - top)):
                y = top + lane
                centre = seed[e] + slope * (y - middle)
                a = max(int(math.ceil(centre - reach_left[e])), 0)
                b = min(int(math.floor(centre + reach_right[e])), nx - 1)
                k = best_split(soft, sums, lane, a, b, polarity[e], at, high[e] - low[e])
                if k < 0:
                    out_x[e, y] = np.nan
                    out_u[e, y] = np.nan
                    out_state[e, y] = 1
                    lost += 1
                    continue
                v0 = float(soft[lane, k]) - at
                t = v0 / (v0 - (float(soft[lane, k + 1]) - at))
                spread = (1.0 - t) * (1.0 - t) + t * t + 2.0 * noise[2] * t * (1.0 - t)
                out_x[e, y] = k + t
                out_u[e, y] = math.sqrt(variance * spread) / steepness[e]
                out_state[e, y] = 0
    return lost
