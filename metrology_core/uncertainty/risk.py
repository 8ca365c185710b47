"""Risks of wrong decisions (JCGM 106:2012 clauses 7 to 9): conformity probability with a process prior, specific and
global consumer's and producer's risks, and the guard band that meets a wanted risk.

The prior is the distribution of the true values that the process makes, the measurement error has its own; both may be
any `Distribution`. Integrals run over the true value in panels that follow the limits: small risks keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.conformity import Tolerance
from metrology_core.errors import ParameterError
from metrology_core.uncertainty.distributions import ArcSine, Beta, Distribution, Gamma, Normal, Weibull

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_FAR = 1e-15
"""Probability beyond which a tail of the measurement error is left out."""


@dataclass(frozen=True)
class GlobalRisk:
    """Risks of a process and a measurement under acceptance limits (JCGM 106 clause 9), all probabilities.

    ``consumer`` accepted and nonconforming; ``producer`` rejected and conforming; ``conforming`` share of conforming
    items; ``accepted`` share of accepted ones; ``false_accept_given_accepted`` is ``consumer / accepted`` (the
    *conditional* probability of false acceptance), ``false_reject_given_rejected`` likewise.
    """

    consumer: float
    producer: float
    conforming: float
    accepted: float

    @property
    def false_accept_given_accepted(self) -> float:
        return self.consumer / self.accepted if self.accepted > 0.0 else 0.0

    @property
    def false_reject_given_rejected(self) -> float:
        rejected = 1.0 - self.accepted
        return self.producer / rejected if rejected > 0.0 else 0.0

    def to_dict(self) -> dict[str, float]:
        return {
            "consumer_risk": self.consumer,
            "producer_risk": self.producer,
            "conforming": self.conforming,
            "accepted": self.accepted,
            "false_accept_given_accepted": self.false_accept_given_accepted,
            "false_reject_given_rejected": self.false_reject_given_rejected,
        }


@dataclass(frozen=True)
class SpecificRisk:
    """What one measured value leaves to risk (JCGM 106 9.3): ``conforming`` is the conformity probability; an accepted
    item is nonconforming with ``consumer``, a rejected one conforming with ``producer`` (the same two numbers)."""

    conforming: float

    @property
    def consumer(self) -> float:
        return 1.0 - self.conforming

    @property
    def producer(self) -> float:
        return self.conforming


def acceptance_limits(tolerance: Tolerance, guard: float) -> Tolerance:
    """Limits drawn in by ``guard`` (negative: moved out, guarded rejection). Raises `ParameterError` where nothing is
    left to accept."""
    lower = None if tolerance.lower is None else tolerance.lower + guard
    upper = None if tolerance.upper is None else tolerance.upper - guard
    if lower is not None and upper is not None and not lower < upper:
        raise ParameterError("the guard band leaves no acceptance interval", got=f"guard band {guard:g}")
    return Tolerance(lower, upper, tolerance.unit, tolerance.nominal)


def _ends(limits: Tolerance) -> tuple[float, float]:
    return (
        -math.inf if limits.lower is None else limits.lower,
        math.inf if limits.upper is None else limits.upper,
    )


def _error(measurement: Distribution | float) -> Distribution:
    if isinstance(measurement, Distribution):
        return measurement
    return Normal(0.0, float(measurement))


def _integral(prior: Distribution, f: Callable[[np.ndarray], Any], low: float, high: float, step: float) -> float:
    """Integral of ``prior(eta) f(eta)`` from ``low`` to ``high``: Gauss-Legendre in panels of about ``step``."""
    a, b = prior.support
    low, high = max(low, a), min(high, b)
    if not low < high:
        return 0.0
    span = high - low
    panels = int(min(4096, max(1, math.ceil(span / step))))
    edges = np.linspace(low, high, panels + 1)
    if _singular(prior):  # a pole of the density: integrate over the probability instead
        edges = np.asarray(prior.cdf(edges))
        half = np.diff(edges)[:, None] / 2.0
        q = edges[:-1, None] + half * (1.0 + _NODES)
        return float(np.sum(half * _WEIGHTS * f(np.asarray(prior.ppf(np.clip(q, 0.0, 1.0))))))
    half = np.diff(edges)[:, None] / 2.0
    eta = edges[:-1, None] + half * (1.0 + _NODES)
    return float(np.sum(half * _WEIGHTS * prior.pdf(eta) * f(eta)))


def _singular(prior: Distribution) -> bool:
    return (
        isinstance(prior, ArcSine)
        or (isinstance(prior, Beta) and min(prior.a, prior.b) < 1.0)
        or (isinstance(prior, Gamma) and prior.a < 1.0)
        or (isinstance(prior, Weibull) and prior.k < 1.0)
    )


def _reach(error: Distribution) -> tuple[float, float]:
    low, high = error.support
    if math.isinf(low):
        low = float(error.ppf(np.array(_FAR)))
    if math.isinf(high):
        high = -low if error.shape[0] == 0.0 and error.mean == 0.0 else float(error.ppf(np.array(1.0 - _FAR)))
    return low, high


def global_risk(
    prior: Distribution,
    measurement: Distribution | float,
    tolerance: Tolerance,
    acceptance: Tolerance | None = None,
) -> GlobalRisk:
    """Global consumer's and producer's risks (JCGM 106 9.5, formulas 18 and 19).

    ``prior``: true values the process makes; ``measurement``: distribution of the error, or its standard uncertainty
    (normal); ``acceptance``: default the tolerance itself (simple acceptance). All in the tolerance's unit.
    """
    error = _error(measurement)
    limits = tolerance if acceptance is None else acceptance.to(tolerance.unit)
    t_low, t_high = _ends(tolerance)
    a_low, a_high = _ends(limits)
    e_low, e_high = _reach(error)
    spread = error.sd if math.isfinite(error.sd) else (e_high - e_low) / 200.0
    width = prior.sd if math.isfinite(prior.sd) else math.inf
    step = 0.5 * min(spread, width) if min(spread, width) > 0.0 else 1.0

    def accepted(eta: np.ndarray) -> Any:
        return _difference(error, a_low - eta, a_high - eta)

    def rejected(eta: np.ndarray) -> Any:
        low = 0.0 if math.isinf(a_low) else error.cdf(a_low - eta)
        high = 0.0 if math.isinf(a_high) else _upper(error, a_high - eta)
        return low + high

    # a true value can be accepted from a_low - e_high to a_high - e_low
    first = a_low - e_high if math.isfinite(a_low) else -math.inf
    last = a_high - e_low if math.isfinite(a_high) else math.inf
    consumer = 0.0
    if math.isfinite(t_low):
        consumer += _integral(prior, accepted, max(first, _least(prior)), min(t_low, last), step)
    if math.isfinite(t_high):
        consumer += _integral(prior, accepted, max(t_high, first), min(last, _most(prior)), step)
    producer = 0.0
    low, high = max(t_low, _least(prior)), min(t_high, _most(prior))
    # rejection happens near an acceptance limit, or anywhere beyond it
    cuts = sorted(
        {low, high}
        | {c for c in (a_low - e_low, a_high - e_high, a_low, a_high) if math.isfinite(c) and low < c < high}
    )
    for left, right in zip(cuts, cuts[1:]):
        producer += _integral(prior, rejected, left, right, step)
    conforming = _mass(prior, t_low, t_high)
    return GlobalRisk(consumer, producer, conforming, conforming - producer + consumer)


def _upper(error: Distribution, x: Any) -> Any:
    """Probability above ``x``, with its digits where the error is symmetric about zero."""
    if error.shape[0] == 0.0 and error.mean == 0.0:
        return error.cdf(-np.asarray(x))
    return 1.0 - error.cdf(x)


def _difference(error: Distribution, low: Any, high: Any) -> Any:
    """Probability between two bounds, from the side that keeps the digits."""
    if np.ndim(low) == 0 and np.isinf(low).all():
        return error.cdf(high)
    symmetric = error.shape[0] == 0.0 and error.mean == 0.0
    below = np.where(np.isinf(low), 0.0, error.cdf(low))
    above = np.where(np.isinf(high), 1.0, error.cdf(high))
    plain = above - below
    if not symmetric:
        return plain
    mirrored = np.where(np.isinf(low), 1.0, error.cdf(-low)) - np.where(np.isinf(high), 0.0, error.cdf(-high))
    return np.where(np.asarray(low) > 0.0, mirrored, plain)


def _least(prior: Distribution) -> float:
    low = prior.support[0]
    return low if math.isfinite(low) else float(prior.ppf(np.array(1e-17)))


def _most(prior: Distribution) -> float:
    high = prior.support[1]
    if math.isfinite(high):
        return high
    if prior.shape[0] == 0.0:
        return 2.0 * prior.mean - _least(prior)
    return float(prior.ppf(np.array(1.0 - 1e-15)))


def _mass(prior: Distribution, low: float, high: float) -> float:
    below = 0.0 if math.isinf(low) else float(prior.cdf(np.array(low)))
    above = 1.0 if math.isinf(high) else float(prior.cdf(np.array(high)))
    return above - below


def specific_risk(
    value: float, measurement: Distribution | float, tolerance: Tolerance, prior: Distribution | None = None
) -> SpecificRisk:
    """Risks of deciding on one measured value (JCGM 106 9.3), with what is known of the process (clause 6.3).

    Without a prior the distribution of the measurand is that of the measurement about ``value``.
    """
    error = _error(measurement)
    t_low, t_high = _ends(tolerance)
    if prior is None:
        return SpecificRisk(float(np.asarray(_difference(error, value - t_high, value - t_low))))
    if isinstance(prior, Normal) and isinstance(error, Normal):
        weight = prior.u**2 / (prior.u**2 + error.u**2)
        mean = weight * (value - error.value) + (1.0 - weight) * prior.value
        posterior = Normal(0.0, math.sqrt(weight) * error.u)
        return SpecificRisk(float(np.asarray(_difference(posterior, t_low - mean, t_high - mean))))
    e_low, e_high = _reach(error)
    low, high = max(value - e_high, _least(prior)), min(value - e_low, _most(prior))
    if not low < high:
        raise ParameterError(
            "the measured value is impossible under the prior",
            got=f"{value:g}",
            remedy="the process makes other values than the prior says, or the measurement is wrong",
        )
    step = 0.5 * min(error.sd, prior.sd, high - low)

    def likelihood(eta: np.ndarray) -> Any:
        return error.pdf(value - eta)

    cuts = sorted({low, high} | {c for c in (t_low, t_high) if low < c < high})
    parts = [(left, right, _integral(prior, likelihood, left, right, step)) for left, right in zip(cuts, cuts[1:])]
    total = sum(part for _, _, part in parts)
    if total <= 0.0:
        raise ParameterError("the measured value is impossible under the prior", got=f"{value:g}")
    inside = sum(part for left, right, part in parts if left >= t_low and right <= t_high)
    return SpecificRisk(min(1.0, inside / total))


def guard_band_for(
    prior: Distribution,
    measurement: Distribution | float,
    tolerance: Tolerance,
    *,
    consumer: float | None = None,
    producer: float | None = None,
) -> float:
    """The guard band (positive: drawn in) for which the global consumer's (or producer's) risk has a wanted value.

    Raises `ParameterError` where no guard band between all and nothing reaches it.
    """
    if (consumer is None) == (producer is None):
        raise ParameterError("name one wanted risk", expected="consumer= or producer=")
    error = _error(measurement)
    e_low, e_high = _reach(error)
    t_low, t_high = _ends(tolerance)
    most = (t_high - t_low) / 2.0 if math.isfinite(t_high - t_low) else max(-e_low, e_high)
    left, right = -max(-e_low, e_high), most * (1.0 - 1e-9)

    def excess(guard: float) -> float:
        found = global_risk(prior, error, tolerance, acceptance_limits(tolerance, guard))
        return found.consumer - consumer if consumer is not None else (producer or 0.0) - found.producer

    f_left, f_right = excess(left), excess(right)
    if f_left < 0.0 or f_right > 0.0:
        raise ParameterError(
            "no guard band reaches this risk",
            got=f"{consumer if consumer is not None else producer:g}",
            remedy="a better measurement or a better process is needed, or the risk is met without any guard band",
        )
    from scipy.optimize import brentq

    return float(brentq(excess, left, right, xtol=1e-12 * max(1.0, abs(right)), rtol=1e-12))


def capability_index(tolerance: Tolerance, u: float) -> float:
    """Measurement capability index ``C_m = (T_U - T_L) / (4 u)`` (JCGM 106 7.6.3)."""
    if tolerance.lower is None or tolerance.upper is None:
        raise ParameterError("the capability index needs two limits")
    if not u > 0.0:
        raise ParameterError("the capability index needs a positive standard uncertainty", got=repr(u))
    return (tolerance.upper - tolerance.lower) / (4.0 * u)


def process_from_in_tolerance(tolerance: Tolerance, probability: float) -> Normal:
    """The centred normal process of which ``probability`` lies within the limits (RP-19: in-tolerance probability,
    which describes *true* values, not measured ones)."""
    if tolerance.lower is None or tolerance.upper is None or not 0.0 < probability < 1.0:
        raise ParameterError("a centred process needs two limits and a probability between 0 and 1")
    from statistics import NormalDist

    half = (tolerance.upper - tolerance.lower) / 2.0
    return Normal(tolerance.lower + half, half / NormalDist().inv_cdf((1.0 + probability) / 2.0))
