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
def difference_sums(
    image: np.ndarray, slope: float, middle: float, centre: np.ndarray, lags: int, sums: np.ndarray, used: np.ndarray
) -> int:
    """Sums over the rows of ``image`` at the centres of stripes, for the photon transfer.

    ``sums`` is (n_stripes, 4 + lags): grey, d^2 and e^2 (differences to the next row in the column of the centre and in
    the one to its right), d e, and squared differences over 1 to ``lags`` rows. ``used`` (n_stripes, 1 + lags) counts
    rows, and pairs of rows by lag. Each difference is taken in the column of its upper row, so that a step of the
    tilted track does not look like noise. Stripes that leave the image are left out.
    """
    ny, nx = image.shape
    for s in range(centre.size):
        ends = (centre[s] - slope * middle, centre[s] + slope * (ny - 1 - middle))
        if min(ends[0], ends[1]) < 1.0 or max(ends[0], ends[1]) > nx - 3.0:
            continue
        for y in range(ny):
            x = int(math.floor(centre[s] + slope * (y - middle) + 0.5))
            here = image[y, x]
            sums[s, 0] += here
            used[s, 0] += 1.0
            for lag in range(1, lags + 1):
                if y + lag < ny:
                    d = image[y + lag, x] - here
                    sums[s, 3 + lag] += d * d
                    used[s, lag] += 1.0
                    if lag == 1:
                        e = image[y + 1, x + 1] - image[y, x + 1]
                        sums[s, 1] += d * d
                        sums[s, 2] += e * e
                        sums[s, 3] += d * e
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
    misfit: np.ndarray,
) -> int:
    """Accumulate the edge spread function about the edges ``x`` (n_edges, rows), ``fine`` bins per pixel.

    The place of the edge in a row is the mean of its ``neighbours`` rows above and below, *without the row itself*:
    aligning a row on its own noise would make the profile look steeper than it is. ``misfit`` (2) collects squares and
    number of the distances between that place and the edge of the row.
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
            if not math.isnan(x[e, j]):
                misfit[0] += (x[e, j] - place) * (x[e, j] - place)
                misfit[1] += 1.0
            a = max(int(math.ceil(place - min(half, reach_left[e]))), 0)
            b = min(int(math.floor(place + min(half, reach_right[e]))), nx - 1)
            for i in range(a, b + 1):
                k = int(math.floor((i - place + half) * fine))
                if 0 <= k < total.size:
                    total[k] += image[y, i]
                    count[k] += 1.0
    return 0
