"""Line ends that are too narrow for the spacing which the noise asks for: measured again with closer vertices."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.errors import DataError
from wafer.contours.tips import CENTRAL, LEAST, NARROW

if TYPE_CHECKING:
    from wafer.contours import registration as reg
    from wafer.contours.design import Edges
    from wafer.contours.evaluate import Collected, ContourSettings
    from wafer.contours.grey import GreyNoise
    from wafer.contours.seeds import Split

_NAMES = ("sem.pullback", "sem.tip_to_tip")
LEAST_SPACING = 1.0  # px: closer vertices share their pixels


def finest(width: float, pixel: tuple[float, float]) -> float:
    """Spacing in px that puts as many vertices as a parabola needs, and one to spare, on the central half of an end."""
    return 2.0 * CENTRAL * width / max(pixel) / (LEAST + 1)


def measure_narrow_ends(
    out: Collected, pixels: np.ndarray, noise: GreyNoise, split: Split, settings: ContourSettings,
    pixel: tuple[float, float], edges: Edges, origin: np.ndarray, start: reg.Start, shift: tuple[int, int],
    extra: dict[str, Any], words: str,
) -> float | None:  # fmt: skip
    """Trace, register and measure again with vertices as close as the narrowest end that can be measured needs, and
    take line ends and gaps from there; the noise of its vertices is larger, that of an end is what its pixels give.

    Fills ``out`` and ``extra`` (``tips``, ``gaps``); the spacing in px, None where no end is too narrow or the closer
    vertices do not follow the design.
    """
    from wafer.contours.evaluate import Collected, traced
    from wafer.contours.functionals import Functionals
    from wafer.contours.placement import placement

    narrow = [finest(row["width"], pixel) for row in extra["tips"] if row.get("reason") == NARROW]
    possible = [s for s in narrow if s >= LEAST_SPACING]
    if not possible:
        return None
    spacing = math.floor(10.0 * min(possible)) / 10.0
    polarity = "bright" if start.bright else "dark"
    found, _ = traced(pixels, noise, split, replace(settings, spacing=spacing), polarity)
    good = found.state == 0
    if not good.any():
        return None
    again = Collected(out.budget, set())
    again.common = (
        f"{words}; {int(good.sum())} vertices, each the mean over {spacing:.3g} px of contour, for narrow ends"
    )
    vertices = {"x": found.x + shift[0], "y": found.y + shift[1]}
    try:
        ends = placement(
            again, Functionals(pixels, found, noise), settings, pixel, edges, origin, start, vertices, shift
        )
    except DataError:
        return None
    if sum("reason" not in row for row in ends["tips"]) <= sum("reason" not in row for row in extra["tips"]):
        return None
    for name in _NAMES:
        out.missing.pop(name, None)
        if name in again.measurements:
            out.measurements[name], out.methods[name] = again.measurements[name], again.methods[name]
        else:
            out.missing[name] = again.missing[name]
    out.flags.discard("few_line_ends")
    out.flags |= again.flags & {"few_line_ends", "registration_by_line_ends"}
    extra["tips"], extra["gaps"] = ends["tips"], ends["gaps"]
    return spacing
