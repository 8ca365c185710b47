"""A nominal surface from a file: triangle meshes, and CAD where that part is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metrology_core.errors import MissingDependencyError
from metrology_core.provenance import Source
from pointcloud.nominal.clean import clean_mesh
from pointcloud.nominal.mesh import TriangleMesh, read_mesh
from pointcloud.nominal.surface import NominalSurface
from pointcloud.nominal.tree import SurfaceTree

CAD = (".step", ".stp", ".iges", ".igs")


@dataclass(frozen=True, eq=False)
class Nominal:
    """A nominal with what was found when it was read: ``surface``, its triangles for sections and pictures, ``words``
    on what was cleaned, ``flags``, and the file's ``source``."""

    surface: NominalSurface
    mesh: TriangleMesh
    words: tuple[str, ...]
    flags: tuple[str, ...]
    source: Source | None


def read_nominal(path: str | Path, *, unit: str, root: str | Path | None = None) -> Nominal:
    """Read a mesh (STL, OBJ, PLY), cleaned with a report, or a CAD file (STEP, IGES; its own unit converted to mm).

    Raises `ReaderError`, `UnitError`, `MissingDependencyError`.
    """
    if Path(path).suffix.lower() in CAD:
        return _cad(path, root)
    mesh, report = clean_mesh(read_mesh(path, unit=unit, root=root))
    return Nominal(SurfaceTree(mesh), mesh, report.words(), mesh.flags, mesh.source)


def _cad(path: str | Path, root: str | Path | None) -> Nominal:
    from importlib.util import find_spec

    if find_spec("pointcloud.nominal.cad") is None:
        raise MissingDependencyError(
            "CAD nominals are not part of this version", remedy="export a mesh (STL, OBJ, PLY)"
        )
    from importlib import import_module

    surface = import_module("pointcloud.nominal.cad").read_cad(path, root=root)
    return Nominal(surface, surface.mesh, (surface.description,), (), getattr(surface, "source", None))
