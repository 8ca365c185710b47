"""Flags of the grey values of an image of lines, once its stripes are known."""

from __future__ import annotations

import numpy as np

from wafer.edges import EdgeSet
from wafer.edges.grey import StripeGrey
from wafer.recording import BANDS, banded, coarse, patterned, piled_up

SLANTED, WIDE = (
    0.2,
    16.0,
)  # of the step; px: noise and blooms slant stripes of 16 px by less than 0.15, narrower ones more
NARROW = 0.5  # of the width of a stripe that the rise of its edges may take
BENT = 1.0  # px, rms departure of blocks of rows from straight lines
SATURATED = 0.002  # share of the pixels that is flagged, as at the ends of the grey scale


def grey_flags_of(scanned: np.ndarray, found: EdgeSet, orientation: str) -> set[str]:
    """``saturated`` (cut off within the grey scale), ``row_banding``, ``stripes_uneven``, ``periodic_pattern``,
    ``grey_levels_few``, ``lines_bent``, ``plateau_missed``.

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
    if coarse(found.details["grey_step"], contrast, min(found.noise.sigma_dark, found.noise.sigma_bright)):
        flags.add("grey_levels_few")
    if _uneven(found.grey, contrast, float(np.median(np.diff(found.seed)))):
        flags.add("stripes_uneven")
    if _narrow(found, contrast):
        flags.add("plateau_missed")
    if found.straightness > BENT:
        flags.add("lines_bent")
    return flags


def _narrow(found: EdgeSet, contrast: float) -> bool:
    """Whether stripes of one kind are narrower than twice the rise of an edge (step over slope).

    A Gaussian beam of standard deviation s rises over 2.5 s; a stripe of 5 s misses its plateau by 1 % of the step, a
    narrower one soon by much, and what is left is a sine wave: it rises over 0.64 of half its period.
    """
    gaps = np.diff(found.seed)
    if gaps.size < 2 or not found.profiles:
        return False
    rise = contrast / float(np.mean([p.slope for p in found.profiles.values()]))
    return rise > NARROW * min(float(np.median(gaps[::2])), float(np.median(gaps[1::2])))


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
