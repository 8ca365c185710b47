"""Minimax fits on a working set of points: min over the feature of max_i s_i d_i, to double precision.

Sequential linear programming with a trust region identifies the contacts; where fewer contacts than unknowns + 1 hold
the solution, curvature decides and an equality-constrained Newton step on the optimality conditions takes over; the
same Newton iteration, free of any comparison of objective values, ends every solution (R. Fletcher and E. Sainz de la
Maza, Math. Program. 43 (1989) 235 for the combination). Residuals are divided by the current zone, so tiny zones are
as exact as large ones.
"""

from __future__ import annotations

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.descent import retract
from metrology_core.kernels.layout import CONE, N_SIZES, POSE
from metrology_core.kernels.minimax_lp import (
    LP_SINGULAR,
    lp_exchange,
    lu_factor,
    lu_solve,
)
from metrology_core.kernels.minimax_rows import RADIAL, all_distances, extremes_by_cell, subset_rows, summarise

MAX_CONTACTS = 9
# results in info
I_H, I_STATUS, I_ITERATIONS, I_CONTACTS, I_STEP, I_LP, I_EXCESS, I_MOVED = range(8)
N_INFO = 8
MM_CONVERGED, MM_EXACT, MM_STALLED, MM_UNBOUNDED = 0, 1, 2, 3
_EPS = 2.220446049250313e-16


@kernel
def reference_size(kind, pose):  # type: ignore[no-untyped-def]
    """Length whose rounding limits distances: the extent of the data (about 1), or the feature's size and place if
    larger.
    """
    size = 0.5
    for k in range(3):
        size = max(size, abs(pose[k]))
    for k in range(N_SIZES[kind]):
        if not (kind == CONE and k == 1):
            size = max(size, abs(pose[12 + k]))
    return size


@inner
def worst_side(c, m, plus, minus):  # type: ignore[no-untyped-def]
    h = -np.inf
    for i in range(m):
        if plus and c[i] > h:
            h = c[i]
        if minus and -c[i] > h:
            h = -c[i]
    return h


@kernel
def moved_pose(kind, pose, delta, centroid, out):  # type: ignore[no-untyped-def]
    """`retract`, for Python."""
    retract(kind, pose, delta, centroid, out)


@inner
def displaced(kind, pose, columns, nf, step, centroid, delta, out):  # type: ignore[no-untyped-def]
    """The pose moved by a step in the free columns."""
    delta[:] = 0.0
    for j in range(nf):
        delta[columns[j]] = step[j]
    retract(kind, pose, delta, centroid, out)


@kernel
def lagrangian_hessian(kind, law, touch, k, signs, lam, pose, centroid, columns, nf, zone, hess):  # type: ignore[no-untyped-def]
    """Second derivatives (nf, nf) of sum lam_i s_i d_i by central differences of the exact gradients.

    The tangent frame moves with the pose; the terms this adds are multiples of the gradient, which is zero at the
    solution.
    """
    c = np.empty(k)
    at = np.empty((nf, k))
    up = np.empty(nf)
    step = np.zeros(nf)
    delta = np.zeros(9)
    trial = np.empty(POSE)
    e = 1e-4 * min(zone, 0.1) if law == RADIAL else 1e-5
    for j in range(nf):
        for side in range(2):
            step[:] = 0.0
            step[j] = e if side == 0 else -e
            displaced(kind, pose, columns, nf, step, centroid, delta, trial)
            subset_rows(kind, law, touch[:k], trial, columns, nf, c, at)
            for a in range(nf):
                s = 0.0
                for i in range(k):
                    s += lam[i] * signs[i] * at[a, i]
                if side == 0:
                    up[a] = s
                else:
                    hess[a, j] = (up[a] - s) / (2.0 * e)
    for a in range(nf):
        for b in range(a):
            t = 0.5 * (hess[a, b] + hess[b, a])
            hess[a, b] = t
            hess[b, a] = t


