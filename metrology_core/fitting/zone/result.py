"""The result of a zone fit: a `Fit` whose uncertainty comes from its contacts."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.fitting.result import Fit


@dataclass(frozen=True, eq=False)
class ZoneFit(Fit):
    """A `Fit` by a zone criterion.

    `form`: extreme to extreme of the normal distances (of the minimum zone: the ISO 1101 form; 3-D line: diameter of
    the minimum-zone cylinder). `optimality`: ``contacts`` (rows of the points as given), ``signs`` (+1 on the outer
    border, -1 on the inner), ``multipliers`` (sum 1), ``residual`` of the optimality condition (relative),
    ``n_contacts``, ``unique``, ``gap`` to the first point that is not a contact, ``curvature`` where curvature rather
    than a contact holds a direction, ``starts``, ``ties``. The condition is of first order: it proves a local
    minimum; ``starts`` says how many were compared.

    `covariance`: first order, contacts held fixed, for independent errors of `sigma` (the residual standard deviation
    of the least-squares element) or of the points' declared noise; ``contacts_unstable`` where the gap is below 20 of
    it.
    """

    contacts: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    #: (p, k, d) change of the chart parameters per displacement of each contact
    contact_sensitivities: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    #: rows of the points that `form` depends on, and (m, d) its change per displacement of each
    form_points: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    form_sensitivities: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    noise: float = math.nan

    @functools.cached_property
    def sensitivities(self) -> np.ndarray:
        """(p, n_used) change of the chart parameters per unit displacement of a point along its normal: zero off the
        contacts.
        """
        evidence = self._known()
        assert self.associated is not None
        result = np.zeros((len(self.contact_sensitivities), self.n_used))
        if len(self.contacts):
            position = self.contacts
            if evidence.used is not None:
                position = (np.cumsum(evidence.used) - 1)[self.contacts]
            normals = self.associated.normals(evidence.xyz[self.contacts, : evidence.row.dimension])
            result[:, position] = np.einsum("pkd,kd->pk", self.contact_sensitivities, normals)
        result.setflags(write=False)
        return result

    @functools.cached_property
    def form_uncertainty(self) -> float:
        """Standard uncertainty of `form`, contacts held fixed: u^2 = sigma^2 sum |d form / d x_i|^2 (minimum zone: 4
        lambda' V lambda).

        Noise also biases a zone upward; this number does not hold that part. NaN without an estimate of the noise.
        """
        if not self.noise >= 0.0:
            return math.nan
        return self.noise * math.sqrt(float(np.sum(self.form_sensitivities**2)))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as that of `Fit`; the form's interval does not go below zero."""
        return super().to_dict()
