"""The proof that comes with a zone fit, checked apart from the solver; and answers that are not one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.errors import FitError
from metrology_core.testing import known_least_squares
from metrology_core.testing.surfaces import _surface
from tests.core.zone.cases import make


@pytest.mark.parametrize("name", ["plane", "sphere", "cylinder", "cone", "torus"])
def test_multipliers_balance(name: str) -> None:
    """0 = sum lambda s grad d with gradients written apart from the kernels (rigid velocities)."""
    feature, options = make(name, 41)
    points = known_least_squares(feature, 60, sigma=3e-3, seed=41, **options).points
    found = fit(points, name, criterion="minimum_zone").require()
    proof = found.optimality
    contacts, signs, lam = np.array(proof["contacts"]), np.array(proof["signs"]), np.array(proof["multipliers"])
    assert math.isclose(lam.sum(), 1.0, abs_tol=1e-12)
    assert lam.min() > 0.0
    touch = points[contacts]
    origin = found.parameters["center"] if "center" in found.parameters else found.parameters["point"]
    rows = _surface(found.feature, found.feature.project(touch) - origin, found.feature.normals(touch)).jacobians[0]
    balance = np.abs((lam * signs) @ rows) / np.abs(rows).max(axis=0)
    assert balance.max() <= 1e-10  # the limit of the project
    distance = found.feature.distance(points)
    # rounding of coordinates to 500 mm in a few operations
    assert np.allclose(signs * distance[contacts], 0.5 * found.form, rtol=0.0, atol=1e-12)
    others = np.setdiff1d(np.arange(len(points)), contacts)
    assert proof["gap"] == pytest.approx(0.5 * found.form - np.abs(distance[others]).max(), abs=1e-12)
    assert proof["n_contacts"] == len(contacts)
    assert proof["unique"] is True


def test_contacts_of_a_circle_alternate() -> None:
    points = known_least_squares(make("circle_2d", 42)[0], 60, sigma=3e-3, seed=42).points
    found = fit(points, "circle", criterion="minimum_zone").require()
    touch = points[found.optimality["contacts"]] - found.feature.center
    order = np.argsort(np.arctan2(touch[:, 1], touch[:, 0]))
    signs = np.array(found.optimality["signs"])[order]
    assert len(signs) == 4
    assert (signs[1:] == -signs[:-1]).all()


def test_circle_on_a_diameter_is_held_by_curvature() -> None:
    """Two far points hold the circumscribed circle: fewer contacts than unknowns + 1, still converged and unique."""
    rng = np.random.default_rng(2)
    angle = rng.uniform(0.0, 2.0 * math.pi, 40)
    points = np.column_stack((10.0 * np.cos(angle), 9.0 * np.sin(angle)))
    points = np.concatenate((points, [(11.0, 1.0), (-11.0, -1.0)]))
    found = fit(points, "circle", criterion="minimum_circumscribed").require()
    assert sorted(found.optimality["contacts"]) == [40, 41]
    assert found.feature.radius == pytest.approx(math.hypot(11.0, 1.0), rel=1e-15)
    assert np.allclose(found.feature.center, 0.0, atol=1e-14)
    assert found.optimality["curvature"] > 0.0
    assert found.optimality["multipliers"] == pytest.approx([0.5, 0.5], abs=1e-12)


def test_inscribed_circle_with_a_twin_is_non_unique() -> None:
    """An oblong hole: two largest circles fit, mirror images of each other. The rule takes the one nearest to the LS
    centre.
    """
    x = np.linspace(-3.0, 3.0, 13)
    side = np.column_stack((np.concatenate((x, x)), np.concatenate((2.0 + 0.05 * x**2, -2.0 - 0.05 * x**2))))
    end = np.array([(s * 5.0, y) for s in (-1.0, 1.0) for y in (-1.0, 0.0, 1.0)])
    waist = np.array([(0.0, 1.9), (0.0, -1.9)])
    found = fit(np.concatenate((side, end, waist)), "circle", criterion="maximum_inscribed")
    assert found.status == "non_unique"
    assert "non_unique" in found.flags
    assert found.optimality["ties"] >= 1
    assert found.optimality["starts"] > 1
    assert found.residuals.min() >= -1e-14
    with pytest.raises(FitError, match="non_unique"):
        found.require()


def test_inscribed_circle_of_an_arc_does_not_exist() -> None:
    """Points on less than half a turn do not hold a circle inside."""
    angle = np.linspace(0.0, 1.5, 30)
    points = 20.0 * np.column_stack((np.cos(angle), np.sin(angle)))
    points[::3] *= 1.0001
    found = fit(points, "circle", criterion="maximum_inscribed")
    assert found.status in ("degenerate", "not_converged")
    with pytest.raises(FitError):
        found.require()


def test_exact_points_have_zone_zero() -> None:
    angle = np.arange(8) * 0.25 * math.pi
    points = np.column_stack((3.0 + 2.0 * np.cos(angle), 1.0 + 2.0 * np.sin(angle)))
    found = fit(points, "circle", criterion="minimum_zone")
    assert found.status == "converged"
    assert found.form <= 4e-15  # rounding of the coordinates
    for criterion in ("maximum_inscribed", "minimum_circumscribed"):
        assert fit(points, "circle", criterion=criterion).feature.radius == pytest.approx(2.0, abs=4e-15)


def test_thick_zones_compare_several_starts() -> None:
    points = np.random.default_rng(3).uniform(-1.0, 1.0, (30, 3))
    found = fit(points, "plane", criterion="minimum_zone")
    assert found.optimality["starts"] > 1
    directions = np.random.default_rng(4).standard_normal((4000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    assert found.form <= np.ptp(points @ directions.T, axis=0).min()


@pytest.mark.parametrize("seed", range(6))
def test_a_corner_of_small_derivatives_is_a_strict_minimum(seed: int) -> None:
    """A radius 400 times the half chord: the shift along the chord is felt by 1e-6 only, and four contacts hold it."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-50.0, 50.0, 1000) / 2e4
    r = 2e4 + 1e-5 * rng.standard_normal(1000)
    points = np.column_stack((r * np.cos(t) - 2e4, r * np.sin(t)))
    found = fit(points, "circle", criterion="minimum_zone")
    assert (found.status, found.optimality["n_contacts"]) == ("converged", 4)
    assert min(found.optimality["multipliers"]) > 0.0
