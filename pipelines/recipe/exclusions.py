"""Checks of what excludes what across the parts of a recipe: each of these could only fail, or mislead, in the run.

Like `semantic` they work on the plain data and pass over what the schema reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from pipelines.recipe.problems import Problem
from pipelines.recipe.source import Document, Path_, get

_OTHER_KINDS = ("features", "sem_lines", "sem_contacts", "sem_contours", "film_map")


def check_exclusions(document: Document, kind: object) -> Iterator[Problem]:
    """Faults of scans that stand twice, of scans registered together, and of a simulation that nothing can use."""
    yield from _scans(document)
    yield from _together(document, kind)
    yield from _stated_twice(document)
    if kind == "features":
        yield from _two_sources(document)


def _entries(document: Document) -> Iterator[tuple[Path_, str, list[tuple[Path_, str]]]]:
    """Place of each entry's file, the file, and its further scans with their places; a path in one spelling."""
    rows = get(document.data, ("inputs", "files"))
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        place: Path_ = ("inputs", "files", index)
        if isinstance(row, str):
            yield place, _spelled(row), []
        elif isinstance(row, dict) and isinstance(row.get("file"), str):
            also = row.get("also")
            further = [
                ((*place, "also", k), _spelled(name))
                for k, name in enumerate(also if isinstance(also, list) else [])
                if isinstance(name, str)
            ]
            yield (*place, "file"), _spelled(row["file"]), further


def _spelled(path: str) -> str:
    return PurePosixPath(path).as_posix()


def _scans(document: Document) -> Iterator[Problem]:
    """A further scan belongs to one part and is counted once: else a part vanishes, or a scan weighs double."""
    entries = list(_entries(document))
    first = {name: place for place, name, _ in reversed(entries)}
    for _, _, further in entries:
        for place, name in further:
            if name in first:
                yield document.problem(
                    "recipe/contradiction",
                    f"the scan '{name}' stands twice",
                    place,
                    hint=f"first in line {document.span(first[name]).line}; a further scan is a file of its own",
                )
            else:
                first[name] = place


def _together(document: Document, kind: object) -> Iterator[Problem]:
    """Further scans are registered together with the first by least squares, in the measure deviation only."""
    places = [place[:-1] for _, _, further in _entries(document) for place, _ in further[:1]]
    if not places:
        return
    if kind in _OTHER_KINDS:
        for place in places:
            yield document.problem(
                "recipe/contradiction",
                f"'also' belongs to the measure deviation, not to {kind}",
                place,
                key=True,
                hint="measure the files one by one",
            )
    align = get(document.data, ("measure", "align"))
    if kind != "deviation" or not isinstance(align, dict):
        return
    for key, only in (("method", "best_fit"), ("loss", "squares"), ("trim", 0)):
        given = align.get(key, only)
        if given != only:
            yield document.problem(
                "recipe/contradiction",
                f"scans with 'also' are registered together by least squares, not with {key}: {given}",
                ("measure", "align", key),
                hint="write 'align: {method: best_fit}', or leave 'also' out",
            )


def _stated_twice(document: Document) -> Iterator[Problem]:
    """A fact of the acquisition that the recipe states and the file name gives too: one of them would be dropped."""
    stated, pattern = (get(document.data, ("inputs", key)) for key in ("acquisition", "acquisition_from_name"))
    if not isinstance(stated, dict) or not isinstance(pattern, str):
        return
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, OverflowError, RecursionError):
        return
    for key in stated:
        if key in groups:
            yield document.problem(
                "recipe/contradiction",
                f"'{key}' is stated for all files, and acquisition_from_name takes it from the name of each",
                ("inputs", "acquisition", key),
                key=True,
                hint="leave it out of one of them",
            )


def _two_sources(document: Document) -> Iterator[Problem]:
    """An experiment on a calibrated workpiece is the whole uncertainty of its characteristic: where each has one, a
    simulation would be paid for and told nowhere. Beside characteristics without one it has its use."""
    rows: Any = get(document.data, ("measure", "characteristics"))
    if not isinstance(get(document.data, ("measure", "simulation")), dict) or not isinstance(rows, list) or not rows:
        return
    if all(isinstance(row, dict) and isinstance(row.get("calibrated_workpiece"), dict) for row in rows):
        yield document.problem(
            "recipe/contradiction",
            "every characteristic has its uncertainty from a calibrated workpiece: nothing is left to simulate",
            ("measure", "simulation"),
            key=True,
            hint="take 'simulation' out, or 'calibrated_workpiece' where the simulation shall count",
        )
