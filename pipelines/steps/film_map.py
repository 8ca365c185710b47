"""Film maps of a wafer: recipe and file in, `wafer.maps.measure_film_map`, record out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core import flags as _flags
from metrology_core.characteristics import get as get_characteristic
from metrology_core.conformity import decide
from metrology_core.errors import DataError, RecipeError, UnitError
from metrology_core.measurement import Measurement
from pipelines.lots import frame_of
from pipelines.recipe.convert import calibration_flags, decision_rule, instrument, tolerance
from pipelines.record import StepResult
from pipelines.steps.common import digests, result_unit, single_input, under_calibration
from pipelines.steps.reader_remedies import recipe_remedies

if TYPE_CHECKING:
    from metrology_core.quantity import Measured
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import FilmCharacteristicSpec, FilmMapMeasure
    from wafer.maps import FilmResult, SiteMap, WaferFrame

INCOMPLETE = ("repeatability_only", "repeatability_missing")  # flags of an uncertainty that lacks something
READER = "wafer.maps.film"
UNIT = "nm"  # of results, where the recipe states none


def measure_film_map_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the film file of a task and evaluate its wafer. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer.maps import WaferFrame, measure_film_map

    measure = recipe.measure
    if measure.kind != "film_map":
        raise RecipeError("this step evaluates film maps", got=measure.kind)
    found = _map_of(measure, task, root, recipe.inputs.unit)
    frame = frame_of(recipe.model_dump(mode="json", by_alias=True, exclude_none=True)) or WaferFrame()
    declared = instrument(recipe.instrument, found.unit)
    places = [(c.at[0].to("mm"), c.at[1].to("mm")) for c in measure.characteristics if c.at is not None]
    result = measure_film_map(found, frame, instrument=declared, places=places, scope=task.part)
    inputs = digests(task)
    sites = iter(result.sites)
    # files may state units of their own: results of one unit are one lot and have one scale of colours
    unit = recipe.inputs.unit or UNIT
    rows = tuple(
        _measurement(spec, next(sites) if spec.at is not None else None, result, recipe, inputs, unit)
        for spec in measure.characteristics
    )
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    view, arrays = _view(found, result, frame, unit)
    return StepResult(
        measurements=under_calibration(rows, calibration),
        views=(view,),
        arrays=arrays,
        flags=_flags.merge(result.flags, calibration),
        acquisition={},
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: READER},
    )


def _map_of(measure: FilmMapMeasure, task: Task, root: Path, unit: str | None) -> SiteMap:
    """The map that the recipe names, of the wafer of the task; raises `DataError`."""
    from metrology_core.units import unit as find_unit
    from wafer.maps import read_film_maps, wafers_of

    with recipe_remedies():
        wafers = wafers_of(read_film_maps(single_input(task, root), unit=unit or "nm"))
    maps = next(iter(wafers.values())) if task.item is None else wafers[task.item]
    where = task.inputs[0].path
    titles = ", ".join(repr(m.title) for m in maps)
    if measure.result is not None:
        chosen = [m for m in maps if m.title.strip().lower() == measure.result.strip().lower()]
        if len(chosen) != 1:
            raise DataError(
                f"the file has no result {measure.result!r}" if not chosen else f"two results are {measure.result!r}",
                where=where, expected=titles, remedy="correct measure.result in the recipe",
            )  # fmt: skip
    else:
        chosen = [m for m in maps if m.unit]
        if len(chosen) != 1:
            raise DataError(
                "the file holds several results" if chosen else "the file holds no result with a unit of length",
                where=where, got=titles, remedy="name one with measure.result in the recipe",
            )  # fmt: skip
    found = chosen[0]
    if unit is None and not found.own_unit:
        raise DataError(
            "the file does not say the unit of its values", where=where,
            expected="a unit in brackets behind the name of the column", got=found.title or found.wafer or "Value",
            remedy="state inputs.unit in the recipe: angstrom, nm, ...",
        )  # fmt: skip
    try:
        if found.unit and find_unit(found.unit).dimension == "length":
            return found
    except UnitError:
        pass
    raise DataError(
        f"the result {found.title or found.wafer!r} is no length", where=where, expected="a unit of length",
        got=found.unit or "a pure number",
        remedy="name a thickness with measure.result; 'abbe map' shows other results",
    )  # fmt: skip


def _measurement(
    spec: FilmCharacteristicSpec, site: Measured | str | None, found: FilmResult, recipe: Recipe,
    inputs: tuple[str, ...], default: str,
) -> Measurement:  # fmt: skip
    row = get_characteristic(spec.characteristic)
    unit = result_unit(spec, "%" if row.dimension == "ratio" else default)
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    limits = tolerance(spec, unit)
    value = found.measurements.get(row.id) if site is None else site
    if value is None or isinstance(value, str):
        reason = value or found.missing.get(row.id, "the map does not give it")
        return Measurement(
            spec.name, row.id, row.title, unit, None, nominal, limits, None, f"not evaluated: {reason}",
            ("not_evaluated",), inputs, {"reason": reason},
        )  # fmt: skip
    measured = value.to(unit)
    flags = measured.flags
    decision = None
    if limits is not None and "summary_not_reproduced" in flags:
        flags = _flags.merge(flags, ["verdict_withheld"])
    elif limits is not None:
        provisional = recipe.instrument is None or not {*INCOMPLETE, "sites_off_wafer", "file_cut"}.isdisjoint(flags)
        decision = decide(measured, limits, decision_rule(recipe.decision), provisional=provisional)
        if provisional:
            flags = _flags.merge(flags, ["provisional_verdict"])
    method = f"{row.words}; {found.methods[row.id]}"
    return Measurement(
        spec.name, row.id, row.title, unit, measured, nominal, limits, decision, method, flags, inputs, {}
    )


def _view(
    found: SiteMap, result: FilmResult, frame: WaferFrame, unit: str
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """What the report draws: the map in ``unit``; its figures beside the file's own, in the unit of the file."""
    from metrology_core.units import convert
    from metrology_core.units import unit as find_unit

    view: dict[str, Any] = {
        "kind": "film_map", "name": found.title or "values", "unit": unit, "wafer": found.wafer,
        "x": "film/x", "y": "film/y", "value": "film/value", "used": "film/used", "counts": dict(result.counts),
        "figures": found.figures(), "n": found.summary().n,
        "reported": {name: str(text) for name, text in found.reported.items()},
        "differences": sorted(result.differences),
        "frame": {"diameter": frame.diameter, "edge_exclusion": frame.edge_exclusion, "notch": frame.notch},
    }  # fmt: skip
    value = found.value
    if find_unit(found.unit) != find_unit(unit):
        view["figures_unit"] = found.unit
        value = value * convert(1.0, found.unit, unit)
    arrays: Mapping[str, Any] = {
        "film/x": found.x, "film/y": found.y, "film/value": value, "film/used": result.used.astype("u1"),
    }  # fmt: skip
    return view, dict(arrays)
