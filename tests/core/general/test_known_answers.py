"""Criteria of the general engine against sets whose answer is known by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.fitting import available
from metrology_core.testing.surfaces import sample_feet
from tests.core.general import known
from tests.core.zone.cases import NAMES, make

# mm: coordinates to 500 mm, whose ulp is 6e-14; conditions of the sets up to 1e2 (goal of the project: 1e-12 for zones)
SIZE, PLACE = 1e-11, 2e-11


def feature_of(name: str, seed: int) -> tuple[Any, dict[str, float]]:
    extra = {"parallel_planes": known.PAIR, "parallel_planes_2d": known.PAIR_2D, "slot_2d": known.SLOT}
    return (extra[name], {}) if name in extra else make(name, seed)


def same(found: Any, true: Any) -> None:
    """The same element: sizes, directions by cross product, and distances of the found point from the true feature."""
    for name, value in true.parameters.items():
        got = found.parameters[name]
        if name in ("axis", "normal", "direction", "major_axis"):
            cross = np.cross(got, value) if value.size == 3 else got[0] * value[1] - got[1] * value[0]
            assert np.abs(cross).max() <= 1e-12 * 50
        elif name == "center":
            assert np.abs(got - value).max() <= PLACE
        elif name != "point" and not (name == "radius" and true.kind == "cone"):
            assert abs(got - value) <= SIZE
    if "point" in true.parameters and true.kind in ("line", "cylinder", "cone"):
        axis = true.parameters.get("axis", true.parameters.get("direction"))
        y = found.parameters["point"] - true.parameters["point"]
        along = float(y @ axis)
        assert np.abs(y - along * axis).max() <= PLACE
        if true.kind == "cone":
            assert abs(found.radius - true.radius - along * np.tan(true.half_angle)) <= SIZE
    elif "point" in true.parameters:
        normal = true.parameters["normal"]
        assert abs(float((found.parameters["point"] - true.parameters["point"]) @ normal)) <= PLACE


ONE_ROW = ("line_2d", "circle_2d", "ellipse_2d", "plane", "sphere", "cylinder", "cone", "torus", "parallel_planes",
           "parallel_planes_2d", "slot_2d")  # fmt: skip


@pytest.mark.parametrize("name", ONE_ROW)
def test_least_absolute(name: str) -> None:
    for seed in (1, 2):
        feature, options = feature_of(name, seed)
        points, on = known.least_absolute(feature, 61, 2e-3, 10 * seed, **options)
        found = fit(points, feature.kind, criterion="least_absolute").require()
        same(found.feature, feature)
        assert set(found.optimality["contacts"]) == set(on.tolist())
        assert found.optimality["residual"] <= 1e-10
        assert np.abs(found.optimality["multipliers"]).max() < 1.0


@pytest.mark.parametrize("side", ["outside", "inside"])
@pytest.mark.parametrize("name", ONE_ROW)
def test_one_sided_least_squares(name: str, side: str) -> None:
    feature, options = feature_of(name, 3)
    sign = -1.0 if side == "outside" else 1.0  # material inside: outside of it no point is beyond the feature
    points, contacts = known.one_sided(feature, 120, 2e-3, sign, 30, **options)
    if name == "line_2d" and np.sign(feature.direction[1]) < 0:
        side = {"outside": "inside", "inside": "outside"}[side]  # the sign rule turns the line, and its inside
    found = fit(points, feature.kind, criterion=f"least_squares_{side}", material="inside")
    if name in ("line_2d", "plane") and found.residuals.max() > 1e-9 and found.residuals.min() < -1e-9:
        raise AssertionError("points on both sides")
    if name == "plane" and float(found.feature.normal @ feature.normal) < 0.0:
        found = fit(points, "plane", criterion=f"least_squares_{side}", material="outside")
    found.require()
    same(found.feature, feature)
    assert set(found.optimality["contacts"]) == set(contacts.tolist())
    assert min(found.optimality["multipliers"]) > 0.0
    assert found.optimality["residual"] <= 1e-10


@pytest.mark.parametrize("inscribed", [True, False])
@pytest.mark.parametrize("name", ["ellipse_2d", "ellipse", "torus", "parallel_planes", "parallel_planes_2d"])
def test_inscribed_and_circumscribed_of_a_fixed_shape(name: str, inscribed: bool) -> None:
    feature, options = feature_of(name, 5)
    points = known.radial(feature, 150, 2e-3, inscribed, 50, **options)
    fixed = {
        "torus": {"major_radius": feature.parameters.get("major_radius")},
        "ellipse": {"axis_ratio": 35.0 / 60.0},
    }.get(feature.kind)
    criterion = "maximum_inscribed" if inscribed else "minimum_circumscribed"
    found = fit(points, feature.kind, criterion=criterion, fixed=fixed).require()
    same(found.feature, feature)
    assert found.optimality["residual"] <= 1e-10
    inside = found.residuals if inscribed else -found.residuals
    assert inside.min() >= -4.0 * np.spacing(500.0)


@pytest.mark.parametrize("inscribed", [True, False])
def test_inscribed_and_circumscribed_cone(inscribed: bool) -> None:
    """With points all around, the axis passes the centroid and the tilts do not move the section; the optimum is
    checked by neighbours: no cone of the same angle, moved a little and made as large as the points allow, has a
    larger radius at the foot of the centroid."""
    feature, options = make("cone", 8)
    rng = np.random.default_rng(4)
    feet = sample_feet(feature, 200, rng, **options)
    points = feet.points + 2e-3 * rng.standard_normal((200, 1)) * feet.directions[0]
    criterion = "maximum_inscribed" if inscribed else "minimum_circumscribed"
    found = fit(points, "cone", criterion=criterion, fixed={"half_angle": feature.half_angle}).require()
    sign = 1.0 if inscribed else -1.0
    centroid = points.mean(axis=0)

    def reached(cone: Any) -> float:
        """Radius at the foot of the centroid after the size is taken to its limit."""
        slide = float((centroid - cone.point) @ cone.axis)
        limit = sign * float((sign * cone.distance(points)).min()) / np.cos(cone.half_angle)
        return float(cone.radius + limit + slide * np.tan(cone.half_angle))

    best = reached(found.feature)
    assert best == pytest.approx(found.feature.radius, abs=1e-12)
    for _ in range(300):
        step = rng.standard_normal(6) * np.array((1.0, 1.0, 0.02, 0.02, 0.0, 0.0)) * 10.0 ** rng.uniform(-6, -2)
        assert sign * (reached(found.feature.moved(step)) - best) <= 1e-12


@pytest.mark.parametrize("name", ["parallel_planes", "parallel_planes_2d", "slot_2d"])
def test_least_squares_of_slots_and_pairs(name: str) -> None:
    """Null-space sets: J'e = 0."""
    feature, _ = feature_of(name, 1)
    feet, normals, j = known.sampled(feature, 80, 7)
    q, _ = np.linalg.qr(j / np.linalg.norm(j, axis=0))
    e = np.random.default_rng(8).standard_normal(80)
    for _ in range(3):
        e -= q @ (q.T @ e)
    found = fit(feet + 1e-3 * e[:, None] * normals, feature.kind).require()
    same(found.feature, feature)


