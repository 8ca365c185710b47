"""Points in the order of a space-filling curve: neighbours in space become neighbours in memory, and every k-th point
is an even subset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_BITS = 16


def _spread(v: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits of v (16 of them) with two empty places between each."""
    v = (v | (v << np.uint64(16))) & np.uint64(0x0000FF0000FF)
    v = (v | (v << np.uint64(8))) & np.uint64(0x00F00F00F00F)
    v = (v | (v << np.uint64(4))) & np.uint64(0x0C30C30C30C3)
    return (v | (v << np.uint64(2))) & np.uint64(0x249249249249)


def morton_order(xyz: FloatArray) -> NDArray[np.int64]:
    """Permutation (n,) that sorts finite points (n, 3) along the Z-order curve; stable, so deterministic."""
    low = xyz.min(axis=0)
    span = float((xyz.max(axis=0) - low).max())
    scale = (2**_BITS - 1) / span if span > 0.0 else 0.0
    cell = ((xyz - low) * scale).astype(np.uint64)
    code = _spread(cell[:, 0]) | (_spread(cell[:, 1]) << np.uint64(1)) | (_spread(cell[:, 2]) << np.uint64(2))
    return np.argsort(code, kind="stable")


def thin(xyz: FloatArray, count: int) -> tuple[FloatArray, float]:
    """About ``count`` points (m, 3) with an even density, and the edge of the grid: of each cell the point nearest to
    its middle."""
    n = len(xyz)
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    edge = float((high - low).max()) / max(2.0, count**0.5)  # first guess: the points lie on a surface
    if n <= count or not edge > 0.0:
        return np.ascontiguousarray(xyz), edge
    first = np.arange(n)
    for _ in range(12):
        first = cells(xyz, edge)
        ratio = len(first) / count
        if 0.8 <= ratio <= 1.25 or len(first) == n:
            break
        edge *= min(2.0, max(0.5, ratio**0.5))
    return np.ascontiguousarray(xyz[first]), edge


def cells(xyz: FloatArray, edge: float) -> NDArray[np.int64]:
    """Indices of one point of each cell of a grid with this edge: the nearest to the middle of the cell."""
    low = xyz.min(axis=0)
    place = np.floor((xyz - low) / edge)
    cell = place.astype(np.int64)
    key = (cell[:, 0] * 2097169 + cell[:, 1]) * 2097169 + cell[:, 2]
    off = xyz - low - (place + 0.5) * edge
    distance = np.einsum("ij,ij->i", off, off)
    order = np.lexsort((distance, key))
    sorted_key = key[order]
    head = np.ones(len(order), dtype=bool)
    head[1:] = sorted_key[1:] != sorted_key[:-1]
    return np.sort(order[head])
