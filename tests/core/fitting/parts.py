"""Features and noisy points that the fitting tests share."""

from __future__ import annotations

import numpy as np

from metrology_core.features import Circle, Cone, Cylinder, Ellipse, Feature, Line, Plane, Sphere, Torus

PLACE = np.array((512.3, -287.1, 903.7))
AXIS = np.array((0.36, -0.48, 0.8))
ACROSS = np.array((0.8, 0.6, 0.0))

# One feature of each kind, oblique and far from the origin.
FEATURES: dict[str, Feature] = {
    "line": Line(PLACE, AXIS),
    "plane": Plane(PLACE, AXIS),
    "circle": Circle(PLACE, AXIS, 12.0),
    "sphere": Sphere(PLACE, 25.0),
    "cylinder": Cylinder(PLACE, AXIS, 8.0),
    "cone": Cone(PLACE, AXIS, 10.0, 0.35),
    "torus": Torus(PLACE, AXIS, 30.0, 7.0),
    "ellipse": Ellipse(PLACE, AXIS, ACROSS, 20.0, 11.0),
}


def surface(kind: str, n: int, rng: np.random.Generator, arc: float = 2.0 * np.pi) -> np.ndarray:
    """n points exactly on FEATURES[kind], all around or over an arc (rad)."""
    w = AXIS
    u = ACROSS
    v = np.cross(w, u)
    t = rng.uniform(0.0, arc, n)
    z = rng.uniform(-1.0, 1.0, n)
    ring = np.cos(t)[:, None] * u + np.sin(t)[:, None] * v
    if kind == "line":
        return PLACE + 30.0 * z[:, None] * w
    if kind == "plane":
        return PLACE + 30.0 * z[:, None] * u + 20.0 * rng.uniform(-1.0, 1.0, n)[:, None] * v
    if kind == "circle":
        return PLACE + 12.0 * ring
    if kind == "sphere":
        s = np.sqrt(1.0 - z * z)
        return PLACE + 25.0 * (s[:, None] * ring + z[:, None] * w)
    if kind == "cylinder":
        return PLACE + 8.0 * ring + 15.0 * z[:, None] * w
    if kind == "cone":
        return PLACE + (10.0 + 15.0 * z * np.tan(0.35))[:, None] * ring + 15.0 * z[:, None] * w
    if kind == "torus":
        s = rng.uniform(0.0, 2.0 * np.pi, n)
        return PLACE + (30.0 + 7.0 * np.cos(s))[:, None] * ring + 7.0 * np.sin(s)[:, None] * w
    return PLACE + 20.0 * np.cos(t)[:, None] * u + 11.0 * np.sin(t)[:, None] * v


def noisy(kind: str, n: int = 200, sigma: float = 2e-3, seed: int = 1, arc: float = 2.0 * np.pi) -> np.ndarray:
    """n noisy points on FEATURES[kind]."""
    rng = np.random.default_rng(seed)
    return surface(kind, n, rng, arc) + sigma * rng.standard_normal((n, 3))


def same_direction(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two directions up to sign, by the cross product (exact for small angles)."""
    if len(a) == 2:
        return abs(float(a[0] * b[1] - a[1] * b[0]))
    return float(np.linalg.norm(np.cross(a, b)))
