"""Real surfaces of a simulated part: an ideal surface plus excess material along its normal, posed in the part.

Every surface is a map from two parameters ``u`` (periodic or first) and ``v`` in [0, 1] to points. ``normal`` is the
unit normal of the *real* surface, out of the material, by central differences: a ball rests on the real slope.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Deviation = Callable[[FloatArray, FloatArray], FloatArray]
_STEP = 1e-5  # of a parameter range of 1: truncation (1e-10 relative) and rounding (1e-11) of the slopes balance


def no_deviation(u: FloatArray, v: FloatArray) -> FloatArray:
    """The ideal surface."""
    return np.zeros(np.broadcast(u, v).shape)


def small_rotation(vector: tuple[float, float, float] | FloatArray) -> FloatArray:
    """Rotation matrix (3, 3) of the rotation vector ``vector`` in radians (Rodrigues)."""
    w = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(w))
    if angle == 0.0:
        return np.eye(3)
    k = w / angle
    cross = np.array([[0.0, -k[2], k[1]], [k[2], 0.0, -k[0]], [-k[1], k[0], 0.0]])
    out: FloatArray = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return out


@dataclass(frozen=True)
class Surface(ABC):
    """Base of the real surfaces; ``outward`` is +1 where the ideal normal leaves the material (shaft), -1 in a bore.

    ``rotation`` (3, 3) about ``pivot`` (3,) and ``shift`` (3,) pose the ideal surface in the part frame.
    """

    name: str
    outward: float = 1.0
    deviation: Deviation = no_deviation
    rotation: FloatArray = field(default_factory=lambda: np.eye(3))
    pivot: FloatArray = field(default_factory=lambda: np.zeros(3))
    shift: FloatArray = field(default_factory=lambda: np.zeros(3))

    @abstractmethod
    def ideal(self, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and unit normals (..., 3) of the ideal surface before posing."""

    def area(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Relative area element, for means over the surface."""
        return np.ones(np.broadcast(u, v).shape)

    def point(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Points (..., 3) of the real surface in the part frame."""
        xyz, normal = self.ideal(u, v)
        real = xyz + (self.outward * self.deviation(u, v))[..., None] * normal
        out: FloatArray = (real - self.pivot) @ self.rotation.T + self.pivot + self.shift
        return out

    def normal(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Unit normals (..., 3) of the real surface, out of the material, in the part frame."""
        du = self.point(u + _STEP, v) - self.point(u - _STEP, v)
        dv = self.point(u, v + _STEP) - self.point(u, v - _STEP)
        n = np.cross(du, dv)
        n /= np.linalg.norm(n, axis=-1, keepdims=True)
        reference = self.outward * self.ideal(u, v)[1] @ self.rotation.T
        return n * np.sign(np.sum(n * reference, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Annulus(Surface):
    """Flat ring z = ``height`` between two radii, normal +z; ``u`` is the angle / 2 pi, ``v`` the radius."""

    inner: float = 1.0
    outer: float = 2.0
    height: float = 0.0

    def ideal(self, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        r = self.inner + v * (self.outer - self.inner)
        a = 2.0 * np.pi * u
        xyz = np.stack([r * np.cos(a), r * np.sin(a), np.full(np.shape(r), self.height)], axis=-1)
        return xyz, np.broadcast_to(np.array([0.0, 0.0, 1.0]), xyz.shape)

    def area(self, u: FloatArray, v: FloatArray) -> FloatArray:
        return np.broadcast_to(self.inner + v * (self.outer - self.inner), np.broadcast(u, v).shape)


@dataclass(frozen=True)
class Revolved(Surface):
    """Cylinder or cone about an axis parallel to z through ``center`` (2,); ``v`` runs along z from low to high.

    ``radius`` is the radius at mid-height and ``half_angle`` (rad, positive: radius grows with z) makes it a cone.
    """

    center: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0
    half_angle: float = 0.0
    low: float = 0.0
    high: float = 1.0

    @property
    def middle(self) -> float:
        """z of mid-height."""
        return 0.5 * (self.low + self.high)

    def _radius(self, z: FloatArray) -> FloatArray:
        return self.radius + (z - self.middle) * np.tan(self.half_angle)

    def ideal(self, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        a = 2.0 * np.pi * u
        z = self.low + v * (self.high - self.low)
        r = self._radius(z)
        c, s = np.cos(a), np.sin(a)
        xyz = np.stack([self.center[0] + r * c, self.center[1] + r * s, z + 0.0 * a], axis=-1)
        ch, sh = np.cos(self.half_angle), np.sin(self.half_angle)
        return xyz, np.stack([ch * c, ch * s, np.full(c.shape, -sh)], axis=-1)

    def area(self, u: FloatArray, v: FloatArray) -> FloatArray:
        z = self.low + v * (self.high - self.low)
        return np.broadcast_to(self._radius(z), np.broadcast(u, v).shape)


@dataclass(frozen=True)
class Cap(Surface):
    """Part of a ball round +z: ``v`` is the height on the ball from the pole (0) to ``colatitude`` (1), equal areas."""

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0
    colatitude: float = 1.0

    def ideal(self, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        a = 2.0 * np.pi * u
        c = 1.0 - v * (1.0 - np.cos(self.colatitude))
        s = np.sqrt(1.0 - c * c)
        normal = np.stack([s * np.cos(a), s * np.sin(a), c + 0.0 * a], axis=-1)
        return np.asarray(self.center) + self.radius * normal, normal


@dataclass(frozen=True)
class Extruded(Surface):
    """Closed curve in a plane z = const, extruded from ``low`` to ``high``; ``curve(u)`` -> points, outward normals."""

    curve: Any = None
    low: float = 0.0
    high: float = 1.0

    def ideal(self, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        u, v = np.broadcast_arrays(u, v)
        xy, normal = self.curve(u)
        z = self.low + v * (self.high - self.low)
        zero = np.zeros(z.shape)
        return np.stack([xy[..., 0], xy[..., 1], z], axis=-1), np.stack([normal[..., 0], normal[..., 1], zero], axis=-1)
