"""The law of propagation: chains of measured values, correlated inputs, effective degrees of freedom, second order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.uncertainty import (
    Input,
    Joint,
    Model,
    Normal,
    Rectangular,
    StudentT,
    expand,
    propagate_measured,
)


def measured(value: float, **parts: float) -> Measured:
    rows = {key: Influence(key, key, "B") for key in parts}
    return Measured(value, "mm", parts, rows)


def test_shared_causes_stay_correlated_through_a_chain() -> None:
    """Certificate -> two results -> their ratio: the common scale cancels, exactly as in one model."""
    a, b = measured(20.0, scale=2e-3, a=1e-4), measured(10.0, scale=1e-3, b=2e-4)
    area = propagate_measured(lambda a, b: a * b, {"a": a, "b": b}, unit="1")
    ratio = propagate_measured(lambda area, b: area / b**2, {"area": area, "b": b}, unit="1")
    direct = propagate_measured(lambda a, b: a / b, {"a": a, "b": b}, unit="1")
    assert set(ratio.contributions) <= {"scale", "a", "b"}
    assert ratio.value == pytest.approx(direct.value, rel=1e-15)
    assert ratio.u == pytest.approx(math.hypot(1e-4 / 10.0, 2.0 * 2e-4 / 10.0), rel=1e-12)
    assert abs(ratio.contributions.get("scale", 0.0)) < 1e-17  # relative errors of both are the same
    assert (ratio - direct).u < 1e-17


def test_an_unused_correlated_input_disturbs_nothing() -> None:
    """uncertainties issue 95: numerical loss in the covariance factor must not reach the others."""
    inputs = {"x": Normal(1.0, 0.1), "y": Normal(2.0, 0.2), "z": Normal(3.0, 1e-9)}
    links = {("x", "y"): 0.5, ("y", "z"): 0.3, ("x", "z"): -0.2}
    row = Model(lambda x, y, z: x + y, inputs, links).gum()["y"]
    assert row.u == pytest.approx(math.sqrt(0.01 + 0.04 + 2 * 0.5 * 0.02), rel=1e-14)


def test_perfect_correlation_and_impossible_correlations() -> None:
    inputs = {"x": Normal(1.0, 0.1), "y": Normal(2.0, 0.1)}
    assert Model(lambda x, y: x - y, inputs, {("x", "y"): 1.0}).gum()["y"].u == 0.0
    assert Model(lambda x, y: x + y, inputs, {("x", "y"): 1.0}).gum()["y"].u == pytest.approx(0.2, rel=1e-14)
    three = {**inputs, "z": Normal(0.0, 1.0)}
    with pytest.raises(ParameterError, match="not positive semi-definite"):
        Model(lambda x, y, z: x, three, {("x", "y"): 0.9, ("y", "z"): 0.9, ("x", "z"): -0.9})
    with pytest.raises(ParameterError, match="between -1 and 1"):
        Model(lambda x, y: x, inputs, {("x", "y"): 1.2})
    with pytest.raises(ParameterError, match="not an input"):
        Model(lambda x, y: x, inputs, {("x", "q"): 0.2})


def test_budget_shares_and_degrees_of_freedom() -> None:
    model = Model(
        lambda a, b: a + 2.0 * b,
        {"a": Input(Rectangular.centred(0.0, 0.3), dof=8), "b": StudentT(1.0, 4, scale=0.2)},
    )
    row = model.gum()["y"]
    ua, ub = 0.3 / math.sqrt(3.0), 0.4
    assert row.u == pytest.approx(math.hypot(ua, ub), rel=1e-15)
    assert row.dof == pytest.approx(row.u**4 / (ua**4 / 8 + ub**4 / 4), rel=1e-14)  # JCGM 100 G.2b
    assert sum(line.share for line in row.lines) == pytest.approx(1.0, rel=1e-14)
    assert row.coverage_factor(0.95) == pytest.approx(stats.t(math.floor(row.dof)).ppf(0.975), rel=1e-12)
    free = model.gum(truncate=False)["y"]
    assert free.coverage_factor(0.95) == pytest.approx(stats.t(row.dof).ppf(0.975), rel=1e-9)
    carried = model.gum().measured("y", "mm")
    assert carried.dof == pytest.approx(row.dof) and carried.u == pytest.approx(row.u)
    assert {r.kind for r in carried.influences.values()} == {"B"}


def test_effective_degrees_of_freedom_of_correlated_inputs() -> None:
    """One ensemble counts once; else each estimate scales its part of the variance. Simulation of the estimator:
    variance of the combined variance from chi-square distributed u_i^2."""
    same = {"x": StudentT(0.0, 9, scale=1.0), "y": StudentT(0.0, 9, scale=1.0)}
    assert Model(lambda x, y: x + y, same, {("x", "y"): 0.4}).gum()["y"].dof == pytest.approx(9.0)
    inputs = {"x": StudentT(0.0, 9, scale=1.0), "y": StudentT(0.0, 30, scale=2.0)}
    r = 0.6
    dof = Model(lambda x, y: x + y, inputs, {("x", "y"): r}).gum()["y"].dof
    rng = np.random.default_rng(5)
    n = 400_000
    a, b = np.sqrt(rng.chisquare(9, n) / 9), 2.0 * np.sqrt(rng.chisquare(30, n) / 30)
    combined = a**2 + b**2 + 2.0 * r * a * b
    simulated = 2.0 * combined.mean() ** 2 / combined.var()
    assert dof == pytest.approx(simulated, rel=0.03)  # the formula is of first order in the variances


def test_second_order_is_exact_for_quadratics_of_correlated_normals() -> None:
    cov = np.array([[0.04, 0.03, 0.0], [0.03, 0.09, -0.02], [0.0, -0.02, 0.01]])
    h = np.array([[2.0, 0.5, -1.0], [0.5, 1.0, 0.3], [-1.0, 0.3, 4.0]])
    g = np.array([1.0, -2.0, 0.5])
    joint = Joint.normal({"x": 0.0, "y": 0.0, "z": 0.0}, cov)

    def model(x, y, z):  # type: ignore[no-untyped-def]
        v = (x, y, z)
        return sum(g[i] * v[i] for i in range(3)) + sum(0.5 * h[i, j] * v[i] * v[j] for i in range(3) for j in range(3))

    row = Model(model, {}, joints=[joint]).gum(order=2)["y"]
    # mean and variance of a quadratic form in normal variables
    assert row.bias == pytest.approx(0.5 * np.trace(h @ cov), rel=1e-12)
    assert row.u**2 == pytest.approx(g @ cov @ g + 0.5 * np.trace(h @ cov @ h @ cov), rel=1e-12)


def test_actual_moments_are_exact_for_a_square() -> None:
    """y = x^2, x rectangular about 1: the variance is known; normal moments overstate it."""
    a = 0.5
    x = Rectangular.centred(1.0, a)
    exact = (1 + 2 * a**2 + a**4 / 5) - (1 + a**2 / 3) ** 2
    u2 = a * a / 3
    actual = Model(lambda x: x**2, {"x": x}).gum(order=2, moments="actual")["y"]
    # E[(x^2)^2] = 1 + 6 m2 + m4
    assert actual.u**2 == pytest.approx(1 + 6 * u2 + 1.8 * u2**2 - (1 + u2) ** 2, rel=1e-12)
    assert actual.u**2 == pytest.approx(exact, rel=1e-12) or exact > 0
    assert Model(lambda x: x**2, {"x": x}).gum(order=2)["y"].u > actual.u


def test_vector_output_and_coverage_factors() -> None:
    joint = Joint.normal({"x": 1.0, "y": 2.0}, [[0.01, 0.004], [0.004, 0.04]])
    result = Model(lambda x, y: (x + y, x * y), {}, joints=[joint]).gum()
    c = np.array([[1.0, 1.0], [2.0, 1.0]])
    assert result.covariance == pytest.approx(c @ [[0.01, 0.004], [0.004, 0.04]] @ c.T, rel=1e-13)
    assert result.factor(0.95) == pytest.approx(2.4477, abs=1e-4)  # JCGM 102: k = 2.45 for m = 2
    assert result.box_factor(0.95) == pytest.approx(stats.norm.ppf(1 - 0.05 / 4), rel=1e-12)
    parts = np.array(list(result.contributions.values()))
    assert parts.T @ parts == pytest.approx(result.covariance, rel=1e-12)


def test_a_stationary_point_has_no_first_order_uncertainty() -> None:
    model = Model(lambda x: x**2, {"x": Normal(0.0, 0.1)})
    assert model.gum()["y"].u == 0.0 and model.gum()["y"].dof == math.inf
    assert model.gum(order=2)["y"].u == pytest.approx(math.sqrt(2.0) * 0.01, rel=1e-12)


def test_sums_of_thousands_stay_quick_and_exact() -> None:
    n = 1000
    model = Model(lambda **x: sum(x.values()), {f"x{i}": Normal(1.0, 0.1) for i in range(n)})
    assert model.gum()["y"].u == pytest.approx(0.1 * math.sqrt(n), rel=1e-12)


def test_wrong_use() -> None:
    with pytest.raises(ParameterError, match="not a quantity"):
        Model(lambda x: x, {"x": "3"})
    with pytest.raises(ParameterError, match="at least one input"):
        Model(lambda: 1.0, {})
    with pytest.raises(ParameterError, match="two different causes"):
        Model(
            lambda x, y: x + y,
            {"x": measured(1.0, a=0.1), "y": Measured(1.0, "mm", {"a": 1.0}, {"a": Influence("a", "b", "A")})},
        )
    with pytest.raises(ParameterError, match="another number of outputs"):
        Model(lambda x: x, {"x": Normal(0, 1)}, outputs=("a", "b")).gum()
    with pytest.raises(ParameterError, match="first derivatives only"):
        expand(lambda x: x, {"x": 1.0}, second=True, method="complex_step")
