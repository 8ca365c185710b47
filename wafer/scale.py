"""The pixel size as a cause of uncertainty: one error for both axes, or one for each.

One stated number (``--pixel-u``, ``u_relative`` of a recipe, ``scale_u`` of an instrument) is one calibration: the
sizes in x and y err alike, and a diameter errs by the whole of it. Two numbers are two calibrations: a diameter, which
lies half along each axis, errs by half of each, independently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.data import Image
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence


@dataclass(frozen=True)
class PixelScale:
    """``relative`` standard uncertainties of the pixel size in x and y, and the ``influences`` they come from: the same
    one twice where both axes share it."""

    relative: tuple[float, float]
    influences: tuple[Influence, Influence]

    @property
    def common(self) -> bool:
        return self.influences[0].id == self.influences[1].id

    def rows(self, change: tuple[float, float]) -> list[tuple[Influence, float]]:
        """Contributions to a value that changes by ``change`` per relative change of the pixel size in x and in y."""
        parts = [c * r for c, r in zip(change, self.relative, strict=True)]
        if self.common:
            return [(self.influences[0], parts[0] + parts[1])]
        return list(zip(self.influences, parts, strict=True))

    def variance(self, change: np.ndarray) -> np.ndarray:
        """Variances of values whose changes are the rows of ``change`` (..., 2)."""
        parts = np.asarray(change) * np.array(self.relative)
        result: np.ndarray = parts.sum(axis=-1) ** 2 if self.common else (parts**2).sum(axis=-1)
        return result


def pixel_scale(image: Image, instrument: Instrument | None) -> PixelScale | None:
    """What the image states about its pixel size, else what the instrument declares; None where nobody says."""
    common = True
    if image.pixel_size_u is not None and image.pixel_size is not None and max(image.pixel_size_u) > 0.0:
        (ux, uy), (px, py) = image.pixel_size_u, image.pixel_size
        relative = (ux / px, uy / py)
        common = image.pixel_size_u_common
    elif instrument is not None and instrument.scale_u:
        relative = (instrument.scale_u, instrument.scale_u)
    else:
        return None
    x, y = (_influence(instrument, None if common else axis) for axis in ("x", "y"))
    return PixelScale(relative, (x, y))


def _influence(instrument: Instrument | None, axis: str | None) -> Influence:
    if instrument is not None:
        return instrument.scale_influence(axis)
    # one calibration stated in one place is one cause for all images read with it
    if axis is None:
        return Influence("image/scale", "pixel size, x and y alike", "B")
    return Influence(f"image/scale/{axis}", f"pixel size in {axis}", "B")
