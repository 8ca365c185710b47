"""Where the features are: a smoothed copy is split at Otsu's threshold. Nothing here enters a measured number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metrology_core.errors import DataError

LEAST_DIAMETER = 5.0  # px: below, an edge and its neighbour across the feature overlap
SMOOTHING = 1.5  # px, Gaussian, of the copy that is split


@dataclass(frozen=True, eq=False)
class Candidates:
    """Regions found: centroids (k, 2) x, y in pixels, equivalent ``radius`` (k,), bounding boxes (k, 4) x0 y0 x1 y1.

    ``labels`` (ny, nx) region numbers from 1, 0 elsewhere; ``area`` (k,) pixels; ``convex`` (k,) area over that of the
    convex hull; ``touches`` (k,) whether a region meets the border; ``bright`` whether features are brighter than the
    ground; ``contrast`` difference of the two grey classes.
    """

    centres: np.ndarray
    radius: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    convex: np.ndarray
    touches: np.ndarray
    labels: np.ndarray
    bright: bool
    contrast: float


def locate(image: np.ndarray, polarity: Literal["dark", "bright", "auto"], smooth: np.ndarray) -> Candidates:
    """Find features. ``polarity`` auto: the class that is cut into pieces is the features'.

    ``smooth``: the copy that is split, smoothed by `SMOOTHING` (`wafer.visible.smoothed`).
    Raises `DataError` where the image has no two grey classes or no feature.
    """
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops

    if not float(np.ptp(image)) > 0.0:
        raise DataError(
            "the image is blank", expected="features darker or brighter than the ground", got="one grey level"
        )
    # Otsu's threshold is the middle of a bin of the histogram; both ends of the bin count, so that an inverted image is
    # split at the same place
    cut = 0.5 * (float(threshold_otsu(smooth)) - float(threshold_otsu(-smooth)))
    above = smooth > cut
    if polarity == "auto":
        polarity = "bright" if _pieces(above) >= _pieces(~above) else "dark"
    bright = polarity == "bright"
    mask = above if bright else ~above
    contrast = float(smooth[above].mean() - smooth[~above].mean())
    labels = label(mask, connectivity=1)
    rows = [r for r in regionprops(labels) if r.area >= math.pi * (0.5 * LEAST_DIAMETER) ** 2]
    if not rows:
        raise DataError(
            "no feature was found in the image",
            expected=f"{polarity} features of at least {LEAST_DIAMETER:g} px",
            remedy="check polarity, image area and pixel size",
        )
    ny, nx = image.shape
    boxes = np.array([(r.bbox[1], r.bbox[0], r.bbox[3] - 1, r.bbox[2] - 1) for r in rows], np.int64)
    area = np.array([float(r.area) for r in rows])
    touches = (boxes[:, 0] <= 0) | (boxes[:, 1] <= 0) | (boxes[:, 2] >= nx - 1) | (boxes[:, 3] >= ny - 1)
    keep = np.zeros(int(labels.max()) + 1, np.int64)
    keep[[r.label for r in rows]] = np.arange(1, len(rows) + 1)
    return Candidates(
        np.array([(r.centroid[1], r.centroid[0]) for r in rows]),
        np.sqrt(area / math.pi),
        boxes,
        area,
        np.array([float(r.solidity) for r in rows]),
        touches,
        keep[labels],
        bright,
        contrast,
    )


def _pieces(mask: np.ndarray) -> int:
    """Regions of a class of at least `LEAST_DIAMETER`."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if not count:
        return 0
    sizes = np.bincount(labels.ravel())[1:]
    return int(np.count_nonzero(sizes >= math.pi * (0.5 * LEAST_DIAMETER) ** 2))
