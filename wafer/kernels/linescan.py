"""Kernels that average an image along tilted lines."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel


@kernel
def sheared_sum(
    image: np.ndarray, start: int, stop: int, slope: float, middle: float, total: np.ndarray, weight: np.ndarray
) -> int:
    """Add the rows ``start`` to ``stop``, shifted back by ``slope (y - middle)``, to ``total`` (nx), linearly.

    Serves seeds, levels and tilt only; reported edges never come from an interpolated image.
    """
    nx = image.shape[1]
    for y in range(start, stop):
        shift = slope * (y - middle)
        whole = int(math.floor(shift))
        t = shift - whole
        first = max(0, -whole)
        end = min(nx, nx - 1 - whole)
        for x in range(first, end):
            total[x] += (1.0 - t) * image[y, x + whole] + t * image[y, x + whole + 1]
            weight[x] += 1.0
    return 0


@kernel
def stripe_means(
    image: np.ndarray, start: int, stop: int, top: int, centre: np.ndarray, half: np.ndarray, out: np.ndarray
) -> int:
    """Mean grey of every stripe (line or space) in each row, within ``half`` of ``centre`` (n_stripes, rows).

    ``out`` is (n_stripes, rows), NaN outside the image.
    """
    nx = image.shape[1]
    for y in range(start, stop):
        for s in range(half.size):
            c = centre[s, y - top]
            a = int(math.ceil(c - half[s]))
            b = int(math.floor(c + half[s]))
            if b < a:
                a = int(math.floor(c + 0.5))
                b = a
            a = max(a, 0)
            b = min(b, nx - 1)
            total = 0.0
            for x in range(a, b + 1):
                total += image[y, x]
            out[s, y - top] = total / (b - a + 1) if b >= a else np.nan
    return 0


@kernel
def edge_spread(
    image: np.ndarray,
    start: int,
    stop: int,
    top: int,
    x: np.ndarray,
    reach_left: np.ndarray,
    reach_right: np.ndarray,
    neighbours: int,
    fine: float,
    half: float,
    total: np.ndarray,
    count: np.ndarray,
) -> int:
    """Accumulate the edge spread function about the edges ``x`` (n_edges, rows), ``fine`` bins per pixel.

    The place of the edge in a row is the mean of its ``neighbours`` rows above and below, *without the row itself*:
    aligning a row on its own noise would make the profile look steeper than it is.
    """
    nx = image.shape[1]
    n_edges, n_rows = x.shape
    for y in range(start, stop):
        j = y - top
        for e in range(n_edges):
            place = 0.0
            found = 0
            for m in range(max(0, j - neighbours), min(n_rows, j + neighbours + 1)):
                if m != j and not math.isnan(x[e, m]):
                    place += x[e, m]
                    found += 1
            if found < neighbours:
                continue
            place /= found
            a = max(int(math.ceil(place - min(half, reach_left[e]))), 0)
            b = min(int(math.floor(place + min(half, reach_right[e]))), nx - 1)
            for i in range(a, b + 1):
                k = int(math.floor((i - place + half) * fine))
                if 0 <= k < total.size:
                    total[k] += image[y, i]
                    count[k] += 1.0
    return 0
