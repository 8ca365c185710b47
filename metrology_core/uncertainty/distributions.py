"""Distributions of input quantities: all of JCGM 101:2008 Table 1, and those that certificates and books add.

Each knows its expectation, its standard deviation, what the GUM takes as standard uncertainty and degrees of freedom,
its quantile function, and how it is drawn. Student's t is never given by "u and dof" alone: JCGM 101 6.4.9 takes u as
the *scale* (the standard deviation is then larger by sqrt(dof/(dof-2))), NIST TN 1900 as the *standard deviation*; one
of the two must be named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.bounded import CurvilinearTrapezoidal, Rectangular, Trapezoidal, Triangular
from metrology_core.uncertainty.density import Constant, Distribution, LocationScale, TableKey, finite, limits, positive

__all__ = [
    "ArcSine",
    "Beta",
    "Constant",
    "CurvilinearTrapezoidal",
    "Distribution",
    "Exponential",
    "Gamma",
    "Lognormal",
    "Normal",
    "Rectangular",
    "StudentT",
    "Trapezoidal",
    "Triangular",
    "Weibull",
    "readings",
]


@dataclass(frozen=True, eq=False)
class Normal(LocationScale):
    """N(value, u^2): a calibration certificate without degrees of freedom (JCGM 101 6.4.7)."""

    value: float
    u: float

    def __post_init__(self) -> None:
        finite("normal", self.value)
        positive("normal", u=self.u)

    @classmethod
    def from_expanded(cls, value: float, U: float, *, k: float | None = None, p: float | None = None) -> Normal:
        """From an expanded uncertainty: give its coverage factor ``k`` or, for a normal one, its probability ``p``."""
        if (k is None) == (p is None):
            raise ParameterError("an expanded uncertainty needs its factor or its probability", expected="k or p")
        if k is None:
            from statistics import NormalDist

            assert p is not None
            k = NormalDist().inv_cdf((1.0 + p) / 2.0)
        return cls(value, U / k)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def sd(self) -> float:
        return self.u

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("normal", ()), self.value, self.u


@dataclass(frozen=True, eq=False)
class ArcSine(LocationScale):
    """U(low, high): a quantity that cycles sinusoidally between its limits (JCGM 101 6.4.6)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        limits("arc sine", self.low, self.high)

    @classmethod
    def centred(cls, value: float, half_width: float) -> ArcSine:
        return cls(value - half_width, value + half_width)

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def sd(self) -> float:
        return (self.high - self.low) / math.sqrt(8.0)

    @property
    def shape(self) -> tuple[float, float]:
        return 0.0, 1.5

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("arcsine", ()), self.mean, (self.high - self.low) / 2.0


@dataclass(frozen=True, eq=False)
class StudentT(LocationScale):
    """Student's t with ``dof`` degrees of freedom about ``value``; name what the number is.

    ``scale``: the scale of the density (JCGM 101 6.4.9: a mean of readings has scale s/sqrt(n), dof n-1); the law of
    propagation then uses u = scale with these degrees of freedom, as JCGM 100 does. ``sd``: the standard deviation of
    the density (NIST TN 1900 and its Uncertainty Machine); needs dof > 2.
    """

    value: float
    dof_: float
    scale: float | None = None
    sd_: float | None = None
    kind: Literal["A", "B"] = "B"

    def __init__(
        self,
        value: float,
        dof: float,
        *,
        scale: float | None = None,
        sd: float | None = None,
        kind: Literal["A", "B"] = "B",
    ) -> None:
        if (scale is None) == (sd is None):
            raise ParameterError(
                "Student's t needs exactly one of scale= and sd=",
                expected="scale=u as in JCGM 101 6.4.9, or sd=u as in NIST TN 1900",
                remedy="the two differ by sqrt(dof/(dof-2)); say which one the number is",
            )
        finite("t", value)
        positive("t", dof=dof, **({"scale": scale} if scale is not None else {"sd": sd or 0.0}))
        if sd is not None and not dof > 2.0:
            raise ParameterError("t has a standard deviation only above 2 degrees of freedom", got=repr(dof))
        for name, given in (("value", value), ("dof_", dof), ("scale", scale), ("sd_", sd), ("kind", kind)):
            object.__setattr__(self, name, given)

    @property
    def name(self) -> str:
        return "t"

    @property
    def density_scale(self) -> float:
        if self.scale is not None:
            return self.scale
        assert self.sd_ is not None
        return self.sd_ * math.sqrt((self.dof_ - 2.0) / self.dof_)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def sd(self) -> float:
        if self.sd_ is not None:
            return self.sd_
        return self.density_scale * math.sqrt(self.dof_ / (self.dof_ - 2.0)) if self.dof_ > 2.0 else math.inf

    @property
    def standard_uncertainty(self) -> float:
        return self.scale if self.scale is not None else self.sd

    @property
    def dof(self) -> float:
        return self.dof_

    @property
    def evaluation(self) -> Literal["A", "B"]:
        return self.kind

    @property
    def shape(self) -> tuple[float, float]:
        return 0.0, 3.0 + 6.0 / (self.dof_ - 4.0) if self.dof_ > 4.0 else math.inf

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("t", (float(self.dof_),)), self.value, self.density_scale

    def describe(self) -> str:
        said = f"scale {self.scale:.6g}, JCGM 101" if self.scale is not None else f"sd {self.sd:.6g}, NIST TN 1900"
        return f"t({self.dof_:g}) about {self.value:.9g} ({said})"


