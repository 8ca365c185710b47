"""A fit whose errors are correlated along its surface: covariance, effective number of points, uncertain feature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import FitError, ParameterError
from metrology_core.propagation import UncertainFeature
from metrology_core.uncertainty.fields.field import CorrelatedField, effective

_WHOLE = 20_000  # residual rows up to which the sensitivities of the fit itself are taken


@dataclass(frozen=True, eq=False)
class CorrelatedFit:
    """A fit with the covariance that a field of correlated errors gives it; the feature is the same.

    ``fit``: the fit with ``covariance`` (p, p), in the chart of its feature; ``n_eff``: per chart parameter the number
    of independent points of the same standard deviation and geometry that would know it as well; ``method`` and
    ``words`` say how the covariance was made, ``relative`` how well its variances are known numerically.
    """

    fit: Any
    field: CorrelatedField
    covariance: np.ndarray
    n_eff: dict[str, float]
    method: str
    words: str
    relative: float
    flags: tuple[str, ...]

    @property
    def feature(self) -> Any:
        """The fitted feature."""
        return self.fit.feature

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters."""
        return dict(self.fit.parameters)

    @property
    def standard_uncertainty(self) -> dict[str, Any]:
        """Standard uncertainty of each parameter, as `Fit.standard_uncertainty`, from this covariance."""
        return dict(self.fit.standard_uncertainty)

    def uncertain(self, name: str, scope: str, *, dof: float = math.inf, kind: str = "B") -> UncertainFeature:
        """The feature as `metrology_core.propagate` takes it: ``name`` and ``scope`` (digest of the data) make the
        influence ids."""
        label = f"point errors, correlated over {self.field.kernel.length:g}"
        return UncertainFeature(
            name, self.feature, self.covariance, dof, kind, float(self.fit.reach), scope, label, step=1e-6
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form of the fit with the field, the method and the effective numbers."""
        plain = dict(self.fit.to_dict())
        plain["correlated"] = {
            "field": self.field.to_dict(), "method": self.method, "words": self.words, "relative": self.relative,
            "n_eff": {name: value if math.isfinite(value) else None for name, value in self.n_eff.items()},
        }  # fmt: skip
        return plain


def correlated(fit: Any, field: CorrelatedField) -> CorrelatedFit:
    """Covariance of a fit for a field of errors along its residuals: ``S C S'``, S the fit's linear influence.

    Least squares (weighted or not), zones (their contacts) and the criteria of the general engine. Features with two
    residuals per point (line, circle and ellipse in space) take two independent fields of the same law. Raises
    `ParameterError` for a field that does not fit the points, `FitError` for a fit without a feature.
    """
    if not isinstance(field, CorrelatedField):
        raise ParameterError("a fit is correlated by a field", expected="CorrelatedField", got=type(field).__name__)
    if fit.feature is None or fit.associated is None:
        raise FitError(f"the fit of a {fit.kind} is {fit.status}: it has no feature", remedy="check fit.status first")
    xyz = fit._used_points()[:, : fit.associated.dimension]
    sensitivities = influence(fit)
    n = len(xyz)
    surface = field.on(_surface(fit), xyz)
    blocks = sensitivities.shape[1] // n
    p = len(sensitivities)
    covariance, white = np.zeros((p, p)), np.zeros(p)
    method, words, relative = "independent", "independent errors", 0.0
    for k in range(blocks):
        g = np.ascontiguousarray(sensitivities[:, k * n : (k + 1) * n])
        if not g.any():
            continue
        part = surface.sandwich(g)
        covariance += part.value
        white += np.nan_to_num(effective(surface, g, part.value)) * np.diag(part.value)
        method, words, relative = part.method, part.words, max(relative, part.relative)
    there = np.diag(covariance)
    known = np.divide(white, there, out=np.full(p, math.nan), where=there > 0.0)
    turn = _compensation(fit, p)
    covariance = turn @ covariance @ turn.T
    covariance.setflags(write=False)
    names = fit.feature.chart
    settings = {**fit.settings, "point_errors": field.to_dict()}
    return CorrelatedFit(
        replace(fit, covariance=covariance, settings=settings), field, covariance,
        {name: float(value) for name, value in zip(names, known)}, method, words, relative, _flags.merge(fit.flags),
    )  # fmt: skip


def influence(fit: Any) -> np.ndarray:
    """(p, rows) change of the chart parameters per displacement along the residuals, by normal equations where the
    points are many (their error, 1e-10, does not matter to an uncertainty)."""
    rows = fit.n_used
    if rows <= _WHOLE or type(fit).__name__ != "Fit" or fit._evidence.axis_fixed:
        return np.asarray(fit.sensitivities)
    _, jacobian, _ = fit.design()
    scale = np.linalg.norm(jacobian, axis=0)
    scaled = jacobian / np.where(scale > 0.0, scale, 1.0)
    weighted = scaled * fit._row_weights(len(jacobian))[:, None] if fit._evidence.weights.size else scaled
    middle = weighted.T @ scaled
    return np.asarray(-np.linalg.solve(middle, weighted.T) / np.where(scale > 0.0, scale, 1.0)[:, None])


def _surface(fit: Any) -> Any:
    """The feature along which distances are taken: the one the points lie on."""
    return fit.associated


def _compensation(fit: Any, p: int) -> np.ndarray:
    """What the compensation of the tip does to the chart: the radius of a cone changes with its angle."""
    turn = np.eye(p)
    if fit.kind == "cone" and "tip_offset" in fit.settings:
        angle = float(fit.associated.parameters["half_angle"])
        chart = list(fit.feature.chart)
        turn[chart.index("radius"), chart.index("half_angle")] = (
            float(fit.settings["tip_offset"]) * math.sin(angle) / math.cos(angle) ** 2
        )
    return turn
