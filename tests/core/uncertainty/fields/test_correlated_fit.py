"""`fit.correlated`: exact answers, a dense twin for every feature, repeated fits, budgets of a scan."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.errors import FitError, ParameterError
from metrology_core.features import Circle, Cone, Cylinder, Ellipse, Line, Plane, Sphere, Torus
from metrology_core.fitting.trials import fit_trials
from metrology_core.testing.surfaces import sample_feet
from metrology_core.uncertainty.fields import CorrelatedField, exponential, matern

PLACE, AXIS = (12.0, -7.0, 3.0), (0.36, -0.48, 0.8)
FEATURES = {
    "line": Line(PLACE, AXIS),
    "plane": Plane(PLACE, AXIS),
    "circle": Circle(PLACE, AXIS, 12.0),
    "sphere": Sphere(PLACE, 25.0),
    "cylinder": Cylinder(PLACE, AXIS, 8.0),
    "cone": Cone(PLACE, AXIS, 20.0, 0.35),
    "torus": Torus(PLACE, AXIS, 30.0, 7.0),
    "ellipse": Ellipse(PLACE, AXIS, (0.8, 0.6, 0.0), 20.0, 11.0),
}


def test_circle_of_the_reference() -> None:
    """1000 points, 30 degrees: u(R) = 0.40774 s, u(x) = 0.51212 s; the plain covariance says 0.0316 s."""
    a = 2.0 * np.pi * np.arange(1000) / 1000
    xy = np.stack([10.0 * np.cos(a), 10.0 * np.sin(a)], axis=1)
    plain = fit(xy, "circle")
    found = plain.correlated(CorrelatedField(1e-3, exponential(10.0 * np.pi / 6)))
    assert found.standard_uncertainty["radius"] == pytest.approx(0.40774445e-3, rel=1e-6)
    assert np.allclose(found.standard_uncertainty["center"], 0.51211681e-3, rtol=1e-6)
    assert found.n_eff["radius"] == pytest.approx(1.0 / 0.40774445**2, rel=1e-6)
    assert found.method == "circulant" and found.relative == 0.0
    assert plain.covariance is not found.covariance and "point_errors" not in plain.settings
    assert found.to_dict()["correlated"]["n_eff"]["radius"] == pytest.approx(6.0148, rel=1e-3)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("kernel", [exponential(5.0), matern(5.0, 1.5)], ids=lambda k: k.name)
def test_dense_twin_for_every_feature(name: str, kernel) -> None:
    rng = np.random.default_rng(3)
    feature = FEATURES[name]
    xyz = sample_feet(feature, 80, rng, **({"length": 30.0} if name in ("cone", "line", "cylinder") else {})).points
    xyz = xyz + 1e-3 * rng.standard_normal(xyz.shape)
    found = fit(xyz, name, start=feature)
    field = CorrelatedField(2e-3, kernel, nugget=1e-3)
    s = found.sensitivities
    c = field.on(found.associated, xyz).matrix()
    expected = sum(s[:, k : k + 80] @ c @ s[:, k : k + 80].T for k in range(0, s.shape[1], 80))
    got = found.correlated(field)
    root = np.sqrt(np.diag(expected))
    assert np.allclose(got.covariance / np.outer(root, root), expected / np.outer(root, root), atol=1e-9)
    iid = found.correlated(CorrelatedField(0.0, kernel, nugget=found.sigma))
    assert np.allclose(iid.covariance, found.covariance, rtol=1e-6, atol=1e-18)
    assert np.allclose(list(iid.n_eff.values()), 80.0)


def test_scatter_of_repeated_fits_on_an_arc() -> None:
    """Monte Carlo by non-linear fits: the claimed standard uncertainty of the radius of an arc, within its scatter."""
    a = np.linspace(0.0, 1.2, 90)
    xyz = np.stack([10.0 * np.cos(a), 10.0 * np.sin(a)], axis=1)
    base = fit(xyz, "circle")
    field = CorrelatedField(1e-4, matern(2.0, 1.5), nugget=5e-5)
    claimed = base.correlated(field).standard_uncertainty["radius"]
    drawn = fit_trials(xyz, "circle", field.on(base.feature, xyz).sampler(9, "arc"), trials=3000)
    # five standard deviations of a standard deviation of 3000 trials
    assert drawn.parameters["radius"].std() == pytest.approx(claimed, rel=0.065)


def test_zones_take_the_covariance_of_their_contacts() -> None:
    rng = np.random.default_rng(6)
    xyz = sample_feet(FEATURES["cylinder"], 60, rng, length=30.0).points + 0.01 * rng.standard_normal((60, 3))
    zone = fit(xyz, "cylinder", criterion="minimum_zone")
    field = CorrelatedField(1e-3, exponential(6.0))
    c = field.on(zone.associated, xyz).matrix()
    assert np.allclose(zone.correlated(field).covariance, zone.sensitivities @ c @ zone.sensitivities.T, rtol=1e-9)


def test_many_points_take_the_influence_of_the_normal_equations() -> None:
    rng = np.random.default_rng(7)
    a, z = rng.uniform(0.0, 2.0 * np.pi, 25_000), rng.uniform(0.0, 30.0, 25_000)
    xyz = np.stack([10.0 * np.cos(a), 10.0 * np.sin(a), z], axis=1) + 1e-3 * rng.standard_normal((25_000, 3))
    found = fit(xyz, "cylinder")
    from metrology_core.uncertainty.fields.correlated import influence

    ours, plain = influence(found), found.sensitivities
    assert np.abs(ours - plain).max() < 1e-10 * np.abs(plain).max()
    got = found.correlated(CorrelatedField(1e-3, exponential(3.0)))
    assert got.method == "grid" and 20.0 < got.n_eff["radius"] < 200.0
    assert got.uncertain("bore", "digest").covariance is got.covariance


def test_wrong_use() -> None:
    a = np.linspace(0.0, 6.0, 12)
    found = fit(np.stack([np.cos(a), np.sin(a)], axis=1), "circle")
    with pytest.raises(ParameterError, match="CorrelatedField"):
        found.correlated(exponential(1.0))
    with pytest.raises(FitError):
        fit(np.zeros((2, 2)), "circle").correlated(CorrelatedField(1.0, exponential(1.0)))
