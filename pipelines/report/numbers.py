"""Numbers as text: two digits of the expanded uncertainty U, the value to the same place. Decisions never use these."""

from __future__ import annotations

import math

MINUS = "\u2212"


def place(u: float | None) -> int | None:
    """Decimal places that show ``u`` with two significant digits (JCGM 100, 7.2.6); None without a usable ``u``."""
    if u is None or not math.isfinite(u) or u <= 0.0:
        return None
    exponent = math.floor(math.log10(u))
    decimals = 1 - exponent
    if round(u, decimals) >= 10.0 ** (exponent + 1):  # 0.0996 is 0.10, not 0.100
        decimals -= 1
    return decimals


def fixed(value: float | None, decimals: int | None, *, sign: bool = False) -> str:
    """``value`` with ``decimals`` places (plain up to nine digits when None), a true minus sign, never minus zero."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    if decimals is None:
        text = f"{value:.9g}"
    elif decimals > 12 or (decimals < 0 and abs(value) >= 1e15):
        text = f"{value:.6g}"
    else:
        text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    if text.startswith("-") and float(text) == 0.0:
        text = text[1:]
    if sign and not text.startswith("-") and float(text) != 0.0:
        text = "+" + text
    return text.replace("-", MINUS)


def exact(value: float | None) -> str:
    """The unrounded value, as stored: for titles and data attributes."""
    return "" if value is None else repr(float(value))


def limit(value: float | None) -> str:
    """A drawing limit or a nominal: all its digits, no more (binary dust of a unit conversion removed)."""
    return "\u2013" if value is None else fixed(float(f"{value:.12g}"), None) if abs(value) < 1e9 else f"{value:.6g}"


def percent(share: float | None, *, digits: int = 0) -> str:
    """A ratio as per cent text."""
    if share is None or not math.isfinite(share):
        return "\u2013"
    if share * 100.0 >= 9999.5:
        return "> 9999\u202f%"
    return fixed(share * 100.0, digits) + "\u202f%"


def probability(p: float | None) -> str:
    """A probability as per cent; near 0 and 1 the bound is named, because 100.0 % would claim certainty."""
    if p is None or not math.isfinite(p):
        return "\u2013"
    if p > 0.9999:
        return "> 99.99\u202f%"
    if p < 0.0001:
        return "< 0.01\u202f%"
    return fixed(p * 100.0, 2 if p > 0.99 or p < 0.01 else 1) + "\u202f%"


def unit_text(unit: object) -> str:
    """A unit as it stands behind a number: nothing behind a pure one, whose unit is 1."""
    text = str(unit or "")
    return "" if text == "1" else text
