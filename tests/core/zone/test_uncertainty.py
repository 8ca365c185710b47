"""First-order covariance of zone fits against Monte Carlo on sets whose contacts stay, and the flag where they do
not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data import Frame, PointSet
from metrology_core.testing import known_zone
from tests.core.zone.cases import make

TRIALS = 1500
# the standard deviation of TRIALS draws scatters by 1 / sqrt(2 TRIALS) = 1.8 %; five of these over all compared numbers
SCATTER = 5.0 / math.sqrt(2.0 * TRIALS)
NOISE = 1e-5


def point_set(points: np.ndarray, noise: float) -> PointSet:
    space = np.zeros((len(points), 3))
    space[:, : points.shape[1]] = points
    return PointSet.from_array(space, unit="mm", frame=Frame("machine"), points_are="surface", noise=noise)


def chart_offset(fitted, feature, reach: float) -> np.ndarray:
    """Displacement of one fit from another in the chart of the first, linear: from the parameters themselves."""
    columns, values = [], []
    base = parameter_vector(feature)
    for i in range(len(feature.chart)):
        step = np.zeros(len(feature.chart))
        step[i] = 1e-6
        columns.append((parameter_vector(feature.moved(step)) - parameter_vector(feature.moved(-step))) / 2e-6)
    values = parameter_vector(fitted) - base
    return np.linalg.lstsq(np.array(columns).T, values, rcond=None)[0]


def parameter_vector(feature) -> np.ndarray:
    return np.concatenate([np.atleast_1d(v) for v in feature.parameters.values()])


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("line_2d", "minimum_zone"), ("plane", "minimum_zone"), ("circle_2d", "minimum_zone"),
        ("sphere", "minimum_zone"), ("cylinder", "minimum_zone"), ("line", "minimum_zone"),
        ("ellipse_2d", "minimum_zone"),
        ("circle_2d", "maximum_inscribed"), ("cylinder", "minimum_circumscribed"),
    ],
)  # fmt: skip
def test_covariance_against_monte_carlo(name: str, criterion: str) -> None:
    feature, options = make(name, 51, offset=50.0)
    known = known_zone(feature, 30, zone=0.02, gap=0.1, seed=51, criterion=criterion, **options)
    flat = feature.dimension == 2
    given = known.points if flat else point_set(known.points, NOISE)
    found = fit(given, feature.kind, criterion=criterion).require()
    if not flat:
        assert "contacts_unstable" not in found.flags
        assert found.noise == NOISE
    rng = np.random.default_rng(52)
    forms, moves = np.empty(TRIALS), np.empty((TRIALS, len(feature.chart)))
    for trial in range(TRIALS):
        noisy = known.points + NOISE * rng.standard_normal(known.points.shape)
        one = fit(noisy, feature.kind, criterion=criterion, start=found.feature)
        forms[trial] = one.form
        moves[trial] = chart_offset(one.feature, found.feature, 1.0)
    scale = NOISE / found.noise  # of 2-D points the noise is not declared: the first order is linear in it
    assert found.form_uncertainty * scale == pytest.approx(forms.std(), rel=SCATTER)
    sizes = np.sqrt(np.diag(found.covariance)) * scale
    assert np.allclose(sizes, moves.std(axis=0), rtol=SCATTER)
    # correlations: each within a few times 1 / sqrt(TRIALS)
    spread = np.outer(sizes, sizes)
    assert np.allclose(found.covariance * scale**2 / spread, np.cov(moves.T) / spread, atol=2.0 * SCATTER)


def test_zone_follows_its_multipliers() -> None:
    """u^2(zone) = 4 sigma^2 sum lambda^2."""
    feature, _ = make("plane", 53)
    known = known_zone(feature, 40, zone=0.02, seed=53)
    found = fit(point_set(known.points, 1e-6), "plane", criterion="minimum_zone").require()
    assert found.form_uncertainty == pytest.approx(2e-6 * np.linalg.norm(found.optimality["multipliers"]), rel=1e-12)
    assert found.sensitivities.shape == (3, 40)
    assert np.count_nonzero(np.abs(found.sensitivities).sum(axis=0)) == 4
    # V = S S' sigma^2 for noise along the normals: all noise that a plane sees
    assert np.allclose(found.sensitivities @ found.sensitivities.T * 1e-12, found.covariance, rtol=1e-9)


def test_curvature_held_circle() -> None:
    """Two contacts on a diameter: the centre moves with the noise across too. u(center) = sigma / sqrt(2) in both
    directions.
    """
    rng = np.random.default_rng(54)
    angle = rng.uniform(0.0, 2.0 * math.pi, 30)
    points = np.concatenate((np.column_stack((9.0 * np.cos(angle), 9.0 * np.sin(angle))), [(10.0, 0.0), (-10.0, 0.0)]))
    found = fit(points, "circle", criterion="minimum_circumscribed").require()
    expected = np.array([0.5, 0.5, 0.5]) * found.noise**2  # midpoint of two points; half their distance
    assert np.allclose(np.diag(found.covariance), expected, rtol=1e-6)  # second differences are good to about 1e-9


def test_unstable_contacts_are_flagged() -> None:
    feature, options = make("cylinder", 55)
    known = known_zone(feature, 200, zone=0.02, gap=0.01, seed=55, **options)
    gap = fit(known.points, "cylinder", criterion="minimum_zone").optimality["gap"]
    quiet = fit(point_set(known.points, gap / 21.0), "cylinder", criterion="minimum_zone")
    loud = fit(point_set(known.points, gap / 19.0), "cylinder", criterion="minimum_zone")
    assert "contacts_unstable" not in quiet.flags
    assert "contacts_unstable" in loud.flags
