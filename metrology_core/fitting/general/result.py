"""Results of the general engine: a `Fit` whose sensitivities come from the optimality conditions of its criterion."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from metrology_core.fitting.result import Fit


@dataclass(frozen=True, eq=False)
class GeneralFit(Fit):
    """A `Fit` by least squares of slots and parallel planes, one-sided least squares, least absolute deviations, with
    point covariances, or with tied parameters.

    `optimality` has, beside ``residual`` of the optimality condition (relative): ``contacts`` (one-sided: points that
    the feature touches; least absolute: points that it passes through), ``signs``, ``multipliers`` (one-sided: >= 0;
    least absolute: in units of the weight, at most one in size), ``unique``. `covariance` of one-sided fits: first
    order, the contacts held; of least absolute deviations: contacts held where they lie apart by 20 standard
    deviations of a declared noise, else the asymptotic one of the median (`covariance_kind` in `settings`).
    """

    #: chart change = response J'W residual changes + contact_response distance changes of the contacts
    response: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    contact_response: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    contacts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    noise: float = math.nan
    #: (p, rows) where they do not follow from the above
    known_sensitivities: np.ndarray | None = None

    @functools.cached_property
    def sensitivities(self) -> np.ndarray:
        """(p, rows) change of the chart parameters per unit displacement of a point along its residual direction."""
        evidence = self._known()
        if self.known_sensitivities is not None:
            return self.known_sensitivities
        _, jacobian, _ = self.design()
        weights = self._row_weights(len(jacobian))
        result = -self.response @ (jacobian * weights[:, None]).T
        if len(self.contacts):
            position = self.contacts
            if evidence.used is not None:
                position = (np.cumsum(evidence.used) - 1)[self.contacts]
            width = self.contact_response.shape[1] // len(position)
            for k in range(width):
                columns = position + k * self.n_used
                result[:, columns] += self.contact_response[:, k * len(position) : (k + 1) * len(position)]
        result.setflags(write=False)
        return result

    @functools.cached_property
    def form_uncertainty(self) -> float:
        """Standard uncertainty of `form` for independent point errors, the two extreme points held (first order)."""
        if self._evidence is None or not self.noise >= 0.0:
            return math.nan
        _, jacobian, residuals = self.design()
        n = self.n_used
        row = self._evidence.row
        factor: dict[int, float]
        if row.name == "line" and len(jacobian) == 2 * n:
            worst = int(np.argmax(residuals[:n] ** 2 + residuals[n:] ** 2))
            size = math.hypot(residuals[worst], residuals[n + worst]) or 1.0
            factor = {worst: 2.0 * residuals[worst] / size, n + worst: 2.0 * residuals[n + worst] / size}
        else:
            high, low = int(np.argmax(residuals[:n])), int(np.argmin(residuals[:n]))
            if high == low:
                return 0.0
            factor = {high: 1.0, low: -1.0}
        index, sizes = list(factor), np.array(list(factor.values()))
        lever = (sizes @ jacobian[index]) @ self.sensitivities
        lever[index] += sizes
        weights = self._row_weights(len(jacobian))
        spread = np.divide(lever**2, weights, out=np.zeros(len(weights)), where=weights > 0.0)
        return self.noise * math.sqrt(float(spread.sum()))
