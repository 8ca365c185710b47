"""Sub-pixel edges of vertical lines and spaces, row by row, without smoothing of the image.

The reported place of an edge in a row depends on the pixels of that row alone, so the errors of different rows are as
independent as the noise of the image: the roughness spectrum keeps its white floor. Averages over rows serve the
seeds, the tilt, the grey levels and the template only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from metrology_core.errors import DataError, ParameterError
from wafer.edges import linescan
from wafer.edges.checks import image_area, orientation, saturated_share, stripes, windows
from wafer.edges.defects import mark_defects
from wafer.edges.grey import stripe_grey
from wafer.edges.locate import SEARCH_BELOW, Shape, Windows, locate, tables
from wafer.edges.profiles import (
    EdgeProfile,
    Spread,
    edge_profile,
    from_crossing,
    plateaus,
    rough_levels,
    splines_of,
    spread_functions,
)
from wafer.edges.resample import EdgeNoise, resample_edge
from wafer.edges.result import CRITERIA, Criterion, EdgeSet
from wafer.edges.smoothed import gradient_noise, smoothed_edges, smoothed_image, smoothed_noise, smoothed_profile
from wafer.kernels import edges as _k
from wafer.noise import NoiseModel, grey_step, photon_transfer
from wafer.smoothing import Smoothing, named


def find_edges(
    pixels: np.ndarray,
    *,
    criterion: Criterion = "threshold",
    level: float = 0.5,
    rows: tuple[int, int] | None = None,
    saturation_level: float | None = None,
    differential: int = 5,
    smoothing: Smoothing | None = None,
    seed: int = 0,
) -> EdgeSet:
    """Find the edges of vertical lines and spaces in ``pixels`` (ny, nx), any real type.

    ``criterion``:

    * ``threshold``: crossing of ``level`` between the minimum and maximum of the mean edge profile, which follow the
      averaged linescan beside each edge;
    * ``max_gradient``: largest central difference;
    * ``linear_approximation``: straight line through ``differential`` (3, 5, 7) pixels at the steepest place, cut
      with the dark level (it lies at the foot of the edge);
    * ``sigmoid``: logistic of the width of the mean edge profile, fitted to each row;
    * ``model``: the mean edge profile itself, blooms included, as a template shifted to each row by weighted
      Gauss-Newton; its zero is where it crosses ``level``.

    ``smoothing`` filters the image before the edges are found (not for roughness, and not with the criteria that fit a
    shape to single rows); noise, levels, profiles and seeds are those of the unfiltered image, carried through it.
    ``rows`` limits the rows, end exclusive. ``seed`` drives only the resampling of the noise.

    Flags: ``lost_edges``, ``merged_lines``, ``broken_lines``, ``edge_spikes``, ``saturated``, ``tilted``,
    ``low_contrast``, ``filtered_image``. Raises `DataError` for images without lines (blank, contacts), with lines
    along the rows, or rotated too far, and `ParameterError` for wrong arguments.

    Bias: all but ``linear_approximation`` are unbiased for a point-symmetric edge at ``level`` 0.5. Linear
    interpolation between pixels adds at most 0.016/s^2 px for an edge of blur s px, of either sign over the sub-pixel
    phase, hence nothing on average. Noise scatters and, where it is stronger on one side, shifts
    edges by what `EdgeSet.noise_sd` reports.
    Asymmetric edges (bloom) shift every criterion: the offset of the criterion is a matter of calibration.
    """
    area, first_row = image_area(pixels, criterion, level, rows)
    if differential not in (3, 5, 7):
        raise ParameterError("the differential has 3, 5 or 7 pixels", got=repr(differential))
    if smoothing is not None:
        smoothing.refuse_criterion(criterion)
    slope, straightness = orientation(area)
    blocks = linescan.sheared_blocks(area, slope)
    scan = blocks.mean()
    seeds = linescan.find_seeds(scan)
    ny, nx = area.shape
    middle = 0.5 * (ny - 1)
    keep, reach_left, reach_right = windows(seeds, slope, ny, nx)
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
    left, right = reach_left[keep], reach_right[keep]
    all_stripes = stripes(x0, polarity, left, right)
    centres, _, bright = all_stripes
    step = grey_step(np.asarray(pixels)[first_row : first_row + ny])
    noise = photon_transfer(area, slope, centres[~bright], centres[bright], step)

    code = CRITERIA.index(criterion)
    place = Windows(x0, left, right, polarity, slope, middle)
    # First pass: threshold edges, for the edge spread functions whose levels, slope and shape the second needs.
    rough = Shape(levels, low, high, (high - low) / seeds.rise[keep], np.maximum(seeds.rise[keep], 2.0))
    first = locate(area, _k.THRESHOLD, place, rough, noise)
    spread = spread_functions(area, first[0], polarity, left, right)
    if not spread:
        raise DataError(
            "the edges could not be followed along the lines",
            expected="edges in most rows",
            got=f"{np.isfinite(first[0]).mean():.0%} of them found",
            remedy="look at the image; raise the dose",
        )
    profiles, level_u = _profiles(spread, polarity, low, high, level, noise, code, seed)
    before, seen = profiles, noise
    if smoothing is not None:
        profiles, seen = _smoothed(profiles, level_u, polarity, low, high, level, noise, smoothing)
    half_levels = 0.5 * (low + high)
    levels = low + level * (high - low)
    shape = _shape(code, profiles, polarity, low, high, levels, half_levels, noise, differential)
    if code == _k.SIGMOID:
        # What the logistic does not follow in the tails pulls the centre when the window is longer on one side.
        near = np.minimum(left, right)
        place = replace(place, left=near, right=near)
    if smoothing is None:
        x, u, state = locate(area, code, place, shape, noise)
    elif code == _k.THRESHOLD:
        x, u, state = smoothed_edges(area, place, shape, seen, smoothing)
    else:
        x, u, state = locate(smoothed_image(area, smoothing), code, place, shape, seen)
        u *= gradient_noise(noise, smoothing)
    noise_sd: dict[int, EdgeNoise] = {}
    for sign, profile in before.items():
        mine = polarity == sign
        noise_sd[sign] = resample_edge(
            profile, noise, _one(shape, mine), criterion=code, sign=sign, seed=seed, smoothing=smoothing
        )
    flags = mark_defects(area, slope, middle, all_stripes, low, high, noise, x, u, state)
    if np.any(state == _k.LOST):
        flags.append("lost_edges")
    if abs(slope) > 1.0 / ny:
        flags.append("tilted")
    if noise.vertical:
        flags.append("filtered_image")
    saturated = saturated_share(pixels, area, saturation_level)
    if saturated > 0.002:
        flags.append("saturated")
    found = EdgeSet(
        x=x, u=u, state=state, rows=np.arange(first_row, first_row + ny), polarity=polarity, seed=x0,
        slope=slope, middle=first_row + middle, level=levels, low=low, high=high, criterion=criterion,
        criterion_text=_criterion_text(criterion, level, profiles, differential) + named(smoothing), noise=seen,
        profiles=profiles,
        noise_sd=noise_sd, level_u=level_u, linescan=scan, straightness=straightness,
        dropped_at_border=int(seeds.x.size - n_edges),
        grey=stripe_grey(blocks, all_stripes), flags=tuple(sorted(set(flags))),
        details={"saturated_share": saturated, "grey_step": step},
        smoothing="" if smoothing is None else smoothing.text,
        row_repeats=1.0 if smoothing is None else smoothing.noise(noise.correlation)[2],
    )  # fmt: skip
    if found.contrast_to_noise < 1.5:
        return replace(found, flags=tuple(sorted({*found.flags, "low_contrast"})))
    return found


def _profiles(
    spread: Mapping[int, Spread],
    polarity: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    level: float,
    noise: NoiseModel,
    code: int,
    seed: int,
) -> tuple[dict[int, EdgeProfile], dict[int, float]]:
    """Mean edge profiles by polarity, without the smear of their alignment; ``low`` and ``high`` are moved to them."""
    profiles: dict[int, EdgeProfile] = {}
    level_u: dict[int, float] = {}
    for sign, part in spread.items():
        mine = polarity == sign
        levels = rough_levels(part)
        threshold = levels[0] + level * (levels[1] - levels[0])
        smeared = edge_profile(splines_of(part, levels, noise, halves=False)[0], part.distance, threshold, noise, False)
        # The distance of an edge from the mean of its neighbours is the noise of the edge and the error of that mean.
        one = np.ones(1)
        shape = Shape(one * threshold, one * levels[0], one * levels[1], one * smeared.slope, one * 2.0)
        noisy = resample_edge(
            smeared, replace(noise, gain=0.0, offset=float(noise.variance(threshold))), shape,
            criterion=_k.THRESHOLD, sign=sign, seed=seed, count=512, shift=False,
        )  # fmt: skip
        blur = (levels[1] - levels[0]) / (smeared.slope * math.sqrt(2.0 * math.pi))
        smear = float(np.clip(part.misfit - noisy.sd**2, 0.0, 0.4 * blur * blur))
        spline, *halves = splines_of(part, levels, noise, smear)
        # Roughness smears the averaged linescan and lowers its extremes; the aligned profile has the true ones. What
        # differs from edge to edge (illumination, charging) stays.
        (dark, dark_u), (brightest, bright_u) = plateaus(part.distance, halves[0], halves[1])
        low[mine] += dark - float(np.mean(low[mine]))
        high[mine] += brightest - float(np.mean(high[mine]))
        middle = float(np.median(low[mine] + level * (high[mine] - low[mine])))
        profile = edge_profile(spline, part.distance, middle, noise)
        each = tuple(from_crossing(half, part.distance, middle) for half in halves)
        profiles[sign] = replace(profile, halves=each)
        # Both edges of a stripe move by it together: no number of rows averages it out.
        here = math.hypot((1.0 - level) * dark_u, level * bright_u) / profile.slope
        level_u[sign] = here if code in (_k.THRESHOLD, _k.LINEAR, _k.MODEL) else 0.0
        if code == _k.LINEAR:
            level_u[sign] = dark_u / profile.slope
    return profiles, level_u


def _smoothed(
    profiles: Mapping[int, EdgeProfile], level_u: dict[int, float], polarity: np.ndarray, low: np.ndarray,
    high: np.ndarray, level: float, noise: NoiseModel, smoothing: Smoothing,
) -> tuple[dict[int, EdgeProfile], NoiseModel]:  # fmt: skip
    """Profiles and noise as the filtered image shows them; ``low``, ``high`` and ``level_u`` are moved to them."""
    seen = smoothed_noise(noise, smoothing)
    found = {}
    for sign, profile in profiles.items():
        mine = polarity == sign
        found[sign], dark, bright = smoothed_profile(profile, smoothing, level, seen)
        low[mine] += dark
        high[mine] += bright
        level_u[sign] *= profile.slope / found[sign].slope
    return found, seen


def _shape(
    code: int,
    profiles: Mapping[int, EdgeProfile],
    polarity: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    levels: np.ndarray,
    half_levels: np.ndarray,
    noise: NoiseModel,
    points: int,
) -> Shape:
    """The shape of every edge for the second pass of one criterion."""
    steepness, radius = np.ones(low.size), np.full(low.size, 2.0)
    lo, hi = low.copy(), high.copy()
    fallback = next(iter(profiles.values()))
    for sign in (1, -1):
        mine = polarity == sign
        p = profiles.get(sign, fallback)
        steepness[mine] = p.curvature if code == _k.MAX_GRADIENT else p.slope
        radius[mine] = max(2.0, 2.0 * p.width)
        if code == _k.SIGMOID:
            # The levels of the best logistic, so that the tie pulls nothing where there is no noise.
            lo[mine] += p.dark - float(np.median(low[mine]))
            hi[mine] += p.bright - float(np.median(high[mine]))
        elif code == _k.MODEL:
            lo[mine] += float(p.grey.min()) - float(np.median(low[mine]))
            hi[mine] += float(p.grey.max()) - float(np.median(high[mine]))
    # Sigmoid, gradient and line start from the middle of the step, wherever the threshold is set.
    at = levels if code in (_k.THRESHOLD, _k.MODEL) else half_levels
    table, half, search, width = None, 0.0, False, None
    if code == _k.MODEL:
        table, half = tables(profiles, noise)
    elif code == _k.SIGMOID:
        width = np.array([profiles.get(sign, fallback).width for sign in (-1, 1)])
    if code in (_k.SIGMOID, _k.MODEL):
        sigma = math.sqrt(0.5 * (noise.sigma_dark**2 + noise.sigma_bright**2))
        search = float(np.median(high - low)) < SEARCH_BELOW * sigma
    return Shape(at, lo, hi, steepness, radius, points, table, half, search, width)


def _one(shape: Shape, mine: np.ndarray) -> Shape:
    """The typical edge of one polarity."""

    each = np.stack([shape.level, shape.low, shape.high, shape.steepness, shape.radius])[:, mine]
    level, low, high, steepness, radius = np.median(each, axis=1)[:, None]
    return replace(shape, level=level, low=low, high=high, steepness=steepness, radius=radius)


def _criterion_text(criterion: str, level: float, profiles: Mapping[int, EdgeProfile], points: int) -> str:
    if criterion == "threshold":
        return f"threshold at {100.0 * level:g} % between dark and bright extreme of the averaged edge profile"
    if criterion == "max_gradient":
        return "largest central difference, parabola through three gradients"
    if criterion == "linear_approximation":
        return f"linear approximation: line through {points} pixels at the steepest place, cut with the dark level"
    if criterion == "model":
        return (
            "model: averaged edge profile of the image shifted to each row (weighted Gauss-Newton), "
            f"zero where it crosses {100.0 * level:g} % between its dark and bright extreme"
        )
    widths = "/".join(f"{p.width:.2f}" for p in profiles.values())
    return (
        f"logistic of fixed width ({widths} px), centre and levels fitted to each row by least squares, levels tied to "
        "those of the averaged edge profile with the weight of 24 pixels"
    )
