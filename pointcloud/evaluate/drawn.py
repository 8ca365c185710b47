"""A characteristic of features whose surfaces were drawn: its values over the joint draws, as `Measured.samples`.

Every feature has one set of drawn charts, used by all characteristics of the part. Where the characteristic is straight
over the draws its gradient carries them, else it is evaluated for each. Features without drawn surfaces are drawn from
their covariance, and every other influence from its distribution.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.propagation import UncertainFeature, gradient
from metrology_core.quantity import Influence, Measured
from pointcloud.evaluate.surface import DRAWS, DrawnChart, levels

FloatArray = NDArray[np.float64]
_TRIED = 25  # draws by which it is seen whether the gradient serves
_NOT_HELD = " of the surface between and under the points, which does not hold the fit of the points"
_STRAIGHT = 0.02  # of the standard deviation: what the gradient may be off in these


def with_draws(
    measured: Measured,
    function: Callable[[Mapping[str, Any]], float],
    features: Mapping[str, UncertainFeature],
    drawn: Mapping[str, DrawnChart],
    seed: int,
    upper: float | None = None,
) -> tuple[Measured, FloatArray | None]:
    """``measured`` (the linear law, value as evaluated) with samples over the drawn features ``drawn``, by name; and
    what noise and form alone make of the value: deviations (draws,) in the order of the drawn surfaces, which is the
    same in all characteristics of a part, not cut at a bound (a simulation adds the errors of the instrument to them).

    ``seed``: the run's; the same influence gets the same draws in every characteristic. ``upper``: a physical bound
    above (90 degrees for an angle of two axes). A length of a vector, or a size held by the highest places of a
    surface, is drawn off that of the mean by a bias which the mean has from the truth again: the end of the interval on
    that side is moved by twice that bias.
    Without features drawn nothing changes, and there are no deviations.
    """
    if not any(name in drawn for name in features):
        return measured, None
    charts = {
        name: drawn[name].chart if name in drawn else _normal_draws(row, seed, name) for name, row in features.items()
    }
    middle = {name: drawn[name].middle if name in drawn else rows.mean(axis=0) for name, rows in charts.items()}
    around = _Straight(function, features, measured.value)
    surface = _unfolded(around, charts, middle)
    other = {name: x for name in features if name in drawn and (x := drawn[name].without_form) is not None}
    absent = None
    if other:
        plain = {name: other.get(name, charts[name]) for name in features}
        around_mean = {name: rows.mean(axis=0) if name in other else middle[name] for name, rows in plain.items()}
        absent = _unfolded(around, plain, around_mean)
    rest = _others(measured, seed)
    samples = _wider(surface + rest, None if absent is None else absent + rest)
    if measured.lower_bound is not None or upper is not None:
        samples = np.clip(samples, measured.lower_bound, upper)
    # noise at the extremes of a feature that is not drawn is no error that an instrument adds
    noise = _others(measured, seed, ("noise/",))
    alone = order_statistics(_wider(surface + noise, None if absent is None else absent + noise)) - measured.value
    own = np.empty(len(alone))
    own[np.argsort(surface + noise, kind="stable")] = alone
    return replace(measured, samples=order_statistics(samples)), own


def _wider(surface: FloatArray, absent: FloatArray | None) -> FloatArray:
    """Values in rising order; where form may be ``absent``, at every probability the wider of the two."""
    samples = np.sort(surface)
    if absent is None:
        return samples
    alone, half = np.sort(absent), len(samples) // 2
    return np.concatenate([np.minimum(samples, alone)[:half], np.maximum(samples, alone)[half:]])


def interval_words(measured: Measured) -> str:
    """How the interval of drawn samples is to be read; nothing without samples."""
    if measured.samples is None:
        return ""
    return f"; interval from {len(measured.samples)} draws{_held(measured)}"


def _held(measured: Measured) -> str:
    low, high = measured.coverage_interval(0.95)
    if low <= measured.value <= high:
        return ""
    return _NOT_HELD


def with_simulation(method: str, measured: Measured, words: str) -> str:
    """A ``method`` that ended in `interval_words`, for an interval of ``measured`` to which a simulation added errors
    (``words``)."""
    before = re.sub(rf"; interval from \d+ draws({_NOT_HELD})?", "", method)
    return f"{before}; interval from drawn noise and form{_held(measured)}, and from all other errors {words}"


def order_statistics(ordered: FloatArray) -> FloatArray:
    """Samples whose quantiles by interpolation are the order statistics of n draws at ``(n + 1) p``: an interval of
    them holds a further draw with its probability, not with a little less (for 399 draws half a percent)."""
    n = len(ordered)
    place = np.clip(np.linspace(0.0, 1.0, n) * (n + 1.0) - 1.0, 0.0, n - 1.0)
    return np.interp(place, np.arange(n), ordered)


class _Straight:
    """The characteristic along the charts of its features: by its gradient, or by itself."""

    def __init__(
        self,
        function: Callable[[Mapping[str, Any]], float],
        features: Mapping[str, UncertainFeature],
        value: float,
    ) -> None:
        self.function, self.features, self.value = function, features, value
        self.plain: dict[str, Any] = {name: row.feature for name, row in features.items()}
        self.slopes = {}
        for name, row in features.items():

            def along(feature: Any, name: str = name) -> float:
                return function({**self.plain, name: feature})

            self.slopes[name] = gradient(along, row.feature, row.reach, row.step)

    def at(self, changes: Mapping[str, FloatArray]) -> float:
        """The characteristic itself."""
        return self.function({name: self.plain[name].moved(change) for name, change in changes.items()})

    def over(self, charts: Mapping[str, FloatArray]) -> tuple[FloatArray, bool]:
        """(draws,) values, and whether the gradient served."""
        count = len(next(iter(charts.values())))
        straight = self.value + sum(np.einsum("dp,p->d", charts[name], self.slopes[name]) for name in charts)
        spread = float(np.std(straight))
        few = np.array([self.at({name: rows[d] for name, rows in charts.items()}) for d in range(min(_TRIED, count))])
        # where the slope is that of a kink, the draws themselves say how much they scatter
        spread = max(spread, float(np.std(few)))
        if np.abs(few - straight[: len(few)]).max() <= _STRAIGHT * spread:
            return np.asarray(straight), True
        more = [self.at({name: rows[d] for name, rows in charts.items()}) for d in range(len(few), count)]
        return np.concatenate([few, more]), False


def _unfolded(around: _Straight, charts: Mapping[str, FloatArray], middle: Mapping[str, FloatArray]) -> FloatArray:
    """Values over the draws, one end of their distribution moved by twice the bias against that of ``middle``."""
    values, straight = around.over(charts)
    if straight:
        centre = around.value + sum(float(change @ around.slopes[name]) for name, change in middle.items())
    else:
        centre = around.at(middle)
    bias = float(values.mean()) - centre
    place = (np.arange(len(values)) + 0.5) / len(values)
    lower = np.clip(1.0 - 2.0 * place, 0.0, None)
    moved = np.empty(len(values))
    # larger by its bias: the lower end goes down; smaller (an inscribed size, an angle near 90 degrees): the upper up
    moved[np.argsort(values, kind="stable")] = -2.0 * bias * (lower if bias > 0.0 else lower[::-1])
    return values + moved


def _standard(count: int, seed: int, influence: Influence) -> FloatArray:
    """Draws of one influence with its distribution, in units of its standard uncertainty."""
    from scipy.special import ndtri, stdtrit

    level = levels(count, seed, influence.id)
    if influence.distribution == "rectangular":
        return math.sqrt(3.0) * (2.0 * level - 1.0)
    return np.asarray(ndtri(level) if math.isinf(influence.dof) else stdtrit(influence.dof, level))


def _normal_draws(row: UncertainFeature, seed: int, name: str) -> FloatArray:
    """(draws, p) charts of a feature of which only the covariance is known."""
    factor = row.factor()
    rows = [Influence(f"{row.scope}/{name}/{k}", "", "B", row.dof) for k in range(factor.shape[1])]
    return np.asarray(np.stack([_standard(DRAWS, seed, one) for one in rows], axis=1) @ factor.T)


def _others(measured: Measured, seed: int, only: tuple[str, ...] = ("",)) -> FloatArray:
    """(draws,) sum of what the instrument, the tip and the temperature contribute; ``only`` keys that begin so."""
    total = np.zeros(DRAWS)
    for key, part in measured.contributions.items():
        if key.startswith(only) and not key.startswith(
            ("fit/", "bound/")
        ):  # the features; a bound is in the draws themselves
            total += part * _standard(DRAWS, seed, measured.influences[key])
    return total
