"""Kernel that shifts a tabulated edge shape to single rows: the criterion ``model``."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel
from wafer.kernels.edges import LANES, split


@kernel
def fit_template(
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
    table: np.ndarray,
    half: float,
    fine: int,
    search: int,
    noise: np.ndarray,
    out_x: np.ndarray,
    out_u: np.ndarray,
    out_state: np.ndarray,
) -> int:
    """Shift a tabulated edge shape to each edge of each row by Gauss-Newton; returns the number lost.

    Arguments as for `wafer.kernels.edges.locate_edges`. ``table`` is (2, 3, n): for falling (0) and rising (1) edges
    the shape (0 dark to 1 bright, dark side first), its derivative per pixel, and the inverse of the standard deviation
    of the noise there (any scale), from ``-half`` to ``+half`` pixels in steps of ``1/fine``, constant beyond.

    The levels are ``low`` and ``high``, the residuals are weighted with the noise and whitened for the correlation of
    neighbouring pixels (first-order autoregression). The start is the split, or the best of ``search`` pixels on either
    side of it by the sum of squares.
    """
    nx = image.shape[1]
    n = table.shape[2]
    n_edges = seed.size
    lost = 0
    rho = min(max(noise[2], 0.0), 0.9)
    fresh = math.sqrt(1.0 - rho * rho)
    top_index = n - 1.000001
    for number in range((stop - start + LANES - 1) // LANES * n_edges):
        first_row, e = start + number // n_edges * LANES, number % n_edges
        for y in range(first_row, min(first_row + LANES, stop)):
            row = image[y]
            centre = seed[e] + slope * (y - middle)
            a = max(int(math.ceil(centre - reach_left[e])), 0)
            b = min(int(math.floor(centre + reach_right[e])), nx - 1)
            j = y - top
            out_x[e, j] = np.nan
            out_u[e, j] = np.nan
            out_state[e, j] = 1
            p = polarity[e]
            contrast = high[e] - low[e]
            k = split(row, a, b, p, level[e], contrast)
            if k < 0:
                lost += 1
                continue
            v0 = row[k] - level[e]
            c = k + v0 / (v0 - (row[k + 1] - level[e]))
            side = 1 if p > 0 else 0
            shape = table[side, 0]
            steep = table[side, 1]
            weight = table[side, 2]
            stride = p * fine
            if search > 0:
                least = 1e300
                best = c
                for s in range(-search, search + 1):
                    q = (p * (a - c - s) + half) * fine
                    total = 0.0
                    for i in range(a, b + 1):
                        at = min(max(q, 0.0), top_index)
                        m = int(at)
                        r = (row[i] - low[e] - contrast * shape[m]) * weight[m]
                        total += r * r
                        q += stride
                    if total < least and a <= c + s <= b:
                        least = total
                        best = c + s
                c = best
            converged = False
            s22 = 0.0
            damp = 1.0
            last = 0.0
            for _trial in range(40):
                q = (p * (a - c) + half) * fine
                r2 = 0.0
                s22 = 0.0
                before_r = 0.0
                before_d = 0.0
                for i in range(a, b + 1):
                    at = min(max(q, 0.0), top_index)
                    m = int(at)
                    t = at - m
                    w = weight[m] + t * (weight[m + 1] - weight[m])
                    r = w * (row[i] - low[e] - contrast * (shape[m] + t * (shape[m + 1] - shape[m])))
                    d = w * (steep[m] + t * (steep[m + 1] - steep[m]))
                    zr = r - rho * before_r
                    zd = d - rho * before_d
                    before_r = r
                    before_d = d
                    r2 += zr * zd
                    s22 += zd * zd
                    q += stride
                if s22 <= 1e-300:
                    break
                # the edge moves to where the row is darker than the shape: minus on the bright side
                dc = -p * r2 / (contrast * s22)
                # One pixel per step: a larger one leaves the region in which the linearisation holds. Where a noisy
                # row is more curved than the shape, the steps alternate: half of them, and half again, close in.
                if dc * last < 0.0 and abs(dc) > 0.3 * abs(last):
                    damp *= 0.5
                last = dc
                c += min(max(dc, -1.0), 1.0) * damp
                if not (a <= c <= b):
                    break
                if abs(dc) * damp < 2e-4:
                    converged = True
                    break
            if not converged:
                lost += 1
                continue
            # The weights are relative: the noise at the level gives its scale.
            middle_index = int(min(max(half * fine, 0.0), top_index))
            scale = math.sqrt(max(noise[0] + noise[1] * level[e], 0.0)) * weight[middle_index]
            out_x[e, j] = c
            out_u[e, j] = scale * fresh / (contrast * math.sqrt(s22))
            out_state[e, j] = 0
    return lost
