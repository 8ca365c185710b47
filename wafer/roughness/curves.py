"""Curves for the eye: spectrum with fit and band, autocorrelation, height-height correlation."""

from __future__ import annotations

import functools
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
    squared with two degrees of freedom per ordinate and independent trace), ``fit`` with the 95 % interval of the fit,
    ``clean`` (the roughness without noise).
    """
    from scipy.special import chdtri

    n, half = given.rows, given.periodogram.size
    k = np.arange(1, half + 1)
    group, size = _bins(half, points)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values) / size

    density = pixel * pixel * row
    dof = 2.0 * size * mean(fit.independent)
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


@functools.lru_cache(maxsize=8)
def _bins(half: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the bin of each ordinate 1 ... ``half``, and how many ordinates each bin has."""
    edges = np.unique(np.round(np.geomspace(1.0, half + 1.0, points + 1)).astype(np.int64))
    group = np.searchsorted(edges, np.arange(1, half + 1), side="right") - 1
    size = np.bincount(group).astype(np.float64)
    for array in (group, size):
        array.setflags(write=False)
    return group, size


def cross_spectra(residuals: np.ndarray) -> np.ndarray:
    """Mean over the pairs of frames of ``Re(A_k conj(B_k)) / N`` for each trace, k = 1 ... N/2; (n, N // 2).

    ``residuals`` (frames, n, N), NaN where lost (zero in the transforms, which are scaled by the share of rows that
    both frames of a pair have). Noise of different frames is independent: the expectation is the periodogram of what
    the frames share, without a model of the noise. ``|sum X|^2 - sum |X|^2`` is twice the sum over the pairs.
    """
    frames, _, n = residuals.shape
    good = np.isfinite(residuals)
    transform = np.fft.rfft(np.where(good, residuals, 0.0), axis=2)[:, :, 1 : n // 2 + 1]
    together = np.abs(transform.sum(axis=0)) ** 2 - (np.abs(transform) ** 2).sum(axis=0)
    seen = good.sum(axis=0)
    pairs = (seen * (seen - 1)).sum(axis=1).astype(np.float64)  # twice the rows that pairs share
    pairs[pairs < 0.5 * frames * (frames - 1) * n] = np.nan
    return np.asarray(together / pairs[:, None])


def cross_curves(spectra: np.ndarray, rows: int, row: float, pixel: float, points: int = 96) -> dict[str, np.ndarray]:
    """Mean over the traces of `cross_spectra` in the bins of `psd_curves`, with its 95 % interval from the scatter
    between traces (Student's t); a density may come out negative where there is more noise than roughness."""
    from scipy.special import stdtrit

    kept = spectra[np.isfinite(spectra).all(axis=1)]
    group, size = _bins(kept.shape[1], points)
    density = pixel * pixel * row
    binned = np.array([np.bincount(group, weights=trace) / size for trace in kept]) * density
    n = binned.shape[0]
    half = float(stdtrit(n - 1, 0.975)) * binned.std(axis=0, ddof=1) / math.sqrt(n)
    mean = binned.mean(axis=0)
    k = np.arange(1, kept.shape[1] + 1) / (rows * row)
    return {
        "cross_frequency": np.bincount(group, weights=k) / size,
        "cross": mean,
        "cross_low": mean - half,
        "cross_high": mean + half,
    }


def palasantzas(frequency: np.ndarray, sigma: float, xi: float, hurst: float) -> np.ndarray:
    """``PSD0 / (1 + (2 pi f xi)^2)^(H + 1/2)``, two-sided; its xi is not that of the stretched exponential.

    Source: Palasantzas, Phys. Rev. B 48 (1993) 14472; PSD0 from the condition that the integral is sigma squared.
    """
    peak = 2.0 * sigma**2 * xi * math.sqrt(math.pi) * math.gamma(hurst + 0.5) / math.gamma(hurst)
    return np.asarray(peak / (1.0 + (2.0 * math.pi * frequency * xi) ** 2) ** (hurst + 0.5))
