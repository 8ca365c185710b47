"""How far a found feature is from the known one: position, direction, size and angle errors, as certification of
fitting software defines them (ISO 10360-6): positions where the data are, directions by cross product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features import Feature
from metrology_core.testing.answer import KnownAnswer


@dataclass(frozen=True)
class Errors:
    """Differences of a found feature from the known one; None where the feature has no such parameter.

    position: orthogonal distance of the reference position (foot of the points' centroid for lines, planes, cylinders
    and cones, else the centre) from the found line, plane, axis or centre; freeform: largest displacement of a
    control point. direction: of axis, normal or major axis, rad. size: largest of radii, semi-axes, width, length.
    angle: half-angle of a cone, rad. zone: difference of the extreme-to-extreme distance (zone criteria only).
    """

    position: float
    direction: float | None = None
    size: float | None = None
    angle: float | None = None
    zone: float | None = None

    def items(self) -> list[tuple[str, float]]:
        """The errors that exist, by name."""
        found = [(name, getattr(self, name)) for name in ("position", "direction", "size", "angle", "zone")]
        return [(name, value) for name, value in found if value is not None]


def _angle_between(a: np.ndarray, b: np.ndarray) -> float:
    cross = np.cross(a, b) if a.size == 3 else np.array(a[0] * b[1] - a[1] * b[0])
    return float(np.linalg.norm(cross))


def errors_of(known: KnownAnswer, found: Feature) -> Errors:
    """Compare a feature with the known answer; the sense of a direction does not count. Raises `ParameterError` for a
    feature of another kind."""
    true = known.feature
    if found.kind != true.kind or found.dimension != true.dimension:
        raise ParameterError("another kind of feature", expected=f"{true.dimension}-D {true.kind}", got=found.kind)
    if hasattr(true, "displacement"):
        return Errors(float(true.displacement(found)))
    a, b = true.parameters, found.parameters
    for name in ("axis", "normal", "direction"):
        if name in a and (a[name].size == 3 or true.kind in ("slot", "parallel_planes")):
            found = found.oriented(a[name])
            b = found.parameters
            break
    direction: float | None = None
    for name in ("axis", "normal", "direction", "major_axis"):
        if name in a:
            direction = max(direction or 0.0, _angle_between(a[name], b[name]))
    sizes = [name for name, value in a.items() if np.ndim(value) == 0 and name != "half_angle"]
    size: float | None = max((abs(a[name] - b[name]) for name in sizes), default=None)
    if "center" in a:
        return Errors(float(np.linalg.norm(b["center"] - a["center"])), direction, size)
    axis: np.ndarray = next(a[name] for name in ("axis", "direction", "normal") if name in a)
    offset = known.points.mean(axis=0) - a["point"]
    if "normal" in a:
        foot = a["point"] + (offset - (offset @ axis) * axis)
        return Errors(abs(float((foot - b["point"]) @ b["normal"])), direction, size)
    along = float(offset @ axis)
    foot = a["point"] + along * axis
    other: np.ndarray = b["axis"] if "axis" in b else b["direction"]
    away = foot - b["point"]
    g = float(away @ other)
    position = float(np.linalg.norm(away - g * other))
    if true.kind != "cone":
        return Errors(position, direction, size)
    here = a["radius"] + along * math.tan(a["half_angle"])
    there = b["radius"] + g * math.tan(b["half_angle"])
    return Errors(position, direction, abs(here - there), abs(a["half_angle"] - b["half_angle"]))


def feature_from(kind: str, dimension: int, parameters: dict[str, Any]) -> Feature:
    """A feature from its kind, dimension and parameters by name (as in answers read from a file)."""
    from metrology_core.features import FEATURES

    made = FEATURES.get((kind, dimension))
    if made is None:
        known = ", ".join(f"{name} ({size}-D)" for name, size in sorted(FEATURES))
        raise ParameterError(f"unknown feature {kind!r} ({dimension}-D)", expected=known)
    wrong = sorted(set(parameters) ^ set(made.parameter_names))
    if wrong:
        raise ParameterError(f"parameters of a {kind}", expected=", ".join(made.parameter_names), got=", ".join(wrong))
    return made(**parameters)
