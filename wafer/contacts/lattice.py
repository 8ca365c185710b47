"""The lattice that features lie on: its two vectors, the index of each feature, sites without a feature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_NEIGHBOURS = 8
_LIKE = 0.12  # relative distance within which two difference vectors count as one
_MOST_SCATTER = 0.14  # of the shorter lattice vector, root mean square: places by chance that fall within 0.3 have 0.21
_MOST_RESIDUAL = 0.3  # of the shorter lattice vector: farther from its site, a feature belongs to no lattice


@dataclass(frozen=True, eq=False)
class Lattice:
    """A lattice: ``origin`` (2,) and vectors ``a``, ``b`` (2,) in pixels.

    ``index`` (k, 2) of each feature, ``residual`` (k, 2) from its site; ``covariance`` (6, 6) of (origin x, a x, b x,
    origin y, a y, b y) for independent residuals, with ``dof``.
    """

    origin: np.ndarray
    a: np.ndarray
    b: np.ndarray
    index: np.ndarray
    residual: np.ndarray
    covariance: np.ndarray
    dof: int

    def site(self, index: np.ndarray) -> np.ndarray:
        """(k, 2) places of sites (k, 2)."""
        return self.origin + index[:, :1] * self.a + index[:, 1:] * self.b

    def sites_in(self, shape: tuple[int, int], margin: float = 0.0) -> np.ndarray:
        """(k, 2) indices of all sites within an image (ny, nx), by row, ``margin`` pixels off its border."""
        ny, nx = shape
        corner = np.array([(0.0, 0.0), (nx - 1.0, 0.0), (0.0, ny - 1.0), (nx - 1.0, ny - 1.0)])
        m = np.linalg.solve(np.column_stack((self.a, self.b)), (corner - self.origin).T).T
        low, high = np.floor(m.min(axis=0)).astype(int), np.ceil(m.max(axis=0)).astype(int)
        i, j = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1), indexing="ij")
        index = np.column_stack((i.ravel(), j.ravel()))
        x, y = self.site(index).T
        inside = (x >= margin) & (x <= nx - 1 - margin) & (y >= margin) & (y <= ny - 1 - margin)
        found = index[inside]
        order = np.lexsort((x[inside], np.round(y[inside], 3)))
        return found[order]


def find_lattice(centres: np.ndarray, aspect: float = 1.0) -> Lattice | None:
    """The lattice of centres (k, 2), or None where they do not lie on one (fewer than six, or scattered).

    Differences to the nearest neighbours are grouped; the two shortest groups that are not parallel span the lattice;
    indices spread from feature to feature; vectors and origin follow by least squares. Which vectors are named a
    and b is settled by `named_basis`, with ``aspect`` the pixel size in x over that in y.
    """
    from scipy.spatial import cKDTree

    n = len(centres)
    if n < 6:
        return None
    k = min(_NEIGHBOURS, n - 1)
    _, near = cKDTree(centres).query(centres, k + 1)
    difference = (centres[near[:, 1:]] - centres[:, None]).reshape(-1, 2)
    difference *= np.where((difference[:, 0] < 0) | ((difference[:, 0] == 0) & (difference[:, 1] < 0)), -1.0, 1.0)[
        :, None
    ]
    vectors = _groups(difference)
    pair = _basis(vectors)
    if pair is None:
        return None
    index = _indices(centres, near[:, 1:], *pair)
    for _ in range(3):
        used = index[:, 0] != _NONE
        if used.sum() < 6:
            return None
        fit = _affine(centres[used], index[used])
        if fit is None:
            return None
        origin, a, b = fit
        real = np.linalg.solve(np.column_stack((a, b)), (centres - origin).T).T
        index = np.rint(real).astype(np.int64)
        off = np.linalg.norm(centres - (origin + index[:, :1] * a + index[:, 1:] * b), axis=1)
        index[off > _MOST_RESIDUAL * min(np.linalg.norm(a), np.linalg.norm(b))] = _NONE
        index = _once(index, off)
    used = index[:, 0] != _NONE
    if used.sum() < max(6, 0.6 * n):
        return None
    fit = _affine(centres[used], index[used])
    if fit is None:
        return None
    origin, a, b = _upright(fit, index, used, aspect)
    residual = np.full((n, 2), math.nan)
    residual[used] = centres[used] - (origin + index[used, :1] * a + index[used, 1:] * b)
    design = np.column_stack((np.ones(used.sum()), index[used]))
    dof = int(used.sum()) - 3
    scatter = residual[used].T @ residual[used] / dof
    if np.trace(scatter) > (_MOST_SCATTER * min(np.linalg.norm(a), np.linalg.norm(b))) ** 2:
        return None
    inverse = np.linalg.inv(design.T @ design)
    return Lattice(origin, a, b, index, residual, np.kron(scatter, inverse), dof)


_NONE = -(2**31)
_AT_ONCE = 256


def on_lattice(lattice: Lattice) -> np.ndarray:
    """(k,) whether each feature has a site of its own."""
    found: np.ndarray = lattice.index[:, 0] != _NONE
    return found


def _groups(difference: np.ndarray) -> list[np.ndarray]:
    """Medians of groups of like vectors, those with many members first."""
    left = difference[np.isfinite(difference).all(axis=1)]
    total = len(left)
    found: list[np.ndarray] = []
    while len(left) and len(found) < 12:
        reach = _LIKE * np.linalg.norm(left, axis=1)
        x, y = np.ascontiguousarray(left.T)
        count = np.concatenate([  # some hundred at a time: the table of all pairs may not fit
            ((x[k : k + _AT_ONCE, None] - x) ** 2 + (y[k : k + _AT_ONCE, None] - y) ** 2
             < reach[k : k + _AT_ONCE, None] ** 2).sum(axis=1)
            for k in range(0, len(left), _AT_ONCE)
        ])  # fmt: skip
        best = int(np.argmax(count))
        if count[best] < max(3, 0.03 * total):
            break
        like = np.linalg.norm(left - left[best], axis=1) < reach[best]
        found.append(np.median(left[like], axis=0))
        left = left[np.linalg.norm(left - found[-1], axis=1) > 1.5 * reach[best]]
    return found


def _basis(vectors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    ordered = sorted(vectors, key=lambda v: float(np.hypot(*v)))
    for i, a in enumerate(ordered):
        for b in ordered[i + 1 :]:
            sine = abs(a[0] * b[1] - a[1] * b[0]) / (np.hypot(*a) * np.hypot(*b))
            if sine > 0.5:
                return a, b
    return None


def _indices(centres: np.ndarray, near: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Indices spread from neighbour to neighbour: errors of the first guess of the vectors do not add up.

    They start at the most central feature. Where that one is off the lattice (two features grown together), or missing
    features part the image, they start anew among those not reached, and the largest connected set counts.
    """
    inverse = np.linalg.inv(np.column_stack((a, b)))
    best = np.full((len(centres), 2), _NONE, np.int64)
    reached = np.zeros(len(centres), bool)
    most = 0
    for start in np.argsort(np.linalg.norm(centres - np.median(centres, axis=0), axis=1), kind="stable"):
        if reached[start]:
            continue
        index = np.full((len(centres), 2), _NONE, np.int64)
        index[start] = 0
        queue = [int(start)]
        for i in queue:
            for j in near[i]:
                if index[j, 0] != _NONE:
                    continue
                real = inverse @ (centres[j] - centres[i])
                step = np.rint(real)
                if np.abs(real - step).max() < _MOST_RESIDUAL and np.abs(step).max() <= 2:
                    index[j] = index[i] + step.astype(np.int64)
                    queue.append(int(j))
        reached[queue] = True
        if len(queue) > most:
            most, best = len(queue), index
        if most >= len(centres) - int(reached.sum()):  # none of those left can be more
            break
    return best


