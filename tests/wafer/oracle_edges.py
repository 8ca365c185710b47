"""A slow independent twin of the edge finder: plain NumPy and SciPy, one edge of one row at a time, no shared code."""

from __future__ import annotations

import numpy as np


def threshold_crossing(row: np.ndarray, level: float, rising: bool) -> float:
    """Crossing that splits the row best: every crossing is tried, the total misfit of each split is added up anew."""
    signed = (row - level) if rising else (level - row)
    best, place = np.inf, np.nan
    for k in range(row.size - 1):
        if signed[k] < 0.0 <= signed[k + 1]:
            misfit = signed[: k + 1].sum() - signed[k + 1 :].sum()
            if misfit < best:
                best, place = misfit, k + (level - row[k]) / (row[k + 1] - row[k])
    return float(place)


def logistic_fit(row: np.ndarray, low: float, high: float, width: float, tie: float, start: float) -> float:
    """Centre of a logistic, levels tied to ``low`` and ``high`` with the weight of ``tie`` pixels, by SciPy."""
    from scipy.optimize import least_squares

    x = np.arange(row.size)

    def residual(p: np.ndarray) -> np.ndarray:
        model = p[0] + (p[1] - p[0]) / (1.0 + np.exp(-(x - p[2]) / width))
        return np.concatenate([row - model, np.sqrt(tie) * np.array([low - p[0], high - p[1]])])

    return float(least_squares(residual, [low, high, start], xtol=1e-12, ftol=1e-12, gtol=1e-12).x[2])


def erf_shift(row: np.ndarray, low: float, high: float, blur: float, start: float) -> float:
    """Place of an error-function edge of known levels and blur, by SciPy's least squares."""
    from scipy.optimize import least_squares
    from scipy.special import ndtr

    x = np.arange(row.size)
    found = least_squares(
        lambda p: row - low - (high - low) * ndtr((x - p[0]) / blur), [start], xtol=1e-12, ftol=1e-12, gtol=1e-12
    )
    return float(found.x[0])


def line_cut(row: np.ndarray, base: float, start: float, radius: float, rising: bool) -> float:
    """Line through the five pixels where it is steepest (within ``radius`` of ``start``), cut with ``base``."""
    best, place = 0.0, np.nan
    for i in range(2, row.size - 2):
        if not np.floor(start - radius) <= i <= np.ceil(start + radius):
            continue
        slope, level = np.polyfit(np.arange(-2, 3), row[i - 2 : i + 3], 1)
        steep = slope if rising else -slope
        if steep > best:
            best, place = steep, i - (level - base) / slope
    return float(place)


def erf_lines(
    shape: tuple[int, int], left: np.ndarray, right: np.ndarray, blur: float, low: float, high: float
) -> np.ndarray:
    """Noise-free bright lines with Gaussian-blurred edges; ``left`` and ``right`` (n_lines, ny) in pixels, float64."""
    from scipy.special import ndtr

    x = np.arange(shape[1])
    image = np.zeros(shape)
    for a, b in zip(left, right, strict=True):
        image += ndtr((x[None, :] - a[:, None]) / blur) - ndtr((x[None, :] - b[:, None]) / blur)
    return low + (high - low) * image
