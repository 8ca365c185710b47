"""Numbers of an input: as they stand, with a unit of their own, or as a share of the value.

A width (standard or expanded uncertainty, half width, scale) is a difference: of a temperature in degC it is in K or
degC alike. Given as a ratio (``u: 1 %``) to an input that is not itself a ratio it counts of the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic_core import PydanticCustomError

from metrology_core.errors import UnitError
from metrology_core.units import unit as unit_of_name
from pipelines.budget.unit_algebra import conversion, read_unit
from pipelines.recipe.amounts import Amount, parse_amount

WIDTHS = frozenset(("u", "expanded", "half_width", "d", "scale", "sd"))
_SPLIT = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?)\s*(\S.*?)\s*$")


@dataclass(frozen=True)
class CompoundAmount(Amount):
    """An amount in a product of units (``1.2 g/mL``), which the table of simple ones does not hold."""

    def to(self, target: str) -> float:
        """The number in unit ``target``; raises `UnitError` where the two are not units of one quantity."""
        factor = conversion(self.unit, target)
        if factor is None:
            raise UnitError(
                f"{self.text!r} is not a quantity in {target}", remedy="write it in the unit of the input, or that unit"
            )
        return float(self.exact * Fraction(repr(factor)))


def read_value(value: object) -> float | Amount:
    """A plain number in the input's own unit, or a quantity with a unit of its own."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise PydanticCustomError("wrong_type", "expected a number, or a quantity such as '25 nm'")
    if not isinstance(value, str):
        return float(value)
    try:
        return parse_amount(value)
    except PydanticCustomError:
        match = _SPLIT.match(value.replace("\u2212", "-"))
        if match is None or len(value) > 64 or read_unit(match.group(2)) is None:
            raise
        number, name = match.groups()
        return CompoundAmount(float(number), name, value.strip(), Fraction(number))


def number(value: Any, unit: str | None, *, width_of: Any = None, width: bool = False) -> float:
    """A value of an input in the input's ``unit``; ``width``: it is a width of the estimate ``width_of``.

    Raises `UnitError` where the quantity cannot be converted.
    """
    if not isinstance(value, Amount):
        return float(value)
    target = unit or "1"
    if width and not isinstance(value, CompoundAmount):
        if value.dimension == "temperature_difference" and _dimension(target) == "temperature":
            return value.to("K")
        if value.dimension == "ratio" and target != value.unit and _dimension(target) != "ratio":
            if width_of is None:
                raise UnitError(f"{value.text!r} of what?", remedy="a share of the value needs 'value'")
            return abs(number(width_of, unit)) * value.to("1")
    return value.to(target)


def _dimension(name: str) -> str | None:
    """Dimension of a simple unit; that of a ratio for products without one; None for other products."""
    try:
        return unit_of_name(name).dimension
    except UnitError:
        found = read_unit(name)
        return "ratio" if found is not None and found.plain else None
