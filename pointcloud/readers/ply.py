"""PLY: ASCII and both binary byte orders; float or double vertices, normals, faces."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pointcloud.readers._raw import FileBytes, RawCloud, as_double, view_column
from pointcloud.readers._table import check_indices, fan, parse_rows, tokens_per_line

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER = 1 << 20
_AGAIN = "the file is damaged or cut off; export it again"


@dataclass(frozen=True)
class Property:
    """A property: ``type`` and, for lists, the type of the count (else None), both as NumPy codes."""

    name: str
    type: str
    count_type: str | None = None


@dataclass(frozen=True)
class Element:
    """An element of the header, with the line that announces it."""

    name: str
    count: int
    line: int
    properties: tuple[Property, ...]

    @property
    def least_size(self) -> int:
        """Bytes that a binary row has at least."""
        return sum(np.dtype(p.count_type or p.type).itemsize for p in self.properties)


@dataclass(frozen=True)
class Header:
    """Byte order, elements, and where the data start (byte offset, line)."""

    order: str
    elements: tuple[Element, ...]
    offset: int
    line: int


def read(source: FileBytes) -> RawCloud:
    """Vertices, normals and triangles; raises `ReaderError` with the line or byte of the fault."""
    header = read_header(source)
    vertex = next((element for element in header.elements if element.name == "vertex"), None)
    if vertex is None:
        source.fail("has no element 'vertex'", f"line {header.line - 1}", "export a point cloud or a mesh")
    names = [p.name for p in vertex.properties]
    missing = [axis for axis in "xyz" if names.count(axis) != 1]
    if missing:
        source.fail(f"has not exactly one property {', '.join(missing)}", f"line {vertex.line}", "export x, y and z")
    if any(p.count_type for p in vertex.properties):
        source.fail("the vertices hold a list", f"line {vertex.line}", "export plain vertices")
    if len(set(names)) != len(names):
        source.fail("a property occurs twice", f"line {vertex.line}", "export the file again")
    if vertex.count == 0:
        source.fail("announces no vertices", f"line {vertex.line}", "export the points again", expected="1 or more")
    body = _Ascii(source, header) if header.order == "=" else _Binary(source, header)
    columns: dict[str, np.ndarray] = {}
    faces: np.ndarray | None = None
    for element in header.elements:
        wanted = next((p for p in element.properties if p.name in ("vertex_indices", "vertex_index")), None)
        if element.name == "vertex":
            columns = body.scalars(element)
        elif element.name == "face" and wanted is not None and wanted.count_type:
            faces = body.lists(element, wanted)
        else:
            body.skip(element)
    xyz = np.stack([as_double(columns[axis]) for axis in "xyz"], axis=1)
    if faces is not None:
        check_indices(source, faces, len(xyz), "element face")
    return _cloud(vertex, columns, xyz, faces, header, body.rest())


def _cloud(
    vertex: Element,
    columns: dict[str, np.ndarray],
    xyz: np.ndarray,
    faces: np.ndarray | None,
    header: Header,
    rest: bool,
) -> RawCloud:
    flags, history = [], [f"PLY {next(name for name, order in _ORDERS.items() if order == header.order)}"]
    types = {p.name: p.type for p in vertex.properties}
    # ASCII numbers are read with all their digits, whatever the header calls them
    if header.order != "=" and any(types[axis] == "f4" for axis in "xyz"):
        flags.append("float32_source")
        history.append("coordinates stored in single precision")
    normals = None
    if all(name in columns for name in ("nx", "ny", "nz")):
        normals = np.stack([as_double(columns[name]) for name in ("nx", "ny", "nz")], axis=1)
    views = view_column(columns["view"]) if _whole(columns.get("view"), types.get("view", "")) else None
    used = {"x", "y", "z"} | ({"nx", "ny", "nz"} if normals is not None else set()) | ({"view"} if views else set())
    if set(columns) - used:
        flags.append("columns_ignored")
        history.append(f"not used: {', '.join(name for name in columns if name not in used)}")
    if rest:
        flags.append("trailing_data")
    return RawCloud(
        xyz,
        normals=normals,
        normals_role=None if normals is None else "measured",
        faces=faces,
        views=None if views is None else views[0],
        view_names=() if views is None else views[1],
        flags=tuple(flags),
        history=tuple(history),
    )


def _whole(values: np.ndarray | None, kind: str) -> bool:
    """Whether a property is a column of whole numbers: that of the header's type, and in ASCII by its numbers too."""
    return values is not None and kind[:1] in ("i", "u") and bool(np.all(values == np.floor(values)))


