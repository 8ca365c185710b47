"""Least absolute deviations: exact vertices by a simplex of the points themselves, ended by Newton on the multipliers.

Features with one residual per point: linearised problems are solved to a vertex (as many points on the feature as
unknowns) by edge descent with weighted medians (P. Bloomfield and W. Steiger, Least Absolute Deviations, 1983), which
is exact and needs a few passes over the points. Curves in space have two residuals per point and minimise the sum of
their lengths: smoothed reweighting finds the points that lie on the curve. Both end with Newton's method on 0 = sum of
unit residuals J + sum lambda J over the points on the feature, |lambda| <= 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.fitting.general.least import SINGULAR, conditioning, weighted
from metrology_core.fitting.general.solution import EPS, Model, Solution, curvature, reference

_TURNS = 40
_PIVOTS = 400


def _vertex(a: np.ndarray, c: np.ndarray, w: np.ndarray, basis: list[int]) -> tuple[np.ndarray, list[int]] | None:
    """min over y of sum w |c + a y|: (y, rows that are zero). basis: rows to start from, or empty."""
    q = a.shape[1]
    if len(basis) != q:
        order = np.argsort(np.abs(c), kind="stable")[: max(8 * q, 64)]
        basis = _independent(a, order, q)
        if len(basis) != q:
            basis = _independent(a, np.argsort(np.abs(c), kind="stable"), q)
        if len(basis) != q:
            return None
    for _ in range(_PIVOTS):
        b = a[basis]
        try:
            y = np.linalg.solve(b, -c[basis])
            r = c + a @ y
            r[basis] = 0.0
            gradient = (w * np.sign(r)) @ a
            lam = -np.linalg.solve(b.T, gradient)
        except np.linalg.LinAlgError:
            return None
        excess = np.abs(lam) / w[basis]
        descended = False
        for k in np.argsort(-excess, kind="stable"):
            if excess[k] <= 1.0 + 1e-12:
                break
            e = np.zeros(q)
            e[k] = 1.0 if lam[k] > 0.0 else -1.0
            edge = np.linalg.solve(b, e)
            rate = a @ edge
            rate[basis] = 0.0
            slope = w[basis[k]] - abs(float(lam[k]))
            rest = np.abs(r) <= 4.0 * EPS * np.abs(c).max(initial=EPS)
            rest[basis] = False
            slope += float((w * np.abs(rate))[rest].sum())
            if slope >= -1e-13 * float(w.sum()):
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                t = -r / rate
            ahead = np.flatnonzero((t > 0.0) & np.isfinite(t) & ~rest)
            if not len(ahead):
                continue
            ahead = ahead[np.argsort(t[ahead], kind="stable")]
            total = slope + 2.0 * np.cumsum(w[ahead] * np.abs(rate[ahead]))
            stop = int(np.searchsorted(total, 0.0))
            basis = list(basis)
            basis[k] = int(ahead[min(stop, len(ahead) - 1)])
            descended = True
            break
        if not descended:
            return y, basis
    return None


def _independent(a: np.ndarray, order: np.ndarray, q: int) -> list[int]:
    """The first rows of `order` that are linearly independent."""
    chosen: list[int] = []
    frame = np.empty((0, a.shape[1]))
    for i in order:
        row = a[i] - frame.T @ (frame @ a[i])
        size = float(np.linalg.norm(row))
        if size > 1e-3 * float(np.linalg.norm(a[i])) and size > 0.0:
            row = row - frame.T @ (frame @ row)
            frame = np.vstack((frame, row / np.linalg.norm(row)))
            chosen.append(int(i))
            if len(chosen) == q:
                break
    return chosen


def _lengths(c: np.ndarray) -> np.ndarray:
    return np.abs(c[0]) if len(c) == 1 else np.sqrt(np.einsum("kn,kn->n", c, c))


def least_absolute(model: Model, start: Any) -> Solution:
    """Minimise the weighted sum of distances from a start (the least-squares answer)."""
    root = model.root_weights()
    rows = model.rows(start)
    n = rows.c.shape[1]
    w = np.ones(n) if root is None else root / root.max()
    if conditioning(weighted(model, start)[1])[1] < SINGULAR:
        return Solution(start, "degenerate", np.nan, np.inf, 0, np.inf, reason="a parameter is undetermined")
    ref = reference(model, start)
    if float(_lengths(rows.c).max()) <= 16.0 * EPS * ref:
        return Solution(start, "exact", 0.0, 0.0, 0, 0.0)
    if len(rows.c) == 1:
        state, active, count = _one_row(model, start, w)
    elif float(np.abs(rows.c[1]).max()) <= 16.0 * EPS * ref:
        state, active, count = _one_row(_InPlane(model, rows.j[0]), start, w)
    else:
        state, active, count = _two_rows(model, start, w)
    return _polish(model, state, active, w, count)


class _InPlane:
    """A curve in space whose points lie in its plane: the sum of distances is least for the curve of that plane, since
    every other plane lengthens them all. Its vertices are those of one residual per point; smoothing, which looks for
    points where both residuals vanish, would find the second to vanish everywhere.
    """

    def __init__(self, model: Model, slopes: np.ndarray) -> None:
        """slopes (n, p): of the residuals in the plane, by which the motions out of it are told."""
        self.model = model
        largest = np.abs(slopes).max(axis=0)
        self.free = np.flatnonzero(largest > 1e-9 * largest.max())
        self.size = len(self.free)

    def rows(self, state: Any) -> Any:
        """The residuals in the plane and their slopes by the motions in it."""
        rows = self.model.rows(state)
        return type(rows)(rows.c[:1], rows.d[:1], rows.j[:1, :, self.free])

    def move(self, state: Any, step: np.ndarray) -> Any:
        """The curve after a motion in its plane."""
        whole = np.zeros(self.model.size)
        whole[self.free] = step
        return self.model.move(state, whole)


def _merge(rows: Any, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of repeated points joined: (c, j, weights, first index)."""
    table = np.column_stack((rows.c[0], rows.j[0]))
    _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    joined = np.bincount(rank[inverse.reshape(-1)], weights=w, minlength=len(first))
    first = first[order]
    return rows.c[0][first], rows.j[0][first], joined, first


