"""Drawn fields: their covariance, the same bits for any number of threads and any blocks, use in repeated fits."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.blocks import threads
from metrology_core.errors import ParameterError
from metrology_core.features import Circle, Cylinder, Plane
from metrology_core.fitting.trials import fit_trials
from metrology_core.uncertainty.fields import CorrelatedField, exponential, gaussian, matern


def places(kind: str, n: int) -> tuple[object, np.ndarray]:
    rng = np.random.default_rng(8)
    if kind == "ring":
        a = 2.0 * np.pi * np.arange(n) / n
        return Circle((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0), np.stack([10 * np.cos(a), 10 * np.sin(a), 0 * a], axis=1)
    if kind == "sheet":
        side = int(np.sqrt(n))
        x, y = np.meshgrid(np.arange(side) * 1.0, np.arange(side) * 1.5, indexing="ij")
        return Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    a, z = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(0.0, 15.0, n)
    return Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0), np.stack([10 * np.cos(a), 10 * np.sin(a), z], axis=1)


@pytest.mark.parametrize(
    "kind,n,method",
    [("ring", 90, "circulant"), ("sheet", 100, "circulant"), ("any", 150, "cholesky"), ("any", 400, "vecchia")],
)
@pytest.mark.parametrize("kernel", [exponential(4.0), matern(3.0, 1.5), gaussian(2.0)], ids=lambda k: k.name)
def test_covariance_of_the_draws(kind: str, n: int, method: str, kernel) -> None:
    feature, xyz = places(kind, n)
    on = CorrelatedField(0.7, kernel, nugget=0.2).on(feature, xyz)
    sampler = on.sampler(11, "a field")
    assert sampler.method == method
    trials = 4000
    y = sampler(0, trials)
    g = np.stack([np.full(len(xyz), 1.0 / len(xyz)), np.sin(np.arange(len(xyz)) / 9.0) / len(xyz)])
    expected = np.sqrt(np.diag(on.sandwich(g).value))
    # standard deviation of a standard deviation from 4000 draws: 1.1 %; five of them, and 1 % for Vecchia
    assert np.allclose((y @ g.T).std(axis=0), expected, rtol=0.06)
    c = np.cov(y[:, :40].T)
    # entries of a sample covariance scatter by at most 0.53 sqrt(2 / 4000) = 0.012
    assert np.abs(c - on.matrix()[:40, :40]).max() < 0.07


def test_a_trial_is_the_same_whoever_draws_it() -> None:
    for kind, n in (("ring", 91), ("any", 150), ("any", 400)):
        feature, xyz = places(kind, n)
        sampler = CorrelatedField(1.0, exponential(4.0), nugget=0.5).on(feature, xyz).sampler(3, "cause")
        with threads(1):
            whole = sampler(0, 100)
        with threads(3):
            assert sampler(0, 100).tobytes() == whole.tobytes()
        assert np.concatenate([sampler(37, 61), sampler(61, 62)]).tobytes() == whole[37:62].tobytes()
        again = CorrelatedField(1.0, exponential(4.0), nugget=0.5).on(feature, xyz)
        assert again.sampler(3, "cause")(5, 6).tobytes() == whole[5:6].tobytes()
        assert not np.array_equal(again.sampler(3, "other")(0, 100), whole)
        assert not np.array_equal(again.sampler(4, "cause")(0, 100), whole)


def test_repeated_fits_scatter_as_the_exact_answer_says() -> None:
    """Closed form: radius of a circle with 30 degrees of exponential correlation, 0.40799 s at 100 points."""
    feature, xyz = places("ring", 100)
    on = CorrelatedField(1e-3, exponential(10.0 * np.pi / 6)).on(feature, xyz)
    found = fit_trials(xyz[:, :2], "circle", on.sampler(5, "probe"), trials=4000)
    # five standard deviations of a standard deviation of 4000 trials
    assert found.parameters["radius"].std() == pytest.approx(0.40799e-3, rel=0.056)
    assert fit(xyz, "circle").status == "converged"


def test_no_correlated_part_leaves_the_independent_one() -> None:
    feature, xyz = places("any", 50)
    y = CorrelatedField(0.0, exponential(4.0), nugget=0.5).on(feature, xyz).sampler(1, "x")(0, 2000)
    assert y.std() == pytest.approx(0.5, rel=0.02) and abs(np.corrcoef(y[:, 0], y[:, 1])[0, 1]) < 0.12
    with pytest.raises(ParameterError):
        CorrelatedField(0.0, exponential(4.0)).on(feature, xyz).sampler(-1, "x")
