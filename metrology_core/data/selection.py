"""`Selection`: which points belong to a feature. It selects; it never deletes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from metrology_core.data.arrays import frozen_float
from metrology_core.errors import ParameterError

if TYPE_CHECKING:
    from metrology_core.data.pointset import PointSet


class _Surface(Protocol):
    """What a selection needs of a nominal: distances, normals, and optionally a distance to its border."""

    def distance(self, xyz: np.ndarray) -> np.ndarray: ...

    def normals(self, xyz: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Box:
    """Axis-parallel box in the frame of the points, limits included, in their unit."""

    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        lower = frozen_float(self.lower, "lower", (3,))
        upper = frozen_float(self.upper, "upper", (3,))
        if not (lower <= upper).all():
            raise ParameterError("a box needs lower <= upper", got=f"{lower.tolist()} and {upper.tolist()}")
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def contains(self, xyz: np.ndarray) -> np.ndarray:
        """(n,) mask; points that are not finite are outside."""
        return np.asarray(((xyz >= self.lower) & (xyz <= self.upper)).all(axis=1))


@dataclass(frozen=True, eq=False)
class Selection:
    """Conditions that a point must meet, all of them.

    ``label`` of the file; ``region`` a `Box`; ``max_distance`` to the nominal (unit of the points);
    ``max_normal_angle`` in radians between the point's normal and the nominal's (needs normals);
    ``edge_exclusion`` distance to the nominal's border (needs a nominal with ``border_distance``).
    Without conditions it takes all points.
    """

    label: str | None = None
    region: Box | None = None
    max_distance: float | None = None
    max_normal_angle: float | None = None
    edge_exclusion: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_distance", "max_normal_angle", "edge_exclusion"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0.0):
                raise ParameterError(f"{name} must be finite and not negative", got=repr(value))

    def mask(self, points: PointSet, nominal: _Surface | None = None) -> np.ndarray:
        """(n,) mask of the points selected. Raises `ParameterError` where a condition needs what is not there."""
        chosen = np.ones(points.n_points, dtype=bool)
        if self.label is not None:
            if points.labels is None or self.label not in points.label_names:
                points.labelled(self.label)  # raises with the known labels
            chosen &= points.labels == points.label_names.index(self.label)
        if self.region is not None:
            chosen &= self.region.contains(points.xyz)
        if self.max_distance is None and self.max_normal_angle is None and self.edge_exclusion is None:
            return chosen
        if nominal is None:
            raise ParameterError("the selection needs a nominal", remedy="give the feature a nominal in the recipe")
        if self.max_distance is not None:
            with np.errstate(invalid="ignore"):
                chosen &= np.abs(nominal.distance(points.xyz)) <= self.max_distance
        if self.max_normal_angle is not None:
            if points.normals is None:
                raise ParameterError("max_normal_angle needs points with normals", remedy="leave the condition out")
            chosen &= _angles(points.normals, nominal.normals(points.xyz)) <= self.max_normal_angle
        if self.edge_exclusion is not None:
            border: Any = getattr(nominal, "border_distance", None)
            if border is None:
                raise ParameterError(
                    "edge_exclusion needs a nominal with a border", remedy="use region for unbounded features"
                )
            chosen &= np.asarray(border(points.xyz)) >= self.edge_exclusion
        return chosen

    def to_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "region": None
            if self.region is None
            else {"lower": self.region.lower.tolist(), "upper": self.region.upper.tolist()},
            "max_distance": self.max_distance,
            "max_normal_angle": self.max_normal_angle,
            "edge_exclusion": self.edge_exclusion,
        }


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between directions, whatever their sense, by cross and dot product (exact near zero)."""
    cross = np.linalg.norm(np.cross(a, b), axis=1)
    return np.arctan2(cross, np.abs(np.einsum("ij,ij->i", a, b)))
