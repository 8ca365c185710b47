"""Rigid motions as twists: exponential, logarithm, transport of covariances between charts.

A twist is six numbers (omega, v): a small motion x -> p + exp(omega)(x - p) + v about a stated point p (the pivot), in
the axes of the target frame, applied after (to the left of) the motion it corrects. Its first-order displacement at x
is v + omega x (x - p). Sources: R. M. Murray, Z. Li, S. S. Sastry, A Mathematical Introduction to Robotic Manipulation
(1994), ch. 2; T. D. Barfoot, State Estimation for Robotics (2017), ch. 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import Rigid

FloatArray = NDArray[np.float64]


def cross_matrix(v: FloatArray) -> FloatArray:
    """(3, 3) matrix of ``v x``."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def rotation(omega: FloatArray) -> FloatArray:
    """Rotation (3, 3) by |omega| rad about omega (Rodrigues), accurate for small angles."""
    angle = math.sqrt(float(omega @ omega))
    k = cross_matrix(omega)
    if angle < 1e-4:  # the next terms are angle^4/120 and angle^4/720: below 1e-18
        a, b = 1.0 - angle * angle / 6.0, 0.5 - angle * angle / 24.0
    else:
        a, b = math.sin(angle) / angle, 2.0 * (math.sin(0.5 * angle) / angle) ** 2
    return np.eye(3) + a * k + b * (k @ k)


def rotation_vector(r: FloatArray) -> FloatArray:
    """The vector omega (3,) with |omega| <= pi of a rotation matrix; by quaternion, accurate at 0 and at pi."""
    q = np.array(
        [
            1.0 + r[0, 0] + r[1, 1] + r[2, 2],
            1.0 + r[0, 0] - r[1, 1] - r[2, 2],
            1.0 - r[0, 0] + r[1, 1] - r[2, 2],
            1.0 - r[0, 0] - r[1, 1] + r[2, 2],
        ]
    )
    best = int(np.argmax(q))
    root = 0.5 * math.sqrt(max(0.0, q[best]))
    f = 0.25 / root
    if best == 0:
        w, v = root, f * np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    else:
        i = best - 1
        j, k = (i + 1) % 3, (i + 2) % 3
        v = np.empty(3)
        v[i] = root
        v[j] = f * (r[j, i] + r[i, j])
        v[k] = f * (r[k, i] + r[i, k])
        w = f * (r[k, j] - r[j, k])
    if w < 0.0:
        w, v = -w, -v
    size = math.sqrt(float(v @ v))
    if size == 0.0:
        return np.zeros(3)
    return v * (2.0 * math.atan2(size, w) / size)


def orthonormal(matrix: FloatArray) -> FloatArray:
    """The nearest rotation."""
    u, _, vt = np.linalg.svd(matrix)
    if np.linalg.det(u @ vt) < 0.0:
        u[:, 2] = -u[:, 2]
    return np.asarray(u @ vt)


def transport(step: FloatArray) -> FloatArray:
    """(6, 6) matrix from a twist about p to the same twist about p + step."""
    result = np.eye(6)
    result[3:, :3] = -cross_matrix(step)
    return result


def displacement_rows(xyz: FloatArray, directions: FloatArray, pivot: FloatArray) -> FloatArray:
    """(n, 6) rows of d (direction . displacement) / d twist about the pivot."""
    return np.hstack([np.cross(xyz - pivot, directions), directions])


@dataclass(frozen=True, eq=False)
class Pose:
    """x -> rotation (x - source) + target: a motion kept about the data, so that a distant origin costs no digits."""

    rotation: FloatArray
    source: FloatArray
    target: FloatArray

    @classmethod
    def of(cls, rigid: Rigid, source: FloatArray) -> Pose:
        source = np.asarray(source, dtype=np.float64)
        return cls(np.array(rigid.rotation), source, rigid.rotation @ source + rigid.translation)

    @property
    def rigid(self) -> Rigid:
        return Rigid(self.rotation, self.target - self.rotation @ self.source)

    def moved(self, twist: FloatArray, pivot: FloatArray) -> Pose:
        """This motion followed by the twist about the pivot."""
        turn = rotation(twist[:3])
        return Pose(orthonormal(turn @ self.rotation), self.source, pivot + turn @ (self.target - pivot) + twist[3:])

    def apply(self, xyz: FloatArray) -> FloatArray:
        return np.asarray((xyz - self.source) @ self.rotation.T + self.target)

    def packed(self) -> FloatArray:
        """Fifteen numbers for `kernels.registration.move`."""
        return np.concatenate([self.rotation.ravel(), self.source, self.target])

    def rotated_by(self, other: Pose) -> float:
        """Angle in rad between the rotations of two motions (to about 1e-8)."""
        trace = float(np.vdot(self.rotation, other.rotation))
        return math.acos(min(1.0, max(-1.0, 0.5 * (trace - 1.0))))


def difference(a: Pose, b: Pose, pivot: FloatArray) -> FloatArray:
    """The twist about ``pivot`` that leads from ``a`` to ``b``: omega = log(Rb Ra'), v = displacement of the pivot."""
    back = a.rotation.T @ (pivot - a.target) + a.source
    omega = rotation_vector(orthonormal(b.rotation @ a.rotation.T))
    return np.concatenate([omega, b.rotation @ (back - b.source) + b.target - pivot])
