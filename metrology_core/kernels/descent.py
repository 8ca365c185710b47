"""The least-squares solver: Levenberg-Marquardt to the basin, then undamped Gauss-Newton judged by the size of its
steps.

The objective is flat to the square root of machine precision around its minimum, so no step of the last phase is
accepted or refused because of it. `advance` is a state machine that asks for one more pass over the points; small
sets loop inside compiled code (`solve`), large ones loop in Python with threads: the arithmetic, and the bits, are
the same.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.accumulate import accumulate, fold
from metrology_core.kernels.dense import cholesky, cholesky_solve, copy_into, fill
from metrology_core.kernels.layout import (
    CHUNK,
    CIRCLE,
    CONE,
    CYLINDER,
    ELLIPSE,
    LINE,
    N_PARAMETERS,
    N_SIZES,
    N_SUMS,
    PLANE,
    POSE,
    SPHERE,
    TORUS,
)

# state vector
(
    PHASE,
    LAMBDA,
    ITERATIONS,
    STEP,
    POLISH,
    REJECTED,
    BEST_STEP,
    OUTCOME,
    MOVE,
    RETURNS,
) = range(10)
N_STATE = 12
# outcomes
RUNNING, CONVERGED, STALLED, SINGULAR = 0, 1, 2, 3

_EPS = 2.220446049250313e-16
_MAX_POLISH = 60
_MOVE_LIMIT = 1e-11  # accepted movement of the residuals at the end, relative to the extent of the data


@inner
def packed(a, b, p):  # type: ignore[no-untyped-def]
    """Index of entry (a, b), a <= b, in the packed upper triangle of order p + 1."""
    return a * (p + 1) - a * (a - 1) // 2 + (b - a)


@inner
def retract(kind, pose, delta, centroid, out):  # type: ignore[no-untyped-def]
    """The pose displaced by chart coordinates delta, its point slid back to the foot of the centroid."""
    for k in range(POSE):
        out[k] = pose[k]
    su = sv = sw = tu = tv = 0.0
    if kind == PLANE:
        sw, tu, tv = delta[0], delta[1], delta[2]
    elif kind == LINE or kind == CYLINDER or kind == CONE:
        su, sv, tu, tv = delta[0], delta[1], delta[2], delta[3]
    elif kind == SPHERE:
        su, sv, sw = delta[0], delta[1], delta[2]
    else:
        su, sv, sw, tu, tv = delta[0], delta[1], delta[2], delta[3], delta[4]
    for k in range(3):
        out[k] = pose[k] + (su * pose[3 + k] + sv * pose[6 + k] + sw * pose[9 + k])
    p = N_PARAMETERS[kind]
    sizes = N_SIZES[kind]
    for k in range(sizes):
        old = pose[12 + k]
        new = old + delta[p - sizes + k]
        if kind == CONE and k == 1:
            limit = 0.5 * math.pi - 1e-6
            new = min(limit, max(-limit, new))
        elif kind == CONE and k == 0:
            pass  # the section at the centroid may pass through the apex
        elif not new > 0.0:
            new = 0.1 * old
        out[12 + k] = new
    angle = math.sqrt(tu * tu + tv * tv)
    if angle > 0.0:
        c = math.cos(angle)
        s = math.sin(angle)
        h = 2.0 * math.sin(0.5 * angle) ** 2  # 1 - c without cancellation
        au, av = tu / angle, tv / angle
        for k in range(3):
            w = pose[9 + k]
            t = au * pose[3 + k] + av * pose[6 + k]
            out[9 + k] = c * w + s * t
            out[3 + k] = pose[3 + k] - au * (h * t + s * w)
            out[6 + k] = pose[6 + k] - av * (h * t + s * w)
    if kind == ELLIPSE:
        c = math.cos(delta[5])
        s = math.sin(delta[5])
        for k in range(3):
            out[3 + k] = c * out[3 + k] + s * out[6 + k]
    if kind != SPHERE:
        norm = math.sqrt(out[9] * out[9] + out[10] * out[10] + out[11] * out[11])
        d = 0.0
        for k in range(3):
            out[9 + k] /= norm
            d += out[9 + k] * out[3 + k]
        for k in range(3):
            out[3 + k] -= d * out[9 + k]
        norm = math.sqrt(out[3] * out[3] + out[4] * out[4] + out[5] * out[5])
        for k in range(3):
            out[3 + k] /= norm
        out[6] = out[10] * out[5] - out[11] * out[4]
        out[7] = out[11] * out[3] - out[9] * out[5]
        out[8] = out[9] * out[4] - out[10] * out[3]
    slide(kind, out, centroid)


@inner
def slide(kind, pose, centroid):  # type: ignore[no-untyped-def]
    """Put the point of a line, plane, cylinder or cone at the foot of the centroid (same geometry)."""
    if kind == LINE or kind == CYLINDER or kind == CONE or kind == PLANE:
        d = 0.0
        for k in range(3):
            d += (centroid[k] - pose[k]) * pose[9 + k]
        if kind == PLANE:
            for k in range(3):
                pose[k] = centroid[k] - d * pose[9 + k]
        else:
            for k in range(3):
                pose[k] += d * pose[9 + k]
            if kind == CONE:
                pose[12] += d * math.tan(pose[13])


@inner
def newton_step(p, free, sums, damping, matrix, delta):  # type: ignore[no-untyped-def]
    """Damped normal-equation step over the free columns into delta[:p]; False when the matrix is singular.

    Columns are scaled to unit length first, so the damping and the singularity test do not depend on units.
    """
    n = 0
    for a in range(p):
        delta[a] = 0.0
        if free[a]:
            n += 1
    rhs = np.empty(9)
    length = np.empty(9)
    row = 0
    for a in range(p):
        if not free[a]:
            continue
        length[row] = math.sqrt(sums[packed(a, a, p)])
        if not length[row] > 0.0:
            return False
        rhs[row] = -sums[packed(a, p, p)] / length[row]
        col = 0
        for b in range(a + 1):
            if free[b]:
                matrix[row, col] = sums[packed(b, a, p)] / (length[row] * length[col])
                col += 1
        matrix[row, row] += damping
        row += 1
    if not cholesky(matrix, n):
        return False
    cholesky_solve(matrix, n, rhs)
    row = 0
    for a in range(p):
        if free[a]:
            delta[a] = rhs[row] / length[row]
            row += 1
    return True


@inner
def step_size(kind, pose, delta):  # type: ignore[no-untyped-def]
    """Largest displacement relative to the data (extent about 1) or to the feature's size where that is larger."""
    p = N_PARAMETERS[kind]
    reference = 1.0
    for k in range(N_SIZES[kind]):
        if not (kind == CONE and k == 1):
            reference = max(reference, abs(pose[12 + k]))
    for k in range(3):
        reference = max(reference, abs(pose[k]))
    size = 0.0
    for a in range(p):
        angular = False
        if kind == PLANE:
            angular = a > 0
        elif kind == LINE or kind == CYLINDER or kind == CONE:
            angular = a == 2 or a == 3 or a == 5
        elif kind == CIRCLE or kind == TORUS or kind == ELLIPSE:
            angular = a == 3 or a == 4 or (kind == ELLIPSE and a == 5)
        size = max(size, abs(delta[a]) / (1.0 if angular else reference))
    return size


