"""Distributions between limits (JCGM 101 6.4.2 to 6.4.5): rectangular, trapezoidal, triangular, with inexact limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.density import Distribution, Plan, limits


@dataclass(frozen=True, eq=False)
class Rectangular(Distribution):
    """R(low, high): only limits are known (JCGM 101 6.4.2)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        limits("rectangular", self.low, self.high)

    @classmethod
    def centred(cls, value: float, half_width: float) -> Rectangular:
        return cls(value - half_width, value + half_width)

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def sd(self) -> float:
        return (self.high - self.low) / math.sqrt(12.0)

    @property
    def shape(self) -> tuple[float, float]:
        return 0.0, 1.8

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def plan(self) -> Plan:
        return "rectangular", (self.low, self.high - self.low, 0.0), None

    def ppf(self, p: Any) -> Any:
        return self.low + (self.high - self.low) * np.asarray(p, dtype=np.float64)

    def cdf(self, x: Any) -> Any:
        return np.clip((np.asarray(x, dtype=np.float64) - self.low) / (self.high - self.low), 0.0, 1.0)

    def pdf(self, x: Any) -> Any:
        x = np.asarray(x, dtype=np.float64)
        return np.where((x >= self.low) & (x <= self.high), 1.0 / (self.high - self.low), 0.0)


@dataclass(frozen=True, eq=False)
class Trapezoidal(Distribution):
    """Trap(low, high, beta): the sum of two rectangular quantities; ``beta`` is top width over base width
    (JCGM 101 6.4.4)."""

    low: float
    high: float
    beta: float

    def __post_init__(self) -> None:
        limits(self.name, self.low, self.high)
        if not 0.0 <= self.beta < 1.0:
            raise ParameterError("trapezoidal: beta is top width over base width", expected="0 <= beta < 1")

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def sd(self) -> float:
        return (self.high - self.low) * math.sqrt((1.0 + self.beta**2) / 24.0)

    @property
    def shape(self) -> tuple[float, float]:
        a, b = (1.0 + self.beta) / 2.0, (1.0 - self.beta) / 2.0  # sum of two rectangular parts of these widths
        variance = a * a + b * b
        return 0.0, 3.0 - 1.2 * (a**4 + b**4) / variance**2

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def plan(self) -> Plan:
        half = (self.high - self.low) / 2.0
        return "sum", (self.low, half * (1.0 + self.beta), half * (1.0 - self.beta)), None

    def ppf(self, p: Any) -> Any:
        p = np.asarray(p, dtype=np.float64)
        w, b = self.high - self.low, self.beta
        edge = (1.0 - b) / (2.0 * (1.0 + b))  # probability of one flank
        tail = np.minimum(p, 1.0 - p)
        flank = w / 2.0 * np.sqrt(2.0 * tail * (1.0 - b * b))
        top = w / 2.0 * (1.0 - b) + (tail - edge) * w * (1.0 + b) / 2.0
        x = np.where(tail < edge, flank, top)
        return np.where(p < 0.5, self.low + x, self.high - x)

    def cdf(self, x: Any) -> Any:
        x = np.asarray(x, dtype=np.float64)
        w, b = self.high - self.low, self.beta
        s = np.clip(np.minimum(x - self.low, self.high - x), 0.0, None)
        flank = w * (1.0 - b) / 2.0
        rising = np.minimum(s, flank) ** 2 * 2.0 / (w * w * (1.0 - b * b))
        tail = rising + np.clip(s - flank, 0.0, None) * 2.0 / (w * (1.0 + b))
        return np.where(x <= self.mean, tail, 1.0 - tail)

    def pdf(self, x: Any) -> Any:
        x = np.asarray(x, dtype=np.float64)
        w, b = self.high - self.low, self.beta
        s = np.minimum(x - self.low, self.high - x)
        return np.where(s < 0.0, 0.0, np.minimum(s * 2.0 / (w * (1.0 - b)), 1.0) * 2.0 / (w * (1.0 + b)))


@dataclass(frozen=True, eq=False)
class Triangular(Trapezoidal):
    """T(low, high): symmetric triangle, the trapezoid without a top (JCGM 101 6.4.5)."""

    beta: float = field(default=0.0, init=False)


@dataclass(frozen=True, eq=False)
class CurvilinearTrapezoidal(Distribution):
    """CTrap(low, high, d): rectangular with limits that are themselves only known to +-d (JCGM 101 6.4.3)."""

    low: float
    high: float
    d: float

    def __post_init__(self) -> None:
        limits("curvilinear trapezoid", self.low, self.high)
        if not 0.0 < self.d < (self.high - self.low) / 2.0:
            raise ParameterError(
                "curvilinear trapezoid: d lies between 0 and the half width",
                got=repr(self.d),
                remedy="use Rectangular for d = 0",
            )

    @classmethod
    def centred(cls, value: float, half_width: float, d: float) -> CurvilinearTrapezoidal:
        return cls(value - half_width, value + half_width, d)

    @property
    def mean(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def sd(self) -> float:
        return math.sqrt((self.high - self.low) ** 2 / 12.0 + self.d**2 / 9.0)

    @property
    def shape(self) -> tuple[float, float]:
        # x - mean = W (2R - 1) with W = w + d (2R' - 1): the moments are products of two
        w, d = (self.high - self.low) / 2.0, self.d
        fourth = (w**4 + 2.0 * w * w * d * d + d**4 / 5.0) / 5.0
        return 0.0, fourth / self.sd**4

    @property
    def support(self) -> tuple[float, float]:
        return self.low - self.d, self.high + self.d

    def plan(self) -> Plan:
        return "curvilinear", (self.low, self.high, self.d), None

    def _tail(self, s: np.ndarray) -> np.ndarray:
        """Probability beyond a distance s >= 0 from the centre."""
        w, d = (self.high - self.low) / 2.0, self.d
        c = w + d
        r = np.clip(s, w - d, c)
        flank = c - r - r * np.log(c / r)
        return (flank + np.clip((w - d) - s, 0.0, None) * math.log(c / (w - d))) / (4.0 * d)

    def cdf(self, x: Any) -> Any:
        x = np.asarray(x, dtype=np.float64) - self.mean
        tail = self._tail(np.abs(x))
        return np.where(x < 0.0, tail, 1.0 - tail)

    def pdf(self, x: Any) -> Any:
        s = np.abs(np.asarray(x, dtype=np.float64) - self.mean)
        w, d = (self.high - self.low) / 2.0, self.d
        return np.where(s > w + d, 0.0, np.log((w + d) / np.clip(s, w - d, w + d)) / (4.0 * d))

    def ppf(self, p: Any) -> Any:
        p = np.asarray(p, dtype=np.float64)
        tail = np.minimum(p, 1.0 - p)
        low, high = np.zeros(p.shape), np.full(p.shape, (self.high - self.low) / 2.0 + self.d)
        for _ in range(60):  # bisection to the last bits: the density has a vertical tangent at its ends
            middle = 0.5 * (low + high)
            beyond = self._tail(middle) > tail
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        s = 0.5 * (low + high)
        return self.mean + np.where(p < 0.5, -s, s)