def read_header(source: FileBytes) -> Header:
    """The header of a PLY file; every claim is checked against the size of the file before anything is allocated."""
    data = source.data
    if not re.match(rb"ply\s*[\r\n]", data):
        source.fail("does not begin with 'ply'", "line 1", "this is no PLY file; check its format")
    end = re.search(rb"(?m)^end_header[ \t]*\r?\n", data[:_MAX_HEADER])
    if end is None:
        source.fail("the header has no end_header", "header", _AGAIN)
    order: str | None = None
    elements: list[Element] = []
    lines = data[: end.start()].decode("latin-1").splitlines()
    for n, text in enumerate(lines[1:], start=2):
        words = text.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _ORDERS and order is None:
            order = _ORDERS[words[1]]
        elif words[0] == "element" and len(words) == 3:
            elements.append(Element(words[1], _count(source, words[2], n), n, ()))
        elif words[0] == "property" and elements:
            last = elements.pop()
            elements.append(Element(last.name, last.count, last.line, (*last.properties, _property(source, words, n))))
        else:
            source.fail("is not a line of a PLY header", f"line {n}", "export the file again", got=repr(text[:60]))
    if order is None:
        source.fail(
            "the header names no format", "header", "export as binary_little_endian", expected="a line 'format ...'"
        )
    header = Header(order, tuple(elements), end.end(), len(lines) + 2)
    _check_claims(source, header)
    return header


def _count(source: FileBytes, text: str, line: int) -> int:
    if not re.fullmatch(r"\d{1,18}", text):
        source.fail("an element count is impossible", f"line {line}", "export the file again", got=repr(text[:40]))
    return int(text)


def _property(source: FileBytes, words: list[str], line: int) -> Property:
    if len(words) == 5 and words[1] == "list" and words[2] in _TYPES and words[3] in _TYPES:
        if _TYPES[words[2]].startswith("f"):
            source.fail("a list is counted in floating point", f"line {line}", "export the file again")
        return Property(words[4], _TYPES[words[3]], _TYPES[words[2]])
    if len(words) == 3 and words[1] in _TYPES:
        return Property(words[2], _TYPES[words[1]])
    raise source.error(
        "a property has an unknown type",
        f"line {line}",
        "export the file again",
        expected=", ".join(_TYPES),
        got=repr(" ".join(words)[:60]),
    )


def _check_claims(source: FileBytes, header: Header) -> None:
    have = len(source.data) - header.offset
    need = 0
    for element in header.elements:
        if element.count and not element.properties:
            source.fail("an element has no properties", f"line {element.line}", "export the file again")
        # a number in ASCII takes two bytes with its separator; the last may lack it
        row = 2 * len(element.properties) if header.order == "=" else element.least_size
        need += element.count * row
        if need > have + (header.order == "="):
            source.fail(
                f"announces {element.count} of '{element.name}', for which the file is too short",
                f"line {element.line}",
                _AGAIN,
                expected=f"at least {need} bytes after the header",
                got=f"{have} bytes",
            )