@dataclass(frozen=True, eq=False)
class Exponential(LocationScale):
    """Ex(1/mean): a non-negative quantity of which only the best estimate is known (JCGM 101 6.4.10)."""

    expectation: float

    def __post_init__(self) -> None:
        positive("exponential", mean=self.expectation)

    @property
    def mean(self) -> float:
        return self.expectation

    @property
    def sd(self) -> float:
        return self.expectation

    @property
    def shape(self) -> tuple[float, float]:
        return 2.0, 9.0

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("exponential", ()), 0.0, self.expectation


@dataclass(frozen=True, eq=False)
class Gamma(LocationScale):
    """G(shape, scale) from 0 on. ``Gamma.counting(q)`` is G(q + 1, 1): q counted objects (JCGM 101 6.4.11)."""

    a: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        positive("gamma", shape=self.a, scale=self.scale)

    @classmethod
    def counting(cls, q: float) -> Gamma:
        if q < 0.0:
            raise ParameterError("a count is not negative", got=repr(q))
        return cls(q + 1.0, 1.0)

    @property
    def mean(self) -> float:
        return self.a * self.scale

    @property
    def sd(self) -> float:
        return math.sqrt(self.a) * self.scale

    @property
    def shape(self) -> tuple[float, float]:
        return 2.0 / math.sqrt(self.a), 3.0 + 6.0 / self.a

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("gamma", (self.a,)), 0.0, self.scale


@dataclass(frozen=True, eq=False)
class Beta(LocationScale):
    """Beta(a, b) between ``low`` and ``high``."""

    a: float
    b: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        positive("beta", a=self.a, b=self.b)
        limits("beta", self.low, self.high)

    @property
    def mean(self) -> float:
        return self.low + (self.high - self.low) * self.a / (self.a + self.b)

    @property
    def sd(self) -> float:
        n = self.a + self.b
        return (self.high - self.low) * math.sqrt(self.a * self.b / (n * n * (n + 1.0)))

    @property
    def shape(self) -> tuple[float, float]:
        a, b, n = self.a, self.b, self.a + self.b
        skew = 2.0 * (b - a) * math.sqrt(n + 1.0) / ((n + 2.0) * math.sqrt(a * b))
        return skew, 3.0 + 6.0 * ((a - b) ** 2 * (n + 1.0) - a * b * (n + 2.0)) / (a * b * (n + 2.0) * (n + 3.0))

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("beta", (self.a, self.b)), self.low, self.high - self.low


@dataclass(frozen=True, eq=False)
class Lognormal(LocationScale):
    """exp(N(ln median, s^2))."""

    median: float
    s: float

    def __post_init__(self) -> None:
        positive("lognormal", median=self.median, s=self.s)

    @property
    def mean(self) -> float:
        return self.median * math.exp(0.5 * self.s**2)

    @property
    def sd(self) -> float:
        return self.mean * math.sqrt(math.expm1(self.s**2))

    @property
    def shape(self) -> tuple[float, float]:
        w = math.exp(self.s**2)
        return (w + 2.0) * math.sqrt(w - 1.0), w**4 + 2.0 * w**3 + 3.0 * w**2 - 3.0

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("lognormal", (self.s,)), 0.0, self.median


@dataclass(frozen=True, eq=False)
class Weibull(LocationScale):
    """Weibull with ``k`` (shape) and ``scale``, from 0 on."""

    k: float
    scale: float

    def __post_init__(self) -> None:
        positive("weibull", k=self.k, scale=self.scale)

    @property
    def mean(self) -> float:
        return self.scale * math.gamma(1.0 + 1.0 / self.k)

    @property
    def sd(self) -> float:
        g = math.gamma
        return self.scale * math.sqrt(g(1.0 + 2.0 / self.k) - g(1.0 + 1.0 / self.k) ** 2)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    def _standard(self) -> tuple[TableKey, float, float]:
        return ("weibull", (self.k,)), 0.0, self.scale


def readings(values: Sequence[float]) -> StudentT:
    """Repeated independent readings (Type A, JCGM 100 4.2, JCGM 101 6.4.9.2): t with scale s/sqrt(n), dof n-1."""
    from metrology_core.uncertainty.exact import mean_and_deviation

    data = [float(v) for v in values]
    if len(data) < 2:
        raise ParameterError("a standard uncertainty of type A needs at least two readings", got=f"{len(data)}")
    mean, s = mean_and_deviation(data)
    if s == 0.0:
        raise ParameterError(
            "all readings are equal: their scatter is below the resolution",
            remedy="use the resolution: Rectangular.centred(value, half a digit)",
        )
    return StudentT(mean, len(data) - 1, scale=s / math.sqrt(len(data)), kind="A")
