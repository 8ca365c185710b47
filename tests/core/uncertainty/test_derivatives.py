"""Exact derivatives: against arbitrary-precision differentiation, complex steps, and through NumPy's functions."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.derivatives import expand, gradient_of
from metrology_core.uncertainty.taylor import UFUNCS, Taylor

EPS = np.finfo(float).eps
# where each function is smooth, and its name in mpmath
ONE = {
    "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "cbrt": "cbrt", "sin": "sin",
    "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arcsinh": "asinh", "arctanh": "atanh", "erf": "erf", "erfc": "erfc", "log10": "log10",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ONE))
def test_three_derivatives_of_one_variable(name: str) -> None:
    x = 0.37
    f = UFUNCS[name]
    found = expand(lambda x: f(x) if isinstance(x, Taylor) else 0.0, {"x": x}, second=True)
    with mpmath.workdps(40):
        g = getattr(mpmath, ONE[name])
        expected = [float(mpmath.diff(g, mpmath.mpf(x), k)) for k in (1, 2, 3)]
    got = [found.first[0, 0], found.second[0, 0, 0], found.third[0, 0, 0]]
    # a few operations on numbers of the size of the derivatives themselves
    assert got == pytest.approx(expected, rel=50 * EPS)


def test_arccosh_exp2_log2_and_powers() -> None:
    with mpmath.workdps(40):
        for f, g, x in (
            (np.arccosh, mpmath.acosh, 2.3),
            (np.exp2, lambda t: mpmath.mpf(2) ** t, 0.7),
            (np.log2, lambda t: mpmath.log(t) / mpmath.log(2), 0.7),
            (lambda t: t**3, lambda t: t**3, -1.2),
            (lambda t: t**-2.5, lambda t: t ** mpmath.mpf(-2.5), 1.2),
            (lambda t: 1.7**t, lambda t: mpmath.mpf(1.7) ** t, 1.2),
            (lambda t: t**t, lambda t: t**t, 1.2),
            (abs, abs, -1.2),
            (np.reciprocal, lambda t: 1 / t, 1.3),
        ):
            found = expand(lambda x, f=f: f(x), {"x": x}, second=True)
            expected = [float(mpmath.diff(g, mpmath.mpf(x), k)) for k in (1, 2, 3)]
            got = [found.first[0, 0], found.second[0, 0, 0], found.third[0, 0, 0]]
            assert got == pytest.approx(expected, rel=100 * EPS, abs=1e-25)


def test_mixed_derivatives_of_three_variables() -> None:
    def model(x, y, z):  # type: ignore[no-untyped-def]
        return np.sin(x) * np.exp(y / z) + np.arctan2(y, x) * np.hypot(x, z) + x**y + np.log(z) ** 3 * np.tanh(x * y)

    def precise(x, y, z):  # type: ignore[no-untyped-def]
        m = mpmath
        return m.sin(x) * m.exp(y / z) + m.atan2(y, x) * m.hypot(x, z) + x**y + m.log(z) ** 3 * m.tanh(x * y)

    at = {"x": 0.7, "y": 1.3, "z": 2.1}
    found = expand(model, at, second=True)
    with mpmath.workdps(40):
        point = tuple(mpmath.mpf(v) for v in at.values())

        def d(*which: int) -> float:
            return float(mpmath.diff(precise, point, tuple(which.count(i) for i in range(3))))

        for i in range(3):
            assert found.first[0, i] == pytest.approx(d(i), rel=20 * EPS)
        for i, j in itertools.product(range(3), repeat=2):
            # polarisation subtracts terms a few times larger than their difference
            assert found.second[0, i, j] == pytest.approx(d(i, j), rel=1e-13, abs=1e-13)
            assert found.third[0, i, j] == pytest.approx(d(i, j, j), rel=1e-12, abs=1e-12)


def test_complex_steps_agree_with_series() -> None:
    def model(a, b, c):  # type: ignore[no-untyped-def]
        return a * np.sin(b) / c, np.exp(-a * c) + b**3

    at = {"a": 1.2, "b": 0.4, "c": 3.0}
    series = gradient_of(model, at)
    steps = gradient_of(model, at, "complex_step")
    assert series.shape == (2, 3)
    assert steps == pytest.approx(series, rel=20 * EPS)  # the step of 1e-150 has no truncation error


def test_arrays_matrices_and_solvers_are_differentiated() -> None:
    """A calibration line solved inside the model: the derivative of the solution of a linear system."""
    t = np.array([1.0, 2.0, 4.0, 7.0])

    def model(b0, b1, b2, b3):  # type: ignore[no-untyped-def]
        y = np.stack([b0, b1, b2, b3])
        a = np.stack([np.ones(4), t - t.mean()], axis=1)
        solution = np.linalg.solve(a.T @ a, a.T @ y)
        return solution[0], solution[1]

    at = {"b0": 1.0, "b1": 2.5, "b2": 4.0, "b3": 7.5}
    a = np.column_stack([np.ones(4), t - t.mean()])
    assert gradient_of(model, at) == pytest.approx(np.linalg.pinv(a), rel=1e-13, abs=1e-15)


def test_matrix_inverse_and_reductions() -> None:
    def model(p, q):  # type: ignore[no-untyped-def]
        m = np.stack([np.stack([p, q]), np.stack([q, 3.0 * p])])
        return np.sum(np.linalg.inv(m)), np.linalg.norm(np.stack([p, q])), np.mean(np.concatenate([m[0], m[1]]))

    def sums(p: float, q: float) -> list[float]:
        d = 3 * p * p - q * q
        return [(4 * p - 2 * q) / d, math.hypot(p, q), (4 * p + 2 * q) / 4]

    p, q = 1.7, 0.6
    expected = gradient_of(lambda p, q: tuple(sums_series(p, q)), {"p": p, "q": q})
    assert gradient_of(model, {"p": p, "q": q}) == pytest.approx(expected, rel=1e-13)
    assert sums(p, q) == pytest.approx(expand(model, {"p": p, "q": q}).value, rel=1e-14)


def sums_series(p, q):  # type: ignore[no-untyped-def]
    d = 3 * p * p - q * q
    return [(4 * p - 2 * q) / d, np.sqrt(p * p + q * q), (4 * p + 2 * q) / 4]


def test_branches_follow_the_value() -> None:
    def model(x, y):  # type: ignore[no-untyped-def]
        if x > y:
            return np.where(x > 0, x * y, 0.0) + np.maximum(x, y)
        return y

    assert gradient_of(model, {"x": 2.0, "y": 1.0}) == pytest.approx(np.array([[2.0, 2.0]]))
    assert gradient_of(model, {"x": 1.0, "y": 2.0}) == pytest.approx(np.array([[0.0, 1.0]]))


def test_a_numba_function_is_traced_as_python() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def model(x, y):  # type: ignore[no-untyped-def]
        return math.sin(x) * math.atan2(y, x)

    def plain(x, y):  # type: ignore[no-untyped-def]
        return np.sin(x) * np.arctan2(y, x)

    at = {"x": 0.8, "y": 0.3}
    assert gradient_of(model, at) == pytest.approx(gradient_of(plain, at), rel=1e-15)


def test_what_has_no_derivative_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="no derivative"):
        gradient_of(lambda x: abs(x), {"x": 0.0})
    with pytest.raises(ParameterError, match="no derivative"):
        gradient_of(lambda x, y: np.hypot(x, y), {"x": 0.0, "y": 0.0})
    with pytest.raises(ParameterError, match="logaddexp"):
        gradient_of(lambda x: np.logaddexp(x, 1.0), {"x": 0.0})
    with pytest.raises(TypeError, match="loses its derivative"):
        gradient_of(lambda x: math.sin(x), {"x": 0.3})
    with pytest.raises(ParameterError, match="finite value"):
        gradient_of(lambda x: np.log(x), {"x": 0.0})
