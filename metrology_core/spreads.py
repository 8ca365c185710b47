"""Distributions of standard deviations: what few values tell about their spread is not symmetric.

The variance of n normal values, times n - 1, over the true variance is chi-square distributed with n - 1 degrees of
freedom (ISO 2854:1976, table F; H. Scheffe, "The Analysis of Variance", 1959). Solved for the true value it has a long
upper end: at n = 4 the 95 % interval runs from 0.57 s to 3.73 s. Where the true variance is a sum with a known part
(noise), the distribution of the sum less that part, cut off at zero, is that of the rest; the interval keeps its
probability, because subtracting a known number and a cut at a bound that the truth respects move no truth across an
end. Where chance leaves the sum so far below its known part that even the upper end of the 95 % interval is zero,
the sum counts as that part: the rest is then known to be small, not to be zero.

A distribution is given as equally probable quantiles, in rising order: it needs no random numbers and travels in
`Measured.samples`, from which intervals and probabilities of conformity are taken.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Measured

COUNT = 2000  # a probability is told to 0.05 %
_UPPER = 1949  # quantile at 97.5 %
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def _levels() -> np.ndarray:
    return (np.arange(COUNT) + 0.5) / COUNT


# Inverse distributions cost 0.2 us a level, and all images of a lot ask for the same few.
@functools.lru_cache(maxsize=64)
def _chi_square(dof: float) -> np.ndarray:
    from scipy.special import chdtri

    return _kept(chdtri(dof, _levels()))


@functools.lru_cache(maxsize=64)
def _student(dof: float) -> np.ndarray:
    from scipy.special import stdtrit

    return _kept(stdtrit(dof, _levels()))


@functools.lru_cache(maxsize=1)
def _normal() -> np.ndarray:
    from scipy.special import ndtri

    return _kept(ndtri(_levels()))


@functools.lru_cache(maxsize=1)
def _scattered_normal() -> np.ndarray:
    from scipy.special import ndtri

    return _kept(ndtri(_levels())[np.argsort((np.arange(COUNT) * _GOLDEN) % 1.0)])


def _kept(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def chi_square_spread(variance: float, dof: float, noise: float = 0.0) -> np.ndarray:
    """Quantiles of a true standard deviation, shape (COUNT,).

    ``variance``: estimated from normal values with ``dof`` degrees of freedom; ``noise``: the known variance within it
    that does not belong to the spread. Raises `ParameterError` for a negative variance or no degrees of freedom.
    """
    if not (variance >= 0.0 and noise >= 0.0 and dof > 0.0):
        raise ParameterError(
            "a spread needs variances that are not negative and degrees of freedom",
            got=f"variance {variance!r}, noise {noise!r}, dof {dof!r}",
        )
    ratio = dof / _chi_square(dof)
    found: np.ndarray = np.sqrt(np.maximum(variance * ratio - noise, 0.0))
    return found if found[_UPPER] > 0.0 else np.sqrt(np.maximum(noise * ratio - noise, 0.0))


def mean_variance_spread(variance: float, u: float, dof: float, noise: float = 0.0) -> np.ndarray:
    """Quantiles of the root of a mean of variances whose standard uncertainty ``u`` comes from their scatter.

    Each of them has an unknown number of degrees of freedom (values along one edge are correlated), so the mean is
    taken as Student's t, with the relative uncertainty ``u / variance`` and ``dof`` of the scatter, on the inverse cube
    root of the variance: for variances of a gamma distribution that scale takes the skewness from the studentized mean,
    as the cube root does (Wilson and Hilferty, Proc. Natl. Acad. Sci. 17 (1931) 684) where the scatter is known.
    Raises `ParameterError` as `chi_square_spread`.
    """
    if not (variance >= 0.0 and noise >= 0.0 and dof > 0.0 and u >= 0.0):
        raise ParameterError(
            "a spread needs variances that are not negative and degrees of freedom",
            got=f"variance {variance!r}, noise {noise!r}, u {u!r}, dof {dof!r}",
        )
    if variance == 0.0:
        return np.zeros(COUNT)
    root = np.maximum(1.0 - _student(dof) * u / variance / 3.0, 1e-3)  # the upper end stays finite
    found: np.ndarray = np.sqrt(np.maximum(variance * root**-3.0 - noise, 0.0))
    if found[_UPPER] > 0.0:
        return found
    return np.asarray(np.sqrt(np.maximum(noise * root**-3.0 - noise, 0.0)))


def log_error(bend: float, dof: float) -> np.ndarray:
    """Quantiles of the error of a logarithm over its standard uncertainty, for `log_normal_spread`.

    T, the estimate less the truth over the *stated* uncertainty, is skew; ``bend`` is a third of minus its skewness,
    and ``T + bend T^2 / 2`` is taken as Student's t with ``dof``. To the same order that is ``(exp(bend T) - 1) /
    bend``, which is monotone: the truth lies ``-log(1 - bend t) / bend`` times the uncertainty beyond the estimate. For
    a variance of normal values, bend u/3, that is the cube root of Wilson and Hilferty (`mean_variance_spread`).
    Raises `ParameterError` for no degrees of freedom.
    """
    if not dof > 0.0:
        raise ParameterError("a distribution needs degrees of freedom", got=f"dof {dof!r}")
    t = _near_student(dof)
    if abs(bend) < 1e-6:
        return t
    found: np.ndarray = np.log(np.maximum(1.0 - bend * t, 1e-3)) / -bend  # the far ends stay finite
    return found


def _near_student(dof: float) -> np.ndarray:
    """Quantiles of Student's t of degrees of freedom that no two images share: from 20 on by the expansion of Cornish
    and Fisher to the second order (0.02 % of an end of 95 %, at 20), below by whole numbers, which are kept."""
    if dof < 20.0:
        return _student(float(max(1.0, round(dof))))
    z = _normal()
    if dof > 1e6:
        return z
    z2 = z * z
    found: np.ndarray = z * (1.0 + (1.0 + z2) / (4.0 * dof) + (3.0 + z2 * (16.0 + 5.0 * z2)) / (96.0 * dof * dof))
    return found


def log_normal_spread(value: float, u: float, error: np.ndarray | None = None) -> np.ndarray:
    """Quantiles of a positive quantity of relative standard uncertainty ``u / value`` whose logarithm is normal, or has
    an error like ``error`` (`log_error`): what a likelihood in log scale gives. Raises `ParameterError` where value is
    not positive or ``u`` negative."""
    if not (value > 0.0 and u >= 0.0):
        raise ParameterError("a logarithm needs a positive value", got=f"value {value!r}, u {u!r}")
    found: np.ndarray = value * np.exp(min(u / value, 50.0) * (_normal() if error is None else error))
    return found


def bounded_spread(value: float, u: float, low: float, high: float) -> np.ndarray:
    """Quantiles of a quantity between two bounds whose logit is normal. Raises `ParameterError` for a value that is not
    between them, or a negative ``u``."""
    if not (low < value < high and u >= 0.0):
        raise ParameterError(
            "a bounded quantity needs a value between its bounds",
            got=f"value {value!r}, bounds {low!r} and {high!r}, u {u!r}",
        )
    share = (value - low) / (high - low)
    logit = math.log(share / (1.0 - share)) + min(u / ((high - low) * share * (1.0 - share)), 500.0) * _normal()
    return np.asarray(low + (high - low) / (1.0 + np.exp(np.clip(-logit, -600.0, 600.0))))


def fixed_spread(variance: float, dof: float, noise: float) -> np.ndarray:
    """Quantiles of the root mean square about the mean of *fixed* values (sites of a wafer, not a sample of many),
    estimated as ``variance`` with ``dof`` degrees of freedom from one reading of each, whose known noise variance is
    ``noise``.

    ``dof variance / noise`` is noncentral chi-square distributed about the values' own ``dof s^2 / noise``; the
    distribution is that of all confidence limits, so an interval keeps its probability at every ratio of noise, with
    the weight of "none at all" at zero. Raises `ParameterError` as `chi_square_spread`.
    """
    if not (variance >= 0.0 and noise > 0.0 and dof > 0.0):
        raise ParameterError(
            "a spread of fixed values needs a variance that is not negative, noise and degrees of freedom",
            got=f"variance {variance!r}, noise {noise!r}, dof {dof!r}",
        )
    seen = variance * dof / noise
    # the root of a noncentral chi-square moves by at most 1 (1 s): six of them hold all levels
    root = np.linspace(max(0.0, math.sqrt(max(seen - dof, 0.0)) - 6.0), math.sqrt(seen) + 6.0, 600)
    below = _noncentral(seen, dof, root * root)
    rising = np.maximum.accumulate(1.0 - below)
    at, first = np.unique(rising, return_index=True)
    found: np.ndarray = np.sqrt(noise / dof) * np.interp(_levels(), at, root[first])
    return found


def _noncentral(seen: float, dof: float, shift: np.ndarray) -> np.ndarray:
    """P(noncentral chi-square <= ``seen``) for each noncentrality ``shift``."""
    from scipy.special import chndtr, ndtr

    if seen < 1e4:
        exact: np.ndarray = chndtr(seen, dof, shift)
        return exact
    # the series is slow there; Sankaran, Biometrika 50 (1963) 199, is exact to 1e-4 at these noncentralities
    h = 1.0 - 2.0 / 3.0 * (dof + shift) * (dof + 3.0 * shift) / (dof + 2.0 * shift) ** 2
    p = (dof + 2.0 * shift) / (dof + shift) ** 2
    m = (h - 1.0) * (1.0 - 3.0 * h)
    mean = 1.0 + h * p * (h - 1.0 - 0.5 * (2.0 - h) * m * p)
    root: np.ndarray = ndtr(((seen / (dof + shift)) ** h - mean) / (h * np.sqrt(2.0 * p) * (1.0 + 0.5 * m * p)))
    return root


_ELEVATION = 4.5  # standard deviations that noise may have lifted a value above the one that it hides


def overshoot(values: np.ndarray, noise: float) -> np.ndarray:
    """Quantiles of how far noise (standard deviation ``noise``) pushes the smallest of ``values`` below the true
    smallest, in units of the noise. Each value counts as nearer to the true smallest by `_ELEVATION` than it looks."""
    from scipy.special import log_ndtr

    above = np.maximum((np.asarray(values, np.float64) - np.min(values)) / noise - _ELEVATION, 0.0)
    above = above[above < 12.0]
    reach = np.linspace(-4.0, 8.0, 1201)
    below = np.exp(log_ndtr(reach[:, None] + above).sum(axis=1))
    at, first = np.unique(below, return_index=True)
    found: np.ndarray = np.interp(_levels(), at, reach[first])
    return found


def smallest_spread(values: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Quantiles of the true smallest of ``values``, each read once with ``noise``, and the mean of the bias.

    The smallest reading is no larger than that of the true smallest: the lower half is that of a single reading. It is
    smaller where several values compete: the upper half is that of `overshoot`. Both halves err to the safe side.
    """
    pushed = overshoot(values, noise)
    lower = _normal()
    levels = np.where(_levels() < 0.5, lower, np.maximum(pushed, 0.0))
    return float(np.min(values)) + noise * levels, max(float(pushed.mean()), 0.0) * noise


