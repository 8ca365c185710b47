"""From the covariances of fits to the uncertainty of a characteristic: the linear law (JCGM 100 5.2, JCGM 102).

A characteristic is a function of features. Each fit brings a covariance in the local chart of its feature; its
factor splits it into independent influences, so that two characteristics that use the same fit stay correlated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured


class ChartFeature(Protocol):
    """What propagation needs of a feature: names of its local parameters, and how it moves along them."""

    @property
    def chart(self) -> tuple[str, ...]: ...

    def moved(self, delta: np.ndarray) -> Any: ...


@dataclass(frozen=True, eq=False)
class UncertainFeature:
    """A feature with the covariance of its chart parameters.

    ``covariance`` (p, p) in the chart's units (lengths in the unit of the points, angles in rad); ``dof`` of the
    variance estimate behind it; ``kind`` of its evaluation; ``reach`` is a length typical of the data about the
    feature (it sets the step of the derivative, ``step`` times the reach or rad); ``scope`` makes the ids unique (the
    digest of the data).
    """

    name: str
    feature: ChartFeature
    covariance: np.ndarray
    dof: float
    kind: str
    reach: float
    scope: str
    label: str = "point errors"
    step: float = 1e-4

    def factor(self) -> np.ndarray:
        """(p, p) matrix F with ``F F' = covariance``: eigenvectors in a fixed order and sign, so ids keep meaning."""
        values, vectors = np.linalg.eigh((self.covariance + self.covariance.T) / 2.0)
        if values.min(initial=0.0) < -1e-9 * max(values.max(initial=0.0), 1e-300):
            raise ParameterError(
                f"the covariance of {self.name!r} is not positive", got=f"eigenvalue {values.min():.3g}"
            )
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
        return np.asarray(vectors * signs * np.sqrt(np.clip(values, 0.0, None)))


def gradient(
    function: Callable[[Any], float], feature: ChartFeature, reach: float, relative_step: float = 1e-4
) -> np.ndarray:
    """(p,) derivative of ``function(feature)`` along the chart, by a four-point rule with steps set by the geometry.

    The steps are 1e-4 of the reach (rad for angles); the rule's error is of fourth order, so truncation (about 1e-16)
    and rounding (about 1e-12) both stay far below the two digits of an uncertainty. A characteristic that bends on the
    scale of the uncertainty itself (a zone close to zero is the size of a vector) needs smaller steps: 1e-6.
    """
    names = feature.chart
    result = np.empty(len(names))
    for i, name in enumerate(names):
        step = relative_step * (1.0 if is_angle(name) else reach)
        delta = np.zeros(len(names))
        values = []
        for factor in (-2.0, -1.0, 1.0, 2.0):
            delta[i] = factor * step
            values.append(float(function(feature.moved(delta.copy()))))
        result[i] = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * step)
    return result


def is_angle(chart_name: str) -> bool:
    """Whether a chart parameter is an angle in rad (tilts, rotations, half angles); all others are lengths."""
    return chart_name.startswith(("tilt", "rotation", "half_angle"))


def propagate(
    function: Callable[[Mapping[str, Any]], float],
    features: Mapping[str, UncertainFeature],
    *,
    unit: str,
    lower_bound: float | None = None,
    extra: Mapping[Influence, float] | None = None,
    flags: tuple[str, ...] = (),
) -> Measured:
    """Evaluate ``function({name: feature})`` and carry every feature's covariance to it.

    Each feature contributes p independent influences ``fit/<scope>/<name>/<i>`` that form one group for the effective
    degrees of freedom; ``extra`` adds further contributions in ``unit`` (instrument, temperature, tip). Raises
    `ParameterError` where the result is not finite.
    """
    plain: dict[str, Any] = {name: row.feature for name, row in features.items()}
    value = float(function(plain))
    if not math.isfinite(value):
        raise ParameterError("the characteristic is not finite", got=repr(value))
    parts: dict[str, float] = {}
    rows: dict[str, Influence] = {}
    for name, row in features.items():

        def along(feature: Any, name: str = name) -> float:
            return function({**plain, name: feature})

        weights = gradient(along, row.feature, row.reach, row.step) @ row.factor()
        group = f"fit/{row.scope}/{row.name}"
        for i, part in enumerate(weights):
            influence = Influence(
                f"{group}/{i}", f"{row.label} in {row.name}", "B" if row.kind == "B" else "A", row.dof, group=group
            )
            parts[influence.id] = float(part)
            rows[influence.id] = influence
    for influence, part in (extra or {}).items():
        parts[influence.id] = parts.get(influence.id, 0.0) + part
        rows[influence.id] = influence
    return Measured(value, unit, parts, rows, lower_bound, flags=flags)
