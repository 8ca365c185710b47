"""Algebraic ellipse through points of a plane. Source: R. Halir and J. Flusser, WSCG (1998), with a symmetric
eigenproblem."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.dense import cholesky, cholesky_solve, jacobi

FLATTEST = 1e4  # largest radius tried, in extents of the data


@inner
def direct_ellipse(x, y, m, pose_sizes):  # type: ignore[no-untyped-def]
    """Ellipse-only algebraic conic: centre x, y, angle, semi-axes to pose_sizes[0:5]; False when there is none."""
    scatter = np.zeros((6, 6))
    row = np.empty(6)
    for i in range(m):
        row[0], row[1], row[2] = x[i] * x[i], x[i] * y[i], y[i] * y[i]
        row[3], row[4], row[5] = x[i], y[i], 1.0
        for a in range(6):
            for b in range(6):
                scatter[a, b] += row[a] * row[b] / m
    # Schur complement of the linear part
    s3 = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            s3[a, b] = scatter[3 + a, 3 + b]
        s3[a, a] = s3[a, a] * (1.0 + 1e-13) + 1e-15
    if not cholesky(s3, 3):
        return False
    linear = np.empty((3, 3))  # linear[:, k] = S3^-1 S2' e_k
    column = np.empty(3)
    for k in range(3):
        for a in range(3):
            column[a] = scatter[k, 3 + a]
        cholesky_solve(s3, 3, column)
        for a in range(3):
            linear[a, k] = column[a]
    reduced = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            t = scatter[a, b]
            for k in range(3):
                t -= scatter[a, 3 + k] * linear[k, b]
            reduced[a, b] = t
    trace = scatter[0, 0] + scatter[1, 1] + scatter[2, 2]
    for a in range(3):
        for b in range(a):
            t = 0.5 * (reduced[a, b] + reduced[b, a])
            reduced[a, b] = reduced[b, a] = t
        reduced[a, a] += 1e-13 * trace
    if not cholesky(reduced, 3):
        return False
    # L^-1 C L^-T with C = 4ac - b^2, its positive eigenvalue marks the ellipse
    c = np.zeros((3, 3))
    c[0, 2] = c[2, 0] = 2.0
    c[1, 1] = -1.0
    for _ in range(2):
        for k in range(3):
            for a in range(3):
                t = c[a, k]
                for b in range(a):
                    t -= reduced[a, b] * c[b, k]
                c[a, k] = t / reduced[a, a]
        for a in range(3):
            for b in range(a):
                c[a, b], c[b, a] = c[b, a], c[a, b]
    vectors = np.empty((3, 3))
    jacobi(c, 3, vectors)
    best = 0
    for k in range(1, 3):
        if c[k, k] > c[best, best]:
            best = k
    if not c[best, best] > 0.0:
        return False
    v = np.empty(3)
    for a in range(3):
        v[a] = vectors[a, best]
    for a in range(2, -1, -1):  # L' v = vector
        t = v[a]
        for b in range(a + 1, 3):
            t -= reduced[b, a] * v[b]
        v[a] = t / reduced[a, a]
    d = e = f = 0.0
    for k in range(3):
        d -= linear[0, k] * v[k]
        e -= linear[1, k] * v[k]
        f -= linear[2, k] * v[k]
    det = 4.0 * v[0] * v[2] - v[1] * v[1]
    if not det > 0.0:
        return False
    cx = (v[1] * e - 2.0 * v[2] * d) / det
    cy = (v[1] * d - 2.0 * v[0] * e) / det
    value = f + 0.5 * (d * cx + e * cy)
    angle = 0.5 * math.atan2(v[1], v[0] - v[2])
    root = math.sqrt((v[0] - v[2]) ** 2 + v[1] ** 2)
    l0 = 0.5 * (v[0] + v[2] + root)
    l1 = 0.5 * (v[0] + v[2] - root)
    if not (-value / l0 > 0.0 and -value / l1 > 0.0):
        return False
    pose_sizes[0], pose_sizes[1], pose_sizes[2] = cx, cy, angle
    pose_sizes[3] = math.sqrt(-value / l0)
    pose_sizes[4] = math.sqrt(-value / l1)
    return pose_sizes[3] < FLATTEST and pose_sizes[4] < FLATTEST
