"""From a point set to decided measurements: features, datum system, characteristics with full budgets, verdicts.

Nothing here reads a file or a recipe. Every value is propagated through one function of the features, datum features
included, so that fits which two characteristics share correlate them; the instrument acts through three named
sensitivities (tip radius, relative scale, length error within the MPE).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.characteristics import Characteristic, Context
from metrology_core.characteristics import get as get_characteristic
from metrology_core.characteristics.rows import location
from metrology_core.conformity import DecisionRule
from metrology_core.data import DatumSystem, PointSet, Rigid
from metrology_core.errors import DataError, FrameError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.measurement import Measurement
from metrology_core.propagation import UncertainFeature, propagate
from metrology_core.provenance import digest_bytes
from metrology_core.quantity import Measured
from metrology_core.units import convert
from pointcloud.datums import DatumFeature, datum_system
from pointcloud.evaluate.bound import at_the_bound
from pointcloud.evaluate.deviations import deviation_map
from pointcloud.evaluate.drawn import interval_words, order_statistics, with_draws
from pointcloud.evaluate.features import deviations, evaluate_feature
from pointcloud.evaluate.influences import instrument_influences, noise_influences
from pointcloud.evaluate.profile import evaluate_profile
from pointcloud.evaluate.surface import Surfaces, surface_influence
from pointcloud.evaluate.types import (
    CharacteristicRequest,
    DatumRequest,
    EvaluatedFeature,
    Evaluation,
    FeatureRequest,
)
from pointcloud.evaluate.uncertainty import extremes_of
from pointcloud.evaluate.verdict import decided
from pointcloud.evaluate.workspace import Workspace, feature_words
from pointcloud.evaluate.zone import by_criterion, is_zone, zone_spread
from pointcloud.prepare import to_reference_temperature

FloatArray = NDArray[np.float64]
ONE_SIDED = ("maximum_inscribed", "minimum_circumscribed")


def evaluate(
    points: PointSet,
    features: Sequence[FeatureRequest],
    characteristics: Sequence[CharacteristicRequest],
    *,
    datum: DatumRequest | None = None,
    instrument: Instrument | None = None,
    rule: DecisionRule | None = None,
    inputs: tuple[str, ...] = (),
    seed: int = 0,
    max_shown: int = 20_000,
) -> Evaluation:
    """Measure one part.

    ``points`` in their own unit and frame; ``instrument`` lengths in the same unit; ``rule`` default ISO 14253-1
    proving conformity; ``inputs`` SHA-256 of the files behind the points; ``seed`` keys the drawn effects of noise on
    extremes; ``max_shown`` points go into the deviation map. A feature without points or fit makes the characteristics
    that need it *not evaluated*, with flags. Raises `ParameterError`/`CharacteristicError` for a request that cannot be
    meant, `DataError` where not one feature has a usable point.
    """
    names = [request.name for request in features]
    if len(set(names)) != len(names):
        raise ParameterError("two features have the same name", got=", ".join(names))
    _check_instrument(points, instrument)
    prepared = to_reference_temperature(points)
    scope = (inputs[0] if inputs else digest_bytes(np.ascontiguousarray(points.xyz).tobytes()))[:16]
    requested, further = by_criterion(characteristics, features)
    surfaces = Surfaces(seed)
    found = {
        request.name: evaluate_feature(request, prepared, instrument, scope, surfaces)
        for request in (*features, *further)
    }
    if not any(row.points.n_points and "no_usable_points" not in row.flags for row in found.values()):
        raise DataError(
            "no requested feature has a usable point",
            expected=", ".join(r.selection.label or r.name for r in features),
            got=", ".join(points.label_names) or "points without labels",
            remedy="check the labels of the file against the recipe",
        )
    system, problem = _datum_system(datum, found, prepared)
    space = Workspace(prepared, found, datum, problem, instrument, scope, seed)
    measurements = tuple(_measure(request, space, rule or DecisionRule.iso14253(), inputs) for request in requested)
    flags = _flags.merge(prepared.flags, *(row.flags for row in found.values()), *(m.flags for m in measurements))
    if any(m.measured is None for m in measurements) and any(m.measured is not None for m in measurements):
        flags = _flags.merge(flags, ["partial_result"])
    # one map per feature: about the association that the recipe names
    mapped = {request.name: found[request.name] for request in features}
    shown = deviation_map(replace(space, features=mapped), characteristics, max_shown)
    return Evaluation(prepared, tuple(found.values()), measurements, system, shown, flags, space.noise_and_form)


def _check_instrument(points: PointSet, instrument: Instrument | None) -> None:
    if instrument is not None and instrument.unit != points.unit:
        raise ParameterError(
            f"instrument {instrument.id} is declared in another unit",
            expected=points.unit,
            got=instrument.unit,
            remedy="convert the instrument; the points are never rescaled",
        )


def _datum_system(
    datum: DatumRequest | None, found: Mapping[str, EvaluatedFeature], points: PointSet
) -> tuple[DatumSystem | None, str | None]:
    if datum is None:
        return None, None
    rows: list[DatumFeature | None] = []
    for name in (datum.primary, datum.secondary, datum.tertiary):
        if name is None:
            rows.append(None)
            continue
        if name not in found:
            raise ParameterError(f"datum feature {name!r} is not among the features", expected=", ".join(found))
        row = found[name]
        if row.uncertain is None:
            return None, f"datum feature {name} could not be associated ({', '.join(row.flags)})"
        rows.append(DatumFeature(name, row.uncertain.feature, row.request.criterion))
    assert rows[0] is not None  # the primary datum has no default
    try:
        return datum_system(datum.name, rows[0], rows[1], rows[2], parent=points.frame), None
    except FrameError as error:
        return None, str(error)


def _measure(
    request: CharacteristicRequest, space: Workspace, rule: DecisionRule, inputs: tuple[str, ...]
) -> Measurement:
    row = get_characteristic(request.characteristic)
    if len(request.of) != len(row.inputs):
        raise ParameterError(
            f"{row.id} takes {len(row.inputs)} feature(s)", got=", ".join(request.of) or "none", where=request.name
        )
    unknown = [name for name in request.of if name not in space.features]
    if unknown:
        raise ParameterError(f"{request.name}: no feature {unknown[0]!r}", expected=", ".join(space.features))
    used = list(request.of) + ([] if not request.in_datum or space.datum is None else list(space.datum.features))
    rows = [space.features[name] for name in dict.fromkeys(used)]
    unit = request.unit or (space.points.unit if row.dimension == "length" else "rad")
    flags = _flags.merge(space.points.flags, *(item.flags for item in rows))
    reason = _why_not(request, row, space, rows)
    if reason is not None:
        return _not_evaluated(request, row, unit, flags, reason, inputs)
    try:
        if row.needs == "features":
            measured, words, details = _of_features(request, row, space)
        elif row.needs == "form":
            measured, words, details = _of_form(request, row, space)
        elif row.needs == "points":
            measured, words, details = evaluate_profile(request, row, space)
        else:
            raise ParameterError(f"{row.id} is not a characteristic of points", where=request.name)
    except FrameError as error:
        return _not_evaluated(request, row, unit, flags, str(error), inputs)
    details = _details(details, space.points.unit, unit if row.dimension == "length" else space.points.unit)
    measured = measured.to(unit)
    flags = _flags.merge(flags, measured.flags)
    decision, flags = decided(measured, request.tolerance, rule, flags)
    return Measurement(
        request.name,
        row.id,
        row.title,
        unit,
        measured,
        request.nominal,
        request.tolerance,
        decision,
        words,
        flags,
        inputs,
        details,
    )


def _details(details: Mapping[str, Any], given: str, unit: str) -> dict[str, Any]:
    """Details, all of them lengths, in ``unit``, which they name."""
    if not details:
        return {}

    def to(value: Any) -> Any:
        return [to(item) for item in value] if isinstance(value, list) else convert(float(value), given, unit)

    return {"unit": unit, **{key: to(value) for key, value in details.items()}}


def _why_not(
    request: CharacteristicRequest, row: Characteristic, space: Workspace, rows: Sequence[EvaluatedFeature]
) -> str | None:
    for item in rows:
        grouped = row.needs == "points" and item.request.name == request.of[0]
        if not (item.points.n_points and "no_usable_points" not in item.flags if grouped else item.usable):
            return f"feature {item.request.name} is not usable ({', '.join(item.flags) or 'not fitted'})"
    if request.in_datum:
        if space.datum is None:
            raise ParameterError(f"{request.name}: no datum system was defined", remedy="define one")
        return space.datum_problem
    return None


def _not_evaluated(
    request: CharacteristicRequest,
    row: Characteristic,
    unit: str,
    flags: tuple[str, ...],
    reason: str,
    inputs: tuple[str, ...],
) -> Measurement:
    return Measurement(
        request.name,
        row.id,
        row.title,
        unit,
        None,
        request.nominal,
        request.tolerance,
        None,
        f"not evaluated: {reason}",
        _flags.merge(flags, ["not_evaluated"]),
        inputs,
        {"reason": reason},
    )


# --- characteristics of features
def _of_features(
    request: CharacteristicRequest, row: Characteristic, space: Workspace
) -> tuple[Measured, str, dict[str, Any]]:
    names = list(dict.fromkeys((*request.of, *(space.datum.features if request.in_datum and space.datum else ()))))
    uncertain = {name: _uncertain(space, name) for name in names}
    extents = tuple(_extent(space.features[name]) for name in request.of)
    at = None if request.at is None else np.asarray(request.at, dtype=np.float64)
    assert row.function is not None  # rows that need features have one

    def value(geometries: Mapping[str, Any], factor: float = 1.0) -> float:
        chosen = [geometries[name] for name in request.of]
        if request.in_datum:
            motion = space.motion(geometries)
            chosen = [feature.transform(motion) for feature in chosen]
        stretched = tuple(None if e is None else (e[0] * factor, e[1] * factor) for e in extents)
        return float(row.function(chosen, Context(at, stretched)))  # type: ignore[misc]

    plain: dict[str, Any] = {name: item.feature for name, item in uncertain.items()}
    reach = min(item.reach for item in uncertain.values())
    extra = instrument_influences(
        space.points,
        space.instrument,
        space.scope,
        value,
        plain,
        reach,
        _length(request, row, space, plain, value, extents),
        " | ".join(sorted(request.of)),
    )
    unit = space.points.unit if row.dimension == "length" else "rad"
    drawn = {name: chart for name in names if (chart := space.features[name].drawn) is not None}
    if row.criterion in ONE_SIDED and request.of[0] not in drawn:
        extra |= _size_bias(request, row, space)
    measured = propagate(value, uncertain, unit=unit, lower_bound=row.lower_bound, extra=extra)
    upper = math.pi / 2.0 if row.id == "angle.between" else None
    if row.lower_bound == 0.0:
        measured = at_the_bound(measured, value, uncertain, space.scope, request.name, upper)
    measured, alone = with_draws(measured, value, uncertain, drawn, space.seed, upper)
    if alone is not None:
        space.noise_and_form[request.name] = alone
    details: dict[str, Any] = {}
    if row.uses_position or row.id.startswith("coordinate."):
        motion = space.motion(plain) if request.in_datum else Rigid.identity()
        details["location"] = location(plain[request.of[0]].transform(motion)).tolist()
    return measured, _words(row.words, request, space, names) + interval_words(measured), details


def _size_bias(request: CharacteristicRequest, row: Characteristic, space: Workspace) -> dict[Any, float]:
    """Noise makes an inscribed size smaller and a circumscribed one larger: one-sided, as for form, not corrected.

    The spread is in the covariance of the contacts.
    """
    feature = space.features[request.of[0]]
    assert feature.uncertain is not None and feature.sigma is not None  # usable features have both
    distance = np.asarray(feature.uncertain.feature.distance(feature.points.xyz))  # type: ignore[attr-defined]
    inscribed = row.criterion == "maximum_inscribed"
    height = distance.max() - distance if inscribed else distance - distance.min()
    effect = extremes_of(
        height, feature.points.xyz, feature.sigma, feature.length, both=False, seed=space.keyed(request.name)
    )
    return noise_influences(space.scope, request.name, replace(effect, spread=0.0), 2.0, feature.uncertain)


def _uncertain(space: Workspace, name: str) -> UncertainFeature:
    item = space.features[name].uncertain
    assert item is not None  # _why_not has sorted out the others
    return item


def _extent(feature: EvaluatedFeature) -> tuple[float, float] | None:
    """Range of the points along the axis of the (oriented) feature, about its point."""
    assert feature.uncertain is not None
    geometry: Any = feature.uncertain.feature
    if geometry.kind not in ("line", "cylinder", "cone"):
        return None
    axis = geometry.direction if geometry.kind == "line" else geometry.axis
    along = (feature.points.xyz - geometry.point) @ axis
    return float(along.min()), float(along.max())


def _length(
    request: CharacteristicRequest,
    row: Characteristic,
    space: Workspace,
    plain: Mapping[str, Any],
    value: Callable[..., float],
    extents: Sequence[tuple[float, float] | None],
) -> tuple[float, float] | None:
    """Length that the length error of the instrument acts on, and its sensitivity; None where none does."""
    if row.length_of == "none":
        return None
    spans = [abs(e[1] - e[0]) for e in extents if e is not None]
    span = min(spans) if spans else 2.0 * min(_uncertain(space, name).reach for name in request.of)
    if row.length_of == "angle":
        # a length error across the measured extent tilts the feature
        return (span, 1.0) if row.dimension == "length" else (span, 1.0 / max(span, 1e-300))
    if row.length_of == "value":
        return abs(value(plain)), 1.0
    if row.uses_position:
        motion = space.motion(plain) if request.in_datum else Rigid.identity()
        at = location(plain[request.of[0]].transform(motion))
        return float(np.linalg.norm(at[: len(request.at or at)])), 2.0
    if not row.id.startswith("iso1101."):
        return abs(value(plain)), 1.0
    # between the places of the two features; zones are diameters, so an offset counts twice
    return float(np.linalg.norm(location(plain[request.of[0]]) - location(plain[request.of[-1]]))), 2.0


# --- form about the least-squares element
def _of_form(
    request: CharacteristicRequest, row: Characteristic, space: Workspace
) -> tuple[Measured, str, dict[str, Any]]:
    feature = space.features[request.of[0]]
    values, _ = deviations(feature)
    assert feature.sigma is not None  # usable features have a point error
    drawn = None
    if feature.drawn is not None and feature.request.criterion in ("least_squares", "minimum_zone"):
        assert feature.surface is not None
        drawn = feature.surface.form(feature.drawn.geometry, feature.request.criterion)
    effect = extremes_of(
        values, feature.points.xyz, feature.sigma, feature.length, both=True, seed=space.keyed(request.name)
    )
    if is_zone(feature.fit):
        on = None if feature.uncertain is None else feature.uncertain.feature
        spread = zone_spread(feature.fit, feature.points.xyz, feature.sigma, feature.length, feature.field, on)
        effect = replace(effect, spread=spread)
    value = float(values.max() - values.min()) if feature.fit.form is None else float(feature.fit.form)
    if drawn is None:
        # a declared noise is of type B, whatever form adds to the covariance of the feature
        source = None if feature.form else feature.uncertain
        parts = noise_influences(space.scope, request.name, effect, 1.0, source)
        flags: tuple[str, ...] = () if value > effect.floor else ("form_not_resolved",)
    else:
        parts = {surface_influence(space.scope, request.name): float(drawn.samples.std(ddof=1))}
        flags = drawn.flags
    measured = Measured(
        value,
        space.points.unit,
        {influence.id: part for influence, part in parts.items()},
        {influence.id: influence for influence in parts},
        row.lower_bound,
        None if drawn is None else order_statistics(drawn.samples),
        flags=flags,
    )
    details = {
        "highest": float(values.max()),
        "lowest": float(values.min()),
        "noise_alone": effect.floor,
        "noise_bias": effect.bias,
    }
    words = _words(row.words, request, space, [request.of[0]])
    return measured, words, details


# --- words
def _words(what: str, request: CharacteristicRequest, space: Workspace, names: Sequence[str]) -> str:
    if request.of and space.features[request.of[0]].request.criterion != "least_squares":
        what = what.replace("least-squares ", "")
    parts = [what]
    for name in names:
        parts.append(feature_words(space.features[name]))
    if request.in_datum or request.at is not None:
        parts.append(space.datum_words() if request.in_datum else f"frame {space.points.frame.name} of the file")
    parts.append("unfiltered")
    history = [step.words for step in space.points.history if step.name == "thermal"]
    return "; ".join([*parts, *history])


__all__ = [
    "CharacteristicRequest",
    "DatumRequest",
    "Evaluation",
    "FeatureRequest",
    "evaluate",
]
