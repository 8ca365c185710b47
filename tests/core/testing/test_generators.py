"""Generators of every criterion: the promised optimality conditions hold, judged by numerical derivatives of the
features' own distances, with no fit and none of the generators' derivatives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from metrology_core.errors import CriterionError, ParameterError, ReaderError
from metrology_core.features import Cone, Cylinder, Line, ParallelPlanes, Plane, Slot, Sphere, Torus, basis
from metrology_core.testing import (
    errors_of,
    judge_answers,
    known_answer,
    known_constrained,
    known_least_absolute,
    known_least_squares,
    known_zone,
    read_sets,
    write_sets,
)
from metrology_core.testing.answer import KnownAnswer
from tests.core.zone.cases import make

EXTRA: dict[str, Any] = {
    "parallel_planes": ParallelPlanes((10.0, -20.0, 5.0), (1.0, 2.0, 2.0), 12.0),
    "slot": Slot((10.0, -20.0, 5.0), (1.0, 2.0, 2.0), (2.0, -2.0, 1.0), 40.0, 12.0),
}
SIDED = ("line_2d", "circle_2d", "plane", "circle", "sphere", "cylinder", "cone", "torus", "parallel_planes", "slot")


def feature_of(name: str, seed: int) -> tuple[Any, dict[str, Any]]:
    return (EXTRA[name], {}) if name in EXTRA else make(name, seed, offset=20.0)


def slopes(known: KnownAnswer, held: tuple[str, ...] = ()) -> np.ndarray:
    """(n, q) derivatives of the distances by central differences of the exact motion along the chart."""
    columns = []
    for i, name in enumerate(known.feature.chart):
        if name in held:
            continue
        step = np.zeros(len(known.feature.chart))
        step[i] = 1e-5
        up, down = known.feature.moved(step), known.feature.moved(-step)
        columns.append((up.distance(known.points) - down.distance(known.points)) / 2e-5)
    return np.array(columns).T


def in_plane(name: str) -> tuple[str, ...]:
    return ("shift_w", "tilt_u", "tilt_v") if name in ("circle", "ellipse", "slot") else ()


@pytest.mark.parametrize("name", [*EXTRA, "cylinder"])
def test_least_squares_of_sizes_with_two_sides(name: str) -> None:
    feature, options = feature_of(name, 3)
    known = known_least_squares(feature, 60, sigma=1e-3, seed=5, **options)
    e = feature.distance(known.points)
    j = slopes(known, in_plane(name))
    # truncation of the differences (1e-10) against the residuals, sixty points
    assert np.abs(j.T @ e).max() <= 1e-8 * np.abs(j).max() * np.linalg.norm(e)


@pytest.mark.parametrize("name", SIDED)
@pytest.mark.parametrize("material", ["inside", "outside"])
def test_one_sided_least_squares_meets_its_condition(name: str, material: str) -> None:
    feature, options = feature_of(name, 7)
    known = known_constrained(feature, 60, spread=2e-3, seed=8, material=material, **options)
    inside = feature.with_material(material).deviation(known.points)  # positive for excess material
    assert inside.max() <= 1e-13 * 100.0  # outside of the material: no point sticks out (coordinates of 1e2)
    assert np.abs(inside[known.contacts]).max() <= 1e-13 * 100.0
    e = feature.distance(known.points)
    j = slopes(known, in_plane(name))
    press = np.linalg.lstsq(known.signs * j[known.contacts].T, j.T @ e, rcond=None)[0]
    assert np.abs(j.T @ e - (known.signs * j[known.contacts].T) @ press).max() <= 1e-7 * np.abs(e).sum()
    assert press.min() > 0.0
    assert press / press.sum() == pytest.approx(known.multipliers, abs=1e-4)


ONE_ROW = ("line_2d", "circle_2d", "plane", "sphere", "cylinder", "cone", "torus", "parallel_planes", "ellipse_2d")


@pytest.mark.parametrize("name", ONE_ROW)
def test_least_absolute_is_the_optimum_of_the_linear_program(name: str) -> None:
    """Minimising sum |d + J x| by an independent solver must leave x = 0: the problem is linear to (spread/size)^2."""
    feature, options = feature_of(name, 9)
    known = known_least_absolute(feature, 40, spread=1e-3, seed=10, **options)
    d, j = feature.distance(known.points), slopes(known)
    scale = np.abs(j).max(axis=0)
    n, p = j.shape
    a = np.block([[j / scale, -np.eye(n)], [-j / scale, -np.eye(n)]])
    answer = linprog(
        np.concatenate((np.zeros(p), np.ones(n))), A_ub=a, b_ub=np.concatenate((-d, d)) * 1e3, method="highs",
        bounds=[(None, None)] * p + [(0.0, None)] * n,
    )  # fmt: skip
    assert answer.fun == pytest.approx(known.value * 1e3, rel=1e-7)  # HiGHS' own tolerance
    assert np.abs(answer.x[:p]).max() <= 1e-6
    assert known.multipliers.max() <= 0.9


@pytest.mark.parametrize("name", ["line", "circle", "ellipse", "slot"])
def test_least_absolute_with_two_residuals_rises_in_every_direction(name: str) -> None:
    """Directional derivatives of the sum of distances, by one-sided differences of the features' own geometry."""
    feature, options = feature_of(name, 9)
    known = known_least_absolute(feature, 40, spread=1e-2, seed=10, **options)

    def total(f: Any) -> float:
        d = f.distance(known.points)
        if name == "line":
            return float(np.sum(d))
        return float(np.sum(np.hypot(d, (known.points - f.center) @ f.normal)))

    here = total(feature)
    assert here == pytest.approx(known.value, rel=1e-9)  # rounding of coordinates of 1e2 against 1e-2
    rng = np.random.default_rng(1)
    angles = np.array([c.startswith(("tilt", "rotation")) for c in feature.chart])
    for _ in range(200):
        step = rng.standard_normal(len(feature.chart))
        step *= np.where(angles, 1e-8, 1e-6)  # within the region where the distances are linear
        assert total(feature.moved(step)) > here


