"""The only door to Open3D. Everything else in Abbe works where Open3D does not install.

Much of Open3D computes in single precision: seven digits, 30 um at 500 m. So points pass centred on an offset that
stays in double precision on this side, and the largest rounding that the passage caused travels with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.data import Frame, PointSet
from metrology_core.errors import MissingDependencyError, ParameterError
from pointcloud.nominal.mesh import TriangleMesh

# System libraries that Open3D needs and wheels cannot bring, with their Debian and Ubuntu packages.
SYSTEM_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
}


@dataclass(frozen=True)
class Centred:
    """An Open3D tensor geometry whose coordinates are relative to ``offset``.

    ``rounding`` is the largest change of a coordinate by the passage, in the unit of the data.
    """

    geometry: Any
    offset: np.ndarray
    unit: str
    rounding: float


def open3d_module() -> Any:
    """The open3d module; raises `MissingDependencyError` naming what is missing and the command that installs it."""
    try:
        import open3d
    except ImportError as error:
        raise _missing(str(error)) from error
    except OSError as error:
        raise _missing(str(error)) from error
    return open3d


def _missing(message: str) -> MissingDependencyError:
    library = re.search(r"(lib[\w.+-]*\.so[.\d]*)", message)
    if library is None:
        return MissingDependencyError(
            "Open3D is not installed",
            got=message,
            remedy="python -m pip install open3d (on Linux x86-64: open3d-cpu); the rest of Abbe works without it",
        )
    name = library.group(1)
    package = SYSTEM_LIBRARIES.get(name)
    command = f"sudo apt-get install {package}" if package else f"install the system package that holds {name}"
    return MissingDependencyError(
        f"Open3D is installed, but the system library {name} is missing", got=message, remedy=command
    )


def to_open3d(
    data: PointSet | TriangleMesh, *, precision: Literal["float32", "float64"] = "float64", offset: Any = None
) -> Centred:
    """An ``open3d.t.geometry`` point cloud or mesh on the CPU, centred on ``offset`` (default: middle of the bounds).

    Points that are not finite are kept as they are. Raises `MissingDependencyError`, `ParameterError`.
    """
    if precision not in ("float32", "float64"):
        raise ParameterError(f"unknown precision {precision!r}", expected="float32 or float64")
    xyz = data.xyz if isinstance(data, PointSet) else data.vertices
    finite = xyz[np.isfinite(xyz).all(axis=1)]
    if offset is None:
        offset = 0.5 * (finite.min(axis=0) + finite.max(axis=0)) if len(finite) else np.zeros(3)
    offset = np.array(offset, dtype=np.float64)
    if offset.shape != (3,) or not np.isfinite(offset).all():
        raise ParameterError("offset is a point", expected="three finite numbers", got=repr(offset))
    offset.setflags(write=False)
    o3d = open3d_module()
    local = (xyz - offset).astype(precision)
    back = local.astype(np.float64) + offset
    change = np.abs(back - xyz)[np.isfinite(xyz)]
    tensor = o3d.core.Tensor(np.ascontiguousarray(local))
    if isinstance(data, PointSet):
        geometry = o3d.t.geometry.PointCloud(tensor)
        if data.normals is not None:
            geometry.point.normals = o3d.core.Tensor(np.ascontiguousarray(data.normals.astype(precision)))
    else:
        geometry = o3d.t.geometry.TriangleMesh(tensor, o3d.core.Tensor(np.ascontiguousarray(data.faces)))
    return Centred(geometry, offset, data.unit, float(change.max(initial=0.0)))


def feature_histograms(xyz: np.ndarray, normals: np.ndarray | None, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 33) fast point feature histograms within ``radius`` and the normals (n, 3) they were made with.

    Source: R. B. Rusu et al., Fast Point Feature Histograms (FPFH) for 3D Registration, ICRA 2009. Without ``normals``
    they are estimated and made consistent with each other: all outward or all inward, nobody knows which. Rounding to
    single precision inside Open3D does not matter here: the histograms only propose poses. Raises
    `MissingDependencyError`.
    """
    o3d = open3d_module()
    offset = xyz.mean(axis=0)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.ascontiguousarray(xyz - offset)))
    if normals is None:
        with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
            cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(0.6 * radius, 30))
            try:
                cloud.orient_normals_consistent_tangent_plane(min(12, len(xyz) - 1))
            except RuntimeError:  # flat or round clouds have no Delaunay triangulation: all to one side will do
                axis = np.linalg.svd(xyz - offset, full_matrices=False)[2][-1]
                cloud.orient_normals_to_align_with_direction(axis)
        found = np.asarray(cloud.normals).copy()
    else:
        found = np.ascontiguousarray(normals)
        cloud.normals = o3d.utility.Vector3dVector(found)
    table = o3d.pipelines.registration.compute_fpfh_feature(cloud, o3d.geometry.KDTreeSearchParamHybrid(radius, 100))
    return np.asarray(table.data).T.copy(), found


def from_open3d(
    geometry: Any,
    *,
    unit: str | None = None,
    frame: Frame | str | None = None,
    points_are: Literal["surface", "ball_centre", "unknown"] | None = None,
    offset: Any = (0.0, 0.0, 0.0),
) -> PointSet | TriangleMesh:
    """A PointSet or TriangleMesh from an Open3D geometry (tensor or legacy) or from a `Centred` one.

    A `Centred` geometry brings its unit and offset. A PointSet needs ``frame`` and ``points_are``. Coordinates that
    Open3D held in single precision are flagged ``float32_source``. Raises `ParameterError`.
    """
    if isinstance(geometry, Centred):
        geometry, unit, offset = geometry.geometry, geometry.unit, geometry.offset
    if unit is None:
        raise ParameterError("the unit of the coordinates is missing", expected="for example unit='mm'")
    offset = np.asarray(offset, dtype=np.float64)
    is_mesh = hasattr(geometry, "triangles") or (hasattr(geometry, "triangle") and "indices" in geometry.triangle)
    stored, normals, faces = _arrays(geometry, is_mesh)
    flags = ("float32_source",) if stored.dtype == np.float32 else ()
    xyz = stored.astype(np.float64) + offset
    if faces is not None:
        return TriangleMesh(xyz, faces, unit, None, flags)
    if frame is None or points_are is None:
        raise ParameterError("points need frame= and points_are=", remedy="say what the points are")
    role: Any = None if normals is None else "measured"
    return PointSet.from_array(
        xyz, unit=unit, frame=frame, points_are=points_are, normals=normals, normals_role=role, flags=flags
    )


def _arrays(geometry: Any, is_mesh: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    if hasattr(geometry, "triangles"):  # legacy mesh
        return np.asarray(geometry.vertices), None, np.asarray(geometry.triangles)
    if hasattr(geometry, "points"):  # legacy cloud
        normals = np.asarray(geometry.normals, dtype=np.float64) if geometry.has_normals() else None
        return np.asarray(geometry.points), normals, None
    if is_mesh:
        return geometry.vertex.positions.numpy(), None, geometry.triangle.indices.numpy()
    if not hasattr(geometry, "point"):
        raise ParameterError("is not an Open3D point cloud or mesh", got=type(geometry).__name__)
    normals = geometry.point.normals.numpy().astype(np.float64) if "normals" in geometry.point else None
    return geometry.point.positions.numpy(), normals, None
