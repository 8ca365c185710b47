"""Contours of arbitrary shapes in an SEM image: recipe, design and file in, `wafer.measure_contours`, record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core.errors import RecipeError
from pipelines.recipe.convert import instrument
from pipelines.record import StepResult
from pipelines.steps.sem_common import UNIT, image_of, step_result

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import SemContoursMeasure


def measure_sem_contours_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read image and design of a task, measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer import measure_contours, read_design
    from wafer.contours.view import contour_view

    measure = recipe.measure
    if measure.kind != "sem_contours":
        raise RecipeError("this step measures contours in SEM images", got=measure.kind)
    image = image_of(measure, task, root)
    given = measure.design
    design = None
    if given is not None:
        design = read_design(recipe.file_path(given.file), unit=given.unit, cell=given.cell, layer=given.layer)
    declared = instrument(recipe.instrument, UNIT)
    found = measure_contours(image, _settings(measure), design=design, instrument=declared)
    view, arrays = contour_view(image, found)
    return step_result(recipe, task, image, declared, found, (view,), arrays)


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
        columns=None if measure.columns is None else (measure.columns[0], measure.columns[1]),
        **place,
    )
