"""Where the contours are, roughly: level lines of a smoothed copy, as vertices evenly spaced along them. Nothing here
enters a measured number; the edges are found again in the unsmoothed image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from metrology_core.errors import DataError

SMOOTH = 2.0  # px, standard deviation of the copy that is cut
LEAST_LENGTH = 12.0  # px: shorter level lines are specks
LEAST_AREA = 20.0  # px^2
_NORMAL = 4.0  # px along the contour over which its direction is averaged
_MOST_BEND = 0.2  # 1/px: no sharper bend can be told from directions so averaged
_SLOW = 8.0  # px along the contour over which its bend is averaged: noise must not bend a stretch
DEPTH = 24  # px, how far the middle of a feature or gap is looked for; wide edges look further (`deeper`)
_STEEP = 0.35  # share of the step that must be crossed within 6 px about a level line, else it runs in noise


@dataclass(frozen=True, eq=False)
class Seeds:
    """Vertices of all contours one after another: ``x``, ``y`` (n,) pixels, unit normals ``ux``, ``uy`` (n,) out of the
    features, ``bend`` (n,) curvature in 1/px, positive where a feature is convex, ``contour`` (n,) number; ``closed``
    and ``first`` (c + 1,) per contour; ``spacing`` (c,) between vertices; ``inside``, ``outside`` (n,) pixels from the
    contour to the middle of the feature, of the gap; ``mask`` (ny, nx) features; ``bright``; ``low``, ``high`` grey
    classes."""

    x: np.ndarray
    y: np.ndarray
    ux: np.ndarray
    uy: np.ndarray
    bend: np.ndarray
    contour: np.ndarray
    closed: np.ndarray
    first: np.ndarray
    spacing: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    mask: np.ndarray
    bright: bool
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Split:
    """A smoothed copy cut in two classes: ``flat`` (copy without its background) and the ``cut``."""

    flat: np.ndarray
    cut: float
    low: float
    high: float


def split_grey(image: np.ndarray) -> Split:
    """Smooth, take off a background (second-degree polynomial, classes free), cut at Otsu's threshold."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    if not float(np.ptp(image)) > 0.0:
        raise DataError("the image is blank", expected="features of another grey than the ground", got="one grey level")
    flat = gaussian_filter(image, SMOOTH, mode="nearest")
    ny, nx = flat.shape
    y, x = np.mgrid[-1.0 : 1.0 : complex(ny), -1.0 : 1.0 : complex(nx)]
    pick = slice(None, None, 4)
    terms = [x, y, x * x, x * y, y * y]
    for _ in range(2):
        cut = float(threshold_otsu(flat))
        above = (flat > cut)[pick, pick].ravel()
        design = np.column_stack([above, ~above, *(t[pick, pick].ravel() for t in terms)]).astype(np.float64)
        found = np.linalg.lstsq(design, flat[pick, pick].ravel(), rcond=None)[0]
        background = sum(c * t for c, t in zip(found[2:], terms, strict=True))
        if abs(found[0] - found[1]) < 0.5 * float(np.ptp(background)):
            break  # what varies over the field is the pattern itself
        flat = flat - background
    cut = float(threshold_otsu(flat))
    above = flat > cut
    if above.all() or not above.any():
        raise DataError("the image has no two grey classes", remedy="check the image area")
    low, high = float(np.median(flat[~above])), float(np.median(flat[above]))
    return Split(flat, 0.5 * (low + high), low, high)


