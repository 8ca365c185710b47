"""Rigid-body kinematics of a moving-bridge machine: 21 parametric errors as displacements of the probing point.

The part stands still; the bridge moves along y, the carriage along x on it, the ram along z, the probe hangs on the
ram. Each axis has one error of position, two of straightness, three of rotation, as functions of its own coordinate;
three angles say how far the axes are from square. A rotation acts through the lever from the reference point of its
carriage to the probing point (Abbe's principle). Source: Zhang et al., CIRP Ann. 34 (1985) 445; Schwenke et al., CIRP
Ann. 57 (2008) 660.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHAIN = (1, 0, 2)  # y carries x carries z: from the table to the probe
AXES = "xyz"


@dataclass(frozen=True)
class Guideways:
    """Range of the axes: ``low`` and ``high`` (3,) in machine coordinates; ``probe`` (3,) from the ram to the probing
    point. The reference points of bridge and carriage are at low x and y, at high z."""

    low: np.ndarray
    high: np.ndarray
    probe: np.ndarray

    @property
    def size(self) -> np.ndarray:
        return self.high - self.low

    def levers(self, xyz: np.ndarray, axis: int) -> np.ndarray:
        """(n, 3) from the reference point of a carriage to the probing points."""
        home = np.array([self.low[0], self.low[1], self.high[2]])
        result = np.broadcast_to(self.probe, xyz.shape).copy()
        for other in CHAIN[CHAIN.index(axis) + 1 :]:
            result[:, other] += xyz[:, other] - home[other]
        return result

    def translations(self, functions: np.ndarray, axis: int) -> np.ndarray:
        """(m, n, 3) displacements by m functions (m, n) of position along an axis."""
        out = np.zeros((*functions.shape, 3))
        out[:, :, axis] = functions
        return out

    def rotations(self, functions: np.ndarray, xyz: np.ndarray, carriage: int, about: int) -> np.ndarray:
        """(m, n, 3) displacements by m functions (m, n), in rad, of rotation of a carriage about an axis."""
        turn = np.zeros(3)
        turn[about] = 1.0
        return np.asarray(functions[:, :, None] * np.cross(turn, self.levers(xyz, carriage))[None])


def gains(xyz: np.ndarray, low: np.ndarray) -> np.ndarray:
    """(3, n, 3) displacements by a relative error 1 of each scale, from the low end."""
    out = np.zeros((3, len(xyz), 3))
    for axis in range(3):
        out[axis, :, axis] = xyz[:, axis] - low[axis]
    return out


def squareness(xyz: np.ndarray, low: np.ndarray) -> np.ndarray:
    """(3, n, 3) displacements by 1 rad of C0Y, B0Z, A0Z: y turned about z, z about y, z about x."""
    d = xyz - low
    out = np.zeros((3, len(xyz), 3))
    out[0, :, 0] = -d[:, 1]
    out[1, :, 0] = d[:, 2]
    out[2, :, 1] = -d[:, 2]
    return out
