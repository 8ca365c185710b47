"""What became of each polygon of the design: found, missing, broken, bridged; and features that no polygon asked for.

Judged on the areas of the smoothed copy that the seeds come from; nothing here is a length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wafer.contours.registration import raster
from wafer.contours.seeds import LEAST_AREA

_MISSING = 0.25  # share of a polygon's area (in the image) that must be covered
_PIECE = 0.1  # share of a polygon's area that makes a region one of its pieces
STATES = ("found", "missing", "broken", "bridged", "outside")


@dataclass(frozen=True, eq=False)
class Shapes:
    """``state`` of each design polygon (`STATES`; holes of the design count as outside) and the middles (k, 2) in
    pixels of ``extra`` features."""

    state: tuple[str, ...]
    extra: np.ndarray


def judge_shapes(mask: np.ndarray, rings: Sequence[np.ndarray], solid: Sequence[bool]) -> Shapes:
    """``rings`` the polygons in pixels of the image, ``solid`` False for holes; ``mask`` the features of the image."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    ny, nx = mask.shape
    claimed = np.zeros(count + 1, bool)
    pieces: list[np.ndarray] = []
    states: list[str] = []
    for ring, feature in zip(rings, solid, strict=True):
        x0, y0 = (max(0, math.floor(v)) for v in ring.min(axis=0))
        x1, y1 = min(nx, math.ceil(ring[:, 0].max()) + 1), min(ny, math.ceil(ring[:, 1].max()) + 1)
        pieces.append(np.empty(0, np.int64))
        if not feature or x0 >= x1 or y0 >= y1:
            states.append("outside")
            continue
        inside = np.abs(raster([ring - (x0, y0)], (y1 - y0, x1 - x0))) > 0.5
        area = int(inside.sum())
        if area < LEAST_AREA:
            states.append("outside")
            continue
        sizes = np.bincount(labels[y0:y1, x0:x1][inside], minlength=count + 1)
        sizes[0] = 0
        mine = np.flatnonzero(sizes >= max(_PIECE * area, 4))
        claimed[np.flatnonzero(sizes >= 4)] = True
        pieces[-1] = mine
        states.append("missing" if sizes.sum() < _MISSING * area else "broken" if mine.size > 1 else "found")
    owners = np.zeros(count + 1, np.int64)
    for mine in pieces:
        owners[mine] += 1
    for i, mine in enumerate(pieces):
        if states[i] in ("found", "broken") and np.any(owners[mine] > 1):
            states[i] = "bridged"
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    loose = [k for k in range(1, count + 1) if not claimed[k] and sizes[k] >= LEAST_AREA]
    middles = np.array(ndimage.center_of_mass(mask, labels, loose)) if loose else np.empty((0, 2))
    return Shapes(tuple(states), middles.reshape(-1, 2)[:, ::-1])
