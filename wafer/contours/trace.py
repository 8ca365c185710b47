"""Contours of arbitrary shapes: each vertex found along its own normal in the unsmoothed image.

A vertex averages ``parallel`` strips side by side over its stretch of the contour. The criterion acts on mean profiles
over many vertices, so that noise of single ones does not decide where the edge is; a vertex follows from the shift of
its profile against the pooled one (Gauss-Newton, offset free, repeated until it stands still). What is estimated at the
end is linear in the pixels, so its noise follows from theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wafer.contours.grey import GreyNoise
from wafer.contours.seeds import DEPTH, Seeds, deeper
from wafer.contours.strips import STEP, Window

Criterion = Literal["threshold", "model"]
Feet = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x, y, ux, uy
REACH = 10.0  # px, most that a strip reaches to either side
_LEAST_REACH = 3.0
_PLATEAU = (1.5, 2.5)  # widths of the edge from the contour between which its plateaus lie ...
_LOOK = 4.2  # widths of a wide edge within which the middle of feature and gap is looked for, as for usual ones
_INNERMOST = 0.8  # ... where the depth of feature or gap leaves room; else from this share of the depth on: of the two
# the width is known worse (rough contours widen the mean profile), so it limits wide features alone
_DEEP = 0.9  # of the usual depth that a vertex needs to count for the mean profile
_WIDE, _WIDER = 8.0, 2.0  # px: a wider edge hardly fits into the strips; so many widths to either side hold it
_PASSES = 12
_STILL = 0.01  # px
_MOST = 1.5  # px a pass may move a vertex
_LOST = 6.0  # px from where the level line was
_FEW = 30  # vertices that a mean profile of one contour needs
_SOFT = 6.0  # px along the contour over which places are averaged before profiles are


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean edge: ``grey`` over ``distance`` (pixels along the outward normal), 0 where it crosses the level; ``slope``
    its derivative; ``low``, ``high`` plateaus inside and outside; ``width`` from 10 % to 90 % of the step in pixels."""

    distance: np.ndarray
    grey: np.ndarray
    slope: np.ndarray
    low: float
    high: float
    width: float


@dataclass(frozen=True, eq=False)
class Trace:
    """Found contours. ``edge`` (n,) pixels along the normals of the seeds (NaN: lost), ``u`` (n,) its standard
    uncertainty by noise; ``state`` (n,) 0 ok, 1 lost, 2 border. ``ray`` (n, m) weight of the samples of a vertex's mean
    strip; ``group`` (n,) number of the mean profile that sets the zero of a vertex, ``zero`` (n, m) its weights for the
    vertices ``pooled`` (n,), whose samples begin at ``zero_first`` px (those of ``ray`` at ``first``)."""

    seeds: Seeds
    parallel: int
    edge: np.ndarray
    u: np.ndarray
    state: np.ndarray
    profile: Profile
    moved: np.ndarray
    soft: np.ndarray
    ray: np.ndarray
    group: np.ndarray
    zero: np.ndarray
    pooled: np.ndarray
    first: float
    zero_first: float
    spacing: float

    @property
    def x(self) -> np.ndarray:
        """(n,) pixels."""
        return self.seeds.x + self.edge * self.seeds.ux

    @property
    def y(self) -> np.ndarray:
        """(n,) pixels."""
        return self.seeds.y + self.edge * self.seeds.uy


