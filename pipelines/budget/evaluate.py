"""From a budget file to its result: GUM and Monte Carlo side by side, with the validation of one by the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core._version import __version__
from metrology_core.errors import ParameterError
from pipelines.budget.expression import CONSTANTS
from pipelines.budget.load import LoadedBudget
from pipelines.budget.models import Budget, InputSpec
from pipelines.budget.values import WIDTHS, number

if TYPE_CHECKING:
    from metrology_core.uncertainty.distributions import Distribution
    from metrology_core.uncertainty.gum import GumResult
    from metrology_core.uncertainty.model import Model
    from metrology_core.uncertainty.montecarlo import MonteCarloResult, Validation


@dataclass(frozen=True, eq=False)
class BudgetResult:
    """Everything that is shown or written of one evaluation. ``validations`` by output: a `Validation`, or the reason
    why there is none. ``gum_failure`` says why the linear law does not apply, where it does not."""

    loaded: LoadedBudget
    model: Model
    gum: GumResult | None
    gum_failure: str | None
    drawn: MonteCarloResult
    validations: dict[str, Validation | str]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form (schema ``abbe/budget-result/1``)."""
        spec = self.loaded.budget
        p = spec.coverage.p
        outputs = []
        for k, name in enumerate(spec.model):
            out = spec.outputs.get(name)
            low, high = self.drawn.interval(k)
            e_mean, e_u = self.drawn.standard_error(k)
            verdict = self.validations[name]
            outputs.append(
                {
                    "name": name,
                    "label": out.label if out else None,
                    "unit": out.unit if out else None,
                    "gum": None if self.gum is None else _gum(self.gum[name], p),
                    "monte_carlo": {
                        "value": float(self.drawn.mean[k]),
                        "standard_uncertainty": float(self.drawn.u[k]),
                        "interval": [low, high],
                        "interval_kind": spec.coverage.interval,
                        "standard_error_of_value": e_mean,
                        "standard_error_of_uncertainty": e_u,
                    },
                    "validation": verdict if isinstance(verdict, str) else verdict.to_dict(),
                }
            )
        vector: dict[str, Any] | None = None
        if len(outputs) > 1:
            vector = {
                "gum_correlation": None if self.gum is None else self.gum.correlation.tolist(),
                "gum_factor_ellipsoid": None if self.gum is None else self.gum.factor(p),
                "gum_factor_box": None if self.gum is None else self.gum.box_factor(p),
                "monte_carlo_correlation": self.drawn.correlation.tolist(),
                "monte_carlo_covariance": self.drawn.covariance.tolist(),
                "region": self._region(),
            }
        return {
            "schema": "abbe/budget-result/1",
            "version": __version__,
            "title": spec.title,
            "p": p,
            "model": dict(spec.model),
            "where": dict(spec.where),
            "inputs": {name: row.distribution.describe() for name, row in self.model.base.items()},
            "trials": self.drawn.trials,
            "adaptive": self.drawn.adaptive,
            "converged": self.drawn.converged,
            "seed": self.drawn.seed,
            "flags": list(self.drawn.flags),
            "gum_failure": self.gum_failure,
            "outputs": outputs,
            "vector": vector,
        }

    def _region(self) -> dict[str, Any] | str:
        spec = self.loaded.budget
        try:
            region = self.drawn.region(kind=spec.coverage.region)
        except ParameterError as error:
            return str(error)
        return {
            "kind": region.kind,
            "p": region.p,
            "k": None if math.isnan(region.k) else region.k,
            "centre": region.centre.tolist(),
            "standard_uncertainties": region.u.tolist(),
            "volume": region.volume,
            "half_axes": None if region.axes is None else region.axes.T.tolist(),
        }


def _gum(row: Any, p: float) -> dict[str, Any]:
    low, high = row.interval(p)
    return {
        "value": row.value,
        "standard_uncertainty": row.u,
        "standard_uncertainty_first_order": row.u_first,
        "bias_second_order": row.bias,
        "dof": None if math.isinf(row.dof) else row.dof,
        "coverage_factor": row.coverage_factor(p),
        "expanded_uncertainty": row.expanded(p),
        "interval": [low, high],
        "share_nonlinear": row.share_nonlinear,
        "budget": [line.to_dict() for line in row.lines],
    }


def model_of(loaded: LoadedBudget) -> Model:
    """The measurement model of a budget file; raises `ParameterError` for numbers that make no distribution."""
    from metrology_core.uncertainty.model import Input, Joint, Model

    spec = loaded.budget
    inputs: dict[str, Any] = {}
    for name, row in spec.inputs.items():
        if row.together is not None:
            continue
        try:
            made = distribution_of(row)
        except ParameterError as error:
            error.where = f"inputs.{name}"
            if row.u in (0, 0.0) and error.remedy is None:
                error.remedy = f"an exact number is written {name}: {row.value}"
            raise
        dof = row.dof if row.distribution not in ("t", "readings") else None
        inputs[name] = Input(made, row.label or "", row.unit or "1", dof, row.type, name)
    correlations = {(row.between[0], row.between[1]): row.r for row in spec.correlations}
    joints = [Joint.readings(columns) for columns in readings_together(spec).values()]
    return Model(_function(loaded), inputs, correlations, joints, tuple(spec.model))


