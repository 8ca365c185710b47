"""Correlated inputs inside a block of trials: linear mixing, common chi-square divisors, normal scores."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel


@kernel
def mix(factor, center, z, out):  # type: ignore[no-untyped-def]
    """out (k, n) = center + factor (k, k, lower triangular) times z (k, n), in a fixed order of additions."""
    for i in range(len(factor)):
        row = out[i]
        row[:] = center[i]
        for j in range(i + 1):
            f = factor[i, j]
            if f != 0.0:
                source = z[j]
                for t in range(len(row)):
                    row[t] += f * source[t]


@kernel
def probabilities(z, out):  # type: ignore[no-untyped-def]
    """Normal distribution function of standard scores, with full relative accuracy in the lower tail."""
    root = math.sqrt(0.5)
    for t in range(len(z)):
        out[t] = 0.5 * math.erfc(-z[t] * root)


@kernel
def moments(y, centre, sums, products):  # type: ignore[no-untyped-def]
    """Sums (m,) and products (m, m) of outputs y (m, n) about ``centre`` (m,); returns how many are not finite.

    Four interleaved accumulators each: the order of additions is fixed, and no addition waits for the one before.
    """
    m, n = y.shape
    whole = n - n % 4
    bad = 0
    for a in range(m):
        u = y[a]
        c = centre[a]
        s0 = s1 = s2 = s3 = 0.0
        q0 = q1 = q2 = q3 = 0.0
        for t in range(0, whole, 4):
            d0, d1, d2, d3 = u[t] - c, u[t + 1] - c, u[t + 2] - c, u[t + 3] - c
            s0 += d0
            s1 += d1
            s2 += d2
            s3 += d3
            q0 += d0 * d0
            q1 += d1 * d1
            q2 += d2 * d2
            q3 += d3 * d3
        for t in range(whole, n):
            d0 = u[t] - c
            s0 += d0
            q0 += d0 * d0
        sums[a] = (s0 + s1) + (s2 + s3)
        products[a, a] = (q0 + q1) + (q2 + q3)
        if not np.isfinite(products[a, a]):
            for t in range(n):
                if not np.isfinite(u[t]):
                    bad += 1
        for b in range(a):
            v = y[b]
            e = centre[b]
            q0 = q1 = q2 = q3 = 0.0
            for t in range(0, whole, 4):
                q0 += (u[t] - c) * (v[t] - e)
                q1 += (u[t + 1] - c) * (v[t + 1] - e)
                q2 += (u[t + 2] - c) * (v[t + 2] - e)
                q3 += (u[t + 3] - c) * (v[t + 3] - e)
            for t in range(whole, n):
                q0 += (u[t] - c) * (v[t] - e)
            products[a, b] = products[b, a] = (q0 + q1) + (q2 + q3)
    return bad
