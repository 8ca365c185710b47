"""Text clouds: xyz, txt, asc, csv, pts, dat. Vectorised, rounded as ``float(text)`` rounds."""

from __future__ import annotations

import csv
import re
from typing import NoReturn

import numpy as np

from pointcloud.readers._raw import FileBytes, RawCloud, numbers
from pointcloud.readers.text_layout import (
    COMMENTS,
    NUMBER,
    SAMPLE_LINES,
    Layout,
    TextOptions,
    detect,
    fields_of,
    is_comment,
)

_BLOCK = 1 << 24  # bytes parsed at a time: bounds the scratch memory to about 0.3 GB
_MAX_LABEL = 512
_MAX_LABEL_TABLE = 1 << 24  # characters compared at once
_QUOTED = "\x1f"


def read(source: FileBytes, options: TextOptions | None = None) -> RawCloud:
    """Points, normals and labels of a text cloud; raises `ReaderError` with the line of the fault."""
    options = options or TextOptions()
    text = _plain_text(source)
    if b'"' in text:
        text, options = _unquote(source, text, options)
    head = _head(text)
    layout = detect(source, head, options)
    start = _offset_of_line(text, layout.first_line)
    _refuse_comma_ambiguity(source, text, start, layout, options)
    values, groups = _parse(source, text, start, layout)
    return _assemble(source, values, groups, layout)


def _plain_text(source: FileBytes) -> bytes:
    data = source.data
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        source.fail("is UTF-16 text", "byte 0", "save the file as UTF-8 or plain ASCII")
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    nul = data.find(b"\0")
    if nul >= 0:
        source.fail(
            "holds NUL bytes: binary data or UTF-16 text",
            f"byte {nul}",
            "save the file as UTF-8, or name its true format with format=",
        )
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data if data.endswith(b"\n") else data + b"\n"


def _head(text: bytes) -> list[str]:
    """First lines, decoded byte by byte: header words are compared, never shown as names of features."""
    stop = 0
    for _ in range(SAMPLE_LINES):
        stop = text.find(b"\n", stop) + 1
        if stop == 0:
            stop = len(text)
            break
    return text[:stop].decode("utf-8", errors="replace").split("\n")


def _offset_of_line(text: bytes, line: int) -> int:
    offset = 0
    for _ in range(line - 1):
        offset = text.find(b"\n", offset) + 1
    return offset


def _unquote(source: FileBytes, text: bytes, options: TextOptions) -> tuple[bytes, TextOptions]:
    """Rewrite a file with quoted fields, so that separators inside quotes do no harm."""
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        source.fail("is not UTF-8 text", f"byte {error.start}", "save the file as UTF-8")
    near = re.search(r'"[ ]*([;,\t])|([;,\t])[ ]*"', text[:65536].decode("utf-8", errors="replace"))
    separator = options.separator or (next(g for g in near.groups() if g) if near else " ")
    out = []
    for n, line in enumerate(lines, start=1):
        if is_comment(line) or not line.strip():
            out.append(line if is_comment(line) else "")
            continue
        if line.count('"') % 2:
            source.fail("a quote is not closed", f"line {n}", 'close the quote or remove the "', got=repr(line[:60]))
        if _QUOTED in line:
            source.fail("holds a control character (0x1f)", f"line {n}", "remove it")
        row = next(csv.reader([line.strip()], delimiter=separator, skipinitialspace=True))
        out.append(_QUOTED.join(part.strip() for part in row))
    return "\n".join(out).encode("utf-8"), TextOptions(_QUOTED, options.decimal, options.columns, options.label_column)


def _refuse_comma_ambiguity(source: FileBytes, text: bytes, start: int, layout: Layout, options: TextOptions) -> None:
    """``1,5,2,5,3,5``: six whole numbers, or three decimal numbers? Only the exporter knows."""
    if layout.separator != "," or options.separator == "," or options.columns is not None or layout.header is not None:
        return
    if sum(role != "label" for role in layout.roles) >= 4 and text.find(b".", start) < 0:
        source.fail(
            "whole numbers separated by commas can also be decimal numbers with a decimal comma",
            f"line {layout.first_line}",
            'pass separator="," if they are whole numbers, else export with ";" as separator',
        )


Groups = dict[str, tuple[np.ndarray, tuple[str, ...]]]
_NAMED = ("label", "view")  # columns of names


