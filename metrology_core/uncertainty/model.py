"""`Model`: a measurement model with the joint distribution of its inputs; what the GUM and Monte Carlo both start from.

Inputs are independent unless said otherwise: by correlation coefficients, by joint distributions (simultaneous
readings, a covariance matrix), or because two `Measured` inputs share an influence. Internally every model has *base
quantities*, each a stream of its own: the inputs themselves, and for a `Measured` input its influences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.uncertainty.distributions import (
    ArcSine,
    Constant,
    CurvilinearTrapezoidal,
    Distribution,
    Normal,
    Rectangular,
    StudentT,
    Triangular,
)


@dataclass(frozen=True, eq=False)
class Input:
    """An input quantity: its distribution and what a budget says about it.

    ``dof`` overrides the degrees of freedom of the distribution (a rectangular half width known to 25 % has 8,
    JCGM 100 G.4.2); ``id`` is the influence id that other results share (default: the name).
    """

    distribution: Distribution
    label: str = ""
    unit: str = "1"
    dof: float | None = None
    kind: Literal["A", "B"] | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if self.dof is not None and not self.dof > 0.0:
            raise ParameterError("degrees of freedom must be positive", got=repr(self.dof))

    @property
    def estimate(self) -> float:
        return self.distribution.mean

    @property
    def u(self) -> float:
        return self.distribution.standard_uncertainty

    @property
    def degrees(self) -> float:
        return self.distribution.dof if self.dof is None else self.dof

    @property
    def evaluation(self) -> Literal["A", "B"]:
        return self.kind or self.distribution.evaluation


@dataclass(frozen=True, eq=False)
class Joint:
    """Several inputs with one joint distribution: normal, or t with ``dof`` (JCGM 102 5.3).

    ``matrix`` is the covariance of the normal, the scale matrix of the t; ``gum_covariance`` and ``gum_dof`` are what
    the law of propagation takes.
    """

    names: tuple[str, ...]
    values: np.ndarray
    matrix: np.ndarray
    dof: float
    gum_covariance: np.ndarray
    gum_dof: float
    kind: Literal["A", "B"] = "B"

    @classmethod
    def normal(cls, values: Mapping[str, float], covariance: Any, *, dof: float = math.inf) -> Joint:
        """Estimates with their covariance matrix; ``dof`` of the estimate of the matrix, for the GUM only."""
        matrix = np.array(covariance, dtype=np.float64)
        n = len(values)
        if matrix.shape != (n, n) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-9):
            raise ParameterError("a covariance matrix is symmetric and finite", expected=f"shape ({n}, {n})")
        at = np.array(list(values.values()), dtype=np.float64)
        return cls(tuple(values), at, matrix, math.inf, matrix, dof)

    @classmethod
    def t(cls, values: Mapping[str, float], scale: Any, dof: float, *, gum_dof: float | None = None) -> Joint:
        """Multivariate t with scale matrix ``scale`` (JCGM 102 5.3.2)."""
        base = cls.normal(values, scale)
        return cls(base.names, base.values, base.matrix, dof, base.matrix, dof if gum_dof is None else gum_dof)

    @classmethod
    def readings(cls, columns: Mapping[str, Sequence[float]]) -> Joint:
        """Simultaneous readings of several quantities (JCGM 100 5.2.3 and H.2): means and their covariance, n - 1
        degrees of freedom for the GUM; for Monte Carlo the t of JCGM 102 5.3.2 with n - N (N quantities)."""
        data = np.array([list(column) for column in columns.values()], dtype=np.float64)
        count, n = data.shape
        if n < 2:
            raise ParameterError("a covariance of type A needs at least two simultaneous readings", got=f"{n}")
        means = data.mean(axis=1)
        centred = data - means[:, None]
        products = centred @ centred.T
        nu = n - count
        scale = products / (max(nu, 1) * n)
        return cls(tuple(columns), means, scale, float(max(nu, 1)), products / ((n - 1) * n), float(n - 1), "A")


@dataclass(frozen=True, eq=False)
class Block:
    """Correlated base quantities: their places, the factor of their covariance, how they are drawn.

    ``factor`` (k, r) for the law of propagation. Monte Carlo: ``normal_factor`` (k, k) of the normal scores, and
    ``chi_dof`` of a common chi-square divisor (infinite: none); ``copula`` says that the scores are turned into each
    input's own distribution.
    """

    places: np.ndarray
    factor: np.ndarray
    normal_factor: np.ndarray
    chi_dof: float
    copula: bool
    gum_dof: float | None
    id: str


@dataclass(frozen=True, eq=False)
class Model:
    """A measurement model ``function(**inputs)`` and its inputs.

    Parameters: ``function`` takes every input by name, as one number or as an array of trials, and returns one output,
    a tuple, or a mapping of outputs; a Numba function of the inputs in order is compiled into the loop of trials.
    ``inputs`` maps names to a `Distribution`, an `Input`, a `Measured`, or a plain number (exact). ``correlations``
    maps pairs of names to product-moment correlation coefficients; inputs that are not normal are then joined by the
    normal copula that has these coefficients. ``joints`` adds inputs with a joint distribution.

    Raises `ParameterError` for a matrix of correlations that is not positive semi-definite, unknown names, or a
    `Measured` in ``correlations`` (its correlations are its shared influences).
    """

    function: Callable[..., Any]
    inputs: Mapping[str, Any]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    joints: Sequence[Joint] = ()
    outputs: Sequence[str] | None = None
    base: dict[str, Input] = field(init=False, default_factory=dict)
    blocks: list[Block] = field(init=False, default_factory=list)
    _affine: dict[str, tuple[float, dict[str, float]]] = field(init=False, default_factory=dict)
    _order: list[str] = field(init=False, default_factory=list)
    _influences: dict[str, Influence] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name, given in self.inputs.items():
            self._order.append(name)
            if isinstance(given, Measured):
                self._take_measured(name, given)
                continue
            row = given if isinstance(given, Input) else None
            if row is None and isinstance(given, Distribution):
                row = Input(given)
            if row is None and isinstance(given, (int, float, np.number)) and not isinstance(given, bool):
                row = Input(Constant(float(given)))
            if row is None:
                raise ParameterError(
                    f"input {name!r} is not a quantity",
                    expected="a Distribution, an Input, a Measured or a number",
                    got=type(given).__name__,
                )
            self._add(name, row)
        for joint in self.joints:
            self._take_joint(joint)
        self._take_correlations()
        if not self.base:
            raise ParameterError("a model needs at least one input")

    def _add(self, name: str, row: Input) -> None:
        if name in self.base:
            raise ParameterError(f"the name {name!r} stands for two inputs")
        self.base[name] = row

    def _take_measured(self, name: str, given: Measured) -> None:
        if given.samples is not None and not given.contributions and given.samples.size:
            raise ParameterError(
                f"input {name!r} has samples only", remedy="draw its causes again, or give it contributions"
            )
        self._affine[name] = (given.value, dict(given.contributions))
        for key, row in given.influences.items():
            known = self._influences.setdefault(key, row)
            if known != row:
                raise ParameterError(f"influence id {key!r} names two different causes")
            if key not in self.base:
                self._add(key, Input(standardised(row), row.label, "1", row.dof, row.kind, key))

    def _take_joint(self, joint: Joint) -> None:
        places = []
        for i, name in enumerate(joint.names):
            spread = math.sqrt(max(joint.gum_covariance[i, i], 0.0))
            shape: Distribution = Constant(float(joint.values[i]))
            if spread > 0.0:
                shape = Normal(float(joint.values[i]), spread)
            self._order.append(name)
            self._add(name, Input(shape, dof=joint.gum_dof, kind=joint.kind))
            places.append(len(self.base) - 1)
        dof = None if math.isinf(joint.gum_dof) else joint.gum_dof
        self.blocks.append(
            Block(
                np.array(places),
                factor_of(joint.gum_covariance, "of joint inputs"),
                factor_of(joint.matrix, "of joint inputs"),
                joint.dof,
                False,
                dof,
                "joint/" + "+".join(joint.names),
            )
        )

    def _take_correlations(self) -> None:
        taken = {int(p) for block in self.blocks for p in block.places}
        names = list(self.base)
        place = {name: i for i, name in enumerate(names)}
        links: dict[str, set[str]] = {}
        values: dict[frozenset[str], float] = {}
        for (a, b), r in self.correlations.items():
            for name in (a, b):
                if name not in place or name in self._influences:
                    raise ParameterError(
                        f"correlation with {name!r}, which is not an input with a distribution",
                        remedy="correlations of measured values are their shared influences",
                    )
                if place[name] in taken:
                    raise ParameterError(f"input {name!r} already belongs to a joint distribution")
            if a == b or not -1.0 <= r <= 1.0:
                raise ParameterError(f"correlation of {a!r} and {b!r}", expected="between -1 and 1", got=repr(r))
            if r != 0.0:
                key = frozenset((a, b))
                if values.setdefault(key, float(r)) != float(r):
                    raise ParameterError(f"two correlations are given for {a!r} and {b!r}")
                links.setdefault(a, set()).add(b)
                links.setdefault(b, set()).add(a)
        seen: set[str] = set()
        for name in names:
            if name not in links or name in seen:
                continue
            group, waiting = [], [name]
            while waiting:
                one = waiting.pop()
                if one not in seen:
                    seen.add(one)
                    group.append(one)
                    waiting += links[one]
            group.sort(key=place.__getitem__)
            self.blocks.append(self._correlated(group, values, place))

    def _correlated(self, group: list[str], values: dict[frozenset[str], float], place: dict[str, int]) -> Block:
        from metrology_core.uncertainty.copula import normal_scores_correlation

        n = len(group)
        r, scores = np.eye(n), np.eye(n)
        for i in range(n):
            for j in range(i):
                value = values.get(frozenset((group[i], group[j])), 0.0)
                r[i, j] = r[j, i] = value
                pair = self.base[group[i]].distribution, self.base[group[j]].distribution
                scores[i, j] = scores[j, i] = normal_scores_correlation(*pair, value)
        u = np.array([self.base[name].u for name in group])
        degrees = {self.base[name].degrees for name in group}
        one_ensemble = degrees.pop() if len(degrees) == 1 else None
        normal = all(isinstance(self.base[name].distribution, Normal) for name in group)
        factor = factor_of(r, "of the correlated inputs " + ", ".join(group)) * u[:, None]
        scores_factor = factor_of(scores, "of the copula of " + ", ".join(group))
        if normal:
            scores_factor = scores_factor * u[:, None]
        dof = None if one_ensemble is None or math.isinf(one_ensemble) else one_ensemble
        places = np.array([place[name] for name in group])
        return Block(places, factor, scores_factor, math.inf, not normal, dof, "correlated/" + "+".join(group))

    # --- what the methods need
    @property
    def names(self) -> list[str]:
        """Names of the base quantities, in order."""
        return list(self.base)

    def estimates(self) -> dict[str, float]:
        return {name: row.estimate for name, row in self.base.items()}

    def at_base(self, **base: Any) -> Any:
        """The model as a function of its base quantities."""
        function = self.function
        if hasattr(function, "py_func"):
            from metrology_core.uncertainty.derivatives import differentiable
            from metrology_core.uncertainty.taylor import Taylor

            if any(isinstance(value, Taylor) for value in base.values()):
                function = differentiable(function)
        return function(**self.arguments(base))

    def arguments(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of ``function`` from the base quantities (numbers, series or arrays of trials)."""
        given: dict[str, Any] = {}
        for name in self._order:
            if name in self._affine:
                value, parts = self._affine[name]
                total: Any = value
                for key, part in parts.items():
                    total = total + part * base[key]
                given[name] = total
            else:
                given[name] = base[name]
        return given

    def output_names(self, count: int) -> list[str]:
        if self.outputs is not None:
            if len(self.outputs) != count:
                raise ParameterError("the model returns another number of outputs", got=f"{count}")
            return list(self.outputs)
        result = self.function(**dict(self.arguments(self.estimates()).items()))
        if isinstance(result, Mapping):
            return [str(key) for key in result]
        return ["y"] if count == 1 else [f"y{i + 1}" for i in range(count)]

    def directions(self) -> tuple[np.ndarray, list[tuple[str, int | None]]]:
        """(n, d) whitened directions (independent, standard uncertainty 1 each) and what each stands for: (name of
        the input, its place), or (id of the block, None)."""
        n = len(self.base)
        columns: list[np.ndarray] = []
        rows: list[tuple[str, int | None]] = []
        blocked = {int(p): block for block in self.blocks for p in block.places}
        done: set[str] = set()
        for i, (name, row) in enumerate(self.base.items()):
            block = blocked.get(i)
            if block is None:
                if row.u > 0.0:
                    one = np.zeros(n)
                    one[i] = row.u
                    columns.append(one)
                    rows.append((name, i))
            elif block.id not in done:
                done.add(block.id)
                for column in block.factor.T:
                    if np.any(column):
                        wide = np.zeros(n)
                        wide[block.places] = column
                        columns.append(wide)
                        rows.append((block.id, None))
        return (np.array(columns).T if columns else np.zeros((n, 0))), rows

    def covariance(self) -> np.ndarray:
        """(n, n) covariance matrix of the base quantities for the law of propagation."""
        matrix = np.diag([row.u**2 for row in self.base.values()])
        for block in self.blocks:
            matrix[np.ix_(block.places, block.places)] = block.factor @ block.factor.T
        return matrix

    # --- the two evaluations
    def gum(self, **options: Any) -> Any:
        """The law of propagation of uncertainty: see `metrology_core.uncertainty.gum.propagate_model`."""
        from metrology_core.uncertainty.gum import propagate_model

        return propagate_model(self, **options)

    def monte_carlo(self, **options: Any) -> Any:
        """The propagation of distributions: see `metrology_core.uncertainty.montecarlo.monte_carlo`."""
        from metrology_core.uncertainty.montecarlo import monte_carlo

        return monte_carlo(self, **options)


