"""Faults of a budget that only its distributions show: numbers that make none, correlations that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrology_core.errors import AbbeError, ParameterError
from pipelines.budget.models import Budget, InputSpec
from pipelines.budget.values import WIDTHS, number
from pipelines.recipe.problems import Problem
from pipelines.recipe.source import Document, Path_

if TYPE_CHECKING:
    from metrology_core.uncertainty.distributions import Distribution


def distribution_faults(budget: Budget, document: Document) -> list[Problem]:
    """Every input whose numbers make no distribution, then every correlation that these cannot have, with places."""
    from pipelines.budget.evaluate import distribution_of

    faults: list[Problem] = []
    made: dict[str, Distribution] = {}
    for name, row in budget.inputs.items():
        if row.together is not None:
            continue
        try:
            made[name] = distribution_of(row)
        except ParameterError as error:
            place = _culprit(name, row)
            hint = error.remedy
            if row.u in (0, 0.0) and hint is None:
                hint = f"an exact number is written {name}: {row.value}"
            faults.append(
                document.problem("recipe/bad-value", _words(error), place, key=len(place) == 2, hint=hint)
            )  # fmt: skip
    return faults or _correlation_faults(budget, made, document)


def _words(error: ParameterError) -> str:
    parts = [error.what]
    if error.expected:
        parts.append(f"expected {error.expected}")
    if error.got:
        parts.append(f"got {error.got}")
    return "; ".join(parts)


def _culprit(name: str, row: InputSpec) -> Path_:
    """The key of the width that is not positive; the input itself where there is none."""
    for key in sorted(WIDTHS):
        given: Any = getattr(row, key)
        if given is None:
            continue
        try:
            size = number(given, row.unit, width_of=row.value, width=True)
        except AbbeError:
            continue  # its unit is a fault by itself
        if not size > 0.0:
            return ("inputs", name, key)
    return ("inputs", name)


def _correlation_faults(budget: Budget, made: dict[str, Distribution], document: Document) -> list[Problem]:
    """Pairs that stand twice, coefficients out of reach of their pair, and all of them together."""
    from metrology_core.uncertainty.copula import normal_scores_correlation
    from metrology_core.uncertainty.model import Joint, Model
    from pipelines.budget.evaluate import readings_together

    faults: list[Problem] = []
    first: dict[frozenset[str], int] = {}
    for i, row in enumerate(budget.correlations):
        a, b = row.between
        place: Path_ = ("correlations", i, "between")
        if frozenset((a, b)) in first:
            line = document.span(("correlations", first[frozenset((a, b))], "between")).line
            message = f"the correlation of {a!r} and {b!r} is stated already in line {line}"
            faults.append(document.problem("recipe/duplicate-name", message, place, hint="keep one of the two"))
            continue
        first[frozenset((a, b))] = i
        if a not in made or b not in made:
            continue  # simultaneous readings: the model below says that these have their own correlation
        try:
            normal_scores_correlation(made[a], made[b], row.r)
        except ParameterError as error:
            where: Path_ = ("correlations", i, "r")
            faults.append(document.problem("recipe/bad-value", _words(error), where, hint=error.remedy))
    if faults or not budget.correlations:
        return faults
    try:
        joints = [Joint.readings(columns) for columns in readings_together(budget).values()]
        Model(
            lambda **values: next(iter(values.values())), made, {(r.between[0], r.between[1]): r.r for r in
            budget.correlations}, joints,
        )  # fmt: skip
    except ParameterError as error:
        place = ("correlations",)
        return [document.problem("recipe/contradiction", _words(error), place, key=True, hint=error.remedy)]
    return []