def _parse(source: FileBytes, text: bytes, start: int, layout: Layout) -> tuple[np.ndarray, Groups]:
    """Numbers (n, numeric columns), and per column of names the index (n,) of each line with the names."""
    blocks: list[np.ndarray] = []
    known: dict[str, dict[str, int]] = {role: {} for role in _NAMED if role in layout.roles}
    index: dict[str, list[np.ndarray]] = {role: [] for role in known}
    line = layout.first_line
    while start < len(text):
        stop = text.rfind(b"\n", start, start + _BLOCK) + 1
        if stop == 0:  # one line longer than a block
            stop = text.find(b"\n", start) + 1
        block = _block(source, text[start:stop], layout, line, known)
        blocks.append(block[0])
        for role, part in block[1].items():
            index[role].append(part)
        line += text.count(b"\n", start, stop)
        start = stop
    values = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return values, {role: (np.concatenate(parts), tuple(known[role])) for role, parts in index.items() if parts}


def _block(
    source: FileBytes, chunk: bytes, layout: Layout, line: int, known: dict[str, dict[str, int]]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Numbers (n, numeric columns), and labels and views (n,) of whole lines."""
    original = chunk
    if any(mark.encode() in chunk for mark in COMMENTS):
        marks = tuple(mark.encode() for mark in COMMENTS)
        chunk = b"\n".join(b"" if part.lstrip().startswith(marks) else part for part in chunk.split(b"\n"))
    if layout.decimal == "," and b"." in chunk and not {"label", "view", "ignore"} & set(layout.roles):
        _diagnose(source, original, layout, line)
    separator = ord(layout.separator)
    chunk = chunk.translate(bytes.maketrans(b"\v\f\t", b"   ") if separator != 9 else bytes.maketrans(b"\v\f", b"  "))
    buffer = np.frombuffer(chunk, dtype=np.uint8)
    word = (buffer != 32) & (buffer != 10)
    if separator != 32:
        word &= buffer != separator
    edges = np.diff(word.astype(np.int8), prepend=np.int8(0), append=np.int8(0))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    found = (
        _fields_blank(buffer, begins, layout) if separator == 32 else _fields_hard(buffer, begins, separator, layout)
    )
    if found is None:
        _diagnose(source, original, layout, line)
    first, last = found  # token numbers of each field, (lines, fields); last is one past the end
    n_lines = len(first)
    numeric = [k for k, role in enumerate(layout.roles) if role in ("x", "y", "z", "i", "j", "k")]
    other = [k for k in range(len(layout.roles)) if k not in numeric]
    work = chunk
    if other and n_lines:
        work = _blank_out(buffer, begins, ends, first[:, other], last[:, other])
    table = [bytes([separator]), b" "] if separator != 32 else [b"", b""]
    if layout.decimal == ",":
        if b"." in work:
            _diagnose(source, original, layout, line)
        table = [table[0] + b",", table[1] + b"."]
    work = work.translate(bytes.maketrans(*table))
    values = numbers(work, n_lines * len(numeric))
    if values is None:
        _diagnose(source, original, layout, line)
    index = {}
    for role, names in known.items():
        k = layout.roles.index(role)
        index[role] = _labels(source, buffer, begins, ends, first[:, k], last[:, k], names, line)
    return values.reshape(n_lines, len(numeric)), index


def _fields_blank(buffer: np.ndarray, begins: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray] | None:
    """Token numbers of the fields where white space separates: every field is one token."""
    n_fields = len(layout.roles)
    line_ends = np.flatnonzero(buffer == 10)
    per_line = np.diff(np.searchsorted(begins, line_ends), prepend=0)
    per_line = per_line[per_line > 0]
    if not np.all(per_line == n_fields):
        return None
    first = np.arange(len(begins)).reshape(-1, n_fields)
    return first, first + 1


def _fields_hard(
    buffer: np.ndarray, begins: np.ndarray, separator: int, layout: Layout
) -> tuple[np.ndarray, np.ndarray] | None:
    """Token numbers of the fields between separators; numeric fields must hold exactly one token."""
    n_fields = len(layout.roles)
    bounds = np.flatnonzero((buffer == separator) | (buffer == 10))
    last = np.searchsorted(begins, bounds)
    first = np.concatenate(([0], last[:-1]))
    line_ends = np.flatnonzero(buffer[bounds] == 10)
    per_line = np.diff(line_ends, prepend=-1)
    blank = (per_line == 1) & (last[line_ends] == first[line_ends])
    if blank.any():
        keep = np.ones(len(bounds), dtype=bool)
        keep[line_ends[blank]] = False
        first, last = first[keep], last[keep]
    if not np.all(per_line[~blank] == n_fields):
        return None
    first, last = first.reshape(-1, n_fields), last.reshape(-1, n_fields)
    numeric = [k for k, role in enumerate(layout.roles) if role in ("x", "y", "z", "i", "j", "k")]
    empty = [k for k, role in enumerate(layout.roles) if role == "empty"]
    if not np.all(last[:, numeric] - first[:, numeric] == 1) or np.any(last[:, empty] > first[:, empty]):
        return None
    return first, last


def _blank_out(buffer: np.ndarray, begins: np.ndarray, ends: np.ndarray, first: np.ndarray, last: np.ndarray) -> bytes:
    """Copy of the bytes in which the tokens first..last of each given field are blanks."""
    some = last > first
    depth = np.zeros(len(buffer) + 1, dtype=np.int8)
    depth[begins[first[some]]] += 1
    depth[ends[last[some] - 1]] -= 1
    inside = np.cumsum(depth[:-1], dtype=np.int8).astype(bool)
    inside &= buffer != 10
    return np.where(inside, np.uint8(32), buffer).tobytes()


def _labels(
    source: FileBytes,
    buffer: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    known: dict[str, int],
    line: int,
) -> np.ndarray:
    """Label number of each line. Labels come in runs, so only the first of each run is looked up."""
    some = last > first
    start = np.where(some, begins[np.minimum(first, len(begins) - 1)], 0)
    stop = np.where(some, ends[np.maximum(last, 1) - 1], 0)
    width = int((stop - start).max(initial=0))
    if width > _MAX_LABEL:
        row = int(np.argmax(stop - start))
        source.fail(
            f"a label is {width} bytes long",
            f"data row {row + 1} after line {line}",
            f"shorten it below {_MAX_LABEL} bytes, or name the label column with label_column=",
        )
    if width == 0:
        return np.full(len(first), -1, dtype=np.int32)
    if width * len(first) > _MAX_LABEL_TABLE:  # one long label among many short lines must not cost gigabytes
        raw_bytes = buffer.tobytes()
        return np.array(
            [
                _label_number(source, raw_bytes[i:j], known, row, line)
                for row, (i, j) in enumerate(zip(start.tolist(), stop.tolist(), strict=True))
            ],
            dtype=np.int32,
        )
    offsets = start[:, None] + np.arange(width)
    table = np.where(offsets < stop[:, None], buffer[np.minimum(offsets, len(buffer) - 1)], np.uint8(0))
    change = np.ones(len(table), dtype=bool)
    change[1:] = np.any(table[1:] != table[:-1], axis=1)
    heads = np.flatnonzero(change)
    numbers_of_heads = np.empty(len(heads), dtype=np.int32)
    for j, head in enumerate(heads):
        numbers_of_heads[j] = _label_number(source, table[head].tobytes().rstrip(b"\0"), known, int(head), line)
    return numbers_of_heads[np.cumsum(change) - 1]


def _label_number(source: FileBytes, raw: bytes, known: dict[str, int], row: int, line: int) -> int:
    """Number of a label, -1 for the empty one; a new one is entered in ``known``."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        source.fail(
            "a label is not UTF-8 text",
            f"data row {row + 1} after line {line}",
            "save the file as UTF-8",
            got=repr(raw[:40]),
        )
    return known.setdefault(name, len(known)) if name else -1


