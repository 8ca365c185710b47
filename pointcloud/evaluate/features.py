"""From points to associated features with the covariance that is propagated: select, fit, orient, compensate."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.instrument import Instrument
from metrology_core.propagation import UncertainFeature, is_angle
from pointcloud.evaluate.one_sided import is_one_sided, one_sided_covariance
from pointcloud.evaluate.surface import CRITERIA, KINDS, DrawnChart, DrawnSurface, Surfaces, normal_levels
from pointcloud.evaluate.types import FITTED, EvaluatedFeature, FeatureRequest
from pointcloud.evaluate.uncertainty import (
    PointErrors,
    design,
    distinct,
    excess,
    field_covariance,
    fit_covariance,
    offset_into_material,
    point_errors,
)
from pointcloud.evaluate.zone import into_chart, is_zone, zone_covariance, zone_flags

FloatArray = NDArray[np.float64]


def evaluate_feature(
    request: FeatureRequest,
    points: PointSet,
    instrument: Instrument | None,
    scope: str,
    surfaces: Surfaces | None = None,
) -> EvaluatedFeature:
    """Select the points of a feature and associate it; ``scope`` (digest of the data) makes influence ids unique.

    ``surfaces``: where the surface between the points is drawn from what a declared field leaves possible, if it is.

    Ball centres are fitted as they are; the associated feature is then moved by the tip radius into the material. A
    label or region without points, and a fit that did not converge, give an unusable feature with flags. Raises
    `ParameterError` for a kind that is not known.
    """
    if request.kind != "points" and request.kind not in FITTED:
        raise ParameterError(f"unknown feature {request.kind!r}", expected=", ".join((*FITTED, "points")))
    subset = _select(request, points)
    errors = point_errors(subset, instrument)
    flags = list(errors.flags)
    usable = subset.select(subset.finite)
    if subset.n_nonfinite:
        flags.append("non_finite_points")
    if points.points_are == "unknown":
        flags.append("points_are_unknown")
    if not usable.n_points:
        return EvaluatedFeature(request, subset, flags=_flags.merge(flags, ["no_usable_points"]))
    if request.kind == "points":
        return EvaluatedFeature(
            request, usable, sigma=errors.sigma, length=errors.length, flags=_flags.merge(flags), field=errors.field
        )
    if request.kind == "circle" and "direction" in request.fixed:
        fit, geometry, free = _planar_circle(request, usable)
    else:
        fit, geometry = _spatial(request, usable)
        free = None
    flags += zone_flags(fit, errors.sigma)
    places = distinct(usable.xyz)
    if places is not None:
        flags.append("duplicate_points")
    if geometry is None or fit.status in ("degenerate", "insufficient", "not_converged"):
        return EvaluatedFeature(request, usable, fit, flags=_flags.merge(flags))
    dof, more = _redundancy(request, fit, places)
    flags += more
    if "not_evaluated" in more:
        return EvaluatedFeature(request, usable, fit, flags=_flags.merge(flags))
    if request.material is not None:
        geometry = geometry.with_material(request.material)
    tip = 0.0
    if usable.points_are == "ball_centre":
        moved = None if usable.tip is None else offset_into_material(geometry, usable.tip.radius)
        if moved is None:
            flags.append("ball_centre_uncompensated")
        else:
            geometry = moved
            tip = usable.tip.radius if usable.tip is not None else 0.0
    residual = _residual(fit, dof, places)
    form = 0.0
    if errors.sigma is not None:
        declared = float(np.sqrt(np.mean(np.square(errors.sigma))))
        # the chance that noise alone triples the residual standard deviation is 0.3 % with one degree of freedom,
        # and less with more
        if dof > 0.0 and residual > 3.0 * declared:
            flags.append("residuals_exceed_noise")
        form = 0.0 if is_zone(fit) else excess(residual, dof, declared)
    scatter = _Scatter(dof, residual, form, places)
    uncertain, sigma, more = _uncertain(request, usable, fit, geometry, errors, scope, free, scatter)
    surface, drawn = None, None
    if surfaces is not None and uncertain is not None:
        if free is None:
            surface, drawn = _drawn(request, usable, geometry, tip, errors, surfaces)
        elif fit.feature is not None:
            surface, drawn = _drawn_circle(request, usable, fit, uncertain, tip, errors, surfaces)
    if drawn is not None and uncertain is not None:
        uncertain = replace(
            uncertain, covariance=drawn.covariance(), dof=math.inf, kind="B", label="noise and form (drawn surfaces)"
        )
        more = [*more, *drawn.flags]
    return EvaluatedFeature(
        request,
        usable,
        fit,
        uncertain,
        sigma,
        errors.length,
        form,
        _flags.merge(flags, more),
        {} if uncertain is None else _parameter_uncertainty(uncertain),
        errors.field,
        drawn,
        surface,
    )


def _drawn(
    request: FeatureRequest, points: PointSet, geometry: Any, tip: float, errors: PointErrors, surfaces: Surfaces
) -> tuple[DrawnSurface | None, DrawnChart | None]:
    """The drawn surface behind the points and the features it can have; None where there is none."""
    if errors.field is None or request.kind not in KINDS or request.criterion not in CRITERIA:
        return None, None
    base = geometry
    if request.criterion != "least_squares":
        _, base = _spatial(replace(request, criterion="least_squares"), points)
        if base is not None and request.material is not None:
            base = base.with_material(request.material)
        if base is not None and tip:
            base = offset_into_material(base, tip)
        if base is None:
            return None, None
    surface = surfaces.of(points.xyz, base, tip, errors.field)
    return surface, None if surface is None else surface.chart(geometry, request.criterion)


def _drawn_circle(
    request: FeatureRequest,
    points: PointSet,
    fit: Any,
    uncertain: UncertainFeature,
    tip: float,
    errors: PointErrors,
    surfaces: Surfaces,
) -> tuple[DrawnSurface | None, DrawnChart | None]:
    """As `_drawn`, for a circle of known normal in its plane; its height is the mean of the points."""
    if errors.field is None or request.criterion not in CRITERIA:
        return None, None
    geometry: Any = uncertain.feature
    outward = -1.0 if geometry.material_side == "outside" else 1.0
    own = fit.feature.with_material(None)
    base = own
    if request.criterion != "least_squares":
        found, _, _ = _planar_circle(replace(request, criterion="least_squares"), points)
        if found.feature is None:
            return None, None
        base = found.feature
    # the tip changes the radius only; the sign of heights is that of the material
    own, base = (
        (one.offset(-outward * tip) if tip else one).with_material(geometry.material_side) for one in (own, base)
    )
    u, v, _ = _plane_axes(request)
    surface = surfaces.of(np.stack([points.xyz @ u, points.xyz @ v], axis=1), base, tip, errors.field)
    if surface is None:
        return None, None
    flat = surface.chart(own, request.criterion)
    turn = into_chart(fit, geometry, (u, v))
    along = list(geometry.chart).index("shift_w")
    sd = math.sqrt(max(float(uncertain.covariance[along, along]), 0.0))
    height = np.zeros((len(flat.chart), len(turn)))
    height[:, along] = sd * normal_levels(len(height), surfaces.seed, f"{request.name}/height")
    other = None if flat.without_form is None else flat.without_form @ turn.T + height
    return surface, DrawnChart(flat.chart @ turn.T + height, turn @ flat.middle, other, flat.flags, own)


@dataclass(frozen=True, eq=False)
class _Scatter:
    """Residuals of a fit: degrees of freedom from distinct points, their standard deviation, the part beyond the
    declared noise, and the place of each point where places repeat."""

    dof: float
    residual: float
    form: float
    places: NDArray[np.int64] | None


def _redundancy(request: FeatureRequest, fit: Any, places: NDArray[np.int64] | None) -> tuple[float, list[str]]:
    """Degrees of freedom from distinct points, and flags: a feature that is one of several is not evaluated.

    Zones that tie keep their value (it is the same for all); as many points as parameters leave several features with
    different values.
    """
    from metrology_core.fitting.table import ROWS

    row = ROWS[request.kind, 2 if request.kind == "circle" and "direction" in request.fixed else 3]
    dof = float(fit.dof)
    flags: list[str] = []
    if places is not None:
        dof -= row.rows_per_point * (len(places) - (int(places.max()) + 1))
        if dof <= 0.0:
            flags.append("zero_redundancy")
        if dof < 0.0:
            flags += ["insufficient", "not_evaluated"]
        elif dof == 0.0 and not row.exact_is_unique:
            flags += ["non_unique", "not_evaluated"]
    if fit.status == "non_unique" and (dof <= 0.0 or not is_zone(fit)):
        flags += ["non_unique", "not_evaluated"]
    return dof, flags


def _residual(fit: Any, dof: float, places: NDArray[np.int64] | None) -> float:
    """Residual standard deviation; what repeats itself counts once."""
    if places is None:
        return float(fit.sigma)
    if dof <= 0.0:
        return math.nan
    share = (int(places.max()) + 1) / len(places)
    return float(fit.sigma) * math.sqrt(float(fit.dof) * share / dof)


def _select(request: FeatureRequest, points: PointSet) -> PointSet:
    label = request.selection.label
    if label is not None and (points.labels is None or label not in points.label_names):
        # this part's file lacks the feature: a fault of the data, told by a flag, not of the use
        return points.select(np.zeros(points.n_points, dtype=bool))
    return points.select(request.selection.mask(points))


def _spatial(request: FeatureRequest, points: PointSet) -> tuple[Any, Any]:
    from metrology_core import fit

    material = request.material if request.criterion != "least_squares" else None
    found = fit(points.xyz, request.kind, criterion=request.criterion, material=material, unit=points.unit)
    geometry = found.feature
    if geometry is not None and request.direction is not None:
        geometry = geometry.with_material(None).oriented(request.direction)
    return found, geometry


def _planar_circle(request: FeatureRequest, points: PointSet) -> tuple[Any, Any, NDArray[np.bool_]]:
    """A circle of known normal: 2-D fit in the projection, carried back into space at the mean height of the points."""
    from metrology_core import fit
    from metrology_core.features import Circle

    u, v, w = _plane_axes(request)
    flat = np.stack([points.xyz @ u, points.xyz @ v], axis=1)
    material = request.material if request.criterion != "least_squares" else None
    found = fit(flat, "circle", criterion=request.criterion, material=material, unit=points.unit)
    # chart of a circle in space: shift_u, shift_v, shift_w, tilt_u, tilt_v, radius; the tilts are known
    free = np.array([True, True, True, False, False, True])
    if found.feature is None:
        return found, None, free
    flat_circle: Any = found.feature
    x, y = np.asarray(flat_circle.center)
    height = math.fsum((points.xyz @ w).tolist()) / points.n_points
    return found, Circle(x * u + y * v + height * w, w, flat_circle.radius), free


def _plane_axes(request: FeatureRequest) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Directions u, v of the projection along the stated normal w."""
    from metrology_core.features import basis

    w = np.asarray(request.direction, dtype=np.float64)
    w = w / np.linalg.norm(w)
    if np.count_nonzero(w) == 1:
        # along a coordinate axis the other two coordinates are taken as they are: not one bit is lost
        k = int(np.argmax(np.abs(w)))
        return np.eye(3)[(k + 1) % 3], np.eye(3)[(k + 2) % 3], w
    return *basis(w), w


