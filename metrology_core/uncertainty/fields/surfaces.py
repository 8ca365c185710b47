"""Distance along a surface: which one a correlation function may take there, and coordinates for it.

A function of distance that is positive definite in space need not be so along a curved surface:

* lines and planes (and arcs and sectors up to half a turn, unrolled): every kernel, along the surface;
* full circles: along the arc only the exponential and rougher Matern kernels (nu <= 1/2); the Gaussian and smoother
  Matern are not positive definite there. Instead the kernel is *wrapped*: summed over its images one turn apart, which
  is positive definite for all of them and equals the distance along the arc where the length is small;
* spheres: as circles (Gneiting, Bernoulli 19 (2013) 1327); for smooth kernels the chord;
* cylinders: no kernel along the shortest way round is safe (fractional fields on them do not exist for any exponent:
  Venet, 2019), so wrapped;
* all other surfaces: the straight line through space (chord), valid for every kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import basis
from metrology_core.kernels import correlation as _codes
from metrology_core.uncertainty.fields.kernels import Kernel

METRICS = ("auto", "geodesic", "wrapped", "chordal")
MAX_IMAGES = 64  # turns on each side that a wrapped kernel may reach


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Points as the compiled sums take them: x (n, 4), the code of the metric, its numbers, and words for a report.

    ``along`` is ``geodesic``, ``wrapped`` or ``chordal``; ``place`` (n, 3) are coordinates whose straight distance
    grows with the metric's, for searching neighbours.
    """

    x: np.ndarray
    metric: int
    numbers: np.ndarray
    along: str
    words: str
    place: np.ndarray


def coordinates(feature: Any, xyz: np.ndarray, kernel: Kernel, metric: str = "auto") -> Coordinates:
    """Coordinates of points xyz (n, 3 or 2) on a feature (None: points in space or a plane) for a kernel.

    ``metric``: ``auto`` takes the distance along the surface where the kernel is positive definite with it, else
    wrapped (circle, cylinder), else the chord. Raises `ParameterError` where a metric is asked for that is not positive
    definite, or that the surface does not have.
    """
    if metric not in METRICS:
        raise ParameterError("unknown distance", expected=", ".join(METRICS), got=repr(metric))
    xyz = np.asarray(xyz, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] not in (2, 3) or not np.isfinite(xyz).all():
        raise ParameterError("points of a field are finite, (n, 3) or (n, 2)", got=f"shape {xyz.shape}")
    kind = "" if feature is None else str(feature.kind)
    if metric != "chordal":
        if kind in ("circle", "circle_2d", "cylinder"):
            return _round(feature, xyz, kernel, metric, kind == "cylinder")
        if kind in ("line", "line_2d", "plane"):
            return _flat(feature, xyz, kernel, metric)
        if kind == "sphere":
            return _sphere(feature, xyz, kernel, metric)
        if metric == "geodesic" or metric == "wrapped":
            raise ParameterError(
                f"no correlation along the surface of a {kind or 'set of points'} is known to be positive definite",
                got=f"metric={metric!r}", remedy="take metric='chordal' (or 'auto')",
            )  # fmt: skip
    centred = xyz - xyz.mean(axis=0)
    return _made(centred, _codes.EUCLIDEAN, kernel, "chordal", "straight distance")


def _made(
    columns: np.ndarray, metric: int, kernel: Kernel, along: str, words: str, period: float = 0.0, radius: float = 1.0,
    place: np.ndarray | None = None,
) -> Coordinates:  # fmt: skip
    x = np.zeros((len(columns), 4))
    x[:, : columns.shape[1]] = columns
    numbers = np.array([kernel.length, period, radius, 1.0, 0.0])
    if metric == _codes.WRAPPED:
        images = math.ceil(kernel.range(1e-12) / period)
        if images > MAX_IMAGES:
            raise ParameterError(
                "the correlation reaches round the feature too often to be wrapped",
                expected=f"at most {MAX_IMAGES} turns", got=f"length {kernel.length:g}, circumference {period:g}",
                remedy="an error that is common to all points is a parameter, not a field; or take metric='chordal'",
            )  # fmt: skip
        numbers[4] = images
        numbers[3] = float(np.sum(kernel(np.arange(-images, images + 1) * period)))
    return Coordinates(x, metric, numbers, along, words, np.ascontiguousarray(x[:, :3]) if place is None else place)


