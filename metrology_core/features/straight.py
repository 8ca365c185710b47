"""Straight features: line, plane, and the slot and pair of parallel planes that datums and sizes use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import (
    Feature,
    basis,
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
class Line(Feature):
    """A straight line in space: `point` (3,) on it, unit `direction` (3,).

    Its distance has no sign (a line has no inside): >= 0. Chart: shift_u, shift_v (of the point), tilt_u, tilt_v (rad).
    """

    point: np.ndarray
    direction: np.ndarray

    kind: ClassVar[str] = "line"
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "direction")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "tilt_u", "tilt_v")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point"))
        put("direction", direction(self.direction, "direction"))

    def distance(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.point, self.direction)[1]

    def normals(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.point, self.direction)[2]

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, point=rigid.apply(self.point), direction=rigid.rotate(self.direction))

    def moved(self, delta: Any) -> Self:
        su, sv, tu, tv = self._delta(delta)
        return replace(
            self, point=shifted(self.point, self.direction, su, sv), direction=tilted(self.direction, tu, tv)[2]
        )

    def oriented(self, hint: Any) -> Self:
        flip = float(self.direction @ vector(hint, "hint")) < 0.0
        return replace(self, direction=-self.direction) if flip else self


@dataclass(frozen=True, eq=False)
class Plane(Feature):
    """A plane: `point` (3,) on it, unit `normal` (3,). Distance is positive along the normal.

    Chart: shift (along the normal), tilt_u, tilt_v (rad, about the point).
    """

    point: np.ndarray
    normal: np.ndarray

    kind: ClassVar[str] = "plane"
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "normal")
    chart: ClassVar[tuple[str, ...]] = ("shift", "tilt_u", "tilt_v")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point"))
        put("normal", direction(self.normal, "normal"))

    def distance(self, xyz: Any) -> np.ndarray:
        return np.asarray((points(xyz) - self.point) @ self.normal)

    def normals(self, xyz: Any) -> np.ndarray:
        return np.broadcast_to(self.normal, points(xyz).shape)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, point=rigid.apply(self.point), normal=rigid.rotate(self.normal))

    def moved(self, delta: Any) -> Self:
        shift, tu, tv = self._delta(delta)
        return replace(self, point=self.point + shift * self.normal, normal=tilted(self.normal, tu, tv)[2])

    def oriented(self, hint: Any) -> Self:
        """Turn the normal to the side of the hint; the material stays where it is."""
        if float(self.normal @ vector(hint, "hint")) >= 0.0:
            return self
        other = {None: None, "inside": "outside", "outside": "inside"}[self.material_side]
        return replace(self, normal=-self.normal, material_side=other)  # type: ignore[arg-type]

    def offset(self, distance: float) -> Self | None:
        return replace(self, point=self.point + distance * self.normal)


@dataclass(frozen=True, eq=False)
class ParallelPlanes(Feature):
    """Two parallel planes a `width` apart: `point` (3,) on the middle plane, unit `normal` (3,).

    Distance is that to the nearer of the two, positive away from the middle plane; a groove has its material
    ``"outside"``, a tongue ``"inside"``. Chart: shift, tilt_u, tilt_v, width.
    """

    point: np.ndarray
    normal: np.ndarray
    width: float

    kind: ClassVar[str] = "parallel_planes"
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "normal", "width")
    chart: ClassVar[tuple[str, ...]] = ("shift", "tilt_u", "tilt_v", "width")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point"))
        put("normal", direction(self.normal, "normal"))
        put("width", number(self.width, "width", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        return np.abs((points(xyz) - self.point) @ self.normal) - 0.5 * self.width

    def normals(self, xyz: Any) -> np.ndarray:
        side = np.where((points(xyz) - self.point) @ self.normal >= 0.0, 1.0, -1.0)
        return np.asarray(side[:, None] * self.normal)

    @property
    def planes(self) -> tuple[Plane, Plane]:
        """The two planes, normals pointing away from the middle: first the one on the normal's side."""
        half = 0.5 * self.width * self.normal
        first = Plane(self.point + half, self.normal, material_side=self.material_side)
        return first, Plane(self.point - half, -self.normal, material_side=self.material_side)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, point=rigid.apply(self.point), normal=rigid.rotate(self.normal))

    def moved(self, delta: Any) -> Self:
        shift, tu, tv, width = self._delta(delta)
        return replace(
            self,
            point=self.point + shift * self.normal,
            normal=tilted(self.normal, tu, tv)[2],
            width=self.width + width,
        )

    def oriented(self, hint: Any) -> Self:
        flip = float(self.normal @ vector(hint, "hint")) < 0.0
        return replace(self, normal=-self.normal) if flip else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, width=self.width + 2.0 * distance)


