"""From points to associated features with the covariance that is propagated: select, fit, orient, compensate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.instrument import Instrument
from metrology_core.propagation import UncertainFeature, is_angle
from pointcloud.evaluate_types import FITTED, EvaluatedFeature, FeatureRequest
from pointcloud.evaluate_uncertainty import PointErrors, design, fit_covariance, offset_into_material, point_errors
from pointcloud.evaluate_zone import is_zone, zone_covariance, zone_flags

FloatArray = NDArray[np.float64]


def evaluate_feature(
    request: FeatureRequest, points: PointSet, instrument: Instrument | None, scope: str
) -> EvaluatedFeature:
    """Select the points of a feature and associate it; ``scope`` (digest of the data) makes influence ids unique.

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
        return EvaluatedFeature(request, usable, sigma=errors.sigma, length=errors.length, flags=_flags.merge(flags))
    if request.kind == "circle" and "direction" in request.fixed:
        fit, geometry, free = _planar_circle(request, usable)
    else:
        fit, geometry = _spatial(request, usable)
        free = None
    flags += zone_flags(fit, errors.sigma)
    if geometry is None or fit.status in ("degenerate", "insufficient", "not_converged"):
        return EvaluatedFeature(request, usable, fit, flags=_flags.merge(flags))
    if request.material is not None:
        geometry = geometry.with_material(request.material)
    if usable.points_are == "ball_centre":
        moved = None if usable.tip is None else offset_into_material(geometry, usable.tip.radius)
        if moved is None:
            flags.append("ball_centre_uncompensated")
        else:
            geometry = moved
    uncertain, sigma, more = _uncertain(request, usable, fit, geometry, errors, scope, free)
    return EvaluatedFeature(
        request,
        usable,
        fit,
        uncertain,
        sigma,
        errors.length,
        _flags.merge(flags, more),
        {} if uncertain is None else _parameter_uncertainty(uncertain),
    )


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
    if geometry is not None and request.direction is not None and request.kind != "cone":
        # a cone's axis already has a meaning: it points to where the cone widens
        geometry = geometry.with_material(None).oriented(request.direction)
    return found, geometry


def _planar_circle(request: FeatureRequest, points: PointSet) -> tuple[Any, Any, NDArray[np.bool_]]:
    """A circle of known normal: 2-D fit in the projection, carried back into space at the mean height of the points."""
    from metrology_core import fit
    from metrology_core.features import Circle

    u, v, w = _plane_axes(request)
    flat = np.stack([points.xyz @ u, points.xyz @ v], axis=1)
    found = fit(flat, "circle", criterion=request.criterion, unit=points.unit)
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
) -> tuple[UncertainFeature | None, float | FloatArray | None, list[str]]:
    """The feature with its covariance, the point error behind it, and flags."""
    flags: list[str] = []
    reach = float(getattr(fit, "reach", 0.0) or 0.0) or float(np.max(np.ptp(points.xyz, axis=0)))
    sigma = errors.sigma
    dof, kind = math.inf, "B"
    if sigma is None:
        sigma, dof, kind = float(fit.sigma), float(fit.dof), "A"
        if not (dof > 0.0 and math.isfinite(sigma)):
            # nothing checks the fit: its scatter is not known, so no uncertainty can be stated
            return None, None, ["zero_redundancy", "not_evaluated"]
    # residuals about the compensated feature differ by a constant, so this is the design in its own parameters
    blocks = design(geometry, points.xyz, reach)
    p = len(geometry.chart)
    try:
        if free is None:
            covariance, subset = fit_covariance(blocks, points.xyz, sigma, errors.length)
        else:
            part, subset = fit_covariance([b[:, free] for b in blocks], points.xyz, sigma, errors.length)
            covariance = np.zeros((p, p))
            covariance[np.ix_(free, free)] = part
    except np.linalg.LinAlgError:
        return None, None, ["degenerate"]
    if is_zone(fit):
        plane = None if free is None else _plane_axes(request)[:2]
        covariance = zone_covariance(fit, geometry, plane, covariance, points.xyz, sigma, errors.length)
    if subset:
        flags.append("correlation_subsampled")
    # small steps: zones of a few um bend over the lengths that 1e-4 of the reach would span
    uncertain = UncertainFeature(request.name, geometry, covariance, dof, kind, reach, scope, step=1e-6)
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
