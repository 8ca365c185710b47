"""Lines and spaces in an SEM image: recipe and file in, `wafer.lines.evaluate.measure_sem_lines`, record out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core.errors import RecipeError
from pipelines.recipe.convert import instrument
from pipelines.record import StepResult
from pipelines.steps.sem_common import UNIT, frames_of, image_of, step_result

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import SemLinesMeasure


def measure_sem_lines_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the image of a task and measure what the recipe asks. Raises as `pipelines.steps.measure_task`."""
    import wafer.characteristics  # noqa: F401 - importing registers its rows
    from wafer.lines.evaluate import measure_sem_lines

    measure = recipe.measure
    if measure.kind != "sem_lines":
        raise RecipeError("this step measures lines in SEM images", got=measure.kind)
    declared = instrument(recipe.instrument, UNIT)
    settings = _settings(measure, recipe.seed)
    if measure.frames:
        from wafer.frames import measure_frames

        frames = frames_of(measure, task, root)
        image, found = frames[0], measure_frames(frames, settings, instrument=declared)
    else:
        image = image_of(measure, task, root)
        found = measure_sem_lines(image, settings, instrument=declared)
    return step_result(recipe, task, image, declared, found, found.views, found.arrays)


def _settings(measure: SemLinesMeasure, seed: int) -> Any:
    from wafer.lines.evaluate import SemLineSettings

    nominal = {spec.characteristic: spec.nominal for spec in measure.characteristics if spec.nominal is not None}
    cd, pitch = nominal.get("sem.cd_line"), nominal.get("sem.pitch")
    return SemLineSettings(
        criterion=measure.criterion,
        level=0.5 if measure.level is None else measure.level.to("1"),
        rows=None if measure.rows is None else (measure.rows[0], measure.rows[1]),
        columns=None if measure.columns is None else (measure.columns[0], measure.columns[1]),
        lines=measure.lines,
        orientation=measure.orientation,
        detrend=measure.detrend,
        nominal_cd=None if cd is None else cd.to(UNIT),
        nominal_pitch=None if pitch is None else pitch.to(UNIT),
        seed=seed,
        smoothing=measure.smoothing,
    )
