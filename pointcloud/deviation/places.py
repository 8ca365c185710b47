"""The worst places of a field of deviations: connected areas, each once, with its position, size and peak.

Points beyond the threshold of one sign are joined when their cells of a grid (a few point spacings wide) touch and
their normals agree; so one dent is one place, and the two sides of a thin wall are two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from pointcloud.deviation.field import DeviationField
from pointcloud.nominal.surface import FloatArray

_LINK = 2.5  # point spacings that join two points
_AGREE = 0.5  # least cosine between mean normals of touching cells
_SHARE = 0.6  # of the peak: the part of a place that its top is fitted on
_SHRINKS = 12  # at most: to a seventieth
_SHRINK = 0.7  # of the patch's radius, where the polynomial does not follow the points
_FEW = 20  # points below which a top is not averaged


@dataclass(frozen=True, eq=False)
class WorstPlace:
    """One connected area beyond the threshold.

    ``extreme`` is the single worst deviation, at ``position`` (a point of the nominal); ``peak`` the deviation at the
    top of the place with its uncertainty, noise averaged over the points around it (`local_peak`). ``length`` and
    ``width`` of the area beyond the threshold in its own plane, ``area`` of the nominal in it, ``indices`` of its
    points, worst first.
    """

    label: int
    sign: int
    n_points: int
    extreme: float
    position: FloatArray
    normal: FloatArray
    peak: Measured
    length: float
    width: float
    area: float
    region: str
    face: int
    indices: NDArray[np.int64]

    @property
    def name(self) -> str:
        return ("excess" if self.sign > 0 else "dent") + f" {self.label}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "label": self.label, "kind": "excess" if self.sign > 0 else "missing", "n_points": self.n_points,
            "extreme": self.extreme, "position": self.position.tolist(), "normal": self.normal.tolist(),
            "peak": {"value": self.peak.value, "u": self.peak.u}, "length": self.length, "width": self.width,
            "area": self.area, "region": self.region, "face": self.face, "flags": list(self.peak.flags),
        }  # fmt: skip


def point_spacing(xyz: FloatArray) -> float:
    """Typical distance between neighbouring points of a surface scan: one over the root of their density."""
    from scipy.spatial import cKDTree

    n = len(xyz)
    if n < 2:
        return 0.0
    step = max(1, n // 100_000)
    some = xyz[::step]
    asked = some[:: max(1, len(some) // 2000)]
    near = cKDTree(some).query(asked, k=min(7, len(some)))[0][:, -1]
    # the sixth neighbour of a plane set lies at sqrt(6 / pi / density)
    k = min(7, len(some)) - 1
    return float(np.median(near) * math.sqrt(math.pi / k) / math.sqrt(step))


def link_of(spacing: float) -> float:
    """The distance that joins points: a few spacings, to a step of a root of two. The spacing is an estimate of a
    hundredth; with steps a scan in memory and the same scan in blocks are joined alike."""
    return _LINK * 2.0 ** (0.5 * round(2.0 * math.log2(spacing))) if spacing > 0.0 else 0.0


def worst_places(
    field: DeviationField,
    *,
    beyond: float | tuple[float, float] | None = None,
    count: int = 20,
    link: float | None = None,
    min_points: int = 1,
    face_counts: NDArray[np.int64] | None = None,
    even: NDArray[np.bool_] | None = None,
) -> tuple[WorstPlace, ...]:
    """Places whose deviation is beyond a threshold, worst first (by the distance of the peak beyond it).

    ``beyond`` is one size or (low, high); default: the tolerance of the field, or without one the 1 % of points with
    the largest deviations. ``link`` is the distance that joins points (default: a few point spacings). ``face_counts``
    (m,) are the points of each face where the field holds only some of them; ``even`` (n,) which points of such a
    field were taken whatever their deviation is: tops are fitted on these.
    """
    low, high = _threshold(field, beyond)
    value = field.value
    with np.errstate(invalid="ignore"):
        out = np.flatnonzero((value > high) | (value < low))
    if not len(out):
        return ()
    foot = field.closest.foot
    reach = link if link is not None else link_of(point_spacing(foot[field.valid]))
    if not reach > 0.0:
        reach = field.nominal.size if math.isfinite(field.nominal.size) else 1.0
    sign = np.where(value[out] > high, 1, -1)
    mesh = getattr(field.nominal, "mesh", None)  # a grid that does not depend on which points are looked at
    origin = foot[out].min(axis=0) if mesh is None else mesh.bounds[0]
    label = _connect(foot[out] - origin, field.closest.normal[out], sign, reach)
    places = []
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    face_counts = _points_per_face(field) if face_counts is None else face_counts
    for group in np.split(order, starts[1:]):
        if len(group) >= min_points:
            places.append((out[group], int(sign[group[0]])))
    edge = {1: high, -1: low}
    places.sort(key=lambda item: -float(np.max(item[1] * (value[item[0]] - edge[item[1]]))))
    return tuple(
        _place(field, k + 1, index, s, face_counts, reach, even) for k, (index, s) in enumerate(places[:count])
    )


def _threshold(field: DeviationField, beyond: float | tuple[float, float] | None) -> tuple[float, float]:
    if beyond is None:
        if field.tolerance is not None:
            return field.tolerance
        good = np.abs(field.value[field.valid])
        size = float(np.quantile(good, 0.99)) if len(good) else 0.0
        return -size, size
    low, high = (-float(beyond), float(beyond)) if isinstance(beyond, (int, float)) else beyond
    if not low < high:
        raise ParameterError("a threshold is one size, or low and high", expected="low < high", got=f"{low}, {high}")
    return low, high


def _connect(xyz: FloatArray, normal: FloatArray, sign: NDArray[Any], reach: float) -> NDArray[np.int64]:
    """Label of each point; cells of one sign and main direction are the nodes."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    cell = np.floor(xyz / reach).astype(np.int64)
    main = np.abs(normal).argmax(axis=1)
    side = 2 * main + (normal[np.arange(len(normal)), main] > 0.0)
    keys = np.column_stack([cell, sign, side])
    nodes, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    mean = np.stack([np.bincount(index, normal[:, k], len(nodes)) for k in range(3)], axis=1)
    mean = mean / np.maximum(np.linalg.norm(mean, axis=1), 1e-300)[:, None]
    pairs = cKDTree(nodes[:, :3]).query_pairs(1.75, output_type="ndarray")  # touching cells, corners included
    if len(pairs):
        a, b = pairs.T
        same = (nodes[a, 3] == nodes[b, 3]) & (np.einsum("ij,ij->i", mean[a], mean[b]) > _AGREE)
        pairs = pairs[same]
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(nodes), len(nodes)))
    return np.asarray(connected_components(graph, directed=False)[1][index], dtype=np.int64)