def range_spread(values: np.ndarray, noise: float) -> tuple[np.ndarray, float]:
    """Quantiles of the true range of ``values``, each read once with ``noise``, and the mean of the bias: noise widens
    a range. As `smallest_spread`: the upper half is that of two readings, the lower that of both overshoots."""
    values = np.asarray(values, np.float64)
    order = np.argsort((np.arange(COUNT) * _GOLDEN) % 1.0)
    both = np.sort(overshoot(values, noise) + overshoot(-values, noise)[order])
    upper = math.sqrt(2.0) * _normal()
    levels = np.where(_levels() < 0.5, np.minimum(-both[::-1], 0.0), upper)
    return np.maximum(float(np.ptp(values)) + noise * levels, 0.0), max(float(both.mean()), 0.0) * noise


def widened(quantiles: np.ndarray, u: float) -> np.ndarray:
    """``quantiles`` with a further independent normal error of standard uncertainty ``u``."""
    return quantiles if u == 0.0 else np.sort(quantiles + u * _scattered_normal())


def with_spread(measured: Measured, quantiles: np.ndarray, held: Collection[str]) -> Measured:
    """``measured`` with the distribution ``quantiles`` (in its unit) of what the influences ``held`` contribute.

    The other contributions (a scale) act as one normal relative error; they are paired with the quantiles by a
    sequence of low discrepancy, so equal input gives equal output.
    """
    rest = math.hypot(*(part for key, part in measured.contributions.items() if key not in held))
    if rest > 0.0 and measured.value > 0.0:
        quantiles = np.sort(quantiles * (1.0 + rest / measured.value * _scattered_normal()))
    return dataclasses.replace(measured, samples=quantiles)
