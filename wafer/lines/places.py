"""Lines and spaces from edges: widths, their uniformity, and the biased roughness of edges and widths.

Everything here is in pixels of x; `wafer.lines.evaluate` turns it into lengths with an uncertainty. Lines are numbered
from the left; a *complete* line or space has both edges in the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from metrology_core.errors import DataError, ParameterError
from metrology_core.spreads import chi_square_spread, mean_variance_spread
from wafer.edges import EdgeSet
from wafer.smoothing import KINDS, Smoothing

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
    quantiles: np.ndarray | None = None  # distribution of a spread, which is not symmetric (`metrology_core.spreads`)


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
    if bool(np.isfinite(values.sum())):  # nothing lost: the plain formula, three times as fast
        rest = values - values.mean(axis=-1, keepdims=True)
        if detrend == "linear":
            t = y - y.mean()
            rest -= np.multiply.outer(rest @ t / float(t @ t), t)
        return np.asarray(rest)
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
    """Standard deviation of the place of each edge in one row, from resampling; (n_edges,), in pixels.

    For means over rows: where rows share noise it is as much larger as makes rows of it count as independent.
    """
    fallback = next(iter(edges.noise_sd.values())).sd
    each = [edges.noise_sd[int(p)].sd if int(p) in edges.noise_sd else fallback for p in edges.polarity]
    return np.array(each) * math.sqrt(edges.row_repeats)


def width_correction(edges: EdgeSet, polarity: int) -> float:
    """What to add, in pixels, to the widths of stripes that begin with ``polarity`` for noise stronger on one side.

    Zero for equal noise on both sides; see `wafer.noise.noise_shift`.
    """
    return polarity * sum(s.bias for s in edges.noise_sd.values()) if len(edges.noise_sd) == 2 else 0.0


def common_shift(edges: EdgeSet) -> float:
    """Standard uncertainty in pixels of what makes all lines wider and all spaces narrower together: grey levels of
    the plateaus, and the correction of `width_correction`."""
    return math.hypot(*edges.level_u.values(), *(s.bias_u for s in edges.noise_sd.values()))


def gain_shift(edges: EdgeSet) -> float:
    """How far, in pixels, `width_correction` of bright stripes moves with one standard uncertainty of the gain of the
    noise (variance over grey level). One gain serves both edges of all stripes: its shifts add, they do not average."""
    return sum(s.bias_gain for s in edges.noise_sd.values()) if len(edges.noise_sd) == 2 else 0.0


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


def smoothed_too_wide(edges: EdgeSet, smoothing: Smoothing | None) -> bool:
    """Whether the narrowest kind of stripe is narrower than two full widths at half maximum of the filter across.

    Beyond, the edges of a stripe feel each other through the filter, whatever the shape of its blooms: the width moves
    by an amount that no influence of the budget holds.
    """
    if smoothing is None or not KINDS[smoothing.kind][0]:
        return False
    width = [
        float(np.median(edges.seed[left + 1] - edges.seed[left]))
        for left in (stripes(edges, 1), stripes(edges, -1))
        if left.size
    ]
    return bool(width) and min(width) < 2.0 * math.sqrt(8.0 * math.log(2.0)) * smoothing.sigma


def noise_covariance(edges: EdgeSet) -> np.ndarray:
    """Variances of the places of all edges (means over rows) from the noise of the image, in squared pixels."""
    rows = np.maximum(np.count_nonzero(np.isfinite(edges.x), axis=1), 1)
    return np.diag(noise_of_edges(edges) ** 2 / rows)


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
    dof = float(good.size - 1)
    return Estimate(
        sigma, spread / (2.0 * sigma) if sigma > 0.0 else 0.0, 0.0, dof, int(good.size),
        quantiles=mean_variance_spread(mean, spread, dof),
    )  # fmt: skip


def local_cdu(edges: EdgeSet, rows: LineTable) -> Estimate | None:
    """Standard deviation of the mean widths of the lines of one image, without the noise of the edges.

    ``s^2 - s_noise^2`` with the noise of the mean of the rows from resampling; its standard uncertainty that of a
    variance of normal values, ``s^2 sqrt(2 / (n - 1))``, its distribution chi-square less the noise. Zero where the
    noise explains the scatter.
    """
    good = np.isfinite(rows.width)
    widths = rows.width[good]
    n = int(widths.size)
    if n < 3:
        return None
    sd = noise_of_edges(edges)
    noise = float(np.mean((sd[rows.left[good]] ** 2 + sd[rows.left[good] + 1] ** 2) / np.maximum(rows.rows[good], 1)))
    scatter = float(widths.var(ddof=1))
    value = math.sqrt(max(scatter - noise, 0.0))
    u = scatter * math.sqrt(2.0 / (n - 1))
    # u(s) = u(s^2) / 2s; near zero the variance itself is the scale
    return Estimate(
        value, u / (2.0 * value) if value * value > u else math.sqrt(u), 0.0, float(n - 1), n,
        quantiles=chi_square_spread(scatter, n - 1.0, noise),
    )  # fmt: skip
