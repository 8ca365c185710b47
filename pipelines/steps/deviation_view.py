"""The map of a scan against its nominal, as a view of the record and its arrays: what a reviewer needs, thinned for the
eye; numbers come from all points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipelines.recipe.measure_deviation import DeviationMeasure
    from pointcloud.deviation.coverage import Coverage
    from pointcloud.deviation.field import DeviationField
    from pointcloud.deviation.places import WorstPlace
    from pointcloud.deviation.statistics import DeviationStatistics
    from pointcloud.nominal.mesh import TriangleMesh
    from pointcloud.nominal.read import Nominal
    from pointcloud.registration.result import Registration

MOST_POINTS = 60_000
MOST_TRIANGLES = 60_000
_BEND = 0.94  # cosine (20 degrees) below which a bend of an outline is a corner


def deviation_view(
    field: DeviationField,
    found: DeviationStatistics,
    covered: Coverage,
    registration: Registration,
    nominal: Nominal,
    measure: DeviationMeasure,
    alignment: str,
    *,
    places: tuple[WorstPlace, ...] | None = None,
    guard: float | None = None,
    n_total: int | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """View and arrays (contract of the report: kind ``deviation_map``).

    Where the field holds only some of the points, ``places``, ``guard``, ``n_total`` are those of all.
    """
    from pointcloud.deviation.display import display_subset
    from pointcloud.deviation.places import worst_places

    low, high = measure.limits(field.unit)
    limits = None if low is None and high is None else {"lower": low, "upper": high}
    if places is None:
        places = worst_places(field, count=measure.places) if measure.places else ()
        tops = np.array([place.indices[0] for place in places], np.int64)
    else:
        tops = _tops(field, places)
    shown = np.union1d(display_subset(field, MOST_POINTS), tops)
    u = field.u[shown]
    arrays: dict[str, np.ndarray] = {
        "deviation/xyz": field.xyz[shown],
        "deviation/value": field.value[shown],
        "deviation/feature": np.zeros(len(shown), np.int64),
        "deviation/normals": field.closest.normal[shown].astype(np.float32),
        "deviation/u": u,
    }
    vertices, triangles = thin_mesh(nominal.mesh, MOST_TRIANGLES)
    arrays["nominal/vertices"], arrays["nominal/triangles"] = vertices, triangles
    sections = []
    for number, spec in enumerate(measure.sections):
        row, data = _section(field, number, spec, limits)
        sections.append(row)
        arrays.update(data)
    name = nominal.source.path if nominal.source is not None else "nominal"
    view = {
        "kind": "deviation_map",
        "name": "scan against nominal",
        "unit": field.unit,
        "xyz": "deviation/xyz",
        "value": "deviation/value",
        "feature": "deviation/feature",
        "normals": "deviation/normals",
        "point_u": "deviation/u",
        "feature_names": ["surface"],
        "tolerance": None,
        "tolerances": [limits],
        "u": _finite(float(np.sqrt(np.mean(u**2)))),
        "reference": f"{name}; {alignment}; {field.method}",
        "n_total": int(np.count_nonzero(field.valid)) if n_total is None else n_total,
        "worst": [int(i) for i in np.searchsorted(shown, tops)],
        "surface": {"vertices": "nominal/vertices", "triangles": "nominal/triangles"},
        "sections": sections,
        "places": [_place(place, low, high) for place in places],
        "coverage": {"area": covered.area, "without_data": covered.area_without_data, "distance": covered.radius,
                     "least": measure.least_coverage, "enough": covered.fraction >= measure.least_coverage},
        "statistics": _statistics(field, found, low, high, guard),
        "registration": registration.to_dict(),
        "nominal": {"file": name, "unit": nominal.surface.unit, "chord_tolerance": nominal.surface.chord_tolerance,
                    "triangles": nominal.mesh.n_triangles, "cleaned": list(nominal.words)},
        "counts": {key: int(count) for key, count in field.counts.items()},
    }  # fmt: skip
    return view, arrays


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tops(field: DeviationField, places: tuple[WorstPlace, ...]) -> np.ndarray:
    """(k,) the kept points nearest to the worst points of places."""
    from scipy.spatial import cKDTree

    at = np.array([place.position for place in places]).reshape(-1, 3)
    return np.asarray(cKDTree(field.closest.foot).query(at)[1], dtype=np.int64)


def _statistics(
    field: DeviationField, found: DeviationStatistics, low: float | None, high: float | None, guard: float | None
) -> dict[str, Any]:
    quantiles = {p: m.value for p, m in found.quantiles}
    out: dict[str, Any] = {
        "n": found.n, "mean": found.mean.value, "sd": found.sd.value, "rms": found.rms.value,
        "min": found.minimum.value, "max": found.maximum.value, "p05": quantiles.get(0.05),
        "median": quantiles.get(0.5), "p95": quantiles.get(0.95),
    }  # fmt: skip
    if found.tolerance is not None:
        below, above = found.out_low or 0.0, found.out_high or 0.0
        if guard is None:
            value, expanded = field.value[field.valid], 2.0 * field.u[field.valid]
            margin = np.minimum(math.inf if high is None else high - value, math.inf if low is None else value - low)
            guard = float(np.mean(np.abs(margin) < expanded))
        out.update(below=below, above=above, inside=1.0 - below - above, guard=guard)
    return out


def _place(place: WorstPlace, low: float | None, high: float | None) -> dict[str, Any]:
    limit = high if place.sign > 0 else low
    value, u = place.peak.value, place.peak.u
    share = None if not limit or limit * place.sign <= 0.0 else value / limit
    guard = limit is not None and abs(value - limit) < 2.0 * u
    return {
        "label": place.name, "value": value, "u": _finite(u), "share": share, "n": place.n_points,
        "area": _finite(place.area), "extent": place.length, "position": place.position.tolist(),
        "normal": place.normal.tolist(), "extreme": place.extreme, "guard": guard, "flags": list(place.peak.flags),
    }  # fmt: skip


def _section(
    field: DeviationField, number: int, spec: Any, limits: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from pointcloud.deviation.sections import section

    unit = field.unit
    # a hundredth of the part: enough points for a picture, near enough to the plane
    thickness = 0.01 * field.nominal.size if spec.thickness is None else spec.thickness.to(unit)
    cut = section(field, [v.to(unit) for v in spec.origin], spec.normal, thickness=thickness)
    lines, outward = [], []
    for line in cut.outlines:
        shown, normals = outlined(line)
        lines += [shown, np.full((1, 2), math.nan)]
        outward += [normals, np.full((1, 2), math.nan)]
    stem = f"section/{number}"
    arrays = {
        f"{stem}/nominal": np.concatenate(lines) if lines else np.empty((0, 2)),
        f"{stem}/outward": np.concatenate(outward) if outward else np.empty((0, 2)),
        f"{stem}/foot": cut.foot,
        f"{stem}/direction": cut.across,
        f"{stem}/value": cut.value,
    }
    row = {
        "name": spec.name, "axes": [_axis(cut.axis_u), _axis(cut.axis_v)], "limits": limits,
        "thickness": 0.5 * cut.thickness,
        **{key: f"{stem}/{key}" for key in ("nominal", "outward", "foot", "direction", "value")},
    }  # fmt: skip
    return row, arrays


def outlined(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A polyline (n, 2) broken at its corners (a row of NaN), and its unit normals, to the side on which `cut_mesh`
    leaves the outside (its right).

    Where the line bends gently, a vertex has the mean normal; a corner ends one piece and begins the next, each with
    its own normal, so that the pieces shifted along the normals run parallel to the sides.
    """
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    keep = np.r_[length > 0.0, True]
    line, step = line[keep], step[length > 0.0] / length[length > 0.0, None]
    if len(step) < 1:
        return line, np.zeros_like(line)
    right = np.column_stack((step[:, 1], -step[:, 0]))
    closed = len(line) > 2 and np.array_equal(line[0], line[-1])
    before = np.concatenate([right[-1:] if closed else right[:1], right])  # of each vertex
    after = np.concatenate([right, right[:1] if closed else right[-1:]])
    corner = np.einsum("ij,ij->i", before, after) < _BEND
    mean = before + after
    size = np.linalg.norm(mean, axis=1, keepdims=True)
    mean = np.divide(mean, size, out=before.copy(), where=size > 0.0)
    first, last = np.where(corner[:, None], before, mean), np.where(corner[:, None], after, mean)
    corner[[0, -1]] = False  # the ends need no break
    if closed:
        first[0], last[-1] = last[0], first[-1]
    index = np.repeat(np.arange(len(line)), np.where(corner, 3, 1))
    place = np.arange(len(index)) - np.searchsorted(index, index)  # 0, or 0 1 2 at a corner
    gap = np.where((place == 1)[:, None], np.nan, 0.0)
    return line[index] + gap, np.where((place == 2)[:, None], last[index], first[index]) + gap


