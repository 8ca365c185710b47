"""B-splines: values and derivatives, closest points on curves and surfaces.

Control points are homogeneous (w x, w y, ..., w), so that polynomial and rational splines take one path. Basis: de Boor
and Cox's recurrence; derivatives by differences of the basis of lower degree.
"""

from __future__ import annotations

import numpy as np

from metrology_core._jit import inner, kernel

MAX_DEGREE = 9
_ROUNDS = 50


@inner
def span_of(knots, p, n, t):  # type: ignore[no-untyped-def]
    """Index s with knots[s] <= t < knots[s + 1], within the domain of n control points."""
    low, high = p, n
    if t >= knots[n]:
        low = n - 1
        while low > p and knots[low] >= knots[n]:
            low -= 1
        return low
    while high - low > 1:
        middle = (low + high) >> 1
        if t < knots[middle]:
            high = middle
        else:
            low = middle
    return low


@inner
def basis(knots, p, s, t, out):  # type: ignore[no-untyped-def]
    """The p + 1 basis functions of degree p that are not zero on span s, at t."""
    out[0] = 1.0
    for j in range(1, p + 1):
        saved = 0.0
        for r in range(j):
            right, left = knots[s + r + 1], knots[s + 1 - j + r]
            share = out[r] / (right - left)
            out[r] = saved + (right - t) * share
            saved = (t - left) * share
        out[j] = saved


@inner
def raised(knots, k, s, low, out):  # type: ignore[no-untyped-def]
    """Derivatives of the basis of degree k from values (or derivatives) of that of degree k - 1."""
    for r in range(k + 1):
        i = s - k + r
        value = 0.0
        if r > 0:
            value += low[r - 1] / (knots[i + k] - knots[i])
        if r < k:
            value -= low[r] / (knots[i + k + 1] - knots[i + 1])
        out[r] = k * value


@inner
def all_basis(knots, p, s, t, out, work):  # type: ignore[no-untyped-def]
    """Rows 0, 1, 2 of out: values, first and second derivatives of the basis."""
    basis(knots, p, s, t, out[0])
    for r in range(p + 1):
        out[1, r] = 0.0
        out[2, r] = 0.0
    if p > 0:
        basis(knots, p - 1, s, t, work[0])
        raised(knots, p, s, work[0], out[1])
    if p > 1:
        basis(knots, p - 2, s, t, work[0])
        raised(knots, p - 1, s, work[0], work[1])
        raised(knots, p, s, work[1], out[2])


@inner
def curve_at(knots, p, control, t, table, work, home, out):  # type: ignore[no-untyped-def]
    """Point, first and second derivative into rows of out (3, d)."""
    n, d = control.shape[0], control.shape[1] - 1
    s = span_of(knots, p, n, t)
    all_basis(knots, p, s, t, table, work)
    for k in range(3):
        for c in range(d + 1):
            total = 0.0
            for r in range(p + 1):
                total += table[k, r] * control[s - p + r, c]
            home[k, c] = total
    w, w1, w2 = home[0, d], home[1, d], home[2, d]
    for c in range(d):
        x = home[0, c] / w
        x1 = (home[1, c] - w1 * x) / w
        out[0, c] = x
        out[1, c] = x1
        out[2, c] = (home[2, c] - 2.0 * w1 * x1 - w2 * x) / w


@kernel
def curve_values(knots, p, control, t, out):  # type: ignore[no-untyped-def]
    """out (m, 3, d): point and two derivatives at each t."""
    table, work = np.empty((3, MAX_DEGREE + 1)), np.empty((2, MAX_DEGREE + 1))
    home = np.empty((3, control.shape[1]))
    for i in range(t.shape[0]):
        curve_at(knots, p, control, t[i], table, work, home, out[i])


