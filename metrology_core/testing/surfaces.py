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

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features import Circle2D, Ellipse2D, Feature, Line2D, basis


@dataclass(frozen=True, eq=False)
class Feet:
    """Foot points (n, d), residual directions, one (n, d) array per residual, and derivatives (n, p) of each
    residual.
    """

    points: np.ndarray
    directions: tuple[np.ndarray, ...]
    jacobians: tuple[np.ndarray, ...]


def sample_feet(
    feature: Feature, n: int, rng: np.random.Generator, *, length: float | None = None, arc: float = 2.0 * math.pi
) -> Feet:
    """n random feet on a feature.

    length: extent along the axis or line, or side of a plane's patch (default: twice the radius, or 100); arc (rad):
    angle about the axis; of a sphere, a cap of this full angle. Residuals: the normal distance; lines in space have
    two, along u and v; circles and ellipses in space have two, in and out of the plane. Raises `ParameterError` for
    features without a sampler.
    """
    kind = feature.kind
    q = feature.parameters
    size = length if length is not None else 2.0 * float(q.get("radius", q.get("semi_major", 50.0)))
    if kind == "line":
        return _line(feature, rng.uniform(-0.5, 0.5, n) * size)
    if kind == "plane":
        u, v = basis(q["normal"])
        x, y = rng.uniform(-0.5, 0.5, (2, n)) * size
        feet = q["point"] + np.outer(x, u) + np.outer(y, v)
        return _surface(feature, feet, np.broadcast_to(q["normal"], (n, 3)))
    angle = arc * rng.uniform(-0.5, 0.5, n)
    if kind in ("circle", "ellipse"):
        return _curve(feature, angle)
    if kind == "sphere":
        z = 1.0 - (1.0 - math.cos(min(math.pi, 0.5 * arc))) * rng.random(n)
        turn = rng.uniform(-math.pi, math.pi, n)
        s = np.sqrt(np.maximum(0.0, 1.0 - z * z))
        normals = np.column_stack((s * np.cos(turn), s * np.sin(turn), z))
        normals /= np.linalg.norm(normals, axis=1)[:, None]
        return _surface(feature, q["center"] + q["radius"] * normals, normals)
    if kind not in ("cylinder", "cone", "torus"):
        raise ParameterError(f"no sampler for a {kind}", expected="a feature that can be fitted")
    w = q["axis"]
    u, v = basis(w)
    radial = np.outer(np.cos(angle), u) + np.outer(np.sin(angle), v)
    if kind == "torus":
        tube = rng.uniform(-math.pi, math.pi, n)
        normals = np.cos(tube)[:, None] * radial + np.outer(np.sin(tube), w)
        return _surface(feature, q["center"] + q["major_radius"] * radial + q["minor_radius"] * normals, normals)
    g = rng.uniform(-0.5, 0.5, n) * size
    if kind == "cylinder":
        return _surface(feature, q["point"] + q["radius"] * radial + np.outer(g, w), radial)
    slope = math.tan(q["half_angle"])
    if slope != 0.0:  # stay on the nappe that holds the point
        end = -0.9 * q["radius"] / slope
        g = np.maximum(g, end) if slope > 0.0 else np.minimum(g, end)
    normals = math.cos(q["half_angle"]) * radial - math.sin(q["half_angle"]) * w
    return _surface(feature, q["point"] + (q["radius"] + slope * g)[:, None] * radial + np.outer(g, w), normals)


def _line(feature: Feature, g: np.ndarray) -> Feet:
    q = feature.parameters
    n = len(g)
    zero, one = np.zeros(n), np.ones(n)
    if isinstance(feature, Line2D):
        feet = q["point"] + np.outer(g, q["direction"])
        return Feet(feet, (np.broadcast_to(feature.normal, (n, 2)),), (np.column_stack((-one, -g)),))
    u, v = basis(q["direction"])
    feet = q["point"] + np.outer(g, q["direction"])
    return Feet(
        feet,
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
        feet = q["center"] + np.outer(x, u) + np.outer(y, v)
        normals = np.outer(nx, u) + np.outer(ny, v)
        return Feet(feet, (normals,), (np.column_stack((-nx, -ny, *spin, *sizes)),))
    w = q["normal"]
    if ellipse:
        u, v = q["major_axis"], np.cross(w, q["major_axis"])
    else:
        u, v = basis(w)
    zero = np.zeros(n)
    feet = q["center"] + np.outer(x, u) + np.outer(y, v)
    normals = np.outer(nx, u) + np.outer(ny, v)
    flat = np.column_stack((-nx, -ny, zero, zero, zero, *spin, *sizes))
    extra = [zero] * (len(spin) + len(sizes))
    across = np.column_stack((zero, zero, -np.ones(n), x, y, *extra))
    return Feet(feet, (normals, np.broadcast_to(w, (n, 3))), (flat, across))


def _surface(feature: Feature, feet: np.ndarray, normals: np.ndarray) -> Feet:
    """Surfaces in space: -n.v for shifts, tilts and sizes."""
    q = feature.parameters
    kind = feature.kind
    n = len(feet)
    if kind == "sphere":
        return Feet(feet, (normals,), (np.column_stack((-normals, -np.ones(n))),))
    w = q["normal"] if kind == "plane" else q["axis"]
    u, v = basis(w)
    y = feet - (q["center"] if kind == "torus" else q["point"])
    shift = [-normals @ u, -normals @ v]
    # a tilt towards u turns about w x u = v, one towards v about w x v = -u
    tilt = [-np.einsum("ij,ij->i", normals, np.cross(v, y)), -np.einsum("ij,ij->i", normals, np.cross(-u, y))]
    one = np.ones(n)
    if kind == "plane":
        columns = [-one, *tilt]
    elif kind == "cylinder":
        columns = [*shift, *tilt, -one]
    elif kind == "cone":
        psi = q["half_angle"]
        columns = [*shift, *tilt, -math.cos(psi) * one, -(y @ w) / math.cos(psi)]
    else:
        across = y - np.outer(y @ w, w)
        radial = across / np.linalg.norm(across, axis=1)[:, None]
        major = -np.einsum("ij,ij->i", normals, radial)
        columns = [*shift, -normals @ w, *tilt, major, -one]
    return Feet(feet, (np.asarray(normals),), (np.column_stack(columns),))