@pytest.mark.parametrize(
    ("feature", "fixed"),
    [
        (Cone((1.0, 2.0, 3.0), (0.0, 0.6, 0.8), 20.0, 0.4), ("half_angle",)),
        (Torus((1.0, 2.0, 3.0), (0.0, 0.6, 0.8), 60.0, 15.0), ("major_radius",)),
        (EXTRA["parallel_planes"], ()),
    ],
)
@pytest.mark.parametrize("criterion", ["maximum_inscribed", "minimum_circumscribed"])
def test_extremal_sizes(feature: Any, fixed: tuple[str, ...], criterion: str) -> None:
    known = known_zone(feature, 80, zone=1e-2, seed=6, criterion=criterion, fixed=fixed)
    distance = feature.distance(known.points)
    side = 1.0 if criterion == "maximum_inscribed" else -1.0
    assert (side * distance).min() >= -1e-13
    assert np.abs(distance[known.contacts]).max() <= 1e-13
    size = {"cone": "radius", "torus": "minor_radius", "parallel_planes": "width"}[feature.kind]
    j = slopes(known, (*fixed, size))[known.contacts]
    if feature.kind == "cone":  # the size is the radius of the section through the foot of the centroid
        lever = known.points.mean(axis=0) - feature.point
        names = [name for name in feature.chart if name not in (*fixed, size)]
        for name, across in zip(("tilt_u", "tilt_v"), basis(feature.axis), strict=True):
            j[:, names.index(name)] += np.sin(feature.half_angle) * float(lever @ across)
    assert np.abs(j.T @ known.multipliers).max() <= 1e-7 * np.abs(j).max()


def test_covariances_are_stationary_for_the_mahalanobis_distance() -> None:
    feature = Sphere((10.0, 20.0, 30.0), 25.0)
    rng = np.random.default_rng(2)
    root = rng.standard_normal((40, 3, 3))
    v = np.einsum("nij,nkj->nik", root, root) + 0.2 * np.eye(3)
    known = known_least_squares(feature, 40, sigma=1e-4, seed=3, covariances=v)

    def total(q: np.ndarray) -> float:
        """Sum of squared Mahalanobis distances to the sphere, feet by Newton on the normal condition."""
        y, r = known.points - q[:3], q[3]
        t = (np.linalg.norm(y, axis=1) - r) / r
        for _ in range(50):  # foot z = y - t r V n, n along z: fixed point, contraction t
            n = y / np.linalg.norm(y, axis=1)[:, None]
            z = n
            for _ in range(30):
                foot = y - (t * r)[:, None] * np.einsum("nij,nj->ni", v, z)
                z = foot / np.linalg.norm(foot, axis=1)[:, None]
            excess = np.linalg.norm(foot, axis=1) - r
            t = t + excess / r / np.einsum("ni,nij,nj->n", z, v, z)
        return float(np.einsum("n,ni,nij,nj->", (t * r) ** 2, z, v, z))

    base = np.array([*feature.center, feature.radius])
    here = total(base)
    for i in range(4):
        step = np.zeros(4)
        step[i] = 1e-4
        up, down = total(base + step), total(base - step)
        # a parabola about the optimum: the slope is below a thousandth of the curvature's effect at the step
        assert abs(up - down) <= 1e-3 * (up + down - 2.0 * here)
        assert up > here and down > here