def find_seeds(image: np.ndarray, spacing: float, polarity: Literal["auto", "dark", "bright"], split: Split) -> Seeds:
    """Level lines of the copy as evenly spaced vertices. Raises `DataError` where there is none."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter1d, map_coordinates
    from skimage.measure import find_contours

    above = split.flat > split.cut
    bright = _bright(above) if polarity == "auto" else polarity == "bright"
    mask = above if bright else ~above
    sign = 1.0 if bright else -1.0
    step = split.high - split.low
    rows: list[tuple[np.ndarray, np.ndarray, bool, float]] = []
    bends: list[np.ndarray] = []
    for line in find_contours(split.flat, split.cut):
        points = line[:, ::-1]
        closed = bool(np.all(points[0] == points[-1])) and len(points) > 3
        arc = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
        if arc[-1] < LEAST_LENGTH or (closed and _area(points) < LEAST_AREA):
            continue
        count = max(6, round(arc[-1] / spacing))
        at = arc[-1] * (np.arange(count) + (0.0 if closed else 0.5)) / count
        even = np.column_stack((np.interp(at, arc, points[:, 0]), np.interp(at, arc, points[:, 1])))
        gap = arc[-1] / count
        mode = "wrap" if closed else "nearest"
        soft = gaussian_filter1d(even, 2.0 / gap, axis=0, mode=mode) if closed else even
        along = gaussian_filter1d(even, _NORMAL / gap, axis=0, mode=mode)
        tangent = np.roll(along, -1, axis=0) - np.roll(along, 1, axis=0) if closed else np.gradient(along, axis=0)
        length = np.hypot(*tangent.T)
        if not length.min() > 1e-6:
            continue
        normal = np.column_stack((tangent[:, 1], -tangent[:, 0])) / length[:, None]
        # grey falls along the outward normal of a bright feature
        ahead, behind = (
            map_coordinates(split.flat, (soft + k * normal).T[::-1], order=1, mode="nearest") for k in (3.0, -3.0)
        )
        fall = float(np.mean(behind - ahead)) * sign
        if abs(fall) < _STEEP * step:
            continue
        out = 1.0 if fall > 0.0 else -1.0
        rows.append((soft, out * normal, closed, gap))
        bends.append(out * _bend(normal, closed, gap))
    if not rows:
        raise DataError(
            "no contour was found in the image",
            expected=f"edges at least {LEAST_LENGTH:g} px long",
            remedy="check polarity and image area",
        )
    x, y = (np.concatenate([r[0][:, k] for r in rows]) for k in (0, 1))
    ux, uy = (np.concatenate([r[1][:, k] for r in rows]) for k in (0, 1))
    first = np.concatenate(([0], np.cumsum([len(r[0]) for r in rows])))
    contour = np.repeat(np.arange(len(rows)), np.diff(first))
    depth_in, depth_out = distance_transform_edt(mask), distance_transform_edt(~mask)
    reach = [_reach(depth, x, y, s * ux, s * uy) for depth, s in ((depth_in, -1.0), (depth_out, 1.0))]
    return Seeds(
        x, y, ux, uy, np.concatenate(bends), contour, np.array([r[2] for r in rows]), first,
        np.array([r[3] for r in rows]), reach[0], reach[1], mask, bright, split.low, split.high,
    )  # fmt: skip


def deeper(seeds: Seeds, most: float) -> Seeds:
    """The seeds with ``inside`` and ``outside`` looked for up to ``most`` px: the plateaus of wide edges lie there.

    As many steps as for narrow edges, wider ones: the more steps, the sooner one of them meets the stairs of the mask.
    """
    from scipy.ndimage import distance_transform_edt

    step = most / DEPTH
    reach = [
        step * _reach(distance_transform_edt(mask), seeds.x, seeds.y, step * s * seeds.ux, step * s * seeds.uy, step)
        + 0.5 * (step - 1.0)  # `trace` adds the other half of a pixel for whole steps
        for mask, s in ((seeds.mask, -1.0), (~seeds.mask, 1.0))
    ]
    return replace(seeds, inside=reach[0], outside=reach[1])


def _bend(normal: np.ndarray, closed: bool, gap: float) -> np.ndarray:
    """(n,) curvature in 1/px of a contour whose normals (n, 2), ``gap`` px apart, lie a quarter turn before its
    direction: how fast they turn, positive where they spread."""
    from scipy.ndimage import gaussian_filter1d

    turn = np.roll(normal, -1, axis=0) - np.roll(normal, 1, axis=0) if closed else 2.0 * np.gradient(normal, axis=0)
    along = turn[:, 1] * normal[:, 0] - turn[:, 0] * normal[:, 1]
    mean = gaussian_filter1d(along / (2.0 * gap), _SLOW / gap, mode="wrap" if closed else "nearest")
    bend: np.ndarray = np.clip(mean, -_MOST_BEND, _MOST_BEND)
    return bend


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _bright(above: np.ndarray) -> bool:
    """The class that is cut into more pieces is the features'; where both are, the smaller."""
    from scipy import ndimage

    counts = []
    for mask in (above, ~above):
        labels, count = ndimage.label(mask)
        counts.append(int(np.count_nonzero(np.bincount(labels.ravel())[1:] >= LEAST_AREA)) if count else 0)
    if counts[0] != counts[1]:
        return counts[0] > counts[1]
    return bool(above.mean() <= 0.5)


def _reach(
    depth: np.ndarray, x: np.ndarray, y: np.ndarray, ux: np.ndarray, uy: np.ndarray, length: float = 1.0
) -> np.ndarray:
    """How many steps (``ux``, ``uy``) of ``length`` px one can go until the distance to the nearest edge no longer
    grows."""
    from scipy.ndimage import map_coordinates

    steps = np.arange(DEPTH + 1, dtype=np.float64)
    place = np.stack((y[:, None] + steps * uy[:, None], x[:, None] + steps * ux[:, None]))
    d = map_coordinates(depth, place, order=1, mode="nearest")
    growing = np.diff(d, axis=1) > 0.25 * length
    growing[:, :2] = True  # pixels of the mask make the first steps uncertain
    stop = np.where(growing.all(axis=1), DEPTH, np.argmin(growing, axis=1))
    result: np.ndarray = stop.astype(np.float64)
    return np.maximum(result, 2.0) if math.isfinite(float(result.sum())) else result
