"""What every distribution of an input quantity answers, and those that are a standard variate moved and scaled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.errors import ParameterError

TableKey = tuple[str, tuple[float, ...]]
Plan = tuple[Literal["constant", "rectangular", "table", "sum", "curvilinear"], tuple[float, float, float], Any]


def finite(what: str, *values: float) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ParameterError(f"{what}: a parameter is not finite", got=repr(value))


def positive(what: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0.0):
            raise ParameterError(f"{what}: {name} must be positive", got=repr(value))


def limits(what: str, low: float, high: float) -> None:
    finite(what, low, high)
    if not low < high:
        raise ParameterError(f"{what}: the lower limit must lie below the upper", got=f"{low!r}, {high!r}")


@dataclass(frozen=True, eq=False)
class Distribution(ABC):
    """Base of all distributions. ``mean`` and ``sd`` are those of the density (infinite where they do not exist)."""

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def mean(self) -> float: ...

    @property
    @abstractmethod
    def sd(self) -> float: ...

    @property
    def standard_uncertainty(self) -> float:
        """What enters the law of propagation (JCGM 100): the standard deviation, except where a class says other."""
        return self.sd

    @property
    def dof(self) -> float:
        """Degrees of freedom of ``standard_uncertainty``."""
        return math.inf

    @property
    def evaluation(self) -> Literal["A", "B"]:
        return "B"

    @property
    def shape(self) -> tuple[float, float]:
        """(skewness, kurtosis) of the standardised variable; kurtosis 3 for a normal one."""
        return 0.0, 3.0

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    def plan(self) -> Plan | None:
        """How the kernel draws it; None where the quantile function does."""
        return None

    @abstractmethod
    def ppf(self, p: Any) -> Any:
        """Quantile of probability ``p``."""

    @abstractmethod
    def cdf(self, x: Any) -> Any:
        """Probability of values up to ``x``."""

    @abstractmethod
    def pdf(self, x: Any) -> Any:
        """Probability density at ``x``."""

    def describe(self) -> str:
        return f"{self.name} (mean {self.mean:.9g}, sd {self.sd:.6g})"


@dataclass(frozen=True, eq=False)
class Constant(Distribution):
    """A number without uncertainty."""

    value: float

    def __post_init__(self) -> None:
        finite("constant", self.value)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def sd(self) -> float:
        return 0.0

    @property
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    def plan(self) -> Plan:
        return "constant", (self.value, 0.0, 0.0), None

    def ppf(self, p: Any) -> Any:
        return np.full(np.shape(p), self.value)

    def cdf(self, x: Any) -> Any:
        return (np.asarray(x, dtype=np.float64) >= self.value).astype(np.float64)

    def pdf(self, x: Any) -> Any:
        """Infinite at the value, zero elsewhere: all of the probability is in one place."""
        return np.where(np.asarray(x, dtype=np.float64) == self.value, math.inf, 0.0)


@dataclass(frozen=True, eq=False)
class LocationScale(Distribution):
    """A standard variate with a location and a scale; the standard part is given by name and shape."""

    @abstractmethod
    def _standard(self) -> tuple[TableKey, float, float]:
        """(table, location, scale)."""

    def plan(self) -> Plan:
        key, location, scale = self._standard()
        return "table", (location, scale, 0.0), key

    def _z(self, x: Any) -> Any:
        _, location, scale = self._standard()
        return (np.asarray(x, dtype=np.float64) - location) / scale

    def ppf(self, p: Any) -> Any:
        from metrology_core.uncertainty.standard import ppf

        (name, shape), location, scale = self._standard()
        return location + scale * ppf(name, shape, np.asarray(p, dtype=np.float64))

    def cdf(self, x: Any) -> Any:
        from metrology_core.uncertainty.standard import cdf

        (name, shape), _, _ = self._standard()
        return cdf(name, shape, self._z(x))

    def pdf(self, x: Any) -> Any:
        from metrology_core.uncertainty.standard import pdf

        (name, shape), _, scale = self._standard()
        return pdf(name, shape, self._z(x)) / scale
