"""Foot points on rational B-spline curves and surfaces by Newton's method, from a start near them.

Derivatives follow L. Piegl and W. Tiller, The NURBS Book (2nd ed.), A2.3, A3.6, A4.4. Degrees below 25 (work arrays).
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel

DEGREES = 25
_ROUNDS = 60


@inner
def span_of(knots, degree, count, t):  # type: ignore[no-untyped-def]
    """Index of the knot span that holds t."""
    low, high = degree, count
    if t >= knots[count]:
        low = count - 1
        while knots[low] == knots[low + 1] and low > degree:
            low -= 1
        return low
    while high - low > 1:
        mid = (low + high) // 2
        if t < knots[mid]:
            high = mid
        else:
            low = mid
    return low


@inner
def basis(knots, degree, span, t, out, work):  # type: ignore[no-untyped-def]
    """Basis functions and their first two derivatives: out[0..2, 0..degree]."""
    left, right = work[DEGREES], work[DEGREES + 1]
    ndu = work
    ndu[0, 0] = 1.0
    for j in range(1, degree + 1):
        left[j] = t - knots[span + 1 - j]
        right[j] = knots[span + j] - t
        saved = 0.0
        for r in range(j):
            ndu[j, r] = right[r + 1] + left[j - r]
            temp = ndu[r, j - 1] / ndu[j, r] if ndu[j, r] != 0.0 else 0.0
            ndu[r, j] = saved + right[r + 1] * temp
            saved = left[j - r] * temp
        ndu[j, j] = saved
    for j in range(degree + 1):
        out[0, j] = ndu[j, degree]
        out[1, j] = 0.0
        out[2, j] = 0.0
    # derivatives from the lower orders that the triangle holds
    for r in range(degree + 1):
        if degree >= 1:
            d = 0.0
            if r >= 1 and ndu[degree, r - 1] != 0.0:
                d += ndu[r - 1, degree - 1] / ndu[degree, r - 1]
            if r <= degree - 1 and ndu[degree, r] != 0.0:
                d -= ndu[r, degree - 1] / ndu[degree, r]
            out[1, r] = degree * d
        if degree >= 2:
            d = 0.0
            # second difference of the functions of degree - 2
            for k in range(3):
                j = r - 2 + k  # function of degree - 2
                if j < 0 or j > degree - 2:
                    continue
                lower = ndu[j, degree - 2]
                if k == 0:
                    a, b = ndu[degree, r - 1], ndu[degree - 1, r - 2]
                    d += lower / (a * b) if a != 0.0 and b != 0.0 else 0.0
                elif k == 1:
                    c = ndu[degree - 1, r - 1]
                    if c != 0.0:
                        a = ndu[degree, r - 1]
                        b = ndu[degree, r]
                        if a != 0.0:
                            d -= lower / (a * c)
                        if b != 0.0:
                            d -= lower / (b * c)
                else:
                    a, b = ndu[degree, r], ndu[degree - 1, r]
                    d += lower / (a * b) if a != 0.0 and b != 0.0 else 0.0
            out[2, r] = degree * (degree - 1) * d


@inner
def surface_point(ku, kv, pu, pv, poles, u, v, bu, bv, work, out):  # type: ignore[no-untyped-def]
    """Rows of out: S, Su, Sv, Suu, Suv, Svv, from homogeneous poles (nu, nv, 4)."""
    nu, nv = poles.shape[0], poles.shape[1]
    su, sv = span_of(ku, pu, nu, u), span_of(kv, pv, nv, v)
    basis(ku, pu, su, u, bu, work)
    basis(kv, pv, sv, v, bv, work)
    for row in range(6):
        for c in range(4):
            out[row, c] = 0.0
    for i in range(pu + 1):
        for c in range(4):
            s0 = s1 = s2 = 0.0
            for j in range(pv + 1):
                q = poles[su - pu + i, sv - pv + j, c]
                s0 += bv[0, j] * q
                s1 += bv[1, j] * q
                s2 += bv[2, j] * q
            out[0, c] += bu[0, i] * s0
            out[1, c] += bu[1, i] * s0
            out[2, c] += bu[0, i] * s1
            out[3, c] += bu[2, i] * s0
            out[4, c] += bu[1, i] * s1
            out[5, c] += bu[0, i] * s2
    w = out[0, 3]
    wu, wv, wuu, wuv, wvv = out[1, 3], out[2, 3], out[3, 3], out[4, 3], out[5, 3]
    for c in range(3):
        s = out[0, c] / w
        du = (out[1, c] - wu * s) / w
        dv = (out[2, c] - wv * s) / w
        duu = (out[3, c] - 2.0 * wu * du - wuu * s) / w
        duv = (out[4, c] - wu * dv - wv * du - wuv * s) / w
        dvv = (out[5, c] - 2.0 * wv * dv - wvv * s) / w
        out[0, c], out[1, c], out[2, c], out[3, c], out[4, c], out[5, c] = s, du, dv, duu, duv, dvv


@inner
def into(t, low, high, closed):  # type: ignore[no-untyped-def]
    """Parameter brought back into its range: around for closed directions, to the end for open ones."""
    if closed:
        period = high - low
        t = t - period * math.floor((t - low) / period)
    return low if t < low else (high if t > high else t)


@kernel
def surface_feet(  # type: ignore[no-untyped-def]
    points, ku, kv, pu, pv, poles, closed_u, closed_v, start, stop, uv, feet, normals, good, bu, bv, work, d
):
    """Feet from the starts in `uv` (improved in place), unit normals Su x Sv, and whether Newton settled."""
    u0, u1 = ku[pu], ku[len(ku) - 1 - pu]
    v0, v1 = kv[pv], kv[len(kv) - 1 - pv]
    for i in range(start, stop):
        u, v = into(uv[i, 0], u0, u1, closed_u), into(uv[i, 1], v0, v1, closed_v)
        surface_point(ku, kv, pu, pv, poles, u, v, bu, bv, work, d)
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
                surface_point(ku, kv, pu, pv, poles, nu, nv, bu, bv, work, d)
                trial = (d[0, 0] - points[i, 0]) ** 2 + (d[0, 1] - points[i, 1]) ** 2 + (d[0, 2] - points[i, 2]) ** 2
                # small steps are Newton's own: the cost cannot tell them from rounding
                if trial <= cost or size <= 1e-10 * scale:
                    u, v = nu, nv
                    break
                share *= 0.5
                if share < 1e-6:
                    break
            if share < 1e-6:
                surface_point(ku, kv, pu, pv, poles, u, v, bu, bv, work, d)
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


@inner
def curve_point(knots, degree, poles, offset, count, t, b, work, out):  # type: ignore[no-untyped-def]
    """Rows of out: C, C', C'' from homogeneous poles offset..offset + count."""
    span = span_of(knots, degree, count, t)
    basis(knots, degree, span, t, b, work)
    for row in range(3):
        for c in range(4):
            s = 0.0
            for j in range(degree + 1):
                s += b[row, j] * poles[offset + span - degree + j, c]
            out[row, c] = s
    w, w1, w2 = out[0, 3], out[1, 3], out[2, 3]
    for c in range(3):
        s = out[0, c] / w
        d1 = (out[1, c] - w1 * s) / w
        out[2, c] = (out[2, c] - 2.0 * w1 * d1 - w2 * s) / w
        out[0, c], out[1, c] = s, d1