def _uncertain(
    request: FeatureRequest,
    points: PointSet,
    fit: Any,
    geometry: Any,
    errors: PointErrors,
    scope: str,
    free: NDArray[np.bool_] | None,
    scatter: _Scatter,
) -> tuple[UncertainFeature | None, float | FloatArray | None, list[str]]:
    """The feature with its covariance, the point error behind it, and flags."""
    flags: list[str] = []
    reach = float(getattr(fit, "reach", 0.0) or 0.0) or float(np.max(np.ptp(points.xyz, axis=0)))
    sigma = errors.sigma
    dof, kind = math.inf, "B"
    if sigma is None:
        sigma, dof, kind = scatter.residual, scatter.dof, "A"
        if not (dof > 0.0 and math.isfinite(sigma)):
            # nothing checks the fit: its scatter is not known, so no uncertainty can be stated
            return None, None, ["zero_redundancy", "not_evaluated"]
    # residuals about the compensated feature differ by a constant, so this is the design in its own parameters
    blocks = design(geometry, points.xyz, reach)
    p = len(geometry.chart)
    moving = np.ones(p, dtype=bool) if free is None else free
    blocks = [block[:, moving] for block in blocks]
    form = np.zeros((p, p))
    try:
        covariance = np.zeros((p, p))
        if errors.field is not None:
            part, subset = field_covariance(blocks, points.xyz, geometry, errors.field), False
        else:
            part, subset = fit_covariance(blocks, points.xyz, sigma, errors.length, scatter.places)
        covariance[np.ix_(moving, moving)] = part
        if scatter.form:
            part, _ = fit_covariance(blocks, points.xyz, scatter.form, None, scatter.places)
            form[np.ix_(moving, moving)] = part
    except np.linalg.LinAlgError:
        return None, None, ["degenerate"]
    if is_zone(fit):
        plane = None if free is None else _plane_axes(request)[:2]
        covariance = zone_covariance(fit, geometry, plane, covariance, points.xyz, sigma, errors.length, errors.field)
    elif is_one_sided(fit):
        plane = None if free is None else _plane_axes(request)[:2]
        covariance, subset = one_sided_covariance(
            fit, geometry, plane, covariance, points.xyz, sigma, errors.length, scatter.places, errors.field
        )
    if subset:
        flags.append("correlation_subsampled")
    label = "point errors" if errors.field is None else "correlated point errors"
    if scatter.form:
        label, kind = "point errors and form", "A"
        # Welch-Satterthwaite of the largest share that form has of any parameter: fewer degrees of freedom are safe
        total = np.diag(covariance) + np.diag(form)
        share = float(np.max(np.diag(form)[total > 0.0] / total[total > 0.0]))
        dof = scatter.dof / share**2
        covariance = covariance + form
    # small steps: zones of a few um bend over the lengths that 1e-4 of the reach would span
    uncertain = UncertainFeature(request.name, geometry, covariance, dof, kind, reach, scope, label, step=1e-6)
    return uncertain, sigma, flags