def _affine(centres: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    design = np.column_stack((np.ones(len(index)), index)).astype(np.float64)
    if np.linalg.matrix_rank(design) < 3:
        return None
    found = np.linalg.lstsq(design, centres, rcond=None)[0]
    return found[0], found[1], found[2]


def _once(index: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Where two features claim one site the nearer one keeps it."""
    order = np.argsort(off, kind="stable")
    taken: set[tuple[int, int]] = set()
    result = index.copy()
    for i in order:
        key = (int(index[i, 0]), int(index[i, 1]))
        if key[0] == _NONE:
            continue
        if key in taken:
            result[i] = _NONE
        taken.add(key)
    return result


def _upright(
    fit: tuple[np.ndarray, np.ndarray, np.ndarray], index: np.ndarray, used: np.ndarray, aspect: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Name the vectors by the rule of `named_basis`. Changes index to belong to them."""
    origin, a, b = fit
    turn = named_basis(a, b, aspect)
    a, b = turn @ np.array([a, b])
    # i a + j b = i' a' + j' b' for rows (a', b') = turn (a, b): (i', j') = (i, j) turn^-1, whole numbers as well
    index[used] = np.rint(index[used] @ np.linalg.inv(turn)).astype(np.int64)
    return origin, a, b


_HALF_TIE = 0.25  # of a . b / |a|^2 of the reduced pair: 0 in a rectangle, 0.5 where its two diagonals are equal
_ALIKE = 1.2  # ratio of lengths between that of a hexagonal lattice (1) and that of a square and its diagonal (1.41)
_LEAN = 5.0  # degrees towards +y: arrays that are symmetric about the axes have two vectors at one angle from x


def named_basis(a: np.ndarray, b: np.ndarray, aspect: float = 1.0) -> np.ndarray:
    """Whole-number (2, 2) matrix whose rows give the vectors named a and b in any two vectors that span a lattice.

    ``aspect`` is the pixel size in x over that in y. The names hang on the lattice alone, not on which of nearly equal
    vectors noise made the shorter one: the candidates are the two shortest vectors v, w; where the diagonal is about as
    short as w (v . w above a quarter of v^2: staggered rows), the diagonal in place of w; and where all three are
    about alike (hexagonal), any two of the three. a is the candidate nearest to the x axis, or rather to a direction
    5 degrees from it towards +y: of two vectors at the same angle on both sides of the axis that is the one with +y.
    b is the candidate that follows first when one turns from a towards +y.
    """
    metric = np.array([1.0, 1.0 / aspect])
    rows, vectors = np.eye(2, dtype=np.int64), np.array([a, b]) * metric
    for _ in range(64):  # Gauss's reduction: each round shortens the longer vector, or ends
        if vectors[1] @ vectors[1] < vectors[0] @ vectors[0]:
            rows, vectors = rows[::-1].copy(), vectors[::-1].copy()
        times = round(float(vectors[0] @ vectors[1] / (vectors[0] @ vectors[0])))
        if times == 0:
            break
        rows[1] -= times * rows[0]
        vectors[1] -= times * vectors[0]
    v, w = vectors
    third = rows[1] - (1 if v @ w >= 0.0 else -1) * rows[0]
    each = [rows[0], rows[1], third]
    size = [float(np.hypot(*(r @ (np.array([a, b]) * metric)))) for r in each]
    pairs = [(0, 1)]
    if abs(float(v @ w)) > _HALF_TIE * float(v @ v):
        pairs.append((0, 2))
        if size[2] < _ALIKE * size[0]:
            pairs.append((1, 2))
    angle = [math.degrees(math.atan2(y, x)) for x, y in (r @ (np.array([a, b]) * metric) for r in each)]

    def off_axis(k: int) -> float:
        """Degrees within -90 to 90 from the leaning axis."""
        return (angle[k] - _LEAN + 90.0) % 180.0 - 90.0

    first = min({k for pair in pairs for k in pair}, key=lambda k: abs(off_axis(k)))
    others = [k for pair in pairs for k in pair if first in pair and k != first]
    second = min(others, key=lambda k: (angle[k] - angle[first]) % 180.0)
    result = np.array([each[first], each[second]])
    (ax, _), (_, _) = result @ np.array([a, b])
    if ax < 0.0:
        result[0] *= -1
    (ax, ay), (bx, by) = result @ np.array([a, b])
    if ax * by - ay * bx < 0.0:
        result[1] *= -1
    return result
