"""Risks: published cases, arbitrary-precision quadrature, the bivariate normal, and plain simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import stats

from metrology_core.conformity import DecisionRule, Tolerance, conformity_probability, decide
from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.uncertainty.distributions import (
    ArcSine,
    Beta,
    Distribution,
    Lognormal,
    Normal,
    Rectangular,
    StudentT,
)
from metrology_core.uncertainty.risk import (
    acceptance_limits,
    capability_index,
    global_risk,
    guard_band_for,
    process_from_in_tolerance,
    specific_risk,
)

RESISTOR = Tolerance(1499.8, 1500.2, "1")
PROCESS = Normal(1500.0, 0.12)


def cases(data_root: Path) -> dict[str, dict[str, object]]:
    path = data_root / "uncertainty" / "acceptance" / "acceptance_cases.json"
    return {case["id"]: case["expected"] for case in json.loads(path.read_text())["cases"]}


@pytest.mark.real_data
def test_published_cases(data_root: Path) -> None:
    wanted = cases(data_root)
    zener = specific_risk(-5.47, 0.05, Tolerance(None, -5.40, "1"))
    assert round(zener.conforming, 4) == wanted["JCGM106-zener"]["pc"]
    plain = global_risk(PROCESS, 0.04, RESISTOR)
    guarded = global_risk(PROCESS, 0.04, RESISTOR, acceptance_limits(RESISTOR, 0.08))
    row = wanted["JCGM106-resistor"]
    assert round(plain.conforming, 4) == row["p_conf"]
    assert [round(plain.consumer, 6), round(plain.producer, 6)] == [row["Rc_h0"], row["Rp_h0"]]
    assert [round(guarded.consumer, 8), round(guarded.producer, 5)] == [row["Rc_r1"], row["Rp_r1"]]
    limits = Tolerance(-1.0, 1.0, "1")
    for k, itp in enumerate((0.6, 0.7, 0.8, 0.9, 0.95, 0.99)):
        process = process_from_in_tolerance(limits, itp)
        found = global_risk(process, process.u / 4.0, limits)
        # The last two or three of the table's nine digits carry the error of its own numerical integration (to 1.1e-6
        # at 0.95): arbitrary-precision quadrature confirms ours, and the table to six digits.
        assert 100.0 * found.consumer == pytest.approx(wanted["RP19-PFA"]["PFA"][k], rel=2e-6)
        assert 100.0 * found.false_accept_given_accepted == pytest.approx(wanted["RP19-PFA"]["CPFA"][k], rel=2e-6)
        if itp in (0.6, 0.95):
            assert found.consumer == pytest.approx(twin(process.u, process.u / 4.0, 1.0, 1.0)[0], rel=1e-11)


def twin(sd: float, u: float, t: float, a: float) -> tuple[float, float]:
    """Risks of a centred normal process with limits +-t, acceptance +-a, by arbitrary-precision quadrature."""
    with mpmath.workdps(30):
        phi, dens = mpmath.ncdf, mpmath.npdf

        def accept(eta: mpmath.mpf) -> mpmath.mpf:
            return phi((a - eta) / u) - phi((-a - eta) / u)

        cuts = [t + k * mpmath.mpf(u) for k in (0, 0.5, 1, 2, 4, 8, 12, 20)]
        consumer = 2 * mpmath.quad(lambda e: dens(e, 0, sd) * accept(e), cuts)
        inner = sorted(
            {
                mpmath.mpf(0),
                mpmath.mpf(t),
                *(min(mpmath.mpf(t), max(mpmath.mpf(0), a - k * mpmath.mpf(u))) for k in range(12)),
            }
        )
        producer = 2 * mpmath.quad(lambda e: dens(e, 0, sd) * (1 - accept(e)), inner)
    return float(consumer), float(producer)


@pytest.mark.parametrize(
    ("sd", "u", "t", "a"),
    [(1.0, 0.25, 1.2, 1.2), (0.12, 0.04, 0.2, 0.12), (1.0, 0.5, 3.0, 2.5), (0.3, 0.01, 1.0, 1.01)],
)
def test_against_arbitrary_precision(sd: float, u: float, t: float, a: float) -> None:
    limits, acceptance = Tolerance(-t, t, "1"), Tolerance(-a, a, "1")
    found = global_risk(Normal(0.0, sd), u, limits, acceptance)
    consumer, producer = twin(sd, u, t, a)
    assert found.consumer == pytest.approx(consumer, rel=1e-10, abs=1e-16)  # Gauss-Legendre in panels of u/2
    assert found.producer == pytest.approx(producer, rel=1e-10, abs=1e-16)


def test_against_the_bivariate_normal() -> None:
    """One-sided limits: true and measured value are jointly normal."""
    sd, u, t, a = 0.8, 0.3, 1.0, 0.9
    found = global_risk(Normal(0.1, sd), u, Tolerance(None, t, "1"), Tolerance(None, a, "1"))
    joint = stats.multivariate_normal([0.1, 0.1], [[sd**2, sd**2], [sd**2, sd**2 + u**2]])
    both = joint.cdf(np.array([t, a]))
    accepted = stats.norm(0.1, math.hypot(sd, u)).cdf(a)
    conforming = stats.norm(0.1, sd).cdf(t)
    # scipy's bivariate integral is good to about 1e-8
    assert found.consumer == pytest.approx(accepted - both, abs=2e-7)
    assert found.producer == pytest.approx(conforming - both, abs=2e-7)
    assert found.accepted == pytest.approx(accepted, rel=1e-12) and found.conforming == pytest.approx(conforming)


@pytest.mark.parametrize(
    ("prior", "error"),
    [
        (Lognormal(1.0, 0.3), Normal(0.0, 0.1)),
        (Rectangular(0.2, 1.9), StudentT(0.0, 4, scale=0.1)),
        (ArcSine(0.3, 1.7), Normal(0.0, 0.1)),
        (Beta(2.0, 5.0, 0.0, 3.0), Rectangular(-0.2, 0.2)),
        (StudentT(1.0, 5, scale=0.25), Normal(0.02, 0.1)),
    ],
)
def test_other_priors_against_simulation(prior: Distribution, error: Distribution) -> None:
    limits, acceptance = Tolerance(0.5, 1.5, "1"), Tolerance(0.55, 1.4, "1")
    found = global_risk(prior, error, limits, acceptance)
    rng = np.random.default_rng(3)
    n = 400_000
    eta = np.asarray(prior.ppf(rng.random(n)))
    y = eta + np.asarray(error.ppf(rng.random(n)))
    conforming = (eta >= 0.5) & (eta <= 1.5)
    accepted = (y >= 0.55) & (y <= 1.4)
    for value, events in (
        (found.consumer, accepted & ~conforming),
        (found.producer, ~accepted & conforming),
        (found.conforming, conforming),
        (found.accepted, accepted),
    ):
        # four standard errors of a share of n
        assert value == pytest.approx(events.mean(), abs=4.0 * math.sqrt(value * (1 - value) / n) + 1e-12)
    # specific risk: of the items measured near one value, the share that conforms
    near = np.abs(y - 1.45) < 0.01
    specific = specific_risk(1.45, error, limits, prior)
    count = int(near.sum())
    assert specific.conforming == pytest.approx(conforming[near].mean(), abs=4 * 0.5 / math.sqrt(count) + 0.01)


def test_specific_risk_with_a_normal_prior_is_bayes() -> None:
    """JCGM 106 A.4: closed form of the posterior, against the general integral."""
    closed = specific_risk(1.18, 0.1, Tolerance(0.8, 1.2, "1"), Normal(1.0, 0.2))
    weight = 0.2**2 / (0.2**2 + 0.1**2)
    mean, sd = weight * 1.18 + (1 - weight) * 1.0, math.sqrt(weight) * 0.1
    expected = stats.norm(mean, sd).cdf(1.2) - stats.norm(mean, sd).cdf(0.8)
    assert closed.conforming == pytest.approx(expected, rel=1e-12)

    class Plain(StudentT):
        pass

    general = specific_risk(1.18, 0.1, Tolerance(0.8, 1.2, "1"), Plain(1.0, 1e7, scale=0.2))
    assert general.conforming == pytest.approx(expected, rel=1e-6)  # t with 1e7 degrees of freedom is normal to 1e-7
    assert closed.consumer == 1.0 - closed.conforming and closed.producer == closed.conforming


def test_guard_bands_that_meet_a_risk() -> None:
    for wanted in (0.01, 0.001):
        guard = guard_band_for(PROCESS, 0.04, RESISTOR, consumer=wanted)
        found = global_risk(PROCESS, 0.04, RESISTOR, acceptance_limits(RESISTOR, guard))
        assert guard > 0.0 and found.consumer == pytest.approx(wanted, rel=1e-8)
    widened = guard_band_for(PROCESS, 0.04, RESISTOR, producer=0.01)
    assert widened < 0.0  # fewer rejections ask for wider limits
    with pytest.raises(ParameterError, match="no guard band"):
        guard_band_for(Normal(1500.0, 0.01), 0.04, RESISTOR, consumer=0.2)
    with pytest.raises(ParameterError, match="one wanted risk"):
        guard_band_for(PROCESS, 0.04, RESISTOR)
    with pytest.raises(ParameterError, match="leaves no acceptance"):
        acceptance_limits(RESISTOR, 0.2)
    assert capability_index(RESISTOR, 0.04) == pytest.approx(2.5)
    with pytest.raises(ParameterError, match="two limits"):
        capability_index(Tolerance(None, 1.0, "1"), 0.1)


def measured(value: float, u: float = 0.01, **more: float) -> Measured:
    return Measured.from_standard(value, u, "mm", Influence("i", "i", "B"), **more)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(10.0, "conforming"), (10.07, "conforming"), (10.09, "indeterminate"), (10.11, "indeterminate"),
     (10.13, "nonconforming"), (9.85, "nonconforming")],
)  # fmt: skip
def test_three_verdicts_without_probability(value: float, expected: str) -> None:
    rule = DecisionRule.non_binary()
    decision = decide(measured(value), Tolerance(9.9, 10.1, "mm"), rule)
    assert decision.verdict == expected and "ILAC-G8" in decision.rule
    assert decision.guard_band == pytest.approx(0.02)


def test_guarded_rejection_accepts_beyond_the_limit() -> None:
    rule = DecisionRule.guarded_rejection(1.0)
    limits = Tolerance(9.9, 10.1, "mm")
    assert decide(measured(10.115), limits, rule).verdict == "conforming"
    assert decide(measured(10.125), limits, rule).verdict == "nonconforming"
    assert "8.3.3" in rule.describe()
    with pytest.raises(ParameterError, match="not negative"):
        DecisionRule.guard_band(-1.0)


def test_form_deviations_are_cut_off_at_zero() -> None:
    """A flatness of 1 um with u = 2 um: the density left of zero does not exist, so p is renormalised (JCGM 106)."""
    m = measured(0.001, 0.002, lower_bound=0.0)
    limits = Tolerance(0.0, 0.004, "mm")
    phi = stats.norm(0.001, 0.002)
    expected = (phi.cdf(0.004) - phi.cdf(0.0)) / (1.0 - phi.cdf(0.0))
    assert conformity_probability(m, limits) == pytest.approx(expected, rel=1e-12)
