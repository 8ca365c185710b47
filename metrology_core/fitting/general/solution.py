"""What the solvers return, and the second derivatives that they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from metrology_core.fitting.general.rows import Rows

EPS = 2.220446049250313e-16
_STEP = 1e-5  # of central differences of exact gradients, in scaled coordinates: error about 1e-10


class Model(Protocol):
    """Residual rows over a manifold: see `FeatureModel`, `GroupModel`, `PatternModel`."""

    start: Any

    @property
    def size(self) -> int:
        """Number of free coordinates."""

    def rows(self, state: Any) -> Rows:
        """Rows at a state, derivatives along the free coordinates."""

    def move(self, state: Any, step: np.ndarray) -> Any:
        """The state displaced along the free coordinates."""

    def root_weights(self) -> np.ndarray | None:
        """(n,) square roots of the weights, None for all one."""


@dataclass(eq=False)
class Solution:
    """An answer in scaled coordinates.

    active: rows of the points that carry a multiplier; signs their sides; multipliers (a, k) or (a,); hessian (q, q)
    of the Lagrangian; residual: of the optimality condition, relative; unique: whether the second-order condition
    holds strictly. status: converged, not_converged, degenerate, exact.
    """

    state: Any
    status: str
    objective: float
    residual: float
    iterations: int
    step: float
    active: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    signs: np.ndarray = field(default_factory=lambda: np.empty(0))
    multipliers: np.ndarray = field(default_factory=lambda: np.empty(0))
    hessian: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    unique: bool = True
    reason: str = ""
    gap: float = float("inf")
    h: float = 0.0
    starts: int = 1
    ties: int = 0
    alternatives: list[Any] = field(default_factory=list)


def curvature(model: Model, state: Any, factors: np.ndarray) -> np.ndarray:
    """(q, q) second derivatives of sum factors * c with the factors (k, n) held, by differences of the gradient.

    The chart moves with the state; the terms this adds are multiples of the gradient of the Lagrangian: zero at the
    solution.
    """
    q = model.size
    result = np.empty((q, q))
    used = np.flatnonzero(np.abs(factors).max(axis=0) > 0.0)
    subset = _Subset(model, used) if len(used) < 0.5 * factors.shape[1] else None
    for a in range(q):
        step = np.zeros(q)
        step[a] = _STEP
        ends = []
        for sign in (1.0, -1.0):
            moved = model.move(state, sign * step)
            if subset is not None:
                ends.append(np.einsum("kn,knq->q", factors[:, used], subset.rows(moved)))
            else:
                ends.append(np.einsum("kn,knq->q", factors, model.rows(moved).j))
        result[a] = (ends[0] - ends[1]) / (2.0 * _STEP)
    return 0.5 * (result + result.T)


class _Subset:
    """Derivatives of some of the points."""

    def __init__(self, model: Any, index: np.ndarray) -> None:
        self.model = model
        self.index = index

    def rows(self, state: Any) -> np.ndarray:
        part = getattr(self.model, "part", None)
        if part is None:
            return np.asarray(self.model.rows(state).j[:, self.index])
        return np.asarray(part(state, self.index).j)


def reference(model: Any, state: Any) -> float:
    """Length whose rounding limits distances, in scaled coordinates: the extent of the data, or the feature."""
    size = 1.0
    for feature in state if isinstance(state, tuple) else (state,):
        for name, value in feature.parameters.items():
            if name in ("point", "center"):
                size = max(size, float(np.abs(value).max()))
            elif np.ndim(value) == 0 and name != "half_angle":
                size = max(size, abs(float(value)))
    return size
