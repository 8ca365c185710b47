"""Pitch of lines from their edges: regression, pitch walk, and the local scale over the field. Everything in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from metrology_core.errors import DataError
from wafer.edges import EdgeSet
from wafer.lines.places import Estimate, edge_places, noise_covariance, noise_of_edges

_SEEN = 2.45  # 97.5 % point of t with the six degrees of freedom of eight blocks about their line


@dataclass(frozen=True, eq=False)
class PitchFit:
    """Regression of the edge places over the line number: pitch, alternation of the centres, residuals (pixels).

    ``design`` (n_edges, m) is what was fitted, zero rows for lost edges; ``number`` (n_edges,) the line that each edge
    belongs to, ``begins`` the polarity that begins a line, ``width`` the distance of the two edges of a line.
    """

    pitch: Estimate
    walk: Estimate | None
    residual: np.ndarray
    lines: int
    design: np.ndarray
    number: np.ndarray
    begins: int
    width: float


def pitch(edges: EdgeSet, line_polarity: int) -> PitchFit:
    """Pitch from all edges of both polarities by least squares: ``x = a_polarity + p k``; half lines count.

    The sampling uncertainty is that of the slope from the residuals, with neighbouring edges taken as one where their
    residuals go together: factor ``1 + r + s`` with the correlations r, s >= 0 over lines and over spaces, degrees of
    freedom number of lines - 2 (few edges; `wafer.lines.scatter` takes its place where it can).
    Pitch walk: the difference between the even and the odd distances of the line centres, from their mean alternating
    second difference; needs five lines. Method after Zhang, Postek and Larrabee, Metrologia 34 (1997).
    """
    place = edge_places(edges)
    # Line number of each edge: an edge of the line's own polarity begins a line, the next one ends the same line.
    begins = edges.polarity == line_polarity
    number = np.cumsum(begins) - (1 if begins[0] else 0)
    good = np.isfinite(place)
    k = number[good].astype(np.float64)
    side = begins[good]
    lines = int(np.unique(number[good]).size)
    if lines < 2 or min(np.unique(k[side]).size, np.unique(k[~side]).size) < 1 or np.count_nonzero(good) < 4:
        raise DataError(
            "the pitch needs two lines",
            expected="at least four edges of two lines",
            got=f"{int(np.count_nonzero(good))} edges of {lines} {'line' if lines == 1 else 'lines'}",
            remedy="use a larger field of view",
        )
    design = np.column_stack([side, ~side, k - k.mean()]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, place[good], rcond=None)
    rest = place[good] - design @ solution
    dof = rest.size - 3
    normal = np.linalg.inv(design.T @ design)
    residual = np.full(place.shape, np.nan)
    residual[good] = rest
    joint = sum(_joint(residual[:-1][mine], residual[1:][mine]) for mine in (begins[:-1], ~begins[:-1]))
    variance = float(rest @ rest) / dof
    scatter = math.sqrt(variance * normal[2, 2] * (1.0 + joint))
    sd = noise_of_edges(edges)[good] / np.sqrt(np.maximum(np.count_nonzero(np.isfinite(edges.x), axis=1)[good], 1))
    weights = (normal @ design.T)[2]
    noise = math.sqrt(float(np.sum((weights * sd) ** 2)))
    over_all = np.zeros(place.size)
    over_all[good] = weights
    slope = Estimate(
        float(solution[2]), math.sqrt(max(scatter**2 - noise**2, 0.0)), noise, float(max(lines - 2, 1)), lines, over_all
    )
    fitted = np.zeros((place.size, 3))
    fitted[good] = design
    return PitchFit(
        slope, _walk(number[good], side, place[good], sd), residual, lines, fitted, number, line_polarity,
        float(solution[1] - solution[0]),
    )  # fmt: skip


def _joint(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of neighbouring residuals of one kind of stripe, 0 where it is negative or hardly known."""
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    norm = math.sqrt(float(one @ one) * float(other @ other))
    return max(0.0, float(one @ other) / norm) if one.size >= 3 and norm > 0.0 else 0.0


