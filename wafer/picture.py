"""The image as a picture for the eye."""

from __future__ import annotations

import math

import numpy as np

from wafer.kernels.display import to_bytes


def display(pixels: np.ndarray) -> np.ndarray:
    """An 8-bit picture for the eye: the image itself when it has 8 bits, else stretched between its 0.1 and 99.9 %.

    The limits come from a sample of some 16 000 pixels: they only serve the eye.
    """
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    step = max(1, int(math.sqrt(pixels.size / 16384.0)))
    low, high = (float(v) for v in np.quantile(pixels[::step, ::step], [0.001, 0.999]))
    out = np.empty(pixels.shape, dtype=np.uint8)
    to_bytes(pixels, low, 255.0 / max(high - low, 1e-12), out)
    return out