@inner
def _root(knots, p, control, x, a, b, t, table, work, home, at):  # type: ignore[no-untyped-def]
    """Stationary distance between a and b: Newton, bisection where it leaves the bracket; the squared distance."""
    d = x.shape[0]
    square = 0.0
    last = np.inf
    for _ in range(_ROUNDS):
        curve_at(knots, p, control, t, table, work, home, at)
        g = 0.0
        slope = 0.0
        square = 0.0
        for c in range(d):
            e = at[0, c] - x[c]
            g += e * at[1, c]
            slope += at[1, c] * at[1, c] + e * at[2, c]
            square += e * e
        if g > 0.0:
            b = t
        elif g < 0.0:
            a = t
        else:
            break
        new = t - g / slope if slope > 0.0 else 0.5 * (a + b)
        if not (new > a and new < b):
            new = 0.5 * (a + b)
        step = abs(new - t)
        if step <= 4e-16 * (abs(t) + abs(b - a)) or (step >= last and step <= 1e-13 * abs(b - a)) or not b > a:
            break
        last = step
        t = new
    return t, square


@kernel
def curve_feet(knots, p, control, ts, samples, tangents, lengths, points, start, stop, t_out, foot, starts):  # type: ignore[no-untyped-def]
    """Closest points: t_out (n,), foot (n, 3, d): point and derivatives there; starts (n,): intervals searched.

    ts (m,), samples, tangents (m, d): a table along the curve, first and last at the ends of the domain; lengths
    (m - 1,): upper bounds of the arc between them. An interval can hold the closest point only where (d_a + d_b -
    length) / 2 is below the best distance known, and a minimum only where the distance falls at its begin and rises at
    its end (the table is dense against the curvature): all of these are searched, the nearest first.
    """
    m, d = samples.shape
    table, work = np.empty((3, MAX_DEGREE + 1)), np.empty((2, MAX_DEGREE + 1))
    home, at, x = np.empty((3, d + 1)), np.empty((3, d)), np.empty(d)
    away, slope = np.empty(m), np.empty(m)
    for i in range(start, stop):
        for c in range(d):
            x[c] = points[i, c]
        best = np.inf
        where = 0
        for k in range(m):
            square = 0.0
            for c in range(d):
                e = samples[k, c] - x[c]
                square += e * e
            away[k] = square
            rise = 0.0
            for c in range(d):
                rise += (samples[k, c] - x[c]) * tangents[k, c]
            slope[k] = rise
            if square < best:
                best = square
                where = k
        for k in range(m):
            away[k] = np.sqrt(away[k])
        t_best = ts[where]
        count = 0
        for turn in range(2):
            first = max(where - 1, 0) if turn == 0 else 0
            last = min(where + 1, m - 1) if turn == 0 else m - 1
            for k in range(first, last):
                if turn == 1 and (k == where - 1 or k == where):
                    continue
                if turn == 1 and (slope[k] > 0.0 or slope[k + 1] < 0.0):
                    continue
                if 0.5 * (away[k] + away[k + 1] - lengths[k]) > np.sqrt(best):
                    continue
                count += 1
                share = 0.5 + 0.5 * min(1.0, max(-1.0, (away[k] - away[k + 1]) / lengths[k]))
                t, square = _root(
                    knots, p, control, x, ts[k], ts[k + 1], ts[k] + share * (ts[k + 1] - ts[k]), table, work, home, at
                )
                if square < best:
                    best = square
                    t_best = t
        curve_at(knots, p, control, t_best, table, work, home, at)
        t_out[i] = t_best
        starts[i] = count
        for k in range(3):
            for c in range(d):
                foot[i, k, c] = at[k, c]


