"""Fewer points for the eye, none of the extremes lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from pointcloud.deviation.field import DeviationField
from pointcloud.nominal.surface import FloatArray


def display_subset(field: DeviationField, most: int) -> NDArray[np.int64]:
    """(k,) sorted indices of at most ``most`` points with a deviation: of every small patch its lowest and its highest.

    Patches are runs of neighbours along a space-filling curve, so each local extreme survives in place, and so do the
    extremes of the whole field.
    """
    if most < 2:
        raise ParameterError("a picture has points", expected="at least 2", got=str(most))
    index = np.flatnonzero(field.valid)
    if len(index) <= most:
        return index
    order = index[_curve(field.closest.foot[index])]
    runs = most // 2
    edges = len(order) * np.arange(runs + 1) // runs
    value = field.value[order]
    low = np.minimum.reduceat(value, edges[:-1])
    high = np.maximum.reduceat(value, edges[:-1])
    run = np.repeat(np.arange(runs), np.diff(edges))
    is_low, is_high = value == low[run], value == high[run]
    keep = np.concatenate([order[_first_of(run, is_low)], order[_first_of(run, is_high)]])
    return np.unique(keep)


def _first_of(run: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    where = np.flatnonzero(mask)
    return where[np.unique(run[where], return_index=True)[1]]


def _curve(xyz: FloatArray) -> NDArray[np.int64]:
    """Order along a space-filling curve over the points."""
    from pointcloud.kernels import order as kernels

    n = len(xyz)
    low = xyz.min(axis=0)
    extent = float(np.ptp(xyz, axis=0).max()) or 1.0
    keys = np.empty(n, dtype=np.int64)
    kernels.morton_keys(np.ascontiguousarray(xyz), low, (kernels.DIGIT - 2) / extent, 0, 0, n, keys)
    return np.asarray(np.argsort(keys, kind="stable"))
