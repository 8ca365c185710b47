"""Points in the order of a space-filling curve: neighbours in space become neighbours in memory, and every k-th point
is an even subset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pointcloud.nominal.order import curve_order

FloatArray = NDArray[np.float64]
_LOOKED = 1024  # points by which the cube of the curve is laid


def morton_order(xyz: FloatArray) -> NDArray[np.int64]:
    """Permutation (n,) that sorts points (n, 3) along the Z-order curve, those that are not finite last; stable, so
    deterministic.

    The curve fills the cube in which most of the points are, not that of a few points far away.
    """
    n = len(xyz)
    some = xyz[(np.arange(min(n, _LOOKED)) * n) // min(n, _LOOKED)] if n else xyz
    some = some[np.isfinite(some).all(axis=1)]
    if not len(some):
        return np.arange(n)
    low, high = np.quantile(some, (0.02, 0.98), axis=0)
    extent = float((high - low).max())
    if not 0.0 < extent < 1e300:
        low, high = some.min(axis=0), some.max(axis=0)
        extent = float((high - low).max())
        if not 0.0 < extent < 1e300:
            return np.argsort(~np.isfinite(xyz).all(axis=1), kind="stable")
    return curve_order(xyz, low - 0.25 * extent, 1.5 * extent, 0, n).astype(np.int64)


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
