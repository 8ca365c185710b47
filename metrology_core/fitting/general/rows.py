"""Residual rows of features and their derivatives by rigid velocities, vectorised and apart from the kernels.

The distance c of a point x to a feature that moves with the velocity field v changes by -D.v(x), with D the gradient of
c at x: one formula gives shifts, tilts and rotations of every feature; only sizes are particular to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.features import Feature, Line2D, basis
from metrology_core.features.curves import ellipse_feet


@dataclass(frozen=True, eq=False)
class Rows:
    """Residuals c (k, n), their gradients with respect to the points D (k, n, d), and with respect to the chart J
    (k, n, p): k = 2 for curves in space (line: along u and v; circle, ellipse, slot: in the plane, then out of it).
    """

    c: np.ndarray
    d: np.ndarray
    j: np.ndarray

    def times(self, factor: float) -> Rows:
        """All rows multiplied."""
        return Rows(self.c * factor, self.d * factor, self.j * factor)


def feature_rows(feature: Feature, xyz: np.ndarray, sides: np.ndarray | None = None) -> Rows:
    """Rows of points (n, d). sides (n,) of +1 and -1: to which of two parallel planes each point belongs."""
    return _planar(feature, xyz, sides) if feature.dimension == 2 else _spatial(feature, xyz, sides)


def _unit(y: np.ndarray, f: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    safe = np.where(f > 0.0, f, 1.0)
    result = y / safe[:, None]
    if not (f > 0.0).all():
        result[f == 0.0] = fallback
    return result


def _sides(feature: Any, y: np.ndarray, sides: np.ndarray | None) -> np.ndarray:
    if sides is not None:
        return sides
    return np.where(y @ feature.normal >= 0.0, 1.0, -1.0)


def _round_end(x: np.ndarray, y: np.ndarray, feature: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Slot in its own coordinates: distance, normal (2), sign of the end (0 along the sides)."""
    half = 0.5 * (feature.length - feature.width)
    end = np.where(x > half, 1.0, np.where(x < -half, -1.0, 0.0))
    ex = np.where(end == 0.0, 0.0, x - end * half)
    f = np.hypot(ex, y)
    safe = np.where(f > 0.0, f, 1.0)
    nx, ny = np.where(f > 0.0, ex / safe, 0.0), np.where(f > 0.0, y / safe, 1.0)
    return f - 0.5 * feature.width, nx, ny, end


def _planar(feature: Any, xyz: np.ndarray, sides: np.ndarray | None) -> Rows:
    kind = feature.kind
    n = len(xyz)
    place = feature.point if hasattr(feature, "point") else feature.center
    y = xyz - place
    columns: list[np.ndarray] = []
    if kind == "line":
        assert isinstance(feature, Line2D)
        normal = np.broadcast_to(feature.normal, (n, 2))
        c = y @ feature.normal
        columns = [-np.ones(n), -(y @ feature.direction)]
        return Rows(c[None], normal[None], np.column_stack(columns)[None])
    if kind == "parallel_planes":
        side = _sides(feature, y, sides)
        across = feature.normal
        left = np.array((-across[1], across[0]))
        d = side[:, None] * across
        c = side * (y @ across) - 0.5 * feature.width
        columns = [-side, side * (y @ left), np.full(n, -0.5)]
        return Rows(c[None], d[None], np.column_stack(columns)[None])
    if kind == "circle":
        f = np.hypot(y[:, 0], y[:, 1])
        d = _unit(y, f, np.array((1.0, 0.0)))
        return Rows((f - feature.radius)[None], d[None], np.column_stack((-d, -np.ones(n)))[None])
    u = feature.major_axis if kind == "ellipse" else feature.direction
    v = np.array((-u[1], u[0]))
    px, py = y @ u, y @ v
    if kind == "ellipse":
        c, nx, ny = ellipse_feet(px, py, feature.semi_major, feature.semi_minor)
        sizes = [-nx * (px - c * nx) / feature.semi_major, -ny * (py - c * ny) / feature.semi_minor]
    else:
        c, nx, ny, end = _round_end(px, py, feature)
        sizes = [-0.5 * end * nx, 0.5 * end * nx - 0.5]
    d = nx[:, None] * u + ny[:, None] * v
    columns = [-nx, -ny, nx * py - ny * px, *sizes]
    return Rows(c[None], d[None], np.column_stack(columns)[None])


