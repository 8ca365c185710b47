"""Sums over pairs of correlated points, and Vecchia factors: the matrix C of a field is never formed.

Coordinates (n, 4): up to three of them and a fourth that is not used. ``metric``: 0 Euclidean; 1 first coordinate
periodic, the planar kernel summed over its images; 2 shortest way round a circle (first coordinate alone); 3 arc along
a sphere about the origin. ``numbers``: length, period, radius, normalisation of the images, number of images each side.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel

TABLE_END = 7.0
TABLE_CELLS = 8192
EUCLIDEAN, WRAPPED, CIRCLE, SPHERE = 0, 1, 2, 3
N_NUMBERS = 5


@inner
def rho(code, t, table):  # type: ignore[no-untyped-def]
    """Correlation at t lengths; the codes are those of `metrology_core.uncertainty.fields.kernels`."""
    if code == 0:
        return math.exp(-t)
    if code == 1:
        x = 1.7320508075688772 * t
        return (1.0 + x) * math.exp(-x)
    if code == 2:
        x = 2.23606797749979 * t
        return (1.0 + x + x * x / 3.0) * math.exp(-x)
    if code == 3:
        return math.exp(-0.5 * t * t)
    place = math.sqrt(t) * (TABLE_CELLS / TABLE_END)
    if place >= TABLE_CELLS - 1.0:
        return 0.0
    i = int(place)
    f = place - i
    if i == 0:
        return table[0] + f * (table[1] - table[0])
    a, b, c, d = table[i - 1], table[i], table[i + 1], table[i + 2]
    return b + 0.5 * f * (c - a + f * (2.0 * a - 5.0 * b + 4.0 * c - d + f * (3.0 * (b - c) + d - a)))


@inner
def between(metric, code, table, numbers, x0, x1, x2, y0, y1, y2):  # type: ignore[no-untyped-def]
    """Correlation of two points."""
    length = numbers[0]
    a = x0 - y0
    b = x1 - y1
    c = x2 - y2
    if metric == EUCLIDEAN:
        return rho(code, math.sqrt(a * a + b * b + c * c) / length, table)
    if metric == SPHERE:
        half = 0.5 * math.sqrt(a * a + b * b + c * c) / numbers[2]
        return rho(code, 2.0 * numbers[2] * math.asin(min(half, 1.0)) / length, table)
    period = numbers[1]
    a = abs(a)
    a -= period * math.floor(a / period)
    if metric == CIRCLE:
        return rho(code, min(a, period - a) / length, table)
    images = int(numbers[4])
    total = 0.0
    for k in range(-images, images + 1):
        d = a + k * period
        total += rho(code, math.sqrt(d * d + b * b) / length, table)
    return total / numbers[3]


@kernel
def pair_sums(metric, code, table, numbers, x, h, rows, weights, bins, start, shape, members, skip, out):  # type: ignore[no-untyped-def]
    """out (p, p) = sum over a in rows[start[0]:start[1]] and all b near it of weights[a] h[a] h[b]' rho(a, b).

    x (n, 4) coordinates, h (n, p); bins (cells + 1,): first of the members of each coarse cell, shape (3,) cells along
    each coordinate; ``members`` (n,) points sorted by coarse cell, x[:, 3] the number of a point's own cell. ``skip``:
    leave out pairs of a point with itself.
    """
    p = h.shape[1]
    near = np.empty(p)
    periodic = metric == WRAPPED or metric == CIRCLE
    for r in range(start[0], start[1]):
        a = rows[r]
        for k in range(p):
            near[k] = 0.0
        cell = int(x[a, 3])
        c2 = cell % shape[2]
        c1 = (cell // shape[2]) % shape[1]
        c0 = cell // (shape[2] * shape[1])
        for i in range(-1, 2):
            e0 = c0 + i
            if shape[0] < 3:
                if i < 0 or i >= shape[0]:
                    continue
                e0 = i
            elif periodic:
                e0 = (e0 + shape[0]) % shape[0]
            elif e0 < 0 or e0 >= shape[0]:
                continue
            for j in range(-1, 2):
                e1 = c1 + j
                if e1 < 0 or e1 >= shape[1]:
                    continue
                for m in range(-1, 2):
                    e2 = c2 + m
                    if e2 < 0 or e2 >= shape[2]:
                        continue
                    there = (e0 * shape[1] + e1) * shape[2] + e2
                    for q in range(bins[there], bins[there + 1]):
                        b = members[q]
                        if skip and b == a:
                            continue
                        c = between(metric, code, table, numbers, x[a, 0], x[a, 1], x[a, 2], x[b, 0], x[b, 1], x[b, 2])
                        for k in range(p):
                            near[k] += c * h[b, k]
        for k in range(p):
            for m in range(p):
                out[k, m] += weights[r] * h[a, k] * near[m]


@kernel
def matrix(metric, code, table, numbers, x, y, out):  # type: ignore[no-untyped-def]
    """out (n, m): correlations of points x (n, 4) with points y (m, 4)."""
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = between(metric, code, table, numbers, x[i, 0], x[i, 1], x[i, 2], y[j, 0], y[j, 1], y[j, 2])


@kernel
def symmetric(metric, code, table, numbers, x, out):  # type: ignore[no-untyped-def]
    """out (n, n): correlations of points x (n, 4) among themselves, the bits of `matrix` in half of its time."""
    for i in range(len(x)):
        for j in range(i + 1):
            v = between(metric, code, table, numbers, x[i, 0], x[i, 1], x[i, 2], x[j, 0], x[j, 1], x[j, 2])
            out[i, j] = v
            out[j, i] = v


@kernel
def symmetric_wrapped(code, table, numbers, x, quantum, keys, known, out):  # type: ignore[no-untyped-def]
    """out (n, n): `symmetric` for the wrapped metric, to ``quantum`` lengths: what was summed for a pair of points
    serves pairs that lie alike, which on grids are most. keys (2^k, 2), -1 at first, and known (2^k,) remember sums."""
    period = numbers[1]
    step = quantum * numbers[0]
    mask = len(known) - 1
    for i in range(len(x)):
        for j in range(i + 1):
            a = abs(x[i, 0] - x[j, 0])
            a -= period * math.floor(a / period)
            p = np.int64(min(a, period - a) / step + 0.5)
            q = np.int64(abs(x[i, 1] - x[j, 1]) / step + 0.5)
            slot = (p * 2654435761 + q * 40503 + (p >> 17) + (q >> 13)) & mask
            if keys[slot, 0] != p or keys[slot, 1] != q:
                keys[slot, 0] = p
                keys[slot, 1] = q
                known[slot] = between(WRAPPED, code, table, numbers, x[i, 0], x[i, 1], 0.0, x[j, 0], x[j, 1], 0.0)
            out[i, j] = known[slot]
            out[j, i] = known[slot]


@kernel
def vecchia(metric, code, table, numbers, x, share, neighbours, start, stop, weights, spread):  # type: ignore[no-untyped-def]
    """Conditional laws of points start to stop given their earlier neighbours (-1: none).

    Correlation ``(1 - share) rho`` between points, 1 at a point: unit variance. weights (n, k) of the neighbours'
    values, spread (n,) the conditional standard deviation. Returns how many matrices were not positive.
    """
    k = neighbours.shape[1]
    a = np.empty((k, k))
    c = np.empty(k)
    bad = 0
    for i in range(start, stop):
        m = 0
        while m < k and neighbours[i, m] >= 0:
            m += 1
        for r in range(m):
            p = neighbours[i, r]
            c[r] = (1.0 - share) * between(
                metric, code, table, numbers, x[i, 0], x[i, 1], x[i, 2], x[p, 0], x[p, 1], x[p, 2]
            )
            for s in range(r):
                q = neighbours[i, s]
                a[r, s] = (1.0 - share) * between(
                    metric, code, table, numbers, x[q, 0], x[q, 1], x[q, 2], x[p, 0], x[p, 1], x[p, 2]
                )
            a[r, r] = 1.0 + 1e-12
        # Cholesky in place, then the two triangular solves; what vanishes stays out
        for r in range(m):
            for s in range(r + 1):
                v = a[r, s]
                for t in range(s):
                    v -= a[r, t] * a[s, t]
                if s < r:
                    a[r, s] = v / a[s, s] if a[s, s] > 0.0 else 0.0
                else:
                    a[r, r] = math.sqrt(v) if v > 1e-13 else 0.0
        for r in range(m):
            v = c[r]
            for t in range(r):
                v -= a[r, t] * c[t]
            c[r] = v / a[r, r] if a[r, r] > 0.0 else 0.0
        left = 1.0
        for r in range(m):
            left -= c[r] * c[r]
        for r in range(m - 1, -1, -1):
            v = c[r]
            for t in range(r + 1, m):
                v -= a[t, r] * c[t]
            c[r] = v / a[r, r] if a[r, r] > 0.0 else 0.0
        for r in range(k):
            weights[i, r] = c[r] if r < m else 0.0
        if not left > 0.0:
            if left < -1e-6:
                bad += 1
            left = 0.0
        spread[i] = math.sqrt(left)
    return bad


@kernel
def unfold(neighbours, weights, spread, z, out):  # type: ignore[no-untyped-def]
    """A field from white noise z (n,) in the order of the factor: each value from its earlier neighbours."""
    k = neighbours.shape[1]
    for i in range(len(z)):
        v = spread[i] * z[i]
        for r in range(k):
            j = neighbours[i, r]
            if j < 0:
                break
            v += weights[i, r] * out[j]
        out[i] = v


@kernel
def whiten(neighbours, weights, spread, y, out):  # type: ignore[no-untyped-def]
    """out (n, p): the rows of y (n, p) less what their earlier neighbours say, over the conditional deviation."""
    k = neighbours.shape[1]
    for i in range(len(y)):
        for c in range(y.shape[1]):
            v = y[i, c]
            for r in range(k):
                j = neighbours[i, r]
                if j < 0:
                    break
                v -= weights[i, r] * y[j, c]
            out[i, c] = v / spread[i]


@kernel
def lower_product(factor, z, out):  # type: ignore[no-untyped-def]
    """out (n,) = lower triangular factor (n, n) times z (n,), in a fixed order of additions."""
    for i in range(len(z)):
        v = 0.0
        for j in range(i + 1):
            v += factor[i, j] * z[j]
        out[i] = v


@kernel
def spread(x, low, step, shape, closed, h, lags, start, stop, grid, own):  # type: ignore[no-untyped-def]
    """Columns start to stop of h (n, p) spread linearly onto the nodes of a grid: grid (p, n0, n1).

    ``lags`` (2, 2): correlations at one step along each axis; own (p,): sum of h^2 (1 - what the spread says of a
    point's correlation with itself), the correction of the diagonal.
    """
    for c in range(start, stop):
        total = 0.0
        for i in range(len(x)):
            a = (x[i, 0] - low[0]) / step[0]
            b = (x[i, 1] - low[1]) / step[1]
            i0 = int(math.floor(a))
            j0 = int(math.floor(b))
            fa = a - i0
            fb = b - j0
            i1 = i0 + 1
            j1 = j0 + 1
            if closed:
                i0 = i0 % shape[0]
                i1 = i1 % shape[0]
            v = h[i, c]
            grid[c, i0, j0] += v * (1.0 - fa) * (1.0 - fb)
            grid[c, i1, j0] += v * fa * (1.0 - fb)
            grid[c, i0, j1] += v * (1.0 - fa) * fb
            grid[c, i1, j1] += v * fa * fb
            sa = 1.0 - 2.0 * fa * (1.0 - fa)
            sb = 1.0 - 2.0 * fb * (1.0 - fb)
            ca = 1.0 - sa
            cb = 1.0 - sb
            itself = sa * sb + ca * sb * lags[1, 0] + sa * cb * lags[0, 1] + ca * cb * lags[1, 1]
            total += v * v * (1.0 - itself)
        own[c] = total


@kernel
def gather(x, h, cell, count, place, square, mass, own):  # type: ignore[no-untyped-def]
    """Points into cells: count, sums of places (cells, 3) and of their squares (cells,) about the first point of the
    cell, of h (cells, p), and of products of h (cells, p, p)."""
    p = h.shape[1]
    first = np.full(len(count), -1, np.int64)
    for i in range(len(x)):
        c = cell[i]
        count[c] += 1
        if first[c] < 0:
            first[c] = i
        f = first[c]
        for k in range(3):
            d = x[i, k] - x[f, k]
            place[c, k] += d
            square[c] += d * d
        for k in range(p):
            mass[c, k] += h[i, k]
            for m in range(k + 1):
                own[c, k, m] += h[i, k] * h[i, m]
    for c in range(len(count)):
        if count[c]:
            for k in range(3):
                mean = place[c, k] / count[c]
                square[c] -= count[c] * mean * mean
                place[c, k] = x[first[c], k] + mean
            square[c] = max(0.0, square[c] / count[c])
        for k in range(p):
            for m in range(k):
                own[c, m, k] = own[c, k, m]
