"""Flags of the grey values of an image of lines, once its stripes are known."""

from __future__ import annotations

import numpy as np

from wafer.edges import EdgeSet
from wafer.edges.grey import StripeGrey
from wafer.noise import grey_step
from wafer.recording import BANDS, banded, coarse, patterned, piled_up

SLANTED, WIDE = (
    0.2,
    16.0,
)  # of the step; px: noise and blooms slant stripes of 16 px by less than 0.15, narrower ones more
BENT = 1.0  # px, rms departure of blocks of rows from straight lines
SATURATED = 0.002  # share of the pixels that is flagged, as at the ends of the grey scale


def grey_flags_of(scanned: np.ndarray, found: EdgeSet, orientation: str) -> set[str]:
    """``saturated`` (cut off within the grey scale), ``row_banding``, ``stripes_uneven``, ``periodic_pattern``,
    ``grey_levels_few``, ``lines_bent``.

    ``scanned`` the rows that were measured, lines along the columns. Rows of the scan cross vertical lines; along
    horizontal ones their brightness is the pattern's.
    """
    flags = set()
    contrast = float(np.median(found.high - found.low))
    if "saturated" not in found.flags and piled_up(scanned, SATURATED):
        flags.add("saturated")
    if orientation == "vertical" and banded(scanned, None, contrast):
        flags.add("row_banding")
    if patterned(scanned, found.slope, contrast):
        flags.add("periodic_pattern")
    if coarse(grey_step(scanned), contrast, min(found.noise.sigma_dark, found.noise.sigma_bright)):
        flags.add("grey_levels_few")
    if _uneven(found.grey, contrast, float(np.median(np.diff(found.seed)))):
        flags.add("stripes_uneven")
    if found.straightness > BENT:
        flags.add("lines_bent")
    return flags


def _uneven(grey: StripeGrey, contrast: float, width: float) -> bool:
    """Whether the levels of stripes of one kind scatter by more than a tenth of the step about a straight line over the
    field, or in wide ones their slopes, from edge to edge, by more than a fifth (a wave shorter than a stripe)."""
    for values, limit in ((grey.level, BANDS), (grey.rise, SLANTED if width >= WIDE else np.inf)):
        known = np.isfinite(values).all(axis=0)
        for bright in (True, False):
            mine = (grey.bright == bright) & known
            if np.count_nonzero(mine) < 5:
                continue
            mean, place = values[:, mine].mean(axis=0), grey.centre[mine]
            rest = mean - np.polyval(np.polyfit(place, mean, 1), place)
            if float(rest.std(ddof=2)) > limit * contrast:
                return True
    return False
