"""Finding out how a text cloud is written: separator, decimal sign, header, meaning of the columns.

Detection refuses where two readings are possible; it never prefers the likelier one. Every choice can be overruled.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import NoReturn

from pointcloud.readers._raw import FileBytes

COMMENTS = ("#", "//", "%", "!")
SAMPLE_LINES = 2000
_CANDIDATES = ((";", "."), (";", ","), ("\t", "."), ("\t", ","), (",", "."), (" ", "."), (" ", ","))
NUMBER = {
    ".": re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE),
    # a comma must be followed by a digit: "1, 2, 3" is a list, not three numbers with empty fractions
    ",": re.compile(r"[+-]?(?:(?:\d+(?:,\d+)?|,\d+)(?:[eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE),
}
_WORDS = {" ": "white space", "\t": "tabs", "\x1f": "quoted fields"}
_UNIT_IN_NAME = re.compile(r"\s*[\[(]\s*([^\])\s]+)\s*[\])]")
_UNIT_SAID = re.compile(r"^\s*(?:length\s*)?units?\s*(?:[:=]|\bis\b|\bare\b)\s*[\"']?([^\s\"',;]+)", re.IGNORECASE)
_LENGTHS = {"mm", "um", "µm", "μm", "nm", "m", "cm", "inch", "in", "mil", "micron", "millimeter", "millimetre"}
_AXES = {
    axis: {axis, f"{axis}coord", f"{axis}coordinate", f"coord{axis}", f"pos{axis}", f"{axis}pos", f"point{axis}"}
    for axis in "xyz"
}
_ROLE_OF = {name: axis for axis, names in _AXES.items() for name in names}
for _role, _axis in zip("ijk", "xyz", strict=True):
    _ROLE_OF |= {_role: _role, f"n{_axis}": _role, f"normal{_axis}": _role, f"norm{_axis}": _role, f"{_axis}n": _role}
_ROLE_OF["view"] = "view"
_LABEL_NAMES = {"feature", "label", "group", "name", "featurename"}
SEPARATORS = {"space": " ", "comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
ROLES = ("x", "y", "z", "i", "j", "k", "label", "view", "ignore", "index")


@dataclass(frozen=True)
class TextOptions:
    """What the caller knows about the file; None means: find out."""

    separator: str | None = None
    decimal: str | None = None
    columns: tuple[str, ...] | None = None
    label_column: str | int | None = None


@dataclass(frozen=True)
class Layout:
    """How a text cloud is written. ``roles`` has one entry per field; ``first_line`` counts from 1."""

    separator: str
    decimal: str
    first_line: int
    roles: tuple[str, ...]
    header: tuple[str, ...] | None = None
    declared_count: int | None = None
    unit: str | None = None
    skipped: int = 0
    guessed_normals: bool = False

    @property
    def words(self) -> str:
        """The separator in words."""
        return _WORDS.get(self.separator, repr(self.separator))


def fields_of(line: str, separator: str) -> list[str]:
    """Trimmed fields of a line; white space as separator never gives empty fields."""
    return line.split() if separator == " " else [part.strip() for part in line.split(separator)]


def is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENTS)


def detect(source: FileBytes, head: list[str], options: TextOptions) -> Layout:
    """Layout of a text cloud from its first lines; raises `ReaderError` where it is not one or is ambiguous."""
    lines = [(n, text) for n, text in enumerate(head, start=1) if text.strip() and not is_comment(text)]
    if not lines:
        source.fail("holds no data line", "line 1", "export the points as lines of x y z")
    separator, decimal, signature = _separator(source, lines, options)
    pattern = NUMBER[decimal]
    header_lines: list[tuple[int, str]] = []
    first = 0
    count: int | None = None
    for n, text in lines:
        parts = fields_of(text, separator)
        numeric = [bool(pattern.fullmatch(part)) for part in parts]
        if len(parts) == len(signature) and sum(numeric) >= min(3, sum(signature)):
            first = n
            break
        count = _header_line(source, n, parts, numeric, signature, count)
        header_lines.append((n, text))
    comments = [(n, text.lstrip().lstrip("#/%!")) for n, text in enumerate(head[: first - 1], 1) if is_comment(text)]
    names, unit = _header_names(sorted([*header_lines, *comments]), separator, len(signature))
    unit = unit or _said_unit(comments)
    _refuse_list_of_halves(source, header_lines, names, separator, signature, first)
    data = [fields_of(text, separator) for n, text in lines if n >= first]
    full = [parts for parts in data if len(parts) == len(signature)]
    blank = {k for k in range(len(signature)) if not any(parts[k] for parts in full)}
    roles, guessed = _roles(source, names, signature, blank, options, first)
    return Layout(separator, decimal, first, roles, names, count, unit, len(header_lines), guessed)


def _header_line(
    source: FileBytes, n: int, parts: list[str], numeric: list[bool], signature: tuple[bool, ...], count: int | None
) -> int | None:
    """Look at a line before the data: a point count, a header, or damaged data (refused)."""
    if all(numeric):
        if len(parts) == 1 and count is None and re.fullmatch(r"\d{1,18}", parts[0]):
            return int(parts[0])
        if len(parts) == 1 and re.fullmatch(r"-\d+|\d{19,}", parts[0]):
            source.fail(
                f"the point count {parts[0][:40]} is impossible",
                f"line {n}",
                "export the file again",
                expected="0 or more",
            )
        source.fail(
            f"has {len(parts)} number(s) where the data have {len(signature)} columns",
            f"line {n}",
            "delete the line if it is a header, or repair it",
        )
    if (len(parts) == len(signature) and sum(numeric) >= 2) or (len(parts) > 3 and all(numeric[:3])):
        bad = next(part for part, is_number in zip(parts, numeric, strict=True) if not is_number)
        source.fail(
            f"{bad[:40]!r} is not a number, in a line that looks like data",
            f"line {n}",
            "repair the line, or mark it as a comment with #",
        )
    return count


def _separator(
    source: FileBytes, lines: list[tuple[int, str]], options: TextOptions
) -> tuple[str, str, tuple[bool, ...]]:
    """Separator, decimal sign, and which fields of a data line are numbers."""
    best: tuple[tuple[int, int, int], str, str, tuple[bool, ...]] | None = None
    candidates = [
        (s, d)
        for s, d in (*_CANDIDATES, *(((options.separator, "."), (options.separator, ",")) if options.separator else ()))
        if (options.separator is None or s == options.separator) and (options.decimal is None or d == options.decimal)
    ]
    for separator, decimal in candidates:
        if separator == decimal:
            continue
        pattern = NUMBER[decimal]
        seen: Counter[tuple[bool, ...]] = Counter()
        empty = 0
        for _, text in lines:
            parts = fields_of(text, separator)
            signature = tuple(bool(pattern.fullmatch(part)) for part in parts)
            if sum(signature) >= 3 or (options.columns and len(parts) == len(options.columns) and any(signature)):
                seen[signature] += 1
                empty += sum(not part for part in parts[:-1])
        if not seen:
            continue
        signature, hits = max(seen.items(), key=lambda item: (item[1], sum(item[0])))
        score = (hits, -empty, -candidates.index((separator, decimal)))
        if best is None or score > best[0]:
            best = (score, separator, decimal, signature)
    if best is None:
        _explain_no_numbers(source, lines, options)
    return best[1], best[2], best[3]


def _explain_no_numbers(source: FileBytes, lines: list[tuple[int, str]], options: TextOptions) -> NoReturn:
    n, text = lines[-1]
    two = [part for part in re.split(r"[\s,;|]+", text.strip()) if part]
    if len(two) == 2 and all(NUMBER["."].fullmatch(part) for part in two):
        source.fail(
            "a line holds two numbers",
            f"line {n}",
            'pass columns=("x", "y") for points of a plane, their z is then 0',
            expected="x, y and z of a point",
            got=repr(text.strip()[:60]),
        )
    plane = _points_of_a_plane(lines, options)
    if plane is not None:
        place, line, roles = plane
        listed = "".join(f', "{role}"' for role in roles[1:])
        source.fail(
            "a line holds x and y of a point, its z is missing",
            f"line {place}",
            f'add z; or pass columns=("{roles[0]}"{listed}) for points of a plane, their z is then 0',
            expected="x, y and z of a point",
            got=repr(line.strip()[:60]),
        )
    if re.search(r"\d\.\d+,\d|\d,\d+\.\d", text):
        source.fail(
            "a number holds both a point and a comma",
            f"line {n}",
            "export without thousands separators, with one decimal sign",
            got=repr(text.strip()[:60]),
        )
    asked = f" with separator {options.separator!r}" if options.separator else ""
    source.fail(
        f"no line holds three numbers{asked}",
        f"line {n}",
        "check that this is a point file; else pass separator=, decimal= or columns=",
        expected="lines of x y z, separated by blanks, tabs, ',' or ';'",
        got=repr(text.strip()[:60]),
    )


def _points_of_a_plane(lines: list[tuple[int, str]], options: TextOptions) -> tuple[int, str, tuple[str, ...]] | None:
    """The first line of two numbers and words, as ``x,y,label`` has them: number, text, roles; None where none is.

    The numbers come first, or a header names them x and y: three coordinates torn apart by a wrong separator leave
    their numbers elsewhere.
    """
    for separator, decimal in _CANDIDATES:
        if options.separator not in (None, separator) or options.decimal not in (None, decimal):
            continue
        pattern = NUMBER[decimal]
        named: tuple[str, ...] = ()
        for n, text in lines:
            parts = fields_of(text, separator)
            at = [k for k, part in enumerate(parts) if pattern.fullmatch(part)]
            if not at:
                names = [_plain(part) for part in parts]
                named = tuple(_ROLE_OF.get(name, "label" if name in _LABEL_NAMES else "ignore") for name in names)
            if len(at) != 2 or len(parts) < 3:
                continue
            if len(named) == len(parts) and {named[k] for k in at} == {"x", "y"}:
                return n, text, named
            if at == [0, 1] and not any(re.search(r"\d[.,;]\d", part) for part in parts[2:]):
                return n, text, ("x", "y", "label", *("ignore" for _ in parts[3:]))
    return None


def _said_unit(comments: list[tuple[int, str]]) -> str | None:
    """The unit of a comment such as ``# unit: mm``; None where comments name none, or several."""
    said = {found[1] for _, text in comments if (found := _UNIT_SAID.match(text)) and found[1].lower() in _LENGTHS}
    return said.pop() if len(said) == 1 else None


