"""The mean edge profile of an image: edge spread function, grey levels of its plateaus, slope, and Cramer-Rao bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metrology_core.blocks import run_blocks
from wafer.edges import linescan
from wafer.kernels.linescan import edge_spread
from wafer.noise import NoiseModel

FINE = 4  # bins of the edge spread function per pixel
NEIGHBOURS = 3  # rows above and below that align a row


@dataclass(frozen=True, eq=False)
class Spread:
    """Grey levels collected over the distance from the edge in pixels, dark side first, for one polarity.

    ``halves`` are sums and counts of two halves of the rows (2, 2, bins). ``misfit`` is the mean square distance of an
    edge from the mean of its neighbours, in squared pixels: noise of the edge plus the smear of the profile.
    """

    distance: np.ndarray
    halves: np.ndarray
    misfit: float


@dataclass(frozen=True, eq=False)
class EdgeProfile:
    """Mean edge spread function of one polarity: grey over the distance from the edge in pixels, dark side first.

    Distance 0 is where the profile crosses the level. ``slope`` is its slope there, ``curvature`` that of the gradient
    at its peak, per pixel. ``width``, ``centre``, ``dark``, ``bright`` describe the logistic that fits it best.
    ``crb`` is the Cramer-Rao bound of the place of an edge of this shape in one row (grey levels known), in pixels.
    ``halves``: (distance, grey) of the profiles of both halves of the rows.
    """

    distance: np.ndarray
    grey: np.ndarray
    gradient: np.ndarray
    slope: float
    curvature: float
    width: float
    centre: float
    dark: float
    bright: float
    crb: float
    halves: tuple[tuple[np.ndarray, np.ndarray], ...] = ()


class Spline:
    """Uniform cubic B-spline, least squares with weights: smooths a profile without a model of its physics.

    A profile collected about places that err with variance ``smear`` (squared pixels, ``x`` evenly spaced) is the true
    one convolved with that error: the fitted basis is convolved with a normal of that variance, the spline is not.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, blur: float, step: float, smear: float,
        like: Spline | None = None,
    ) -> None:  # fmt: skip
        self.start, self.spacing = float(x[0]), float(np.clip(0.7 * blur, 0.5, 6.0))
        self.size: int = max(1, math.ceil((float(x[-1]) - self.start) / self.spacing)) + 3
        # ``like``: the same x, blur, step and smear, other data on the same basis
        self.design: np.ndarray = blurred(self._basis(x), smear, float(x[1] - x[0])) if like is None else like.design
        self.prior: np.ndarray = self._prior(blur, step) if like is None else like.prior
        normal = self.design.T @ (weight[:, None] * self.design) + self.prior
        self.covariance = np.linalg.inv(normal)
        self.coefficients = self.covariance @ (self.design.T @ (weight * y))

    def _prior(self, blur: float, step: float) -> np.ndarray:
        # Third differences of the coefficients: at the edge those of an error function pass, in the tails of an edge
        # those of a bloom. With the weights of the data this is a normal prior, which a high dose overrules.
        third = np.diff(np.eye(self.size), 3, axis=0)
        at = self.start + self.spacing * (np.arange(third.shape[0]) + 0.5)
        free = 0.3 * np.exp(-0.5 * (at / (1.5 * blur)) ** 2) + 0.005 * self.spacing**3
        third /= (step * free)[:, None]
        return np.asarray(third.T @ third)

    def _basis(self, x: np.ndarray) -> np.ndarray:
        at = np.clip((x - self.start) / self.spacing, 0.0, self.size - 3.0 - 1e-12)
        k = at.astype(np.int64)
        u = at - k
        v, u2 = 1 - u, u * u
        u3 = u2 * u
        out = np.zeros((x.size, self.size))
        rows = np.arange(x.size)
        for offset, part in enumerate((v * v * v, 3 * u3 - 6 * u2 + 4, -3 * u3 + 3 * u2 + 3 * u + 1, u3)):
            out[rows, k + offset] = part / 6.0
        return out

    def at(self, x: float) -> tuple[float, float]:
        """Value at one place and its standard uncertainty."""
        row = self._basis(np.full(1, x))[0]
        return float(row @ self.coefficients), math.sqrt(float(row @ self.covariance @ row))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._basis(x) @ self.coefficients)


