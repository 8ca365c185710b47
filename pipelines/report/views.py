"""From where a deviation map is seen first: the worst place faces the viewer and nothing stands before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.report.cloud import CloudView
from pipelines.report.picture import camera

HOME = (-55.0, 32.0)  # azimuth, elevation in degrees: from the upper front
_AZIMUTHS, _ELEVATIONS = np.arange(-175.0, 180.0, 15.0), (-58.0, -32.0, -12.0, 12.0, 32.0, 58.0)
_MOST, _CELLS = 20_000, 90  # points that may hide others, cells across the picture
_FACING = 0.35  # least cosine between the surface's normal and the direction to the viewer


def first_view(view: CloudView, marks: list[int]) -> tuple[float, float]:
    """Azimuth and elevation in degrees. ``marks`` are points worst first; of the directions from which the first of
    them is seen, the one that shows most of the others, squarely, and is nearest to the usual one."""
    if not marks:
        return HOME
    xyz = view.xyz[:: max(1, len(view.xyz) // _MOST)]
    if view.surface is not None:
        vertices = np.asarray(view.surface.vertices, dtype=np.float64)
        xyz = np.concatenate([xyz, vertices[:: max(1, len(vertices) // _MOST)]])
    at = view.xyz[marks]
    normals = np.asarray(view.normals[marks], dtype=np.float64)
    known = np.asarray(normals.any(axis=1), dtype=np.bool_).reshape(-1, 1)
    away = at - 0.5 * (view.xyz.min(axis=0) + view.xyz.max(axis=0))
    away /= np.maximum(np.linalg.norm(away, axis=1), 1e-300)[:, None]
    normals = np.where(known, normals, away)
    weight = 0.5 ** np.arange(len(marks))
    best, chosen = -np.inf, HOME
    usual = camera(*HOME)[2]
    for elevation in _ELEVATIONS:
        for azimuth in [HOME[0], *_AZIMUTHS]:
            turn = camera(float(azimuth), float(elevation))
            cosine = normals @ turn[2]
            if cosine[0] < _FACING:
                continue
            seen = np.atleast_1d(np.logical_and(cosine > 0.05, ~_hidden(xyz, at, turn)))
            score = 4.0 * seen[0] + float(seen[1:] @ weight[1:]) + 0.5 * float(cosine[0]) + 0.4 * float(usual @ turn[2])
            if score > best + 1e-12:
                best, chosen = score, (float(azimuth), float(elevation))
    return chosen


def opposite(azimuth: float, elevation: float) -> tuple[float, float]:
    """The other side."""
    turned = azimuth + 180.0
    return (turned - 360.0 if turned > 180.0 else turned), -elevation


def _hidden(xyz: NDArray[np.float64], at: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points stand before each place: nearer to the viewer in the same cell, by more than the cell is deep on
    a slope."""
    screen, places = xyz @ turn.T, at @ turn.T
    low = screen[:, :2].min(axis=0)
    cell = float(np.ptp(screen[:, :2], axis=0).max()) / _CELLS or 1.0
    column = np.floor((screen[:, :2] - low) / cell).astype(np.int64)
    own = np.floor((places[:, :2] - low) / cell).astype(np.int64)
    result = np.zeros(len(at), dtype=bool)
    for k, (x, y) in enumerate(own):
        near = (column[:, 0] == x) & (column[:, 1] == y)
        result[k] = bool((screen[near, 2] > places[k, 2] + 4.0 * cell).any())
    return result
