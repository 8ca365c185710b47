"""One pass over the points: normal equations and extremes together, in fixed blocks and chunks.

A chunk's partial result depends only on its points, and partials are folded in chunk order: the same bits for any
number of threads.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.dense import fill
from metrology_core.kernels.lanes import dot_rows, widen
from metrology_core.kernels.layout import (
    BLOCK,
    CHUNK,
    CIRCLE,
    COLUMNS,
    COLUMNS2,
    CONE,
    CYLINDER,
    ELLIPSE,
    GRAM,
    LANES,
    LINE,
    M_COUNT,
    M_MAX,
    M_MIN,
    M_PROD,
    M_SUM,
    N_MOMENTS,
    N_PARAMETERS,
    N_ROWS,
    N_SUMS,
    PLANE,
    ROW,
    ROWS2,
    S_DMAX,
    S_DMIN,
    S_GMAX,
    S_GMIN,
    S_REACH2,
    SPHERE,
    TORUS,
)
from metrology_core.kernels.passes import end_of_run, feature_sums, least_lane, most_lane, sum_lanes, work_space
from metrology_core.kernels.rows import (
    circle_rows,
    cone_rows,
    cylinder_rows,
    ellipse_rows,
    line_rows,
    plane_rows,
    sphere_rows,
    torus_rows,
)
from metrology_core.kernels.sums import plain_box
from metrology_core.kernels.vectors import WIDTH


@inner
def load_block(flat, start, m, centre, scale, pose, q):  # type: ignore[no-untyped-def]
    """Local coordinates of points start..start+m: ((x - centre) * scale - c) in the axes u, v, w of the pose.

    `flat` holds x y z of one point after the other: with a constant stride of three the compiler uses vectors.
    """
    c0, c1, c2 = centre[0], centre[1], centre[2]
    p0, p1, p2 = pose[0], pose[1], pose[2]
    u0, u1, u2 = pose[3], pose[4], pose[5]
    v0, v1, v2 = pose[6], pose[7], pose[8]
    w0, w1, w2 = pose[9], pose[10], pose[11]
    part = flat[3 * start : 3 * start + 3 * m]
    for i in range(m):
        x = (part[3 * i] - c0) * scale - p0
        y = (part[3 * i + 1] - c1) * scale - p1
        z = (part[3 * i + 2] - c2) * scale - p2
        q[i] = x * u0 + y * u1 + z * u2
        q[ROW + i] = x * v0 + y * v1 + z * v2
        q[2 * ROW + i] = x * w0 + y * w1 + z * w2


@inner
def feature_rows(kind, q, m, pose, foot, j):  # type: ignore[no-untyped-def]
    """Rows of the feature with this code (see kernels.rows)."""
    if kind == CYLINDER:
        cylinder_rows(q, m, pose[12], j)
    elif kind == PLANE:
        plane_rows(q, m, j)
    elif kind == SPHERE:
        sphere_rows(q, m, pose[12], j)
    elif kind == CONE:
        cone_rows(q, m, pose[12], pose[13], j)
    elif kind == CIRCLE:
        circle_rows(q, m, pose[12], j)
    elif kind == TORUS:
        torus_rows(q, m, pose[12], pose[13], j)
    elif kind == LINE:
        line_rows(q, m, j)
    elif kind == ELLIPSE:
        ellipse_rows(q, m, pose[12], pose[13], foot, j)


@inner
def gram(j, first, q1, columns, m, out):  # type: ignore[no-untyped-def]
    """Add the packed upper triangle of the q1 rows j[first:first+q1, :m] times their transpose to out.

    `columns` has a bit for each row that is not zero throughout.
    """
    k = 0
    for a in range(q1):
        if not (columns >> a) & 1:
            k += q1 - a
            continue
        for b in range(a, q1):
            if (columns >> b) & 1:
                out[k] += dot_rows(j, (first + a) * ROW, (first + b) * ROW, m)
            k += 1


@inner
def _clear(out):  # type: ignore[no-untyped-def]
    fill(out, 0, GRAM, 0.0)
    out[S_DMIN] = np.inf
    out[S_DMAX] = -np.inf
    out[S_GMIN] = np.inf
    out[S_GMAX] = -np.inf
    out[S_REACH2] = 0.0
    out[S_REACH2 + 1] = np.inf


@inner
def ellipse_sums(flat, weights, centre, scale, pose, first, last, out):  # type: ignore[no-untyped-def]
    """The same for an ellipse, whose foot points need a loop each: rows in a scratch, summed by pairs."""
    p = N_PARAMETERS[ELLIPSE]
    q = np.empty(4 * ROW)
    j = np.empty(2 * ROWS2 * ROW)
    foot = np.empty(4)
    extreme = 3 * ROW
    _clear(out)
    for block in range(first, last, BLOCK):
        m = min(BLOCK, last - block)
        load_block(flat, block, m, centre, scale, pose, q)
        ellipse_rows(q, m, pose[12], pose[13], foot, j)
        padded = (m + LANES - 1) // LANES * LANES
        widen(j, p * ROW, m, padded, out, S_DMIN, S_DMAX)
        for i in range(m):
            q[extreme + i] = (q[i] * q[i] + q[ROW + i] * q[ROW + i]) + q[2 * ROW + i] * q[2 * ROW + i]
        widen(q, extreme, m, padded, out, S_REACH2 + 1, S_REACH2)
        widen(q, 2 * ROW, m, padded, out, S_GMIN, S_GMAX)
        for a in range(p + 1):
            if weights.shape[0] > 0:
                for i in range(m):
                    root = math.sqrt(weights[block + i])
                    j[a * ROW + i] *= root
                    j[(ROWS2 + a) * ROW + i] *= root
            for i in range(m, padded):
                j[a * ROW + i] = 0.0
                j[(ROWS2 + a) * ROW + i] = 0.0
        gram(j, 0, p + 1, COLUMNS[ELLIPSE], padded, out)
        gram(j, ROWS2, p + 1, COLUMNS2[ELLIPSE], padded, out)


@kernel
def accumulate(kind, flat, weights, centre, scale, pose, start, stop, out):  # type: ignore[no-untyped-def]
    """Partial sums of chunks start..stop into out[start:stop] (N_SUMS numbers each); `flat`: x y z of one point after
    the other.

    `weights` holds one weight per point (1 / variance) or is empty. Residual extremes are of the unweighted residual.
    """
    n = flat.shape[0] // 3
    work = work_space()
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        if kind == ELLIPSE:
            ellipse_sums(flat, weights, centre, scale, pose, first, last, out[chunk])
        else:
            feature_sums(kind, flat, weights, centre, scale, pose, first, last, work, out[chunk])


@kernel
def fold(partials, count, out):  # type: ignore[no-untyped-def]
    """Add the partial results in chunk order."""
    _clear(out)
    for c in range(count):
        part = partials[c]
        for k in range(GRAM):
            out[k] += part[k]
        out[S_DMIN] = min(out[S_DMIN], part[S_DMIN])
        out[S_DMAX] = max(out[S_DMAX], part[S_DMAX])
        out[S_GMIN] = min(out[S_GMIN], part[S_GMIN])
        out[S_GMAX] = max(out[S_GMAX], part[S_GMAX])
        out[S_REACH2] = max(out[S_REACH2], part[S_REACH2])


@kernel
def design_rows(kind, flat, centre, scale, pose, rows):  # type: ignore[no-untyped-def]
    """Jacobian and residual of every point: rows (n_rows * n, p + 1), the second residuals after all the first."""
    n = flat.shape[0] // 3
    p = N_PARAMETERS[kind]
    q = np.empty(4 * ROW)
    j = np.empty(2 * ROWS2 * ROW)
    foot = np.empty(4)
    for block in range(0, n, BLOCK):
        m = min(BLOCK, n - block)
        load_block(flat, block, m, centre, scale, pose, q)
        feature_rows(kind, q, m, pose, foot, j)
        for i in range(m):
            for a in range(p + 1):
                rows[block + i, a] = j[a * ROW + i]
        if N_ROWS[kind] == 2:
            for i in range(m):
                for a in range(p + 1):
                    rows[n + block + i, a] = j[(ROWS2 + a) * ROW + i]


@kernel
def extremes(flat, start, stop, out):  # type: ignore[no-untyped-def]
    """Finite points, their smallest and largest coordinates, per chunk; a point with a NaN or an infinity is left out.

    Where a chunk holds one, its extremes mean nothing: the caller drops the bad points and asks again.
    """
    n = flat.shape[0] // 3
    totals, tail, load = np.empty(7 * WIDTH), np.empty(3 * WIDTH), np.empty(WIDTH)
    nothing = np.empty(0)
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        fill(totals, 0, 3 * WIDTH, np.inf)
        fill(totals, 3 * WIDTH, 6 * WIDTH, -np.inf)
        fill(totals, 6 * WIDTH, 7 * WIDTH, 0.0)
        whole = (last - first) // WIDTH
        points, place, count, spare = flat, first, whole, 0
        while True:
            plain_box(place, count, 1.0, points, nothing, nothing, nothing, nothing, totals)
            first += count * WIDTH
            if first >= last:
                break
            end_of_run(flat, nothing, first, last, tail, load)
            points, place, count, spare = tail, 0, 1, first + WIDTH - last
        row = out[chunk]
        row[M_COUNT] = sum_lanes(totals, 6)
        if spare > 0 and (0.0 * tail[0] + 0.0 * tail[1]) + 0.0 * tail[2] == 0.0:
            row[M_COUNT] -= spare  # copies of the first of the last points
        for k in range(3):
            row[M_MIN + k] = least_lane(totals, k)
            row[M_MAX + k] = most_lane(totals, 3 + k)


@kernel
def moments(flat, weights, centre, scale, start, stop, out):  # type: ignore[no-untyped-def]
    """Weighted count, first and second moments of the centred, scaled points, per chunk (finite points only are
    given): the sums of a plane in the axes of the data."""
    n = flat.shape[0] // 3
    work, sums = work_space(), np.empty(N_SUMS)
    pose = np.zeros(14)
    pose[3] = pose[7] = pose[11] = 1.0
    for chunk in range(start, stop):
        first = chunk * CHUNK
        feature_sums(PLANE, flat, weights, centre, scale, pose, first, min(n, first + CHUNK), work, sums)
        row = out[chunk]
        row[M_COUNT] = sums[0]
        for k in range(3):
            row[M_SUM + k] = -sums[1 + k]  # the column of the shift is -1
        for k in range(6):
            row[M_PROD + k] = sums[4 + k]


__all__ = [
    "N_MOMENTS",
    "N_SUMS",
    "accumulate",
    "design_rows",
    "extremes",
    "feature_rows",
    "fold",
    "load_block",
    "moments",
]
