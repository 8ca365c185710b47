"""Starts for features without a compiled search: parallel planes and slots, from raw points."""

from __future__ import annotations

import math

import numpy as np

from metrology_core.features import ParallelPlanes, Slot, basis
from metrology_core.features.pairs import ParallelLines2D, Slot2D

SAMPLE = 1500  # points that the search looks at


def thinned(n: int, most: int = SAMPLE) -> np.ndarray:
    """Rows of an even spread of at most `most` points."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def two_groups(heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best split of each row of heights (m, n) into two groups: within-group sums of squares (m,) and thresholds."""
    z = np.sort(heights, axis=1)
    n = z.shape[1]
    z0 = z - z.mean(axis=1, keepdims=True)
    left, square = np.cumsum(z0, axis=1)[:, :-1], np.cumsum(z0 * z0, axis=1)
    k = np.arange(1, n)
    total, total2 = z0.sum(axis=1, keepdims=True), square[:, -1:]
    within = total2 - left**2 / k - (total - left) ** 2 / (n - k)
    best = np.argmin(within, axis=1)
    rows = np.arange(len(z))
    return within[rows, best], 0.5 * (z[rows, best] + z[rows, best + 1])


def _directions(d: int) -> np.ndarray:
    if d == 2:
        angle = np.arange(180) * math.pi / 180.0
        return np.column_stack((np.cos(angle), np.sin(angle)))
    k = np.arange(600)
    z = 1.0 - (k + 0.5) / 600.0
    turn = k * math.pi * (3.0 - math.sqrt(5.0))
    r = np.sqrt(1.0 - z * z)
    return np.column_stack((r * np.cos(turn), r * np.sin(turn), z))


def pooled_normal(points: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Normal of two parallel planes through the two groups, least squares: the exact answer in closed form."""
    scatter = np.zeros((points.shape[1], points.shape[1]))
    for side in (1.0, -1.0):
        group = points[sides == side]
        if len(group):
            y = group - group.mean(axis=0)
            scatter += y.T @ y
    return np.asarray(np.linalg.eigh(scatter)[1][:, 0])


def planes_of(points: np.ndarray, sides: np.ndarray) -> tuple[ParallelPlanes | ParallelLines2D, np.ndarray] | None:
    """The least-squares pair of planes of two groups, and the groups as sides of its normal."""
    from metrology_core.features import sign_of

    if not ((sides > 0).any() and (sides < 0).any()):
        return None
    normal = pooled_normal(points, sides)
    normal = normal * sign_of(normal)
    high, low = float((points[sides > 0] @ normal).mean()), float((points[sides < 0] @ normal).mean())
    if high < low:
        high, low, sides = low, high, -sides
    if not high > low:
        return None
    centroid = points.mean(axis=0)
    point = centroid + (0.5 * (high + low) - float(centroid @ normal)) * normal
    make = ParallelLines2D if points.shape[1] == 2 else ParallelPlanes
    return make(point, normal, high - low), sides


def find_planes(points: np.ndarray) -> list[tuple[ParallelPlanes | ParallelLines2D, np.ndarray]]:
    """Pairs of parallel planes that split the points, best first: candidate normals, then alternating refinement."""
    sub = points[thinned(len(points))]
    sub = sub - sub.mean(axis=0)
    axes = np.linalg.svd(sub, full_matrices=False)[2]
    found: list[tuple[float, ParallelPlanes | ParallelLines2D, np.ndarray]] = []
    normals = np.concatenate((_directions(points.shape[1]), axes))
    within, _ = two_groups(normals @ sub.T)
    order = np.argsort(within, kind="stable")
    tried: list[np.ndarray] = []
    for i in order:
        normal = normals[i]
        if any(abs(float(normal @ other)) > 0.97 for other in tried):
            continue
        tried.append(normal)
        heights = points @ normal
        _, threshold = two_groups((points[thinned(len(points))] @ normal)[None])
        sides = np.where(heights > threshold[0], 1.0, -1.0)
        pair = None
        for _ in range(50):
            pair = planes_of(points, sides)
            if pair is None:
                break
            feature, sides = pair
            new = np.where((points - feature.point) @ feature.normal >= 0.0, 1.0, -1.0)
            if (new == sides).all():
                break
            sides = new
        if pair is not None:
            cost = float(np.sum((sides * ((points - pair[0].point) @ pair[0].normal) - 0.5 * pair[0].width) ** 2))
            if not any(abs(cost - other[0]) <= 1e-12 * cost for other in found):
                found.append((cost, *pair))
        if len(tried) >= 8:
            break
    found.sort(key=lambda item: item[0])
    return [(feature, sides) for _, feature, sides in found]


def slot_starts(points: np.ndarray) -> list[Slot2D]:
    """Slots in all directions that bound the points, best first by the spread of their distances."""
    sub = points[thinned(len(points))]
    result: list[tuple[float, Slot2D]] = []
    for angle in np.arange(36) * math.pi / 36.0:
        u = np.array((math.cos(angle), math.sin(angle)))
        v = np.array((-u[1], u[0]))
        x, y = sub @ u, sub @ v
        low, high = np.array((x.min(), y.min())), np.array((x.max(), y.max()))
        length, width = float(high[0] - low[0]), float(high[1] - low[1])
        if not width > 0.0:
            continue
        centre = 0.5 * (low + high)
        slot = Slot2D(centre[0] * u + centre[1] * v, u, max(length, width * (1.0 + 1e-9)), width)
        result.append((float(np.sum(slot.distance(sub) ** 2)), slot))
    result.sort(key=lambda item: item[0])
    kept: list[Slot2D] = []
    for _, slot in result:
        if all(abs(float(slot.direction @ other.direction)) < 0.99 for other in kept):
            kept.append(slot)
        if len(kept) == 6:
            break
    return kept


def lifted(flat: Slot2D, origin: np.ndarray, u: np.ndarray, v: np.ndarray) -> Slot:
    """A slot of the plane through `origin` spanned by u and v, in space."""
    center = origin + flat.center[0] * u + flat.center[1] * v
    return Slot(center, np.cross(u, v), flat.direction[0] * u + flat.direction[1] * v, flat.length, flat.width)


def plane_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroid and two directions that span the least-squares plane."""
    mean = points.mean(axis=0)
    sub = points - mean
    normal = np.linalg.eigh(sub.T @ sub)[1][:, 0]
    u, v = basis(normal)
    return mean, u, v
