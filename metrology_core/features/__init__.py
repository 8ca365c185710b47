"""Geometric features: frozen, validated, unit-agnostic; a nominal is a feature without a fit."""

from __future__ import annotations

from metrology_core.features.base import Feature, MaterialSide, basis, sign_of
from metrology_core.features.curves import Circle, Ellipse
from metrology_core.features.pairs import ParallelLines2D, Slot2D
from metrology_core.features.planar import Circle2D, Ellipse2D, Line2D
from metrology_core.features.round import Cone, Cylinder, Sphere, Torus
from metrology_core.features.straight import Line, ParallelPlanes, Plane, Slot

FEATURES: dict[tuple[str, int], type[Feature]] = {
    (cls.kind, cls.dimension): cls
    for cls in (
        Line, Plane, Circle, Sphere, Cylinder, Cone, Torus, Ellipse, Line2D, Circle2D, Ellipse2D, Slot, ParallelPlanes,
        Slot2D, ParallelLines2D,
    )
}  # fmt: skip

__all__ = [
    "FEATURES",
    "Circle",
    "Circle2D",
    "Cone",
    "Cylinder",
    "Ellipse",
    "Ellipse2D",
    "Feature",
    "Line",
    "Line2D",
    "MaterialSide",
    "ParallelLines2D",
    "ParallelPlanes",
    "Plane",
    "Slot",
    "Slot2D",
    "Sphere",
    "Torus",
    "basis",
    "sign_of",
]