class _Binary:
    """Walks through the elements of a binary body."""

    def __init__(self, source: FileBytes, header: Header) -> None:
        self.source, self.order, self.offset = source, header.order, header.offset

    def scalars(self, element: Element) -> dict[str, np.ndarray]:
        dtype = np.dtype([(p.name, self.order + p.type) for p in element.properties])
        self._need(element, dtype.itemsize * element.count)
        table = np.frombuffer(self.source.data, dtype, element.count, self.offset)
        self.offset += table.nbytes
        return {p.name: table[p.name] for p in element.properties}

    def skip(self, element: Element) -> None:
        if any(p.count_type for p in element.properties):
            self.lists(element, None)
        elif element.count:
            self.scalars(element)

    def rest(self) -> bool:
        return self.offset < len(self.source.data)

    def lists(self, element: Element, wanted: Property | None) -> np.ndarray:
        """(m, 3) triangles of the wanted list; polygons become fans."""
        if element.count == 0:
            return np.empty((0, 3), dtype=np.int64)
        quick = self._uniform(element, wanted)
        return self._walk(element, wanted) if quick is None else quick

    def _uniform(self, element: Element, wanted: Property | None) -> np.ndarray | None:
        """All rows with one list of three: one structured view instead of a walk."""
        fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
        for k, p in enumerate(element.properties):
            if p.count_type:
                fields += [(f"n{k}", self.order + p.count_type), (f"v{k}", self.order + p.type, (3,))]
            else:
                fields.append((f"s{k}", self.order + p.type))
        dtype = np.dtype(fields)
        if self.offset + dtype.itemsize * element.count > len(self.source.data):
            return None
        table = np.frombuffer(self.source.data, dtype, element.count, self.offset)
        if not all(np.all(table[f"n{k}"] == 3) for k, p in enumerate(element.properties) if p.count_type):
            return None
        self.offset += table.nbytes
        if wanted is None:
            return np.empty((0, 3), dtype=np.int64)
        return table[f"v{element.properties.index(wanted)}"].astype(np.int64)

    def _walk(self, element: Element, wanted: Property | None) -> np.ndarray:
        data, offset, size = self.source.data, self.offset, len(self.source.data)
        triangles: list[np.ndarray] = []
        for row in range(element.count):
            for p in element.properties:
                length = 1
                if p.count_type:
                    dtype = np.dtype(self.order + p.count_type)
                    if offset + dtype.itemsize > size:
                        self._short(element, row, offset)
                    length = int(np.frombuffer(data, dtype, 1, offset)[0])
                    offset += dtype.itemsize
                dtype = np.dtype(self.order + p.type)
                if length < 0 or offset + length * dtype.itemsize > size:
                    self._short(element, row, offset, length)
                if p is wanted:
                    if length < 3:
                        self._short(element, row, offset, length)
                    triangles.append(fan(np.frombuffer(data, dtype, length, offset)))
                offset += length * dtype.itemsize
        self.offset = offset
        return np.concatenate(triangles) if triangles else np.empty((0, 3), dtype=np.int64)

    def _need(self, element: Element, size: int) -> None:
        if self.offset + size > len(self.source.data):
            self._short(element, (len(self.source.data) - self.offset) // max(1, element.least_size), self.offset)

    def _short(self, element: Element, row: int, offset: int, length: int | None = None) -> None:
        what = f"row {row + 1} of '{element.name}' "
        what += "is not in the file" if length is None else f"holds a list of {length}, which is impossible here"
        self.source.fail(what, f"byte {offset}", _AGAIN, got=f"{len(self.source.data)} bytes in all")


class _Ascii:
    """Walks through the elements of an ASCII body, line by line."""

    def __init__(self, source: FileBytes, header: Header) -> None:
        self.source, self.line = source, header.line
        text = source.data[header.offset :].replace(b"\r\n", b"\n")
        self.text = text if text.endswith(b"\n") else text + b"\n"
        self.ends = np.flatnonzero(np.frombuffer(self.text, dtype=np.uint8) == 10)
        self.used = 0  # lines

    def _take(self, element: Element) -> bytes:
        if self.used + element.count > len(self.ends):
            self.source.fail(
                f"ends after {len(self.ends) - self.used} of {element.count} rows of '{element.name}'",
                f"line {self.line + len(self.ends)}",
                _AGAIN,
            )
        start = 0 if self.used == 0 else int(self.ends[self.used - 1]) + 1
        stop = int(self.ends[self.used + element.count - 1]) + 1 if element.count else start
        self.used += element.count
        return self.text[start:stop]

    def scalars(self, element: Element) -> dict[str, np.ndarray]:
        first = self.line + self.used
        text = self._take(element)
        table = parse_rows(self.source, text, len(element.properties), first)
        if len(table) != element.count:
            empty = int(np.argmin(tokens_per_line(text)))
            self.source.fail(f"a row of '{element.name}' is empty", f"line {first + empty}", _AGAIN)
        return {p.name: table[:, k] for k, p in enumerate(element.properties)}

    def skip(self, element: Element) -> None:
        self._take(element)

    def rest(self) -> bool:
        start = 0 if self.used == 0 else int(self.ends[self.used - 1]) + 1
        return bool(self.text[start:].strip())

    def lists(self, element: Element, wanted: Property | None) -> np.ndarray:
        first = self.line + self.used
        text = self._take(element)
        triangles: list[np.ndarray] = []
        if len(element.properties) == 1 and np.all(tokens_per_line(text) == 4):
            table = parse_rows(self.source, text, 4, first)
            if np.all(table[:, 0] == 3.0) and np.all(table == np.floor(table)):
                return table[:, 1:].astype(np.int64)
        for n, line in enumerate(text.split(b"\n")[:-1], start=first):
            words = line.split()
            position = 0
            try:
                for p in element.properties:
                    length = int(words[position]) if p.count_type else 1
                    position += 1 if p.count_type else 0
                    if length < 0 or position + length > len(words) or (p is wanted and length < 3):
                        raise ValueError
                    if p is wanted:
                        triangles.append(fan(np.array([int(w) for w in words[position : position + length]])))
                    position += length
                if position != len(words):
                    raise ValueError
            except (ValueError, IndexError, OverflowError):
                self.source.fail(
                    f"a row of '{element.name}' does not fit its list counts",
                    f"line {n}",
                    _AGAIN,
                    got=repr(line.decode("utf-8", "replace")[:60]),
                )
        return np.concatenate(triangles) if triangles else np.empty((0, 3), dtype=np.int64)
