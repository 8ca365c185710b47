"""Checks that every data type makes of its arrays: shape, kind, and that nobody can change them afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.errors import ParameterError


def frozen_float(array: Any, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """A read-only C-contiguous float64 copy of ``array`` with the given shape (None = any length).

    Integers are taken as they are; complex numbers, booleans, objects and text are refused (`ParameterError`).
    """
    source = np.asarray(array)
    if source.dtype.kind not in "fiu":
        raise ParameterError(
            f"{name} must hold real numbers", expected="floats or integers", got=f"dtype {source.dtype}"
        )
    if source.ndim != len(shape) or any(want is not None and have != want for have, want in zip(source.shape, shape)):
        text = ", ".join("n" if want is None else str(want) for want in shape)
        raise ParameterError(f"{name} has the wrong shape", expected=f"({text})", got=str(source.shape))
    result = np.array(source, dtype=np.float64, order="C")
    result.setflags(write=False)
    return result


def frozen_mask(array: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A read-only boolean copy of ``array`` with exactly this shape."""
    source = np.asarray(array)
    if source.dtype != np.bool_ or source.shape != shape:
        raise ParameterError(
            f"{name} must be a boolean mask",
            expected=f"shape {shape}",
            got=f"dtype {source.dtype}, shape {source.shape}",
        )
    result = source.copy()
    result.setflags(write=False)
    return result
