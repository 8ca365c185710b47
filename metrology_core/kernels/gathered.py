"""Points of a plane, and points with some that are not finite among them, gathered chunk by chunk for the passes."""

from __future__ import annotations

from metrology_core._jit import inner, kernel
from metrology_core.kernels.layout import CHUNK


@inner
def usable(raw, dimension, weights, i):  # type: ignore[no-untyped-def]
    """Whether point i is finite and carries weight."""
    at = dimension * i
    total = 0.0 * raw[at] + 0.0 * raw[at + 1] + 0.0 * raw[at + dimension - 1]  # 0 times a finite number is 0, else NaN
    return total == 0.0 and (weights.shape[0] == 0 or weights[i] > 0.0)


@kernel
def survey(raw, dimension, weights, used, starts):  # type: ignore[no-untyped-def]
    """Mark the usable points in `used`, note where each CHUNK of them starts, and return their number.

    starts has one entry more than chunks: where the last one ends.
    """
    n = raw.shape[0] // dimension
    count = chunk = left = end = 0  # left: places in the chunk that is being filled
    for first in range(0, n, CHUNK):
        last = min(n, first + CHUNK)
        finite = 0
        for value in raw[dimension * first : dimension * last]:
            finite += 1 if 0.0 * value == 0.0 else 0
        if weights.shape[0] > 0:
            for weight in weights[first:last]:
                finite -= 0 if weight > 0.0 else 1
        all_of_them = finite == dimension * (last - first)
        for i in range(first, last):
            good = all_of_them or usable(raw, dimension, weights, i)
            used[i] = good
            if good:
                if left == 0:
                    starts[chunk] = i
                    chunk, left = chunk + 1, CHUNK
                count, left, end = count + 1, left - 1, i + 1
    starts[chunk] = end
    return count


@kernel
def gather(raw, dimension, weights, used, start, size, flat, load):  # type: ignore[no-untyped-def]
    """Copy the next `size` usable points from `start` on to `flat`, x y z of one after the other, and their weights."""
    weighted = weights.shape[0] > 0
    i = start
    for m in range(size):
        while not used[i]:
            i += 1
        flat[3 * m], flat[3 * m + 1] = raw[dimension * i], raw[dimension * i + 1]
        flat[3 * m + 2] = raw[dimension * i + 2] if dimension == 3 else 0.0
        if weighted:
            load[m] = weights[i]
        i += 1


@kernel
def raise_plane(raw, start, size, flat):  # type: ignore[no-untyped-def]
    """Copy `size` points of a plane from `start` on to `flat`, with a third coordinate of zero."""
    part = raw[2 * start : 2 * (start + size)]
    for m in range(size):
        flat[3 * m], flat[3 * m + 1], flat[3 * m + 2] = part[2 * m], part[2 * m + 1], 0.0


__all__ = ["gather", "raise_plane", "survey"]
