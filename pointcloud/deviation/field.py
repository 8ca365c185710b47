"""Scan against nominal: a signed deviation and a standard uncertainty for every point.

Measurand of a point: the distance from the nominal to the point along the nominal's normal at its closest point (or
along stated directions), positive for excess material. What is not known of a point (beside an open border, beyond a
limit) has no deviation; it is marked and counted, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.conformity import Tolerance
from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.units import convert
from pointcloud.deviation.uncertainty import DeviationUncertainty
from pointcloud.nominal.surface import ClosestPoints, FloatArray, NominalSurface, as_points
from pointcloud.nominal.tree import SurfaceTree

Along = Literal["normal", "direction", "vectors"]


@dataclass(frozen=True, eq=False)
class DeviationField:
    """Deviations of n points, in their order and in ``unit``; excess material is positive.

    ``xyz`` (n, 3) in the unit of the nominal; ``closest`` holds foot, normal, face; ``value`` (n,) is NaN where there
    is no deviation; ``uncertainty`` gives the standard uncertainty of points and of anything linear in them;
    ``tolerance`` is the band of the whole field; ``region_of`` (m,) index of each face's region into
    ``region_names``; ``method`` says in words how the values were made.
    """

    xyz: FloatArray
    value: FloatArray
    closest: ClosestPoints
    nominal: NominalSurface
    uncertainty: DeviationUncertainty
    method: str
    tolerance: tuple[float, float] | None = None
    region_of: NDArray[np.int32] | None = None
    region_names: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def unit(self) -> str:
        return self.nominal.unit

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """(n,) whether the point has a deviation."""
        return np.isfinite(self.value)

    @cached_property
    def u(self) -> FloatArray:
        """(n,) standard uncertainties of the deviations; NaN where there is none."""
        u = self.uncertainty.of_points(self.closest.foot, self.closest.normal)
        return np.where(self.valid, u, np.nan)

    @cached_property
    def region(self) -> NDArray[np.int32]:
        """(n,) index into ``region_names``; -1 for none."""
        if self.region_of is None:
            return np.full(len(self), -1, dtype=np.int32)
        face = self.closest.face
        return np.where(face >= 0, self.region_of[np.maximum(face, 0)], -1).astype(np.int32)


def deviate(
    points: PointSet | Any,
    nominal: NominalSurface,
    *,
    limit: float | None = None,
    max_angle: float | None = None,
    along: Any = None,
    uncertainty: DeviationUncertainty | None = None,
    tolerance: Tolerance | tuple[float, float] | None = None,
    regions: Any = None,
    region_names: tuple[str, ...] = (),
    ordered: bool = False,
) -> DeviationField:
    """Deviations of ``points`` (a `PointSet`, or an (n, 3) array in the nominal's unit) from a nominal.

    The points must be aligned already. ``limit`` (nominal's unit) is the search limit; ``max_angle`` (rad) needs the
    points' normals and keeps the two sides of thin walls apart. ``along``: None for the nominal's normal, or (3,) or
    (n, 3) directions along which the distance is taken (needs a triangle nominal). Ball centres are compensated by
    the tip radius along the nominal's normal. ``regions`` (m,) integers name the region of each face, -1 for none.

    ``uncertainty`` defaults to the noise that the points carry. Flags: those of the points and of the mesh,
    ``open_border_points``, ``beyond_search_limit``, ``beyond_angle_limit``, ``tessellation_coarse``,
    ``alignment_uncertainty_missing``, ``repeatability_only``, ``units_suspect``, ``scan_apart_from_nominal``,
    ``independent_noise_assumed``. Raises `ParameterError`.
    """
    xyz, offset, names = _prepared(points, nominal)
    found = _search(xyz, points, nominal, limit, max_angle, along, ordered)
    value = found.distance - offset if offset else found.distance.copy()
    model = uncertainty if uncertainty is not None else DeviationUncertainty(noise=_noise_of(points, nominal))
    if model.tessellation is None:
        model = model.with_tessellation(nominal.chord_tolerance)
    counts = found.counts()
    names |= set(marks(counts)) | set(model.flags())
    names |= set(getattr(getattr(nominal, "mesh", None), "flags", ()))
    names |= set(plausibility(xyz, nominal))
    finite = np.isfinite(value)
    if is_coarse(model, nominal, found.foot[finite][:4096], found.normal[finite][:4096]):
        names.add("tessellation_coarse")
    region_of, region_labels = _regions(regions, region_names, nominal)
    return DeviationField(
        xyz, value, found, nominal, model,
        _method(points, nominal, found, limit, max_angle, along, offset),
        _band(tolerance, nominal.unit), region_of, region_labels, _flags.merge(names), counts,
    )  # fmt: skip


def vector_deviations(points: Any, nominal_points: Any, vectors: Any) -> FloatArray:
    """(n,) deviations of measured points along given nominal vectors: ``(p - nominal point) . vector``.

    For point plans with a nominal point and an outward vector each (n, 3); vectors are made unit. Raises
    `ParameterError` for vectors of no length.
    """
    p, q, v = as_points(points), as_points(nominal_points, "nominal points"), as_points(vectors, "vectors")
    if not len(p) == len(q) == len(v):
        raise ParameterError("one nominal point and vector for each point", got=f"{len(p)}, {len(q)}, {len(v)}")
    length = np.sqrt(np.einsum("ij,ij->i", v, v))
    if not (length > 0.0).all():
        raise ParameterError("a nominal vector has no direction", got=f"vector {int(np.argmin(length > 0.0))}")
    return np.asarray(np.einsum("ij,ij->i", p - q, v) / length)


# --- parts
def _prepared(points: Any, nominal: NominalSurface) -> tuple[FloatArray, float, set[str]]:
    """Coordinates in the nominal's unit, tip radius to take off, and the flags of the points."""
    if not isinstance(points, PointSet):
        return as_points(points), 0.0, set()
    xyz = points.xyz if points.unit == nominal.unit else convert(1.0, points.unit, nominal.unit) * points.xyz
    radius = 0.0
    names = set(points.flags)
    if points.points_are == "ball_centre" and points.tip is not None:
        radius = convert(points.tip.radius, points.unit, nominal.unit)
    elif points.points_are == "ball_centre":
        names.add("ball_centre_uncompensated")
    return as_points(xyz), radius, names


def _noise_of(points: Any, nominal: NominalSurface) -> float | FloatArray | None:
    noise = getattr(points, "noise", None)
    if noise is None or not isinstance(points, PointSet):
        return None
    return noise * convert(1.0, points.unit, nominal.unit)


def _search(
    xyz: FloatArray,
    points: Any,
    nominal: NominalSurface,
    limit: float | None,
    max_angle: float | None,
    along: Any,
    ordered: bool,
) -> ClosestPoints:
    if along is not None:
        if not isinstance(nominal, SurfaceTree):
            raise ParameterError("deviation along a direction needs a nominal of triangles", expected="a SurfaceTree")
        if max_angle is not None:
            raise ParameterError("an angle limit belongs to closest points", remedy="leave max_angle out")
        return nominal.along(xyz, along, limit=limit)
    normals = None
    if max_angle is not None:
        normals = getattr(points, "normals", None)
        if normals is None:
            raise ParameterError("an angle limit needs the normals of the points", remedy="leave max_angle out")
    if isinstance(nominal, SurfaceTree):
        return nominal.closest(xyz, limit=limit, normals=normals, max_angle=max_angle, ordered=ordered)
    return nominal.closest(xyz, limit=limit, normals=normals, max_angle=max_angle)


def is_coarse(model: DeviationUncertainty, nominal: NominalSurface, foot: FloatArray, normal: FloatArray) -> bool:
    """Whether the chord tolerance exceeds a tenth of U at these feet; U is that without the tessellation, k = 2."""
    if not model.tessellation or not len(foot):
        return False
    bare = model.with_tessellation(0.0).of_points(foot, normal)
    return nominal.chord_tolerance > 0.2 * float(np.median(bare))


def marks(counts: Mapping[str, int]) -> list[str]:
    """Flags of the points without a deviation."""
    rows = {
        "on_open_border": "open_border_points",
        "beyond_limit": "beyond_search_limit",
        "beyond_angle": "beyond_angle_limit",
        "non_finite": "non_finite_points",
        "approximate": "cad_foot_approximate",
    }
    return [flag for key, flag in rows.items() if counts[key]]


def plausibility(xyz: FloatArray, nominal: NominalSurface) -> list[str]:
    """Boxes that do not meet, and sizes that differ as units do."""
    bounds = getattr(getattr(nominal, "mesh", None), "bounds", None)
    rows = xyz[np.isfinite(xyz).all(axis=1)]
    if bounds is None or not len(rows):
        return []
    low, high = rows.min(axis=0), rows.max(axis=0)
    names = []
    margin = 0.1 * nominal.size
    if (low > bounds[1] + margin).any() or (high < bounds[0] - margin).any():
        names.append("scan_apart_from_nominal")
    scan_size = float(np.linalg.norm(high - low))
    if scan_size > 0.0 and math.isfinite(nominal.size) and nominal.size > 0.0:
        ratio = scan_size / nominal.size
        for factor in (10.0, 25.4, 304.8, 1000.0, 25400.0, 1e6):
            for value in (ratio / factor, ratio * factor):
                if 0.7 < value < 1.3:
                    names.append("units_suspect")
    return names


def _regions(
    regions: Any, names: tuple[str, ...], nominal: NominalSurface
) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    if regions is None:
        return None, ()
    table = np.asarray(regions)
    if table.ndim != 1 or table.dtype.kind not in "iu":
        raise ParameterError("regions name the region of each face", expected="(m,) integers", got=str(table.shape))
    count = getattr(nominal, "n_faces", len(table))
    if len(table) != count:
        raise ParameterError("regions do not fit the nominal", expected=f"({count},)", got=str(table.shape))
    top = int(table.max(initial=-1)) + 1
    labels = tuple(names) if names else tuple(f"region {k}" for k in range(top))
    if len(labels) < top:
        raise ParameterError("a region has no name", expected=f"{top} names", got=str(len(labels)))
    return table.astype(np.int32), labels


def _band(tolerance: Tolerance | tuple[float, float] | None, unit: str) -> tuple[float, float] | None:
    if tolerance is None:
        return None
    if isinstance(tolerance, Tolerance):
        low = -math.inf if tolerance.lower is None else convert(tolerance.lower, tolerance.unit, unit)
        high = math.inf if tolerance.upper is None else convert(tolerance.upper, tolerance.unit, unit)
    else:
        low, high = (float(x) for x in tolerance)
    if not low < high:
        raise ParameterError("a tolerance band has a width", expected="lower < upper", got=f"{low}, {high}")
    return low, high


def _method(
    points: Any,
    nominal: NominalSurface,
    found: ClosestPoints,
    limit: float | None,
    max_angle: float | None,
    along: Any,
    offset: float,
) -> str:
    unit = nominal.unit
    if along is None:
        words = ["signed distance to the closest point of the nominal, excess material positive"]
    else:
        plain = np.asarray(along, dtype=np.float64)
        which = f"the direction {tuple(float(x) for x in plain)}" if plain.ndim == 1 else "the vector of each point"
        words = [f"distance along {which}, excess material positive"]
    words.append(getattr(nominal, "description", None) or nominal_words(nominal))
    if limit is not None:
        words.append(f"search limit {limit:g} {unit}")
    if max_angle is not None:
        words.append(f"normals within {math.degrees(max_angle):g} deg")
    if offset:
        words.append(f"ball centres compensated by {offset:g} {unit} along the nominal's normal")
    if isinstance(points, PointSet) and points.unit != unit:
        words.append(f"points converted from {points.unit} to {unit}")
    words.append(f"{found.counts()['with_sign']} of {len(found)} points")
    return "; ".join(words)


def nominal_words(nominal: NominalSurface) -> str:
    """The nominal in words for the method of a result."""
    mesh = getattr(nominal, "mesh", None)
    if mesh is None:
        return "analytic features"
    single = ", single precision in the file" if "float32_source" in mesh.flags else ""
    chord = nominal.chord_tolerance
    tail = f", chord tolerance {chord:g} {nominal.unit}" if chord else ""
    return f"triangle mesh of {mesh.n_triangles} triangles{single}{tail}"
