"""Pixel size and conditions from the metadata that SEM makers write into TIFF files.

Every function takes the decoded tag and returns a `Found` or None; none of them guesses a unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# A resolution finer than this (pixels per mm) cannot be a printer's or a screen's: 10 000 dpi and more.
_NOT_PRINT = 400.0


@dataclass(frozen=True)
class Found:
    """Pixel sizes (x, y) in nm, where they stood, and further conditions as text."""

    pixel: tuple[float, float] | None
    place: str
    facts: Mapping[str, str] = field(default_factory=dict)


def _nm(metres: float) -> float:
    """Metres as nanometres, in the decimal digits that the file gave (0.9008789, not 0.9008788999999999)."""
    return float(f"{metres * 1e9:.12g}")


def _positive(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0.0 else None


def hitachi(comment: str) -> Found | None:
    """Text of ``key=value`` lines (XPComment tag or side file); ``PixelSize`` is in nm (Hitachi S/SU series)."""
    pairs = dict(re.findall(r"^[ \t]*([A-Za-z][\w ]*?)[ \t]*=[ \t]*([^\r\n]*?)[ \t\r]*$", comment, flags=re.MULTILINE))
    size = _positive(pairs.get("PixelSize"))
    if size is None and "SerialNumber" not in pairs:
        return None
    wanted = ("SerialNumber", "Condition", "EmissionCurrent", "SignalName", "ScanSpeed")
    facts = {f"hitachi.{key}": pairs[key] for key in wanted if pairs.get(key)}
    return Found(None if size is None else (size, size), "XPComment PixelSize", facts)


def jeol(text: str) -> Found | None:
    """JEOL side file: lines ``$KEY value``. The pixel size is the length of the micron bar (``$$SM_MICRON_MARKER``, for
    instance ``100nm``) over its pixels (``$$SM_MICRON_BAR``, a whole number: known to half a pixel of the bar only)."""
    pairs = dict(re.findall(r"^\$+([A-Z]\w*)[ \t]+([^\r\n]*?)[ \t\r]*$", text, flags=re.MULTILINE))
    if not any(key.startswith(("SM_", "CM_")) for key in pairs):
        return None
    wanted = ("CM_INSTRUMENT", "CM_ACCEL_VOLT", "CM_MAG", "CM_SIGNAL", "CM_DATE", "CM_TIME", "SM_WD")
    facts = {f"jeol.{key}": pairs[key] for key in wanted if pairs.get(key)}
    marker = re.fullmatch(r"([\d.]+)[ \t]*(nm|um|\u00b5m|\u03bcm|mm)", pairs.get("SM_MICRON_MARKER", ""))
    bar = _positive(pairs.get("SM_MICRON_BAR"))
    length = _positive(marker[1]) if marker else None
    if marker is None or bar is None or length is None:
        return Found(None, "JEOL side file", facts)
    facts["jeol.micron_bar"] = f"{marker[0]} on {bar:g} px: pixel size known to {50.0 / bar:.2g} %"
    size = length * {"nm": 1.0, "mm": 1e6}.get(marker[2], 1e3) / bar
    return Found((size, size), "JEOL side file, micron bar", facts)


def side_file(text: str) -> Found | None:
    """The text file that a maker writes beside its image: Hitachi (``PixelSize`` in nm) or JEOL."""
    found = hitachi(text)
    if found is None:
        return jeol(text)
    return Found(found.pixel, "side file PixelSize", found.facts)


def zeiss(tag: Mapping[str, Any]) -> Found | None:
    """Zeiss SmartSEM (tag 34118): the calibrated pixel size in m heads the unnamed block; ``ap_image_pixel_size`` is
    rounded to four digits and serves where the block is missing."""
    facts = {}
    for key in (
        "ap_mag",
        "ap_actualkv",
        "ap_wd",
        "dp_detector_type",
        "dp_mag_cal",
        "ap_date",
        "ap_time",
        "sv_serial_number",
    ):
        value = tag.get(key)
        if isinstance(value, tuple) and len(value) > 1:
            facts[f"zeiss.{key}"] = " ".join(str(part) for part in value[1:])
    block = tag.get("")
    if isinstance(block, tuple) and len(block) > 3:
        size = _positive(block[3])
        if size is not None and 1e-12 < size < 1e-3:
            return Found((_nm(size), _nm(size)), "CZ_SEM pixel size", facts)
    units = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "μm": 1e3, "nm": 1.0, "pm": 1e-3}
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        value = tag.get(key)
        if isinstance(value, tuple) and len(value) > 2 and str(value[2]) in units:
            size = _positive(value[1])
            if size is not None:
                size *= units[str(value[2])]
                return Found((size, size), f"CZ_SEM {key}", facts)
    return Found(None, "CZ_SEM", facts) if facts else None


def fei(tag: Mapping[str, Any]) -> Found | None:
    """FEI / Thermo Fisher (tags 34680, 34682): ``[Scan] PixelWidth/PixelHeight`` in m, or per detector scan section."""
    facts = {}
    for section, key in (
        ("System", "SystemType"),
        ("Beam", "HV"),
        ("EBeam", "HFW"),
        ("EBeam", "WD"),
        ("Scan", "Dwelltime"),
        ("EScan", "Dwell"),
        ("User", "Date"),
        ("User", "Time"),
    ):
        value = tag.get(section, {})
        if isinstance(value, Mapping) and value.get(key) not in (None, ""):
            facts[f"fei.{section}.{key}"] = str(value[key])
    for section in ("Scan", "EScan"):
        part = tag.get(section, {})
        if isinstance(part, Mapping):
            x, y = _positive(part.get("PixelWidth")), _positive(part.get("PixelHeight"))
            if x is not None and y is not None:
                return Found((_nm(x), _nm(y)), f"FEI {section}.PixelWidth", facts)
    return Found(None, "FEI", facts) if facts else None


def _rate(value: Any) -> float | None:
    """A TIFF rational (numerator, denominator) as a positive number."""
    return _positive(value[0] / value[1]) if isinstance(value, tuple) and len(value) == 2 and value[1] else None


def resolution(x: Any, y: Any, unit: int, description: str) -> Found | None:
    """TIFF resolution tags, only where they mean the specimen: centimetres or inches finer than any print resolution,
    or the unit that ImageJ states in the description."""
    rate_x, rate_y = _rate(x), _rate(y)
    if rate_x is None or rate_y is None:
        return None
    if description.startswith("ImageJ="):
        named = re.search(r"^unit=(.+?)\s*$", description, flags=re.MULTILINE)
        text = named.group(1).encode().decode("unicode_escape", "ignore") if named else ""
        factor = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "mm": 1e6, "pm": 1e-3}.get(text)
        return None if factor is None else Found((factor / rate_x, factor / rate_y), f"ImageJ resolution in {text}")
    nanometres = {2: 25.4e6, 3: 1e7}.get(unit)
    if nanometres is None or min(rate_x, rate_y) * 1e6 / nanometres < _NOT_PRINT:
        return None
    return Found((nanometres / rate_x, nanometres / rate_y), "TIFF resolution tags")