def readings_together(budget: Budget) -> dict[str, dict[str, list[float]]]:
    """Simultaneous readings by group and input."""
    together: dict[str, dict[str, list[float]]] = {}
    for name, row in budget.inputs.items():
        if row.together is not None:
            together.setdefault(row.together, {})[name] = [number(v, row.unit) for v in row.readings or []]
    return together


def _function(loaded: LoadedBudget) -> Callable[..., Any]:
    where, model = loaded.where, loaded.model

    def function(**values: Any) -> tuple[Any, ...]:
        known = {**CONSTANTS, **values}
        for name, expression in where.items():
            known[name] = expression(known)
        return tuple(expression(known) for expression in model.values())

    return function


def distribution_of(spec: InputSpec) -> Distribution:
    """The distribution that an input states."""
    from metrology_core.uncertainty import distributions as d

    def get(key: str) -> float:
        return number(getattr(spec, key), spec.unit, width_of=spec.value, width=key in WIDTHS)

    def limits(halves: float = 1.0) -> tuple[float, float]:
        """Limits as given, or from the half width, which is ``halves`` standard uncertainties."""
        if spec.low is not None:
            return get("low"), get("high")
        half = halves * get("u") if spec.u is not None else get("half_width")
        return get("value") - half, get("value") + half

    kind = spec.distribution
    if kind == "constant":
        return d.Constant(get("value"))
    if kind == "normal":
        if spec.u is not None:
            return d.Normal(get("value"), get("u"))
        return d.Normal.from_expanded(get("value"), get("expanded"), k=spec.k, p=spec.p)
    if kind == "rectangular":
        return d.Rectangular(*limits(math.sqrt(3.0)))
    if kind == "triangular":
        return d.Triangular(*limits(math.sqrt(6.0)))
    if kind == "arcsine":
        return d.ArcSine(*limits(math.sqrt(2.0)))
    if kind == "trapezoidal":
        return d.Trapezoidal(*limits(), float(spec.beta or 0.0))
    if kind == "curvilinear":
        return d.CurvilinearTrapezoidal(*limits(), get("d"))
    if kind == "t":
        dof = float(spec.dof or 0.0)
        evaluation = spec.type or "B"
        if spec.scale is not None:
            return d.StudentT(get("value"), dof, scale=get("scale"), kind=evaluation)
        return d.StudentT(get("value"), dof, sd=get("sd"), kind=evaluation)
    if kind == "readings":
        return d.readings([number(v, spec.unit) for v in spec.readings or []])
    if kind == "exponential":
        return d.Exponential(get("mean"))
    if kind == "gamma":
        if spec.u is not None:  # expectation and standard deviation
            mean, u = _positive(get("value"), get("u"))
            return d.Gamma((mean / u) ** 2, u * u / mean)
        return d.Gamma(float(spec.shape or 0.0), get("scale"))
    if kind == "counting":
        return d.Gamma.counting(float(spec.count or 0.0))
    if kind == "beta":
        if spec.low is None:
            return d.Beta(float(spec.a or 0.0), float(spec.b or 0.0))
        return d.Beta(float(spec.a or 0.0), float(spec.b or 0.0), *limits())
    if kind == "lognormal":
        if spec.u is not None:  # expectation and standard deviation
            mean, u = _positive(get("value"), get("u"))
            s2 = math.log1p((u / mean) ** 2)
            return d.Lognormal(mean * math.exp(-0.5 * s2), math.sqrt(s2))
        return d.Lognormal(get("median"), float(spec.s or 0.0))
    return d.Weibull(float(spec.shape or 0.0), get("scale"))


def _positive(mean: float, u: float) -> tuple[float, float]:
    if not (mean > 0.0 and u > 0.0):
        raise ParameterError("value and u of a positive quantity must be positive", got=f"value {mean:g}, u {u:g}")
    return mean, u


def evaluate(loaded: LoadedBudget) -> BudgetResult:
    """Evaluate a budget: law of propagation, Monte Carlo, validation of the first by the second."""
    from metrology_core.uncertainty.gum import propagate_model
    from metrology_core.uncertainty.montecarlo import monte_carlo, validate

    spec = loaded.budget
    model = model_of(loaded)
    gum: GumResult | None = None
    failure: str | None = None
    try:
        gum = propagate_model(model, order=spec.gum.order, moments=spec.gum.moments, truncate=spec.gum.truncate)
    except ParameterError as error:
        if "derivative" not in error.what and "second-order" not in error.what:
            raise
        failure = str(error)
    drawn = monte_carlo(
        model,
        trials=spec.monte_carlo.trials,
        p=spec.coverage.p,
        seed=spec.monte_carlo.seed,
        digits=spec.monte_carlo.digits,
        interval=spec.coverage.interval,
    )
    if not np.isfinite(drawn.covariance).all():
        raise ParameterError(
            "the variance of an output is beyond the range of floating point",
            remedy="state the quantities in units of their size",
        )
    validations: dict[str, Validation | str] = {}
    for name in spec.model:
        if gum is None:
            validations[name] = "not validated: the law of propagation does not apply"
            continue
        try:
            validations[name] = validate(gum, drawn, digits=spec.monte_carlo.digits, output=name)
        except ParameterError as error:
            validations[name] = f"not validated: {error.what}" + (f"; {error.remedy}" if error.remedy else "")
    return BudgetResult(loaded, model, gum, failure, drawn, validations)
