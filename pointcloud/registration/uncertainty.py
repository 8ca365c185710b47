"""Covariance of the pose: from the noise of the points, its correlation, and the declared instrument.

Chart: the twist about the pivot (see `result.Registration`), here scaled by the length L: (omega, v / L).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from metrology_core.instrument import REFERENCE_TEMPERATURE, Instrument
from metrology_core.units import convert
from pointcloud.registration.normal import Rules, State, accumulate, loss_slope, loss_weights, unpack

FloatArray = NDArray[np.float64]
_CELLS = 60_000  # of the correlation: their neighbour pairs take some tens of MB
_REACH = 5.0  # correlation lengths within which pairs of cells are counted: exp(-5) = 0.7 % is left out


@dataclass(frozen=True, eq=False)
class Spread:
    """Scaled covariance (6, 6), its degrees of freedom, sigma of a point (in units of 1/sqrt(prior)), budget, flags."""

    covariance: FloatArray
    dof: float
    sigma: float
    budget: dict[str, list[float]]
    flags: tuple[str, ...]


def pseudo_inverse(h: FloatArray, basis: FloatArray) -> FloatArray:
    """Inverse of h within the span of ``basis`` (6, k)."""
    if not basis.shape[1]:
        return np.zeros((6, 6))
    return np.asarray(basis @ np.linalg.inv(basis.T @ h @ basis) @ basis.T)


def spread(
    state: State,
    rules: Rules,
    prior: FloatArray,
    basis: FloatArray,
    *,
    noise: float | None,
    instrument: Instrument | None,
    unit: str,
) -> Spread:
    """Covariance of the motions in ``basis``. ``noise``: declared standard deviation of a point of prior weight 1.

    Without it the scatter of the residuals stands for it (type A). Where the residuals scatter more than the noise,
    what is beyond it is form: the points sample it, and other points of the same part would give another pose.
    Correlated noise, exp(-distance / length) as for fits, enters by the sums of the rows over cells of half a
    correlation length, pairs of cells correlated by the distance of their middles.
    """
    k = basis.shape[1]
    n = state.n_kept
    kept = state.weight != 0.0
    flags: list[str] = []
    dof = float(max(n - k, 0))
    squares = float(np.sum(prior[kept] * state.residual[kept] ** 2))
    sigma = math.sqrt(squares / dof) if dof > 0 else math.nan
    if rules.loss == "squares":
        trimmed = 1.0 if rules.trim == 0.0 else _trim_factor(rules.trim)
        if rules.trim:
            sigma *= math.sqrt((1.0 - rules.trim) / trimmed)
        bread = pseudo_inverse(state.h_plane, basis)
        # least trimmed squares at the normal distribution: sigma^2 (sum over all JJ')^-1 / c, where the kept points
        # hold the share 1 - trim of that sum
        factor = 1.0 if rules.trim == 0.0 else (1.0 - rules.trim) / trimmed
        used = sigma if noise is None else noise
        covariance = bread * factor * used**2
        score_weight = state.weight * used * math.sqrt(factor)
    else:
        t = np.where(kept, state.residual * np.sqrt(prior) / state.scale, 0.0)
        slope = np.where(kept, prior * loss_slope(rules.loss, t), 0.0)
        psi = np.where(kept, loss_weights(rules.loss, t)[0] * t, 0.0)
        a = unpack(accumulate(state.moved, state.direction, state.residual, slope, state.pivot, state.length))[0]
        b_weight = prior * psi * psi
        b = unpack(accumulate(state.moved, state.direction, state.residual, b_weight, state.pivot, state.length))[0]
        bread = pseudo_inverse(a, basis)
        small = n / dof if dof > 0 else math.nan
        used = state.scale
        if noise is not None:
            used = noise
            b = a * float(np.sum(b_weight) / max(np.sum(slope), 1e-300))
            small = 1.0
        covariance = bread @ b @ bread * used**2 * small
        spread_psi = math.sqrt(float(np.mean(psi[kept] ** 2))) if n else math.nan
        score_weight = np.where(kept, prior, 0.0) * used * spread_psi
        sigma = state.scale
    covariance = covariance / state.length**2
    form = np.zeros((6, 6))
    if noise is not None:
        # deviations of the part at the points act on the pose as noise does: what they scatter beyond the noise. One
        # number of degrees of freedom for both (JCGM 100 G.4.1): the part beyond the noise is of type A
        beyond = max(0.0, (sigma / noise) ** 2 - 1.0) if math.isfinite(sigma) else 0.0
        form = covariance * beyond
        dof = dof * ((1.0 + beyond) / beyond) ** 2 if beyond > 0.0 else math.inf
        if sigma > 3.0 * noise:
            flags.append("residuals_exceed_noise")
    budget = {"noise": _roots(covariance, state.length)}
    length = _in(instrument, "correlation_length", unit)
    if length:
        meat = _correlated(state, score_weight, prior, length)
        covariance = bread @ meat @ bread / state.length**2
        budget["noise"] = _roots(covariance, state.length)
    elif instrument is not None and instrument.noise is not None:
        flags.append("independent_noise_assumed")
    if noise is not None:
        covariance = covariance + form
        budget["form"] = _roots(form, state.length)
    if instrument is None and noise is None:
        flags.append("repeatability_only")
    if instrument is not None:
        for name, part in _systematic(state, bread, instrument, unit).items():
            covariance = covariance + part
            budget[name] = _roots(part, state.length)
    return Spread(covariance, dof, sigma, budget, tuple(flags))


def _roots(covariance: FloatArray, length: float) -> list[float]:
    scale = np.r_[np.ones(3), np.full(3, length)]
    return [float(v) for v in np.sqrt(np.maximum(np.diag(covariance), 0.0)) * scale]


def _in(instrument: Instrument | None, name: str, unit: str) -> float:
    value = None if instrument is None else getattr(instrument, name)
    return 0.0 if instrument is None or value is None else convert(float(value), instrument.unit, unit)


def _trim_factor(trim: float) -> float:
    """Share of the variance of a standard normal that lies within the kept middle: (1 - a) - 2 q phi(q)."""
    normal = NormalDist()
    q = normal.inv_cdf(1.0 - 0.5 * trim)
    return (1.0 - trim) - 2.0 * q * normal.pdf(q)


def _correlated(state: State, weight: FloatArray, prior: FloatArray, length: float) -> FloatArray:
    """Sum over pairs of points of w_i w_j exp(-|x_i - x_j| / length) J_i J_j', by cells."""
    from scipy.spatial import cKDTree

    kept = weight != 0.0
    x = state.moved[kept]
    n = state.direction[kept]
    # a weight over sqrt(prior): prior * sigma / sqrt(prior) is the weighted standard deviation of the row
    s = weight[kept] / np.sqrt(prior[kept])
    rows = np.hstack([np.cross((x - state.pivot) / state.length, n), n]) * s[:, None]
    low = x.min(axis=0)
    edge = 0.5 * length
    while True:
        cell = np.floor((x - low) / edge).astype(np.int64)
        _, inverse = np.unique(cell, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        count = int(inverse.max()) + 1
        if count <= _CELLS:
            break
        edge *= 1.5
    sums = np.stack([np.bincount(inverse, rows[:, a], count) for a in range(6)], axis=1)
    number = np.bincount(inverse, minlength=count)
    middle = np.stack([np.bincount(inverse, x[:, a], count) for a in range(3)], axis=1) / number[:, None]
    own = np.stack([np.bincount(inverse, (rows[:, a] * rows[:, b]), count) for a in range(6) for b in range(6)], axis=1)
    own = own.sum(axis=0).reshape(6, 6)
    # within a cell: mean correlation of two points of a square of this edge, exp(-0.5214 e / l) to 1 % up to e = l
    near = math.exp(-0.5214 * edge / length)
    meat = own * (1.0 - near) + near * (sums.T @ sums)
    pairs = cKDTree(middle).query_pairs(_REACH * length, output_type="ndarray")
    if len(pairs):
        distance = np.linalg.norm(middle[pairs[:, 0]] - middle[pairs[:, 1]], axis=1)
        left = sums[pairs[:, 0]] * np.exp(-distance / length)[:, None]
        cross = left.T @ sums[pairs[:, 1]]
        meat = meat + cross + cross.T
    return np.asarray(meat)


def _systematic(state: State, bread: FloatArray, instrument: Instrument, unit: str) -> dict[str, FloatArray]:
    """Effects of the instrument that all points share. A scale error e moves every point by e (x - pivot): what the
    alignment makes of it is exact to first order. The constant part of an MPE is a bound on any position: it enters as
    independent shifts of the part's middle and turns by that much at the radius of gyration."""
    parts: dict[str, FloatArray] = {}
    scale = 0.0
    if instrument.expansion is not None and instrument.temperature_u:
        scale = math.hypot(scale, instrument.expansion * instrument.temperature_u)
    if instrument.expansion_u and instrument.temperature is not None:
        scale = math.hypot(scale, instrument.expansion_u * (instrument.temperature - REFERENCE_TEMPERATURE))
    if instrument.mpe_per_length:
        scale = math.hypot(scale, instrument.mpe_per_length / math.sqrt(3.0))
    if instrument.scale_u:
        scale = math.hypot(scale, instrument.scale_u)
    if scale:
        along = np.einsum("ij,ij->i", state.moved - state.pivot, state.direction)
        g = unpack(accumulate(state.moved, state.direction, along, state.weight, state.pivot, state.length))[1]
        shift = bread @ g * scale  # residuals are divided by L in the sums, as the chart wants
        parts["scale"] = np.outer(shift, shift)
    constant = _in(instrument, "mpe_constant", unit) / math.sqrt(3.0) / state.length
    if constant:
        projector = bread @ state.h_plane  # a shift or turn of all points shows in the pose as far as it is determined
        parts["mpe_constant"] = constant**2 * projector @ projector.T
    return parts


def chi_square(delta: FloatArray, covariance: FloatArray) -> float:
    """delta' C^+ delta of a twist against its covariance (both unscaled), over the determined motions."""
    values, vectors = np.linalg.eigh(covariance)
    keep = values > 1e-14 * values[-1]
    part = (vectors.T @ delta)[keep]
    return float(np.sum(part * part / values[keep]))
