"""Units of a budget: read from text (SI and D-SI spelling), multiplied, compared; and an expression walked with them.

A unit is a factor to SI base units and seven exponents. Plane angle has no dimension, so degrees differ from radians by
their factor alone; a temperature in degC counts as one in K, because budgets add and subtract differences. What nobody
stated, or is not known here, is `None` and agrees with everything: the check finds contradictions, it proves nothing.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from pipelines.budget.expression import CONSTANTS, ExpressionError

BASE = ("m", "kg", "s", "A", "K", "mol", "cd")


@dataclass(frozen=True)
class Unit:
    """``factor`` to SI base units (None: a number in the expression may have converted it), exponents of `BASE`.

    ``also``: factors that it may have as well, because a power of ten in the expression may convert or count.
    """

    factor: float | None
    powers: tuple[Fraction, ...]
    literal: bool = False
    also: tuple[float, ...] = ()

    def __mul__(self, other: Unit) -> Unit:
        powers = tuple(a + b for a, b in zip(self.powers, other.powers, strict=True))
        return _made([a * b for a in self.factors for b in other.factors], powers)

    def __pow__(self, n: Fraction) -> Unit:
        return _made([factor ** float(n) for factor in self.factors], tuple(a * n for a in self.powers))

    @property
    def factors(self) -> tuple[float, ...]:
        """All factors that it may have; none where nothing is known of it."""
        return () if self.factor is None else (self.factor, *self.also)

    @property
    def plain(self) -> bool:
        """Whether it has no dimension."""
        return not any(self.powers)

    def agrees(self, other: Unit) -> bool:
        """The same dimension, and the same factor where both are known."""
        if self.powers != other.powers:
            return False
        if self.factor is None or other.factor is None:
            return True
        return any(abs(a - b) <= 1e-9 * abs(a) for a in self.factors for b in other.factors)

    def __str__(self) -> str:
        parts = [name if n == 1 else f"{name}^{n}" for name, n in zip(BASE, self.powers, strict=True) if n]
        words = " ".join(parts) or "no dimension"
        return words if self.factor in (None, 1.0) else f"{self.factor:g} {words}" if parts else f"{self.factor:g}"


def _made(factors: list[float], powers: tuple[Fraction, ...]) -> Unit:
    """A unit of any of these factors; of an unknown one where there are none or too many."""
    distinct: list[float] = []
    for factor in factors:
        if all(abs(factor - known) > 1e-9 * abs(known) for known in distinct):
            distinct.append(factor)
    return Unit(distinct[0], powers, also=tuple(distinct[1:])) if 0 < len(distinct) <= 16 else Unit(None, powers)


def _powers(**n: int) -> tuple[Fraction, ...]:
    return tuple(Fraction(n.get(name, 0)) for name in BASE)


ONE = Unit(1.0, _powers())
_UNITS: dict[str, Unit] = {
    "1": ONE, "m": Unit(1.0, _powers(m=1)), "g": Unit(1e-3, _powers(kg=1)), "s": Unit(1.0, _powers(s=1)),
    "A": Unit(1.0, _powers(A=1)), "K": Unit(1.0, _powers(K=1)), "mol": Unit(1.0, _powers(mol=1)),
    "cd": Unit(1.0, _powers(cd=1)), "rad": ONE, "sr": ONE, "Hz": Unit(1.0, _powers(s=-1)),
    "N": Unit(1.0, _powers(m=1, kg=1, s=-2)), "Pa": Unit(1.0, _powers(m=-1, kg=1, s=-2)),
    "J": Unit(1.0, _powers(m=2, kg=1, s=-2)), "W": Unit(1.0, _powers(m=2, kg=1, s=-3)),
    "C": Unit(1.0, _powers(A=1, s=1)),
    "V": Unit(1.0, _powers(m=2, kg=1, s=-3, A=-1)), "F": Unit(1.0, _powers(m=-2, kg=-1, s=4, A=2)),
    "ohm": Unit(1.0, _powers(m=2, kg=1, s=-3, A=-2)), "S": Unit(1.0, _powers(m=-2, kg=-1, s=3, A=2)),
    "Wb": Unit(1.0, _powers(m=2, kg=1, s=-2, A=-1)), "T": Unit(1.0, _powers(kg=1, s=-2, A=-1)),
    "H": Unit(1.0, _powers(m=2, kg=1, s=-2, A=-2)), "lm": Unit(1.0, _powers(cd=1)),
    "lx": Unit(1.0, _powers(cd=1, m=-2)),
    "Bq": Unit(1.0, _powers(s=-1)), "Gy": Unit(1.0, _powers(m=2, s=-2)), "Sv": Unit(1.0, _powers(m=2, s=-2)),
    "kat": Unit(1.0, _powers(mol=1, s=-1)), "degC": Unit(1.0, _powers(K=1)), "deg": Unit(math.pi / 180.0, _powers()),
    "arcmin": Unit(math.pi / 10800.0, _powers()), "arcsec": Unit(math.pi / 648000.0, _powers()),
    "L": Unit(1e-3, _powers(m=3)), "l": Unit(1e-3, _powers(m=3)), "min": Unit(60.0, _powers(s=1)),
    "h": Unit(3600.0, _powers(s=1)), "d": Unit(86400.0, _powers(s=1)), "bar": Unit(1e5, _powers(m=-1, kg=1, s=-2)),
    "eV": Unit(1.602176634e-19, _powers(m=2, kg=1, s=-2)), "inch": Unit(0.0254, _powers(m=1)),
    "in": Unit(0.0254, _powers(m=1)), "mil": Unit(2.54e-5, _powers(m=1)), "%": Unit(1e-2, _powers()),
    "ppm": Unit(1e-6, _powers()), "ppb": Unit(1e-9, _powers()), "t": Unit(1e3, _powers(kg=1)),
}  # fmt: skip
_PREFIXES = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "h": 1e2, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9,
             "p": 1e-12, "f": 1e-15}  # fmt: skip
_SPELLED = {"\u00b5": "u", "\u03bc": "u", "\u00b0C": "degC", "\u00b0": "deg", "\u03a9": "ohm", "\u2126": "ohm",
            "\u00b2": "^2", "\u00b3": "^3", "\u00b7": ".", "\u22c5": ".", "**": "^"}  # fmt: skip
_NO_PREFIX = frozenset(
    ("1", "%", "ppm", "ppb", "deg", "arcmin", "arcsec", "degC", "min", "h", "d", "inch", "in", "mil")
)
_DSI = {
    "metre": "m", "gram": "g", "kilogram": "kg",
    "second": "s", "ampere": "A", "kelvin": "K", "mole": "mol", "candela": "cd", "one": "1",
    "radian": "rad", "steradian": "sr", "hertz": "Hz", "newton": "N", "pascal": "Pa", "joule": "J", "watt": "W",
    "coulomb": "C", "volt": "V", "farad": "F", "ohm": "ohm", "siemens": "S", "weber": "Wb", "tesla": "T", "henry": "H",
    "lumen": "lm", "lux": "lx", "becquerel": "Bq", "gray": "Gy", "sievert": "Sv", "katal": "kat",
    "degreecelsius": "degC", "degree": "deg", "arcminute": "arcmin", "arcsecond": "arcsec", "litre": "L", "liter": "L",
    "minute": "min", "hour": "h", "day": "d", "bar": "bar", "electronvolt": "eV", "percent": "%", "ppm": "ppm",
    "tonne": "t",
}  # fmt: skip
_DSI_PREFIXES = {"tera": "T", "giga": "G", "mega": "M", "kilo": "k", "hecto": "h", "deci": "d", "centi": "c",
                 "milli": "m", "micro": "u", "nano": "n", "pico": "p", "femto": "f"}  # fmt: skip
_TOKEN = re.compile(r"([A-Za-z%]+|1)(?:\^?\(?([+-]?\d+(?:/\d+)?)\)?)?")


def read_unit(text: str) -> Unit | None:
    """The unit of a text such as ``um/(m.K)``, ``kg m^2``, ``\\micro\\metre``; None where it is not known here."""
    text = text.strip()
    return _read_dsi(text) if text.startswith("\\") else _read_plain(text)


def _single(name: str) -> Unit | None:
    if name in _UNITS:
        return _UNITS[name]
    rest = _UNITS.get(name[1:])
    if rest is None or name[:1] not in _PREFIXES or name[1:] in _NO_PREFIX:
        return None
    return Unit(_PREFIXES[name[0]], ONE.powers) * rest


def _read_plain(text: str) -> Unit | None:
    for old, new in _SPELLED.items():
        text = text.replace(old, new)
    top, _, below = text.partition("/")
    below = below.strip()
    grouped = below.startswith("(") and below.endswith(")")
    if grouped:
        below = below[1:-1]
    elif "/" in below:
        return None  # a/b/c and a/b.c are read differently by different people
    elif re.search(r"[.*\s]", below):
        return None
    result = ONE
    for part, sign in ((top, 1), (below, -1)):
        for word in re.split(r"[.*\s]+", part.strip().strip("()")):
            if not word:
                continue
            match = _TOKEN.fullmatch(word)
            one = None if match is None else _single(match.group(1))
            if match is None or one is None:
                return None
            result = result * one ** (sign * Fraction(match.group(2) or 1))
    return result if text else None


def _read_dsi(text: str) -> Unit | None:
    result, sign, prefix = ONE, 1, ""
    last: Unit | None = None
    for word, power in re.findall(r"\\([a-z]+)(?:\{([+-]?[\d./]+)\})?", text):
        if word == "per":
            sign = -1
        elif word == "tothe":
            try:
                exponent = Fraction(power)
            except (ValueError, ZeroDivisionError):
                return None
            if last is None:
                return None
            result = result * last ** (exponent - 1)
        elif word in _DSI_PREFIXES and not prefix:
            prefix = _DSI_PREFIXES[word]
        else:
            name = _DSI.get(word)
            one = None if name is None else _single(prefix + name)
            if one is None:
                return None
            last = one ** Fraction(sign)
            result, prefix, sign = result * last, "", 1
    return None if prefix else result


def conversion(given: str, wanted: str) -> float | None:
    """Factor from one unit to another; None where they are not units of one quantity, or one is not known. Two
    spellings of the same text need no knowledge. degC and K differ by an offset, so they do not convert."""
    if given.strip() == wanted.strip():
        return 1.0
    a, b = read_unit(given), read_unit(wanted)
    if a is None or b is None or a.powers != b.powers or a.factor is None or b.factor is None:
        return None
    scale = [("degreecelsius" in text or "degC" in text or "\u00b0C" in text) for text in (given, wanted)]
    return None if scale[0] != scale[1] else a.factor / b.factor


# --- expressions
_SAME = ("abs",)
_ALIKE = ("hypot", "min", "max", "atan2", "arctan2")
_ANGLES = ("sin", "cos", "tan")
_PURE = ("exp", "expm1", "log", "ln", "log10", "log2", "log1p", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
         "erf", "asin", "acos", "atan", "arcsin", "arccos", "arctan")  # fmt: skip
_HARMLESS = tuple(n / 4.0 for n in range(1, 40))  # below 10, which is how people convert


def unit_of(text: str, units: Mapping[str, Unit | None]) -> Unit | None:
    """The unit of an expression. Raises `ExpressionError` where it adds metres to seconds, or metres to millimetres."""
    lead = len(text) - len(text.lstrip())
    return _Walk(units, lead).unit(ast.parse(text.strip(), mode="eval").body)


class _Walk:
    def __init__(self, units: Mapping[str, Unit | None], lead: int) -> None:
        self.units, self.lead = units, lead

    def fault(self, node: ast.expr, message: str, hint: str | None = None) -> ExpressionError:
        length = (node.end_col_offset or node.col_offset + 1) - node.col_offset if node.end_lineno == node.lineno else 1
        return ExpressionError(message, self.lead + node.col_offset, max(1, length), hint)

    def unit(self, node: ast.expr) -> Unit | None:
        if isinstance(node, ast.Constant):
            # 2 pi r keeps the scale of r; 1e-3 x converts, or counts: um become mm, or stay; they become nothing else
            value = float(node.value)  # type: ignore[arg-type]
            if (
                value > 0.0
                and value != 1.0
                and math.isclose(math.log10(value), round(math.log10(value)), abs_tol=1e-12)
            ):
                return Unit(1.0, ONE.powers, literal=True, also=(1.0 / value,))
            return Unit(1.0 if value in _HARMLESS else None, ONE.powers, literal=True)
        if isinstance(node, ast.Name):
            return ONE if node.id in CONSTANTS and node.id not in self.units else self.units.get(node.id)
        if isinstance(node, ast.UnaryOp):
            return self.unit(node.operand)
        if isinstance(node, ast.BinOp):
            return self.binary(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.call(node, node.func.id)
        return None

    def binary(self, node: ast.BinOp) -> Unit | None:
        left, right = self.unit(node.left), self.unit(node.right)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            return self.alike(node, [left, right])
        if isinstance(node.op, ast.Pow):
            exponent = _number(node.right)
            if left is None:
                return None
            if exponent is not None:
                return left**exponent
            if not left.plain:
                raise self.fault(node, f"a power of {left} needs a number as exponent")
            return Unit(None, ONE.powers)
        if left is None or right is None:
            return None
        return left * (right if isinstance(node.op, ast.Mult) else right ** Fraction(-1))

    def alike(self, node: ast.expr, parts: list[Unit | None]) -> Unit | None:
        found: Unit | None = None
        for part in parts:
            if part is None or part.literal:
                continue
            if found is not None and not found.agrees(part):
                hint = "convert one of them: numbers are in the unit of their input, so 1e-3 takes um to mm"
                raise self.fault(node, f"{found} and {part} stand in one sum", hint)
            found = part if found is None or found.factor is None else _common(found, part)
        if found is None and any(part is not None for part in parts) and None not in parts:
            return Unit(None, ONE.powers, literal=True)
        return found if None not in parts else None

    def call(self, node: ast.Call, name: str) -> Unit | None:
        if name == "where":
            condition = node.args[0]
            if isinstance(condition, ast.Compare):
                self.alike(condition, [self.unit(condition.left), self.unit(condition.comparators[0])])
            return self.alike(node, [self.unit(argument) for argument in node.args[1:]])
        parts = [self.unit(argument) for argument in node.args]
        first = parts[0]
        if name in _SAME:
            return first
        if name in _ALIKE:
            found = self.alike(node, parts)
            return ONE if name.endswith("2") else found
        if name in ("sqrt", "cbrt"):
            return None if first is None else first ** Fraction(1, 2 if name == "sqrt" else 3)
        if name in ("radians", "degrees"):
            if first is not None and not first.plain:
                raise self.fault(node, f"{name}() of a quantity in {first}", "it takes an angle")
            return ONE if name == "radians" else Unit(math.pi / 180.0, ONE.powers)
        if name in (*_ANGLES, *_PURE) and first is not None:
            if not first.plain:
                raise self.fault(node, f"{name}() of a quantity in {first}", "its argument has no dimension")
            if name in _ANGLES and not first.agrees(ONE):
                raise self.fault(node, f"{name}() takes radians, not degrees", f"write {name}(radians(...))")
        return ONE


def _common(a: Unit, b: Unit) -> Unit:
    """The factors that both may have."""
    if b.factor is None:
        return a
    return _made([x for x in a.factors if any(abs(x - y) <= 1e-9 * abs(x) for y in b.factors)], a.powers)


def _number(node: ast.expr) -> Fraction | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        top, below = _number(node.left), _number(node.right)
        return None if top is None or not below else top / below
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and math.isfinite(node.value):
        return Fraction(node.value).limit_denominator(1000)
    return None
