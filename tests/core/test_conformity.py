"""Decisions: published cases, independent integration, the two parties, and decisions on unrounded values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrology_core.conformity import DecisionRule, Tolerance, conformity_probability, decide
from metrology_core.errors import ParameterError, UnitError
from metrology_core.quantity import Influence, Measured

U = Influence("u", "all causes", "B")


def value(y: float, u: float, *, dof: float = math.inf, bound: float | None = None) -> Measured:
    row = Influence("u", "all causes", "B" if math.isinf(dof) else "A", dof)
    return Measured(y, "mm", {"u": u}, {"u": row}, bound)


def test_jcgm106_zener_example() -> None:
    # JCGM 106: breakdown voltage -5.47 V, u 0.05 V, upper limit -5.40 V; p = Phi(1.4) = 0.9192
    p = conformity_probability(value(-5.47, 0.05), Tolerance(None, -5.40, "mm"))
    assert p == pytest.approx(0.91924, abs=5e-6)  # Phi(1.4) to its printed digits


def test_probability_against_numerical_integration() -> None:
    from scipy import integrate, stats

    cases = [(0.003, 0.002, math.inf, 0.0, 0.006), (0.9, 0.3, 5.0, None, 1.1), (0.0, 0.01, math.inf, 0.0, 0.005)]
    for y, u, dof, bound, upper in cases:
        density = stats.norm(y, u).pdf if math.isinf(dof) else stats.t(dof, y, u).pdf
        low = -np.inf if bound is None else bound
        inside = integrate.quad(density, low, upper, epsabs=1e-13)[0]
        whole = integrate.quad(density, low, y, epsabs=1e-13)[0] + integrate.quad(density, y, np.inf, epsabs=1e-13)[0]
        got = conformity_probability(value(y, u, dof=dof, bound=bound), Tolerance(None, upper, "mm"))
        assert got == pytest.approx(inside / whole, abs=1e-9)  # the quadrature's own error


def test_iso14253_zones_follow_the_guard_band() -> None:
    rule, limits = DecisionRule.iso14253(), Tolerance(9.9, 10.1, "mm")
    w = 1.6448536 * 0.01
    for y, verdict in [
        (10.0, "conforming"),
        (10.1 - 1.001 * w, "conforming"),
        (10.1 - 0.999 * w, "indeterminate"),
        (10.1, "indeterminate"),
        (10.1 + 0.999 * w, "indeterminate"),
        (10.1 + 1.001 * w, "nonconforming"),
        (9.9 - 1.001 * w, "nonconforming"),
        (9.9 + 0.999 * w, "indeterminate"),
    ]:
        decision = decide(value(y, 0.01), limits, rule)
        assert decision.verdict == verdict, y
        assert decision.guard_band == pytest.approx(w, rel=1e-7)  # the printed quantile
        assert decision.acceptance_upper == pytest.approx(10.1 - w, rel=1e-9)


def test_the_parties_draw_opposite_conclusions_from_the_same_doubt() -> None:
    doubtful = value(10.1, 0.01)
    limits = Tolerance(9.9, 10.1, "mm")
    supplier = decide(doubtful, limits, DecisionRule.iso14253("conformity"))
    customer = decide(doubtful, limits, DecisionRule.iso14253("nonconformity"))
    assert supplier.verdict == customer.verdict == "indeterminate"
    assert not supplier.accepted
    assert customer.accepted


def test_a_tolerance_narrower_than_the_uncertainty_never_proves_conformity() -> None:
    decision = decide(value(10.0, 0.1), Tolerance(9.95, 10.05, "mm"), DecisionRule.iso14253())
    assert decision.verdict == "indeterminate"
    assert decision.probability < 0.4


def test_simple_acceptance_has_two_verdicts_on_unrounded_values() -> None:
    rule, limits = DecisionRule.simple_acceptance(), Tolerance(None, 0.1, "mm")
    assert decide(value(0.1, 0.02), limits, rule).verdict == "conforming"
    assert decide(value(np.nextafter(0.1, 1.0), 0.02), limits, rule).verdict == "nonconforming"


@given(st.floats(9.8, 10.2), st.floats(1e-4, 5e-2), st.floats(0.0, 2.0))
def test_guarded_acceptance_accepts_exactly_the_drawn_in_zone(y: float, u: float, r: float) -> None:
    decision = decide(value(y, u), Tolerance(9.9, 10.1, "mm"), DecisionRule.guard_band(r))
    inside = 9.9 + r * 2.0 * u <= y <= 10.1 - r * 2.0 * u
    assert decision.verdict == ("conforming" if inside else "nonconforming")


def test_form_deviations_have_no_guard_band_at_zero() -> None:
    decision = decide(value(1e-4, 1e-3, bound=0.0), Tolerance(0.0, 0.01, "mm"), DecisionRule.iso14253())
    assert decision.acceptance_lower == 0.0
    assert decision.verdict == "conforming"


def test_limits_are_converted_never_the_data() -> None:
    decision = decide(value(10.0, 0.001), Tolerance(9990.0, 10010.0, "um"), DecisionRule.iso14253())
    assert decision.verdict == "conforming"
    assert decision.acceptance_upper == pytest.approx(10.01 - 0.001644854, abs=1e-9)  # printed quantile


def test_an_exact_value_is_in_or_out() -> None:
    exact = Measured.exact(1.0, "mm")
    assert decide(exact, Tolerance(0.0, 1.0, "mm"), DecisionRule.iso14253()).verdict == "conforming"
    assert decide(exact, Tolerance(0.0, 0.9, "mm"), DecisionRule.iso14253()).verdict == "nonconforming"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tolerance(None, None, "mm"),
        lambda: Tolerance(1.0, 1.0, "mm"),
        lambda: Tolerance(2.0, 1.0, "mm"),
        lambda: Tolerance(math.nan, 1.0, "mm"),
        lambda: DecisionRule("hopeful"),  # type: ignore[arg-type]
        lambda: DecisionRule.iso14253("both"),  # type: ignore[arg-type]
        lambda: DecisionRule.iso14253(probability=1.0),
        lambda: DecisionRule.guard_band(-1.0),
    ],
)
def test_impossible_rules_are_refused(make: object) -> None:
    with pytest.raises(ParameterError):
        make()  # type: ignore[operator]


def test_a_length_is_not_decided_against_an_angle() -> None:
    with pytest.raises(UnitError, match="cannot be decided"):
        decide(value(1.0, 0.1), Tolerance(0.0, 1.0, "deg"), DecisionRule.iso14253())


def test_guarded_acceptance_guards_nothing_at_a_physical_bound() -> None:
    small = value(1e-3, 1e-3, bound=0.0)
    for limits in (Tolerance(0.0, 0.05, "mm"), Tolerance(None, 0.05, "mm")):
        decision = decide(small, limits, DecisionRule.guard_band())
        assert decision.verdict == "conforming"
        assert decision.probability == pytest.approx(1.0, abs=1e-12)  # 49 standard uncertainties inside


def test_samples_are_decided_by_their_own_spread() -> None:
    samples = np.random.default_rng(5).normal(10.0, 1.0, 20_000)
    drawn = Measured(10.0, "mm", samples=samples)
    decision = decide(drawn, Tolerance(None, 10.5, "mm"), DecisionRule.guard_band())
    assert decision.verdict == "nonconforming"
    assert decision.probability == pytest.approx(0.6915, abs=4 * math.sqrt(0.69 * 0.31 / 20_000))  # 4 standard errors


def test_a_voltage_is_decided_in_volts() -> None:
    """JCGM 106 (Zener diode, limit -5.40 V, measured -5.47 V, u = 0.05 V): conformity probability 0.92."""
    from metrology_core.quantity import Influence, Measured

    measured = Measured.from_standard(-5470.0, 50.0, "mV", Influence("meter", "voltmeter", "B"))
    found = decide(measured, Tolerance(None, -5.40, "V"), DecisionRule.iso14253())
    assert found.probability == pytest.approx(0.919243, abs=1e-6) and found.verdict == "indeterminate"
