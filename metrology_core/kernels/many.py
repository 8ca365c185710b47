"""Many small least-squares fits in one compiled call: the arithmetic of `fitmain` on one item after the other.

Each item is a run of points. Its sums and its steps are those that the solver makes for these points alone, so the
answer does not depend on the neighbours, on the threads, or on how the items are shared out. Items that need the long
search, or more points than one chunk, are left to the caller (LEFT).
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.accumulate import accumulate, load_block, moments
from metrology_core.kernels.dense import cholesky, cholesky_solve, copy_into, fill
from metrology_core.kernels.descent import (
    BEST_STEP,
    CONVERGED,
    ITERATIONS,
    MOVE,
    OUTCOME,
    SINGULAR,
    advance,
    packed,
    slide,
    start_state,
)
from metrology_core.kernels.fitmain import conditioning, set_scale, settle_moments
from metrology_core.kernels.layout import (
    BLOCK,
    CHUNK,
    CYLINDER,
    I_CENTRE,
    I_CENTROID,
    I_CONDITION,
    I_EMPTY,
    I_GRADIENT,
    I_LEAST,
    I_SCALE,
    LIMITS,
    LINE,
    M_MAX,
    M_MIN,
    N_INFO,
    N_MOMENTS,
    N_PARAMETERS,
    N_SUMS,
    NO_EXTENT,
    POSE,
    READY,
    ROW,
    S_DMAX,
    S_DMIN,
    SEARCH,
)
from metrology_core.kernels.quick import FAN, FAN_ROW, elsewhere, quick_cylinder

# codes of an item
FIT_CONVERGED, FIT_STALLED, FIT_SINGULAR, FIT_FEW, FIT_NO_EXTENT, FIT_COLLINEAR, FIT_COPLANAR, LEFT = range(8)
# numbers kept of each item
(
    F_USED,
    F_SCALE,
    F_LEAST,
    F_CONDITION,
    F_GRADIENT,
    F_STEP,
    F_MOVE,
    F_PASSES,
    F_SIZE_VARIANCE,
    F_SQUARES,
    F_CENTRE,
) = range(11)
N_FACTS = 13

# A quick start is believed where nothing else can come near: see `_believed`.
_ENOUGH = 12
_CLOSE = 0.02
_CONDITION = 60.0
_ELSEWHERE = 100.0


@inner
def _gather(flat, weights, first, last, kept, kept_weights):  # type: ignore[no-untyped-def]
    """Copy the points that are finite and carry weight; returns their number."""
    weighted = weights.shape[0] > 0
    m = 0
    for i in range(first, last):
        x, y, z = flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]
        if (0.0 * x + 0.0 * y) + 0.0 * z == 0.0 and (not weighted or weights[i] > 0.0):
            kept[3 * m], kept[3 * m + 1], kept[3 * m + 2] = x, y, z
            if weighted:
                kept_weights[m] = weights[i]
            m += 1
    return m


@inner
def _box(flat, row):  # type: ignore[no-untyped-def]
    """Extremes of the coordinates into row."""
    n = flat.shape[0] // 3
    for k in range(3):
        low = np.inf
        high = -np.inf
        for i in range(n):
            x = flat[3 * i + k]
            low = x if x < low else low
            high = x if x > high else high
        row[M_MIN + k] = low
        row[M_MAX + k] = high


@inner
def _size_variance(kind, free, sums):  # type: ignore[no-untyped-def]
    """Last diagonal entry of (J'WJ)^-1 over the free columns; NaN where the size is held or the matrix singular."""
    p = N_PARAMETERS[kind]
    if not free[p - 1]:
        return np.nan
    matrix = np.empty((9, 9))
    length = np.empty(9)
    column = np.empty(9)
    n = 0
    for a in range(p):
        if free[a]:
            length[n] = math.sqrt(sums[packed(a, a, p)])
            if not length[n] > 0.0:
                return np.nan
            k = 0
            for b in range(a + 1):
                if free[b]:
                    matrix[n, k] = sums[packed(b, a, p)] / (length[n] * length[k])
                    k += 1
            n += 1
    if not cholesky(matrix, n):
        return np.nan
    fill(column, 0, n, 0.0)
    column[n - 1] = 1.0
    cholesky_solve(matrix, n, column)
    return column[n - 1] / (length[n - 1] * length[n - 1])


@inner
def _believed(n, rms, condition, pose, other):  # type: ignore[no-untyped-def]
    """Whether no other cylinder can come near this one: enough points, close to it, well spread, and no direction of
    the fan that suits them (mean squared distance `other`)."""
    close = rms <= _CLOSE * min(1.0, pose[12])
    return n >= _ENOUGH and close and condition <= _CONDITION and other >= _ELSEWHERE * rms * rms + 1e-3


@kernel
def fit_items(  # type: ignore[no-untyped-def]
    kind, planar, free, given, needed, flat, weights, offsets, starts, fan, first, last,
    poses, sums, facts, codes,
):  # fmt: skip
    """Fit items first..last: points offsets[i] to offsets[i + 1] of flat (x y z of one after the other).

    given: known axis and sizes, NaN where free; needed: points that determine the feature; starts (0, 1 or k, POSE) in
    the data's coordinates, NaN for none. Lines and planes need none, cylinders find their own where that is safe, other
    items without a start are left to the caller. poses (k, POSE, scaled coordinates), sums (k, N_SUMS), facts (k,
    N_FACTS), codes (k): the answers.
    """
    q = np.empty(9 * ROW)
    p = N_PARAMETERS[kind]
    ee = packed(p, p, p)
    longest = 0
    for i in range(first, last):
        longest = max(longest, offsets[i + 1] - offsets[i])
    longest = min(longest, CHUNK)
    kept = np.empty(3 * longest)
    kept_weights = np.empty(longest if weights.shape[0] > 0 else 0)
    none = np.empty(0)
    row = np.empty(N_MOMENTS)
    parts = np.empty((1, N_MOMENTS))
    full = np.empty((1, N_SUMS))
    info = np.empty(N_INFO)
    known = np.empty(5)
    state = np.empty(12)
    trial, best = np.empty(POSE), np.empty(POSE)
    trial_sums, best_sums = np.empty(N_SUMS), np.empty(N_SUMS)
    delta = np.zeros(9)
    matrix = np.empty((9, 9))
    rows = np.empty((FAN + 3, FAN_ROW))
    for t in range(FAN):
        copy_into(rows[t], fan[t])
    scores = np.empty(FAN + 3)
    for i in range(first, last):
        a, b = offsets[i], offsets[i + 1]
        fact, pose, own = facts[i], poses[i], sums[i]
        if b - a > CHUNK:
            codes[i] = LEFT
            continue
        # the points that count, in place where all do
        m = 0
        weighted = weights.shape[0] > 0
        for k in range(a, b):
            bad = (0.0 * flat[3 * k] + 0.0 * flat[3 * k + 1]) + 0.0 * flat[3 * k + 2]
            if bad == 0.0 and (not weighted or weights[k] > 0.0):
                m += 1
        part, load = flat[3 * a : 3 * b], (weights[a:b] if weighted else none)
        if m < b - a:
            _gather(flat, weights, a, b, kept, kept_weights)
            part, load = kept[: 3 * m], (kept_weights[:m] if weighted else none)
        fact[F_USED] = m
        if m < needed:
            codes[i] = FIT_FEW
            continue
        _box(part, row)
        fill(info, 0, N_INFO, 0.0)
        if not set_scale(row, info):
            codes[i] = FIT_NO_EXTENT
            continue
        centre, centroid = info[I_CENTRE : I_CENTRE + 3], info[I_CENTROID : I_CENTROID + 3]
        scale = info[I_SCALE]
        for k in range(3):
            fact[F_CENTRE + k] = centre[k]
        fact[F_SCALE] = scale
        moments(part, load, centre, scale, 0, 1, parts)
        copy_into(known, given)
        started = starts.shape[0] > 0
        if started:
            copy_into(pose, starts[i if starts.shape[0] > 1 else 0])
            started = not math.isnan(pose[0])
        code = settle_moments(kind, planar, known, started, parts, info, pose)
        if code != READY and code != SEARCH:
            codes[i] = FIT_NO_EXTENT + (code - NO_EXTENT)
            continue
        quick = False
        if code == SEARCH:
            quick = kind == CYLINDER and math.isnan(given[0])
            if quick:
                if not quick_cylinder(part, info, rows, q, scores, pose):
                    codes[i] = LEFT
                    continue
                if not math.isnan(known[3]):
                    pose[12] = known[3]
            else:
                codes[i] = LEFT
                continue
        slide(kind, pose, centroid)
        copy_into(trial, pose)
        start_state(state)
        while True:
            accumulate(kind, part, load, centre, scale, trial, 0, 1, full)
            copy_into(trial_sums, full[0])
            if not advance(
                kind, free, m, trial_sums, centroid, state, pose, own, trial, best, best_sums, delta, matrix,
                LIMITS[3], True,
            ):  # fmt: skip
                break
        conditioning(kind, free, own, m, info)
        if quick:
            rms = math.sqrt(max(0.0, own[ee]) / m)
            if not _believed(m, rms, info[I_CONDITION], pose, elsewhere(rows, scores, pose)):
                codes[i] = LEFT
                continue
        if kind == LINE and planar:  # signed, to the side: the sums hold the squared distance in space
            low, high = np.inf, -np.inf
            for block in range(0, m, BLOCK):
                size = min(BLOCK, m - block)
                load_block(part, block, size, centre, scale, pose, q)
                for t in range(size):
                    low, high = min(low, q[t]), max(high, q[t])
            own[S_DMIN], own[S_DMAX] = low, high
        if weighted:
            accumulate(kind, part, none, centre, scale, pose, 0, 1, full)
            fact[F_SQUARES] = full[0, ee]
        fact[F_LEAST], fact[F_CONDITION], fact[F_GRADIENT] = info[I_LEAST], info[I_CONDITION], info[I_GRADIENT]
        fact[F_STEP], fact[F_MOVE], fact[F_PASSES] = state[BEST_STEP], state[MOVE], state[ITERATIONS]
        fact[F_SIZE_VARIANCE] = _size_variance(kind, free, own)
        if state[OUTCOME] == SINGULAR or info[I_EMPTY] > 0.0:
            codes[i] = FIT_SINGULAR
        elif state[OUTCOME] == CONVERGED:
            codes[i] = FIT_CONVERGED
        else:
            codes[i] = FIT_STALLED


__all__ = [
    "LEFT",
    "N_FACTS",
    "fit_items",
]
