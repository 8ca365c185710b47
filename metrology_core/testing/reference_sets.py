"""The reference sets that `abbe selftest` runs: seeded, for every feature and criterion of the table of `fit`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features import (
    FEATURES,
    Circle,
    Circle2D,
    Cone,
    Cylinder,
    Ellipse,
    Ellipse2D,
    Feature,
    Line,
    Line2D,
    ParallelPlanes,
    Plane,
    Slot,
    Sphere,
    Torus,
    sign_of,
)
from metrology_core.testing.answer import KnownAnswer
from metrology_core.testing.known import known_answer, known_least_squares

FULL_CIRCLE = 6.283185307179586
_SHAPES = {  # shape parameters without which an inscribed or circumscribed element does not exist
    "cone": ("half_angle",),
    "torus": ("major_radius",),
    "ellipse": ("axis_ratio",),
}


@dataclass(frozen=True)
class Case:
    """One row of the self-test: a feature in one dimension, a criterion, and the parameters that are held fixed."""

    feature: str
    dimension: int
    criterion: str
    fixed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        held = f" [{', '.join(self.fixed)} known]" if self.fixed else ""
        return f"{self.feature} {self.dimension}-D, {self.criterion}{held}"


@dataclass(frozen=True)
class Layout:
    """How the points of one set lie. spread: size of the residuals or width of the zone; offset: largest coordinate
    of the feature's place; stress: outside of what the stated limits are for, judged by rounding alone.
    """

    n: int
    spread: float
    offset: float = 300.0
    arc: float = FULL_CIRCLE
    stress: bool = False


QUICK = (Layout(40, 2e-3), Layout(64, 1e-2))
REGULAR = (
    *QUICK,
    Layout(30, 1e-4),
    Layout(100, 2e-2),
    Layout(250, 5e-3),
    Layout(80, 1e-3, arc=2.1),
    Layout(600, 2e-3),
)
STRESS = (
    Layout(60, 2.5e-3, 9.5e3, stress=True),
    Layout(24, 5e-8, 9.5e3, stress=True),
    Layout(600, 1e-3, 9.5e3, stress=True),
)
PATCH_RADIUS, PATCH_SIDE, PATCH_POINTS = 1e4, 900.0, 12


def make_feature(kind: str, dimension: int, rng: np.random.Generator, offset: float) -> tuple[Feature, dict[str, Any]]:
    """A feature of random size, pose and place (within +-offset), and what the generators must know of its points.

    Raises `ParameterError` for a kind that nobody made a generator for.
    """
    place, w, u = rng.uniform(-offset, offset, 3), *rng.standard_normal((2, 3))
    flat, line = place[:2], u[:2]
    # a fit reports directions by the house rule, and the material side of a plane or line is told by its direction
    w, line = w * sign_of(w / np.linalg.norm(w)), line * sign_of(line / np.linalg.norm(line))
    radius = float(rng.uniform(2.0, 100.0))
    longer = float(rng.uniform(1.4, 2.5)) * radius
    angle = float(rng.uniform(0.05, 1.2))
    found: dict[tuple[str, int], Any] = {
        ("line", 2): lambda: Line2D(flat, line),
        ("circle", 2): lambda: Circle2D(flat, radius),
        ("ellipse", 2): lambda: Ellipse2D(flat, line, longer, radius),
        ("line", 3): lambda: Line(place, w),
        ("plane", 3): lambda: Plane(place, w),
        ("circle", 3): lambda: Circle(place, w, radius),
        ("ellipse", 3): lambda: Ellipse(place, w, u, longer, radius),
        ("sphere", 3): lambda: Sphere(place, radius),
        ("cylinder", 3): lambda: Cylinder(place, w, radius),
        ("cone", 3): lambda: Cone(place, w, radius, angle),
        ("torus", 3): lambda: Torus(place, w, longer + radius, radius),
        ("parallel_planes", 3): lambda: ParallelPlanes(place, w, radius),
        ("slot", 3): lambda: Slot(place, w, u, 2.0 * longer, radius),
    }
    if ("slot", 2) in FEATURES:
        slot: Any = FEATURES["slot", 2]
        found["slot", 2] = lambda: slot(center=flat, direction=line, length=2.0 * longer, width=radius)
    if ("parallel_planes", 2) in FEATURES:
        pair: Any = FEATURES["parallel_planes", 2]
        found["parallel_planes", 2] = lambda: pair(point=flat, normal=line, width=radius)
    if (kind, dimension) not in found:
        raise ParameterError(f"no generator for a {dimension}-D {kind}", remedy="add it to the reference sets")
    options = {"length": 1.2 * radius * min(1.0, 0.5 / np.tan(angle))} if kind == "cone" else {}
    return found[kind, dimension](), options


def cases() -> list[Case]:
    """Every row of the table of `fit`, and least squares with each parameter that can be known in advance."""
    from metrology_core.fitting import available
    from metrology_core.fitting.table import ROWS

    result = []
    for kind, dimensions in available().items():
        for words, criteria in dimensions.items():
            dimension = int(words[0])
            for criterion in criteria:
                fixed = _SHAPES.get(kind, ()) if criterion in ("maximum_inscribed", "minimum_circumscribed") else ()
                result.append(Case(kind, dimension, criterion, fixed))
            row = ROWS[kind, dimension]
            names = [name for name in (*row.sizes, row.axis) if name]
            result += [Case(kind, dimension, "least_squares", (name,)) for name in names]
    return result


def make_set(case: Case, layout: Layout, seed: int) -> KnownAnswer:
    """One set; deterministic in its arguments. A draw without contacts is drawn again, up to eight times."""
    key = zlib.crc32(f"{case.name} {layout}".encode())
    error: Exception | None = None
    for attempt in range(8):
        stream = np.random.SeedSequence((seed, key, attempt))
        rng = np.random.default_rng(stream)
        feature, options = make_feature(case.feature, case.dimension, rng, layout.offset)
        material = ("inside", "outside")[int(rng.integers(2))] if case.criterion.endswith(("side",)) else None
        try:
            return known_answer(
                feature, layout.n, criterion=case.criterion, spread=layout.spread, seed=int(rng.integers(2**31)),
                material=material, fixed=case.fixed, arc=layout.arc, **options,
            )  # fmt: skip
        except ParameterError as failed:
            error = failed
    assert error is not None
    raise error


def layouts_of(case: Case, full: bool) -> tuple[Layout, ...]:
    """The layouts that make sense for a case."""
    if not full:
        return QUICK
    chosen: tuple[Layout, ...] = REGULAR + STRESS
    if case.criterion == "maximum_inscribed" or case.feature in ("ellipse", "slot", "torus"):
        # a partial arc does not hold an inscribed element, and hardly determines these
        chosen = tuple(item for item in chosen if item.arc == FULL_CIRCLE)
    if case.criterion == "minimum_circumscribed":
        chosen = tuple(item for item in chosen if item.arc == FULL_CIRCLE)
    return chosen


def sets_of(case: Case, *, full: bool, seed: int) -> Iterator[tuple[Layout, KnownAnswer]]:
    """The sets of one case. Raises `ParameterError` or `CriterionError` for a row without a generator."""
    for layout in layouts_of(case, full):
        yield layout, make_set(case, layout, seed)
    patched = {("sphere", 3): Sphere, ("cylinder", 3): Cylinder, ("circle", 2): Circle2D}
    if full and case.criterion == "least_squares" and not case.fixed and (case.feature, case.dimension) in patched:
        yield Layout(PATCH_POINTS, 1e-3, PATCH_RADIUS, stress=True), _patch(case, seed)


def _patch(case: Case, seed: int) -> KnownAnswer:
    """A radius of 10 m seen on a patch of 900 mm with 12 points."""
    rng = np.random.default_rng((seed, 900))
    place = rng.uniform(-500.0, 500.0, 3)
    arc = PATCH_SIDE / PATCH_RADIUS
    features: dict[str, Feature] = {
        "sphere": Sphere(place - (0.0, 0.0, PATCH_RADIUS), PATCH_RADIUS),
        "circle": Circle2D(place[:2] - (PATCH_RADIUS, 0.0), PATCH_RADIUS),
        "cylinder": Cylinder(place - (0.0, PATCH_RADIUS, 0.0), np.array((0.0, 0.02, 1.0)), PATCH_RADIUS),
    }
    return known_least_squares(features[case.feature], PATCH_POINTS, sigma=1e-3, seed=seed, arc=arc, length=PATCH_SIDE)


__all__ = ["Case", "CriterionError", "Layout", "cases", "layouts_of", "make_feature", "make_set", "sets_of"]
