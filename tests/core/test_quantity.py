"""Measured: contributions, correlation by shared ids, effective degrees of freedom, rounding."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metrology_core.errors import ParameterError, UnitError
from metrology_core.quantity import Influence, Measured, round_pair, two_sided_factor

NOISE_A = Influence("noise/a", "noise of a", "A", 9)
NOISE_B = Influence("noise/b", "noise of b", "A", 4)
SCALE = Influence("scale", "scale error", "B")


def measured(value: float, **parts: float) -> Measured:
    known = {"noise_a": NOISE_A, "noise_b": NOISE_B, "scale": SCALE}
    return Measured(value, "mm", {known[k].id: v for k, v in parts.items()}, {known[k].id: known[k] for k in parts})


def test_u_is_the_root_sum_of_squares_and_the_budget_adds_up() -> None:
    m = measured(1.0, noise_a=3e-3, scale=-4e-3)
    assert m.u == 5e-3  # 3-4-5
    rows = m.budget()
    assert [row.id for row in rows] == ["scale", "noise/a"]
    # shares are two quotients of doubles: 1 ulp each
    assert sum(row.share for row in rows) == pytest.approx(1.0, abs=4e-16)


small = st.floats(1e-6, 1e-2)


@given(small, small)
def test_a_shared_scale_error_cancels_in_a_difference(noise: float, scale: float) -> None:
    difference = measured(2.0, noise_a=noise, scale=scale) - measured(1.0, noise_b=noise, scale=scale)
    assert "scale" not in difference.contributions  # equal floats cancel exactly
    assert difference.u == math.hypot(noise, noise)


@given(small, small)
def test_the_variance_of_a_sum_follows_the_correlation(noise: float, scale: float) -> None:
    a, b = measured(2.0, noise_a=noise, scale=scale), measured(1.0, noise_b=noise, scale=scale)
    r = a.correlation(b)
    expected = math.sqrt(a.u**2 + b.u**2 + 2 * r * a.u * b.u)
    # a dozen roundings of relative size 1e-16
    assert (a + b).u == pytest.approx(expected, rel=2e-15)


def test_welch_satterthwaite_reproduces_gum_h1() -> None:
    # GUM H.1 (end gauge), in nm: components and degrees of freedom as published; printed nu_eff 16
    parts = {"ls": (25.0, 18.0), "d": (9.7, 25.6), "alpha": (2.9, 50.0), "theta": (16.6, 2.0)}
    rows = {key: Influence(key, key, "A", dof) for key, (_, dof) in parts.items()}
    m = Measured(50_000_838.0, "nm", {key: u for key, (u, _) in parts.items()}, rows)
    assert round(m.u) == 32
    assert math.floor(m.dof) == 16
    assert m.coverage_factor(0.99) == pytest.approx(2.92, abs=0.005)  # printed to two decimals


def test_influences_of_one_estimate_count_once() -> None:
    rows = {str(i): Influence(str(i), "", "A", 7, group="fit") for i in range(4)}
    m = Measured(0.0, "mm", dict.fromkeys(rows, 0.001), rows)
    assert m.dof == pytest.approx(7.0, rel=1e-15)  # one division


@pytest.mark.parametrize(
    ("dof", "p", "k"), [(math.inf, 0.95, 1.959964), (9, 0.95, 2.262157), (16.7, 0.95, 2.119905), (4, 0.99, 4.604095)]
)
def test_coverage_factors_of_the_t_table(dof: float, p: float, k: float) -> None:
    assert two_sided_factor(p, dof) == pytest.approx(k, abs=5e-7)  # the table's printed digits


def test_intervals_stop_at_a_physical_bound() -> None:
    m = Measured(1e-3, "mm", {"scale": 1e-3}, {"scale": SCALE}, lower_bound=0.0)
    low, high = m.coverage_interval()
    assert low == 0.0
    assert high == pytest.approx(1e-3 + 1.959964e-3, abs=1e-9)  # normal factor to 6 digits


def test_samples_give_the_interval_where_there_are_any() -> None:
    samples = np.linspace(0.0, 1.0, 10_001)
    m = Measured(0.5, "mm", {"scale": 0.3}, {"scale": SCALE}, samples=samples)
    assert m.coverage_interval(0.9) == pytest.approx((0.05, 0.95), abs=1e-12)  # linear interpolation of a line


@pytest.mark.parametrize(
    ("value", "u", "digits", "text"),
    [
        (20.00134, 0.00042, 2, "20.00134(42) mm"),
        (20.00134, 0.00042, 1, "20.0013(4) mm"),
        (0.0996, 0.0996, 2, "0.10(10) mm"),
        (1234.5, 56.7, 2, "1234(57) mm"),
        (838.0, 35.8, 2, "838(36) mm"),
        (123456.0, 1234.0, 2, "123500(1200) mm"),
        (5.0, 1.23, 2, "5.0(1.2) mm"),
        (1e-7, 3.3e-9, 2, "0.0000001000(33) mm"),
        (-0.00004, 0.001, 2, "-0.0000(10) mm"),
        (100.02147, 0.00035, 2, "100.02147(35) mm"),  # the mass example of JCGM 100 7.2.2
    ],
)
def test_concise_form(value: float, u: float, digits: int, text: str) -> None:
    assert Measured(value, "mm", {"scale": u}, {"scale": SCALE}).short(digits) == text


@given(st.floats(-1e4, 1e4), st.floats(1e-9, 1e3), st.integers(1, 3))
def test_rounding_never_moves_more_than_half_a_place(value: float, u: float, digits: int) -> None:
    assume(abs(value) < 1e12 * u)
    text, u_text = round_pair(value, u, digits)
    decade = math.floor(math.log10(u) + 1e-12)
    if float(u_text) >= 10.0 ** (decade + 1) * (1 - 1e-12):  # 0.0996 -> 0.10: the last digit moved up one place
        decade += 1
    place = 10.0 ** (decade - digits + 1)
    # half a place, and the rounding of the floats in this comparison
    assert abs(float(text) - value) <= 0.5000001 * place + 1e-12 * abs(value)
    assert abs(float(u_text) - u) <= 0.5000001 * place + 1e-12 * u


def test_there_is_no_order_and_no_float() -> None:
    a, b = measured(1.0, scale=1e-3), measured(2.0, scale=1e-3)
    for compare in (lambda: a < b, lambda: a <= b, lambda: a > 1.0, lambda: a >= 1.0):
        with pytest.raises(TypeError, match="decide"):
            compare()
    with pytest.raises(TypeError, match="not a number"):
        float(a)


def test_one_id_cannot_name_two_causes() -> None:
    other = Measured(1.0, "mm", {"scale": 1.0}, {"scale": Influence("scale", "another cause", "A")})
    with pytest.raises(ParameterError, match="two different causes"):
        _ = measured(1.0, scale=1e-3) + other


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ParameterError, match="finite"):
        Measured(value, "mm")
    with pytest.raises(ParameterError, match="finite"):
        Measured(1.0, "mm", {"scale": value}, {"scale": SCALE})


def test_units_convert_with_their_contributions() -> None:
    m = measured(1.5, scale=2e-3).to("um")
    assert (m.value, m.u, m.unit) == (1500.0, 2.0, "um")
    assert (measured(1.0, scale=1e-3) + m).value == 2.5
    with pytest.raises(UnitError):
        m.to("deg")


def test_products_of_measured_values_are_refused() -> None:
    with pytest.raises(ParameterError, match="not linear"):
        _ = measured(1.0) * measured(2.0)


def test_it_survives_pickling() -> None:
    m = pickle.loads(pickle.dumps(measured(1.5, noise_a=1e-3, scale=2e-3)))
    assert (m.value, m.u, m.dof) == (1.5, measured(1.5, noise_a=1e-3, scale=2e-3).u, m.dof)


def test_samples_alone_make_an_uncertainty() -> None:
    samples = np.random.default_rng(3).normal(10.0, 1.0, 10_000)
    m = Measured(10.0, "mm", samples=samples)
    assert m.u == pytest.approx(1.0, abs=4 / math.sqrt(2 * 10_000))  # 4 standard errors of a standard deviation
    shifted = m - Measured.exact(4.0, "mm")
    assert shifted.samples is not None
    assert shifted.samples == pytest.approx(samples - 4.0, abs=1e-15)
    mirrored = Measured.exact(4.0, "mm") - m
    assert mirrored.samples == pytest.approx(4.0 - samples, abs=1e-15)
    with pytest.raises(ParameterError, match="simulate"):
        _ = m + measured(1.0, scale=1e-3)
    with pytest.raises(ParameterError, match="simulate"):
        m.with_contributions({"scale": 1.0}, {"scale": SCALE})


@pytest.mark.parametrize(("value", "u"), [(60.0, 1e-30), (1e-300, 1e300), (1e300, 1e-300), (0.0, 5e-324)])
def test_extreme_ratios_are_printed_not_crashed(value: float, u: float) -> None:
    text, u_text = round_pair(value, u)
    # halves of the last printed digit are far below these
    assert float(u_text) == pytest.approx(u, rel=0.06)
    assert abs(float(text) - value) <= 0.6 * u


def test_temperatures_have_a_difference_in_kelvin_and_no_sum() -> None:
    a = Measured(21.5, "degC", {"scale": 0.1}, {"scale": SCALE})
    b = Measured(20.0, "degC", {"scale": 0.1}, {"scale": SCALE})
    assert ((a - b).value, (a - b).unit, (a - b).u) == (1.5, "K", 0.0)
    with pytest.raises(UnitError, match="difference"):
        _ = a + b


def test_a_drawn_value_states_the_farther_end_of_its_interval() -> None:
    """U beside an interval: 2 u for a plain value; for a drawn one value -+ U holds the interval, wherever it lies."""
    plain = Measured.from_standard(5.0, 1.5, "um", Influence("a", "a", "B"))
    assert plain.stated_expanded() == (3.0, 2.0) and plain.stated_expanded(3.0) == (4.5, 3.0)
    p = (np.arange(100_000) + 0.5) / 100_000
    for low, high in ((4.0, 9.0), (0.0, 4.0), (6.0, 7.0)):  # about the value, below it, above it
        drawn = replace(plain, samples=low + (high - low) * p)
        ends = drawn.coverage_interval(0.95)
        reach, factor = drawn.stated_expanded()
        # of a uniform distribution: 2.5 % of the width inside either end
        assert ends == pytest.approx((low + 0.025 * (high - low), high - 0.025 * (high - low)), abs=1e-4)
        assert reach == pytest.approx(max(5.0 - ends[0], ends[1] - 5.0), abs=1e-12)
        assert 5.0 - reach <= ends[0] + 1e-12 and ends[1] <= 5.0 + reach + 1e-12
        assert factor == pytest.approx(reach / 1.5)
    exact = Measured(5.0, "um", samples=np.full(10, 5.0))
    assert exact.stated_expanded() == (0.0, None)
