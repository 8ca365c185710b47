"""Small pieces of the batch fits: which class a row makes, flags as bits, single fits written into the arrays, and the
probe tip taken off arrays of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core import features as _features
from metrology_core.fitting.manyfit import FLAGS, STATUSES, FitMany
from metrology_core.fitting.result import Fit
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


class Bits:
    """Flags of k items as bit sets."""

    def __init__(self, count: int) -> None:
        self.names: tuple[str, ...] = FLAGS
        self.values = np.zeros(count, np.uint64)

    def add(self, name: str, which: Any) -> None:
        if name not in self.names:
            self.names = (*self.names, name)
        self.values[which] |= np.uint64(1 << self.names.index(name))


def enter(result: FitMany, single: Mapping[int, Fit], bits: Bits) -> FitMany:
    """Write the fits that were made one by one into the arrays."""
    for i, one in single.items():
        result.status_codes[i] = STATUSES.index(one.status)
        bits.values[i] = 0
        for name in one.flags:
            bits.add(name, i)
        result.n_used[i], result.dof[i] = one.n_used, one.dof
        result.rms[i], result.sigma[i], result.form[i], result.reach[i] = one.rms, one.sigma, one.form, one.reach
        result.extent[i] = (math.nan, math.nan) if one.extent is None else one.extent
        result.condition[i] = one.optimality.get("condition", math.nan)
        result.reason[i] = one.optimality.get("reason", "") if one.status != "converged" else ""
        for name, values in result.parameters.items():
            values[i] = one.parameters.get(name, math.nan)
    return replace(result, flag_bits=bits.values, flag_names=bits.names)
