"""Progress of a run on stderr: a bar with counts by outcome on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.cli.session import Session
    from pipelines.run import Progress

LINE_SECONDS = 5.0
_SHORT = {
    "measured": "measured",
    "measured_with_flags": "flagged",
    "unusable_data": "unusable",
    "algorithm_failed": "failed",
    "crashed": "crashed",
    "not_run": "not run",
}


def words(state: Progress) -> str:
    """Counts by outcome in a few words."""
    return ", ".join(f"{count} {_SHORT[name]}" for name, count in state.counts.items() if count) or "starting"


@contextlib.contextmanager
def progress_on_stderr(session: Session) -> Iterator[Callable[[Progress], None]]:
    """A callback for `run_recipe`."""
    if not sys.stderr.isatty():
        yield _lines(session)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=session.log, transient=False) as bar:
        handle = bar.add_task("starting", total=None)

        def show(state: object) -> None:
            bar.update(
                handle,
                total=state.total,  # type: ignore[attr-defined]
                completed=state.done,  # type: ignore[attr-defined]
                description=words(state),  # type: ignore[arg-type]
            )

        yield show


def _lines(session: Session) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(state: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_SECONDS or (state.total and state.done == state.total and state.part is not None):
            last = now
            session.remark(f"{state.done}/{state.total} after {state.seconds:.0f} s: {words(state)}")

    return show