def test_weights_and_fixed_parameters() -> None:
    feature = Cylinder((0.0, 0.0, 0.0), (0.1, 0.2, 1.0), 20.0)
    weights = np.random.default_rng(1).uniform(0.2, 3.0, 50)
    known = known_least_squares(feature, 50, sigma=1e-3, seed=2, fixed=("radius",), weights=weights)
    j, e = slopes(known, ("radius",)), feature.distance(known.points)
    assert np.abs(j.T @ (weights * e)).max() <= 1e-8 * np.abs(j).max() * np.linalg.norm(e)
    assert known.arguments()["fixed"] == {"radius": 20.0}


def test_rounding_is_felt_as_much_as_the_sensitivity_says() -> None:
    """Moving the points by noise moves the least-squares answer by the stated root sum of squares."""
    from metrology_core import fit

    feature = Cylinder((3.0, 4.0, 5.0), (0.1, 0.2, 1.0), 20.0)
    known = known_least_squares(feature, 40, sigma=1e-9, seed=2, length=30.0)
    rng = np.random.default_rng(9)
    found = [
        dict(errors_of(known, fit(known.points + 1e-7 * rng.standard_normal((40, 3)), "cylinder").feature).items())
        for _ in range(60)
    ]
    size = np.sqrt(np.mean([row["size"] ** 2 for row in found])) / 1e-7
    assert size == pytest.approx(known.sensitivity["size"], rel=0.3)  # sixty trials: 9 % scatter


def test_sets_survive_the_way_through_files(tmp_path: Path) -> None:
    sets = {
        "a": known_answer(Sphere((300.0, 0.1, -7.0), 9.0), 30, criterion="minimum_zone", spread=1e-3, seed=1),
        "b": known_answer(Plane((1.0, 2.0, 3.0), (0.0, 0.6, 0.8)), 20, criterion="least_squares_inside", spread=1e-3,
                          seed=1, material="outside"),
    }  # fmt: skip
    write_sets(tmp_path / "sets", sets.items(), seed=1)
    back = dict(read_sets(tmp_path / "sets"))
    for name, known in sets.items():
        assert np.array_equal(back[name].points, known.points)
        assert back[name].feature == known.feature
        assert back[name].arguments() == known.arguments()
    found = {"a": {"center": [300.0, 0.1, -7.0], "radius": 9.0 + 1e-6}}
    errors = judge_answers(tmp_path / "sets", found)["a"]
    assert errors.size == pytest.approx(1e-6, rel=1e-6)
    assert errors.position == 0.0
    with pytest.raises(ReaderError):
        judge_answers(tmp_path / "sets", {"c": {}})
    with pytest.raises(ParameterError):
        judge_answers(tmp_path / "sets", {"a": {"centre": [0, 0, 0]}})
    (tmp_path / "sets" / "a.txt").write_text("1 2 3\n")
    with pytest.raises(ReaderError):
        list(read_sets(tmp_path / "sets"))
    (tmp_path / "sets" / "answers.json").write_text(json.dumps({"schema": "x", "sets": {}}))
    with pytest.raises(ReaderError):
        list(read_sets(tmp_path / "sets"))


def test_wrong_use_of_the_further_criteria() -> None:
    line = Line((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    with pytest.raises(CriterionError):
        known_constrained(line, 30, spread=1e-3, seed=1)
    with pytest.raises(CriterionError):
        known_constrained(Sphere((0, 0, 0), 1.0), 30, spread=1e-3, seed=1, criterion="least_squares")
    with pytest.raises(CriterionError):
        known_zone(make("ellipse", 1)[0], 30, zone=1e-3, seed=1, criterion="minimum_zone_inside")
