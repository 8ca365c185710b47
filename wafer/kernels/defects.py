"""Kernel that watches the grey level along the stripes: bridged spaces and broken lines."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel


@inner
def running_mean(values: np.ndarray, width: int, total: np.ndarray, out: np.ndarray) -> int:
    """Mean over ``width`` (odd) neighbours; the ends repeat the last full window. ``total`` (n + 1) is scratch."""
    n = values.size
    total[0] = 0.0
    for i in range(n):
        total[i + 1] = total[i] + values[i]
    side = width // 2
    for i in range(n):
        first = min(max(i - side, 0), n - width)
        out[i] = (total[first + width] - total[first]) / width
    return 0


@kernel
def watch_stripes(
    image: np.ndarray,
    slope: float,
    middle: float,
    x: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    bright: np.ndarray,
    limit: float,
    windows: np.ndarray,
    bad: np.ndarray,
) -> int:
    """Mark in ``bad`` (n_stripes, rows) where the inner stripes have the grey level of their neighbours.

    ``x`` (n_edges, rows) are the edges; stripe ``s`` lies between edges ``s - 1`` and ``s``. The stripe's middle
    follows the middle of its edges, averaged over 31 rows (lost rows count as straight); the mean grey within ``half``
    of it, averaged over ``windows[s]`` rows (odd), is held against ``limit``.
    """
    ny, nx = image.shape
    n = centre.size
    wide = min(31, ny - 1 + ny % 2)
    # rows of these are no multiple of what a way of the cache holds, or they would push each other out
    middles, grey = np.empty((n, ny + 9)), np.empty((n, ny + 9))
    total = np.empty(ny + 1)
    for s in range(1, n - 1):
        cap = 2.5 * half[s]
        wander = grey[s, :ny]
        for y in range(ny):
            d = 0.5 * (x[s - 1, y] + x[s, y]) - (centre[s] + slope * (y - middle))
            wander[y] = 0.0 if math.isnan(d) else min(max(d, -cap), cap)
        running_mean(wander, wide, total, middles[s, :ny])
    for y in range(ny):  # row by row, as the image lies in memory
        row = image[y]
        for s in range(1, n - 1):
            c = centre[s] + slope * (y - middle) + middles[s, y]
            a = int(math.ceil(c - half[s]))
            b = int(math.floor(c + half[s]))
            if b < a:
                a = int(math.floor(c + 0.5))
                b = a
            a = max(a, 0)
            b = min(b, nx - 1)
            value = 0.0
            for i in range(a, b + 1):
                value += row[i]
            grey[s, y] = value / (b - a + 1) if b >= a else limit
    for s in range(1, n - 1):
        smooth = middles[s, :ny]
        running_mean(grey[s, :ny], windows[s], total, smooth)
        for y in range(ny):
            bad[s, y] = smooth[y] < limit if bright[s] else smooth[y] > limit
    return 0
