"""Kernel that turns grey values into an 8-bit picture."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel


@kernel
def to_bytes(pixels: np.ndarray, low: float, scale: float, out: np.ndarray) -> int:
    """``(pixels - low) * scale``, cut to 0 and 255 and rounded to the nearest whole number, to ``out`` (ny, nx)."""
    for y in range(pixels.shape[0]):
        row, to = pixels[y], out[y]
        for x in range(row.size):
            value = (row[x] - low) * scale + 0.5
            to[x] = np.uint8(min(max(value, 0.0), 255.0))
    return 0
