"""What the scan did to an image besides imaging: tilt, drift, jitter, background, charging; reported, not corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

SEEN = 5.0  # standard uncertainties from zero at which an effect counts as seen
UNEVEN = 0.1  # share of the step between dark and bright from which a background or a trail is flagged
_TILES = 8  # along each side of an image, of which the grey is compared


@dataclass(frozen=True)
class ScanFact:
    """One finding with its standard uncertainty. ``unit`` of lengths and angles; ``1``: share of the step in grey."""

    value: float
    u: float
    unit: str

    @property
    def seen(self) -> bool:
        """Whether chance does not explain it."""
        return abs(self.value) > SEEN * self.u

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "u": self.u, "unit": self.unit, "seen": self.seen}


def uneven(facts: dict[str, ScanFact]) -> set[str]:
    """Flags: ``background_uneven`` and ``charging_trail`` where a tenth of the step and more is seen."""

    def strong(name: str) -> bool:
        return name in facts and facts[name].seen and abs(facts[name].value) > UNEVEN

    flags = set()
    if any(strong(name) for name in ("background_across", "background_over_frame", "contrast_over_frame")):
        flags.add("background_uneven")
    if strong("charging_trail"):
        flags.add("charging_trail")
    return flags


def mean_of(values: np.ndarray) -> tuple[float, float] | None:
    """Mean and its standard uncertainty from the scatter; None for less than three values."""
    good = values[np.isfinite(values)]
    if good.size < 3:
        return None
    return float(good.mean()), float(good.std(ddof=1)) / math.sqrt(good.size)


def field_background(pixels: np.ndarray, features: np.ndarray) -> dict[str, ScanFact]:
    """Change of the grey level across the field (left to right) and over the frame (top to bottom), and of the contrast
    over the frame, as shares of the step between ``features`` (ny, nx, bool) and the ground.

    Least squares over the means of both classes in 8 x 8 tiles: one level for each class, two slopes common to both
    (so that the background is that of the grey half way between them), and one of their difference. Pixels within two
    of an edge do not count, nor tiles at the border, whose features are cut. Uncertainties from the residuals. Empty
    where a class lies in too few tiles.
    """
    from scipy.ndimage import binary_dilation, binary_erosion

    ny, nx = pixels.shape
    tiles_y, tiles_x = min(_TILES, ny // 8), min(_TILES, nx // 8)
    if min(tiles_y, tiles_x) < 2:
        return {}
    rows, columns = ny // tiles_y, nx // tiles_x
    shape = (tiles_y, rows, tiles_x, columns)
    area = (slice(0, tiles_y * rows), slice(0, tiles_x * columns))
    grey = np.asarray(pixels[area], np.float64).reshape(shape)
    inside, outside = (
        mask[area].reshape(shape)
        for mask in (binary_erosion(features, iterations=2), ~binary_dilation(features, iterations=2))
    )
    inner = np.zeros((tiles_y, tiles_x), dtype=bool)
    inner[1:-1, 1:-1] = True
    y, x = np.meshgrid(
        ((np.arange(tiles_y) + 0.5) * rows - 0.5 * ny) / ny, ((np.arange(tiles_x) + 0.5) * columns - 0.5 * nx) / nx,
        indexing="ij",
    )  # fmt: skip
    designs, values = [], []
    for sign, mine in ((1.0, inside), (-1.0, outside)):
        count = mine.sum(axis=(1, 3))
        good = inner & (count >= 0.02 * rows * columns)
        total = np.where(mine, grey, 0.0).sum(axis=(1, 3))
        n = int(np.count_nonzero(good))
        kind = np.full(n, sign)
        designs.append(np.column_stack([kind > 0, kind < 0, x[good], y[good], 0.5 * kind * y[good]]).astype(np.float64))
        values.append(total[good] / count[good])
    design, value = np.concatenate(designs), np.concatenate(values)
    dof = value.size - design.shape[1]
    if dof < 5 or np.linalg.matrix_rank(design) < design.shape[1]:
        return {}
    covariance = np.linalg.inv(design.T @ design)
    found = covariance @ (design.T @ value)
    rest = value - design @ found
    u = np.sqrt(np.diag(covariance) * float(rest @ rest) / dof)
    difference = float(found[0] - found[1])
    step = abs(difference)
    if not step > 0.0:
        return {}
    return {
        "background_across": ScanFact(float(found[2]) / step, float(u[2]) / step, "1"),
        "background_over_frame": ScanFact(float(found[3]) / step, float(u[3]) / step, "1"),
        "contrast_over_frame": ScanFact(float(found[4]) / difference, float(u[4]) / step, "1"),
    }
