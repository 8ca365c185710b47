"""The measuring steps: what turns one task of a plan into measurements. Adapters only: open, check, call, wrap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metrology_core.errors import RecipeError

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.record import StepResult


def measure_task(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Measure one task; inputs are found under ``root``. Dispatches on ``recipe.measure.kind``.

    Raises typed errors: `DataError` where the file cannot be used, `RecipeError` and other usage errors where the
    recipe cannot be meant. The engine makes outcomes of them.
    """
    if recipe.measure.kind == "features":
        from pipelines.steps.features import measure_features

        return measure_features(recipe, task, root)
    if recipe.measure.kind == "sem_contacts":
        from pipelines.steps.sem_contacts import measure_sem_contacts_task

        return measure_sem_contacts_task(recipe, task, root)
    if recipe.measure.kind == "sem_contours":
        from pipelines.steps.sem_contours import measure_sem_contours_task

        return measure_sem_contours_task(recipe, task, root)
    if recipe.measure.kind == "sem_lines":
        from pipelines.steps.sem_lines import measure_sem_lines_task

        return measure_sem_lines_task(recipe, task, root)
    if recipe.measure.kind == "deviation":
        from pipelines.steps.deviation import measure_deviation

        return measure_deviation(recipe, task, root)
    if recipe.measure.kind == "film_map":
        from pipelines.steps.film_map import measure_film_map_task

        return measure_film_map_task(recipe, task, root)
    raise RecipeError(
        f"unknown kind of measurement {recipe.measure.kind!r}",
        expected="features, sem_lines, sem_contacts, sem_contours, deviation or film_map",
    )


__all__ = ["measure_task"]
