"""Zone fits against sets whose answer is known by construction (KKT generator)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.testing import known_zone
from tests.core.zone.cases import NAMES, ROUND, make

LIMIT = 1e-12  # mm: the goal of the project for coordinates to 500 mm
FAR_LIMIT = 5e-12  # mm near 1e4 mm, where one ulp is 1.8e-12 mm
ULPS = 4.0  # a zone may exceed the truth by what rounding of the points and of the arithmetic makes, never more


def check_direction(found, true) -> None:
    for name in ("axis", "normal", "direction"):
        if name in true.parameters:
            a, b = found.parameters[name], true.parameters[name]
            cross = np.cross(a, b) if a.size == 3 else a[0] * b[1] - a[1] * b[0]
            # a zone of 1e-4 mm on 20 mm fixes a direction to rounding of the points over their lever, not better
            assert np.linalg.norm(np.atleast_1d(cross)) < 1e-11


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "zone"), [(60, 1e-4), (60, 0.3), (300, 1e-2), (5000, 2e-3)])
def test_minimum_zone(name: str, n: int, zone: float) -> None:
    for seed in range(3):
        feature, options = make(name, seed)
        known = known_zone(feature, n, zone=zone, seed=100 * seed + n, **options)
        found = fit(known.points, feature.kind, criterion="minimum_zone").require()
        assert abs(found.form - zone) <= LIMIT
        assert found.form - zone <= ULPS * known.resolution
        assert found.optimality["residual"] <= 1e-10
        # the set has one vertex: its contacts must be found, all of them
        assert set(found.optimality["contacts"]) == set(known.contacts.tolist())
        order = np.argsort(found.optimality["contacts"])
        # multipliers of sets with a condition below 1e3 (the generator's limit): 1e3 * 1e-13 relative to the zone's
        # rounding
        assert np.allclose(np.array(found.optimality["multipliers"])[order], known.multipliers, atol=1e-6)
        check_direction(found.feature, feature)


@pytest.mark.parametrize("name", ROUND)
@pytest.mark.parametrize("criterion", ["maximum_inscribed", "minimum_circumscribed"])
@pytest.mark.parametrize(("n", "zone"), [(60, 1e-4), (60, 0.01), (5000, 2e-3)])
def test_inscribed_and_circumscribed(name: str, criterion: str, n: int, zone: float) -> None:
    for seed in range(3):
        feature, options = make(name, seed)
        known = known_zone(feature, n, zone=zone, seed=100 * seed + n, criterion=criterion, **options)
        found = fit(known.points, feature.kind, criterion=criterion).require()
        assert abs(found.feature.radius - feature.radius) <= LIMIT
        assert set(found.optimality["contacts"]) == set(known.contacts.tolist())
        assert found.optimality["residual"] <= 1e-10
        side = found.residuals if criterion == "maximum_inscribed" else -found.residuals
        assert (
            side.min() >= -ULPS * known.resolution
        )  # nothing inside an inscribed, nothing outside a circumscribed element


@pytest.mark.parametrize("name", NAMES)
def test_near_ten_metres(name: str) -> None:
    for seed in range(3):
        feature, options = make(name, seed, offset=9.5e3)
        known = known_zone(feature, 200, zone=2.5e-3, seed=seed, **options)
        found = fit(known.points, feature.kind, criterion="minimum_zone").require()
        assert abs(found.form - known.value) <= FAR_LIMIT
        assert found.form - known.value <= ULPS * known.resolution


def test_tiny_zone_near_ten_metres() -> None:
    """A zone of 5e-8 mm at 1e4 mm: rounding of the points is 4e-5 of it, and still a certified answer."""
    feature, options = make("cylinder", 7, offset=9.5e3)
    known = known_zone(feature, 100, zone=5e-8, seed=2, **options)
    found = fit(known.points, "cylinder", criterion="minimum_zone").require()
    assert abs(found.form - known.value) <= FAR_LIMIT


@pytest.mark.parametrize("material", ["inside", "outside"])
@pytest.mark.parametrize("name", ["line_2d", "circle_2d", "plane", "circle", "sphere", "cylinder", "cone", "torus"])
def test_one_sided_zone_is_tangent_from_its_side(name: str, material: str) -> None:
    feature, options = make(name, 3)
    known = known_zone(feature, 80, zone=0.02, seed=5, **options)
    for criterion, sign in (("minimum_zone_outside", -1.0), ("minimum_zone_inside", 1.0)):
        found = fit(known.points, feature.kind, criterion=criterion, material=material).require()
        deviation = sign * found.feature.deviation(known.points)
        tolerance = ULPS * known.resolution
        assert deviation.min() >= -tolerance  # the element lies on one side of all points
        assert deviation.min() <= tolerance  # and touches them
        assert math.isclose(deviation.max(), 0.02, abs_tol=LIMIT)  # and the farthest is as near as it can be
        assert math.isclose(found.form, 0.02, abs_tol=LIMIT)
