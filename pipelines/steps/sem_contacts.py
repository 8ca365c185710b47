"""Contacts and pillars in an SEM image: recipe and file in, `wafer.contacts.measure_contacts`, record out."""

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
    from pipelines.recipe.models import SemContactsMeasure


def measure_sem_contacts_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the image of a task and measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer.contacts import measure_contacts
    from wafer.contacts.view import contact_view

    measure = recipe.measure
    if measure.kind != "sem_contacts":
        raise RecipeError("this step measures contacts in SEM images", got=measure.kind)
    image = image_of(measure, task, root)
    declared = instrument(recipe.instrument, UNIT)
    found = measure_contacts(image, _settings(measure), instrument=declared)
    view, arrays = contact_view(image, found)
    return step_result(recipe, task, image, declared, found, (view,), arrays)


def _settings(measure: SemContactsMeasure) -> Any:
    from wafer.contacts import ContactSettings

    nominal = {spec.characteristic: spec.nominal for spec in measure.characteristics if spec.nominal is not None}
    pitch = nominal.get("sem.contact_pitch_a") or nominal.get("sem.contact_pitch_b")
    return ContactSettings(
        criterion=measure.criterion,
        level=0.5 if measure.level is None else measure.level.to("1"),
        polarity=measure.polarity,
        rows=None if measure.rows is None else (measure.rows[0], measure.rows[1]),
        columns=None if measure.columns is None else (measure.columns[0], measure.columns[1]),
        lattice=measure.lattice,
        nominal_pitch=None if pitch is None else pitch.to(UNIT),
    )
