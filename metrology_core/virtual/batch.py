"""Features of many trials as arrays, and the characteristics of the registry as functions of such arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metrology_core.errors import CharacteristicError

FloatArray = np.ndarray
AXIAL = ("line", "cylinder", "cone")


@dataclass(frozen=True, eq=False)
class Batch:
    """One feature in T trials: ``parameters`` by name (T, 3) or (T,), ``extent`` (T, 2) of its points along the axis
    (NaN where it has none), ``form`` (T,), ``good`` (T,) whether the fit converged."""

    kind: str
    parameters: Mapping[str, FloatArray]
    extent: FloatArray
    form: FloatArray
    good: FloatArray

    @property
    def location(self) -> FloatArray:
        """(T, 3) centre, or point of the axis, line or plane."""
        return self.parameters["center" if "center" in self.parameters else "point"]

    @property
    def direction(self) -> FloatArray:
        """(T, 3) direction of axis, line or normal."""
        for key in ("axis", "direction", "normal"):
            if key in self.parameters:
                return self.parameters[key]
        raise CharacteristicError(f"a {self.kind} has no direction")

    def transform(self, rotation: FloatArray, translation: FloatArray) -> Batch:
        """Carried along by a motion of each trial: ``rotation`` (T, 3, 3), ``translation`` (T, 3)."""
        changed = dict(self.parameters)
        for key in ("axis", "direction", "normal", "major_axis"):
            if key in changed:
                changed[key] = np.einsum("tij,tj->ti", rotation, changed[key])
        for key in ("center", "point"):
            if key in changed:
                changed[key] = np.einsum("tij,tj->ti", rotation, changed[key]) + translation
        return replace(self, parameters=changed)

    def ends(self) -> FloatArray:
        """(T, 2, 3) ends of an axis over the length of its points."""
        return np.asarray(self.location[:, None, :] + self.extent[:, :, None] * self.direction[:, None, :])


def _norm(v: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("...k,...k->...", v, v)))


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("...k,...k->...", a, b))


def _off_axis(points: FloatArray, axis: Batch) -> FloatArray:
    """Distances of points (T, m, 3) from an axis."""
    return _norm(np.cross(points - axis.location[:, None, :], axis.direction[:, None, :]))


def _leaning(f: Sequence[Batch], across: bool) -> FloatArray:
    sine = _norm(np.cross(f[0].direction, f[1].direction))
    cosine = np.abs(_dot(f[0].direction, f[1].direction))
    return np.asarray((f[0].extent[:, 1] - f[0].extent[:, 0]) * (sine if across else cosine))


def _size(f: Sequence[Batch], at: FloatArray | None) -> FloatArray:
    return np.asarray(2.0 * f[0].parameters["radius"])


def _coordinate(index: int) -> Function:
    return lambda f, at: f[0].location[:, index]


def _parameter(key: str, factor: float) -> Function:
    return lambda f, at: factor * f[0].parameters[key]


def _angle(f: Sequence[Batch], at: FloatArray | None) -> FloatArray:
    a, b = f[0].direction, f[1].direction
    value = np.arctan2(_norm(np.cross(a, b)), np.abs(_dot(a, b)))
    planes = sum(one.kind in ("plane", "circle", "torus", "ellipse") for one in f)
    return np.asarray(math.pi / 2.0 - value if planes == 1 else value)


def _position(f: Sequence[Batch], at: FloatArray | None) -> FloatArray:
    if at is None:
        raise CharacteristicError("a position needs its theoretically exact location")
    ends = f[0].ends() if f[0].kind in AXIAL else f[0].location[:, None, :]
    return np.asarray(2.0 * _norm(ends[:, :, : len(at)] - at).max(axis=1))


Function = Callable[[Sequence[Batch], FloatArray | None], FloatArray]

FUNCTIONS: dict[str, Function] = {
    **{f"iso14405.{letters}": _size for letters in ("GG", "GX", "GN", "GC")},
    **{f"coordinate.{axis}": _coordinate(i) for i, axis in enumerate("xyz")},
    "cone.apex_angle": _parameter("half_angle", 2.0),
    "torus.major_diameter": _parameter("major_radius", 2.0),
    "torus.minor_diameter": _parameter("minor_radius", 2.0),
    "ellipse.major_diameter": _parameter("semi_major", 2.0),
    "ellipse.minor_diameter": _parameter("semi_minor", 2.0),
    "distance.point_point": lambda f, at: _norm(f[1].location - f[0].location),
    "distance.point_plane": lambda f, at: np.abs(_dot(f[0].location - f[1].location, f[1].direction)),
    "distance.point_axis": lambda f, at: _off_axis(f[0].location[:, None, :], f[1])[:, 0],
    "angle.between": _angle,
    "iso1101.position.G": _position,
    "iso1101.coaxiality.G": lambda f, at: 2.0 * _off_axis(f[0].ends(), f[1]).max(axis=1),
    "iso1101.perpendicularity.G": lambda f, at: _leaning(f, f[1].kind == "plane"),
    "iso1101.parallelism.G": lambda f, at: _leaning(f, f[1].kind != "plane"),
}
"""Characteristics of features, by id of the registry; a test holds each to the registry's own function."""

FORMS = (
    "form.G.peak_to_valley", "iso1101.flatness", "iso1101.roundness", "iso1101.cylindricity", "iso1101.straightness",
)  # fmt: skip


def evaluate(identifier: str, features: Sequence[Batch], at: FloatArray | None) -> FloatArray:
    """(T,) values of a characteristic. Raises `CharacteristicError` for one that cannot be evaluated in a batch."""
    if identifier in FORMS:
        return features[0].form
    if identifier not in FUNCTIONS:
        raise CharacteristicError(
            f"{identifier} cannot be simulated in a batch", expected=", ".join((*FUNCTIONS, *FORMS)),
            remedy="leave it out of the simulation",
        )  # fmt: skip
    return np.asarray(FUNCTIONS[identifier](features, at), dtype=np.float64)