def _header_names(
    lines: list[tuple[int, str]], separator: str, n_fields: int
) -> tuple[tuple[str, ...] | None, str | None]:
    """Column names from the last line before the data that has as many fields as the data, and a unit they state."""
    for _, text in reversed(lines):
        units = {u for u in _UNIT_IN_NAME.findall(text) if u.lower() in _LENGTHS}
        bare = _UNIT_IN_NAME.sub("", text)
        splits = [separator] if separator == " " else [separator, " "]
        for split in splits:
            parts = fields_of(bare, split)
            if len(parts) == n_fields and any(
                _plain(part) in _ROLE_OF or _plain(part) in _LABEL_NAMES for part in parts
            ):
                return tuple(parts), (units.pop() if len(units) == 1 else None)
        parts = fields_of(bare, separator)
        if separator != " " and len(parts) == n_fields and all(parts):
            return tuple(parts), None
    return None, None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _refuse_list_of_halves(
    source: FileBytes,
    header_lines: list[tuple[int, str]],
    names: tuple[str, ...] | None,
    separator: str,
    signature: tuple[bool, ...],
    first: int,
) -> None:
    """``x,y,z`` over ``1,5,2,5,3,5``: commas as separator *and* decimal sign."""
    if separator != "," or names is not None or not header_lines:
        return
    n_names = len(fields_of(header_lines[-1][1], ","))
    if n_names >= 3 and len(signature) == 2 * n_names:
        source.fail(
            f"the header names {n_names} columns, the data have {len(signature)} fields: "
            "commas seem to be both decimal sign and separator",
            f"line {first}",
            "export with ';' as separator or with decimal points",
        )


