"""Distributions of standard deviations: closed forms, coverage and false acceptance of simulated spreads."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from metrology_core import DecisionRule, Tolerance, decide
from metrology_core.conformity import conformity_probability
from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.spreads import (
    bounded_spread,
    chi_square_spread,
    log_error,
    log_normal_spread,
    mean_variance_spread,
    with_spread,
)


def measured(value: float, quantiles: np.ndarray, relative: float = 0.0) -> Measured:
    rows = {"s": Influence("s", "number", "A", 3.0), "scale": Influence("scale", "scale", "B")}
    found = Measured(value, "nm", {"s": 0.3 * value, "scale": relative * value}, rows, 0.0)
    return with_spread(found, quantiles, ("s",))


@pytest.mark.parametrize("n", [2, 4, 10, 100])
def test_interval_and_probability_are_those_of_chi_square(n: int) -> None:
    """Closed form; 2000 quantiles tell an end to a level within 0.0005 (half a step at each side)."""
    found = measured(2.0, chi_square_spread(4.0, n - 1.0))
    low, high = found.coverage_interval()
    for end, level in ((low, 0.025), (high, 0.975)):
        assert stats.chi2.sf(4.0 * (n - 1) / end**2, n - 1) == pytest.approx(level, abs=5e-4)
    limit = Tolerance(None, 3.0, "nm")
    assert conformity_probability(found, limit) == pytest.approx(stats.chi2.sf(4.0 * (n - 1) / 9.0, n - 1), abs=5e-4)
    decision = decide(found, limit, DecisionRule.iso14253())
    # the printed guard band is the distance to the 95 % upper end of the value
    upper = 2.0 * math.sqrt((n - 1) / stats.chi2.ppf(0.05, n - 1))
    assert decision.guard_band == pytest.approx(upper - 2.0, rel=0.03 if n == 2 else 0.01)
    assert found.u == pytest.approx(0.6)  # the budget stays that of the contributions
    again = pickle.loads(pickle.dumps(found)).to("um")
    assert again.coverage_interval() == pytest.approx((low * 1e-3, high * 1e-3))


@pytest.mark.parametrize("noise", [0.0, 1.5])
@pytest.mark.parametrize("n", [4, 10, 100])
def test_coverage_and_false_acceptance_of_a_spread(n: int, noise: float) -> None:
    """4000 spreads of true value 1, noise of known variance in the values: 95 % intervals hold the truth in 95 % +- 1 %
    (three standard errors of 4000 are 1.03 %), and at the limit 5 % are wrongly conforming (1.03 % more at most)."""
    trials = 4000
    rng = np.random.default_rng(100 * n + int(10 * noise))
    values = rng.standard_normal((trials, n)) + noise * rng.standard_normal((trials, n))
    held = wrong = below = 0
    limit, rule = Tolerance(None, 1.0, "nm"), DecisionRule.iso14253()
    for total in values.var(axis=1, ddof=1):
        value = math.sqrt(max(total - noise**2, 0.0))
        found = measured(value, chi_square_spread(float(total), n - 1.0, noise**2))
        low, high = found.coverage_interval()
        held += low <= 1.0 <= high
        below += high < 1.0
        wrong += decide(found, limit, rule).verdict == "conforming"
    error = 3.0 * math.sqrt(0.05 * 0.95 / trials)
    # samples far below their noise (2.5 % at most) have the interval of their noise, which holds the truth
    assert 0.95 - error <= held / trials <= 0.95 + error + (0.025 if noise else 0.0)
    assert below / trials <= 0.025 + 3.0 * math.sqrt(0.025 * 0.975 / trials)
    assert wrong / trials <= 0.05 + error


@pytest.mark.parametrize("n", [4, 10, 100])
def test_coverage_of_a_mean_of_variances(n: int) -> None:
    """Edges of 12 independent values each: their variances' scatter is all that is known. Exact is nothing here (20 000
    simulated means: 95.0 % covered, 5.7 % falsely accepted at n = 4): 95 % +- 2 % are asked for, three standard errors
    of 4000 trials (1 %) within that, and at the limit 6 % false acceptance at most."""
    trials = 4000
    rng = np.random.default_rng(n)
    variances = rng.standard_normal((trials, n, 12)).var(axis=2, ddof=1)
    held = wrong = 0
    for row in variances:
        u = float(row.std(ddof=1)) / math.sqrt(n)
        found = measured(math.sqrt(row.mean()), mean_variance_spread(float(row.mean()), u, n - 1.0))
        low, high = found.coverage_interval()
        held += low <= 1.0 <= high
        wrong += conformity_probability(found, Tolerance(None, 1.0, "nm")) >= 0.95
    assert 0.93 <= held / trials <= 0.97
    assert wrong / trials <= (0.06 if n == 4 else 0.05) + 3.0 * math.sqrt(0.05 * 0.95 / trials)


def test_a_scale_widens_the_distribution() -> None:
    """Many degrees of freedom and a relative scale error of 10 %: nearly normal with both variances added; 2000 paired
    values tell a standard deviation to about 1.6 %."""
    plain = chi_square_spread(1.0, 5000.0)
    found = measured(1.0, plain, relative=0.1)
    assert found.samples is not None
    assert float(found.samples.std()) == pytest.approx(math.hypot(0.1, 0.01), rel=0.016)
    assert found.coverage_interval() == pytest.approx((1.0 - 1.97 * 0.1005, 1.0 + 1.97 * 0.1005), abs=0.005)


def test_bounds_and_wrong_use() -> None:
    assert not chi_square_spread(0.0, 3.0).any() and not mean_variance_spread(0.0, 0.0, 3.0).any()
    assert chi_square_spread(1.0, 1e6, 2.0)[-1] < 0.11  # noise explains all
    assert np.isfinite(mean_variance_spread(1.0, 50.0, 1.0)).all()
    for bad in ((-1.0, 3.0, 0.0), (1.0, 0.0, 0.0), (1.0, 3.0, -1.0), (math.nan, 3.0, 0.0)):
        with pytest.raises(ParameterError, match="degrees of freedom"):
            chi_square_spread(*bad)
    with pytest.raises(ParameterError, match="degrees of freedom"):
        mean_variance_spread(1.0, math.nan, 3.0)


@pytest.mark.parametrize("make", [DecisionRule.guard_band, DecisionRule.guarded_rejection, DecisionRule.non_binary])
def test_guard_bands_take_their_own_side_of_the_interval(make: Callable[[], DecisionRule]) -> None:
    """Four values, s = 2: chi-square reaches from 1.13 to 6.8 (closed form, 2.275 % at each end); a symmetric U of 1.2
    would accept at a limit of 4 what lies beyond it with 17 % probability."""
    found = measured(2.0, chi_square_spread(4.0, 3.0))
    high, low = (2.0 * math.sqrt(3.0 / stats.chi2.ppf(p, 3)) for p in (0.02275, 0.97725))
    rule = make()
    drawn_in, moved_out = rule.factor >= 0.0, rule.factor < 0.0 or rule.kind == "non_binary"
    if drawn_in:
        for limit, verdict in ((1.02 * high, "conforming"), (0.98 * high, "other")):
            decision = decide(found, Tolerance(None, limit, "nm"), rule)
            assert (decision.verdict == "conforming") == (verdict == "conforming")
            assert decision.acceptance_upper == pytest.approx(limit - (high - 2.0), rel=0.02)
        assert decide(found, Tolerance(0.97 * low, 99.0, "nm"), rule).verdict == "conforming"
    if moved_out:
        assert decide(found, Tolerance(None, 0.98 * low, "nm"), rule).verdict == "nonconforming"
        assert decide(found, Tolerance(None, 1.02 * low, "nm"), rule).verdict != "nonconforming"
    assert decide(found, Tolerance(None, 10.0, "nm"), rule).guard_band == pytest.approx(
        high - 2.0 if drawn_in else low - 2.0, rel=0.02
    )


def test_the_logarithm_of_a_fitted_scale_is_normal() -> None:
    """Closed form: the ends lie 1.96 relative standard uncertainties away on the logarithmic scale."""
    found = measured(2.0, log_normal_spread(2.0, 0.4))
    assert found.coverage_interval() == pytest.approx((2.0 * math.exp(-0.392), 2.0 * math.exp(0.392)), rel=2e-3)
    assert not log_normal_spread(1.0, 0.0).std()
    with pytest.raises(ParameterError, match="positive"):
        log_normal_spread(0.0, 1.0)


def test_a_skew_logarithm_is_that_of_chi_square() -> None:
    """A variance of normal values with nu degrees of freedom is known as its logarithm is: u = sqrt(2/nu), skewness -u.
    With the bend that follows, u/3, the interval is that of chi-square about its median. The cube root neglects u^2:
    a tenth of that is allowed."""
    for nu in (20.0, 80.0):
        u = math.sqrt(2.0 / nu)
        found = measured(1.0, log_normal_spread(1.0, u, log_error(u / 3.0, math.inf)))
        exact = stats.chi2.ppf(0.5, nu) / stats.chi2.ppf([0.975, 0.025], nu)
        assert found.coverage_interval() == pytest.approx(tuple(exact), rel=0.1 * u * u)
    assert log_error(0.0, 1e9) == pytest.approx(log_error(1e-7, 1e9), abs=1e-5)


@pytest.mark.parametrize("dof", [3.0, 20.0, 61.3, 5000.0])
def test_the_expansion_of_student(dof: float) -> None:
    """Against SciPy's own quantiles, all 2000 levels."""
    exact = stats.t.ppf((np.arange(2000) + 0.5) / 2000.0, dof)
    found = log_error(0.0, dof)
    inner = np.abs(exact) < 2.1
    # what the next term of the expansion leaves at 20 degrees of freedom: 2e-4 within 95 %, 2e-3 at the last levels
    np.testing.assert_allclose(found[inner], exact[inner], rtol=3e-4)
    np.testing.assert_allclose(found, exact, rtol=3e-3)


