"""The virtual scanner: its MPE, noise over incidence, registration of views, and a whole measurement with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core.blocks import threads
from metrology_core.data import Rigid
from metrology_core.errors import ParameterError
from metrology_core.features import Sphere
from metrology_core.fitting import fit_many
from metrology_core.virtual import AskedCharacteristic, ProbedFeature, VirtualInstrument, linear_measurement
from metrology_core.virtual import repeat_measurement as repeat
from metrology_core.virtual.cmm import length_lines
from pointcloud.simulate import View, VirtualScanner

FIELD = ((-100.0, -100.0, -75.0), (100.0, 100.0, 75.0))
UP = np.array([[0.0, 0.0, 1.0]])


def scanner(**changes: Any) -> VirtualScanner:
    known: dict[str, Any] = {"field": FIELD, "distance_mpe": 0.05, "noise": 0.01, "standoff": 500.0}
    return VirtualScanner("SL-1", "mm", **(known | changes))


def cap(centre: tuple[float, float, float], radius: float, n: int = 80, reach: float = 1.0) -> tuple[Any, Any]:
    """Points and normals of the upper part of a ball, up to ``reach`` rad from the pole."""
    z, t = 1.0 - (1.0 - math.cos(reach)) * (np.arange(n) + 0.5) / n, np.arange(n) * 2.399963
    out = np.column_stack([np.sqrt(1 - z * z) * np.cos(t), np.sqrt(1 - z * z) * np.sin(t), z])
    return np.asarray(centre) + radius * out, out


def test_distances_lie_within_the_mpe_as_often_as_stated() -> None:
    s = scanner(noise=0.0)
    lines = length_lines(*FIELD)
    ends = np.array([end for line in lines for end in line[:2]])
    trials = 6000
    moved = s.simulate(ends, np.tile(UP, (len(ends), 1)), stop=trials, seed=1)
    length = np.linalg.norm(moved[:, 1::2] - moved[:, ::2], axis=2)
    true = np.array([np.linalg.norm(b - a) for a, b, _ in lines])
    within = (np.abs(length - true) <= 0.05).mean(axis=0)
    # 4 standard errors of a share; lengths of moved points against their projection: 1e-5 mm
    assert within.min() == pytest.approx(0.9545, abs=4.0 * math.sqrt(0.9545 * 0.0455 / trials))


@pytest.mark.parametrize("angle", [0.0, 30.0, 60.0])
def test_noise_grows_with_the_angle_of_incidence(angle: float) -> None:
    s = scanner(distance_mpe=0.0, standoff=1e6)
    normal = np.array([[math.sin(math.radians(angle)), 0.0, math.cos(math.radians(angle))]])
    at = np.zeros((400, 3))
    moved = s.simulate(at, np.tile(normal, (400, 1)), stop=50, seed=2)
    assert np.abs(moved[:, :, :2]).max() < 1e-6  # along the line of sight, which is z to 1e-6
    sd = moved[:, :, 2].std()
    assert sd == pytest.approx(0.01 / math.cos(math.radians(angle)), rel=4.0 / math.sqrt(2.0 * 20_000))


def test_views_move_as_their_registration_says() -> None:
    """Two views see one ball each: the distance of the balls carries both registrations."""
    tilt = Rigid.from_rotation_vector((0.0, -0.5, 0.0))
    s = scanner(
        distance_mpe=0.0, noise=0.0, translation_u=0.02, rotation_u=1e-4, views=(View(Rigid.identity()), View(tilt))
    )
    a, na = cap((0.0, 0.0, 0.0), 10.0, reach=0.6)
    b, nb = cap((40.0, 0.0, 0.0), 10.0, reach=0.6)
    number = np.repeat([0, 1], len(a))
    trials = 4000
    modes = s.modes(np.concatenate([a, b]), np.concatenate([na, nb]), view=number)
    moved = modes.displacements(0, trials, seed=3) + np.concatenate([a, b])
    first = fit_many(moved[:, : len(a)], "sphere", start=Sphere((0.0, 0.0, 0.0), 10.0)).require().parameters
    second = fit_many(moved[:, len(a) :], "sphere", start=Sphere((40.0, 0.0, 0.0), 10.0)).require().parameters
    # a rigid motion changes no size but for the second order of the largest rotation, 10 mm * (5e-4 rad)^2
    assert np.abs(first["radius"] - 10.0).max() < 2.5e-6
    shift = second["center"] - first["center"] - [40.0, 0.0, 0.0]
    # along x: two translations; across: also the rotation of the second view over its arm of 40 mm
    assert shift[:, 0].std() == pytest.approx(math.sqrt(2.0) * 0.02, rel=0.045)
    assert shift[:, 1].std() == pytest.approx(math.hypot(math.sqrt(2.0) * 0.02, 40.0 * 1e-4), rel=0.045)


def test_a_view_takes_its_own_covariance() -> None:
    cov = np.zeros((6, 6))
    cov[3, 3] = cov[4, 4] = 4e-4
    cov[3, 4] = cov[4, 3] = 3e-4
    s = scanner(distance_mpe=0.0, noise=0.0, views=(View(Rigid.identity(), cov),))
    moved = s.simulate(np.zeros((1, 3)), UP, stop=8000, seed=4)[:, 0]
    got = moved.T @ moved / 8000
    assert np.abs(got - np.array([[4e-4, 3e-4, 0], [3e-4, 4e-4, 0], [0, 0, 0]])).max() < 4.5 * 4e-4 * math.sqrt(
        2 / 8000
    )


def test_a_whole_measurement_with_the_scanner() -> None:
    s = scanner()
    rows = []
    for name, x in (("left", -50.0), ("right", 50.0)):
        points, normals = cap((x, 0.0, 0.0), 12.0)
        rows.append(ProbedFeature(name, "sphere", points, normals, Sphere((x, 0.0, 0.0), 12.0)))
    asked = (
        AskedCharacteristic("distance", "distance.point_point", ("left", "right")),
        AskedCharacteristic("diameter", "iso14405.GG", ("left",)),
    )
    found = repeat(s, rows, asked, trials=4000, seed=5)
    linear = linear_measurement(s, rows, asked)
    assert found.base == pytest.approx([100.0, 24.0], abs=1e-9)
    assert found.u == pytest.approx(linear.u, rel=4.0 / math.sqrt(8000.0) + 1e-3)
    assert linear.of_cause("distortion")[0] > linear.of_cause("noise")[0] > 0.0
    assert isinstance(s, VirtualInstrument) and [c.key for c in s.causes] == ["distortion", "noise"]


def test_threads_and_blocks_change_nothing() -> None:
    points, normals = cap((0.0, 0.0, 0.0), 12.0)
    whole = scanner().simulate(points, normals, stop=700, seed=9)
    for count in (1, 3):
        with threads(count):
            parts = [scanner().simulate(points, normals, start=a, stop=b, seed=9) for a, b in ((0, 301), (301, 700))]
        assert np.array_equal(np.concatenate(parts), whole)


def test_what_cannot_be_seen_is_refused() -> None:
    side = np.array([[1.0, 0.0, 0.0]])
    with pytest.raises(ParameterError, match="1 of 1 points are not seen"):
        scanner().simulate(np.zeros((1, 3)), side, stop=1)
    with pytest.raises(ParameterError, match="outside the field"):
        scanner().simulate(np.array([[0.0, 0.0, 90.0]]), UP, stop=1)
    scanner().simulate(np.array([[100.19, 0.0, 75.14]]), UP, stop=1)  # a thousandth of the field: points on its border
    with pytest.raises(ParameterError, match="outside the field"):
        scanner().simulate(np.array([[100.21, 0.0, 0.0]]), UP, stop=1)
    with pytest.raises(ParameterError, match="inside its field"):
        scanner(standoff=10.0)
    with pytest.raises(ParameterError, match=r"\(6, 6\)"):
        scanner(views=(View(Rigid.identity(), np.eye(3)),))
    with pytest.raises(ParameterError, match="number for each point"):
        scanner().modes(np.zeros((1, 3)), UP, view=[3])
