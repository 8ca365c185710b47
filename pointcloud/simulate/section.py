"""The nominal blade section: an aerofoil-like closed curve given by points, and the spline that they define.

The curve is *defined* as the periodic cubic spline through the points of the nominal file, parametrised by accumulated
chord length. Here it is built with SciPy; the evaluation has its own construction (`pointcloud.nominal.curve`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def aerofoil_points(
    *,
    chord: float = 32.0,
    thickness: float = 4.2,
    camber: float = 3.5,
    edge_radius: tuple[float, float] = (0.6, 0.35),
    center: tuple[float, float] = (-47.5, 0.0),
    angle: float = 1.2,
    n: int = 240,
) -> FloatArray:
    """Points (n, 2), counter-clockwise, of a cambered section with round leading and trailing edge; lengths in mm.

    Envelope of circles along a parabolic camber line, ``angle`` in rad from x, centred on ``center``. The points
    crowd at the edges, where the curvature is, as a designer's table does.
    """
    lead, trail = edge_radius
    # Parameter 0..1 around: suction side from trailing to leading edge, then pressure side back.
    m = n // 2
    s = 0.5 * (1.0 - np.cos(np.pi * (np.arange(m) + 0.5) / m))  # 0 at the leading edge, 1 at the trailing edge
    half = 0.5 * chord - np.array([lead, trail])

    def envelope(t: FloatArray, side: float) -> FloatArray:
        # A smooth half-thickness that ends in circular edges: superellipse-like blend of radius and hump.
        x = -half[0] + t * (half[0] + half[1])
        y = camber * (1.0 - (2.0 * t - 1.0) ** 2)
        slope = -4.0 * camber * (2.0 * t - 1.0) / (half[0] + half[1])
        radius = lead * (1.0 - t) + trail * t + 0.5 * thickness * np.sin(np.pi * t) ** 1.0 * (1.0 - 0.25 * t)
        radius_slope = (
            trail - lead + 0.5 * thickness * (np.pi * np.cos(np.pi * t) * (1.0 - 0.25 * t) - 0.25 * np.sin(np.pi * t))
        ) / (half[0] + half[1])
        length = np.hypot(1.0, slope)
        tangent = np.stack([np.ones_like(t), slope], axis=-1) / length[:, None]
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
        sine = np.clip(radius_slope / length, -0.999, 0.999)  # envelope of a family of circles
        cosine = np.sqrt(1.0 - sine**2)
        return np.stack([x, y], axis=-1) + radius[:, None] * (
            -sine[:, None] * tangent + side * cosine[:, None] * normal
        )

    upper = envelope(s[::-1], 1.0)  # from trailing to leading edge
    lower = envelope(s, -1.0)
    ends = []
    for index, a, b in ((0, upper[-1], lower[0]), (1, lower[-1], upper[0])):
        t = np.array([float(index)])
        middle = np.array([-half[0] + t[0] * (half[0] + half[1]), 0.0])
        radius = edge_radius[index]
        start = np.arctan2(*(a - middle)[::-1])
        stop = np.arctan2(*(b - middle)[::-1])
        while stop < start:
            stop += 2.0 * np.pi
        inner = np.linspace(start, stop, 18)[1:-1]
        ends.append(middle + radius * np.stack([np.cos(inner), np.sin(inner)], axis=-1))
    outline = np.concatenate([upper, ends[0], lower, ends[1]])
    c, si = np.cos(angle), np.sin(angle)
    turned = (outline - np.array([0.0, 0.5 * camber])) @ np.array([[c, si], [-si, c]])
    return np.asarray(np.round(turned + np.asarray(center), 6), dtype=np.float64)


class SplineSection:
    """The nominal curve as SciPy sees it: ``section(u)`` with u in turns of the closed curve (period 1)."""

    def __init__(self, points: FloatArray) -> None:
        from scipy.interpolate import CubicSpline  # heavy: only simulations need it

        closed = np.vstack([points, points[:1]])
        knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
        self.length = float(knots[-1])
        self._spline = CubicSpline(knots, closed, bc_type="periodic")
        area = 0.5 * np.sum(closed[:-1, 0] * closed[1:, 1] - closed[1:, 0] * closed[:-1, 1])
        self._turn = 1.0 if area > 0.0 else -1.0

    def __call__(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and unit normals out of the enclosed area, (..., 2) each."""
        t = np.mod(u, 1.0) * self.length
        d = self._spline(t, 1)
        d = d / np.linalg.norm(d, axis=-1, keepdims=True)
        return self._spline(t), self._turn * np.stack([d[..., 1], -d[..., 0]], axis=-1)

    def deviation(self, xy: FloatArray, u: FloatArray) -> FloatArray:
        """Signed normal distances (n,) of points near the curve, positive outside; ``u`` is a start in turns."""
        t = np.mod(u, 1.0) * self.length
        for _ in range(20):  # Newton on (p - c).c' = 0; quadratic, ends at rounding
            r = xy - self._spline(np.mod(t, self.length))
            d1 = self._spline(np.mod(t, self.length), 1)
            d2 = self._spline(np.mod(t, self.length), 2)
            t = t + np.sum(r * d1, axis=-1) / (np.sum(d1 * d1, axis=-1) - np.sum(r * d2, axis=-1))
        foot, normal = self(t / self.length)
        return np.asarray(np.sum((xy - foot) * normal, axis=-1), dtype=np.float64)
