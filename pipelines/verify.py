"""`verify_run`: does the folder still hold what the run wrote? Every digest is computed again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metrology_core.canonical import sha256_json
from metrology_core.errors import AbbeError, IntegrityError
from metrology_core.provenance import digest_file
from pipelines.exit_codes import ExitCode
from pipelines.files import TEMPORARY
from pipelines.journal import JournalText, merkle_root
from pipelines.plan import Plan, task_id
from pipelines.recipe.load import recipe_digest
from pipelines.store import (
    FILES,
    JOURNAL,
    MEASUREMENTS,
    PLAN,
    RECIPE,
    REPORT,
    SELFTEST,
    RunFolder,
    TaskOutcome,
    inputs_differ,
    is_closed,
    outcomes_of,
    report_digest,
)


@dataclass(frozen=True)
class Finding:
    """One mismatch: what, and where in the run folder."""

    where: str
    message: str

    def to_dict(self) -> dict[str, str]:
        return {"where": self.where, "message": self.message}


@dataclass(frozen=True)
class Verification:
    """What was checked and what was found. ``complete`` is False for a run that was interrupted or torn."""

    path: Path
    findings: tuple[Finding, ...]
    complete: bool
    records: int
    inputs: int
    journal_entries: int
    head: str
    notes: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> ExitCode:
        if self.findings:
            return ExitCode.INTEGRITY
        return ExitCode.CONFORMING if self.complete else ExitCode.INTERRUPTED

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.path),
            "intact": not self.findings,
            "complete": self.complete,
            "records": self.records,
            "inputs": self.inputs,
            "journal_entries": self.journal_entries,
            "head": self.head,
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }


def verify_run(path: str | Path, *, data_root: str | Path | None = None) -> Verification:
    """Check journal chain, plan, recipe, records and report against each other; with ``data_root`` the inputs too.

    Raises `UsageError` where ``path`` is not a run folder. Mismatches are findings, not errors.
    """
    run = RunFolder(path)
    journal = run.journal()
    found: list[Finding] = []
    notes: list[str] = []
    if journal.fault is not None:
        found.append(Finding(JOURNAL, journal.fault))
    if journal.torn:
        notes.append(f"the last line of the journal is torn ({len(journal.torn)} bytes); resuming the run drops it")
    try:
        plan = run.plan()
    except IntegrityError as error:
        found.append(Finding(PLAN, str(error)))
        return Verification(run.path, tuple(found), False, 0, 0, len(journal.entries), journal.head, tuple(notes))
    found += _plan(run, plan, journal)
    rows = outcomes_of(plan, journal)
    found += _records(run, rows)
    found += _closing(journal, rows)
    found += [
        Finding(str((row.reason or {}).get("where")), f"{(row.reason or {}).get('message')}: the part was not measured")
        for row in rows
        if inputs_differ([row])
    ]
    found += _selftest(run.path, journal)
    found += _report(run.path, journal)
    checked = 0
    if data_root is not None:
        checked, wrong = _inputs(plan, Path(data_root), {row.task_id for row in rows if row.record_sha256 is not None})
        said = {finding.where for finding in found}
        found += [finding for finding in wrong if finding.where not in said]
    complete = is_closed(journal) and not journal.torn and all(row.outcome != "not_run" for row in rows)
    records = sum(row.record_sha256 is not None for row in rows)
    return Verification(
        run.path, tuple(found), complete, records, checked, len(journal.entries), journal.head, tuple(notes)
    )


def evidence_findings(run: RunFolder) -> list[Finding]:
    """What speaks against using the records: journal, plan, and every record that the journal names; nothing else."""
    journal = run.journal()
    found = [] if journal.fault is None else [Finding(JOURNAL, journal.fault)]
    if not (run.path / JOURNAL).is_file():
        return [Finding(JOURNAL, "the journal is missing")]
    plan = run.plan()
    rows = outcomes_of(plan, journal)
    return [*found, *_plan(run, plan, journal), *_named_records(run, rows), *_closing(journal, rows)]


def require_evidence(run: RunFolder) -> None:
    """Raise `IntegrityError`, naming the first mismatch, where journal, plan and records do not belong together."""
    found = evidence_findings(run)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise IntegrityError(
            f"{found[0].message}{more}",
            where=found[0].where,
            remedy="keep the folder as it is; 'abbe verify' lists every mismatch, a new run gives sound records",
        )


def _digest(path: Path) -> str | None:
    try:
        return digest_file(path)
    except OSError:
        return None


def _plan(run: RunFolder, plan: Plan, journal: JournalText) -> list[Finding]:
    found: list[Finding] = []
    opened = [entry for entry in journal.entries if entry["event"] in ("run_opened", "run_resumed")]
    if not opened and journal.fault is None:
        found.append(Finding(JOURNAL, "the journal does not say that the run was opened"))
    on_disk = _digest(run.path / PLAN)
    if plan.sha256 != on_disk:
        found.append(Finding(PLAN, "not in canonical form"))
    for entry in opened[-1:]:
        if entry["plan_sha256"] != on_disk:
            found.append(Finding(PLAN, "not the plan that the journal names"))
        if entry["recipe_text_sha256"] != _digest(run.path / RECIPE):
            found.append(Finding(RECIPE, "not the recipe that the journal names"))
    for name, sha in plan.recipe_files.items():
        if _digest(run.path / FILES / name) != sha:
            found.append(Finding(f"{FILES}/{name}", "not the file that the plan names"))
    try:
        if recipe_digest(run.recipe(), plan.recipe_files) != plan.recipe_sha256:
            found.append(Finding(PLAN, "the recipe inside does not match its digest"))
    except AbbeError as error:
        found.append(Finding(PLAN, str(error)))
    for task in plan.tasks:
        if task.id != task_id(task.part, task.inputs, plan.recipe_sha256, plan.version, plan.seed):
            found.append(Finding(PLAN, f"task {task.id[:16]} ({task.part}) does not match its id"))
    return found


def _records(run: RunFolder, rows: list[TaskOutcome]) -> list[Finding]:
    found = _named_records(run, rows)
    known = {run.record_path(row.task_id).name for row in rows}
    folder = run.path / MEASUREMENTS
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in known and not path.name.endswith(TEMPORARY):
            found.append(Finding(f"{MEASUREMENTS}/{path.name}", "a file that the plan does not know"))
    return found


def _named_records(run: RunFolder, rows: list[TaskOutcome]) -> list[Finding]:
    found: list[Finding] = []
    for row in rows:
        path = run.record_path(row.task_id)
        where = f"{MEASUREMENTS}/{path.name} ({row.part})"
        if row.record_sha256 is None:
            if row.outcome == "crashed" and path.exists():
                found.append(Finding(where, "a record of a part that crashed"))
            continue
        actual = _digest(path)
        if actual is None:
            found.append(Finding(where, "the record is missing"))
        elif actual != row.record_sha256:
            found.append(Finding(where, f"SHA-256 is {actual[:16]}..., the journal says {row.record_sha256[:16]}..."))
    return found


def _closing(journal: JournalText, rows: list[TaskOutcome]) -> list[Finding]:
    if not is_closed(journal):
        return []
    closing = next(entry for entry in reversed(journal.entries) if entry["event"] == "run_closed")
    digests = [row.record_sha256 for row in rows if row.record_sha256 is not None]
    found = []
    if closing["records"] != len(digests) or closing["records_root"] != merkle_root(digests):
        found.append(Finding(JOURNAL, "the closing entry names other records"))
    if closing["outcomes_sha256"] != sha256_json([[row.task_id, row.outcome, row.verdict] for row in rows]):
        found.append(Finding(JOURNAL, "the closing entry names other outcomes"))
    return found


def _report(run: Path, journal: JournalText) -> list[Finding]:
    last = next((entry for entry in reversed(journal.entries) if entry["event"] == "report_built"), None)
    if last is None:
        return []
    actual = report_digest(run / REPORT)
    if actual is None:
        return [Finding(REPORT, "the report is missing")]
    if actual != last["sha256"]:
        return [Finding(REPORT, "the report is not the one that was built; 'abbe report' builds it again")]
    return []


def _selftest(run: Path, journal: JournalText) -> list[Finding]:
    last = next((entry for entry in reversed(journal.entries) if entry["event"] == "self_tested"), None)
    if last is None:
        return []
    actual = _digest(run / SELFTEST)
    if actual is None:
        return [Finding(SELFTEST, "the result of the self-test is missing")]
    if actual != last["sha256"]:
        return [Finding(SELFTEST, "the result of the self-test is not the one that was noted")]
    return []


def _inputs(plan: Plan, root: Path, measured: set[str]) -> tuple[int, list[Finding]]:
    found, count = [], 0
    for task in plan.tasks:
        for ref in task.inputs:
            if ref.sha256 is None:
                continue
            count += 1
            actual = _digest(root / ref.path)
            if actual is None:
                found.append(Finding(ref.path, "the input is missing"))
            elif actual != ref.sha256:
                which = "was measured" if task.id in measured else "was there when the plan was made"
                found.append(Finding(ref.path, f"the input is not the file that {which}"))
    return count, found
