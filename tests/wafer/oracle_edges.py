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


def logistic_fit(row: np.ndarray, low: float, high: float, width: float, variance: float, start: float) -> float:
    """Centre of a logistic, levels tied to ``low`` and ``high`` by 15 % of the step, by SciPy's least squares."""
    from scipy.optimize import least_squares

    x = np.arange(row.size)
    tie = np.sqrt(variance) / (0.15 * abs(high - low))

    def residual(p: np.ndarray) -> np.ndarray:
        model = p[0] + (p[1] - p[0]) / (1.0 + np.exp(-(x - p[2]) / width))
        return np.concatenate([row - model, [tie * (low - p[0]), tie * (high - p[1])]])

    return float(least_squares(residual, [low, high, start], xtol=1e-12, ftol=1e-12, gtol=1e-12).x[2])


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
