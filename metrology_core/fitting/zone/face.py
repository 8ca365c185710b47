"""Zones that contacts leave free to turn, to first order: on to where another point touches, or curvature holds.

Three contacts in a row, of points on a grid, hold a plane's zone in one direction only. To first order the zone stays
as wide while it turns about that row; in truth it gets narrower, by the cosine of a small angle, until a further point
touches. The linear programs of the search see no difference and may end anywhere on the way. Two points across a
bore hold its inscribed cylinder with hardly any help of a third: where curvature decides, the programs come as near as
the root of rounding, and Newton's method on the conditions of the optimum goes the rest of the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.fitting.zone.certificate import derivatives, hessian, second_order
from metrology_core.fitting.zone.problem import ZoneProblem
from metrology_core.kernels import layout

_EPS = 2.220446049250313e-16


@dataclass(eq=False)
class Held:
    """A zone and what holds it: pose, half width, rows of the contacts, their sides, multipliers."""

    pose: np.ndarray
    h: float
    contacts: np.ndarray
    signs: np.ndarray
    multipliers: np.ndarray


def corners_of_the_face(problem: ZoneProblem, xyz: np.ndarray, at: Held, centroid: np.ndarray) -> list[Held]:
    """Where the first further point of xyz (n, 3, scaled) touches, one for either sense, as far as that is a minimum;
    none where the contacts hold the zone, or curvature does, or more than one direction is free."""
    from metrology_core.kernels import minimax as kernels

    pose, h, contacts, signs, multipliers = at.pose, at.h, at.contacts, at.signs, at.multipliers
    if len(contacts) != len(problem.columns):
        return []
    touch = np.ascontiguousarray(xyz[contacts])
    rows = derivatives(problem, touch, pose)
    curvature, _, free = second_order(rows, hessian(problem, touch, signs, multipliers, pose, h, centroid))
    # a minimum by curvature is proved as it is; what curves by less than rounding is as good as flat
    if curvature is None or curvature > 0.0 or len(free) != 1:
        return []
    distance = np.empty(len(xyz))
    kernels.all_distances(problem.row.kind, problem.law, xyz, np.zeros(3), 1.0, pose, distance)
    rate = derivatives(problem, xyz, pose).T @ free[0]
    found = []
    for sense in (1.0, -1.0):
        step, other, other_side = np.inf, -1, 0.0
        for side, used in ((1.0, problem.plus), (-1.0, problem.minus)):
            closing = side * sense * rate
            # the contacts themselves do not move: their rates are rounding
            near = np.flatnonzero(closing > 1e-9) if used else np.empty(0, np.int64)
            near = near[~np.isin(near, contacts)]
            if len(near):
                until = np.maximum(h - side * distance[near], 0.0) / closing[near]
                first = int(np.argmin(until))
                if until[first] < step:
                    step, other, other_side = float(until[first]), int(near[first]), side
        if not step < 0.3:  # rad, or of the extent: beyond, nothing of this is of first order
            continue
        start = _moved(problem, pose, sense * step * free[0], centroid)
        more = np.append(contacts, other), np.append(signs, other_side), np.append(multipliers, 0.0)
        corner = settled(problem, xyz, Held(start, h, *more), centroid)
        if corner is not None:
            found.append(corner)
    return found


def _moved(problem: ZoneProblem, pose: np.ndarray, step: np.ndarray, centroid: np.ndarray) -> np.ndarray:
    from metrology_core.kernels import minimax as kernels

    change, moved = np.zeros(9), np.empty(layout.POSE)
    change[problem.columns] = step
    kernels.moved_pose(problem.row.kind, pose, change, centroid, moved)
    return moved


def settled(problem: ZoneProblem, xyz: np.ndarray, at: Held, centroid: np.ndarray) -> Held | None:
    """The optimum next to these contacts: those that do not press go, points of xyz that stand out join; None where
    that does not come to rest."""
    from metrology_core.kernels import minimax as kernels

    pose, h, contacts, signs, multipliers = at.pose, at.h, at.contacts, at.signs, at.multipliers
    every = np.empty(len(xyz))
    for _ in range(2 * len(problem.columns) + 4):
        found = _newton(problem, xyz, Held(pose, h, contacts, signs, multipliers), centroid)
        if found is None:
            return None
        if found.multipliers.min() < 0.0:
            if len(contacts) == 1:
                return None
            kept = np.arange(len(contacts)) != int(np.argmin(found.multipliers))
            contacts, signs = contacts[kept], signs[kept]
            multipliers = np.maximum(found.multipliers[kept], 0.0)
            multipliers /= multipliers.sum()
            continue
        kernels.all_distances(problem.row.kind, problem.law, xyz, np.zeros(3), 1.0, found.pose, every)
        above = float(every.max()) - found.h if problem.plus else -np.inf
        below = -float(every.min()) - found.h if problem.minus else -np.inf
        slack = 1e-13 * abs(found.h) + 4.0 * _EPS * float(kernels.reference_size(problem.row.kind, found.pose))
        if max(above, below) <= slack:
            return found
        other, side = (int(np.argmax(every)), 1.0) if above >= below else (int(np.argmin(every)), -1.0)
        if len(contacts) > len(problem.columns) or other in contacts:
            return None
        contacts, signs = np.append(contacts, other), np.append(signs, side)
        multipliers = np.append(found.multipliers, 0.0)
    return None


def _newton(problem: ZoneProblem, xyz: np.ndarray, at: Held, centroid: np.ndarray) -> Held | None:
    """Where these contacts lie on the border and their multipliers balance, of either sign; None where steps grow."""
    from metrology_core.kernels import minimax as kernels

    pose, h, contacts, signs, multipliers = at.pose, at.h, at.contacts, at.signs, at.multipliers
    nf, k = len(problem.columns), len(contacts)
    touch, distance = np.ascontiguousarray(xyz[contacts]), np.empty(k)
    for _ in range(8):
        kernels.all_distances(problem.row.kind, problem.law, touch, np.zeros(3), 1.0, pose, distance)
        pressing = derivatives(problem, touch, pose) * signs
        matrix = np.zeros((nf + k + 1, nf + k + 1))
        if k <= nf:
            matrix[:nf, :nf] = hessian(problem, touch, signs, multipliers, pose, h, centroid)
        matrix[:nf, nf:-1], matrix[nf:-1, :nf] = pressing, pressing.T
        matrix[nf:-1, -1], matrix[-1, nf:-1] = -1.0, 1.0
        rest = np.concatenate((pressing @ multipliers, signs * distance - h, [multipliers.sum() - 1.0]))
        try:
            step = -np.linalg.solve(matrix, rest)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all() or np.abs(step[:nf]).max() > 0.3:
            return None
        pose, h, multipliers = (
            _moved(problem, pose, step[:nf], centroid),
            h + float(step[-1]),
            multipliers + step[nf:-1],
        )
        if abs(step[-1]) <= 2.0 * _EPS * abs(h) and np.abs(step[:nf]).max() <= 4.0 * _EPS:
            break
    return Held(pose, h, contacts, signs, multipliers)


def stationarity(problem: ZoneProblem, xyz: np.ndarray, at: Held) -> float:
    """What is left of the contacts' derivatives, relative to the largest, or the largest pull of a contact."""
    rows = derivatives(problem, np.ascontiguousarray(xyz[at.contacts]), at.pose)
    rest = float(np.abs(rows @ (at.multipliers * at.signs)).max() / max(float(np.abs(rows).max()), 1e-300))
    return max(rest, -float(at.multipliers.min()))
