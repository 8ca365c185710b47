"""Sub-pixel edges of vertical lines and spaces, row by row, without smoothing of the image.

The reported place of an edge in a row depends on the pixels of that row alone, so the errors of different rows are as
independent as the noise of the image: the roughness spectrum keeps its white floor. Averages over rows serve the
seeds, the tilt and the grey levels only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from metrology_core.errors import DataError, ParameterError
from wafer import linescan
from wafer.kernels import edges as _k
from wafer.kernels.linescan import edge_spread, stripe_means
from wafer.noise import EdgeNoise, EdgeProfile, NoiseModel, edge_profile, grey_step, photon_transfer, resample_edge

Criterion = Literal["threshold", "max_gradient", "sigmoid"]
CRITERIA: tuple[str, ...] = get_args(Criterion)
STATES = ("ok", "lost", "spike", "merged", "broken", "saturated")
SPIKE_LIMIT = 6.0  # robust standard deviations from the straight line of the edge
_FINE = 4.0  # bins of the edge spread function per pixel


@dataclass(frozen=True, eq=False)
class EdgeSet:
    """Edges of one image in pixels.

    ``x`` and ``u`` are (n_edges, n_rows): place and its standard deviation from the noise of the image, NaN where
    the edge was not found; ``state`` holds the codes of `STATES` (spikes keep their place). ``rows`` are the rows of
    the image, ``polarity`` is +1 from dark to bright. ``slope`` is dx/dy of the lines, ``seed`` the edge of the
    averaged linescan at row ``middle``; ``level``, ``low``, ``high`` the grey levels each edge was measured with.
    ``profiles``, ``noise_sd`` (the estimator resampled) and ``level_u`` (standard uncertainty of the place of all edges
    through the grey levels of the plateaus, 0 for criteria that use none) are by polarity, +1 and -1.
    """

    x: np.ndarray
    u: np.ndarray
    state: np.ndarray
    rows: np.ndarray
    polarity: np.ndarray
    seed: np.ndarray
    slope: float
    middle: float
    level: np.ndarray
    low: np.ndarray
    high: np.ndarray
    criterion: str
    criterion_text: str
    noise: NoiseModel
    profiles: dict[int, EdgeProfile]
    noise_sd: dict[int, EdgeNoise]
    level_u: dict[int, float]
    linescan: np.ndarray
    straightness: float
    dropped_at_border: int
    flags: tuple[str, ...] = ()
    details: dict[str, float] = field(default_factory=dict)

    @property
    def contrast_to_noise(self) -> float:
        """Step between space and line over the noise of the darker side and brighter side (root mean square)."""
        sigma = math.sqrt(0.5 * (self.noise.sigma_dark**2 + self.noise.sigma_bright**2))
        return float(np.median(self.high - self.low)) / sigma if sigma > 0 else math.inf


def find_edges(
    pixels: np.ndarray,
    *,
    criterion: Criterion = "threshold",
    level: float = 0.5,
    rows: tuple[int, int] | None = None,
    saturation_level: float | None = None,
    seed: int = 0,
) -> EdgeSet:
    """Find the edges of vertical lines and spaces in ``pixels`` (ny, nx), any real type.

    ``criterion``: ``threshold`` (crossing of ``level`` between the minimum and maximum of the mean edge profile, which
    follow the averaged linescan beside each edge), ``max_gradient``, ``sigmoid`` (logistic of the width of the mean
    edge profile, fitted to each row). ``rows`` limits the rows, end exclusive. ``seed`` drives only the resampling of
    the noise.

    Flags: ``lost_edges``, ``merged_lines``, ``broken_lines``, ``edge_spikes``, ``saturated``, ``tilted``,
    ``low_contrast``. Raises `DataError` for images without lines (blank, contacts), with lines along the rows, or
    rotated too far, and `ParameterError` for wrong arguments.

    Bias: all three are unbiased for a point-symmetric edge at ``level`` 0.5. Linear interpolation between pixels adds
    at most 0.016/s^2 px for an edge of blur s px, of either sign over the sub-pixel phase, hence nothing on average.
    Noise scatters and, where it is stronger on one side, shifts edges by what `EdgeSet.noise_sd` reports. Asymmetric
    edges (bloom) shift every criterion: the offset of the criterion is a matter of calibration.
    """
    area, first_row = _area(pixels, criterion, level, rows)
    slope, straightness = _orientation(area)
    scan = linescan.sheared_mean(area, slope)
    seeds = linescan.find_seeds(scan)
    ny, nx = area.shape
    middle = 0.5 * (ny - 1)
    keep, reach_left, reach_right = _windows(seeds, slope, ny, nx)
    n_edges = int(np.count_nonzero(keep))
    if n_edges < 2:
        raise DataError(
            "no complete line was found in the image",
            expected="at least two edges of vertical lines inside the image",
            got=f"{n_edges} usable edges ({seeds.x.size} in the averaged linescan)",
            remedy="check the image area and the magnification",
        )
    x0, polarity = seeds.x[keep], seeds.polarity[keep]
    low, high = seeds.low[keep].copy(), seeds.high[keep].copy()
    levels = low + level * (high - low)
    centres, half, bright = _stripes(x0, polarity, reach_left[keep], reach_right[keep])
    noise = photon_transfer(area, slope, centres[~bright], centres[bright], grey_step(area))

    code = CRITERIA.index(criterion)
    out_x = np.empty((n_edges, ny))
    out_u = np.empty((n_edges, ny))
    state = np.empty((n_edges, ny), dtype=np.uint8)
    steepness = (high - low) / seeds.rise[keep]
    width = np.maximum(seeds.rise[keep] / 4.0, 0.3)
    radius = np.maximum(seeds.rise[keep], 2.0)
    left, right = reach_left[keep], reach_right[keep]
    if code == _k.SIGMOID:
        # What the logistic does not follow in the tails pulls the centre when the window is longer on one side.
        left = right = np.minimum(left, right)

    def locate(how: int, at: np.ndarray) -> None:
        _k.locate_edges(
            area, 0, ny, 0, slope, middle, x0, left, right, polarity, at, low, high, steepness, width, radius,
            noise.as_array(), how, out_x, out_u, state,
        )  # fmt: skip

    # First pass: threshold edges, for the edge spread functions whose levels, slope and width the second needs.
    locate(_k.THRESHOLD, levels)
    spread = _spread_functions(area, out_x, polarity, left, right)
    if not spread:
        raise DataError(
            "the edges could not be followed along the lines",
            expected="edges in most rows",
            got=f"{np.isfinite(out_x).mean():.0%} of them found",
            remedy="look at the image; raise the dose",
        )
    profiles: dict[int, EdgeProfile] = {}
    level_u: dict[int, float] = {}
    for sign, (distance, grey, halves) in spread.items():
        mine = polarity == sign
        # Roughness smears the averaged linescan and lowers its extremes; the aligned profile has the true ones. What
        # differs from edge to edge (illumination, charging) stays.
        (dark, dark_u), (brightest, bright_u) = plateaus(halves, noise)
        low[mine] += dark - float(np.mean(low[mine]))
        high[mine] += brightest - float(np.mean(high[mine]))
        levels[mine] = low[mine] + level * (high[mine] - low[mine])
        profile = edge_profile(distance, grey, float(np.median(levels[mine])), noise)
        profiles[sign] = profile
        # Both edges of a stripe move by it together: no number of rows averages it out.
        here = math.hypot((1.0 - level) * dark_u, level * bright_u) / profile.slope
        level_u[sign] = here if code == _k.THRESHOLD else 0.0
        steepness[mine] = profile.slope if code != _k.MAX_GRADIENT else profile.curvature
        width[mine] = profile.width
        radius[mine] = max(2.0, 2.0 * profile.width)
    # The sigmoid and the gradient start from the middle of the step, wherever the threshold is set.
    locate(code, levels if code == _k.THRESHOLD else 0.5 * (low + high))
    noise_sd = {
        sign: resample_edge(
            profile,
            noise,
            level=float(np.median((levels if code == _k.THRESHOLD else 0.5 * (low + high))[polarity == sign])),
            low=float(np.median(low[polarity == sign])),
            high=float(np.median(high[polarity == sign])),
            width=profile.width,
            radius=max(2.0, 2.0 * profile.width),
            criterion=code,
            seed=seed,
        )
        for sign, profile in profiles.items()
    }
    flags = _mark_defects(area, slope, middle, centres, half, bright, low, high, noise, out_x, out_u, state)
    if np.any(state == _k.LOST):
        flags.append("lost_edges")
    if abs(slope) > 1.0 / ny:
        flags.append("tilted")
    saturated = _saturated(pixels, area, saturation_level)
    if saturated > 0.002:
        flags.append("saturated")
    found = EdgeSet(
        x=out_x, u=out_u, state=state, rows=np.arange(first_row, first_row + ny), polarity=polarity, seed=x0,
        slope=slope, middle=first_row + middle, level=levels, low=low, high=high, criterion=criterion,
        criterion_text=_criterion_text(criterion, level, profiles), noise=noise, profiles=profiles,
        noise_sd=noise_sd, level_u=level_u, linescan=scan, straightness=straightness,
        dropped_at_border=int(seeds.x.size - n_edges), flags=tuple(sorted(set(flags))),
        details={"saturated_share": saturated},
    )  # fmt: skip
    if found.contrast_to_noise < 1.5:
        return replace(found, flags=tuple(sorted({*found.flags, "low_contrast"})))
    return found


def _area(pixels: np.ndarray, criterion: str, level: float, rows: tuple[int, int] | None) -> tuple[np.ndarray, int]:
    array = np.asarray(pixels)
    if array.ndim != 2 or array.dtype.kind not in "uif":
        raise ParameterError(
            "edges are found in a grey image", expected="a real (ny, nx) array", got=f"{array.dtype} {array.shape}"
        )
    if criterion not in CRITERIA:
        raise ParameterError(
            f"unknown edge criterion {criterion!r}", expected=" | ".join(CRITERIA), got=repr(criterion)
        )
    if not 0.05 <= level <= 0.95:
        raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{level:.4g}")
    first, end = (0, array.shape[0]) if rows is None else (int(rows[0]), int(rows[1]))
    if not 0 <= first < end <= array.shape[0]:
        raise ParameterError(
            "the rows do not lie in the image",
            expected=f"0 <= first < end <= {array.shape[0]}",
            got=f"[{first}, {end})",
            remedy="correct rows in the recipe",
        )
    if end - first < 16 or array.shape[1] < 16:
        raise DataError(
            "the image is too small for line edges",
            expected="at least 16 rows and 16 columns",
            got=f"{end - first} rows, {array.shape[1]} columns",
            remedy="choose a larger image area",
        )
    area = np.ascontiguousarray(array[first:end], dtype=np.float64)
    if not np.isfinite(area).all():
        raise DataError(
            "the image holds NaN or infinite grey values",
            expected="finite grey values",
            got=f"{int(np.count_nonzero(~np.isfinite(area)))} others",
            remedy="export the image again",
        )
    return area, first


def _orientation(area: np.ndarray) -> tuple[float, float]:
    """Slope and straightness of the lines; raises `DataError` where there are none along the columns."""
    seen = linescan.structure(area)
    # 8 standard deviations of a block mean: the range of pure noise over 2000 samples stays below it.
    needed = max(8.0 * seen.block_noise, 1e-9 * (1.0 + abs(float(area.mean()))))
    if max(seen.vertical, seen.horizontal) <= needed:
        if seen.spread > 3.0 * seen.pixel_noise and seen.spread > 1e-9:
            raise DataError(
                "the image has structure but no straight lines along its columns or rows",
                expected="lines within about 6 degrees of the columns",
                got=f"spread of {seen.spread:.3g} grey levels at a pixel noise of {seen.pixel_noise:.3g}",
                remedy="rotate the scan at the microscope, or choose an image area with lines only",
            )
        raise DataError(
            "the image is blank",
            expected="a step between lines and spaces above the noise",
            got=f"stripes of {seen.vertical:.3g} grey levels at a pixel noise of {seen.pixel_noise:.3g}",
            remedy="check focus, position and dose; take the image again",
        )
    if seen.across > 0.45 and seen.across * max(seen.vertical, seen.horizontal) > needed:
        raise DataError(
            "the image has structure in both directions",
            expected="lines and spaces along the columns",
            got=f"contrast across the stripes is {seen.across:.0%} of that of the stripes",
            remedy="this looks like contacts or text: choose an image area with lines only",
        )
    if seen.horizontal > 1.5 * seen.vertical:
        raise DataError(
            "the lines run along the rows of the image",
            expected="lines along the columns",
            got=f"stripes of {seen.horizontal:.3g} grey levels along the rows, {seen.vertical:.3g} along the columns",
            remedy="set orientation: horizontal, or rotate the scan",
        )
    slope, straightness = linescan.tilt(area)
    if abs(slope) > linescan.MAX_SLOPE:
        raise DataError(
            "the lines are tilted too far to be followed",
            expected=f"a slope within +-{linescan.MAX_SLOPE:g} px per row",
            got=f"{slope:.3g}",
            remedy="rotate the scan at the microscope",
        )
    return slope, straightness


def _windows(seeds: linescan.Seeds, slope: float, ny: int, nx: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which seeds stay inside the image over all rows, and how far each edge is looked for to the left and right."""
    x = seeds.x
    if x.size == 0:
        none = np.empty(0)
        return np.empty(0, dtype=bool), none, none
    run = 0.5 * abs(slope) * (ny - 1)
    gaps = np.diff(x)
    cap = 20.0 + 2.0 * seeds.rise
    before = np.concatenate([[x[0] - run], 0.5 * gaps])
    after = np.concatenate([0.5 * gaps, [nx - 1 - x[-1] - run]])
    # An outer half stripe counts when about its middle is in the image: only then is its grey level known. The stripes
    # of its kind are every other gap, counted from that border.
    margin = np.maximum(3.0, 1.5 * seeds.rise)
    for i, room, alike in ((0, before, gaps[1::2]), (x.size - 1, after, gaps[::-1][1::2])):
        full = 3.0 * float(seeds.rise[i])
        margin[i] = max(3.0, min(0.4 * float(np.median(alike)), full) if alike.size else full)
        room[i] = min(room[i], cap[i])
    keep = (x - run >= margin) & (x + run <= nx - 1 - margin)
    return keep, np.minimum(before, cap), np.minimum(after, cap)


