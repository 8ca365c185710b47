"""Is there anything to measure? Lines are refused before they become sizes."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import DataError
from wafer.contacts.locate import Candidates

_SPECK = 0.1  # of the area of the regions at the border: a closed region below is no feature of the pattern


def refuse_open_pattern(found: Candidates) -> None:
    """`DataError` where the regions run out of the image and what is closed are specks: lines, not features."""
    closed = ~found.touches
    if not found.touches.any() or closed.sum() > found.touches.sum():
        return
    large = float(np.median(found.area[found.touches]))
    if not closed.any() or float(np.max(found.area[closed])) < _SPECK * large:
        raise DataError(
            "the image holds no closed features",
            expected="contacts, pillars or other features that end within the image",
            got=f"{int(found.touches.sum())} regions that run out of it, {int(closed.sum())} specks",
            remedy="this looks like lines: measure them as lines, or choose another image area",
        )
