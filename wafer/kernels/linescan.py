"""Kernels that average an image along tilted lines."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel

RUN = 64  # rows of a column that are copied at once
TILE = 16  # rows whose places are averaged before their pixels are read


@kernel
def sheared_sum(
    image: np.ndarray, start: int, stop: int, slope: float, middle: float, total: np.ndarray, weight: np.ndarray
) -> int:
    """Add the rows ``start`` to ``stop``, shifted back by ``slope (y - middle)``, to ``total`` (nx), linearly.

    Serves seeds, levels and tilt only; reported edges never come from an interpolated image.
    """
    nx = image.shape[1]
    change = np.empty(nx + 1)  # of the weight from each pixel to the next
    for x in range(nx + 1):
        change[x] = 0.0
    for y in range(start, stop):
        shift = slope * (y - middle)
        whole = int(math.floor(shift))
        t = shift - whole
        first = max(0, -whole)
        end = min(nx, nx - 1 - whole)
        if end <= first:
            continue
        here, after, to = image[y, first + whole : end + whole], image[y, first + whole + 1 :], total[first:end]
        for i in range(to.size):
            to[i] += (1.0 - t) * here[i] + t * after[i]
        change[first] += 1.0
        change[end] -= 1.0
    rows = 0.0
    for x in range(nx):
        rows += change[x]
        weight[x] += rows
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
    column, beside = np.empty(RUN + lags + 1), np.empty(RUN + 1)
    for s in range(centre.size):
        ends = (centre[s] - slope * middle, centre[s] + slope * (ny - 1 - middle))
        if min(ends[0], ends[1]) < 1.0 or max(ends[0], ends[1]) > nx - 3.0:
            continue
        y = 0
        while y < ny:
            # rows in which the track stays in one column: its pixels once from the image, then side by side
            x = int(math.floor(centre[s] + slope * (y - middle) + 0.5))
            n = 1
            while n < RUN and y + n < ny and int(math.floor(centre[s] + slope * (y + n - middle) + 0.5)) == x:
                n += 1
            seen = min(n + lags, ny - y)
            for i in range(seen):
                column[i] = image[y + i, x]
            for i in range(min(n + 1, seen)):
                beside[i] = image[y + i, x + 1]
            to = sums[s, 4:]
            for i in range(n):
                here = column[i]
                sums[s, 0] += here
                pairs = min(lags, seen - 1 - i)
                if pairs > 0:
                    d, e = column[i + 1] - here, beside[i + 1] - beside[i]
                    sums[s, 1] += d * d
                    sums[s, 2] += e * e
                    sums[s, 3] += d * e
                later = column[i + 1 :]
                for lag in range(pairs):
                    to[lag] += (later[lag] - here) * (later[lag] - here)
            used[s, 0] += n
            for lag in range(1, lags + 1):
                used[s, lag] += max(min(n, ny - lag - y), 0)
            y += n
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
    phases = int(fine)
    # Pixels of a row fall `fine` bins apart: bins of one phase side by side are whole pieces of rows.
    length = (total.size + phases - 1) // phases
    sums = np.empty((phases, length))
    starts = np.empty((phases, length + 1))  # pieces that begin in a bin, less those that ended before it
    for k in range(phases):
        for i in range(length):
            sums[k, i] = starts[k, i] = 0.0
        starts[k, length] = 0.0
    places = np.empty((n_edges, TILE))
    for first in range(start, stop, TILE):
        rows = min(TILE, stop - first)
        j0 = first - top
        inside = j0 >= neighbours and j0 + rows + neighbours <= n_rows
        for e in range(n_edges):
            if inside:  # all neighbours of all rows side by side; a lost one makes the sum NaN
                to = places[e, :rows]
                for k in range(rows):
                    to[k] = 0.0
                for m in range(-neighbours, neighbours + 1):
                    if m != 0:
                        near = x[e, j0 + m : j0 + m + rows]
                        for k in range(rows):
                            to[k] += near[k]
            for k in range(rows):
                j = j0 + k
                if inside and not math.isnan(places[e, k]):
                    places[e, k] /= 2 * neighbours
                else:
                    place = 0.0
                    found = 0
                    for m in range(max(0, j - neighbours), min(n_rows, j + neighbours + 1)):
                        if m != j and not math.isnan(x[e, m]):
                            place += x[e, m]
                            found += 1
                    places[e, k] = place / found if found >= neighbours else math.nan
                d = x[e, j] - places[e, k]
                if not math.isnan(d):
                    misfit[0] += d * d
                    misfit[1] += 1.0
        for k in range(rows):
            row = image[first + k]
            for e in range(n_edges):
                place = places[e, k]
                if math.isnan(place):
                    continue
                a = max(int(math.ceil(place - min(half, reach_left[e]))), 0)
                b = min(int(math.floor(place + min(half, reach_right[e]))), nx - 1)
                bin0 = int(math.floor((a - place + half) * fine))
                phase, pixel = bin0 % phases, bin0 // phases
                skip = max(0, -pixel)
                n = min(b - a + 1, length - pixel) - skip
                if n <= 0:
                    continue
                piece = row[a + skip : a + skip + n]
                to = sums[phase, pixel + skip :]
                for i in range(n):
                    to[i] += piece[i]
                starts[phase, pixel + skip] += 1.0
                starts[phase, pixel + skip + n] -= 1.0
    for phase in range(phases):
        number = 0.0
        for i in range(length):
            number += starts[phase, i]
            k = phase + i * phases
            if k < total.size:
                total[k] += sums[phase, i]
                count[k] += number
    return 0