@pytest.mark.parametrize("name", ["parallel_planes", "parallel_planes_2d", "slot_2d"])
def test_minimum_zone_of_slots_and_pairs(name: str) -> None:
    feature, _ = feature_of(name, 1)
    feet, normals, j = known.sampled(feature, 120, 9)
    rng = np.random.default_rng(10)
    scale = np.abs(j).max(axis=0)
    from scipy.optimize import linprog

    # lambda of both signs with sum of sizes one: contacts outside where positive, inside where negative
    both = np.hstack(((j / scale).T, -(j / scale).T))
    answer = linprog(
        rng.random(240), A_eq=np.vstack((both, np.ones(240))), b_eq=np.append(np.zeros(j.shape[1]), 1.0),
        method="highs-ds",
    )  # fmt: skip
    load = answer.x[:120] - answer.x[120:]
    contacts = np.flatnonzero(np.abs(load) > 1e-9)
    e = rng.uniform(-0.45, 0.45, 120)
    e[contacts] = 0.5 * np.sign(load[contacts])
    points = feet + 2e-3 * e[:, None] * normals
    found = fit(points, feature.kind, criterion="minimum_zone")
    assert abs(found.form - 2e-3) <= 1e-12  # the goal of the project
    assert found.optimality["residual"] <= 1e-10
    if len(contacts) == j.shape[1] + 1:  # a full vertex: the answer is unique
        assert found.status == "converged"
        assert set(found.optimality["contacts"]) == set(contacts.tolist())
        same(found.feature, feature)
    else:
        assert found.status == "non_unique"


@pytest.mark.parametrize("name", NAMES)
def test_table_is_kept(name: str) -> None:
    """Every published pair of feature and criterion gives a certified answer on ordinary points."""
    feature, options = make(name, 11)
    rng = np.random.default_rng(12)
    feet = sample_feet(feature, 60, rng, **options)
    points = feet.points + 1e-3 * rng.standard_normal(feet.points.shape)
    shape = {"cone": "half_angle", "torus": "major_radius"}.get(feature.kind)
    for criterion in available()[feature.kind][f"{feature.dimension}-D"]:
        fixed = None
        if criterion in ("maximum_inscribed", "minimum_circumscribed"):
            fixed = {shape: feature.parameters[shape]} if shape else None
            if feature.kind == "ellipse":
                fixed = {"axis_ratio": 0.58}
        found = fit(points, feature.kind, criterion=criterion, material="outside", fixed=fixed).require()
        assert found.optimality.get("residual", 0.0) <= 1e-10
        assert found.covariance.shape == (len(feature.chart),) * 2
        assert np.isfinite(found.covariance).all()
        assert found.form_uncertainty > 0.0
        assert found.sensitivities.shape[0] == len(feature.chart)
