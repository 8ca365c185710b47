"""Datum frames from associated features (ISO 5459): first locks, second locks what is left, third the rest.

Convention, fixed: a primary plane gives +z out of the material; a primary axis gives +z along it. The secondary (an
axis, or a centre) fixes the origin where it pierces the plane, or its projection. The tertiary fixes +x from the origin
toward it. Where a datum is missing, the freedom it would lock is filled from the parent frame and named as free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import Datum, DatumSystem, Frame, Rigid
from metrology_core.errors import FrameError

FloatArray = NDArray[np.float64]
_AXES = {"line": "direction", "cylinder": "axis", "cone": "axis", "torus": "axis"}
_CENTERS = ("circle", "sphere", "ellipse", "torus")
# sine of the smallest angle at which an axis is said to pierce a plane: below it the origin is a guess
_MIN_PIERCE = 1e-3


@dataclass(frozen=True)
class DatumFeature:
    """A feature in the part of a datum: its name in the recipe, its geometry, the criterion of its association."""

    name: str
    geometry: Any
    criterion: str = "least_squares"


def direction_of(feature: Any) -> FloatArray | None:
    """Unit vector (3,) of a feature's axis or line; None for features without one."""
    attribute = _AXES.get(feature.kind)
    return None if attribute is None else np.asarray(getattr(feature, attribute), dtype=np.float64)


def point_of(feature: Any) -> FloatArray:
    """The point (3,) that locates a feature: its centre, or a point of its axis or plane."""
    name = "center" if feature.kind in _CENTERS else "point"
    return np.asarray(getattr(feature, name), dtype=np.float64)


def outward_normal(plane: Any) -> FloatArray:
    """Normal (3,) of a plane out of the material; as the feature has it where no material side was stated."""
    normal = np.asarray(plane.normal, dtype=np.float64)
    return -normal if plane.material_side == "outside" else normal


def pierce(feature: Any, point: FloatArray, normal: FloatArray, *, role: str) -> FloatArray:
    """Where an axis meets the plane, or a centre projects onto it. Raises `FrameError` for an axis along the plane."""
    at = point_of(feature)
    along = direction_of(feature) if feature.kind != "torus" else None
    height = float((point - at) @ normal)
    if along is None:
        return at + height * normal
    slope = float(along @ normal)
    if abs(slope) < _MIN_PIERCE:
        raise FrameError(
            f"the {role} datum does not meet the primary plane",
            expected="an axis that pierces the plane",
            got=f"{feature.kind} at {np.degrees(np.arcsin(min(1.0, abs(slope)))):.3g} deg to it",
            remedy="choose another datum, or change their order",
        )
    return at + height / slope * along


def frame_from_parent(primary: Any, secondary: Any = None, tertiary: Any = None) -> Rigid:
    """The rigid motion from the parent frame into the datum frame, from feature geometries in the parent frame.

    A pure function of the geometries, so that uncertainty passes through it. Raises `FrameError` where the datums do
    not make a frame: an axis along the primary plane, a tertiary datum on the origin, features that cannot lock.
    """
    if primary.kind == "plane":
        z = outward_normal(primary)
        base = point_of(primary)
        if secondary is None:
            origin = float(base @ z) * z  # foot of the parent's origin
        elif direction_of(secondary) is None and secondary.kind == "plane":
            raise FrameError(
                "a secondary plane is not supported yet", expected="an axis or a centre", remedy="use an axis or centre"
            )
        else:
            origin = pierce(secondary, base, z, role="secondary")
        target = None if tertiary is None else pierce(tertiary, origin, z, role="tertiary")
    else:
        axis = direction_of(primary)
        if axis is None:
            raise FrameError(
                f"a {primary.kind} cannot be the primary datum", expected="a plane, or a feature with an axis"
            )
        z, base = axis, point_of(primary)
        if secondary is None:
            origin = base - float(base @ z) * z
        elif secondary.kind == "plane":
            origin = pierce(primary, point_of(secondary), outward_normal(secondary), role="primary")
        else:
            origin = base + float((point_of(secondary) - base) @ z) * z
        target = None if tertiary is None else pierce(tertiary, origin, z, role="tertiary")
    if target is None:
        # nothing locks the turn about z: the parent's x, or its y where z runs along x
        x = np.array([1.0, 0.0, 0.0]) if abs(z[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    else:
        x = target - origin
        x = x - float(x @ z) * z
        size = float(np.linalg.norm(x))
        scale = max(1e-300, float(np.linalg.norm(target)), float(np.linalg.norm(origin)))
        if size <= 1e-9 * scale:  # of the coordinates: closer than that rounding decides the direction
            raise FrameError(
                "the tertiary datum lies on the origin",
                expected="a centre away from the secondary datum",
                got=f"distance {size:.3g}",
                remedy="choose another tertiary datum",
            )
    return Rigid.from_axes(origin, z, x)


def datum_system(
    name: str,
    primary: DatumFeature,
    secondary: DatumFeature | None = None,
    tertiary: DatumFeature | None = None,
    *,
    parent: Frame,
) -> DatumSystem:
    """The datum system of up to three features, with its frame in ``parent``; letters are A, B, C in their order.

    Raises `FrameError` as `frame_from_parent` does.
    """
    motion = frame_from_parent(primary.geometry, secondary and secondary.geometry, tertiary and tertiary.geometry)
    locks: list[tuple[str, ...]]
    if primary.geometry.kind == "plane":
        locks = [("tz", "rx", "ry"), ("tx", "ty"), ("rz",)]
    else:
        locks = [("tx", "ty", "rx", "ry"), ("tz",), ("rz",)]
    datums = [
        Datum(letter, feature.name, feature.criterion, lock)
        for letter, feature, lock in zip("ABC", (primary, secondary, tertiary), locks, strict=True)
        if feature is not None
    ]
    frame = Frame(name, parent, motion.inverse())
    return DatumSystem(name, tuple(datums), frame)