@inner
def residual_move(p, sums, delta, n):  # type: ignore[no-untyped-def]
    """Root mean square change of the residuals that the step predicts."""
    total = 0.0
    for a in range(p):
        for b in range(p):
            total += delta[a] * delta[b] * sums[packed(min(a, b), max(a, b), p)]
    return math.sqrt(max(0.0, total) / n)


@kernel
def start_state(state):  # type: ignore[no-untyped-def]
    fill(state, 0, N_STATE, 0.0)
    state[LAMBDA] = 1e-3
    state[STEP] = 1.0
    state[BEST_STEP] = np.inf


@kernel
def advance(  # type: ignore[no-untyped-def]
    kind, free, n, trial_sums, centroid, state, pose, sums, trial, best, best_sums, delta, matrix, limit, polish
):
    """Judge the pass made at `trial`; write the next trial and return True, or finish (answer in pose, sums).

    limit: largest number of damped passes; polish: whether the undamped phase follows.
    """
    p = N_PARAMETERS[kind]
    ee = packed(p, p, p)
    state[ITERATIONS] += 1.0
    if state[PHASE] == 0.0:
        cost = trial_sums[ee]
        first = state[ITERATIONS] == 1.0
        if first or cost <= sums[ee] * (1.0 + 1e-12):
            gain = 1.0 if first else sums[ee] - cost
            copy_into(pose, trial)
            copy_into(sums, trial_sums)
            if not first:
                state[LAMBDA] *= 0.1
                if state[LAMBDA] < 1e-7:
                    state[LAMBDA] = 0.0
            if not first and (state[STEP] < 1e-4 or gain <= 1e-6 * cost):
                state[PHASE] = 1.0
        else:
            state[REJECTED] += 1.0
            state[LAMBDA] = max(state[LAMBDA] * 10.0, 1e-4)
            if state[LAMBDA] > 1e7:
                state[PHASE] = 1.0
        if state[ITERATIONS] >= limit:
            state[PHASE] = 1.0
        if state[PHASE] == 0.0:
            while not newton_step(p, free, sums, state[LAMBDA], matrix, delta):
                state[LAMBDA] = max(state[LAMBDA] * 10.0, 1e-9)
                if state[LAMBDA] > 1e7:
                    state[OUTCOME] = SINGULAR
                    return False
            size = step_size(kind, pose, delta)
            if size > 0.7:  # the linear model means nothing so far away
                for a in range(p):
                    delta[a] *= 0.7 / size
                size = 0.7
            state[STEP] = size
            retract(kind, pose, delta, centroid, trial)
            return True
        if not polish:
            state[OUTCOME] = CONVERGED
            return False
        copy_into(trial, pose)
        copy_into(trial_sums, sums)
        state[STEP] = 1.0
    # undamped phase: every step is taken, the smallest one marks the answer
    copy_into(pose, trial)
    copy_into(sums, trial_sums)
    if not newton_step(p, free, sums, 0.0, matrix, delta):
        state[OUTCOME] = SINGULAR
        return False
    size = step_size(kind, pose, delta)
    if not size < 1e30:
        state[OUTCOME] = STALLED
        return False
    previous = state[STEP]
    state[STEP] = size
    state[POLISH] += 1.0
    if size < state[BEST_STEP]:
        state[BEST_STEP] = size
        state[MOVE] = residual_move(p, sums, delta, n)
        copy_into(best, pose)
        copy_into(best_sums, sums)
    finished = size <= 2.0 * _EPS
    if state[POLISH] >= 2.0 and size < 1e-7 and size >= 0.5 * previous:
        finished = True  # the steps are rounding noise now
    if state[POLISH] >= _MAX_POLISH:
        finished = True
    if size > 0.3 or (state[POLISH] > 3.0 and size > 10.0 * previous and size > 1e-3):
        if state[RETURNS] >= 3.0:
            finished = True
        else:  # undamped steps leave the basin: damp again from the best place seen
            state[RETURNS] += 1.0
            state[PHASE] = 0.0
            state[LAMBDA] = 1e-2
            state[STEP] = 1.0
            copy_into(pose, best)
            copy_into(sums, best_sums)
            while not newton_step(p, free, sums, state[LAMBDA], matrix, delta):
                state[LAMBDA] *= 10.0
            size = step_size(kind, pose, delta)
            if size > 0.3:
                for a in range(p):
                    delta[a] *= 0.3 / size
            retract(kind, pose, delta, centroid, trial)
            return True
    if finished:
        copy_into(pose, best)
        copy_into(sums, best_sums)
        state[OUTCOME] = CONVERGED if state[MOVE] <= _MOVE_LIMIT else STALLED
        return False
    retract(kind, pose, delta, centroid, trial)
    return True


@inner
def solve(kind, free, flat, weights, centre, scale, centroid, pose, sums, state, limit, polish):  # type: ignore[no-untyped-def]
    """Whole solution on one thread: `pose` is start and answer, `sums` the normal equations at the answer."""
    n = flat.shape[0] // 3
    chunks = (n + CHUNK - 1) // CHUNK
    partials = np.empty((chunks, N_SUMS))
    trial = np.empty(POSE)
    copy_into(trial, pose)
    trial_sums = np.empty(N_SUMS)
    best = np.empty(POSE)
    best_sums = np.empty(N_SUMS)
    delta = np.zeros(9)
    matrix = np.empty((9, 9))
    start_state(state)
    while True:
        accumulate(kind, flat, weights, centre, scale, trial, 0, chunks, partials)
        fold(partials, chunks, trial_sums)
        if not advance(
            kind,
            free,
            n,
            trial_sums,
            centroid,
            state,
            pose,
            sums,
            trial,
            best,
            best_sums,
            delta,
            matrix,
            limit,
            polish,
        ):
            break
