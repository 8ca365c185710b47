"""Units: a small closed table, text in, factor out. No registry object, no arithmetic on units.

Lengths, plane angles, temperatures, temperature differences, expansion coefficients, ratios and times are all that
coordinate and wafer metrology write on a drawing; masses, electrical and the other quantities of calibration are in
certificates, budgets and decisions. A bare number is refused: a length without a unit is the classic factor of 25.4 or
1000.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

from metrology_core.errors import UnitError


@dataclass(frozen=True)
class Unit:
    """A unit: ``value_SI = value * factor + offset`` (the offset only for temperatures on a scale)."""

    name: str
    dimension: str
    factor: float
    offset: float = 0.0


def _table() -> dict[str, Unit]:
    rows = [
        Unit("m", "length", 1.0),
        Unit("cm", "length", 1e-2),
        Unit("mm", "length", 1e-3),
        Unit("um", "length", 1e-6),
        Unit("nm", "length", 1e-9),
        Unit("pm", "length", 1e-12),
        Unit("angstrom", "length", 1e-10),  # no SI unit, and that of every film tool
        Unit("inch", "length", 0.0254),
        Unit("mil", "length", 0.0254e-3),
        Unit("rad", "angle", 1.0),
        Unit("mrad", "angle", 1e-3),
        Unit("urad", "angle", 1e-6),
        Unit("deg", "angle", math.pi / 180.0),
        Unit("arcmin", "angle", math.pi / 10800.0),
        Unit("arcsec", "angle", math.pi / 648000.0),
        Unit("K", "temperature_difference", 1.0),
        Unit("degC", "temperature", 1.0, 273.15),
        Unit("1/K", "expansion", 1.0),
        Unit("um/(m.K)", "expansion", 1e-6),
        Unit("ppm/K", "expansion", 1e-6),
        Unit("1", "ratio", 1.0),
        Unit("%", "ratio", 1e-2),
        Unit("ppm", "ratio", 1e-6),
        Unit("um/m", "ratio", 1e-6),
        Unit("mm/m", "ratio", 1e-3),
        Unit("nm/mm", "ratio", 1e-6),
        Unit("s", "time", 1.0),
        Unit("ms", "time", 1e-3),
        Unit("us", "time", 1e-6),
    ]
    return {row.name: row for row in rows}


# other quantities that are calibrated: symbol -> (dimension, power of ten to SI, prefixes that are met)
_CALIBRATED = {
    "g": ("mass", -3, "k m u n"),
    "V": ("voltage", 0, "k m u n"),
    "A": ("current", 0, "m u n p"),
    "ohm": ("resistance", 0, "m u k M G"),
    "W": ("power", 0, "k m u"),
    "N": ("force", 0, "k m u"),
    "Pa": ("pressure", 0, "h k M"),
    "bar": ("pressure", 5, "m"),
    "J": ("energy", 0, "k m"),
    "Hz": ("frequency", 0, "k M G"),
    "F": ("capacitance", 0, "u n p"),
    "H": ("inductance", 0, "m u n"),
    "mol": ("amount_of_substance", 0, "m u n"),
    "L": ("volume", -3, "m u"),
    "Bq": ("activity", 0, "k M"),
}
_PREFIX = {"": 0, "G": 9, "M": 6, "k": 3, "h": 2, "m": -3, "u": -6, "n": -9, "p": -12}


def _calibrated() -> dict[str, Unit]:
    # a power of ten is read from its text: products of floats would not print as the decimal that they mean
    rows = [
        Unit(prefix + symbol, dimension, float(f"1e{power + _PREFIX[prefix]}"))
        for symbol, (dimension, power, prefixes) in _CALIBRATED.items()
        for prefix in ("", *prefixes.split())
    ]
    rows += [Unit("t", "mass", 1e3), Unit("m3", "volume", 1.0), Unit("min", "time", 60.0), Unit("h", "time", 3600.0)]
    return {row.name: row for row in rows}


_DRAWING = _table()
UNITS = {**_DRAWING, **_calibrated()}
_ALIASES = {
    "in": "inch",
    "inches": "inch",
    '"': "inch",
    "micron": "um",
    "microns": "um",
    "micrometre": "um",
    "micrometer": "um",
    "millimetre": "mm",
    "millimeter": "mm",
    "nanometre": "nm",
    "nanometer": "nm",
    "\u00c5": "angstrom",
    "\u212b": "angstrom",
    "Angstrom": "angstrom",
    "angstroms": "angstrom",
    "metre": "m",
    "meter": "m",
    "thou": "mil",
    "°": "deg",
    "degree": "deg",
    "degrees": "deg",
    "radian": "rad",
    "radians": "rad",
    "′": "arcmin",
    "″": "arcsec",
    "°C": "degC",
    "℃": "degC",
    "celsius": "degC",
    "kelvin": "K",
    "um/m/K": "um/(m.K)",
    "um/(m*K)": "um/(m.K)",
    "um/(m·K)": "um/(m.K)",
    "um/mK": "um/(m.K)",
    "1e-6/K": "ppm/K",
    "K^-1": "1/K",
    "/K": "1/K",
    "percent": "%",
    "l": "L",
    "ml": "mL",
    "ul": "uL",
    "m^3": "m3",
    "m\u00b3": "m3",
}
_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")


def unit(name: str) -> Unit:
    """Return the `Unit` of a name; both micro signs (U+00B5, U+03BC) and common aliases are read.

    Raises `UnitError` for an unknown name, with the nearest known ones.
    """
    if not isinstance(name, str):
        raise UnitError("a unit is a text", expected="for example 'mm'", got=repr(name))
    key = name.strip().replace("\u00b5", "u").replace("\u03bc", "u").replace("\u03a9", "ohm").replace("\u2126", "ohm")
    key = _ALIASES.get(key, key)
    found = UNITS.get(key)
    if found is None:
        near = difflib.get_close_matches(key, [*UNITS, *_ALIASES], n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(near)}?"
            if near
            else f"known units: {', '.join(_DRAWING)}, and those of calibration"
        )
        raise UnitError(f"unknown unit {name!r}", remedy=hint)
    return found


def convert(value: float, source: str, target: str) -> float:
    """Convert a number between units of one dimension; raises `UnitError` where the dimensions differ.

    Two units of the same factor leave the number untouched to the last bit.
    """
    a, b = unit(source), unit(target)
    if a.dimension != b.dimension:
        raise UnitError(
            f"cannot convert {a.name} ({a.dimension}) to {b.name} ({b.dimension})",
            remedy="give a value of the right dimension",
        )
    if a == b:
        return value
    if a.offset == 0.0 and b.offset == 0.0:
        # one division or one multiplication keeps decimal factors exact where a ratio of two factors would not
        ratio = b.factor / a.factor
        whole = round(ratio)
        if ratio >= 1.0 and abs(ratio - whole) <= 1e-12 * ratio:
            return value / whole
        ratio = a.factor / b.factor
        whole = round(ratio)
        if ratio >= 1.0 and abs(ratio - whole) <= 1e-12 * ratio:
            return value * whole
        return value * ratio
    return (value * a.factor + a.offset - b.offset) / b.factor


@dataclass(frozen=True)
class Quantity:
    """A value with its unit as written; ``to()`` gives the number in another unit."""

    value: float
    unit: str

    @property
    def dimension(self) -> str:
        return unit(self.unit).dimension

    def to(self, target: str) -> float:
        return convert(self.value, self.unit, target)

    def __str__(self) -> str:
        return f"{self.value!r} {self.unit}"


_EXAMPLES = {"ratio": "50 %", "angle": "0.5 deg"}


def quantity(text: str | Quantity, dimension: str | None = None) -> Quantity:
    """Read ``"25 um"``, ``"0.5deg"``, ``"11.5e-6 1/K"``; a bare number is refused.

    Raises `UnitError` for a missing or unknown unit, for a number that is not finite, and, where ``dimension`` is
    given, for another dimension.
    """
    example = _EXAMPLES.get(dimension or "", "0.05 mm")
    if isinstance(text, Quantity):
        found = text
    else:
        if not isinstance(text, str):
            raise UnitError(
                f"{text!r} has no unit",
                expected=f"a text such as {example!r}",
                remedy="write the unit behind the number",
            )
        match = _QUANTITY.match(text.replace("\u2212", "-"))
        if match is None:
            raise UnitError(f"{text!r} is not a quantity", expected=f"a number and a unit, for example {example!r}")
        number, name = match.groups()
        if not name:
            raise UnitError(
                f"{text!r} has no unit",
                expected=f"a text such as {example!r}",
                remedy="write the unit behind the number",
            )
        found = Quantity(float(number), unit(name).name)
    if not math.isfinite(found.value):
        raise UnitError(f"{text!r} is not finite", expected="a finite number")
    if dimension is not None and found.dimension != dimension:
        wanted, got = (f"{'an' if d[:1] in 'aeiou' else 'a'} {d}" for d in (dimension, found.dimension))
        raise UnitError(f"{text!r} is not {wanted}", expected=wanted, got=got)
    return found
