"""The driver's side of a run folder: make or reopen it, note what happens, close it. One process holds it."""

from __future__ import annotations

import contextlib
import platform
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrology_core.canonical import sha256_json
from metrology_core.errors import IntegrityError, UsageError
from metrology_core.provenance import digest_bytes, digest_file
from pipelines import files
from pipelines.catalogue import Catalogue, fill
from pipelines.execute.protocol import Finished
from pipelines.journal import Journal, merkle_root, read_journal
from pipelines.lock import RunLock
from pipelines.plan import Plan, Task, difference
from pipelines.recipe import LoadedRecipe
from pipelines.record import decode_record
from pipelines.store import (
    FILES,
    JOURNAL,
    LOCK,
    MEASUREMENTS,
    PLAN,
    RECIPE,
    REJECTED,
    RunFolder,
    TaskOutcome,
    count_outcomes,
    count_verdicts,
    outcomes_of,
    report_digest,
)

_BEFORE_PLAN = {RECIPE, FILES, MEASUREMENTS, LOCK}
CRASHED = {
    "code": "crashed",
    "message": "the worker process died twice, the second time with this part alone on the cluster",
    "where": None,
    "remedy": "look at the file; it may exhaust the memory or hit a fault in a native library",
}


@dataclass(frozen=True)
class Queued:
    """A task to run, and why."""

    task: Task
    reason: str


def create(run: Path, loaded: LoadedRecipe, plan: Plan) -> None:
    """Lay out a new run; ``plan.json`` comes last, so a folder that has it is whole."""
    (run / MEASUREMENTS).mkdir(exist_ok=True)
    for name in plan.recipe_files:
        target = run / FILES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace(target, (loaded.folder / name).read_bytes())
    files.replace(run / RECIPE, loaded.text.encode("utf-8"))
    files.commit(run / PLAN, plan.to_bytes())


def is_started(run: Path) -> bool:
    """Whether a folder holds a run. Raises `UsageError` where it holds something else."""
    if not run.exists():
        return False
    if not run.is_dir():
        raise UsageError(f"{str(run)!r} is not a folder", remedy="give a new folder with --out")
    if (run / PLAN).is_file():
        return True
    strange = sorted(
        path.name for path in run.iterdir() if path.name not in _BEFORE_PLAN and not path.name.endswith(files.TEMPORARY)
    )
    if strange:
        raise UsageError(
            f"{str(run)!r} is not empty and not a run",
            got=", ".join(strange[:5]),
            remedy="give a new folder with --out",
        )
    return False


class Driver:
    """Holds the lock, the journal and the catalogue of one run while it is worked on."""

    def __init__(self, run: Path, plan: Plan, journal: Journal, catalogue: Catalogue) -> None:
        self.run = run
        self.plan = plan
        self.journal = journal
        self.catalogue = catalogue
        self.folder = RunFolder(run)

    def outcomes(self) -> list[TaskOutcome]:
        return outcomes_of(self.plan, read_journal(self.run / JOURNAL))

    # --- opening
    def opened(self, *, resumed: bool, root: Path, measure: str, executor: Mapping[str, Any], command: str) -> None:
        """Note that work begins. Raises `UsageError` where the run was made with another step."""
        first = next((entry for entry in self.journal.entries if entry["event"] == "run_opened"), None)
        if first is not None and first["measure"] != measure:
            raise UsageError("this run was made with another step", expected=str(first["measure"]), got=measure)
        event = "run_resumed" if resumed and first is not None else "run_opened"
        self.journal.append(
            event,
            plan_sha256=self.plan.sha256,
            recipe_sha256=self.plan.recipe_sha256,
            recipe_text_sha256=digest_file(self.run / RECIPE),
            recipe_files=dict(self.plan.recipe_files),
            version=self.plan.version,
            tasks=len(self.plan.tasks),
            measure=measure,
            data_root=str(root),
            executor=dict(executor),
            resume=command,
            host=socket.gethostname(),
            python=platform.python_version(),
            machine=platform.machine(),
        )

    def queue(self, *, retry_crashed: bool) -> list[Queued]:
        """Verify what is there and list what is to be done, with the reason for each task.

        A committed record that the journal does not know (the driver was killed in between) is adopted after checks; a
        record that does not match its digest is moved aside and measured again.
        """
        todo: list[Queued] = []
        for row in self.outcomes():
            task = self.folder.task(row.task_id)
            path = self.folder.record_path(row.task_id)
            if row.record_sha256 is not None:
                why = _damage(path, row.record_sha256)
                if why is None:
                    continue
                self._reject(task, path, why)
                todo.append(Queued(task, why))
            elif row.outcome == "crashed":
                if retry_crashed:
                    todo.append(Queued(task, "it crashed before, and a retry was asked for"))
            elif path.exists():
                why = self._adopt(task, path)
                if why is not None:
                    todo.append(Queued(task, why))
            else:
                todo.append(Queued(task, "its last attempt failed" if row.attempts else "it was not run"))
        return todo

    def _reject(self, task: Task, path: Path, why: str) -> None:
        if path.exists():
            aside = self.run / REJECTED
            aside.mkdir(exist_ok=True)
            path.rename(aside / f"{task.id}.{digest_file(path)[:12]}.h5")
            files.sync_folder(aside)
            files.sync_folder(path.parent)
        reason = {"code": "record_rejected", "message": why, "where": path.name, "remedy": "it is measured again"}
        self.journal.append("record_rejected", task=task.id, part=task.part, reason=reason)

    def _adopt(self, task: Task, path: Path) -> str | None:
        data = path.read_bytes()
        try:
            document = decode_record(data).document
            sound = document["task"]["id"] == task.id and document["task"]["recipe_sha256"] == self.plan.recipe_sha256
        except IntegrityError:
            sound = False
        if not sound:
            why = "a file under the name of its record is not its record"
            self._reject(task, path, why)
            return why
        summary = {
            "outcome": document["outcome"],
            "verdict": document["verdict"],
            "flags": list(document["flags"]),
            "reason": document["reason"],
            "record_sha256": digest_bytes(data),
            "seconds": None,
            "worker": None,
        }
        self._done(task, 1, summary, adopted=True)
        return None

    # --- noting
    def note(self, ended: Finished) -> str:
        """Write the end of a task to the journal, then to the catalogue; returns the outcome."""
        task = self.folder.task(ended.task_id)
        if ended.crashed:
            self.journal.append("quarantined", task=task.id, part=task.part, attempt=ended.attempt, reason=CRASHED)
            self.catalogue.put(
                task.id,
                "crashed",
                "none",
                reason=CRASHED,
                flags=(),
                attempts=ended.attempt,
                record_sha256=None,
                rows=(),
            )
            return "crashed"
        summary = ended.summary
        if summary is None or "changed" in summary:
            reason = (
                dict(ended.error or {})
                if summary is None
                else {
                    "code": "input_missing" if summary.get("missing") else "input_changed",
                    "message": f"the input {summary['changed']} is gone since the plan was made"
                    if summary.get("missing")
                    else f"the input {summary['changed']} is not the file that was there when the plan was made",
                    "where": summary["changed"],
                    "remedy": "restore the file and resume, or start a new run",
                }
            )
            self.journal.append("task_failed", task=task.id, part=task.part, attempt=ended.attempt, reason=reason)
            self.catalogue.put(
                task.id, "not_run", "none", reason=reason, flags=(), attempts=ended.attempt, record_sha256=None, rows=()
            )
            return "not_run"
        self._done(task, ended.attempt, summary)
        self.catalogue.put(
            task.id,
            summary["outcome"],
            summary["verdict"],
            reason=summary["reason"],
            flags=summary["flags"],
            attempts=ended.attempt,
            record_sha256=summary["record_sha256"],
            rows=summary["rows"],
        )
        return str(summary["outcome"])

    def _done(self, task: Task, attempt: int, summary: Mapping[str, Any], *, adopted: bool = False) -> None:
        keys = ("outcome", "verdict", "flags", "reason", "record_sha256", "seconds", "worker")
        extra = {"adopted": True} if adopted else {}
        content = {key: summary[key] for key in keys}
        self.journal.append("task_done", task=task.id, part=task.part, attempt=attempt, **content, **extra)

    def report_built(self, index: Path) -> None:
        """Note the report and the digest of its files."""
        note_report(self.journal, self.run, index)

    def closed(self) -> None:
        """Seal the run: counts, verdicts, and the root over all record digests in the order of the plan."""
        rows = self.outcomes()
        digests = [row.record_sha256 for row in rows if row.record_sha256 is not None]
        self.journal.append(
            "run_closed",
            outcomes=count_outcomes(rows),
            verdicts=count_verdicts(rows),
            records=len(digests),
            records_root=merkle_root(digests),
            outcomes_sha256=sha256_json([[row.task_id, row.outcome, row.verdict] for row in rows]),
        )


