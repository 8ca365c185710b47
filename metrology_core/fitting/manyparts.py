"""Small pieces of the batch fits: which class a row makes, and the probe tip taken off arrays of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core import features as _features
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout


def feature_class(row: Row) -> Any:
    """The class of the features that this row fits."""
    if row.name == "parallel_planes" and row.dimension == 2:
        return _features.ParallelLines2D
    name = "".join(word.capitalize() for word in row.name.split("_")) + ("2D" if row.dimension == 2 else "")
    return getattr(_features, name)


def offset_parameters(row: Row, values: dict[str, np.ndarray], distance: np.ndarray) -> np.ndarray:
    """Move features (in place) by these signed distances, as `Feature.offset`; returns which have such a parallel."""
    if row.kind == layout.PLANE:
        values["point"] = values["point"] + distance[:, None] * values["normal"]
        return np.ones(len(distance), bool)
    if row.kind not in (layout.CIRCLE, layout.SPHERE, layout.CYLINDER, layout.CONE, layout.TORUS):
        return np.zeros(len(distance), bool)
    name = "minor_radius" if row.kind == layout.TORUS else "radius"
    step = distance / np.cos(values["half_angle"]) if row.kind == layout.CONE else distance
    moved = values[name] + step
    possible = np.ones(len(distance), bool) if row.kind == layout.CONE else ~(moved <= 0.0)
    values[name] = np.where(possible, moved, values[name])
    return possible
