"""Lines and spaces from edges: pitch, widths, pitch walk, and the biased roughness of edges and widths.

Everything here is in pixels of x; `wafer.evaluate` turns it into lengths with an uncertainty. Lines are numbered from
the left; a *complete* line or space has both edges in the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from metrology_core.errors import DataError, ParameterError
from wafer.edges import EdgeSet

Detrend = Literal["linear", "mean"]
DETRENDS: tuple[str, ...] = get_args(Detrend)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with type A standard uncertainties: ``sampling`` (scatter between lines) and ``noise`` (of the image)."""

    value: float
    sampling: float
    noise: float
    dof: float
    count: int
    weights: np.ndarray | None = None  # value = weights @ places of all edges, where it is linear in them


@dataclass(frozen=True, eq=False)
class LineTable:
    """Per complete line (or space): index of its left edge, mean width, its variance after detrending, rows used."""

    left: np.ndarray
    width: np.ndarray
    variance: np.ndarray
    left_variance: np.ndarray
    right_variance: np.ndarray
    correlation: np.ndarray
    rows: np.ndarray


def residual_variance(y: np.ndarray, values: np.ndarray, detrend: str) -> np.ndarray:
    """Variance of each row of ``values`` (n, rows) about its mean or least-squares line, divisor n - 1 or n - 2.

    NaN are left out; a row with too few values gives NaN.
    """
    return _variance(residuals(y, values, detrend), detrend)


def _variance(rest: np.ndarray, detrend: str) -> np.ndarray:
    dof = np.count_nonzero(np.isfinite(rest), axis=-1) - (2 if detrend == "linear" else 1)
    return np.where(dof > 0, np.nansum(rest * rest, axis=-1) / np.maximum(dof, 1), np.nan)


def residuals(y: np.ndarray, values: np.ndarray, detrend: str) -> np.ndarray:
    """Rows of ``values`` (n, rows) minus their mean or least-squares line over ``y``; NaN stays NaN."""
    good = np.isfinite(values)
    count = np.maximum(good.sum(axis=-1, keepdims=True), 1)
    kept = np.where(good, values, 0.0)
    rest = np.where(good, kept - kept.sum(axis=-1, keepdims=True) / count, 0.0)
    if detrend == "linear":
        t = np.where(good, y - np.where(good, y, 0.0).sum(axis=-1, keepdims=True) / count, 0.0)
        norm = (t * t).sum(axis=-1, keepdims=True)
        rest = rest - t * ((t * rest).sum(axis=-1, keepdims=True) / np.where(norm > 0.0, norm, 1.0))
    return np.where(good, rest, np.nan)


def edge_places(edges: EdgeSet) -> np.ndarray:
    """Place of every edge at the middle row in pixels: mean over the rows of ``x - slope (y - middle)``; (n_edges,).

    With lost rows a plain mean of a tilted edge would lean toward the rows that were found.
    """
    rest = edges.x - edges.slope * (edges.rows - edges.middle)
    with np.errstate(invalid="ignore"):
        count = np.count_nonzero(np.isfinite(rest), axis=1)
        return np.where(count > 0, np.nansum(rest, axis=1) / np.maximum(count, 1), np.nan)


def noise_of_edges(edges: EdgeSet) -> np.ndarray:
    """Standard deviation of the place of each edge in one row, from resampling; (n_edges,), in pixels."""
    fallback = next(iter(edges.noise_sd.values())).sd
    return np.array([edges.noise_sd[int(p)].sd if int(p) in edges.noise_sd else fallback for p in edges.polarity])


def width_correction(edges: EdgeSet, polarity: int) -> float:
    """What to add, in pixels, to the widths of stripes that begin with ``polarity`` for noise stronger on one side.

    Zero for equal noise on both sides; see `wafer.noise.noise_shift`.
    """
    return polarity * sum(s.bias for s in edges.noise_sd.values()) if len(edges.noise_sd) == 2 else 0.0


