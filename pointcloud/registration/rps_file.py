"""The file of datum targets: strict CSV that a spreadsheet writes.

::

    abbe-rps,1
    unit,mm
    name,x,y,z,i,j,k,radius,weight
    A1,10,20,0,0,0,1,2.5,1
    # a line of its own that starts with # is a comment

First line: format and version. Second line: the unit of all lengths. Third line: the columns, in any order: ``name``,
``x y z`` (nominal point), ``i j k`` (direction in which it is held, any length) are mandatory; ``radius`` (of the disc
in which the scan is read), ``weight``, ``mx my mz`` (measured coordinates, in the frame of the scan), ``u`` (standard
uncertainty of the measured point along the direction) are optional, and their cells may be empty. Each row locks one
direction. Everything else is an error that names the line.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from metrology_core.errors import ParameterError, ReaderError, UnitError
from metrology_core.units import convert
from metrology_core.units import unit as unit_of
from pointcloud.registration.rps import DatumTarget

_NEEDED = ("name", "x", "y", "z", "i", "j", "k")
_OPTIONAL = ("radius", "weight", "mx", "my", "mz", "u")
_MAX_BYTES = 4_000_000


def read_rps(path: str | Path, *, unit: str | None = None) -> tuple[DatumTarget, ...]:
    """The targets of a file; lengths converted to ``unit`` where given. Raises `ReaderError` with the line."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReaderError("a list of targets is not that large", path=path.name, expected=f"<= {_MAX_BYTES} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ReaderError(
            "the file of targets cannot be read", path=path.name, got=error.strerror or type(error).__name__
        ) from None
    except UnicodeDecodeError:
        raise ReaderError("the file of targets is not text", path=path.name, expected="UTF-8") from None
    return parse_rps(text, name=path.name, unit=unit)


def parse_rps(text: str, *, name: str = "targets", unit: str | None = None) -> tuple[DatumTarget, ...]:
    """See `read_rps`."""
    rows = [
        (number, [cell.strip() for cell in cells])
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip(" ,\t") and not line.lstrip().startswith("#")
        for cells in csv.reader([line])
    ]

    def fail(what: str, line: int, **rest: str) -> ReaderError:
        return ReaderError(what, path=name, place=f"line {line}", **rest)

    head = [_strip(cells) for _, cells in rows[:2]]
    if not rows or head[0] != ["abbe-rps", "1"]:
        raise fail("not a file of datum targets", rows[0][0] if rows else 1, expected="abbe-rps,1 in the first line")
    if len(rows) < 2 or len(head[1]) != 2 or head[1][0] != "unit":
        raise fail("the unit is missing", rows[min(1, len(rows) - 1)][0], expected="unit,mm in the second line")
    try:
        given = unit_of(head[1][1])
    except UnitError as error:
        raise fail(f"the unit is not known: {head[1][1]}", rows[1][0], remedy=str(error.remedy or "")) from None
    if given.dimension != "length":
        raise fail(f"{given.name} is not a unit of length", rows[1][0])
    factor = 1.0 if unit is None else convert(1.0, given.name, unit)
    if len(rows) < 3:
        raise fail("the columns are missing", rows[-1][0], expected=", ".join(_NEEDED))
    line, columns = rows[2][0], _strip(rows[2][1])
    for column in columns:
        if column not in _NEEDED + _OPTIONAL:
            raise fail(f"unknown column {column!r}", line, expected=", ".join(_NEEDED + _OPTIONAL))
        if columns.count(column) > 1:
            raise fail(f"column {column!r} comes twice", line)
    lacking = [column for column in _NEEDED if column not in columns]
    if lacking:
        raise fail(f"column {lacking[0]!r} is missing", line, expected=", ".join(_NEEDED))
    targets = []
    for line, cells in rows[3:]:
        if len(_strip(cells)) > len(columns):
            raise fail("more cells than columns", line, expected=str(len(columns)), got=str(len(cells)))
        cell = dict(zip(columns, [*cells, *[""] * len(columns)]))
        if not cell["name"]:
            raise fail("the target has no name", line)
        value = {key: _number(cell.get(key, ""), key, line, fail, key in _NEEDED) for key in columns if key != "name"}
        measured = [value.get(key) for key in ("mx", "my", "mz")]
        if any(v is None for v in measured) and any(v is not None for v in measured):
            raise fail(f"target {cell['name']}: measured coordinates are three", line, expected="mx, my, mz")
        radius, u, weight = value.get("radius"), value.get("u"), value.get("weight")
        try:
            targets.append(
                DatumTarget(
                    cell["name"],
                    [value[c] * factor for c in "xyz"],  # type: ignore[arg-type, operator]
                    [value[c] for c in "ijk"],  # type: ignore[arg-type]
                    None if radius is None else radius * factor,
                    1.0 if weight is None else weight,
                    None if measured[0] is None else [v * factor for v in measured],  # type: ignore[arg-type, operator]
                    None if u is None else u * factor,
                )
            )
        except ParameterError as error:
            raise fail(error.what, line, remedy=error.remedy or "") from None
    if not targets:
        raise fail("the file holds no target", rows[-1][0])
    return tuple(targets)


def _strip(cells: list[str]) -> list[str]:
    """Cells without the empty ones at the end, which spreadsheets add."""
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def _number(text: str, key: str, line: int, fail: object, needed: bool) -> float | None:
    if not text and not needed:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise fail(f"{key} is not a number", line, got=text or "nothing")  # type: ignore[operator]
    return value


def write_rps(path: str | Path, targets: Iterable[DatumTarget], *, unit: str) -> None:
    """Write targets (lengths in ``unit``) as a file that `read_rps` reads back with the same bits."""
    name = unit_of(unit).name
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["abbe-rps", "1"])
    writer.writerow(["unit", name])
    writer.writerow([*_NEEDED, *_OPTIONAL])
    for t in targets:
        measured = ["", "", ""] if t.measured is None else [repr(float(v)) for v in t.measured]
        writer.writerow([
            t.name, *(repr(float(v)) for v in (*t.point, *t.direction)), "" if t.radius is None else repr(t.radius),
            repr(t.weight), *measured, "" if t.u is None else repr(t.u),
        ])  # fmt: skip
    Path(path).write_text(out.getvalue(), encoding="utf-8")
