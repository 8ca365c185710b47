"""`KnownAnswer`: points and the one feature that fits them best, with what rounding of the points can do to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.features import Feature, basis
from metrology_core.testing.surfaces import Feet


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """Points (n, d) and the feature that is their best fit.

    value: the width of the zone, or of the band in which all points lie (inscribed, circumscribed, one-sided), the
    residual standard deviation (least squares), or the sum of the absolute distances (least absolute). contacts,
    signs, multipliers: the optimality certificate (empty for plain least squares; least absolute: the points with
    residual zero and their subgradients). gap: distance from the border of the zone to the first point that is not a
    contact. material, fixed (name -> value), weights (n,), covariances (n, d, d): what the fit must be told.
    sensitivity: root sum of squares of the response of each error class (see `judge.Errors`) to displacements of the
    points along their residual directions, by which rounding of the points is amplified.
    """

    points: np.ndarray
    feature: Feature
    criterion: str
    value: float
    contacts: np.ndarray
    signs: np.ndarray
    multipliers: np.ndarray
    gap: float
    material: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    weights: np.ndarray | None = None
    covariances: np.ndarray | None = None
    sensitivity: Mapping[str, float] = field(default_factory=dict)

    @property
    def resolution(self) -> float:
        """One ulp of the largest number that the points were made from, their coordinates or the feature's place and
        radii: what rounding alone may move a point by."""
        own = [
            float(np.abs(value).max())
            for name, value in self.feature.parameters.items()
            if name == "center" or "radius" in name
        ]
        return float(np.spacing(max(float(np.abs(self.points).max()), *own, 0.0)))

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for `fit`, beside points and the name of the feature."""
        found: dict[str, Any] = {"criterion": self.criterion}
        if self.material is not None:
            found["material"] = self.material
        if self.fixed:
            found["fixed"] = dict(self.fixed)
        if self.weights is not None:
            found["weights"] = self.weights
        if self.covariances is not None:
            found["covariances"] = self.covariances
        return found


def free_columns(feature: Feature, fixed: tuple[str, ...]) -> tuple[list[int], dict[str, Any]]:
    """Chart columns that remain when parameters are held at their values, and these values by name."""
    names = list(feature.chart)
    held: set[str] = set()
    values: dict[str, Any] = {}
    for name in fixed:
        if name == "axis_ratio":  # the minor semi-axis follows the major one: see `tied`
            values[name] = feature.parameters["semi_minor"] / feature.parameters["semi_major"]
            held.add("semi_minor")
            continue
        value = values[name] = feature.parameters[name]
        if np.ndim(value) == 0:
            held.add(name)
        elif name == "major_axis":
            held.add("rotation")
        else:
            held |= {"tilt_u", "tilt_v", "tilt"} & set(names)
    return [i for i, name in enumerate(names) if name not in held], values


def tied(feature: Feature, feet: Feet, fixed: tuple[str, ...]) -> Feet:
    """The derivatives where a ratio of sizes is held: the one that stays carries the other along."""
    if "axis_ratio" not in fixed:
        return feet
    names = list(feature.chart)
    ratio = feature.parameters["semi_minor"] / feature.parameters["semi_major"]
    jacobians = []
    for rows in feet.jacobians:
        joined = rows.copy()
        joined[:, names.index("semi_major")] += ratio * rows[:, names.index("semi_minor")]
        jacobians.append(joined)
    return replace(feet, jacobians=tuple(jacobians))


def error_class(name: str) -> str:
    """Class of a chart parameter: position, direction, angle or size."""
    if name.startswith(("shift", "center")):
        return "position"
    if name.startswith(("tilt", "rotation")):
        return "direction"
    return "angle" if name == "half_angle" else "size"


def sensitivity_of(feature: Feature, points: np.ndarray, response: np.ndarray) -> dict[str, float]:
    """Root sum of squares of the responses (p, m) of the chart, by error class; positions at the foot of the
    centroid, where they are compared.
    """
    names = list(feature.chart)
    moved = response.copy()
    place = feature.parameters.get("point")
    if place is not None and not hasattr(feature, "sample_feet"):
        offset = points.mean(axis=0) - place
        levers = _levers(feature, offset)
        for shift, tilt, lever in levers:
            if shift in names and tilt in names:
                moved[names.index(shift)] = moved[names.index(shift)] + lever * response[names.index(tilt)]
        if feature.kind == "cone":
            psi = float(feature.parameters["half_angle"])
            lever = float(offset @ feature.parameters["axis"]) / math.cos(psi) ** 2
            moved[names.index("radius")] += lever * response[names.index("half_angle")]
    sizes: dict[str, float] = {}
    reach = float(np.abs(points - points.mean(axis=0)).max())
    for i, name in enumerate(names):
        key = error_class(name)
        size = float(np.linalg.norm(moved[i]))
        if key == "position" and hasattr(feature, "sample_feet"):
            # the error of a freeform feature is its largest displacement: shifts and turns together
            turns = [k for k, other in enumerate(names) if error_class(other) == "direction"]
            size += reach * float(np.linalg.norm(response[turns]))
        sizes[key] = max(sizes.get(key, 0.0), size)
    return sizes


def _levers(feature: Feature, offset: np.ndarray) -> list[tuple[str, str, float]]:
    q = feature.parameters
    if feature.kind == "parallel_planes" and feature.dimension == 2:
        return [("shift", "tilt", float(offset @ np.array((q["normal"][1], -q["normal"][0]))))]
    if feature.kind in ("plane", "parallel_planes"):
        u, v = basis(q["normal"])
        return [("shift", "tilt_u", -float(offset @ u)), ("shift", "tilt_v", -float(offset @ v))]
    if feature.dimension == 2:
        return [("shift", "tilt", float(offset @ q["direction"]))]
    axis = q.get("axis", q.get("direction"))
    along = float(offset @ axis)
    return [("shift_u", "tilt_u", along), ("shift_v", "tilt_v", along)]