def spread_functions(
    area: np.ndarray, x: np.ndarray, polarity: np.ndarray, left: np.ndarray, right: np.ndarray
) -> dict[int, Spread]:
    """Edge spread functions of the rising (+1) and falling (-1) edges ``x`` (n_edges, rows)."""
    # the last bits of an exact reach must not add a pixel
    half = float(math.ceil(float(np.median(np.concatenate([left, right]))) - 1e-9)) + 1.0
    bins = int(2 * half * FINE)
    ny = area.shape[0]
    # Halves interleaved in blocks of rows: drift and charging along the scan fall on both alike.
    block = max(8, ny // 16)
    starts = range(0, ny, block)
    result = {}
    for sign in (1, -1):
        mine = np.flatnonzero(polarity == sign)
        if mine.size == 0:
            continue
        places = np.ascontiguousarray(x[mine])
        reach_left, reach_right = left[mine], right[mine]
        parts = np.zeros((len(starts), 2, bins))
        misfits = np.zeros((len(starts), 2))

        def work(
            first: int, end: int, places: np.ndarray = places, parts: np.ndarray = parts,
            misfits: np.ndarray = misfits, reach: tuple[np.ndarray, np.ndarray] = (reach_left, reach_right),
        ) -> None:  # fmt: skip
            for n in range(first, end):
                edge_spread(
                    area, starts[n], min(starts[n] + block, ny), 0, places, reach[0], reach[1], NEIGHBOURS,
                    float(FINE), half, parts[n, 0], parts[n, 1], misfits[n],
                )  # fmt: skip

        run_blocks(work, len(starts))
        halves = np.stack([parts[0::2].sum(axis=0), parts[1::2].sum(axis=0)])
        squares, number = misfits.sum(axis=0)
        count = halves.sum(axis=0)[1]
        good = count >= max(8.0, 0.2 * float(np.median(count[count > 0]))) if np.any(count > 0) else count > 0
        if np.count_nonzero(good) < 4 * FINE or number < 8:
            continue
        distance = (np.arange(bins) + 0.5) / FINE - half
        first, last = np.flatnonzero(good)[[0, -1]]
        distance, halves = distance[first : last + 1], halves[:, :, first : last + 1]
        if sign < 0:
            distance, halves = -distance[::-1], np.ascontiguousarray(halves[:, :, ::-1])
        result[sign] = Spread(distance, halves, float(squares / number))
    return result


def blurred(values: np.ndarray, variance: float, step: float) -> np.ndarray:
    """Columns of ``values`` (n, m), ``step`` apart, convolved with a normal of ``variance``; the ends repeated."""
    sd = math.sqrt(max(variance, 0.0)) / step
    if sd < 0.3:  # less than a tenth of a pixel: nothing that a profile shows
        return values
    half = math.ceil(4.0 * sd)
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sd) ** 2)
    taps /= taps.sum()
    padded = np.pad(values, [(half, half), (0, 0)], mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, taps.size, axis=0) @ taps)


def rough_levels(spread: Spread) -> tuple[float, float]:
    """Dark and bright extreme of the smoothed bins: good enough to scale and weigh a spline with."""
    total, count = spread.halves.sum(axis=0)
    seen = count > 0.0
    grey = np.interp(spread.distance, spread.distance[seen], total[seen] / count[seen])
    soft = linescan.flatten(linescan.flatten(grey))
    return float(soft.min()), float(soft.max())


def splines_of(
    spread: Spread, levels: tuple[float, float], noise: NoiseModel, smear: float = 0.0, *, halves: bool = True
) -> tuple[Spline, ...]:
    """Smooth profiles of all rows and, where ``halves`` are asked for, of both halves of them, without their smear.

    Knots lie 0.7 blurs apart: an error function is then met to 1e-3 of its step.
    """
    low, high = levels
    total, count = spread.halves.sum(axis=0)
    seen = count > 0.0
    grey = np.interp(spread.distance, spread.distance[seen], total[seen] / count[seen])
    inner = np.abs(spread.distance) <= 6.0
    steepest = float(np.max(np.where(inner, np.gradient(linescan.flatten(grey), 1.0 / FINE), 0.0)))
    blur = (high - low) / (max(steepest, 1e-12) * math.sqrt(2.0 * math.pi))
    # neighbouring pixels of a row fall into different bins: their common noise weighs the bins down alike
    inflation = max((1.0 + noise.correlation) / (1.0 - noise.correlation), 1.0)
    variance = inflation * float(noise.variance(0.5 * (low + high))) + 1e-9 * (high - low) ** 2

    def fit(total: np.ndarray, count: np.ndarray, like: Spline | None = None) -> Spline:
        mean = np.where(count > 0.0, total / np.maximum(count, 1.0), 0.0)
        return Spline(spread.distance, mean, count / variance, blur, high - low, smear, like)

    whole = fit(total, count)
    return (whole, *(fit(half[0], half[1], whole) for half in spread.halves)) if halves else (whole,)


def plateaus(distance: np.ndarray, one: Spline, other: Spline) -> tuple[tuple[float, float], tuple[float, float]]:
    """Grey level of the dark and bright extreme of the mean edge profile, each with its standard uncertainty.

    The extreme of a noisy curve lies beyond that of the true one. So the profile of one half of the rows says *where*
    the extreme is and that of the other half gives the grey there, and the other way round.
    """
    result = []
    curves = [one(distance), other(distance)]
    for sign in (-1.0, 1.0):
        parts = []
        for curve, judge in ((curves[0], other), (curves[1], one)):
            at = distance[int(np.argmax(sign * curve))]
            parts.append(judge.at(float(at)))
        result.append((0.5 * sum(v for v, _ in parts), 0.5 * math.hypot(*(u for _, u in parts))))
    return result[0], result[1]


