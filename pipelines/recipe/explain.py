"""From pydantic's errors to `Problem`s: place in the file, our own words, our own codes, did-you-mean."""

from __future__ import annotations

import re
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.recipe.inputs import refused_inputs
from pipelines.recipe.problems import Problem, did_you_mean
from pipelines.recipe.source import Document, Path_, get

_CUSTOM = {
    "needs_unit": "recipe/needs-unit",
    "bad_unit": "recipe/bad-unit",
    "wrong_dimension": "recipe/wrong-dimension",
    "out_of_range": "recipe/out-of-range",
    "bad_value": "recipe/bad-value",
    "contradiction": "recipe/contradiction",
    "tolerance": "recipe/tolerance",
    "wrong_type": "recipe/wrong-type",
}
_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
}


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel], prefix: Path_ = ()
) -> list[Problem]:
    """All faults of a failed validation, each at its place."""
    found: dict[tuple[Any, ...], Problem] = {}
    for item in error.errors(include_url=False, include_input=True):
        problem = _problem(item, document, model, prefix)
        found.setdefault((problem.code, problem.message, problem.line, problem.column), problem)
    return list(found.values())


def _problem(item: Any, document: Document, model: type[BaseModel], prefix: Path_) -> Problem:
    kind: str = item["type"]
    context: dict[str, Any] = item.get("ctx") or {}
    path, owner = _follow(item["loc"], document, model, prefix)
    last = str(item["loc"][-1]) if item["loc"] else ""
    value = get(document.data, path)
    if kind == "missing":
        have = get(document.data, path)
        near = did_you_mean(last, have) if isinstance(have, dict) else None
        hint = near if near and near.startswith("did you mean") else f"add '{last}: ...'"
        return document.problem("recipe/missing-key", f"missing key '{last}'", path, key=True, hint=hint)
    if kind == "extra_forbidden":
        here = get(document.data, path[:-1])
        known = [f.alias or name for name, f in owner.model_fields.items()] if owner is not None else []
        missing = [name for name in known if not (isinstance(here, dict) and name in here)]
        if path[:-1] == ("inputs",):  # one table of keys for all kinds: name those that this kind takes
            missing = [name for name in missing if name not in refused_inputs(get(document.data, ("measure", "kind")))]
        return document.problem(
            "recipe/unknown-key",
            f"unknown key '{last}'",
            path,
            key=True,
            hint=did_you_mean(last, missing, otherwise="keys here"),
        )
    if kind in _CUSTOM:
        inner = (*path, context["key"]) if "key" in context else path  # a check of a mapping names the key it blames
        path = inner if inner in document.values else path
        return document.problem(_CUSTOM[kind], item["msg"], path)
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return document.problem(
            "recipe/unknown-choice", f"{value!r} is not one of {', '.join(choices)}", path, hint=_near(value, choices)
        )
    if kind == "union_tag_invalid":
        choices = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        tag = str(context.get("tag"))
        place = (*path, "kind")
        return document.problem(
            "recipe/unknown-choice", f"{tag!r} is not one of {', '.join(choices)}", place, hint=_near(tag, choices)
        )
    if kind == "union_tag_not_found":
        return document.problem(
            "recipe/missing-key",
            "missing key 'kind'",
            path,
            key=True,
            hint="add 'kind: features', 'kind: sem_lines', 'kind: sem_contacts', 'kind: sem_contours', "
            "'kind: deviation' or 'kind: film_map'",
        )
    if kind in _WANTED:
        return document.problem(
            "recipe/wrong-type",
            f"expected {_WANTED[kind]}, got {_describe(value)}",
            path,
            hint=_quote(kind, path, document),
        )
    if kind in ("too_short", "too_long"):
        need = context.get("min_length") if kind == "too_short" else context.get("max_length")
        word = "at least" if kind == "too_short" else "at most"
        return document.problem(
            "recipe/wrong-type", f"expected {word} {need} entries, got {context.get('actual_length')}", path
        )
    if kind in ("string_too_short", "string_too_long", "string_pattern_mismatch"):
        return document.problem(
            "recipe/bad-value", f"{value!r} is not usable here", path, hint=_text_hint(kind, context)
        )
    if kind.startswith(("greater_than", "less_than")):
        return document.problem("recipe/out-of-range", f"{value!r}: {item['msg'].lower()}", path)
    return document.problem("recipe/bad-value", str(item["msg"]), path)


def _near(value: object, choices: list[str]) -> str | None:
    hint = did_you_mean(str(value), choices)
    return hint if hint and hint.startswith("did you mean") else None


def _text_hint(kind: str, context: dict[str, Any]) -> str:
    if kind == "string_too_short":
        return "the text must not be empty"
    if kind == "string_too_long":
        return f"at most {context.get('max_length')} characters"
    if r"\d{4}" in str(context.get("pattern")):
        return "write a day as 2027-06-30"
    return "no control characters"


def _quote(kind: str, path: Path_, document: Document) -> str | None:
    raw = document.raw.get(path)
    if kind == "string_type" and raw:
        return f'put it in quotes: "{raw}"'
    return None


def _describe(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"the text {value!r}" if isinstance(value, str) else f"the number {value!r}"


def _follow(
    loc: tuple[str | int, ...], document: Document, model: type[BaseModel], prefix: Path_
) -> tuple[Path_, type[BaseModel] | None]:
    """Path in the data for an error location, and the model that owns its last key.

    A location names the branch of a tagged union between the keys; it is recognised by the model, not by its text,
    because a branch may be called like a key.
    """
    path = prefix
    annotation: Any = model
    owner: type[BaseModel] | None = model
    for position, item in enumerate(loc):
        if (value := _mapping_value(annotation)) is not None and item in (get(document.data, path) or {}):
            annotation, owner = value, None
            path = (*path, item)
            continue
        branches = {_tag(m): m for m in _models(annotation)}
        if len(branches) > 1 and item in branches:
            annotation = branches[item]
            owner = annotation
            continue
        models = _models(annotation)
        current = models[0] if len(models) == 1 else None
        if isinstance(item, str) and current is not None:
            owner = current
            entry = next((f for n, f in current.model_fields.items() if (f.alias or n) == item), None)
            annotation = entry.annotation if entry is not None else None
        elif isinstance(item, int):
            annotation = _element(annotation)
        here = get(document.data, path)
        inside = (isinstance(here, dict) and item in here) or (isinstance(here, list) and isinstance(item, int))
        if not inside:
            if position == len(loc) - 1:
                break
            continue
        path = (*path, item)
    return path, owner


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (list, dict):
        return []
    return [m for part in typing.get_args(annotation) for m in _models(part)]


def _element(annotation: Any) -> Any:
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0]
    for part in typing.get_args(annotation):
        if found := _element(part):
            return found
    return None


def _mapping_value(annotation: Any) -> Any:
    """The type of the values where the annotation is a mapping with free keys."""
    if typing.get_origin(annotation) is dict:
        return typing.get_args(annotation)[1]
    return None


def _tag(model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return typing.get_args(kind.annotation)[0] if kind is not None else model.__name__