def _points_per_face(field: DeviationField) -> NDArray[np.int64] | None:
    count = getattr(field.nominal, "n_faces", None)
    if count is None:
        return None
    face = field.closest.face
    return np.bincount(face[face >= 0], minlength=count)


def _place(
    field: DeviationField, label: int, index: NDArray[np.int64], sign: int, face_counts: Any, reach: float,
    even: NDArray[np.bool_] | None,
) -> WorstPlace:  # fmt: skip
    value, foot, normal = field.value, field.closest.foot, field.closest.normal
    index = index[np.argsort(-sign * value[index], kind="stable")]
    top = index[0]
    length, width = _extent(foot[index])
    region = int(field.region[top])
    return WorstPlace(
        label, sign, len(index), float(value[top]), foot[top].copy(), normal[top].copy(),
        local_peak(field, index, sign, reach, f"place {label}", even), length, width, _area(field, index, face_counts),
        field.region_names[region] if region >= 0 else "", int(field.closest.face[top]), index,
    )  # fmt: skip


def _extent(xyz: FloatArray) -> tuple[float, float]:
    if len(xyz) < 2:
        return 0.0, 0.0
    centred = xyz - xyz.mean(axis=0)
    axes = np.linalg.svd(centred.T @ centred)[2]
    ranges = np.ptp(centred @ axes.T, axis=0)
    return float(ranges[0]), float(ranges[1])


