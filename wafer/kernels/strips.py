"""Kernels of contours: grey values along the normals of a contour, shifts against a template, noise of both.

Grey values between pixels come from Keys' cubic convolution (IEEE Trans. ASSP 29 (1981) 1153, a = -1/2): linear in the
pixels, so that the noise of whatever is estimated from them follows exactly from the weights.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel


@inner
def cubic_weights(t: float, w: np.ndarray) -> None:
    """Weights of the four neighbours at -1, 0, 1, 2 for a place 0 <= t < 1."""
    s = 1.0 - t
    w[0] = -0.5 * t * s * s
    w[1] = 1.0 + t * t * (1.5 * t - 2.5)
    w[2] = 1.0 + s * s * (1.5 * s - 2.5)
    w[3] = -0.5 * s * t * t


@kernel
def sample_strips(
    image: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    ux: np.ndarray,
    uy: np.ndarray,
    first: float,
    step: float,
    start: int,
    stop: int,
    out: np.ndarray,
) -> int:
    """Grey at ``(x, y) + (first + j step) (ux, uy)`` for the vertices start to stop; NaN outside the image.

    image (ny, nx) float64; x, y, ux, uy (n,) in pixels; out (n, m). Returns the number of samples outside.
    """
    ny, nx = image.shape
    wx, wy = np.empty(4), np.empty(4)
    outside = 0
    for i in range(start, stop):
        for j in range(out.shape[1]):
            d = first + j * step
            px, py = x[i] + d * ux[i], y[i] + d * uy[i]
            kx, ky = int(math.floor(px)), int(math.floor(py))
            if kx < 1 or ky < 1 or kx > nx - 3 or ky > ny - 3:
                out[i, j] = math.nan
                outside += 1
                continue
            cubic_weights(px - kx, wx)
            cubic_weights(py - ky, wy)
            total = 0.0
            for b in range(4):
                row = 0.0
                for a in range(4):
                    row += wx[a] * image[ky - 1 + b, kx - 1 + a]
                total += wy[b] * row
            out[i, j] = total
    return outside


@kernel
def strip_shifts(
    strips: np.ndarray, template: np.ndarray, slope: np.ndarray, free_gain: bool, start: int, stop: int, out: np.ndarray
) -> int:
    """Shift of each strip against the template, by one Gauss-Newton step with free offset (and gain).

    strips (n, m); template (m,) and its derivative per pixel ``slope`` (m,); out (n, 4): shift in pixels along the
    normal, offset, gain - 1, sum of squared residuals; NaN where fewer than half of the samples lie in the image.
    """
    m = strips.shape[1]
    size = 3 if free_gain else 2
    a, rhs = np.empty((3, 3)), np.empty(3)
    row = np.empty(3)
    bad = 0
    for i in range(start, stop):
        a[:] = 0.0
        rhs[:] = 0.0
        used = 0
        squares = 0.0
        for j in range(m):
            v = strips[i, j]
            if v != v:
                continue
            r = v - template[j]
            row[0], row[1], row[2] = -slope[j], 1.0, template[j]
            for p in range(size):
                rhs[p] += row[p] * r
                for q in range(size):
                    a[p, q] += row[p] * row[q]
            squares += r * r
            used += 1
        for p in range(4):
            out[i, p] = math.nan
        if 2 * used < m:
            bad += 1
            continue
        ok = True
        for p in range(size):  # Cholesky in place
            for q in range(p + 1):
                total = a[p, q]
                for k in range(q):
                    total -= a[p, k] * a[q, k]
                if p == q:
                    if total <= 1e-12 * a[p, p]:
                        ok = False
                        break
                    a[p, p] = math.sqrt(total)
                else:
                    a[p, q] = total / a[q, q]
            if not ok:
                break
        if not ok:
            bad += 1
            continue
        gain = 0.0
        for p in range(size):
            total = rhs[p]
            for k in range(p):
                total -= a[p, k] * row[k]
            row[p] = total / a[p, p]
            gain += row[p] * row[p]
        for p in range(size - 1, -1, -1):
            total = row[p]
            for k in range(p + 1, size):
                total -= a[k, p] * row[k]
            row[p] = total / a[p, p]
        for p in range(size):
            out[i, p] = row[p]
        if size == 2:
            out[i, 2] = 0.0
        out[i, 3] = squares - gain
    return bad


@kernel
def combine_noise(
    x: np.ndarray,
    y: np.ndarray,
    ux: np.ndarray,
    uy: np.ndarray,
    first: float,
    step: float,
    along: np.ndarray,
    across: np.ndarray,
    left: int,
    top: int,
    out: np.ndarray,
) -> int:
    """Pixel weights of linear combinations of strips.

    Combination k takes ``sum_ij across[i, k] along[i, j] grey(i, j)``; out (h, w, K) gets, for each pixel of the window
    whose first pixel is (left, top), the weight with which that pixel enters. Samples outside the window are left out;
    returns their number.
    """
    n, m = along.shape
    wx, wy = np.empty(4), np.empty(4)
    h, w = out.shape[0], out.shape[1]
    outside = 0
    out[:] = 0.0
    for i in range(n):
        some = False
        for k in range(across.shape[1]):
            some = some or across[i, k] != 0.0
        if not some:
            continue
        for j in range(m):
            g = along[i, j]
            if g == 0.0:
                continue
            d = first + j * step
            px, py = x[i] + d * ux[i], y[i] + d * uy[i]
            kx, ky = int(math.floor(px)), int(math.floor(py))
            cx, cy = kx - 1 - left, ky - 1 - top
            if cx < 0 or cy < 0 or cx + 4 > w or cy + 4 > h:
                outside += 1
                continue
            cubic_weights(px - kx, wx)
            cubic_weights(py - ky, wy)
            share = across[i]
            for b in range(4):
                for c in range(4):
                    f = g * wy[b] * wx[c]
                    to = out[cy + b, cx + c]
                    for k in range(share.size):
                        to[k] += f * share[k]
    return outside
