"""Kernels on the averaged linescans of blocks of rows."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel


@kernel
def lagged_products(a: np.ndarray, b: np.ndarray, reach: int, out: np.ndarray) -> int:
    """Cross-correlation ``sum_x a(x) b(x + lag)`` for lags from ``-reach`` to ``reach``, to ``out`` (k, 2 reach + 1).

    ``b`` is (k, n); ``a`` has k rows or one for all of them. Nothing wraps round.
    """
    n = b.shape[1]
    for r in range(b.shape[0]):
        one, other = a[r if a.shape[0] > 1 else 0], b[r]
        # eight sums side by side: in one sum every addition waits for the last
        part = np.empty(8)
        for k in range(2 * reach + 1):
            lag = k - reach
            first, end = max(0, -lag), min(n, n - lag)
            here, there = one[first:end], other[first + lag : end + lag]
            whole = here.size - here.size % 8
            for i in range(8):
                part[i] = 0.0
            for x in range(0, whole, 8):
                for i in range(8):
                    part[i] += here[x + i] * there[x + i]
            total = 0.0
            for x in range(whole, here.size):
                total += here[x] * there[x]
            for i in range(8):
                total += part[i]
            out[r, k] = total
    return 0
