"""Exact derivatives: truncated Taylor series carried through NumPy code (forward-mode automatic differentiation).

A `Taylor` is a value together with its first ``order`` Taylor coefficients along any number of directions at once. It
answers NumPy's ufuncs, the usual reductions and the linear solver, so a measurement model that works on arrays of
trials can be differentiated as it stands: no step size, no truncation, a few roundings.

The coefficients follow the definition (Griewank & Walther, Evaluating Derivatives, 2nd ed., ch. 13): for
``x(t) = x0 + x1 t + x2 t^2 + ...`` the terms are those of ``f(x(t))``, so ``k! x_k`` is the k-th derivative along the
direction. Values keep their own shape S; each term has shape ``S + (directions,)``. Comparisons and branches look at
the value, which is the same for all directions, so control flow stays that of the plain model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from metrology_core.errors import ParameterError

Terms = tuple[np.ndarray, ...]


class Taylor:
    """A truncated Taylor series along several directions.

    ``value``: array of shape S (or a number); ``terms``: one array of shape ``S + (directions,)`` per order.
    """

    __slots__ = ("terms", "value")
    __array_priority__ = 1000.0

    def __init__(self, value: Any, terms: Sequence[Any]) -> None:
        self.value = np.asarray(value, dtype=np.float64)
        self.terms: Terms = tuple(np.asarray(term, dtype=np.float64) for term in terms)

    @classmethod
    def variable(cls, value: Any, direction: Any, order: int) -> Taylor:
        """``value`` moving along ``direction``: shape ``S + (directions,)``, or one number per direction."""
        value = np.asarray(value, dtype=np.float64)
        first = np.broadcast_to(np.asarray(direction, dtype=np.float64), (*value.shape, np.shape(direction)[-1]))
        return cls(value, (first, *(np.zeros_like(first) for _ in range(order - 1))))

    # --- shape
    @property
    def order(self) -> int:
        return len(self.terms)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def T(self) -> Taylor:
        axes = tuple(reversed(range(self.ndim)))
        return Taylor(self.value.T, [np.transpose(t, (*axes, self.ndim)) for t in self._full()])

    def _full(self) -> Terms:
        shape = (*self.shape, self.terms[0].shape[-1])
        return tuple(np.broadcast_to(term, shape) for term in self.terms)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Taylor:
        return Taylor(self.value[key], [t[(*key, Ellipsis) if isinstance(key, tuple) else key] for t in self._full()])

    def reshape(self, *shape: Any) -> Taylor:
        value = self.value.reshape(*shape)
        return Taylor(value, [t.reshape(*value.shape, t.shape[-1]) for t in self._full()])

    def sum(self, axis: int | None = None, **_: Any) -> Taylor:
        return _reduce(np.sum, self, axis)

    def mean(self, axis: int | None = None, **_: Any) -> Taylor:
        return _reduce(np.mean, self, axis)

    def dot(self, other: Any) -> Any:
        return self @ other

    def derivative(self, k: int = 1) -> np.ndarray:
        """The k-th derivative along each direction, shape ``S + (directions,)``."""
        return math.factorial(k) * self._full()[k - 1]

    # --- arithmetic
    def __add__(self, other: Any) -> Taylor:
        other = _lift(other, self)
        return Taylor(self.value + other.value, [a + b for a, b in zip(self.terms, other.terms)])

    def __sub__(self, other: Any) -> Taylor:
        other = _lift(other, self)
        return Taylor(self.value - other.value, [a - b for a, b in zip(self.terms, other.terms)])

    def __mul__(self, other: Any) -> Taylor:
        if not isinstance(other, Taylor):
            plain = np.asarray(other, dtype=np.float64)
            return Taylor(self.value * plain, [t * plain[..., None] for t in self.terms])
        a, b = (self.value[..., None], *self.terms), (other.value[..., None], *other.terms)
        terms = [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(1, self.order + 1)]
        return Taylor(self.value * other.value, terms)

    def __truediv__(self, other: Any) -> Taylor:
        if not isinstance(other, Taylor):
            plain = np.asarray(other, dtype=np.float64)
            return Taylor(self.value / plain, [t / plain[..., None] for t in self.terms])
        b = (other.value[..., None], *other.terms)
        q = [(self.value / other.value)[..., None]]
        for k in range(1, self.order + 1):
            q.append((self.terms[k - 1] - sum(b[i] * q[k - i] for i in range(1, k + 1))) / b[0])
        return Taylor(self.value / other.value, q[1:])

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Taylor:
        return -self + other

    def __rtruediv__(self, other: Any) -> Taylor:
        return _lift(other, self) / self

    def __neg__(self) -> Taylor:
        return Taylor(-self.value, [-t for t in self.terms])

    def __pos__(self) -> Taylor:
        return self

    def __abs__(self) -> Taylor:
        return _absolute(self)

    def __pow__(self, exponent: Any) -> Taylor:
        return _power(self, exponent)

    def __rpow__(self, base: Any) -> Taylor:
        return _power(_lift(base, self), self)

    def __matmul__(self, other: Any) -> Taylor:
        return _matmul(self, other)

    def __rmatmul__(self, other: Any) -> Taylor:
        return _matmul(other, self)

    # --- branches look at the value
    def __lt__(self, other: Any) -> Any:
        return self.value < plain_value(other)

    def __le__(self, other: Any) -> Any:
        return self.value <= plain_value(other)

    def __gt__(self, other: Any) -> Any:
        return self.value > plain_value(other)

    def __ge__(self, other: Any) -> Any:
        return self.value >= plain_value(other)

    def __eq__(self, other: Any) -> Any:
        return self.value == plain_value(other)

    def __ne__(self, other: Any) -> Any:
        return self.value != plain_value(other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> NoReturn:
        raise TypeError("the model turns an input into a plain number, which loses its derivative")

    def __repr__(self) -> str:
        return f"<Taylor of order {self.order}: {self.value!r}>"

    # --- NumPy's protocols
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc is np.add:
            return inputs[0].sum(axis=kwargs.get("axis", 0))
        rule = UFUNCS.get(ufunc.__name__)
        if method != "__call__" or rule is None or kwargs.get("out") is not None:
            raise ParameterError(
                f"no derivative rule for numpy.{ufunc.__name__} ({method})",
                remedy="write the model with elementary functions, or use derivatives='complex_step'",
            )
        return rule(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        rule = FUNCTIONS.get(function)
        if rule is None:
            raise ParameterError(
                f"no derivative rule for numpy.{function.__name__}",
                remedy="write the model with elementary functions, or use derivatives='complex_step'",
            )
        return rule(*args, **kwargs)


def plain_value(x: Any) -> Any:
    """The value without its derivatives."""
    return x.value if isinstance(x, Taylor) else x


def _lift(x: Any, like: Taylor) -> Taylor:
    if isinstance(x, Taylor):
        return x
    value = np.asarray(x, dtype=np.float64)
    zero = np.zeros((*(1 for _ in value.shape), like.terms[0].shape[-1]))
    return Taylor(value, [zero] * like.order)


def _first(*candidates: Any) -> Taylor:
    return next(x for x in candidates if isinstance(x, Taylor))


def _reduce(function: Any, x: Taylor, axis: int | None) -> Taylor:
    if axis is None:
        axis_of = tuple(range(x.ndim))
        return Taylor(function(x.value), [function(t, axis=axis_of) for t in x._full()])
    axis = axis % x.ndim
    return Taylor(function(x.value, axis=axis), [function(t, axis=axis) for t in x._full()])


def compose(x: Taylor, value: Any, derivatives: Sequence[Any]) -> Taylor:
    """``g(x)`` from ``g`` and its derivatives at ``x.value`` (Faa di Bruno's formula up to the third order)."""
    d = [np.asarray(g)[..., None] for g in derivatives[: x.order]]
    t = x.terms
    terms = [d[0] * t[0]]
    if x.order > 1:
        terms.append(d[0] * t[1] + d[1] / 2.0 * t[0] ** 2)
    if x.order > 2:
        terms.append(d[0] * t[2] + d[1] * t[0] * t[1] + d[2] / 6.0 * t[0] ** 3)
    return Taylor(value, terms)


def _unary(function: Callable[..., Any], derivatives: Callable[[Any, Any], tuple[Any, Any, Any]]) -> Any:
    """A rule from a function and from (x, g) -> (g', g'', g''')."""

    def rule(x: Taylor) -> Taylor:
        value = function(x.value)
        with np.errstate(all="ignore"):  # a derivative that does not exist is reported with the whole gradient
            return compose(x, value, derivatives(x.value, value))

    return rule


def _flat(function: Callable[..., Any]) -> Any:
    return lambda x: Taylor(function(x.value), [np.zeros_like(t) for t in x.terms])


def _absolute(x: Taylor) -> Taylor:
    # at 0 there is no derivative: NaN, which the caller reports
    sign = np.where(x.value == 0.0, np.nan, np.sign(x.value))
    return Taylor(np.abs(x.value), [t * sign[..., None] for t in x.terms])


def _power(x: Taylor, exponent: Any) -> Taylor:
    if isinstance(exponent, Taylor):
        return UFUNCS["exp"](exponent * UFUNCS["log"](x))
    n = np.asarray(exponent, dtype=np.float64)

    def falling(k: int) -> Any:
        factor = math.prod([n - j for j in range(k)], start=np.ones(()))
        with np.errstate(all="ignore"):
            return np.where(factor == 0.0, 0.0, factor * np.power(x.value, n - k))

    return compose(x, np.power(x.value, n), [falling(1), falling(2), falling(3)])


def _arctan2(y: Any, x: Any) -> Taylor:
    like = _first(y, x)
    y, x = _lift(y, like), _lift(x, like)
    a, b = (y.value[..., None], *y.terms), (x.value[..., None], *x.terms)
    r = x * x + y * y
    den = (r.value[..., None], *r.terms)
    q: list[Any] = []  # the derivative of the angle is (x dy - y dx) / r
    for k in range(like.order):
        part = sum((i + 1) * (b[k - i] * a[i + 1] - a[k - i] * b[i + 1]) for i in range(k + 1))
        q.append((part - sum(den[i] * q[k - i] for i in range(1, k + 1))) / den[0])
    return Taylor(np.arctan2(y.value, x.value), [q[k] / (k + 1.0) for k in range(like.order)])


def _hypot(x: Any, y: Any) -> Any:
    return UFUNCS["sqrt"](x * x + y * y)


def _select(condition: Any, a: Any, b: Any) -> Taylor:
    like = _first(a, b)
    a, b = _lift(a, like), _lift(b, like)
    mask = np.asarray(condition)[..., None]
    return Taylor(np.where(condition, a.value, b.value), [np.where(mask, p, q) for p, q in zip(a.terms, b.terms)])


def _matmul(a: Any, b: Any) -> Taylor:
    like = _first(a, b)
    a, b = _lift(a, like), _lift(b, like)

    def front(x: Taylor) -> list[np.ndarray]:
        return [x.value[None], *(np.moveaxis(t, -1, 0) for t in x._full())]

    column, row = b.ndim == 1, a.ndim == 1
    p = [m[:, None, :] if row else m for m in front(a)]
    q = [m[..., None] if column else m for m in front(b)]
    terms = []
    for k in range(1, like.order + 1):
        total = sum(p[i] @ q[k - i] for i in range(k + 1))
        total = total[..., 0] if column else total
        total = total[..., 0] if row and column else total[:, 0] if row else total
        terms.append(np.moveaxis(np.asarray(total), 0, -1))
    return Taylor(a.value @ b.value, terms)


def _solve(a: Any, b: Any) -> Taylor:
    like = _first(a, b)
    a, b = _lift(a, like), _lift(b, like)
    vector = b.ndim == 1
    value = np.linalg.solve(a.value, b.value)
    left = [np.moveaxis(t, -1, 0) for t in a._full()]
    right = [np.moveaxis(t, -1, 0) for t in b._full()]
    x = [value[None, :, None] if vector else value[None]]
    for k in range(1, like.order + 1):
        given = right[k - 1][..., None] if vector else right[k - 1]
        x.append(np.linalg.solve(a.value[None], given - sum(left[i - 1] @ x[k - i] for i in range(1, k + 1))))
    return Taylor(value, [np.moveaxis(m[..., 0] if vector else m, 0, -1) for m in x[1:]])


def _stack(arrays: Any, axis: int = 0) -> Taylor:
    like = _first(*arrays)
    rows = [_lift(x, like) for x in arrays]
    shape = np.broadcast_shapes(*(row.shape for row in rows))
    axis = axis % (len(shape) + 1)

    def wide(term: np.ndarray) -> np.ndarray:
        return np.broadcast_to(term, (*shape, like.terms[0].shape[-1]))

    return Taylor(
        np.stack([np.broadcast_to(row.value, shape) for row in rows], axis),
        [np.stack([wide(row.terms[k]) for row in rows], axis) for k in range(like.order)],
    )


def _concatenate(arrays: Any, axis: int = 0) -> Taylor:
    like = _first(*arrays)
    rows = [_lift(x, like) for x in arrays]
    parts = [row._full() for row in rows]
    axis = axis % rows[0].ndim
    return Taylor(
        np.concatenate([row.value for row in rows], axis),
        [np.concatenate([part[k] for part in parts], axis) for k in range(like.order)],
    )


_LN2, _LN10, _DEG = math.log(2.0), math.log(10.0), math.pi / 180.0


def _erf_rules(sign: float, x: Any) -> tuple[Any, Any, Any]:
    g = sign * 2.0 / math.sqrt(math.pi) * np.exp(-x * x)
    return g, -2.0 * x * g, (4.0 * x * x - 2.0) * g


def _special(name: str) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        from scipy import special

        return getattr(special, name)(x)

    return call


def _tan_rules(x: Any, g: Any) -> tuple[Any, Any, Any]:
    s = 1.0 + g * g
    return s, 2.0 * g * s, 2.0 * s * (1.0 + 3.0 * g * g)


def _tanh_rules(x: Any, g: Any) -> tuple[Any, Any, Any]:
    s = 1.0 - g * g
    return s, -2.0 * g * s, -2.0 * s * (1.0 - 3.0 * g * g)


def _root_rules(sign: float, s: float, x: Any) -> tuple[Any, Any, Any]:
    """Derivatives of arcsin, arccos (``s = -1``) and arcsinh (``s = +1``): powers of ``1 + s x^2``."""
    r = 1.0 + s * x * x
    return sign * r**-0.5, -sign * s * x * r**-1.5, sign * (3.0 * x * x * r**-2.5 - s * r**-1.5)


UFUNCS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: _lift(a, _first(a, b)) + b,
    "subtract": lambda a, b: _lift(a, _first(a, b)) - b,
    "multiply": lambda a, b: a * b if isinstance(a, Taylor) else b * a,
    "divide": lambda a, b: _lift(a, _first(a, b)) / b,
    "power": lambda a, b: _power(_lift(a, _first(a, b)), b),
    "float_power": lambda a, b: _power(_lift(a, _first(a, b)), b),
    "matmul": _matmul,
    "negative": lambda x: -x,
    "positive": lambda x: x,
    "conjugate": lambda x: x,
    "absolute": _absolute,
    "fabs": _absolute,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1.0 / x,
    "exp": _unary(np.exp, lambda x, g: (g, g, g)),
    "exp2": _unary(np.exp2, lambda x, g: (_LN2 * g, _LN2**2 * g, _LN2**3 * g)),
    "expm1": _unary(np.expm1, lambda x, g: (g + 1.0, g + 1.0, g + 1.0)),
    "log": _unary(np.log, lambda x, g: (1.0 / x, -1.0 / x**2, 2.0 / x**3)),
    "log2": _unary(np.log2, lambda x, g: (1.0 / x / _LN2, -1.0 / x**2 / _LN2, 2.0 / x**3 / _LN2)),
    "log10": _unary(np.log10, lambda x, g: (1.0 / x / _LN10, -1.0 / x**2 / _LN10, 2.0 / x**3 / _LN10)),
    "log1p": _unary(np.log1p, lambda x, g: (1 / (1 + x), -1 / (1 + x) ** 2, 2 / (1 + x) ** 3)),
    "sqrt": _unary(np.sqrt, lambda x, g: (0.5 / g, -0.25 / g**3, 0.375 / g**5)),
    "cbrt": _unary(np.cbrt, lambda x, g: (1 / (3 * g**2), -2 / (9 * g**5), 10 / (27 * g**8))),
    "sin": _unary(np.sin, lambda x, g: (np.cos(x), -g, -np.cos(x))),
    "cos": _unary(np.cos, lambda x, g: (-np.sin(x), -g, np.sin(x))),
    "tan": _unary(np.tan, _tan_rules),
    "sinh": _unary(np.sinh, lambda x, g: (np.cosh(x), g, np.cosh(x))),
    "cosh": _unary(np.cosh, lambda x, g: (np.sinh(x), g, np.sinh(x))),
    "tanh": _unary(np.tanh, _tanh_rules),
    "arcsin": _unary(np.arcsin, lambda x, g: _root_rules(1.0, -1.0, x)),
    "arccos": _unary(np.arccos, lambda x, g: _root_rules(-1.0, -1.0, x)),
    "arcsinh": _unary(np.arcsinh, lambda x, g: _root_rules(1.0, 1.0, x)),
    "arccosh": _unary(
        np.arccosh,
        lambda x, g: ((r := x * x - 1.0) ** -0.5, -x * r**-1.5, (2.0 * x * x + 1.0) * r**-2.5),
    ),
    "arctan": _unary(np.arctan, lambda x, g: ((s := 1.0 / (1.0 + x * x)), -2.0 * x * s**2, (6.0 * x * x - 2.0) * s**3)),
    "arctanh": _unary(
        np.arctanh, lambda x, g: ((s := 1.0 / (1.0 - x * x)), 2.0 * x * s**2, (6.0 * x * x + 2.0) * s**3)
    ),
    "arctan2": _arctan2,
    "hypot": _hypot,
    "deg2rad": lambda x: x * _DEG,
    "radians": lambda x: x * _DEG,
    "rad2deg": lambda x: x / _DEG,
    "degrees": lambda x: x / _DEG,
    "maximum": lambda a, b: _select(plain_value(a) >= plain_value(b), a, b),
    "minimum": lambda a, b: _select(plain_value(a) <= plain_value(b), a, b),
    "sign": _flat(np.sign),
    "floor": _flat(np.floor),
    "ceil": _flat(np.ceil),
    "rint": _flat(np.rint),
    "trunc": _flat(np.trunc),
    "erf": _unary(_special("erf"), lambda x, g: _erf_rules(1.0, x)),
    "erfc": _unary(_special("erfc"), lambda x, g: _erf_rules(-1.0, x)),
    "isfinite": lambda x: np.isfinite(x.value),
    "isnan": lambda x: np.isnan(x.value),
    "less": lambda a, b: plain_value(a) < plain_value(b),
    "less_equal": lambda a, b: plain_value(a) <= plain_value(b),
    "greater": lambda a, b: plain_value(a) > plain_value(b),
    "greater_equal": lambda a, b: plain_value(a) >= plain_value(b),
    "equal": lambda a, b: plain_value(a) == plain_value(b),
    "not_equal": lambda a, b: plain_value(a) != plain_value(b),
}

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _select,
    np.sum: lambda x, axis=None, **_: x.sum(axis),
    np.mean: lambda x, axis=None, **_: x.mean(axis),
    np.dot: _matmul,
    np.stack: _stack,
    np.concatenate: _concatenate,
    np.vstack: lambda rows: _stack(rows, 0),
    np.column_stack: lambda rows: _stack(rows, -1),
    np.reshape: lambda x, shape, **_: x.reshape(shape),
    np.transpose: lambda x, axes=None: x.T,
    np.clip: lambda x, low, high, **_: UFUNCS["minimum"](UFUNCS["maximum"](x, low), high),
    np.linalg.solve: _solve,
    np.linalg.inv: lambda a: _solve(a, np.eye(len(a))),
    np.linalg.norm: lambda x, axis=None, **_: UFUNCS["sqrt"]((x * x).sum(axis)),
    np.real: lambda x: x,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
}


def _as_method(name: str) -> Callable[[Taylor], Any]:
    return lambda self: UFUNCS[name](self)


for _name in (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh"),
    *("tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "square", "reciprocal"),
    *("deg2rad", "rad2deg", "radians", "degrees"),
):
    # what NumPy calls on the elements of an object array, such as np.array([a, b]) of two series makes
    setattr(Taylor, _name, _as_method(_name))