def _axis(direction: np.ndarray) -> str:
    """``x``, ``-y`` ... for an axis of the frame, else its three numbers."""
    k = int(np.argmax(np.abs(direction)))
    if abs(direction[k]) > 1.0 - 1e-9:
        return ("-" if direction[k] < 0.0 else "") + "xyz"[k]
    return "(" + ", ".join(f"{v:.3f}" for v in direction) + ")"


def thin_mesh(mesh: TriangleMesh, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles for the eye: the mesh itself, or vertices merged in the cells of a grid."""
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    low, size = vertices.min(axis=0), float(np.ptp(vertices, axis=0).max()) or 1.0
    divisions = 400
    kept_v, kept_f = vertices, faces
    while len(kept_f) > most and divisions > 8:
        cell = np.floor((vertices - low) / size * divisions).astype(np.int64)
        key = (cell[:, 0] * (divisions + 2) + cell[:, 1]) * (divisions + 2) + cell[:, 2]
        label = np.unique(key, return_inverse=True)[1]
        label = label.reshape(-1)
        count = np.bincount(label).astype(np.float64)
        kept_v = np.stack([np.bincount(label, vertices[:, k]) / count for k in range(3)], axis=1)
        joined = label[faces]
        good = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
        kept_f = np.unique(joined[good], axis=0)
        divisions = int(divisions / 1.3)
    return kept_v.astype(np.float32), kept_f.astype(np.int32)