def common_shift(edges: EdgeSet) -> float:
    """Standard uncertainty in pixels of what makes all lines wider and all spaces narrower together: grey levels of
    the plateaus, and the correction of `width_correction`."""
    return math.hypot(*edges.level_u.values(), *(s.bias_u for s in edges.noise_sd.values()))


def plateau_not_reached(edges: EdgeSet, level: float) -> float:
    """Change of the width of bright stripes, in pixels, because blur keeps narrow stripes from their plateau.

    The extreme of a stripe of half width h blurred with s misses its plateau by ``erfc(h / (s sqrt 2))`` of the step;
    the threshold follows. s from the slope of the edge (Gaussian edge). The centre of ``sigmoid`` lies
    at half the step, and its levels are tied to the extremes: the same change bounds its own. 0 for ``max_gradient``.
    """
    if edges.criterion == "max_gradient" or not edges.profiles:
        return 0.0
    level = level if edges.criterion in ("threshold", "model") else 0.5
    slope = float(np.mean([p.slope for p in edges.profiles.values()]))
    step = float(np.median(edges.high - edges.low))
    blur = step / (slope * math.sqrt(2.0 * math.pi))
    change = 0.0
    for polarity, share in ((1, level), (-1, level - 1.0)):
        left = stripes(edges, polarity)
        if left.size:
            half = 0.5 * float(np.median(edges.seed[left + 1] - edges.seed[left]))
            change += 2.0 * share * step * math.erfc(half / (blur * math.sqrt(2.0))) / slope
    return change


def noise_covariance(edges: EdgeSet) -> np.ndarray:
    """Variances of the places of all edges (means over rows) from the noise of the image, in squared pixels."""
    rows = np.maximum(np.count_nonzero(np.isfinite(edges.x), axis=1), 1)
    return np.diag(noise_of_edges(edges) ** 2 / rows)


def sampling_covariance(edges: EdgeSet, fit: PitchFit, line_polarity: int) -> tuple[np.ndarray, float] | None:
    """Covariance (n_edges, n_edges) of the places of edges about their lattice, noise taken off, and its freedom.

    One variance for all edges, one covariance for the two edges of a line and one for the two edges of a space, from
    the residuals of the pitch and the scatter of the widths. Lines that vary make neighbouring spaces vary together,
    so the scatter of the spaces alone tells too little about their mean. None for less than four lines.
    """
    index = np.flatnonzero(np.isfinite(fit.residual))
    begins = edges.polarity == line_polarity
    number = np.cumsum(begins)
    sign = np.where(number % 2 == 0, 1.0, -1.0)
    rest = fit.residual.copy()
    amplitude, dof = 0.0, index.size - 3
    if fit.lines >= 6:
        # Pitch walk is no scatter: it moves both edges of a line together and leaves the widths.
        amplitude = float(sign[index] @ rest[index]) / index.size
        rest, dof = rest - amplitude * sign, dof - 1
    between = np.diff(rest)
    across = [between[begins[:-1]], between[~begins[:-1]]]
    across = [d[np.isfinite(d)] for d in across]
    if fit.lines < 4 or dof < 3 or min(d.size for d in across) < 3:
        return None
    noise = np.diag(noise_covariance(edges))
    variance = float(rest[index] @ rest[index]) / dof
    joint = [variance - 0.5 * float(d.var(ddof=1)) for d in across]
    variance = max(variance - float(noise[index].mean()), 0.0)
    # Diagonal dominance keeps the matrix positive.
    total = abs(joint[0]) + abs(joint[1])
    if total > 0.98 * variance:
        joint = [c * 0.98 * variance / total for c in joint]
    off = np.where(begins[:-1], joint[0], joint[1])
    matrix = np.diag(np.full(begins.size, variance)) + np.diag(off, 1) + np.diag(off, -1)
    return matrix + amplitude**2 * np.outer(sign, sign), max(2.0, 0.6 * (fit.lines - 1))


