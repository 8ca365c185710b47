"""A slow independent twin of the edge finder: plain NumPy and SciPy, one edge of one row at a time, no shared code."""

from __future__ import annotations

import math
from collections.abc import Callable

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


def _root(function: Callable[[float], float], near: float) -> float:
    """The zero of ``function`` nearest to ``near``: brackets that grow, then bisection; NaN beyond 0.05."""
    from scipy.optimize import brentq

    h = 1e-9
    while h < 0.05:
        if function(near - h) * function(near + h) <= 0.0:
            return float(brentq(function, near - h, near + h, xtol=1e-13))
        h *= 3.0
    return math.nan


def logistic_root(
    row: np.ndarray, left: float, right: float, width: float, tie: float, near: float,
    variance: Callable[..., np.ndarray], rho: float,
) -> tuple[float, float]:  # fmt: skip
    """Where the residuals of the best levels have no part along the derivative of the logistic, and the standard
    deviation of that place by the pseudo-inverse of the whole design."""
    x = np.arange(row.size, dtype=float)
    heavy = math.sqrt(tie) * np.eye(2)
    data = np.concatenate([row, math.sqrt(tie) * np.array([left, right])])

    def levels(c: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        f = 1.0 / (1.0 + np.exp(-(x - c) / width))
        design = np.concatenate([np.column_stack([1.0 - f, f]), heavy])
        return f, design, np.linalg.lstsq(design, data, rcond=None)[0]

    def along(c: float) -> float:
        f, design, found = levels(c)
        return float((row - (design @ found)[: row.size]) @ (f * (1.0 - f)))

    place = _root(along, near)
    f, design, found = levels(place)
    slope = np.concatenate([-(found[1] - found[0]) * f * (1.0 - f) / width, [0.0, 0.0]])
    weights = np.linalg.pinv(np.column_stack([design, slope]))[2, : row.size]
    part = weights * np.sqrt(variance(found[0] + (found[1] - found[0]) * f))
    return place, math.sqrt(float(part @ part + 2.0 * rho * (part[1:] @ part[:-1])))


def template_root(
    row: np.ndarray, low: float, contrast: float, rising: bool, table: np.ndarray, half: float, fine: int, rho: float,
    near: float,
) -> tuple[float, float]:  # fmt: skip
    """Where weighted and whitened residuals have no part along the derivative of a tabulated shape (shape, derivative,
    weight; straight lines between entries), and the sum of squares of that derivative there."""
    x = np.arange(row.size, dtype=float)
    entries = np.arange(table.shape[1]) / fine - half

    def parts(c: float) -> tuple[np.ndarray, np.ndarray]:
        at = (x - c) if rising else (c - x)
        shape, slope, weight = (np.interp(at, entries, values) for values in table)
        whiten = np.eye(row.size) - rho * np.eye(row.size, k=-1)
        return whiten @ (weight * (row - low - contrast * shape)), whiten @ (weight * slope)

    place = _root(lambda c: float(np.dot(*parts(c))), near)
    slope = parts(place)[1]
    return place, float(slope @ slope)
