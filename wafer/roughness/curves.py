"""Curves for the eye: spectrum with fit and band, autocorrelation, height-height correlation."""

from __future__ import annotations

import math

import numpy as np

from wafer.roughness.spectrum import Traces, padded_power
from wafer.roughness.whittle import Roughness


def autocorrelation(given: Traces) -> np.ndarray:
    """Autocovariance at the lags 0 ... N/2 in squared pixels, zero-padded and divided by the overlap of each lag.

    Noise of single rows stands at lag 0 only. Lost rows are left out of the products and of the overlap.
    """
    n = given.rows
    products = np.fft.irfft(given.padded_power / given.count, 2 * n)[: n // 2 + 1]
    return np.asarray(products / (n * given.kernel[: n // 2 + 1]))


def height_height(given: Traces) -> np.ndarray:
    """``<(y_{t+m} - y_t)^2>`` at the lags 0 ... N/2 in squared pixels, over the complete traces."""
    values = given.values[given.complete] if given.complete.any() else given.values
    n = values.shape[1]
    power = given.padded_power if values.shape[0] == given.count else padded_power(values)
    products = np.fft.irfft(power, 2 * n)[: n // 2 + 1]
    squares = np.concatenate([[0.0], np.cumsum((values * values).sum(axis=0))])
    lag = np.arange(n // 2 + 1)
    return np.asarray((squares[n - lag] + squares[n] - squares[lag] - 2.0 * products) / (values.shape[0] * (n - lag)))


def psd_curves(given: Traces, fit: Roughness, row: float, pixel: float, points: int = 96) -> dict[str, np.ndarray]:
    """Two-sided spectra over frequency, averaged into at most ``points`` bins of equal logarithmic width.

    ``row`` and ``pixel`` are the row distance and the pixel across the line in one unit: frequencies come in 1/unit,
    densities in unit^3. ``measured`` with its 95 % range under the fitted model (``range_low``, ``range_high``: chi
    squared with two degrees of freedom per ordinate and trace), ``fit`` with the 95 % interval of the fit, ``clean``
    (the roughness without noise).
    """
    from scipy.special import chdtri

    n, half = given.rows, given.periodogram.size
    k = np.arange(1, half + 1)
    edges = np.unique(np.round(np.geomspace(1.0, half + 1.0, points + 1)).astype(np.int64))
    group = np.searchsorted(edges, k, side="right") - 1
    size = np.bincount(group).astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values) / size

    density = pixel * pixel * row
    dof = 2.0 * given.count * size
    fitted, spread = mean(fit.expected) * density, mean(fit.expected_u) * density
    relative = spread / np.maximum(fitted, 1e-300)
    return {
        "frequency": mean(k / (n * row)),
        "measured": mean(given.periodogram) * density,
        "range_low": fitted * chdtri(dof, 0.975) / dof,
        "range_high": fitted * chdtri(dof, 0.025) / dof,
        "fit": fitted,
        "fit_low": fitted * np.exp(-1.96 * relative),
        "fit_high": fitted * np.exp(1.96 * relative),
        "clean": mean(fit.clean) * density,
    }


def palasantzas(frequency: np.ndarray, sigma: float, xi: float, hurst: float) -> np.ndarray:
    """``PSD0 / (1 + (2 pi f xi)^2)^(H + 1/2)``, two-sided; its xi is not that of the stretched exponential.

    Source: Palasantzas, Phys. Rev. B 48 (1993) 14472; PSD0 from the condition that the integral is sigma squared.
    """
    peak = 2.0 * sigma**2 * xi * math.sqrt(math.pi) * math.gamma(hurst + 0.5) / math.gamma(hurst)
    return np.asarray(peak / (1.0 + (2.0 * math.pi * frequency * xi) ** 2) ** (hurst + 0.5))
