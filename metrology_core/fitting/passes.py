"""Least squares of many points: threaded passes over points that lie in memory, or that are gathered or read.

Every pass visits all points once, in whole chunks; partial results are those of the chunks and are folded in chunk
order. The arithmetic, and the bits, do not depend on where the points come from, nor on the number of threads.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.search import NO_SEARCH, search_and_solve
from metrology_core.fitting.search import plan as search_plan
from metrology_core.kernels import layout

# From NEAR_FROM points on, NEAR of them are fitted first: that costs a twentieth of a pass and saves one to three.
NEAR_FROM, NEAR = 1 << 17, 8192
SHARES = 4  # ranges per thread and pass
_SPREAD = 1e-10  # variance, of an extent of about 1, far above what counts as flat (layout.FLAT_BELOW)
_GOLDEN = 0.6180339887498949
_NOTHING = np.empty(0)
_NO_POSES = np.empty((0, layout.POSE))

# What a pass does with points first * CHUNK and on, of which it is given chunks start to stop: (flat, weights, first,
# start, stop). What looks on meanwhile: (index of the first point, (m, 3) points, weights).
Work = Callable[[np.ndarray, np.ndarray, int, int, int], object]
Seen = Callable[[int, np.ndarray, np.ndarray], object]


class Picked:
    """Points at given indices, and their weights, gathered while a pass goes by."""

    def __init__(self, index: np.ndarray, weighted: bool) -> None:
        self.order = np.argsort(index, kind="stable")
        self.sorted = index[self.order]
        self.points = np.empty((len(index), 3))
        self.weights = np.empty(len(index) if weighted else 0)

    def __call__(self, first: int, points: np.ndarray, weights: np.ndarray) -> None:
        low, high = np.searchsorted(self.sorted, (first, first + len(points)))
        place, here = self.order[low:high], self.sorted[low:high] - first
        self.points[place] = points[here]
        if self.weights.size:
            self.weights[place] = weights[here]


def near_indices(n: int) -> np.ndarray:
    """NEAR of n points, spread over all by steps of the golden section: a fixed stride may meet the lines of a scan."""
    result: np.ndarray = (np.arange(NEAR) * (_GOLDEN * n)).astype(np.int64) % n
    return result


def _sample_indices(n: int, m: int) -> np.ndarray:
    """The points that the compiled search looks at, in its order (`kernels.starts.sample`)."""
    step = max(1, int(_GOLDEN * n))
    while np.gcd(step, n) != 1:
        step += 1
    result: np.ndarray = (np.arange(m, dtype=np.int64) * step) % n
    return result


class Points(ABC):
    """Points that passes go over; `n` counts those that are used."""

    n: int
    weighted = False
    clean = True  # whether no point is left out so far
    may_drop = False  # whether the points can be taken again without those that are not finite
    sample: np.ndarray  # flat, what the search takes its sample from, after `extremes`
    near: np.ndarray  # points spread over all, and their weights
    near_weights: np.ndarray

    @property
    def chunks(self) -> int:
        return -(-self.n // layout.CHUNK)

    @abstractmethod
    def each(self, work: Work, seen: Seen | None = None) -> None:
        """Give all points to `work`, chunk by chunk, and to `seen`, in their order."""

    def extremes(self, info: np.ndarray) -> int:
        """Centre and scale into `info`; READY, BAD_POINTS or NO_EXTENT; keeps sample and near points."""
        from metrology_core.kernels import fitmain as k

        for _ in range(2):
            n = self.n
            m = min(n, layout.SAMPLE)
            picked, near = Picked(_sample_indices(n, m), False), Picked(near_indices(n), self.weighted)
            rows = np.empty((self.chunks, layout.N_MOMENTS))

            def seen(
                first: int, points: np.ndarray, weights: np.ndarray, picked: Picked = picked, near: Picked = near
            ) -> None:
                picked(first, points, weights)
                near(first, points, weights)

            def work(flat: np.ndarray, _: np.ndarray, c: int, a: int, b: int, rows: np.ndarray = rows) -> None:
                k.extremes(flat, a, b, rows[c:])

            self.each(work, seen)
            code = int(k.settle_extremes(rows, n, info))
            if code != layout.BAD_POINTS or not self.may_drop or not self.clean:
                break
            self.clean = False
            self.n = int(rows[:, layout.M_COUNT].sum())
            if self.n == 0:
                break
        self.near, self.near_weights = near.points, near.weights
        arranged = np.empty_like(picked.points)
        arranged[_sample_indices(m, m)] = picked.points
        self.sample = kernel_view(arranged)
        return code

    def moments(self, info: np.ndarray) -> np.ndarray:
        """(chunks, N_MOMENTS) moments of the centred, scaled points."""
        from metrology_core.kernels import fitmain as k

        rows = np.empty((self.chunks, layout.N_MOMENTS))
        centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
        self.each(lambda flat, load, c, a, b: k.moments(flat, load, centre, scale, a, b, rows[c:]))
        return rows


class Whole(Points):
    """Points that lie in memory as the kernels take them."""

    def __init__(self, xyz: np.ndarray, weights: np.ndarray) -> None:
        self.n, self.weighted = len(xyz), bool(weights.size)
        self._xyz, self._weights = xyz, weights
        self._flat, self._load = kernel_view(xyz), kernel_view(weights)

    def each(self, work: Work, seen: Seen | None = None) -> None:
        run_blocks(lambda a, b: work(self._flat, self._load, 0, a, b), self.chunks, shares=SHARES)

    def extremes(self, info: np.ndarray) -> int:
        from metrology_core.kernels import fitmain as k

        rows = np.empty((self.chunks, layout.N_MOMENTS))
        self.each(lambda flat, _, c, a, b: k.extremes(flat, a, b, rows))
        code = int(k.settle_extremes(rows, self.n, info))
        index = near_indices(self.n) if code == layout.READY else np.empty(0, np.int64)
        self.sample, self.near = self._flat, self._xyz[index]
        self.near_weights = self._weights[index] if self.weighted else _NOTHING
        return code


class Gathered(Points):
    """Points of a plane, or among points that are not finite or carry no weight: each thread copies the usable points
    of one chunk at a time, so memory grows by that and by one byte for each point."""

    def __init__(self, array: np.ndarray, weights: np.ndarray) -> None:
        from metrology_core.kernels import gathered

        count, self._dimension = array.shape
        self._raw, self._load = kernel_view(array), kernel_view(weights)
        self.used = np.empty(count, np.bool_)
        starts = np.empty(-(-count // layout.CHUNK) + 1, np.int64)
        self.n = int(gathered.survey(self._raw, self._dimension, self._load, self.used, starts))
        self._starts = starts[: self.chunks + 1].tolist()
        self.weighted = bool(weights.size)

    def each(self, work: Work, seen: Seen | None = None) -> None:
        def part(start: int, stop: int) -> None:
            room = np.empty(3 * layout.CHUNK), np.empty(layout.CHUNK if self.weighted else 0)
            for c in range(start, stop):
                flat, load = self._chunk(c, *room)
                work(flat, load, c, 0, 1)
                if seen is not None:
                    seen(c * layout.CHUNK, flat.reshape(-1, 3), load)

        run_blocks(part, self.chunks, shares=SHARES)

    def _chunk(self, c: int, flat: np.ndarray, load: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The points of one chunk and their weights: in place where all of a stretch are usable, else copied."""
        from metrology_core.kernels import gathered

        m = min(layout.CHUNK, self.n - c * layout.CHUNK)
        first = self._starts[c]
        if self._starts[c + 1] - first != m:
            gathered.gather(self._raw, self._dimension, self._load, self.used, first, m, flat, load)
            return flat[: 3 * m], load[:m]
        if self._dimension == 3:
            flat = self._raw[3 * first : 3 * (first + m)]
        else:
            gathered.raise_plane(self._raw, first, m, flat)
        return flat[: 3 * m], self._load[first : first + m]


