"""`load_recipe`: a file in, a checked recipe with its digest out, or all its faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from metrology_core.canonical import sha256_json
from metrology_core.provenance import digest_file
from pipelines.recipe.amounts import Amount
from pipelines.recipe.convert import contradiction_of_cmm
from pipelines.recipe.explain import problems_of
from pipelines.recipe.instrument_use import check_file_use
from pipelines.recipe.instruments import missing_for_simulation
from pipelines.recipe.models import (
    FeatureCharacteristicSpec,
    FeaturesMeasure,
    InstrumentSpec,
    Recipe,
    SemCharacteristicSpec,
)
from pipelines.recipe.problems import Problem, RecipeProblems
from pipelines.recipe.semantic import check
from pipelines.recipe.source import Document, Path_, get, parse, read_text


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe.

    ``sha256`` is the digest of the content: comments, layout and the spelling of units do not change it; the content
    of every file that the recipe names does. ``files`` maps those relative paths to their SHA-256.
    """

    recipe: Recipe
    text: str
    sha256: str
    path: Path
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.path.parent


def canonical(value: Any) -> Any:
    """Plain data of a recipe for its digest: amounts in SI, unset keys left out."""
    if isinstance(value, Amount):
        return value.canonical()
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        out = {fields[key].alias or key: canonical(item) for key, item in value if item is not None}
        if isinstance(value, (FeatureCharacteristicSpec, SemCharacteristicSpec)):
            out["result_unit"] = value.result_unit  # a result is given in this unit, so here its spelling is content
        return out
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return value


def recipe_digest(recipe: Recipe, files: Mapping[str, str]) -> str:
    """Digest of a recipe and of the files it names (path to SHA-256)."""
    return sha256_json({"recipe": canonical(recipe), "files": dict(files)})


def load_recipe(path: str | Path) -> LoadedRecipe:
    """Read and check a recipe; raises `RecipeProblems` (a `RecipeError`) with every fault found."""
    source = Path(path)
    return _load(read_text(source, str(path)), source)


def parse_recipe(text: str, *, folder: str | Path = ".", name: str = "recipe.yaml") -> LoadedRecipe:
    """Check a recipe given as text; the files it names lie under ``folder``. Raises `RecipeProblems`."""
    return _load(parse(text, name), Path(folder) / name)


def _load(document: Document, source: Path) -> LoadedRecipe:
    faults: list[Problem] = list(document.problems)
    if document.data is None or not isinstance(document.data, dict):
        if not faults:
            faults.append(document.problem("recipe/wrong-type", "a recipe is a mapping of keys", ()))
        raise RecipeProblems(faults)
    data = dict(document.data)
    folder = source.parent
    faults += _instrument_from_file(data, document, folder)
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        faults += problems_of(error, document, Recipe)
    faults += check(document)
    faults += _simulation_from_file(recipe, document, data.get("instrument"))
    faults += check_file_use(document, data.get("instrument"))
    files, missing = _named_files(document, folder)
    faults += missing
    if recipe is not None and not faults:
        faults += _simulation_impossible(recipe, document)
    if faults or recipe is None:
        raise RecipeProblems(_once(faults))
    object.__setattr__(recipe, "_folder", folder)
    return LoadedRecipe(recipe, document.text, recipe_digest(recipe, files), source, files)


def _once(faults: list[Problem]) -> list[Problem]:
    """One fault per place and code: a semantic check may see again what the schema saw."""
    seen: dict[tuple[Any, ...], Problem] = {}
    for fault in faults:
        seen.setdefault((fault.file, fault.line, fault.column, fault.code), fault)
    return list(seen.values())


def inside(folder: Path, relative: str) -> Path | None:
    """Absolute path of a file under ``folder``, symbolic links followed; None where it lies outside."""
    root = folder.resolve()
    target = (root / relative).resolve()
    return target if target.is_relative_to(root) else None


def _instrument_from_file(data: dict[str, Any], document: Document, folder: Path) -> list[Problem]:
    """Replace ``instrument: {file: x.yaml}`` by the content of the file; its faults are reported in that file."""
    given = data.get("instrument")
    if not isinstance(given, dict) or "file" not in given:
        return []
    data.pop("instrument")
    place: Path_ = ("instrument", "file")
    extra = sorted(set(given) - {"file"})
    if extra:
        return [
            document.problem(
                "recipe/contradiction",
                "an instrument is written here or taken from a file, not both",
                ("instrument", extra[0]),
                key=True,
            )
        ]
    name = given["file"]
    if not isinstance(name, str):
        return [document.problem("recipe/wrong-type", "expected a relative path", place)]
    target = inside(folder, name)
    if target is None:
        return [document.problem("recipe/file", f"'{name}' lies outside the recipe's folder", place)]
    if not target.is_file():
        return [document.problem("recipe/file", f"there is no file '{name}' beside the recipe", place)]
    other = read_text(target, str(folder / name))
    if other.problems or not isinstance(other.data, dict):
        return other.problems or [other.problem("recipe/wrong-type", "an instrument is a mapping of keys", ())]
    try:
        InstrumentSpec.model_validate(other.data)
    except ValidationError as error:
        return problems_of(error, other, InstrumentSpec)
    data["instrument"] = other.data
    return []


def _simulation_from_file(recipe: Recipe | None, document: Document, instrument: Any) -> list[Problem]:
    """What the instrument file lacks for the simulation; one written in the recipe was checked with the other names."""
    measure = None if recipe is None else recipe.measure
    if not isinstance(measure, FeaturesMeasure) or measure.simulation is None or not isinstance(instrument, dict):
        return []
    if not isinstance(get(document.data, ("instrument", "file")), str):
        return []
    place: Path_ = ("instrument", "file")
    return [
        document.problem("recipe/missing-key", message, place, hint=f"in the file, {hint}")
        for message, hint in missing_for_simulation(instrument)
    ]


def _simulation_impossible(recipe: Recipe, document: Document) -> list[Problem]:
    """Figures of a CMM that no machine can have together: every part of the lot would fail by them."""
    measure, spec = recipe.measure, recipe.instrument
    if not isinstance(measure, FeaturesMeasure) or measure.simulation is None or spec is None:
        return []
    message = contradiction_of_cmm(spec)
    if message is None:
        return []
    written = isinstance(get(document.data, ("instrument", "file")), str)
    place: Path_ = ("instrument", "file") if written else ("instrument", "mpe")
    return [document.problem("recipe/contradiction", message[0], place, hint=message[1])]


def _named_files(document: Document, folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Digests of the files that the recipe names: nominal curves and surfaces, datum targets, designs."""
    files: dict[str, str] = {}
    faults: list[Problem] = []
    rows = get(document.data, ("measure", "characteristics"))
    count = len(rows) if isinstance(rows, list) else 0
    places: list[Path_] = [("measure", "characteristics", i, "nominal_curve", "file") for i in range(count)]
    places += [("measure", "nominal", "file"), ("measure", "align", "targets"), ("measure", "design", "file")]
    for place in places:
        name = get(document.data, place)
        if not isinstance(name, str):
            continue
        target = inside(folder, name)
        if target is None:
            faults.append(document.problem("recipe/file", f"'{name}' lies outside the recipe's folder", place))
            continue
        try:
            files[name] = digest_file(target)
        except OSError as error:
            faults.append(document.problem("recipe/file", f"cannot read '{name}': {error.strerror}", place))
    return files, faults
