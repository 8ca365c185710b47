"""Least squares of points that are read block by block: data larger than memory.

Every pass reads the source once, in order, in runs of whole chunks; partial results are those of the chunks and are
folded in chunk order. The arithmetic, and the bits, are those of a fit to the same points in memory, for any block
size, source and number of threads. Points that are not finite are left out, and the rest closes up, as in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import solver
from metrology_core.fitting.canonical import pose_of
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.search import plan as search_plan
from metrology_core.fitting.search import search_and_solve
from metrology_core.fitting.solver import NEAR, NEAR_FROM, Answer
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

RUN = 32  # chunks in memory at a time: 12.6 MB of coordinates
_GOLDEN = 0.6180339887498949


def is_source(points: Any) -> bool:
    """Whether these are points that are read block by block (`metrology_core.hdf5.BlockSource`), not in memory."""
    return (
        hasattr(points, "n_points") and callable(getattr(points, "blocks", None)) and not hasattr(points, "points_are")
    )


def check_arguments(criterion: str, **given: Any) -> None:
    """Refuse what needs all points at once."""
    if criterion != "least_squares":
        raise CriterionError(
            "points that are read in blocks can be fitted by least squares only",
            expected="criterion='least_squares'",
            got=criterion,
            remedy="read the points into memory: source.read(0, source.n_points)",
        )
    for name, value in given.items():
        if value is not None:
            raise ParameterError(
                f"points that are read in blocks take no {name}",
                expected="feature, material, fixed, start and unit only",
                remedy="read the points into memory: source.read(0, source.n_points)",
            )


class Stream:
    """Passes over the finite points of a source, in runs of RUN whole chunks."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.given = int(source.n_points)
        self.n = self.given  # finite points, once they are counted
        self.clean = True
        self.near = np.empty((0, 3))  # points spread over all, after the first pass

    @property
    def chunks(self) -> int:
        return -(-self.n // layout.CHUNK)

    def runs(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first chunk, (m, 3) points): all of RUN chunks but the last."""
        size = RUN * layout.CHUNK
        buffer, filled, done = np.empty((min(size, max(self.given, 1)), 3)), 0, 0
        for block in self.source.blocks():
            part = np.asarray(block, dtype=np.float64)
            if part.ndim != 2 or part.shape[1] != 3:
                raise ParameterError("a block is no list of points", expected="(m, 3)", got=str(part.shape))
            if not self.clean:
                part = part[np.isfinite(part).all(axis=1)]
            place = 0
            while place < len(part):
                take = min(size - filled, len(part) - place)
                if filled + take > len(buffer):
                    raise ParameterError("the source gives more points than it announced", expected=str(self.given))
                buffer[filled : filled + take] = part[place : place + take]
                filled, place = filled + take, place + take
                if filled == size:
                    yield done, buffer
                    done, filled = done + RUN, 0
        if filled:
            yield done, buffer[:filled]
        if done * layout.CHUNK + filled != self.n:
            raise ParameterError(
                "the source gave another number of points than before",
                expected=str(self.n),
                got=str(done * layout.CHUNK + filled),
            )

    def each(self, work: Callable[[np.ndarray, int, int, int], object], seen: Any = None) -> None:
        """work(flat, first chunk, start, stop) for ranges of chunks of every run; seen(first point, points)."""
        for first, points in self.runs():
            flat = kernel_view(points)
            count = -(-len(points) // layout.CHUNK)

            def part(start: int, stop: int, flat: np.ndarray = flat, first: int = first) -> None:
                work(flat, first, start, stop)

            run_blocks(part, count, shares=solver.SHARES)
            if seen is not None:
                seen(first * layout.CHUNK, points)


class _Picked:
    """Points at given indices, gathered while a pass goes by."""

    def __init__(self, index: np.ndarray) -> None:
        self.order = np.argsort(index, kind="stable")
        self.sorted = index[self.order]
        self.points = np.empty((len(index), 3))

    def __call__(self, first: int, points: np.ndarray) -> None:
        low, high = np.searchsorted(self.sorted, (first, first + len(points)))
        self.points[self.order[low:high]] = points[self.sorted[low:high] - first]


def _sample_indices(n: int, m: int) -> np.ndarray:
    """The points that the compiled search looks at, in its order (`kernels.fitmain.sample`)."""
    step = max(1, int(_GOLDEN * n))
    while np.gcd(step, n) != 1:
        step += 1
    result: np.ndarray = (np.arange(m, dtype=np.int64) * step) % n
    return result


def least_squares(row: Row, stream: Stream, held: dict[str, Any], start: Feature | None) -> Answer:
    """`solver.least_squares` of a stream; `stream.n` and `clean` tell afterwards how many points were finite."""
    from metrology_core.kernels import fitmain as k

    free = solver._free_columns(row).copy()
    given = np.full(5, np.nan)
    if held:
        solver._hold(row, held, free, given)
    pose = np.zeros(layout.POSE) if start is None else pose_of(row, start)
    answer = Answer("not_converged", pose=pose, free=free)
    state, info = np.empty(12), np.zeros(layout.N_INFO)
    code, sample, near = _extremes(stream, info)
    if code == layout.READY:
        rows = np.empty((stream.chunks, layout.N_MOMENTS))
        centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
        stream.each(lambda flat, c, a, b: k.moments(flat, np.empty(0), centre, scale, a, b, rows[c:]))
        code = int(k.settle_moments(row.kind, False, given, start is not None, rows, info, pose))
    solved = code in (layout.READY, layout.SEARCH)
    if code == layout.SEARCH:
        plan, extra = search_plan(row.kind, stream.n, np.empty(0), given, info)
        solved = search_and_solve(
            row.kind, free, given, kernel_view(sample), np.empty(0), True, False, plan, extra, info, pose, answer.sums,
            state, np.zeros((0, layout.POSE)), np.zeros(0),
        )  # fmt: skip
    if solved:
        close = start is None  # a line or plane from the moments of all points
        if code == layout.SEARCH:
            many = stream.n >= NEAR_FROM
            close = many and solver.come_near(row.kind, free, given, near, np.empty(0), info, pose)
        _solve(row.kind, free, stream, info, pose, answer.sums, state, close)
    answer.centre = info[layout.I_CENTRE : layout.I_CENTRE + 3]
    answer.scale = float(info[layout.I_SCALE])
    if code == layout.BAD_POINTS:
        answer.outcome, answer.reason = "bad_points", "no finite points"
    elif code == layout.NO_EXTENT:
        answer.outcome, answer.reason = "degenerate", "the points have no usable extent"
    elif code in (layout.COLLINEAR, layout.COPLANAR):
        words = "collinear" if code == layout.COLLINEAR else "coplanar"
        answer.outcome, answer.reason = "degenerate", f"the points are {words} to rounding"
    elif not solved:
        answer.outcome, answer.reason = "degenerate", "no feature of this kind passes near the points"
    else:
        solver._judge(answer, state, info)
    return answer


def _extremes(stream: Stream, info: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """(code, sample in the order that the kernel takes it again, points to come near with) of the first pass."""
    from metrology_core.kernels import fitmain as k

    for _ in range(2):
        n = stream.n
        m = min(n, layout.SAMPLE)
        picked = _Picked(_sample_indices(n, m))
        near = _Picked((np.arange(NEAR) * (_GOLDEN * n)).astype(np.int64) % n)
        rows = np.empty((stream.chunks, layout.N_MOMENTS))

        def seen(first: int, points: np.ndarray, picked: _Picked = picked, near: _Picked = near) -> None:
            picked(first, points)
            near(first, points)

        def count(flat: np.ndarray, c: int, a: int, b: int, rows: np.ndarray = rows) -> None:
            k.extremes(flat, a, b, rows[c:])

        stream.each(count, seen)
        code = int(k.settle_extremes(rows, n, info))
        if code != layout.BAD_POINTS or not stream.clean:
            break
        stream.clean = False
        stream.n = int(rows[:, layout.M_COUNT].sum())
        if stream.n == 0:
            break
    stream.near = near.points
    arranged = np.empty_like(picked.points)
    arranged[_sample_indices(m, m)] = picked.points
    return code, arranged, near.points


def _solve(
    kind: int, free: np.ndarray, stream: Stream, info: np.ndarray, pose: np.ndarray, sums: np.ndarray,
    state: np.ndarray, near: bool,
) -> None:  # fmt: skip
    """The solver's loop, one pass over the source at a time."""
    from metrology_core.kernels import descent
    from metrology_core.kernels import fitmain as k

    chunks = stream.chunks
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    centroid = info[layout.I_CENTROID : layout.I_CENTROID + 3]
    partials = np.empty((chunks, layout.N_SUMS))
    trial, best = pose.copy(), pose.copy()
    trial_sums, best_sums = np.empty(layout.N_SUMS), np.empty(layout.N_SUMS)
    delta, matrix = np.zeros(9), np.empty((9, 9))
    k.start_state(state)
    if near:
        state[descent.PHASE] = 1.0
    nothing = np.empty(0)
    more = True
    while more:
        stream.each(lambda flat, c, a, b: k.accumulate(kind, flat, nothing, centre, scale, trial, a, b, partials[c:]))
        k.fold(partials, chunks, trial_sums)
        more = k.advance(
            kind, free, stream.n, trial_sums, centroid, state, pose, sums, trial, best, best_sums, delta, matrix,
            layout.LIMITS[3], True,
        )  # fmt: skip
    k.conditioning(kind, free, sums, stream.n, info)


def small(source: Any) -> bool:
    """Whether the points are so few that they are read at once."""
    return int(source.n_points) < NEAR_FROM