def note_report(journal: Journal, run: Path, index: Path) -> None:
    """Append ``report_built`` to a journal."""
    journal.append("report_built", index=index.relative_to(run).as_posix(), sha256=report_digest(index.parent))


@contextlib.contextmanager
def open_driver(run: Path, loaded: LoadedRecipe, plan: Plan, *, resume: bool) -> Iterator[Driver]:
    """Take a run folder: make it, or reopen it with ``resume``. Raises `UsageError` where plan and folder disagree."""
    with contextlib.ExitStack() as held:
        with files.writing(run, "give a folder that can be written with --out, on a disk with space"):
            run.mkdir(parents=True, exist_ok=True)
            held.enter_context(RunLock(run / LOCK))
            plan = _lay_out(run, loaded, plan, resume=resume)
            files.sweep(run)
            files.sweep(run / MEASUREMENTS)
            journal = held.enter_context(Journal(run / JOURNAL))
            catalogue = Catalogue(run, plan)
            held.callback(catalogue.close)
            fill(catalogue, RunFolder(run))
        yield Driver(run, plan, journal, catalogue)


def _lay_out(run: Path, loaded: LoadedRecipe, plan: Plan, *, resume: bool) -> Plan:
    """Make the run, or check that the one on disk is this one; returns the plan that counts."""
    started = is_started(run)
    orphans = not read_journal(run / JOURNAL).good_bytes and any((run / MEASUREMENTS).glob("*.h5"))
    if orphans and read_journal(run / JOURNAL).fault is None:
        # the journal is opened before the first record is written, so nothing but a loss explains this
        raise IntegrityError(
            "the run holds records, but its journal is gone: nothing says what they were when they were written",
            where=str(run / JOURNAL),
            remedy="keep the folder as evidence, and start a new run with another --out",
        )
    if not started:
        create(run, loaded, plan)
        return plan
    if not resume:
        raise UsageError(
            f"{str(run)!r} already holds a run", remedy="add --resume to go on, or give a new folder with --out"
        )
    old = Plan.from_bytes((run / PLAN).read_bytes())
    changes = difference(old, plan)
    if changes:
        raise UsageError(
            "this run cannot be resumed: " + "; ".join(changes),
            remedy="restore what changed, or start a new run with another --out",
        )  # an input that changed is no reason: its part finds out when its turn comes, and the others go on
    return old  # what is on disk counts, also where the same recipe is now written otherwise


def _damage(path: Path, sha256: str) -> str | None:
    try:
        return None if digest_file(path) == sha256 else "its record does not match the digest in the journal"
    except FileNotFoundError:
        return "its record is missing"
