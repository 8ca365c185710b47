"""Many small zone fits in one compiled call: per item what `fitting.zone.exchange.solve` and `certify` do for it alone.

An item that is not settled here (no minimum, several, a thick zone, a doubtful proof) is left to the caller.
"""

from __future__ import annotations

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.dense import copy_into, jacobi
from metrology_core.kernels.descent import retract
from metrology_core.kernels.layout import CONE, ELLIPSE, LINE, N_PARAMETERS, N_SIZES, PLANE, POSE, TORUS
from metrology_core.kernels.minimax import (
    I_CONTACTS,
    I_H,
    I_STATUS,
    MAX_CONTACTS,
    MM_CONVERGED,
    MM_EXACT,
    N_INFO,
    lagrangian_hessian,
    minimise,
    reference_size,
)
from metrology_core.kernels.minimax_rows import RADIAL, all_distances, subset_rows, summarise

# numbers of an item, in scaled coordinates
Z_H, Z_HIGH, Z_LOW, Z_GAP, Z_SQUARES, Z_ALONG_LOW, Z_ALONG_HIGH, Z_REACH2 = range(8)
N_ZONE = 8
SETTLED, OPEN = 1, 0
_EPS = 2.220446049250313e-16
_RESIDUAL = 1e-10  # of the optimality condition
_FREE, _HELD = 1e-12, 1e-8  # squared derivatives: a direction of less is free, of more held; between, it is doubtful


@inner
def own_size(kind, pose):  # type: ignore[no-untyped-def]
    """Length that a zone is compared with."""
    if kind == LINE or kind == PLANE:
        return 0.5
    if kind == TORUS:
        return pose[13]
    if kind == ELLIPSE:
        return min(pose[12], pose[13])
    if kind == CONE:
        return max(abs(pose[12]), 1e-3)
    return pose[12]


@inner
def nearest_of_the_best(runs, poses, infos, first, spread):  # type: ignore[no-untyped-def]
    """The run with the smallest zone, among equals that nearest to `first`; -1 where equals are different elements."""
    least = np.inf
    for r in range(runs):
        code = int(infos[r, I_STATUS])
        if code == MM_CONVERGED or code == MM_EXACT:
            least = min(least, infos[r, I_H])
    if not least < np.inf:
        return -1
    limit = least + 1e-10 * spread + 16.0 * _EPS
    best = -1
    closest = np.inf
    for r in range(runs):
        code = int(infos[r, I_STATUS])
        if (code == MM_CONVERGED or code == MM_EXACT) and infos[r, I_H] <= limit:
            away = 0.0
            for a in range(3):
                away = max(away, abs(poses[r, a] - first[a]))
            if away < closest:
                closest = away
                best = r
    for r in range(runs):
        code = int(infos[r, I_STATUS])
        if r != best and (code == MM_CONVERGED or code == MM_EXACT) and infos[r, I_H] <= limit:
            apart = 0.0
            for a in range(3):
                apart = max(apart, abs(poses[r, a] - poses[best, a]))
            u, v = poses[r, 9:12], poses[best, 9:12]
            x = u[1] * v[2] - u[2] * v[1]
            y = u[2] * v[0] - u[0] * v[2]
            z = u[0] * v[1] - u[1] * v[0]
            if apart + np.sqrt(x * x + y * y + z * z) > max(1e-9, 1e-3 * spread):
                return -1
    return best


@inner
def proven(kind, law, touch, k, signs, lam, pose, centroid, columns, nf, h, zone):  # type: ignore[no-untyped-def]
    """Whether these contacts prove a strict minimum: `certify`, without the cases that it looks at more closely."""
    ref = reference_size(kind, pose)
    c = np.empty(k)
    at = np.empty((nf, k))
    subset_rows(kind, law, touch[:k], pose, columns, nf, c, at)
    largest = 0.0
    push = 0.0
    least = np.inf
    for a in range(nf):
        s = 0.0
        for i in range(k):
            s += at[a, i] * lam[i] * signs[i]
            largest = max(largest, abs(at[a, i]))
        push = max(push, abs(s))
    residual = push / max(largest, 1e-300)
    if law == RADIAL:
        residual = max(residual - 16.0 * _EPS * ref / max(abs(h), 1e-300), 0.0)
    distance = np.empty(k)
    all_distances(kind, law, touch[:k], np.zeros(3), 1.0, pose, distance)
    low = np.inf
    high = -np.inf
    for i in range(k):
        low = min(low, signs[i] * distance[i])
        high = max(high, signs[i] * distance[i])
        least = min(least, lam[i])
    scatter = max(high - low - 8.0 * _EPS * ref, 0.0) / zone
    if not max(residual, scatter, -least) <= _RESIDUAL:
        return False
    square = np.empty((nf, nf))
    for a in range(nf):
        for b in range(nf):
            s = 0.0
            for i in range(k):
                s += at[a, i] * at[b, i]
            square[a, b] = s
    vectors = np.empty((nf, nf))
    jacobi(square, nf, vectors)
    free = 0
    which = np.empty(nf, np.int64)
    for a in range(nf):
        if square[a, a] < _HELD and k > nf:
            return False  # a corner with small derivatives: squares of them cannot tell
        if square[a, a] < _FREE:
            which[free] = a
            free += 1
        elif square[a, a] < _HELD:
            return False
    if free == 0:
        return True
    hess = np.empty((nf, nf))
    lagrangian_hessian(kind, law, touch, k, signs, lam, pose, centroid, columns, nf, max(abs(h), 1e-12), hess)
    bent = np.empty((free, free))
    for a in range(free):
        for b in range(free):
            s = 0.0
            for i in range(nf):
                for j in range(nf):
                    s += vectors[i, which[a]] * hess[i, j] * vectors[j, which[b]]
            bent[a, b] = s
    turned = np.empty((free, free))
    jacobi(bent, free, turned)
    bending = np.inf
    for a in range(free):
        bending = min(bending, bent[a, a])
    return bending > 1e-8


