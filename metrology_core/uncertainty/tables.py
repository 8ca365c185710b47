"""Quantile functions as tables of polynomials, so that every distribution is drawn by one short kernel.

A tail probability ``p`` is written in units of 2^-52 and sorted into geometric cells, 32 per octave. Over one cell
any quantile function met in metrology (logarithmic or power tails) is so smooth that a polynomial of degree 4 follows
it to better than 1e-10 of its scale; a test measures that. Lower and upper tail have tables of their own, hence no
cancellation near p = 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

SUBCELLS = 32
CELLS, COEFFICIENTS = 52 * SUBCELLS, 5
Quantile = Callable[[np.ndarray], np.ndarray]


@functools.cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """(places in a cell (5,), inverse Vandermonde matrix (5, 5)) of the Chebyshev nodes on [0, 1]."""
    k = np.arange(COEFFICIENTS)
    t = 0.5 - 0.5 * np.cos(np.pi * (2 * k + 1) / (2 * COEFFICIENTS))
    return t, np.linalg.inv(np.vander(t, increasing=True))


def tail_probabilities(places: np.ndarray) -> np.ndarray:
    """(cells, len(places)) tail probabilities at relative places in every cell, smallest first."""
    cell = np.arange(CELLS)
    octave, part = cell // SUBCELLS, cell % SUBCELLS
    low = np.ldexp(1.0 + part / SUBCELLS, octave - 1 - 52)
    step = np.ldexp(1.0 / SUBCELLS, octave - 1 - 52)
    return low[:, None] + step[:, None] * places[None, :]


def build(lower: Quantile, upper: Quantile) -> np.ndarray:
    """(3328, 5) table from the quantile of a lower tail probability and that of an upper one."""
    places, inverse = _nodes()
    p = tail_probabilities(places)
    # differences from the first value of a cell keep the digits of the high coefficients
    rows = []
    for quantile in (lower, upper):
        x = quantile(p)
        base = x[:, :1]
        c = (x - base) @ inverse.T
        c[:, 0] += base[:, 0]
        rows.append(c)
    table = np.ascontiguousarray(np.concatenate(rows))
    table.setflags(write=False)
    return table


@functools.lru_cache(maxsize=256)
def standard(name: str, *shape: float) -> np.ndarray:
    """Table of a standard variate of `metrology_core.uncertainty.standard`."""
    from metrology_core.uncertainty.standard import isf, ppf

    return build(lambda p: ppf(name, shape, p), lambda p: isf(name, shape, p))
