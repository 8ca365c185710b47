"""Drive the kernels: moments, start, descent; small sets in one compiled call, large ones in threaded passes (see
`passes`)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import pose_of
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.passes import Points, Whole, locate
from metrology_core.fitting.search import FEW, FOUND, NO_SEARCH, distinct_costs, search_and_solve
from metrology_core.fitting.search import plan as search_plan
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

THREADED_FROM = 4 * layout.CHUNK
# Smallest eigenvalue of J'J / n in units of the data's extent. Below, rounding alone (about 1e-16) moves a parameter
# by a tenth of what the points say: the data do not determine it.
SINGULAR_BELOW = 1e-15
_NO_EXTENT = "the points have no usable extent"


@dataclass(eq=False)
class Answer:
    """What the solver found, in its own scaled coordinates: world = centre + local / scale."""

    outcome: str  # converged | not_converged | degenerate
    reason: str = ""
    pose: np.ndarray = field(default_factory=lambda: np.zeros(layout.POSE))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(layout.N_SUMS))
    free: np.ndarray = field(default_factory=lambda: np.zeros(9, np.bool_))
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0
    step: float = math.nan
    move: float = math.nan
    passes: int = 0
    condition: float = math.nan
    gradient: float = math.nan
    least: float = math.nan
    doubtful: bool = False  # degenerate, but perhaps only because the search ended badly
    rivals: tuple[float, ...] = ()  # sums of squares of the two best different features that the search refined


@functools.cache
def _free_columns(row: Row) -> np.ndarray:
    free = np.zeros(9, np.bool_)
    free[: len(row.free)] = row.free
    return free


_UNKNOWN = np.full(5, math.nan)
_NO_FOUND, _NO_COSTS = np.zeros((0, layout.POSE)), np.zeros(0)


def least_squares(
    row: Row, xyz: np.ndarray, weights: np.ndarray, fixed: dict[str, Any], start: Feature | None, *, brief: bool = False
) -> Answer:
    """Minimise the (weighted) sum of squared normal distances of points `xyz` (n, 3). brief: without the long search
    that few points get.

    The outcome is ``bad_points`` where some are not finite: the caller leaves them out and asks again.
    """
    from metrology_core.kernels import fitmain as k

    n = len(xyz)
    if n >= THREADED_FROM:
        answer = least_squares_of(row, Whole(xyz, weights), fixed, start, brief=brief)
        if answer.reason == _NO_EXTENT:
            answer.reason = _no_extent(xyz)
        return answer
    answer, given, state, info = _ready(row, fixed, start)
    pose, started, planar = answer.pose, start is not None, row.dimension == 2
    flat, flat_weights = kernel_view(xyz), kernel_view(weights)
    code = k.begin(row.kind, planar, given, started, flat, flat_weights, info, pose)
    solved = False
    if code in (layout.READY, layout.SEARCH):
        search = code == layout.SEARCH
        plan, extra = search_plan(row.kind, n, flat, given, info) if search and not brief else NO_SEARCH
        compared = search and n <= FEW and not brief
        found = np.zeros((FOUND, layout.POSE)) if compared else _NO_FOUND
        costs = np.full(FOUND, math.inf) if compared else _NO_COSTS
        solved = search_and_solve(
            row.kind, answer.free, given, flat, flat_weights, search, True, plan, extra, info, pose, answer.sums, state,
            found, costs,
        )  # fmt: skip
        if solved and compared:
            answer.rivals = distinct_costs(row.kind, answer.free, xyz, info, found, costs)
    _conclude(answer, code, solved, state, info)
    if code == layout.NO_EXTENT:
        answer.reason = _no_extent(xyz)
    return answer


def least_squares_of(
    row: Row, points: Points, fixed: dict[str, Any], start: Feature | None, *, brief: bool = False
) -> Answer:
    """The same in threaded passes, for points from anywhere."""
    answer, given, state, info = _ready(row, fixed, start)
    code, solved = locate(
        row.kind, row.dimension == 2, answer.free, given, start is not None, points, info, answer.pose, answer.sums,
        state, brief,
    )  # fmt: skip
    _conclude(answer, code, solved, state, info)
    return answer


def _ready(row: Row, fixed: dict[str, Any], start: Feature | None) -> tuple[Answer, np.ndarray, np.ndarray, np.ndarray]:
    """An answer with the start in it, the known parameters, and room for state and info."""
    free = _free_columns(row).copy()
    given = _UNKNOWN.copy()
    if row.dimension == 2 and row.kind != layout.LINE:
        given[:3] = (0.0, 0.0, 1.0)
    if fixed:
        _hold(row, fixed, free, given)
    pose = np.zeros(layout.POSE) if start is None else pose_of(row, start)
    return Answer("not_converged", pose=pose, free=free), given, np.empty(12), np.zeros(layout.N_INFO)


def _conclude(answer: Answer, code: int, solved: bool, state: np.ndarray, info: np.ndarray) -> None:
    """Outcome and reason."""
    answer.centre = info[layout.I_CENTRE : layout.I_CENTRE + 3]
    answer.scale = float(info[layout.I_SCALE])
    if code == layout.BAD_POINTS:
        answer.outcome, answer.reason = "bad_points", "no finite points"
    elif code == layout.NO_EXTENT:
        answer.outcome, answer.reason = "degenerate", _NO_EXTENT
    elif code in (layout.COLLINEAR, layout.COPLANAR):
        words = "collinear" if code == layout.COLLINEAR else "coplanar"
        answer.outcome, answer.reason = "degenerate", f"the points are {words} to rounding"
    elif not solved:
        answer.outcome, answer.reason = "degenerate", "no feature of this kind passes near the points"
        answer.doubtful = True
    else:
        _judge(answer, state, info)


def _no_extent(xyz: np.ndarray) -> str:
    """Why these points have no usable extent."""
    size = float(np.abs(xyz).max())
    half = float((0.5 * xyz.max(axis=0) - 0.5 * xyz.min(axis=0)).max())
    if size > layout.LARGEST or half > layout.EQUAL_BELOW * size:
        return (
            "the coordinates are out of the range whose squares can be represented "
            f"({layout.SMALLEST:g} to {layout.LARGEST:g}): rescale them, to another unit for example"
        )
    return "all points are equal to rounding"


def _hold(row: Row, fixed: dict[str, Any], free: np.ndarray, given: np.ndarray) -> None:
    """Enter fixed parameters: their columns leave the problem, their values enter the start."""
    first_size = len(row.free) - layout.N_SIZES[row.kind]
    for name, value in fixed.items():
        if name == row.axis:
            given[:3] = value
            tilts = {layout.LINE: (2, 3), layout.PLANE: (1, 2), layout.CYLINDER: (2, 3), layout.CONE: (2, 3)}
            for column in tilts.get(row.kind, (3, 4)):
                free[column] = False
        else:
            slot = row.sizes.index(name)
            free[first_size + slot] = False
            given[3 + slot] = value


def _judge(answer: Answer, state: np.ndarray, info: np.ndarray) -> None:
    """Status from the optimality condition: the size of the last step, and whether the data determine every
    parameter."""
    from metrology_core.kernels import descent

    facts, states = info.tolist(), state.tolist()
    answer.least, answer.condition, answer.gradient = facts[layout.I_LEAST : layout.I_GRADIENT + 1]
    answer.step, answer.move = states[descent.BEST_STEP], states[descent.MOVE]
    answer.passes = int(states[descent.ITERATIONS])
    finite = math.isfinite(sum(answer.pose.tolist())) and math.isfinite(sum(answer.sums[: layout.GRAM].tolist()))
    singular = states[descent.OUTCOME] == descent.SINGULAR or facts[layout.I_EMPTY] > 0.0
    if not finite or singular or not answer.least > SINGULAR_BELOW:
        answer.outcome, answer.doubtful = "degenerate", True
        answer.reason = "the points leave a parameter undetermined"
    elif states[descent.OUTCOME] == descent.CONVERGED:
        answer.outcome = "converged"
    else:
        answer.reason = "the last step is too large"