def locate(
    kind: int, planar: bool, free: np.ndarray, given: np.ndarray, started: bool, points: Points, info: np.ndarray,
    pose: np.ndarray, sums: np.ndarray, state: np.ndarray, brief: bool = False,
) -> tuple[int, bool]:  # fmt: skip
    """(code of the points, whether a solution was found) of a least-squares fit in passes: pose, sums, state, info."""
    from metrology_core.kernels import fitmain as k

    code = points.extremes(info)
    if code == layout.READY:
        rows = _moments_of_few(kind, points, info)
        code = int(
            k.settle_moments(kind, planar, given, started, points.moments(info) if rows is None else rows, info, pose)
        )
    if code not in (layout.READY, layout.SEARCH):
        return code, False
    near = not started  # a line or plane from the moments of all points
    if code == layout.SEARCH:
        plan, extra = NO_SEARCH if brief else search_plan(kind, points.n, _NOTHING, given, info)
        if not search_and_solve(
            kind, free, given, points.sample, _NOTHING, True, False, plan, extra, info, pose, sums, state, _NO_POSES,
            _NOTHING,
        ):  # fmt: skip
            return code, False
        near = points.n >= NEAR_FROM and _come_near(kind, free, given, points.near, points.near_weights, info, pose)
    _solve(kind, free, points, info, pose, sums, state, near)
    return code, True