def _flat(feature: Any, xyz: np.ndarray, kernel: Kernel, metric: str) -> Coordinates:
    if metric == "wrapped":
        raise ParameterError(f"a {feature.kind} has no circumference to wrap round", remedy="take metric='auto'")
    if feature.kind == "plane":
        u, v = basis(feature.normal)
        y = xyz - feature.point
        columns = np.stack([y @ u, y @ v], axis=1)
    else:
        columns = ((xyz - feature.point) @ feature.direction)[:, None]
    return _made(columns, _codes.EUCLIDEAN, kernel, "geodesic", f"distance along the {feature.kind}")


def _round(feature: Any, xyz: np.ndarray, kernel: Kernel, metric: str, cylinder: bool) -> Coordinates:
    radius = float(feature.radius)
    if xyz.shape[1] == 2:
        y = xyz - feature.center
        angle, height = np.arctan2(y[:, 1], y[:, 0]), np.zeros(len(xyz))
    else:
        axis = feature.axis if cylinder else feature.normal
        u, v = basis(axis)
        y = xyz - (feature.point if cylinder else feature.center)
        angle = np.arctan2(y @ v, y @ u)
        height = y @ axis if cylinder else np.zeros(len(xyz))
    turned = np.sort(angle)
    gaps = np.diff(turned, append=turned[0] + 2.0 * np.pi)
    widest = int(np.argmax(gaps))
    place = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    if gaps[widest] >= math.pi - 1e-9 and metric != "wrapped":
        # up to half a turn the surface unrolls into a strip of a plane, and no way round is shorter
        first = turned[(widest + 1) % len(turned)]
        along = radius * np.mod(angle - first + 1e-12, 2.0 * np.pi)
        word = "sector unrolled" if cylinder else "distance along the arc"
        return _made(np.stack([along, height], axis=1), _codes.EUCLIDEAN, kernel, "geodesic", word, place=place)
    geodesic = not cylinder and kernel.nu <= 0.5
    if metric == "geodesic" and not geodesic:
        what = "cylinder" if cylinder else "full circle"
        raise ParameterError(
            f"the {kernel.name} kernel of the distance round a {what} is not positive definite",
            expected="exponential, or Matern with nu <= 1/2, on a circle" if not cylinder else "metric='wrapped'",
            remedy="take metric='wrapped' (images one turn apart) or 'chordal'",
        )
    period = 2.0 * math.pi * radius
    columns = np.stack([radius * np.mod(angle, 2.0 * np.pi), height], axis=1)
    if geodesic and metric != "wrapped":
        return _made(
            columns, _codes.CIRCLE, kernel, "geodesic", "distance along the circle", period, radius, place
        )  # fmt: skip
    words = "distance along the unrolled surface, summed over turns"
    return _made(columns, _codes.WRAPPED, kernel, "wrapped", words, period, radius, place)


def _sphere(feature: Any, xyz: np.ndarray, kernel: Kernel, metric: str) -> Coordinates:
    if metric == "wrapped":
        raise ParameterError("a sphere has no single circumference to wrap round", remedy="take metric='auto'")
    if kernel.nu > 0.5 and metric == "geodesic":
        raise ParameterError(
            f"the {kernel.name} kernel of the distance along a sphere is not positive definite",
            expected="exponential, or Matern with nu <= 1/2", remedy="take metric='chordal' (or 'auto')",
        )  # fmt: skip
    y = xyz - feature.center
    size = np.linalg.norm(y, axis=1)
    y = y * (feature.radius / np.where(size > 0.0, size, 1.0))[:, None]
    if kernel.nu > 0.5:
        return _made(y, _codes.EUCLIDEAN, kernel, "chordal", "chord of the sphere")
    return _made(y, _codes.SPHERE, kernel, "geodesic", "distance along the sphere", radius=float(feature.radius))
