"""STL: ASCII and binary. Corners that are equal to the last bit become one vertex; nothing is merged by distance."""

from __future__ import annotations

import re

import numpy as np

from pointcloud.readers._raw import FileBytes, RawCloud, as_double
from pointcloud.readers._table import parse_rows

_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_AGAIN = "the file is damaged or cut off; export it again"


def read(source: FileBytes) -> RawCloud:
    """Vertices in the order of their first appearance, and triangles; raises `ReaderError`."""
    data = source.data
    declared = int.from_bytes(data[80:84], "little") if len(data) >= 84 else None
    # binary headers may begin with "solid" too: the size decides
    if declared is not None and len(data) == 84 + _FACET.itemsize * declared:
        return _binary(source, declared, trailing=False)
    if data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:512]:
        return _ascii(source)
    if declared is None:
        source.fail(f"holds {len(data)} bytes", "byte 0", _AGAIN, expected="a header of 84 bytes, or text with 'solid'")
    need = 84 + _FACET.itemsize * declared
    if need > len(data):
        source.fail(
            f"announces {declared} triangles, for which the file is too short",
            "byte 80",
            _AGAIN,
            expected=f"{need} bytes",
            got=f"{len(data)} bytes",
        )
    return _binary(source, declared, trailing=True)


def _binary(source: FileBytes, count: int, *, trailing: bool) -> RawCloud:
    if count == 0:
        source.fail("announces no triangles", "byte 80", "export the mesh again", expected="1 or more")
    corners = np.frombuffer(source.data, _FACET, count, 84)["corners"]
    corners = as_double(corners).reshape(-1, 3)
    flags = ("float32_source", "trailing_data") if trailing else ("float32_source",)
    return _cloud(corners, flags, "binary STL: coordinates stored in single precision")


def _ascii(source: FileBytes) -> RawCloud:
    text = source.data.replace(b"\r\n", b"\n").lower()
    if not re.search(rb"endsolid[^\n]*\s*\Z", text):
        source.fail("has no 'endsolid' at its end", f"line {text.count(chr(10).encode()) + 1}", _AGAIN)
    lines = text.split(b"\n")
    where = [n for n, line in enumerate(lines) if line.lstrip().startswith(b"vertex")]
    facets = sum(line.lstrip().startswith(b"facet") for line in lines)
    loops = sum(line.lstrip().startswith(b"endloop") for line in lines)
    if not where:
        source.fail("holds no triangles", "line 1", "export the mesh again")
    if len(where) != 3 * facets or loops != facets:
        source.fail(
            f"holds {facets} facets, {loops} loop ends and {len(where)} vertices",
            f"line {where[-1] + 1}",
            _AGAIN,
            expected="three vertices and one loop end for each facet",
        )
    for k in range(0, len(where), 3):
        # corners of one facet stand on three lines in a row; a missing and a surplus one must not cancel
        if where[k + 2] - where[k] > 2 and any(b"facet" in line for line in lines[where[k] : where[k + 2]]):
            source.fail("a facet has not three vertices", f"line {where[k] + 1}", _AGAIN)
    blanked = [b""] * len(lines)
    for n in where:
        blanked[n] = lines[n].replace(b"vertex", b"", 1)
    corners = parse_rows(source, b"\n".join(blanked) + b"\n", 3, 1)
    return _cloud(corners, (), "ASCII STL")


def _cloud(corners: np.ndarray, flags: tuple[str, ...], words: str) -> RawCloud:
    # +0.0 makes -0.0 and 0.0 the same corner; np.unique sorts, so the order of appearance is restored
    _, first, inverse = np.unique(corners + 0.0, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    faces = rank[inverse.reshape(-1)].reshape(-1, 3)
    return RawCloud(corners[first[order]], faces=faces, flags=flags, history=(words,))