def _moments_of_few(kind: int, points: Points, info: np.ndarray) -> np.ndarray | None:
    """Moments of the near points, where those of all are not needed; else None.

    Circles, spheres, tori and ellipses need no centroid, only the assurance that not all points lie on a line or in a
    plane. Points added to others never lessen their scatter about the mean in any direction: what the near points
    spread, all points spread.
    """
    from metrology_core.kernels import fitmain as k

    if kind not in (layout.CIRCLE, layout.SPHERE, layout.TORUS, layout.ELLIPSE):
        return None
    if points.weighted or points.n < NEAR_FROM:
        return None
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    spread = np.linalg.eigvalsh(np.cov((points.near - centre) * scale, rowvar=False))
    if not spread[layout.N_ROWS[kind] - 1] * NEAR > _SPREAD * points.n:
        return None
    rows = np.empty((1, layout.N_MOMENTS))
    k.moments(kernel_view(points.near), _NOTHING, centre, scale, 0, 1, rows)
    return rows


def _come_near(
    kind: int, free: np.ndarray, given: np.ndarray, chosen: np.ndarray, load: np.ndarray, info: np.ndarray,
    pose: np.ndarray,
) -> bool:  # fmt: skip
    """Solve for NEAR points spread over all, into `pose`: what is left is a hundredth of the noise, so that two
    undamped passes over all points and one that confirms them do. False, and nothing changed, where that fails.
    """
    from metrology_core.kernels import descent
    from metrology_core.kernels import fitmain as k

    trial, sums, state = pose.copy(), np.zeros(layout.N_SUMS), np.empty(12)
    k.descend(
        kind, free, given, chosen.reshape(-1), load, 3, 3, NO_SEARCH[0], _NOTHING, _NO_POSES, 0, info.copy(), trial,
        sums, state, _NO_POSES, _NOTHING,
    )  # fmt: skip
    if state[descent.OUTCOME] != descent.CONVERGED or not math.isfinite(float(trial.sum())):
        return False
    pose[:] = trial
    return True


def _solve(
    kind: int, free: np.ndarray, points: Points, info: np.ndarray, pose: np.ndarray, sums: np.ndarray,
    state: np.ndarray, near: bool,
) -> None:  # fmt: skip
    """The solver's loop, one pass at a time; `near`: the pose needs undamped steps only."""
    from metrology_core.kernels import descent
    from metrology_core.kernels import fitmain as k

    chunks = points.chunks
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    centroid = info[layout.I_CENTROID : layout.I_CENTROID + 3]
    partials = np.empty((chunks, layout.N_SUMS))
    trial, best = pose.copy(), pose.copy()
    trial_sums, best_sums = np.empty(layout.N_SUMS), np.empty(layout.N_SUMS)
    delta, matrix = np.zeros(9), np.empty((9, 9))
    k.start_state(state)
    if near:
        state[descent.PHASE] = 1.0

    def work(flat: np.ndarray, load: np.ndarray, c: int, a: int, b: int) -> None:
        k.accumulate(kind, flat, load, centre, scale, trial, a, b, partials[c:])

    more: Any = True
    while more:
        points.each(work)
        k.fold(partials, chunks, trial_sums)
        more = k.advance(
            kind, free, points.n, trial_sums, centroid, state, pose, sums, trial, best, best_sums, delta, matrix,
            layout.LIMITS[3], True,
        )  # fmt: skip
    k.conditioning(kind, free, sums, points.n, info)
