"""Features of a point cloud: recipe and file in, `pointcloud.evaluate.entry.evaluate`, record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.characteristics import get as get_characteristic
from metrology_core.data import Box, PointSet, ProbeTip, Selection, ThermalState
from metrology_core.errors import RecipeError
from pipelines.recipe.convert import calibration_flags, decision_rule, instrument, tolerance
from pipelines.record import StepResult
from pipelines.steps.common import acquisition_of, digests, result_unit, single_input, under_calibration
from pipelines.steps.feature_uncertainty import assessed, simulated, with_risks
from pipelines.steps.reader_remedies import recipe_remedies

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import FeatureCharacteristicSpec, FeatureSpec, InputsSpec, TextSpec, ThermalSpec
    from pointcloud.evaluate.types import CharacteristicRequest, DeviationMap, FeatureRequest
    from pointcloud.nominal.curve import NominalCurve


def measure_features(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the points of a task and measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    from pointcloud.evaluate.entry import evaluate
    from pointcloud.evaluate.types import DatumRequest

    measure = recipe.measure
    if measure.kind != "features":
        raise RecipeError("this step measures features", got=measure.kind)
    points = read_input(recipe, task, root)
    unit = points.unit
    system = measure.datum_system
    curves: dict[tuple[str, str], NominalCurve] = {}
    declared = instrument(recipe.instrument, unit)
    requests = [characteristic_request(spec, unit, recipe, curves) for spec in measure.characteristics]
    datum = None if system is None else DatumRequest(system.name, system.primary, system.secondary, system.tertiary)
    found = evaluate(
        points,
        [feature_request(spec, unit) for spec in measure.features],
        requests,
        datum=datum,
        instrument=declared,
        rule=decision_rule(recipe.decision),
        inputs=digests(task),
        seed=recipe.seed,
    )
    views: tuple[dict[str, Any], ...] = ()
    arrays: dict[str, np.ndarray] = {}
    if found.deviations is not None:
        views, arrays = deviation_view(found.deviations)
    measurements = found.measurements
    if measure.simulation is not None:
        measurements, view, array = simulated(recipe, found, requests, datum, declared, digests(task)[0])
        views, arrays = (*views, *view), arrays | array
    measurements = with_risks(recipe, assessed(recipe, measurements))
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    flags = _flags.merge(found.flags, *(m.flags for m in measurements), calibration)
    return StepResult(
        measurements=under_calibration(measurements, calibration),
        features=tuple(row.to_dict() for row in found.features),
        views=views,
        arrays=arrays,
        flags=flags,
        acquisition=points.acquisition.to_dict(),
        datum_system=None if found.datum_system is None else found.datum_system.to_dict(),
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: points.source.reader} if points.source is not None else {},
    )


def read_input(recipe: Recipe, task: Task, root: Path) -> PointSet:
    """The point set of a task as the recipe declares it; raises `ReaderError` and usage errors."""
    spec = recipe.inputs
    if spec.unit is None:
        raise RecipeError("point clouds need their unit", remedy="add 'unit: mm' to the inputs")
    with recipe_remedies():
        return _read_points(spec, spec.unit, task, root)


def _read_points(spec: InputsSpec, unit: str, task: Task, root: Path) -> PointSet:
    from pointcloud.readers.api import read_points

    return read_points(
        single_input(task, root),
        unit=unit,
        points_are=spec.points_are,
        frame=spec.frame,
        format=spec.format,
        dataset=spec.dataset,
        tip=tip_of(spec, unit),
        root=root,
        acquisition=acquisition_of(task),
        thermal=thermal_state(spec.thermal),
        **_text(spec.text),
    )


def _text(spec: TextSpec | None) -> dict[str, Any]:
    """What the recipe says of text files, in the words of the reader."""
    from pointcloud.readers.text_layout import SEPARATORS

    if spec is None:
        return {}
    return {
        "columns": None if spec.columns is None else tuple(spec.columns),
        "separator": None if spec.separator is None else SEPARATORS[spec.separator],
        "decimal": None if spec.decimal is None else {"point": ".", "comma": ","}[spec.decimal],
    }


def tip_of(spec: InputsSpec, unit: str) -> ProbeTip | None:
    """The probe tip that the recipe states, in a unit."""
    if spec.tip_radius is None:
        return None
    return ProbeTip(spec.tip_radius.to(unit), 0.0 if spec.tip_radius_u is None else spec.tip_radius_u.to(unit))


def thermal_state(spec: ThermalSpec | None) -> ThermalState | None:
    """The thermal state that the recipe states."""
    if spec is None:
        return None
    return ThermalState(
        spec.state,
        None if spec.temperature is None else spec.temperature.to("degC"),
        0.0 if spec.temperature_u is None else spec.temperature_u.to("K"),
        None if spec.expansion is None else spec.expansion.to("1/K"),
        0.0 if spec.expansion_u is None else spec.expansion_u.to("1/K"),
    )


def feature_request(spec: FeatureSpec, unit: str) -> FeatureRequest:
    """A feature of the recipe in the unit of the points."""
    from pointcloud.evaluate.types import FeatureRequest

    region = None
    if spec.select is not None and spec.select.region is not None:
        box = spec.select.region
        region = Box(
            np.array([value.to(unit) for value in box.lower]), np.array([value.to(unit) for value in box.upper])
        )
    direction = None
    if spec.direction is not None:
        x, y, z = spec.direction
        direction = (float(x), float(y), float(z))
    return FeatureRequest(
        spec.name,
        spec.feature,
        Selection(label=None if spec.select is None else spec.select.label, region=region),
        spec.material,
        direction,
        spec.criterion,
        tuple(spec.fixed),
    )


def characteristic_request(
    spec: FeatureCharacteristicSpec,
    unit: str,
    recipe: Recipe,
    curves: dict[tuple[str, str], NominalCurve],
) -> CharacteristicRequest:
    """A characteristic of the recipe; nominal curves are read once into ``curves``. Raises `ReaderError`."""
    from pointcloud.evaluate.types import CharacteristicRequest
    from pointcloud.nominal.curve import read_curve

    row = get_characteristic(spec.characteristic)
    target = result_unit(spec, unit if row.dimension == "length" else "deg")
    curve = None
    if spec.nominal_curve is not None:
        key = (spec.nominal_curve.file, spec.nominal_curve.unit)
        if key not in curves:
            curves[key] = read_curve(recipe.file_path(key[0]), unit=key[1])
        curve = curves[key]
    return CharacteristicRequest(
        spec.name,
        spec.characteristic,
        tuple(spec.of),
        spec.in_ is not None,
        None if spec.at is None else tuple(value.to(unit) for value in spec.at),
        target,
        None if spec.nominal is None else spec.nominal.to(target),
        tolerance(spec, target),
        curve,
    )


def deviation_view(shown: DeviationMap) -> tuple[tuple[dict[str, Any], ...], dict[str, np.ndarray]]:
    """The deviation map as a view of the record and its arrays."""
    view = {
        "kind": "deviation_map",
        "name": "deviations",
        "unit": shown.unit,
        "xyz": "deviation/xyz",
        "value": "deviation/value",
        "feature": "deviation/feature",
        "feature_names": list(shown.feature_names),
        "tolerance": None,
        "tolerances": [
            None if limits is None else {"lower": limits[0], "upper": limits[1]} for limits in shown.tolerances
        ],
        "u": shown.u,
        "reference": shown.reference,
        "n_total": shown.n_total,
        "worst": list(shown.worst),
    }
    arrays: dict[str, np.ndarray] = {
        "deviation/xyz": shown.xyz,
        "deviation/value": shown.value,
        "deviation/feature": shown.feature,
    }
    return (view,), arrays
