"""Lines and spaces in an SEM image: recipe and file in, `wafer.lines.evaluate.measure_sem_lines`, record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core import flags as _flags
from metrology_core.characteristics import get as get_characteristic
from metrology_core.conformity import decide
from metrology_core.errors import RecipeError
from metrology_core.measurement import Measurement
from pipelines.recipe.convert import calibration_flags, decision_rule, instrument, tolerance
from pipelines.record import StepResult
from pipelines.steps.common import acquisition_of, digests, result_unit, single_input, under_calibration

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import SemCharacteristicSpec, SemLinesMeasure
    from wafer.contacts import ContactResult
    from wafer.contours.evaluate import ContourResult
    from wafer.lines.evaluate import SemLineResult

UNIT = "nm"  # in which images are measured; results are converted to the unit of the recipe


def measure_sem_lines_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the image of a task and measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer.lines.evaluate import measure_sem_lines
    from wafer.readers import read_image

    measure = recipe.measure
    if measure.kind != "sem_lines":
        raise RecipeError("this step measures lines in SEM images", got=measure.kind)
    pixel = (measure.pixel.x.to(UNIT), measure.pixel.y.to(UNIT))
    relative = None if measure.pixel.u_relative is None else measure.pixel.u_relative.to("1")
    image = read_image(
        single_input(task, root),
        pixel=pixel,
        pixel_u=None if relative is None else (relative * pixel[0], relative * pixel[1]),
        unit=UNIT,
        root=root,
        acquisition=acquisition_of(task),
    )
    declared = instrument(recipe.instrument, UNIT)
    found = measure_sem_lines(image, _settings(measure, recipe.seed), instrument=declared)
    inputs = digests(task)
    rows = tuple(measurement_of(spec, found, recipe, inputs) for spec in measure.characteristics)
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    return StepResult(
        measurements=under_calibration(rows, calibration),
        features=(),
        views=found.views,
        arrays=dict(found.arrays),
        flags=_flags.merge(found.flags, calibration),
        acquisition=image.acquisition.to_dict(),
        datum_system=None,
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: image.source.reader} if image.source is not None else {},
    )


def _settings(measure: SemLinesMeasure, seed: int) -> Any:
    from wafer.lines.evaluate import SemLineSettings

    nominal = {spec.characteristic: spec.nominal for spec in measure.characteristics if spec.nominal is not None}
    cd, pitch = nominal.get("sem.cd_line"), nominal.get("sem.pitch")
    return SemLineSettings(
        criterion=measure.criterion,
        level=0.5 if measure.level is None else measure.level.to("1"),
        rows=None if measure.rows is None else (measure.rows[0], measure.rows[1]),
        lines=measure.lines,
        orientation=measure.orientation,
        detrend=measure.detrend,
        nominal_cd=None if cd is None else cd.to(UNIT),
        nominal_pitch=None if pitch is None else pitch.to(UNIT),
        seed=seed,
    )


def measurement_of(
    spec: SemCharacteristicSpec,
    found: SemLineResult | ContactResult | ContourResult,
    recipe: Recipe,
    inputs: tuple[str, ...],
) -> Measurement:
    """What a recipe asked for, from the result of an image: value, decision, flags; not evaluated with its reason."""
    row = get_characteristic(spec.characteristic)
    unit = result_unit(spec, "1" if row.dimension == "ratio" else found.unit)
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    limits = tolerance(spec, unit)
    value = found.measurements.get(row.id)
    if value is None:
        reason = found.missing.get(row.id, "the image does not give it")
        return Measurement(
            spec.name,
            row.id,
            row.title,
            unit,
            None,
            nominal,
            limits,
            None,
            f"not evaluated: {reason}",
            ("not_evaluated",),
            inputs,
            {"reason": reason},
        )
    measured = value.to(unit)
    flags = measured.flags
    decision = None
    if limits is not None:
        provisional = recipe.instrument is None or "repeatability_only" in flags
        decision = decide(measured, limits, decision_rule(recipe.decision), provisional=provisional)
        if provisional:
            flags = _flags.merge(flags, ["provisional_verdict"])
    return Measurement(
        spec.name,
        row.id,
        row.title,
        unit,
        measured,
        nominal,
        limits,
        decision,
        found.methods.get(row.id, row.words),
        flags,
        inputs,
        {},
    )
