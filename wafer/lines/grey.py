"""Flags of the grey values of an image of lines, once its stripes are known."""

from __future__ import annotations

import numpy as np

from wafer.edges import EdgeSet
from wafer.noise import grey_step
from wafer.recording import banded, coarse, patterned, piled_up

SATURATED = 0.002  # share of the pixels that is flagged, as at the ends of the grey scale


def grey_flags_of(scanned: np.ndarray, found: EdgeSet, orientation: str) -> set[str]:
    """``saturated`` (cut off within the grey scale), ``row_banding``, ``periodic_pattern``, ``grey_levels_few``.

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
    return flags
