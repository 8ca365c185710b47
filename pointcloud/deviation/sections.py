"""Plane cuts: the outline of the nominal and, near the plane, the deviations as whiskers. Data, not pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from metrology_core.features.base import basis, direction, vector
from pointcloud.deviation.field import DeviationField
from pointcloud.nominal.surface import FloatArray


@dataclass(frozen=True, eq=False)
class Section:
    """A cut of the nominal by a plane, in plane coordinates (x along ``axis_u``, y along ``axis_v``).

    ``outlines``: polylines (k, 2), closed ones end where they start. ``foot`` (m, 2), ``across`` (m, 2) unit outward
    normals in the plane, ``value`` and ``u`` (m,) of the points within half the ``thickness`` of the plane; a whisker
    runs from ``foot`` to ``foot + magnification * value * across``. ``tilt`` (m,) is the cosine between normal and
    plane: small where the cut is oblique. ``index`` (m,) are the points.
    """

    origin: FloatArray
    normal: FloatArray
    axis_u: FloatArray
    axis_v: FloatArray
    thickness: float
    outlines: tuple[FloatArray, ...]
    foot: FloatArray
    across: FloatArray
    value: FloatArray
    u: FloatArray
    tilt: FloatArray
    index: NDArray[np.int64]
    unit: str

    def whisker_ends(self, magnification: float) -> FloatArray:
        """(m, 2) free ends of the whiskers."""
        return np.asarray(self.foot + magnification * self.value[:, None] * self.across)


def section(field: DeviationField, origin: Any, normal: Any, *, thickness: float) -> Section:
    """Cut through ``origin`` (3,) with plane ``normal`` (3,); points within half the ``thickness`` give whiskers.

    The axes are those of `metrology_core.features.base.basis`. Raises `ParameterError`.
    """
    mesh = getattr(field.nominal, "mesh", None)
    if mesh is None:
        raise ParameterError("a section needs a nominal of triangles", expected="a SurfaceTree or CAD surface")
    if not thickness > 0.0:
        raise ParameterError("the thickness of a section is a length", expected="> 0", got=repr(thickness))
    o, w = vector(origin, "origin"), direction(normal, "normal")
    axis_u, axis_v = basis(w)
    plane = np.stack([axis_u, axis_v], axis=1)
    foot = field.closest.foot
    with np.errstate(invalid="ignore"):
        near = field.valid & (np.abs((foot - o) @ w) <= thickness / 2.0)
    index = np.flatnonzero(near)
    inside = field.closest.normal[index] @ plane
    tilt = np.linalg.norm(inside, axis=1)
    across = inside / np.where(tilt > 0.0, tilt, 1.0)[:, None]
    return Section(
        o, w, axis_u, axis_v, thickness, cut_mesh(mesh, o, w, plane), (foot[index] - o) @ plane, across,
        field.value[index], field.u[index], tilt, index, field.unit,
    )  # fmt: skip


def cut_mesh(mesh: Any, origin: FloatArray, normal: FloatArray, plane: FloatArray) -> tuple[FloatArray, ...]:
    """Polylines (k, 2) where the plane cuts the triangles. Vertices on the plane count as above it, so that every
    triangle is cut in two edges or not at all."""
    height = (mesh.vertices - origin) @ normal
    above = height >= 0.0
    faces = mesh.faces
    flags = above[faces]
    cut = flags.any(axis=1) & ~flags.all(axis=1)
    faces, flags = faces[cut], flags[cut]
    ends = []
    for k in range(3):
        a, b = faces[:, k], faces[:, (k + 1) % 3]
        crosses = flags[:, k] != flags[:, (k + 1) % 3]
        low, high = np.minimum(a, b), np.maximum(a, b)
        ends.append((crosses, low, high, flags[:, k]))
    n = len(mesh.vertices)
    start = np.zeros(len(faces), dtype=np.int64)
    stop = np.zeros(len(faces), dtype=np.int64)
    for crosses, low, high, from_above in ends:
        key = low * n + high
        start = np.where(crosses & from_above, key, start)
        stop = np.where(crosses & ~from_above, key, stop)
    keys, inverse = np.unique(np.concatenate([start, stop]), return_inverse=True)
    inverse = inverse.reshape(-1)
    a, b = keys // n, keys % n
    t = (height[a] / (height[a] - height[b]))[:, None] if len(keys) else np.zeros((0, 1))
    places = ((mesh.vertices[a] * (1.0 - t) + mesh.vertices[b] * t) - origin) @ plane
    return tuple(places[chain] for chain in _chains(inverse[: len(faces)], inverse[len(faces) :]))


def _chains(start: NDArray[np.int64], stop: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Join directed segments into polylines; open ones first begin where nothing leads to."""
    following: dict[int, list[int]] = {}
    for s, a in enumerate(start.tolist()):
        following.setdefault(a, []).append(s)
    used = np.zeros(len(start), dtype=bool)
    target = set(stop.tolist())
    heads = [s for s, a in enumerate(start.tolist()) if a not in target]
    chains = []
    for first in (*heads, *range(len(start))):
        if used[first]:
            continue
        chain = [int(start[first])]
        here = first
        while here >= 0 and not used[here]:
            used[here] = True
            chain.append(int(stop[here]))
            here = next((q for q in following.get(chain[-1], ()) if not used[q]), -1)
        chains.append(np.array(chain))
    return chains
