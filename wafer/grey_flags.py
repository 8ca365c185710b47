"""Flags of the grey values themselves, before anything is found in them: plateaus cut off, rows that share noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wafer.contours import GreyNoise

SATURATED = 0.002
"""Share of pixels at the ends of the grey scale that is flagged, as for lines."""
AWAY = 4
"""Pixels from a feature within which its edge changes the ground."""
ROWS_ALIKE = 0.1
"""Correlation of neighbouring rows that is flagged; independent rows measure below 0.03 (real images: none seen)."""


def grey_flags(
    area: np.ndarray, level: float | None, features: np.ndarray, step: float, noise: GreyNoise
) -> tuple[str, ...]:
    """Flags of an image ``area`` (ny, nx) whose grey scale ends at ``level`` (None: at that of its type).

    ``features`` (ny, nx, bool), the ``step`` between them and the ground and the ``noise`` of a pixel tell
    ``row_banding`` and ``grey_levels_few``.

    ``saturated`` where plateaus are cut off: the level between them, and with it the edge, is then elsewhere.
    ``rows_share_noise`` where the noise of neighbouring rows is correlated, which no scan makes; that of neighbours in
    a row (a slow detector) is measured and propagated.
    """
    from scipy.ndimage import binary_erosion

    from wafer.contours import grey_noise
    from wafer.edges.checks import saturated_share
    from wafer.noise import grey_step
    from wafer.recording import banded, coarse, piled_up

    flags = []
    if saturated_share(area, area, level) > SATURATED or piled_up(area, SATURATED):
        flags.append("saturated")
    lags = grey_noise(np.ascontiguousarray(area.T)).lags
    if lags and lags[0] > ROWS_ALIKE:
        flags.append("rows_share_noise")
    ground = binary_erosion(~features, iterations=AWAY)
    if banded(area, ground, step):
        flags.append("row_banding")
    levels = np.quantile(area[:: max(1, area.shape[0] // 128)], (0.1, 0.9))
    if coarse(grey_step(area), step, math.sqrt(float(noise.variance(levels).min()))):
        flags.append("grey_levels_few")
    return tuple(flags)
