"""A start for cylinders from moments: the algebraic circle across every direction of a fixed fan, at a cost that does
not depend on the number of points.

With y the points about their centroid and q the six products of their coordinates, |P y|^2 is linear in q for any
projector P = I - w w'. Moments up to the fourth order therefore give, for any axis w, the best circle across it (in
the sense of I. Kasa, IEEE Trans. Instrum. Meas. 25 (1976) 8) and its residual. The same fan says how good a cylinder
of a quite different direction could be: where none comes near, the solution needs no further search.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.dense import fill, frame_from, jacobi
from metrology_core.kernels.lanes import dot_rows
from metrology_core.kernels.layout import (
    BLOCK,
    LANES,
    ROW,
)

FAN = 64  # directions over half a sphere: neighbours 18 degrees apart
FAN_ROW = 15  # w, u, v, and the six coefficients of |P y|^2


def fan() -> np.ndarray:
    """(FAN, FAN_ROW): directions by the golden section, their frames, and the coefficients of |P y|^2."""
    index = np.arange(FAN)
    z = (index + 0.5) / FAN
    r, turn = np.sqrt(1.0 - z * z), math.pi * (3.0 - math.sqrt(5.0)) * index
    w = np.column_stack((r * np.cos(turn), r * np.sin(turn), z))
    least = np.eye(3)[np.argmin(np.abs(w), axis=1)]
    u = least - np.sum(least * w, axis=1)[:, None] * w
    u /= np.linalg.norm(u, axis=1)[:, None]
    v = np.cross(w, u)
    p = np.column_stack(
        (1 - w[:, 0] ** 2, -2 * w[:, 0] * w[:, 1], -2 * w[:, 0] * w[:, 2], 1 - w[:, 1] ** 2, -2 * w[:, 1] * w[:, 2],
         1 - w[:, 2] ** 2)
    )  # fmt: skip
    return np.ascontiguousarray(np.hstack((w, u, v, p)))


@inner
def higher_moments(flat, centre, scale, centroid, q, second, third, fourth):  # type: ignore[no-untyped-def]
    """Means of products of two (6), three (3, 6) and four (6, 6) coordinates about the centroid; q: 9 rows of BLOCK."""
    n = flat.shape[0] // 3
    fill(second, 0, 6, 0.0)
    for a in range(3):
        fill(third[a], 0, 6, 0.0)
    for a in range(6):
        fill(fourth[a], 0, 6, 0.0)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        part = flat[3 * start : 3 * start + 3 * m]
        for i in range(m):
            x = (part[3 * i] - centre[0]) * scale - centroid[0]
            y = (part[3 * i + 1] - centre[1]) * scale - centroid[1]
            z = (part[3 * i + 2] - centre[2]) * scale - centroid[2]
            q[i], q[ROW + i], q[2 * ROW + i] = x, y, z
            q[3 * ROW + i], q[4 * ROW + i], q[5 * ROW + i] = x * x, x * y, x * z
            q[6 * ROW + i], q[7 * ROW + i], q[8 * ROW + i] = y * y, y * z, z * z
        padded = (m + LANES - 1) // LANES * LANES
        for a in range(9):
            for i in range(m, padded):
                q[a * ROW + i] = 0.0
        index = 0
        for a in range(3):
            for b in range(a, 3):
                second[index] += dot_rows(q, a * ROW, b * ROW, padded)
                index += 1
            for b in range(6):
                third[a, b] += dot_rows(q, a * ROW, (3 + b) * ROW, padded)
        for a in range(6):
            for b in range(a, 6):
                fourth[a, b] += dot_rows(q, (3 + a) * ROW, (3 + b) * ROW, padded)
    for a in range(6):
        second[a] /= n
    for a in range(3):
        for b in range(6):
            third[a, b] /= n
    for a in range(6):
        for b in range(a, 6):
            value = fourth[a, b] / n - second[a] * second[b]
            fourth[a, b] = value
            fourth[b, a] = value


@inner
def across(line, second, third, fourth, out):  # type: ignore[no-untyped-def]
    """Circle across the direction of this fan row: out = centre in u, v, and radius; returns its mean squared
    distance, about."""
    g = 0.0
    mean = 0.0
    h0 = h1 = h2 = 0.0
    for a in range(6):
        pa = line[9 + a]
        s = 0.0
        for b in range(6):
            s += fourth[a, b] * line[9 + b]
        g += pa * s
        mean += pa * second[a]
        h0 += third[0, a] * pa
        h1 += third[1, a] * pa
        h2 += third[2, a] * pa
    u0, u1, u2 = line[3], line[4], line[5]
    v0, v1, v2 = line[6], line[7], line[8]
    cu0 = second[0] * u0 + second[1] * u1 + second[2] * u2
    cu1 = second[1] * u0 + second[3] * u1 + second[4] * u2
    cu2 = second[2] * u0 + second[4] * u1 + second[5] * u2
    cv0 = second[0] * v0 + second[1] * v1 + second[2] * v2
    cv1 = second[1] * v0 + second[3] * v1 + second[4] * v2
    cv2 = second[2] * v0 + second[4] * v1 + second[5] * v2
    uu = u0 * cu0 + u1 * cu1 + u2 * cu2
    uv = v0 * cu0 + v1 * cu1 + v2 * cu2
    vv = v0 * cv0 + v1 * cv1 + v2 * cv2
    hu = u0 * h0 + u1 * h1 + u2 * h2
    hv = v0 * h0 + v1 * h1 + v2 * h2
    det = uu * vv - uv * uv
    if not det > 1e-12 * (uu + vv) * (uu + vv):
        return np.inf
    bu = (vv * hu - uv * hv) / det
    bv = (uu * hv - uv * hu) / det
    g = max(0.0, g - (bu * hu + bv * hv))
    bu *= 0.5
    bv *= 0.5
    square = mean + bu * bu + bv * bv
    out[0], out[1], out[2] = bu, bv, math.sqrt(square)
    return 0.25 * g / square


@inner
def own_row(direction, line):  # type: ignore[no-untyped-def]
    """Fan row of any unit direction."""
    frame = np.empty(9)
    frame_from(direction, frame)
    for k in range(3):
        line[k] = frame[6 + k]
        line[3 + k] = frame[k]
        line[6 + k] = frame[3 + k]
    x, y, z = line[0], line[1], line[2]
    line[9], line[10], line[11] = 1.0 - x * x, -2.0 * x * y, -2.0 * x * z
    line[12], line[13], line[14] = 1.0 - y * y, -2.0 * y * z, 1.0 - z * z


@inner
def quick_cylinder(flat, info, rows, q, scores, pose):  # type: ignore[no-untyped-def]
    """Best cylinder of the fan and of the principal axes into `pose`; scores (FAN + 3) keeps what each direction gives.

    rows (FAN + 3, FAN_ROW): the fan, then room for the principal axes. False where no direction gives a circle.
    """
    second = np.empty(6)
    third = np.empty((3, 6))
    fourth = np.empty((6, 6))
    higher_moments(flat, info[0:3], info[3], info[4:7], q, second, third, fourth)
    a = np.empty((3, 3))
    vectors = np.empty((3, 3))
    a[0, 0], a[0, 1], a[0, 2], a[1, 1], a[1, 2], a[2, 2] = (
        second[0],
        second[1],
        second[2],
        second[3],
        second[4],
        second[5],
    )
    a[1, 0], a[2, 0], a[2, 1] = a[0, 1], a[0, 2], a[1, 2]
    jacobi(a, 3, vectors)
    direction = np.empty(3)
    for t in range(3):
        for k in range(3):
            direction[k] = vectors[k, t]
        own_row(direction, rows[FAN + t])
    circle = np.empty(3)
    best = np.inf
    chosen = -1
    for t in range(FAN + 3):
        score = across(rows[t], second, third, fourth, circle)
        scores[t] = score
        if score < best:
            best = score
            chosen = t
    if chosen < 0:
        return False
    line = rows[chosen]
    across(line, second, third, fourth, circle)
    for k in range(3):
        pose[k] = info[4 + k] + circle[0] * line[3 + k] + circle[1] * line[6 + k]
        pose[3 + k] = line[3 + k]
        pose[6 + k] = line[6 + k]
        pose[9 + k] = line[k]
    pose[12], pose[13] = circle[2], 0.0
    return True


@inner
def elsewhere(rows, scores, pose):  # type: ignore[no-untyped-def]
    """Least score of the directions more than 30 degrees away from the axis of the pose."""
    least = np.inf
    for t in range(FAN + 3):
        c = rows[t, 0] * pose[9] + rows[t, 1] * pose[10] + rows[t, 2] * pose[11]
        if c * c < 0.75 and scores[t] < least:
            least = scores[t]
    return least


__all__ = ["FAN", "FAN_ROW", "elsewhere", "fan", "quick_cylinder"]