def causes(weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Lower triangle L (m, m) with ``L L' = weights covariance weights'``: row i are the contributions of m
    independent causes to quantity i (Cholesky; a quantity that the others fix adds no cause)."""
    target = weights @ covariance @ weights.T
    out = np.zeros_like(target)
    for i in range(target.shape[0]):
        for j in range(i):
            if out[j, j] > 0.0:
                out[i, j] = (target[i, j] - out[i, :j] @ out[j, :j]) / out[j, j]
        left = target[i, i] - float(out[i, :i] @ out[i, :i])
        out[i, i] = math.sqrt(left) if left > 1e-12 * target[i, i] else 0.0
    return out


def stripes(edges: EdgeSet, polarity: int) -> np.ndarray:
    """Indices of the left edges of the complete stripes that begin with ``polarity`` (+1: bright stripes)."""
    return np.array([i for i in range(edges.polarity.size - 1) if edges.polarity[i] == polarity], dtype=np.int64)


def table(edges: EdgeSet, polarity: int, detrend: Detrend) -> LineTable:
    """Widths and variances of the complete stripes that begin with ``polarity``; in pixels and squared pixels.

    Widths are corrected for noise that is stronger on one side (`width_correction`).
    """
    if detrend not in DETRENDS:
        raise ParameterError(f"unknown detrending {detrend!r}", expected=" | ".join(DETRENDS), got=repr(detrend))
    left = stripes(edges, polarity)
    y = edges.rows - edges.middle
    correction = width_correction(edges, polarity)
    begin, end = edges.x[left], edges.x[left + 1]
    widths = end - begin
    good = np.isfinite(widths)
    rows = good.sum(axis=1)
    enough = rows >= 3
    mean = np.where(good, widths, 0.0).sum(axis=1) / np.maximum(rows, 1) + correction
    a, b = residuals(y, begin, detrend), residuals(y, end, detrend)
    va, vb = (np.where(good, r, 0.0) for r in (a, b))
    norm = np.sqrt((va * va).sum(axis=1) * (vb * vb).sum(axis=1))
    joint = np.where(norm > 0.0, (va * vb).sum(axis=1) / np.where(norm > 0.0, norm, 1.0), np.nan)
    return LineTable(
        left,
        np.where(enough, mean, np.nan),
        np.where(enough, residual_variance(y, widths, detrend), np.nan),
        np.where(enough, _variance(a, detrend), np.nan),
        np.where(enough, _variance(b, detrend), np.nan),
        np.where(enough, joint, np.nan),
        rows,
    )


def mean_width(edges: EdgeSet, rows: LineTable) -> Estimate:
    """Mean width of the stripes. ``sampling``: scatter between stripes less the noise already counted; one stripe
    alone is cut into eight pieces along its length instead."""
    good = np.isfinite(rows.width)
    widths = rows.width[good]
    n = widths.size
    if n == 0:
        raise DataError(
            "no complete line was found",
            expected="a line or space with both edges in the image",
            remedy="check the image area and the magnification",
        )
    sd = noise_of_edges(edges)
    per_stripe = (sd[rows.left[good]] ** 2 + sd[rows.left[good] + 1] ** 2) / np.maximum(rows.rows[good], 1)
    noise = math.sqrt(float(per_stripe.sum())) / n
    if n >= 2:
        scatter = float(widths.std(ddof=1)) / math.sqrt(n)
        dof = float(n - 1)
    else:
        e = int(rows.left[good][0])
        pieces = [p[np.isfinite(p)] for p in np.array_split(edges.x[e + 1] - edges.x[e], 8)]
        means = np.array([p.mean() for p in pieces if p.size])
        scatter = float(means.std(ddof=1)) / math.sqrt(means.size) if means.size > 1 else 0.0
        dof = float(max(means.size - 1, 1))
    weights = np.zeros(edges.polarity.size)
    weights[rows.left[good]] -= 1.0 / n
    weights[rows.left[good] + 1] += 1.0 / n
    return Estimate(float(widths.mean()), math.sqrt(max(scatter**2 - noise**2, 0.0)), noise, dof, n, weights)


@dataclass(frozen=True, eq=False)
class PitchFit:
    """Regression of the edge places over the line number: pitch, alternation of the centres, residuals (pixels)."""

    pitch: Estimate
    walk: Estimate | None
    residual: np.ndarray
    lines: int


def pitch(edges: EdgeSet, line_polarity: int) -> PitchFit:
    """Pitch from all edges of both polarities by least squares: ``x = a_polarity + p k``; half lines count.

    The sampling uncertainty is that of the slope from the residuals, with the two edges of a line taken as one where
    their residuals go together: factor ``1 + r`` with the correlation r >= 0, degrees of freedom number of lines - 2.
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
            got=f"{int(np.count_nonzero(good))} edges of {lines} line(s)",
            remedy="use a larger field of view",
        )
    design = np.column_stack([side, ~side, k - k.mean()]).astype(np.float64)
    solution, *_ = np.linalg.lstsq(design, place[good], rcond=None)
    rest = place[good] - design @ solution
    dof = rest.size - 3
    normal = np.linalg.inv(design.T @ design)
    by_line: dict[int, dict[bool, float]] = {}
    for line, s, r in zip(number[good], side, rest, strict=True):
        by_line.setdefault(int(line), {})[bool(s)] = float(r)
    pairs = np.array([(v[True], v[False]) for v in by_line.values() if len(v) == 2])
    joint = 0.0
    if pairs.shape[0] >= 3:
        norm = math.sqrt(float(np.sum(pairs[:, 0] ** 2) * np.sum(pairs[:, 1] ** 2)))
        joint = max(0.0, float(np.sum(pairs[:, 0] * pairs[:, 1])) / norm) if norm > 0.0 else 0.0
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
    residual = np.full(place.shape, np.nan)
    residual[good] = rest
    return PitchFit(slope, _walk(number[good], side, place[good], sd), residual, lines)


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


