"""Covariance against Monte Carlo, and the sandwich that `sensitivities` allow."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.features import Feature
from tests.core.fitting.parts import FEATURES, surface

TRIALS = 800
# The relative standard error of a standard deviation from T trials is 1 / sqrt(2 T) = 2.5 %; with eight features of
# up to eight parameters 51 numbers are compared, so 4.5 standard errors (11.3 %) leave a false alarm in 3e-4 of
# seeds; the seed is fixed.
LIMIT = 4.5 / np.sqrt(2.0 * TRIALS)


def coordinates(base: Feature, other: Feature) -> np.ndarray:
    """Chart coordinates of `other` about `base` by Gauss-Newton on its own defining points: uses `moved` only."""
    p = len(base.chart)
    delta = np.zeros(p)
    target = sampled(other, base)
    for _ in range(4):
        here = sampled(base.moved(delta), base)
        jacobian = np.empty((here.size, p))
        for i in range(p):
            step = np.zeros(p)
            step[i] = 1e-5
            jacobian[:, i] = (sampled(base.moved(delta + step), base) - here) / 1e-5
        delta = delta + np.linalg.lstsq(jacobian, target - here, rcond=None)[0]
    return delta


def sampled(feature: Feature, base: Feature) -> np.ndarray:
    """Numbers that fix a feature: direction, sizes, and the place measured across the directions in which it may
    slide."""
    values = feature.parameters
    w = next((base.parameters[k] for k in ("axis", "direction", "normal") if k in values), None)
    own = next((values[k] for k in ("axis", "direction", "normal") if k in values), None)
    parts = []
    for name, value in values.items():
        if name == "point":
            y = value - base.parameters["point"]
            if feature.kind == "plane":
                # where the plane cuts the normal through the base point
                parts.append([float(y @ own) / float(w @ own)])
            else:
                parts.append(y - own * float(y @ w) / float(own @ w))
        elif name == "radius" and feature.kind == "cone":
            y = base.parameters["point"] - values["point"]
            parts.append([value + float(y @ w) / float(own @ w) * np.tan(values["half_angle"])])
        else:
            parts.append(np.atleast_1d(value))
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in parts])


@pytest.mark.parametrize("kind", FEATURES)
def test_covariance_is_that_of_repeated_measurement(kind: str) -> None:
    rng = np.random.default_rng(77)
    sigma = 1e-3
    exact = surface(kind, 60, rng, np.radians(200.0))
    base = fit(exact, kind, start=FEATURES[kind]).feature
    assert base is not None
    found = []
    predicted = []
    for _ in range(TRIALS):
        result = fit(exact + sigma * rng.standard_normal(exact.shape), kind, start=base)
        assert result.feature is not None
        found.append(coordinates(base, result.feature))
        predicted.append(result.covariance)
    spread = np.std(np.array(found), axis=0)
    claimed = np.sqrt(np.diag(np.mean(predicted, axis=0)))
    assert np.abs(spread / claimed - 1.0).max() <= LIMIT, dict(zip(base.chart, spread / claimed, strict=True))


@pytest.mark.parametrize("kind", FEATURES)
def test_sensitivities_make_the_same_covariance(kind: str) -> None:
    rng = np.random.default_rng(5)
    points = surface(kind, 50, rng) + 1e-3 * rng.standard_normal((50, 3))
    found = fit(points, kind).require()
    s = found.sensitivities
    expected = found.sigma**2 * s @ s.T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # normal equations against a pseudo-inverse: condition^2 eps, with conditions below 1e2
    assert np.abs((found.covariance - expected) / scale).max() <= 1e-9


def test_weights_act_like_repeats() -> None:
    rng = np.random.default_rng(6)
    points = surface("cylinder", 40, rng) + 1e-3 * rng.standard_normal((40, 3))
    weights = rng.integers(1, 4, 40)
    weighted = fit(points, "cylinder", weights=weights).require()
    repeated = fit(np.repeat(points, weights, axis=0), "cylinder").require()
    assert np.abs(weighted.parameters["point"] - repeated.parameters["point"]).max() <= 1e-12  # ulps of 1e3
    assert weighted.parameters["radius"] == pytest.approx(repeated.parameters["radius"], abs=1e-13)
    scaled = fit(points, "cylinder", weights=weights * 7.3).require()
    assert np.allclose(scaled.covariance, weighted.covariance, rtol=1e-10, atol=0.0)  # a common factor means nothing


def test_fixed_parameters_stay_and_have_no_variance() -> None:
    rng = np.random.default_rng(8)
    points = surface("cylinder", 60, rng, np.radians(50.0)) + 1e-3 * rng.standard_normal((60, 3))
    free = fit(points, "cylinder").require()
    held = fit(points, "cylinder", fixed={"radius": 8.0}).require()
    assert held.parameters["radius"] == 8.0
    radius = held.feature.chart.index("radius")
    assert held.covariance[radius, radius] == 0.0
    assert held.dof == free.dof + 1
    across = held.covariance[0, 0] + held.covariance[1, 1]
    assert across < 0.5 * (free.covariance[0, 0] + free.covariance[1, 1])  # a short arc leans on the known radius
    axis = FEATURES["cylinder"].parameters["axis"]
    straight = fit(points, "cylinder", fixed={"axis": axis}).require()
    assert np.abs(straight.parameters["axis"] - axis).max() <= 2e-16  # one rounding when it is made a unit vector
    assert np.count_nonzero(np.diag(straight.covariance)) == 3
