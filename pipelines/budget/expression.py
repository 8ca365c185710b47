"""Expressions of a budget file: a small closed language, read into a tree of our own and never executed as code.

Numbers, names, ``+ - * / **``, comparisons only inside ``where(condition, a, b)``, and the functions below. Everything
else (attributes, indexing, calls of anything unknown) is refused with its place in the text.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAX_LENGTH = 4000
MAX_NODES = 2000
CONSTANTS = {"pi": math.pi, "e": math.e}


def _erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x)


def _largest(*values: Any) -> Any:
    out = values[0]
    for value in values[1:]:
        out = np.maximum(out, value)
    return out


def _smallest(*values: Any) -> Any:
    out = values[0]
    for value in values[1:]:
        out = np.minimum(out, value)
    return out


# name -> (function, least and most number of arguments)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "sin": (np.sin, 1, 1),
    "cos": (np.cos, 1, 1),
    "tan": (np.tan, 1, 1),
    "asin": (np.arcsin, 1, 1),
    "acos": (np.arccos, 1, 1),
    "atan": (np.arctan, 1, 1),
    "arcsin": (np.arcsin, 1, 1),
    "arccos": (np.arccos, 1, 1),
    "arctan": (np.arctan, 1, 1),
    "atan2": (np.arctan2, 2, 2),
    "arctan2": (np.arctan2, 2, 2),
    "sinh": (np.sinh, 1, 1),
    "cosh": (np.cosh, 1, 1),
    "tanh": (np.tanh, 1, 1),
    "asinh": (np.arcsinh, 1, 1),
    "acosh": (np.arccosh, 1, 1),
    "atanh": (np.arctanh, 1, 1),
    "exp": (np.exp, 1, 1),
    "expm1": (np.expm1, 1, 1),
    "log": (np.log, 1, 1),
    "ln": (np.log, 1, 1),
    "log10": (np.log10, 1, 1),
    "log2": (np.log2, 1, 1),
    "log1p": (np.log1p, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "cbrt": (np.cbrt, 1, 1),
    "abs": (np.abs, 1, 1),
    "hypot": (np.hypot, 2, 2),
    "min": (_smallest, 2, 50),
    "max": (_largest, 2, 50),
    "radians": (np.radians, 1, 1),
    "degrees": (np.degrees, 1, 1),
    "erf": (_erf, 1, 1),
    "where": (np.where, 3, 3),
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
Evaluator = Callable[[Mapping[str, Any]], Any]


class ExpressionError(Exception):
    """A fault of an expression: what, where (character from 0, length), and a hint."""

    def __init__(self, message: str, start: int = 0, length: int = 1, hint: str | None = None) -> None:
        self.message, self.start, self.length, self.hint = message, start, length, hint
        super().__init__(message)


class Expression:
    """A read expression: ``names`` it needs, with their first places, and its value for given numbers or arrays."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters")
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except SyntaxError as error:
            raise ExpressionError("not an expression", max(0, (error.offset or 1) - 1), 1, _syntax_hint(text)) from None
        except (RecursionError, MemoryError, ValueError):
            raise ExpressionError("nested too deeply") from None
        self._lead = len(text) - len(text.lstrip())
        self.names: dict[str, tuple[int, int]] = {}
        self._count = 0
        try:
            self._evaluate = self._read(tree.body)
        except RecursionError:
            raise ExpressionError("nested too deeply") from None

    def __call__(self, values: Mapping[str, Any]) -> Any:
        return self._evaluate(values)

    def _fault(self, node: ast.expr, message: str, hint: str | None = None) -> ExpressionError:
        length = (node.end_col_offset or node.col_offset + 1) - node.col_offset if node.end_lineno == node.lineno else 1
        return ExpressionError(message, self._lead + node.col_offset, max(1, length), hint)

    def _read(self, node: ast.expr) -> Evaluator:
        self._count += 1
        if self._count > MAX_NODES:
            raise ExpressionError("too long: more than 2000 terms")
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
                raise self._fault(node, f"{ast.unparse(node)} is not a number")
            try:
                number = float(node.value)
            except OverflowError:
                raise self._fault(node, "a number too large") from None
            return lambda values: number
        if isinstance(node, ast.Name):
            name = node.id
            self.names.setdefault(name, (self._lead + node.col_offset, len(name)))
            return lambda values: values[name]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            inner = self._read(node.operand)
            return (lambda values: -inner(values)) if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp):
            operation = _BINARY.get(type(node.op))
            if operation is None:
                hint = "a power is written **" if isinstance(node.op, ast.BitXor) else "use + - * / **"
                raise self._fault(node, "this operator is not part of the language", hint)
            left, right = self._read(node.left), self._read(node.right)
            return lambda values: operation(left(values), right(values))
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Compare):
            raise self._fault(node, "a comparison stands only as the first argument of where()")
        raise self._fault(
            node, "this is not part of the language of expressions", "numbers, names, + - * / ** and functions"
        )

    def _call(self, node: ast.Call) -> Evaluator:
        from pipelines.recipe.problems import did_you_mean

        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self._fault(node, "this is not part of the language of expressions")
        name = node.func.id
        if name not in FUNCTIONS:
            raise self._fault(
                node.func, f"unknown function {name!r}", did_you_mean(name, FUNCTIONS) or "see docs/budget.md"
            )
        function, least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            raise self._fault(node, f"{name}() takes {least} argument{'s' if least > 1 else ''}, got {len(node.args)}")
        if name == "where":
            condition = self._condition(node.args[0])
            a, b = self._read(node.args[1]), self._read(node.args[2])
            return lambda values: np.where(condition(values), a(values), b(values))
        parts = [self._read(argument) for argument in node.args]
        return lambda values: function(*(part(values) for part in parts))

    def _condition(self, node: ast.expr) -> Evaluator:
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise self._fault(node, "the first argument of where() is one comparison", "for example where(x > 0, a, b)")
        compare = _COMPARE[type(node.ops[0])]
        left, right = self._read(node.left), self._read(node.comparators[0])
        return lambda values: compare(left(values), right(values))


def _syntax_hint(text: str) -> str | None:
    if "=" in text and "==" not in text and "<=" not in text and ">=" not in text:
        return "only the right-hand side is written here; its name is the key"
    if "^" in text:
        return "a power is written **"
    return "for example: V / I * cos(phi)"
