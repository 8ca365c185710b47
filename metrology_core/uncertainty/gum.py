"""The law of propagation of uncertainty (JCGM 100:2008, JCGM 102:2011 clause 6) on a `Model`.

Derivatives are exact (Taylor series). Second-order terms, correlated inputs, Welch-Satterthwaite with and without
truncation, and a budget whose parts can be carried on as influences of a `Measured`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.uncertainty.derivatives import Method, expand
from metrology_core.uncertainty.model import Model


@dataclass(frozen=True)
class Line:
    """One line of a budget: input, estimate, standard uncertainty, sensitivity, contribution ``c u`` (signed).

    ``share`` is the part of the variance that falls to the input, its correlations split evenly (it can be negative;
    all shares and ``nonlinear`` ones sum to 1).
    """

    name: str
    label: str
    unit: str
    estimate: float
    u: float
    distribution: str
    kind: Literal["A", "B"]
    dof: float
    sensitivity: float
    contribution: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "label": self.label,
            "unit": self.unit,
            "estimate": self.estimate,
            "standard_uncertainty": self.u,
            "distribution": self.distribution,
            "type": self.kind,
            "dof": None if math.isinf(self.dof) else self.dof,
            "sensitivity": self.sensitivity,
            "contribution": self.contribution,
            "share": self.share,
        }


@dataclass(frozen=True, eq=False)
class GumOutput:
    """One output under the law of propagation.

    ``u`` is the combined standard uncertainty of the requested order, ``u_first`` that of the linear law;
    ``dof`` the effective degrees of freedom, not truncated; ``bias`` the second-order part of the expectation,
    ``1/2 sum f_ij u_ij`` (only known where second-order terms were asked for, and never added to the value).
    """

    name: str
    value: float
    u: float
    u_first: float
    dof: float
    lines: tuple[Line, ...]
    bias: float | None = None
    truncate: bool = True

    @property
    def share_nonlinear(self) -> float:
        """Part of the variance that comes from second-order terms."""
        return 1.0 - (self.u_first / self.u) ** 2 if self.u > 0.0 else 0.0

    def coverage_factor(self, p: float = 0.95) -> float:
        """t quantile for the effective degrees of freedom: truncated to an integer (JCGM 100 G.4.1) unless the
        evaluation was asked not to."""
        if not 0.0 < p < 1.0:
            raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
        from scipy.special import ndtri, stdtrit

        dof = max(1.0, math.floor(self.dof + 1e-9)) if self.truncate and math.isfinite(self.dof) else self.dof
        return float(ndtri((1.0 + p) / 2.0) if math.isinf(dof) else stdtrit(dof, (1.0 + p) / 2.0))

    def expanded(self, p: float = 0.95) -> float:
        return self.coverage_factor(p) * self.u

    def interval(self, p: float = 0.95) -> tuple[float, float]:
        half = self.expanded(p)
        return self.value - half, self.value + half


@dataclass(frozen=True, eq=False)
class GumResult:
    """All outputs, their covariance matrix, and their parts by influence.

    ``sensitivities`` (m, n) with respect to the base quantities; ``contributions`` maps influence ids to (m,) signed
    parts, whose outer products sum to ``covariance`` (of the linear law).
    """

    outputs: tuple[GumOutput, ...]
    inputs: tuple[str, ...]
    sensitivities: np.ndarray
    covariance: np.ndarray
    contributions: Mapping[str, np.ndarray]
    influences: Mapping[str, Influence]
    order: int

    def __getitem__(self, name: str | int) -> GumOutput:
        if isinstance(name, int):
            return self.outputs[name]
        for row in self.outputs:
            if row.name == name:
                return row
        raise ParameterError(f"there is no output {name!r}", expected=", ".join(row.name for row in self.outputs))

    @property
    def value(self) -> np.ndarray:
        return np.array([row.value for row in self.outputs])

    @property
    def u(self) -> np.ndarray:
        return np.array([row.u for row in self.outputs])

    @property
    def correlation(self) -> np.ndarray:
        spread = np.sqrt(np.diag(self.covariance))
        safe = np.where(spread > 0.0, spread, 1.0)
        r = self.covariance / np.outer(safe, safe)
        np.fill_diagonal(r, 1.0)
        return r

    def measured(self, name: str | int = 0, unit: str = "1") -> Measured:
        """An output as `Measured`: its contributions by influence id, so that further results stay correlated.

        A second-order part becomes an influence of its own.
        """
        row = self[name]
        index = self.outputs.index(row)
        parts = {key: float(part[index]) for key, part in self.contributions.items()}
        rows = dict(self.influences)
        extra = row.u**2 - row.u_first**2
        if extra > 0.0:
            key = f"nonlinear/{row.name}/" + "+".join(sorted(parts))
            rows[key] = Influence(key, f"second-order terms of {row.name}", "B")
            parts[key] = math.sqrt(extra)
        return Measured(row.value, unit, parts, rows)

    def factor(self, p: float = 0.95) -> float:
        """Coverage factor of the ellipsoid of probability ``p`` for a normal output: ``sqrt(chi2_p(m))``
        (JCGM 102 6.5.2)."""
        from scipy.special import chdtri

        return math.sqrt(float(chdtri(len(self.outputs), 1.0 - p)))

    def box_factor(self, p: float = 0.95) -> float:
        """Coverage factor of the box of probability at least ``p`` (Bonferroni, JCGM 102 6.5.3)."""
        from scipy.special import ndtri

        return float(ndtri(1.0 - (1.0 - p) / (2.0 * len(self.outputs))))


def propagate_model(
    model: Model,
    *,
    order: Literal[1, 2] = 1,
    moments: Literal["normal", "actual"] = "normal",
    truncate: bool = True,
    derivatives: Method = "taylor",
) -> GumResult:
    """Propagate the uncertainties of ``model``.

    ``order=2`` adds the terms of JCGM 100 5.1.2 note, ``sum [1/2 f_ij^2 + f_i f_ijj] u_i^2 u_j^2``, in independent
    directions (so they hold for correlated inputs too). They presume normal inputs; ``moments="actual"`` puts the
    skewness and kurtosis of independent inputs in their place. ``truncate`` applies to coverage factors.
    """
    estimates = model.estimates()
    directions, meaning = model.directions()
    found = expand(model.at_base, estimates, method=derivatives)
    names = model.output_names(len(found.value))
    c = found.first
    covariance_in = model.covariance()
    parts = c @ directions
    with np.errstate(over="ignore", invalid="ignore"):  # said below, output by output
        covariance = parts @ parts.T
    extra, bias = np.zeros(len(names)), None
    if order == 2:
        extra, bias = _second_order(model, estimates, directions, meaning, moments, derivatives)
    uncertainty = np.sqrt(np.diag(covariance))
    rows = list(model.base.items())
    outputs = []
    for k, name in enumerate(names):
        total = covariance[k, k] + extra[k]
        if total < 0.0:
            raise ParameterError(
                f"the second-order variance of {name!r} is negative", remedy="the expansion fails here; use Monte Carlo"
            )
        if not math.isfinite(total):
            raise ParameterError(
                f"the variance of {name!r} is beyond the range of floating point",
                got=f"value {found.value[k]:.3g}",
                remedy="state the quantities in units of their size",
            )
        u = math.sqrt(total)
        # what each input adds to the variance: c_i u_i times the sum over its correlations
        pull = c[k] * (covariance_in @ c[k])
        lines = tuple(
            Line(
                key,
                row.label,
                row.unit,
                row.estimate,
                row.u,
                row.distribution.name,
                row.evaluation,
                row.degrees,
                float(c[k, i]),
                float(c[k, i] * row.u),
                float(pull[i] / total) if total > 0.0 else 0.0,
            )
            for i, (key, row) in enumerate(rows)
            if row.u > 0.0
        )
        dof = _effective_dof(model, c[k], pull)
        shift = None if bias is None else float(bias[k])
        outputs.append(GumOutput(name, float(found.value[k]), u, float(uncertainty[k]), dof, lines, shift, truncate))
    contributions, influences = _influences(model, parts, meaning)
    return GumResult(tuple(outputs), tuple(model.base), c, covariance, contributions, influences, order)


def _second_order(
    model: Model,
    estimates: dict[str, float],
    directions: np.ndarray,
    meaning: list[tuple[str, int | None]],
    moments: str,
    derivatives: Method,
) -> tuple[np.ndarray, np.ndarray]:
    bent = expand(model.at_base, estimates, directions, second=True, method=derivatives)
    assert bent.second is not None and bent.third is not None
    f, h, t = bent.first, bent.second, bent.third
    # normal moments: 1/2 f_ab^2 + f_a f_abb
    extra = 0.5 * (h * h).sum(axis=(1, 2)) + np.einsum("ka,kab->k", f, t)
    if moments == "actual":
        rows = list(model.base.values())
        for a, (_, place) in enumerate(meaning):
            if place is None:
                continue
            skew, kurtosis = rows[place].distribution.shape
            if not math.isfinite(kurtosis):
                continue
            own = h[:, a, a]
            extra += ((kurtosis - 1.0) / 4.0 - 0.5) * own**2 + (kurtosis / 3.0 - 1.0) * f[:, a] * t[:, a, a]
            extra += skew * f[:, a] * own
    return extra, 0.5 * np.trace(h, axis1=1, axis2=2)


def _effective_dof(model: Model, c: np.ndarray, pull: np.ndarray) -> float:
    """Welch-Satterthwaite (JCGM 100 G.4.1), with correlated inputs.

    Inputs of one ensemble (simultaneous readings, or correlated inputs with one common number of degrees of freedom)
    count as one component. Other correlated inputs count by the part ``c_i u_i sum_j r_ij c_j u_j`` of the variance
    that their own estimate scales, the derivative of the combined variance by the logarithm of u_i^2 (first-order
    moments; it reduces to G.4.1 without correlation).
    """
    total = float(pull.sum())
    if total <= 0.0:
        return math.inf
    rows = list(model.base.values())
    spread = 0.0
    joined: set[int] = set()
    for block in model.blocks:
        if block.gum_dof is not None:
            joined |= {int(p) for p in block.places}
            spread += (float(pull[block.places].sum()) / total) ** 2 / block.gum_dof
    for i, row in enumerate(rows):
        if i not in joined and math.isfinite(row.degrees):
            spread += (float(pull[i]) / total) ** 2 / row.degrees
    return 1.0 / spread if spread > 0.0 else math.inf


def _influences(
    model: Model, parts: np.ndarray, meaning: list[tuple[str, int | None]]
) -> tuple[dict[str, np.ndarray], dict[str, Influence]]:
    contributions: dict[str, np.ndarray] = {}
    influences: dict[str, Influence] = {}
    blocks = {block.id: block for block in model.blocks}
    counters: dict[str, int] = {}
    for column, (name, place) in zip(parts.T, meaning):
        if place is not None:
            row = model.base[name]
            known = model._influences.get(name)
            key = known.id if known is not None else (row.id or name)
            influences[key] = known or Influence(
                key, row.label or name, row.evaluation, row.degrees, row.distribution.name
            )
        else:
            block = blocks[name]
            number = counters[name] = counters.get(name, -1) + 1
            key = f"{name}/{number}"
            group = name if block.gum_dof is not None else None
            members = ", ".join(model.names[int(p)] for p in block.places)
            kind = model.base[model.names[int(block.places[0])]].evaluation
            influences[key] = Influence(key, f"common to {members}", kind, block.gum_dof or math.inf, group=group)
        contributions[key] = contributions.get(key, np.zeros(len(column))) + column
    return contributions, influences


def propagate_measured(
    function: Any, inputs: Mapping[str, Measured], *, unit: str = "1", order: Literal[1, 2] = 1
) -> Measured:
    """``function(**inputs)`` of measured values as a measured value in ``unit``: shared influences stay shared.

    The function works on the numbers in the units the inputs have. Raises `ParameterError` where it is not
    differentiable at the values.
    """
    result: GumResult = propagate_model(Model(function, inputs), order=order)
    if len(result.outputs) != 1:
        raise ParameterError("the function has more than one output", got=f"{len(result.outputs)}")
    return result.measured(0, unit)
