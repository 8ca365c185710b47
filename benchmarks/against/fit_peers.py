"""One function per peer: from a feature and its points to a call that fits once and returns a solution vector.

None where the peer has no such feature. A call that cannot say what it found (CGAL's bindings give labels only)
returns an empty vector. Every peer works with the defaults of its documentation unless a comment says otherwise.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks.against import fit_shapes as shapes

Call = Callable[[], np.ndarray]
NOISE = 5e-3


def _vector(place: Any, axis: Any = None, *sizes: float) -> np.ndarray:
    return np.concatenate((np.ravel(place), shapes.W if axis is None else np.ravel(axis), sizes)).astype(float)


def abbe(kind: str, x: np.ndarray) -> Call:
    """This library from raw points: no start, the public `fit`."""
    from metrology_core import fit

    def call() -> np.ndarray:
        values = fit(x, kind).require().parameters
        place = values["center"] if "center" in values else values["point"]
        axis = next((values[name] for name in ("normal", "axis", "direction") if name in values), None)
        names = {"cone": ("radius", "half_angle"), "torus": ("major_radius", "minor_radius"), "plane": ()}
        found = [values[name] for name in names.get(kind, ("radius",))]
        return _vector(place, axis, *found)

    return call


def _scipy(kind: str, x: np.ndarray, **tolerances: float) -> Call | None:
    if kind == "plane":
        return None
    from scipy.optimize import least_squares

    def call() -> np.ndarray:
        found = least_squares(
            lambda q: shapes.distances(kind, shapes.solution(kind, q), x),
            shapes.near(kind),
            jac=lambda q: shapes.jacobian(kind, q, x),
            method="lm",
            **tolerances,
        )
        return shapes.solution(kind, found.x)

    return call


def scipy(kind: str, x: np.ndarray) -> Call | None:
    """Levenberg-Marquardt, analytic Jacobian, smallest parametrisation, a good start, default tolerances."""
    return _scipy(kind, x)


def scipy_tight(kind: str, x: np.ndarray) -> Call | None:
    """The same with all tolerances 1e-15."""
    return _scipy(kind, x, xtol=1e-15, ftol=1e-15, gtol=1e-15)


def numpy(kind: str, x: np.ndarray) -> Call | None:
    """Eigenvector of the covariance."""
    if kind != "plane":
        return None

    def call() -> np.ndarray:
        mean = x.mean(axis=0)
        y = x - mean
        return _vector(mean, np.linalg.eigh(y.T @ y)[1][:, 0])

    return call


def skspatial(kind: str, x: np.ndarray) -> Call | None:
    from skspatial.objects import Cylinder, Plane, Sphere

    def cylinder() -> np.ndarray:
        found = Cylinder.best_fit(x)
        return _vector(found.point, found.vector, found.radius)

    def plane() -> np.ndarray:
        found = Plane.best_fit(x)
        return _vector(found.point, found.normal)

    def sphere() -> np.ndarray:
        found = Sphere.best_fit(x)
        return _vector(found.point, None, found.radius)

    return {"plane": plane, "sphere": sphere, "cylinder": cylinder}.get(kind)


def engeom(kind: str, x: np.ndarray) -> Call | None:
    """Least squares where it has it; cylinders by its consensus (true normals given, sigma_max three times the
    noise)."""
    from engeom.geom3 import Circle3, Cylinder3, Plane3, Sphere3

    def xyz(p: Any) -> tuple[float, float, float]:
        return p.x, p.y, p.z

    def plane() -> np.ndarray:
        found = Plane3.from_fit(x)
        normal = np.array(xyz(found.normal))
        return _vector(found.d * normal, normal)

    def sphere() -> np.ndarray:
        found = Sphere3.from_fit(x)
        return _vector(xyz(found.center), None, found.r)

    def circle() -> np.ndarray:
        found = Circle3.from_fit(x)
        return _vector(xyz(found.center), xyz(found.normal), found.r)

    normals = _normals(kind, x) if kind == "cylinder" else None

    def cylinder() -> np.ndarray:
        found = Cylinder3.from_consensus(x, normals, 3.0 * NOISE, seed=1)
        return _vector(xyz(found.a), np.array(xyz(found.b)) - np.array(xyz(found.a)), found.r)

    return {"plane": plane, "sphere": sphere, "circle": circle, "cylinder": cylinder}.get(kind)


def trimesh(kind: str, x: np.ndarray) -> Call | None:
    module = importlib.import_module("trimesh")

    def plane() -> np.ndarray:
        return _vector(*module.points.plane_fit(x))

    def sphere() -> np.ndarray:
        centre, radius, _ = module.nsphere.fit_nsphere(x)
        return _vector(centre, None, radius)

    return {"plane": plane, "sphere": sphere}.get(kind)


def pyransac3d(kind: str, x: np.ndarray) -> Call | None:
    """RANSAC with a threshold of three times the noise; not meant to be exact."""
    module = importlib.import_module("pyransac3d")

    def plane() -> np.ndarray:
        equation = np.asarray(module.Plane().fit(x, thresh=3.0 * NOISE)[0])
        normal = equation[:3] / np.linalg.norm(equation[:3])
        return _vector(-equation[3] * normal / np.linalg.norm(equation[:3]), normal)

    def sphere() -> np.ndarray:
        centre, radius = module.Sphere().fit(x, thresh=3.0 * NOISE)[:2]
        return _vector(centre, None, float(radius))

    def round_about(name: str) -> Call:
        def call() -> np.ndarray:
            centre, axis, radius = getattr(module, name)().fit(x, thresh=3.0 * NOISE)[:3]
            return _vector(centre, axis, float(radius))

        return call

    return {
        "plane": plane, "sphere": sphere, "circle": round_about("Circle"), "cylinder": round_about("Cylinder"),
    }.get(kind)  # fmt: skip


def cylinder_fitting(kind: str, x: np.ndarray) -> Call | None:
    if kind != "cylinder":
        return None
    module = importlib.import_module("cylinder_fitting")

    def call() -> np.ndarray:
        axis, place, radius, _ = module.fit(x)
        return _vector(place, axis, float(radius))

    return call


def open3d(kind: str, x: np.ndarray) -> Call | None:
    """RANSAC plane, its only fit of a feature; the cloud is made outside the clock."""
    if kind != "plane":
        return None
    module = importlib.import_module("open3d")
    cloud = module.geometry.PointCloud(module.utility.Vector3dVector(x))

    def call() -> np.ndarray:
        equation, _ = cloud.segment_plane(3.0 * NOISE, 3, 100)
        normal = np.asarray(equation[:3]) / np.linalg.norm(equation[:3])
        return _vector(-equation[3] * normal / np.linalg.norm(equation[:3]), normal)

    return call


def cgal(kind: str, x: np.ndarray) -> Call | None:
    """Efficient RANSAC on points with true normals (set up outside the clock); the bindings return labels only."""
    if kind == "circle":
        return None
    from CGAL.CGAL_Kernel import Point_3, Vector_3
    from CGAL.CGAL_Point_set_3 import Point_set_3
    from CGAL.CGAL_Shape_detection import efficient_RANSAC

    points = Point_set_3()
    points.add_normal_map()
    for p, n in zip(x.tolist(), _normals(kind, x).tolist(), strict=True):
        points.insert(Point_3(*p), Vector_3(*n))
    labels = points.add_int_map("shape")
    wanted = {name: name == kind + "s" for name in ("planes", "spheres", "cylinders", "cones")}
    wanted["tori"] = kind == "torus"

    def call() -> np.ndarray:
        efficient_RANSAC(points, labels, min_points=len(x) // 10, epsilon=3.0 * NOISE, **wanted)
        return np.empty(0)

    return call


def _normals(kind: str, x: np.ndarray) -> np.ndarray:
    """Outward unit normals of the part at its points."""
    y = x - shapes.PLACE
    g = y @ shapes.W
    if kind == "plane":
        return np.broadcast_to(shapes.W, x.shape)
    if kind == "sphere":
        return np.asarray(y / np.linalg.norm(y, axis=1)[:, None])
    across = y - g[:, None] * shapes.W
    f = np.linalg.norm(across, axis=1)[:, None]
    if kind == "cone":
        return np.asarray(across / f * np.cos(0.3) - shapes.W * np.sin(0.3))
    if kind == "torus":
        tube = across * (1.0 - shapes.RADIUS / f) + g[:, None] * shapes.W
        return np.asarray(tube / np.linalg.norm(tube, axis=1)[:, None])
    return np.asarray(across / f)


PEERS: dict[str, tuple[str, Callable[[str, np.ndarray], Call | None]]] = {
    "abbe": ("numba", abbe),
    "scipy": ("scipy", scipy),
    "scipy tight": ("scipy", scipy_tight),
    "numpy": ("numpy", numpy),
    "scikit-spatial": ("scikit-spatial", skspatial),
    "engeom": ("engeom", engeom),
    "trimesh": ("trimesh", trimesh),
    "pyransac3d": ("pyransac3d", pyransac3d),
    "cylinder_fitting": ("cylinder_fitting", cylinder_fitting),
    "open3d": ("open3d", open3d),
    "cgal": ("cgal", cgal),
}


def version(name: str) -> str:
    """Version of the package behind a peer, empty where it is not installed."""
    package = PEERS[name][0]
    for candidate in (package, package + "-cpu"):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return ""
