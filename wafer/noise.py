"""The noise of an SEM image, measured in the image itself (photon transfer)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.kernels.linescan import difference_sums

_LAGS = 8  # rows over which neighbours are compared


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel as a straight line over its grey level (photon transfer), in squared grey levels.

    ``offset + gain * grey`` is the variance (``offset_u``, ``gain_u``: standard uncertainties from the scatter between
    stripes), ``correlation`` that of neighbouring pixels of a row. ``dark`` and ``bright`` are the mean grey levels of
    the stripes where it was measured; ``vertical_ratio`` compares differences over two rows with those over one:
    clearly above 1 means that the rows are not independent (a filtered image); ``vertical`` is then the
    autocorrelation of the noise over 1, 2, ... rows, else empty.
    """

    offset: float
    gain: float
    correlation: float
    dark: float
    bright: float
    sigma_dark: float
    sigma_bright: float
    vertical_ratio: float
    gain_u: float = 0.0
    offset_u: float = 0.0
    vertical: tuple[float, ...] = ()

    def variance(self, grey: np.ndarray | float) -> np.ndarray | float:
        """Variance at a grey level, never negative."""
        return np.maximum(self.offset + self.gain * np.asarray(grey), 0.0)

    def as_array(self) -> np.ndarray:
        """The three numbers that the kernels take."""
        return np.array([self.offset, self.gain, self.correlation])


def photon_transfer(
    image: np.ndarray, slope: float, dark_centres: np.ndarray, bright_centres: np.ndarray, step: float = 0.0
) -> NoiseModel:
    """Measure the noise at the centres of dark and bright stripes, where the grey level is flat.

    ``step`` is the smallest step of the grey scale (`grey_step`), 0 where it is continuous.

    Half the mean squared difference of vertical neighbours: edges, roughness, illumination and drift cancel to first
    order. Where differences over more rows are clearly larger, rows are correlated, and the largest of them counts.
    Source: Janesick, Photon Transfer (SPIE Press, 2007).
    """
    middle = 0.5 * (image.shape[0] - 1)
    tables = []
    for centres in (dark_centres, bright_centres):
        sums, used = np.zeros((centres.size, 4 + _LAGS)), np.zeros((centres.size, 1 + _LAGS))
        difference_sums(image, slope, middle, np.ascontiguousarray(centres), _LAGS, sums, used)
        keep = used[:, 1] > 0
        tables.append((sums[keep], used[keep]))
    sums = np.concatenate([t[0] for t in tables])
    used = np.concatenate([t[1] for t in tables])
    vertical_ratio, vertical, inflation = _vertical(sums, used)
    means, spreads, scatter = [], [], []
    for s, n in tables:
        if s.shape[0] == 0:
            means.append(math.nan)
            spreads.append(math.nan)
            scatter.append(math.nan)
            continue
        each = 0.5 * inflation * s[:, 1] / n[:, 1]
        means.append(float(s[:, 0].sum() / n[:, 0].sum()))
        spreads.append(float(0.5 * inflation * s[:, 1].sum() / n[:, 1].sum()))
        # differences of neighbours share their middle: 1.5 times the variance of independent ones
        chance = spreads[-1] * math.sqrt(3.0 / float(n[:, 1].sum()))
        scatter.append(max(chance, float(each.std(ddof=1)) / math.sqrt(each.size)) if each.size > 2 else chance)
    (dark, bright), (var_dark, var_bright) = means, spreads
    if math.isnan(dark):
        dark, var_dark = bright, var_bright
    if math.isnan(bright):
        bright, var_bright = dark, var_dark
    gain = (var_bright - var_dark) / (bright - dark) if bright > dark else 0.0
    gain_u = math.hypot(*np.nan_to_num(scatter)) / (bright - dark) if bright > dark else 0.0
    # Rounded grey levels carry at least the variance of rounding.
    floor = step * step / 12.0
    var_dark, var_bright = max(var_dark, floor), max(var_bright, floor)
    product = float(sums[:, 3].sum())
    squares = 0.5 * float(sums[:, 1].sum() + sums[:, 2].sum())
    return NoiseModel(
        offset=var_dark - gain * dark,
        gain=gain,
        correlation=float(np.clip(product / squares, -0.5, 0.9)) if squares > 0 else 0.0,
        dark=dark,
        bright=bright,
        sigma_dark=math.sqrt(var_dark),
        sigma_bright=math.sqrt(var_bright),
        vertical_ratio=vertical_ratio,
        gain_u=gain_u,
        offset_u=math.hypot(float(np.nan_to_num(scatter[0])), gain_u * dark),
        vertical=vertical,
    )


def _vertical(sums: np.ndarray, used: np.ndarray) -> tuple[float, tuple[float, ...], float]:
    """Ratio of differences over two rows and one; autocorrelation of the noise over rows, empty where none is seen; how
    many times the variance exceeds half the squared difference of neighbours."""
    squares, pairs = sums[:, 4:].sum(axis=0), used[:, 1:].sum(axis=0)
    if pairs.size < 2 or not pairs.min() > 0 or not squares[0] > 0.0:
        return 1.0, (), 1.0
    d = squares / pairs
    ratio = float(d[1] / d[0])
    # Means of n squared differences are known to sqrt(3 / n); the ratio of two of them not better. 2 %: roughness and
    # illumination make that much of a ratio in honest images.
    if ratio < 1.02 + 4.0 * math.sqrt(3.0 / float(pairs[1])):
        return ratio, (), 1.0
    far = float(np.mean(d[_LAGS // 2 :]))
    rho = 1.0 - d / far
    last = int(np.argmax(rho < 0.02)) if np.any(rho < 0.02) else rho.size
    return ratio, tuple(float(v) for v in rho[:last]), float(far / d[0])


def grey_step(pixels: np.ndarray) -> float:
    """Smallest difference between grey levels that occur in ``pixels``; 0 where the scale is continuous.

    Follows a change of the grey scale (8 bits divided by 255, or shifted up to 16 bits).
    """
    rows = np.asarray(pixels)[:: max(1, pixels.size // 200_000)]
    if rows.dtype.kind in "ui" and rows.dtype.itemsize <= 2:
        low = int(rows.min()) if rows.dtype.kind == "i" else 0
        levels = np.flatnonzero(np.bincount(rows.ravel().astype(np.intp) - low if low else rows.ravel()))
    else:
        levels = np.unique(rows)
    if levels.size < 2 or 2 * levels.size > rows.size:
        return 0.0
    return float(np.diff(levels.astype(np.float64)).min())
