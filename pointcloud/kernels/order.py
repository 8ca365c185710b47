"""Points in the order of a space-filling curve: neighbours in space become neighbours in memory.

Source: G. M. Morton, A computer oriented geodetic data base (IBM, 1966). Eleven bits per axis and the index share one
64-bit word, so that three passes of a stable radix sort over fixed blocks order it.
"""

from __future__ import annotations

import math

from metrology_core._jit import inner, kernel

AXIS_BITS = 11
INDEX_BITS = 64 - 3 * AXIS_BITS
DIGIT = 1 << AXIS_BITS


@inner
def spread_bits(v):  # type: ignore[no-untyped-def]
    """Eleven bits with two zeros before each."""
    v = (v | (v << 32)) & 0x1F00000000FFFF
    v = (v | (v << 16)) & 0x1F0000FF0000FF
    v = (v | (v << 8)) & 0x100F00F00F00F00F
    v = (v | (v << 4)) & 0x10C30C30C30C30C3
    return (v | (v << 2)) & 0x1249249249249249


@kernel
def morton_keys(points, low, scale, first, start, stop, keys):  # type: ignore[no-untyped-def]
    """Keys of points start..stop: code of the cell, then the index from `first`; points not finite come last."""
    top = DIGIT - 1
    for i in range(start, stop):
        code = 0
        bad = False
        for k in range(3):
            t = (points[first + i, k] - low[k]) * scale
            if not math.isfinite(t):
                bad = True
            else:
                cell = top if t >= top else (0 if t <= 0.0 else int(t))
                code |= spread_bits(cell) << k
        if bad:
            code = (1 << (3 * AXIS_BITS)) - 1
        keys[i] = (code << INDEX_BITS) | i


@kernel
def count_digits(keys, shift, size, start, stop, counts):  # type: ignore[no-untyped-def]
    """Histogram of one digit for each block of `size` keys."""
    n = len(keys)
    for block in range(start, stop):
        for d in range(DIGIT):
            counts[block, d] = 0
        for i in range(block * size, min(n, (block + 1) * size)):
            counts[block, (keys[i] >> shift) & (DIGIT - 1)] += 1


@kernel
def place_digits(keys, out, shift, size, start, stop, places):  # type: ignore[no-untyped-def]
    """Move each block's keys to their places (counted up in `places`)."""
    n = len(keys)
    for block in range(start, stop):
        for i in range(block * size, min(n, (block + 1) * size)):
            d = (keys[i] >> shift) & (DIGIT - 1)
            out[places[block, d]] = keys[i]
            places[block, d] += 1


@kernel
def first_touch(order, faces, rank, out):  # type: ignore[no-untyped-def]
    """Number vertices by their first use in faces[order]; returns how many are used (rank starts at -1)."""
    count = 0
    for s in range(len(order)):
        f = order[s]
        for k in range(3):
            v = faces[f, k]
            if rank[v] < 0:
                rank[v] = count
                count += 1
            out[s, k] = rank[v]
    return count
