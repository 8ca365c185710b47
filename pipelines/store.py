"""`RunFolder`: a run on disk, read-only. Plan and journal are the truth; everything else can be made again from them.

::

    run/  recipe.yaml  files/  plan.json  journal.jsonl  measurements/<id>.h5  rejected/
          selftest.json  catalogue.sqlite  report/  exports/
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metrology_core.canonical import sha256_json
from metrology_core.errors import IntegrityError, UsageError
from metrology_core.provenance import digest_file
from pipelines.journal import JournalText, read_journal
from pipelines.plan import Plan, Task
from pipelines.recipe import Recipe
from pipelines.record import OUTCOMES, Record, read_record

RECIPE = "recipe.yaml"
FILES = "files"
PLAN = "plan.json"
JOURNAL = "journal.jsonl"
MEASUREMENTS = "measurements"
REJECTED = "rejected"
CATALOGUE = "catalogue.sqlite"
REPORT = "report"
SELFTEST = "selftest.json"
EXPORTS = "exports"
LOCK = ".lock"
UNFINISHED = "unfinished"  # of steps that are interrupted; gone when they end


@dataclass(frozen=True)
class TaskOutcome:
    """What became of one task. ``record_sha256`` is None for ``crashed`` and ``not_run``, which have no record."""

    task_id: str
    part: str
    outcome: str
    verdict: str
    reason: Mapping[str, Any] | None
    flags: tuple[str, ...]
    attempts: int
    seconds: float | None
    record_sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "task_id": self.task_id,
            "part": self.part,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "reason": None if self.reason is None else dict(self.reason),
            "flags": list(self.flags),
            "attempts": self.attempts,
            "seconds": self.seconds,
        }


class RunFolder:
    """A run folder. Raises `UsageError` where ``path`` is not one, `IntegrityError` where its parts are damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / PLAN).is_file():
            raise UsageError(
                f"{str(path)!r} is not a run folder",
                expected=f"a folder with {PLAN}",
                remedy="give the folder of 'abbe run --out'",
            )

    def plan(self) -> Plan:
        """The plan as it was made before anything ran."""
        return self._plan

    @cached_property
    def _plan(self) -> Plan:
        return Plan.from_bytes((self.path / PLAN).read_bytes())

    def recipe(self) -> Recipe:
        """The resolved recipe (instrument included); files it names are copies inside the run folder."""
        return self._recipe

    @cached_property
    def _recipe(self) -> Recipe:
        from pydantic import ValidationError

        try:
            recipe = Recipe.model_validate(dict(self._plan.recipe))
        except ValidationError as error:
            raise IntegrityError("the recipe in plan.json is damaged", got=f"{error.error_count()} faults") from None
        object.__setattr__(recipe, "_folder", self.path / FILES)
        return recipe

    def journal(self) -> JournalText:
        """The journal as it stands on disk now."""
        return read_journal(self.path / JOURNAL)

    def task(self, task_id: str) -> Task:
        """The task of an id; raises `UsageError` for an id that the plan does not hold."""
        try:
            return self._tasks[task_id]
        except KeyError:
            raise UsageError(f"the plan holds no task {task_id[:16]!r}") from None

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        return {task.id: task for task in self._plan.tasks}

    def record_path(self, task_id: str) -> Path:
        """Where the record of a task is, or would be."""
        return self.path / MEASUREMENTS / f"{task_id}.h5"

    def read_record(self, task_id: str) -> Record:
        """The record of a task; raises `UsageError` where there is none, `IntegrityError` where it is damaged."""
        try:
            return read_record(self.record_path(task_id))
        except FileNotFoundError:
            raise UsageError(
                f"task {task_id[:16]!r} has no record", remedy="it crashed or was not run; see 'abbe status'"
            ) from None

    def selftest(self) -> dict[str, Any] | None:
        """The self-test of the software that worked on this run; None where there is none that can be read."""
        try:
            document = json.loads((self.path / SELFTEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def outcomes(self) -> list[TaskOutcome]:
        """The outcome of every task, in the order of the plan, ``not_run`` included."""
        return outcomes_of(self._plan, self.journal())

    def complete(self) -> bool:
        """Whether every task has an outcome and the run was closed after the last of them."""
        journal = self.journal()
        return is_closed(journal) and all(row.outcome != "not_run" for row in outcomes_of(self._plan, journal))

    def counts(self) -> dict[str, int]:
        """Number of tasks by outcome, in fixed order."""
        return count_outcomes(self.outcomes())


def outcomes_of(plan: Plan, journal: JournalText) -> list[TaskOutcome]:
    """Outcomes from the journal: the last word on each task counts."""
    rows: dict[str, TaskOutcome] = {}
    parts = {task.id: task.part for task in plan.tasks}
    for entry in journal.entries:
        event = entry["event"]
        task_id = entry.get("task")
        if task_id not in parts:
            continue
        if event == "task_done":
            rows[task_id] = TaskOutcome(
                task_id,
                parts[task_id],
                entry["outcome"],
                entry["verdict"],
                entry["reason"],
                tuple(entry["flags"]),
                entry["attempt"],
                entry["seconds"],
                entry["record_sha256"],
            )
        elif event in ("quarantined", "task_failed", "record_rejected"):
            outcome = "crashed" if event == "quarantined" else "not_run"
            rows[task_id] = TaskOutcome(
                task_id, parts[task_id], outcome, "none", entry["reason"], (), entry.get("attempt", 0), None
            )
    empty = {"verdict": "none", "reason": None, "flags": (), "attempts": 0, "seconds": None}
    return [rows.get(task.id) or TaskOutcome(task.id, task.part, "not_run", **empty) for task in plan.tasks]  # type: ignore[arg-type]


def is_closed(journal: JournalText) -> bool:
    """Whether the run was closed and not opened again since."""
    for entry in reversed(journal.entries):
        if entry["event"] == "run_closed":
            return True
        if entry["event"] != "report_built":
            return False
    return False


def inputs_differ(rows: list[TaskOutcome]) -> bool:
    """Whether a part was not measured because its input changed, or went, after the plan was made."""
    return any((row.reason or {}).get("code") in ("input_changed", "input_missing") for row in rows)


def count_outcomes(rows: list[TaskOutcome]) -> dict[str, int]:
    """Number of tasks by outcome, in fixed order, zeros left out."""
    counts = Counter(row.outcome for row in rows)
    return {name: counts[name] for name in OUTCOMES if counts[name]}


def count_verdicts(rows: list[TaskOutcome]) -> dict[str, int]:
    """Number of measured parts by verdict, worst first, zeros left out."""
    counts = Counter(row.verdict for row in rows if row.outcome in ("measured", "measured_with_flags"))
    return {name: counts[name] for name in ("nonconforming", "indeterminate", "conforming", "none") if counts[name]}


def count_provisional(rows: list[TaskOutcome]) -> dict[str, int]:
    """Number of measured parts by verdict of which some verdict is provisional, worst first, zeros left out."""
    return count_verdicts([row for row in rows if "provisional_verdict" in row.flags])


def count_expired(rows: list[TaskOutcome]) -> int:
    """Number of measured parts whose instrument was past its calibration."""
    return sum(count_verdicts([row for row in rows if "calibration_expired" in row.flags]).values())


def report_digest(folder: Path) -> str | None:
    """Digest over all files of the report folder (relative path and content); None without a report."""
    if not folder.is_dir():
        return None
    files = sorted(Path(base, name) for base, _, names in os.walk(folder) for name in names)
    return sha256_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})
