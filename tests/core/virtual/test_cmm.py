"""The virtual CMM against closed forms, its own MPE, and linear propagation; the draws against threads and blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core import Instrument, fit
from metrology_core.blocks import threads
from metrology_core.errors import ParameterError
from metrology_core.features import Circle
from metrology_core.fitting import fit_many
from metrology_core.virtual import VirtualCMM, VirtualInstrument, length_test, probing_test
from metrology_core.virtual.geometry import Guideways

VOLUME = ((0.0, 0.0, 0.0), (700.0, 1000.0, 600.0))


def machine(**changes: Any) -> VirtualCMM:
    known: dict[str, Any] = {"mpe_constant": 1.5e-3, "mpe_per_length": 3e-6, "volume": VOLUME}
    return VirtualCMM("CMM-07", "mm", **(known | changes))


def circle(n: int, radius: float = 30.0, centre: tuple[float, float, float] = (300.0, 400.0, 200.0)) -> Any:
    """Points and outward normals of a circle in the x-y plane."""
    a = 2.0 * math.pi * np.arange(n) / n
    normals = np.column_stack([np.cos(a), np.sin(a), np.zeros(n)])
    return np.asarray(centre) + radius * normals, normals


# --- the draws
def test_trials_do_not_depend_on_blocks_or_threads() -> None:
    points, normals = circle(40)
    m = machine(tip_u=1e-4, temperature_u=0.2, expansion=11.5e-6).modes(points, normals, scope="bore")
    whole = m.displacements(0, 1001, seed=5)
    for count in (1, 2, 3):
        with threads(count):
            parts = [m.displacements(a, b, seed=5) for a, b in ((0, 1), (1, 334), (334, 335), (335, 1001))]
        assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(m.displacements(0, 1001, seed=6), whole)


def test_switching_a_cause_off_changes_no_draw_of_the_others() -> None:
    points, normals = circle(12)
    m = machine(tip_u=1e-4).modes(points, normals)
    keys = [cause.key for cause in m.causes]
    whole = m.displacements(0, 50, seed=1)
    parts = sum(m.displacements(0, 50, seed=1, only=[key]) for key in keys)
    # the parts are summed in another order than the whole: rounding of sums of 200 terms of 1e-3 mm
    assert np.abs(parts - whole).max() < 1e-15


def test_two_features_are_measured_by_the_same_machine_but_with_other_noise() -> None:
    points, normals = circle(12)
    a, b = (machine().modes(points, normals, scope=s) for s in ("a", "b"))
    geometry = [cause.key for cause in a.causes if cause.key != "repeatability"]
    assert np.array_equal(a.displacements(0, 20, only=geometry), b.displacements(0, 20, only=geometry))
    first, second = (m.displacements(0, 4000, only=["repeatability"])[:, :, :2].ravel() for m in (a, b))
    # 96 000 pairs, a third of them zero (the component along z is left out): a correlation has standard error 0.0046
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


def test_draws_have_the_covariance_of_the_modes() -> None:
    points, normals = circle(5)
    m = machine(tip_u=2e-4).modes(points, normals)
    trials = 20_000
    drawn = m.displacements(0, trials, seed=2).reshape(trials, 15)
    expected = m.covariance()
    got = drawn.T @ drawn / trials
    sd = np.sqrt(np.diag(expected))
    # product moments of normal pairs have standard error sqrt((1 + r^2) / trials) <= 0.01 of sd * sd; 225 of them
    assert np.abs((got - expected) / np.outer(sd + 1e-12, sd + 1e-12))[np.ix_(sd > 0, sd > 0)].max() < 0.045


def test_the_protocol_is_met() -> None:
    m = machine()
    assert isinstance(m, VirtualInstrument)
    assert {cause.key for cause in m.causes} == {
        "scale", "squareness", "position", "straightness", "rotation", "lobing", "repeatability",
    }  # fmt: skip
    assert all("MPE / 2" in c.label or c.key in ("repeatability", "lobing") for c in m.causes)
    stated = {c.key: c.label for c in machine(probing_mpe=1.2e-3).causes}
    assert "25-point test within its MPE at k = 2" in stated["lobing"]


# --- closed forms
def test_a_pure_scale_error_scales_diameters_and_distances() -> None:
    m = machine(mpe_per_length=30e-6)
    at, normals = circle(64)
    both = np.concatenate([at, at + np.array([200.0, 0.0, 0.0])])
    moved = m.simulate(both, np.tile(normals, (2, 1)), stop=40, seed=3, only=["scale"])
    # the scales of the drawn machines, read off two far points
    ends = np.array([[0.0, 0.0, 0.0], [700.0, 1000.0, 600.0]])
    far = m.modes(ends, np.tile([[1.0, 0.0, 0.0]], (2, 1))).displacements(0, 40, seed=3, only=["scale"])
    gain = (far[:, 1] - far[:, 0]) / np.array([700.0, 1000.0, 600.0])
    start = Circle((300.0, 400.0, 200.0), (0, 0, 1), 30.0)
    first = fit_many(moved[:, :64], "circle", start=start).require().parameters
    # half axes R(1 + gx), R(1 + gy): the mean radius to first order; the second order is 30 mm * (3e-5)^2 = 3e-8
    assert np.abs(first["radius"] - 30.0 * (1.0 + gain[:, :2].mean(axis=1))).max() < 1e-7
    second = fit_many(moved[:, 64:], "circle", start=start).require().parameters
    apart = np.linalg.norm(second["center"] - first["center"], axis=1)
    assert np.abs(apart - 200.0 * (1.0 + gain[:, 0])).max() < 1e-9
    assert np.std(gain[:, 0]) == pytest.approx(15e-6, rel=0.45)  # 40 machines, 4 standard errors


def test_squareness_turns_a_measured_right_angle_by_its_own_value() -> None:
    m = machine(mpe_per_length=30e-6)
    t = np.linspace(100.0, 600.0, 20)
    along_x = np.column_stack([t, np.full(20, 500.0), np.full(20, 300.0)])
    along_y = np.column_stack([np.full(20, 300.0), t, np.full(20, 300.0)])
    up = np.tile([[0.0, 0.0, 1.0]], (20, 1))
    a = m.simulate(along_x, up, stop=10, seed=4, only=["squareness"])
    b = m.simulate(along_y, up, stop=10, seed=4, only=["squareness"])
    corner = np.array([[0.0, 0.0, 0.0], [0.0, 1000.0, 0.0]])
    far = m.modes(corner, np.tile([[1.0, 0.0, 0.0]], (2, 1))).displacements(0, 10, seed=4, only=["squareness"])
    c0y = -(far[:, 1, 0] - far[:, 0, 0]) / 1000.0
    for i in range(10):
        u, v = fit(a[i], "line").feature.direction, fit(b[i], "line").feature.direction
        angle = math.acos(float(u @ v))
        # tangent against angle: the third order, 1e-13; direction of a fitted line 1e-12
        assert angle == pytest.approx(math.pi / 2.0 + c0y[i], abs=1e-11)


def test_rotation_acts_through_the_lever_of_its_carriage() -> None:
    g = Guideways(np.zeros(3), np.array([700.0, 1000.0, 600.0]), np.array([0.0, 0.0, -100.0]))
    at = np.array([[350.0, 500.0, 400.0]])
    rate = np.array([[1e-5]])
    # pitch of the x carriage about y: lever of the probing point (0, 0, z - 600 - 100) = -300
    assert g.rotations(rate, at, 0, 1)[0, 0] == pytest.approx([-300.0 * 1e-5, 0.0, 0.0], abs=1e-18)
    # the same of the bridge reaches the carriage too: lever (350, 0, -300)
    assert g.rotations(rate, at, 1, 1)[0, 0] == pytest.approx([-300.0 * 1e-5, 0.0, -350.0 * 1e-5], abs=1e-18)
    # the ram turns the probe alone
    assert g.rotations(rate, at, 2, 1)[0, 0] == pytest.approx([-100.0 * 1e-5, 0.0, 0.0], abs=1e-18)


@pytest.mark.parametrize(("n", "radius", "centre"), [(3, 1.0, 0.0), (4, 0.0, 1.0), (12, 0.0, 0.0)])
def test_three_lobes_alias_as_they_must(n: int, radius: float, centre: float) -> None:
    """Order k enters the radius where k = 0 mod n and the centre where k = +-1 mod n (equally spaced points)."""
    m = machine(lobing_orders=(3,), probing_mpe=1.5e-3, noise=0.0)
    points, normals = circle(n)
    moved = m.simulate(points, normals, stop=30, seed=8, only=["lobing"])
    wide = m.modes(*circle(48)).displacements(0, 30, seed=8, only=["lobing"])
    size = np.einsum("tnk,nk->tn", wide, circle(48)[1]).max(axis=1)  # amplitude, at one of 48 places
    found = fit_many(moved[:, :, :2], "circle").parameters
    shift = np.linalg.norm(found["center"] - [300.0, 400.0], axis=1)
    aliased = np.abs(found["radius"] - 30.0)
    # amplitudes 1e-4 mm against radius 30: second order 1e-9; the peak of 48 places is low by up to 2 %
    if centre:
        assert np.abs(shift / size - 1.0).max() < 0.03 and aliased.max() < 1e-8
    elif radius:
        assert (aliased <= size * 1.03).all() and aliased.max() > 0.5 * size.max()
    else:
        assert aliased.max() < 1e-8 and shift.max() < 1e-8


# --- what the MPE says
@pytest.mark.parametrize(
    ("changes", "share"),
    [({}, 0.9545), ({"coverage": 3.0}, 0.9973), ({"mpe_per_length": 0.0}, 0.9545), ({"rotation": 2.0}, 0.9545)],
)
def test_lengths_lie_within_the_mpe_as_often_as_stated(changes: dict[str, Any], share: float) -> None:
    trials = 6000
    found = length_test(machine(**changes), trials, seed=11)
    error = math.sqrt(share * (1.0 - share) / trials)  # the three repeats share their geometry
    assert found.within.min() == pytest.approx(share, abs=4.0 * error)  # the worst line reaches it
    assert (found.within > share - 4.0 * error).all()
    assert np.abs(found.errors.mean(axis=(0, 2)) / found.mpe).max() < 4.0 * 0.5 / math.sqrt(trials)


def test_the_probing_test_lies_within_its_mpe_as_often_as_stated() -> None:
    m = machine(probing_mpe=1.2e-3, noise=1e-4)
    found = probing_test(m, 6000, seed=12)
    # 4 standard errors of 6000 trials, and of the 4000 draws behind the amplitude of lobing
    assert found.within == pytest.approx(0.9545, abs=4.0 * math.sqrt(0.9545 * 0.0455 * (1 / 6000 + 1 / 4000)))


def test_monte_carlo_equals_linear_propagation_for_a_circle() -> None:
    m = machine(tip_u=3e-4, temperature_u=0.2, expansion=11.5e-6)
    points, normals = circle(36)
    trials = 6000
    moved = m.simulate(points, normals, stop=trials, seed=9)
    radius = fit_many(moved[:, :, :2], "circle", start=None).require().parameters["radius"]
    design = np.column_stack([normals[:, 0], normals[:, 1], np.ones(36)])
    row = np.linalg.pinv(design)[2]
    covariance = m.modes(points, normals).covariance()
    weights = (row[:, None] * normals).ravel()
    u = math.sqrt(weights @ covariance @ weights)
    assert radius.std() == pytest.approx(u, rel=4.0 / math.sqrt(2.0 * trials))
    assert radius.mean() == pytest.approx(30.0, abs=4.0 * u / math.sqrt(trials))


def test_correlated_noise_has_the_stated_correlation() -> None:
    points = np.column_stack([300.0 + 2.0 * np.arange(10), np.full(10, 400.0), np.full(10, 200.0)])
    normals = np.tile([[0.0, 0.0, 1.0]], (10, 1))
    m = machine(noise=1e-4, correlation_length=4.0)
    drawn = m.modes(points, normals).displacements(0, 20_000, seed=3, only=["repeatability"])[:, :, 2]
    expected = np.exp(-np.abs(np.subtract.outer(np.arange(10), np.arange(10))) * 2.0 / 4.0)
    assert np.abs(drawn.T @ drawn / 20_000 / 1e-8 - expected).max() < 4.5 * math.sqrt(2.0 / 20_000)


# --- from what a user declares, and wrong use
def test_a_declared_instrument_becomes_a_machine() -> None:
    declared = Instrument(
        "CMM-07", "cmm", mpe_constant=1.5e-3, mpe_per_length=3e-6, noise=2e-4, tip_radius_u=3e-4, temperature=20.5,
        temperature_u=0.2, expansion=11.5e-6, expansion_u=1e-6,
    )  # fmt: skip
    m = VirtualCMM.from_instrument(declared, VOLUME)
    keys = {cause.key: cause.id for cause in m.causes}
    assert keys["tip"] == declared.tip_influence().id
    assert keys["temperature"] in {row.id for row in declared.thermal_contribution(1.0)}
    assert keys["expansion"] in {row.id for row in declared.thermal_contribution(1.0)}
    points, normals = circle(24)
    strain = m.modes(points, normals).displacements(0, 4000, only=["temperature"])
    far, near = np.argmax(points[:, 0]), np.argmin(points[:, 0])
    grown = (strain[:, far] - strain[:, near])[:, 0] / 60.0
    assert grown.std() == pytest.approx(11.5e-6 * 0.2, rel=4.0 / math.sqrt(8000))
    with pytest.raises(ParameterError, match="declares no MPE"):
        VirtualCMM.from_instrument(Instrument("x", "cmm"), VOLUME)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 2e-3}, "exceeds the probing MPE|leave no room"),
        ({"noise": 6e-4, "probing_mpe": 9e-3}, "leave no room"),
        ({"volume": ((0, 0, 0), (1, 1, 0))}, "two corners"),
        ({"coverage": 0.0}, "coverage"),
        ({"mpe_per_length": -1e-6}, "mpe_per_length"),
        ({"lobing_orders": (1, 3)}, "two lobes"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        machine(**changes)


def test_wrong_points_and_causes_are_refused() -> None:
    m = machine()
    points, normals = circle(8)
    with pytest.raises(ParameterError, match="outside the measuring volume"):
        m.simulate(points + np.array([1e4, 0, 0]), normals, stop=1)
    with pytest.raises(ParameterError, match="touches along a normal"):
        m.simulate(points, stop=1)
    with pytest.raises(ParameterError, match="unit vectors"):
        m.simulate(points, 2.0 * normals, stop=1)
    with pytest.raises(ParameterError, match="unknown cause 'skale'"):
        m.simulate(points, normals, stop=1, only=["skale"])
    with pytest.raises(ParameterError, match="not a range of trials"):
        m.simulate(points, normals, start=5, stop=1)
