"""Kernel that fits a logistic of fixed width to single rows: the criterion ``sigmoid``."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from wafer.kernels.edges import LANES, split


@inner
def shape_of(place: float, width: float, decay: np.ndarray, n: int, f: np.ndarray, d: np.ndarray) -> None:
    """The logistic with its middle at ``place``, and its derivative, at 0 ... n - 1: ``decay[i] = exp(-i / width)``."""
    start = math.exp(min(place / width, 300.0))
    for i in range(n):
        f[i] = 1.0 / (1.0 + start * decay[i])
        d[i] = (f[i] - f[i] * f[i]) / width


@kernel
def fit_logistic(
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
    width: np.ndarray,
    tie: float,
    search: int,
    noise: np.ndarray,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Fit centre and levels of a logistic to each edge of each row by Gauss-Newton; returns the number lost.

    Arguments as for `wafer.kernels.edges.locate_edges`. ``width`` (2,) of falling (0) and rising (1) edges. The levels
    are free, with observations of ``low`` and ``high`` that weigh as much as ``tie`` pixels. The start is the split, or
    the best of ``search`` pixels on either side of it by the sum of squares.
    """
    nx = image.shape[1]
    n_edges = seed.size
    longest = nx + 1
    decay = np.empty((2, longest))
    for side in range(2):
        for i in range(longest):
            decay[side, i] = math.exp(-i / width[side])
    v, f, d = np.empty(longest), np.empty(longest), np.empty(longest)
    lost = 0
    for number in range((stop - start + LANES - 1) // LANES * n_edges):
        first_row, e = start + number // n_edges * LANES, number % n_edges
        for y in range(first_row, min(first_row + LANES, stop)):
            row = image[y]
            centre = seed[e] + slope * (y - middle)
            a = max(int(math.ceil(centre - reach_left[e])), 0)
            b = min(int(math.floor(centre + reach_right[e])), nx - 1)
            out_x[e, y] = np.nan
            out_u[e, y] = np.nan
            out_state[e, y] = 1
            p = polarity[e]
            contrast = high[e] - low[e]
            k = split(row, a, b, p, level[e], contrast)
            if k < 0:
                lost += 1
                continue
            v0 = row[k] - level[e]
            c = k + v0 / (v0 - (row[k + 1] - level[e]))
            # the window from its dark side: place 0 is its first pixel
            n = b - a + 1
            total = 0.0
            if p > 0:
                for i in range(n):
                    v[i] = row[a + i]
                c -= a
            else:
                for i in range(n):
                    v[i] = row[b - i]
                c = b - c
            for i in range(n):
                total += v[i]
            side = 1 if p > 0 else 0
            w = width[side]
            if search > 0:
                least = 1e300
                best = c
                for s in range(-search, search + 1):
                    shape_of(c + s, w, decay[side], n, f, d)
                    squares = 0.0
                    for i in range(n):
                        r = v[i] - low[e] - contrast * f[i]
                        squares += r * r
                    if squares < least and 0.0 <= c + s <= n - 1:
                        least = squares
                        best = c + s
                c = best
            converged = False
            lo = low[e]
            hi = high[e]
            damp = 1.0
            last = 0.0
            s00 = s01 = s02 = s11 = s12 = s22 = 0.0
            for _trial in range(40):
                shape_of(c, w, decay[side], n, f, d)
                m_f = m_ff = m_d = m_fd = m_dd = m_vf = m_vd = 0.0
                for i in range(n):
                    m_f += f[i]
                    m_ff += f[i] * f[i]
                    m_d += d[i]
                    m_fd += f[i] * d[i]
                    m_dd += d[i] * d[i]
                    m_vf += v[i] * f[i]
                    m_vd += v[i] * d[i]
                # design: 1 - f (dark), f (bright), -(hi - lo) d (centre); residual v - lo - (hi - lo) f
                step = hi - lo
                s00 = tie + n - 2.0 * m_f + m_ff
                s01 = m_f - m_ff
                s02 = -step * (m_d - m_fd)
                s11 = tie + m_ff
                s12 = -step * m_fd
                s22 = step * step * m_dd
                r_f = m_vf - lo * m_f - step * m_ff
                r1 = tie * (high[e] - hi) + r_f
                r0 = tie * (low[e] - lo) + (total - lo * n - step * m_f) - r_f
                r2 = -step * (m_vd - lo * m_d - step * m_fd)
                # elimination of the levels; the ties keep both pivots positive
                g = s01 / s00
                h = s02 / s00
                t11 = s11 - g * s01
                t12 = s12 - g * s02
                q = t12 / t11
                rest = s22 - h * s02 - q * t12
                if rest < 1e-9 * s22 or rest <= 0.0:
                    break
                z1 = r1 - g * r0
                dc = (r2 - h * r0 - q * z1) / rest
                d1 = (z1 - t12 * dc) / t11
                lo += (r0 - s01 * d1 - s02 * dc) / s00
                hi += d1
                # One pixel per step: a larger one leaves the region in which the linearisation holds. Where a noisy
                # row is more curved than the shape, the steps alternate: half of them, and half again, close in.
                if dc * last < 0.0 and abs(dc) > 0.3 * abs(last):
                    damp *= 0.5
                last = dc
                c += min(max(dc, -1.0), 1.0) * damp
                if not (0.0 <= c <= n - 1):
                    break
                if abs(dc) * damp < 2e-4:
                    converged = True
                    break
            if not converged or hi - lo < 0.25 * contrast:
                lost += 1
                continue
            # Row of the pseudo-inverse that belongs to the centre, then the noise of each pixel through it.
            shape_of(c, w, decay[side], n, f, d)
            det = s00 * (s11 * s22 - s12 * s12) - s01 * (s01 * s22 - s12 * s02) + s02 * (s01 * s12 - s11 * s02)
            h0 = (s01 * s12 - s02 * s11) / det
            h1 = (s02 * s01 - s00 * s12) / det
            h2 = -(s00 * s11 - s01 * s01) / det * (hi - lo)
            for i in range(n):
                part = h0 * (1.0 - f[i]) + h1 * f[i] + h2 * d[i]
                d[i] = part * math.sqrt(max(noise[0] + noise[1] * (lo * (1.0 - f[i]) + hi * f[i]), 0.0))
            squares = d[0] * d[0]
            shared = 0.0
            for i in range(1, n):
                squares += d[i] * d[i]
                shared += d[i] * d[i - 1]
            out_x[e, y] = a + c if p > 0 else b - c
            out_u[e, y] = math.sqrt(max(squares + 2.0 * noise[2] * shared, 0.0))
            out_state[e, y] = 0
    return lost