def trace(
    image: np.ndarray, seeds: Seeds, noise: GreyNoise, *, spacing: float, criterion: Criterion, level: float
) -> Trace:
    """Find the edge at each seed in ``image`` (float64, C order); ``spacing`` px of contour belong to a vertex."""
    n = seeds.x.size
    parallel = max(1, round(spacing))
    reach_in = np.clip(seeds.inside, _LEAST_REACH, REACH)
    reach_out = np.clip(seeds.outside, _LEAST_REACH, REACH)
    window = Window(REACH, REACH)
    distance = window.distances()
    use = (distance >= -reach_in[:, None]) & (distance <= reach_out[:, None])
    moved = np.zeros(n)
    grey = _mean_strips(image, seeds, moved, parallel, spacing, window)
    alive = _whole(grey, use)
    border = ~alive
    profile = _profile(distance, grey, use, alive, level)
    for turn in range(_PASSES):
        grey = _mean_strips(image, seeds, moved, parallel, spacing, window)
        alive = alive & _whole(grey, use)
        shift, _ = _shifts(grey, use, profile)
        step = np.clip(np.where(alive, shift, 0.0), -_MOST, _MOST)
        if turn in (1, 3):  # the profile again, about places that the noise of single vertices does not move
            moved = moved + step
            soft = _along(moved, seeds, alive)
            profile = _profile(distance, _mean_strips(image, seeds, soft, parallel, spacing, window), use, alive, level)
            continue
        moved = moved + (step if turn < _PASSES // 2 else 0.5 * step)
        if turn > 4 and float(np.abs(step[alive]).max(initial=0.0)) < _STILL:
            break
    grey = _mean_strips(image, seeds, moved, parallel, spacing, window)
    shift, ray = _shifts(grey, use, profile)
    good = alive & (np.abs(moved) < _LOST) & (np.abs(shift) < 0.5)
    state = np.where(border, 2, np.where(good, 0, 1)).astype(np.int64)
    edge = np.where(good, moved + shift, np.nan)
    soft = _along(np.where(good, edge, moved), seeds, good)
    width = slope_width(profile.distance, profile.slope)
    if width > _WIDE:  # an oversampled image: the window may end on the edge
        far = Window(_WIDER * width, _WIDER * width)
        strips = _mean_strips(image, seeds, soft, parallel, spacing, far)
        within = (far.distances() >= -seeds.inside[:, None] - 0.5) & (far.distances() <= seeds.outside[:, None] + 0.5)
        seen = good & _whole(strips, within)
        if seen.sum() >= _FEW:
            wider = _profile(far.distances(), strips, within, seen, level)
            width = max(width, slope_width(wider.distance, wider.slope))
    if _PLATEAU[1] * width > DEPTH - 1.0:
        seeds = deeper(seeds, _LOOK * width)
    farthest = max(_room(seeds.inside[good], width)[1], _room(seeds.outside[good], width)[1]) if good.any() else REACH
    wide = Window(farthest, farthest)
    soft_grey = _mean_strips(image, seeds, soft, parallel, spacing, wide)
    group, zero, pooled, edge = _zeros(wide.distances(), soft_grey, width, good, seeds, criterion, level, edge, soft)
    u = _vertex_u(image, seeds, moved, parallel, spacing, distance, ray, noise)
    return Trace(
        seeds, parallel, edge, np.where(good, u, np.nan), state, profile, moved, soft, ray, group, zero, pooled,
        float(distance[0]), float(wide.distances()[0]), spacing,
    )  # fmt: skip


def side_by_side(seeds: Seeds, moved: np.ndarray, parallel: int, spacing: float) -> Feet:
    """Feet and normals of the strips of all vertices, ``parallel`` each, one vertex after another."""
    offset = ((np.arange(parallel) + 0.5) / parallel - 0.5) * spacing
    # feet follow the bend of the contour: along its tangent, a mean over s px would make a circle of radius r too small
    # by s^2 / (24 r)
    across = moved[:, None] - 0.5 * seeds.bend[:, None] * offset * offset
    x = seeds.x[:, None] + across * seeds.ux[:, None] - offset * seeds.uy[:, None]
    y = seeds.y[:, None] + across * seeds.uy[:, None] + offset * seeds.ux[:, None]
    return x.ravel(), y.ravel(), np.repeat(seeds.ux, parallel), np.repeat(seeds.uy, parallel)


def _whole(grey: np.ndarray, use: np.ndarray) -> np.ndarray:
    """(n,) strips whose used samples all lie in the image."""
    return np.asarray(np.isfinite(np.where(use, grey, 0.0)).all(axis=1))


def _mean_strips(
    image: np.ndarray, seeds: Seeds, moved: np.ndarray, parallel: int, spacing: float, window: Window
) -> np.ndarray:
    from wafer.contours.strips import strips_along

    strips = strips_along(image, *side_by_side(seeds, moved, parallel, spacing), window)
    mean: np.ndarray = strips.grey.reshape(seeds.x.size, parallel, -1).mean(axis=1)
    return mean


def _profile(distance: np.ndarray, grey: np.ndarray, use: np.ndarray, alive: np.ndarray, level: float) -> Profile:
    """Pool strips, each freed from its own offset against the rest: those with a long reach make the ends."""
    chosen = np.where(use & alive[:, None], grey, np.nan)
    count = np.isfinite(chosen).sum(axis=0)
    middle = np.abs(distance) <= _LEAST_REACH
    base = np.nanmean(np.where(alive, grey[:, middle].mean(axis=1), np.nan))
    own = np.where(alive, np.nan_to_num(grey[:, middle].mean(axis=1)), 0.0)
    summed = np.nansum(np.where(np.isfinite(chosen), chosen - own[:, None], 0.0), axis=0)
    mean = base + summed / np.maximum(count, 1)
    enough = count >= max(8, 0.05 * alive.sum())
    inner = np.flatnonzero(enough)
    mean[: inner[0]], mean[inner[-1] + 1 :] = mean[inner[0]], mean[inner[-1]]
    low, high = _plateaus(distance, mean)
    at = _crossing(distance, mean, low + level * (high - low))
    steps = [_crossing(distance, mean, low + q * (high - low)) for q in (0.1, 0.9)]
    slope = np.gradient(np.convolve(np.pad(mean, 1, mode="edge"), (0.25, 0.5, 0.25), "valid"), distance)
    return Profile(
        distance,
        np.interp(distance + at, distance, mean),
        np.interp(distance + at, distance, slope),
        low,
        high,
        abs(steps[1] - steps[0]),
    )


def _plateaus(distance: np.ndarray, mean: np.ndarray) -> tuple[float, float]:
    far = 0.6 * REACH
    return float(mean[distance <= -far].mean()), float(mean[distance >= far].mean())


def _crossing(distance: np.ndarray, mean: np.ndarray, level: float) -> float:
    """Where a profile passes a level, nearest to 0; 0 where it does not."""
    above = mean >= level
    change = np.flatnonzero(above[1:] != above[:-1])
    if not change.size:
        return 0.0
    t = (level - mean[change]) / (mean[change + 1] - mean[change])
    where = distance[change] + t * (distance[1] - distance[0])
    return float(where[np.argmin(np.abs(where))])


def _shifts(grey: np.ndarray, use: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Shift of each strip against the profile with a free offset, and its weights on the samples."""
    count = use.sum(axis=1)
    s = np.where(use, profile.slope, 0.0)
    s = np.where(use, s - (s.sum(axis=1) / count)[:, None], 0.0)
    ray = -s / np.sum(s * s, axis=1)[:, None]
    filled = np.where(use, np.nan_to_num(grey), 0.0)
    shift: np.ndarray = np.sum(ray * (filled - np.where(use, profile.grey, 0.0)), axis=1)
    return shift, ray


def _along(values: np.ndarray, seeds: Seeds, alive: np.ndarray) -> np.ndarray:
    """Values averaged along each contour over `_SOFT` pixels."""
    from scipy.ndimage import gaussian_filter1d

    out = np.empty_like(values)
    for c, closed in enumerate(seeds.closed):
        part = slice(int(seeds.first[c]), int(seeds.first[c + 1]))
        mode = "wrap" if closed else "nearest"
        width = _SOFT / seeds.spacing[c]
        weight = gaussian_filter1d(alive[part].astype(np.float64), width, mode=mode)
        total = gaussian_filter1d(np.where(alive[part], values[part], 0.0), width, mode=mode)
        out[part] = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), 0.0)
    return out


def slope_width(distance: np.ndarray, slope: np.ndarray) -> float:
    """Width of the edge in pixels, 10 % to 90 %, from the half-maximum width of its slope (a Gaussian's): local, so
    that it does not hang on where the plateaus are taken."""
    steep = np.abs(slope)
    middle = np.abs(distance) <= _LEAST_REACH
    top = int(np.flatnonzero(middle)[np.argmax(steep[middle])])
    sides = []
    for values in (steep[top::-1], steep[top:]):
        under = np.flatnonzero(values < 0.5 * steep[top])
        if not under.size:
            sides.append(float(values.size - 1))
            continue
        k = int(under[0])
        sides.append(k - (0.5 * steep[top] - values[k]) / (values[k - 1] - values[k]))
    return STEP * float(sum(sides)) * 2.563103 / 2.354820  # quantiles 0.1 to 0.9, full width at half maximum


def _room(depth: np.ndarray, width: float) -> tuple[float, float]:
    """From where to where the plateau lies on one side, in pixels from the contour.

    Both ends are lengths of the pattern, the width of the edge and the mean depth of features (or gaps): the same
    pattern seen with other pixels has the same plateaus, and its threshold lies at the same place.
    """
    usual = float(depth.mean()) + 0.5  # whole steps were counted
    end = min(usual, max(_PLATEAU[1] * width, _LEAST_REACH))
    return min(_PLATEAU[0] * width, _INNERMOST * end), end


def _share(distance: np.ndarray, start: float, end: float) -> np.ndarray:
    """Weights, sum 1, of samples at ``distance`` for the mean from ``start`` to ``end``: each stands for its step."""
    overlap = np.minimum(distance + 0.5 * STEP, end) - np.maximum(distance - 0.5 * STEP, start)
    weights: np.ndarray = np.maximum(overlap, 0.0)
    return weights / weights.sum()


def _zeros(
    distance: np.ndarray, grey: np.ndarray, width: float, good: np.ndarray, seeds: Seeds, criterion: Criterion,
    level: float, edge: np.ndarray, soft: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The zero of the edges by the criterion on mean profiles: of all contours together, or of each long enough."""

    def deep(chosen: np.ndarray) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
        inner, outer = _room(seeds.inside[chosen], width), _room(seeds.outside[chosen], width)
        far = (seeds.inside + 0.5 >= _DEEP * inner[1]) & (seeds.outside + 0.5 >= _DEEP * outer[1])
        return chosen[far[chosen]], inner, outer

    n = edge.size
    group = np.zeros(n, np.int64)
    everywhere = np.flatnonzero(good)
    groups = []
    if everywhere.size:
        first = deep(everywhere)
        groups.append(first if first[0].size >= _FEW else (everywhere, *first[1:]))
    if criterion == "threshold":
        for c in range(len(seeds.closed)):
            mine = np.flatnonzero(good & (seeds.contour == c))
            if mine.size >= _FEW and (own := deep(mine))[0].size >= _FEW:
                group[seeds.contour == c] = len(groups)
                groups.append(own)
    zero = np.zeros((n, distance.size))
    pooled = np.zeros(n, bool)
    edge = edge.copy()
    for g, (mine, inner, outer) in enumerate(groups):
        # nobody looks far past the middle of a feature or gap of its own
        use = (distance >= -np.maximum(seeds.inside[mine] + 0.5, _LEAST_REACH)[:, None] / _DEEP - STEP) & (
            distance <= np.maximum(seeds.outside[mine] + 0.5, _LEAST_REACH)[:, None] / _DEEP + STEP
        )
        use &= np.isfinite(grey[mine])
        mean = np.where(use, grey[mine], 0.0).sum(axis=0) / np.maximum(use.sum(axis=0), 1)
        seen = np.flatnonzero(use.sum(axis=0) > 0.05 * mine.size)
        mean[: seen[0]], mean[seen[-1] + 1 :] = mean[seen[0]], mean[seen[-1]]
        low_ends, high_ends = _share(-distance, *inner), _share(distance, *outer)
        low, high = float(low_ends @ mean), float(high_ends @ mean)
        at = _crossing(distance, mean, low + level * (high - low))
        k = min(max(int(math.floor((at - distance[0]) / STEP)), 0), distance.size - 2)
        t = (at - distance[k]) / STEP
        steep = (mean[k + 1] - mean[k]) / STEP
        if not abs(steep) > 0.0:
            continue
        weights = ((1.0 - level) * low_ends + level * high_ends) / steep
        weights[k] -= (1.0 - t) / steep
        weights[k + 1] -= t / steep
        edge[group == g] += at - float(np.mean(edge[mine] - soft[mine]))
        own_zero = mine[group[mine] == g]
        zero[own_zero], pooled[own_zero] = weights, True
    return group, zero, pooled, edge


def _vertex_u(
    image: np.ndarray, seeds: Seeds, moved: np.ndarray, parallel: int, spacing: float, distance: np.ndarray,
    ray: np.ndarray, noise: GreyNoise,
) -> np.ndarray:  # fmt: skip
    from metrology_core.blocks import run_blocks
    from wafer.contours.strips import smoothed_grey
    from wafer.kernels.polygons import strip_variances

    x, y, ux, uy = side_by_side(seeds, moved, parallel, spacing)
    along = np.repeat(ray / parallel, parallel, axis=0)
    variance = noise.variance(smoothed_grey(image))
    out = np.empty(seeds.x.size)

    def work(start: int, stop: int) -> None:
        strip_variances(
            x, y, ux, uy, float(distance[0]), STEP, along, parallel, variance, np.array(noise.lags),
            start * 64, min(stop * 64, out.size), out,
        )  # fmt: skip

    run_blocks(work, -(-out.size // 64))
    result: np.ndarray = np.sqrt(np.maximum(out, 0.0))
    return result
