"""Propagation: closed forms, an independent Monte Carlo, shared fits, and derivatives that do not depend on size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from metrology_core.propagation import UncertainFeature, gradient, is_angle, propagate
from metrology_core.quantity import Influence


@dataclass(frozen=True)
class Arm:
    """A point at a distance and an angle: one length and one angle in its chart."""

    length: float
    angle: float

    chart = ("length", "rotation")

    def moved(self, delta: np.ndarray) -> Arm:
        return replace(self, length=self.length + delta[0], angle=self.angle + delta[1])

    @property
    def x(self) -> float:
        return self.length * math.cos(self.angle)


def uncertain(name: str, arm: Arm, covariance: np.ndarray, dof: float = math.inf) -> UncertainFeature:
    return UncertainFeature(name, arm, covariance, dof, "A", arm.length, "0123")


COVARIANCE = np.array([[4e-6, 1e-9], [1e-9, 1e-10]])


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_the_derivative_is_that_of_calculus(size: float) -> None:
    arm = Arm(size, 0.7)
    expected = np.array([math.cos(0.7), -size * math.sin(0.7)])
    # rounding: 1e-16 / 1e-4 steps; truncation of the four-point rule is smaller
    assert gradient(lambda f: f.x, arm, size) == pytest.approx(expected, rel=1e-11)


def test_one_feature_against_the_law_of_propagation() -> None:
    arm = Arm(100.0, 0.7)
    m = propagate(lambda f: f["a"].x, {"a": uncertain("a", arm, COVARIANCE, 12)}, unit="mm")
    g = np.array([math.cos(0.7), -100.0 * math.sin(0.7)])
    assert m.value == arm.x
    assert m.u == pytest.approx(math.sqrt(g @ COVARIANCE @ g), rel=1e-10)  # the derivative's 1e-11 and a square root
    assert m.dof == pytest.approx(12.0, rel=1e-12)  # one group: its own degrees of freedom, a few roundings
    assert set(m.contributions) == {"fit/0123/a/0", "fit/0123/a/1"}


def test_two_characteristics_of_one_fit_stay_correlated() -> None:
    fits = {"a": uncertain("a", Arm(100.0, 0.7), COVARIANCE)}
    x = propagate(lambda f: f["a"].x, fits, unit="mm")
    twice = propagate(lambda f: 2.0 * f["a"].x, fits, unit="mm")
    assert (twice - x - x).u < 1e-12 * x.u  # what is left is rounding


def test_against_monte_carlo() -> None:
    rng = np.random.default_rng(20261123)
    a, b = Arm(100.0, 0.7), Arm(50.0, -0.2)
    fits = {"a": uncertain("a", a, COVARIANCE), "b": uncertain("b", b, 2 * COVARIANCE)}
    m = propagate(lambda f: f["a"].x - f["b"].x, fits, unit="mm")
    n = 200_000
    da = rng.multivariate_normal([0, 0], COVARIANCE, n)
    db = rng.multivariate_normal([0, 0], 2 * COVARIANCE, n)
    trials = (100 + da[:, 0]) * np.cos(0.7 + da[:, 1]) - (50 + db[:, 0]) * np.cos(-0.2 + db[:, 1])
    # relative standard error of a standard deviation is 1/sqrt(2n) = 0.16 %: 4 of them
    assert trials.std() == pytest.approx(m.u, rel=4 / math.sqrt(2 * n))


def test_the_instrument_adds_its_own_influences() -> None:
    extra = {Influence("instrument/x/length/a", "MPE", "B"): 3e-3}
    fits = {"a": uncertain("a", Arm(1.0, 0.0), np.diag([16e-6, 0.0]))}
    m = propagate(lambda f: f["a"].x, fits, unit="mm", extra=extra)
    assert m.u == pytest.approx(5e-3, rel=1e-10)  # 3-4-5; the derivative's error
    assert [row.kind for row in m.budget()] == ["A", "B"]


def test_a_rank_deficient_covariance_is_carried_and_a_negative_one_refused() -> None:
    singular = np.outer([1e-3, 1e-5], [1e-3, 1e-5])
    m = propagate(lambda f: f["a"].x, {"a": uncertain("a", Arm(10.0, 0.3), singular)}, unit="mm")
    assert m.u == pytest.approx(abs(1e-3 * math.cos(0.3) - 1e-4 * math.sin(0.3)), rel=1e-7)  # root of 1e-16 leftovers
    with pytest.raises(ParameterError, match="not positive"):
        propagate(lambda f: f["a"].x, {"a": uncertain("a", Arm(1.0, 0.0), -COVARIANCE)}, unit="mm")


def test_a_result_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ParameterError, match="not finite"):
        propagate(lambda f: math.nan, {"a": uncertain("a", Arm(1.0, 0.0), COVARIANCE)}, unit="mm")


def test_angles_are_told_by_their_names() -> None:
    assert all(is_angle(name) for name in ("tilt_u", "tilt_v", "rotation", "half_angle"))
    assert not any(is_angle(name) for name in ("point_u", "radius", "center_x", "shift", "semi_major"))
