"""Starts for nearly flat and nearly straight pieces: sectors of wide cones, elbows of tori.

A short arc of a cone differs from a plane by y^2 / (2 T (s + x)), with x along the generator through the middle, s
the distance of the apex and T = tan(half-angle): linear in the plane and 1/T once s is chosen. A short elbow of a
torus is a cylinder whose section centre moves by kappa g^2 / 2: the algebraic circle stays linear with centre
coordinates quadratic in g.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.dense import cholesky, cholesky_solve, frame_from

_APEX_STEPS = 12
_ELBOW = 9


@inner
def sector_candidates(sub, m, mean, axes, poses, count):  # type: ignore[no-untyped-def]
    """Cones of which the points are a sector, generator along the first or second principal axis, apex on either
    side."""
    matrix = np.empty((4, 4))
    rhs = np.empty(4)
    row = np.empty(4)
    kept = np.empty(5)
    x = np.empty(m)
    y = np.empty(m)
    z = np.empty(m)
    axis = np.empty(3)
    frame = np.empty(9)
    for trial in range(4):
        along = 3 * (trial // 2)
        across = 3 - along
        sign = 1.0 if trial % 2 == 0 else -1.0
        nearest = 0.0
        for i in range(m):
            x[i] = y[i] = z[i] = 0.0
            for k in range(3):
                t = sub[3 * i + k] - mean[k]
                x[i] += sign * t * axes[along + k]
                y[i] += t * axes[across + k]
                z[i] += t * axes[6 + k]
            nearest = max(nearest, -x[i])
        best = np.inf
        margin = 0.02
        for _ in range(_APEX_STEPS):
            s = nearest * (1.0 + margin)
            margin *= 2.0
            for a in range(4):
                rhs[a] = 0.0
                for b in range(4):
                    matrix[a, b] = 0.0
            total = 0.0
            for i in range(m):
                row[0], row[1], row[2], row[3] = 1.0, x[i], y[i], 0.5 * y[i] * y[i] / (s + x[i])
                total += z[i] * z[i]
                for a in range(4):
                    rhs[a] += row[a] * z[i]
                    for b in range(a + 1):
                        matrix[a, b] += row[a] * row[b]
            for a in range(4):
                matrix[a, a] *= 1.0 + 1e-13
            q0, q1, q2, q3 = rhs[0], rhs[1], rhs[2], rhs[3]
            if not cholesky(matrix, 4):
                continue
            cholesky_solve(matrix, 4, rhs)
            left = total - (q0 * rhs[0] + q1 * rhs[1] + q2 * rhs[2] + q3 * rhs[3])
            if left < best:
                best = left
                kept[0], kept[1], kept[2], kept[3], kept[4] = rhs[0], rhs[1], rhs[2], rhs[3], s
        if not best < np.inf or kept[3] == 0.0:
            continue
        side = 1.0 if kept[3] > 0.0 else -1.0
        psi = math.atan2(1.0, abs(kept[3]))  # abs(kept[3]) = 1 / tan(psi)
        height = math.sqrt(1.0 + kept[1] * kept[1] + kept[2] * kept[2])
        slope = math.sqrt(1.0 + kept[1] * kept[1])
        c, s_psi = math.cos(psi), math.sin(psi)
        pose = poses[count]
        for k in range(3):
            generator = (sign * axes[along + k] + kept[1] * axes[6 + k]) / slope
            normal = (-kept[1] * sign * axes[along + k] - kept[2] * axes[across + k] + axes[6 + k]) / height
            axis[k] = generator * c + side * normal * s_psi
            pose[k] = mean[k] + kept[0] * axes[6 + k] - kept[4] * generator
        frame_from(axis, frame)
        for k in range(3):
            pose[k] += frame[6 + k] * kept[4] * c
        for k in range(9):
            pose[3 + k] = frame[k]
        pose[12], pose[13] = kept[4] * s_psi, psi
        count += 1
    return count


@inner
def elbow_candidate(x, y, g, m, mean, frame, pose):  # type: ignore[no-untyped-def]
    """Torus of which the points are an elbow along the third axis of `frame`; False when there is no bend."""
    n = _ELBOW
    if m < n + 2:
        return False
    matrix = np.zeros((n, n))
    rhs = np.zeros(n)
    row = np.empty(n)
    for i in range(m):
        h = g[i] * g[i]
        row[0], row[1], row[2] = x[i], y[i], x[i] * g[i]
        row[3], row[4], row[5] = y[i] * g[i], x[i] * h, y[i] * h
        row[6], row[7], row[8] = 1.0, g[i], h
        z = x[i] * x[i] + y[i] * y[i]
        for a in range(n):
            rhs[a] += row[a] * z
            for b in range(a + 1):
                matrix[a, b] += row[a] * row[b]
    for a in range(n):
        matrix[a, a] = matrix[a, a] * (1.0 + 1e-12) + 1e-14 * m
    if not cholesky(matrix, n):
        return False
    cholesky_solve(matrix, n, rhs)
    # x^2 + y^2 = 2 x (cx + tx g + kx g^2 / 2) + 2 y (...) + k + ...: rhs[4] = kx, rhs[5] = ky
    cx, cy = 0.5 * rhs[0], 0.5 * rhs[1]
    bend = math.sqrt(rhs[4] * rhs[4] + rhs[5] * rhs[5])
    minor = rhs[6] + cx * cx + cy * cy
    if not (bend > 1e-4 and minor > 0.0):
        return False
    ux, uy = rhs[4] / bend, rhs[5] / bend  # towards the axis of the torus
    axis = np.empty(3)
    turned = np.empty(9)
    for k in range(3):
        pose[k] = mean[k] + (cx + ux / bend) * frame[k] + (cy + uy / bend) * frame[3 + k]
        axis[k] = -uy * frame[k] + ux * frame[3 + k]  # across the bend and across the elbow
    frame_from(axis, turned)
    for k in range(9):
        pose[3 + k] = turned[k]
    pose[12], pose[13] = 1.0 / bend, math.sqrt(minor)
    return True
