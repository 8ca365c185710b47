"""Drive the kernels: moments, start, descent; small sets in one compiled call, large ones in threaded passes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import pose_of
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.search import FEW, FOUND, NO_SEARCH, distinct_costs, search_and_solve
from metrology_core.fitting.search import plan as search_plan
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

THREADED_FROM = 4 * layout.CHUNK
# From NEAR_FROM points on, NEAR of them are fitted first: that costs a twentieth of a pass and saves one to three.
NEAR_FROM, NEAR = 1 << 17, 8192
SHARES = 4  # ranges per thread and pass
# Smallest eigenvalue of J'J / n in units of the data's extent. Below, rounding alone (about 1e-16) moves a parameter
# by a tenth of what the points say: the data do not determine it.
SINGULAR_BELOW = 1e-15


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
    free = _free_columns(row).copy()
    given = _UNKNOWN.copy()
    planar = row.dimension == 2
    if planar and row.kind != layout.LINE:
        given[:3] = (0.0, 0.0, 1.0)
    if fixed:
        _hold(row, fixed, free, given)
    pose = np.zeros(layout.POSE) if start is None else pose_of(row, start)
    answer = Answer("not_converged", pose=pose, free=free)
    state = np.empty(12)
    info = np.zeros(layout.N_INFO)
    flat, flat_weights = kernel_view(xyz), kernel_view(weights)
    started = start is not None
    if n < THREADED_FROM:
        code = k.begin(row.kind, planar, given, started, flat, flat_weights, info, pose)
    else:
        code = _begin_threaded(row.kind, planar, given, started, flat, flat_weights, info, pose)
    solved = False
    if code in (layout.READY, layout.SEARCH):
        whole = n < THREADED_FROM
        search = code == layout.SEARCH
        solved = True
        if whole or search:
            plan, extra = search_plan(row.kind, n, flat, given, info) if search and not brief else NO_SEARCH
            compared = search and n <= FEW and not brief
            found = np.zeros((FOUND, layout.POSE)) if compared else _NO_FOUND
            costs = np.full(FOUND, math.inf) if compared else _NO_COSTS
            solved = search_and_solve(
                row.kind, free, given, flat, flat_weights, search, whole, plan, extra, info, pose, answer.sums, state,
                found, costs,
            )  # fmt: skip
            if solved and compared:
                answer.rivals = distinct_costs(row.kind, free, xyz, info, found, costs)
        if solved and not whole:
            near = not started  # a line or plane from the moments of all points
            if search:
                near = n >= NEAR_FROM and come_near(row.kind, free, given, *_spread(xyz, weights), info, pose)
            _solve_threaded(row.kind, free, flat, flat_weights, info, pose, answer.sums, state, near)
    answer.centre = info[layout.I_CENTRE : layout.I_CENTRE + 3]
    answer.scale = float(info[layout.I_SCALE])
    if code == layout.BAD_POINTS:
        answer.outcome = "bad_points"
    elif code == layout.NO_EXTENT:
        answer.outcome, answer.reason = "degenerate", _no_extent(xyz)
    elif code in (layout.COLLINEAR, layout.COPLANAR):
        words = "collinear" if code == layout.COLLINEAR else "coplanar"
        answer.outcome, answer.reason = "degenerate", f"the points are {words} to rounding"
    elif not solved:
        answer.outcome, answer.reason = "degenerate", "no feature of this kind passes near the points"
        answer.doubtful = True
    else:
        _judge(answer, state, info)
    return answer


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


def _begin_threaded(
    kind: int,
    planar: bool,
    given: np.ndarray,
    started: bool,
    flat: np.ndarray,
    weights: np.ndarray,
    info: np.ndarray,
    pose: np.ndarray,
) -> int:
    """`begin` with its passes over the points shared among threads: the same arithmetic, the same bits."""
    from metrology_core.kernels import fitmain as k

    n = len(flat) // 3
    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    rows = np.empty((chunks, layout.N_MOMENTS))
    run_blocks(lambda start, stop: k.extremes(flat, start, stop, rows), chunks, shares=SHARES)
    code = int(k.settle_extremes(rows, n, info))
    if code != layout.READY:
        return code
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    run_blocks(lambda start, stop: k.moments(flat, weights, centre, scale, start, stop, rows), chunks, shares=SHARES)
    return int(k.settle_moments(kind, planar, given, started, rows, info, pose))


def _spread(xyz: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NEAR of the points, spread over all, and their weights."""
    # steps of the golden section: a fixed stride may meet the lines of a scan
    index = (np.arange(NEAR) * (0.6180339887498949 * len(xyz))).astype(np.int64) % len(xyz)
    return xyz[index], weights[index] if weights.size else np.empty(0)


def come_near(
    kind: int, free: np.ndarray, given: np.ndarray, chosen: np.ndarray, load: np.ndarray, info: np.ndarray,
    pose: np.ndarray,
) -> bool:  # fmt: skip
    """Solve for NEAR points spread over all, into `pose`: what is left is a hundredth of the noise, so that two
    undamped passes over all points and one that confirms them do. False, and nothing changed, where that fails.
    """
    from metrology_core.kernels import descent
    from metrology_core.kernels import fitmain as k

    flat = chosen.reshape(-1)
    trial, sums, state = pose.copy(), np.zeros(layout.N_SUMS), np.empty(12)
    nothing = np.empty((0, layout.POSE))
    k.descend(
        kind, free, given, flat, load, 3, 3, NO_SEARCH[0], np.empty(0), nothing, 0, info.copy(), trial, sums, state,
        nothing, np.empty(0),
    )  # fmt: skip
    if state[descent.OUTCOME] != descent.CONVERGED or not math.isfinite(float(trial.sum())):
        return False
    pose[:] = trial
    return True


def _solve_threaded(
    kind: int,
    free: np.ndarray,
    flat: np.ndarray,
    weights: np.ndarray,
    info: np.ndarray,
    pose: np.ndarray,
    sums: np.ndarray,
    state: np.ndarray,
    near: bool,
) -> None:
    """The solver's loop with threaded passes; `near`: the pose needs undamped steps only."""
    from metrology_core.kernels import descent
    from metrology_core.kernels import fitmain as k

    n = len(flat) // 3
    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    centroid = info[layout.I_CENTROID : layout.I_CENTROID + 3]
    partials = np.empty((chunks, layout.N_SUMS))
    trial, best = pose.copy(), pose.copy()
    trial_sums, best_sums = np.empty(layout.N_SUMS), np.empty(layout.N_SUMS)
    delta, matrix = np.zeros(9), np.empty((9, 9))
    k.start_state(state)
    if near:
        state[descent.PHASE] = 1.0

    def one_pass(start: int, stop: int) -> None:
        k.accumulate(kind, flat, weights, centre, scale, trial, start, stop, partials)

    more = True
    while more:
        run_blocks(one_pass, chunks, shares=SHARES)
        k.fold(partials, chunks, trial_sums)
        more = k.advance(
            kind, free, n, trial_sums, centroid, state, pose, sums, trial, best, best_sums, delta, matrix,
            layout.LIMITS[3], True,
        )  # fmt: skip
    k.conditioning(kind, free, sums, n, info)


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
