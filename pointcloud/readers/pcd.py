"""PCD 0.6 and 0.7: ASCII, binary and binary_compressed; float or double."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pointcloud.readers._raw import FileBytes, RawCloud, as_double
from pointcloud.readers._table import parse_rows
from pointcloud.readers.lzf import LzfError, decompress

_AGAIN = "the file is damaged or cut off; export it again"
_TYPES = {("F", 4), ("F", 8), *((kind, size) for kind in "IU" for size in (1, 2, 4, 8))}
_KEYS = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")
_IDENTITY = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class Header:
    """The header: fields with NumPy code and repeat, number of points, kind of data, where they start."""

    fields: tuple[tuple[str, str, int], ...]
    points: int
    data: str
    offset: int
    line: int
    pose: bool

    @property
    def row_size(self) -> int:
        return sum(np.dtype(code).itemsize * repeat for _, code, repeat in self.fields)


def read(source: FileBytes) -> RawCloud:
    """Points and normals; raises `ReaderError` with the line or byte of the fault."""
    header = read_header(source)
    names = [name for name, _, _ in header.fields]
    for axis in "xyz":
        if names.count(axis) != 1 or header.fields[names.index(axis)][2] != 1:
            source.fail(f"has not exactly one field {axis}", "header, FIELDS", "export x, y and z", got=" ".join(names))
    if header.points == 0:
        source.fail("announces no points", "header, POINTS", "export the points again", expected="1 or more")
    columns, rest = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}[header.data](source, header)
    xyz = np.stack([as_double(columns[axis]) for axis in "xyz"], axis=1)
    flags, history = [], [f"PCD {header.data}"]
    codes = {name: code for name, code, _ in header.fields}
    if header.data != "ascii" and any(codes[axis].endswith("f4") for axis in "xyz"):
        flags.append("float32_source")
        history.append("coordinates stored in single precision")
    normals = None
    triple = ("normal_x", "normal_y", "normal_z")
    if all(name in columns for name in triple):
        normals = np.stack([as_double(columns[name]) for name in triple], axis=1)
    unused = [n for n in names if n not in ("x", "y", "z", "_") and not (normals is not None and n in triple)]
    if unused:
        flags.append("columns_ignored")
        history.append(f"not used: {', '.join(unused)}")
    if header.pose:
        flags.append("sensor_pose_not_applied")
    if rest:
        flags.append("trailing_data")
    role = None if normals is None else "measured"
    return RawCloud(xyz, normals=normals, normals_role=role, flags=tuple(flags), history=tuple(history))


def read_header(source: FileBytes) -> Header:
    """The header; the size it announces is checked against the file before anything is allocated."""
    found = re.search(rb"(?m)^DATA[ \t]+([^\r\n]*?)[ \t]*\r?\n", source.data[:_MAX_HEADER])
    if found is None:
        source.fail("the header has no DATA line", "header", "this is no PCD file, or it is cut off; export it again")
    entries: dict[str, list[str]] = {}
    for n, line in enumerate(source.data[: found.end()].decode("latin-1").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in _KEYS or words[0] in entries:
            source.fail("is not a line of a PCD header", f"line {n}", "export the file again", got=repr(line[:60]))
        entries[words[0]] = words[1:]
    for key in ("FIELDS", "SIZE", "TYPE", "POINTS"):
        if key not in entries:
            source.fail(f"the header has no {key}", "header", "export the file again")
    fields = _fields(source, entries)
    points = _whole(source, "POINTS", entries)
    if "WIDTH" in entries and "HEIGHT" in entries:
        grid = _whole(source, "WIDTH", entries) * _whole(source, "HEIGHT", entries)
        if grid != points:
            source.fail(f"WIDTH x HEIGHT is {grid}, POINTS is {points}", "header", "export the file again")
    data = " ".join(entries["DATA"])
    if data not in ("ascii", "binary", "binary_compressed"):
        source.fail(
            f"the data are {data[:40]!r}",
            "header, DATA",
            "export as binary",
            expected="ascii, binary, binary_compressed",
        )
    start_line = source.data.count(b"\n", 0, found.end()) + 1
    header = Header(fields, points, data, found.end(), start_line, _pose(source, entries))
    _check_claim(source, header)
    return header


def _fields(source: FileBytes, entries: dict[str, list[str]]) -> tuple[tuple[str, str, int], ...]:
    names = entries["FIELDS"]
    repeats = entries.get("COUNT", ["1"] * len(names))
    if not len(names) == len(entries["SIZE"]) == len(entries["TYPE"]) == len(repeats):
        source.fail("FIELDS, SIZE, TYPE and COUNT differ in length", "header", "export the file again")
    rows = []
    for name, size, kind, repeat in zip(names, entries["SIZE"], entries["TYPE"], repeats, strict=True):
        known = re.fullmatch(r"[1248]", size) and (kind, int(size)) in _TYPES
        if not known or not re.fullmatch(r"[1-9]\d{0,5}", repeat):
            source.fail(
                f"field {name} has an impossible type",
                "header",
                "export the file again",
                got=f"{kind}{size} x {repeat}",
            )
        rows.append((name, f"<{kind.lower()}{size}", int(repeat)))
    return tuple(rows)


def _whole(source: FileBytes, key: str, entries: dict[str, list[str]]) -> int:
    text = " ".join(entries[key])
    if not re.fullmatch(r"\d{1,18}", text):
        source.fail(f"{key} is not a possible count", f"header, {key}", "export the file again", got=repr(text[:40]))
    return int(text)


def _pose(source: FileBytes, entries: dict[str, list[str]]) -> bool:
    """True if the file states a pose of the sensor other than the identity."""
    if "VIEWPOINT" not in entries:
        return False
    try:
        values = [float(word) for word in entries["VIEWPOINT"]]
    except ValueError:
        source.fail("VIEWPOINT is not seven numbers", "header, VIEWPOINT", "export the file again")
    return values != _IDENTITY


def _check_claim(source: FileBytes, header: Header) -> None:
    have = len(source.data) - header.offset
    if header.data == "binary_compressed":
        return  # its two sizes are checked where they are read
    per_row = 2 * sum(repeat for _, _, repeat in header.fields) if header.data == "ascii" else header.row_size
    need = header.points * per_row
    if need > have + (header.data == "ascii"):
        source.fail(
            f"announces {header.points} points, for which the file is too short",
            "header, POINTS",
            _AGAIN,
            expected=f"at least {need} bytes after the header",
            got=f"{have} bytes",
        )


def _ascii(source: FileBytes, header: Header) -> tuple[dict[str, np.ndarray], bool]:
    table = parse_rows(
        source, source.data[header.offset :].replace(b"\r", b" "), sum(r for _, _, r in header.fields), header.line
    )
    if len(table) != header.points:
        source.fail(
            f"announces {header.points} points and holds {len(table)}", f"line {header.line + len(table)}", _AGAIN
        )
    columns, k = {}, 0
    for name, _, repeat in header.fields:
        columns[name] = table[:, k]
        k += repeat
    return columns, False


def _binary(source: FileBytes, header: Header) -> tuple[dict[str, np.ndarray], bool]:
    # names may repeat ("_" is padding), so the fields of the structured view are numbered
    dtype = np.dtype([(f"f{k}", code, (repeat,)) for k, (_, code, repeat) in enumerate(header.fields)])
    table = np.frombuffer(source.data, dtype, header.points, header.offset)
    columns = {name: table[f"f{k}"][:, 0] for k, (name, _, _) in enumerate(header.fields)}
    return columns, header.offset + table.nbytes < len(source.data)


def _compressed(source: FileBytes, header: Header) -> tuple[dict[str, np.ndarray], bool]:
    data, offset = source.data, header.offset
    if len(data) < offset + 8:
        source.fail("the two sizes of the compressed data are missing", f"byte {offset}", _AGAIN)
    packed = int.from_bytes(data[offset : offset + 4], "little")
    unpacked = int.from_bytes(data[offset + 4 : offset + 8], "little")
    if offset + 8 + packed > len(data):
        source.fail(
            f"announces {packed} compressed bytes", f"byte {offset}", _AGAIN, got=f"{len(data) - offset - 8} bytes left"
        )
    if unpacked != header.points * header.row_size:
        source.fail(
            f"announces {unpacked} bytes for {header.points} points",
            f"byte {offset + 4}",
            _AGAIN,
            expected=f"{header.points * header.row_size} bytes",
        )
    if unpacked > 88 * packed:  # three bytes of LZF give at most 264
        source.fail(f"{packed} bytes of LZF cannot give {unpacked}", f"byte {offset}", _AGAIN)
    try:
        plain = decompress(data[offset + 8 : offset + 8 + packed], unpacked)
    except LzfError as error:
        source.fail(f"the compressed data are damaged: {error}", f"byte {offset + 8 + error.offset}", _AGAIN)
    columns, start = {}, 0
    for name, code, repeat in header.fields:  # one field after the other, not point by point
        block = np.frombuffer(plain, code, header.points * repeat, start)
        columns[name] = block.reshape(header.points, repeat)[:, 0]
        start += block.nbytes
    return columns, offset + 8 + packed < len(data)