def standardised(row: Influence) -> Distribution:
    """The distribution of an influence in units of its own standard uncertainty."""
    name = row.distribution
    if name == "rectangular":
        return Rectangular.centred(0.0, math.sqrt(3.0))
    if name == "triangular":
        return Triangular(-math.sqrt(6.0), math.sqrt(6.0))
    if name in ("arcsine", "u-shaped"):
        return ArcSine.centred(0.0, math.sqrt(2.0))
    if name == "curvilinear":
        return CurvilinearTrapezoidal.centred(0.0, math.sqrt(3.0 * 0.97), 0.3)
    if math.isfinite(row.dof):
        return StudentT(0.0, row.dof, scale=1.0, kind=row.kind)
    return Normal(0.0, 1.0)


def factor_of(matrix: np.ndarray, what: str) -> np.ndarray:
    """Lower triangular F with ``F F' = matrix`` for a positive semi-definite matrix (zero columns where singular)."""
    a = np.array(matrix, dtype=np.float64)
    scale = np.sqrt(np.clip(np.diag(a), 0.0, None))
    safe = np.where(scale > 0.0, scale, 1.0)
    r = a / np.outer(safe, safe)
    if len(r) and np.linalg.eigvalsh(r).min() < -1e-9 * len(r):
        raise ParameterError(
            f"the correlation matrix {what} is not positive semi-definite",
            got=f"smallest eigenvalue {np.linalg.eigvalsh(r).min():.3g}",
            remedy="no set of quantities can have these correlations; check them",
        )
    n = len(r)
    out = np.zeros((n, n))
    for j in range(n):
        pivot = r[j, j] - out[j, :j] @ out[j, :j]
        if pivot > 1e-13:
            out[j, j] = math.sqrt(pivot)
            out[j + 1 :, j] = (r[j + 1 :, j] - out[j + 1 :, :j] @ out[j, :j]) / out[j, j]
    return out * scale[:, None]