def _stripes(
    x: np.ndarray, polarity: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, half of the central part, and brightness of all stripes, the outer halves included."""
    bounds = np.concatenate([[x[0] - 2.0 * left[0]], x, [x[-1] + 2.0 * right[-1]]])
    centre = 0.5 * (bounds[:-1] + bounds[1:])
    half = 0.2 * np.diff(bounds)
    bright = np.concatenate([polarity < 0, [polarity[-1] > 0]])
    return centre, half, bright


def _spread_functions(
    area: np.ndarray, x: np.ndarray, polarity: np.ndarray, left: np.ndarray, right: np.ndarray
) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean edge spread function (distance, grey) of rising (+1) and falling (-1) edges, dark side first.

    The third part holds sums and counts of two halves of the rows (2, 2, bins), for `plateaus`.
    """
    half = float(math.ceil(np.median(np.concatenate([left, right])))) + 1.0
    bins = int(2 * half * _FINE)
    result = {}
    for sign in (1, -1):
        mine = np.flatnonzero(polarity == sign)
        if mine.size == 0:
            continue
        halves = np.zeros((2, 2, bins))
        places = np.ascontiguousarray(x[mine])
        ny = area.shape[0]
        # Halves interleaved in blocks of rows: drift and charging along the scan fall on both alike.
        block = max(8, ny // 16)
        for number, start in enumerate(range(0, ny, block)):
            part = halves[number % 2]
            edge_spread(
                area, start, min(start + block, ny), 0, places, left[mine], right[mine], 3, _FINE, half,
                part[0], part[1],
            )  # fmt: skip
        total, count = halves.sum(axis=0)
        good = count >= max(8.0, 0.2 * float(np.median(count[count > 0]))) if np.any(count > 0) else count > 0
        if np.count_nonzero(good) < 4 * _FINE:
            continue
        distance = (np.arange(bins) + 0.5) / _FINE - half
        first, last = np.flatnonzero(good)[[0, -1]]
        distance, halves = distance[first : last + 1], halves[:, :, first : last + 1]
        grey = np.interp(distance, distance[good[first : last + 1]], total[good] / count[good])
        if sign < 0:
            distance, grey, halves = -distance[::-1], grey[::-1], halves[:, :, ::-1]
        result[sign] = (distance, linescan.flatten(linescan.flatten(grey)), halves)
    return result


def plateaus(halves: np.ndarray, noise: NoiseModel) -> tuple[tuple[float, float], tuple[float, float]]:
    """Grey level of the dark and bright extreme of the mean edge profile, each with its standard uncertainty.

    The extreme of a noisy curve lies beyond that of the true one, the further the wider the plateau. So one half of
    the rows says *where* the extreme is (neighbouring bins within four standard errors of it: a plateau as a whole, of
    a bloom peak its top; therein the vertex of a parabola) and the other half, a parabola over the same bins, gives
    the grey there, and the other way round: noise of the place and noise of the grey are independent.
    """
    result = []
    inflation = max((1.0 + noise.correlation) / (1.0 - noise.correlation), 1.0)
    for sign in (-1.0, 1.0):
        parts = []
        for one, other in ((0, 1), (1, 0)):
            total, count = halves[one]
            seen = count > 0.0
            index = np.arange(count.size)
            raw = sign * np.interp(index, index[seen], total[seen] / count[seen])
            curve = linescan.flatten(linescan.flatten(raw))
            top = int(np.argmax(curve))
            typical = float(np.median(count[seen]))
            error = math.sqrt(float(noise.variance(sign * curve[top])) * inflation / typical)
            inside = curve >= curve[top] - 4.0 * error
            first = last = top
            while first > 0 and inside[first - 1]:
                first -= 1
            while last < curve.size - 1 and inside[last + 1]:
                last += 1
            # five bins at least, little more than a pixel: three numbers are fitted
            first, last = max(min(first, top - 2), 0), min(max(last, top + 2), curve.size - 1)
            t = np.linspace(-1.0, 1.0, last - first + 1)
            basis = np.column_stack([np.ones_like(t), t, t * t])
            fits = []
            for half in (one, other):
                s, n = halves[half][:, first : last + 1]
                normal = basis.T @ (n[:, None] * basis)
                if np.count_nonzero(n) >= 4 and np.linalg.cond(normal) < 1e8:
                    fits.append((np.linalg.solve(normal, basis.T @ s), np.linalg.inv(normal)))
            if len(fits) == 2:
                at = basis[int(np.argmax(sign * (basis @ fits[0][0])))]
                there = float(at @ fits[1][0])
                parts.append((there, math.sqrt(float(noise.variance(there)) * inflation * float(at @ fits[1][1] @ at))))
        if not parts:
            total, count = halves.sum(axis=0)
            grey = sign * total[count > 0] / count[count > 0]
            parts = [(sign * float(grey.max()), float(grey.std()))]
        level = sum(p[0] for p in parts) / len(parts)
        result.append((float(level), math.hypot(*(p[1] for p in parts)) / len(parts)))
    return result[0], result[1]


def _mark_defects(
    area: np.ndarray,
    slope: float,
    middle: float,
    centres: np.ndarray,
    half: np.ndarray,
    bright: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    noise: NoiseModel,
    x: np.ndarray,
    u: np.ndarray,
    state: np.ndarray,
) -> list[str]:
    """Mark bridged spaces, broken lines and spikes in ``state``; bridged and broken rows lose their edges."""
    flags: list[str] = []
    n_edges, ny = x.shape
    y = np.arange(ny) - middle
    # The stripes wander with the roughness: follow the middle of their edges, averaged over 31 rows.
    track = centres[:, None] + slope * y
    wander = np.nan_to_num(0.5 * (x[:-1] + x[1:]) - track[1:-1])
    limits = 2.5 * half[1:-1, None]
    track[1:-1] += _running_mean(np.clip(wander, -limits, limits), min(31, ny - 1 + ny % 2))
    means = np.empty((centres.size, ny))
    stripe_means(area, 0, ny, 0, track, half, means)
    limit = 0.5 * float(np.median(low) + np.median(high))
    contrast = float(np.median(high) - np.median(low))
    pixels = np.maximum(1.0, 2.0 * half)
    sigma = max(noise.sigma_dark, noise.sigma_bright)
    for s in range(1, centres.size - 1):
        # As many rows as make half the contrast six standard deviations: noise alone then never looks like a defect.
        rows = int(np.clip(math.ceil((6.0 * sigma / (0.5 * contrast)) ** 2 / pixels[s]), 5, 101)) | 1
        rows = min(rows, ny - 1 + ny % 2)
        mean = _running_mean(np.nan_to_num(means[s], nan=limit)[None, :], rows)[0]
        bad = mean < limit if bright[s] else mean > limit
        if bad.any():
            flags.append("broken_lines" if bright[s] else "merged_lines")
            for e in (s - 1, s):
                x[e, bad] = np.nan
                u[e, bad] = np.nan
                state[e, bad] = _k.BROKEN if bright[s] else _k.MERGED
    spikes = False
    for e in range(n_edges):
        rest = x[e] - slope * y
        good = np.isfinite(rest)
        if not good.any():
            continue
        deviation = np.abs(rest - _median(rest[good]))
        scale = 1.4826 * _median(deviation[good])
        far = good & (deviation > SPIKE_LIMIT * max(scale, 0.05))
        if far.any():
            state[e, far & (state[e] == _k.OK)] = _k.SPIKE
            spikes = True
    if spikes:
        flags.append("edge_spikes")
    return flags


def _median(values: np.ndarray) -> float:
    """Upper median: one partition, a third of the time that numpy.median takes for a thousand values."""
    half = values.size // 2
    return float(np.partition(values, half)[half])


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over ``width`` (odd) neighbours along the last axis; the ends repeat the last full window."""
    total = np.cumsum(np.pad(values, [(0, 0), (1, 0)]), axis=1)
    inner = (total[:, width:] - total[:, :-width]) / width
    return np.pad(inner, [(0, 0), (width // 2, values.shape[1] - inner.shape[1] - width // 2)], mode="edge")


def _saturated(pixels: np.ndarray, area: np.ndarray, level: float | None) -> float:
    """Share of the pixels at either end of the grey scale."""
    kind = np.asarray(pixels).dtype
    if level is None:
        if kind.kind not in "ui":
            return 0.0
        level = float(np.iinfo(kind).max)
    return float(np.count_nonzero((area >= level) | (area <= 0.0))) / area.size


def _criterion_text(criterion: str, level: float, profiles: dict[int, EdgeProfile]) -> str:
    if criterion == "threshold":
        return f"threshold at {100.0 * level:g} % between dark and bright extreme of the averaged edge profile"
    if criterion == "max_gradient":
        return "largest central difference, parabola through three gradients"
    widths = "/".join(f"{p.width:.2f}" for p in profiles.values())
    return (
        f"logistic of fixed width ({widths} px), centre and levels fitted to each row by least squares, "
        "levels tied to the averaged edge profile within 15 % of the step (1 s)"
    )
