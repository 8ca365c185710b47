"""Compiled passes of registration: moving points, and the fused normal equations of a rigid motion.

A motion increment is x -> c + R(omega)(x - c) + t about the pivot c; with the length L its chart is (omega, t / L), and
residuals are divided by L too, so that every column is of order one. For the signed distance r to the nominal with
gradient n, the row of the Jacobian is (y x n, n), y = (x - c) / L ("point to plane"). The moments of y give the normal
equations of the foot points held fixed ("point to point"), whose gradient is the same.

Chunks of a fixed size give one partial result each, folded in chunk order: the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.lanes import dot_rows
from metrology_core.kernels.layout import LANES
from metrology_core.kernels.minimax_lp import lp_exchange
from pointcloud.kernels.codes import ANGLE, BEYOND_LIMIT, FACE, NO_SIGN, NON_FINITE, NOTHING, REGION

BLOCK = 256  # points copied together into structure-of-arrays scratch
CHUNK = 8192  # points summed into one partial result
PAIRS = 28  # packed upper triangle of [J r]'W[J r]
MOMENTS = PAIRS  # then sum w, sum w y (3), sum w y y' (6)
N_SUMS = PAIRS + 10
_ROWS = 11  # J (6), r, y (3), 1


@kernel
def move(flat, pose, start, stop, out):  # type: ignore[no-untyped-def]
    """out = R (x - a) + b for chunks start..stop of points x y z x y z ...; pose: R row by row, a, b."""
    n = flat.shape[0] // 3
    first = start * CHUNK
    last = min(n, stop * CHUNK)
    for i in range(first, last):
        x = flat[3 * i] - pose[9]
        y = flat[3 * i + 1] - pose[10]
        z = flat[3 * i + 2] - pose[11]
        out[3 * i] = (pose[0] * x + pose[1] * y + pose[2] * z) + pose[12]
        out[3 * i + 1] = (pose[3] * x + pose[4] * y + pose[5] * z) + pose[13]
        out[3 * i + 2] = (pose[6] * x + pose[7] * y + pose[8] * z) + pose[14]


@kernel
def gradients(flat, rows, words, factor, tiny, border, start, stop, distance, direction, valid):  # type: ignore[no-untyped-def]
    """Distance, its gradient and whether it counts, from the rows of `ClosestPoints`, for chunks start..stop.

    ``flat`` holds the queries in the unit of the rows, ``factor`` turns lengths into that of the scan. Over a face the
    gradient is its normal; over an edge or a corner it points from the foot to the point (where the point is not on the
    surface itself). Feet without side count only with ``border``.
    """
    n = distance.shape[0]
    first = start * CHUNK
    last = min(n, stop * CHUNK)
    for i in range(first, last):
        code = words[i, 15]
        region = code & REGION
        d = rows[i, 3]
        distance[i] = d * factor
        if region == NOTHING or (code & (ANGLE | BEYOND_LIMIT | NON_FINITE)) != 0:
            distance[i] = np.nan
            valid[i] = False
            direction[3 * i] = direction[3 * i + 1] = direction[3 * i + 2] = 0.0
            continue
        valid[i] = border or (code & NO_SIGN) == 0
        if region == FACE or not abs(d) > tiny:
            direction[3 * i] = rows[i, 4]
            direction[3 * i + 1] = rows[i, 5]
            direction[3 * i + 2] = rows[i, 6]
        else:
            direction[3 * i] = (flat[3 * i] - rows[i, 0]) / d
            direction[3 * i + 1] = (flat[3 * i + 1] - rows[i, 1]) / d
            direction[3 * i + 2] = (flat[3 * i + 2] - rows[i, 2]) / d


@kernel
def accumulate(flat, normals, residuals, weights, centre, scale, start, stop, out):  # type: ignore[no-untyped-def]
    """Partial sums (N_SUMS) of chunks start..stop into out[start:stop]; scale = 1 / L. Weights may be negative; a
    point of weight zero is not looked at, so its residual may be NaN."""
    n = residuals.shape[0]
    c0, c1, c2 = centre[0], centre[1], centre[2]
    q = np.empty(2 * _ROWS * BLOCK)
    for chunk in range(start, stop):
        sums = out[chunk]
        for k in range(N_SUMS):
            sums[k] = 0.0
        first = chunk * CHUNK
        last = min(n, first + CHUNK)
        for block in range(first, last, BLOCK):
            m = min(BLOCK, last - block)
            padded = (m + LANES - 1) // LANES * LANES
            used = 0
            for i in range(m):
                k = block + i
                w = weights[k]
                if w == 0.0:
                    for a in range(_ROWS):
                        q[a * BLOCK + i] = 0.0
                        q[(_ROWS + a) * BLOCK + i] = 0.0
                    continue
                used += 1
                y0 = (flat[3 * k] - c0) * scale
                y1 = (flat[3 * k + 1] - c1) * scale
                y2 = (flat[3 * k + 2] - c2) * scale
                n0 = normals[3 * k]
                n1 = normals[3 * k + 1]
                n2 = normals[3 * k + 2]
                q[i] = y1 * n2 - y2 * n1
                q[BLOCK + i] = y2 * n0 - y0 * n2
                q[2 * BLOCK + i] = y0 * n1 - y1 * n0
                q[3 * BLOCK + i] = n0
                q[4 * BLOCK + i] = n1
                q[5 * BLOCK + i] = n2
                q[6 * BLOCK + i] = residuals[k] * scale
                q[7 * BLOCK + i] = y0
                q[8 * BLOCK + i] = y1
                q[9 * BLOCK + i] = y2
                q[10 * BLOCK + i] = 1.0
                for a in range(_ROWS):
                    q[(_ROWS + a) * BLOCK + i] = w * q[a * BLOCK + i]
            if used == 0:
                continue
            for i in range(m, padded):
                for a in range(2 * _ROWS):
                    q[a * BLOCK + i] = 0.0
            k = 0
            for a in range(7):
                for b in range(a, 7):
                    sums[k] += dot_rows(q, (_ROWS + a) * BLOCK, b * BLOCK, padded)
                    k += 1
            sums[k] += dot_rows(q, (_ROWS + 10) * BLOCK, 10 * BLOCK, padded)
            k += 1
            for a in range(7, 10):
                sums[k] += dot_rows(q, (_ROWS + a) * BLOCK, 10 * BLOCK, padded)
                k += 1
            for a in range(7, 10):
                for b in range(a, 10):
                    sums[k] += dot_rows(q, (_ROWS + a) * BLOCK, b * BLOCK, padded)
                    k += 1


@kernel
def minimax_step(rows, values, box, basis, multipliers, z):  # type: ignore[no-untyped-def]
    """min h subject to |values + rows' x| <= h and |x_j| <= box_j: the program of one step of a minimum-maximum
    alignment. rows (nf, m); basis, multipliers, z (nf + 1). Returns the code of `lp_exchange`."""
    m = values.shape[0]
    nf = rows.shape[0]
    work = np.empty(m)
    return lp_exchange(rows, values, m, nf, True, True, box, basis, multipliers, z, work)


__all__ = ["BLOCK", "CHUNK", "MOMENTS", "N_SUMS", "PAIRS", "accumulate", "gradients", "minimax_step", "move"]