def _one_row(model: Model | _InPlane, start: Any, w: np.ndarray) -> tuple[Any, np.ndarray, int]:
    state = start
    basis: list[int] = []
    names = np.empty(0, np.int64)
    value = float(np.sum(w * np.abs(model.rows(state).c[0])))
    count = 0
    for _ in range(_TURNS):
        count += 1
        rows = model.rows(state)
        c, j, joined, first = _merge(rows, w)
        place = {int(f): i for i, f in enumerate(first)}
        known = [place[int(i)] for i in names if int(i) in place]
        found = _vertex(j, c, joined, known if len(known) == model.size else [])
        if found is None:
            break
        step, basis = found
        names = first[basis]
        longest = float(np.abs(step).max(initial=0.0))
        t = 1.0 if longest < 1.0 else 1.0 / longest
        better = False
        for _ in range(25):
            trial = model.move(state, t * step)
            new = float(np.sum(w * np.abs(model.rows(trial).c[0])))
            if new < value:
                better = True
                break
            t *= 0.5
        if not better:
            break
        state, value = trial, new
        if longest < 1e-12:
            break
    return state, np.asarray(names), count


def _two_rows(model: Model, start: Any, w: np.ndarray) -> tuple[Any, np.ndarray, int]:
    """Newton on sums of sqrt(length^2 + s^2) with s falling to rounding.

    A point that lies on the curve ends at a length of s |m| / sqrt(1 - |m|^2), m its multiplier; of all others the
    length stays far above s. (The curvature of the residuals is left out: against 1 / length it is the length over the
    size of the feature.)
    """
    state = start
    rows = model.rows(state)
    middle = max(float(np.median(_lengths(rows.c))), 64.0 * EPS)
    least = max(1e-8 * middle, 2.0 * EPS * reference(model, start))
    smooth, count = middle, 0
    while True:
        value = float(np.sum(w * np.hypot(_lengths(rows.c), smooth)))
        previous = np.inf
        for _ in range(25):
            count += 1
            size = np.hypot(_lengths(rows.c), smooth)
            along = np.einsum("kn,knq->nq", rows.c / size, rows.j)
            gradient = w @ along
            hess = np.einsum("n,kna,knb->ab", w / size, rows.j, rows.j)
            hess -= np.einsum("n,na,nb->ab", w / size, along, along)
            step = -np.linalg.lstsq(hess, gradient, rcond=EPS)[0]
            length = float(np.abs(step).max())
            t = min(1.0, 0.5 / max(length, 1e-300))
            for _ in range(30):
                trial = model.move(state, t * step)
                new_rows = model.rows(trial)
                new = float(np.sum(w * np.hypot(_lengths(new_rows.c), smooth)))
                if new <= value * (1.0 + 1e-14):  # the sum is flat where the gradient still tells the way
                    break
                t *= 0.5
            else:
                break
            state, rows, value = trial, new_rows, new
            if t * length < 1e-3 * smooth or (t == 1.0 and length < 1e-9 and length >= 0.5 * previous):
                break
            previous = length
        if smooth <= least:
            break
        smooth = max(0.1 * smooth, least)
    ends = _lengths(rows.c)
    return state, np.flatnonzero(ends < 300.0 * smooth), count


