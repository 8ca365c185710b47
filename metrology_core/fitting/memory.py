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


class _Memory:
    def __init__(self, array: np.ndarray) -> None:
        self._owner = array  # keeps the memory alive
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
