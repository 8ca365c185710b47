"""What registration needs of a nominal: signed distance, its gradient, and which points count."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.units import convert
from pointcloud.nominal.mesh import TriangleMesh

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Feet:
    """Of n points: signed distance (n,), positive outside the material; its gradient (n, 3), unit; which count (n,)."""

    distance: FloatArray
    direction: FloatArray
    valid: BoolArray


class Surface(Protocol):
    """A nominal in the unit of the scan, as the solvers see it."""

    chord: float
    """Chord tolerance of a tessellation, 0 for exact geometry or where nobody stated it."""
    exact: bool
    """Whether free motions show as such: analytic geometry, not triangles."""

    def feet(self, xyz: FloatArray, *, border: bool = False, normals: FloatArray | None = None) -> Feet:
        """Feet of points (n, 3); ``normals`` (n, 3) of the points, moved with them, where an angle limits the search.

        A foot on an open border counts only with ``border``; its distance then has no sign that means anything.
        """

    def sample(self, count: int, seed: int) -> FloatArray | None:
        """About ``count`` points spread evenly over the surface; None for unbounded geometry."""


class FeatureTarget:
    """An analytic feature (sphere, cylinder, plane, cone, torus) as a nominal: closed form, unbounded."""

    chord = 0.0
    exact = True

    def __init__(self, feature: Feature, factor: float = 1.0) -> None:
        if feature.dimension != 3 or feature.kind not in ("sphere", "cylinder", "plane", "cone", "torus"):
            raise ParameterError(
                f"a {feature.kind} is not a surface to register to",
                expected="sphere, cylinder, plane, cone or torus, a mesh, or a nominal surface",
            )
        self.feature = feature
        self.factor = factor  # unit of the scan -> unit of the feature
        self._sign = -1.0 if feature.material_side == "outside" else 1.0

    def feet(self, xyz: FloatArray, *, border: bool = False, normals: FloatArray | None = None) -> Feet:
        local = xyz if self.factor == 1.0 else xyz * self.factor
        distance = self._sign * self.feature.distance(local) / self.factor
        return Feet(distance, self._sign * self.feature.normals(local), np.isfinite(distance))

    def sample(self, count: int, seed: int) -> FloatArray | None:
        return None


class NominalTarget:
    """A `NominalSurface` (tree of triangles, CAD, group of features) in the unit of the scan."""

    def __init__(self, nominal: Any, factor: float, max_angle: float | None, limit: float | None) -> None:
        self.nominal = nominal
        self._factor = factor  # unit of the scan -> unit of the nominal
        self._max_angle = max_angle
        self._limit = limit
        self.chord = float(nominal.chord_tolerance) / factor
        self.exact = getattr(nominal, "mesh", None) is None
        self._ordered = {"ordered": True} if _takes_order(nominal) else {}

    def feet(self, xyz: FloatArray, *, border: bool = False, normals: FloatArray | None = None) -> Feet:
        local = xyz if self._factor == 1.0 else xyz * self._factor
        extra: dict[str, Any] = dict(self._ordered)
        if self._max_angle is not None and normals is not None and not border:
            extra |= {"normals": normals, "max_angle": self._max_angle}
        if self._limit is not None and not border:
            extra["limit"] = self._limit * self._factor
        return self._gradients(local, self.nominal.closest(local, **extra), border)

    def follow(self, n: int, border: bool) -> Callable[[FloatArray], Feet] | None:
        """As `feet`, without normals, for the same ``n`` points again and again while they move little: faster, same
        bits. None where the nominal cannot."""
        if not hasattr(self.nominal, "follow"):
            return None
        limit = self._limit * self._factor if self._limit is not None and not border else None
        followed = self.nominal.follow(n, limit=limit)

        def feet(xyz: FloatArray) -> Feet:
            local = xyz if self._factor == 1.0 else xyz * self._factor
            return self._gradients(local, followed.closest(local), border)

        return feet

    def _gradients(self, local: FloatArray, found: Any, border: bool) -> Feet:
        from pointcloud.kernels import registration as k

        n = len(local)
        distance, direction, valid = np.empty(n), np.empty((n, 3)), np.empty(n, dtype=np.bool_)
        size = self.nominal.size
        tiny = 1e-9 * size if math.isfinite(size) else 0.0
        flat, out = local.reshape(-1), direction.reshape(-1)
        run_blocks(
            lambda a, b: k.gradients(
                flat, found.rows, found.words, 1.0 / self._factor, tiny, border, a, b, distance, out, valid
            ),
            -(-n // k.CHUNK),
        )
        return Feet(distance, direction, valid)

    def sample(self, count: int, seed: int) -> FloatArray | None:
        mesh = getattr(self.nominal, "mesh", None)
        if mesh is None:
            return None
        return sample_mesh(mesh.vertices, mesh.faces, count, seed) / self._factor


def sample_mesh(vertices: FloatArray, faces: NDArray[Any], count: int, seed: int) -> FloatArray:
    """``count`` points (count, 3) spread over the triangles by area: one in each of ``count`` equal shares of it."""
    rng = np.random.default_rng([seed, 0x5A])
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    edges = np.cumsum(area)
    at = (np.arange(count) + rng.random(count)) / count * edges[-1]
    face = np.minimum(np.searchsorted(edges, at, side="right"), len(faces) - 1)
    u, v = rng.random(count), rng.random(count)
    root = np.sqrt(u)
    return np.asarray(
        (1.0 - root)[:, None] * a[face] + (root * (1.0 - v))[:, None] * b[face] + (root * v)[:, None] * c[face]
    )


def _takes_order(nominal: Any) -> bool:
    return "ordered" in inspect.signature(nominal.closest).parameters


def surface_of(
    nominal: Any,
    unit: str,
    *,
    nominal_unit: str | None = None,
    limit: float | None = None,
    max_angle: float | None = None,
) -> Surface:
    """The nominal as a `Surface` in ``unit``; ``nominal_unit`` is that of a feature, which states none.

    A mesh gets a tree of its own; give a `SurfaceTree` to use it several times. Raises `ParameterError` for things that
    are no nominal surface.
    """
    if isinstance(nominal, Feature):
        return FeatureTarget(nominal, convert(1.0, unit, nominal_unit or unit))
    group: tuple[Any, ...] = tuple(getattr(nominal, "features", ()))
    if len(group) == 1 and max_angle is None:  # one unbounded feature: closed form, and a coarse stage of its own
        return FeatureTarget(group[0], convert(1.0, unit, nominal.unit))
    if isinstance(nominal, TriangleMesh):
        from pointcloud.nominal.tree import SurfaceTree

        nominal = SurfaceTree(nominal)
    if hasattr(nominal, "feet") and hasattr(nominal, "sample"):
        return nominal
    if hasattr(nominal, "closest") and hasattr(nominal, "chord_tolerance"):
        return NominalTarget(nominal, convert(1.0, unit, nominal.unit), max_angle, limit)
    raise ParameterError(
        "this is not a nominal surface", expected="a mesh, a nominal surface, or a feature", got=type(nominal).__name__
    )


_NEARLY = 0.3  # a sample this share farther than the nearest will do: far from all of them many are nearly nearest


class SampleTarget:
    """Points of a surface with their normals, in place of it: for the first look at many poses, where the cost of a
    query must not depend on how far the points are away."""

    chord = 0.0
    exact = False

    def __init__(self, xyz: FloatArray, normals: FloatArray, spacing: float) -> None:
        from scipy.spatial import cKDTree

        self._tree, self._xyz, self._normals, self._spacing = cKDTree(xyz, 20), xyz, normals, spacing

    def feet(self, xyz: FloatArray, *, border: bool = False, normals: FloatArray | None = None) -> Feet:
        far, index = self._tree.query(xyz, eps=_NEARLY)
        away = xyz - self._xyz[index]
        normal = self._normals[index]
        height = np.einsum("ij,ij->i", away, normal)
        near = far <= self._spacing  # between the samples the surface is the tangent plane
        side = np.where(height < 0.0, -1.0, 1.0)
        direction = np.where(near[:, None], normal, side[:, None] * away / np.where(far > 0.0, far, 1.0)[:, None])
        return Feet(np.where(near, height, side * far), direction, np.ones(len(xyz), dtype=np.bool_))

    def sample(self, count: int, seed: int) -> FloatArray | None:
        return self._xyz
