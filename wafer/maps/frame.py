"""The frame of a wafer: diameter, edge exclusion, notch; and places in it from what an acquisition says.

Coordinates have their origin in the wafer's middle, x to the right and y up, as the wafer is drawn, in millimetres.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from metrology_core.errors import ParameterError
from metrology_core.units import quantity

Notch = Literal["down", "up", "left", "right"]
_TWO = re.compile(r"([+-]?\d+)\D+?([+-]?\d+)")


_PRINTED = 1e-3  # mm: a site planned on the circle is printed to 0.1 um in X and Y, and lies on it all the same


@dataclass(frozen=True)
class WaferFrame:
    """``diameter`` and ``edge_exclusion`` in mm, where the ``notch`` lies, ``field_size`` (x, y) in mm or None."""

    diameter: float = 300.0
    edge_exclusion: float = 0.0
    notch: Notch = "down"
    field_size: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.diameter) and self.diameter > 0.0):
            raise ParameterError("a wafer has a positive diameter", got=f"{self.diameter}")
        if not 0.0 <= self.edge_exclusion < 0.5 * self.diameter:
            raise ParameterError("the edge exclusion lies between 0 and the radius", got=f"{self.edge_exclusion}")
        if self.notch not in ("down", "up", "left", "right"):
            raise ParameterError("unknown place of the notch", expected="down | up | left | right", got=self.notch)
        if self.field_size is not None and not min(self.field_size) > 0.0:
            raise ParameterError("fields have positive sizes", got=f"{self.field_size}")

    @property
    def radius(self) -> float:
        return 0.5 * self.diameter

    def counts(self, x: float, y: float) -> bool:
        """Whether a place lies inside the edge exclusion's circle."""
        return math.hypot(x, y) <= self.radius - self.edge_exclusion + _PRINTED

    def holds(self, x: float, y: float) -> bool:
        """Whether a place lies on the wafer at all."""
        return math.hypot(x, y) <= self.radius + _PRINTED


def place_of(acquisition: Mapping[str, Any], frame: WaferFrame) -> tuple[float, float] | None:
    """Place in mm: ``wafer_x`` and ``wafer_y`` (texts with units) where stated, else from ``field``, whose first two
    whole numbers are column and row of the field from the wafer's middle, and the field size; None where neither is."""
    x, y = acquisition.get("wafer_x"), acquisition.get("wafer_y")
    if x is not None and y is not None:
        return quantity(str(x), "length").to("mm"), quantity(str(y), "length").to("mm")
    match = _TWO.search(str(acquisition.get("field") or ""))
    if match is None or frame.field_size is None:
        return None
    return int(match[1]) * frame.field_size[0], int(match[2]) * frame.field_size[1]
