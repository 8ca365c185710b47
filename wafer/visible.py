"""Is there anything to see in an image? Pure noise is refused before its bumps become features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metrology_core.errors import DataError
from wafer.recording import refuse_absurd

if TYPE_CHECKING:
    from wafer.contours.grey import GreyNoise

# Standard deviation of the smoothed image over that of smoothed noise: 0.84 to 1.15 for noise alone (320 images, white,
# correlated, rounded, Poisson), 1.48 and more for the faintest contacts that the search finds.
_VISIBLE = 1.3
_FAR = 6.0  # standard deviations of smoothed noise that it does not reach in an image: two in 1e9 pixels lie beyond
_LEAST_FAR = 60  # px beyond it: a single small feature in a large image; a hot pixel lifts fewer


def smoothed(image: np.ndarray, sigma: float) -> np.ndarray:
    """The image without pixel noise and without its slow background."""
    from scipy import ndimage

    smooth: np.ndarray = ndimage.gaussian_filter(image, sigma, mode="nearest") - _ground(image)
    return smooth


def _ground(image: np.ndarray) -> np.ndarray:
    """A Gaussian mean over a fifth of the shorter side, borders repeated, as `scipy.ndimage.gaussian_filter` has it (up
    to rounding): by Fourier transforms, in a fraction of the time."""
    from scipy.signal import oaconvolve

    sigma = 0.2 * min(image.shape)
    reach = int(4.0 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        wide = [(0, 0), (0, 0)]
        wide[axis] = (reach, reach)
        kernel = taps[:, None] if axis == 0 else taps[None, :]
        image = oaconvolve(np.pad(image, wide, mode="edge"), kernel, mode="valid", axes=axis)
    return image


def refuse_not_finite(pixels: np.ndarray) -> None:
    """`DataError` where grey values are NaN, infinite or out of all proportion: a contour through such a pixel has no
    place."""
    if np.issubdtype(pixels.dtype, np.floating) and not (sound := np.isfinite(pixels)).all():
        raise DataError(
            "the image holds NaN or infinite grey values",
            expected="finite grey values",
            got=f"{np.count_nonzero(~sound)} others",
            remedy="export the image again",
        )
    refuse_absurd(pixels)


def refuse_noise(image: np.ndarray, noise: GreyNoise, sigma: float, smooth: np.ndarray | None = None) -> None:
    """`DataError` where the image, smoothed as for the search, varies no more than smoothed noise does.

    ``smooth``: the image as `smoothed` gives it, where it is there already.

    White noise of variance v keeps v / (4 pi sigma^2) under a Gaussian of standard deviation sigma; correlations r_1,
    r_2 ... along the rows, short against sigma, keep 1 + 2 (r_1 + r_2 + ...) times as much. One small feature hardly
    changes the spread of a large image: pixels that noise cannot reach count as seen, too.
    """
    if smooth is None:
        smooth = smoothed(image, sigma)
    spread = float(np.std(smooth))
    kept = max(1.0 + 2.0 * sum(noise.lags), 0.1)
    pixel = math.sqrt(float(np.mean(noise.variance(image))))
    expected = pixel * math.sqrt(kept) / (2.0 * sigma * math.sqrt(math.pi))
    if spread > _VISIBLE * expected:
        return
    if np.count_nonzero(np.abs(smooth - np.median(smooth)) > _FAR * expected) < _LEAST_FAR or not expected > 0.0:
        raise DataError(
            "the image shows nothing but noise",
            expected=f"after smoothing by {sigma:g} px, a spread above {_VISIBLE:g} times that of noise",
            got=f"{spread:.3g} grey levels where noise gives {expected:.3g}",
            remedy="check focus, position and dose; take the image again",
        )
