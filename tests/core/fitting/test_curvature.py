"""Curvature of shallow caps: closed forms, agreement with the radius, coverage down to k = 0, flags of `fit`."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from metrology_core import fit, fit_many
from metrology_core.data import Rigid
from metrology_core.fitting.curvature import Curvature, fit_curvature
from metrology_core.fitting.table import ROWS

CASES = [("circle", 2), ("circle", 3), ("sphere", 3), ("cylinder", 3)]
NONE = np.empty(0)


def cap(kind: str, dimension: int, radius: float, noise: float, seed: int, n: int = 120) -> np.ndarray:
    """Points of a piece 20 wide of a feature whose lowest point is the origin, moved and turned (in space)."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-10.0, 10.0, (n, 2))
    if kind == "circle":
        xy[:, 1] = 0.0
    q = xy[:, 0] ** 2 if kind != "sphere" else np.sum(xy**2, axis=1)
    z = q / (radius * (1.0 + np.sqrt(1.0 - q / radius**2))) if math.isfinite(radius) else np.zeros(n)
    points = np.column_stack([xy, z])
    if dimension == 2:
        return points[:, [0, 2]] + noise * rng.standard_normal((n, 2))
    motion = Rigid.from_rotation_vector(rng.uniform(-2.0, 2.0, 3), (100.0, 200.0, -50.0))
    return motion.apply(points + noise * rng.standard_normal((n, 3)))


def curvature(kind: str, dimension: int, points: np.ndarray, weights: np.ndarray = NONE) -> Curvature:
    found = fit_curvature(ROWS[kind, dimension], points, weights)
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "dimension"), CASES)
@pytest.mark.parametrize("radius", [60.0, 1e3, 1e5, 1e8, math.inf])
def test_exact_points(kind: str, dimension: int, radius: float) -> None:
    points = cap(kind, dimension, radius, 0.0, 3)
    found = curvature(kind, dimension, points)
    # coordinates of 2e2 are rounded by 3e-14; the sagitta 10^2 k / 2 is known to that over sqrt(n): k to 1e-15 at worst
    assert found.value == pytest.approx(1.0 / radius, abs=1e-15)
    assert found.rms <= 1e-13
    again = fit(points, kind)
    assert again.curvature is not None
    if again.feature is None:
        assert again.curvature.value == found.value
        assert {"curvature_only", "curvature_not_significant"} & set(again.flags)
        assert json.loads(json.dumps(again.to_dict(), allow_nan=False))["curvature"]["value"] == found.value
    else:
        # the radius goes through normal equations: their digits are lost by the square of the condition (below 1e4)
        assert again.curvature.value == pytest.approx(found.value, rel=1e-8)


