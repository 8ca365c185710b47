"""Wavefront OBJ: vertices and faces. Normals and texture coordinates belong to faces there and are not used."""

from __future__ import annotations

import re

import numpy as np

from pointcloud.readers._raw import FileBytes, RawCloud
from pointcloud.readers._table import check_indices, fan, parse_rows

_KEYWORDS = (
    "v vn vt vp f l p o g s usemtl mtllib cstype deg curv curv2 surf parm trim hole scrv sp end con mg bevel c_interp "
    "d_interp lod maplib usemap shadow_obj trace_obj ctech stech bmat step"
)
_KNOWN = frozenset(_KEYWORDS.split())


def read(source: FileBytes) -> RawCloud:
    """Vertices and triangles (polygons become fans) of an OBJ file; raises `ReaderError` with the line."""
    if b"\0" in source.data:
        source.fail("holds NUL bytes", f"byte {source.data.find(bytes(1))}", "this is no OBJ file; check its format")
    lines = source.data.replace(b"\r\n", b"\n").replace(b"\\\n", b" ").split(b"\n")
    vertices: list[bytes] = []
    where: list[int] = []
    polygons: list[tuple[int, list[bytes], int]] = []
    for n, line in enumerate(lines, start=1):
        words = line.split(None, 1)
        if not words or words[0].startswith(b"#"):
            continue
        key = words[0].decode("latin-1")
        if key == "v":
            vertices.append(words[1] if len(words) > 1 else b"")
            where.append(n)
        elif key == "f":
            polygons.append((n, words[1].split() if len(words) > 1 else [], len(vertices)))
        elif key not in _KNOWN:
            source.fail("is not a line of an OBJ file", f"line {n}", "check the format", got=repr(key[:40]))
    if not vertices:
        source.fail("holds no vertices", "line 1", "export the mesh again")
    xyz, extra = _vertices(source, vertices, where)
    faces = _faces(source, polygons, len(xyz))
    check_indices(source, faces, len(xyz), "faces")
    flags = ("columns_ignored",) if extra else ()
    return RawCloud(xyz, faces=faces if polygons else None, flags=flags, history=("OBJ",))


def _vertices(source: FileBytes, vertices: list[bytes], where: list[int]) -> tuple[np.ndarray, int]:
    n_columns = len(vertices[0].split())
    if n_columns not in (3, 4, 6, 7):
        source.fail(
            f"a vertex has {n_columns} numbers",
            f"line {where[0]}",
            "export x, y, z",
            expected="3 (4 with w, 6 with colour)",
        )
    blanked = [b""] * where[-1]
    for n, text in zip(where, vertices, strict=True):
        if not text.strip():
            source.fail("a vertex has no numbers", f"line {n}", "export x, y, z")
        blanked[n - 1] = text
    table = parse_rows(source, b"\n".join(blanked) + b"\n", n_columns, 1)
    if n_columns in (4, 7) and not np.all(table[:, 3] == 1.0):
        row = int(np.flatnonzero(table[:, 3] != 1.0)[0])
        source.fail("a vertex has a weight other than 1", f"line {where[row]}", "export a mesh, not a rational surface")
    return np.ascontiguousarray(table[:, :3]), n_columns - 3


def _faces(source: FileBytes, polygons: list[tuple[int, list[bytes], int]], n_vertices: int) -> np.ndarray:
    triangles: list[np.ndarray] = []
    for n, words, so_far in polygons:
        heads = [word.split(b"/", 1)[0] for word in words]
        if len(heads) < 3 or not all(re.fullmatch(rb"-?[1-9]\d{0,15}", head) for head in heads):
            source.fail(
                "a face does not name three or more vertices",
                f"line {n}",
                "export the mesh again",
                got=repr(b" ".join(words)[:60].decode("latin-1")),
            )
        corners = np.array([int(head) for head in heads])
        corners = np.where(corners < 0, so_far + corners, corners - 1)  # negative: counted back from here
        if corners.min() < 0 or corners.max() >= n_vertices:
            source.fail(
                f"a face names a vertex outside the {n_vertices} of the file", f"line {n}", "export the mesh again"
            )
        triangles.append(fan(corners))
    return np.concatenate(triangles) if triangles else np.empty((0, 3), dtype=np.int64)
