"""Zone criteria in an evaluation: characteristics that demand one, and uncertainty through the contacts of the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.characteristics import get as get_characteristic
from metrology_core.uncertainty.fields.field import CorrelatedField
from pointcloud.evaluate.types import FITTED, CharacteristicRequest, FeatureRequest
from pointcloud.evaluate.uncertainty import correlation, field_correlation

FloatArray = NDArray[np.float64]
STABLE_GAP = 20.0  # standard deviations between the border of the zone and the first point that is not a contact
# The plane of a circle or ellipse in space is that of least squares whatever the criterion.
_PLANE = ("shift_w", "tilt_u", "tilt_v")
# What changes sign in the chart when the axis is turned round (u stays, v and w turn).
_TURNING = ("shift", "shift_v", "shift_w", "tilt_u", "rotation")


def by_criterion(
    characteristics: Sequence[CharacteristicRequest], features: Sequence[FeatureRequest]
) -> tuple[tuple[CharacteristicRequest, ...], tuple[FeatureRequest, ...]]:
    """Characteristics that demand a criterion are asked of a further association of the same points.

    What is least squares by its name (``iso14405.GG``, ``form.G...``, ``iso1101....G``) demands that, whatever the
    feature is associated by for other purposes. A datum (the second feature) stays as the recipe associates it.
    Returns the characteristics, those pointing to it under the name ``"bore (minimum zone)"``, and the further
    features.
    """
    known: Mapping[str, FeatureRequest] = {request.name: request for request in features}
    further: dict[str, FeatureRequest] = {}
    result = []
    for request in characteristics:
        criterion = demanded(request.characteristic)
        names = []
        for place, name in enumerate(request.of):
            feature = known.get(name)
            fitted = feature is not None and feature.kind in FITTED and place == 0
            if not criterion or feature is None or not fitted or feature.criterion == criterion:
                names.append(name)
                continue
            title = f"{name} ({criterion.replace('_', ' ')})"
            further[title] = replace(feature, name=title, criterion=criterion)
            names.append(title)
        result.append(replace(request, of=tuple(names)))
    return tuple(result), tuple(further.values())


def demanded(characteristic: str) -> str:
    """The criterion that a characteristic demands; empty where the feature's own is taken."""
    criterion = get_characteristic(characteristic).criterion
    gaussian = "G" in characteristic.split(".") or characteristic == "iso14405.GG"
    return criterion or ("least_squares" if gaussian else "")


def is_zone(fit: Any) -> bool:
    """Whether a fit is held by contacts rather than by all points."""
    return hasattr(fit, "contact_sensitivities")


def _noise(
    rows: NDArray[np.int64],
    xyz: FloatArray,
    sigma: float | FloatArray,
    length: float | None,
    field: CorrelatedField | None,
    surface: Any,
) -> FloatArray:
    """(k, k) covariance of the errors of some points."""
    s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (len(xyz),))[rows]
    if field is not None and len(rows):
        one = replace(field, sigma=np.asarray(field.sigma)[rows]) if np.ndim(field.sigma) else field
        rho = field_correlation(xyz[rows], one, surface)
    else:
        rho = np.eye(len(rows)) if length is None else correlation(xyz[rows], length)
    return np.asarray(rho * np.outer(s, s))


def zone_covariance(
    fit: Any,
    geometry: Any,
    plane: tuple[FloatArray, FloatArray] | None,
    least_squares: FloatArray,
    xyz: FloatArray,
    sigma: float | FloatArray,
    length: float | None,
    field: CorrelatedField | None = None,
) -> FloatArray:
    """Covariance (p, p) in the chart of ``geometry``: contacts held fixed, first order.

    ``plane``: the two directions of the projection where a circle in space was fitted in a plane; ``least_squares``
    brings the rows of the plane itself.
    """
    chart = list(geometry.chart)
    full = np.einsum("ab,bkd->akd", into_chart(fit, geometry, plane), np.asarray(fit.contact_sensitivities))
    noise = _noise(np.asarray(fit.contacts), xyz, sigma, length, field, geometry)
    covariance = np.einsum("akd,kl,bld->ab", full, noise, full)
    if geometry.kind in ("circle", "ellipse"):
        held = np.ix_(*[[chart.index(name) for name in _PLANE]] * 2)
        covariance[held] = least_squares[held]
    return np.asarray((covariance + covariance.T) / 2.0)


def into_chart(fit: Any, geometry: Any, plane: tuple[FloatArray, FloatArray] | None) -> FloatArray:
    """(p, q) what a change in the chart of the fit's feature is in the chart of ``geometry``.

    Different where a circle was fitted in the projection along ``plane`` (shifts and radius only), and where the axis
    or normal was turned round.
    """
    chart = list(geometry.chart)
    if plane is not None:
        from metrology_core.features import basis

        result = np.zeros((len(chart), 3))
        axes = np.stack(basis(geometry.normal))
        result[np.ix_([chart.index("shift_u"), chart.index("shift_v")], [0, 1])] = axes @ np.stack(plane, axis=1)
        result[chart.index("radius"), 2] = 1.0
        return result
    turned = any(
        float(np.dot(fit.feature.parameters[key], geometry.parameters[key])) < 0.0
        for key in ("axis", "normal", "direction")
        if key in geometry.parameters
    )
    return np.diag([-1.0 if turned and name in _TURNING else 1.0 for name in chart])


def zone_spread(
    fit: Any,
    xyz: FloatArray,
    sigma: float | FloatArray,
    length: float | None,
    field: CorrelatedField | None = None,
    surface: Any = None,
) -> float:
    """Standard uncertainty of the form of a zone fit from point errors: u^2 = 4 lambda' V lambda for a minimum zone.

    ``surface``: the feature that the field runs over, where the points were fitted in a projection."""
    on = fit.feature if surface is None else surface
    noise = _noise(np.asarray(fit.form_points), xyz, sigma, length, field, on)
    response = np.asarray(fit.form_sensitivities)
    return math.sqrt(max(float(np.einsum("kd,kl,ld->", response, noise, response)), 0.0))


def zone_flags(fit: Any, sigma: float | FloatArray | None) -> list[str]:
    """Flags of a fit, the stability of its contacts judged by the point error that the evaluation uses."""
    flags = list(fit.flags)
    if not is_zone(fit) or sigma is None or "gap" not in fit.optimality:
        return flags
    stable = float(fit.optimality["gap"]) >= STABLE_GAP * float(np.max(sigma))
    flags = [name for name in flags if name != "contacts_unstable"]
    return flags if stable else [*flags, "contacts_unstable"]