@inner
def newton_kkt(nf, k, c, at, signs, hess, zone, step, lam):  # type: ignore[no-untyped-def]
    """One Newton step on the optimality conditions of k contacts; returns the predicted h, NaN where singular."""
    n = nf + k + 1
    a = np.zeros((n, n))
    b = np.zeros(n)
    x = np.empty(n)
    perm = np.empty(n, np.int64)
    for r in range(nf):
        for q in range(nf):
            a[r, q] = hess[r, q] * zone
        for i in range(k):
            a[r, nf + i] = signs[i] * at[r, i]
            a[nf + i, r] = signs[i] * at[r, i]
    for i in range(k):
        a[nf + i, n - 1] = -1.0
        a[n - 1, nf + i] = -1.0
        b[nf + i] = -signs[i] * c[i] / zone
    b[n - 1] = -1.0
    if not lu_factor(a, n, perm):
        return np.nan
    lu_solve(a, n, perm, b, x)
    for r in range(nf):
        step[r] = x[r] * zone
    for i in range(k):
        lam[i] = x[nf + i]
    return x[n - 1] * zone


@inner
def gather(basis, mult, size, xyz, ids, signs, lam, touch):  # type: ignore[no-untyped-def]
    """Contacts of the linear program's answer: constraints of points with a positive multiplier. Returns their
    number.
    """
    k = 0
    for i in range(size):
        if basis[i] >= 0 and mult[i] > 1e-8:
            ids[k] = basis[i] >> 1
            signs[k] = -1.0 if basis[i] & 1 else 1.0
            lam[k] = mult[i]
            for a in range(3):
                touch[k, a] = xyz[ids[k], a]
            k += 1
    return k


@inner
def finish(kind, law, xyz, touch, k, signs, lam, pose, centroid, columns, nf, plus, minus, zone, c, at, info):  # type: ignore[no-untyped-def]
    """Newton on the contacts until the steps are rounding; pose and lam change. True where all conditions hold."""
    ref = reference_size(kind, pose)
    cc = np.empty(k)
    ac = np.empty((nf, k))
    hess = np.empty((nf, nf))
    step = np.zeros(nf)
    delta = np.zeros(9)
    trial = np.empty(POSE)
    best = np.empty(POSE)
    best_lam = np.empty(k)
    best_size = np.inf
    previous = np.inf
    for it in range(25):
        subset_rows(kind, law, touch[:k], pose, columns, nf, cc, ac)
        lagrangian_hessian(kind, law, touch, k, signs, lam, pose, centroid, columns, nf, zone, hess)
        h = newton_kkt(nf, k, cc, ac, signs, hess, zone, step, lam)
        size = 0.0
        for j in range(nf):
            size = max(size, abs(step[j]))
        if not (size < 1.0 and h == h):
            break
        if size <= best_size:
            best_size = size
            best[:] = pose
            for i in range(k):
                best_lam[i] = lam[i]
        if size <= 0.5 * _EPS * ref or (it >= 2 and size < 1e-7 and size >= 0.5 * previous):
            break
        previous = size
        displaced(kind, pose, columns, nf, step, centroid, delta, trial)
        pose[:] = trial
    info[I_STEP] = best_size
    if not best_size < 1e-3:
        return False
    pose[:] = best
    least = np.inf
    for i in range(k):
        lam[i] = best_lam[i]
        least = min(least, lam[i])
    subset_rows(kind, law, touch[:k], pose, columns, nf, cc, ac)
    h = -np.inf
    for i in range(k):
        h = max(h, signs[i] * cc[i])
    subset_rows(kind, law, xyz, pose, columns, nf, c, at)
    worst = worst_side(c, xyz.shape[0], plus, minus)
    info[I_H] = worst
    info[I_EXCESS] = worst - h
    # the step must be small against what the contacts can tell, the multipliers those of a minimum
    return least > -1e-9 and worst - h <= 1e-12 * zone + 4.0 * _EPS * ref


@kernel
def linear_program(at, c, plus, minus, box, basis, mult, z):  # type: ignore[no-untyped-def]
    """`lp_exchange`, for Python."""
    return lp_exchange(at, c, c.shape[0], at.shape[0], plus, minus, box, basis, mult, z, np.empty(c.shape[0]))


@kernel
def least_push(rows):  # type: ignore[no-untyped-def]
    """min over y with |y|_max = 1 of max_i (rows y)_i, rows (m, q): positive where no direction leaves all rows at
    rest.
    """
    m, q = rows.shape
    at = np.empty((q, m))
    c = np.empty(m)
    t = np.empty(m)
    box = np.ones(q)
    basis = np.zeros(q, np.int64)
    mult = np.empty(q)
    z = np.empty(q)
    least = np.inf
    for a in range(q):
        for side in range(2):
            for i in range(m):
                c[i] = rows[i, a] if side == 0 else -rows[i, a]
            k = 0
            for b in range(q):
                if b != a:
                    for i in range(m):
                        at[k, i] = rows[i, b]
                    k += 1
            if q == 1:
                worst = -np.inf
                for i in range(m):
                    worst = max(worst, c[i])
            else:
                if lp_exchange(at, c, m, q - 1, True, False, box, basis, mult, z, t) == LP_SINGULAR:
                    return -1.0
                worst = z[q - 1]
            least = min(least, worst)
    return least


