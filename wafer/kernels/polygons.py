"""Kernels of polygons on images: exact area coverage, nearest edge of a design, noise of single strips."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from wafer.kernels.strips import cubic_weights


@inner
def _cover_row(xa: float, xb: float, d: float, nx: int, row: np.ndarray) -> None:
    """Add a piece of an edge within one row of pixels, from xa to xb, climbing d: shares of the pixels to its right."""
    if xa > xb:
        xa, xb = xb, xa
    if xb <= 0.0:
        row[0] += d
        return
    if xa >= nx:
        return
    run = xb - xa
    if xa < 0.0:  # the part left of the image covers its rows whole
        part = d * (-xa) / run
        row[0] += part
        d -= part
        xa = 0.0
        run = xb
    if xb > nx:
        d *= (nx - xa) / run
        xb = float(nx)
        run = xb - xa
    if run <= 0.0:
        k = min(int(math.floor(xa)), nx - 1)
        t = xa - k
        row[k] += d * (1.0 - t)
        row[k + 1] += d * t
        return
    k = int(math.floor(xa))
    at = xa
    while at < xb:
        end = min(float(k + 1), xb)
        part = d * (end - at) / run
        t = 0.5 * (at + end) - k
        row[k] += part * (1.0 - t)
        if k + 1 < row.size:
            row[k + 1] += part * t
        at = end
        k += 1


@kernel
def polygon_coverage(x: np.ndarray, y: np.ndarray, first: np.ndarray, start: int, stop: int, out: np.ndarray) -> int:
    """Add the share of each pixel that polygons cover, exactly, to ``out`` (ny, nx + 1); running sums over the columns
    of each row give the shares (the last column is scratch).

    Polygon p has the vertices ``first[p]`` to ``first[p + 1]``; pixel (i, j) is the square from (j, i) to (j + 1,
    i + 1). Clockwise polygons on the screen (y down) count +1, the others -1: holes are subtracted.
    """
    ny, nx = out.shape[0], out.shape[1] - 1
    for p in range(start, stop):
        a, b = first[p], first[p + 1]
        for i in range(a, b):
            j = i + 1 if i + 1 < b else a
            x0, y0, x1, y1 = x[i], y[i], x[j], y[j]
            if y0 == y1:
                continue
            sign = -1.0
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
                sign = 1.0
            if y1 <= 0.0 or y0 >= ny:
                continue
            slope = (x1 - x0) / (y1 - y0)
            low, high = max(y0, 0.0), min(y1, float(ny))
            r = int(math.floor(low))
            while low < high:
                top = min(float(r + 1), high)
                _cover_row(
                    x0 + slope * (low - y0), x0 + slope * (top - y0), sign * (top - low), nx, out[r]
                )  # fmt: skip
                low = top
                r += 1
    return 0


@kernel
def nearest_edges(
    x: np.ndarray,
    y: np.ndarray,
    ux: np.ndarray,
    uy: np.ndarray,
    edges: np.ndarray,
    facing: float,
    limit: float,
    start: int,
    stop: int,
    edge: np.ndarray,
    along: np.ndarray,
    out: np.ndarray,
) -> int:
    """For each place the nearest edge that faces its way; returns how many have none within ``limit``.

    x, y, ux, uy (n,) places and unit normals; edges (m, 6): start x, y, end x, y, unit outward normal. An edge counts
    where its normal and that of the place have a scalar product above ``facing``. ``edge`` (n,) index or -1, ``along``
    (n,) length from the edge's start to the foot, ``out`` (n,) signed distance, positive on the edge's outer side.
    """
    lost = 0
    for i in range(start, stop):
        best = limit * limit
        found = -1
        for e in range(edges.shape[0]):
            if ux[i] * edges[e, 4] + uy[i] * edges[e, 5] <= facing:
                continue
            ax, ay, bx, by = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            t = ((x[i] - ax) * dx + (y[i] - ay) * dy) / length
            t = min(max(t, 0.0), 1.0)
            px, py = x[i] - ax - t * dx, y[i] - ay - t * dy
            d = px * px + py * py
            if d < best:
                best = d
                found = e
                along[i] = t * math.sqrt(length)
                side = px * edges[e, 4] + py * edges[e, 5]
                if t == 0.0 or t == 1.0:  # at a corner the normal of the place decides
                    side = px * ux[i] + py * uy[i]
                out[i] = math.sqrt(d) if side >= 0.0 else -math.sqrt(d)
        edge[i] = found
        if found < 0:
            lost += 1
            along[i] = math.nan
            out[i] = math.nan
    return lost


@kernel
def strip_variances(
    x: np.ndarray,
    y: np.ndarray,
    ux: np.ndarray,
    uy: np.ndarray,
    first: float,
    step: float,
    along: np.ndarray,
    parallel: int,
    variance: np.ndarray,
    lags: np.ndarray,
    start: int,
    stop: int,
    out: np.ndarray,
) -> int:
    """Variance of ``sum_j along[i, j] grey(i, j)`` for each group of ``parallel`` strips, by the noise of the pixels.

    Strips ``parallel * i`` to ``parallel * (i + 1)`` are one group, out (n,) the variance of the sum over the group;
    ``variance`` (ny, nx) of the pixels, ``lags`` the correlations of pixels 1, 2, ... apart in a row. Returns the
    groups with a sample outside the image.
    """
    ny, nx = variance.shape
    m = along.shape[1]
    size = 2 * int(math.ceil(max(abs(first), abs(first + (m - 1) * step)))) + parallel + 10
    weights = np.zeros((size, size))
    wx, wy = np.empty(4), np.empty(4)
    bad = 0
    for i in range(start, stop):
        k0 = i * parallel
        cx, cy = 0.0, 0.0
        for k in range(k0, k0 + parallel):
            cx += x[k] / parallel
            cy += y[k] / parallel
        left, top = int(math.floor(cx)) - size // 2, int(math.floor(cy)) - size // 2
        weights[:] = 0.0
        inside = True
        for k in range(k0, k0 + parallel):
            for j in range(m):
                g = along[k, j]
                if g == 0.0:
                    continue
                d = first + j * step
                px, py = x[k] + d * ux[k], y[k] + d * uy[k]
                kx, ky = int(math.floor(px)), int(math.floor(py))
                a, b = kx - 1 - left, ky - 1 - top
                if kx < 1 or ky < 1 or kx > nx - 3 or ky > ny - 3 or a < 0 or b < 0 or a + 4 > size or b + 4 > size:
                    inside = False
                    continue
                cubic_weights(px - kx, wx)
                cubic_weights(py - ky, wy)
                for q in range(4):
                    for p in range(4):
                        weights[b + q, a + p] += g * wy[q] * wx[p]
        total = 0.0
        for b in range(size):
            row = top + b
            if row < 0 or row >= ny:
                continue
            for a in range(size):
                column = left + a
                w = weights[b, a]
                if w == 0.0 or column < 0 or column >= nx:
                    weights[b, a] = 0.0
                    continue
                w *= math.sqrt(variance[row, column])
                weights[b, a] = w
                total += w * w
                for lag in range(min(lags.size, a)):
                    total += 2.0 * lags[lag] * w * weights[b, a - lag - 1]
        out[i] = total
        if not inside:
            bad += 1
    return bad
