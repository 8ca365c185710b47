"""What the noise of the image does to an edge: the estimator run on noisy copies of the mean edge profile."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from wafer.edges.locate import TABLE, Shape, Windows, locate
from wafer.edges.profiles import EdgeProfile
from wafer.kernels import edges as _k
from wafer.kernels.draws import coloured_rows, noisy_rows, profile_rows
from wafer.noise import NoiseModel
from wafer.smoothing import Smoothing

STRONG_DRAWS = 4  # times as many draws where noise is of the order of the step: one set of draws serves all images
PULL_BELOW = 3.0  # contrast to noise below which noise can look like an edge elsewhere in the window
_SHIFTS = (1, 2, 3, 4)  # px, of the window to either side
_HERMITE = (
    np.array([-2.8569700138728056, -1.355626179974266, 0.0, 1.355626179974266, 2.8569700138728056]),
    np.array([0.011257411327720691, 0.2220759220056126, 0.5333333333333333, 0.2220759220056126, 0.011257411327720691]),
)


@dataclass(frozen=True)
class EdgeNoise:
    """Error of the place of an edge in one row, found by resampling the estimator itself, in pixels.

    ``lost`` is the share lost. ``bias`` is the mean shift that noise causes where the edge or the noise is not
    symmetric (positive toward the bright side), ``bias_u`` its standard uncertainty, ``bias_gain`` how far it moves
    when the variance of the noise rises with the grey level by one standard uncertainty more: signed, as that slope is
    measured once for all edges of an image, and what it shifts, it shifts together. ``pull`` tells how
    far the window draws the found edge after it: rows (shift of the window, shift of the mean place, its standard
    uncertainty), empty where noise never looks like an edge elsewhere in the window.
    """

    sd: float
    lost: float
    bias: float = 0.0
    bias_u: float = 0.0
    bias_gain: float = 0.0
    pull: tuple[tuple[float, float, float], ...] = ()

    def gain(self, spread: float) -> tuple[float, float]:
        """How much of the wander of an edge (normal, standard deviation ``spread`` in pixels) the found places show,
        with its standard uncertainty: the slope of their regression on the true ones.

        ``1 - E[w pull(w)] / spread^2`` over the wander w, five-node Gauss-Hermite quadrature.
        """
        if not self.pull or not spread > 0.0:
            return 1.0, 0.0
        shift, change, u = (np.array(column) for column in zip((0.0, 0.0, 0.0), *self.pull, strict=True))
        # beyond the last shift as steep as the chord to it
        steep = change / np.where(shift > 0.0, shift, 1.0)
        spread_u = u / np.where(shift > 0.0, shift, 1.0)
        steep[0], spread_u[0] = steep[1], spread_u[1]
        nodes, weights = _HERMITE
        w = spread * nodes
        part = weights * nodes**2
        lost = float(part @ np.interp(np.abs(w), shift, steep))
        return float(np.clip(1.0 - lost, 0.5, 1.0)), float(part @ np.interp(np.abs(w), shift, spread_u))


@functools.lru_cache(maxsize=8)
def _draws(seed: int, criterion: int, count: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, criterion, 77])))
    phase = rng.uniform(-0.5, 0.5, count)
    white = rng.standard_normal((count, n))
    for array in (phase, white):
        array.setflags(write=False)
    return phase, white


def _coloured(white: np.ndarray, rho: float) -> np.ndarray:
    if rho == 0.0:
        return white
    out = np.empty(white.shape)
    coloured_rows(white, rho, out)
    return out


def _clean(distance: np.ndarray, at: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Grey of a profile, ``grey`` at evenly spaced places ``at``, at ``distance``."""
    out = np.empty(distance.shape)
    profile_rows(np.ascontiguousarray(distance), float(at[0]), float(at[1] - at[0]), np.ascontiguousarray(grey), out)
    return out


