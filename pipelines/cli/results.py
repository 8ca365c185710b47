"""``abbe report``, ``abbe status``, ``abbe verify``: what can be asked of a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.session import Session, expired_words, json_option, provisional_words, reason_words

RUN = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))


@click.command()
@RUN
@json_option
@click.pass_obj
def report(session: Session, run_folder: Path) -> int:
    """Build the report of RUN again from its records.

    Exit code 5 where a record does not match the journal: the report is written, and says what it was built from.
    """
    from pipelines.driver import note_report
    from pipelines.exit_codes import ExitCode
    from pipelines.files import writing
    from pipelines.journal import Journal
    from pipelines.lock import RunLock
    from pipelines.report import build_report
    from pipelines.store import JOURNAL, LOCK, RunFolder
    from pipelines.verify import evidence_findings, require_evidence

    run = RunFolder(run_folder)
    if not (run.path / JOURNAL).is_file():
        require_evidence(run)  # opening the journal would make a new one
    with (
        writing(run.path, "make the run folder writable, or copy it to where it is"),
        RunLock(run.path / LOCK),
        Journal(run.path / JOURNAL) as journal,
    ):
        found = evidence_findings(run)
        index = Path(build_report(run.path))
        note_report(journal, run.path, index)
    session.answer({"run": str(run.path), "report": str(index), "findings": [item.to_dict() for item in found]})
    session.answer_text(f"{index}\n")
    for item in found:
        session.remark(f"{item.where}: {item.message}")
    if found:
        session.remark("the report was built from records that do not match the journal; see 'abbe verify'")
    return int(ExitCode.INTEGRITY if found else ExitCode.CONFORMING)


@click.command()
@RUN
@click.option("--strict", is_flag=True, help="A provisional verdict counts as indeterminate: exit code 6 at best.")
@json_option
@click.pass_obj
def status(session: Session, run_folder: Path, strict: bool) -> int:
    """Counts of outcomes and verdicts of RUN, what was not measured, and how to go on.

    The exit code is the one that 'abbe run' would give, with or without --strict; 5 where a record, the journal or the
    plan is not what the run wrote (while somebody works on it only the journal is checked).
    """
    from pipelines.exit_codes import ExitCode, combine, of_part
    from pipelines.lock import is_locked
    from pipelines.store import (
        LOCK,
        RunFolder,
        count_expired,
        count_outcomes,
        count_provisional,
        count_verdicts,
        inputs_differ,
        is_closed,
    )
    from pipelines.verify import evidence_findings

    run = RunFolder(run_folder)
    journal = run.journal()
    rows = run.outcomes()
    closed = is_closed(journal)
    working = is_locked(run.path / LOCK)
    opened = [entry for entry in journal.entries if entry["event"] in ("run_opened", "run_resumed")]
    gaps = any(row.outcome == "not_run" for row in rows)
    resume = None
    if opened and (gaps or not closed) and not working:
        from pipelines.run import resume_here

        resume = resume_here(opened[-1]["resume"], run.path)
    # a run that somebody works on changes between two looks; journal.fault is said on its own
    found = [] if working else [item for item in evidence_findings(run) if item.message != journal.fault]
    codes = [
        of_part(row.outcome, row.verdict, row.flags, strict=strict)
        for row in rows
        if row.outcome != "not_run" or closed
    ]
    if not closed:
        codes.append(ExitCode.INTERRUPTED)
    if journal.fault is not None or found or inputs_differ(rows):
        codes.append(ExitCode.INTEGRITY)
    code = combine(codes)
    missed = [row for row in rows if row.outcome not in ("measured", "measured_with_flags")]
    outcomes, verdicts = count_outcomes(rows), count_verdicts(rows)
    provisional, expired = count_provisional(rows), count_expired(rows)
    session.answer(
        {
            "run": str(run.path),
            "recipe": run.plan().recipe_name,
            "tasks": len(rows),
            "outcomes": outcomes,
            "verdicts": verdicts,
            "provisional": provisional,
            "calibration_expired": expired,
            "complete": closed and not gaps,
            "working": working,
            "fault": journal.fault,
            "findings": [item.to_dict() for item in found],
            "exit_code": int(code),
            "resume": resume,
            "not_measured": [row.to_dict() for row in missed],
        }
    )
    if session.as_json:
        return int(code)
    state = "somebody works on it" if working else "complete" if closed and not gaps else "not complete"
    lines = [f"{run.plan().recipe_name}: {len(rows)} parts, {state}"]
    lines += [f"  {name.replace('_', ' ')}: {count}" for name, count in outcomes.items()]
    lines += [
        f"  {name if name != 'none' else 'without verdict'}: {count}{provisional_words(provisional.get(name, 0))}"
        for name, count in verdicts.items()
    ]
    if expired:
        lines.append(f"  {expired_words(expired)}")
    for row in missed:
        why = reason_words(row.outcome, row.reason)
        lines.append(f"  {row.part}: {row.outcome.replace('_', ' ')}: {why}")
    if journal.fault is not None:
        lines.append(f"the journal is damaged: {journal.fault}; see 'abbe verify'")
    if found:
        lines.append(f"{found[0].where}: {found[0].message}; see 'abbe verify' ({len(found)} findings)")
    if resume is not None:
        lines.append(f"go on with: {resume}")
    session.answer_text("\n".join(lines) + "\n")
    return int(code)


@click.command()
@RUN
@click.option("--data", type=click.Path(path_type=Path), help="Root of the inputs: check their digests too.")
@json_option
@click.pass_obj
def verify(session: Session, run_folder: Path, data: Path | None) -> int:
    """Compute every digest of RUN again: journal, plan, recipe, records, report, and with --data the inputs.

    Finds accidents and edits. A journal can be made anew by whoever can write the folder: keep its head (printed here)
    elsewhere to find that too. Exit code 0 intact and complete, 4 intact but not complete, 5 not intact.
    """
    from pipelines.verify import verify_run

    result = verify_run(run_folder, data_root=data)
    session.answer(result.to_dict())
    if not session.as_json:
        lines = [f"{finding.where}: {finding.message}" for finding in result.findings]
        lines += [f"note: {note}" for note in result.notes]
        state = "intact" if not result.findings else f"NOT intact: {len(result.findings)} findings"
        if not result.complete:
            state += ", not complete"
        checked = f"{result.records} records, {result.journal_entries} journal entries"
        if data is not None:
            checked += f", {result.inputs} inputs"
        lines += [f"{state} ({checked})", f"head of the journal: {result.head}"]
        session.answer_text("\n".join(lines) + "\n")
    return int(result.exit_code)
