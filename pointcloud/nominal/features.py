"""Analytic features, and groups of them, as nominals: plane, sphere, cylinder, cone, torus with a material side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError, UnitError
from metrology_core.features import Cone, Cylinder, Feature, Plane, Sphere, Torus
from metrology_core.units import unit as unit_of
from pointcloud.kernels import codes
from pointcloud.nominal.surface import ClosestPoints, FloatArray, as_points, check_limits

_SURFACES = (Plane, Sphere, Cylinder, Cone, Torus)


class FeatureGroup:
    """Several unbounded analytic surfaces as one nominal; implements `NominalSurface`. ``face`` is the index of the
    feature.

    Every feature needs its ``material_side``: the outer side, on which the distance is positive, is the other one. A
    point belongs to the nearest feature, unless `closest` is told which. Raises `ParameterError`, `UnitError`.
    """

    def __init__(self, features: Sequence[Feature], *, unit: str) -> None:
        self.features = tuple(features)
        found = unit_of(unit)
        if found.dimension != "length":
            raise UnitError(f"a nominal cannot be in {found.name}", expected="a unit of length")
        self.unit = found.name
        if not self.features:
            raise ParameterError("a nominal of features has at least one", got="none")
        for feature in self.features:
            if not isinstance(feature, _SURFACES):
                raise ParameterError(
                    "not a surface",
                    expected="a plane, sphere, cylinder, cone or torus",
                    got=getattr(feature, "kind", type(feature).__name__),
                )
            if feature.material_side is None:
                raise ParameterError(
                    f"the material side of this {feature.kind} is not known",
                    remedy="feature.with_material('inside') for a shaft, 'outside' for a bore",
                )

    @property
    def size(self) -> float:
        return math.inf

    @property
    def chord_tolerance(self) -> float:
        """0: the features are the nominal."""
        return 0.0

    def closest(
        self,
        points: Any,
        *,
        limit: float | None = None,
        normals: Any = None,
        max_angle: float | None = None,
        seeds: Any = None,
        assigned: Any = None,
    ) -> ClosestPoints:
        """Closest points, see `NominalSurface.closest`; ``assigned`` (n,) names the feature of each point, -1 leaves it
        open. ``seeds`` are not needed here."""
        xyz = as_points(points)
        n = len(xyz)
        reach, directions, cos_min = check_limits(n, limit, normals, max_angle)
        wanted = self._assigned(assigned, n)
        result = ClosestPoints.empty(n)
        rows, words = result.rows, result.words
        rows[:, :7] = np.nan
        finite = np.isfinite(xyz).all(axis=1)
        words[:, 14] = -1
        words[:, 15] = codes.NOTHING | codes.NO_SIGN | (codes.ANGLE if len(directions) else codes.BEYOND_LIMIT)
        words[~finite, 15] = codes.NOTHING | codes.NO_SIGN | codes.NON_FINITE
        best = np.where(finite, reach, -1.0)
        for index, feature in enumerate(self.features):
            distance, normal, foot, apex = evaluate_feature(feature, xyz)
            if feature.material_side == "outside":
                distance, normal = -distance, -normal
            with np.errstate(invalid="ignore"):
                take = np.abs(distance) < best if index else np.abs(distance) <= best
                take &= (wanted == index) | (wanted < 0)
                if len(directions):
                    take &= np.einsum("ij,ij->i", directions, normal) >= cos_min
            best = np.where(take, np.abs(distance), best)
            rows[take, 0:3], rows[take, 3], rows[take, 4:7] = foot[take], distance[take], normal[take]
            words[take, 14] = index
            words[take, 15] = np.where(apex[take], codes.VERTEX, codes.FACE)
        return result

    def _assigned(self, assigned: Any, n: int) -> NDArray[np.int64]:
        if assigned is None:
            return np.full(n, -1, dtype=np.int64)
        wanted = np.asarray(assigned)
        if wanted.shape != (n,) or wanted.dtype.kind not in "iu" or (n and wanted.max() >= len(self.features)):
            raise ParameterError(
                "assigned names the feature of each point",
                expected=f"({n},) integers below {len(self.features)}",
                got=f"{wanted.dtype} {wanted.shape}",
            )
        return wanted.astype(np.int64)


class FeatureSurface(FeatureGroup):
    """One analytic surface as a nominal; see `FeatureGroup`."""

    def __init__(self, feature: Feature, *, unit: str) -> None:
        super().__init__((feature,), unit=unit)

    @property
    def feature(self) -> Feature:
        return self.features[0]


def evaluate_feature(feature: Feature, xyz: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Distance (positive away from the axis or along the normal), normal, foot, and whether the foot is an apex."""
    with np.errstate(invalid="ignore"):
        distance, normal = feature.distance(xyz), feature.normals(xyz)
        foot = xyz - distance[:, None] * normal
        apex = np.zeros(len(xyz), dtype=bool)
        tip = feature.apex if isinstance(feature, Cone) else None
        if isinstance(feature, Cone) and tip is not None:
            # beyond the apex the foot on the line of the flank is on the mirrored cone: the apex itself is nearest
            widening = math.copysign(1.0, feature.half_angle) * feature.axis
            apex = (foot - tip) @ widening < 0.0
            away = xyz - tip
            length = np.linalg.norm(away, axis=1)
            distance = np.where(apex, length, distance)
            foot = np.where(apex[:, None], tip, foot)
            safe = np.where(length > 0.0, length, 1.0)[:, None]
            normal = np.where(apex[:, None], away / safe, normal)
    return distance, normal, foot, apex
