"""Kernels that find edges in the rows of an image. No smoothing: every edge uses the pixels of its own row only."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.vectors import WIDTH
from wafer.kernels.lanes import PLACE, SPLIT_SIZE, box_size, first_pixel, gather, split_rows, window

THRESHOLD, MAX_GRADIENT, SIGMOID, LINEAR, MODEL = 0, 1, 2, 3, 4
OK, LOST, SPIKE, MERGED, BROKEN, SATURATED = 0, 1, 2, 3, 4, 5


@kernel
def locate_edges(
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
    steepness: np.ndarray,
    radius: np.ndarray,
    noise: np.ndarray,
    criterion: int,
    points: int,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Find each edge in the rows ``start`` to ``stop`` of ``image`` (ny, nx) float64; returns the number lost.

    Edge ``e`` is looked for between ``seed[e] - reach_left[e]`` and ``seed[e] + reach_right[e]``, following the
    common ``slope`` (x per row) about row ``middle``. ``polarity`` +1: dark to bright. All criteria start from
    `wafer.kernels.lanes.split_rows`.

    ``THRESHOLD``: linear interpolation between the two pixels of the split. ``MAX_GRADIENT``: largest central
    difference within ``radius`` pixels of the split, vertex of the parabola through it and its neighbours. ``LINEAR``:
    the straight line through the ``points`` (odd) pixels where its slope is largest, cut with the grey level ``low``.
    ``noise`` = (variance at grey 0, variance per grey level, correlation of neighbouring pixels in x);
    ``steepness`` is the mean slope at the level (THRESHOLD, LINEAR) or the mean curvature of the gradient at its
    peak (MAX_GRADIENT). ``out_*`` are (n_edges, rows) with column ``row - top``; lost edges are NaN.
    """
    nx = image.shape[1]
    n_edges = seed.size
    half = points // 2
    moment = half * (half + 1) * (2 * half + 1) / 3.0
    lost = 0
    size = box_size(reach_left, reach_right, slope, nx)
    box, lanes, ends = np.empty(WIDTH * size), np.empty(SPLIT_SIZE), np.empty((2, WIDTH), np.int64)
    # Eight rows of one edge before the next edge: results of neighbouring rows lie side by side in memory, and those of
    # different edges a power of two apart, which caches cannot hold.
    for number in range((stop - start + WIDTH - 1) // WIDTH * n_edges):
        first_row, e = start + number // n_edges * WIDTH, number % n_edges
        rows = min(WIDTH, stop - first_row)
        p = polarity[e]
        threshold = level[e]
        window(first_row, rows, slope, middle, seed[e], reach_left[e], reach_right[e], nx, ends)
        n = gather(image, first_row, rows, ends, p, threshold, box, lanes)
        split_rows(box, n, high[e] - low[e], lanes)
        origin = first_pixel(ends)
        for lane in range(rows):
            y = first_row + lane
            row = image[y]
            a, b = ends[0, lane], ends[1, lane]
            j = y - top
            out_x[e, j] = np.nan
            out_u[e, j] = np.nan
            out_state[e, j] = 1
            if lanes[PLACE + lane] < 0.0:
                lost += 1
                continue
            k = origin + int(lanes[PLACE + lane])
            v0 = row[k] - threshold
            t = v0 / (v0 - (row[k + 1] - threshold))
            x = k + t
            variance = max(noise[0] + noise[1] * threshold, 0.0)
            if criterion == 0:
                spread = (1.0 - t) * (1.0 - t) + t * t + 2.0 * noise[2] * t * (1.0 - t)
                u = math.sqrt(variance * spread) / steepness[e]
            elif criterion == 1:
                peak = -1
                largest = -1e300
                first = max(a + 2, int(math.floor(x - radius[e])), 2)
                final = min(b - 2, int(math.ceil(x + radius[e])), nx - 3)
                for i in range(first, final + 1):
                    g = p * (row[i + 1] - row[i - 1])
                    if g > largest:
                        largest = g
                        peak = i
                if peak < 0:
                    lost += 1
                    continue
                g0 = 0.5 * p * (row[peak] - row[peak - 2])
                g1 = 0.5 * largest
                g2 = 0.5 * p * (row[peak + 2] - row[peak])
                curvature = 2.0 * g1 - g0 - g2
                shift = 0.0
                if curvature > 0.0:
                    shift = 0.5 * (g2 - g0) / curvature
                x = peak + min(max(shift, -0.5), 0.5)
                # Numerator (I[2] - 2 I[0] + I[-2]) / 2: variance 1.5 sigma^2 for independent pixels.
                u = 0.5 * math.sqrt(1.5 * variance) / steepness[e]
            else:
                peak = -1
                largest = -1e300
                mean = 0.0
                first = max(int(math.floor(x - radius[e])), a + half)
                final = min(int(math.ceil(x + radius[e])), b - half)
                for i in range(first, final + 1):
                    g = 0.0
                    m = 0.0
                    for d in range(-half, half + 1):
                        g += d * row[i + d]
                        m += row[i + d]
                    if p * g > largest:
                        largest = p * g
                        peak = i
                        mean = m / points
                if peak < 0 or largest <= 0.0:
                    lost += 1
                    continue
                reach = (mean - low[e]) * moment / largest
                x = peak - p * reach
                if not (a - 2.0 <= x <= b + 2.0):
                    lost += 1
                    continue
                u = math.sqrt(variance * (1.0 / points + reach * reach / moment)) / steepness[e]
            out_x[e, j] = x
            out_u[e, j] = u
            out_state[e, j] = 0
    return lost
