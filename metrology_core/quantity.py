"""`Measured`: a value that remembers which causes made it uncertain (GUM, JCGM 100:2008; linear contributions).

A `Measured` keeps, for each *influence*, the product of sensitivity and standard uncertainty in its own unit. Two
values that share an influence id are correlated through it; nothing else makes correlation, so ids are deterministic.
There is no order on measured values: whether one meets a limit is a decision (`metrology_core.conformity.decide`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import ParameterError, UnitError
from metrology_core.units import convert, unit

Evaluation = Literal["A", "B"]


@dataclass(frozen=True)
class Influence:
    """One cause of uncertainty, with standard uncertainty 1 in units of itself.

    ``group`` joins influences whose standard uncertainties come from one estimate (the parameters of one fit share
    its residual standard deviation): they count once in the effective degrees of freedom.
    """

    id: str
    label: str
    kind: Evaluation
    dof: float = math.inf
    distribution: str = "normal"
    group: str | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise ParameterError("an influence needs an id", remedy="give a deterministic text")
        if self.kind not in ("A", "B"):
            raise ParameterError("unknown type of evaluation", expected="'A' or 'B'", got=repr(self.kind))
        if not self.dof > 0:
            raise ParameterError(f"influence {self.id}: degrees of freedom must be positive", got=repr(self.dof))


@dataclass(frozen=True)
class BudgetRow:
    """One line of an uncertainty budget; ``share`` is the part of the variance (all shares sum to 1)."""

    id: str
    label: str
    kind: Evaluation
    dof: float
    distribution: str
    contribution: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "type": self.kind,
            "dof": None if math.isinf(self.dof) else self.dof,
            "distribution": self.distribution,
            "contribution": self.contribution,
            "share": self.share,
        }


@dataclass(frozen=True, eq=False)
class Measured:
    """A measured quantity value with its linear contributions.

    Parameters: ``value`` in ``unit``; ``contributions`` maps influence ids to ``c*u`` in ``unit`` (signed);
    ``influences`` holds the rows for these ids; ``lower_bound`` is a physical bound in ``unit`` (0 for form
    deviations): no interval reaches beyond it; ``samples`` are optional Monte Carlo values in ``unit``.
    """

    value: float
    unit: str
    contributions: Mapping[str, float] = field(default_factory=dict)
    influences: Mapping[str, Influence] = field(default_factory=dict)
    lower_bound: float | None = None
    samples: np.ndarray | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ParameterError("a measured value must be finite", got=repr(self.value), remedy="use a flag instead")
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "unit", unit(self.unit).name)
        parts = {key: float(part) for key, part in self.contributions.items() if part != 0.0}
        rows = {}
        for key, part in parts.items():
            if not math.isfinite(part):
                raise ParameterError(f"contribution of {key} is not finite", got=repr(part))
            if key not in self.influences:
                raise ParameterError(f"contribution of {key} has no influence", remedy="pass its Influence")
            rows[key] = self.influences[key]
        object.__setattr__(self, "contributions", MappingProxyType(parts))
        object.__setattr__(self, "influences", MappingProxyType(rows))
        object.__setattr__(self, "flags", _flags.merge(self.flags))
        if self.samples is not None:
            samples = np.array(self.samples, dtype=np.float64)
            samples.setflags(write=False)
            object.__setattr__(self, "samples", samples)

    # --- constructors
    @classmethod
    def exact(cls, value: float, unit: str) -> Measured:
        """A value without uncertainty (a nominal, a count)."""
        return cls(value, unit)

    @classmethod
    def from_standard(
        cls, value: float, u: float, unit: str, influence: Influence, *, lower_bound: float | None = None
    ) -> Measured:
        """A value with one standard uncertainty ``u`` (in ``unit``) from one influence."""
        if not (math.isfinite(u) and u >= 0):
            raise ParameterError("a standard uncertainty is finite and not negative", got=repr(u))
        return cls(value, unit, {influence.id: u}, {influence.id: influence}, lower_bound)

    # --- uncertainty
    @property
    def u(self) -> float:
        """Combined standard uncertainty in ``unit`` (JCGM 100 5.1.2; correlation is in the shared ids).

        A value that has samples and no contributions has the standard deviation of its samples (JCGM 101 7.6).
        """
        if self.contributions:
            return math.hypot(*self.contributions.values())
        if self.samples is not None and self.samples.size > 1:
            return float(self.samples.std(ddof=1))
        return 0.0

    @property
    def dof(self) -> float:
        """Effective degrees of freedom (Welch-Satterthwaite, JCGM 100 G.4.1), not truncated."""
        groups: dict[str, tuple[float, float]] = {}
        for key, part in self.contributions.items():
            row = self.influences[key]
            name = row.group or row.id
            variance, dof = groups.get(name, (0.0, row.dof))
            groups[name] = (variance + part * part, min(dof, row.dof))
        total = sum(variance for variance, _ in groups.values())
        if total == 0.0:
            return math.inf
        spread = sum((variance / total) ** 2 / dof for variance, dof in groups.values())
        return 1.0 / spread if spread > 0.0 else math.inf

    def coverage_factor(self, p: float = 0.95) -> float:
        """Coverage factor for a symmetric interval of probability ``p``: normal, or t with the truncated dof."""
        if not 0.0 < p < 1.0:
            raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
        return two_sided_factor(p, self.dof)

    def expanded(self, k: float = 2.0) -> float:
        """Expanded uncertainty ``U = k u`` in ``unit``."""
        return k * self.u

    def coverage_interval(self, p: float = 0.95) -> tuple[float, float]:
        """Interval of probability ``p`` in ``unit``; from the samples where there are any (probabilistically
        symmetric), never beyond the physical bound."""
        if self.samples is not None and self.samples.size:
            low, high = (float(q) for q in np.quantile(self.samples, [(1 - p) / 2, (1 + p) / 2]))
        else:
            half = self.coverage_factor(p) * self.u
            low, high = self.value - half, self.value + half
        if self.lower_bound is not None:
            low, high = max(low, self.lower_bound), max(high, self.lower_bound)
        return low, high

    def stated_expanded(self, k: float = 2.0, p: float = 0.95) -> tuple[float, float | None]:
        """Expanded uncertainty as it is printed beside the interval of probability ``p``, and its coverage factor.

        ``k u`` with ``k``, except for a value with samples: its distribution need not be normal, nor lie evenly about
        the value, so U reaches from the value to the farther end of its interval (value -+ U holds the interval), and
        the factor is ``U / u`` (None where u is 0).
        """
        if self.samples is None or not self.samples.size:
            return self.expanded(k), k
        low, high = self.coverage_interval(p)
        reach = max(self.value - low, high - self.value, 0.0)
        return reach, reach / self.u if self.u > 0.0 else None

    def budget(self) -> list[BudgetRow]:
        """The uncertainty budget, largest contribution first (ties by id)."""
        total = self.u**2
        rows = [
            BudgetRow(
                key,
                self.influences[key].label,
                self.influences[key].kind,
                self.influences[key].dof,
                self.influences[key].distribution,
                part,
                part * part / total,
            )
            for key, part in self.contributions.items()
        ]
        return sorted(rows, key=lambda row: (-row.share, row.id))

    def correlation(self, other: Measured) -> float:
        """Correlation coefficient with another value, through shared influences; 0 where either is exact."""
        if self.u == 0.0 or other.u == 0.0:
            return 0.0
        shared = sum(part * other.contributions.get(key, 0.0) for key, part in self.contributions.items())
        return shared / (self.u * other.u)

    # --- arithmetic
    def to(self, target: str) -> Measured:
        """The same quantity in another unit of the same dimension."""
        target = unit(target).name
        if target == self.unit:
            return self
        if unit(self.unit).offset or unit(target).offset:
            raise UnitError("temperatures on a scale cannot be rescaled with their uncertainty", remedy="use K")
        return Measured(
            convert(self.value, self.unit, target),
            target,
            {key: convert(part, self.unit, target) for key, part in self.contributions.items()},
            self.influences,
            None if self.lower_bound is None else convert(self.lower_bound, self.unit, target),
            None if self.samples is None else self.samples * convert(1.0, self.unit, target),
            self.flags,
        )

    def _combine(self, other: object, sign: float) -> Measured:
        if not isinstance(other, Measured):
            raise ParameterError(
                "only measured values can be added", got=type(other).__name__, remedy="use Measured.exact(value, unit)"
            )
        if unit(self.unit).offset or unit(other.unit).offset:
            return self._temperature_difference(other, sign)
        right = other.to(self.unit)
        if self.samples is not None or right.samples is not None:
            return self._shifted(right, sign)
        parts = dict(self.contributions)
        for key, part in right.contributions.items():
            parts[key] = parts.get(key, 0.0) + sign * part
        return Measured(
            self.value + sign * right.value,
            self.unit,
            parts,
            merge_influences(self.influences, right.influences),
            flags=_flags.merge(self.flags, right.flags),
        )

    def _shifted(self, right: Measured, sign: float) -> Measured:
        """Sum where one side has samples: only an exact number can be added without a joint simulation."""
        drawn, plain, factor = (self, right, 1.0) if self.samples is not None else (right, self, sign)
        if drawn.samples is None or plain.samples is not None or plain.contributions:
            raise ParameterError(
                "samples of two values cannot be combined after the fact", remedy="simulate the sum itself"
            )
        return Measured(
            self.value + sign * right.value,
            self.unit,
            {key: factor * part for key, part in drawn.contributions.items()},
            drawn.influences,
            samples=factor * drawn.samples + (sign * plain.value if drawn is self else plain.value),
            flags=_flags.merge(self.flags, right.flags),
        )

    def _temperature_difference(self, other: Measured, sign: float) -> Measured:
        """Two temperatures on a scale have a difference, in K, and no sum."""
        if sign > 0.0 or unit(self.unit) != unit(other.unit):
            raise UnitError(
                f"{self.unit} and {other.unit} cannot be combined",
                remedy="only a difference of two temperatures exists",
            )

        def on_kelvin(m: Measured) -> Measured:
            return Measured(m.value, "K", m.contributions, m.influences, None, m.samples, m.flags)

        return on_kelvin(self) - on_kelvin(other)

    def __add__(self, other: object) -> Measured:
        return self._combine(other, 1.0)

    def __sub__(self, other: object) -> Measured:
        return self._combine(other, -1.0)

    def __mul__(self, factor: object) -> Measured:
        if isinstance(factor, Measured):
            raise ParameterError("a product of measured values is not linear", remedy="use propagate or Monte Carlo")
        if not isinstance(factor, (int, float, np.number)):
            raise ParameterError("a measured value is scaled by a plain number", got=type(factor).__name__)
        factor = float(factor)
        bound = None if self.lower_bound is None or factor < 0 else self.lower_bound * factor
        return Measured(
            self.value * factor,
            self.unit,
            {key: part * factor for key, part in self.contributions.items()},
            self.influences,
            bound,
            None if self.samples is None else self.samples * factor,
            self.flags,
        )

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Measured:
        return self * (1.0 / float(divisor))

    def __neg__(self) -> Measured:
        return self * -1.0

    def with_contributions(
        self, extra: Mapping[str, float], influences: Mapping[str, Influence], flags: tuple[str, ...] = ()
    ) -> Measured:
        """The same value with further contributions (in ``unit``); a known id adds linearly, as shared causes do.

        Raises `ParameterError` for a value with samples: they would no longer hold all causes.
        """
        if self.samples is not None:
            raise ParameterError("a value with samples takes no further contributions", remedy="simulate them too")
        parts = dict(self.contributions)
        for key, part in extra.items():
            parts[key] = parts.get(key, 0.0) + part
        return Measured(
            self.value,
            self.unit,
            parts,
            merge_influences(self.influences, influences),
            self.lower_bound,
            None,
            _flags.merge(self.flags, flags),
        )

    def with_flags(self, *names: str) -> Measured:
        """The same value with further flags."""
        return Measured(
            self.value,
            self.unit,
            self.contributions,
            self.influences,
            self.lower_bound,
            self.samples,
            _flags.merge(self.flags, names),
        )

    # --- what is refused
    def _refuse_order(self, other: object) -> NoReturn:
        raise TypeError("a Measured has no order; use metrology_core.decide(measured, tolerance, rule)")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse_order

    def __float__(self) -> float:
        raise TypeError("a Measured is not a number; take .value and say what happens to its uncertainty")

    # --- text
    def rounded(self, digits: int = 2) -> tuple[str, str]:
        """Value and standard uncertainty as text: ``u`` to ``digits`` digits, the value to the same place."""
        return round_pair(self.value, self.u, digits)

    def short(self, digits: int = 2) -> str:
        """Concise form of JCGM 100 7.2.2, for example ``20.00130(42) mm``; an exact value is printed whole."""
        name = "" if self.unit == "1" else f" {self.unit}"
        value, u = self.rounded(digits)
        if not u:
            return f"{value}{name}"
        # the bracket holds the last digits of u: without a decimal point while u is below 1
        bracket = u if float(u) >= 1.0 else u.replace(".", "").lstrip("0")
        return f"{value}({bracket}){name}"

    def __str__(self) -> str:
        return self.short()

    def __format__(self, spec: str) -> str:
        """``f"{m}"`` gives two digits of u, ``f"{m:1}"`` one."""
        return self.short(int(spec)) if spec else self.short()

    def __reduce__(self) -> tuple[Any, ...]:
        # mapping proxies cannot be pickled, and results travel home from workers
        state = (dict(self.contributions), dict(self.influences), self.lower_bound, self.samples, self.flags)
        return (Measured, (self.value, self.unit, *state))

    def __repr__(self) -> str:
        return f"<Measured {self.short()}, {len(self.contributions)} influences>"


def merge_influences(a: Mapping[str, Influence], b: Mapping[str, Influence]) -> dict[str, Influence]:
    """Union of two tables; raises `ParameterError` where one id names two different causes."""
    merged = dict(a)
    for key, row in b.items():
        if merged.setdefault(key, row) != row:
            raise ParameterError(
                f"influence id {key!r} names two different causes", remedy="give each cause its own deterministic id"
            )
    return merged


def two_sided_factor(p: float, dof: float) -> float:
    """Factor of a symmetric interval of probability ``p``: t with dof truncated to an integer (JCGM 100 G.4.1)."""
    return one_sided_factor((1.0 + p) / 2.0, dof)


def one_sided_factor(p: float, dof: float) -> float:
    """Quantile of the standard normal, or of t with truncated degrees of freedom where these are below 1000."""
    whole = math.inf if dof >= 1000.0 else max(1.0, math.floor(dof))
    if math.isinf(whole):  # the t factor at 1000 dof differs from the normal one by 0.1 %
        from statistics import NormalDist

        return NormalDist().inv_cdf(p)
    from scipy.special import stdtrit

    return float(stdtrit(whole, p))


def round_pair(value: float, u: float, digits: int = 2) -> tuple[str, str]:
    """Round ``u`` to significant digits and ``value`` to the same place (JCGM 100 7.2.6); ``("…", "")`` when u is 0.

    Decimal arithmetic on the shortest exact text of the floats, halves to even, so that the printed digits never
    depend on binary rounding.
    """
    from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

    if digits < 1:
        raise ParameterError("at least one digit of the uncertainty is printed", got=repr(digits))
    if u == 0.0:
        return f"{value:.15g}", ""  # 15 digits: all that decimal text and binary arithmetic share
    with localcontext(Context(prec=700)):  # any two doubles fit, however far apart
        exact = Decimal(repr(abs(u)))
        place = exact.adjusted() - digits + 1
        rounded = exact.quantize(Decimal(1).scaleb(place), rounding=ROUND_HALF_EVEN)
        if rounded.adjusted() > exact.adjusted():  # 0.0996 -> 0.10: one place fewer keeps the number of digits
            place += 1
            rounded = exact.quantize(Decimal(1).scaleb(place), rounding=ROUND_HALF_EVEN)
        number = Decimal(repr(value)).quantize(Decimal(1).scaleb(place), rounding=ROUND_HALF_EVEN)
        return f"{number:f}", f"{rounded:f}"
