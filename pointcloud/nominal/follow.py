"""Closest points of the same points again and again while they move little, as in the last steps of a registration.

A search proves more than its answer: how near any other triangle can be, up to a margin. While a point has moved by
less than that leaves, its triangle is still the only nearest one, and the exact distance to one triangle is the exact
distance to the nominal. The others are searched anew, from where they were. Answers have the same bits as those of a
fresh search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pointcloud.nominal.surface import ClosestPoints, FloatArray, as_points

FOLLOWED = 2.0**-16  # of the part's half size: the margin. Wider proves more, and each search looks at more triangles


class FollowedPoints:
    """Made by `SurfaceTree.follow`. The points of a call are those of the call before, in the same order, moved; the
    order is one in which neighbours follow each other."""

    def __init__(self, n: int, search: Callable[..., None]) -> None:
        self._search = search
        self._slots = np.full(n, -1, dtype=np.int32)
        self._others = np.zeros(n)
        self._before: FloatArray | None = None
        self._result = ClosestPoints.empty(n)

    def closest(self, points: FloatArray) -> ClosestPoints:
        """As `SurfaceTree.closest`; the object that is returned is the same each time. The array is kept as it is until
        the next call: do not write to it."""
        xyz = as_points(points)
        before = xyz if self._before is None else self._before
        # a point whose search was cut short by a limit, or that is not finite, has slot -1: searched anew
        self._search(
            xyz, np.empty(0, dtype=np.int32), 0, self._slots, result=self._result, before=before, others=self._others
        )
        self._before = xyz
        # read without the copies and caches that belong to one answer
        return ClosestPoints(self._result.rows)