def _places(rows: np.ndarray, code: int, sign: int, shape: Shape, noise: NoiseModel) -> np.ndarray:
    n = rows.shape[1]
    one = np.ones(1)
    window = Windows(one * (n // 2), one * n, one * n, np.array([sign], dtype=np.int64), 0.0, 0.0)
    return locate(np.ascontiguousarray(rows), code, window, shape, noise)[0][0]


def strong(noise: NoiseModel, contrast: float) -> bool:
    """Whether noise is of the order of the step, so that it can look like an edge elsewhere."""
    return contrast < PULL_BELOW * math.sqrt(0.5 * (noise.sigma_dark**2 + noise.sigma_bright**2))


def _lean(z: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """What makes normal draws ``sigma z`` as skew as shot noise: ``sigma skewness / 6 (z^2 - 1)`` (first term of
    Cornish and Fisher, Rev. Inst. Int. Stat. 5 (1938) 307).

    The third cumulant of shot noise is the gain times its variance. How much of the variance is shot noise cannot be
    told without the grey level of no signal: half is taken, the middle between none and all. Even in z, so that both
    antithetic halves carry it; the mean over the draws is taken off: what is linear in it shifts nothing either.
    """
    lean = 0.5 * noise.gain / 6.0 * (z * z - 1.0)
    return np.asarray(lean - lean.mean(axis=0))


def _quiet_and_noisy(
    clean: np.ndarray, coloured: np.ndarray, noise: NoiseModel, code: int, sign: int, shape: Shape,
    smoothing: Smoothing | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Places in the rows ``clean`` (count, n), and in both antithetic halves (2, count): each draw also with the
    opposite sign, so that what is linear in the noise shifts nothing."""
    count = clean.shape[0]
    rows = np.empty((3 * count, clean.shape[1]))
    share = 1.0
    if smoothing is not None:
        share = float(np.linalg.norm(np.concatenate([smoothing.taps[1], smoothing.taps[1][1:]])))
    noisy_rows(clean, coloured, float(noise.offset), float(noise.gain), share, rows)
    if strong(noise, float(shape.high[0] - shape.low[0])) and noise.gain > 0.0:
        lean = _lean(coloured, noise)
        rows[count : 2 * count] += lean
        rows[2 * count :] += lean
    if smoothing is not None:
        rows = smoothing.rows(rows)
    places = _places(rows, code, sign, shape, noise)
    return places[:count], places[count:].reshape(2, count)


def resample_edge(
    profile: EdgeProfile, noise: NoiseModel, shape: Shape, *, criterion: int, sign: int, seed: int, count: int = 2048,
    shift: bool = True, smoothing: Smoothing | None = None,
) -> EdgeNoise:  # fmt: skip
    """Run the edge estimator on ``count`` pairs of noisy copies of a mean edge profile at random sub-pixel phases.

    Parametric bootstrap (Efron and Tibshirani 1993, ch. 6): carries the choice among several crossings, which linear
    propagation cannot. Pixel noise is normal with the measured variance and neighbour correlation. ``shape`` describes
    one edge of polarity ``sign``; ``shift`` asks for the mean shift too (`_control`). With ``smoothing`` the noisy
    copies are filtered as the image was; profile and noise are those of the image before, ``shape`` that after it.
    """
    is_strong = strong(noise, float(shape.high[0] - shape.low[0]))
    pull_count = (2 if criterion in (_k.SIGMOID, _k.MODEL) else 4) * count
    if shift and smoothing is None and is_strong:
        count *= STRONG_DRAWS
    # the window of the real edges: as far as their profile was gathered
    half = float(min(-profile.distance[0], profile.distance[-1]))
    n = 2 * max(3, round(half)) + 1 + (0 if smoothing is None else 2 * smoothing.reach)
    middle = n // 2
    phase, white = _draws(seed, criterion, count, n)
    distance = sign * (np.arange(n)[None, :] - middle - phase[:, None])
    if smoothing is not None:  # beyond the middles of the stripes follows their other half
        first, last = float(profile.distance[0]), float(profile.distance[-1])
        distance = last - np.abs(last - first - np.mod(distance - first, 2.0 * (last - first)))
    clean = _clean(distance, profile.distance, profile.grey)
    coloured = _coloured(white, noise.correlation)
    quiet, noisy = _quiet_and_noisy(clean, coloured, noise, criterion, sign, shape, smoothing)
    good = np.isfinite(noisy).all(axis=0) & np.isfinite(quiet)
    lost = 1.0 - float(np.isfinite(noisy).mean())
    if np.count_nonzero(good) < 16:
        return EdgeNoise(profile.crb, lost)
    error = (noisy - quiet)[:, good]
    bias, bias_u, bias_gain = 0.0, 0.0, 0.0
    if shift:
        pairs = error.mean(axis=0) * sign
        if criterion == _k.MAX_GRADIENT:
            # The largest gradient of a measured profile is a matter of its own noise: asymmetric noise counts only.
            pairs = _control(noise, distance, coloured, shape, profile, criterion, sign, False, smoothing)[good]
        if criterion != _k.LINEAR:
            pairs = pairs - _control(noise, distance, coloured, shape, profile, criterion, sign, True, smoothing)[good]
        pairs = pairs[np.isfinite(pairs)]
        if pairs.size >= 16:
            bias, bias_u = float(pairs.mean()), float(pairs.std(ddof=1)) / math.sqrt(pairs.size)
            if abs(bias) < 3.0 * bias_u:
                # Not seen: nothing is corrected (one draw serves all images of a lot), and what may be there is stated.
                bias, bias_u = 0.0, math.hypot(bias, bias_u)
            # Differences by the same draws: the scatter of the draws drops out of them, so that fewer do.
            few = slice(None, count if is_strong else count // 4)
            if profile.halves and smoothing is None and criterion != _k.MAX_GRADIENT:
                one, other = (
                    _half_shift(half, noise, shape, distance[few], phase[few], coloured[few], criterion, sign)
                    for half in profile.halves
                )
                bias_u = math.hypot(bias_u, 0.5 * float(np.nanmean(other - one)))
            if noise.gain_u > 0.0 and criterion != _k.LINEAR:
                few = slice(None, count // 4)
                bias_gain = _gain_part(
                    noise, distance[few], clean[few], coloured[few], shape, profile, criterion, sign, smoothing
                )
        if criterion == _k.THRESHOLD and smoothing is None:
            bias += _chord(profile.distance, profile.grey, float(shape.level[0]), sign * (quiet - middle - phase)[good])
    pull: tuple[tuple[float, float, float], ...] = ()
    if shift and smoothing is None and is_strong:
        pull = _pull(profile, noise, shape, criterion, sign, seed, pull_count, n)
    return EdgeNoise(float(np.sqrt(np.mean(np.square(error - error.mean())))), lost, bias, bias_u, bias_gain, pull)


def _half_shift(
    half: tuple[np.ndarray, np.ndarray], noise: NoiseModel, shape: Shape, distance: np.ndarray, phase: np.ndarray,
    coloured: np.ndarray, criterion: int, sign: int,
) -> np.ndarray:  # fmt: skip
    """What corrects an edge with the profile of one half of the rows, for each draw: half the difference of the two is
    what the noise of the mean profile does to the correction."""
    clean = _clean(distance, *half)
    quiet, noisy = _quiet_and_noisy(clean, coloured, noise, criterion, sign, shape)
    shifts = sign * (noisy.mean(axis=0) - quiet)
    if criterion == _k.THRESHOLD:
        places = sign * (quiet - clean.shape[1] // 2 - phase)
        shifts = shifts + _chord(*half, float(shape.level[0]), places[np.isfinite(places)])
    return np.asarray(shifts)


def _gain_part(
    noise: NoiseModel, distance: np.ndarray, clean: np.ndarray, coloured: np.ndarray, shape: Shape,
    profile: EdgeProfile, criterion: int, sign: int, smoothing: Smoothing | None,
) -> float:  # fmt: skip
    """Half the difference of the mean shifts with the gain of the noise one standard uncertainty up and down, about
    the middle of the step (`EdgeNoise.bias_gain`).

    Dark and bright stripes tell their variances about equally well, so the mean of the two and their difference, the
    gain, have independent errors. The flat control of `_control` has the variance of the middle: it stays.
    """
    middle = 0.5 * float(shape.low[0] + shape.high[0])
    shifts = []
    for step in (noise.gain_u, -noise.gain_u):
        turned = replace(noise, gain=noise.gain + step, offset=noise.offset - step * middle)
        if criterion == _k.MAX_GRADIENT:
            shifts.append(_control(turned, distance, coloured, shape, profile, criterion, sign, False, smoothing))
            continue
        quiet, noisy = _quiet_and_noisy(clean, coloured, turned, criterion, sign, shape, smoothing)
        shifts.append(sign * (noisy.mean(axis=0) - quiet))
    change = shifts[0] - shifts[1]
    change = change[np.isfinite(change)]
    return 0.5 * float(change.mean()) if change.size >= 16 else 0.0


def _chord(distance: np.ndarray, grey: np.ndarray, level: float, quiet: np.ndarray) -> float:
    """Mean distance of the places ``quiet``, found without noise by a straight line between two pixels, from where the
    profile itself crosses the level: where it is curved (a threshold under a bloom), chords cut it short."""
    rising = np.flatnonzero((grey[:-1] < level) & (grey[1:] >= level))
    if not rising.size:
        return 0.0
    k = int(rising[np.argmin(np.abs(distance[rising]))])
    climb = float(grey[k + 1] - grey[k])
    return float(quiet.mean()) - float(distance[k] + (distance[k + 1] - distance[k]) * (level - grey[k]) / climb)


def _pull(
    profile: EdgeProfile, noise: NoiseModel, shape: Shape, criterion: int, sign: int, seed: int, count: int, n: int
) -> tuple[tuple[float, float, float], ...]:
    """How far the mean place of the found edge follows its window; see `EdgeNoise.pull`.

    In noise of the order of the step some rows have their best crossing elsewhere in the window. Those do not follow
    the line, so its roughness comes out too small. Noise is alike everywhere: an edge that moves by d in its window
    is, in distribution, a window that moves by -d about its edge, seen from there. Windows shifted over the *same*
    noisy rows differ only where the choice between crossings does (common random numbers).
    """
    reach = 0.5 * (n - 1)
    wide = n + 2 * max(_SHIFTS)
    middle = wide // 2
    phase, white = _draws(seed, criterion, count, wide)
    distance = sign * (np.arange(wide)[None, :] - middle - phase[:, None])
    clean = _clean(distance, profile.distance, profile.grey)
    part = _coloured(white, noise.correlation) * np.sqrt(noise.variance(clean))
    rows = np.concatenate([clean + part, clean - part])
    steps = np.array([*(-w for w in _SHIFTS), *_SHIFTS], dtype=np.float64)
    one = np.ones(steps.size)
    window = Windows(middle + steps, one * reach, one * reach, np.full(steps.size, sign, dtype=np.int64), 0.0, 0.0)

    def each(values: np.ndarray) -> np.ndarray:
        return np.full(steps.size, float(values[0]))

    same = replace(
        shape, level=each(shape.level), low=each(shape.low), high=each(shape.high), steepness=each(shape.steepness),
        radius=each(shape.radius),
    )  # fmt: skip
    places = locate(rows, criterion, window, same, noise)[0]
    out = []
    for k, w in enumerate(_SHIFTS):
        after, before = places[len(_SHIFTS) + k], places[k]
        if min(np.count_nonzero(np.isfinite(v)) for v in (after, before)) < 64:
            return ()
        # Lost in one window only: each mean is over what that window finds, as in the image.
        after = np.where(np.isfinite(after), after, np.nanmean(after))
        before = np.where(np.isfinite(before), before, np.nanmean(before))
        change = 0.5 * (after - before)
        out.append((float(w), float(change.mean()), float(change.std(ddof=1)) / math.sqrt(change.size)))
    return tuple(out)


def _control(
    noise: NoiseModel, distance: np.ndarray, coloured: np.ndarray, shape: Shape, profile: EdgeProfile, criterion: int,
    sign: int, flat: bool = True, smoothing: Smoothing | None = None,
) -> np.ndarray:  # fmt: skip
    """Shifts of a symmetric edge by the same draws, ``flat`` with one variance for all grey levels, mean of each pair.

    Flat ones have expectation zero by symmetry (mirror and negative give the same ensemble), so taking them off
    leaves the mean of the other shifts without most of their scatter: common random numbers as a control variate
    (Hammersley and Handscomb, Monte Carlo Methods, 1964, ch. 5). Nothing is left for a symmetric edge with equal
    noise on both sides.
    """
    low, high = float(shape.low[0]), float(shape.high[0])
    level = 0.5 * (low + high)
    if smoothing is None:  # pixels one apart: one exponential for each row and one for each column
        middle = distance.shape[1] // 2
        fall = np.multiply.outer(
            np.exp(-distance[:, middle] / profile.width),
            np.exp(np.clip(sign * (middle - np.arange(distance.shape[1])) / profile.width, -600.0, 600.0)),
        )
    else:
        fall = np.exp(np.clip(-distance / profile.width, -60.0, 60.0))
    grey = low + (high - low) / (1.0 + fall)
    used = replace(noise, offset=float(noise.variance(level)), gain=0.0) if flat else noise
    table = shape.table
    if table is not None:
        middle = np.arange(table.shape[2]) / TABLE - shape.half
        f = 1.0 / (1.0 + np.exp(np.clip(-middle / profile.width, -60.0, 60.0)))
        one = np.stack([f, f * (1.0 - f) / profile.width, np.ones_like(f)])
        table = np.stack([one, one])
    width = None if shape.width is None else np.full(2, profile.width)
    symmetric = replace(shape, level=np.full(1, level), table=table, width=width)
    quiet, noisy = _quiet_and_noisy(grey, coloured, used, criterion, sign, symmetric, smoothing)
    return np.asarray(sign * (noisy.mean(axis=0) - quiet))
