"""Starting poses from raw points alone: principal axes, a search over directions, and a curved patch at the centroid.

All work happens on a small deterministic sample in centred, scaled coordinates (extent about 1). Every candidate is
scored by its true sum of squared distances, the best are refined, and the winner goes to the solver with all the
points.

Source: algebraic circle and sphere with gradient normalisation after G. Taubin, IEEE PAMI 13 (1991) 1115; the rest is
worked out here.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.conic import FLATTEST, direct_ellipse
from metrology_core.kernels.dense import cholesky, cholesky_solve, fill, frame_from, jacobi, smallest
from metrology_core.kernels.layout import (
    CONE,
    CYLINDER,
    TORUS,
)


@inner
def _mean_and_covariance(sub, m, mean, cov):  # type: ignore[no-untyped-def]
    for a in range(3):
        s = 0.0
        for i in range(m):
            s += sub[3 * i + a]
        mean[a] = s / m
    for a in range(3):
        for b in range(a, 3):
            s = 0.0
            for i in range(m):
                s += (sub[3 * i + a] - mean[a]) * (sub[3 * i + b] - mean[b])
            cov[a, b] = s / m
            cov[b, a] = s / m


@inner
def taubin_circle(x, y, m, out):  # type: ignore[no-untyped-def]
    """Algebraic circle with gradient weight: out = centre x, y, radius; returns the mean squared distance it
    predicts."""
    mx = my = mz = 0.0
    for i in range(m):
        mx += x[i]
        my += y[i]
    mx /= m
    my /= m
    for i in range(m):
        mz += (x[i] - mx) ** 2 + (y[i] - my) ** 2
    mz /= m
    if not mz > 0.0:
        out[0], out[1], out[2] = mx, my, 0.0
        return np.inf
    half = 0.5 / math.sqrt(mz)
    a = np.zeros((3, 3))
    for i in range(m):
        dx, dy = x[i] - mx, y[i] - my
        z = (dx * dx + dy * dy - mz) * half
        a[0, 0] += z * z
        a[0, 1] += z * dx
        a[0, 2] += z * dy
        a[1, 1] += dx * dx
        a[1, 2] += dx * dy
        a[2, 2] += dy * dy
    a[1, 0], a[2, 0], a[2, 1] = a[0, 1], a[0, 2], a[1, 2]
    vectors = np.empty((3, 3))
    v = np.empty(3)
    value = smallest(a, 3, vectors, v) / m
    bend = v[0] * half  # half the algebraic curvature
    slope = math.sqrt(v[1] * v[1] + v[2] * v[2])
    least = max(slope / (2.0 * FLATTEST), 1e-12)
    if abs(bend) < least:
        bend = least if bend >= 0.0 else -least
    cx, cy = -0.5 * v[1] / bend, -0.5 * v[2] / bend
    out[0], out[1] = mx + cx, my + cy
    out[2] = math.sqrt(cx * cx + cy * cy + mz)
    return value


@inner
def taubin_sphere(sub, m, mean, pose):  # type: ignore[no-untyped-def]
    mz = 0.0
    for i in range(m):
        for a in range(3):
            mz += (sub[3 * i + a] - mean[a]) ** 2
    mz /= m
    half = 0.5 / math.sqrt(mz)
    a = np.zeros((4, 4))
    row = np.empty(4)
    for i in range(m):
        s = 0.0
        for k in range(3):
            row[1 + k] = sub[3 * i + k] - mean[k]
            s += row[1 + k] * row[1 + k]
        row[0] = (s - mz) * half
        for k in range(4):
            for b in range(4):
                a[k, b] += row[k] * row[b]
    vectors = np.empty((4, 4))
    v = np.empty(4)
    smallest(a, 4, vectors, v)
    bend = v[0] * half
    slope = math.sqrt(v[1] * v[1] + v[2] * v[2] + v[3] * v[3])
    least = max(slope / (2.0 * FLATTEST), 1e-12)
    if abs(bend) < least:
        bend = least if bend >= 0.0 else -least
    s = 0.0
    fill(pose, 0, 14, 0.0)
    for k in range(3):
        c = -0.5 * v[1 + k] / bend
        pose[k] = mean[k] + c
        s += c * c
    pose[3] = pose[7] = pose[11] = 1.0
    pose[12] = math.sqrt(s + mz)


@inner
def project(sub, m, mean, frame, x, y, g):  # type: ignore[no-untyped-def]
    for i in range(m):
        a = sub[3 * i] - mean[0]
        b = sub[3 * i + 1] - mean[1]
        c = sub[3 * i + 2] - mean[2]
        x[i] = a * frame[0] + b * frame[1] + c * frame[2]
        y[i] = a * frame[3] + b * frame[4] + c * frame[5]
        g[i] = a * frame[6] + b * frame[7] + c * frame[8]


@inner
def place(mean, frame, cx, cy, cg, pose):  # type: ignore[no-untyped-def]
    for k in range(3):
        pose[k] = mean[k] + cx * frame[k] + cy * frame[3 + k] + cg * frame[6 + k]
    for k in range(9):
        pose[3 + k] = frame[k]


@inner
def _cone_centre(x, y, g, m, fallback, out):  # type: ignore[no-untyped-def]
    """Axis point of x^2 + y^2 = q g^2 + 2 a x + 2 b y + c g + d by linear least squares; out = a, b."""
    n = 5
    matrix = np.zeros((n, n))
    rhs = np.zeros(n)
    row = np.empty(n)
    for i in range(m):
        row[0], row[1], row[2], row[3], row[4] = x[i], y[i], g[i], g[i] * g[i], 1.0
        z = x[i] * x[i] + y[i] * y[i]
        for a in range(n):
            rhs[a] += row[a] * z
            for b in range(a + 1):
                matrix[a, b] += row[a] * row[b]
    for a in range(n):
        matrix[a, a] *= 1.0 + 1e-11
        matrix[a, a] += 1e-13 * m
    out[0], out[1] = fallback[0], fallback[1]
    if cholesky(matrix, n):
        cholesky_solve(matrix, n, rhs)
        out[0], out[1] = 0.5 * rhs[0], 0.5 * rhs[1]


@inner
def _profile_line(x, y, g, m, cx, cy, pose):  # type: ignore[no-untyped-def]
    """Total least squares of f against g about the axis (cx, cy): sets radius at g = 0 and half-angle of the cone."""
    mf = mg = 0.0
    for i in range(m):
        mf += math.sqrt((x[i] - cx) ** 2 + (y[i] - cy) ** 2)
        mg += g[i]
    mf /= m
    mg /= m
    sff = sfg = sgg = 0.0
    for i in range(m):
        f = math.sqrt((x[i] - cx) ** 2 + (y[i] - cy) ** 2) - mf
        h = g[i] - mg
        sff += f * f
        sfg += f * h
        sgg += h * h
    angle = 0.5 * math.atan2(2.0 * sfg, sgg - sff)  # of the main direction, from the g axis
    limit = 0.5 * math.pi - 1e-3
    angle = min(limit, max(-limit, angle))
    pose[12] = mf - mg * math.tan(angle)
    pose[13] = angle
    spread = 0.5 * (sff + sgg) - math.sqrt(0.25 * (sff - sgg) ** 2 + sfg * sfg)
    return spread / m


@inner
def from_direction(kind, sub, m, mean, direction, work, pose):  # type: ignore[no-untyped-def]
    """Best pose of the feature about this axis direction; returns the mean squared distance it predicts."""
    frame = np.empty(9)
    frame_from(direction, frame)
    x, y, g, f = work[0], work[1], work[2], work[3]
    project(sub, m, mean, frame, x, y, g)
    circle = np.empty(3)
    score = taubin_circle(x, y, m, circle)
    if not score < np.inf:
        return np.inf
    if kind == CYLINDER:
        place(mean, frame, circle[0], circle[1], 0.0, pose)
        pose[12], pose[13] = circle[2], 0.0
        return score
    centre = circle
    if kind == CONE:
        centre = np.empty(3)
        _cone_centre(x, y, g, m, circle, centre)
    return profile(kind, x, y, g, f, m, centre[0], centre[1], mean, frame, pose)


@inner
def profile(kind, x, y, g, f, m, cx, cy, mean, frame, pose):  # type: ignore[no-untyped-def]
    """Cylinder, cone or torus about a known axis: mean radius, line or circle in the half-plane (f, g)."""
    if kind == CONE:
        place(mean, frame, cx, cy, 0.0, pose)
        return _profile_line(x, y, g, m, cx, cy, pose)
    total = 0.0
    for i in range(m):
        f[i] = math.sqrt((x[i] - cx) ** 2 + (y[i] - cy) ** 2)
        total += f[i]
    if kind == CYLINDER:
        place(mean, frame, cx, cy, 0.0, pose)
        pose[12], pose[13] = total / m, 0.0
        return 0.0
    circle = np.empty(3)
    score = taubin_circle(f, g, m, circle)
    place(mean, frame, cx, cy, circle[1], pose)
    pose[12] = abs(circle[0]) + 1e-6
    pose[13] = max(circle[2], 1e-9)
    return score


@inner
def patch_at(sub, m, mean, axes, out):  # type: ignore[no-untyped-def]
    """Quadratic z = a + b x + c y + d x^2 + e x y + f y^2 in the principal frame.

    out: foot (3), normal (3), first curvature direction (3), second (3), curvatures (2), positive towards the normal.
    """
    n = 6
    matrix = np.zeros((n, n))
    rhs = np.zeros(n)
    row = np.empty(n)
    for i in range(m):
        x = y = z = 0.0
        for k in range(3):
            t = sub[3 * i + k] - mean[k]
            x += t * axes[k]
            y += t * axes[3 + k]
            z += t * axes[6 + k]
        row[0], row[1], row[2], row[3], row[4], row[5] = 1.0, x, y, x * x, x * y, y * y
        for a in range(n):
            rhs[a] += row[a] * z
            for b in range(a + 1):
                matrix[a, b] += row[a] * row[b]
    for a in range(n):
        matrix[a, a] = matrix[a, a] * (1.0 + 1e-12) + 1e-14 * m
    if not cholesky(matrix, n):
        return False
    cholesky_solve(matrix, n, rhs)
    b, c = rhs[1], rhs[2]
    h = math.sqrt(1.0 + b * b + c * c)
    # tangents along x and y made orthonormal, and the second form in them
    la = math.sqrt(1.0 + b * b)
    second = np.empty((2, 2))
    xx, xy, yy = 2.0 * rhs[3] / h, rhs[4] / h, 2.0 * rhs[5] / h
    # t1 = (1, 0, b)/la ; t2 = (-b c, la^2, c)/(la h): parameter directions (1, 0)/la and (-b c / la^2, 1) la / h
    p0 = 1.0 / la
    q0, q1 = -b * c / (la * h), la / h
    second[0, 0] = xx * p0 * p0
    second[0, 1] = p0 * (xx * q0 + xy * q1)
    second[1, 0] = second[0, 1]
    second[1, 1] = xx * q0 * q0 + 2.0 * xy * q0 * q1 + yy * q1 * q1
    vectors = np.empty((2, 2))
    jacobi(second, 2, vectors)
    for k in range(3):
        out[k] = mean[k] + rhs[0] * axes[6 + k]
        out[3 + k] = (-b * axes[k] - c * axes[3 + k] + axes[6 + k]) / h
        t1 = (axes[k] + b * axes[6 + k]) / la
        t2 = (-b * c * axes[k] + la * la * axes[3 + k] + c * axes[6 + k]) / (la * h)
        out[6 + k] = vectors[0, 0] * t1 + vectors[1, 0] * t2
        out[9 + k] = vectors[0, 1] * t1 + vectors[1, 1] * t2
    out[12] = second[0, 0]
    out[13] = second[1, 1]
    return True


@inner
def patch_candidates(kind, patch, poses, count):  # type: ignore[no-untyped-def]
    """Cylinders, cones and tori that osculate the patch: one-parameter families, sampled."""
    axis = np.empty(3)
    frame = np.empty(9)
    for which in range(2):
        bent = 6 + 3 * which  # direction in which the patch is curved
        other = 9 - 3 * which
        k = patch[12 + which]
        if abs(k) < 1.0 / FLATTEST:
            k = 1.0 / FLATTEST if k >= 0.0 else -1.0 / FLATTEST
        s = 1.0 if k > 0.0 else -1.0  # the axis lies on this side of the normal
        radius = 1.0 / abs(k)
        if kind == CYLINDER:
            pose = poses[count]
            for a in range(3):
                axis[a] = patch[other + a]
            frame_from(axis, frame)
            for a in range(3):
                pose[a] = patch[a] + s * radius * patch[3 + a]
            for a in range(9):
                pose[3 + a] = frame[a]
            pose[12], pose[13] = radius, 0.0
            count += 1
        elif kind == CONE:
            for step in range(20):
                psi = (2.0 + 9.4 * (step // 2)) * math.pi / 180.0
                sign = 1.0 if step % 2 == 0 else -1.0
                pose = poses[count]
                for a in range(3):
                    outward = -s * patch[3 + a]
                    axis[a] = sign * patch[other + a] * math.cos(psi) - outward * math.sin(psi)
                frame_from(axis, frame)
                for a in range(3):
                    pose[a] = patch[a] + s * radius * patch[3 + a]
                for a in range(9):
                    pose[3 + a] = frame[a]
                # the normal meets the axis at `radius`; the section there is wider than at the foot
                pose[12] = radius / math.cos(psi)
                pose[13] = psi
                count += 1
        elif kind == TORUS:
            ratio = s * patch[12 + 1 - which]  # curvature along the spine, outward convention
            for step in range(24):
                theta = (step + 0.5) * math.pi / 12.0 - math.pi
                c = math.cos(theta)
                major = c / ratio - radius * c if ratio != 0.0 else -1.0
                if not (major > 0.02 * radius and major < FLATTEST):
                    if abs(c) > 0.3:
                        continue
                    major = radius * (1.5 if step % 2 == 0 else 5.0)
                pose = poses[count]
                for a in range(3):
                    outward = -s * patch[3 + a]
                    axis[a] = outward * math.sin(theta) + patch[bent + a] * c
                    rho = outward * c - patch[bent + a] * math.sin(theta)
                    pose[a] = patch[a] + s * radius * patch[3 + a] - major * rho
                frame_from(axis, frame)
                for a in range(9):
                    pose[3 + a] = frame[a]
                pose[12], pose[13] = major, radius
                count += 1
    return count


@inner
def ellipse_candidates(sub, m, mean, axes, work, known, poses, count):  # type: ignore[no-untyped-def]
    frame = np.empty(9)
    sizes = np.empty(5)
    circle = np.empty(3)
    x, y, g = work[0], work[1], work[2]
    for which in range(1 if known else 2):  # normal: smallest principal axis, then the middle one
        for k in range(3):
            frame[k] = axes[k]
            frame[3 + k] = axes[3 * (1 + which) + k]
            frame[6 + k] = axes[3 * (2 - which) + k]
        project(sub, m, mean, frame, x, y, g)
        if direct_ellipse(x, y, m, sizes):
            pose = poses[count]
            place(mean, frame, sizes[0], sizes[1], 0.0, pose)
            c, s = math.cos(sizes[2]), math.sin(sizes[2])
            for k in range(3):
                pose[3 + k] = c * frame[k] + s * frame[3 + k]
                pose[6 + k] = -s * frame[k] + c * frame[3 + k]
            pose[12], pose[13] = sizes[3], sizes[4]
            count += 1
        if taubin_circle(x, y, m, circle) < np.inf:
            for squeeze in range(2):
                pose = poses[count]
                place(mean, frame, circle[0], circle[1], 0.0, pose)
                pose[12] = circle[2] * (1.1 if squeeze == 0 else 0.9)
                pose[13] = circle[2] * (0.9 if squeeze == 0 else 1.1)
                count += 1
        xx = yy = 0.0
        for i in range(m):
            xx += x[i] * x[i] / m
            yy += y[i] * y[i] / m
        if yy > 0.0:
            pose = poses[count]
            place(mean, frame, 0.0, 0.0, 0.0, pose)
            pose[12], pose[13] = math.sqrt(2.0 * xx), math.sqrt(2.0 * yy)
            count += 1
    return count


@inner
def right_handed(poses, count):  # type: ignore[no-untyped-def]
    for c in range(count):
        pose = poses[c]
        pose[6] = pose[10] * pose[5] - pose[11] * pose[4]
        pose[7] = pose[11] * pose[3] - pose[9] * pose[5]
        pose[8] = pose[9] * pose[4] - pose[10] * pose[3]


@inner
def axis_from_apex(sub, m, apex, axis):  # type: ignore[no-untyped-def]
    """Axis of a cone with this apex: generators make one angle with it, so their ends lie in a plane across it."""
    cov = np.empty((3, 3))
    vectors = np.empty((3, 3))
    mean = np.zeros(3)
    for turn in range(2):
        for a in range(3):
            for b in range(3):
                cov[a, b] = 0.0
        for i in range(m):
            x, y, z = sub[3 * i] - apex[0], sub[3 * i + 1] - apex[1], sub[3 * i + 2] - apex[2]
            length = math.sqrt(x * x + y * y + z * z)
            if not length > 0.0:
                continue
            axis[0], axis[1], axis[2] = x / length, y / length, z / length
            for a in range(3):
                if turn == 0:
                    mean[a] += axis[a] / m
                else:
                    for b in range(3):
                        cov[a, b] += (axis[a] - mean[a]) * (axis[b] - mean[b])
    smallest(cov, 3, vectors, axis)
    size = axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]
    return size > 0.5


@inner
def principal_axes(sub, m, mean, axes):  # type: ignore[no-untyped-def]
    """Mean and principal axes of the sample (rows: largest, middle, smallest); False where the points are all one."""
    cov = np.empty((3, 3))
    vectors = np.empty((3, 3))
    _mean_and_covariance(sub, m, mean, cov)
    jacobi(cov, 3, vectors)
    order = np.empty(3, np.int64)
    order[0], order[1], order[2] = 0, 1, 2
    for a in range(2):
        for b in range(2 - a):
            if cov[order[b], order[b]] < cov[order[b + 1], order[b + 1]]:
                t = order[b]
                order[b] = order[b + 1]
                order[b + 1] = t
    for a in range(3):
        for k in range(3):
            axes[3 * a + k] = vectors[k, order[a]]
    return cov[order[0], order[0]] > 0.0


@inner
def sort_costs(costs, order, count):  # type: ignore[no-untyped-def]
    """Sort the first `count` entries of order by their costs (insertion: few, and stable)."""
    for a in range(1, count):
        t = order[a]
        b = a - 1
        while b >= 0 and costs[order[b]] > costs[t]:
            order[b + 1] = order[b]
            b -= 1
        order[b + 1] = t


__all__ = [
    "axis_from_apex",
    "ellipse_candidates",
    "from_direction",
    "patch_at",
    "patch_candidates",
    "place",
    "principal_axes",
    "profile",
    "project",
    "right_handed",
    "sort_costs",
    "taubin_circle",
    "taubin_sphere",
]