@dataclass(frozen=True, eq=False)
class Slot(Feature):
    """A slot with round ends in a plane: `center` (3,), unit `normal` (3,), unit `direction` (3,) of its length in
    the plane.

    `width` is the distance between the sides (twice the end radius), `length` the overall length, end to end.
    Distance is measured in the plane, positive outwards; `height` is the part out of it. Chart: shift_u, shift_v,
    shift_w, tilt_u, tilt_v, rotation, length, width with u along the length.
    """

    center: np.ndarray
    normal: np.ndarray
    direction: np.ndarray
    length: float
    width: float

    kind: ClassVar[str] = "slot"
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "normal", "direction", "length", "width")
    chart: ClassVar[tuple[str, ...]] = (
        "shift_u",
        "shift_v",
        "shift_w",
        "tilt_u",
        "tilt_v",
        "rotation",
        "length",
        "width",
    )

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center"))
        normal = direction(self.normal, "normal")
        put("normal", normal)
        along = vector(self.direction, "direction")
        put("direction", direction(along - float(along @ normal) * normal, "direction in the plane of the slot"))
        put("width", number(self.width, "width", positive=True))
        put("length", number(self.length, "length", positive=True))
        if self.length < self.width:
            raise ParameterError("a slot is at least as long as it is wide", got=f"{self.length} < {self.width}")

    def _local(self, xyz: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = points(xyz) - self.center
        across = np.cross(self.normal, self.direction)
        x = y @ self.direction
        half = 0.5 * (self.length - self.width)
        return x - np.clip(x, -half, half), y @ across, across

    def distance(self, xyz: Any) -> np.ndarray:
        x, y, _ = self._local(xyz)
        return np.hypot(x, y) - 0.5 * self.width

    def normals(self, xyz: Any) -> np.ndarray:
        x, y, across = self._local(xyz)
        f = np.hypot(x, y)
        safe = np.where(f > 0.0, f, 1.0)
        x, y = np.where(f > 0.0, x / safe, 0.0), np.where(f > 0.0, y / safe, 1.0)
        return np.asarray(x[:, None] * self.direction + y[:, None] * across)

    def height(self, xyz: Any) -> np.ndarray:
        """(n,) signed distance from the plane of the slot."""
        return np.asarray((points(xyz) - self.center) @ self.normal)

    def project(self, xyz: Any) -> np.ndarray:
        array = points(xyz)
        return np.asarray(super().project(array) - self.height(array)[:, None] * self.normal)

    def transform(self, rigid: Rigid) -> Self:
        return replace(
            self,
            center=rigid.apply(self.center),
            normal=rigid.rotate(self.normal),
            direction=rigid.rotate(self.direction),
        )

    def moved(self, delta: Any) -> Self:
        from metrology_core.features.base import turned

        su, sv, sw, tu, tv, rotation, length, width = self._delta(delta)
        u, w = self.direction, self.normal
        v = np.cross(w, u)
        center = self.center + (su * u + sv * v + sw * w)
        u, v, w = turned(u, v, w, tu, tv)
        u = np.cos(rotation) * u + np.sin(rotation) * v
        return replace(
            self, center=center, normal=w, direction=u, length=self.length + length, width=self.width + width
        )

    def oriented(self, hint: Any) -> Self:
        flip = float(self.normal @ vector(hint, "hint")) < 0.0
        return replace(self, normal=-self.normal) if flip else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, width=self.width + 2.0 * distance, length=self.length + 2.0 * distance)


__all__ = ["Line", "ParallelPlanes", "Plane", "Slot", "basis"]
