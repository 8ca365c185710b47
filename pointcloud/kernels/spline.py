"""Foot points on rational B-spline curves and surfaces by Newton's method, from a start near them.

Values and derivatives are those of `metrology_core.kernels.bspline`. Degrees below 25 (work arrays).
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.bspline import curve_at, surface_at

DEGREES = 25
_ROUNDS = 60


@inner
def into(t, low, high, closed):  # type: ignore[no-untyped-def]
    """Parameter brought back into its range: around for closed directions, to the end for open ones."""
    if closed:
        period = high - low
        t = t - period * math.floor((t - low) / period)
    return low if t < low else (high if t > high else t)


@kernel
def surface_feet(  # type: ignore[no-untyped-def]
    points, ku, kv, pu, pv, poles, closed_u, closed_v, start, stop, uv, feet, normals, good, bu, bv, work, home, d
):
    """Feet from the starts in `uv` (improved in place), unit normals Su x Sv, and whether Newton settled."""
    u0, u1 = ku[pu], ku[len(ku) - 1 - pu]
    v0, v1 = kv[pv], kv[len(kv) - 1 - pv]
    for i in range(start, stop):
        u, v = into(uv[i, 0], u0, u1, closed_u), into(uv[i, 1], v0, v1, closed_v)
        surface_at(ku, kv, pu, pv, poles, u, v, bu, bv, work, home, d)
        settled = False
        for _ in range(_ROUNDS):
            rx, ry, rz = d[0, 0] - points[i, 0], d[0, 1] - points[i, 1], d[0, 2] - points[i, 2]
            cost = rx * rx + ry * ry + rz * rz
            gu = d[1, 0] * rx + d[1, 1] * ry + d[1, 2] * rz
            gv = d[2, 0] * rx + d[2, 1] * ry + d[2, 2] * rz
            e = d[1, 0] ** 2 + d[1, 1] ** 2 + d[1, 2] ** 2
            f = d[1, 0] * d[2, 0] + d[1, 1] * d[2, 1] + d[1, 2] * d[2, 2]
            g = d[2, 0] ** 2 + d[2, 1] ** 2 + d[2, 2] ** 2
            a = e + d[3, 0] * rx + d[3, 1] * ry + d[3, 2] * rz
            b = f + d[4, 0] * rx + d[4, 1] * ry + d[4, 2] * rz
            c = g + d[5, 0] * rx + d[5, 1] * ry + d[5, 2] * rz
            # a direction that leads out of an open range is taken out of the step
            fixed_u = not closed_u and ((u <= u0 and gu > 0.0) or (u >= u1 and gu < 0.0))
            fixed_v = not closed_v and ((v <= v0 and gv > 0.0) or (v >= v1 and gv < 0.0))
            if not (a > 0.0 and c > 0.0 and a * c - b * b > 1e-12 * a * c):
                a, b, c = e, f, g
                if a * c - b * b <= 1e-14 * a * c:
                    b = 0.0
            if fixed_u and fixed_v:
                settled = True
                break
            if fixed_u:
                su, sv = 0.0, -gv / c if c > 0.0 else 0.0
            elif fixed_v:
                su, sv = -gu / a if a > 0.0 else 0.0, 0.0
            else:
                det = a * c - b * b
                if not det > 0.0:
                    break
                su, sv = (b * gv - c * gu) / det, (b * gu - a * gv) / det
            size = e * su * su + 2.0 * f * su * sv + g * sv * sv
            scale = points[i, 0] ** 2 + points[i, 1] ** 2 + points[i, 2] ** 2 + cost + e * 1e-300
            # steps below 1e-14 of the coordinates are rounding; they may go on for ever within 1e-11
            settled = size <= 1e-22 * scale
            if size <= 1e-28 * scale:
                break
            share = 1.0
            while True:
                nu, nv = into(u + share * su, u0, u1, closed_u), into(v + share * sv, v0, v1, closed_v)
                surface_at(ku, kv, pu, pv, poles, nu, nv, bu, bv, work, home, d)
                trial = (d[0, 0] - points[i, 0]) ** 2 + (d[0, 1] - points[i, 1]) ** 2 + (d[0, 2] - points[i, 2]) ** 2
                # small steps are Newton's own: the cost cannot tell them from rounding
                if trial <= cost or size <= 1e-10 * scale:
                    u, v = nu, nv
                    break
                share *= 0.5
                if share < 1e-6:
                    break
            if share < 1e-6:
                surface_at(ku, kv, pu, pv, poles, u, v, bu, bv, work, home, d)
                settled = size <= 1e-20 * scale
                break
        uv[i, 0], uv[i, 1] = u, v
        nx = d[1, 1] * d[2, 2] - d[1, 2] * d[2, 1]
        ny = d[1, 2] * d[2, 0] - d[1, 0] * d[2, 2]
        nz = d[1, 0] * d[2, 1] - d[1, 1] * d[2, 0]
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        good[i] = settled and length > 0.0
        for k in range(3):
            feet[i, k] = d[0, k]
        normals[i, 0] = nx / length if length > 0.0 else np.nan
        normals[i, 1] = ny / length if length > 0.0 else np.nan
        normals[i, 2] = nz / length if length > 0.0 else np.nan


@kernel
def curve_feet(points, curve, knots, poles, table, start, stop, t, feet, tangents, ends, b, work, home, d):  # type: ignore[no-untyped-def]
    """Feet on the curves named by curve[i] from the parameters t (improved in place), tangents C', and ends: -1 at the
    start, 1 at the end of an open curve, 0 between. Rows of the table: degree, first pole, poles, first knot, closed.
    """
    for i in range(start, stop):
        degree, p0, count, k0, closed = (
            table[curve[i], 0], table[curve[i], 1], table[curve[i], 2], table[curve[i], 3], table[curve[i], 4] != 0,
        )  # fmt: skip
        own = knots[k0 : k0 + count + degree + 1]
        control = poles[p0 : p0 + count]
        low, high = own[degree], own[count]
        x = into(t[i], low, high, closed)
        curve_at(own, degree, control, x, b, work, home, d)
        for _ in range(_ROUNDS):
            rx, ry, rz = d[0, 0] - points[i, 0], d[0, 1] - points[i, 1], d[0, 2] - points[i, 2]
            cost = rx * rx + ry * ry + rz * rz
            g = d[1, 0] * rx + d[1, 1] * ry + d[1, 2] * rz
            e = d[1, 0] ** 2 + d[1, 1] ** 2 + d[1, 2] ** 2
            h = e + d[2, 0] * rx + d[2, 1] * ry + d[2, 2] * rz
            if not h > 1e-6 * e:
                h = e
            if h <= 0.0 or (not closed and ((x <= low and g > 0.0) or (x >= high and g < 0.0))):
                break
            step = -g / h
            scale = points[i, 0] ** 2 + points[i, 1] ** 2 + points[i, 2] ** 2 + cost
            if e * step * step <= 1e-28 * scale:
                break
            share = 1.0
            while share > 1e-6:
                trial = into(x + share * step, low, high, closed)
                curve_at(own, degree, control, trial, b, work, home, d)
                value = (d[0, 0] - points[i, 0]) ** 2 + (d[0, 1] - points[i, 1]) ** 2 + (d[0, 2] - points[i, 2]) ** 2
                if value <= cost or e * step * step <= 1e-10 * scale:
                    x = trial
                    break
                share *= 0.5
            if share <= 1e-6:
                curve_at(own, degree, control, x, b, work, home, d)
                break
        t[i] = x
        ends[i] = 0 if closed else (-1 if x <= low else (1 if x >= high else 0))
        for k in range(3):
            feet[i, k] = d[0, k]
            tangents[i, k] = d[1, k]
