"""Do frames share noise? Repeats, running averages, and frames that are another one with a little new noise.

The roughness that frames share is blurred by the beam, and hardly anything of it, or of the texture of a sample, is
left between neighbouring pixels. Noise is: the fourth difference along the lines holds noise almost alone, and that of
two frames scanned one by one does not correlate, at whatever dose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metrology_core.data import Image
from metrology_core.errors import DataError

SHARED = 0.03  # correlation of the noise that counts: it adds 3 % of the noise's variance to products of frames
_STANDARD_ERRORS = 6.0  # of a correlation, below which chance explains it, in any pair of 256 frames
_ALIKE = 4.0  # independent differences are fewer than pixels: they overlap, and a slow detector joins pixels of a row
_LARGEST = 512  # px, side of the area that is compared: a quarter of a million pixels know a correlation to 0.004
_CUT = 4.0  # standard deviations: larger differences are no noise


@dataclass(frozen=True, eq=False)
class SharedNoise:
    """Correlation of the noise of frames, (frames, frames), the larger of that at the same pixels and that on the same
    lines; ``limit`` above which two frames are not independent."""

    correlation: np.ndarray
    limit: float

    @property
    def pairs(self) -> list[tuple[int, int, float]]:
        """Frames (from 1) that share noise, and how much, the worst first."""
        n = len(self.correlation)
        found = [
            (i + 1, j + 1, float(self.correlation[i, j]))
            for i in range(n) for j in range(i + 1, n) if self.correlation[i, j] > self.limit
        ]  # fmt: skip
        return sorted(found, key=lambda row: -row[2])


def shared_noise(
    frames: Sequence[Image], shifted: np.ndarray, *, orientation: Literal["vertical", "horizontal"] = "vertical"
) -> SharedNoise:
    """Correlate the noise of all pairs of frames, ``shifted`` (frames, 2) whole pixels against the first in x and y."""
    from scipy.ndimage import gaussian_filter, sobel

    turned = orientation == "horizontal"
    ny, nx = frames[0].pixels.shape
    x, y = shifted[:, 0], shifted[:, 1]
    left, top = int(max(0, -x.min())), int(max(0, -y.min()))
    width, height = nx - left - int(max(0, x.max())), ny - top - int(max(0, y.max()))
    left, top = left + max(0, (width - _LARGEST) // 2), top + max(0, (height - _LARGEST) // 2)
    width, height = min(width, _LARGEST), min(height, _LARGEST)
    if min(width, height) < 16:
        return SharedNoise(np.eye(len(frames)), 1.0)

    def cut(k: int, dx: int, dy: int) -> np.ndarray:
        part = np.asarray(frames[k].pixels[top + dy : top + dy + height, left + dx : left + dx + width], np.float64)
        return part.T if turned else part

    mean = np.zeros_like(cut(0, 0, 0))
    for k in range(len(frames)):
        mean += cut(k, int(x[k]), int(y[k]))
    smooth = gaussian_filter(mean, 3.0, mode="nearest")
    rise = np.hypot(sobel(smooth, axis=0), sobel(smooth, axis=1))[2:-2]
    flat = rise <= np.median(rise)  # away from edges
    limit = max(SHARED, _STANDARD_ERRORS * math.sqrt(_ALIKE / max(1, int(flat.sum()))))
    correlation = _correlation([_differences(cut(k, int(x[k]), int(y[k])))[flat] for k in range(len(frames))])
    if shifted.any():
        same = _correlation([_differences(cut(k, 0, 0))[flat] for k in range(len(frames))])
        correlation = np.maximum(correlation, same)
    return SharedNoise(correlation, limit)


def _differences(part: np.ndarray) -> np.ndarray:
    result: np.ndarray = part[:-4] - 4.0 * part[1:-3] + 6.0 * part[2:-2] - 4.0 * part[3:-1] + part[4:]
    return result


def _correlation(values: list[np.ndarray]) -> np.ndarray:
    """Of all pairs; 0 where a frame does not vary."""
    rows = np.stack(values)
    spread = 1.482602 * np.median(np.abs(rows), axis=1)
    spread = np.where(spread > 0.0, spread, rows.std(axis=1))  # few grey levels: most differences may be zero
    rows /= np.where(spread > 0.0, spread, 1.0)[:, None]
    np.clip(rows, -_CUT, _CUT, out=rows)
    products = rows @ rows.T
    norm = np.sqrt(np.diag(products))
    norm[norm == 0.0] = 1.0
    result: np.ndarray = products / np.outer(norm, norm)
    return result


def refuse_repeats(frames: Sequence[Image]) -> None:
    """`DataError` where two frames are equal pixel by pixel, or but for a constant: their noise is one and the same."""
    few = [np.asarray(f.pixels).ravel()[:: max(1, f.pixels.size // 1024)].astype(np.float64) for f in frames]
    for j in range(1, len(frames)):
        for i in range(j):
            if not _same(few[i], few[j]):  # spares the whole frames of nearly every pair
                continue
            if _same(np.asarray(frames[i].pixels, np.float64), np.asarray(frames[j].pixels, np.float64)):
                raise DataError(
                    "the stack repeats a frame", expected="frames scanned one by one, each with noise of its own",
                    got=f"frames {i + 1} and {j + 1} are equal, or differ by a constant only",
                    remedy="leave the repeats out; one image is measured without frames",
                )  # fmt: skip


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for a constant, within the rounding of single precision."""
    if a.shape != b.shape:
        return False
    return float(np.ptp(a - b)) <= 1e-6 * max(float(np.abs(a).max()), float(np.abs(b).max()))