def _diagnose(source: FileBytes, chunk: bytes, layout: Layout, line: int) -> NoReturn:
    """Raise for the first faulty line of a block that did not parse. Slow, and only ever run once."""
    pattern = NUMBER[layout.decimal]
    n_fields = len(layout.roles)
    names = layout.header or layout.roles
    sign = "a decimal comma" if layout.decimal == "," else "a decimal point"
    for n, raw in enumerate(chunk.split(b"\n"), start=line):
        text = raw.decode("utf-8", errors="backslashreplace")
        if not text.strip() or is_comment(text):
            continue
        parts = fields_of(text, layout.separator)
        if len(parts) != n_fields:
            hint = "repair the line, or delete it if the file was cut off there"
            if layout.separator == "," and layout.decimal == "." and "." not in text:
                hint = "if the commas are decimal signs, export with ';' as separator"
            source.fail(
                f"has {len(parts)} columns, the lines before have {n_fields}",
                f"line {n}",
                hint,
                expected=f"{n_fields} fields separated by {layout.words}",
                got=repr(text.strip()[:60]),
            )
        for part, role, name in zip(parts, layout.roles, names, strict=True):
            if role == "empty" and part:
                source.fail(
                    "a column that was empty so far holds something",
                    f"line {n}",
                    "state the columns with columns=",
                    got=repr(part[:60]),
                )
            if role in ("label", "view", "ignore", "empty") or pattern.fullmatch(part):
                continue
            if not part:
                source.fail(f"column {name} is empty", f"line {n}", "write nan for a point that was not measured")
            source.fail(
                f"column {name} is not a number with {sign}",
                f"line {n}",
                "repair the value, or state the columns with columns=",
                got=repr(part[:60]),
            )
    stop = line + chunk.count(b"\n")
    source.fail("cannot be parsed", f"lines {line} to {stop}", "check for unusual characters in this range")