@kernel
def zone_items(  # type: ignore[no-untyped-def]
    kind,
    law,
    columns,
    plus,
    minus,
    radial,
    several,
    thick,
    flat,
    offsets,
    wanted,
    centres,
    scales,
    starts,
    start,
    stop,
    poses,
    facts,
    codes,
):
    """Items start to stop that are `wanted`: from their least-squares poses `starts` (k, POSE) to poses (k, POSE) and
    facts (k, N_ZONE), coordinates centred and scaled. several: also from beside the start. thick: zone over size above
    which an item is left. codes (k,): SETTLED or OPEN. Inscribed and circumscribed poses carry their own radius."""
    nf = columns.shape[0]
    rigid = 0
    for j in range(nf):
        if columns[j] < N_PARAMETERS[kind] - N_SIZES[kind]:
            rigid += 1
    most = 1 + (4 * rigid if several else 0)
    run_pose = np.empty((most, POSE))
    run_info = np.empty((most, N_INFO))
    run_ids = np.empty((most, MAX_CONTACTS), np.int64)
    run_signs = np.empty((most, MAX_CONTACTS))
    run_lam = np.empty((most, MAX_CONTACTS))
    touch = np.empty((MAX_CONTACTS, 3))
    delta = np.zeros(9)
    centroid = np.empty(3)
    summary = np.empty((1, 4))
    for item in range(start, stop):
        codes[item] = OPEN
        if not wanted[item]:
            continue
        n = offsets[item + 1] - offsets[item]
        local = np.empty((n, 3))
        centroid[:] = 0.0
        for i in range(n):
            for a in range(3):
                local[i, a] = (flat[3 * (offsets[item] + i) + a] - centres[item, a]) * scales[item]
                centroid[a] += local[i, a]
        for a in range(3):
            centroid[a] /= n
        first = starts[item]
        distance = np.empty(n)
        all_distances(kind, law, local, np.zeros(3), 1.0, first, distance)
        low = np.inf
        high = -np.inf
        for i in range(n):
            low = min(low, distance[i])
            high = max(high, distance[i])
        spread = high if law == RADIAL else high - low
        if not spread <= thick * own_size(kind, first):
            continue
        trust = spread if law == RADIAL else min(0.3, max(30.0 * spread, 1e-13))
        if radial and spread < 1e-9:
            trust = 0.1
        runs = 0
        for r in range(most):
            copy_into(run_pose[r], first)
            if r > 0:  # beside the start: both ways along each free motion, by the spread and by two of it
                size = (0.5 if r <= 2 * rigid else 2.0) * spread
                k = (r - 1) % (2 * rigid)
                delta[:] = 0.0
                delta[columns[k // 2]] = min(size, 0.4) if k % 2 == 0 else -min(size, 0.4)
                retract(kind, first, delta, centroid, run_pose[r])
            minimise(
                kind, law, local, run_pose[r], centroid, columns, nf, plus, minus, trust, run_ids[r], run_signs[r],
                run_lam[r], run_info[r],
            )  # fmt: skip
            runs += 1
        best = nearest_of_the_best(runs, run_pose, run_info, first, spread)
        if best < 0 or int(run_info[best, I_STATUS]) != MM_CONVERGED:
            continue
        k = int(run_info[best, I_CONTACTS])
        h = run_info[best, I_H]
        pose = run_pose[best]
        if k == 0:
            continue
        for i in range(k):
            for a in range(3):
                touch[i, a] = local[run_ids[best, i], a]
        all_distances(kind, law, local, np.zeros(3), 1.0, pose, distance)
        low = np.inf
        high = -np.inf
        gap = np.inf
        for i in range(n):
            d = distance[i]
            low = min(low, d)
            high = max(high, d)
            contact = False
            for j in range(k):
                contact = contact or run_ids[best, j] == i
            if not contact:
                if plus:
                    gap = min(gap, h - d)
                if minus:
                    gap = min(gap, h + d)
        zone = max(abs(high - low), abs(h), 1e-300)
        if not proven(kind, law, touch, k, run_signs[best], run_lam[best], pose, centroid, columns, nf, h, zone):
            continue
        copy_into(poses[item], pose)
        if radial:
            poses[item, 12] += h if plus else -h
        summarise(kind, law, local, np.zeros(3), 1.0, poses[item], 0, 1, summary)
        facts[item, Z_H] = h
        facts[item, Z_HIGH] = high
        facts[item, Z_LOW] = low
        facts[item, Z_GAP] = max(0.0, gap)
        for i in range(4):
            facts[item, Z_SQUARES + i] = summary[0, i]
        codes[item] = SETTLED
