"""Units: every accepted spelling, exact conversions, and refusals that say what to do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrology_core.errors import UnitError
from metrology_core.units import UNITS, Quantity, convert, quantity, unit


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        ("25 um", 25.0, "um"),
        ("25um", 25.0, "um"),
        ("25 \u00b5m", 25.0, "um"),
        ("25 \u03bcm", 25.0, "um"),
        ("-.5e-3 mm", -0.0005, "mm"),
        ("\u22120.1 mm", -0.1, "mm"),
        ("1 in", 1.0, "inch"),
        ('2"', 2.0, "inch"),
        ("3 mil", 3.0, "mil"),
        ("20.3 degC", 20.3, "degC"),
        ("20.3 °C", 20.3, "degC"),
        ("11.5e-6 1/K", 11.5e-6, "1/K"),
        ("11.5 um/m/K", 11.5, "um/(m.K)"),
        ("3 um/m", 3.0, "um/m"),
        ("0.5 %", 0.5, "%"),
        ("12 arcsec", 12.0, "arcsec"),
        ("1e-3 rad", 1e-3, "rad"),
    ],
)
def test_spellings_that_are_read(text: str, value: float, name: str) -> None:
    assert quantity(text) == Quantity(value, name)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("25", "has no unit"),
        ("", "not a quantity"),
        ("mm", "not a quantity"),
        ("1,5 mm", "unknown unit"),
        ("5 furlongs", "unknown unit"),
        ("5 mn", "did you mean"),
        ("1e999 mm", "not finite"),
        ("nan mm", "not a quantity"),
    ],
)
def test_refusals_name_the_fault(text: str, part: str) -> None:
    with pytest.raises(UnitError, match=part):
        quantity(text)


@pytest.mark.parametrize("bare", [25, 25.0, True, None])
def test_a_bare_number_is_refused(bare: object) -> None:
    with pytest.raises(UnitError, match="no unit"):
        quantity(bare)  # type: ignore[arg-type]


def test_a_wrong_dimension_is_refused() -> None:
    with pytest.raises(UnitError, match="a length"):
        quantity("5 deg", "length")
    with pytest.raises(UnitError, match="cannot convert"):
        convert(1.0, "mm", "deg")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1.0, "inch", "mm", 25.4),
        (1.0, "m", "nm", 1e9),
        (7.0, "um", "mm", 0.007),
        (123.456, "mm", "mm", 123.456),
        (180.0, "deg", "rad", math.pi),
        (1.0, "deg", "arcsec", 3600.0),
        (20.0, "degC", "degC", 20.0),
        (3.0, "um/m", "1", 3e-6),
        (1.0, "mil", "um", 25.4),
    ],
)
def test_conversions(value: float, source: str, target: str, expected: float) -> None:
    # 2 ulp: one rounding of the factor and one of the product
    assert convert(value, source, target) == pytest.approx(expected, rel=4.5e-16, abs=0.0)


lengths = [name for name, row in UNITS.items() if row.dimension == "length"]


@given(st.floats(-1e6, 1e6), st.sampled_from(lengths), st.sampled_from(lengths))
def test_there_and_back(value: float, source: str, target: str) -> None:
    # 4 ulp: two conversions, each one rounding of the factor and one of the product
    assert convert(convert(value, source, target), target, source) == pytest.approx(value, rel=9e-16, abs=1e-300)


def test_every_unit_finds_itself() -> None:
    for name in UNITS:
        assert unit(name).name == name


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (45.0, "mg", "g", 0.045),
        (1.0, "t", "kg", 1000.0),
        (5.0, "mΩ", "ohm", 0.005),
        (1.013, "bar", "kPa", 101.3),
        (20.0, "ml", "L", 0.02),
        (1.0, "m3", "L", 1000.0),
        (-5.4, "V", "mV", -5400.0),
        (90.0, "min", "h", 1.5),
    ],
)
def test_units_of_calibration(value: float, source: str, target: str, expected: float) -> None:
    assert convert(value, source, target) == pytest.approx(expected, rel=1e-15)
    with pytest.raises(UnitError, match="cannot convert"):
        convert(value, source, "mm")


def test_prefixes_print_as_powers_of_ten() -> None:
    """The exact conversions read a factor from what it prints."""
    from fractions import Fraction

    for row in UNITS.values():
        if row.dimension in ("mass", "voltage", "current", "resistance", "volume", "pressure", "capacitance"):
            exact = Fraction(repr(row.factor))
            assert exact.numerator == 1 or exact.denominator == 1
            assert str(max(exact.numerator, exact.denominator)).strip("0") == "1"
