"""Zone fits over all points: solve on a working set, look for points outside, add them, until there are none.

Every working set gives a lower bound of the zone (about the same local minimum), so the answer is that of all points
when none lies outside. Passes over the points are blocked and their results do not depend on how the blocks are
shared out.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.fitting.zone.problem import ZoneProblem
from metrology_core.kernels import layout

ALL_POINTS = 2048  # up to here the working set is simply everything
MAX_ROUNDS = 60
_EPS = 2.220446049250313e-16
# Zone over size (or over extent) above which several minima must be expected.
THICK = 0.02
# Two solutions whose zones differ by less than this (relative to the zone, plus rounding) count as equally good.
TIE = 1e-10


@dataclass(eq=False)
class ZoneAnswer:
    """A solution in scaled coordinates. `contacts` are rows of the points given; `h` the largest one-sided distance."""

    status: str  # converged | not_converged | unbounded | exact
    pose: np.ndarray
    h: float
    contacts: np.ndarray
    signs: np.ndarray
    multipliers: np.ndarray
    touch: np.ndarray
    high: float  # largest and smallest distance of all points, and the points
    low: float
    high_index: int
    low_index: int
    gap: float  # from the zone's border to the first point that is not a contact
    starts: int
    ties: int
    rounds: int
    iterations: int
    reference: float


@dataclass(eq=False)
class _Local:
    pose: np.ndarray
    info: np.ndarray
    ids: np.ndarray
    signs: np.ndarray
    multipliers: np.ndarray


def _pass(
    problem: ZoneProblem,
    xyz: np.ndarray,
    centre: np.ndarray,
    scale: float,
    pose: np.ndarray,
    high: float,
    low: float,
    skip: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pass over all points: table of extremes by cell, and the two ends (see kernels.extremes_by_cell)."""
    from metrology_core.kernels import minimax as k
    from metrology_core.kernels import minimax_rows as rows

    tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    lock = threading.Lock()

    def work(start: int, stop: int) -> None:
        value, index, ends = np.empty((2, rows.GRID)), np.empty((2, rows.GRID), np.int64), np.empty(4)
        k.extremes_by_cell(
            problem.row.kind, problem.law, xyz, centre, scale, pose, low, high, skip, start, stop, value, index, ends
        )
        with lock:
            tables.append((value, index, ends))

    run_blocks(work, (len(xyz) + layout.CHUNK - 1) // layout.CHUNK)
    value, index, ends = tables[0]
    for other, place, tips in tables[1:]:
        for side, sign in ((0, 1.0), (1, -1.0)):
            with np.errstate(invalid="ignore"):
                better = sign * other[side] > sign * value[side]
            equal = (other[side] == value[side]) & (place[side] >= 0) & (place[side] < index[side])
            take = better | equal
            value[side][take], index[side][take] = other[side][take], place[side][take]
            a, b = sign * tips[side], sign * ends[side]
            if a > b or (a == b and 0 <= tips[2 + side] < ends[2 + side]):
                ends[side], ends[2 + side] = tips[side], tips[2 + side]
    return value, index, ends


def _minimise(problem: ZoneProblem, local: np.ndarray, pose: np.ndarray, centroid: np.ndarray, trust: float) -> _Local:
    from metrology_core.kernels import minimax as k

    out = _Local(
        pose.copy(), np.zeros(k.N_INFO), np.zeros(k.MAX_CONTACTS, np.int64), np.zeros(k.MAX_CONTACTS),
        np.zeros(k.MAX_CONTACTS),
    )  # fmt: skip
    k.minimise(
        problem.row.kind, problem.law, local, out.pose, centroid, problem.columns, len(problem.columns), problem.plus,
        problem.minus, trust, out.ids, out.signs, out.multipliers, out.info,
    )  # fmt: skip
    return out


# Where less than this is left of the contacts' derivatives (relative), an answer stays as the search found it.
_GOOD = 1e-11


def _held(problem: ZoneProblem, local: np.ndarray, best: _Local, centroid: np.ndarray) -> _Local:
    """The solution; where it is none yet, the narrower one at an end of its face, or the one that curvature holds."""
    from metrology_core.fitting.zone.face import Held, corners_of_the_face, settled, stationarity

    code, count = int(best.info[1]), int(best.info[3])
    if code not in (0, 2) or not 0 < count <= len(problem.columns):
        return best
    at = Held(best.pose, float(best.info[0]), best.ids[:count], best.signs[:count], best.multipliers[:count])
    found = min(corners_of_the_face(problem, local, at, centroid), key=lambda one: one.h, default=None)
    if found is None and (code == 2 or stationarity(problem, local, at) > _GOOD):
        found = settled(problem, local, at, centroid)
    if found is None or abs(found.h - at.h) > 1e-6 * abs(at.h):
        return best
    info = best.info.copy()
    info[0], info[1], info[3] = found.h, 0.0, len(found.contacts)
    return _Local(found.pose, info, found.contacts, found.signs, found.multipliers)


def size_of(problem: ZoneProblem, pose: np.ndarray) -> float:
    """Length that a zone is compared with: the radius (of curvature) or half the extent of the data."""
    kind = problem.row.kind
    if kind in (layout.LINE, layout.PLANE):
        return 0.5
    if kind == layout.TORUS:
        return float(pose[13])
    if kind == layout.ELLIPSE:
        return float(min(pose[12], pose[13]))
    return max(float(abs(pose[12])), 1e-3) if kind == layout.CONE else float(pose[12])


def further_starts(
    problem: ZoneProblem, pose: np.ndarray, centroid: np.ndarray, h: float, thick: bool
) -> list[np.ndarray]:
    """Deterministic starts beside the least-squares one, for problems with several minima."""
    from metrology_core.kernels import minimax

    kind = problem.row.kind
    p = layout.N_PARAMETERS[kind]
    rigid = [int(j) for j in problem.columns if j < p - layout.N_SIZES[kind]]

    def moved(*moves: float) -> np.ndarray:
        delta, trial = np.zeros(9), np.empty(layout.POSE)
        delta[[int(j) for j in moves[::2]]] = moves[1::2]
        minimax.moved_pose(kind, pose, delta, centroid, trial)
        return trial

    sizes = [h, 4.0 * h] if problem.criterion == "maximum_inscribed" else []
    if thick:
        sizes += [0.5 * h, 2.0 * h, 0.15]
    result = []
    for size in sizes:
        for j in rigid:
            for sign in (1.0, -1.0):
                result.append(moved(j, sign * min(size, 0.4)))
    if thick and kind in (layout.PLANE, layout.LINE) and len(rigid) > 1:
        tilts = [j for j in rigid if j not in (0, 1)] if problem.law == 1 else rigid[1:]
        for angle in (0.35, 0.7, 1.05, 1.4):
            turns = 6 if len(tilts) == 2 else 2
            for step in range(turns):
                u, v = angle * np.cos(2.0 * np.pi * step / turns), angle * np.sin(2.0 * np.pi * step / turns)
                result.append(moved(tilts[0], u) if len(tilts) == 1 else moved(tilts[0], u, tilts[1], v))
    return result


def _distinct(a: np.ndarray, b: np.ndarray, size: float) -> bool:
    """Whether two poses are different elements: by more than the points' own extent times 1e-7 or the tenth of a
    zone.
    """
    apart = float(np.abs(a[:3] - b[:3]).max()) + float(np.linalg.norm(np.cross(a[9:12], b[9:12])))
    return apart > max(1e-9, 1e-3 * size)


def solve(
    problem: ZoneProblem,
    xyz: np.ndarray,
    centre: np.ndarray,
    scale: float,
    centroid: np.ndarray,
    start: np.ndarray,
) -> ZoneAnswer:
    """Zone fit of finite points (n, 3) from the least-squares pose `start` (scaled coordinates)."""
    from metrology_core.kernels import minimax as k

    n = len(xyz)
    none = np.empty(0, np.int64)
    if n <= ALL_POINTS:
        rows = np.arange(n)
    else:
        _, index, _ = _pass(
            problem, xyz, centre, scale, start, -np.inf if problem.plus else np.inf,
            np.inf if problem.minus else -np.inf, none,
        )  # fmt: skip
        rows = np.unique(index[index >= 0])
    local = np.ascontiguousarray((xyz[rows] - centre) * scale)
    distance = np.empty(len(local))
    k.all_distances(problem.row.kind, problem.law, local, np.zeros(3), 1.0, start, distance)
    spread = float(distance.max() - distance.min())
    if problem.law == 1:
        spread = float(distance.max())
    trust = min(0.3, max(30.0 * spread, 1e-13)) if problem.law == 0 else spread
    if problem.radial and spread < 1e-9:
        trust = 0.1
    thick = spread > 2.0 * THICK * size_of(problem, start)
    best = _minimise(problem, local, start, centroid, trust)
    starts, ties = 1, 0
    if thick or problem.criterion == "maximum_inscribed":
        found = [best]
        for pose in further_starts(problem, start, centroid, 0.5 * spread, thick):
            found.append(_minimise(problem, local, pose, centroid, trust))
        starts = len(found)
        best, ties = _choose(found, start, spread)
    best = _held(problem, local, best, centroid)
    pose = best.pose
    contacts, signs, multipliers, ends = none, np.empty(0), np.empty(0), np.empty(4)
    iterations, rounds = 0, 1
    h = float(best.info[0])
    status = "not_converged"
    while True:
        code, h = int(best.info[1]), float(best.info[0])
        iterations += int(best.info[2])
        pose = best.pose
        count = int(best.info[3])
        contacts = rows[best.ids[:count]]
        signs, multipliers = best.signs[:count].copy(), best.multipliers[:count].copy()
        status = ("converged", "exact", "not_converged", "unbounded")[code]
        slack = 1e-13 * abs(h) + 4.0 * _EPS * k.reference_size(problem.row.kind, pose)
        _, index, ends = _pass(
            problem, xyz, centre, scale, pose, h + slack if problem.plus else np.inf,
            -h - slack if problem.minus else -np.inf, np.unique(contacts),
        )  # fmt: skip
        outside = np.unique(index[index >= 0])
        if not len(outside) or n <= ALL_POINTS or status == "unbounded":
            break
        if rounds == MAX_ROUNDS:
            status = "not_converged"
            break
        rounds += 1
        rows = np.concatenate((rows, np.setdiff1d(outside, rows)))
        local = np.ascontiguousarray((xyz[rows] - centre) * scale)
        best = _held(problem, local, _minimise(problem, local, pose, centroid, trust), centroid)
    touch = np.ascontiguousarray((xyz[contacts] - centre) * scale)
    return _answer(
        problem, status, pose, h, contacts, signs, multipliers, touch, ends, starts, ties, rounds, iterations
    )


def touching_points(
    problem: ZoneProblem, xyz: np.ndarray, centre: np.ndarray, scale: float, answer: ZoneAnswer
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the borders of the zone (m, 3, scaled) and their sides (m,); of many points, one per cell and side."""
    from metrology_core.kernels import minimax as k

    near = 1e-9 * abs(answer.h) + 8.0 * _EPS * answer.reference
    above = answer.h - near if problem.plus else np.inf
    below = near - answer.h if problem.minus else -np.inf
    if len(xyz) <= ALL_POINTS:
        distance = np.empty(len(xyz))
        k.all_distances(problem.row.kind, problem.law, xyz, centre, scale, answer.pose, distance)
        high, low = np.flatnonzero(distance > above), np.flatnonzero(distance < below)
    else:
        _, index, _ = _pass(problem, xyz, centre, scale, answer.pose, above, below, np.empty(0, np.int64))
        high, low = index[0][index[0] >= 0], index[1][index[1] >= 0]
    rows = np.concatenate((high, low))
    sides = np.concatenate((np.ones(len(high)), -np.ones(len(low))))
    return np.ascontiguousarray((xyz[rows] - centre) * scale), sides


def _choose(found: list[_Local], start: np.ndarray, spread: float) -> tuple[_Local, int]:
    """The smallest zone; among ties the one nearest to the least-squares element. Also counts the ties that differ."""
    good = [f for f in found if int(f.info[1]) in (0, 1)] or found[:1]
    least = min(float(f.info[0]) for f in good)
    limit = least + TIE * spread + 16.0 * _EPS
    level = [f for f in good if float(f.info[0]) <= limit]
    level.sort(key=lambda f: float(np.abs(f.pose[:3] - start[:3]).max()))  # stable: then the order of the starts
    best = level[0]
    others = [f for f in level[1:] if _distinct(f.pose, best.pose, spread)]
    return best, len(others)


def _answer(
    problem: ZoneProblem,
    status: str,
    pose: np.ndarray,
    h: float,
    contacts: np.ndarray,
    signs: np.ndarray,
    multipliers: np.ndarray,
    touch: np.ndarray,
    ends: np.ndarray,
    starts: int,
    ties: int,
    rounds: int,
    iterations: int,
) -> ZoneAnswer:
    from metrology_core.kernels import minimax as k

    high, low, high_index, low_index = float(ends[0]), float(ends[1]), int(ends[2]), int(ends[3])
    gap = np.inf
    if problem.plus:
        gap = min(gap, h - high)
    if problem.minus:
        gap = min(gap, h + low)
    if len(contacts):
        distance = np.empty(len(touch))
        k.all_distances(problem.row.kind, problem.law, touch, np.zeros(3), 1.0, pose, distance)
        for value, point in zip(distance.tolist(), contacts.tolist()):
            if value > high:
                high, high_index = value, point
            if value < low:
                low, low_index = value, point
    return ZoneAnswer(
        status, pose, h, contacts, signs, multipliers, touch, high, low, high_index, low_index, max(0.0, float(gap)),
        starts, ties, rounds, iterations, float(k.reference_size(problem.row.kind, pose)),
    )  # fmt: skip
