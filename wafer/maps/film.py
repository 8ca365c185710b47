"""Film maps from text: the export of a KLA-Tencor F5x (a block for each wafer, with its own summary), and plain tables
``X,Y,name,name...`` with one wafer a column."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metrology_core.errors import ParameterError, ReaderError
from wafer.maps.doubts import is_cut, repeated_names
from wafer.maps.sites import SiteMap

MAX_BYTES = 2**27
FIGURES = ("MEAN", "MIN", "MAX", "% STDDEV", "STDDEV", "3 % STDDEV", "3 STDDEV", "RANGE")
_BRACKETS = re.compile(r"\[([^\[\]]+)\]\s*$")
_DECIMAL_COMMA = re.compile(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$")
_ANGSTROM = ("angstrom", "angstroms", "\u00e5")  # of film tools; no unit of drawings
_FAR = 1000.0  # mm; no wafer is that large


def read_film_maps(path: str | Path, *, unit: str | None = None) -> tuple[SiteMap, ...]:
    """Maps of all wafers and results in a file, in its order; places in mm, values in ``unit`` as the tool wrote them.

    A unit in brackets behind the name of a column (``slot1 [nm]``) is the file's own and goes before ``unit``. Columns
    that are no length (goodness of fit ``GOF``) come with an empty unit. Raises `ReaderError` with file and line,
    `ParameterError` where neither the file nor ``unit`` says what the values are in, or ``unit`` is none that is known.
    """
    if unit is not None:
        _known(unit)
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ReaderError("the file is too large", path=file.name, expected=f"at most {MAX_BYTES} bytes")
        raw = file.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "strict")
    except OSError as error:
        raise ReaderError(
            "the file cannot be read", path=file.name, got=error.strerror or type(error).__name__,
            remedy="check path and rights",
        ) from error  # fmt: skip
    except UnicodeDecodeError as error:
        raise ReaderError(
            "the file is no text", path=file.name, place=f"byte {error.start}", expected="UTF-8 or UTF-16",
            remedy="save it as CSV UTF-8",
        ) from error  # fmt: skip
    rows = _rows(text)
    if not rows:
        raise ReaderError("the file is empty", path=file.name, expected="a film map")
    if [c.upper() for c in rows[0][:2]] == ["X", "Y"] and len(rows[0]) > 2:
        return _doubted(_table(rows, file.name, unit), text, rows)
    maps = _blocks(rows, file.name, unit)
    if not maps:
        raise ReaderError(
            "the file is no film map", path=file.name, expected="lines 'Site #,Value,...' or a header X,Y,...",
            got=",".join(rows[0])[:60],
        )  # fmt: skip
    return _doubted(maps, text, rows)


def _doubted(maps: Sequence[SiteMap], text: str, rows: Sequence[Sequence[str]]) -> tuple[SiteMap, ...]:
    """The maps with flags of what only the whole file tells: names of several wafers, an end in the midst."""
    first = {found.block: found for found in reversed(maps)}
    twice = repeated_names([wafer_name(first[block]) for block in sorted(first)])
    table = [c.upper() for c in rows[0][:2]] == ["X", "Y"]
    # of a table every wafer ends in the last line, of blocks the last alone
    cut = is_cut(text, rows, [] if table else [first[block].value.size for block in sorted(first)])
    out = []
    for found in maps:
        flags: tuple[str, ...] = ("wafer_name_repeated",) if wafer_name(found) in twice else ()
        if cut and (table or found.block == max(first)):
            flags += ("file_cut",)
        out.append(dataclasses.replace(found, doubts=flags) if flags else found)
    return tuple(out)


def known_unit(unit: str) -> bool:
    """Whether the unit of a map is known; a file may state any in its brackets, and none for a pure number."""
    try:
        if unit:
            _known(unit)
    except ParameterError:
        return False
    return True


def wafer_name(found: SiteMap) -> str:
    """The name of the wafer without a unit in brackets behind it."""
    return _BRACKETS.sub("", found.wafer).strip()


def wafers_of(maps: Sequence[SiteMap]) -> dict[str, tuple[SiteMap, ...]]:
    """The maps of a file by wafer, in its order: each wafer by its own name, by its number in the file where it has
    none, by both where two have one name."""
    blocks: dict[int, list[SiteMap]] = {}
    for found in maps:
        blocks.setdefault(found.block, []).append(found)
    names = {block: wafer_name(rows[0]) for block, rows in blocks.items()}
    often = Counter(names.values())
    return {
        (name if name and often[name] == 1 else f"{name}#{block + 1}" if name else str(block + 1)): tuple(blocks[block])
        for block, name in names.items()
    }


def _rows(text: str) -> list[list[str]]:
    """Cells of a table whose columns stand behind commas, or, as spreadsheets of many countries save them, behind
    semicolons (then with decimal commas) or tabs: whichever the header of the sites holds."""
    lines = text.splitlines()
    header = next((line for line in lines if line.lstrip('"').startswith("Site #")), lines[0] if lines else "")
    mark = max(",;\t", key=header.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]
    if mark == ",":
        return rows
    return [[_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row] for row in rows]


def _table(rows: list[list[str]], name: str, unit: str | None) -> tuple[SiteMap, ...]:
    head = rows[0]
    body = [(i + 2, row) for i, row in enumerate(rows[1:]) if any(row)]
    cells = [_cells(row, len(head), name, line) for line, row in body]
    if not cells:
        raise ReaderError(
            "the table has no site", path=name, expected="a line X,Y,value,... for each site below the header",
            got="a header alone", remedy="export the table again, with its sites",
        )  # fmt: skip
    places = np.array([[_place(cell, name, line) for cell in row[:2]] for (line, _), row in zip(body, cells)])
    _near(places, name)
    return tuple(
        SiteMap(
            places[:, 0],
            places[:, 1],
            np.array([_value(row[k]) for row in cells]),
            _unit(head[k], name, unit),
            wafer=head[k],
            block=k - 2,
            own_unit=_BRACKETS.search(head[k]) is not None,
            unread=_unread([row[k] for row in cells]),
        )
        for k in range(2, len(head))
        if head[k]
    )


def _known(unit: str) -> None:
    """Refuses what is no unit; the values stay in the unit as it was written."""
    from metrology_core.errors import UnitError
    from metrology_core.units import UNITS
    from metrology_core.units import unit as find_unit

    if unit.strip().lower() in _ANGSTROM:
        return
    try:
        find_unit(unit)
    except UnitError:
        lengths = ", ".join(["angstrom", *(row.name for row in UNITS.values() if row.dimension == "length")])
        others = ", ".join(row.name for row in UNITS.values() if row.dimension not in ("length", "angle", "time"))
        raise ParameterError(
            "the values of a map have a unit that is not known", expected=f"{lengths}; of other quantities: {others}",
            got=unit, remedy="state one of these",
        ) from None  # fmt: skip


def _unit(title: str, name: str, unit: str | None) -> str:
    """The unit of a column: as its title states it, else as the caller does; never guessed."""
    stated = _BRACKETS.search(title)
    if stated is not None:
        return stated[1].strip()
    if not unit:
        raise ParameterError(
            "the file does not say the unit of its values", expected="a unit in brackets behind the name of the column",
            got=f"{name}, column {title or 'Value'}", remedy="state it: --unit angstrom, --unit nm, ...",
        )  # fmt: skip
    return unit


def _cells(row: list[str], count: int, name: str, line: int) -> list[str]:
    if len(row) < count:
        raise ReaderError("a line is too short", path=name, place=f"line {line}", expected=f"{count} columns")
    return row[:count]


def _blocks(rows: list[list[str]], name: str, unit: str | None) -> list[SiteMap]:
    facts: dict[str, list[str]] = {}
    maps: list[SiteMap] = []
    i = block = 0
    while i < len(rows):
        row = rows[i]
        key = row[0] if row else ""
        if not key.startswith("Site #"):
            if key:
                facts[key.rstrip(": ")] = row[1:]
            i += 1
            continue
        heads = [c.upper() for c in row]
        columns = [k for k, c in enumerate(heads) if c == "VALUE"]
        if "X" not in heads or "Y" not in heads or not columns:
            raise ReaderError("a table of sites lacks X, Y or Value", path=name, place=f"line {i + 1}")
        at = heads.index("X"), heads.index("Y")
        places: list[list[float]] = []
        sites: list[list[str]] = []
        i += 1
        while i < len(rows) and rows[i] and rows[i][0].isdigit():
            cells = _cells(rows[i], len(heads), name, i + 1)
            places.append([_place(cells[k], name, i + 1) for k in at])
            sites.append([cells[k] for k in columns])
            i += 1
        if not sites:
            raise ReaderError("a table of sites is empty", path=name, place=f"line {i + 1}")
        x, y = np.array(places).T
        _near(np.c_[x, y], name)
        titles = facts.get("RESULT TYPE", [])
        for k in range(len(columns)):
            title = titles[k] if k < len(titles) else ""
            own = "" if "GOF" in title.upper() else _unit(title, name, unit)
            reported = {f: facts[f][k] for f in FIGURES if f in facts and k < len(facts[f]) and _is_number(facts[f][k])}
            texts = [row[k] for row in sites]
            maps.append(
                SiteMap(
                    x, y, np.array([_value(cell) for cell in texts]), own,
                    wafer=_first(facts, "WAFER ID"), lot=_first(facts, "LOT ID"), title=title, reported=reported,
                    block=block, own_unit=_BRACKETS.search(title) is not None, unread=_unread(texts),
                )
            )  # fmt: skip
        facts = {}
        block += 1
    return maps


def _first(facts: dict[str, list[str]], key: str) -> str:
    return facts.get(key, [""])[0] if facts.get(key) else ""


def _value(cell: str) -> float:
    """A value, NaN where the cell holds none: a site that was not measured must not cost the other sites and wafers."""
    return float(cell) if _is_number(cell) else math.nan


def _unread(cells: Sequence[str]) -> dict[int, str]:
    """What stands where a value belongs and is no number, by its site."""
    return {k: cell[:40] for k, cell in enumerate(cells) if cell and not _is_number(cell)}


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _place(cell: str, name: str, line: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ReaderError(
            "the place of a site is no number", path=name, place=f"line {line}",
            expected="X and Y in mm from the middle of the wafer", got=repr(cell[:40]),
            remedy="correct the line in the file, or take it out",
        ) from None  # fmt: skip


def _near(places: np.ndarray, name: str) -> None:
    if not np.isfinite(places).all() or float(np.abs(places).max()) > _FAR:
        raise ReaderError("a site has no place on a wafer", path=name, expected="X and Y in mm from the middle")