def _roles(
    source: FileBytes,
    names: tuple[str, ...] | None,
    signature: tuple[bool, ...],
    blank: set[int],
    options: TextOptions,
    first: int,
) -> tuple[tuple[str, ...], bool]:
    """Meaning of each field, and whether columns 4 to 6 may be normals (decided once the numbers are known)."""
    place = f"line {first}"
    if options.columns is not None:
        if len(options.columns) != len(signature):
            source.fail(
                f"'columns' names {len(options.columns)} columns, the data have {len(signature)}",
                place,
                "name every column of the file, 'ignore' for those not wanted",
            )
        roles = ["ignore" if name == "index" else name for name in options.columns]
        guessed = False
    elif names is not None and any(_plain(name) in _ROLE_OF for name in names):
        roles = [_ROLE_OF.get(_plain(name), "ignore") for name in names]
        labelled = [k for k, name in enumerate(names) if _plain(name) in _LABEL_NAMES]
        if labelled and options.label_column is None:
            # "feature" before "name" before others: the first in the order of the columns would depend on the export
            order = ("feature", "featurename", "label", "group", "name")
            roles[min(labelled, key=lambda k: order.index(_plain(names[k])))] = "label"
        guessed = False
    elif names is not None and not any(_plain(name) in _LABEL_NAMES for name in names):
        source.fail(
            "the header names no x, y and z column",
            place,
            'pass columns=("x", "y", "z", "ignore", ...)',
            got=repr(", ".join(names)[:80]),
        )
    else:
        roles, guessed = _roles_by_position(source, names, signature, blank, options, place)
    if options.label_column is not None:
        k = _label_index(source, names, len(signature), options.label_column, place)
        roles = ["label" if j == k else ("ignore" if role == "label" else role) for j, role in enumerate(roles)]
    flat = options.columns is not None and "z" not in roles and "k" not in roles  # said so: points of a plane
    missing = [axis for axis in ("xy" if flat else "xyz") if roles.count(axis) != 1]
    if missing:
        remedy = 'pass columns=("x", "y", "z", "ignore", ...)'
        if missing == ["z"] and "z" not in roles and "k" not in roles:
            listed = ", ".join(f'"{role}"' for role in roles)
            remedy = f"name the column of z; or pass columns=({listed}) for points of a plane, their z is then 0"
        source.fail(
            f"there is not exactly one column for {', '.join(missing)}",
            place,
            remedy,
            got=repr(", ".join(names or roles)[:80]),
        )
    if any(roles.count(role) > 1 for role in ("i", "j", "k", "label", "view")):
        source.fail("a column name occurs twice", place, "pass columns= with unique names")
    if sum(role in "ijk" for role in roles) not in ((0, 2) if flat else (0, 3)):
        roles = ["ignore" if role in ("i", "j", "k") else role for role in roles]
    return tuple(roles), guessed


