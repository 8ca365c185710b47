"""The noise of an SEM image, measured in the image itself, and what it does to an edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.kernels.edges import locate_edges


@dataclass(frozen=True)
class NoiseModel:
    """Variance of a pixel as a straight line over its grey level (photon transfer), in squared grey levels.

    ``offset + gain * grey`` is the variance, ``correlation`` that of neighbouring pixels of a row. ``dark`` and
    ``bright`` are the mean grey levels of the stripes where it was measured; ``vertical_ratio`` compares differences
    over two rows with those over one: clearly above 1 means that the rows are not independent (a filtered image).
    """

    offset: float
    gain: float
    correlation: float
    dark: float
    bright: float
    sigma_dark: float
    sigma_bright: float
    vertical_ratio: float

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
    order. Source: Janesick, Photon Transfer (SPIE Press, 2007).
    """
    points = []
    numerator = denominator = far = near = 0.0
    ny, nx = image.shape
    rows = np.arange(ny)
    for centres in (dark_centres, bright_centres):
        track = np.rint(centres[None, :] + slope * (rows - 0.5 * (ny - 1))[:, None]).astype(np.int64)
        inside = np.flatnonzero((track.min(axis=0) >= 1) & (track.max(axis=0) <= nx - 2))
        if inside.size == 0:
            points.append((math.nan, math.nan))
            continue
        # One column per stripe for all rows keeps a step of the tilted track from looking like noise: take each
        # difference in the columns of its upper row.
        columns = track[:, inside]
        here, right = image[rows[:, None], columns], image[rows[:, None], columns + 1]
        below, below_right = image[rows[1:, None], columns[:-1]], image[rows[1:, None], columns[:-1] + 1]
        d, e = below - here[:-1], below_right - right[:-1]
        two = image[rows[2:, None], columns[:-2]] - here[:-2]
        variance = 0.5 * float(np.mean(d * d))
        points.append((float(here.mean()), variance))
        numerator += float(np.mean(d * e))
        denominator += float(np.mean(0.5 * (d * d)) + np.mean(0.5 * (e * e)))
        far += 0.5 * float(np.mean(two * two))
        near += variance
    (dark, var_dark), (bright, var_bright) = points
    if math.isnan(var_dark):
        dark, var_dark = bright, var_bright
    if math.isnan(var_bright):
        bright, var_bright = dark, var_dark
    gain = (var_bright - var_dark) / (bright - dark) if bright > dark else 0.0
    # Rounded grey levels carry at least the variance of rounding.
    floor = step * step / 12.0
    var_dark, var_bright = max(var_dark, floor), max(var_bright, floor)
    return NoiseModel(
        offset=var_dark - gain * dark,
        gain=gain,
        correlation=float(np.clip(numerator / denominator, -0.5, 0.9)) if denominator > 0 else 0.0,
        dark=dark,
        bright=bright,
        sigma_dark=math.sqrt(var_dark),
        sigma_bright=math.sqrt(var_bright),
        vertical_ratio=far / near if near > 0 else 1.0,
    )


@dataclass(frozen=True, eq=False)
class EdgeProfile:
    """Mean edge spread function of one polarity: grey over the distance from the edge in pixels, dark side first.

    ``slope`` is dI/dx at the threshold level, ``curvature`` minus the third derivative at the steepest point (grey
    levels per cubed pixel), ``width`` that of the best logistic. ``crb`` is the Cramer-Rao bound of the place of an
    edge of this shape in one row (grey levels known), in pixels.
    """

    distance: np.ndarray
    grey: np.ndarray
    slope: float
    curvature: float
    width: float
    crb: float


@dataclass(frozen=True)
class EdgeNoise:
    """Error of the place of an edge in one row, found by resampling the estimator itself, in pixels.

    ``lost`` is the share lost. ``bias`` is the mean shift that noise causes because it is stronger on one side
    (positive toward the bright side), ``bias_u`` its standard uncertainty: see `noise_shift`.
    """

    sd: float
    lost: float
    bias: float = 0.0
    bias_u: float = 0.0


