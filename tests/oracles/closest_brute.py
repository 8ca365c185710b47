"""Slow twin of the closest point on a mesh: every triangle, extended precision, by its affine hulls.

The foot on a triangle is the nearest of those feet on its vertices, edge lines and plane that lie in it; the feet come
in `numpy.longdouble`, from coordinates along and across the longest edge. No tree, no sieve, another way to the foot.
"""

from __future__ import annotations

import numpy as np

LONG = np.longdouble


def brute_distance(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(n,) unsigned distances, in extended precision."""
    a, b, c = (vertices[faces[:, k]].astype(LONG) for k in range(3))
    return np.array([_one(p.astype(LONG), a, b, c) for p in points])


def _one(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    best = min(np.sum((p - q) ** 2, axis=1).min() for q in (a, b, c))
    for q, r in ((a, b), (b, c), (c, a)):
        e = r - q
        ee = np.sum(e * e, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.sum((p - q) * e, axis=1) / ee
        ok = (ee > 0) & (t > 0) & (t < 1)
        if ok.any():
            rest = (p - q[ok]) - t[ok, None] * e[ok]
            best = min(best, np.sum(rest * rest, axis=1).min())
    # along the longest edge, and across it in the plane: the height of a sliver never meets the square of its length
    corners = np.stack([a, b, c], axis=1)
    length = np.sum((np.roll(corners, -1, axis=1) - corners) ** 2, axis=2)
    k = np.argmax(length, axis=1)
    rows = np.arange(len(a))
    a, b, c = corners[rows, k], corners[rows, (k + 1) % 3], corners[rows, (k + 2) % 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        e = (b - a) / np.sqrt(length[rows, k])[:, None]
        u = c - a
        g = u - np.sum(u * e, axis=1)[:, None] * e
        g = g - np.sum(g * e, axis=1)[:, None] * e
        h = np.sqrt(np.sum(g * g, axis=1))
        g = g / h[:, None]
        w = p - a
        x, y = np.sum(w * e, axis=1), np.sum(w * g, axis=1)
        foot_c = np.sum(u * e, axis=1)
        s = y / h
        ok = (h > 0) & (s > 0) & (x > s * foot_c) & (x < np.sqrt(length[rows, k]) * (1 - s) + s * foot_c)
    if ok.any():
        rest = w[ok] - x[ok, None] * e[ok] - y[ok, None] * g[ok]
        best = min(best, np.sum(rest * rest, axis=1).min())
    return np.sqrt(best)
