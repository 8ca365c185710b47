"""Profile of a line: points against a nominal closed curve in the datum system, twice the largest distance.

The rule stands beside the number because programs differ (twice the largest distance, range, largest distance): here
the zone is symmetric about the nominal, and no best fit moves the points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.characteristics import Characteristic
from metrology_core.data import Rigid
from metrology_core.errors import ParameterError
from metrology_core.propagation import propagate
from metrology_core.quantity import Measured
from pointcloud.evaluate.influences import (
    acts_thermally,
    length_contribution,
    noise_influences,
    thermal_contribution,
    tip_contribution,
)
from pointcloud.evaluate.types import CharacteristicRequest, EvaluatedFeature
from pointcloud.evaluate.uncertainty import extremes_of
from pointcloud.evaluate.workspace import Workspace, feature_words

FloatArray = NDArray[np.float64]


def profile_deviations(
    request: CharacteristicRequest, space: Workspace
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Deviations (n,) of a group of points from the nominal curve, surface points (n, 3) in the frame of the file,
    points (n, 3) in the datum frame, and the tip radius that was taken off.

    Ball centres are compensated along the normal of the nominal at the foot point, which lies in the plane of the
    curve: right for a section of a surface that stands square to it.
    """
    if request.curve is None:
        raise ParameterError(f"{request.name}: a profile needs its nominal curve")
    curve = request.curve.to(space.points.unit)
    feature = space.features[request.of[0]]
    motion = _motion(request, space, {n: _geometry(space, n) for n in _datum_names(request, space)})
    local = motion.apply(feature.points.xyz)
    foot = curve.foot(local[:, :2])
    tip = tip_of(feature)
    normal = np.concatenate([foot.normal, np.zeros((len(local), 1))], axis=1)
    surface = feature.points.xyz - tip * motion.inverse().rotate(normal)
    return foot.distance - tip, surface, local, tip


def profile_in_trials(
    request: CharacteristicRequest, space: Workspace
) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
    """The profile as a function of displaced points (T, n, 3), already in the datum frame, to values (T,); and the
    nominal's normals (n, 3) at the points, in the frame of the file.

    A displaced point is seen from the tangent at its foot: right to the square of the displacement over twice the
    radius of the curve, a nanometre for 2 um on a radius of 2 mm.
    """
    values, _, local, _ = profile_deviations(request, space)
    assert request.curve is not None
    normal = request.curve.to(space.points.unit).foot(local[:, :2]).normal
    motion = _motion(request, space, {n: _geometry(space, n) for n in _datum_names(request, space)})
    still = values - np.einsum("nk,nk->n", local[:, :2], normal)

    def value(xyz: FloatArray) -> FloatArray:
        return np.asarray(2.0 * np.abs(still + np.einsum("tnk,nk->tn", xyz[:, :, :2], normal)).max(axis=1))

    return value, motion.inverse().rotate(np.concatenate([normal, np.zeros((len(local), 1))], axis=1))


def tip_of(feature: EvaluatedFeature) -> float:
    """Tip radius to take off a group of points; 0 for surface points."""
    points = feature.points
    return points.tip.radius if points.points_are == "ball_centre" and points.tip is not None else 0.0


def _datum_names(request: CharacteristicRequest, space: Workspace) -> tuple[str, ...]:
    return space.datum.features if request.in_datum and space.datum is not None else ()


def _geometry(space: Workspace, name: str) -> Any:
    item = space.features[name].uncertain
    assert item is not None  # a profile in a datum system without datums is not evaluated
    return item.feature


def _motion(request: CharacteristicRequest, space: Workspace, geometries: Mapping[str, Any]) -> Rigid:
    return space.motion(geometries) if request.in_datum else Rigid.identity()