def _polish(model: Model, state: Any, active: np.ndarray, w: np.ndarray, count: int) -> Solution:
    """Newton on the conditions; points leave and enter the feature until signs and multipliers fit."""
    q = model.size
    n = len(w)
    best = _judge(model, state, active, np.zeros((len(model.rows(state).c), len(active))), w)
    k = len(model.rows(state).c)
    for _ in range(4 * q + 10):
        active = np.sort(active)
        lam = np.zeros((k, len(active)))
        trial, previous, ended = state, np.inf, False
        for turn in range(20):
            count += 1
            rows = model.rows(trial)
            length = _lengths(rows.c)
            on = np.zeros(n, bool)
            on[active] = True
            safe = np.where(on | (length == 0.0), 1.0, length)
            unit = np.where(on, 0.0, rows.c / safe)
            factors = w * unit
            gradient = np.einsum("kn,knq->q", factors, rows.j)
            factors[:, active] = lam
            hess = curvature(model, trial, factors)
            if k > 1:
                weight = np.where(on | (length == 0.0), 0.0, w / safe)
                hess = hess + np.einsum("n,kna,knb->ab", weight, rows.j, rows.j)
                along = np.einsum("kn,knq->nq", unit, rows.j)
                hess = hess - np.einsum("n,na,nb->ab", weight, along, along)
            a = rows.j[:, active].reshape(-1, q)
            m = len(a)
            # near the curve lengths bend by one over themselves: steps in units of that, or the contacts drown in it
            unit_step = 1.0 / max(float(np.abs(hess).max(initial=0.0)), 1.0)
            matrix = np.zeros((q + m, q + m))
            matrix[:q, :q], matrix[:q, q:], matrix[q:, :q] = hess * unit_step, a.T, a
            right = np.append(-gradient, -rows.c[:, active].reshape(-1) / unit_step)
            solved = np.linalg.lstsq(matrix, right, rcond=EPS)[0]
            step, lam = solved[:q] * unit_step, solved[q:].reshape(k, -1)
            size = float(np.abs(step).max(initial=0.0))
            if not size < 0.5:
                break
            if k > 1 and size > 1e-9:  # lengths bend sharply near zero: the sum must not grow
                before = float(np.sum(w * length))
                for _ in range(12):
                    after = float(np.sum(w * _lengths(model.rows(model.move(trial, step)).c)))
                    if after <= before * (1.0 + 1e-12):
                        break
                    step = 0.5 * step
            trial = model.move(trial, step)
            if size <= 2.0 * EPS or (turn >= 2 and size < 1e-11 and size >= 0.5 * previous):
                ended = True
                break
            previous = size
        if k == 1 and not ended and not (previous < 1e-9):
            break
        found = _judge(model, trial, active, lam, w)
        found.step = min(previous, size)
        if found.objective <= best.objective * (1.0 + 1e-12) or best.residual > 1e-10:
            best = found
        if found.status == "converged":
            break
        load = _lengths(lam) / w[active] if len(active) else np.empty(0)
        if k > 1 and not ended and 2 * len(active) < q:
            # a point that the curve is drawn to: let it lie on it
            apart = _lengths(model.rows(trial).c)
            apart[active] = np.inf
            near = int(np.argmin(apart))
            if apart[near] < 1e-2 * float(np.median(apart)):
                active, state = np.append(active, near), trial
                continue
        if len(load) and float(load.max()) > 1.0 + 1e-9:
            active = np.delete(active, int(np.argmax(load)))
            state = trial
        else:
            break
    best.iterations = count
    return best


