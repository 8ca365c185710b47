"""A recorded deviation map made ready for a page: shown points, limits per feature, normals for shading, statistics.

Nothing here is a measurement: deviations are taken as recorded; normals serve the light and the exaggeration only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.report import colour
from pipelines.report.nominal import SectionView, SurfaceView, sections_of, surface_of

MAX_SHOWN = 60_000  # beyond this a page gets slow to load, not more readable


@dataclass(frozen=True)
class CloudView:
    """One deviation map as shown. ``xyz`` (m, 3) and ``value`` (m,) in ``unit``; limits per feature, NaN for none."""

    name: str
    unit: str
    xyz: NDArray[np.float64]
    value: NDArray[np.float64]
    feature: NDArray[np.int64]
    feature_names: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    share: NDArray[np.float64]
    margin: NDArray[np.float64]
    band: NDArray[np.uint8]
    normals: NDArray[np.float32]
    normals_from: str  # "record", "features" or ""
    expanded: float
    u: float | None
    reference: str
    n_total: int
    worst: tuple[int, ...]
    spacing: float
    point_u: NDArray[np.float64] | None = None  # standard uncertainty of each shown point where it varies
    surface: SurfaceView | None = None
    sections: tuple[SectionView, ...] = ()
    places: tuple[Mapping[str, Any], ...] = ()  # recorded clusters beyond or near a limit, worst first
    coverage: Mapping[str, Any] | None = None
    statistics: Mapping[str, Any] | None = None

    @property
    def expanded_each(self) -> NDArray[np.float64] | float:
        """U of the points: one for all, or (m,)."""
        return self.expanded if self.point_u is None else 2.0 * self.point_u

    @property
    def place_at(self) -> dict[int, int]:
        """Recorded place by its worst shown point, worst first; empty where the record lists none."""
        if len(self.worst) != len(self.places):
            return {}
        found: dict[int, int] = {}
        for k, i in enumerate(self.worst):
            found.setdefault(i, k)
        return found

    @property
    def n_shown(self) -> int:
        return len(self.value)


def _limits(view: Mapping[str, Any], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    per_feature = view.get("tolerances")
    if not isinstance(per_feature, Sequence) or len(per_feature) != count:
        per_feature = [view.get("tolerance")] * count
    lower, upper = np.full(count, np.nan), np.full(count, np.nan)
    for i, limits in enumerate(per_feature):
        if not limits:
            continue
        lo, up = limits.get("lower"), limits.get("upper")
        if lo is None and up is None:
            continue
        lower[i] = -math.inf if lo is None else lo
        upper[i] = math.inf if up is None else up
    return lower, upper


def _thin(xyz: NDArray[np.float64], rank: NDArray[np.float64], worst: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of at most ``MAX_SHOWN`` points: the worst ones, and the worst of each small cell of space."""
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    size = float((high - low).max()) or 1.0
    order = np.argsort(-rank, kind="stable")
    divisions = 512
    while True:
        cell = np.floor((xyz[order] - low) / size * divisions).astype(np.int64)
        key = (cell[:, 0] * (divisions + 1) + cell[:, 1]) * (divisions + 1) + cell[:, 2]
        first = np.sort(np.unique(key, return_index=True)[1])  # worst first within each cell
        if len(first) + len(worst) <= MAX_SHOWN or divisions <= 8:
            return np.unique(np.concatenate([order[first], worst]))
        divisions = int(divisions / 1.25)


def _spacing(xyz: NDArray[np.float64]) -> float:
    """Typical distance of neighbours on the surface, from the number of occupied cells."""
    if len(xyz) < 2:
        return 1.0
    low = xyz.min(axis=0)
    diagonal = float(np.linalg.norm(xyz.max(axis=0) - low)) or 1.0
    divisions = max(8.0, min(160.0, math.sqrt(len(xyz)) / 1.5))
    h = diagonal / divisions
    occupied = len(np.unique(np.floor((xyz - low) / h).astype(np.int64), axis=0))
    # Few points stay points: discs that touch would show a surface that nobody measured.
    return min(math.sqrt(occupied * h * h / len(xyz)), 0.009 * diagonal)


def _feature_normals(
    xyz: NDArray[np.float64], value: NDArray[np.float64], kind: str, parameters: Mapping[str, Any]
) -> NDArray[np.float64] | None:
    """Directions across an analytic feature, out of the material, for shading; None where there is no such direction.

    Deviations are positive for excess material: where they fall with the distance from the axis, as in a bore, the
    material lies outside and the direction turns round.
    """
    where = parameters.get("point", parameters.get("center"))
    if where is None or np.size(where) != 3:  # a feature of a projection has no direction in space
        return None
    relative = xyz - np.asarray(where, dtype=np.float64)
    if kind == "plane":
        n = np.broadcast_to(np.asarray(parameters["normal"], dtype=np.float64), xyz.shape).copy()
        distance = np.einsum("ij,ij->i", relative, n)
    elif kind in ("cylinder", "cone"):
        axis = np.asarray(parameters["axis"], dtype=np.float64)
        along = relative @ axis
        radial = relative - along[:, None] * axis
        reach = np.linalg.norm(radial, axis=1)
        n = radial / np.maximum(reach, 1e-300)[:, None]
        radius = np.full(len(xyz), float(parameters["radius"]))
        if kind == "cone":
            half = float(parameters["half_angle"])
            radius = radius + along * math.tan(half)
            n = n * math.cos(half) - axis * math.sin(half)
        distance = reach - radius
    elif kind == "sphere":
        reach = np.linalg.norm(relative, axis=1)
        n = relative / np.maximum(reach, 1e-300)[:, None]
        distance = reach - float(parameters["radius"])
    else:
        return None
    size = float(np.linalg.norm(np.ptp(xyz, axis=0))) or 1.0
    if float(np.median(np.abs(distance))) > 0.02 * size:  # the map is in another frame: no normals, not wrong ones
        return None
    agreement = float(np.mean((distance - distance.mean()) * (value - value.mean())))
    return -n if agreement < 0.0 else n


