"""Slow twin of an exact CAD distance: a block of planes under one polynomial patch, in extended precision.

The part is 0 <= x <= a, 0 <= y <= b, 0 <= z <= top(x, y), with the top given by a Bezier patch. Its distance is the
least over the feet on the patch, the six faces, the four curves in which the patch meets the walls, and the straight
edges, each admitted only where it lies on the part. Nothing of it is trimmed by curves of a file: the walls end where
the patch is, which is solved for every place. Bernstein polynomials in `numpy.longdouble`; own Newton iterations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

LONG = np.longdouble


class BlockUnderPatch:
    """``poles`` (n, m, 3) of the patch; sides ``a`` along x and ``b`` along y."""

    def __init__(self, poles: np.ndarray, a: float, b: float) -> None:
        self.poles, self.sides = poles.astype(LONG), (LONG(a), LONG(b))
        u, v = (g.ravel() for g in np.meshgrid(*[np.linspace(0.0, 1.0, 61)] * 2, indexing="ij"))
        self._uv = np.stack([u, v], axis=1).astype(LONG)
        self._tree = cKDTree(self.at(self._uv)[0].astype(float))
        self._curves = [(k, c, self._curve(k, c)) for k, side in enumerate(self.sides) for c in (LONG(0), side)]

    # --- the patch
    @staticmethod
    def _basis(n: int, t: np.ndarray, order: int) -> np.ndarray:
        """(len(t), n) Bernstein polynomials or their derivatives."""
        if order:
            low = BlockUnderPatch._basis(n - 1, t, order - 1)
            zero = np.zeros((len(t), 1), dtype=LONG)
            return (n - 1) * (np.hstack([zero, low]) - np.hstack([low, zero]))
        k = np.arange(n)
        count = np.array([math.comb(n - 1, int(i)) for i in k], dtype=LONG)
        return count * t[:, None] ** k * (1 - t[:, None]) ** (n - 1 - k)

    def at(self, uv: np.ndarray, most: int = 0) -> list[np.ndarray]:
        """S, then Su, Sv, then Suu, Suv, Svv; each (n, 3)."""
        n, m, _ = self.poles.shape
        bu = [self._basis(n, uv[:, 0], d) for d in range(most + 1)]
        bv = [self._basis(m, uv[:, 1], d) for d in range(most + 1)]
        pairs = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)][: (1, 3, 6)[most]]
        return [np.einsum("ki,kj,ijc->kc", bu[i], bv[j], self.poles) for i, j in pairs]

    def _solve(self, residual: Any, uv: np.ndarray) -> np.ndarray:
        """Newton on two equations of (u, v); the Jacobian by differences, so the last steps shrink by 1e-8 each."""
        h = LONG(1e-9)
        for _ in range(60):
            r = residual(uv)
            ju = (residual(uv + np.array([h, 0])) - r) / h
            jv = (residual(uv + np.array([0, h])) - r) / h
            det = ju[:, 0] * jv[:, 1] - ju[:, 1] * jv[:, 0]
            det = np.where(np.abs(det) < 1e-300, LONG(1), det)
            step = np.stack([r[:, 0] * jv[:, 1] - r[:, 1] * jv[:, 0], ju[:, 0] * r[:, 1] - ju[:, 1] * r[:, 0]], 1)
            step = np.clip(step / det[:, None], -0.1, 0.1)
            uv = np.clip(uv - step, -0.05, 1.05)
            if np.abs(step).max() < 1e-17:
                break
        return uv

    def above(self, xy: np.ndarray) -> np.ndarray:
        """(n, 2) parameters of the place of the patch over points (n, 2)."""
        start = self._uv[cKDTree(self.at(self._uv)[0][:, :2].astype(float)).query(xy.astype(float))[1]]
        return self._solve(lambda uv: self.at(uv)[0][:, :2] - xy, start)

    def _curve(self, k: int, c: Any) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and points of the curve on the wall where coordinate k is c."""
        along = np.linspace(0.0, float(self.sides[1 - k]), 401).astype(LONG)
        xy = np.empty((len(along), 2), dtype=LONG)
        xy[:, k], xy[:, 1 - k] = c, along
        uv = self.above(xy)
        return uv, self.at(uv)[0]

    # --- feet
    def _admit(self, p: np.ndarray, foot: np.ndarray, where: np.ndarray, best: np.ndarray) -> None:
        square = np.sum((p - foot) ** 2, axis=1)
        np.copyto(best, square, where=where & (square < best))

    def _within(self, foot: np.ndarray, k: int) -> np.ndarray:
        return np.asarray((foot[:, k] >= 0) & (foot[:, k] <= self.sides[k]))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """(n,) distances, positive outside."""
        p = points.astype(LONG)
        best = np.full(len(p), np.inf, dtype=LONG)
        for near in self._tree.query(points, k=[1, 2, 9])[1].T:

            def normal(uv: np.ndarray) -> np.ndarray:
                s, su, sv = self.at(uv, 1)
                return np.stack([np.sum((s - p) * su, axis=1), np.sum((s - p) * sv, axis=1)], axis=1)

            uv = self._solve(normal, self._uv[near])
            foot = self.at(uv)[0]
            self._admit(p, foot, self._within(foot, 0) & self._within(foot, 1), best)
        for k, c, (uv0, samples) in self._curves:
            tree = cKDTree(samples.astype(float))
            for near in tree.query(points, k=[1, 3])[1].T:

                def across(uv: np.ndarray, k: int = k, c: Any = c) -> np.ndarray:
                    s, su, sv = self.at(uv, 1)
                    tangent = su * sv[:, k : k + 1] - sv * su[:, k : k + 1]
                    return np.stack([s[:, k] - c, np.sum((s - p) * tangent, axis=1)], axis=1)

                foot = self.at(self._solve(across, uv0[near]))[0]
                self._admit(p, foot, self._within(foot, 1 - k) & (np.abs(foot[:, k] - c) < 1e-15), best)
            # the wall below the curve, its upper corners, its straight edges
            foot = p.copy()
            foot[:, k] = c
            top = self.at(self.above(foot[:, :2]))[0][:, 2]
            self._admit(p, foot, self._within(foot, 1 - k) & (foot[:, 2] >= 0) & (foot[:, 2] <= top), best)
            for end in (0, -1):
                post = np.broadcast_to(samples[end], p.shape).copy()
                post[:, 2] = np.clip(p[:, 2], 0, samples[end, 2])
                self._admit(p, post, np.ones(len(p), dtype=bool), best)
        floor = np.stack([np.clip(p[:, 0], 0, self.sides[0]), np.clip(p[:, 1], 0, self.sides[1]), 0 * p[:, 2]], axis=1)
        self._admit(p, floor, np.ones(len(p), dtype=bool), best)
        inside = (p[:, 0] > 0) & (p[:, 0] < self.sides[0]) & (p[:, 1] > 0) & (p[:, 1] < self.sides[1]) & (p[:, 2] > 0)
        inside &= p[:, 2] < self.at(self.above(p[:, :2]))[0][:, 2]
        return np.where(inside, -1, 1) * np.sqrt(best)