def _roles_by_position(
    source: FileBytes,
    names: tuple[str, ...] | None,
    signature: tuple[bool, ...],
    blank: set[int],
    options: TextOptions,
    place: str,
) -> tuple[list[str], bool]:
    numeric = [k for k, is_number in enumerate(signature) if is_number]
    text = [k for k, is_number in enumerate(signature) if not is_number and k not in blank]
    if isinstance(options.label_column, int) and options.label_column % len(signature) in numeric:
        numeric.remove(options.label_column % len(signature))
    # an empty column (lines end with a separator) must stay empty; it is neither a label nor ignored data
    roles = ["empty" if k in blank else "ignore" for k in range(len(signature))]
    for k, axis in zip(numeric, "xyz", strict=False):
        roles[k] = axis
    if names is not None:
        for k, name in enumerate(names):
            if _plain(name) in _LABEL_NAMES:
                roles[k] = "label"
    elif len(text) == 1:
        roles[text[0]] = "label"
    elif len(text) > 1 and options.label_column is None:
        source.fail(
            f"{len(text)} columns hold text and no header names one of them feature, label, group or name",
            place,
            "pass label_column= with the number of the column, from 0",
        )
    guessed = len(numeric) == 6
    if guessed:
        for k, role in zip(numeric[3:], "ijk", strict=True):
            roles[k] = role
    return roles, guessed


def _label_index(source: FileBytes, names: tuple[str, ...] | None, n_fields: int, wanted: str | int, place: str) -> int:
    if isinstance(wanted, int):
        if -n_fields <= wanted < n_fields:
            return wanted % n_fields
        source.fail(f"label_column={wanted} is outside the {n_fields} columns", place, "count the columns from 0")
    matches = [k for k, name in enumerate(names or ()) if name.strip().lower() == wanted.strip().lower()]
    if len(matches) != 1:
        source.fail(
            f"no column is named {wanted!r}", place, "pass a name of the header or a number from 0", got=repr(names)
        )
    return matches[0]
