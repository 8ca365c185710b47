"""Sums and statistics without rounding: readings are rational numbers, and so are their sums.

Decimals are ratios of two whole numbers. Means, variances, autocorrelations and sums of squares of up to some ten
thousand readings are therefore formed exactly and rounded once at the end, however many leading digits the readings
share. Readings may be texts ("10000000.2") or floats: a float stands for the shortest decimal that names it, which is
the number that the instrument showed and the file held, not the binary one beside it. For a computed number the two
differ by less than half a unit in its last place; for a reading of 1000000000000.4 that difference would be the error
of a ten-thousandth that is left of four digits of its scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from metrology_core.errors import ParameterError

Reading = float | int | str | Fraction


def as_fractions(values: Sequence[Reading]) -> list[Fraction]:
    """The readings as exact ratios, floats as their shortest decimals; raises `ParameterError` for what is not a finite
    number."""
    try:
        return [Fraction(v) if isinstance(v, (str, int, Fraction)) else _decimal(float(v)) for v in values]
    except (ValueError, OverflowError, TypeError) as error:
        raise ParameterError("a reading is not a finite number", got=str(error)) from None


def _decimal(value: float) -> Fraction:
    return Fraction(*Decimal(repr(value)).as_integer_ratio())


def as_integers(values: Sequence[Reading]) -> tuple[list[int], int]:
    """The readings as whole numbers over one common denominator."""
    rows = as_fractions(values)
    common = math.lcm(*(row.denominator for row in rows)) if rows else 1
    return [row.numerator * (common // row.denominator) for row in rows], common


def root(value: Fraction) -> float:
    """Square root of an exact ratio, correctly rounded to within one unit in the last place."""
    if value < 0:
        raise ParameterError("the square root of a negative number was asked for", got=f"{float(value):.3g}")
    if value == 0:
        return 0.0
    shift = 256 + 2 * max(0, value.denominator.bit_length() - value.numerator.bit_length())
    scaled = (value.numerator << shift) // value.denominator
    return float(Fraction(math.isqrt(scaled), 1 << (shift // 2)))


def mean_and_deviation(values: Sequence[Reading]) -> tuple[float, float]:
    """Arithmetic mean and experimental standard deviation (n - 1), each rounded once."""
    found = summary(values)
    return found.mean, found.deviation


@dataclass(frozen=True)
class Summary:
    """Univariate statistics: ``deviation`` with n - 1; ``autocorrelation`` at lag 1 (0 for constant readings)."""

    n: int
    mean: float
    deviation: float
    autocorrelation: float


def summary(values: Sequence[Reading]) -> Summary:
    """Mean, experimental standard deviation and lag-1 autocorrelation, formed exactly and rounded once."""
    whole, common = as_integers(values)
    n = len(whole)
    if n < 2:
        raise ParameterError("a standard deviation needs at least two readings", got=f"{n}")
    total = sum(whole)
    centred = [n * w - total for w in whole]  # n times the deviations, whole numbers
    squares = sum(c * c for c in centred)
    lagged = sum(a * b for a, b in zip(centred, centred[1:]))
    return Summary(
        n,
        float(Fraction(total, n * common)),
        root(Fraction(squares, n * n * common * common * (n - 1))),
        float(Fraction(lagged, squares)) if squares else 0.0,
    )


@dataclass(frozen=True)
class OneWay:
    """One-way analysis of variance: sums of squares, degrees of freedom, mean squares, F and its probability."""

    ss_between: float
    ss_within: float
    df_between: int
    df_within: int
    ms_between: float
    ms_within: float
    f: float
    p: float
    r_squared: float
    residual_sd: float


def one_way(groups: Sequence[Sequence[Reading]]) -> OneWay:
    """Analysis of variance between groups (JCGM 100 H.5), formed exactly. Flags nothing: equal groups give F = 0.

    Raises `ParameterError` for fewer than two groups, an empty group or no degree of freedom within.
    """
    sizes = [len(group) for group in groups]
    n, k = sum(sizes), len(sizes)
    if k < 2 or min(sizes, default=0) < 1 or n <= k:
        raise ParameterError("an analysis of variance needs two groups and repeated readings", got=f"sizes {sizes}")
    whole, common = as_integers([v for group in groups for v in group])
    parts, start = [], 0
    for size in sizes:
        parts.append(whole[start : start + size])
        start += size
    total = sum(whole)
    mean_square = Fraction(total * total, n)
    group_square = sum((Fraction(sum(part) ** 2, len(part)) for part in parts), Fraction(0))
    squares = sum(w * w for w in whole)
    scale = common * common
    between, within = (group_square - mean_square) / scale, (squares - group_square) / scale
    ms_between, ms_within = between / (k - 1), within / (n - k)
    f = float(ms_between / ms_within) if ms_within else math.inf
    return OneWay(
        float(between),
        float(within),
        k - 1,
        n - k,
        float(ms_between),
        float(ms_within),
        f,
        _f_tail(f, k - 1, n - k),
        float(between / (between + within)) if between + within else 0.0,
        root(ms_within),
    )


def _f_tail(f: float, df1: int, df2: int) -> float:
    from scipy.special import fdtrc

    return 0.0 if math.isinf(f) else float(fdtrc(df1, df2, f))
