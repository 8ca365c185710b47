"""What a long step may use of the run around it: a folder for unfinished work, and someone to tell how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

Report = Callable[[str], None]
_folder: ContextVar[Path | None] = ContextVar("abbe_unfinished", default=None)
_report: ContextVar[Report | None] = ContextVar("abbe_report", default=None)


@contextlib.contextmanager
def unfinished_work(folder: Path) -> Iterator[None]:
    """Let the step inside keep unfinished work in a folder, which it makes when it needs it and leaves empty."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)
        with contextlib.suppress(OSError):
            folder.rmdir()  # where a step of this run left it empty


@contextlib.contextmanager
def told(report: Report | None) -> Iterator[None]:
    """Tell ``report`` how far long steps are, in words."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def work_folder() -> Path | None:
    """Where unfinished work may be kept; None outside of a run."""
    return _folder.get()


def tell(text: str) -> None:
    """Say how far a step is."""
    report = _report.get()
    if report is not None:
        report(text)
