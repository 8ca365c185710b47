"""How hard to search for a start: more of it where few points leave many local minima, and what else was found.

With few points the sum of squares of a cylinder, cone or torus has many local minima, and the best of a handful of
refined starts is often not the lowest. A refinement costs microseconds there, so hundreds are made.
"""

from __future__ import annotations

import functools
import math
import threading

import numpy as np

from metrology_core.fitting.memory import kernel_view
from metrology_core.kernels import layout

FEW = 64  # points up to which the search is long: measured on exact points, where every miss shows
FOUND = 150  # best refined candidates that are compared with the very best
_SAME = 0.01  # squared difference of residuals, over their sum of squares, below which two candidates are one feature
_EXACT = 1e-20  # mean squared residual of a candidate through all points, before the last polish
_ROUNDING = 1e-24  # mean squared residual of exact points in scaled coordinates: some hundred roundings
_NO_EXTRA = np.empty((0, layout.POSE))
_NOTHING = np.empty(0)
_SHORT = np.array((*layout.LIMITS, *layout.KEEP), np.int64)
NO_SEARCH = (_SHORT, _NO_EXTRA)
# tori over small arcs of ring and tube (20 by 90 degrees): a dozen refined starts miss in 5 to 15 %, these in 0 of 60
_MIDDLE = np.array((1, 8, 60, 80, 0, 48, 8, 1), np.int64)
# candidates to add, and the plan with them: exact points leave 1 torus in 300 at n = 8 and none at n >= 12 (arc of 90
# degrees), no cylinder (n = 6) and no cone (n = 7) in 400; three times the work finds no more than that one
_LONG = {
    layout.CYLINDER: (150, np.array((1, 8, 60, 80, 0, 200, 100, 1), np.int64)),
    layout.CONE: (300, np.array((1, 8, 60, 80, 0, 300, 150, 1), np.int64)),
    layout.TORUS: (300, np.array((1, 8, 60, 80, 0, 400, 120, 1), np.int64)),
}


# A quick start is believed where linear theory holds around it on the sample: rms (of an extent of about 1) times the
# square of the condition. Then no second solution can come near it unless it is far away in every respect, which the
# fan of `kernels.quick` rules out for cylinders; cones and tori must be closer still.
_QUICK = (layout.CYLINDER, layout.CONE, layout.TORUS)
_CLOSE, _CLOSER, _LINEAR, _CONDITION, _ELSEWHERE = 0.02, 2e-3, 0.5, 60.0, 100.0
_PATIENCE = 30.0  # passes on the sample
_QUICK_PLAN = np.array((1, 8, 60, 80, 0, 8, 1, 1), np.int64)


def search_and_solve(
    kind: int,
    free: np.ndarray,
    given: np.ndarray,
    flat: np.ndarray,
    weights: np.ndarray,
    search: bool,
    whole: bool,
    numbers: np.ndarray,
    extra: np.ndarray,
    info: np.ndarray,
    pose: np.ndarray,
    sums: np.ndarray,
    state: np.ndarray,
    found: np.ndarray,
    costs: np.ndarray,
) -> bool:
    """Search a start on a sample (`search`), then solve with all points on this thread (`whole`).

    numbers, extra: see `plan`; found, costs: filled with the best refined candidates, none where they have no room:
    then a quick start may do.
    """
    from metrology_core.kernels import fitmain as k

    if not search:
        if whole:
            k.descend(
                kind, free, given, flat, weights, 3, 3, numbers, _NOTHING, _NO_EXTRA, 0, info, pose, sums, state, found,
                costs,
            )  # fmt: skip
        return True
    from metrology_core.kernels import descent, seek

    n = len(flat) // 3
    sub = np.empty(3 * min(n, layout.SAMPLE))
    quick = kind in _QUICK and n > FEW and math.isnan(given[0]) and not costs.size
    if quick and _quick_start(kind, free, given, flat, sub, info, pose, sums, state):
        if whole:
            k.descend(
                kind, free, given, flat, weights, 3, 3, numbers, sub, _NO_EXTRA, 0, info, pose, sums, state, found,
                costs,
            )  # fmt: skip
        if not whole or state[descent.OUTCOME] == descent.CONVERGED:
            return True
    room, family = 12, seek.plain_candidates
    if kind == layout.ELLIPSE:
        family = seek.ellipse_search
    elif kind in _QUICK:
        room, family = layout.MAX_CANDIDATES, seek.round_candidates
    poses = np.zeros((room + len(extra), layout.POSE))
    count = int(family(kind, flat, info, given, sub, poses))
    if count == 0:
        return False
    poses[count : count + len(extra)] = extra
    count += len(extra)
    first, last = 0 if count > 1 else 2, 3 if whole else 2
    solved = k.descend(
        kind, free, given, flat, weights, first, last, numbers, sub, poses, count, info, pose, sums, state, found, costs
    )
    return bool(solved)


