"""``abbe run``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.session import Session, expired_words, json_option, provisional_words, reason_words

if TYPE_CHECKING:
    from pipelines.run import RunSummary


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="[INPUT]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run folder (new, or with --resume).")
@click.option("--data", type=click.Path(path_type=Path), help="Root of the inputs (default: the recipe's folder).")
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes; 0: in this one.")
@click.option("--scheduler", metavar="ADDR", help="Address of a Dask scheduler, e.g. tls://10.0.0.5:8786.")
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--retry-crashed", is_flag=True, help="With --resume: measure quarantined parts again.")
@click.option("--strict", is_flag=True, help="A provisional verdict counts as indeterminate: exit code 6 at best.")
@json_option
@click.pass_obj
def run(
    session: Session,
    recipe: Path,
    inputs: tuple[Path, ...],
    out: Path,
    data: Path | None,
    workers: int,
    scheduler: str | None,
    resume: bool,
    retry_crashed: bool,
    strict: bool,
) -> int:
    """Measure all inputs of RECIPE into the run folder OUT.

    INPUT files replace the patterns of the recipe. The first Ctrl-C lets the parts in flight end, the second stops at
    once; both leave a run that --resume goes on with.
    """
    limit_threads()
    from pipelines.cli.progress import progress_on_stderr
    from pipelines.run import run_recipe

    with progress_on_stderr(session) as progress:
        summary = run_recipe(
            recipe,
            inputs,
            out=out,
            data_root=data,
            workers=workers,
            scheduler=scheduler,
            resume=resume,
            retry_crashed=retry_crashed,
            progress=progress,
            on_interrupt=_told,
            remark=session.remark,
            strict=strict,
        )
    session.answer(summary.to_dict())
    if not session.as_json:
        show_summary(session, summary)
    return int(summary.exit_code)


def limit_threads() -> None:
    """One thread for linear algebra, as in the workers: the bits of a sum must not depend on where it was made.

    Has to come before NumPy is loaded, which is why commands load it late.
    """
    if "numpy" not in sys.modules:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ[name] = "1"


_TOLD = {
    "parts": b"\nstopping: parts in flight are finished first; interrupt again to stop now\n",
    "report": b"\nall parts are done, the report is finished first; interrupt again to leave it\n",
}


def _told(phase: str) -> None:
    # from a signal handler: one write, no locks, no buffers
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(2, _TOLD[phase])


def show_summary(session: Session, summary: RunSummary) -> None:
    """Counts, what was not measured and why, and where the report is."""
    from rich.markup import escape
    from rich.table import Table

    console = session.console
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in summary.counts.items():
        table.add_row(name.replace("_", " "), str(count))
    for name, count in summary.verdicts.items():
        words = f"  {name if name != 'none' else 'without verdict'}"
        table.add_row(words + provisional_words(summary.provisional.get(name, 0)), str(count))
    console.print(table)
    if summary.calibration_expired:
        console.print(expired_words(summary.calibration_expired), soft_wrap=True)
    for row in summary.not_measured[:20]:
        words = reason_words(row.outcome, row.reason)
        console.print(f"{escape(row.part)}: {row.outcome.replace('_', ' ')}: {escape(words)}", soft_wrap=True)
    if len(summary.not_measured) > 20:
        console.print(f"... and {len(summary.not_measured) - 20} more; see 'abbe status'")
    for reason_text, count in summary.queued.items():
        if reason_text != "it was not run":
            console.print(f"measured again: {count} ({reason_text})")
    for problem in summary.problems:
        console.print(f"problem: {escape(problem)}", soft_wrap=True)
    if summary.report is not None:
        console.print(f"report: {summary.report}", soft_wrap=True, markup=False)
    if summary.resume_command is not None:
        console.print(f"go on with: {summary.resume_command}", soft_wrap=True, markup=False)