def test_a_bounded_quantity_stays_between_its_bounds() -> None:
    quantiles = bounded_spread(0.9, 0.2, 0.02, 1.0)
    assert np.all((quantiles >= 0.02) & (quantiles <= 1.0)) and np.all(np.diff(quantiles) >= 0.0)
    assert float(np.median(quantiles)) == pytest.approx(0.9, abs=1e-3)
    # small against the distance to the bounds it is normal: 1e-3 of a standard deviation at 95 %
    low, high = np.quantile(bounded_spread(0.5, 1e-3, 0.0, 1.0), [0.025, 0.975])
    assert (high - low) / 2e-3 == pytest.approx(1.96, abs=5e-3)
    for bad in ((1.0, 0.1, 0.0, 1.0), (0.5, -0.1, 0.0, 1.0)):
        with pytest.raises(ParameterError):
            bounded_spread(*bad)
    with pytest.raises(ParameterError):
        log_error(0.1, 0.0)


def test_a_spread_far_below_its_noise_is_small_not_zero() -> None:
    """Less than nothing is chance: an interval that would be of no width reaches as far as for a variance equal to its
    noise; one that is not stays as it is, with its exact coverage."""
    assert chi_square_spread(0.4, 20.0, 1.0) == pytest.approx(chi_square_spread(1.0, 20.0, 1.0), abs=0.0)
    assert chi_square_spread(0.6, 20.0, 1.0)[-1] < chi_square_spread(1.0, 20.0, 1.0)[-1]
    found = mean_variance_spread(0.7, 0.07, 20.0, 1.0)
    assert found == pytest.approx(mean_variance_spread(1.0, 0.1, 20.0, 1.0), rel=1e-12)
    assert found[0] == 0.0 and found[-1] > 0.3
    assert mean_variance_spread(0.9, 0.09, 20.0, 1.0)[-1] < found[-1]
