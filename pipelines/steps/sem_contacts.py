"""Contacts and pillars in an SEM image: recipe and file in, `wafer.contacts.measure_contacts`, record out."""

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
    from pipelines.recipe.models import SemContactsMeasure


def measure_sem_contacts_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the image of a task and measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer.contacts import measure_contacts
    from wafer.contacts.view import contact_view
    from wafer.readers import read_image

    measure = recipe.measure
    if measure.kind != "sem_contacts":
        raise RecipeError("this step measures contacts in SEM images", got=measure.kind)
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
    found = measure_contacts(image, _settings(measure), instrument=declared)
    view, arrays = contact_view(image, found)
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
