"""Exactly symmetric parts: far more points touch than hold the zone, and some really have several solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit

ANGLE = np.arange(24) * (2.0 * math.pi / 24)
CUBE = np.array([(i, j, k) for i in (-1.0, 1.0) for j in (-1.0, 1.0) for k in (-1.0, 1.0)])
OCTAHEDRON = 1.6 * np.concatenate((np.eye(3), -np.eye(3)))
GRID = np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)], dtype=np.float64)
ROUNDING = 3e-14  # eight ulp of coordinates of 20: four are granted, and the points themselves are rounded


def plate(height: np.ndarray) -> np.ndarray:
    return np.column_stack((GRID, height))


def lobed(lobes: int) -> np.ndarray:
    r = 10.0 + 0.01 * np.cos(lobes * ANGLE)
    return np.column_stack((r * np.cos(ANGLE), r * np.sin(ANGLE)))


def tube(lobes: int = 0, barrel: float = 0.0) -> np.ndarray:
    z, a = np.repeat(np.linspace(-20.0, 20.0, 5), 24), np.tile(ANGLE, 5)
    r = 10.0 + 0.01 * np.cos(lobes * a) * (lobes > 0) + barrel * (z / 20.0) ** 2
    return np.column_stack((r * np.cos(a), r * np.sin(a), z))


@pytest.mark.parametrize(
    ("points", "form"),
    [
        (plate(0.01 * (np.abs(GRID).sum(axis=1) == 0.0)), 0.01),
        (plate(0.01 * (GRID.sum(axis=1) % 2.0)), 0.01),
        (plate(1e-3 * (GRID**2).sum(axis=1)), 0.008),
        (plate(1e-3 * GRID.prod(axis=1)), 0.008),
    ],
    ids=["centre up", "checker", "dish", "saddle"],
)
def test_plates(points: np.ndarray, form: float) -> None:
    assert fit(points, "plane", criterion="minimum_zone").require().form == pytest.approx(form, abs=ROUNDING)


@pytest.mark.parametrize("lobes", [2, 3, 4, 6])
def test_lobed_circles_and_cylinders(lobes: int) -> None:
    for points, kind in ((lobed(lobes), "circle"), (tube(lobes), "cylinder")):
        zone = fit(points, kind, criterion="minimum_zone").require()
        assert zone.form == pytest.approx(0.02, abs=ROUNDING)
        assert zone.feature.radius == pytest.approx(10.0, abs=ROUNDING)
        around = fit(points, kind, criterion="minimum_circumscribed").require()
        assert around.feature.radius == pytest.approx(10.01, abs=ROUNDING)
        inside = fit(points, kind, criterion="maximum_inscribed")
        if lobes == 2:  # the largest circle may lie to the left or to the right of the waist
            assert inside.status == "non_unique"
            assert inside.feature.radius > 9.99
        else:
            assert inside.require().feature.radius == pytest.approx(9.99, abs=ROUNDING)


def test_barrel_and_waist() -> None:
    for bulge, low, high in ((0.01, 10.0, 10.01), (-0.01, 9.99, 10.0)):
        points = tube(barrel=bulge)
        assert fit(points, "cylinder", criterion="minimum_zone").require().form == pytest.approx(0.01, abs=ROUNDING)
        inside = fit(points, "cylinder", criterion="maximum_inscribed").require()
        around = fit(points, "cylinder", criterion="minimum_circumscribed")
        # a ring about the middle turns freely inside the cylinder around it, until the ends touch
        assert around.status == ("converged" if bulge > 0.0 else "non_unique")
        assert inside.feature.radius == pytest.approx(low, abs=ROUNDING)
        assert around.feature.radius == pytest.approx(high, abs=ROUNDING)


def test_sphere_between_cube_and_octahedron() -> None:
    points = np.concatenate((CUBE, OCTAHEDRON))
    expected = {
        "minimum_zone": 0.5 * (1.6 + math.sqrt(3.0)),
        "maximum_inscribed": 1.6,
        "minimum_circumscribed": math.sqrt(3.0),
    }
    for criterion, radius in expected.items():
        found = fit(points, "sphere", criterion=criterion).require()
        assert found.feature.radius == pytest.approx(radius, abs=ROUNDING)
        assert np.allclose(found.feature.center, 0.0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("points", "kind", "form"),
    [
        (CUBE, "plane", 2.0),
        (np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]), "line", 1.0),
        (np.array([(0.0, 0.0), (2.0, 0.0), (1.0, 3.0)]), "line", 6.0 / math.sqrt(10.0)),
    ],
    ids=["cube", "square", "isosceles triangle"],
)
def test_several_solutions_are_reported(points: np.ndarray, kind: str, form: float) -> None:
    found = fit(points, kind, criterion="minimum_zone")
    assert found.status == "non_unique"
    assert found.optimality["ties"] >= 1
    assert found.form == pytest.approx(form, abs=ROUNDING)


def test_bent_lines_in_space() -> None:
    x = np.linspace(-50.0, 50.0, 9)
    for z in (0.01 * (x == 0.0), 0.01 * (np.arange(9) % 2)):
        points = np.column_stack((x, 0.0 * x, z))
        assert fit(points, "line", criterion="minimum_zone").require().form == pytest.approx(0.01, abs=ROUNDING)
    t = np.linspace(0.0, 10.0, 50)
    helix = np.column_stack((0.01 * np.cos(t), 0.01 * np.sin(t), t))
    assert fit(helix, "line", criterion="minimum_zone").require().form == pytest.approx(0.02, abs=ROUNDING)
