"""Kernels that find edges in the rows of an image. No smoothing: every edge uses the pixels of its own row only."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel

THRESHOLD, MAX_GRADIENT, SIGMOID = 0, 1, 2
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
    width: np.ndarray,
    radius: np.ndarray,
    noise: np.ndarray,
    criterion: int,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Find each edge in the rows ``start`` to ``stop`` of ``image`` (ny, nx) float64; returns the number lost.

    Edge ``e`` is looked for between ``seed[e] - reach_left[e]`` and ``seed[e] + reach_right[e]``, following the
    common ``slope`` (x per row) about row ``middle``. ``polarity`` +1: dark to bright. All three criteria start from
    the *split*: the sign change of ``I - level`` at which the running sum of ``polarity (I - level)`` over the window
    is smallest, that is where the dark side is darkest and the bright side brightest in total. It does not depend on
    where the edge was expected, so it does not pull noisy edges toward the straight line.

    ``THRESHOLD``: linear interpolation between the two pixels of the split. ``MAX_GRADIENT``: largest central
    difference within ``radius`` pixels of the split, vertex of the parabola through it and its neighbours.
    ``SIGMOID``: least squares of low, high and centre of a logistic of fixed ``width`` (Gauss-Newton); the levels are
    tied to ``low`` and ``high`` with a standard deviation of 15 % of the step.
    ``noise`` = (variance at grey 0, variance per grey level, correlation of neighbouring pixels in x);
    ``steepness`` is the mean slope at the level (criterion THRESHOLD) or the mean curvature of the gradient at its
    peak (MAX_GRADIENT). ``out_*`` are (n_edges, rows) with column ``row - top``; lost edges are NaN.
    """
    nx = image.shape[1]
    n_edges = seed.size
    lost = 0
    for y in range(start, stop):
        row = image[y]
        for e in range(n_edges):
            centre = seed[e] + slope * (y - middle)
            a = max(int(math.ceil(centre - reach_left[e])), 0)
            b = min(int(math.floor(centre + reach_right[e])), nx - 1)
            j = y - top
            out_x[e, j] = np.nan
            out_u[e, j] = np.nan
            out_state[e, j] = 1
            p = polarity[e]
            threshold = level[e]
            best = 0.0
            k = -1
            total = 0.0
            for i in range(a, b):
                v = p * (row[i] - threshold)
                total += v
                if v < 0.0 and total < best and p * (row[i + 1] - threshold) >= 0.0:
                    best = total
                    k = i
            if k < 0:
                lost += 1
                continue
            total += p * (row[b] - threshold)
            # Mean step across the split; noise alone also has a best split, but not a step of this size.
            step = (total - best) / (b - k) - best / (k - a + 1)
            contrast = high[e] - low[e]
            if step < 0.25 * contrast:
                lost += 1
                continue
            v0 = p * (row[k] - threshold)
            v1 = p * (row[k + 1] - threshold)
            t = v0 / (v0 - v1)
            x = k + t
            variance = noise[0] + noise[1] * threshold
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
                w = width[e]
                # exp at one pixel times this is exp at the next: one exponential per pass instead of one per pixel
                ratio = math.exp(-1.0 / w)
                lo = low[e]
                hi = high[e]
                if p < 0:
                    lo, hi = hi, lo
                c = x
                converged = False
                lo0 = lo
                hi0 = hi
                # The levels of a single row may leave those of the averaged linescan by 15 % of the step (1 s): a
                # free level on a few noisy pixels trades against the centre and loses edges.
                tie = max(variance, 1e-12) / (0.0225 * contrast * contrast + 1e-300)
                s00 = s01 = s02 = s11 = s12 = s22 = 0.0
                for trial in range(40):
                    s00 = s11 = tie
                    s01 = s02 = s12 = s22 = 0.0
                    r0 = tie * (lo0 - lo)
                    r1 = tie * (hi0 - hi)
                    r2 = 0.0
                    grow = math.exp(-(a - c) / w)
                    for i in range(a, b + 1):
                        f = 1.0 / (1.0 + grow)
                        grow *= ratio
                        d = -(hi - lo) * f * (1.0 - f) / w
                        g = 1.0 - f
                        r = row[i] - (lo * g + hi * f)
                        s00 += g * g
                        s01 += g * f
                        s02 += g * d
                        s11 += f * f
                        s12 += f * d
                        s22 += d * d
                        r0 += g * r
                        r1 += f * r
                        r2 += d * r
                    # Cholesky of the 3 x 3 normal matrix; a pivot near zero means that the window is one-sided.
                    l00 = math.sqrt(s00)
                    if l00 < 1e-9:
                        break
                    l10 = s01 / l00
                    l20 = s02 / l00
                    q = s11 - l10 * l10
                    if q < 1e-12 * s11:
                        break
                    l11 = math.sqrt(q)
                    l21 = (s12 - l20 * l10) / l11
                    q = s22 - l20 * l20 - l21 * l21
                    if q < 1e-9 * s22 or q <= 0.0:
                        break
                    l22 = math.sqrt(q)
                    z0 = r0 / l00
                    z1 = (r1 - l10 * z0) / l11
                    z2 = (r2 - l20 * z0 - l21 * z1) / l22
                    dc = z2 / l22
                    d1 = (z1 - l21 * dc) / l11
                    d0 = (z0 - l10 * d1 - l20 * dc) / l00
                    lo += d0
                    hi += d1
                    # One pixel per step: a larger one leaves the region in which the linearisation holds.
                    # Noisy rows can make the steps alternate; shorter ones then lead to the same stationary point.
                    c += min(max(dc, -1.0), 1.0) * (1.0 if trial < 6 else 0.4)
                    if not (a <= c <= b):
                        break
                    if abs(dc) < 1e-4:
                        converged = True
                        break
                if not converged or p * (hi - lo) < 0.25 * contrast:
                    lost += 1
                    continue
                # Row of the pseudo-inverse that belongs to the centre, then the noise of each pixel through it.
                det = s00 * (s11 * s22 - s12 * s12) - s01 * (s01 * s22 - s12 * s02) + s02 * (s01 * s12 - s11 * s02)
                h0 = (s01 * s12 - s02 * s11) / det
                h1 = (s02 * s01 - s00 * s12) / det
                h2 = (s00 * s11 - s01 * s01) / det
                total = 0.0
                previous = 0.0
                grow = math.exp(-(a - c) / w)
                for _ in range(a, b + 1):
                    f = 1.0 / (1.0 + grow)
                    grow *= ratio
                    d = -(hi - lo) * f * (1.0 - f) / w
                    part = h0 * (1.0 - f) + h1 * f + h2 * d
                    part *= math.sqrt(max(noise[0] + noise[1] * (lo * (1.0 - f) + hi * f), 0.0))
                    total += part * part + 2.0 * noise[2] * part * previous
                    previous = part
                x = c
                u = math.sqrt(max(total, 0.0))
            out_x[e, j] = x
            out_u[e, j] = u
            out_state[e, j] = 0
    return lost
