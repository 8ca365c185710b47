"""Closed plane curves in space: circle and ellipse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.features.base import (
    Feature,
    direction,
    number,
    points,
    radial,
    shifted,
    tilted,
    turned,
    vector,
)

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid


@dataclass(frozen=True, eq=False)
class Circle(Feature):
    """A circle in space: `center` (3,), unit `normal` (3,) of its plane, `radius`.

    `distance` is measured in the plane, from the axis: f - r; `height` gives the part out of the plane. A fit
    minimises both. Chart: shift_u, shift_v, shift_w, tilt_u, tilt_v (rad), radius.
    """

    center: np.ndarray
    normal: np.ndarray
    radius: float

    kind: ClassVar[str] = "circle"
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "normal", "radius")
    chart: ClassVar[tuple[str, ...]] = ("shift_u", "shift_v", "shift_w", "tilt_u", "tilt_v", "radius")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center"))
        put("normal", direction(self.normal, "normal"))
        put("radius", number(self.radius, "radius", positive=True))

    def distance(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.center, self.normal)[1] - self.radius

    def height(self, xyz: Any) -> np.ndarray:
        """(n,) signed distance from the plane of the circle."""
        return np.asarray((points(xyz) - self.center) @ self.normal)

    def normals(self, xyz: Any) -> np.ndarray:
        return radial(xyz, self.center, self.normal)[2]

    def project(self, xyz: Any) -> np.ndarray:
        unit = radial(xyz, self.center, self.normal)[2]
        return np.asarray(self.center + self.radius * unit)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, center=rigid.apply(self.center), normal=rigid.rotate(self.normal))

    def moved(self, delta: Any) -> Self:
        su, sv, sw, tu, tv, r = self._delta(delta)
        return replace(
            self,
            center=shifted(self.center, self.normal, su, sv, sw),
            normal=tilted(self.normal, tu, tv)[2],
            radius=self.radius + r,
        )

    def oriented(self, hint: Any) -> Self:
        return replace(self, normal=-self.normal) if float(self.normal @ vector(hint, "hint")) < 0.0 else self

    def offset(self, distance: float) -> Self | None:
        return replace(self, radius=self.radius + distance)


def ellipse_feet(x: np.ndarray, y: np.ndarray, a: float, b: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed distance and outward unit normal (nx, ny) at the feet of points (x, y) on x^2/a^2 + y^2/b^2 = 1, a >=
    b."""
    px, py = np.abs(x), np.abs(y)
    a2, b2 = a * a, b * b
    t = np.maximum(b * py - b2, a * px - a2)
    # on the segment between the cusps of the evolute the root sits at the end of its interval; handled below
    inner = (py == 0.0) & (px < (a2 - b2) / a)
    centre = (px == 0.0) & (py == 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(60):
            u, v = a * px / (t + a2), b * py / (t + b2)
            value = u * u + v * v - 1.0
            step = np.where(value > 0.0, value / (2.0 * (u * u / (t + a2) + v * v / (t + b2))), 0.0)
            step[inner | centre] = 0.0
            t = t + step
            if not (step > 1e-16 * (np.abs(t) + 1e-3 * b2)).any():
                break
        nx, ny = px / (t + a2), py / (t + b2)
        norm = np.hypot(nx, ny)
        distance = t * norm
        nx, ny = nx / norm, ny / norm
    if (inner | centre).any():
        k = inner | centre
        gap = max(a2 - b2, 0.0)
        fx = np.where(centre[k] | (gap == 0.0), 0.0, a2 * px[k] / gap) if gap > 0.0 else np.zeros(int(k.sum()))
        fy = b * np.sqrt(np.maximum(0.0, 1.0 - (fx / a) ** 2))
        size = np.hypot(fx / a2, fy / b2)
        nx[k], ny[k] = fx / a2 / size, fy / b2 / size
        distance[k] = -np.hypot(px[k] - fx, fy)
    return distance, np.where(x < 0.0, -nx, nx), np.where(y < 0.0, -ny, ny)


@dataclass(frozen=True, eq=False)
class Ellipse(Feature):
    """An ellipse in space: `center` (3,), unit `normal` (3,), unit `major_axis` (3,) in its plane, `semi_major` >=
    `semi_minor`.

    `distance` is the orthogonal distance in the plane, positive outside; `height` the part out of the plane. Chart:
    shift_u, shift_v, shift_w, tilt_u, tilt_v (rad), rotation (rad, in the plane), semi_major, semi_minor, with u
    along the major axis and v = normal x u.
    """

    center: np.ndarray
    normal: np.ndarray
    major_axis: np.ndarray
    semi_major: float
    semi_minor: float

    kind: ClassVar[str] = "ellipse"
    parameter_names: ClassVar[tuple[str, ...]] = ("center", "normal", "major_axis", "semi_major", "semi_minor")
    chart: ClassVar[tuple[str, ...]] = (
        "shift_u",
        "shift_v",
        "shift_w",
        "tilt_u",
        "tilt_v",
        "rotation",
        "semi_major",
        "semi_minor",
    )

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        put("center", vector(self.center, "center"))
        normal = direction(self.normal, "normal")
        put("normal", normal)
        major = vector(self.major_axis, "major_axis")
        put("major_axis", direction(major - float(major @ normal) * normal, "major_axis in the plane of the ellipse"))
        put("semi_major", number(self.semi_major, "semi_major", positive=True))
        put("semi_minor", number(self.semi_minor, "semi_minor", positive=True))
        if self.semi_minor > self.semi_major:  # moved() may cross the circle: name the axes anew
            longer = self.semi_minor
            put("semi_minor", self.semi_major)
            put("semi_major", longer)
            put("major_axis", direction(np.cross(normal, self.major_axis), "major_axis"))

    @property
    def minor_axis(self) -> np.ndarray:
        """(3,) unit vector along the minor axis: normal x major_axis."""
        return np.cross(self.normal, self.major_axis)

    def _feet(self, xyz: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y = points(xyz) - self.center
        return ellipse_feet(y @ self.major_axis, y @ self.minor_axis, self.semi_major, self.semi_minor)

    def distance(self, xyz: Any) -> np.ndarray:
        return self._feet(xyz)[0]

    def height(self, xyz: Any) -> np.ndarray:
        """(n,) signed distance from the plane of the ellipse."""
        return np.asarray((points(xyz) - self.center) @ self.normal)

    def normals(self, xyz: Any) -> np.ndarray:
        _, nx, ny = self._feet(xyz)
        return np.asarray(nx[:, None] * self.major_axis + ny[:, None] * self.minor_axis)

    def project(self, xyz: Any) -> np.ndarray:
        array = points(xyz)
        flat = array - self.height(array)[:, None] * self.normal
        d, nx, ny = self._feet(array)
        return np.asarray(flat - (d * nx)[:, None] * self.major_axis - (d * ny)[:, None] * self.minor_axis)

    def transform(self, rigid: Rigid) -> Self:
        return replace(
            self,
            center=rigid.apply(self.center),
            normal=rigid.rotate(self.normal),
            major_axis=rigid.rotate(self.major_axis),
        )

    def moved(self, delta: Any) -> Self:
        su, sv, sw, tu, tv, rotation, major, minor = self._delta(delta)
        u, v, w = self.major_axis, self.minor_axis, self.normal
        center = self.center + (su * u + sv * v + sw * w)
        u, v, w = turned(u, v, w, tu, tv)
        u = math.cos(rotation) * u + math.sin(rotation) * v
        return replace(
            self,
            center=center,
            normal=w,
            major_axis=u,
            semi_major=self.semi_major + major,
            semi_minor=self.semi_minor + minor,
        )

    def oriented(self, hint: Any) -> Self:
        return replace(self, normal=-self.normal) if float(self.normal @ vector(hint, "hint")) < 0.0 else self
