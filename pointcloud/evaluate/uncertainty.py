"""From point errors to the uncertainty of fits and extremes, and the sensitivities that instruments act through.

Model of point errors: along the normal, standard deviation sigma (declared, or the residual one), correlated as
``exp(-distance / length)`` where a correlation length is declared. It is a model of *noise*; errors of the whole
instrument enter as further influences (`metrology_core.instrument`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.features import basis
from metrology_core.instrument import Instrument
from metrology_core.propagation import is_angle
from metrology_core.uncertainty.fields.field import CorrelatedField

FloatArray = NDArray[np.float64]
MAX_CORRELATED = 2000  # points in one dense correlation matrix: 32 MB, a tenth of a second
_EXTREME_SIDE = 100  # candidates at each end of a range; points further inside do not become extremes
_DRAWS = 400  # draws behind the two numbers of `Extremes`: 4 % of a standard deviation
_LENGTHS = ("point", "center", "radius", "major_radius", "minor_radius", "semi_major", "semi_minor", "width", "length")


@dataclass(frozen=True)
class PointErrors:
    """What is assumed of the errors of single points; lengths in the unit of the points.

    ``sigma`` standard deviation (a number or (n,)), None where nobody stated one and residuals decide; ``length`` of
    correlation or None; ``flags`` that follow; ``field``: the declared field of which length is that of the kernel.
    """

    sigma: float | FloatArray | None
    length: float | None
    flags: tuple[str, ...]
    field: CorrelatedField | None = None


def point_errors(points: PointSet, instrument: Instrument | None) -> PointErrors:
    """The noise of the point set itself where it is stated, else of the instrument, else none (residuals decide)."""
    flags: list[str] = []
    if instrument is None:
        flags.append("repeatability_only")
    sigma: float | FloatArray | None = points.noise
    if sigma is None and instrument is not None:
        sigma = instrument.noise
    length = None if instrument is None else instrument.correlation_length
    if length == 0.0:
        length = None
    if sigma is None:
        return PointErrors(None, None, tuple(flags))
    if length is None:
        flags.append("independent_noise_assumed")
    field = None if instrument is None else instrument.noise_field(sigma)
    return PointErrors(sigma, length, tuple(flags), field)


# --- fits
def design(feature: Any, xyz: FloatArray, reach: float) -> list[FloatArray]:
    """Blocks (n, p) of derivatives of the residuals of ``xyz`` along the feature's chart, by central differences.

    One block (normal distances) for surfaces and 2-D features; two for curves in space: a line has two perpendicular
    offsets, a circle or ellipse its distance in the plane and its height. Steps are 1e-5 of the reach (rad for
    angles): truncation 1e-10, rounding 1e-11 relative; two digits are needed.
    """
    across = basis(feature.direction) if feature.kind == "line" and feature.dimension == 3 else None

    def residuals(f: Any) -> list[FloatArray]:
        if across is not None:
            y = xyz - f.point
            y = y - np.outer(y @ f.direction, f.direction)
            return [y @ across[0], y @ across[1]]
        height = getattr(f, "height", None)
        return [f.distance(xyz)] if height is None else [f.distance(xyz), height(xyz)]

    columns: list[list[FloatArray]] = []
    for i, name in enumerate(feature.chart):
        step = 1e-5 * (1.0 if is_angle(name) else reach)
        delta = np.zeros(len(feature.chart))
        delta[i] = step
        up, down = residuals(feature.moved(delta)), residuals(feature.moved(-delta))
        columns.append([(a - b) / (2.0 * step) for a, b in zip(up, down, strict=True)])
    return [np.stack([column[k] for column in columns], axis=1) for k in range(len(columns[0]))]


def distinct(xyz: FloatArray) -> NDArray[np.int64] | None:
    """Number (n,) of the distinct place of each point; None where no two points have identical coordinates."""
    xyz = xyz + 0.0  # -0.0 is 0.0
    x = np.sort(xyz[:, 0])
    if not np.any(x[1:] == x[:-1]):
        return None
    places, which = np.unique(xyz, axis=0, return_inverse=True)
    return None if len(places) == len(xyz) else np.asarray(which, dtype=np.int64).reshape(-1)


def excess(residual: float, dof: float, sigma: float) -> float:
    """Scatter of residuals beyond the declared noise: ``sqrt(residual^2 - sigma^2)``, or 0 where noise explains it.

    Noise explains what lies below the 99 % quantile of chi square with ``dof`` degrees of freedom (approximation of
    Wilson and Hilferty 1931, within 1 % from 3 degrees on).
    """
    if not (dof > 0.0 and math.isfinite(residual)):
        return 0.0
    quantile = dof * (1.0 - 2.0 / (9.0 * dof) + 2.326348 * math.sqrt(2.0 / (9.0 * dof))) ** 3
    beyond = residual**2 - sigma**2
    return math.sqrt(beyond) if beyond > 0.0 and residual**2 * dof > quantile * sigma**2 else 0.0


def fit_covariance(
    blocks: list[FloatArray],
    xyz: FloatArray,
    sigma: float | FloatArray,
    length: float | None,
    places: NDArray[np.int64] | None = None,
) -> tuple[FloatArray, bool]:
    """Covariance (p, p) of a least-squares fit for given point errors, and whether it rests on a subset of points.

    Independent, equal: ``sigma^2 (J'J)^-1``. Otherwise the sandwich ``A J' V J A`` with ``A = (J'J)^-1``: the fit is
    still unweighted least squares, only its errors are not independent. Errors in different blocks are independent.
    Beyond `MAX_CORRELATED` points the pairs are those of a regular subset, weighted up to all pairs; the diagonal is
    that of all points. ``places`` (of `distinct`): points at one place have one error. Raises
    `numpy.linalg.LinAlgError` for points that do not determine the feature.
    """
    scale = np.sqrt(sum(np.sum(block**2, axis=0) for block in blocks))
    scale = np.where(scale > 0.0, scale, 1.0)
    scaled_blocks = [block / scale for block in blocks]
    inverse = np.linalg.inv(sum(j.T @ j for j in scaled_blocks))
    if length is None and places is not None:
        s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (len(xyz),))
        shared = np.zeros_like(inverse)
        for j in scaled_blocks:
            summed = np.zeros((int(places.max()) + 1, j.shape[1]))
            np.add.at(summed, places, j * s[:, None])
            shared += summed.T @ summed
        whole = inverse @ shared @ inverse / np.outer(scale, scale)
        return (whole + whole.T) / 2.0, False
    if length is None and np.ndim(sigma) == 0:
        plain: FloatArray = float(np.asarray(sigma)) ** 2 * inverse / np.outer(scale, scale)
        return plain, False
    n = len(xyz)
    s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,))
    step = max(1, math.ceil(n / MAX_CORRELATED)) if length is not None else 1
    rho = None
    if length is not None:
        rho = correlation(xyz[::step], length)
        np.fill_diagonal(rho, 0.0)
    middle = np.zeros_like(inverse)
    for j in scaled_blocks:
        weighted = j * s[:, None]
        middle += weighted.T @ weighted
        part = weighted[::step]
        m = len(part)
        if rho is not None and m > 1:
            # einsum, not BLAS: a threaded product could give other bits with other numbers of threads
            pairs = np.einsum("na,nb->ab", part, np.einsum("nm,mb->nb", rho, part))
            middle += pairs * ((n * (n - 1.0)) / (m * (m - 1.0)))
    covariance = inverse @ middle @ inverse / np.outer(scale, scale)
    return (covariance + covariance.T) / 2.0, step > 1


def field_covariance(blocks: list[FloatArray], xyz: FloatArray, surface: Any, field: CorrelatedField) -> FloatArray:
    """Covariance (p, p) of a least-squares fit whose errors are a field over the surface: all points, no matrix.

    Errors in different blocks are independent fields of one law. Raises `numpy.linalg.LinAlgError` for points that do
    not determine the feature.
    """
    scale = np.sqrt(sum(np.sum(block**2, axis=0) for block in blocks))
    scale = np.where(scale > 0.0, scale, 1.0)
    scaled_blocks = [block / scale for block in blocks]
    inverse = np.linalg.inv(sum(j.T @ j for j in scaled_blocks))
    on = field.on(surface, xyz)
    whole = np.zeros_like(inverse)
    for j in scaled_blocks:
        whole += on.sandwich(inverse @ j.T).value
    return np.asarray((whole + whole.T) / 2.0 / np.outer(scale, scale))


def field_correlation(xyz: FloatArray, field: CorrelatedField, surface: Any) -> FloatArray:
    """(n, n) correlation of a field (its independent part included) at a few points of a surface."""
    matrix = field.on(surface, xyz).matrix()
    root = np.sqrt(np.diag(matrix))
    return np.asarray(matrix / np.outer(root, root))


def correlation(xyz: FloatArray, length: float) -> FloatArray:
    """(n, n) matrix ``exp(-distance / length)``, a valid correlation in any dimension."""
    center = xyz - xyz.mean(axis=0)
    square = np.zeros((len(xyz), len(xyz)))
    for column in center.T:
        square += (column[:, None] - column[None, :]) ** 2
    return np.asarray(np.exp(np.sqrt(square) / -length), dtype=np.float64)


# --- extremes
@dataclass(frozen=True)
class Extremes:
    """How noise acts on an extreme-to-extreme value: ``spread`` (standard deviation), ``bias`` (the most by which noise
    has enlarged it: the truth lies between the value less ``bias`` and the value), ``floor`` (what noise alone exceeds
    in one case of twenty)."""

    spread: float
    bias: float
    floor: float


def extremes_of(
    values: FloatArray, xyz: FloatArray, sigma: float | FloatArray, length: float | None, *, both: bool, seed: int
) -> Extremes:
    """Effect of point errors on ``max - min`` (``both``) or ``max |value|`` of n values, by drawing errors.

    New errors are added to the measured values at the points that can become extreme, and the change of the statistic
    is observed; its standard deviation is the spread. The values hold one share of noise already, so the mean change
    is that from one share to two: from standard deviation 1 to sqrt(2). From there the effect of the first share is
    extrapolated, linearly in the standard deviation (simulation-extrapolation): right where noise is all there is, on
    the safe side where form stands out. One set of values knows it to about its own size, so the bound is twice the
    extrapolated effect, and not more than ``floor``: a range cannot grow by more than the range of the noise. Draws
    depend on ``seed`` only.
    """
    n = len(values)
    s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,))
    if n == 0 or not float(s.max(initial=0.0)) > 0.0:
        return Extremes(0.0, 0.0, 0.0)
    order = np.argsort(values if both else -np.abs(values), kind="stable")
    k = min(_EXTREME_SIDE, n)
    chosen = np.unique(np.concatenate([order[:k], order[-k:]]) if both else order[: 2 * k])
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    noise = _draws(rng, xyz[chosen], s[chosen], length)

    def statistic(v: FloatArray) -> FloatArray:
        return np.asarray(v.max(axis=-1) - v.min(axis=-1) if both else np.abs(v).max(axis=-1))

    here = values[chosen]
    base = float(statistic(here))
    change = statistic(here + noise) - base
    # noise alone, over a regular subset; extremes of n independent values grow as sqrt(ln n)
    step = max(1, math.ceil(n / (2 * _EXTREME_SIDE)))
    alone = statistic(_draws(rng, xyz[::step], s[::step], length))
    m = len(xyz[::step])
    floor = float(np.quantile(alone, 0.95)) * (math.sqrt(math.log(n) / math.log(m)) if m > 1 else 1.0)
    effect = max(float(change.mean()), 0.0) / (math.sqrt(2.0) - 1.0)
    bias = min(2.0 * effect, floor, base)
    return Extremes(float(change.std(ddof=1)), bias, floor)


def _draws(rng: np.random.Generator, xyz: FloatArray, sigma: FloatArray, length: float | None) -> FloatArray:
    white = rng.standard_normal((_DRAWS, len(xyz)))
    if length is not None and len(xyz) > 1:
        matrix = correlation(xyz, length)
        matrix[np.diag_indices_from(matrix)] += 1e-10  # points measured twice at one place make it singular
        white = np.einsum("dm,nm->dn", white, _cholesky(matrix))
    return white * sigma


def _cholesky(matrix: FloatArray) -> FloatArray:
    """Lower Cholesky factor of a small matrix, column by column: the same bits for any number of BLAS threads."""
    lower = np.zeros_like(matrix)
    for k in range(len(matrix)):
        column = matrix[k:, k] - np.einsum("nm,m->n", lower[k:, :k], lower[k, :k])
        lower[k:, k] = column / math.sqrt(column[0])
    return lower


# --- what an instrument acts through
def scaled(feature: Any, factor: float) -> Any:
    """The feature of points that are all scaled by ``factor`` about the origin of the frame."""
    changes = {
        row.name: np.asarray(getattr(feature, row.name), dtype=np.float64) * factor
        if np.ndim(getattr(feature, row.name))
        else getattr(feature, row.name) * factor
        for row in fields(feature)
        if row.name in _LENGTHS and getattr(feature, row.name) is not None
    }
    return replace(feature, **changes)


def offset_into_material(feature: Any, amount: float) -> Any:
    """The parallel feature ``amount`` further into the material; None where the side, or the parallel, is not known."""
    side = feature.material_side
    try:
        return None if side is None else feature.offset(-amount if side == "inside" else amount)
    except ParameterError:  # a shaft smaller than the ball that touched it: the declaration is wrong, the data stay
        return None


def tip_sensitivity(function: Callable[[Mapping[str, Any]], float], features: Mapping[str, Any], reach: float) -> float:
    """Change of the characteristic per change of the tip radius, all features compensated with the same tip.

    A tip larger than assumed puts the surface further into the material.
    """
    step = 1e-4 * reach
    up = function({name: offset_into_material(f, step) or f for name, f in features.items()})
    down = function({name: offset_into_material(f, -step) or f for name, f in features.items()})
    return (up - down) / (2.0 * step)


def scale_sensitivity(function: Callable[[Mapping[str, Any], float], float], features: Mapping[str, Any]) -> float:
    """Change of the characteristic per relative change of all lengths (thermal strain, scale of the machine).

    ``function(features, factor)`` also scales what is not a feature (extents, points) by ``factor``, but nothing that
    the drawing states.
    """
    step = 1e-6  # an offset of 50 um is a small thing against 50 mm: larger steps see its curvature
    up = function({name: scaled(f, 1.0 + step) for name, f in features.items()}, 1.0 + step)
    down = function({name: scaled(f, 1.0 - step) for name, f in features.items()}, 1.0 - step)
    return (up - down) / (2.0 * step)
