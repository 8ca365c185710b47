"""Decisions of conformity: tolerance, rule, verdict (ISO 14253-1:2017, JCGM 106:2012).

All decisions are made on unrounded values. ISO 14253-1 has three answers; a simple acceptance rule has two. The rule,
its guard band and its acceptance limits travel with the verdict so that the report can print them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.errors import ParameterError, UnitError
from metrology_core.quantity import Measured, one_sided_factor
from metrology_core.units import convert, unit

Verdict = Literal["conforming", "nonconforming", "indeterminate"]
Proving = Literal["conformity", "nonconformity"]


@dataclass(frozen=True)
class Tolerance:
    """Specification limits in ``unit``; at least one of ``lower``, ``upper``; ``nominal`` for the printed deviation."""

    lower: float | None
    upper: float | None
    unit: str
    nominal: float | None = None

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise ParameterError("a tolerance needs a limit", expected="lower, upper or both")
        for limit in (self.lower, self.upper, self.nominal):
            if limit is not None and not math.isfinite(limit):
                raise ParameterError("a tolerance limit must be finite", got=repr(limit))
        if self.lower is not None and self.upper is not None and not self.lower < self.upper:
            raise ParameterError(
                "the lower limit must lie below the upper", got=f"lower {self.lower!r}, upper {self.upper!r}"
            )
        object.__setattr__(self, "unit", unit(self.unit).name)

    def to(self, target: str) -> Tolerance:
        """The same limits in another unit."""
        if unit(target).name == self.unit:
            return self

        def change(limit: float | None) -> float | None:
            return None if limit is None else convert(limit, self.unit, target)

        return Tolerance(change(self.lower), change(self.upper), target, change(self.nominal))

    def contains(self, value: float) -> bool:
        """Whether a plain number in ``unit`` lies within the limits (limits included)."""
        return (self.lower is None or value >= self.lower) and (self.upper is None or value <= self.upper)


@dataclass(frozen=True)
class DecisionRule:
    """How a verdict follows from value, uncertainty and limits. Use the constructors."""

    kind: Literal["iso14253-1", "simple_acceptance", "guard_band", "non_binary"]
    proving: Proving = "conformity"
    probability: float = 0.95
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("iso14253-1", "simple_acceptance", "guard_band", "non_binary"):
            raise ParameterError(
                f"unknown decision rule {self.kind!r}",
                expected="iso14253-1, simple_acceptance, guard_band or non_binary",
            )
        if self.proving not in ("conformity", "nonconformity"):
            raise ParameterError("unknown proving side", expected="'conformity' or 'nonconformity'", got=self.proving)
        if not 0.5 <= self.probability < 1.0:
            raise ParameterError("the probability of a rule lies in [0.5, 1)", got=repr(self.probability))
        if not math.isfinite(self.factor) or (self.factor < 0.0 and self.kind != "guard_band"):
            raise ParameterError("the guard band factor is not negative", got=repr(self.factor))

    @classmethod
    def iso14253(cls, proving: Proving = "conformity", probability: float = 0.95) -> DecisionRule:
        """ISO 14253-1: conformity is proved where its probability reaches ``probability``, nonconformity likewise;
        between lies the uncertainty zone. ``proving`` names what the party that measures has to prove."""
        return cls("iso14253-1", proving, probability)

    @classmethod
    def simple_acceptance(cls) -> DecisionRule:
        """JCGM 106 8.2 (shared risk): the value alone decides; two verdicts."""
        return cls("simple_acceptance")

    @classmethod
    def guard_band(cls, factor: float = 1.0) -> DecisionRule:
        """JCGM 106 8.3.2: acceptance limits are drawn in by ``factor * U(k=2)``; two verdicts, accept or reject."""
        if not factor >= 0.0:
            raise ParameterError(
                "the guard band factor is not negative", got=repr(factor), remedy="use guarded_rejection to widen"
            )
        return cls("guard_band", factor=factor)

    @classmethod
    def guarded_rejection(cls, factor: float = 1.0) -> DecisionRule:
        """JCGM 106 8.3.3: acceptance limits are moved out by ``factor * U(k=2)``: what is rejected is surely wrong."""
        if not factor >= 0.0:
            raise ParameterError("the guard band factor is not negative", got=repr(factor))
        return cls("guard_band", "nonconformity", factor=-factor)

    @classmethod
    def non_binary(cls, factor: float = 1.0) -> DecisionRule:
        """Three verdicts from values alone (ILAC-G8 4.2.3): conforming inside the limits drawn in by
        ``factor * U(k=2)``, nonconforming beyond the limits moved out by as much, indeterminate between."""
        return cls("non_binary", factor=factor)

    def describe(self) -> str:
        """The rule in words, as it is printed beside the verdict."""
        if self.kind == "simple_acceptance":
            return "simple acceptance (JCGM 106 8.2): the measured value decides, risk shared"
        if self.kind == "guard_band":
            if self.factor < 0.0:
                return f"guarded rejection (JCGM 106 8.3.3): guard band {-self.factor:g} x U(k=2) beyond the limits"
            return f"guarded acceptance (JCGM 106 8.3): guard band {self.factor:g} x U(k=2)"
        if self.kind == "non_binary":
            return f"non-binary (ILAC-G8 4.2.3): guard band {self.factor:g} x U(k=2) on both sides of each limit"
        who = "conformity, by the supplier" if self.proving == "conformity" else "nonconformity, by the customer"
        return f"ISO 14253-1, proving {who}, probability {self.probability:g}"


@dataclass(frozen=True)
class Decision:
    """A verdict with everything needed to check it. Limits and guard band are in the unit of the measured value.

    ``accepted`` says what the party may do: whoever proves conformity accepts only a *conforming* value, whoever
    proves nonconformity rejects only a *nonconforming* one.
    """

    verdict: Verdict
    accepted: bool
    rule: str
    proving: Proving
    probability: float
    guard_band: float
    acceptance_lower: float | None
    acceptance_upper: float | None
    provisional: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "accepted": self.accepted,
            "rule": self.rule,
            "proving": self.proving,
            "conformity_probability": self.probability,
            "guard_band": self.guard_band,
            "acceptance_lower": self.acceptance_lower,
            "acceptance_upper": self.acceptance_upper,
            "provisional": self.provisional,
        }


def conformity_probability(measured: Measured, tolerance: Tolerance) -> float:
    """Probability that the true value lies within the limits (JCGM 106 7.2).

    From the samples where there are any. Otherwise normal, or t with the effective degrees of freedom where these are
    below 1000, cut off and renormalised at the physical bound of the quantity (a form deviation is not negative).
    """
    limits = tolerance.to(measured.unit)
    if measured.samples is not None and measured.samples.size:
        inside = measured.samples >= (-math.inf if limits.lower is None else limits.lower)
        inside &= measured.samples <= (math.inf if limits.upper is None else limits.upper)
        return float(inside.mean())
    u = measured.u
    if u == 0.0:
        return 1.0 if limits.contains(measured.value) else 0.0
    dof = measured.dof
    bound = measured.lower_bound
    low = -math.inf if limits.lower is None else limits.lower
    high = math.inf if limits.upper is None else limits.upper
    if bound is None:
        return _between(low, high, measured.value, u, dof)
    mass = _between(bound, math.inf, measured.value, u, dof)
    if mass <= 0.0 or high <= bound:
        return 1.0 if limits.contains(max(measured.value, bound)) else 0.0
    return min(1.0, _between(max(low, bound), high, measured.value, u, dof) / mass)


def _between(low: float, high: float, mean: float, u: float, dof: float) -> float:
    a, b = (low - mean) / u, (high - mean) / u
    if a > 0.0:  # the upper tail keeps its digits when it is measured from the far side
        a, b = -b, -a
    return max(0.0, _cdf(b, dof) - _cdf(a, dof))


def _cdf(x: float, dof: float) -> float:
    if math.isinf(x):
        return 0.0 if x < 0 else 1.0
    if dof >= 1000.0:
        return 0.5 * math.erfc(-x / math.sqrt(2.0))
    from scipy.special import stdtr

    return float(stdtr(max(1.0, math.floor(dof)), x))


def decide(measured: Measured, tolerance: Tolerance, rule: DecisionRule, *, provisional: bool = False) -> Decision:
    """Decide whether ``measured`` meets ``tolerance`` under ``rule``; on unrounded values.

    ISO 14253-1: *conforming* where the probability of conformity reaches the rule's, *nonconforming* where the
    probability of nonconformity does, else *indeterminate*. For a tolerance that is wide against u this equals
    acceptance limits drawn in by ``z(p) u`` (1.645 u at 0.95); the printed guard band is that. For a value with samples
    every guard band is the distance to the end of its one-sided interval on the side of the limit (of the probability
    that 2 u guards where the rule names U), and the wider one is printed. Set ``provisional`` where the uncertainty is
    known to be incomplete.

    Raises `UnitError` where value and tolerance have different dimensions.
    """
    if unit(measured.unit).dimension != unit(tolerance.unit).dimension:
        raise UnitError(
            f"a value in {measured.unit} cannot be decided against limits in {tolerance.unit}",
            remedy="state the tolerance in a unit of the characteristic",
        )
    limits = tolerance.to(measured.unit)
    probability = conformity_probability(measured, limits)
    verdict: Verdict
    if rule.kind == "simple_acceptance":
        bands = (0.0, 0.0)
        verdict = "conforming" if limits.contains(measured.value) else "nonconforming"
    elif rule.kind == "guard_band":
        bands = _bands(measured, rule.factor)
        verdict = "conforming" if _drawn_in(limits, bands, measured) else "nonconforming"
    elif rule.kind == "non_binary":
        bands = _bands(measured, rule.factor)
        inside, outside = (
            _drawn_in(limits, bands, measured),
            not _drawn_in(limits, _bands(measured, -rule.factor), measured),
        )
        verdict = "conforming" if inside else "nonconforming" if outside else "indeterminate"
    else:
        bands = _ends(measured, rule.probability, one_sided_factor(rule.probability, measured.dof) * measured.u)
        if probability >= rule.probability:
            verdict = "conforming"
        elif 1.0 - probability >= rule.probability:
            verdict = "nonconforming"
        else:
            verdict = "indeterminate"
    accepted = verdict == "conforming" if rule.proving == "conformity" else verdict != "nonconforming"
    lower, upper = _acceptance(limits, bands, measured)
    return Decision(
        verdict,
        accepted,
        rule.describe(),
        rule.proving,
        probability,
        _widest(bands, limits, measured),
        lower,
        upper,
        provisional,
    )


_TWO_U = 0.977249868051821  # normal probability below + 2 u: what U(k=2) guards on one side


def _ends(measured: Measured, p: float, plain: float) -> tuple[float, float]:
    """How far the distribution reaches, one-sided with probability ``p``, below and above the value; ``plain`` on both
    sides for a value without samples."""
    if measured.samples is None or not measured.samples.size:
        return plain, plain
    low, high = (float(q) for q in np.quantile(measured.samples, [1.0 - p, p]))
    return max(measured.value - low, 0.0), max(high - measured.value, 0.0)


def _bands(measured: Measured, factor: float) -> tuple[float, float]:
    """Guard bands at the lower and the upper limit. A value whose distribution is not symmetric has two: what may lie
    beyond the upper limit is its upper end; where the limits are moved out (``factor`` below 0) its lower end decides
    whether it is surely beyond the upper one."""
    below, above = _ends(measured, _TWO_U, measured.expanded(2.0))
    return (factor * below, factor * above) if factor >= 0.0 else (factor * above, factor * below)


def _guards_lower(limits: Tolerance, measured: Measured) -> bool:
    """A lower limit at the physical bound (a form deviation is never below 0) stays: nothing can lie beyond it."""
    return limits.lower is not None and (measured.lower_bound is None or limits.lower > measured.lower_bound)


def _widest(bands: tuple[float, float], limits: Tolerance, measured: Measured) -> float:
    """The guard band that is printed: of the limits there are, the wider."""
    used = [bands[1]] if limits.upper is not None else []
    used += [bands[0]] if _guards_lower(limits, measured) else []
    return max(used, key=abs, default=0.0)


def _acceptance(limits: Tolerance, bands: tuple[float, float], measured: Measured) -> tuple[float | None, float | None]:
    """Limits drawn in by their guard bands."""
    lower = limits.lower
    if lower is not None and _guards_lower(limits, measured):
        lower += bands[0]
    return lower, None if limits.upper is None else limits.upper - bands[1]


def _drawn_in(limits: Tolerance, bands: tuple[float, float], measured: Measured) -> bool:
    lower, upper = _acceptance(limits, bands, measured)
    return (lower is None or measured.value >= lower) and (upper is None or measured.value <= upper)
