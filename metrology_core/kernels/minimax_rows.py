"""Signed distances for minimax fits: rows of a small working set, and blocked passes over all points.

`law` says what counts as the distance of a point: SIGNED, the first residual of the feature (normal distance; in the
plane for circles and ellipses; to the side for a 2-D line), or RADIAL, the distance from the axis of a line in space.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.accumulate import feature_rows
from metrology_core.kernels.layout import (
    BLOCK,
    CHUNK,
    CIRCLE,
    CONE,
    CYLINDER,
    ELLIPSE,
    LINE,
    N_PARAMETERS,
    PLANE,
    ROW,
    ROWS2,
    SPHERE,
)
from metrology_core.kernels.rows import ellipse_foot

SIGNED, RADIAL = 0, 1
CELLS = 8  # cells per axis of the grid in which extremes are looked for
GRID = CELLS * CELLS * CELLS


@inner
def local_block(xyz, start, m, centre, scale, pose, q):  # type: ignore[no-untyped-def]
    """Local coordinates of points start..start+m of (n, 3): ((x - centre) * scale - c) in the axes u, v, w of the
    pose.
    """
    c0, c1, c2 = centre[0], centre[1], centre[2]
    p0, p1, p2 = pose[0], pose[1], pose[2]
    u0, u1, u2 = pose[3], pose[4], pose[5]
    v0, v1, v2 = pose[6], pose[7], pose[8]
    w0, w1, w2 = pose[9], pose[10], pose[11]
    part = xyz[start : start + m]
    for i in range(m):
        x = (part[i, 0] - c0) * scale - p0
        y = (part[i, 1] - c1) * scale - p1
        z = (part[i, 2] - c2) * scale - p2
        q[i] = x * u0 + y * u1 + z * u2
        q[ROW + i] = x * v0 + y * v1 + z * v2
        q[2 * ROW + i] = x * w0 + y * w1 + z * w2


@kernel
def subset_rows(kind, law, xyz, pose, columns, nf, c, at):  # type: ignore[no-untyped-def]
    """Distances c (m,) of centred, scaled points and their derivatives at (nf, m) along the free columns of the
    chart.
    """
    n = xyz.shape[0]
    p = N_PARAMETERS[kind]
    zero = np.zeros(3)
    q = np.empty(3 * ROW)
    j = np.empty(2 * ROWS2 * ROW)
    foot = np.empty(4)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        local_block(xyz, start, m, zero, 1.0, pose, q)
        feature_rows(kind, q, m, pose, foot, j)
        if law == RADIAL:
            for i in range(m):
                x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
                f = math.sqrt(x * x + y * y)
                inv = 1.0 / f if f > 0.0 else 0.0
                j[i] = -x * inv
                j[ROW + i] = -y * inv
                j[2 * ROW + i] = -g * x * inv
                j[3 * ROW + i] = -g * y * inv
                j[4 * ROW + i] = f
        for i in range(m):
            c[start + i] = j[p * ROW + i]
        for k in range(nf):
            line = columns[k] * ROW
            for i in range(m):
                at[k, start + i] = j[line + i]


@inner
def distances(kind, law, q, m, pose, foot, d):  # type: ignore[no-untyped-def]
    """Distances of one block of local coordinates."""
    if kind == CYLINDER or kind == CIRCLE or law == RADIAL:
        r = 0.0 if law == RADIAL else pose[12]
        for i in range(m):
            d[i] = math.sqrt(q[i] * q[i] + q[ROW + i] * q[ROW + i]) - r
    elif kind == PLANE:
        for i in range(m):
            d[i] = q[2 * ROW + i]
    elif kind == LINE:
        for i in range(m):
            d[i] = q[i]
    elif kind == SPHERE:
        for i in range(m):
            d[i] = math.sqrt(q[i] * q[i] + q[ROW + i] * q[ROW + i] + q[2 * ROW + i] * q[2 * ROW + i]) - pose[12]
    elif kind == CONE:
        c = math.cos(pose[13])
        s = math.sin(pose[13])
        for i in range(m):
            d[i] = (math.sqrt(q[i] * q[i] + q[ROW + i] * q[ROW + i]) - pose[12]) * c - q[2 * ROW + i] * s
    elif kind == ELLIPSE:
        for i in range(m):
            d[i] = ellipse_foot(q[i], q[ROW + i], pose[12], pose[13], foot)
    else:
        for i in range(m):
            e = math.sqrt(q[i] * q[i] + q[ROW + i] * q[ROW + i]) - pose[12]
            d[i] = math.sqrt(e * e + q[2 * ROW + i] * q[2 * ROW + i]) - pose[13]


@kernel
def extremes_by_cell(kind, law, xyz, centre, scale, pose, low, high, skip, start, stop, value, index, ends):  # type: ignore[no-untyped-def]
    """Largest and smallest distance in each cell of a grid about the pose, over chunks start..stop.

    Only distances above `high` or below `low` are looked at; points whose index is in `skip` (sorted) are left out.
    value, index (2, GRID): distance and point of the largest ([0]) and smallest ([1]); index -1 where there is none.
    Ties go to the point that comes first, so joining tables of any split of the chunks gives the same table. ends
    (4): largest and smallest distance of all points that are not skipped, and their indices.
    """
    n = xyz.shape[0]
    q = np.empty(3 * ROW)
    d = np.empty(BLOCK)
    foot = np.empty(4)
    value[0, :] = -np.inf
    value[1, :] = np.inf
    index[:, :] = -1
    ends[0] = -np.inf
    ends[1] = np.inf
    ends[2] = ends[3] = -1.0
    half = 0.5 * CELLS
    next_skip = 0
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            local_block(xyz, block, m, centre, scale, pose, q)
            distances(kind, law, q, m, pose, foot, d)
            while next_skip < skip.shape[0] and skip[next_skip] < block:
                next_skip += 1
            k = next_skip
            while k < skip.shape[0] and skip[k] < block + m:
                d[skip[k] - block] = np.nan
                k += 1
            dmax = -np.inf
            dmin = np.inf
            for i in range(m):
                dmax = d[i] if d[i] > dmax else dmax
                dmin = d[i] if d[i] < dmin else dmin
            if dmax > ends[0]:
                ends[0] = dmax
                for i in range(m):
                    if d[i] == dmax:
                        ends[2] = block + i
                        break
            if dmin < ends[1]:
                ends[1] = dmin
                for i in range(m):
                    if d[i] == dmin:
                        ends[3] = block + i
                        break
            if not (dmax > high or dmin < low):
                continue
            for i in range(m):
                v = d[i]
                if v > high or v < low:
                    x = min(CELLS - 1, max(0, int(half * (q[i] + 1.0))))
                    y = min(CELLS - 1, max(0, int(half * (q[ROW + i] + 1.0))))
                    z = min(CELLS - 1, max(0, int(half * (q[2 * ROW + i] + 1.0))))
                    cell = (x * CELLS + y) * CELLS + z
                    if v > high and v > value[0, cell]:
                        value[0, cell] = v
                        index[0, cell] = block + i
                    if v < low and v < value[1, cell]:
                        value[1, cell] = v
                        index[1, cell] = block + i


@kernel
def all_distances(kind, law, xyz, centre, scale, pose, out):  # type: ignore[no-untyped-def]
    """Distance of every point, in scaled units."""
    n = xyz.shape[0]
    q = np.empty(3 * ROW)
    foot = np.empty(4)
    for block in range(0, n, BLOCK):
        m = min(BLOCK, n - block)
        local_block(xyz, block, m, centre, scale, pose, q)
        distances(kind, law, q, m, pose, foot, out[block : block + m])


@kernel
def mean_sums(xyz, centre, scale, start, stop, out):  # type: ignore[no-untyped-def]
    """Per chunk into out[chunk] (3): sums of the centred, scaled coordinates."""
    n = xyz.shape[0]
    c0, c1, c2 = centre[0], centre[1], centre[2]
    for chunk in range(start, stop):
        part = xyz[chunk * CHUNK : min(n, (chunk + 1) * CHUNK)]
        x = y = z = 0.0
        for i in range(part.shape[0]):
            x += (part[i, 0] - c0) * scale
            y += (part[i, 1] - c1) * scale
            z += (part[i, 2] - c2) * scale
        out[chunk, 0], out[chunk, 1], out[chunk, 2] = x, y, z


@kernel
def summarise(kind, law, xyz, centre, scale, pose, start, stop, out):  # type: ignore[no-untyped-def]
    """Per chunk into out[chunk] (4): sum of squared distances, lowest and highest axial position, largest squared
    reach.
    """
    n = xyz.shape[0]
    q = np.empty(3 * ROW)
    d = np.empty(BLOCK)
    foot = np.empty(4)
    for chunk in range(start, stop):
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        total = 0.0
        low = np.inf
        high = -np.inf
        reach = 0.0
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            local_block(xyz, block, m, centre, scale, pose, q)
            distances(kind, law, q, m, pose, foot, d)
            for i in range(m):
                g = q[2 * ROW + i]
                total += d[i] * d[i]
                low = g if g < low else low
                high = g if g > high else high
                r = q[i] * q[i] + q[ROW + i] * q[ROW + i] + g * g
                reach = r if r > reach else reach
        out[chunk, 0] = total
        out[chunk, 1] = low
        out[chunk, 2] = high
        out[chunk, 3] = reach


__all__ = [
    "CELLS",
    "GRID",
    "RADIAL",
    "SIGNED",
    "all_distances",
    "distances",
    "extremes_by_cell",
    "mean_sums",
    "subset_rows",
    "summarise",
]
