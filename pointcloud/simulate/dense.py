"""Least-squares elements of dense, noise-free surfaces: the truth, computed apart from `metrology_core.fitting`.

The measurand of a simulated part is defined on its continuous surface: the associated element is the one that
minimises the integral of the squared normal distance over the surface. The integral is a sum over a fine regular grid
weighted with the area element. Plain NumPy, central differences, undamped Gauss-Newton: slow and simple on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointcloud.simulate.surfaces import Surface

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Dense:
    """A surface sampled densely: points (n, 3), area weights (n,) of sum 1."""

    xyz: FloatArray
    weight: FloatArray


def sample(surface: Surface, nu: int = 240, nv: int = 36) -> Dense:
    """Regular midpoint grid over the surface; 240 x 36 resolves 20 undulations with 12 samples each."""
    u, v = np.meshgrid((np.arange(nu) + 0.5) / nu, (np.arange(nv) + 0.5) / nv, indexing="ij")
    weight = surface.area(u, v).ravel()
    return Dense(surface.point(u, v).reshape(-1, 3), weight / weight.sum())


@dataclass(frozen=True)
class TruePlane:
    """Least-squares plane: a point, the unit normal, and the residuals of the dense points."""

    point: FloatArray
    normal: FloatArray
    residuals: FloatArray


@dataclass(frozen=True)
class TrueRevolved:
    """Least-squares cylinder or cone: axis point at ``reference`` height, axis, radius there, half-angle, residuals."""

    point: FloatArray
    axis: FloatArray
    radius: float
    half_angle: float
    residuals: FloatArray

    def at_height(self, z: float) -> FloatArray:
        """Axis point (3,) at part height ``z``."""
        out: FloatArray = self.point + (z - self.point[2]) / self.axis[2] * self.axis
        return out


@dataclass(frozen=True)
class TrueSphere:
    """Least-squares sphere: centre, radius, residuals of the dense points."""

    center: FloatArray
    radius: float
    residuals: FloatArray


def sphere(dense: Dense, center: FloatArray, radius: float) -> TrueSphere:
    """Least-squares sphere of a dense surface near a start."""
    p = np.array([*center, radius])
    root = np.sqrt(dense.weight)
    for _ in range(10):
        d = dense.xyz - p[:3]
        size = np.linalg.norm(d, axis=1)
        jacobian = np.hstack([-d / size[:, None], -np.ones((len(d), 1))])
        step = np.linalg.lstsq(jacobian * root[:, None], -(size - p[3]) * root, rcond=None)[0]
        p = p + step
        if np.max(np.abs(step)) < 1e-13 * (1.0 + radius):
            break
    return TrueSphere(p[:3], float(p[3]), np.linalg.norm(dense.xyz - p[:3], axis=1) - p[3])


def plane(dense: Dense, toward: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> TruePlane:
    """Least-squares plane of a dense surface, normal on the side of ``toward``."""
    center = dense.weight @ dense.xyz
    local = dense.xyz - center
    _, vectors = np.linalg.eigh((local * dense.weight[:, None]).T @ local)
    normal = vectors[:, 0] * np.sign(vectors[:, 0] @ np.asarray(toward))
    return TruePlane(center, normal, local @ normal)


def revolved(dense: Dense, start: TrueRevolved, *, cone: bool) -> TrueRevolved:
    """Least-squares cylinder, or cone with ``cone``, of a dense surface about an axis near z."""
    z0 = start.point[2]

    def unpack(p: FloatArray) -> tuple[FloatArray, FloatArray]:
        axis = np.array([p[2], p[3], 1.0])
        return np.array([p[0], p[1], z0]), axis / np.linalg.norm(axis)

    def residual(p: FloatArray) -> FloatArray:
        point, axis = unpack(p)
        d = dense.xyz - point
        along = d @ axis
        radial = np.linalg.norm(d - along[:, None] * axis, axis=1)
        if not cone:
            return np.asarray(radial - p[4], dtype=np.float64)
        return np.asarray((radial - p[4] - along * np.tan(p[5])) * np.cos(p[5]), dtype=np.float64)

    p = np.array([start.point[0], start.point[1], start.axis[0], start.axis[1], start.radius, start.half_angle])
    free = 6 if cone else 5
    root = np.sqrt(dense.weight)
    for _ in range(8):
        jacobian = np.stack([_slope(residual, p, j) for j in range(free)], axis=1)
        step = np.linalg.lstsq(jacobian * root[:, None], -residual(p) * root, rcond=None)[0]
        p[:free] += step
        if np.max(np.abs(step)) < 1e-11 * (1.0 + start.radius):  # 1e-9 mm at most, 1e-3 of what is compared
            break
    point, axis = unpack(p)
    return TrueRevolved(point, axis, float(p[4]), float(p[5]), residual(p))


def _slope(f: Callable[[FloatArray], FloatArray], p: FloatArray, j: int) -> FloatArray:
    step = np.zeros(len(p))
    step[j] = 1e-5  # mm or rad on lengths of 30: rounding 1e-10 and curvature 1e-11 relative, both far below need
    return np.asarray((f(p + step) - f(p - step)) / 2e-5, dtype=np.float64)
