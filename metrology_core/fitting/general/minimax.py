"""Minimax of any model: min over the chart of the largest of +c_i and -c_i (or of one side), as in `kernels.minimax`.

Sequential linear programs with a trust region find the contacts, Newton's method on the optimality conditions ends.
Inscribed and circumscribed features: the size is left out of the chart and c_i is the size at which the feature passes
through point i, less the current size; its derivative is that of the distance over minus its derivative by the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.fitting.general.rows import Rows
from metrology_core.fitting.general.solution import EPS, Solution, reference

_TURNS = 60  # linear programs of one attempt
_MOST = 150  # and of the first start
_MOST_OTHER = 40  # and of every further one: a start that needs more is far from a minimum


class ZoneModel:
    """A model seen by the zone solver: values c (n,) and derivatives j (n, q), sides that count.

    size: name of the size that an inscribed or circumscribed feature leaves out, None for zones.
    """

    def __init__(self, model: Any, plus: bool, minus: bool, size: str | None = None) -> None:
        self.model = model
        self.plus = plus
        self.minus = minus
        self.size_name = size
        self.start = model.start

    @property
    def size(self) -> int:
        return int(self.model.size)

    def move(self, state: Any, step: np.ndarray) -> Any:
        return self.model.move(state, step)

    def root_weights(self) -> None:
        """Zones take no weights."""

    def rows(self, state: Any) -> Rows:
        """First rows of all points."""
        return self._rows(self.model.rows(state), state, None)

    def part(self, state: Any, index: np.ndarray) -> Rows:
        """Rows of some points."""
        part = getattr(self.model, "part", None)
        rows = self.model.rows(state) if part is None else part(state, index)
        if part is None:
            rows = Rows(rows.c[:, index], rows.d[:, index], rows.j[:, index])
        return self._rows(rows, state, index)

    def _rows(self, rows: Rows, state: Any, index: np.ndarray | None) -> Rows:
        if self.size_name is None:
            return Rows(rows.c[:1], rows.d[:1], rows.j[:1])
        if self.size_name in ("width", "minor_radius"):
            return Rows(rows.c[:1], rows.d[:1], rows.j[:1]).times(2.0 if self.size_name == "width" else 1.0)
        factor = self.model.size_factor(state, self.size_name, index)
        return Rows(rows.c[:1] / factor, rows.d[:1] / factor[:, None], rows.j[:1] / factor[:, None])

    def worst(self, c: np.ndarray) -> float:
        """Largest one-sided value."""
        high = float(c.max()) if self.plus else -np.inf
        low = -float(c.min()) if self.minus else -np.inf
        return max(high, low)


def _program(
    zone: ZoneModel, c: np.ndarray, at: np.ndarray, box: np.ndarray
) -> tuple[bool, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from metrology_core.kernels import minimax as k
    from metrology_core.kernels.minimax_lp import LP_SINGULAR

    q = len(at)
    basis, mult, z = np.zeros(q + 1, np.int64), np.empty(q + 1), np.empty(q + 1)
    code = k.linear_program(at, c, zone.plus, zone.minus, box, basis, mult, z)
    keep = (basis >= 0) & (mult > 1e-8)
    return code != LP_SINGULAR, z, basis[keep] >> 1, np.where(basis[keep] & 1, -1.0, 1.0), mult[keep]


def _newton(
    zone: ZoneModel, state: Any, ids: np.ndarray, signs: np.ndarray, lam: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(step, multipliers, Hessian): one Newton step on the conditions of these contacts."""
    q = zone.size
    rows = zone.part(state, ids)
    hess = _hessian(zone, state, ids, signs * lam)
    k = len(ids)
    matrix = np.zeros((q + k + 1, q + k + 1))
    a = signs[:, None] * rows.j[0]
    matrix[:q, :q] = hess * width
    matrix[:q, q : q + k], matrix[q : q + k, :q] = a.T, a
    matrix[q : q + k, -1] = matrix[-1, q : q + k] = -1.0
    right = np.zeros(q + k + 1)
    right[q : q + k] = -signs * rows.c[0] / width
    right[-1] = -1.0
    try:
        solved = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(solved).all():
        return None
    return solved[:q] * width, solved[q : q + k], hess