def _quick_start(
    kind: int,
    free: np.ndarray,
    given: np.ndarray,
    flat: np.ndarray,
    sub: np.ndarray,
    info: np.ndarray,
    pose: np.ndarray,
    sums: np.ndarray,
    state: np.ndarray,
) -> bool:
    """A start without the wide search, into `pose`; False where it is not beyond doubt."""
    from metrology_core.kernels import descent, seek
    from metrology_core.kernels import fitmain as k

    poses = np.zeros((8, layout.POSE))
    rows, scores = _NO_EXTRA, _NOTHING
    if kind == layout.CYLINDER:
        rows = _fan_rows()
        scores = np.empty(len(rows))
        count = int(seek.quick_circle(flat, info, rows, sub, scores, poses[0]))
    else:
        count = int(seek.quick_axes(kind, flat, info, given, sub, poses))
    if count == 0 or not k.descend(
        kind, free, given, flat, _NOTHING, 1 if count > 1 else 2, 2, _QUICK_PLAN, sub, poses, count, info, pose, sums,
        state, _NO_EXTRA, _NOTHING,
    ):  # fmt: skip
        return False
    if state[descent.ITERATIONS] > _PATIENCE:  # still on its way along a valley
        return False
    p, condition = layout.N_PARAMETERS[kind], float(info[layout.I_CONDITION])
    rms = math.sqrt(max(0.0, float(sums[p * (p + 1) - p * (p - 1) // 2])) / (len(sub) // 3))
    size = min(1.0, *np.abs(pose[12:14] if kind == layout.TORUS else pose[12:13]).tolist())
    if kind == layout.CYLINDER:
        close = rms <= _CLOSE * size and condition <= _CONDITION
        return close and float(seek.other_axes(rows, scores, pose)) >= _ELSEWHERE * rms * rms + 1e-3
    return rms <= _CLOSER * size and rms * condition * condition <= _LINEAR


_rows_of_thread = threading.local()


def _fan_rows() -> np.ndarray:
    """The fan of `kernels.quick` with room for the principal axes; one for each thread, since kernels write to it."""
    rows: np.ndarray | None = getattr(_rows_of_thread, "rows", None)
    if rows is None:
        from metrology_core.kernels.quick import FAN, FAN_ROW, fan

        rows = np.zeros((FAN + 3, FAN_ROW))
        rows[:FAN] = fan()
        _rows_of_thread.rows = rows
    return rows


def plan(kind: int, n: int, flat: np.ndarray, given: np.ndarray, info: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(passes of the four stages, candidates that enter each), and (k, POSE) candidates to add to the usual ones."""
    if n > FEW or kind not in _LONG:
        return _MIDDLE if kind == layout.TORUS else _SHORT, _NO_EXTRA
    count, numbers = _LONG[kind]
    xyz = (flat.reshape(-1, 3) - info[layout.I_CENTRE : layout.I_CENTRE + 3]) * info[layout.I_SCALE]
    return numbers, _scattered(kind, count, xyz, given[:3])


@functools.cache
def _unit_cube(count: int) -> np.ndarray:
    """(count, 5) evenly spread numbers in (0, 1): multiples of powers of the root of x^6 = x + 1, modulo 1."""
    root = 1.0
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / 6.0)
    result: np.ndarray = (0.5 + np.arange(1, count + 1)[:, None] * root ** -np.arange(1.0, 6.0)) % 1.0
    return result


def _directions(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    z = 2.0 * a - 1.0
    r = np.sqrt(1.0 - z * z)
    return np.column_stack((r * np.cos(2.0 * math.pi * b), r * np.sin(2.0 * math.pi * b), z))


def _scattered(kind: int, count: int, xyz: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Axes in all directions through places around the centroid, sizes that suit the points best."""
    cube = _unit_cube(count)
    w = _directions(cube[:, 0], cube[:, 1])
    if not math.isnan(known[0]):
        w = np.tile(known, (count, 1))
    least = np.argmin(np.abs(w), axis=1)
    u = np.cross(w, np.eye(3)[least])
    u /= np.linalg.norm(u, axis=1)[:, None]
    v = np.cross(w, u)
    mean = xyz.mean(axis=0)
    spread = math.sqrt(float(np.sum((xyz - mean) ** 2)) / len(xyz))
    away = spread * 0.05 * 40.0 ** cube[:, 4]  # from the centroid: 0.05 to 2 spreads
    centre = mean + away[:, None] * _directions(cube[:, 2], cube[:, 3])
    offset = xyz[None] - centre[:, None]
    z = np.einsum("cnk,ck->cn", offset, w)
    rho = np.sqrt(np.maximum(0.0, np.einsum("cnk,cnk->cn", offset, offset) - z * z))
    poses = np.zeros((count, layout.POSE))
    poses[:, 0:3], poses[:, 3:6], poses[:, 6:9], poses[:, 9:12] = centre, u, v, w
    mean_rho = rho.mean(axis=1)
    poses[:, 12] = mean_rho
    if kind == layout.TORUS:
        mean_z = z.mean(axis=1)
        poses[:, :3] += mean_z[:, None] * w
        squares = (rho - mean_rho[:, None]) ** 2 + (z - mean_z[:, None]) ** 2
        poses[:, 13] = np.sqrt(squares.mean(axis=1)) + 1e-6
    elif kind == layout.CONE:
        mean_z = z.mean(axis=1)
        dz, dr = z - mean_z[:, None], rho - mean_rho[:, None]
        slope = np.arctan2(np.sum(dz * dr, axis=1), np.sum(dz * dz, axis=1) + 1e-12)
        poses[:, 13] = slope
        poses[:, 12] = mean_rho - mean_z * np.tan(slope)
    return poses


def distinct_costs(
    kind: int, free: np.ndarray, xyz: np.ndarray, info: np.ndarray, poses: np.ndarray, costs: np.ndarray
) -> tuple[float, ...]:
    """Sums of squares of the best refined candidate and of the next that is another feature to these points.

    Two candidates are one feature where their residuals differ by little against the residuals themselves: that holds
    also along directions of the parameters that the points hardly determine. Where both pass through all points the
    axes and sizes tell them apart. A candidate that looks different is solved to the end before it counts. Empty for
    points that were only sampled.
    """
    from metrology_core.kernels import fitmain as k

    n, p = len(xyz), layout.N_PARAMETERS[kind]
    if n > FEW or kind not in _LONG or not costs[1] < math.inf:
        return ()
    flat = kernel_view(xyz)
    rows = np.empty((layout.N_ROWS[kind] * n, p + 1))
    sums, state = np.empty(layout.N_SUMS), np.empty(12)
    info = info.copy()
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])

    def residuals(pose: np.ndarray) -> np.ndarray:
        k.design_rows(kind, flat, centre, scale, pose, rows)
        return rows[:, p].copy()

    def polish(pose: np.ndarray) -> float:
        search_and_solve(
            kind, free, np.full(5, math.nan), flat, np.empty(0), False, True, _SHORT, _NO_EXTRA, info, pose, sums,
            state, np.empty((0, layout.POSE)), np.empty(0),
        )  # fmt: skip
        return float(sums[p * (p + 1) - p * (p - 1) // 2])

    def differ(pose: np.ndarray, cost: float) -> bool:
        if cost <= n * _EXACT:
            return _elsewhere(first, pose)
        return float(np.sum((residuals(pose) - best) ** 2)) > _SAME * cost

    first = poses[0].copy()
    least = polish(first)
    best = residuals(first)
    for pose, cost in zip(poses[1:], costs[1:], strict=True):
        if not cost < math.inf:
            break
        if differ(pose, float(cost)):
            end = pose.copy()
            value = polish(end)
            if value < math.inf and differ(end, value):
                return min(least, value), max(least, value)
    return ()


def _elsewhere(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the axes or the sizes of two poses differ by more than 1 %."""
    turned = float(np.linalg.norm(np.cross(a[9:12], b[9:12]))) > 0.01
    first, second = np.abs(a[12:14]), np.abs(b[12:14])
    return turned or bool((np.abs(first - second) > 0.01 * np.maximum(first, second)).any())


def ambiguous(rivals: tuple[float, ...], n: int, dof: int, p: int) -> bool:
    """Whether the second best feature cannot be told from the best by the points, at about the 5 % level.

    The bound on the ratio is a smooth stand-in for 1 + p / dof F(0.95; p, dof), which it follows within a factor of
    two for the features searched here.
    """
    if not rivals or dof <= 0:
        return False
    best, second = rivals
    return second <= best * math.exp((2.0 * p + 1.0) / (dof + 1.0)) + n * _EXACT


def tied(rivals: tuple[float, ...], n: int) -> bool:
    """Whether two different features have one sum of squares to rounding, as the three cylinders of a cube do."""
    return bool(rivals) and rivals[1] <= rivals[0] * (1.0 + 1e-9) + n * _ROUNDING
