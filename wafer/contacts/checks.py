"""Is there anything to measure? Pure noise and lines are refused before they become sizes."""

from __future__ import annotations

import math

import numpy as np

from metrology_core.errors import DataError
from wafer.contacts.locate import Candidates, smoothed
from wafer.contours import GreyNoise

_VISIBLE = 1.5  # standard deviation of the smoothed image over that of smoothed noise: 1 for noise alone
_SPECK = 0.1  # of the area of the regions at the border: a closed region below is no feature of the pattern


def refuse_noise(image: np.ndarray, noise: GreyNoise, sigma: float) -> None:
    """`DataError` where the image, smoothed as for the search, varies no more than smoothed noise does.

    White noise of variance v keeps v / (4 pi sigma^2) under a Gaussian of standard deviation sigma; neighbours in a row
    that are correlated by r keep (1 + r) / (1 - r) times as much.
    """
    spread = float(np.std(smoothed(image, sigma)))
    r = min(max(noise.correlation, 0.0), 0.9)
    pixel = math.sqrt(float(np.mean(noise.variance(image))))
    expected = pixel * math.sqrt((1.0 + r) / (1.0 - r)) / (2.0 * sigma * math.sqrt(math.pi))
    if not spread > _VISIBLE * expected:
        raise DataError(
            "the image shows nothing but noise",
            expected=f"after smoothing by {sigma:g} px, a spread above {_VISIBLE:g} times that of noise",
            got=f"{spread:.3g} grey levels where noise gives {expected:.3g}",
            remedy="check focus, position and dose; take the image again",
        )


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