def _spatial(feature: Any, xyz: np.ndarray, sides: np.ndarray | None) -> Rows:
    kind = feature.kind
    n = len(xyz)
    place = feature.point if hasattr(feature, "point") else feature.center
    y = xyz - place
    if kind == "sphere":
        f = np.sqrt(np.einsum("ij,ij->i", y, y))
        d = _unit(y, f, np.array((0.0, 0.0, 1.0)))
        return Rows((f - feature.radius)[None], d[None], np.column_stack((-d, -np.ones(n)))[None])
    q = feature.parameters
    w = q["normal"] if "normal" in q else (q["axis"] if "axis" in q else q["direction"])
    if kind == "ellipse":
        u, v = feature.major_axis, feature.minor_axis
    elif kind == "slot":
        u, v = feature.direction, np.cross(w, feature.direction)
    else:
        u, v = basis(w)
    x1, x2, g = y @ u, y @ v, y @ w
    one, zero = np.ones(n), np.zeros(n)
    if kind == "plane":
        return Rows(g[None], np.broadcast_to(w, (1, n, 3)), np.column_stack((-one, x1, x2))[None])
    if kind == "parallel_planes":
        side = _sides(feature, y, sides)
        j = np.column_stack((-side, side * x1, side * x2, -0.5 * one))
        return Rows((side * g - 0.5 * feature.width)[None], (side[:, None] * w)[None], j[None])
    if kind == "line":
        j1, j2 = np.column_stack((-one, zero, -g, zero)), np.column_stack((zero, -one, zero, -g))
        d = np.stack((np.broadcast_to(u, (n, 3)), np.broadcast_to(v, (n, 3))))
        return Rows(np.stack((x1, x2)), d, np.stack((j1, j2)))
    # normal in the local frame: (a, b, e) along u, v, w
    sizes: list[np.ndarray]
    e = zero
    if kind == "ellipse":
        c, a, b = ellipse_feet(x1, x2, feature.semi_major, feature.semi_minor)
        sizes = [-a * (x1 - c * a) / feature.semi_major, -b * (x2 - c * b) / feature.semi_minor]
    elif kind == "slot":
        c, a, b, end = _round_end(x1, x2, feature)
        sizes = [-0.5 * end * a, 0.5 * end * a - 0.5]
    else:
        f = np.hypot(x1, x2)
        safe = np.where(f > 0.0, f, 1.0)
        a, b = np.where(f > 0.0, x1 / safe, 1.0), x2 / safe
        if kind in ("circle", "cylinder"):
            c = f - feature.radius
            sizes = [-one]
        elif kind == "cone":
            cos, sin = math.cos(feature.half_angle), math.sin(feature.half_angle)
            c = (f - feature.radius) * cos - g * sin
            a, b, e = a * cos, b * cos, np.full(n, -sin)
            sizes = [np.full(n, -cos), -(f - feature.radius) * sin - g * cos]
        else:  # torus
            h = f - feature.major_radius
            t = np.hypot(h, g)
            safe = np.where(t > 0.0, t, 1.0)
            p, e = np.where(t > 0.0, h / safe, 1.0), g / safe
            c = t - feature.minor_radius
            a, b = p * a, p * b
            sizes = [-p, -one]
    d = a[:, None] * u + b[:, None] * v + e[:, None] * w
    # -D.(v x y) = -(a g - e x1), -D.(-u x y) = -(b g - e x2), -D.(w x y) = a x2 - b x1
    tilts = [e * x1 - a * g, e * x2 - b * g]
    if kind in ("cylinder", "cone"):
        return Rows(c[None], d[None], np.column_stack((-a, -b, *tilts, *sizes))[None])
    if kind == "torus":
        return Rows(c[None], d[None], np.column_stack((-a, -b, -e, *tilts, *sizes))[None])
    spin = [] if kind == "circle" else [a * x2 - b * x1]
    flat = np.column_stack((-a, -b, zero, *tilts, *spin, *sizes))
    out = np.column_stack((zero, zero, -one, x1, x2, *[zero] * (len(spin) + len(sizes))))
    return Rows(np.stack((c, g)), np.stack((d, np.broadcast_to(w, (n, 3)))), np.stack((flat, out)))
