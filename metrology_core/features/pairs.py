"""Slot and pair of parallel lines in the plane (n, 2): the 2-D counterparts of `Slot` and `ParallelPlanes`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature, direction, number, points, vector
from metrology_core.features.planar import plane_motion

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid


@dataclass(frozen=True, eq=False)
class ParallelLines2D(Feature):
    """Two parallel lines a `width` apart: `point` (2,) on the middle line, unit `normal` (2,) across.

    Distance is that to the nearer of the two, positive away from the middle line. The kind is that of the planes of
    which it is a section. Chart: shift (along the normal), tilt (rad, counter-clockwise), width.
    """

    point: np.ndarray
    normal: np.ndarray
    width: float

    kind: ClassVar[str] = "parallel_planes"
    dimension: ClassVar[int] = 2
    parameter_names: ClassVar[tuple[str, ...]] = ("point", "normal", "width")
    chart: ClassVar[tuple[str, ...]] = ("shift", "tilt", "width")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("point", vector(self.point, "point", 2))
        put("normal", direction(self.normal, "normal", 2))
        put("width", number(self.width, "width", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        return np.abs((points(xyz, 2) - self.point) @ self.normal) - 0.5 * self.width

    def normals(self, xyz: Any) -> np.ndarray:
        side = np.where((points(xyz, 2) - self.point) @ self.normal >= 0.0, 1.0, -1.0)
        return np.asarray(side[:, None] * self.normal)

    def transform(self, rigid: Rigid) -> Self:
        rotation, translation = plane_motion(rigid)
        return replace(self, point=rotation @ self.point + translation, normal=rotation @ self.normal)

    def moved(self, delta: Any) -> Self:
        shift, tilt, width = self._delta(delta)
        n = self.normal
        left = np.array((-n[1], n[0]))
        return replace(
            self,
            point=self.point + shift * n,
            normal=math.cos(tilt) * n + math.sin(tilt) * left,
            width=self.width + width,
        )

    def oriented(self, hint: Any) -> Self:
        flip = float(self.normal @ vector(hint, "hint", 2)) < 0.0
        return replace(self, normal=-self.normal) if flip else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, width=self.width + 2.0 * distance)


@dataclass(frozen=True, eq=False)
class Slot2D(Feature):
    """A slot with round ends in the plane: `center` (2,), unit `direction` (2,) of its length.

    `width` is the distance between the sides (twice the end radius), `length` the overall length, end to end.
    Distance is positive outwards. Chart: shift_u (along the length), shift_v, rotation (rad, counter-clockwise),
    length, width.
    """

    center: np.ndarray
    direction: np.ndarray
    length: float
    width: float

    kind: ClassVar[str] = "slot"
    dimension: ClassVar[int] = 2
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "direction", "length", "width")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "rotation", "length", "width")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center", 2))
        put("direction", direction(self.direction, "direction", 2))
        put("width", number(self.width, "width", positive=True))
        put("length", number(self.length, "length", positive=True))
        if self.length < self.width:
            raise ParameterError("a slot is at least as long as it is wide", got=f"{self.length} < {self.width}")

    @property
    def _across(self) -> np.ndarray:
        return np.array((-self.direction[1], self.direction[0]))

    def _local(self, xyz: Any) -> tuple[np.ndarray, np.ndarray]:
        y = points(xyz, 2) - self.center
        x = y @ self.direction
        half = 0.5 * (self.length - self.width)
        return x - np.clip(x, -half, half), y @ self._across

    def distance(self, xyz: Any) -> np.ndarray:
        x, y = self._local(xyz)
        return np.hypot(x, y) - 0.5 * self.width

    def normals(self, xyz: Any) -> np.ndarray:
        x, y = self._local(xyz)
        f = np.hypot(x, y)
        safe = np.where(f > 0.0, f, 1.0)
        x, y = np.where(f > 0.0, x / safe, 0.0), np.where(f > 0.0, y / safe, 1.0)
        return np.asarray(x[:, None] * self.direction + y[:, None] * self._across)

    def transform(self, rigid: Rigid) -> Self:
        rotation, translation = plane_motion(rigid)
        return replace(self, center=rotation @ self.center + translation, direction=rotation @ self.direction)

    def moved(self, delta: Any) -> Self:
        su, sv, rotation, length, width = self._delta(delta)
        u, v = self.direction, self._across
        return replace(
            self,
            center=self.center + su * u + sv * v,
            direction=math.cos(rotation) * u + math.sin(rotation) * v,
            length=self.length + length,
            width=self.width + width,
        )

    def oriented(self, hint: Any) -> Self:
        flip = float(self.direction @ vector(hint, "hint", 2)) < 0.0
        return replace(self, direction=-self.direction) if flip else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, width=self.width + 2.0 * distance, length=self.length + 2.0 * distance)