def _hessian(zone: ZoneModel, state: Any, ids: np.ndarray, load: np.ndarray) -> np.ndarray:
    q = zone.size
    result = np.empty((q, q))
    e = 1e-5
    for a in range(q):
        step = np.zeros(q)
        step[a] = e
        up = load @ zone.part(zone.move(state, step), ids).j[0]
        down = load @ zone.part(zone.move(state, -step), ids).j[0]
        result[a] = (up - down) / (2.0 * e)
    return 0.5 * (result + result.T)


def _finish(
    zone: ZoneModel, state: Any, ids: np.ndarray, signs: np.ndarray, lam: np.ndarray, width: float, h: float
) -> Solution | None:
    """Newton on fixed contacts; None where the conditions do not hold afterwards."""
    best, best_size, best_lam, previous = state, np.inf, lam, np.inf
    ref = reference(zone.model, state)
    hess = np.empty((zone.size, zone.size))
    for turn in range(25):
        found = _newton(zone, state, ids, signs, lam, width)
        if found is None:
            break
        step, lam, hess = found
        size = float(np.abs(step).max(initial=0.0))
        if not size < 1.0:
            break
        if size <= best_size:
            best, best_size, best_lam = state, size, lam
        if size <= 0.5 * EPS * ref or (turn >= 2 and size < 1e-7 and size >= 0.5 * previous):
            break
        previous = size
        state = zone.move(state, step)
    if not best_size < 1e-3 or float(best_lam.min(initial=0.0)) < -1e-9:
        return None
    c = zone.rows(best).c[0]
    worst, own = zone.worst(c), float((signs * c[ids]).max())
    if worst - own > 1e-12 * width + 4.0 * EPS * ref or worst > h + 1e-13 * width + 2.0 * EPS * ref:
        return None
    return Solution(best, "converged", worst, 0.0, 0, best_size, ids, signs, np.maximum(best_lam, 0.0), hess, h=worst)


