"""The inspection report: a static site in the run folder, a pure view of committed records.

It computes no measurement and takes no decision: every number on a page is in a record, or is a plain count,
mean or extreme of recorded values. Same run folder, same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

__all__ = ["build_report"]


def build_report(run_path: str | PathLike[str], *, languages: Sequence[str] = ("en", "zh")) -> Path:
    """Write the report of a run folder to ``RUN/report/`` and return the path of its ``index.html``.

    ``languages`` are the languages a reader can switch between; the first one is what a browser without scripts shows.
    Records that are missing or cannot be read appear as what they are; they never stop the report.
    Raises ``UsageError`` for an unknown language and whatever ``RunFolder`` raises for a folder that is no run.
    """
    from pipelines.report.build import build_site
    from pipelines.store import RunFolder

    path = Path(run_path)
    return build_site(RunFolder(path), path / "report", languages=tuple(languages))