@kernel
def curve_feet(points, curve, knots, poles, table, start, stop, t, feet, tangents, ends, b, work, d):  # type: ignore[no-untyped-def]
    """Feet on the curves named by curve[i] from the parameters t (improved in place), tangents C', and ends: -1 at the
    start, 1 at the end of an open curve, 0 between. Rows of the table: degree, first pole, poles, first knot, closed.
    """
    for i in range(start, stop):
        degree, p0, count, k0, closed = (
            table[curve[i], 0], table[curve[i], 1], table[curve[i], 2], table[curve[i], 3], table[curve[i], 4] != 0,
        )  # fmt: skip
        own = knots[k0 : k0 + count + degree + 1]
        low, high = own[degree], own[count]
        x = into(t[i], low, high, closed)
        curve_point(own, degree, poles, p0, count, x, b, work, d)
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
                curve_point(own, degree, poles, p0, count, trial, b, work, d)
                value = (d[0, 0] - points[i, 0]) ** 2 + (d[0, 1] - points[i, 1]) ** 2 + (d[0, 2] - points[i, 2]) ** 2
                if value <= cost or e * step * step <= 1e-10 * scale:
                    x = trial
                    break
                share *= 0.5
            if share <= 1e-6:
                curve_point(own, degree, poles, p0, count, x, b, work, d)
                break
        t[i] = x
        ends[i] = 0 if closed else (-1 if x <= low else (1 if x >= high else 0))
        for k in range(3):
            feet[i, k] = d[0, k]
            tangents[i, k] = d[1, k]