@kernel
def minimise(kind, law, xyz, pose, centroid, columns, nf, plus, minus, trust, ids, signs, lam, info):  # type: ignore[no-untyped-def]
    """Local minimax solution on centred, scaled points xyz from `pose` (changed in place).

    ids, signs, lam (MAX_CONTACTS): contacts as rows of xyz, their sides and multipliers. info: see I_*.
    """
    m = xyz.shape[0]
    size = nf + 1
    c = np.empty(m)
    at = np.empty((nf, m))
    c_trial = np.empty(m)
    at_trial = np.empty((nf, m))
    cn = np.empty(m)
    t = np.empty(m)
    basis = np.zeros(size, np.int64)
    mult = np.empty(size)
    z = np.empty(size)
    box = np.empty(size)
    step = np.zeros(nf)
    delta = np.zeros(9)
    trial = np.empty(POSE)
    second = np.empty(POSE)
    touch = np.empty((MAX_CONTACTS, 3))
    hess = np.empty((nf, nf))
    first = pose.copy()
    info[:] = 0.0
    info[I_STATUS] = MM_STALLED
    subset_rows(kind, law, xyz, pose, columns, nf, c, at)
    h = worst_side(c, m, plus, minus)
    radius = trust
    for attempt in range(6):
        fails = 0
        k = 0
        for _it in range(80):
            info[I_ITERATIONS] += 1.0
            ref = reference_size(kind, pose)
            low = np.inf
            high = -np.inf
            for i in range(m):
                low = min(low, c[i])
                high = max(high, c[i])
            zone = h if (plus and minus) or law == RADIAL else high - low
            if plus != minus and law != RADIAL and not zone > 1e-9 * ref:
                zone = ref  # points on one feature to rounding: the inscribed or circumscribed one may be another
            if not zone > 16.0 * _EPS * ref:
                info[I_H] = h
                info[I_STATUS] = MM_EXACT
                info[I_CONTACTS] = 0.0
                return
            for i in range(m):
                cn[i] = c[i] / zone
            for j in range(nf):
                largest = 0.0
                line = at[j]
                for i in range(m):
                    largest = max(largest, abs(line[i]))
                box[j] = radius / (zone * max(largest, 1e-6))
            status = lp_exchange(at, cn, m, nf, plus, minus, box, basis, mult, z, t)
            info[I_LP] += 1.0
            if status == LP_SINGULAR:
                fails += 1
                radius *= 0.25
                if fails > 12:
                    break
                continue
            predicted = h - z[nf] * zone
            k = gather(basis, mult, size, xyz, ids, signs, lam, touch)
            if predicted <= 1e-13 * zone + 0.5 * _EPS * ref:
                break
            at_box = False
            length = 0.0
            for j in range(nf):
                at_box = at_box or abs(z[j]) >= 0.999 * box[j]
                length = max(length, abs(z[j]) / box[j])
                step[j] = z[j] * zone
            displaced(kind, pose, columns, nf, step, centroid, delta, trial)
            subset_rows(kind, law, xyz, trial, columns, nf, c_trial, at_trial)
            h_trial = worst_side(c_trial, m, plus, minus)
            gain = h - h_trial
            linear_good = gain > 0.7 * predicted
            if k < size and not (linear_good and at_box and radius < 0.1 * zone):
                # fewer contacts than unknowns: ask the curvature
                lagrangian_hessian(kind, law, touch, k, signs, lam, pose, centroid, columns, nf, zone, hess)
                ac = np.empty((nf, k))
                cc = np.empty(k)
                subset_rows(kind, law, touch[:k], pose, columns, nf, cc, ac)
                lam_trial = np.empty(k)
                hk = newton_kkt(nf, k, cc, ac, signs, hess, zone, step, lam_trial)
                if hk == hk:
                    longest = 0.0
                    for j in range(nf):
                        longest = max(longest, abs(step[j]) / (box[j] * zone))
                    if longest > 4.0:
                        for j in range(nf):
                            step[j] *= 4.0 / longest
                    displaced(kind, pose, columns, nf, step, centroid, delta, second)
                    subset_rows(kind, law, xyz, second, columns, nf, c_trial, at_trial)
                    h_second = worst_side(c_trial, m, plus, minus)
                    if h_second < h_trial:
                        h_trial = h_second
                        gain = h - h_second
                        trial[:] = second
                        linear_good = linear_good or gain > 0.5 * predicted
            if gain > 0.05 * predicted or (gain > 0.0 and radius < 1e-3 * zone):
                pose[:] = trial
                subset_rows(kind, law, xyz, pose, columns, nf, c, at)
                h = worst_side(c, m, plus, minus)
                fails = 0
                if linear_good and at_box:
                    radius = min(0.3, 4.0 * radius)
                elif gain < 0.3 * predicted:
                    radius *= 0.3 * max(length, 0.1)
            else:
                fails += 1
                radius *= 0.25 * max(min(length, 1.0), 1e-3)
            moved = 0.0
            for a in range(3):
                moved = max(moved, abs(pose[a] - first[a]))
            info[I_MOVED] = moved
            if (plus != minus) and law != RADIAL and moved > 2.0:
                info[I_STATUS] = MM_UNBOUNDED
                info[I_H] = h
                return
            if fails > 14 or not radius > 1e-16 * ref:
                break
        # The contacts are read from a linear program whose box is wide against rounding and narrow against the zone;
        # which width tells them apart depends on the data, so several are tried. The first one is the program just
        # solved.
        second[:] = pose
        ref = reference_size(kind, pose)
        for width in range(5):
            if width == 0:
                if k < size:
                    continue
            else:
                tight = max(zone * 10.0 ** (1 - 2 * width), 256.0 * _EPS * ref)
                for i in range(m):
                    cn[i] = c[i] / zone
                for j in range(nf):
                    largest = 0.0
                    line = at[j]
                    for i in range(m):
                        largest = max(largest, abs(line[i]))
                    box[j] = tight / (zone * max(largest, 1e-6))
                if lp_exchange(at, cn, m, nf, plus, minus, box, basis, mult, z, t) == LP_SINGULAR:
                    continue
                info[I_LP] += 1.0
                k = gather(basis, mult, size, xyz, ids, signs, lam, touch)
            ok = finish(
                kind,
                law,
                xyz,
                touch,
                k,
                signs,
                lam,
                pose,
                centroid,
                columns,
                nf,
                plus,
                minus,
                zone,
                c_trial,
                at_trial,
                info,
            )
            if ok and info[I_H] <= h + 1e-13 * zone + 2.0 * _EPS * ref:
                info[I_CONTACTS] = k
                info[I_STATUS] = MM_CONVERGED
                return
            pose[:] = second
        # More points touch than hold the solution (symmetric parts): Newton on a part of them may leave in a
        # direction that the others block. The linear program itself then says that the pose is optimal.
        tight = max(1e-3 * zone, 256.0 * _EPS * ref)
        for i in range(m):
            cn[i] = c[i] / zone
        for j in range(nf):
            largest = 0.0
            line = at[j]
            for i in range(m):
                largest = max(largest, abs(line[i]))
            box[j] = tight / (zone * max(largest, 1e-6))
        if lp_exchange(at, cn, m, nf, plus, minus, box, basis, mult, z, t) != LP_SINGULAR:
            k = gather(basis, mult, size, xyz, ids, signs, lam, touch)
            slack = 0.5 if attempt < 3 else 4.0  # first ask for all that rounding allows, then for what it grants
            if h - z[nf] * zone <= 0.2 * slack * 1e-12 * zone + slack * _EPS * ref:
                info[I_H] = h
                info[I_CONTACTS] = k
                info[I_STATUS] = MM_CONVERGED
                return
        info[I_CONTACTS] = k
        radius = max(1e-3 * zone, 1e-12)
    info[I_H] = h


__all__ = [
    "MAX_CONTACTS",
    "N_INFO",
    "all_distances",
    "extremes_by_cell",
    "least_push",
    "lagrangian_hessian",
    "linear_program",
    "minimise",
    "moved_pose",
    "reference_size",
    "subset_rows",
    "summarise",
]