def evaluate_profile(
    request: CharacteristicRequest, row: Characteristic, space: Workspace
) -> tuple[Measured, str, dict[str, Any]]:
    """Value with its budget, method in words, details. The derivative is taken at the point that decides."""
    feature = space.features[request.of[0]]
    values, _, local, tip = profile_deviations(request, space)
    worst = int(np.argmax(np.abs(values)))
    sign = 1.0 if values[worst] >= 0.0 else -1.0
    assert request.curve is not None
    curve = request.curve.to(space.points.unit)
    at = feature.points.xyz[worst]
    names = _datum_names(request, space)
    uncertain = {}
    for name in names:
        item = space.features[name].uncertain
        assert item is not None
        uncertain[name] = item

    foot = curve.foot(local[worst : worst + 1, :2])
    normal, base = foot.normal[0], foot.point[0]

    def value(geometries: Mapping[str, Any]) -> float:
        # the normal at the foot is the gradient of the distance: the tangent stands for the curve near it
        moved = _motion(request, space, geometries).apply(at)
        return 2.0 * sign * (float((moved[:2] - base) @ normal) - tip)

    extra = {
        # the point that decides moves with the tip and with the scale of the part about the datum origin
        **tip_contribution(space.points, space.instrument, space.scope, -2.0 * sign if tip else 0.0),
        **length_contribution(
            space.instrument, (float(np.linalg.norm(local[worst])), 2.0), " | ".join(sorted(request.of))
        ),
    }
    if acts_thermally(space.points, space.instrument):
        sensitivity = 2.0 * sign * float(normal @ local[worst, :2])
        extra |= thermal_contribution(space.points, space.instrument, space.scope, sensitivity)
    sigma, words_sigma = _sigma(feature, [space.features[name] for name in names])
    details: dict[str, Any] = {
        "largest_outside": float(values.max()),
        "largest_inside": float(values.min()),
        "range": float(np.ptp(values)),
        "worst_point": local[worst].tolist(),
        "chord_tolerance": curve.chord_tolerance,
    }
    flags: tuple[str, ...] = ()
    if sigma is not None:
        effect = extremes_of(
            values, feature.points.xyz, sigma, feature.length, both=False, seed=space.keyed(request.name)
        )
        extra |= noise_influences(space.scope, request.name, effect, 2.0, None)
        details |= {"noise_alone": 2.0 * effect.floor, "noise_bias": 2.0 * effect.bias}
        if 2.0 * abs(float(values[worst])) <= 2.0 * effect.floor:
            flags = ("form_not_resolved",)
    if uncertain:
        measured = propagate(
            value, uncertain, unit=space.points.unit, lower_bound=row.lower_bound, extra=extra, flags=flags
        )
    else:
        measured = Measured(
            value({}),
            space.points.unit,
            {influence.id: part for influence, part in extra.items()},
            {influence.id: influence for influence in extra},
            row.lower_bound,
            flags=flags,
        )
    how = {"cubic_spline": "periodic cubic spline", "polyline": "closed polyline"}[curve.interpolation]
    words = [
        f"{row.words}; nominal {curve.name}: {how} through {len(curve.points)} points",
        "zone symmetric about the nominal, no best fit",
        feature_words(feature) + words_sigma,
        *(feature_words(space.features[name]) for name in names),
        space.datum_words() if request.in_datum else f"frame {space.points.frame.name} of the file",
        "ball centres compensated along the nominal's normal" if tip else "surface points",
        "unfiltered",
    ]
    return measured, "; ".join(words), details


def _sigma(feature: EvaluatedFeature, others: list[EvaluatedFeature]) -> tuple[float | FloatArray | None, str]:
    """Point error of a group: declared, or borrowed from the scatter of the datum features about their fits."""
    if feature.sigma is not None:
        return feature.sigma, ""
    known = [float(np.sqrt(np.mean(np.square(row.sigma)))) for row in others if row.sigma is not None]
    if not known:
        return None, ", point errors not known"
    return max(known), ", point errors taken from the largest residual standard deviation of the datum features"