def _walk(number: np.ndarray, side: np.ndarray, place: np.ndarray, sd: np.ndarray) -> Estimate | None:
    begin = {int(k): (float(x), float(s)) for k, is_left, x, s in zip(number, side, place, sd, strict=True) if is_left}
    end = {
        int(k): (float(x), float(s)) for k, is_left, x, s in zip(number, side, place, sd, strict=True) if not is_left
    }
    both = sorted(begin.keys() & end.keys())
    if len(both) < 5:
        return None
    k = np.array(both)
    if np.any(np.diff(k) != 1):  # a line without edges in the middle: no alternation across the hole
        return None
    centre = np.array([0.5 * (begin[i][0] + end[i][0]) for i in both])
    sigma = np.array([0.5 * math.hypot(begin[i][1], end[i][1]) for i in both])
    n = k.size
    # Second differences remove the pitch and any smooth distortion of the scan; centres that alternate by +-d leave
    # 4 d (-1)^k in them. The mean over them is a linear filter of the centres, and so is its noise.
    sign = np.where(k[1:-1] % 2 == 0, 1.0, -1.0)
    second = sign * (2.0 * centre[1:-1] - centre[:-2] - centre[2:])
    weights = np.zeros(n)
    for offset, part in ((0, -1.0), (1, 2.0), (2, -1.0)):
        weights[offset : offset + n - 2] += part * sign / (n - 2)
    # Independent centre errors of variance v give second differences of variance 6 v, correlated over two neighbours:
    # about half as many degrees of freedom as differences.
    variance = float(np.sum((second - second.mean()) ** 2)) / max(n - 3, 1) / 6.0
    scatter = math.sqrt(variance * float(weights @ weights))
    noise = math.sqrt(float(np.sum((weights * sigma) ** 2)))
    return Estimate(
        abs(float(second.mean())), math.sqrt(max(scatter**2 - noise**2, 0.0)), noise, max(1.0, 0.5 * (n - 3)), n
    )


def scale_variation(residual: np.ndarray, fit: PitchFit) -> tuple[float, float]:
    """Relative range of the local pitch over the field and its standard uncertainty.

    From a cubic through the ``residual`` (n_edges,) of the pitch regression over the edge number: a linear scan leaves
    none. Zero where there are fewer than eight edges.
    """
    index = np.flatnonzero(np.isfinite(residual))
    if index.size < 8:
        return 0.0, 0.0
    t = (index - index.mean()) / (0.5 * np.ptp(index))
    basis = np.polynomial.legendre.legvander(t, 3)
    solution, *_ = np.linalg.lstsq(basis, residual[index], rcond=None)
    rest = residual[index] - basis @ solution
    slope = np.polynomial.legendre.legder(np.eye(4), axis=0)
    grid = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, 41), 2) @ slope
    per_pitch = 1.0 / (0.5 * np.ptp(index) / 2.0)  # two edges per pitch; t runs from -1 to 1
    local = grid @ solution * per_pitch / fit.pitch.value
    low, high = int(np.argmin(local)), int(np.argmax(local))
    sigma = math.sqrt(float(rest @ rest) / max(index.size - 4, 1))
    contrast = (grid[high] - grid[low]) * per_pitch / fit.pitch.value
    u = sigma * math.sqrt(float(contrast @ np.linalg.inv(basis.T @ basis) @ contrast))
    return float(local[high] - local[low]), u


