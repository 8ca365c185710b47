"""Residual and Jacobian rows of every feature in its own local frame (structure of arrays, one block at a time).

Scratch is flat: row k starts at k * ROW, a constant, so the compiler sees that rows never overlap and uses vectors.
Each function reads local coordinates from rows 0..2 of q and writes the p columns and then the residual to rows 0..p
of j; features with two residuals per point use rows ROWS2.. for the second. Formulas: derivatives of the signed
normal distance with respect to the chart (shift, tilt, size) at zero displacement; tilt (t_u, t_v) turns the axis w
towards t_u u + t_v v.
"""

from __future__ import annotations

import math

from metrology_core._jit import inner
from metrology_core.kernels.layout import (
    ROW,
    ROWS2,
)


@inner
def line_rows(q, m, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, tilt_u, tilt_v. Residuals: the two transverse coordinates."""
    for i in range(m):
        g = q[2 * ROW + i]
        j[i] = -1.0
        j[ROW + i] = 0.0
        j[2 * ROW + i] = -g
        j[3 * ROW + i] = 0.0
        j[4 * ROW + i] = q[i]
        j[ROWS2 * ROW + i] = 0.0
        j[(ROWS2 + 1) * ROW + i] = -1.0
        j[(ROWS2 + 2) * ROW + i] = 0.0
        j[(ROWS2 + 3) * ROW + i] = -g
        j[(ROWS2 + 4) * ROW + i] = q[ROW + i]


@inner
def plane_rows(q, m, j):  # type: ignore[no-untyped-def]
    """Chart: shift (along the normal), tilt_u, tilt_v. Residual: height."""
    for i in range(m):
        j[i] = -1.0
        j[ROW + i] = q[i]
        j[2 * ROW + i] = q[ROW + i]
        j[3 * ROW + i] = q[2 * ROW + i]


@inner
def circle_rows(q, m, radius, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, shift_w, tilt_u, tilt_v, radius. Residuals: in-plane (f - r), then height g."""
    for i in range(m):
        x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
        f = math.sqrt(x * x + y * y)
        inv = 1.0 / f if f > 0.0 else 0.0
        nx, ny = x * inv, y * inv
        j[i] = -nx
        j[ROW + i] = -ny
        j[2 * ROW + i] = 0.0
        j[3 * ROW + i] = -g * nx
        j[4 * ROW + i] = -g * ny
        j[5 * ROW + i] = -1.0
        j[6 * ROW + i] = f - radius
        j[ROWS2 * ROW + i] = 0.0
        j[(ROWS2 + 1) * ROW + i] = 0.0
        j[(ROWS2 + 2) * ROW + i] = -1.0
        j[(ROWS2 + 3) * ROW + i] = x
        j[(ROWS2 + 4) * ROW + i] = y
        j[(ROWS2 + 5) * ROW + i] = 0.0
        j[(ROWS2 + 6) * ROW + i] = g


@inner
def sphere_rows(q, m, radius, j):  # type: ignore[no-untyped-def]
    """Chart: center_x, center_y, center_z, radius."""
    for i in range(m):
        x, y, z = q[i], q[ROW + i], q[2 * ROW + i]
        f = math.sqrt(x * x + y * y + z * z)
        inv = 1.0 / f if f > 0.0 else 0.0
        j[i] = -x * inv
        j[ROW + i] = -y * inv
        j[2 * ROW + i] = -z * inv
        j[3 * ROW + i] = -1.0
        j[4 * ROW + i] = f - radius


@inner
def cylinder_rows(q, m, radius, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, tilt_u, tilt_v, radius."""
    for i in range(m):
        x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
        f = math.sqrt(x * x + y * y)
        inv = 1.0 / f if f > 0.0 else 0.0
        nx, ny = x * inv, y * inv
        j[i] = -nx
        j[ROW + i] = -ny
        j[2 * ROW + i] = -g * nx
        j[3 * ROW + i] = -g * ny
        j[4 * ROW + i] = -1.0
        j[5 * ROW + i] = f - radius


@inner
def cone_rows(q, m, radius, half_angle, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, tilt_u, tilt_v, radius, half_angle. The radius grows along +w for a positive
    half-angle."""
    c = math.cos(half_angle)
    s = math.sin(half_angle)
    for i in range(m):
        x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
        f = math.sqrt(x * x + y * y)
        inv = 1.0 / f if f > 0.0 else 0.0
        nx, ny = x * inv, y * inv
        e = f - radius
        j[i] = -nx * c
        j[ROW + i] = -ny * c
        j[2 * ROW + i] = -g * nx * c - x * s
        j[3 * ROW + i] = -g * ny * c - y * s
        j[4 * ROW + i] = -c
        j[5 * ROW + i] = -e * s - g * c
        j[6 * ROW + i] = e * c - g * s


@inner
def torus_rows(q, m, major, minor, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, shift_w, tilt_u, tilt_v, major_radius, minor_radius."""
    for i in range(m):
        x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
        f = math.sqrt(x * x + y * y)
        inv = 1.0 / f if f > 0.0 else 0.0
        e = f - major
        t = math.sqrt(e * e + g * g)
        tinv = 1.0 / t if t > 0.0 else 0.0
        a = e * tinv  # derivative of the distance with respect to f
        b = g * tinv  # and to g
        nx, ny = x * inv, y * inv
        j[i] = -a * nx
        j[ROW + i] = -a * ny
        j[2 * ROW + i] = -b
        j[3 * ROW + i] = -a * g * nx + b * x
        j[4 * ROW + i] = -a * g * ny + b * y
        j[5 * ROW + i] = -a
        j[6 * ROW + i] = -1.0
        j[7 * ROW + i] = t - minor


@inner
def ellipse_foot(px, py, a, b, foot):  # type: ignore[no-untyped-def]
    """Signed distance of (px, py) to the ellipse x^2/a^2 + y^2/b^2 = 1; foot[0:4] = foot point and outward unit normal.

    The foot is the root t of (a x/(t+a^2))^2 + (b y/(t+b^2))^2 = 1 on t > -min(a, b)^2, where the left side is convex
    and falls: Newton from its left never overshoots.
    """
    swap = a < b
    x, y = abs(px), abs(py)
    if swap:
        x, y = y, x
        a, b = b, a
    a2, b2 = a * a, b * b
    if y == 0.0 and x < (a2 - b2) / a:
        # between the evolute's cusps on the major axis: two feet, take the one with y > 0
        fx = a2 * x / (a2 - b2)
        fy = b * math.sqrt(max(0.0, 1.0 - (fx / a) * (fx / a)))
        nx, ny = fx / a2, fy / b2
        norm = math.sqrt(nx * nx + ny * ny)
        nx, ny = nx / norm, ny / norm
        d = -math.sqrt((x - fx) * (x - fx) + fy * fy)
    elif x == 0.0 and y == 0.0:
        fx, fy, nx, ny = 0.0, b, 0.0, 1.0
        d = -b
    else:
        t = max(b * y - b2, a * x - a2)
        for _ in range(60):
            u = a * x / (t + a2)
            v = b * y / (t + b2)
            value = u * u + v * v - 1.0
            slope = -2.0 * (u * u / (t + a2) + v * v / (t + b2))
            step = value / slope
            if not value > 0.0:
                break
            t -= step
            if abs(step) <= 1e-16 * (abs(t) + 1e-3 * b2):
                break
        nx = x / (t + a2)
        ny = y / (t + b2)
        fx, fy = a2 * nx, b2 * ny
        norm = math.sqrt(nx * nx + ny * ny)
        d = t * norm
        nx, ny = nx / norm, ny / norm
    if swap:
        fx, fy = fy, fx
        nx, ny = ny, nx
    foot[0] = -fx if px < 0.0 else fx
    foot[1] = -fy if py < 0.0 else fy
    foot[2] = -nx if px < 0.0 else nx
    foot[3] = -ny if py < 0.0 else ny
    return d


@inner
def ellipse_rows(q, m, semi_u, semi_v, foot, j):  # type: ignore[no-untyped-def]
    """Chart: shift_u, shift_v, shift_w, tilt_u, tilt_v, rotation, semi_major, semi_minor."""
    for i in range(m):
        x, y, g = q[i], q[ROW + i], q[2 * ROW + i]
        d = ellipse_foot(x, y, semi_u, semi_v, foot)
        fx, fy, nx, ny = foot[0], foot[1], foot[2], foot[3]
        j[i] = -nx
        j[ROW + i] = -ny
        j[2 * ROW + i] = 0.0
        j[3 * ROW + i] = -g * nx
        j[4 * ROW + i] = -g * ny
        j[5 * ROW + i] = nx * fy - ny * fx
        j[6 * ROW + i] = -nx * fx / semi_u
        j[7 * ROW + i] = -ny * fy / semi_v
        j[8 * ROW + i] = d
        j[ROWS2 * ROW + i] = 0.0
        j[(ROWS2 + 1) * ROW + i] = 0.0
        j[(ROWS2 + 2) * ROW + i] = -1.0
        j[(ROWS2 + 3) * ROW + i] = x
        j[(ROWS2 + 4) * ROW + i] = y
        j[(ROWS2 + 5) * ROW + i] = 0.0
        j[(ROWS2 + 6) * ROW + i] = 0.0
        j[(ROWS2 + 7) * ROW + i] = 0.0
        j[(ROWS2 + 8) * ROW + i] = g
