"""Standard variates by name: quantile, distribution function and density (what the tables are built from)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def ppf(name: str, shape: tuple[float, ...], p: np.ndarray) -> Any:
    from scipy import special as s

    if name == "normal":
        return s.ndtri(p)
    if name == "t":
        return s.stdtrit(shape[0], p)
    if name == "exponential":
        return -np.log1p(-p)
    if name == "gamma":
        return s.gammaincinv(shape[0], p)
    if name == "beta":
        return s.betaincinv(shape[0], shape[1], p)
    if name == "arcsine":
        return -np.cos(np.pi * p)
    if name == "lognormal":
        return np.exp(shape[0] * s.ndtri(p))
    if name == "weibull":
        return (-np.log1p(-p)) ** (1.0 / shape[0])
    raise KeyError(name)


def isf(name: str, shape: tuple[float, ...], p: np.ndarray) -> Any:
    """Value that is exceeded with probability ``p``, exact for the smallest ``p``."""
    from scipy import special as s

    if name in ("normal", "t", "arcsine"):
        return -ppf(name, shape, p)
    if name == "exponential":
        return -np.log(p)
    if name == "gamma":
        return s.gammainccinv(shape[0], p)
    if name == "beta":
        return 1.0 - s.betaincinv(shape[1], shape[0], p)
    if name == "lognormal":
        return np.exp(-shape[0] * s.ndtri(p))
    if name == "weibull":
        return (-np.log(p)) ** (1.0 / shape[0])
    raise KeyError(name)


def cdf(name: str, shape: tuple[float, ...], z: np.ndarray) -> Any:
    from scipy import special as s

    if name == "normal":
        return s.ndtr(z)
    if name == "t":
        return s.stdtr(shape[0], z)
    if name == "arcsine":
        return 0.5 + np.arcsin(np.clip(z, -1.0, 1.0)) / np.pi
    if name == "beta":
        return s.betainc(shape[0], shape[1], np.clip(z, 0.0, 1.0))
    z = np.clip(z, 0.0, None)
    if name == "exponential":
        return -np.expm1(-z)
    if name == "gamma":
        return s.gammainc(shape[0], z)
    if name == "lognormal":
        with np.errstate(divide="ignore"):
            return s.ndtr(np.log(z) / shape[0])
    if name == "weibull":
        return -np.expm1(-(z ** shape[0]))
    raise KeyError(name)


def pdf(name: str, shape: tuple[float, ...], z: np.ndarray) -> Any:
    from scipy import special as s

    root = math.sqrt(2.0 * math.pi)
    if name == "normal":
        return np.exp(-0.5 * z * z) / root
    if name == "t":
        n = shape[0]
        log_c = s.gammaln((n + 1.0) / 2.0) - s.gammaln(n / 2.0) - 0.5 * math.log(n * math.pi)
        return np.exp(log_c - 0.5 * (n + 1.0) * np.log1p(z * z / n))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if name == "arcsine":
            return np.where(np.abs(z) < 1.0, 1.0 / (np.pi * np.sqrt(1.0 - z * z)), 0.0)
        if name == "beta":
            a, b = shape
            inside = (z >= 0.0) & (z <= 1.0)
            value = np.exp((a - 1.0) * np.log(z) + (b - 1.0) * np.log1p(-z) - s.betaln(a, b))
            return np.where(inside, value, 0.0)
        if name == "exponential":
            return np.where(z >= 0.0, np.exp(-z), 0.0)
        if name == "gamma":
            a = shape[0]
            return np.where(z >= 0.0, np.exp(s.xlogy(a - 1.0, z) - z - s.gammaln(a)), 0.0)
        if name == "lognormal":
            w = np.log(z) / shape[0]
            return np.where(z > 0.0, np.exp(-0.5 * w * w) / (root * shape[0] * z), 0.0)
        if name == "weibull":
            k = shape[0]
            return np.where(z >= 0.0, k * z ** (k - 1.0) * np.exp(-(z**k)), 0.0)
    raise KeyError(name)
