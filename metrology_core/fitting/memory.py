"""How points and weights reach the kernels without a copy."""

from __future__ import annotations

import numpy as np

_NOTHING = np.empty(0)


def kernel_view(array: np.ndarray) -> np.ndarray:
    """The same C-contiguous float64 memory, flat and writable: read-only arrays would make the kernels compile twice.

    Kernels never write to points or weights.
    """
    if array.flags.writeable:
        return array.reshape(-1)
    if not array.size:
        return _NOTHING
    return np.asarray(_Memory(array)).reshape(-1)


def in_space(array: np.ndarray) -> np.ndarray:
    """Points of a plane with a third coordinate of zero; others as they are."""
    if array.shape[1] == 3:
        return array
    xyz = np.zeros((len(array), 3))
    xyz[:, :2] = array
    return xyz


def finite_points(array: np.ndarray) -> np.ndarray:
    """(n,) whether all coordinates of a point are finite numbers."""
    result = np.empty(len(array), np.bool_)
    for start in range(0, len(array), 65536):  # the coordinates' own answers take three times that memory
        result[start : start + 65536] = np.isfinite(array[start : start + 65536]).all(axis=1)
    return result


def selected(array: np.ndarray, used: np.ndarray | None) -> np.ndarray:
    """The entries that are used, contiguous; all, in place, where `used` is None or the array is empty."""
    return array if used is None or not len(array) else np.ascontiguousarray(array[used])


class _Memory:
    def __init__(self, array: np.ndarray) -> None:
        self._owner = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
