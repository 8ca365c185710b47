"""Bounds, robust mode, point covariances, labels, fixed shapes, repeated fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from metrology_core import fit
from metrology_core.errors import CriterionError, ParameterError
from tests.core.fitting.parts import FEATURES, noisy, surface
from tests.core.general import known


def test_bounds_hold_and_press() -> None:
    points = noisy("cylinder", 100)
    free = fit(points, "cylinder").require()
    wide = fit(points, "cylinder", bounds={"radius": (7.0, None)}).require()
    assert wide.feature.radius == free.feature.radius
    for criterion in ("least_squares", "minimum_zone", "least_absolute"):
        found = fit(points, "cylinder", criterion=criterion, bounds={"radius": (None, 7.999)}).require()
        assert found.feature.radius == 7.999
        assert "bound_active" in found.flags
        assert found.optimality["bounds"]["radius"]["multiplier"] < 0.0  # the sum would fall with a higher bound
    low = fit(points, "cylinder", bounds={"radius": (8.01, 9.0)}).require()
    h = 1e-5
    costs = [
        0.5 * np.sum(fit(points, "cylinder", fixed={"radius": 8.01 + s}).require().residuals ** 2) for s in (h, -h)
    ]
    # central difference of the optimum's cost: error h^2, and rounding 1e-16 / h
    assert low.optimality["bounds"]["radius"]["multiplier"] == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-5)


@pytest.mark.parametrize("method", ["huber", "tukey"])
@pytest.mark.parametrize("kind", ["plane", "circle", "sphere"])
def test_robust_mode_drops_and_reports(kind: str, method: str) -> None:
    rng = np.random.default_rng(3)
    points = noisy(kind, 150)
    bad = np.arange(0, 150, 5)
    points[bad] += rng.uniform(1.0, 4.0, (30, 3)) * rng.choice((-1.0, 1.0), (30, 3))
    found = fit(points, kind, robust=method).require()
    near = np.hypot(FEATURES[kind].distance(points), getattr(FEATURES[kind], "height", lambda _: 0.0)(points)) < 0.02
    gross = np.flatnonzero(~near)
    assert set(gross.tolist()) <= set(found.optimality["dropped"])
    assert found.optimality["n_dropped"] == len(found.optimality["dropped"]) <= 33
    assert "outliers_dropped" in found.flags
    kept = np.ones(150, bool)
    kept[found.optimality["dropped"]] = False
    plain = fit(points[kept], kind).require()
    for name, value in plain.parameters.items():
        assert np.abs(np.asarray(value) - found.parameters[name]).max() <= 1e-11  # the same plain fit, another start
    with pytest.raises(CriterionError):
        fit(points, kind, robust=method, criterion="minimum_zone")


@pytest.mark.parametrize("kind", ["plane", "sphere", "cylinder", "line"])
def test_covariances_of_one_size_are_plain_least_squares(kind: str) -> None:
    points = noisy(kind, 80)
    plain = fit(points, kind).require()
    found = fit(points, kind, covariances=4e-6 * np.eye(3)).require()
    for name, value in plain.parameters.items():
        assert np.abs(np.asarray(value) - found.parameters[name]).max() <= 2e-11  # coordinates of 1e3
    expected = plain.covariance * 4e-6 / plain.sigma**2
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs((found.covariance - expected) / scale).max() <= 1e-4  # second order in noise over size: 2e-3 / 8


def test_covariances_against_a_twin_with_explicit_feet() -> None:
    """Sphere and anisotropic noise: the twin has the feet as unknowns (two angles each) and whitened differences."""
    rng = np.random.default_rng(5)
    n = 30
    points = surface("sphere", n, rng)
    v = np.empty((n, 3, 3))
    for i in range(n):
        a = rng.standard_normal((3, 3))
        v[i] = (a @ a.T + 0.1 * np.eye(3)) * 0.05**2
        points[i] += np.linalg.cholesky(v[i]) @ rng.standard_normal(3)
    found = fit(points, "sphere", covariances=v).require()
    white = np.linalg.inv(np.linalg.cholesky(v))
    centre = points.mean(axis=0)

    def residuals(q: np.ndarray) -> np.ndarray:
        t, z = q[4 : 4 + n], q[4 + n :]
        feet = centre + q[:3] + q[3] * np.column_stack((np.cos(t) * np.cos(z), np.sin(t) * np.cos(z), np.sin(z)))
        return np.einsum("nij,nj->ni", white, points - feet).ravel()

    y = points - found.feature.center
    start = np.concatenate((found.feature.center - centre, [found.feature.radius], np.arctan2(y[:, 1], y[:, 0]),
                            np.arctan2(y[:, 2], np.hypot(y[:, 0], y[:, 1]))))  # fmt: skip
    twin = least_squares(residuals, start, jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    # numerical derivatives of the twin: 1e-10 of the residuals' scale
    assert np.abs(twin.x[:3] + centre - found.feature.center).max() <= 1e-7
    assert abs(twin.x[3] - found.feature.radius) <= 1e-7
    inverse = np.linalg.inv(twin.jac.T @ twin.jac)[:4, :4]
    # the twin's matrix holds curvature terms of the noise over the radius, 0.05 / 25
    assert np.allclose(np.sqrt(np.diag(inverse)), np.sqrt(np.diag(found.covariance)), rtol=5e-3)


def test_labels_and_wrong_use() -> None:
    feet, normals, _ = known.sampled(known.PAIR, 40, 3)
    side = np.sign((feet - known.PAIR.point) @ known.PAIR.normal)
    points = feet + 1e-3 * np.random.default_rng(1).standard_normal((40, 1)) * normals
    auto = fit(points, "parallel_planes").require()
    named = fit(points, "parallel_planes", labels=np.where(side > 0, "upper", "lower")).require()
    assert named.feature.width == pytest.approx(auto.feature.width, abs=1e-12)
    assert (auto.settings["assignment"], named.settings["assignment"]) == ("automatic", "labels")
    for arguments in (
        {"labels": np.zeros(40)},
        {"labels": side[:10]},
        {"bounds": {"length": (1.0, 2.0)}},
        {"fixed": {"width": -1.0}},
        {"criterion": "least_squares_outside"},
        {"robust": "welsch"},
        {"covariances": -np.eye(3)},
    ):
        with pytest.raises((ParameterError, CriterionError)):
            fit(points, "parallel_planes", **arguments)
    with pytest.raises(CriterionError, match="half_angle"):
        fit(noisy("cone", 30), "cone", criterion="maximum_inscribed")


@pytest.mark.parametrize("kind", ["slot", "parallel_planes"])
def test_bad_points_give_a_status(kind: str) -> None:
    for points in (np.zeros((2, 3)), np.full((30, 3), 7.0), np.full((30, 3), np.nan), np.full((9, 3), 1e300)):
        found = fit(points, kind)
        assert found.status in ("insufficient", "degenerate")
        assert found.feature is None


def test_repeated_fits() -> None:
    points = noisy("circle", 40)[:, :]
    found = fit(points, "circle", criterion="minimum_zone").require()
    assert "contacts_unstable" in found.flags
    one, two = found.monte_carlo(60), found.monte_carlo(60)
    assert one.u == two.u
    assert one.failed == 0
    assert 0.0 < one.u["form"] < 0.01
    assert one.shift["form"] > 0.0  # noise on noise widens a zone
