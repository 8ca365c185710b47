"""Which feature of one image is which of another of the same field, and the affine map between their places."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NAMES = ("scale_x", "scale_y", "rotation", "shear", "shift_x", "shift_y")
LEAST_PAIRS = 5  # three fix the map, the rest says how well
_HUBER = 1.345  # robust standard deviations: 95 % of the efficiency of least squares for normal errors
_STRETCH = 0.03  # largest relative difference of the scales that pairs are looked for with
_SHARE = 0.6  # of the votes of the best shift that make another one a candidate
_CANDIDATES = 9
_NEAR = 8.0  # robust standard deviations of the places that a partner may lie off


@dataclass(frozen=True, eq=False)
class Affine:
    """Places of one image over those of another, lengths with y up: ``x = t + M (X - centre)``.

    ``matrix`` (2, 2) M, ``shift`` (2,) t - centre: how far the field lies in the one from where it lies in the other,
    at ``centre`` (2,), the middle of the pairs in the other image. ``values``, ``covariance`` of `NAMES`: M less the
    unit matrix as scale in x and y, rotation (radian, counterclockwise) and shear (radian, loss of the right angle
    between x and y), then the shift. ``rms`` (2,) residuals of the places in x and y; ``dof`` of the covariance.
    """

    matrix: np.ndarray
    shift: np.ndarray
    centre: np.ndarray
    values: np.ndarray
    covariance: np.ndarray
    rms: np.ndarray
    dof: int

    def __call__(self, place: np.ndarray) -> np.ndarray:
        result: np.ndarray = (place - self.centre) @ self.matrix.T + self.centre + self.shift
        return result


def fit_affine(one: np.ndarray, other: np.ndarray) -> Affine:
    """Robust (Huber) affine map of the places ``other`` (n, 2) to ``one`` (n, 2), n of `LEAST_PAIRS` or more.

    Covariance by Huber's formula (Robust Statistics, 1981, 7.6): the mean square of the clipped residuals over the
    square of the share that is not clipped, with its correction for the parameters per axis.
    """
    n = len(one)
    centre = other.mean(axis=0)
    x = np.column_stack((other - centre, np.ones(n)))
    inverse = np.linalg.inv(x.T @ x)
    found, parts, rms = np.empty((2, 3)), np.zeros((6, 6)), np.empty(2)
    for axis in (0, 1):
        y = one[:, axis] - centre[axis]
        weight = np.ones(n)
        for _ in range(30):
            root = np.sqrt(weight)
            found[axis] = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
            rest = y - x @ found[axis]
            scale = _spread(rest, 3)
            weight = 1.0 / np.maximum(1.0, np.abs(rest) / (_HUBER * scale))
        clipped = weight * rest
        free = float(np.mean(np.abs(rest) <= _HUBER * scale))
        correction = 1.0 + 3.0 / n * (1.0 - free) / max(free, 0.2)
        variance = correction**2 * float(clipped @ clipped) / (n - 3) / max(free, 0.2) ** 2
        parts[3 * axis : 3 * axis + 3, 3 * axis : 3 * axis + 3] = variance * inverse
        rms[axis] = math.sqrt(float(clipped @ clipped) / (n - 3))
    to_names = np.array((
        (1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0), (0, -0.5, 0, 0.5, 0, 0), (0, 1, 0, 1, 0, 0), (0, 0, 1, 0, 0, 0),
        (0, 0, 0, 0, 0, 1),
    ), np.float64)  # fmt: skip
    values = to_names @ found.ravel()
    values[:2] -= 1.0
    return Affine(found[:, :2], found[:, 2], centre, values, to_names @ parts @ to_names.T, rms, n - 3)


def _spread(rest: np.ndarray, parameters: int) -> float:
    """Robust standard deviation of residuals of a fit with so many parameters."""
    n = rest.size
    return 1.4826 * float(np.median(np.abs(rest))) * math.sqrt(n / (n - parameters)) + 1e-9


def shifts(one: np.ndarray, other: np.ndarray, search: float, reach: float) -> list[np.ndarray]:
    """Shifts up to ``search`` that bring most places of ``other`` near places of ``one``, best first; ``reach``: half
    the size of the field, over which scales may differ by `_STRETCH`."""
    apart = (one[:, None, :] - other[None, :, :]).reshape(-1, 2)
    apart = apart[np.hypot(*apart.T) <= search]
    if not len(apart):
        return []
    from scipy.spatial import cKDTree

    near = _STRETCH * reach
    tree = cKDTree(apart)
    votes = np.array([len(v) for v in tree.query_ball_point(apart, near)])
    found: list[np.ndarray] = []
    most = int(votes.max())
    # of equal votes the smallest shift
    for i in np.lexsort((np.hypot(*apart.T), -votes)):
        if votes[i] < _SHARE * most or len(found) == _CANDIDATES:
            break
        middle = apart[tree.query_ball_point(apart[i], near)].mean(axis=0)
        if all(np.hypot(*(middle - f)) > near for f in found):
            found.append(middle)
    return found


def paired(one: np.ndarray, other: np.ndarray, shift: np.ndarray, reach: float, least: float) -> np.ndarray:
    """(k, 2) numbers of places that are each other's nearest after the map that they themselves define, from a first
    ``shift``; ``least``: how far off a partner may lie at least. Empty for fewer than `LEAST_PAIRS`."""
    none = np.empty((0, 2), np.int64)
    spacing = min(_least_spacing(one), _least_spacing(other))
    tolerance = min(1.5 * _STRETCH * reach, 0.5 * spacing)
    moved = other + shift
    pairs = none
    for _ in range(12):
        before = pairs
        apart = np.hypot(*(one[:, None, :] - moved[None, :, :]).transpose(2, 0, 1))
        i, j = np.argmin(apart, axis=0), np.argmin(apart, axis=1)
        mine = np.arange(len(one))
        good = (i[j] == mine) & (apart[mine, j] <= tolerance)
        pairs = np.column_stack((mine[good], j[good]))
        if len(pairs) < LEAST_PAIRS:
            return none
        found = fit_affine(one[pairs[:, 0]], other[pairs[:, 1]])
        moved = found(other)
        tolerance = min(max(least, _NEAR * float(np.hypot(*found.rms))), 0.5 * spacing)
        if np.array_equal(pairs, before):
            break
    return pairs


def _least_spacing(place: np.ndarray) -> float:
    apart = np.hypot(*(place[:, None, :] - place[None, :, :]).transpose(2, 0, 1))
    np.fill_diagonal(apart, math.inf)
    return float(apart.min())
