"""Motions that the data do not determine: the null space of the information matrix, named as motions of a workshop.

The null space of a surface's constraint is a space of twists: of a plane two translations and a rotation, of a cylinder
a rotation and a translation, of a sphere three rotations, of a screw one helix. Source: N. Gelfand & L. J. Guibas,
"Shape segmentation using local slippage analysis", Symp. on Geometry Processing 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FreeMotion:
    """One motion that the data do not determine, in the target frame.

    ``direction`` (3,) is the unit vector of the translation or of the axis; ``point`` (3,) a point of the axis (None
    for translations), in the unit of the registration; ``pitch`` the advance per radian of a helical motion.
    """

    kind: Literal["translation", "rotation", "helical"]
    direction: FloatArray
    point: FloatArray | None = None
    pitch: float = 0.0

    @property
    def words(self) -> str:
        along = _numbers(self.direction)
        if self.point is None:
            return f"translation along {along}"
        text = f"rotation about the axis along {along} through {_numbers(self.point)}"
        return text if self.kind == "rotation" else f"{text} with an advance of {self.pitch:.6g} per radian"

    def twist(self, pivot: FloatArray) -> FloatArray:
        """The motion as a unit twist (6,) about the pivot."""
        if self.point is None:
            return np.concatenate([np.zeros(3), self.direction])
        v = np.cross(self.direction, pivot - self.point) + self.pitch * self.direction
        return np.concatenate([self.direction, v])

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "direction": self.direction.tolist(),
            "point": None if self.point is None else self.point.tolist(),
            "pitch": self.pitch,
            "words": self.words,
        }


def _numbers(v: FloatArray) -> str:
    return "(" + ", ".join(f"{0.0 if abs(x) < 5e-13 else x:.6g}" for x in v) + ")"


def name_motions(null: FloatArray, pivot: FloatArray, length: float) -> tuple[FreeMotion, ...]:
    """The space of twists spanned by ``null`` (6, k), in the chart (omega, v / length) about ``pivot``, as motions.

    Translations first; then rotations, through one common point where there is one (a sphere's centre).
    """
    k = null.shape[1]
    if k == 0:
        return ()
    # the combinations without rotation
    _, s, vt = np.linalg.svd(null[:3])
    rank = int(np.sum(s > 1e-6))
    translations = null @ vt[rank:].T
    turning = null @ vt[:rank].T
    result = [FreeMotion("translation", _signed(row)) for row in _tidy(translations[3:]).T]
    if rank == 0:
        return tuple(result)
    omega = turning[:3]
    v = turning[3:] * length
    axes = _tidy(omega)  # nicer axes of the same space
    mix = np.linalg.lstsq(omega, axes, rcond=None)[0]
    omega, v = omega @ mix, v @ mix
    span = np.linalg.qr(np.stack([m.direction for m in result], axis=1))[0] if result else np.zeros((3, 0))
    keep = np.eye(3) - span @ span.T  # a rotation combined with a free translation is the same rotation elsewhere
    # a common point x: v_i + omega_i x x = 0 for all i, outside the free translations
    rows = np.vstack([keep @ _cross(omega[:, i]) for i in range(rank)])
    right = np.concatenate([-keep @ v[:, i] for i in range(rank)])
    x = np.linalg.lstsq(rows, right, rcond=1e-9)[0]
    common = float(np.linalg.norm(rows @ x - right)) <= 1e-6 * length
    for i in range(rank):
        w = omega[:, i]
        size = float(np.linalg.norm(w))
        w, vi = w / size, v[:, i] / size
        if common:
            result.append(FreeMotion("rotation", _signed(w), _foot(pivot, x, w, rank)))
            continue
        pitch = float(w @ keep @ vi)
        point = pivot + np.cross(w, vi)
        kind: Literal["rotation", "helical"] = "rotation" if abs(pitch) <= 1e-6 * length else "helical"
        result.append(FreeMotion(kind, _signed(w), point, 0.0 if kind == "rotation" else pitch))
    return tuple(result)


def _foot(pivot: FloatArray, x: FloatArray, w: FloatArray, rank: int) -> FloatArray:
    """The common point of several axes; the foot of the pivot where there is one axis only."""
    return pivot + (x if rank > 1 else x - float(x @ w) * w)


def _cross(w: FloatArray) -> FloatArray:
    return np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])


def _tidy(vectors: FloatArray) -> FloatArray:
    """An orthonormal basis (3, k) of the span of the columns, along coordinate axes where the span holds them."""
    k = vectors.shape[1]
    if k == 0:
        return np.zeros((3, 0))
    u, s, _ = np.linalg.svd(vectors, full_matrices=False)
    span = u[:, : int(np.sum(s > 1e-9 * s[0]))]
    projector = span @ span.T
    basis: list[FloatArray] = []
    for _ in range(span.shape[1]):
        taken = np.array(basis).reshape(-1, 3)
        left = projector - taken.T @ taken
        lengths = np.linalg.norm(left, axis=0)
        best = int(np.argmax(np.round(lengths, 9)))
        basis.append(left[:, best] / lengths[best])
    return np.array(basis).T


def _signed(direction: FloatArray) -> FloatArray:
    """The direction by the house rule: the first of z, y, x that exceeds 0.1 is positive."""
    from metrology_core.features.base import sign_of

    unit = direction / np.linalg.norm(direction)
    return np.asarray(unit * sign_of(unit))