def minimise(zone: ZoneModel, start: Any, trust: float, most: int = _MOST) -> Solution:
    """A local minimax solution from a start."""
    state = start
    q = zone.size
    rows = zone.rows(state)
    c, at = rows.c[0], np.ascontiguousarray(rows.j[0].T)
    h = zone.worst(c)
    ref = reference(zone.model, state)
    radius, first, count = trust, start, 0
    ids, signs, lam = np.empty(0, np.int64), np.empty(0), np.empty(0)
    if q == 0:
        i = int(np.argmax(c) if zone.plus and c.max() >= (-c.min() if zone.minus else -np.inf) else np.argmin(c))
        return Solution(
            state, "converged", h, 0.0, 0, 0.0, np.array([i]), np.array([1.0 if c[i] == h else -1.0]), np.ones(1),
            np.empty((0, 0)), h=h,
        )  # fmt: skip
    for attempt in range(4):
        fails = 0
        for _ in range(_TURNS):
            if count >= most:
                break
            count += 1
            ref = reference(zone.model, state)
            width = _width(zone, c, h, ref)
            if width <= 16.0 * EPS * ref:
                return Solution(state, "exact", h, 0.0, count, 0.0, h=h)
            lever = np.maximum(np.abs(at).max(axis=1), 1e-6)
            box = radius / (width * lever)
            good, z, ids, signs, lam = _program(zone, c / width, at, box)
            if not good:
                fails += 1
                radius *= 0.25
                if fails > 12:
                    break
                continue
            predicted = h - z[q] * width
            if predicted <= 1e-13 * width + 0.5 * EPS * ref:
                break
            at_box = bool((np.abs(z[:q]) >= 0.999 * box).any())
            trial = zone.move(state, z[:q] * width)
            rows_new = zone.rows(trial)
            h_new = zone.worst(rows_new.c[0])
            linear_good = h - h_new > 0.7 * predicted
            if 0 < len(ids) < q + 1 and not (linear_good and at_box and radius < 0.1 * width):
                found = _newton(zone, state, ids, signs, lam, width)
                if found is not None:
                    step = found[0]
                    longest = float((np.abs(step) / (box * width)).max())
                    step = step * (4.0 / longest if longest > 4.0 else 1.0)
                    if np.isfinite(step).all():
                        second = zone.move(state, step)
                        rows_2 = zone.rows(second)
                        h_2 = zone.worst(rows_2.c[0])
                        if h_2 < h_new:
                            trial, rows_new, h_new = second, rows_2, h_2
                            linear_good = linear_good or h - h_2 > 0.5 * predicted
            gain = h - h_new
            if gain > 0.05 * predicted or (gain > 0.0 and radius < 1e-3 * width):
                state, h = trial, h_new
                c, at = rows_new.c[0], np.ascontiguousarray(rows_new.j[0].T)
                fails = 0
                if linear_good and at_box:
                    radius = min(0.3, 4.0 * radius)
                elif gain < 0.3 * predicted:
                    radius *= 0.3
            else:
                fails += 1
                radius *= 0.25
            if zone.plus != zone.minus and _moved(first, state) > 2.0:
                return Solution(
                    state, "degenerate", h, np.inf, count, np.inf, h=h,
                    reason="the points do not surround an inscribed or circumscribed feature",
                )  # fmt: skip
            if fails > 14 or not radius > 1e-16 * ref:
                break
        width = _width(zone, c, h, ref)
        for power in range(6):
            if power:
                tight = max(width * 10.0 ** (1 - 2 * power), 256.0 * EPS * ref)
                box = tight / (width * np.maximum(np.abs(at).max(axis=1), 1e-6))
                good, z, ids, signs, lam = _program(zone, c / width, at, box)
                if not good:
                    continue
            if not len(ids):
                continue
            found_solution = _finish(zone, state, ids, signs, lam, width, h)
            if found_solution is not None:
                found_solution.iterations = count
                return found_solution
        tight = max(1e-3 * width, 256.0 * EPS * ref)
        box = tight / (width * np.maximum(np.abs(at).max(axis=1), 1e-6))
        good, z, ids, signs, lam = _program(zone, c / width, at, box)
        slack = 0.5 if attempt < 2 else 4.0
        if good and h - z[q] * width <= 0.2 * slack * 1e-12 * width + slack * EPS * ref:
            hess = _hessian(zone, state, ids, signs * lam)
            return Solution(state, "converged", h, 0.0, count, 0.0, ids, signs, lam, hess, h=h)
        if count >= most:
            break
        radius = max(1e-3 * width, 1e-12)
    return Solution(state, "not_converged", h, np.inf, count, np.inf, ids, signs, lam, h=h, reason="no contacts found")


def _width(zone: ZoneModel, c: np.ndarray, h: float, ref: float) -> float:
    if zone.plus and zone.minus:
        return h
    width = float(np.ptp(c))
    return width if width > 1e-9 * ref else ref


def _moved(a: Any, b: Any) -> float:
    a, b = (a if isinstance(a, tuple) else (a,)), (b if isinstance(b, tuple) else (b,))
    result = 0.0
    for f, g in zip(a, b, strict=True):
        for name in ("point", "center"):
            if hasattr(f, name):
                result = max(result, float(np.abs(getattr(f, name) - getattr(g, name)).max()))
    return result


def further_starts(zone: ZoneModel, state: Any, spread: float, sizes: tuple[float, ...]) -> list[Any]:
    """Deterministic starts about a state: each free coordinate moved both ways by multiples of the spread."""
    result = []
    for size in sizes:
        for a in range(zone.size):
            for sign in (1.0, -1.0):
                step = np.zeros(zone.size)
                step[a] = sign * min(size * spread, 0.3)
                result.append(zone.move(state, step))
    return result