def _area(field: DeviationField, index: NDArray[np.int64], face_counts: Any) -> float:
    """Area of the nominal in the place: of each face the share of its points that belong to it."""
    mesh = getattr(field.nominal, "mesh", None)
    if mesh is None or face_counts is None:
        return math.nan
    faces, counts = np.unique(field.closest.face[index], return_counts=True)
    corners = mesh.vertices[mesh.faces[faces]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float((0.5 * np.sqrt(np.einsum("ij,ij->i", cross, cross)) * counts / face_counts[faces]).sum())


def local_peak(
    field: DeviationField, index: NDArray[np.int64], sign: int, reach: float, name: str,
    even: NDArray[np.bool_] | None = None,
) -> Measured:  # fmt: skip
    """Deviation at the top of a place.

    A polynomial of fourth order is fitted to the points around the worst one whose distance is within that of the
    places where the deviation still has a good part of the peak; its extreme over these points is the value. Where it
    does not follow the points (they scatter about it by more than their noise explains: a large place on a curved or
    folded surface), the patch shrinks until it does. Its uncertainty holds the noise of the fit, what differs between
    this and a second-order top (rectangular), and the causes that all points share. A top above every point of the
    patch is the polynomial's own: then the mean of the nearest points stands, with its distance to the worst one as a
    rectangular cause. With too few points the single worst deviation is given (``local_peak_not_resolved``). ``even``:
    see `worst_places`; points that were taken for their deviation would pull the fit.
    """
    model, unit = field.uncertainty, field.unit
    value, foot, normal = field.value, field.closest.foot, field.closest.normal
    worst = index[0]
    n0 = normal[worst]
    near = _around(field, index, worst, sign, reach)
    if even is not None:
        near = near[even[near]]
    if len(near) < _FEW:
        sigma = _sigma(model.noise, np.array([worst]))
        return model.linear(
            float(value[worst]), unit, foot[worst : worst + 1], n0[None], np.ones(1), name, noise=sigma,
            flags=("local_peak_not_resolved",),
        )  # fmt: skip
    u = np.cross(n0, [1.0, 0, 0] if abs(n0[0]) < 0.7 else [0, 1.0, 0])
    u /= np.linalg.norm(u)
    w = np.cross(n0, u)
    away = foot[near] - foot[worst]
    radius = float(np.sqrt(np.max(np.einsum("ij,ij->i", away, away)))) or 1.0
    shrunk = 0
    while True:
        fitted = _top(away @ u, away @ w, value[near], sign)
        sigma = _sigma(model.noise, near)
        declared = 0.0 if sigma is None else float(np.sqrt(np.mean(sigma**2)))
        fewer = np.einsum("ij,ij->i", away, away) <= (_SHRINK * radius) ** 2
        own = _pair_noise(foot[near], value[near])  # a declared scatter may hold form, too
        own = min(own, declared) if declared else own
        # three standard deviations of both scatters
        if fitted.scatter <= own * (1.0 + 3.0 * math.sqrt(0.5 / fitted.dof + 1.0 / len(near))):
            break
        shrunk += 1
        if shrunk > _SHRINKS or np.count_nonzero(fewer) < _FEW:  # many points may share one foot, at an edge
            break
        near, away, radius = near[fewer], away[fewer], _SHRINK * radius
    top, simple, weights, scale, scatter = fitted.top, fitted.simple, fitted.weights, fitted.scale, fitted.scatter
    if sign * top > float(np.max(sign * value[near])):
        nearest = np.argsort(np.einsum("ij,ij->i", away, away), kind="stable")[:_FEW]
        weights = np.zeros(len(near))
        weights[nearest] = 1.0 / len(nearest)
        top, simple = float(weights @ value[near]), float(value[worst])
        scatter = float(np.std(value[near][nearest], ddof=1))
    # form that neither polynomial follows counts as noise
    noise = np.full(len(near), max(scatter, declared)) if sigma is None or scatter > declared else sigma
    extra = {
        Influence(f"peak/{model.scope}/{name}", "shape of the top", "B",
                  distribution="rectangular"): float(top - simple) / math.sqrt(3.0)
    }  # fmt: skip
    density = len(near) / (math.pi * scale * scale)
    return model.linear(
        float(top), unit, foot[near], normal[near], weights, name, noise=noise, density=density, extra=extra
    )


def _pair_noise(xyz: FloatArray, v: FloatArray) -> float:
    """Standard deviation of single values from the differences of nearest neighbours, which share the form."""
    from scipy.spatial import cKDTree

    other = cKDTree(xyz).query(xyz, k=2)[1][:, 1]
    return float(np.sqrt(0.5 * np.mean((v - v[other]) ** 2)))


@dataclass(frozen=True, eq=False)
class _Top:
    """Extreme of the polynomial over the points, that of second order, the weights of the points in it, size of the
    patch, scatter of the points about it and its degrees of freedom."""

    top: float
    simple: float
    weights: FloatArray
    scale: float
    scatter: float
    dof: int


def _top(x: FloatArray, y: FloatArray, v: FloatArray, sign: int) -> _Top:
    scale = float(np.sqrt(np.max(x * x + y * y))) or 1.0
    x, y = x / scale, y / scale
    powers = [(i, j) for order in range(5) for i in range(order, -1, -1) for j in [order - i]]
    full = np.stack([x**i * y**j for i, j in powers], axis=1)
    small = full[:, :6]
    design = full if len(v) >= 3 * full.shape[1] else small
    tops = []
    for matrix in (small, design):
        q = np.linalg.qr(matrix)[0]
        fitted = q @ (q.T @ v)
        k = int(np.argmax(sign * fitted))
        tops.append((float(fitted[k]), q @ q[k], v - fitted))
    top, weights, rest = tops[1]  # the top is this combination of the deviations
    dof = max(1, len(v) - design.shape[1])
    return _Top(top, tops[0][0], weights, scale, float(np.sqrt(rest @ rest / dof)), dof)


def _around(field: DeviationField, index: NDArray[np.int64], worst: int, sign: int, reach: float) -> NDArray[np.int64]:
    """Points of the field on the same side within the radius of the top."""
    value, foot, normal = field.value, field.closest.foot, field.closest.normal
    # a robust height first: single noisy points must not set the radius
    best = float(np.mean(sign * value[index[: max(1, min(len(index), len(index) // 50 + 3))]]))
    high = index[sign * value[index] > _SHARE * best]
    distance = np.linalg.norm(foot[high] - foot[worst], axis=1)
    radius = max(float(np.quantile(distance, 0.8)), 0.4 * reach)
    offset = foot - foot[worst]
    with np.errstate(invalid="ignore"):
        close = (np.einsum("ij,ij->i", offset, offset) <= radius * radius) & (normal @ normal[worst] > _AGREE)
    return np.flatnonzero(close & field.valid)


def _sigma(noise: Any, index: NDArray[np.int64]) -> FloatArray | None:
    if noise is None:
        return None
    array = np.asarray(noise, dtype=np.float64)
    return array[index] if array.ndim else np.full(len(index), float(array))
