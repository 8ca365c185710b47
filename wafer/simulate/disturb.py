"""What a real SEM adds to an ideal picture: charging, distortion of the field, exposure with noise."""

from __future__ import annotations

import math

import numpy as np


def charged(signal: np.ndarray, charging: float, length: float, step: float) -> np.ndarray:
    """A signal (ny, nx) with the trail that charging leaves along the fast scan axis, and its slow rise along y.

    Each place loses ``charging * step`` grey levels times the exponentially weighted mean (over ``length`` pixels to
    the left) of the normalised signal; the whole frame drifts by the same amount from top to bottom. ``step`` is the
    difference of the grey levels. Zero ``charging`` returns the signal.
    """
    if not charging:
        return signal
    from scipy.signal import lfilter

    decay = math.exp(-1.0 / max(length, 1e-6))
    relative = (signal - signal.mean()) / step
    trail = lfilter([0.0, 1.0 - decay], [1.0, -decay], relative, axis=1)
    frame = np.linspace(-0.5, 0.5, signal.shape[0])[:, None]
    changed: np.ndarray = signal - charging * step * (trail - frame)
    return changed


def distorted(place: np.ndarray, size: float, amount: float) -> np.ndarray:
    """Coordinates (nm) of a field of ``size`` after a cubic scan distortion: ``amount`` nm at its borders, 0 in the
    middle. The local scale is wrong by ``6 amount / size`` at the borders."""
    if not amount:
        return place
    middle = 0.5 * size
    return place + amount * ((place - middle) / middle) ** 3


def expose(
    signal: np.ndarray, electrons_per_grey: float, read_noise: float, bits: int, stream: np.random.Generator
) -> np.ndarray:
    """Poisson and read noise, rounding to grey levels of 8 or 16 bits."""
    grey = signal
    if math.isfinite(electrons_per_grey):
        grey = stream.poisson(np.maximum(signal, 0.0) * electrons_per_grey) / electrons_per_grey
    if read_noise:
        grey = grey + read_noise * stream.standard_normal(signal.shape)
    top = float(2**bits - 1)
    return np.clip(np.rint(grey), 0.0, top).astype(np.uint8 if bits == 8 else np.uint16)
