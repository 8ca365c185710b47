"""`Amount`: a quantity of a recipe, kept as written, and the annotated field types built on it.

Two spellings of one quantity ("10 um", "0.01 mm") must give one recipe digest *and* the same bits wherever the number
is used. So an amount keeps its exact rational value, and every conversion is rounded once, correctly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from metrology_core.errors import UnitError
from metrology_core.units import UNITS, Quantity, quantity, unit

_NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_BARE = re.compile(r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$")
MAX_EXPONENT = 60
"""Largest decimal exponent that is read: beyond it the exact arithmetic would only burn time."""
EXAMPLES = {
    "length": "0.05 mm",
    "angle": "0.5 deg",
    "temperature": "20.3 degC",
    "temperature_difference": "0.2 K",
    "expansion": "11.5e-6 1/K",
    "ratio": "0.5 %",
    "time": "5 s",
}


@dataclass(frozen=True)
class Amount(Quantity):
    """A quantity as written in a recipe. ``to(unit)`` is the correctly rounded number in that unit."""

    text: str = field(default="", compare=False)
    exact: Fraction = field(default=Fraction(0), repr=False)

    @property
    def base(self) -> Fraction:
        """Exact value in the SI unit of the dimension (unit factors taken as the decimals they print as)."""
        row = unit(self.unit)
        return self.exact * Fraction(repr(row.factor)) + Fraction(repr(row.offset))

    def to(self, target: str) -> float:
        """The number in unit ``target``; raises `UnitError` for another dimension."""
        row = unit(target)
        if row.dimension != self.dimension:
            raise UnitError(
                f"{self.text!r} is not a {row.dimension.replace('_', ' ')}",
                expected=f"a {row.dimension.replace('_', ' ')}",
                got=f"a {self.dimension.replace('_', ' ')}",
            )
        return float((self.base - Fraction(repr(row.offset))) / Fraction(repr(row.factor)))

    def canonical(self) -> dict[str, Any]:
        """Form that enters the recipe digest: dimension and value in SI units."""
        return {"dimension": self.dimension, "si": float(self.base)}

    def __str__(self) -> str:
        return self.text


def parse_amount(value: object, *dimensions: str) -> Amount:
    """Read an amount; raises `PydanticCustomError` with codes ``needs_unit``, ``bad_unit`` or ``wrong_dimension``."""
    if isinstance(value, Amount):
        found, text = value, value.text
    else:
        example = EXAMPLES[dimensions[0]] if dimensions else EXAMPLES["length"]
        bare = isinstance(value, (int, float)) and not isinstance(value, bool)
        if bare or (isinstance(value, str) and _BARE.match(value)):
            raise PydanticCustomError(
                "needs_unit", "{got} needs a unit, e.g. '{example}'", {"got": str(value), "example": example}
            )
        if not isinstance(value, str):
            raise PydanticCustomError(
                "needs_unit", "expected a number with its unit, e.g. '{example}'", {"example": example}
            )
        text = value.strip().replace("\u2212", "-")
        exponent = re.search(r"[eE]([+-]?\d+)", _NUMBER.match(text).group(1) if _NUMBER.match(text) else "")  # type: ignore[union-attr]
        if len(text) > 64 or (exponent and abs(int(exponent.group(1))) > MAX_EXPONENT):
            raise PydanticCustomError("bad_unit", "'{text}' is not a usable quantity", {"text": text[:64]})
        try:
            plain = quantity(text)
        except UnitError as error:
            raise PydanticCustomError(
                "bad_unit", "{what}{hint}", {"what": error.what, "hint": f"; {error.remedy}" if error.remedy else ""}
            ) from None
        number = _NUMBER.match(text)
        assert number is not None  # quantity() accepted it
        found = Amount(plain.value, plain.unit, text, Fraction(number.group(1)))
    if dimensions and found.dimension not in dimensions:
        raise PydanticCustomError(
            "wrong_dimension",
            "'{text}' is a {got}, expected a {expected}, e.g. '{example}'",
            {
                "text": text,
                "got": found.dimension.replace("_", " "),
                "expected": " or ".join(d.replace("_", " ") for d in dimensions),
                "example": EXAMPLES[dimensions[0]],
            },
        )
    return found


def amount(text: str) -> Amount:
    """Read an amount outside a model; raises `UnitError`."""
    try:
        return parse_amount(text)
    except PydanticCustomError as error:
        raise UnitError(error.message(), expected="a number and a unit, for example '0.05 mm'") from None


def _field(*dimensions: str, positive: bool = False, not_negative: bool = False) -> Any:
    def check(value: object) -> Amount:
        found = parse_amount(value, *dimensions)
        if positive and not found.exact > 0:
            raise PydanticCustomError("out_of_range", "'{text}' must be greater than zero", {"text": found.text})
        if not_negative and found.exact < 0:
            raise PydanticCustomError("out_of_range", "'{text}' must not be negative", {"text": found.text})
        return found

    names = " or ".join(d.replace("_", " ") for d in dimensions) or "quantity"
    example = EXAMPLES[dimensions[0] if dimensions else "length"]
    schema = {
        "type": "string",
        "description": f"A {names} with its unit, e.g. '{example}'.",
        "pattern": r"^\s*[+\-\u2212]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*\S+.*$",
    }
    serialise: Callable[[Amount], str] = lambda found: found.text  # noqa: E731
    return Annotated[
        Amount,
        PlainValidator(check),
        PlainSerializer(serialise, return_type=str, when_used="json"),
        WithJsonSchema(schema),
    ]


AnyAmount = _field()
Length = _field("length")
PositiveLength = _field("length", positive=True)
LengthU = _field("length", not_negative=True)
Temperature = _field("temperature")
TemperatureU = _field("temperature_difference", not_negative=True)
Expansion = _field("expansion")
ExpansionU = _field("expansion", not_negative=True)
Ratio = _field("ratio", not_negative=True)
Angle = _field("angle", positive=True)
AngleU = _field("angle", not_negative=True)


def unit_name(dimension: str) -> Any:
    """Field type: the name of a unit of ``dimension``, kept in its plain spelling."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise PydanticCustomError("wrong_type", "expected the name of a unit, e.g. 'mm'")
        try:
            row = unit(value)
        except UnitError as error:
            raise PydanticCustomError(
                "bad_unit", "{what}{hint}", {"what": error.what, "hint": f"; {error.remedy}" if error.remedy else ""}
            ) from None
        if row.dimension != dimension:
            raise PydanticCustomError(
                "wrong_dimension",
                "'{text}' is a unit of {got}, expected a unit of {expected}",
                {"text": value, "got": row.dimension, "expected": dimension},
            )
        return row.name

    names = [row.name for row in UNITS.values() if row.dimension == dimension]
    return Annotated[str, PlainValidator(check), WithJsonSchema({"type": "string", "examples": names})]


LengthUnit = unit_name("length")
