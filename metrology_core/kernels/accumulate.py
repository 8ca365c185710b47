"""One pass over the points: fused normal equations and extremes, in fixed blocks and chunks.

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


@kernel
def accumulate(kind, flat, weights, centre, scale, pose, start, stop, out):  # type: ignore[no-untyped-def]
    """Partial sums of chunks start..stop into out[start:stop] (N_SUMS numbers each); `flat`: x y z of one point after
    the other.

    `weights` holds one weight per point (1 / variance) or is empty. Residual extremes are of the unweighted residual.
    """
    n = flat.shape[0] // 3
    p = N_PARAMETERS[kind]
    two = N_ROWS[kind] == 2
    weighted = weights.shape[0] > 0
    q = np.empty(4 * ROW)
    j = np.empty(2 * ROWS2 * ROW)
    foot = np.empty(4)
    for chunk in range(start, stop):
        sums = out[chunk]
        _clear(sums)
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            load_block(flat, block, m, centre, scale, pose, q)
            feature_rows(kind, q, m, pose, foot, j)
            padded = (m + LANES - 1) // LANES * LANES
            extreme = 3 * ROW
            if kind == LINE:
                for i in range(m):
                    q[extreme + i] = q[i] * q[i] + q[ROW + i] * q[ROW + i]
                widen(q, extreme, m, padded, sums, S_DMIN, S_DMAX)
            else:
                widen(j, p * ROW, m, padded, sums, S_DMIN, S_DMAX)
            for i in range(m):
                q[extreme + i] = (q[i] * q[i] + q[ROW + i] * q[ROW + i]) + q[2 * ROW + i] * q[2 * ROW + i]
            widen(q, extreme, m, padded, sums, S_REACH2 + 1, S_REACH2)
            widen(q, 2 * ROW, m, padded, sums, S_GMIN, S_GMAX)
            if weighted:
                for i in range(m):
                    q[extreme + i] = math.sqrt(weights[block + i])
                for a in range(p + 1):
                    for i in range(m):
                        j[a * ROW + i] *= q[extreme + i]
                    if two:
                        for i in range(m):
                            j[(ROWS2 + a) * ROW + i] *= q[extreme + i]
            if padded > m:
                for a in range(p + 1):
                    for i in range(m, padded):
                        j[a * ROW + i] = 0.0
                        j[(ROWS2 + a) * ROW + i] = 0.0
            gram(j, 0, p + 1, COLUMNS[kind], padded, sums)
            if two:
                gram(j, ROWS2, p + 1, COLUMNS2[kind], padded, sums)


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
    q = np.empty(4 * ROW)
    box = np.empty(6)
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        fill(box, 0, 3, np.inf)
        fill(box, 3, 6, -np.inf)
        count = 0.0
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            part = flat[3 * block : 3 * block + 3 * m]
            for i in range(m):
                x, y, z = part[3 * i], part[3 * i + 1], part[3 * i + 2]
                q[i], q[ROW + i], q[2 * ROW + i] = x, y, z
                bad = (0.0 * x + 0.0 * y) + 0.0 * z  # 0 times a finite number is 0, else NaN
                q[3 * ROW + i] = 1.0 if bad == 0.0 else 0.0
            padded = (m + LANES - 1) // LANES * LANES
            for i in range(m, padded):
                q[3 * ROW + i] = 0.0
            count += dot_rows(q, 3 * ROW, 3 * ROW, padded)
            for a in range(3):
                widen(q, a * ROW, m, padded, box, a, 3 + a)
        row = out[chunk]
        row[M_COUNT] = count
        for a in range(3):
            row[M_MIN + a] = box[a]
            row[M_MAX + a] = box[3 + a]


@kernel
def moments(flat, weights, centre, scale, start, stop, out):  # type: ignore[no-untyped-def]
    """Weighted count, first and second moments of the centred, scaled points, per chunk (finite points only are
    given)."""
    n = flat.shape[0] // 3
    weighted = weights.shape[0] > 0
    q = np.empty(8 * ROW)  # x, y, z, 1, then the same times the weight
    pose = np.zeros(14)
    pose[3] = pose[7] = pose[11] = 1.0
    for chunk in range(start, stop):
        row = out[chunk]
        fill(row, 0, M_MIN, 0.0)
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            load_block(flat, block, m, centre, scale, pose, q)
            padded = (m + LANES - 1) // LANES * LANES
            for i in range(m):
                q[3 * ROW + i] = 1.0
            for i in range(m, padded):
                for a in range(4):
                    q[a * ROW + i] = 0.0
            other = 0
            if weighted:
                other = 4 * ROW
                for a in range(4):
                    for i in range(m):
                        q[other + a * ROW + i] = q[a * ROW + i] * weights[block + i]
                    for i in range(m, padded):
                        q[other + a * ROW + i] = 0.0
            row[M_COUNT] += dot_rows(q, other + 3 * ROW, 3 * ROW, padded)
            index = M_PROD
            for a in range(3):
                row[M_SUM + a] += dot_rows(q, other + a * ROW, 3 * ROW, padded)
                for b in range(a, 3):
                    row[index] += dot_rows(q, other + a * ROW, b * ROW, padded)
                    index += 1


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
