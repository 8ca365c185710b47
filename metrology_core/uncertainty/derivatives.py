"""Gradient, second and third derivatives of a measurement model: by Taylor series, or by complex steps.

A *model* is a function ``model(**inputs)`` (each input one number or an array of trials) that returns one output, a
tuple or list of outputs, a mapping of outputs, or an array whose first axis counts the outputs.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.taylor import Taylor

Method = Literal["taylor", "complex_step"]
_TINY = 1e-150
"""Relative complex step: its square, the error of the method, does not exist in double precision."""


@dataclass(frozen=True, eq=False)
class Expansion:
    """A model expanded about its estimates along the columns of a (n, d) matrix of directions.

    ``value`` (m,), ``first`` (m, d); where asked for, ``second`` (m, d, d) and ``third`` (m, d, d) with
    ``third[k, a, b]`` the derivative once along a and twice along b.
    """

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray | None = None
    third: np.ndarray | None = None


def outputs_of(result: Any) -> list[Any]:
    """The outputs of one evaluation as a list."""
    if isinstance(result, Mapping):
        return list(result.values())
    if isinstance(result, (tuple, list)):
        return list(result)
    if isinstance(result, Taylor):
        return list(result) if result.ndim else [result]
    if isinstance(result, np.ndarray) and result.dtype == object:
        return list(result.ravel()) if result.ndim else [result.item()]
    return [result]


class _MathOfSeries:
    """Stands for the module ``math`` in a compiled model that is differentiated as plain Python."""

    pi, e, inf, nan, tau = math.pi, math.e, math.inf, math.nan, math.tau

    def __getattr__(self, name: str) -> Any:
        from metrology_core.uncertainty.taylor import UFUNCS

        names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "pow": "power"}
        names |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "fabs": "absolute"}
        rule = UFUNCS.get(names.get(name, name))
        plain = getattr(math, name)
        if rule is None:
            return plain
        return lambda *args: rule(*args) if any(isinstance(a, Taylor) for a in args) else plain(*args)


def differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function to trace: a Numba function is traced as the Python it was written in."""
    plain = getattr(function, "py_func", None)
    if plain is None:
        return function
    scope = {
        key: _MathOfSeries() if value is math else differentiable(value) if hasattr(value, "py_func") else value
        for key, value in plain.__globals__.items()
    }
    return types.FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__, plain.__closure__)


def _collect(outputs: list[Any], shape: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (m,) and terms (m, order, d) of scalar outputs; an output that no input reaches has zero derivatives."""
    values, terms = [], []
    for y in outputs:
        if isinstance(y, Taylor):
            if y.size != 1:
                raise ParameterError("each output of a model must be one number per trial", got=f"shape {y.shape}")
            values.append(float(y.value.reshape(())))
            terms.append([np.broadcast_to(t, (*y.shape, shape)).reshape(shape) for t in y.terms])
        else:
            if np.size(y) != 1:
                raise ParameterError("each output of a model must be one number per trial", got=f"shape {np.shape(y)}")
            values.append(float(np.real(np.asarray(y).reshape(()))))
            terms.append([np.zeros(shape)] * order)
    return np.array(values), np.array(terms).reshape(len(values), order, shape)


def _trace(
    model: Callable[..., Any], at: Mapping[str, float], directions: np.ndarray, order: int
) -> tuple[np.ndarray, np.ndarray]:
    given = {
        name: Taylor.variable(value, directions[i], order) if np.any(directions[i]) else np.float64(value)
        for i, (name, value) in enumerate(at.items())
    }
    with np.errstate(all="ignore"):
        return _collect(outputs_of(model(**given)), directions.shape[1], order)


def _complex(model: Callable[..., Any], at: Mapping[str, float], directions: np.ndarray) -> np.ndarray:
    columns = []
    for d in range(directions.shape[1]):
        given = {name: complex(value, _TINY * directions[i, d]) for i, (name, value) in enumerate(at.items())}
        columns.append([float(np.imag(y)) / _TINY for y in outputs_of(model(**given))])
    return np.array(columns).T


def expand(
    model: Callable[..., Any],
    at: Mapping[str, float],
    directions: np.ndarray | None = None,
    *,
    second: bool = False,
    method: Method = "taylor",
) -> Expansion:
    """Expand ``model`` about ``at`` along ``directions`` (n, d), default the coordinate directions.

    ``second`` adds the second derivatives and the third ones that the GUM's higher-order terms need; they come from
    series of order 3 along sums and differences of two directions (polarisation), hence without any step.
    ``method="complex_step"`` gives first derivatives of models that Taylor series cannot enter, if they are analytic
    and accept complex numbers. Raises `ParameterError` where the model has no finite value or derivative at ``at``.
    """
    n = len(at)
    directions = np.eye(n) if directions is None else np.asarray(directions, dtype=np.float64)
    d = directions.shape[1]
    traced = differentiable(model)
    if method == "complex_step":
        if second:
            raise ParameterError("complex steps give first derivatives only", remedy="use method='taylor'")
        given = {name: np.float64(value) for name, value in at.items()}
        value = np.array([float(np.real(y)) for y in outputs_of(model(**given))])
        return _checked(Expansion(value, _complex(model, at, directions)), at)
    value, terms = _trace(traced, at, directions, 3 if second else 1)
    first = terms[:, 0, :]
    if not second:
        return _checked(Expansion(value, first), at)
    pairs = [(a, b) for a in range(d) for b in range(d) if a < b]
    hessian = np.zeros((len(value), d, d))
    third = np.zeros((len(value), d, d))
    own2, own3 = 2.0 * terms[:, 1, :], 6.0 * terms[:, 2, :]
    for a in range(d):
        hessian[:, a, a], third[:, a, a] = own2[:, a], own3[:, a]
    if pairs:
        left = directions[:, [a for a, _ in pairs]]
        right = directions[:, [b for _, b in pairs]]
        _, plus = _trace(traced, at, left + right, 3)
        _, minus = _trace(traced, at, right - left, 3)
        mixed = 2.0 * (plus[:, 1, :] - minus[:, 1, :]) / 4.0
        odd = 6.0 * (plus[:, 2, :] - minus[:, 2, :])
        even = 6.0 * (plus[:, 2, :] + minus[:, 2, :])
        for k, (a, b) in enumerate(pairs):
            hessian[:, a, b] = hessian[:, b, a] = mixed[:, k]
            third[:, a, b] = (odd[:, k] - 2.0 * own3[:, a]) / 6.0  # once along a, twice along b
            third[:, b, a] = (even[:, k] - 2.0 * own3[:, b]) / 6.0
    return _checked(Expansion(value, first, hessian, third), at)


def _checked(found: Expansion, at: Mapping[str, float]) -> Expansion:
    if not np.isfinite(found.value).all():
        raise ParameterError("the model has no finite value at the estimates", got=f"{found.value.tolist()}")
    for table in (found.first, found.second, found.third):
        if table is not None and not np.isfinite(table).all():
            raise ParameterError(
                "the model has no derivative at the estimates",
                where=", ".join(f"{name}={value:g}" for name, value in list(at.items())[:6]),
                remedy="the linear law does not apply there; use Monte Carlo",
            )
    return found


def gradient_of(model: Callable[..., Any], at: Mapping[str, float], method: Method = "taylor") -> np.ndarray:
    """(m, n) sensitivities of the outputs of ``model`` to its inputs at ``at``."""
    return expand(model, at, method=method).first