@inner
def surface_at(ku, kv, p, q, control, u, v, bu, bv, work, home, out):  # type: ignore[no-untyped-def]
    """S, S_u, S_v, S_uu, S_uv, S_vv into rows of out (6, 3); control (n, m, 4)."""
    s, r = span_of(ku, p, control.shape[0], u), span_of(kv, q, control.shape[1], v)
    all_basis(ku, p, s, u, bu, work)
    all_basis(kv, q, r, v, bv, work)
    for k in range(6):
        for c in range(4):
            home[k, c] = 0.0
    for i in range(p + 1):
        for c in range(4):
            a0 = 0.0
            a1 = 0.0
            a2 = 0.0
            for j in range(q + 1):
                value = control[s - p + i, r - q + j, c]
                a0 += bv[0, j] * value
                a1 += bv[1, j] * value
                a2 += bv[2, j] * value
            home[0, c] += bu[0, i] * a0
            home[1, c] += bu[1, i] * a0
            home[2, c] += bu[0, i] * a1
            home[3, c] += bu[2, i] * a0
            home[4, c] += bu[1, i] * a1
            home[5, c] += bu[0, i] * a2
    w, wu, wv, wuu, wuv, wvv = home[0, 3], home[1, 3], home[2, 3], home[3, 3], home[4, 3], home[5, 3]
    for c in range(3):
        x = home[0, c] / w
        xu = (home[1, c] - wu * x) / w
        xv = (home[2, c] - wv * x) / w
        out[0, c] = x
        out[1, c] = xu
        out[2, c] = xv
        out[3, c] = (home[3, c] - 2.0 * wu * xu - wuu * x) / w
        out[4, c] = (home[4, c] - wu * xv - wv * xu - wuv * x) / w
        out[5, c] = (home[5, c] - 2.0 * wv * xv - wvv * x) / w


@kernel
def surface_values(ku, kv, p, q, control, uv, out):  # type: ignore[no-untyped-def]
    """out (m, 6, 3) at each (u, v)."""
    bu, bv = np.empty((3, MAX_DEGREE + 1)), np.empty((3, MAX_DEGREE + 1))
    work, home = np.empty((2, MAX_DEGREE + 1)), np.empty((6, 4))
    for i in range(uv.shape[0]):
        surface_at(ku, kv, p, q, control, uv[i, 0], uv[i, 1], bu, bv, work, home, out[i])


@inner
def _square(at, x):  # type: ignore[no-untyped-def]
    e0, e1, e2 = at[0, 0] - x[0], at[0, 1] - x[1], at[0, 2] - x[2]
    return e0 * e0 + e1 * e1 + e2 * e2


@inner
def _descend(ku, kv, p, q, control, x, u, v, bu, bv, work, home, at):  # type: ignore[no-untyped-def]
    """Local minimum of the distance from (u, v): Newton with clamped edges, Gauss-Newton where it is not convex."""
    u0, u1, v0, v1 = ku[p], ku[control.shape[0]], kv[q], kv[control.shape[1]]
    surface_at(ku, kv, p, q, control, u, v, bu, bv, work, home, at)
    f = _square(at, x)
    for _ in range(_ROUNDS):
        gu = 0.0
        gv = 0.0
        huu = 0.0
        huv = 0.0
        hvv = 0.0
        auu = 0.0
        auv = 0.0
        avv = 0.0
        for c in range(3):
            e = at[0, c] - x[c]
            gu += e * at[1, c]
            gv += e * at[2, c]
            auu += at[1, c] * at[1, c]
            auv += at[1, c] * at[2, c]
            avv += at[2, c] * at[2, c]
            huu += e * at[3, c]
            huv += e * at[4, c]
            hvv += e * at[5, c]
        huu, huv, hvv = huu + auu, huv + auv, hvv + avv
        if not (huu > 0.0 and huu * hvv - huv * huv > 1e-3 * auu * avv):
            huu, huv, hvv = auu * (1.0 + 1e-9), auv, avv * (1.0 + 1e-9)
        fixed_u = (u <= u0 and gu > 0.0) or (u >= u1 and gu < 0.0)
        fixed_v = (v <= v0 and gv > 0.0) or (v >= v1 and gv < 0.0)
        du = 0.0
        dv = 0.0
        if fixed_u and not fixed_v:
            dv = -gv / hvv
        elif fixed_v and not fixed_u:
            du = -gu / huu
        elif not fixed_u and not fixed_v:
            det = huu * hvv - huv * huv
            du = (huv * gv - hvv * gu) / det
            dv = (huv * gu - huu * gv) / det
        a, b = min(max(u + du, u0), u1), min(max(v + dv, v0), v1)
        if abs(a - u) <= 1e-15 * (u1 - u0) and abs(b - v) <= 1e-15 * (v1 - v0):
            return u, v, f
        share = 1.0
        better = False
        for _ in range(40):
            nu, nv = u + share * (a - u), v + share * (b - v)
            surface_at(ku, kv, p, q, control, nu, nv, bu, bv, work, home, at)
            new = _square(at, x)
            # near the end the squares are equal to rounding and Newton's step is the better judge
            if new <= f * (1.0 + 4e-16):
                better = True
                break
            share *= 0.5
        if not better:
            surface_at(ku, kv, p, q, control, u, v, bu, bv, work, home, at)
            return u, v, f
        small = abs(nu - u) <= 1e-9 * (u1 - u0) and abs(nv - v) <= 1e-9 * (v1 - v0)
        u, v, f = nu, nv, new
        if small:  # quadratic convergence: this step was the last that matters
            return u, v, f
    return u, v, f


