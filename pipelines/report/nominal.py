"""What a deviation map says about its nominal: the surface (grey where nothing was measured), sections, coverage.

All of it is taken as recorded; magnifying a deviation for the eye is the only arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SurfaceView:
    """Triangles of the nominal for the eye: ``vertices`` (k, 3) in the map's unit, ``triangles`` (t, 3)."""

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]


@dataclass(frozen=True)
class SectionView:
    """A plane cut: outline of the nominal and the points near it, in the plane's two axes, in the map's unit.

    ``nominal`` (k, 2) polylines with rows of NaN between them, ``outward`` (k, 2) their unit normals out of the
    material; ``foot`` (m, 2) nominal places of the points, ``direction`` (m, 2) normals there, ``value`` (m,)
    deviations; ``lower``, ``upper`` the limits, None for none.
    """

    name: str
    horizontal: str
    vertical: str
    nominal: NDArray[np.float64]
    outward: NDArray[np.float64]
    foot: NDArray[np.float64]
    direction: NDArray[np.float64]
    value: NDArray[np.float64]
    lower: float | None
    upper: float | None
    thickness: float | None


def surface_of(view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SurfaceView | None:
    """The recorded nominal surface of a map; None where there is none or its arrays do not fit together."""
    row = view.get("surface") or {}
    try:
        vertices = np.asarray(arrays[row["vertices"]], dtype=np.float64)
        triangles = np.asarray(arrays[row["triangles"]], dtype=np.int64)
    except KeyError:
        return None
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or triangles.ndim != 2 or triangles.shape[1:] != (3,):
        return None
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(vertices):
        return None
    if not np.isfinite(vertices).all():
        return None
    return SurfaceView(vertices, triangles)


def sections_of(view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[SectionView, ...]:
    """The recorded sections of a map; those whose arrays are missing or do not fit together are left out."""
    out = []
    for row in view.get("sections") or ():
        found = {}
        for name in ("nominal", "outward", "foot", "direction", "value"):
            array = arrays.get(str(row.get(name)))
            if array is not None:
                found[name] = np.asarray(array, dtype=np.float64)
        if len(found) < 5 or found["nominal"].shape != found["outward"].shape or found["nominal"].shape[1:] != (2,):
            continue
        m = len(found["value"])
        if found["foot"].shape != (m, 2) or found["direction"].shape != (m, 2) or not len(found["nominal"]):
            continue
        limits = row.get("limits") or {}
        axes = list(row.get("axes") or ("", ""))
        out.append(
            SectionView(
                str(row.get("name", "")),
                str(axes[0]),
                str(axes[1]),
                **found,
                lower=limits.get("lower"),
                upper=limits.get("upper"),
                thickness=row.get("thickness"),
            )
        )
    return tuple(out)


def samples(surface: SurfaceView, spacing: float, most: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Points spread evenly over the surface, and its normals there: what the static picture draws as grey.

    About one point per ``spacing`` squared and at most ``most``, placed by an additive sequence: no chance in it.
    """
    a, b, c = (surface.vertices[surface.triangles[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    twice = np.linalg.norm(cross, axis=1)
    total = float(twice.sum()) / 2.0
    if not total > 0.0:
        return np.empty((0, 3)), np.empty((0, 3), np.float32)
    count = int(min(most, max(1000.0, total / spacing**2)))
    reach = np.cumsum(twice)
    at = (np.arange(count) + 0.5) / count * reach[-1]
    face = np.minimum(np.searchsorted(reach, at), len(twice) - 1)
    k = np.arange(1, count + 1)
    u, v = (k * 0.7548776662466927) % 1.0, (k * 0.5698402909980532) % 1.0  # plastic number: evenly spread pairs
    fold = u + v > 1.0
    u, v = np.where(fold, 1.0 - u, u), np.where(fold, 1.0 - v, v)
    xyz = a[face] + u[:, None] * (b - a)[face] + v[:, None] * (c - a)[face]
    normals = cross[face] / np.maximum(twice[face], 1e-300)[:, None]
    return xyz, normals.astype(np.float32)
