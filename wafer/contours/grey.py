"""Noise of grey values measured in any image: variance over grey level (photon transfer), correlation along the row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.noise import grey_step

_BINS = 24
_MAD = 1.482602218505602  # median absolute deviation to standard deviation, normal distribution
_LEAST = 200  # pixels that a bin needs


@dataclass(frozen=True)
class GreyNoise:
    """Variance of a pixel ``offset + gain * grey`` in squared grey levels, never below ``floor`` (rounding).

    ``correlation`` is that of neighbours in a row (bandwidth of the detector); neighbours in a column count as
    independent (they are exposed a whole row apart).
    """

    offset: float
    gain: float
    correlation: float
    floor: float

    def variance(self, grey: np.ndarray) -> np.ndarray:
        """Variance at grey levels."""
        result: np.ndarray = np.maximum(self.offset + self.gain * np.asarray(grey, np.float64), self.floor)
        return result


def grey_noise(image: np.ndarray) -> GreyNoise:
    """Measure the noise from second differences along columns, robustly within bins of the local grey level.

    Second differences [1 -2 1] / sqrt(6) cancel levels and slopes; medians ignore the pixels on edges as long as most
    of a bin's pixels lie on flat ground. Source of the straight line: Janesick, Photon Transfer (SPIE Press, 2007).
    The correlation compares second differences along rows over distances of one and of two pixels.
    """
    data = np.asarray(image, np.float64)
    second = (data[:-2] - 2.0 * data[1:-1] + data[2:]) / math.sqrt(6.0)
    # the level from pixels that do not enter the difference, so that noise does not sort itself into the bins
    level = np.zeros_like(second)
    level[:, 2:-2] = 0.25 * (data[1:-1, :-4] + data[1:-1, 1:-3] + data[1:-1, 3:-1] + data[1:-1, 4:])
    second, level = second[:, 2:-2].ravel(), level[:, 2:-2].ravel()
    bins = min(_BINS, max(1, level.size // (2 * _LEAST)))  # a small image fills few
    edges = np.quantile(level, np.linspace(0.0, 1.0, bins + 1))
    points = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = second[(level >= low) & (level <= high)]
        if inside.size >= _LEAST:
            sigma = _MAD * float(np.median(np.abs(inside)))
            points.append((0.5 * (low + high), sigma * sigma, inside.size))
    # a blank image of whole numbers shows no step, but its levels are one apart
    step = grey_step(image) or float(image.dtype.kind in "ui")
    floor = step * step / 12.0
    if not points:
        return GreyNoise(floor, 0.0, 0.0, floor)
    grey, variance, weight = np.array(points).T
    variance = np.maximum(variance, floor)
    offset, gain = _line(grey, variance, np.sqrt(weight) / variance)
    if gain < 0.0:  # no noise falls with the signal: the plateaus have structure of their own
        offset, gain = float(np.average(variance, weights=weight)), 0.0
    return GreyNoise(offset, gain, _correlation(data), floor)


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    if np.ptp(x) <= 0.0 or len(x) < 3:
        return float(np.average(y, weights=w * w)), 0.0
    a = np.column_stack((np.ones_like(x), x)) * w[:, None]
    offset, gain = np.linalg.lstsq(a, y * w, rcond=None)[0]
    return float(offset), float(gain)


def _correlation(data: np.ndarray) -> float:
    """Lag-1 correlation along rows from second differences over one and two pixels: 1 - 4/3 r and 1 (r_2 = 0)."""
    one = (data[:, :-2] - 2.0 * data[:, 1:-1] + data[:, 2:]) / math.sqrt(6.0)
    two = (data[:, :-4] - 2.0 * data[:, 2:-2] + data[:, 4:]) / math.sqrt(6.0)
    a, b = float(np.median(np.abs(one))), float(np.median(np.abs(two)))
    if not b > 0.0:
        return 0.0
    return float(np.clip(0.75 * (1.0 - (a / b) ** 2), -0.4, 0.49))
