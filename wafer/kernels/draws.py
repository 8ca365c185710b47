"""Kernels that draw noisy copies of a mean edge profile."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel


@kernel
def profile_rows(distance: np.ndarray, start: float, step: float, grey: np.ndarray, out: np.ndarray) -> int:
    """Grey at ``distance`` (n, m) of a profile whose places lie ``step`` apart from ``start`` on, by straight lines;
    beyond its ends as at them. ``out`` (n, m)."""
    last = float(grey.size - 1)
    for r in range(distance.shape[0]):
        row, to = distance[r], out[r]
        for i in range(row.size):
            at = min(max((row[i] - start) / step, 0.0), last)
            k = min(int(at), grey.size - 2)
            to[i] = grey[k] + (at - k) * (grey[k + 1] - grey[k])
    return 0


@kernel
def coloured_rows(white: np.ndarray, rho: float, out: np.ndarray) -> int:
    """Independent normal draws (n, m) made so that neighbours in a row have the correlation ``rho``, to ``out``."""
    fresh = math.sqrt(1.0 - rho * rho)
    for r in range(white.shape[0]):
        row, to = white[r], out[r]
        last = row[0]
        to[0] = last
        for i in range(1, row.size):
            last = rho * last + fresh * row[i]
            to[i] = last
    return 0


@kernel
def noisy_rows(clean: np.ndarray, white: np.ndarray, offset: float, gain: float, share: float, out: np.ndarray) -> int:
    """Rows without noise, with noise, and with the opposite noise, to ``out`` (3 n, m).

    ``clean``, ``white`` (n, m): grey and normal draws of variance 1; the noise has the variance
    ``(offset + gain grey) share^2``.
    """
    n = clean.shape[0]
    for r in range(n):
        row, draw = clean[r], white[r]
        for i in range(row.size):
            part = draw[i] * (share * math.sqrt(max(offset + gain * row[i], 0.0)))
            out[r, i] = row[i]
            out[n + r, i] = row[i] + part
            out[2 * n + r, i] = row[i] - part
    return 0
