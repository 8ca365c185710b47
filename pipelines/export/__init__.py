"""Exports: the results of a run for other programs. An export lays out what the records hold and computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from metrology_core.errors import ParameterError
from pipelines.export.csv_table import csv_bytes
from pipelines.export.json_document import json_bytes
from pipelines.store import EXPORTS, RunFolder

FORMATS: dict[str, tuple[str, Callable[[RunFolder], bytes]]] = {
    "csv": ("measurements.csv", csv_bytes),
    "json": ("run.json", json_bytes),
}


def export_run(path: str | Path, formats: Sequence[str], *, to: str | Path | None = None) -> dict[str, Path]:
    """Write a run in the named formats; returns format to path. Raises `ParameterError` for an unknown format.

    Every record is checked against the journal first: `IntegrityError` names the one that does not match, and nothing
    is written. `UsageError` where the folder cannot be written.
    """
    from pipelines.files import replace, writing
    from pipelines.verify import require_evidence

    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ParameterError(
            f"there is no export {unknown[0]!r}" if unknown else "no export is named",
            expected=", ".join(FORMATS),
            remedy="name one or several, separated by commas",
        )
    run = RunFolder(path)
    folder = run.path / EXPORTS if to is None else Path(to)
    require_evidence(run)
    written = {}
    for name in dict.fromkeys(formats):
        file, make = FORMATS[name]
        data = make(run)
        with writing(folder, "give a folder that can be written with --to"):
            folder.mkdir(parents=True, exist_ok=True)
            replace(folder / file, data)
        written[name] = folder / file
    return written
