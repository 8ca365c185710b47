"""Coordinate frames and rigid motions. A motion is named after its ends: ``target_from_source``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.data.arrays import frozen_float
from metrology_core.errors import FrameError, ParameterError


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rigid motion ``x_target = rotation @ x_source + translation``; lengths in the unit of the data it moves.

    ``rotation`` (3, 3) must be orthonormal with determinant +1 within 1e-9 (a mirror image is refused); ``translation``
    (3,).
    """

    rotation: np.ndarray
    translation: np.ndarray

    def __post_init__(self) -> None:
        rotation = frozen_float(self.rotation, "rotation", (3, 3))
        translation = frozen_float(self.translation, "translation", (3,))
        if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
            raise ParameterError("a rigid motion must be finite")
        defect = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
        # 1e-9 rejects typed-in matrices of a few digits, whose shear would enter results unseen
        if defect > 1e-9:
            raise ParameterError(
                "the matrix is not a rotation",
                expected="orthonormal rows to 1e-9",
                got=f"defect {defect:.3g}",
                remedy="use Rigid.nearest(matrix, translation)",
            )
        if np.linalg.det(rotation) < 0:
            raise ParameterError("the matrix mirrors", remedy="a mirror image is not a rigid motion")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @classmethod
    def identity(cls) -> Rigid:
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def nearest(cls, matrix: Any, translation: Any) -> Rigid:
        """The rotation nearest to ``matrix`` (least squares), for matrices with few digits."""
        u, _, vt = np.linalg.svd(frozen_float(matrix, "matrix", (3, 3)))
        sign = np.sign(np.linalg.det(u @ vt))
        return cls(u @ np.diag([1.0, 1.0, sign]) @ vt, translation)

    @classmethod
    def from_axes(cls, origin: Any, z: Any, x: Any) -> Rigid:
        """``target_from_source`` for a target frame given in source coordinates: its origin, z direction, and a vector
        whose part perpendicular to z is the x direction. Raises `FrameError` where they are parallel or zero."""
        origin = frozen_float(origin, "origin", (3,))
        z = frozen_float(z, "z", (3,))
        x = frozen_float(x, "x", (3,))
        length = float(np.linalg.norm(z))
        if not length > 0.0:
            raise FrameError("the z direction has no length")
        z = z / length
        across = x - z * float(x @ z)
        size = float(np.linalg.norm(across))
        if not size > 1e-12 * max(float(np.linalg.norm(x)), 1e-300):
            raise FrameError("the x direction is parallel to z", remedy="choose another tertiary datum")
        across = across / size
        rotation = np.vstack([across, np.cross(z, across), z])
        return cls.nearest(rotation, -(rotation @ origin))

    @classmethod
    def from_rotation_vector(cls, vector: Any, translation: Any = (0.0, 0.0, 0.0)) -> Rigid:
        """Rotation by ``|vector|`` radians about ``vector``, then translation."""
        v = frozen_float(vector, "vector", (3,))
        angle = float(np.linalg.norm(v))
        if angle == 0.0:
            return cls(np.eye(3), translation)
        k = v / angle
        cross = np.array([[0.0, -k[2], k[1]], [k[2], 0.0, -k[0]], [-k[1], k[0], 0.0]])
        rotation = np.eye(3) + math.sin(angle) * cross + 2.0 * math.sin(angle / 2.0) ** 2 * (cross @ cross)
        return cls.nearest(rotation, translation)

    @property
    def matrix(self) -> np.ndarray:
        """Homogeneous (4, 4) matrix."""
        result = np.eye(4)
        result[:3, :3] = self.rotation
        result[:3, 3] = self.translation
        return result

    def apply(self, xyz: Any) -> np.ndarray:
        """Move points (n, 3) or one point (3,)."""
        return np.asarray(xyz, dtype=np.float64) @ self.rotation.T + self.translation

    def rotate(self, vectors: Any) -> np.ndarray:
        """Turn directions (n, 3) or (3,), without translation."""
        return np.asarray(vectors, dtype=np.float64) @ self.rotation.T

    def inverse(self) -> Rigid:
        return Rigid(self.rotation.T, -(self.rotation.T @ self.translation))

    def __matmul__(self, other: Rigid) -> Rigid:
        """``a_from_b @ b_from_c`` is ``a_from_c``."""
        return Rigid.nearest(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def to_dict(self) -> dict[str, Any]:
        return {"rotation": self.rotation.tolist(), "translation": self.translation.tolist()}


@dataclass(frozen=True, eq=False)
class Frame:
    """A named coordinate frame; every frame but a root names its parent and how to get there.

    ``parent_from_self`` moves coordinates of this frame into the parent's, in the unit of the data.
    """

    name: str
    parent: Frame | None = None
    parent_from_self: Rigid | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise FrameError("a frame needs a name", got=repr(self.name))
        if (self.parent is None) != (self.parent_from_self is None):
            raise FrameError(
                f"frame {self.name!r} must have both a parent and parent_from_self, or neither",
                remedy="a frame made by alignment names what it was aligned to",
            )
        if self.parent is not None and self.name in [frame.name for frame in self.parent.chain()]:
            raise FrameError(f"frame {self.name!r} is among its own ancestors")

    def chain(self) -> list[Frame]:
        """This frame, its parent, and so on to the root."""
        result = [self]
        while result[-1].parent is not None:
            result.append(result[-1].parent)
        return result

    def root_from_self(self) -> Rigid:
        motion = Rigid.identity()
        for frame in self.chain():
            if frame.parent_from_self is not None:
                motion = frame.parent_from_self @ motion
        return motion

    def motion_to(self, target: Frame) -> Rigid:
        """``target_from_self``; raises `FrameError` where the frames have no common root."""
        if self.chain()[-1].name != target.chain()[-1].name:
            raise FrameError(
                f"no way from frame {self.name!r} to {target.name!r}",
                expected="frames with a common root",
                got=f"roots {self.chain()[-1].name!r} and {target.chain()[-1].name!r}",
                remedy="align one to the other first",
            )
        return target.root_from_self().inverse() @ self.root_from_self()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "parent": None if self.parent is None else self.parent.to_dict(),
            "parent_from_self": None if self.parent_from_self is None else self.parent_from_self.to_dict(),
        }


def as_frame(frame: Frame | str) -> Frame:
    """A `Frame`, or a root frame of that name."""
    return frame if isinstance(frame, Frame) else Frame(frame)
