"""From estimates in pixels to lengths with their contributions: the uncertainty budget of one image of lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.data import Image
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from metrology_core.spreads import with_spread
from metrology_core.units import convert
from wafer.scale import pixel_scale

NOISE = "noise of the edges in single rows"
SAMPLING = "scatter between lines (roughness, local variation)"


@dataclass(frozen=True)
class Scale:
    influence: Influence
    relative: float


def scale_of(image: Image, instrument: Instrument | None, axis: str) -> Scale | None:
    """The uncertainty of the pixel size along an axis of the image."""
    found = pixel_scale(image, instrument)
    if found is None:
        return None
    k = "xy".index(axis)
    return Scale(found.influences[k], found.relative[k]) if found.relative[k] else None


class Budget:
    """Turns estimates in pixels into lengths with their contributions."""

    def __init__(
        self,
        unit: str,
        scale: float,
        px: float,
        scale_row: Scale | None,
        instrument: Instrument | None,
        criterion: str,
        scope: str,
    ) -> None:
        self.scope = scope
        self.unit, self.scale, self.px, self.scale_row = unit, scale, px, scale_row
        self.edge: tuple[Influence, float] | None = None
        if instrument is not None and instrument.edge_offset_u:
            row = Influence(
                f"instrument/{instrument.id}/edge/{criterion}", f"offset of the edge criterion {criterion}", "B"
            )
            self.edge = (row, convert(instrument.edge_offset_u, instrument.unit, unit))

    def length(
        self,
        name: str,
        estimate: Any,
        *,
        edges: int,
        bound: float | None = None,
        factor: float = 1.0,
        given: list[tuple[Influence, float]] | None = None,
    ) -> Measured:
        """``edges``: how many times the offset of one edge enters (+2 line, -2 space, 0 where it cancels)."""
        unit_length = self.scale * factor
        value = estimate.value * unit_length
        parts: dict[str, float] = {}
        rows: dict[str, Influence] = {}

        def add(row: Influence, contribution: float) -> None:
            if contribution and math.isfinite(contribution):
                rows[row.id] = row
                parts[row.id] = contribution

        # 1 s and 3 s of one roughness are one measurement: they share their influences.
        stem = f"{self.scope}/{name.removesuffix('_1s').removesuffix('_3s')}"
        if given is None:
            given = [
                (Influence(f"{stem}/noise", NOISE, "A"), estimate.noise),
                (Influence(f"{stem}/sampling", SAMPLING, "A", estimate.dof), estimate.sampling),
            ]
        for row, contribution in given:
            add(row, contribution * unit_length)
        if self.scale_row is not None:
            add(self.scale_row.influence, value * self.scale_row.relative)
        if self.edge is not None and edges:
            add(self.edge[0], edges * self.edge[1])
        found = Measured(value, self.unit, parts, rows, bound)
        if estimate.quantiles is None:
            return found
        return with_spread(found, estimate.quantiles * unit_length, [row.id for row, _ in given])

    def from_edges(
        self, linear: Mapping[str, Any], found: Any, scatter: Any, line_polarity: int, short: float,
        drift: float = 0.0, trend: Any = None,
    ) -> dict[str, Measured]:  # fmt: skip
        """Pitch, line and space from the same edges: contributions in pixels that keep their covariances. ``scatter``:
        `wafer.lines.scatter.Scatter`, None for too few edges. ``drift``: relative standard uncertainty of the scale of
        this frame (`wafer.lines.pitch.frame_drift`), ``trend``: `wafer.lines.scatter.WidthTrend`."""
        from wafer.lines import places as _lines

        if not linear:
            return {}
        weights = np.array([estimate.weights for estimate in linear.values()])
        noise = _lines.causes(weights, _lines.noise_covariance(found))
        sampled = None if scatter is None else _lines.causes(weights, scatter.matrix)
        rows = [] if scatter is None else self._sampling_rows(list(linear), scatter, weights)
        level = Influence(f"{self.scope}/level", "grey levels of the plateaus, shift by noise", "A")
        gain = Influence(f"{self.scope}/gain", "noise over grey level, in the correction of the widths", "A")
        frame = Influence(f"{self.scope}/frame", "drift of the scan scale, from its change over the frame", "B")
        shared = Influence(f"{self.scope}/trend", "trend of the widths over the field", "B")
        share = Influence(f"{self.scope}/trend/pitch", "trend of the widths: share of both edges", "B")
        missed = Influence(f"{self.scope}/plateau", "plateau not reached by narrow stripes", "B")
        out = {}
        for i, (name, estimate) in enumerate(linear.items()):
            given = [(Influence(f"{self.scope}/edges/noise/{j}", NOISE, "A"), float(c)) for j, c in enumerate(noise[i])]
            if sampled is None:
                row = Influence(f"{self.scope}/{name}/sampling", SAMPLING, "A", estimate.dof)
                given.append((row, estimate.sampling))
            else:
                given += [(row, float(c)) for row, c in zip(rows, sampled[i], strict=True)]
            sign = {"sem.cd_line": line_polarity, "sem.cd_space": -line_polarity}.get(name, 0)
            given += [(level, sign * _lines.common_shift(found)), (missed, sign * short)]
            given.append((gain, sign * _lines.gain_shift(found)))
            given.append((frame, estimate.value * drift))
            if trend is not None:
                given.append((shared, sign * trend.width_u) if sign else (share, trend.pitch_u))
            edges = {"sem.cd_line": 2, "sem.cd_space": -2}.get(name, 0)
            out[name] = self.length(name, estimate, edges=edges, bound=0.0 if sign else None, given=given)
        return out

    def _sampling_rows(self, names: list[str], scatter: Any, weights: np.ndarray) -> list[Influence]:
        """One row for each cause of the scatter. Those of the widths come from one estimate and count once; the pitch,
        where it is, comes first and has its own degrees of freedom."""
        stem = f"{self.scope}/edges/sampling"
        own = [scatter.dof(row) for row in weights]
        shared = min(own[1:] if names[0] == "sem.pitch" and len(own) > 1 else own)
        return [
            Influence(f"{stem}/{j}", SAMPLING, "A", own[0] if names[0] == "sem.pitch" else shared)
            if j == 0
            else Influence(f"{stem}/{j}", SAMPLING, "A", shared, group=stem)
            for j in range(len(names))
        ]
