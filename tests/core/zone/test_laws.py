"""What zone fits must obey whatever the points are: motion, scale, order, duplicates, threads, 2-D against 3-D."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.blocks import threads
from metrology_core.data import Rigid
from metrology_core.testing import known_least_squares, known_zone
from tests.core.zone.cases import NAMES, ROUND, make

CASES = [(name, "minimum_zone") for name in NAMES] + [
    (name, criterion) for name in ROUND for criterion in ("maximum_inscribed", "minimum_circumscribed")
]
# mm: coordinates to 500 mm carry 5.7e-14 mm per ulp; moving the points rounds each of three coordinates about three
# times
MOVED = 1e-12


def points_of(name: str, seed: int) -> tuple[np.ndarray, str]:
    feature, options = make(name, seed)
    return known_least_squares(feature, 50, sigma=4e-3, seed=seed, **options).points, feature.kind


def motion(seed: int, flat: bool) -> Rigid:
    rng = np.random.default_rng(seed)
    rotation, shift = np.eye(3), rng.uniform(-100.0, 100.0, 3)
    if flat:
        angle = rng.uniform(-math.pi, math.pi)
        rotation[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        shift[2] = 0.0
    else:
        q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        rotation = q * np.sign(np.linalg.det(q))
    return Rigid(rotation, shift)


@pytest.mark.parametrize(("name", "criterion"), CASES)
def test_rigid_motion(name: str, criterion: str) -> None:
    points, kind = points_of(name, 31)
    before = fit(points, kind, criterion=criterion).require()
    rigid = motion(5, points.shape[1] == 2)
    space = np.zeros((len(points), 3))
    space[:, : points.shape[1]] = points
    moved = rigid.apply(space)[:, : points.shape[1]]
    after = fit(moved, kind, criterion=criterion).require()
    assert abs(after.form - before.form) <= MOVED
    assert set(after.optimality["contacts"]) == set(before.optimality["contacts"])
    carried = before.feature.transform(rigid)
    # the same element: its distances to the points agree
    assert np.allclose(np.abs(after.feature.distance(moved)), np.abs(carried.distance(moved)), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize(("name", "criterion"), CASES)
def test_scale_by_a_power_of_two_is_exact(name: str, criterion: str) -> None:
    points, kind = points_of(name, 32)
    one = fit(points, kind, criterion=criterion).require()
    large = fit(points * 1024.0, kind, criterion=criterion).require()
    assert large.form == 1024.0 * one.form  # every operation commutes with a power of two
    inch = fit(points / 25.4, kind, criterion=criterion).require()
    assert inch.form * 25.4 == pytest.approx(one.form, abs=MOVED)


@pytest.mark.parametrize(("name", "criterion"), CASES)
def test_order_and_duplicates(name: str, criterion: str) -> None:
    points, kind = points_of(name, 33)
    one = fit(points, kind, criterion=criterion).require()
    order = np.random.default_rng(1).permutation(len(points))
    other = fit(points[order], kind, criterion=criterion).require()
    assert abs(other.form - one.form) <= MOVED
    assert {int(order[i]) for i in other.optimality["contacts"]} == set(one.optimality["contacts"])
    twice = fit(np.concatenate((points, points[::-1])), kind, criterion=criterion).require()
    assert abs(twice.form - one.form) <= MOVED


def test_two_dimensions_against_three() -> None:
    points, _ = points_of("circle_2d", 34)
    space = np.column_stack((points, np.full(len(points), 12.5)))
    for criterion in ("minimum_zone", "maximum_inscribed", "minimum_circumscribed"):
        flat = fit(points, "circle", criterion=criterion).require()
        full = fit(space, "circle", criterion=criterion).require()
        assert abs(full.form - flat.form) <= MOVED
        assert np.allclose(full.feature.center[:2], flat.feature.center, rtol=0.0, atol=MOVED)


@pytest.mark.parametrize("name", ["plane", "circle_2d", "sphere", "cylinder", "cone", "line"])
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    feature, options = make(name, 35)
    points = known_zone(feature, 100_000, zone=2e-3, gap=1e-4, seed=3, **options).points
    found = []
    for count in (1, 2, 4, 16):
        with threads(count):
            found.append(fit(points, feature.kind, criterion="minimum_zone"))
    for other in found[1:]:
        assert other.form == found[0].form
        assert other.feature == found[0].feature
        assert other.optimality == found[0].optimality
        assert other.covariance.tobytes() == found[0].covariance.tobytes()


@pytest.mark.parametrize(
    ("criterion", "larger"), [("minimum_zone", 1), ("minimum_circumscribed", 1), ("maximum_inscribed", -1)]
)
def test_more_points_never_shrink_the_answer(criterion: str, larger: int) -> None:
    """A zone holds all its subsets' zones; the largest circle inside more points is not larger."""
    points, _ = points_of("circle_2d", 36)
    few = fit(points[:30], "circle", criterion=criterion).require()
    many = fit(points, "circle", criterion=criterion).require()
    a, b = (few.form, many.form) if criterion == "minimum_zone" else (few.feature.radius, many.feature.radius)
    assert larger * (b - a) >= -MOVED


def test_circumscribed_holds_inscribed() -> None:
    points, _ = points_of("cylinder", 37)
    radius = {
        c: fit(points, "cylinder", criterion=c).require().feature.radius
        for c in ("maximum_inscribed", "minimum_circumscribed")
    }
    zone = fit(points, "cylinder", criterion="minimum_zone").require()
    squares = fit(points, "cylinder").require()
    assert radius["maximum_inscribed"] < zone.feature.radius < radius["minimum_circumscribed"]
    assert zone.form <= squares.form
