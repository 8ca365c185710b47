"""B-splines: values against SciPy, closest points against brute force, fits against known answers, laws, bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.spatial import cKDTree

from metrology_core import blocks
from metrology_core.data import Rigid
from metrology_core.errors import CriterionError, FitError, ParameterError
from metrology_core.freeform import (
    BSplineCurve,
    BSplineCurve2D,
    BSplineSurface,
    clamped_knots,
    fit_curve,
    fit_nominal,
    fit_surface,
    interpolate,
    order_points,
)
from metrology_core.testing import known_least_squares, known_zone


def curve(d: int = 2, degree: int = 3, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    n = 12
    knots = np.concatenate((np.zeros(degree + 1), np.sort(rng.uniform(0, 1, n - degree - 1)), np.ones(degree + 1)))
    control = np.column_stack((np.linspace(0.0, 100.0, n), 15.0 * rng.standard_normal((n, d - 1))))
    return (BSplineCurve2D if d == 2 else BSplineCurve)(control, knots, degree)


def surface(seed: int = 1, bump: float = 6.0) -> BSplineSurface:
    rng = np.random.default_rng(seed)
    flat = np.stack(np.meshgrid(np.linspace(0, 100, 8), np.linspace(0, 60, 7), indexing="ij"), axis=-1)
    control = np.concatenate((flat, bump * rng.standard_normal((8, 7, 1))), axis=-1)
    return BSplineSurface(control, clamped_knots(8, 3), clamped_knots(7, 3))


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("d", [2, 3])
def test_values_and_derivatives_are_those_of_scipy(degree: int, d: int) -> None:
    own = curve(d, degree)
    t = np.random.default_rng(2).uniform(0.0, 1.0, 60)
    t = np.append(t, (0.0, 1.0))
    other = BSpline(own.knots, own.control, degree)
    for order, value in enumerate(own.evaluate(t)):
        expected = other(t, order)
        assert np.abs(value - expected).max() <= 1e-11 * max(1.0, np.abs(expected).max())  # sums of a few ulps


def test_a_rational_quarter_circle_is_exact() -> None:
    arc = BSplineCurve2D(
        np.array(((1.0, 0.0), (1.0, 1.0), (0.0, 1.0))),
        np.array((0, 0, 0, 1, 1, 1.0)),
        2,
        np.array((1, math.sqrt(0.5), 1)),
    )
    t = np.linspace(0.0, 1.0, 50)
    assert np.abs(np.linalg.norm(arc.evaluate(t)[0], axis=1) - 1.0).max() <= 4e-16
    assert np.abs(arc.curvature(t) - 1.0).max() <= 1e-13
    assert arc.arc_length()[0] == pytest.approx(math.pi / 2.0, rel=1e-12)
    assert arc.feet([[2.0, 2.0]]).distance[0] == pytest.approx(math.sqrt(8.0) - 1.0, rel=1e-15)


def test_surface_derivatives_by_differences() -> None:
    own = surface()
    rng = np.random.default_rng(3)
    uv = rng.uniform(0.05, 0.95, (40, 2))
    at = own.evaluate(uv)
    h = 1e-5
    for k, step in ((1, (h, 0.0)), (2, (0.0, h))):
        slope = (own.evaluate(uv + step)[:, 0] - own.evaluate(uv - step)[:, 0]) / (2 * h)
        assert np.abs(at[:, k] - slope).max() <= 1e-4  # h^2 times third derivatives of 1e5
    mixed = (own.evaluate(uv + np.array((0.0, h)))[:, 1] - own.evaluate(uv - np.array((0.0, h)))[:, 1]) / (2 * h)
    assert np.abs(at[:, 4] - mixed).max() <= 1e-2


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("closed", [False, True])
def test_closest_points_of_curves_by_brute_force(d: int, closed: bool) -> None:
    rng = np.random.default_rng(4)
    own: Any = curve(d)
    if closed:  # a thin profile: two sides 4 mm apart, ends of 2 mm
        t = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
        ring = np.column_stack((50.0 * np.cos(t), 2.0 * np.sin(t), 5.0 * np.sin(2.0 * t)))[:, :d]
        own = interpolate(ring, closed=True)
    low, high = own.control.min(axis=0) - 5.0, own.control.max(axis=0) + 5.0
    points = rng.uniform(low, high, (500, d))
    feet = own.feet(points)
    a, b = own.domain
    dense = own.evaluate(np.linspace(a, b, 400_001)[: -1 if closed else None])[0]
    slow = cKDTree(dense).query(points)[0]
    found = np.linalg.norm(points - feet.point, axis=1)
    # spacing 5e-4 mm: brute force is longer by at most (5e-4 / 2)^2 / (2 r) or half the spacing on the curve itself
    assert (found - slow).max() <= 1e-12
    assert (slow - found).max() <= 1e-3


def test_closest_points_of_surfaces_by_brute_force() -> None:
    own = surface(5, bump=10.0)
    rng = np.random.default_rng(5)
    points = rng.uniform((-5.0, -5.0, -15.0), (105.0, 65.0, 15.0), (400, 3))
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 1001), np.linspace(0, 1, 601)), axis=-1).reshape(-1, 2)
    slow = cKDTree(own.evaluate(grid)[:, 0]).query(points)[0]
    feet = own.feet(points)
    found = np.linalg.norm(points - feet.point, axis=1)
    assert (found - slow).max() <= 1e-12
    assert np.abs(feet.distance) == pytest.approx(
        found, abs=1e-9
    )  # the line to the foot is along the normal, or an edge
    assert feet.at_edge.any() and not feet.at_edge.all()


@pytest.mark.parametrize("make", [curve, surface])
@pytest.mark.parametrize("criterion", ["least_squares", "minimum_zone"])
def test_nominals_recover_known_answers(make: Any, criterion: str) -> None:
    feature = make()
    known: Any
    if criterion == "least_squares":
        known = known_least_squares(feature, 80, sigma=2e-3, seed=6)
    else:
        known = known_zone(feature, 120, zone=1e-2, seed=6)
    size = len(feature.chart)
    start = feature.moved(np.where(np.arange(size) < feature.dimension, 0.2, 2e-3))
    found = fit_nominal(known.points, start, criterion=criterion).require()
    # rounding of coordinates of 100 mm (1.4e-14), amplified by the set: the generator says how much
    limit = 20.0 * known.resolution * max(1.0, known.sensitivity["position"])
    assert feature.displacement(found.feature) <= limit
    if criterion == "least_squares":
        assert found.sigma == pytest.approx(2e-3, rel=1e-9)
        assert found.optimality["gradient"] <= 1e-10
    else:
        assert abs(found.profile - 1e-2) <= 1e-12
        assert found.optimality["residual"] <= 1e-10
        assert sorted(found.optimality["contacts"]) == known.contacts.tolist()
    carried = start.control.reshape(-1, feature.dimension) @ found.rotation.T + found.translation
    assert np.abs(carried - found.feature.control.reshape(-1, feature.dimension)).max() <= 1e-11


@pytest.mark.parametrize("seed", [11, 12])
def test_laws_of_motion_scale_order_and_threads(seed: int) -> None:
    feature = surface(seed)
    rng = np.random.default_rng(seed)
    known = known_least_squares(feature, 600, sigma=1e-3, seed=seed)
    here = fit_nominal(known.points, feature).require()
    motion = Rigid.from_rotation_vector(rng.uniform(-2.0, 2.0, 3), rng.uniform(-300.0, 300.0, 3))
    there = fit_nominal(motion.apply(known.points), feature.transform(motion)).require()
    assert here.feature.transform(motion).displacement(there.feature) <= 1e-11  # ulps of 500 mm, turned twice
    mixed = fit_nominal(known.points[rng.permutation(600)], feature).require()
    assert here.feature.displacement(mixed.feature) <= 1e-12
    double = BSplineSurface(2.0 * feature.control, feature.knots_u, feature.knots_v)
    assert fit_nominal(2.0 * known.points, double).require().sigma == pytest.approx(2.0 * here.sigma, rel=1e-9)
    for count in (1, 2, 4):
        with blocks.threads(count):
            assert np.array_equal(fit_nominal(known.points, feature).feature.control, here.feature.control)


def test_covariance_by_simulation() -> None:
    feature = curve(2, seed=3)
    known = known_least_squares(feature, 60, sigma=1e-9, seed=3)
    rng = np.random.default_rng(7)
    moves = []
    for _ in range(300):
        noisy = known.points + 1e-3 * rng.standard_normal((60, 2))
        found = fit_nominal(noisy, feature).require()
        moves.append(found.feature._reference() - feature._reference())
    expected = fit_nominal(known.points + 1e-3 * rng.standard_normal((60, 2)), feature)
    scale = (1e-3 / expected.sigma) ** 2
    for k in range(2):  # 300 trials: 8 % of a variance, three times that allowed
        assert np.var([m[k] for m in moves]) == pytest.approx(scale * expected.covariance[k, k], rel=0.25)


def test_interpolation_passes_through_the_points() -> None:
    t = np.linspace(0.0, 2.0 * np.pi, 80, endpoint=False)
    ring = np.column_stack((50.0 * np.cos(t), 20.0 * np.sin(t)))
    closed = interpolate(ring, closed=True)
    assert np.abs(closed.feet(ring).distance).max() <= 1e-12
    ends = closed.evaluate(np.add(closed.domain, (0.0, -1e-12)))
    assert np.abs(ends[0][0] - ends[0][1]).max() <= 1e-9 and np.abs(ends[2][0] - ends[2][1]).max() <= 1e-6  # C2
    assert closed.distance([[0.0, 0.0]])[0] < 0.0 < closed.distance([[60.0, 0.0]])[0]  # counter-clockwise: inside is -
    # the chord-length cubic is within h^4 of the ellipse: its perimeter by Ramanujan is right to 1e-6 here
    h = (30.0 / 70.0) ** 2
    perimeter = math.pi * 70.0 * (1.0 + 3.0 * h / (10.0 + math.sqrt(4.0 - 3.0 * h)))
    assert closed.arc_length()[0] == pytest.approx(perimeter, rel=1e-5)
    part = interpolate(ring[:40])
    assert np.abs(part.feet(ring[:40]).distance).max() <= 1e-12
    mixed = np.random.default_rng(1).permutation(80)
    order = order_points(ring[mixed])
    steps = np.linalg.norm(np.diff(ring[mixed][order], axis=0), axis=1)
    assert steps.max() <= 4.1  # neighbours are at most 3.93 mm apart


def test_shapes_fit_to_noise_level() -> None:
    t = np.linspace(0.0, 2.0 * np.pi, 500, endpoint=False)
    rng = np.random.default_rng(8)
    ring = np.column_stack((50.0 * np.cos(t), 20.0 * np.sin(t)))
    found = fit_curve(ring + 1e-2 * rng.standard_normal(ring.shape), 40, closed=True)
    assert found.status == "converged"
    # one normal component of 1e-2, less what 40 control points take away
    assert 0.8e-2 <= found.rms <= 1.05e-2
    truth = surface(9, bump=3.0)
    points = truth.evaluate(rng.uniform(0.0, 1.0, (2500, 2)))[:, 0]
    fitted = fit_surface(points + 0.02 * rng.standard_normal(points.shape), (9, 8))
    assert fitted.status == "converged" and fitted.rms <= 0.04
    assert np.sqrt(np.mean(fitted.feature.distance(points) ** 2)) <= 0.04


def test_bad_use_and_bad_points() -> None:
    with pytest.raises(ParameterError):
        BSplineCurve2D(np.zeros((4, 3)), clamped_knots(4, 3))
    with pytest.raises(ParameterError):
        BSplineCurve2D(np.zeros((4, 2)), np.zeros(8))
    with pytest.raises(ParameterError):
        BSplineCurve2D(np.full((4, 2), np.nan), clamped_knots(4, 3))
    with pytest.raises(ParameterError):
        BSplineCurve2D(np.zeros((4, 2)), clamped_knots(4, 3), 3, np.array((1.0, -1.0, 1.0, 1.0)))
    own = curve()
    with pytest.raises(ParameterError):
        own.feet([[np.nan, 0.0]])
    with pytest.raises(CriterionError):
        fit_nominal(np.zeros((9, 2)), own, criterion="least_absolute")
    with pytest.raises(ParameterError):
        fit_nominal(np.zeros((9, 3)), own)
    few = fit_nominal(np.zeros((2, 2)), own)
    assert few.status == "insufficient" and "insufficient" in few.flags
    with pytest.raises(FitError):
        few.require()
    flat = BSplineSurface(surface(bump=0.0).control, clamped_knots(8, 3), clamped_knots(7, 3))
    points = flat.evaluate(np.random.default_rng(1).uniform(0.1, 0.9, (50, 2)))[:, 0]
    assert fit_nominal(points, flat).status == "degenerate"  # a plane slides along itself
    known = known_least_squares(own, 40, sigma=1e-3, seed=2)
    holes = np.vstack((known.points, [[np.nan, 1.0], [np.inf, 2.0]]))
    found = fit_nominal(holes, own).require()
    assert "non_finite_points" in found.flags and found.n_used == 40 and np.isnan(found.residuals[-1])
    assert fit_curve(np.zeros((3, 2)), 5).status == "insufficient"
    assert fit_curve(np.zeros((9, 2)), 5).status == "degenerate"
    with pytest.raises(ParameterError):
        interpolate([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 1.0]])


def test_beyond_an_edge_is_said() -> None:
    own = curve()
    point, slope, _ = own.evaluate(1.0)
    known = known_least_squares(own, 40, sigma=1e-3, seed=2)
    found = fit_nominal(np.vstack((known.points, point + 2.0 * slope / np.linalg.norm(slope))), own)
    assert "beyond_edge" in found.flags
    assert own.feet(point + 2.0 * slope / np.linalg.norm(slope)).at_edge[0]
