"""Surfaces of revolution: sphere, cylinder, cone, torus."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import (
    Feature,
    direction,
    number,
    points,
    radial,
    shifted,
    tilted,
    vector,
)

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid


@dataclass(frozen=True, eq=False)
class Sphere(Feature):
    """A sphere: `center` (3,), `radius`. Chart: center_x, center_y, center_z, radius."""

    center: np.ndarray
    radius: float

    kind: ClassVar[str] = "sphere"
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "radius")
    chart: ClassVar[tuple[str, ...]] = ("center_x", "center_y", "center_z", "radius")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center"))
        put("radius", number(self.radius, "radius", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        y = points(xyz) - self.center
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", y, y)) - self.radius)

    def normals(self, xyz: Any) -> np.ndarray:
        y = points(xyz) - self.center
        f = np.sqrt(np.einsum("ij,ij->i", y, y))
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = y / f[:, None]
        unit[f == 0.0] = (0.0, 0.0, 1.0)
        return np.asarray(unit)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, center=rigid.apply(self.center))

    def moved(self, delta: Any) -> Self:
        x, y, z, r = self._delta(delta)
        return replace(self, center=self.center + np.array((x, y, z)), radius=self.radius + r)

    def offset(self, distance: float) -> Self | None:
        return replace(self, radius=self.radius + distance)


@dataclass(frozen=True, eq=False)
class Cylinder(Feature):
    """A cylinder without ends: `point` (3,) on its axis, unit `axis` (3,), `radius`.

    Chart: shift_u, shift_v (of the point), tilt_u, tilt_v (rad, about the point), radius.
    """

    point: np.ndarray
    axis: np.ndarray
    radius: float

    kind: ClassVar[str] = "cylinder"
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "axis", "radius")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "tilt_u", "tilt_v", "radius")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point"))
        put("axis", direction(self.axis, "axis"))
        put("radius", number(self.radius, "radius", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.point, self.axis)[1] - self.radius

    def normals(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.point, self.axis)[2]

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, point=rigid.apply(self.point), axis=rigid.rotate(self.axis))

    def moved(self, delta: Any) -> Self:
        su, sv, tu, tv, r = self._delta(delta)
        return replace(
            self,
            point=shifted(self.point, self.axis, su, sv),
            axis=tilted(self.axis, tu, tv)[2],
            radius=self.radius + r,
        )

    def oriented(self, hint: Any) -> Self:
        return replace(self, axis=-self.axis) if float(self.axis @ vector(hint, "hint")) < 0.0 else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, radius=self.radius + distance)


@dataclass(frozen=True, eq=False)
class Cone(Feature):
    """A cone: `point` (3,) on its axis, unit `axis` (3,), `radius` of the section at the point, `half_angle` (rad).

    The radius grows along the axis for a positive half-angle and shrinks for a negative one (after `oriented`); a fit
    gives it positive. Distance is normal to the generator, whose line is continued beyond the apex. The radius at the
    point may be zero or negative: then the point lies at or beyond the apex. Chart: shift_u, shift_v, tilt_u, tilt_v
    (rad, about the point), radius, half_angle (rad).
    """

    point: np.ndarray
    axis: np.ndarray
    radius: float
    half_angle: float

    kind: ClassVar[str] = "cone"
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "axis", "radius", "half_angle")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "tilt_u", "tilt_v", "radius", "half_angle")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point"))
        put("axis", direction(self.axis, "axis"))
        put("radius", number(self.radius, "radius"))
        put("half_angle", number(self.half_angle, "half_angle"))
        if not abs(self.half_angle) < 0.5 * math.pi:
            raise ParameterError(
                "half_angle is not that of a cone", expected="between -pi/2 and pi/2 rad", got=repr(self.half_angle)
            )

    def distance(self, xyz: Any) -> np.ndarray:
        g, f, _ = radial(xyz, self.point, self.axis)
        return np.asarray((f - self.radius) * math.cos(self.half_angle) - g * math.sin(self.half_angle))

    def normals(self, xyz: Any) -> np.ndarray:
        _, _, unit = radial(xyz, self.point, self.axis)
        return np.asarray(unit * math.cos(self.half_angle) - math.sin(self.half_angle) * self.axis)

    @property
    def apex(self) -> np.ndarray | None:
        """(3,) the apex, or None for a half-angle of zero."""
        slope = math.tan(self.half_angle)
        return None if slope == 0.0 else np.asarray(self.point - (self.radius / slope) * self.axis)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, point=rigid.apply(self.point), axis=rigid.rotate(self.axis))

    def moved(self, delta: Any) -> Self:
        su, sv, tu, tv, r, a = self._delta(delta)
        return replace(
            self,
            point=shifted(self.point, self.axis, su, sv),
            axis=tilted(self.axis, tu, tv)[2],
            radius=self.radius + r,
            half_angle=self.half_angle + a,
        )

    def oriented(self, hint: Any) -> Self:
        """Turn the axis to the side of the hint; the half-angle changes sign with it."""
        if float(self.axis @ vector(hint, "hint")) >= 0.0:
            return self
        return replace(self, axis=-self.axis, half_angle=-self.half_angle)

    def offset(self, distance: float) -> Self | None:
        return replace(self, radius=self.radius + distance / math.cos(self.half_angle))


@dataclass(frozen=True, eq=False)
class Torus(Feature):
    """A torus: `center` (3,), unit `axis` (3,), `major_radius` of the spine, `minor_radius` of the tube.

    Distance is positive outside the tube. Chart: shift_u, shift_v, shift_w, tilt_u, tilt_v (rad), major_radius,
    minor_radius.
    """

    center: np.ndarray
    axis: np.ndarray
    major_radius: float
    minor_radius: float

    kind: ClassVar[str] = "torus"
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "axis", "major_radius", "minor_radius")
    chart: ClassVar[tuple[str, ...]] = (
        "shift_u",
        "shift_v",
        "shift_w",
        "tilt_u",
        "tilt_v",
        "major_radius",
        "minor_radius",
    )

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center"))
        put("axis", direction(self.axis, "axis"))
        put("major_radius", number(self.major_radius, "major_radius", positive=True))
        put("minor_radius", number(self.minor_radius, "minor_radius", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        g, f, _ = radial(xyz, self.center, self.axis)
        return np.hypot(f - self.major_radius, g) - self.minor_radius

    def normals(self, xyz: Any) -> np.ndarray:
        g, f, unit = radial(xyz, self.center, self.axis)
        e = f - self.major_radius
        t = np.hypot(e, g)
        safe = np.where(t > 0.0, t, 1.0)
        a, b = np.where(t > 0.0, e / safe, 1.0), np.where(t > 0.0, g / safe, 0.0)
        return np.asarray(a[:, None] * unit + b[:, None] * self.axis)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, center=rigid.apply(self.center), axis=rigid.rotate(self.axis))

    def moved(self, delta: Any) -> Self:
        su, sv, sw, tu, tv, major, minor = self._delta(delta)
        return replace(
            self,
            center=shifted(self.center, self.axis, su, sv, sw),
            axis=tilted(self.axis, tu, tv)[2],
            major_radius=self.major_radius + major,
            minor_radius=self.minor_radius + minor,
        )

    def oriented(self, hint: Any) -> Self:
        return replace(self, axis=-self.axis) if float(self.axis @ vector(hint, "hint")) < 0.0 else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, minor_radius=self.minor_radius + distance)
