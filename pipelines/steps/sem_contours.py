"""Contours of arbitrary shapes in an SEM image: recipe, design and file in, `wafer.measure_contours`, record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core import flags as _flags
from metrology_core.errors import RecipeError
from pipelines.recipe.convert import calibration_flags, instrument
from pipelines.record import StepResult
from pipelines.steps.common import acquisition_of, digests, single_input, under_calibration
from pipelines.steps.sem_lines import UNIT, measurement_of

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import SemContoursMeasure


def measure_sem_contours_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read image and design of a task, measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer import measure_contours, read_design, read_image
    from wafer.contours.view import contour_view

    measure = recipe.measure
    if measure.kind != "sem_contours":
        raise RecipeError("this step measures contours in SEM images", got=measure.kind)
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
    given = measure.design
    design = None
    if given is not None:
        design = read_design(recipe.file_path(given.file), unit=given.unit, cell=given.cell, layer=given.layer)
    declared = instrument(recipe.instrument, UNIT)
    found = measure_contours(image, _settings(measure), design=design, instrument=declared)
    view, arrays = contour_view(image, found)
    inputs = digests(task)
    rows = tuple(measurement_of(spec, found, recipe, inputs) for spec in measure.characteristics)
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    return StepResult(
        measurements=under_calibration(rows, calibration),
        features=(),
        views=(view,),
        arrays=arrays,
        flags=_flags.merge(found.flags, calibration),
        acquisition=image.acquisition.to_dict(),
        datum_system=None,
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: image.source.reader} if image.source is not None else {},
    )


def _settings(measure: SemContoursMeasure) -> Any:
    from wafer import ContourSettings

    design = measure.design
    place: dict[str, Any] = {}
    if design is not None:
        for key, value in (("search", design.search), ("limit", design.limit), ("corner", design.corner)):
            place[key] = None if value is None else value.to(UNIT)
        if design.origin is not None:
            place["origin"] = (design.origin[0].to(UNIT), design.origin[1].to(UNIT))
        place["free"] = tuple(design.free)
    return ContourSettings(
        criterion=measure.criterion,
        level=0.5 if measure.level is None else measure.level.to("1"),
        spacing=measure.spacing,
        polarity=measure.polarity,
        rows=None if measure.rows is None else (measure.rows[0], measure.rows[1]),
        **place,
    )
