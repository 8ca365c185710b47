"""The plan: recipe x inputs, on disk before anything runs, and the same bytes wherever it is made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from metrology_core._version import __version__
from metrology_core.canonical import canonical_json, sha256_json
from metrology_core.errors import IntegrityError, UsageError
from metrology_core.provenance import digest_bytes, digest_file
from pipelines.film_items import contradiction, items_of, named
from pipelines.lots import frame_of
from pipelines.recipe import LoadedRecipe, Recipe

if TYPE_CHECKING:
    from wafer.maps.frame import WaferFrame

SCHEMA_ID = "abbe/plan/1"


@dataclass(frozen=True)
class InputRef:
    """An input file: ``path`` relative to the data root (posix), digest and size of its bytes.

    ``sha256`` and ``size`` are None where the file could not be read when the plan was made.
    """

    path: str
    sha256: str | None
    size: int | None

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "sha256": self.sha256, "size": self.size}


@dataclass(frozen=True)
class Task:
    """One part to measure. ``problem`` says what the pre-flight check found (the part becomes ``unusable_data``);
    ``item`` which part of its file it is, where a file holds several."""

    id: str
    part: str
    inputs: tuple[InputRef, ...]
    acquisition: Mapping[str, str] = field(default_factory=dict)
    problem: Mapping[str, Any] | None = None
    item: str | None = None

    def to_dict(self) -> dict[str, Any]:
        found = {
            "id": self.id,
            "part": self.part,
            "inputs": [ref.to_dict() for ref in self.inputs],
            "acquisition": dict(self.acquisition),
            "problem": None if self.problem is None else dict(self.problem),
        }
        return found if self.item is None else found | {"item": self.item}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        inputs = tuple(InputRef(item["path"], item["sha256"], item["size"]) for item in data["inputs"])
        return cls(data["id"], data["part"], inputs, dict(data["acquisition"]), data["problem"], data.get("item"))


@dataclass(frozen=True)
class Plan:
    """All tasks of a run, sorted by path, with the resolved recipe inside: the folder needs nothing else to go on."""

    recipe_sha256: str
    recipe: Mapping[str, Any]
    recipe_files: Mapping[str, str]
    version: str
    seed: int
    tasks: tuple[Task, ...]

    @property
    def recipe_name(self) -> str:
        return str(self.recipe["name"])

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_ID,
            "recipe_sha256": self.recipe_sha256,
            "recipe": dict(self.recipe),
            "recipe_files": dict(self.recipe_files),
            "version": self.version,
            "seed": self.seed,
            "tasks": [task.to_dict() for task in self.tasks],
        }

    def to_bytes(self) -> bytes:
        """Canonical bytes of ``plan.json``."""
        return canonical_json(self.to_dict()) + b"\n"

    @property
    def sha256(self) -> str:
        """Digest of the bytes of ``plan.json``."""
        return digest_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Read ``plan.json``; raises `IntegrityError` where it is not a plan."""
        try:
            content = json.loads(data)
            if content["schema"] != SCHEMA_ID:
                raise IntegrityError("the plan has another schema", expected=SCHEMA_ID, got=str(content["schema"]))
            return cls(
                content["recipe_sha256"],
                content["recipe"],
                content["recipe_files"],
                content["version"],
                content["seed"],
                tuple(Task.from_dict(item) for item in content["tasks"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError("plan.json is damaged", got=f"{type(error).__name__}: {error}") from None


def task_id(part: str, inputs: Sequence[InputRef], recipe_sha256: str, version: str, seed: int) -> str:
    """Digest of everything the record of a task is a function of (the relative paths stand in the record too)."""
    return sha256_json(
        {
            "part": part,
            "inputs": [{"path": ref.path, "sha256": ref.sha256} for ref in inputs],
            "recipe": recipe_sha256,
            "version": version,
            "seed": seed,
        }
    )


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """Plain form of a recipe from which the same recipe can be validated again."""
    return recipe.model_dump(mode="json", by_alias=True, exclude_none=True)


def build_plan(
    loaded: LoadedRecipe,
    root: Path | None = None,
    inputs: Iterable[str | Path] = (),
    *,
    exclude: Path | None = None,
    remarks: list[str] | None = None,
    known: frozenset[str] = frozenset(),
) -> Plan:
    """Find the inputs, digest them, and make the plan.

    ``root`` is the data root (default: the recipe's folder); ``inputs`` override the recipe's patterns; ``exclude`` is
    a folder that is never searched (the run itself); ``remarks`` takes lines about what a pattern matches and cannot be
    a part (a folder with the name of a file); ``known`` are the inputs of the run that is gone on with, which may be
    gone. Raises `UsageError` where a pattern leaves the root or matches nothing, where two files claim one part, and
    where no part is left. A file that cannot be read becomes a task with a problem.
    """
    base = (loaded.folder if root is None else root).resolve()
    if not base.is_dir():
        raise UsageError(f"the data root {str(base)!r} is not a folder", remedy="give a folder with --data")
    wanted = list(inputs)
    chosen = _given(base, wanted, known) if wanted else _matched(base, loaded.recipe, exclude, remarks, bool(known))
    spec = loaded.recipe.inputs
    common = spec.acquisition.fields() if spec.acquisition is not None else {}
    pattern = None if spec.acquisition_from_name is None else re.compile(spec.acquisition_from_name)
    frame = frame_of(dump_recipe(loaded.recipe))
    others = {_spelled(entry.file): tuple(map(_spelled, entry.also)) for entry in spec.files if entry.also}
    taken = {name for names in others.values() for name in names}
    tasks: list[Task] = []
    owner: dict[str, str] = {}
    for path, part in sorted(chosen, key=lambda item: item[0]):
        if path in taken:
            continue  # a further scan of another entry's part
        acquisition = dict(common)
        problem: dict[str, Any] | None = None
        if pattern is not None:
            match = pattern.search(path)
            if match is None:
                problem = {
                    "code": "acquisition_from_name",
                    "message": "the file name does not match acquisition_from_name",
                    "where": path,
                    "remedy": "rename the file, or correct the expression in the recipe",
                }
            else:
                acquisition |= {key: value for key, value in match.groupdict().items() if value}
        if frame is not None:
            problem = _on_wafer(acquisition, frame, path) or problem
        whole = part or acquisition.get("part") or path
        ref, unreadable = _digest(base, path)
        problem = unreadable or problem
        refs = [ref]
        for further in others.get(path, ()):
            more, unreadable = _digest(base, _checked(base, base / further, further))
            if unreadable is not None:  # the part is called by its first file: say which one it is
                unreadable["message"] = f"the further scan {further!r}: {unreadable['message']}"
            problem = problem or unreadable
            refs.append(more)
        items = items_of(loaded.recipe, base / path)
        problem = problem or contradiction(acquisition, path, len(items))
        for item in items:
            name = named(whole, item, len(items))
            if name in owner:
                raise UsageError(
                    f"two files claim part {name!r}",
                    got=f"{owner[name]} and {path}",
                    remedy="give each file its own part id in the recipe, or leave the id away to use the path",
                )
            owner[name] = path
            tasks.append(
                Task(
                    task_id(name, refs, loaded.sha256, __version__, loaded.recipe.seed),
                    name,
                    tuple(refs),
                    {**item.facts, **acquisition, "part": name},
                    problem,
                    item.name,
                )
            )
    if not tasks and not known:
        raise UsageError(
            "no part is left to measure",
            got=f"{', '.join(path for path, _ in chosen[:3])}: further scans of other parts",
            remedy="name the first file of a part, the one that 'also' stands beside in the recipe",
        )
    return Plan(
        loaded.sha256, dump_recipe(loaded.recipe), dict(loaded.files), __version__, loaded.recipe.seed, tuple(tasks)
    )


def _on_wafer(acquisition: dict[str, str], frame: WaferFrame, path: str) -> dict[str, Any] | None:
    """Write the place on the wafer and the wafer's frame into an acquisition; what is wrong with it, or None."""
    from metrology_core.errors import AbbeError
    from wafer.maps.frame import place_of

    try:
        place = place_of(acquisition, frame)
    except AbbeError as error:
        return {"code": "wafer_place", "message": f"wafer_x and wafer_y are no place: {error.what}", "where": path,
                "remedy": "state lengths with units, for example '13.5 mm'"}  # fmt: skip
    if place is not None:
        acquisition["wafer_x"], acquisition["wafer_y"] = (f"{v:.9g} mm" for v in place)
    acquisition["wafer_frame"] = (
        f"diameter {frame.diameter:g} mm, edge exclusion {frame.edge_exclusion:g} mm, notch {frame.notch}"
    )
    return None


def _spelled(path: str) -> str:
    """A relative path as the search spells it: 'a//b' and './a/b' are 'a/b'."""
    return PurePosixPath(path).as_posix()


def _digest(base: Path, path: str) -> tuple[InputRef, dict[str, Any] | None]:
    file = base / path
    try:
        return InputRef(path, digest_file(file), file.stat().st_size), None
    except OSError as error:
        link = file.is_symlink() and not file.exists()
        return InputRef(path, None, None), {
            "code": "unreadable",
            "message": "the symbolic link leads to no file" if link else f"the file cannot be read: {error.strerror}",
            "where": path,
            "remedy": "check the file and its permissions, then start a new run",
        }


def _checked(base: Path, path: Path, said: str) -> str:
    """Relative posix path of an existing file, symbolic links followed; raises `UsageError` outside the root."""
    target = path.resolve()
    if not target.is_relative_to(base):
        raise UsageError(
            f"{said!r} lies outside the data root", expected="a file under the root", remedy="name the root with --data"
        )
    relative = (
        PurePosixPath(os.path.relpath(path.absolute(), base)).as_posix()
        if path.absolute().is_relative_to(base)
        else target.relative_to(base).as_posix()
    )
    try:
        relative.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"the name of {relative!a} is not UTF-8", remedy="rename the file") from None
    return relative


def _given(base: Path, named: Sequence[str | Path], known: frozenset[str]) -> list[tuple[str, str | None]]:
    found: dict[str, str | None] = {}
    for item in named:
        candidates = [Path(item).absolute(), base / item]
        path = next((candidate for candidate in candidates if candidate.exists()), None)
        if path is None:
            if known.intersection(_names(base, candidates)):
                continue
            raise UsageError(
                f"there is no file {str(item)!r}", remedy="check the path; it is taken from here, then from the root"
            )
        if not path.is_file():
            raise UsageError(f"{str(item)!r} is not a file", remedy="name files, or use a pattern in the recipe")
        found[_checked(base, path, str(item))] = None
    return list(found.items())


def _names(base: Path, candidates: Iterable[Path]) -> set[str]:
    """Paths as a plan spells them, of files that may be gone."""
    return {PurePosixPath(os.path.relpath(os.path.normpath(path), base)).as_posix() for path in candidates}


def _matched(
    base: Path, recipe: Recipe, exclude: Path | None, remarks: list[str] | None, resuming: bool
) -> list[tuple[str, str | None]]:
    skip = None if exclude is None else exclude.resolve()
    found: dict[str, str | None] = {}
    for entry in recipe.inputs.files:
        try:
            hits = sorted(base.glob(entry.file))
        except (ValueError, NotImplementedError) as error:
            raise UsageError(f"{entry.file!r} is not a usable pattern", got=str(error)) from None
        hidden = any(name.startswith(".") for name in PurePosixPath(entry.file).parts)
        count = 0
        for hit in hits:
            if skip is not None and hit.resolve().is_relative_to(skip):
                continue
            if not hidden and any(name.startswith(".") for name in hit.relative_to(base).parts):
                continue
            relative = hit.relative_to(base).as_posix()
            if hit.is_dir() and remarks is not None and PurePosixPath(entry.file).suffix:
                remarks.append(f"{relative!r} matches {entry.file!r} and is a folder: it is not measured")
            if hit.is_dir() or not (hit.is_file() or hit.is_symlink()):
                continue
            if hit.exists():  # a link to nothing is a part that cannot be read, and no reason to stop the others
                relative = _checked(base, hit, relative)
            count += 1
            if entry.part is not None and found.get(relative) not in (None, entry.part):
                raise UsageError(f"{relative!r} is named for two parts", got=f"{found[relative]} and {entry.part}")
            found[relative] = entry.part or found.get(relative)
        if not count and not resuming:
            raise UsageError(
                f"no file matches {entry.file!r} under the data root",
                remedy="check the pattern, or name the root with --data",
            )
    return list(found.items())


def difference(old: Plan, new: Plan) -> list[str]:
    """What makes another run of a plan made anew, in words; empty where the old one can go on. Inputs that changed or
    are gone are not in it (`changed_inputs`): they stop their own parts only."""
    lines: list[str] = []
    if old.recipe_sha256 != new.recipe_sha256:
        lines.append(f"the recipe changed (digest {old.recipe_sha256[:12]} is now {new.recipe_sha256[:12]})")
        lines += _recipe_difference(old, new)
    if old.version != new.version:
        lines.append(f"Abbe {old.version} made the run, this is {new.version}")
    known = {ref.path for task in old.tasks for ref in task.inputs}
    before = {task.part: task for task in old.tasks}
    added = [task.part for task in new.tasks if not known.issuperset(ref.path for ref in task.inputs)]
    if added:
        lines.append(f"inputs added: {_some(sorted(added))}")
    # the recipe's text is left out on purpose: its digest says whether another spelling is another recipe
    same = [task for task in new.tasks if task.part in before and before[task.part].inputs == task.inputs]
    if not lines and any(before[task.part] != task for task in same):
        lines.append("the plan differs in its details (acquisition or pre-flight results)")
    return lines


def changed_inputs(old: Plan, new: Plan) -> dict[str, str]:
    """Parts of the old plan with an input that is now gone or has other content -> the input and which of the two."""
    now = {ref.path: ref.sha256 for task in new.tasks for ref in task.inputs}
    found: dict[str, str] = {}
    for task in old.tasks:
        for ref in task.inputs:
            if ref.sha256 is not None and now.get(ref.path) != ref.sha256:
                found[task.part] = f"{ref.path} {'is gone' if now.get(ref.path) is None else 'has other content'}"
                break
    return found


def _recipe_difference(old: Plan, new: Plan) -> list[str]:
    keys = sorted(set(old.recipe) | set(new.recipe))
    lines = [f"recipe key {key!r} differs" for key in keys if old.recipe.get(key) != new.recipe.get(key)]
    files = sorted(set(old.recipe_files) | set(new.recipe_files))
    return lines + [
        f"file {name!r} of the recipe differs"
        for name in files
        if old.recipe_files.get(name) != new.recipe_files.get(name)
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