@kernel
def surface_feet(ku, kv, p, q, control, us, vs, grid, centres, radii, block, points, start, stop, uv, foot, starts):  # type: ignore[no-untyped-def]
    """Closest points: uv (n, 2), foot (n, 6, 3) with derivatives; starts (n,): local minima that were followed.

    grid (a, b, 3): samples at us, vs; blocks of block x block cells lie in balls (centres, radii). Every local minimum
    of the samples in a block that can hold a point nearer than the best known is followed by Newton's method.
    """
    a, b = us.shape[0], vs.shape[0]
    nb = centres.shape[1]
    bu, bv = np.empty((3, MAX_DEGREE + 1)), np.empty((3, MAX_DEGREE + 1))
    work, home, at = np.empty((2, MAX_DEGREE + 1)), np.empty((6, 4)), np.empty((6, 3))
    x = np.empty(3)
    blocks = centres.shape[0] * nb
    bound = np.empty(blocks)
    for i in range(start, stop):
        for c in range(3):
            x[c] = points[i, c]
        best = np.inf
        bu_, bv_ = us[0], vs[0]
        for k in range(blocks):
            e0, e1, e2 = (centres[k // nb, k % nb, 0] - x[0], centres[k // nb, k % nb, 1] - x[1],
                          centres[k // nb, k % nb, 2] - x[2])  # fmt: skip
            bound[k] = max(0.0, np.sqrt(e0 * e0 + e1 * e1 + e2 * e2) - radii[k // nb, k % nb])
        count = 0
        for _ in range(blocks):
            k = 0
            for j in range(1, blocks):
                if bound[j] < bound[k]:
                    k = j
            if not bound[k] * bound[k] < best:
                break
            bound[k] = np.inf
            r0, c0 = (k // nb) * block, (k % nb) * block
            for r in range(r0, min(r0 + block + 1, a)):
                for s in range(c0, min(c0 + block + 1, b)):
                    f = (grid[r, s, 0] - x[0]) ** 2 + (grid[r, s, 1] - x[1]) ** 2 + (grid[r, s, 2] - x[2]) ** 2
                    lowest = True
                    for dr in range(-1, 2):
                        for ds in range(-1, 2):
                            rr, ss = r + dr, s + ds
                            if rr < 0 or ss < 0 or rr >= a or ss >= b:
                                continue
                            g = (
                                (grid[rr, ss, 0] - x[0]) ** 2
                                + (grid[rr, ss, 1] - x[1]) ** 2
                                + (grid[rr, ss, 2] - x[2]) ** 2
                            )
                            if g < f:
                                lowest = False
                    if lowest:
                        count += 1
                        u, v, f = _descend(ku, kv, p, q, control, x, us[r], vs[s], bu, bv, work, home, at)
                        if f < best:
                            best, bu_, bv_ = f, u, v
        surface_at(ku, kv, p, q, control, bu_, bv_, bu, bv, work, home, at)
        uv[i, 0] = bu_
        uv[i, 1] = bv_
        starts[i] = count
        for k in range(6):
            for c in range(3):
                foot[i, k, c] = at[k, c]


__all__ = ["MAX_DEGREE", "curve_feet", "curve_values", "surface_feet", "surface_values"]
