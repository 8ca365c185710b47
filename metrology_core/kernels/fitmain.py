"""Entry points that the fitting code calls: each is compiled once, for C-contiguous float64."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.accumulate import accumulate, design_rows, extremes, fold, moments
from metrology_core.kernels.dense import cholesky, cholesky_solve, copy_into, fill, frame_from, jacobi
from metrology_core.kernels.descent import advance, packed, slide, solve, start_state
from metrology_core.kernels.layout import (
    BAD_POINTS,
    CHUNK,
    COLLINEAR,
    CONE,
    COPLANAR,
    EQUAL_BELOW,
    FLAT_BELOW,
    I_CENTRE,
    I_CENTROID,
    I_CONDITION,
    I_EMPTY,
    I_GRADIENT,
    I_LEAST,
    I_SCALE,
    LARGEST,
    LINE,
    M_COUNT,
    M_MAX,
    M_MIN,
    M_PROD,
    M_SUM,
    N_MOMENTS,
    N_PARAMETERS,
    N_ROWS,
    NO_EXTENT,
    PLANE,
    READY,
    SCORED,
    SEARCH,
    SMALLEST,
)
from metrology_core.kernels.starts import sort_costs


@inner
def fold_extremes(partials, count, out):  # type: ignore[no-untyped-def]
    """Join counts, minima and maxima."""
    fill(out, 0, N_MOMENTS, 0.0)
    for k in range(3):
        out[M_MIN + k] = np.inf
        out[M_MAX + k] = -np.inf
    for c in range(count):
        out[M_COUNT] += partials[c, M_COUNT]
        for k in range(3):
            out[M_MIN + k] = min(out[M_MIN + k], partials[c, M_MIN + k])
            out[M_MAX + k] = max(out[M_MAX + k], partials[c, M_MAX + k])


@inner
def fold_moments(partials, count, centroid, cov):  # type: ignore[no-untyped-def]
    """Centroid (3,) and second central moments (3, 3), both in scaled coordinates; returns the total weight."""
    total = np.zeros(M_MIN)
    for c in range(count):
        for k in range(M_MIN):
            total[k] += partials[c, k]
    weight = total[M_COUNT]
    for k in range(3):
        centroid[k] = total[M_SUM + k] / weight
    index = M_PROD
    for a in range(3):
        for b in range(a, 3):
            cov[a, b] = total[index] / weight - centroid[a] * centroid[b]
            cov[b, a] = cov[a, b]
            index += 1
    return weight


@inner
def principal_start(kind, cov, centroid, planar, pose):  # type: ignore[no-untyped-def]
    """Pose of a line or plane from the second moments of all points (2-D line: u in the plane, v = z)."""
    a = np.empty((3, 3))
    for i in range(3):
        copy_into(a[i], cov[i])
    vectors = np.empty((3, 3))
    jacobi(a, 3, vectors)
    best = 0
    for k in range(1, 3):
        if (a[k, k] > a[best, best]) if kind == LINE else (a[k, k] < a[best, best]):
            best = k
    direction = np.empty(3)
    for k in range(3):
        direction[k] = vectors[k, best]
        pose[k] = centroid[k]
    if planar:
        norm = math.sqrt(direction[0] ** 2 + direction[1] ** 2)
        x, y = direction[0] / norm, direction[1] / norm
        pose[3], pose[4], pose[5] = -y, x, 0.0
        pose[6], pose[7], pose[8] = 0.0, 0.0, 1.0
        pose[9], pose[10], pose[11] = x, y, 0.0
    else:
        frame_from(direction, pose[3:12])
    pose[12] = pose[13] = 0.0


@inner
def hold_sizes(kind, given, pose):  # type: ignore[no-untyped-def]
    """Enter known sizes. A cone that narrows along its axis is turned round first: a known half-angle is not
    negative."""
    if kind == CONE and given[4] >= 0.0 and pose[13] < 0.0:
        for k in range(6, 12):
            pose[k] = -pose[k]
    for k in range(2):
        if not math.isnan(given[3 + k]):
            pose[12 + k] = given[3 + k]


@kernel
def descend(  # type: ignore[no-untyped-def]
    kind, free, given, flat, weights, first, last, plan, sub, poses, count, info, pose, sums, state, found, found_costs
):
    """Stages first..last of the way from candidates to the solution, on this thread; False where none is any good.

    Stage 0 scores the first `count` poses and 1 refines the best a little, both on the first SCORED points of the
    sample `sub` (centred, scaled coordinates); 2 refines the best of those on all of it; 3 solves with all points from
    `pose`, or from the best where earlier stages ran. given: known axis (3) and sizes (2), NaN where free; plan: passes
    allowed in each stage, then candidates that enter each; info: centre, scale, centroid of the data; found,
    found_costs: filled with the best of stage 2. One call site of the solver serves every stage, which keeps the
    compiled code small. The conditioning of the last solution goes to info.
    """
    n = flat.shape[0] // 3
    centre = info[I_CENTRE : I_CENTRE + 3]
    centroid = info[I_CENTROID : I_CENTROID + 3]
    scale = info[I_SCALE]
    p = N_PARAMETERS[kind]
    ee = packed(p, p, p)
    m = sub.shape[0] // 3
    few = sub[: 3 * min(m, SCORED)]
    for c in range(count):
        hold_sizes(kind, given, poses[c])
    costs = np.empty(max(1, count))
    order = np.empty(max(1, count), np.int64)
    for c in range(count):
        order[c] = c
    origin = np.zeros(3)
    none = np.empty(0)
    stage = first
    keep = count
    item = 0
    while True:
        full = stage == 3
        if full:
            slide(kind, pose, centroid)
        index = 0 if full else order[item]
        solve(
            kind, free, flat if full else (sub if stage == 2 else few), weights if full else none,
            centre if full else origin, scale if full else 1.0, centroid, pose if full else poses[index], sums, state,
            plan[stage], full,
        )  # fmt: skip
        if full:
            conditioning(kind, free, sums, n, info)
            return True
        costs[index] = sums[ee] if sums[ee] < np.inf else np.inf  # NaN counts as hopeless
        item += 1
        if item == keep:
            sort_costs(costs, order, keep)
            stage += 1
            item = 0
            if stage == 3:
                for c in range(min(keep, found_costs.shape[0])):
                    copy_into(found[c], poses[order[c]])
                    found_costs[c] = costs[order[c]]
            keep = min(keep, plan[4 + stage])
            if not costs[order[0]] < np.inf:
                return False
            if stage == 3:
                copy_into(pose, poses[order[0]])
                if last < 3:
                    conditioning(kind, free, sums, m, info)
                    slide(kind, pose, centroid)
                    return True


@kernel
def begin(kind, planar, given, started, flat, weights, info, pose):  # type: ignore[no-untyped-def]
    """Extremes, scale, moments and the first pose of a small set; returns READY, SEARCH or what is wrong with the
    points."""
    n = flat.shape[0] // 3
    chunks = (n + CHUNK - 1) // CHUNK
    partials = np.empty((chunks, N_MOMENTS))
    extremes(flat, 0, chunks, partials)
    code = settle_extremes(partials, n, info)
    if code != READY:
        return code
    moments(flat, weights, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], 0, chunks, partials)
    return settle_moments(kind, planar, given, started, partials, info, pose)


@kernel
def settle_extremes(partials, n, info):  # type: ignore[no-untyped-def]
    """Centre and scale from the extremes of all chunks; READY, BAD_POINTS or NO_EXTENT."""
    row = np.empty(N_MOMENTS)
    fold_extremes(partials, partials.shape[0], row)
    if row[M_COUNT] < n:
        return BAD_POINTS
    return READY if set_scale(row, info) else NO_EXTENT


@inner
def flatness(cov):  # type: ignore[no-untyped-def]
    """COLLINEAR, COPLANAR or READY: whether points of this covariance are a line or a plane to rounding."""
    a = np.empty((3, 3))
    vectors = np.empty((3, 3))
    for i in range(3):
        copy_into(a[i], cov[i])
    jacobi(a, 3, vectors)
    low = min(a[0, 0], min(a[1, 1], a[2, 2]))
    high = max(a[0, 0], max(a[1, 1], a[2, 2]))
    middle = a[0, 0] + a[1, 1] + a[2, 2] - low - high
    if not middle > FLAT_BELOW * high:
        return COLLINEAR
    return READY if low > FLAT_BELOW * high else COPLANAR


@kernel
def settle_moments(kind, planar, given, started, partials, info, pose):  # type: ignore[no-untyped-def]
    """Centroid and first pose from the moments of all chunks; READY or SEARCH."""
    cov = np.empty((3, 3))
    fold_moments(partials, partials.shape[0], info[I_CENTROID : I_CENTROID + 3], cov)
    if kind != LINE:
        flat = flatness(cov)
        if flat == COLLINEAR or (flat == COPLANAR and N_ROWS[kind] == 1 and kind != PLANE):
            return flat
    return SEARCH if prepare_pose(kind, planar, given, started, cov, info, pose) else READY


@inner
def set_scale(row, info):  # type: ignore[no-untyped-def]
    """Centre and power-of-two scale from the folded extremes; False when the points have no extent (see layout)."""
    half = 0.0
    size = 0.0
    for k in range(3):
        low, high = row[M_MIN + k], row[M_MAX + k]
        info[I_CENTRE + k] = 0.5 * low + 0.5 * high
        half = max(half, 0.5 * high - 0.5 * low)
        size = max(size, max(abs(low), abs(high)))
    if size > LARGEST or half <= EQUAL_BELOW * size or half < SMALLEST:
        return False
    info[I_SCALE] = 2.0 ** -(math.frexp(half)[1] + 1)  # an exact factor: the extent becomes 0.5 to 1
    return True


@inner
def prepare_pose(kind, planar, given, started, cov, info, pose):  # type: ignore[no-untyped-def]
    """Bring a given start into scaled coordinates, or start lines and planes from the moments; True when a search is
    due."""
    for k in range(2):
        if not (kind == CONE and k == 1):
            given[3 + k] *= info[I_SCALE]
    if started:
        for k in range(3):
            pose[k] = (pose[k] - info[I_CENTRE + k]) * info[I_SCALE]
        pose[12] *= info[I_SCALE]
        if kind != CONE:
            pose[13] *= info[I_SCALE]
        hold_sizes(kind, given, pose)
        return False
    if (kind == LINE or kind == PLANE) and math.isnan(given[0]):
        principal_start(kind, cov, info[I_CENTROID : I_CENTROID + 3], planar, pose)
        return False
    return True


@kernel
def covariance(kind, free, sums, turn, unit, factor, out):  # type: ignore[no-untyped-def]
    """out (p, p) = factor * D T (J'WJ)^-1 T' D over the free columns, zero elsewhere; D = diag(unit). False where
    singular."""
    p = N_PARAMETERS[kind]
    matrix = np.empty((9, 9))
    length = np.empty(9)
    index = np.empty(9, np.int64)
    column = np.empty(9)
    half = np.empty((9, 9))
    n = 0
    for a in range(p):
        if free[a]:
            index[n] = a
            length[n] = math.sqrt(sums[packed(a, a, p)])
            if not length[n] > 0.0:
                return False
            n += 1
    for a in range(n):
        for b in range(a + 1):
            matrix[a, b] = sums[packed(index[b], index[a], p)] / (length[a] * length[b])
    if not cholesky(matrix, n):
        return False
    # half = T times the inverse, column by column of the inverse
    for a in range(p):
        fill(half[a], 0, 9, 0.0)
        fill(out[a], 0, p, 0.0)
    for k in range(n):
        fill(column, 0, n, 0.0)
        column[k] = 1.0
        cholesky_solve(matrix, n, column)
        for a in range(p):
            for b in range(n):
                half[a, index[k]] += turn[a, index[b]] * column[b] / (length[b] * length[k])
    for a in range(p):
        for b in range(p):
            for k in range(p):
                out[a, b] += half[a, k] * turn[b, k]
    for a in range(p):
        for b in range(a + 1):
            value = 0.5 * (out[a, b] + out[b, a]) * (unit[a] * unit[b]) * factor
            out[a, b] = value
            out[b, a] = value
    return True


@kernel
def conditioning(kind, free, sums, rows, out):  # type: ignore[no-untyped-def]
    """Into out[I_LEAST..]: smallest eigenvalue of J'J / rows, condition of J with unit columns, largest cosine of
    residual and column, number of columns without length."""
    p = N_PARAMETERS[kind]
    matrix = np.zeros((9, 9))
    scaled = np.zeros((9, 9))
    vectors = np.empty((9, 9))
    index = np.empty(9, np.int64)
    n = 0
    for a in range(p):
        if free[a]:
            index[n] = a
            n += 1
    empty = 0.0
    gradient = 0.0
    rms = math.sqrt(sums[packed(p, p, p)])
    for a in range(n):
        ha = sums[packed(index[a], index[a], p)]
        if not ha > 0.0:
            empty += 1.0
        elif rms > 0.0:
            gradient = max(gradient, abs(sums[packed(index[a], p, p)]) / (math.sqrt(ha) * rms))
        for b in range(n):
            low, high = min(index[a], index[b]), max(index[a], index[b])
            h = sums[packed(low, high, p)]
            matrix[a, b] = h / rows
            hb = sums[packed(index[b], index[b], p)]
            scaled[a, b] = h / math.sqrt(ha * hb) if ha > 0.0 and hb > 0.0 else 0.0
    jacobi(matrix, n, vectors)
    least = np.inf
    for a in range(n):
        least = min(least, matrix[a, a])
    jacobi(scaled, n, vectors)
    low = np.inf
    high = 0.0
    for a in range(n):
        low = min(low, scaled[a, a])
        high = max(high, scaled[a, a])
    out[I_LEAST] = least
    out[I_CONDITION] = math.sqrt(high / low) if low > 0.0 else np.inf
    out[I_GRADIENT] = gradient
    out[I_EMPTY] = empty


__all__ = [
    "accumulate",
    "advance",
    "begin",
    "conditioning",
    "covariance",
    "descend",
    "design_rows",
    "extremes",
    "fold",
    "moments",
    "settle_extremes",
    "settle_moments",
    "start_state",
]
