"""Points on features, and how the distance of a point follows the feature's chart: written apart from the fitting
kernels.

The distance d of a point to a moving surface changes by -n.v, with n the surface normal at the foot and v the
velocity of the surface there. This holds for every feature, so one formula, fed with rigid velocities and size
velocities, gives all derivatives, and they depend on the foot alone: a point may be moved along its normal without
changing them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features import Circle2D, Ellipse2D, Feature, Line2D, basis


@dataclass(frozen=True, eq=False)
class Feet:
    """Foot points, residual directions, one (n, d) array per residual, and derivatives (n, p) of each residual.

    The feet are origin (d,) + local (n, d): kept apart, so that a point is rounded once, at the size of its
    coordinates.
    """

    origin: np.ndarray
    local: np.ndarray
    directions: tuple[np.ndarray, ...]
    jacobians: tuple[np.ndarray, ...]

    @property
    def points(self) -> np.ndarray:
        """(n, d) the feet themselves."""
        return np.asarray(self.origin + self.local)

    def displaced(self, *offsets: np.ndarray) -> np.ndarray:
        """(n, d) points at these distances (n,) along the residual directions."""
        local = self.local.copy()
        for offset, direction in zip(offsets, self.directions, strict=False):
            local += offset[:, None] * direction
        return np.asarray(self.origin + local)


def sample_feet(
    feature: Feature, n: int, rng: np.random.Generator, *, length: float | None = None, arc: float = 2.0 * math.pi
) -> Feet:
    """n random feet on a feature.

    length: extent along the axis or line, or side of a plane's patch (default: twice the radius, or 100); arc (rad):
    angle about the axis; of a sphere, a cap of this full angle. Residuals: the normal distance; lines and curves in
    space have two, across their direction; circles, ellipses and slots in space have two, in and out of the plane.
    Raises `ParameterError` for features without a sampler.
    """
    kind = feature.kind
    if hasattr(feature, "sample_feet"):
        return _freeform(feature, n, rng)
    q = feature.parameters
    size = length if length is not None else 2.0 * float(q.get("radius", q.get("semi_major", 50.0)))
    if kind == "line":
        return _line(feature, rng.uniform(-0.5, 0.5, n) * size)
    if kind == "plane":
        u, v = basis(q["normal"])
        x, y = rng.uniform(-0.5, 0.5, (2, n)) * size
        return _surface(feature, np.outer(x, u) + np.outer(y, v), np.broadcast_to(q["normal"], (n, 3)))
    if kind == "parallel_planes":
        if feature.dimension == 2:
            return _parallel_lines(feature, rng.uniform(-0.5, 0.5, n) * size, rng)
        u, v = basis(q["normal"])
        x, y = rng.uniform(-0.5, 0.5, (2, n)) * size
        normals = _two_sides(n, rng)[:, None] * q["normal"]
        return _surface(feature, np.outer(x, u) + np.outer(y, v) + 0.5 * q["width"] * normals, normals)
    if kind == "slot":
        return _slot(feature, n, rng)
    angle = arc * rng.uniform(-0.5, 0.5, n)
    if kind in ("circle", "ellipse"):
        return _curve(feature, angle)
    if kind == "sphere":
        z = 1.0 - (1.0 - math.cos(min(math.pi, 0.5 * arc))) * rng.random(n)
        turn = rng.uniform(-math.pi, math.pi, n)
        s = np.sqrt(np.maximum(0.0, 1.0 - z * z))
        normals = np.column_stack((s * np.cos(turn), s * np.sin(turn), z))
        normals /= np.linalg.norm(normals, axis=1)[:, None]
        return _surface(feature, q["radius"] * normals, normals)
    if kind not in ("cylinder", "cone", "torus"):
        raise ParameterError(f"no sampler for a {kind}", expected="a feature that can be fitted")
    w = q["axis"]
    u, v = basis(w)
    radial = np.outer(np.cos(angle), u) + np.outer(np.sin(angle), v)
    if kind == "torus":
        tube = rng.uniform(-math.pi, math.pi, n)
        normals = np.cos(tube)[:, None] * radial + np.outer(np.sin(tube), w)
        return _surface(feature, q["major_radius"] * radial + q["minor_radius"] * normals, normals)
    g = rng.uniform(-0.5, 0.5, n) * size
    if kind == "cylinder":
        return _surface(feature, q["radius"] * radial + np.outer(g, w), radial)
    slope = math.tan(q["half_angle"])
    if slope != 0.0:  # stay on the nappe that holds the point
        end = -0.9 * q["radius"] / slope
        g = np.maximum(g, end) if slope > 0.0 else np.minimum(g, end)
    normals = math.cos(q["half_angle"]) * radial - math.sin(q["half_angle"]) * w
    return _surface(feature, (q["radius"] + slope * g)[:, None] * radial + np.outer(g, w), normals)


def _line(feature: Feature, g: np.ndarray) -> Feet:
    q = feature.parameters
    n = len(g)
    zero, one = np.zeros(n), np.ones(n)
    if isinstance(feature, Line2D):
        local = np.outer(g, q["direction"])
        return Feet(q["point"], local, (np.broadcast_to(feature.normal, (n, 2)),), (np.column_stack((-one, -g)),))
    u, v = basis(q["direction"])
    return Feet(
        q["point"],
        np.outer(g, q["direction"]),
        (np.broadcast_to(u, (n, 3)), np.broadcast_to(v, (n, 3))),
        (np.column_stack((-one, zero, -g, zero)), np.column_stack((zero, -one, zero, -g))),
    )


def _curve(feature: Feature, angle: np.ndarray) -> Feet:
    """Circle and ellipse, in the plane and in space."""
    q = feature.parameters
    n = len(angle)
    c, s = np.cos(angle), np.sin(angle)
    ellipse = feature.kind == "ellipse"
    a, b = (q["semi_major"], q["semi_minor"]) if ellipse else (q["radius"], q["radius"])
    x, y = a * c, b * s
    norm = np.hypot(b * c, a * s)
    nx, ny = b * c / norm, a * s / norm
    sizes = [-nx * c, -ny * s] if ellipse else [-np.ones(n)]
    spin = [-(ny * x - nx * y)] if ellipse else []
    if feature.dimension == 2:
        if isinstance(feature, Ellipse2D):
            u = q["major_axis"]
            v = np.array((-u[1], u[0]))
        else:
            assert isinstance(feature, Circle2D)
            u, v = np.eye(2)
        local = np.outer(x, u) + np.outer(y, v)
        normals = np.outer(nx, u) + np.outer(ny, v)
        return Feet(q["center"], local, (normals,), (np.column_stack((-nx, -ny, *spin, *sizes)),))
    w = q["normal"]
    if ellipse:
        u, v = q["major_axis"], np.cross(w, q["major_axis"])
    else:
        u, v = basis(w)
    return _in_plane(feature, (u, v, w), (x, y), (nx, ny), [*spin, *sizes])


def _in_plane(
    feature: Feature,
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    at: tuple[np.ndarray, np.ndarray],
    normal: tuple[np.ndarray, np.ndarray],
    further: list[np.ndarray],
) -> Feet:
    """A plane curve in space: rows in the plane (further: rotation and sizes) and out of it."""
    (u, v, w), (x, y), (nx, ny) = frame, at, normal
    zero = np.zeros(len(x))
    flat = np.column_stack((-nx, -ny, zero, zero, zero, *further))
    across = np.column_stack((zero, zero, zero - 1.0, x, y, *([zero] * len(further))))
    normals = np.outer(nx, u) + np.outer(ny, v)
    center = feature.parameters["center"]
    return Feet(center, np.outer(x, u) + np.outer(y, v), (normals, np.broadcast_to(w, (len(x), 3))), (flat, across))


def _slot(feature: Feature, n: int, rng: np.random.Generator) -> Feet:
    """Feet along the outline of a slot with round ends, uniform in length."""
    q = feature.parameters
    u = q["direction"]
    r, half = 0.5 * q["width"], 0.5 * (q["length"] - q["width"])
    s = rng.uniform(0.0, 4.0 * half + 2.0 * math.pi * r, n)
    end = s >= 4.0 * half
    turn = (s - 4.0 * half) / r - 0.5 * math.pi  # round both ends in turn: right, then left
    right = turn < 0.5 * math.pi
    side = np.where(s < 2.0 * half, 1.0, -1.0)
    nx = np.where(end, np.cos(turn), 0.0)
    ny = np.where(end, np.sin(turn), side)
    middle = np.where(end, np.where(right, half, -half), np.where(side > 0.0, s - half, s - 3.0 * half))
    x, y = middle + r * nx, r * ny
    # the length moves the ends outwards; the width moves their centres inwards and their arcs outwards
    further = [-(ny * x - nx * y), -0.5 * np.abs(nx), -0.5 * (1.0 - np.abs(nx))]
    if feature.dimension == 2:
        v = np.array((-u[1], u[0]))
        normals = np.outer(nx, u) + np.outer(ny, v)
        local = np.outer(x, u) + np.outer(y, v)
        return Feet(q["center"], local, (normals,), (np.column_stack((-nx, -ny, *further)),))
    w = q["normal"]
    return _in_plane(feature, (u, np.cross(w, u), w), (x, y), (nx, ny), further)


def _two_sides(n: int, rng: np.random.Generator) -> np.ndarray:
    """Side of each point, an odd number of +1: three points that leave one on a side then find it even, as signs that
    balance ask for."""
    return np.where(rng.permutation(n) < n // 2 + (n // 2 + 1) % 2, 1.0, -1.0)


def _parallel_lines(feature: Feature, g: np.ndarray, rng: np.random.Generator) -> Feet:
    """Two parallel lines in the plane; a tilt turns counter-clockwise about the point."""
    q = feature.parameters
    side = _two_sides(len(g), rng)
    normals = side[:, None] * q["normal"]
    left = np.array((-q["normal"][1], q["normal"][0]))
    local = np.outer(g, left) + 0.5 * q["width"] * normals
    return Feet(q["point"], local, (normals,), (np.column_stack((-side, side * g, np.full(len(g), -0.5))),))


def _freeform(feature: Any, n: int, rng: np.random.Generator) -> Feet:
    """Freeform features: rigid motion about their reference point, along and about the coordinate axes."""
    origin, local, directions = feature.sample_feet(n, rng)
    rows = []
    for normal in directions:
        if feature.dimension == 2:
            spin = local[:, 0] * normal[:, 1] - local[:, 1] * normal[:, 0]
            rows.append(-np.column_stack((normal, spin)))
        else:
            rows.append(-np.column_stack((normal, np.cross(local, normal))))
    return Feet(origin, local, tuple(directions), tuple(rows))


def _surface(feature: Feature, local: np.ndarray, normals: np.ndarray) -> Feet:
    """Surfaces in space: -n.v for shifts, tilts and sizes."""
    q = feature.parameters
    kind = feature.kind
    n = len(local)
    origin = q["center"] if "center" in q else q["point"]
    if kind == "sphere":
        return Feet(origin, local, (normals,), (np.column_stack((-normals, -np.ones(n))),))
    w = q["axis"] if "axis" in q else q["normal"]
    u, v = basis(w)
    shift = [-normals @ u, -normals @ v]
    # a tilt towards u turns about w x u = v, one towards v about w x v = -u
    tilt = [-np.einsum("ij,ij->i", normals, np.cross(v, local)), -np.einsum("ij,ij->i", normals, np.cross(-u, local))]
    one = np.ones(n)
    if kind == "plane":
        columns = [-one, *tilt]
    elif kind == "parallel_planes":
        columns = [-normals @ w, *tilt, -0.5 * one]
    elif kind == "cylinder":
        columns = [*shift, *tilt, -one]
    elif kind == "cone":
        psi = q["half_angle"]
        columns = [*shift, *tilt, -math.cos(psi) * one, -(local @ w) / math.cos(psi)]
    else:
        across = local - np.outer(local @ w, w)
        radial = across / np.linalg.norm(across, axis=1)[:, None]
        major = -np.einsum("ij,ij->i", normals, radial)
        columns = [*shift, -normals @ w, *tilt, major, -one]
    return Feet(origin, local, (np.asarray(normals),), (np.column_stack(columns),))