@pytest.mark.parametrize(("kind", "dimension"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_optimum_and_uncertainty_as_by_radius(kind: str, dimension: int, weighted: bool) -> None:
    points = cap(kind, dimension, 80.0, 1e-3, 5)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(points)) if weighted else NONE
    found = curvature(kind, dimension, points, weights)
    known = fit(points, kind, weights=weights if weighted else None).require()
    radius, u = known.parameters["radius"], known.standard_uncertainty["radius"]
    assert found.value == pytest.approx(1.0 / radius, rel=1e-10)
    # linearised at the same point: only digits of the two factorisations differ (circle in space: differences, 1e-8)
    assert found.u == pytest.approx(u / radius**2, rel=1e-6)
    assert (found.rms, found.dof) == (pytest.approx(known.rms, rel=1e-9), known.dof)
    if kind != "circle":
        assert found.form == pytest.approx(known.form, rel=1e-6)
    centre = known.parameters.get("center", known.parameters.get("point"))
    if kind == "sphere":
        assert np.abs(found.foot + found.normal / found.value - centre).max() <= 1e-7


@pytest.mark.parametrize(("kind", "dimension"), CASES)
@pytest.mark.parametrize("radius", [8e3, 1e5, math.inf])
def test_coverage(kind: str, dimension: int, radius: float) -> None:
    """The 95 % interval holds the true curvature, also zero, and where a direction had to be chosen."""
    trials, inside, values, claims, flat = 300, 0, [], [], 0
    for seed in range(trials):
        found = curvature(kind, dimension, cap(kind, dimension, radius, 1e-3, 1000 + seed, 40))
        low, high = found.interval()
        k = 0.0 if math.isinf(radius) else 1.0 / radius
        inside += low <= k <= high or low <= -k <= high
        values.append(found.value)
        claims.append(found.u)
        flat += not found.significant
    # 95 % of 300: standard error 1.3 %; 3.2 of them below. Above it may be (Scheffe's interval is conservative)
    assert inside / trials >= 0.95 - 3.2 * 0.0126
    if radius == 8e3:  # 1.25e-4 is some 14 standard uncertainties: no bias, and u is the scatter
        spread = float(np.std(values))
        assert spread == pytest.approx(float(np.mean(claims)), rel=3.5 / math.sqrt(2.0 * trials) + 0.05)
        assert abs(float(np.mean(values)) - 1.25e-4) <= 3.5 * spread / math.sqrt(trials)
        assert flat == 0
    elif math.isinf(radius):
        assert flat / trials >= 0.95 - 3.2 * 0.0126  # a plane is called bent in 5 % at most


def test_flags_and_intervals_of_fit() -> None:
    flat = fit(cap("sphere", 3, math.inf, 1e-3, 1), "sphere")
    assert (flat.status, flat.feature) == ("degenerate", None)
    assert "curvature_not_significant" in flat.flags
    low, high = flat.curvature.interval()
    assert low < 0.0 < high
    smallest, largest = flat.curvature.radius_interval()
    assert largest == math.inf and 1e4 < smallest < 1e7
    bent = fit(cap("cylinder", 3, 1e6, 0.0, 1), "cylinder")
    assert "curvature_only" in bent.flags and bent.curvature.significant
    smallest, largest = bent.curvature.radius_interval()
    assert smallest < 1e6 < largest < 1.001e6
    assert fit(cap("sphere", 3, 60.0, 1e-3, 1), "cone").curvature is None
    assert fit(np.zeros((20, 3)), "sphere").curvature is None
    line = np.linspace(0.0, 1.0, 20)[:, None] * np.array((1.0, 2.0, 3.0))
    assert fit(line, "sphere").curvature is None  # a line says nothing about a sphere
    assert fit(line, "circle").curvature.undetermined == ("normal",)


def test_the_unit_goes_with_it_and_many_agree() -> None:
    points = cap("sphere", 3, 1e5, 1e-3, 7)
    here, there = curvature("sphere", 3, points), curvature("sphere", 3, points / 25.4)
    assert there.value / 25.4 == pytest.approx(here.value, rel=1e-7)  # rounding of 2e2 against a sagitta of 5e-4
    assert there.u / 25.4 == pytest.approx(here.u, rel=1e-7)
    many = fit_many([points, cap("sphere", 3, 50.0, 1e-3, 8)], "sphere")
    one = fit(points, "sphere")
    assert (many.status[0], set(many.flags_of(0))) == (one.status, set(one.flags))
    assert many[0].curvature.value == one.curvature.value


def test_a_fixed_axis_leaves_one_component() -> None:
    points = cap("cylinder", 3, math.inf, 1e-3, 11)
    _, _, vectors = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    held = fit(points, "cylinder", fixed={"axis": vectors[0]})
    free = fit(points, "cylinder")
    assert (held.curvature.components, free.curvature.components) == (1, 3)
    assert free.curvature.undetermined == ("axis",) and held.curvature.undetermined == ()
    assert free.curvature.value >= held.curvature.value


def test_no_redundancy_has_no_uncertainty() -> None:
    """A circle through three points: nothing is left over to estimate from, so u is unknown, not zero."""
    found = fit(np.array([[0.0, 0.0], [10.0, 0.1], [20.0, 0.0]]), "circle")
    assert "zero_redundancy" in found.flags and found.curvature is not None
    assert found.curvature.value == pytest.approx(
        0.2 / 100.01, rel=1e-9
    )  # 2 h / (c^2 + h^2): sagitta 0.1, half chord 10
    assert math.isnan(found.curvature.u) and not found.curvature.significant
    assert found.curvature.to_dict()["u"] is None and found.curvature.to_dict()["interval"] is None
