"""Read a budget file: all its faults at once, each with file, line and column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metrology_core.errors import AbbeError
from pipelines.budget.expression import CONSTANTS, FUNCTIONS, Expression, ExpressionError
from pipelines.budget.models import SCHEMA_ID, Budget, InputSpec, is_identifier
from pipelines.recipe.amounts import Amount
from pipelines.recipe.explain import problems_of
from pipelines.recipe.problems import Problem, RecipeProblems, did_you_mean
from pipelines.recipe.source import Document, Path_, Span, parse, read_text


@dataclass(frozen=True, eq=False)
class LoadedBudget:
    """A checked budget file with its expressions read."""

    budget: Budget
    where: dict[str, Expression]
    model: dict[str, Expression]
    text: str


def load_budget(path: str | Path) -> LoadedBudget:
    """Read and check a budget file; raises `RecipeProblems` with every fault found."""
    return _load(read_text(Path(path), str(path)))


def parse_budget(text: str, name: str = "budget.yaml") -> LoadedBudget:
    """Check a budget given as text."""
    return _load(parse(text, name))


def _load(document: Document) -> LoadedBudget:
    faults: list[Problem] = [
        replace(fault, hint="'abbe budget --template' prints an example") if "empty" in fault.message else fault
        for fault in document.problems
    ]
    data = document.data
    if not isinstance(data, dict):
        if not faults:
            faults.append(
                document.problem("recipe/wrong-type", f"a budget is a mapping of keys, with schema: {SCHEMA_ID}", ())
            )
        raise RecipeProblems(faults)
    budget: Budget | None = None
    try:
        budget = Budget.model_validate(data)
    except ValidationError as error:
        faults += problems_of(error, document, Budget)
    faults += _names(document)
    where, model, found = _expressions(document)
    faults += found
    if budget is not None:
        faults += _references(budget, document)
    if faults or budget is None:
        raise RecipeProblems(_once(faults))
    return LoadedBudget(budget, where, model, document.text)


def _once(faults: list[Problem]) -> list[Problem]:
    seen: dict[tuple[Any, ...], Problem] = {}
    for fault in faults:
        seen.setdefault((fault.line, fault.column, fault.code), fault)
    return list(seen.values())


def _mapping(data: Any, key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _names(document: Document) -> list[Problem]:
    """Names of inputs, shorthands and outputs: usable in an expression, each once."""
    faults = []
    owner: dict[str, str] = {}
    for key in ("inputs", "where", "model"):
        for name in _mapping(document.data, key):
            path: Path_ = (key, name)
            if not is_identifier(name):
                faults.append(
                    document.problem(
                        "recipe/bad-value",
                        f"{name!r} is not a name that an expression can use",
                        path,
                        key=True,
                        hint="letters, digits and _, not starting with a digit",
                    )
                )
            elif name in FUNCTIONS:
                faults.append(document.problem("recipe/duplicate-name", f"{name!r} is a function", path, key=True))
            elif name in owner:
                faults.append(
                    document.problem(
                        "recipe/duplicate-name", f"{name!r} stands already under '{owner[name]}'", path, key=True
                    )
                )
            owner.setdefault(name, key)
    return faults


def _expressions(document: Document) -> tuple[dict[str, Expression], dict[str, Expression], list[Problem]]:
    faults: list[Problem] = []
    known = {*_mapping(document.data, "inputs"), *CONSTANTS}
    used: set[str] = set()
    read: dict[str, dict[str, Expression]] = {"where": {}, "model": {}}
    for key in ("where", "model"):
        for name, text in _mapping(document.data, key).items():
            if not isinstance(text, str):
                continue  # the schema says so already, but for numbers
            path: Path_ = (key, name)
            try:
                expression = Expression(text)
            except ExpressionError as error:
                faults.append(_inside(document, path, error.message, error.start, error.length, error.hint))
                continue
            for needed, (start, length) in expression.names.items():
                if needed not in known:
                    hint = did_you_mean(needed, known, otherwise="names here")
                    if needed in _mapping(document.data, "where"):
                        hint = "define a shorthand before it is used"
                    elif needed in FUNCTIONS:
                        hint = f"{needed} is a function: {needed}(...)"
                    faults.append(_inside(document, path, f"unknown name {needed!r}", start, length, hint))
                used.add(needed)
            read[key][name] = expression
            if key == "where":
                known.add(name)
    if not faults:
        for name in _mapping(document.data, "inputs"):
            if name not in used:
                faults.append(
                    document.problem(
                        "recipe/contradiction",
                        f"input {name!r} is not used in the model",
                        ("inputs", name),
                        key=True,
                        hint="use it or leave it out: a budget that lists it would claim that it was considered",
                    )
                )
    return read["where"], read["model"], faults


def _inside(document: Document, path: Path_, message: str, start: int, length: int, hint: str | None) -> Problem:
    """A fault at a character of an expression, where it stands on one plain line."""
    span = document.span(path)
    line = document.lines[span.line - 1] if 0 < span.line <= len(document.lines) else ""
    quoted = line[span.column - 1 : span.column] in ("'", '"')
    column = span.column + start + (1 if quoted else 0)
    if line[span.column - 1 : span.column] in ("|", ">") or column > len(line):
        return document.at("recipe/expression", message, span, path=path, hint=hint)
    return document.at("recipe/expression", message, Span(span.line, column, length), path=path, hint=hint)


def _references(budget: Budget, document: Document) -> list[Problem]:
    faults = []
    for i, row in enumerate(budget.correlations):
        for j, name in enumerate(row.between):
            if name not in budget.inputs:
                faults.append(
                    document.problem(
                        "recipe/bad-value",
                        f"there is no input {name!r}",
                        ("correlations", i, "between", j),
                        hint=did_you_mean(name, budget.inputs, otherwise="inputs"),
                    )
                )
        if row.between[0] == row.between[1]:
            faults.append(
                document.problem("recipe/contradiction", "an input with itself", ("correlations", i, "between"))
            )
    for name in budget.outputs:
        if name not in budget.model:
            faults.append(
                document.problem(
                    "recipe/bad-value",
                    f"there is no output {name!r}",
                    ("outputs", name),
                    key=True,
                    hint=did_you_mean(name, budget.model, otherwise="outputs"),
                )
            )
    groups: dict[str, int] = {}
    for name, spec in budget.inputs.items():
        faults += _amounts(name, spec, document)
        if spec.together is not None and spec.readings is not None:
            size = groups.setdefault(spec.together, len(spec.readings))
            if size != len(spec.readings):
                faults.append(
                    document.problem(
                        "recipe/contradiction",
                        f"readings taken together with {spec.together!r} must be as many: {size}",
                        ("inputs", name, "readings"),
                    )
                )
    return faults


def _amounts(name: str, spec: InputSpec, document: Document) -> list[Problem]:
    """Quantities with a unit of their own need a unit of the input that they can be converted to."""
    faults = []
    for key in type(spec).model_fields:
        found = getattr(spec, key)
        for item in found if isinstance(found, list) else [found]:
            if not isinstance(item, Amount):
                continue
            try:
                item.to(spec.unit or "1")
            except AbbeError as error:
                faults.append(
                    document.problem("recipe/wrong-dimension", error.what, ("inputs", name, key), hint=error.remedy)
                )
                break
    return faults
