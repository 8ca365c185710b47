"""`TriangleMesh`: a nominal as triangles, in double precision, with its unit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError, ReaderError, UnitError
from metrology_core.provenance import Source
from metrology_core.units import unit as unit_of


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Triangles of a nominal. ``vertices`` (n, 3) float64, ``faces`` (m, 3) int64, both read-only; as in the file.

    The order of a face's corners gives its outward normal (right-hand rule). Raises `ParameterError`, `UnitError`.
    """

    vertices: np.ndarray
    faces: np.ndarray
    unit: str
    source: Source | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        vertices = np.array(self.vertices, dtype=np.float64)
        faces = np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise ParameterError("vertices must be finite", expected="shape (n, 3)", got=str(vertices.shape))
        if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
            raise ParameterError("faces are indices", expected="integers (m, 3)", got=f"{faces.dtype} {faces.shape}")
        if not len(faces):
            raise ParameterError("a mesh has at least one triangle", got="none")
        faces = faces.astype(np.int64)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ParameterError("a face names a vertex that does not exist", expected=f"0 to {len(vertices) - 1}")
        found = unit_of(self.unit)
        if found.dimension != "length":
            raise UnitError(f"a mesh cannot be in {found.name}", expected="a unit of length")
        for name, array in (("vertices", vertices), ("faces", faces)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "unit", found.name)

    @property
    def n_triangles(self) -> int:
        return len(self.faces)

    @property
    def corners(self) -> np.ndarray:
        """(m, 3, 3) float64: triangle, corner, coordinate."""
        return self.vertices[self.faces]

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3): smallest and largest coordinates of the vertices in use."""
        used = self.vertices[np.unique(self.faces)]
        return np.stack([used.min(axis=0), used.max(axis=0)])

    def _cross(self) -> np.ndarray:
        a, b, c = np.moveaxis(self.corners, 1, 0)
        return np.cross(b - a, c - a)

    def areas(self) -> np.ndarray:
        """(m,) areas in unit squared."""
        return 0.5 * np.asarray(np.linalg.norm(self._cross(), axis=1))

    def normals(self) -> np.ndarray:
        """(m, 3) outward unit normals; NaN for triangles without area."""
        cross = self._cross()
        length = np.linalg.norm(cross, axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(length > 0.0, cross / length, np.nan)

    def is_closed(self) -> bool:
        """True if every edge belongs to two triangles that run through it in opposite directions."""
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        forward = np.unique(edges, axis=0)
        if len(forward) != len(edges):
            return False
        backward = np.unique(edges[:, ::-1], axis=0)
        return bool(np.array_equal(forward, backward))


def read_mesh(path: str | Path, *, unit: str, format: str = "auto", root: str | Path | None = None) -> TriangleMesh:
    """A mesh from STL, OBJ or PLY; ``unit`` is mandatory, for none of these formats states one.

    Flags: ``float32_source`` (binary STL, PLY of floats), ``trailing_data``. Raises `ReaderError`, `UnitError`.
    """
    from pointcloud.readers.api import read_file

    if unit is None:
        raise UnitError("the unit of the mesh is missing", expected="for example unit='mm'")
    raw, source, row = read_file(path, None if root is None else Path(root), format)
    if not row.mesh or raw.faces is None or not len(raw.faces):
        raise ReaderError(
            "holds no triangles", path=source.path, place="file", remedy="export a mesh", expected="STL, OBJ or PLY"
        )
    if not np.isfinite(raw.xyz).all():
        bad = int(np.flatnonzero(~np.isfinite(raw.xyz).all(axis=1))[0])
        raise ReaderError(
            "a vertex of the mesh is not finite", path=source.path, place=f"vertex {bad + 1}", remedy="repair the mesh"
        )
    return TriangleMesh(raw.xyz, raw.faces, unit, source, raw.flags)


def mesh_from_arrays(vertices: Any, faces: Any, *, unit: str) -> TriangleMesh:
    """A mesh from arrays (n, 3) and (m, 3)."""
    return TriangleMesh(np.asarray(vertices), np.asarray(faces), unit)
