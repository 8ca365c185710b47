"""Which part of the nominal was measured: area with data, area without, and a share for every triangle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from pointcloud.deviation.field import DeviationField
from pointcloud.deviation.places import point_spacing
from pointcloud.nominal.surface import FloatArray

_RADIUS = 2.5  # point spacings around a foot that count as measured
_LARGEST = 0.05  # of the nominal's size: a point of a sparse scan does not speak for more of the part than this
_MOST = 4_000_000  # places of the nominal that are looked at
_NEAREST = 3  # feet around a place that are asked for their side
_ALIKE = 0.3  # least cosine between a place and the foot that covers it


@dataclass(frozen=True, eq=False)
class Coverage:
    """Measured part of a nominal of triangles; areas in unit squared.

    A place of the nominal is measured when the foot of a point with a deviation lies within ``radius`` of it and on
    the same side. ``share`` (m,) of each triangle; a triangle with share 0 is drawn grey.
    """

    share: FloatArray
    area: float
    area_without_data: float
    radius: float

    @property
    def fraction(self) -> float:
        return 1.0 - self.area_without_data / self.area if self.area > 0.0 else 0.0

    def without_data(self) -> NDArray[np.bool_]:
        """(m,) triangles of which nothing was measured."""
        return np.asarray(self.share == 0.0)

    def by_region(self, areas: FloatArray, region_of: NDArray[np.int32], count: int) -> FloatArray:
        """(count,) area without data of each region."""
        inside = region_of >= 0
        return np.asarray(np.bincount(region_of[inside], (areas * (1.0 - self.share))[inside], count), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {
            "area": self.area, "area_without_data": self.area_without_data, "fraction": self.fraction,
            "radius": self.radius, "triangles_without_data": int(np.count_nonzero(self.share == 0.0)),
        }  # fmt: skip


def coverage(field: DeviationField, *, radius: float | None = None) -> Coverage:
    """Coverage of the nominal by the points with a deviation; ``radius`` defaults to a few point spacings,
    at most a twentieth of the nominal's size.

    Triangles larger than the radius are looked at in several places. Raises `ParameterError` for nominals without
    triangles.
    """
    from scipy.spatial import cKDTree

    mesh = getattr(field.nominal, "mesh", None)
    if mesh is None:
        raise ParameterError("coverage needs a nominal of triangles", expected="a SurfaceTree or CAD surface")
    areas = mesh.areas()
    total = float(areas.sum())
    feet, normals = field.closest.foot[field.valid], field.closest.normal[field.valid]
    if not len(feet):
        return Coverage(np.zeros(len(areas)), total, total, radius or 0.0)
    size = field.nominal.size
    spaced = min(_RADIUS * point_spacing(feet), _LARGEST * size if math.isfinite(size) and size > 0.0 else math.inf)
    reach = radius if radius is not None else spaced
    if not reach > 0.0:
        reach = 1e-9 * field.nominal.size
    feet, normals = _thinned(feet, normals, reach / 2.0)
    count = _places_per_triangle(mesh, reach, areas)
    face = np.repeat(np.arange(len(areas)), count)
    places = _places(mesh, face, count)
    # the other side of a thin wall, or the wall around a corner, does not count: one of the nearest feet faces alike
    distance, nearest = cKDTree(feet).query(places, k=_NEAREST, distance_upper_bound=reach * (1.0 + 1e-9))
    outward = mesh.normals()[face]
    same = np.zeros(len(places), dtype=bool)
    for k in range(_NEAREST):
        hit = np.flatnonzero(np.isfinite(distance[:, k]))
        with np.errstate(invalid="ignore"):
            cosine = np.einsum("ij,ij->i", normals[nearest[hit, k]], outward[hit])
        same[hit] |= ~(cosine < _ALIKE)
    share = np.bincount(face[same], minlength=len(areas)) / np.maximum(count, 1)
    direct = np.unique(field.closest.face[field.valid])
    share[direct] = np.maximum(share[direct], np.minimum(1.0, 1.0 / np.maximum(count[direct], 1)))
    return Coverage(share, total, float((areas * (1.0 - share)).sum()), float(reach))


def _thinned(feet: FloatArray, normals: FloatArray, cell: float) -> tuple[FloatArray, FloatArray]:
    """One foot for each cell of a grid and side."""
    main = np.abs(normals).argmax(axis=1)
    side = 2 * main + (normals[np.arange(len(normals)), main] > 0.0)
    grid = np.floor((feet - feet.min(axis=0)) / cell).astype(np.int64)
    spans = grid.max(axis=0) + 1
    key = ((grid[:, 0] * spans[1] + grid[:, 1]) * spans[2] + grid[:, 2]) * 6 + side
    first = np.unique(key, return_index=True)[1]
    return feet[first], normals[first]


def _places_per_triangle(mesh: Any, reach: float, areas: FloatArray) -> NDArray[np.int64]:
    """One place for each cell of half the radius, at least one; limited in total."""
    corners = mesh.corners
    longest = np.sqrt(((np.roll(corners, -1, axis=1) - corners) ** 2).sum(axis=2).max(axis=1))
    # k^2 equal parts of a triangle are longest / k long
    k = np.clip(np.ceil(longest / (0.7 * reach)), 1, 64).astype(np.int64)
    while int((k * k).sum()) > _MOST and k.max() > 1:
        k = np.maximum(1, k // 2)
    return k * k


def _places(mesh: Any, face: NDArray[np.int64], count: NDArray[np.int64]) -> FloatArray:
    """Centres of the k^2 equal parts of every triangle."""
    k = np.sqrt(count[face]).round().astype(np.int64)
    first = np.cumsum(count) - count
    j = np.arange(len(face)) - first[face]
    row = np.floor(np.sqrt(j + 0.5)).astype(np.int64)  # row r holds 2 r + 1 parts
    place = j - row * row
    up = place % 2 == 0
    a = (row + np.where(up, 2.0 / 3.0, 1.0 / 3.0)) / k
    b = (place // 2 + np.where(up, 1.0 / 3.0, 2.0 / 3.0)) / k
    corners = mesh.vertices[mesh.faces[face]]
    return np.asarray(
        corners[:, 0] + a[:, None] * (corners[:, 1] - corners[:, 0]) + b[:, None] * (corners[:, 2] - corners[:, 1])
    )