def _parameter_uncertainty(uncertain: UncertainFeature) -> dict[str, Any]:
    """Standard uncertainty of every parameter, components of vectors one by one; point errors only."""
    feature: Any = uncertain.feature
    names = list(feature.parameters)
    sizes = [int(np.size(feature.parameters[name])) for name in names]

    def stacked(f: Any) -> FloatArray:
        return np.concatenate([np.atleast_1d(f.parameters[name]) for name in names])

    columns = []
    for i, name in enumerate(feature.chart):
        step = 1e-5 * (1.0 if is_angle(name) else uncertain.reach)
        delta = np.zeros(len(feature.chart))
        delta[i] = step
        columns.append((stacked(feature.moved(delta)) - stacked(feature.moved(-delta))) / (2.0 * step))
    u = np.linalg.norm(np.stack(columns, axis=1) @ uncertain.factor(), axis=1)
    parts = np.split(u, np.cumsum(sizes)[:-1])
    return {
        name: float(part[0]) if np.ndim(feature.parameters[name]) == 0 else part.tolist()
        for name, part in zip(names, parts, strict=True)
    }


def deviations(feature: EvaluatedFeature) -> tuple[FloatArray, FloatArray]:
    """Signed deviations (n,) of the points from their associated feature, excess material positive, and the surface
    points (n, 3). Without a material side the sign is that of the distance."""
    assert feature.uncertain is not None
    geometry: Any = feature.uncertain.feature
    xyz = feature.points.xyz
    distance = geometry.distance(xyz)
    normal = geometry.normals(xyz)
    outward = -1.0 if geometry.material_side == "outside" else 1.0
    tip = compensating_tip(feature)
    return outward * distance - tip, xyz - (outward * tip) * normal


def compensating_tip(feature: EvaluatedFeature) -> float:
    """Tip radius by which the feature was compensated; 0 where it was not."""
    if feature.points.points_are != "ball_centre" or feature.points.tip is None:
        return 0.0
    return 0.0 if "ball_centre_uncompensated" in feature.flags else feature.points.tip.radius


def with_flags(feature: EvaluatedFeature, *names: str) -> EvaluatedFeature:
    """The same feature with further flags."""
    return replace(feature, flags=_flags.merge(feature.flags, names))