def grey_step(pixels: np.ndarray) -> float:
    """Smallest difference between grey levels that occur in ``pixels``; 0 where the scale is continuous.

    Follows a change of the grey scale (8 bits divided by 255, or shifted up to 16 bits).
    """
    rows = np.asarray(pixels)[:: max(1, pixels.size // 200_000)]
    levels = np.unique(rows)
    if levels.size < 2 or 2 * levels.size > rows.size:
        return 0.0
    return float(np.diff(levels.astype(np.float64)).min())


def edge_profile(distance: np.ndarray, grey: np.ndarray, level: float, noise: NoiseModel) -> EdgeProfile:
    """Slope, width and Cramer-Rao bound of a measured edge spread function (``distance`` evenly spaced).

    var(x) = 1 / sum_i (dI/dx)^2 / sigma_i^2, summed over pixels one apart, averaged over the phase of the grid.
    """
    step = float(distance[1] - distance[0])
    gradient = np.gradient(grey, step)
    k = int(np.argmin(np.abs(grey - level) + 1e3 * (np.abs(distance) > 6.0)))
    near = np.abs(distance - distance[k]) <= 1.0
    slope = max(float(np.polyfit(distance[near], grey[near], 1)[0]), 1e-12)
    peak = int(np.argmax(gradient))
    around = np.abs(distance - distance[peak]) <= 1.5
    quadratic = np.polyfit(distance[around] - distance[peak], gradient[around], 2)
    curvature = max(-2.0 * float(quadratic[0]), 1e-12)
    low, high = float(grey.min()), float(grey.max())
    information = float(np.sum(gradient**2 / np.maximum(noise.variance(grey), 1e-12))) * step
    # A logistic of width w climbs (high - low) / (4 w) per pixel at its middle: the start of its least-squares fit.
    steepest = max(float(quadratic[2]), 1e-12)
    width = _logistic_width(distance, grey, (high - low) / (4.0 * steepest), float(distance[peak]))
    return EdgeProfile(distance, grey, slope, curvature, width, information**-0.5)


def _logistic_width(distance: np.ndarray, grey: np.ndarray, start: float, centre: float) -> float:
    """Width of the logistic that fits an edge profile best (levels, centre and width free); Gauss-Newton."""
    w, c = start, centre
    for _ in range(20):
        f = 1.0 / (1.0 + np.exp(np.clip(-(distance - c) / w, -60.0, 60.0)))
        levels, *_ = np.linalg.lstsq(np.column_stack([1.0 - f, f]), grey, rcond=None)
        bell = (levels[1] - levels[0]) * f * (1.0 - f) / w
        design = np.column_stack([1.0 - f, f, -bell, -bell * (distance - c) / w])
        step, *_ = np.linalg.lstsq(design, grey - (levels[0] * (1.0 - f) + levels[1] * f), rcond=None)
        c += float(np.clip(step[2], -1.0, 1.0))
        w = float(np.clip(w + step[3], 0.5 * w, 2.0 * w))
        if abs(step[3]) < 1e-6 * w:
            break
    # A profile that is no edge at all must not lead to a width that the kernel cannot use.
    return w if 0.2 * start <= w <= 5.0 * start else start


def resample_edge(
    profile: EdgeProfile,
    noise: NoiseModel,
    *,
    level: float,
    low: float,
    high: float,
    width: float,
    radius: float,
    criterion: int,
    seed: int,
    count: int = 4096,
) -> EdgeNoise:
    """Run the edge estimator on ``count`` noisy copies of a measured edge profile at random sub-pixel phases.

    Parametric bootstrap (Efron and Tibshirani 1993, ch. 6): carries the choice among several crossings, which linear
    propagation cannot. Pixel noise is normal with the measured variance and neighbour correlation. Only the spread of
    the error and, for noise stronger on one side, `noise_shift` are used.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, criterion, 77])))
    # the window of the real edges: as far as their profile was gathered
    half = float(min(-profile.distance[0], profile.distance[-1]))
    n = 2 * max(3, round(half)) + 1
    middle = n // 2
    phase = rng.uniform(-0.5, 0.5, count)
    distance = np.arange(n)[None, :] - middle - phase[:, None]
    clean = np.interp(distance, profile.distance, profile.grey)
    white = rng.standard_normal((count, n))
    rho = noise.correlation
    coloured = white.copy()
    for i in range(1, n):
        coloured[:, i] = rho * coloured[:, i - 1] + math.sqrt(1.0 - rho * rho) * white[:, i]
    noisy = clean + coloured * np.sqrt(noise.variance(clean))
    one = np.ones(1)
    places = []
    for rows in (clean, noisy):
        x, u = np.empty((1, count)), np.empty((1, count))
        state = np.empty((1, count), dtype=np.uint8)
        locate_edges(
            np.ascontiguousarray(rows), 0, count, 0, 0.0, 0.0, one * middle, one * (middle + 1), one * (middle + 1),
            np.ones(1, dtype=np.int64), one * level, one * low, one * high, one, one * width, one * radius,
            noise.as_array(), criterion, x, u, state,
        )  # fmt: skip
        places.append(x[0] - phase)
    good = np.isfinite(places[1]) & np.isfinite(places[0])
    if np.count_nonzero(good) < 16:
        return EdgeNoise(profile.crb, 1.0 - np.count_nonzero(good) / count)
    error = (places[1] - places[0])[good]
    bias, bias_u = 0.0, 0.0
    if noise.gain != 0.0:
        bias, bias_u = noise_shift(noise, distance, coloured, low, high, width, radius, criterion)
    return EdgeNoise(float(error.std(ddof=1)), 1.0 - error.size / count, bias, bias_u)


def noise_shift(
    noise: NoiseModel,
    distance: np.ndarray,
    coloured: np.ndarray,
    low: float,
    high: float,
    width: float,
    radius: float,
    criterion: int,
) -> tuple[float, float]:
    """Mean shift of an edge, toward the bright side, by noise whose variance grows with the grey level; and its u.

    ``distance`` and ``coloured`` (count, n): place from the edge and normal noise of variance 1. A symmetric logistic
    edge is measured twice with the same noise: with its variance over grey, and with one variance for all grey levels.
    The second shift is zero by symmetry (mirror and negative give the same ensemble), so the difference of both has
    its expectation without the scatter of either: common random numbers as a control variate (Hammersley and
    Handscomb, Monte Carlo Methods, 1964, ch. 5). Equal noise on both sides gives exactly zero.
    """
    count, n = distance.shape
    level = 0.5 * (low + high)
    grey = low + (high - low) / (1.0 + np.exp(np.clip(-distance / width, -60.0, 60.0)))
    one, middle = np.ones(1), n // 2
    flat = NoiseModel(float(noise.variance(level)), 0.0, *_rest(noise))
    places = []
    for model in (noise, flat):
        rows = grey + coloured * np.sqrt(model.variance(grey))
        x, u = np.empty((1, count)), np.empty((1, count))
        state = np.empty((1, count), dtype=np.uint8)
        locate_edges(
            np.ascontiguousarray(rows), 0, count, 0, 0.0, 0.0, one * middle, one * (middle + 1), one * (middle + 1),
            np.ones(1, dtype=np.int64), one * level, one * low, one * high, one, one * width, one * radius,
            model.as_array(), criterion, x, u, state,
        )  # fmt: skip
        places.append(x[0])
    change = places[0] - places[1]
    change = change[np.isfinite(change)]
    if change.size < 16:
        return 0.0, 0.0
    return float(change.mean()), float(change.std(ddof=1)) / math.sqrt(change.size)


def _rest(noise: NoiseModel) -> tuple[float, float, float, float, float, float]:
    return noise.correlation, noise.dark, noise.bright, noise.sigma_dark, noise.sigma_bright, noise.vertical_ratio