def solve(zone: ZoneModel, start: Any, *, several: bool, trust: float | None = None) -> Solution:
    """The best of one or several starts, with its proof: contacts, multipliers, residual, second-order condition."""
    rows = zone.rows(start)
    spread = max(float(np.ptp(rows.c[0])), 1e-12)
    trust = min(0.3, 30.0 * spread) if trust is None else trust
    best = minimise(zone, start, trust)
    found = [best]
    if several:
        for state in further_starts(zone, start, spread, (1.0,)):
            found.append(minimise(zone, state, trust, _MOST_OTHER))
        good = [f for f in found if f.status in ("converged", "exact")] or found[:1]
        least = min(f.h for f in good)
        limit = least + 1e-10 * spread + 16.0 * EPS
        level = sorted((f for f in good if f.h <= limit), key=lambda f: _moved(f.state, start))
        best = level[0]
        best.alternatives = _distinct(level[1:], best, spread)
        best.ties = len(best.alternatives)
        best.starts = len(found)
    if best.status == "converged":
        _certify(zone, best)
    return best


def _distinct(others: list[Solution], best: Solution, spread: float) -> list[Any]:
    """States that differ from the best one and from each other."""
    kept: list[Any] = [best.state]
    for other in others:
        if all(_apart(other.state, known) > max(1e-9, 1e-3 * spread) for known in kept):
            kept.append(other.state)
    return kept[1:]


def _apart(a: Any, b: Any) -> float:
    total = 0.0
    for f, g in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        for name, value in f.parameters.items():
            other = getattr(g, name)
            if name in ("axis", "direction", "normal", "major_axis"):
                cross = np.cross(value, other) if value.size == 3 else value[0] * other[1] - value[1] * other[0]
                total = max(total, float(np.abs(cross).max()))
            elif name in ("point", "center"):
                total = max(total, float(np.abs(value - other).max()))
    return total


def _certify(zone: ZoneModel, found: Solution) -> None:
    rows = zone.rows(found.state)
    c = rows.c[0]
    ref = reference(zone.model, found.state)
    ids, signs, lam = found.active, found.signs, found.multipliers
    total = float(lam.sum())
    lam = lam / total if total > 0.0 else lam
    found.multipliers = lam
    a = rows.j[0, ids]
    width = max(_width(zone, c, found.h, ref), 1e-300)
    stationarity = float(np.abs((lam * signs) @ a).max(initial=0.0)) / max(float(np.abs(a).max(initial=0.0)), 1e-300)
    scatter = max(0.0, float(np.ptp(signs * c[ids])) - 8.0 * EPS * ref) / width
    found.residual = max(stationarity, scatter, max(0.0, -float(lam.min(initial=0.0))))
    others = np.ones(len(c), bool)
    others[ids] = False
    gap = np.inf
    if others.any():
        if zone.plus:
            gap = min(gap, found.h - float(c[others].max()))
        if zone.minus:
            gap = min(gap, found.h + float(c[others].min()))
    found.gap = max(0.0, gap)
    from metrology_core.fitting.general.constrained import _null

    free = _null(signs[:, None] * a) if len(ids) else np.eye(zone.size)
    free_rows = np.linalg.svd(a)[1] if a.size else np.empty(0)
    if int((free_rows > 1e-6).sum()) < zone.size:
        if not found.hessian.size:
            found.hessian = _hessian(zone, found.state, ids, signs * lam)
        bent = float(np.linalg.eigvalsh(free.T @ found.hessian @ free)[0]) if free.shape[1] else np.inf
        found.unique = bent > 1e-8 or _blocked(zone, found, c, rows.j[0], free)
    if found.residual > 1e-10:
        found.status = "not_converged"
        found.reason = "the contact conditions were not met"


def _blocked(zone: ZoneModel, found: Solution, c: np.ndarray, j: np.ndarray, free: np.ndarray) -> bool:
    """Whether points that touch without pressing block every direction that the contacts leave free."""
    from metrology_core.kernels import minimax as k

    near = 1e-9 * abs(found.h) + 8.0 * EPS * reference(zone.model, found.state)
    if not free.shape[1]:
        return True
    high = c > found.h - near if zone.plus else np.zeros(len(c), bool)
    low = c < near - found.h if zone.minus else np.zeros(len(c), bool)
    pressing = np.concatenate((j[high], -j[low]))
    return bool(k.least_push(np.ascontiguousarray(pressing @ free)) > 1e-9)
