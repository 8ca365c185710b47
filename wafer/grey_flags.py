"""Flags of the grey values themselves, before anything is found in them: plateaus cut off, rows that share noise."""

from __future__ import annotations

import numpy as np

SATURATED = 0.002
"""Share of pixels at the ends of the grey scale that is flagged, as for lines."""
ROWS_ALIKE = 0.1
"""Correlation of neighbouring rows that is flagged; independent rows measure below 0.03 (real images: none seen)."""


def grey_flags(area: np.ndarray, level: float | None) -> tuple[str, ...]:
    """Flags of an image ``area`` (ny, nx) whose grey scale ends at ``level`` (None: at that of its type).

    ``saturated`` where plateaus are cut off: the level between them, and with it the edge, is then elsewhere.
    ``rows_share_noise`` where the noise of neighbouring rows is correlated, which no scan makes; that of neighbours in
    a row (a slow detector) is measured and propagated.
    """
    from wafer.contours import grey_noise
    from wafer.edges.checks import saturated_share

    flags = []
    if saturated_share(area, area, level) > SATURATED:
        flags.append("saturated")
    lags = grey_noise(np.ascontiguousarray(area.T)).lags
    if lags and lags[0] > ROWS_ALIKE:
        flags.append("rows_share_noise")
    return tuple(flags)
