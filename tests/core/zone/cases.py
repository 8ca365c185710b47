"""Features that the zone tests use, placed by a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.features import (
    Circle,
    Circle2D,
    Cone,
    Cylinder,
    Ellipse,
    Ellipse2D,
    Line,
    Line2D,
    Plane,
    Sphere,
    Torus,
)

NAMES = (
    "line_2d", "circle_2d", "ellipse_2d", "line", "plane", "circle", "ellipse", "sphere", "cylinder", "cone", "torus",
)  # fmt: skip
ROUND = ("circle_2d", "circle", "sphere", "cylinder")


def make(name: str, seed: int, offset: float = 300.0) -> tuple[Any, dict[str, float]]:
    """A feature with its centre within +-offset, and the arguments for the generators."""
    rng = np.random.default_rng(seed)
    place, flat, w, u = rng.uniform(-offset, offset, 3), rng.uniform(-offset, offset, 2), *rng.standard_normal((2, 3))
    radius = float(rng.uniform(2.0, 100.0))
    angle = float(rng.uniform(0.05, 1.2))
    return {
        "line_2d": (Line2D(flat, u[:2]), {}),
        "circle_2d": (Circle2D(flat, radius), {}),
        "ellipse_2d": (Ellipse2D(flat, u[:2], 60.0, 35.0), {}),
        "line": (Line(place, w), {}),
        "plane": (Plane(place, w), {}),
        "circle": (Circle(place, w, radius), {}),
        "ellipse": (Ellipse(place, w, u, 60.0, 35.0), {}),
        "sphere": (Sphere(place, radius), {}),
        "cylinder": (Cylinder(place, w, radius), {}),
        "cone": (Cone(place, w, 50.0, angle), {"length": 80.0}),
        "torus": (Torus(place, w, 80.0, 20.0), {}),
    }[name]
