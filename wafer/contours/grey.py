"""Noise of grey values measured in any image: variance over grey level (photon transfer), correlation along the row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from wafer.noise import grey_step

_BINS = 24
_MAD = 1.482602218505602  # median absolute deviation to standard deviation, normal distribution
_LEAST = 200  # pixels that a bin needs
_LAGS = 6  # px along a row over which noise may be correlated
_CUT = 4.0  # standard deviations: larger differences are no noise
_SEEN = 3.0  # standard errors from which a correlation counts


@dataclass(frozen=True)
class GreyNoise:
    """Variance of a pixel ``offset + gain * grey`` in squared grey levels, never below ``floor`` (rounding).

    ``lags`` are the correlations of pixels 1, 2, ... apart in a row (bandwidth of the detector), empty where none is
    seen; neighbours in a column count as independent (they are exposed a whole row apart).
    """

    offset: float
    gain: float
    lags: tuple[float, ...]
    floor: float

    @property
    def correlation(self) -> float:
        """Correlation of neighbours in a row."""
        return self.lags[0] if self.lags else 0.0

    def variance(self, grey: np.ndarray) -> np.ndarray:
        """Variance at grey levels."""
        result: np.ndarray = np.maximum(self.offset + self.gain * np.asarray(grey, np.float64), self.floor)
        return result


def grey_noise(image: np.ndarray) -> GreyNoise:
    """Measure the noise from second differences along columns, robustly within bins of the local grey level.

    Second differences [1 -2 1] / sqrt(6) cancel levels and slopes; medians ignore the pixels on edges as long as most
    of a bin's pixels lie on flat ground. Source of the straight line: Janesick, Photon Transfer (SPIE Press, 2007).
    Pixels to the left choose the bin, those to the right tell its level, and the other way round: a level that noise
    itself sorted into a bin would lie too far out, and the line come out too flat (a fifth at a contrast of 3 noises).
    The same differences are correlated along the rows, over flat ground alone (`_row_lags`).
    """
    data = np.asarray(image, np.float64)
    second = (data[:-2] - 2.0 * data[1:-1] + data[2:]) / math.sqrt(6.0)
    # levels from pixels that do not enter the difference, left and right of it
    sides = [0.5 * (data[1:-1, :-4] + data[1:-1, 1:-3]).ravel(), 0.5 * (data[1:-1, 3:-1] + data[1:-1, 4:]).ravel()]
    second = second[:, 2:-2].ravel()
    bins = min(_BINS, max(1, second.size // (2 * _LEAST)))  # a small image fills few
    points = []
    for chooser, level in (sides, sides[::-1]):
        # few levels are sorted by counting
        few = image.dtype == np.uint8
        order = np.argsort((2.0 * chooser).astype(np.uint16) if few else chooser, kind="stable" if few else None)
        ordered, size, grey = chooser[order], np.abs(second[order]), level[order]
        edges = np.quantile(ordered, np.linspace(0.0, 1.0, bins + 1))
        starts, ends = np.searchsorted(ordered, edges[:-1]), np.searchsorted(ordered, edges[1:], side="right")
        for start, end in zip(starts, ends, strict=True):
            if end - start >= _LEAST:
                sigma = _MAD * float(np.median(size[start:end]))
                points.append((float(grey[start:end].mean()), sigma * sigma, int(end - start)))
    # a blank image of whole numbers shows no step, but its levels are one apart
    step = grey_step(image) or float(image.dtype.kind in "ui")
    floor = step * step / 12.0
    if not points:
        return GreyNoise(floor, 0.0, (), floor)
    grey, variance, weight = np.array(points).T
    variance = np.maximum(variance, floor)
    offset, gain = _line(grey, variance, np.sqrt(weight) / variance)
    if gain < 0.0:  # no noise falls with the signal: the plateaus have structure of their own
        offset, gain = float(np.average(variance, weights=weight)), 0.0
    plain = GreyNoise(offset, gain, (), floor)
    return replace(plain, lags=_row_lags(data, plain))


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    if np.ptp(x) <= 0.0 or len(x) < 3:
        return float(np.average(y, weights=w * w)), 0.0
    a = np.column_stack((np.ones_like(x), x)) * w[:, None]
    offset, gain = np.linalg.lstsq(a, y * w, rcond=None)[0]
    return float(offset), float(gain)


def _row_lags(data: np.ndarray, noise: GreyNoise) -> tuple[float, ...]:
    """Correlations of the noise 1, 2, ... pixels apart in a row, as far as they are seen.

    Second differences along columns, in units of their noise, hold noise alone where the ground is flat, and keep its
    correlation along the rows. Flat is the half of the pixels where the smoothed image rises least: an edge that runs
    along the rows would look like correlated noise. Larger values than noise makes are cut.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(data, 3.0, mode="nearest")
    rise = np.hypot(*np.gradient(smooth))[1:-1]
    sd = np.sqrt(np.maximum(noise.variance(smooth[1:-1]), 1e-12))
    unit = np.clip((data[:-2] - 2.0 * data[1:-1] + data[2:]) / (math.sqrt(6.0) * sd), -_CUT, _CUT)
    flat = rise <= np.median(rise)
    unit = np.where(flat, unit, 0.0)
    count, total = int(flat.sum()), float(np.vdot(unit, unit))
    if count < _LEAST or not total > 0.0:
        return ()
    found = []
    for lag in range(1, min(_LAGS, data.shape[1] - 1) + 1):
        pairs = int(np.count_nonzero(flat[:, lag:] & flat[:, :-lag]))
        if pairs < _LEAST:
            break
        r = float(np.vdot(unit[:, lag:], unit[:, :-lag])) / pairs * count / total
        # differences share rows: a third of the products are news
        if abs(r) < _SEEN * math.sqrt(3.0 / pairs):
            break
        found.append(r)
    return _possible(found)


def _possible(lags: list[float]) -> tuple[float, ...]:
    """Cut off after some lags, correlations may be those of no noise at all: the nearest whose spectrum has no negative
    part."""
    if not lags:
        return ()
    n = 64
    ring = np.zeros(n)
    ring[0] = 1.0
    ring[1 : len(lags) + 1] = lags
    ring[-len(lags) :] = lags[::-1]
    spectrum = np.fft.rfft(ring).real
    if spectrum.min() < 0.0:
        ring = np.fft.irfft(np.maximum(spectrum, 0.0), n)
    return tuple(float(v) for v in ring[1 : len(lags) + 1] / ring[0])