def roughness(variances: np.ndarray) -> Estimate | None:
    """Root of the mean variance of several edges or lines (variances are averaged, not deviations).

    Sampling uncertainty from the scatter of the variances between lines: ``u(s) = u(s^2) / (2 s)``; for one line alone
    it is not known (NaN). The image noise sits inside the value (biased) and is no further contribution.
    """
    good = variances[np.isfinite(variances)]
    if good.size == 0:
        return None
    mean = float(good.mean())
    sigma = math.sqrt(mean)
    if good.size < 2:
        return Estimate(sigma, math.nan, 0.0, 1.0, 1)
    spread = float(good.std(ddof=1)) / math.sqrt(good.size)
    return Estimate(sigma, spread / (2.0 * sigma) if sigma > 0.0 else 0.0, 0.0, float(good.size - 1), int(good.size))


def row_jitter(edges: EdgeSet) -> float:
    """Common shift of single rows (vibration, scan jitter), 1 s in pixels: the mean residual over the edges of each
    row, less what independent edges would show."""
    y = edges.rows - edges.middle
    rest = residuals(y, edges.x, "linear")
    count = np.count_nonzero(np.isfinite(rest), axis=0)
    good = count >= 3
    if np.count_nonzero(good) < 8:
        return 0.0
    mean = np.nanmean(rest[:, good], axis=0)
    # Only what changes from row to row: roughness common to all edges by chance varies slowly.
    step = np.diff(mean)
    inner = np.diff(rest[:, good], axis=1)
    chance = np.nanvar(inner, axis=0).mean() / max(float(count[good].mean()), 1.0)
    return math.sqrt(max(float(np.mean(step**2)) - chance, 0.0) / 2.0)
