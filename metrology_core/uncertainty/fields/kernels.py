"""Correlation functions of errors along a surface: exponential, Gaussian, Matern.

``rho(d)`` with one length parameter, so that the Matern family runs from the exponential (nu = 1/2) to the Gaussian
(nu to infinity): with ``t = d / length`` the exponential is ``exp(-t)``, the Gaussian ``exp(-t^2 / 2)``, Matern
``2^(1-nu) / Gamma(nu) x^nu K_nu(x)`` with ``x = sqrt(2 nu) t``. All are positive definite in Euclidean space of any
dimension (Matern 1960; Stein, Interpolation of Spatial Data, 1999, 2.7). What they are along curved surfaces is the
subject of `metrology_core.uncertainty.fields.surfaces`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError

TABLE_END = 7.0  # square root of the largest distance of a table, in lengths
TABLE_CELLS = 8192
CODE_EXPONENTIAL, CODE_MATERN_3_2, CODE_MATERN_5_2, CODE_GAUSSIAN, CODE_TABLE = 0, 1, 2, 3, 4
NEGLIGIBLE = 1e-6
"""Correlation below which points count as unrelated in sums over pairs."""


@dataclass(frozen=True)
class Kernel:
    """A correlation function of distance; ``length`` in the unit of the points, ``nu`` its smoothness (inf: Gaussian).

    Use `exponential`, `gaussian`, `matern`. A length that is stated as an angle on a circle is the angle times the
    radius. Raises `ParameterError` for a length or smoothness that is not positive.
    """

    length: float
    nu: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.length) and self.length > 0.0):
            raise ParameterError("a correlation length is positive", got=repr(self.length))
        if not self.nu > 0.0:
            raise ParameterError("the smoothness of a correlation is positive", got=repr(self.nu))
        if math.isfinite(self.nu) and not 0.1 <= self.nu <= 20.0:
            raise ParameterError(
                "Matern smoothness out of range", expected="0.1 to 20", got=repr(self.nu),
                remedy="take gaussian() for a very smooth field, white noise for a very rough one",
            )  # fmt: skip

    @property
    def name(self) -> str:
        """``exponential``, ``gaussian`` or ``matern(nu)``."""
        if self.nu == 0.5:
            return "exponential"
        return "gaussian" if math.isinf(self.nu) else f"matern({self.nu:g})"

    @property
    def code(self) -> int:
        """Which closed form the compiled sums take."""
        known = {0.5: CODE_EXPONENTIAL, 1.5: CODE_MATERN_3_2, 2.5: CODE_MATERN_5_2, math.inf: CODE_GAUSSIAN}
        return known.get(self.nu, CODE_TABLE)

    def __call__(self, distance: Any) -> np.ndarray:
        """Correlation at distances (any shape) in the unit of ``length``; 1 at 0."""
        t = np.abs(np.asarray(distance, dtype=np.float64)) / self.length
        if self.code == CODE_EXPONENTIAL:
            return np.asarray(np.exp(-t))
        if self.code == CODE_GAUSSIAN:
            return np.asarray(np.exp(-0.5 * t * t))
        x = math.sqrt(2.0 * self.nu) * t
        if self.code == CODE_MATERN_3_2:
            return np.asarray((1.0 + x) * np.exp(-x))
        if self.code == CODE_MATERN_5_2:
            return np.asarray((1.0 + x + x * x / 3.0) * np.exp(-x))
        return _bessel_form(x, self.nu)

    def range(self, level: float = NEGLIGIBLE) -> float:
        """Distance beyond which the correlation stays below ``level``."""
        return _range(self.nu, level) * self.length

    def table(self) -> np.ndarray:
        """Values over equal steps of sqrt(t) for the compiled sums; one number where a closed form serves."""
        return _table(self.nu) if self.code == CODE_TABLE else np.ones(1)

    def to_dict(self) -> dict[str, Any]:
        """``{"kernel", "length", "nu"}``; nu None for the Gaussian."""
        return {"kernel": self.name, "length": self.length, "nu": None if math.isinf(self.nu) else self.nu}


def exponential(length: float) -> Kernel:
    """``exp(-d / length)``: rough, the field of a first-order autoregression (Matern with nu = 1/2)."""
    return Kernel(length, 0.5)


def gaussian(length: float) -> Kernel:
    """``exp(-d^2 / (2 length^2))``: infinitely smooth; a limit of the Matern family rather than a model of surfaces."""
    return Kernel(length, math.inf)


def matern(length: float, nu: float) -> Kernel:
    """Matern correlation; nu = 3/2 and 5/2 (once, twice differentiable fields) have closed forms, others Bessel K."""
    return Kernel(length, float(nu))


def kernel_named(name: str, length: float, nu: float | None = None) -> Kernel:
    """A kernel from its name: exponential, gaussian, matern (needs nu), matern32, matern52."""
    plain = {"exponential": 0.5, "gaussian": math.inf, "matern32": 1.5, "matern52": 2.5}
    if name in plain and nu is None:
        return Kernel(length, plain[name])
    if name == "matern" and nu is not None:
        return Kernel(length, nu)
    raise ParameterError(
        "unknown correlation function", expected="exponential, gaussian, matern32, matern52, or matern with nu",
        got=name if nu is None else f"{name} with nu {nu}",
    )  # fmt: skip


def _bessel_form(x: np.ndarray, nu: float) -> np.ndarray:
    from scipy.special import gammaln, kve

    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        value = np.exp((1.0 - nu) * math.log(2.0) - gammaln(nu) + nu * np.log(x) - x) * kve(nu, x)
    # below 1e-9 the function is 1 to rounding for nu >= 1, and the product of 0 and infinity says nothing
    return np.where((x == 0.0) | ~np.isfinite(value), np.where(x < 1.0, 1.0, 0.0), np.minimum(value, 1.0))


@functools.lru_cache(maxsize=256)
def _range(nu: float, level: float) -> float:
    """In lengths: it is asked for every kernel of a grid, and depends on the smoothness only."""
    kernel = Kernel(1.0, nu)
    low, high = 0.0, 1.0
    while float(kernel(high)) > level:
        low, high = high, 2.0 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(kernel(middle)) > level else (low, middle)
    return high


@functools.lru_cache(maxsize=64)
def _table(nu: float) -> np.ndarray:
    root = np.arange(TABLE_CELLS + 2) * (TABLE_END / TABLE_CELLS)
    values = _bessel_form(math.sqrt(2.0 * nu) * root**2, nu)
    values.setflags(write=False)
    return np.ascontiguousarray(values)
