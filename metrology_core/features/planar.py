"""Features of plane sections: line, circle and ellipse in two coordinates (n, 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.errors import FrameError
from metrology_core.features.base import Feature, direction, number, points, vector
from metrology_core.features.curves import ellipse_feet

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid


def plane_motion(rigid: Rigid) -> tuple[np.ndarray, np.ndarray]:
    """The rotation (2, 2) and translation (2,) of a motion that stays in the plane, or `FrameError`."""
    rotation, translation = rigid.rotation, rigid.translation
    if abs(rotation[2, 2] - 1.0) > 1e-12 or translation[2] != 0.0:  # 1e-12: a rotation about z to rounding
        raise FrameError("the motion leaves the plane of a 2-D feature", remedy="use the 3-D feature")
    return rotation[:2, :2], translation[:2]


def _left(d: np.ndarray) -> np.ndarray:
    return np.array((-d[1], d[0]))


@dataclass(frozen=True, eq=False)
class Line2D(Feature):
    """A straight line in the plane: `point` (2,), unit `direction` (2,). Distance is positive to the left of the
    direction.

    Chart: shift (to the left), tilt (rad, counter-clockwise).
    """

    point: np.ndarray
    direction: np.ndarray

    kind: ClassVar[str] = "line"
    dimension: ClassVar[int] = 2
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "direction")
    chart: ClassVar[tuple[str, ...]] = ("shift", "tilt")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point", 2))
        put("direction", direction(self.direction, "direction", 2))

    @property
    def normal(self) -> np.ndarray:
        """(2,) unit normal: the direction turned to the left."""
        return _left(self.direction)

    def distance(self, xyz: Any) -> np.ndarray:
        return np.asarray((points(xyz, 2) - self.point) @ self.normal)

    def normals(self, xyz: Any) -> np.ndarray:
        return np.broadcast_to(self.normal, points(xyz, 2).shape)

    def transform(self, rigid: Rigid) -> Self:
        rotation, translation = plane_motion(rigid)
        return replace(self, point=rotation @ self.point + translation, direction=rotation @ self.direction)

    def moved(self, delta: Any) -> Self:
        shift, tilt = self._delta(delta)
        new = math.cos(tilt) * self.direction + math.sin(tilt) * self.normal
        return replace(self, point=self.point + shift * self.normal, direction=new)

    def oriented(self, hint: Any) -> Self:
        """Turn the direction to the side of the hint; the material stays where it is."""
        if float(self.direction @ vector(hint, "hint", 2)) >= 0.0:
            return self
        other = {None: None, "inside": "outside", "outside": "inside"}[self.material_side]
        return replace(self, direction=-self.direction, material_side=other)  # type: ignore[arg-type]

    def offset(self, distance: float) -> Self | None:
        return replace(self, point=self.point + distance * self.normal)


@dataclass(frozen=True, eq=False)
class Circle2D(Feature):
    """A circle in the plane: `center` (2,), `radius`. Chart: center_x, center_y, radius."""

    center: np.ndarray
    radius: float

    kind: ClassVar[str] = "circle"
    dimension: ClassVar[int] = 2
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "radius")
    chart: ClassVar[tuple[str, ...]] = ("center_x", "center_y", "radius")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center", 2))
        put("radius", number(self.radius, "radius", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        y = points(xyz, 2) - self.center
        return np.asarray(np.sqrt(y[:, 0] ** 2 + y[:, 1] ** 2) - self.radius)

    def normals(self, xyz: Any) -> np.ndarray:
        y = points(xyz, 2) - self.center
        f = np.hypot(y[:, 0], y[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = y / f[:, None]
        unit[f == 0.0] = (1.0, 0.0)
        return np.asarray(unit)

    def transform(self, rigid: Rigid) -> Self:
        rotation, translation = plane_motion(rigid)
        return replace(self, center=rotation @ self.center + translation)

    def moved(self, delta: Any) -> Self:
        x, y, r = self._delta(delta)
        return replace(self, center=self.center + np.array((x, y)), radius=self.radius + r)

    def offset(self, distance: float) -> Self | None:
        return replace(self, radius=self.radius + distance)


@dataclass(frozen=True, eq=False)
class Ellipse2D(Feature):
    """An ellipse in the plane: `center` (2,), unit `major_axis` (2,), `semi_major` >= `semi_minor`.

    Chart: shift_u, shift_v (along the axes), rotation (rad, counter-clockwise), semi_major, semi_minor.
    """

    center: np.ndarray
    major_axis: np.ndarray
    semi_major: float
    semi_minor: float

    kind: ClassVar[str] = "ellipse"
    dimension: ClassVar[int] = 2
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "major_axis", "semi_major", "semi_minor")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "rotation", "semi_major", "semi_minor")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center", 2))
        put("major_axis", direction(self.major_axis, "major_axis", 2))
        put("semi_major", number(self.semi_major, "semi_major", positive=True))
        put("semi_minor", number(self.semi_minor, "semi_minor", positive=True))
        if self.semi_minor > self.semi_major:  # moved() may cross the circle: name the axes anew
            longer = self.semi_minor
            put("semi_minor", self.semi_major)
            put("semi_major", longer)
            put("major_axis", direction(_left(self.major_axis), "major_axis", 2))

    def _feet(self, xyz: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = points(xyz, 2) - self.center
        return ellipse_feet(y @ self.major_axis, y @ _left(self.major_axis), self.semi_major, self.semi_minor)

    def distance(self, xyz: Any) -> np.ndarray:
        return self._feet(xyz)[0]

    def normals(self, xyz: Any) -> np.ndarray:
        _, nx, ny = self._feet(xyz)
        return np.asarray(nx[:, None] * self.major_axis + ny[:, None] * _left(self.major_axis))

    def transform(self, rigid: Rigid) -> Self:
        rotation, translation = plane_motion(rigid)
        return replace(self, center=rotation @ self.center + translation, major_axis=rotation @ self.major_axis)

    def moved(self, delta: Any) -> Self:
        su, sv, rotation, major, minor = self._delta(delta)
        u, v = self.major_axis, _left(self.major_axis)
        return replace(
            self,
            center=self.center + su * u + sv * v,
            major_axis=math.cos(rotation) * u + math.sin(rotation) * v,
            semi_major=self.semi_major + major,
            semi_minor=self.semi_minor + minor,
        )
