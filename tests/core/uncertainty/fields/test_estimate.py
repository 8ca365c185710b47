"""Correlation from residuals: a dense twin of the likelihood, simulated truth, and an honest status."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.errors import ParameterError
from metrology_core.features import Cylinder
from metrology_core.kernels import correlation
from metrology_core.uncertainty.fields import CorrelatedField, estimate_correlation, exponential, matern
from metrology_core.uncertainty.fields import estimate as module
from metrology_core.uncertainty.fields.sampling import dense


def ring(n: int) -> np.ndarray:
    a = 2.0 * np.pi * np.arange(n) / n
    return np.stack([10.0 * np.cos(a), 10.0 * np.sin(a)], axis=1)


def displaced(xyz: np.ndarray, kind: str, field: CorrelatedField, trial: int):
    base = fit(xyz, kind)
    e = field.on(base.feature, xyz).sampler(17, "surface")(trial, trial + 1)[0]
    return fit(xyz + e[:, None] * base.feature.normals(xyz), kind)


def test_likelihood_is_that_of_error_contrasts() -> None:
    """Twin: the density of K'r for an orthonormal K with K'J = 0, straight from its definition."""
    found = displaced(ring(60), "circle", CorrelatedField(1e-3, exponential(4.0), 4e-4), 0)
    xyz, j, r = found.design()
    model = module._Model(found.associated, xyz, j, r, 0.5, "auto")
    contrasts = np.linalg.svd(j.T)[2][3:].T
    values = []
    for length, share, total in ((4.0, 0.1, 1e-3), (1.0, 0.5, 2e-3), (15.0, 0.02, 5e-4)):
        on = CorrelatedField(total * math.sqrt(1 - share), exponential(length), total * math.sqrt(share))
        c = contrasts.T @ on.on(found.associated, xyz).matrix() @ contrasts
        y = contrasts.T @ r
        twin = np.linalg.slogdet(c)[1] + y @ np.linalg.solve(c, y)
        ours = model.deviance(math.log(length), math.log(share / (1 - share)), math.log(total))
        values.append(ours - twin)
    # equal up to a constant; 1e-10 added to the diagonal and the squares of cond 1e3
    assert np.ptp(values) < 1e-5


def test_estimates_agree_with_the_truth_within_their_covariance() -> None:
    """60 rings: the estimates scatter about the truth as their own covariance says; all cover reasonably."""
    truth = np.log([1e-3, 1.0, 4e-4])
    scores, inside, bounded = [], 0, 0
    for trial in range(60):
        e = displaced(ring(180), "circle", CorrelatedField(1e-3, exponential(1.0), 4e-4), trial).estimate_correlation()
        inside += e.length_interval[0] <= 1.0 <= e.length_interval[1]
        bounded += e.status == "determined"
        if e.status == "determined" and e.nugget > 0.0 and np.isfinite(e.covariance).all():
            scores.append((np.log([e.sigma, e.length, e.nugget]) - truth) / np.sqrt(np.diag(e.covariance)))
    scores = np.array(scores)
    assert bounded >= 48 and len(scores) >= 40
    # binomial 0.95 of 60: 51 is four standard deviations below; the interval is asymptotic
    assert inside >= 51
    # medians of 40 scores scatter by 0.2; asymptotic bias of the logarithms is of that order too
    assert np.abs(np.median(scores, axis=0)).max() < 0.8
    assert (np.abs(scores) < 4.0).mean() > 0.95


def test_vecchia_agrees_with_the_whole_matrix(monkeypatch) -> None:
    rng = np.random.default_rng(4)
    a, z = rng.uniform(0.0, 2.0 * np.pi, 380), rng.uniform(0.0, 12.0, 380)
    xyz = np.stack([10.0 * np.cos(a), 10.0 * np.sin(a), z], axis=1)
    found = displaced(xyz, "cylinder", CorrelatedField(1e-3, matern(2.0, 1.5), 5e-4), 1)
    whole = estimate_correlation(found, nu=1.5)
    monkeypatch.setattr(module, "DENSE_POINTS", 100)
    part = estimate_correlation(found, nu=1.5)
    # a tenth of the standard uncertainty of the estimate
    for name, k in (("sigma", 0), ("length", 1), ("nugget", 2)):
        difference = math.log(getattr(part, name) / getattr(whole, name))
        assert abs(difference) < 0.35 * math.sqrt(whole.covariance[k, k])
    assert "Vecchia" in part.words and "whole" in whole.words


def test_vecchia_draws_have_the_covariance_of_the_field() -> None:
    rng = np.random.default_rng(5)
    a, z = rng.uniform(0.0, 2.0 * np.pi, 500), rng.uniform(0.0, 12.0, 500)
    xyz = np.stack([10.0 * np.cos(a), 10.0 * np.sin(a), z], axis=1)
    on = CorrelatedField(1.0, matern(2.0, 1.5)).on(Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0), xyz)
    law = on.sampler(1, "x")._parts["law"]
    columns = np.empty((500, 500))
    for k, unit in enumerate(np.eye(500)):
        out = np.empty(500)
        correlation.unfold(law.order.neighbours, law.weights, law.spread, unit, out)
        columns[law.order.order, k] = out
    # 30 neighbours of a once differentiable field: largest error of a correlation seen 0.026
    assert np.abs(columns @ columns.T - dense(on.at, on.field.kernel)).max() < 0.04


def test_what_the_data_do_not_determine_is_said() -> None:
    white = displaced(ring(150), "circle", CorrelatedField(0.0, exponential(1.0), 1e-3), 3).estimate_correlation()
    assert white.status == "no_correlation" and white.sigma == 0.0 and white.nugget == pytest.approx(1e-3, rel=0.25)
    assert (
        "correlation_not_determined" in white.flags and white.field is not None and white.field.nugget == white.nugget
    )
    statuses = [
        displaced(ring(150), "circle", CorrelatedField(1e-3, exponential(80.0), 3e-4), t).estimate_correlation()
        for t in range(6)
    ]
    # a correlation over the whole circle: the length has no upper end
    open_ended = [e for e in statuses if e.status == "length_not_bounded"]
    assert len(open_ended) >= 4
    assert all(math.isinf(e.length_interval[1]) and "correlation_not_determined" in e.flags for e in open_ended)
    few = fit(ring(9) + 1e-3 * np.random.default_rng(1).standard_normal((9, 2)), "circle").estimate_correlation()
    assert few.status == "insufficient" and few.field is None and few.to_dict()["sigma"] is None
    with pytest.raises(ParameterError, match="least-squares"):
        fit(ring(30), "circle", criterion="minimum_zone").estimate_correlation()
