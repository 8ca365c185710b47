"""Kernel that fits a template to a profile."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel


@inner
def table_at(at: float, values: np.ndarray) -> float:
    """``values`` at the fractional index ``at`` by straight lines; beyond the ends as at them."""
    last = values.size - 1
    where = min(max(at, 0.0), float(last))
    k = min(int(where), last - 1)
    return float(values[k] + (where - k) * (values[k + 1] - values[k]))


@kernel
def template_shift(
    distance: np.ndarray, rising: np.ndarray, start: float, step: float, grey: np.ndarray, steepness: np.ndarray,
    found: np.ndarray,
) -> int:  # fmt: skip
    """Shift, gain and offset with which a template fits the profile ``rising`` over ``distance`` best; ``found`` (3).

    ``grey`` and ``steepness`` (its slope) are tabulated from ``start`` in steps of ``step``. Gauss-Newton: gain and
    offset for the present shift first, then one step of all three. Returns 1, or 0 where the template fits with a
    negative gain or not within six pixels; then ``found`` is unchanged.
    """
    n = distance.size
    t, d = np.empty(n), np.empty(n)
    at = 0.0
    gain, offset = 0.0, 0.0
    for _ in range(12):
        mean_t, mean_r = 0.0, 0.0
        for i in range(n):
            where = (distance[i] - at - start) / step
            t[i] = table_at(where, grey)
            d[i] = table_at(where, steepness)
            mean_t += t[i]
            mean_r += rising[i]
        mean_t /= n
        mean_r /= n
        top, square = 0.0, 0.0
        for i in range(n):
            top += (t[i] - mean_t) * rising[i]
            square += (t[i] - mean_t) * (t[i] - mean_t)
        if not (square > 0.0 and top > 0.0):
            return 0
        gain = top / square
        offset = mean_r - gain * mean_t
        # the step of the shift alone: its column freed from level and template
        mean_d, cross = 0.0, 0.0
        for i in range(n):
            mean_d += d[i]
            cross += d[i] * (t[i] - mean_t)
        mean_d /= n
        lean = cross / square
        above, below = 0.0, 0.0
        for i in range(n):
            free = d[i] - mean_d - lean * (t[i] - mean_t)
            above += free * (rising[i] - offset - gain * t[i])
            below += free * free
        if not below > 0.0:
            return 0
        change = -above / (gain * below)
        at += min(max(change, -1.0), 1.0)
        if math.isnan(at) or abs(at) > 6.0:
            return 0
        if abs(change) < 1e-6:
            break
    found[0], found[1], found[2] = at, gain, offset
    return 1
