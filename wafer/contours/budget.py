"""Influences of what is measured on contours: noise, scatter, place of the design, pixel size, edge criterion."""

from __future__ import annotations

import math
from typing import Any

from metrology_core.data import Image
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from metrology_core.units import convert
from wafer.scale import pixel_scale

NOISE = "noise of the pixels, through contour and registration"
SAMPLING = "scatter along edges or between features"
PLACE = "place of the design: scatter of the edges that hold it"


class ContourBudget:
    """Makes `Measured` of values in the unit of the image."""

    def __init__(self, image: Image, settings: Any, instrument: Instrument | None) -> None:
        self.unit = image.unit
        area = "" if settings.rows is None and settings.columns is None else f"/area-{settings.rows}-{settings.columns}"
        self.scope = f"image/{image.digest[:16]}{area}/contours"
        self.scale = pixel_scale(image, instrument)
        self.edge: Influence | None = None
        self.edge_u = 0.0
        if instrument is not None and instrument.edge_offset_u:
            self.edge = Influence(
                f"instrument/{instrument.id}/edge/{settings.criterion}",
                f"offset of the edge criterion {settings.criterion}", "B",
            )  # fmt: skip
            self.edge_u = convert(instrument.edge_offset_u, instrument.unit, image.unit)

    def measured(
        self, name: str, value: float, *, noise: float, sampling: float, dof: float, place: float = 0.0,
        place_dof: int = 1, scale: tuple[float, float] = (0.0, 0.0), edges: float = 0.0, bound: float | None = None,
        factor: float = 1.0,
    ) -> Measured:  # fmt: skip
        """``scale``: change of the value per relative change of the pixel size in x and in y; ``edges``: how many times
        an outward offset of an edge enters."""
        stem = f"{self.scope}/{name.removesuffix('_1s').removesuffix('_3s')}"
        rows = [
            (Influence(f"{stem}/noise", NOISE, "A"), noise),
            (Influence(f"{stem}/sampling", SAMPLING, "A", max(dof, 1)), sampling),
            (Influence(f"{stem}/place", PLACE, "A", max(place_dof, 1)), place),
        ]
        if self.scale is not None:
            rows += self.scale.rows(scale)
        if self.edge is not None:
            rows.append((self.edge, edges * self.edge_u))
        kept = [(row, c * factor) for row, c in rows if c and math.isfinite(c)]
        return Measured(value * factor, self.unit, {r.id: c for r, c in kept}, {r.id: r for r, _ in kept}, bound)