def _assemble(source: FileBytes, values: np.ndarray, groups: Groups, layout: Layout) -> RawCloud:
    if layout.declared_count is not None and layout.declared_count != len(values):
        source.fail(
            f"announces {layout.declared_count} points and holds {len(values)}",
            f"line {max(1, layout.first_line - 1)}",
            "the file is cut off or joined from several; export it again",
        )
    numeric = [role for role in layout.roles if role in ("x", "y", "z", "i", "j", "k")]
    xyz = _columns(values, numeric, "xyz")
    if layout.guessed_normals or "i" in numeric:
        normals = _columns(values, numeric, "ijk")
    else:
        normals = None
    ignored = layout.roles.count("ignore")
    if layout.guessed_normals and normals is not None and not _unit_vectors(normals):
        normals, ignored = None, ignored + 3
    elif layout.header is None and not layout.guessed_normals and len(layout.roles) >= 4:
        _refuse_counter(source, values, numeric, layout)
    history = [f"text: separated by {layout.words}, decimal {'comma' if layout.decimal == ',' else 'point'}"]
    if "z" not in numeric:
        history.append("no column for z: points of the plane z = 0")
    if layout.skipped:
        history.append(f"{layout.skipped} header line(s) skipped")
    if ignored:
        history.append(f"{ignored} column(s) not used")
    return RawCloud(
        xyz,
        normals=normals,
        normals_role=None if normals is None else _normals_role(layout),
        labels=groups["label"][0] if "label" in groups else None,
        label_names=groups["label"][1] if "label" in groups else (),
        views=groups["view"][0] if "view" in groups else None,
        view_names=groups["view"][1] if "view" in groups else (),
        unit=layout.unit,
        flags=("columns_ignored",) if ignored else (),
        history=tuple(history),
    )


def _columns(values: np.ndarray, numeric: list[str], roles: str) -> np.ndarray:
    """(n, 3) of the columns of three roles; zeros where the file has none for a role (points of a plane)."""
    found = np.zeros((len(values), 3))
    for k, role in enumerate(roles):
        if role in numeric:
            found[:, k] = values[:, numeric.index(role)]
    return found


def _normals_role(layout: Layout) -> str:
    """Columns named i, j, k are probing vectors (the custom of coordinate measuring machines); others are measured."""
    if layout.header is None:
        return "measured"
    names = [
        name.strip().lower() for name, role in zip(layout.header, layout.roles, strict=True) if role in tuple("ijk")
    ]
    return "approach" if sorted(names) == ["i", "j", "k"] else "measured"


def _unit_vectors(normals: np.ndarray) -> bool:
    """True if every finite row has length 1 within the rounding of three printed decimals."""
    length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
    length = length[np.isfinite(length)]
    return bool(len(length)) and bool(np.all(np.abs(length - 1.0) <= 2e-3))


def _refuse_counter(source: FileBytes, values: np.ndarray, numeric: list[str], layout: Layout) -> None:
    """A first column 1, 2, 3, ... of four or more is a point number, which would be taken for x."""
    first = layout.roles.index("x")
    if layout.roles.count("ignore") == 0 or first != 0 or len(values) < 3:
        return
    x = values[:, numeric.index("x")]
    if x[0] in (0.0, 1.0) and bool(np.all(np.diff(x) == 1.0)):
        source.fail(
            "the first of more than three columns counts 1, 2, 3, ...: a point number or a coordinate?",
            f"line {layout.first_line}",
            'pass columns=("index", "x", "y", "z", ...) or columns=("x", "y", "z", "ignore", ...)',
        )
