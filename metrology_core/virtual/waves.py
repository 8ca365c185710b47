"""Smooth random functions of one coordinate: a stationary Gaussian process as a short Fourier sum.

On a period of twice the range, with the squared-exponential spectrum of a given correlation length; the constant term
is left out (a constant error of a guide moves every point alike). A fixed set of functions, not one made for the
points, so that one trial is one machine, whatever part it measures.
"""

from __future__ import annotations

import math

import numpy as np

_REST = 1e-7  # share of the variance that the sum leaves out
_MOST = 64


def amplitudes(length: float) -> np.ndarray:
    """(m,) standard deviations of the waves 1 to m (cosine and sine alike) of a unit-variance process whose
    correlation length is ``length`` times the range."""
    j = np.arange(1, _MOST + 1)
    power = np.exp(-0.5 * (math.pi * j * length) ** 2)  # period 2: wave number pi j
    total = power.sum()
    m = int(np.searchsorted(np.cumsum(power), total * (1.0 - _REST)) + 1)
    return np.asarray(np.sqrt(power[:m] / power[:m].sum()))


def waves(position: np.ndarray, length: float) -> np.ndarray:
    """(2 m, n) functions at relative positions (n,) (0 and 1 are the ends of the range)."""
    a = amplitudes(length)
    phase = math.pi * np.arange(1, len(a) + 1)[:, None] * np.asarray(position)[None, :]
    return np.concatenate([a[:, None] * np.cos(phase), a[:, None] * np.sin(phase)])