def line_numbers(edges: EdgeSet, line_polarity: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the line that each edge belongs to, and whether it begins that line."""
    begins = edges.polarity == line_polarity
    return np.cumsum(begins) - (1 if begins[0] else 0), begins


def field_pitch(edges: EdgeSet, fit: PitchFit, line_polarity: int, width: int) -> PitchFit:
    """Pitch of a scan that is not linear: least-squares line over the whole field; below ten edges ``fit`` as it is.

    A polynomial of fourth degree over the line number, in which the edges of a line stand half its width before and
    behind its middle, gives the line number as a function of the place, from border to border of the field; the pitch
    is the inverse slope of its least-squares line. One offset for each polarity beside it: a width is what it is. The
    scan stretches a line as it stretches the lattice, so the same edges read as lines or as spaces give one fit. A
    trend of the widths that is more than that is left in the residuals (`wafer.lines.scatter.width_trend`).
    The slope over the lines that happen to be complete depends on which they are: with a scale that changes by 7 %
    over 40 lines, by 0.01 nm for each quarter of a pitch that the pattern is shifted.
    """
    place = edge_places(edges)
    number, begins = line_numbers(edges, line_polarity)
    good = np.isfinite(place)
    if np.count_nonzero(good) < 10:
        return fit
    side = begins[good]
    k = number[good] + np.where(side, -0.5, 0.5) * fit.width / fit.pitch.value
    centre, half = 0.5 * (k.min() + k.max()), 0.5 * (k.max() - k.min())
    legendre = np.polynomial.legendre.legvander((k - centre) / half, 4)[:, 1:]
    design = np.column_stack([side, ~side, legendre]).astype(np.float64)
    normal = np.linalg.inv(design.T @ design)
    inverse = normal @ design.T
    grid = np.linspace(k.min() - 2.0, k.max() + 2.0, 4001)
    basis = np.polynomial.legendre.legvander((grid - centre) / half, 4)[:, 1:]

    field = np.linspace(-0.5, width - 0.5, 2049)

    def mean_pitch(solution: np.ndarray) -> float:
        x = 0.5 * (solution[0] + solution[1]) + basis @ solution[2:]
        numbers = np.interp(field, x, grid)
        from_middle = field - field.mean()
        return float((from_middle @ from_middle) / (from_middle @ numbers))

    solution = inverse @ place[good]
    value = mean_pitch(solution)
    gradient = np.array([
        (mean_pitch(solution + 1e-3 * e) - mean_pitch(solution - 1e-3 * e)) / 2e-3 for e in np.eye(6)
    ])  # fmt: skip
    weights = np.zeros(place.size)
    weights[good] = gradient @ inverse
    rest = place[good] - design @ solution
    dof = max(rest.size - 6, 1)
    sd = noise_of_edges(edges) / np.sqrt(np.maximum(np.count_nonzero(np.isfinite(edges.x), axis=1), 1))
    noise = math.sqrt(float(np.sum((weights * sd) ** 2)))
    scatter = math.sqrt(float(rest @ rest) / dof * float(weights @ weights))
    residual = np.full(place.shape, np.nan)
    residual[good] = rest
    estimate = replace(
        fit.pitch, value=value, sampling=math.sqrt(max(scatter**2 - noise**2, 0.0)), noise=noise,
        dof=float(max(fit.lines - 5, 1)), weights=weights,
    )  # fmt: skip
    fitted = np.zeros((place.size, 6))
    fitted[good] = design
    return replace(fit, pitch=estimate, residual=residual, design=fitted)


def frame_drift(edges: EdgeSet, weights: np.ndarray, blocks: int = 8) -> tuple[float, float, float]:
    """What the drift of the scan scale adds to the pitch of one frame: (standard uncertainty, change over the frame by
    a straight line, standard uncertainty of that change), in pixels.

    ``weights`` (n_edges,): the pitch as a linear function of the places. The pitch of blocks of rows, in the order in
    which they were scanned, shows how the scale wanders. A scale that wanders at random (Wiener process of variance q
    for each frame) changes by 1.2 q along its least-squares line (variance), and the means of two frames in sequence
    differ by 2/3 q: half of that belongs to each, so u^2 = R^2 / 3.6, with the chance part of R^2 taken off. Zero
    where the rows are too few, or where roughness and noise explain the change (95 % limit of a t test).
    """
    rest = edges.x - edges.slope * (edges.rows - edges.middle)
    used = np.flatnonzero(weights)
    count = rest.shape[1] // blocks
    if count < 16:
        return 0.0, 0.0, 0.0
    groups = rest[used, : count * blocks].reshape(used.size, blocks, count)
    good = np.isfinite(groups)
    found = good.sum(axis=2)
    # About the mean of each edge, and nothing from a block where most of an edge is lost: that is no other pitch.
    centre = np.nansum(rest[used], axis=1) / np.maximum(np.count_nonzero(np.isfinite(rest[used]), axis=1), 1)
    means = np.where(good, groups - centre[:, None, None], 0.0).sum(axis=2) / np.maximum(found, 1)
    means[found < 0.5 * count] = 0.0
    pitches = weights[used] @ means
    t = (np.arange(blocks) - 0.5 * (blocks - 1)) / blocks
    slope = float(t @ pitches) / float(t @ t)
    residual = pitches - pitches.mean() - slope * t
    slope_u = math.sqrt(float(residual @ residual) / (blocks - 2) / float(t @ t))
    seen = abs(slope) > _SEEN * slope_u
    return math.sqrt((slope**2 - slope_u**2) / 3.6) if seen else 0.0, slope, slope_u


def local_pitch(edges: EdgeSet, fit: PitchFit, line_polarity: int) -> list[tuple[float, float, float]]:
    """Local pitch along the field: (x of the middle of two neighbouring lines, their distance, its noise), in pixels.

    Distances of neighbouring edges of one polarity, the mean of both polarities where both are there.
    """
    place = edge_places(edges)
    number, begins = line_numbers(edges, line_polarity)
    variance = np.diag(noise_covariance(edges))
    lines = int(number.max()) + 2
    sums, count = np.zeros((3, lines)), np.zeros(lines)
    first = int(number.min())
    for side in (True, False):
        index = np.flatnonzero((begins == side) & np.isfinite(place))
        a, b = index[:-1], index[1:]
        next_to = number[b] == number[a] + 1
        a, b = a[next_to], b[next_to]
        at = number[a] - first  # each line once
        sums[:, at] += 0.5 * (place[a] + place[b]), place[b] - place[a], variance[a] + variance[b]
        count[at] += 1.0
    return [
        (float(x) / n, float(d) / n, math.sqrt(float(v)) / n)
        for x, d, v, n in zip(*sums, count, strict=True)
        if n > 0.0
    ]
