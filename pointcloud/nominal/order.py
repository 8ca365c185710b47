"""The order of points along a space-filling curve, on all threads; the same for any number of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrology_core.blocks import run_blocks
from pointcloud.nominal.surface import FloatArray

_CHUNK = 1 << 15


def curve_order(xyz: FloatArray, low: FloatArray, extent: float, start: int, n: int) -> NDArray[np.int32]:
    """(n,) indices, counted from ``start``, that sort ``xyz[start : start + n]`` along the Z-order curve over the cube
    with the corner ``low`` and the edge ``extent``; stable. Points outside count as on its border, points that are
    not finite come last."""
    from pointcloud.kernels import order as kernels

    keys, other = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    scale = (kernels.DIGIT - 2) / extent
    chunks = -(-n // _CHUNK)
    run_blocks(lambda a, b: kernels.morton_keys(xyz, low, scale, start, a * _CHUNK, min(n, b * _CHUNK), keys), chunks)
    counts = np.empty((chunks, kernels.DIGIT), dtype=np.int64)
    for digit in range(3):
        shift = kernels.INDEX_BITS + digit * kernels.AXIS_BITS
        run_blocks(lambda a, b, k=keys, s=shift: kernels.count_digits(k, s, _CHUNK, a, b, counts), chunks)  # type: ignore[misc]
        flat = counts.T.ravel()
        places = np.ascontiguousarray((np.cumsum(flat) - flat).reshape(kernels.DIGIT, chunks).T)
        run_blocks(
            lambda a, b, k=keys, o=other, s=shift, p=places: kernels.place_digits(k, o, s, _CHUNK, a, b, p),  # type: ignore[misc]
            chunks,
        )
        keys, other = other, keys
    return (keys & ((1 << kernels.INDEX_BITS) - 1)).astype(np.int32)
