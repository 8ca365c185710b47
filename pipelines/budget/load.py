"""Read a budget file: all its faults at once, each with file, line and column."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metrology_core.errors import AbbeError
from pipelines.budget.checks import distribution_faults
from pipelines.budget.expression import CONSTANTS, FUNCTIONS, Expression, ExpressionError
from pipelines.budget.models import KEYS, SCHEMA_ID, Budget, InputSpec, is_identifier
from pipelines.budget.values import WIDTHS, number
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
    return _load(read_text(Path(path), str(path)), Path(path).parent)


def parse_budget(text: str, name: str = "budget.yaml", *, folder: str | Path = ".") -> LoadedBudget:
    """Check a budget given as text; the certificates that it names lie under ``folder``."""
    return _load(parse(text, name), Path(folder))


def _load(document: Document, folder: Path) -> LoadedBudget:
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
    faults = _endless(data, document, faults)
    budget: Budget | None = None
    try:
        budget = Budget.model_validate(data)
    except ValidationError as error:
        faults += [_with_hint(fault) for fault in problems_of(error, document, Budget)]
    faults += _names(document)
    where, model, found = _expressions(document)
    faults += found
    if budget is not None:
        budget, more = _certificates(budget, document, folder)
        faults += more
        faults += _references(budget, document)
        if not found:
            faults += _units(budget, where, model, document)
    if budget is not None and not faults:
        faults += distribution_faults(budget, document)
    if faults or budget is None:
        raise RecipeProblems(_once(faults))
    return LoadedBudget(budget, where, model, document.text)


def _endless(data: dict[str, Any], document: Document, faults: list[Problem]) -> list[Problem]:
    """``dof: .inf`` is sound, though no other number of a file may be infinite."""
    for name, row in _mapping(data, "inputs").items():
        if isinstance(row, dict) and document.raw.get(("inputs", name, "dof"), "").lower() in (".inf", "+.inf"):
            row["dof"] = "infinite"
            faults = [fault for fault in faults if fault.path != f"inputs.{name}.dof"]
    return faults


def _with_hint(fault: Problem) -> Problem:
    """Hints that the general ones cannot know: our names for the keys of other documents, the schema's line."""
    if fault.code == "recipe/unknown-key":
        known = KEYS.get(fault.message.split("'")[1])
        if known is not None and fault.path.startswith("inputs"):
            return replace(fault, hint=f"it is called '{known}' here")
    if fault.code == "recipe/missing-key" and "'schema'" in fault.message:
        return replace(fault, hint=f"add 'schema: {SCHEMA_ID}'")
    if fault.code == "recipe/missing-key" and "'distribution'" in fault.message:
        return replace(fault, hint="say which: 'distribution: normal' for a value with u, or with expanded and k")
    if fault.path == "model" and fault.code == "recipe/wrong-type":
        return replace(fault, hint="a name for each output: model: {y: a + b}")
    return fault


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
                        hint="letters, digits and _, not starting with a digit"
                        + ("; inside { } an expression with a comma stands in quotes" if ")" in name else ""),
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


def _certificates(budget: Budget, document: Document, folder: Path) -> tuple[Budget, list[Problem]]:
    """Inputs from digital calibration certificates become what these state: value, unit, standard uncertainty."""
    from pipelines.budget.certificate import converted, read_certificate
    from pipelines.recipe.load import inside

    inputs = dict(budget.inputs)
    faults: list[Problem] = []
    for name, spec in budget.inputs.items():
        if spec.distribution != "certificate" or spec.file is None or spec.quantity is None:
            continue
        place: Path_ = ("inputs", name, "file")
        target = inside(folder, spec.file)
        if target is None:
            faults.append(document.problem("recipe/file", f"'{spec.file}' lies outside the budget's folder", place))
            continue
        try:
            certificate = read_certificate(target)
        except AbbeError as error:
            faults.append(document.problem("recipe/file", f"'{spec.file}': {error}", place))
            continue
        found = certificate.find(spec.quantity)
        place = ("inputs", name, "quantity")
        if len(found) != 1:
            known = sorted({key for q in certificate.quantities for key in (q.id, *q.types) if key})
            message = f"{len(found)} quantities of '{spec.file}' are called '{spec.quantity}'"
            hint = did_you_mean(spec.quantity, known, otherwise="quantities") if not found else "name one by its id"
            faults.append(document.problem("recipe/bad-value", message, place, hint=hint))
            continue
        try:
            value, u, unit = converted(found[0], spec.item, spec.unit)
        except ValueError as error:
            faults.append(document.problem("recipe/bad-value", str(error), place))
            continue
        label = spec.label or f"{found[0].name or spec.quantity}, certificate {certificate.identifier}"[:120]
        flat = any(word in found[0].distribution.lower() for word in ("rect", "uniform"))
        inputs[name] = InputSpec(
            distribution="rectangular" if flat else "normal",
            value=value,
            unit=unit,
            label=label,
            type=spec.type or "B",
            dof=spec.dof,
            half_width=u * math.sqrt(3.0) if flat else None,
            u=None if flat else u,
        )
    return budget.model_copy(update={"inputs": inputs}), faults


def _units(
    budget: Budget, where: dict[str, Expression], model: dict[str, Expression], document: Document
) -> list[Problem]:
    """Contradictions of units: sums of different quantities or of different scales, outputs in another unit."""
    from pipelines.budget.unit_algebra import Unit, read_unit, unit_of

    if not budget.check_units:
        return []
    faults = []
    known: dict[str, Unit | None] = {
        name: None if spec.unit is None else read_unit(spec.unit) for name, spec in budget.inputs.items()
    }
    hint = "'check_units: false' turns this check off"
    for key, rows in (("where", where), ("model", model)):
        for name, expression in rows.items():
            place: Path_ = (key, name)
            try:
                found = unit_of(expression.text, known)
            except ExpressionError as error:
                said = f"{error.hint}; {hint}" if error.hint else hint
                faults.append(_inside(document, place, error.message, error.start, error.length, said))
                found = None
            if key == "where":
                known[name] = found
                continue
            stated = budget.outputs.get(name)
            wanted = None if stated is None or stated.unit is None else read_unit(stated.unit)
            if found is not None and wanted is not None and not found.literal and not found.agrees(wanted):
                message = (
                    f"the model gives {found}, the output is said to be in {stated.unit if stated else ''} ({wanted})"
                )
                scale = ""
                if found.plain and wanted.plain and found.factor and wanted.factor:
                    scale = f"multiply the expression by {found.factor / wanted.factor:g}; "
                faults.append(
                    document.problem("recipe/wrong-dimension", message, ("outputs", name, "unit"), hint=scale + hint)
                )
    return faults


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
                number(item, spec.unit, width_of=spec.value, width=key in WIDTHS)
            except AbbeError as error:
                hint = error.remedy
                if spec.unit is None:
                    hint = f"the input has no unit: add 'unit: {item.unit}'"
                faults.append(document.problem("recipe/wrong-dimension", error.what, ("inputs", name, key), hint=hint))
                break
    return faults