def _judge(model: Model, state: Any, active: np.ndarray, lam: np.ndarray, w: np.ndarray) -> Solution:
    rows = model.rows(state)
    ref = reference(model, state)
    length = _lengths(rows.c)
    on = np.zeros(len(w), bool)
    on[active] = True
    # points that coincide with active ones, or touch to rounding, share the load: any sign between -1 and 1 will do
    near = ~on & (length <= 16.0 * EPS * ref)
    unit = np.where(on | (length == 0.0), 0.0, rows.c / np.where(length == 0.0, 1.0, length))
    unit[:, near] = 0.0
    gradient = np.einsum("kn,knq->q", w * unit, rows.j)
    if near.any():
        everything = np.flatnonzero(on | near)
        a = rows.j[:, everything].reshape(-1, model.size)
        share = np.linalg.lstsq(a.T, -gradient, rcond=None)[0].reshape(len(rows.c), -1)
        if float(np.max(_lengths(share) / w[everything])) <= 1.0 + 1e-9:
            active, lam = everything, share
    if len(active):
        # the best multipliers at this very state: what Newton left is of the order of its last step
        a = rows.j[:, active].reshape(-1, model.size)
        fitted = np.linalg.lstsq(a.T, -gradient, rcond=None)[0].reshape(len(rows.c), -1)
        lam = fitted if np.isfinite(fitted).all() else lam
    balance = gradient + np.einsum("kn,knq->q", lam, rows.j[:, active])
    scale = np.einsum("n,knq->q", w, np.abs(rows.j))
    scale = np.where(scale > 0.0, scale, 1.0)
    stationarity = float((np.abs(balance) / scale).max(initial=0.0))
    if len(rows.c) > 1:
        # the direction from a curve to a point is known to rounding over its length
        away = ~on & (length > 0.0)
        blur = np.einsum("n,knq->q", (w / np.where(away, length, 1.0)) * away, np.abs(rows.j)) / scale
        stationarity = max(stationarity - 4.0 * EPS * ref * float(blur.max(initial=0.0)), 0.0)
    load = float((_lengths(lam) / w[active]).max(initial=0.0)) if len(active) else 0.0
    spread = max(float(length.max()), 1e-300)
    scatter = max(0.0, float(length[active].max(initial=0.0)) - 16.0 * EPS * ref) / spread
    residual = max(stationarity, scatter, max(0.0, load - 1.0))
    others = np.ones(len(w), bool)
    others[active] = False
    gap = float(length[others].min(initial=np.inf))
    factors = w * unit
    factors[:, active] = lam
    hess = curvature(model, state, factors)
    if len(rows.c) > 1:
        weight = np.where(others & (length > 0.0), w / np.where(length == 0.0, 1.0, length), 0.0)
        along = np.einsum("kn,knq->nq", unit, rows.j)
        hess = (
            hess + np.einsum("n,kna,knb->ab", weight, rows.j, rows.j) - np.einsum("n,na,nb->ab", weight, along, along)
        )
    from metrology_core.fitting.general.constrained import _null

    free = _null(rows.j[:, active].reshape(-1, model.size))
    bent = float(np.linalg.eigvalsh(free.T @ hess @ free)[0]) if free.shape[1] else np.inf
    # a multiplier at its limit: the point may leave without a change of the sum, to first order
    unique = bool(bent > 1e-9 * float(w.sum())) and load < 1.0 - 1e-9
    status = "converged" if residual <= 1e-10 and bent > -1e-9 * float(w.sum()) else "not_converged"
    return Solution(
        state, status, float(np.sum(w * length)), residual, 0, 0.0, np.asarray(active), np.sign(lam[0]), lam, hess,
        unique=unique, gap=gap, reason="" if status == "converged" else "the conditions were not met",
    )  # fmt: skip
