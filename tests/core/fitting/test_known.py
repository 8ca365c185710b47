"""Answers known exactly: null-space sets of every feature, in two and three dimensions, full and partial."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.features import Circle2D, Ellipse2D, Feature, Line2D
from metrology_core.testing import known_least_squares
from tests.core.fitting.parts import FEATURES, same_direction

FLAT: dict[str, Feature] = {
    "line": Line2D((120.0, -45.0), (0.8, 0.6)),
    "circle": Circle2D((120.0, -45.0), 17.0),
    "ellipse": Ellipse2D((120.0, -45.0), (0.8, 0.6), 30.0, 12.0),
}
CASES = [(f"{k}-3D", f) for k, f in FEATURES.items()] + [(f"{k}-2D", f) for k, f in FLAT.items()]


def distance_between(found: Feature, known: Feature) -> dict[str, float]:
    """Errors of place, direction (rad) and size; a point on a line, plane, cylinder or cone may slide on it."""
    errors: dict[str, float] = {}
    a, b = found.parameters, known.parameters
    direction = next((n for n in ("axis", "direction", "normal") if n in b), None)
    for name, value in b.items():
        if name == "center":
            errors[name] = float(np.linalg.norm(a[name] - value))
        elif name == "point":
            y = a[name] - value
            w = b[direction] if direction else None
            across = y @ w if found.kind == "plane" else (y - (y @ w) * w)
            errors[name] = float(np.linalg.norm(across))
        elif np.ndim(value) == 1:
            errors["direction"] = max(errors.get("direction", 0.0), same_direction(a[name], value))
        elif name == "radius" and found.kind == "cone":
            g = float((a["point"] - b["point"]) @ b["axis"])
            errors[name] = abs(a[name] - (value + g * math.tan(b["half_angle"])))
        else:
            errors[name] = abs(a[name] - value)
    return errors


@pytest.mark.parametrize(("name", "feature"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("n", [40, 700])
def test_full(name: str, feature: Feature, n: int) -> None:
    # crc-like seed from the name: every case has its own points, the same on every machine
    seed = sum(map(ord, name)) + n
    known = known_least_squares(feature, n, sigma=3e-3, seed=seed)
    found = fit(known.points, feature.kind).require()
    errors = distance_between(found.feature, feature)
    # The points are rounded to an ulp (1.1e-13 at 1e3 mm), which moves the exact answer by about that much;
    # directions by it over the half-length of the part (10 mm and more).
    assert max(v for k, v in errors.items() if k not in ("direction", "half_angle")) <= 1e-12, errors
    assert max([v for k, v in errors.items() if k in ("direction", "half_angle")] or [0.0]) <= 1e-13, errors
    assert found.sigma == pytest.approx(3e-3, rel=1e-9)  # set by construction to rounding of the points


@pytest.mark.parametrize("kind", ["circle", "sphere", "cylinder", "cone", "torus"])
def test_sixty_degrees(kind: str) -> None:
    known = known_least_squares(FEATURES[kind], 300, sigma=1e-3, seed=5, arc=math.radians(60.0))
    found = fit(known.points, kind).require()
    errors = distance_between(found.feature, FEATURES[kind])
    # A 60-degree arc has a condition of some hundreds: so many ulps of the points reach the centre.
    assert max(errors.values()) <= 1e-10, errors


def test_directions_of_known_sets_are_unit() -> None:
    for kind, feature in FEATURES.items():
        found = fit(known_least_squares(feature, 60, sigma=1e-3, seed=2).points, kind).require()
        direction = next((found.parameters[k] for k in ("axis", "direction", "normal") if k in found.parameters), None)
        if direction is not None:
            assert abs(np.linalg.norm(direction) - 1.0) <= 4e-16  # two roundings of a normalised vector