def from_crossing(
    spline: Callable[[np.ndarray], np.ndarray], distance: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """``distance``, counted from where a spline (or another curve) rises through ``level``, and its grey there."""
    grey = spline(distance)
    rising = np.flatnonzero((grey[:-1] < level) & (grey[1:] >= level))
    k = int(rising[np.argmin(np.abs(distance[rising]))]) if rising.size else int(np.argmin(np.abs(grey - level)))
    k = min(k, grey.size - 2)
    climb = float(grey[k + 1] - grey[k])
    part = min(max((level - float(grey[k])) / climb, 0.0), 1.0) if climb > 0.0 else 0.0
    return distance - (float(distance[k]) + part / FINE), grey


def edge_profile(
    spline: Callable[[np.ndarray], np.ndarray], distance: np.ndarray, level: float, noise: NoiseModel,
    logistic: bool = True,
) -> EdgeProfile:  # fmt: skip
    """The profile of a spline (or another curve) on even ``distance``, and what follows from it; without ``logistic``
    only its start.

    Cramer-Rao: var(x) = 1 / sum_i (dI/dx)^2 / sigma_i^2 over pixels one apart, averaged
    over the phase of the grid; for noise with neighbour correlation rho in x the whitened gradient takes its place.
    """
    step = 1.0 / FINE
    distance, grey = from_crossing(spline, distance, level)
    gradient = np.gradient(grey, step)
    near = np.abs(distance) <= 1.0
    slope = 1e-12
    if np.count_nonzero(near) > 2:
        t = distance[near] - distance[near].mean()
        slope = max(float(t @ grey[near] / (t @ t)), 1e-12)
    inner = np.abs(distance) <= 6.0
    peak = int(np.argmax(np.where(inner, gradient, -np.inf)))
    around = np.abs(distance - distance[peak]) <= 1.5
    t = distance[around] - distance[peak]
    quadratic = np.linalg.lstsq(np.column_stack([t * t, t, np.ones_like(t)]), gradient[around], rcond=None)[0]
    curvature = max(-2.0 * float(quadratic[0]), 1e-12)
    sd = np.sqrt(np.maximum(noise.variance(grey), 1e-12))
    rho = min(max(noise.correlation, 0.0), 0.9)
    g = gradient / sd
    white = g.copy()
    white[FINE:] -= rho * g[:-FINE]
    information = float(np.sum(white**2)) * step / (1.0 - rho * rho)
    # A logistic of width w climbs (high - low) / (4 w) per pixel at its middle: the start of its least-squares fit.
    steepest = max(float(quadratic[2]), 1e-12)
    start = (float(grey.max()) - float(grey.min())) / (4.0 * steepest)
    width, centre, dark, bright = start, float(distance[peak]), float(grey.min()), float(grey.max())
    if logistic:
        width, centre, dark, bright = _logistic(distance, grey, start, float(distance[peak]))
    return EdgeProfile(
        distance, grey, gradient, slope, curvature, width, centre, dark, bright, max(information, 1e-300) ** -0.5
    )


def _logistic(distance: np.ndarray, grey: np.ndarray, start: float, middle: float) -> tuple[float, float, float, float]:
    """Width, centre and levels of the logistic that fits an edge profile best (all four free); Gauss-Newton."""
    w, c = start, middle
    low, high = float(grey.min()), float(grey.max())
    dark, bright = low, high
    for _ in range(20):
        f = 1.0 / (1.0 + np.exp(np.clip(-(distance - c) / w, -60.0, 60.0)))
        bell = (bright - dark) * f * (1.0 - f) / w
        design = np.column_stack([1.0 - f, f, -bell, -bell * (distance - c) / w])
        normal = design.T @ design
        normal[np.diag_indices(4)] *= 1.0 + 1e-9
        step = np.linalg.solve(normal, design.T @ (grey - (dark * (1.0 - f) + bright * f)))
        dark, bright = dark + float(step[0]), bright + float(step[1])
        c += float(np.clip(step[2], -1.0, 1.0))
        w = float(np.clip(w + step[3], 0.5 * w, 2.0 * w))
        if abs(step[3]) < 1e-6 * w and abs(step[2]) < 1e-6:
            break
    # A profile that is no edge at all must not lead to a width that the kernel cannot use.
    if not (0.2 * start <= w <= 5.0 * start and abs(c - middle) < 4.0 * start and bright > dark):
        return start, middle, low, high
    return w, c, dark, bright