def _normals(
    xyz: NDArray[np.float64],
    value: NDArray[np.float64],
    feature: NDArray[np.int64],
    names: Sequence[str],
    features: Sequence[Mapping[str, Any]],
) -> NDArray[np.float32]:
    out = np.zeros(xyz.shape, dtype=np.float32)
    by_name = {str(f.get("name")): f for f in features}
    for i, name in enumerate(names):
        row = by_name.get(name)
        members = np.flatnonzero(feature == i)
        if row is None or not row.get("parameters") or not len(members):
            continue
        normals = _feature_normals(xyz[members], value[members], str(row.get("feature")), row["parameters"])
        if normals is not None:
            out[members] = normals
    return out


def cloud_view(
    view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], features: Sequence[Mapping[str, Any]]
) -> CloudView | None:
    """The recorded ``deviation_map`` view as shown; None where its arrays are missing, empty or do not fit together."""
    try:
        xyz = np.asarray(arrays[view["xyz"]], dtype=np.float64)
        value = np.asarray(arrays[view["value"]], dtype=np.float64)
        feature = np.asarray(arrays[view["feature"]], dtype=np.int64)
    except KeyError:
        return None
    if xyz.ndim != 2 or xyz.shape[1:] != (3,) or not len(xyz) == len(value) == len(feature):
        return None
    recorded = arrays.get(str(view.get("normals", "")))
    worst = np.asarray([i for i in view.get("worst", ()) if 0 <= i < len(value)], dtype=np.int64)
    names = tuple(str(n) for n in view.get("feature_names", ()))
    if len(feature) and int(feature.max(initial=-1)) >= len(names):
        names += tuple(f"#{i}" for i in range(len(names), int(feature.max()) + 1))
    lower, upper = _limits(view, len(names))
    # Entry -1 ("no feature") finds no limits: the appended NaN.
    low, high = np.append(lower, np.nan)[feature], np.append(upper, np.nan)[feature]
    share = colour.shares(value, low, high)
    keep = np.flatnonzero(np.isfinite(xyz).all(axis=1) & np.isfinite(value))
    if not len(keep):
        return None
    rank = np.where(np.isnan(share), np.abs(value) / (np.nanmax(np.abs(value)) or 1.0) * 1e-3, np.abs(share))
    if not len(worst):
        worst = keep[np.argsort(-rank[keep], kind="stable")[:12]]
    worst = worst[np.isin(worst, keep)]
    if len(keep) > MAX_SHOWN:
        keep = keep[_thin(xyz[keep], rank[keep], np.searchsorted(keep, worst))]
    u = view.get("u")
    point_u = arrays.get(str(view.get("point_u", "")))
    point_u = None if point_u is None or point_u.shape != value.shape else np.asarray(point_u, np.float64)[keep]
    expanded = 2.0 * float(u) if u else 0.0
    if point_u is not None:
        point_u = np.where(np.isfinite(point_u), point_u, 0.0)
    normals, origin = np.zeros((len(keep), 3), np.float32), ""
    if recorded is not None and recorded.shape == xyz.shape:
        normals, origin = np.nan_to_num(np.asarray(recorded[keep], np.float32)), "record"
    else:
        normals = _normals(xyz[keep], value[keep], feature[keep], names, features)
        origin = "features" if normals.any() else ""
    return CloudView(
        name=str(view.get("name", "deviation")),
        unit=str(view.get("unit", "")),
        xyz=xyz[keep],
        value=value[keep],
        feature=feature[keep],
        feature_names=names,
        lower=lower,
        upper=upper,
        share=share[keep],
        margin=colour.margins(value[keep], low[keep], high[keep]),
        band=colour.band_index(share[keep], value[keep], expanded if point_u is None else 2.0 * point_u),
        normals=normals,
        normals_from=origin,
        expanded=expanded,
        u=None if u is None else float(u),
        reference=str(view.get("reference", "")),
        n_total=int(view.get("n_total", len(value))),
        worst=tuple(int(i) for i in np.searchsorted(keep, worst)),
        spacing=_spacing(xyz[keep]),
        point_u=point_u,
        surface=surface_of(view, arrays),
        sections=sections_of(view, arrays),
        places=tuple(view.get("places") or ()),
        coverage=view.get("coverage"),
        statistics=view.get("statistics"),
    )


def spread_worst(view: CloudView, count: int) -> list[int]:
    """The worst shown points that are not neighbours of one another: one label per place, not ten on one dent. Where
    the record lists places, these alone: what is not among them is within the limits."""
    if view.place_at:
        return list(view.place_at)[:count]
    size = float(np.linalg.norm(np.ptp(view.xyz, axis=0))) or 1.0
    chosen: list[int] = []
    # The recorded places come first; where they all lie in one dent, the next worst elsewhere follow.
    rank = np.where(np.isnan(view.share), np.abs(view.value) * 1e-12, np.abs(view.share))
    more = np.argsort(-rank, kind="stable")[:4000].tolist()
    for i in [*view.worst, *more]:
        if all(np.linalg.norm(view.xyz[i] - view.xyz[j]) > 0.08 * size for j in chosen):
            chosen.append(i)
        if len(chosen) == count:
            break
    return sorted(chosen, key=lambda i: -rank[i])
