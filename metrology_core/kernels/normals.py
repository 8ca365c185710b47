"""Axis of a surface of revolution from estimated normals.

Every normal of a surface of revolution meets its axis. Written as a linear complex in Pluecker coordinates this is a
linear problem: minimise the sum of (c . (p x n) + d . n)^2 over |c| = 1, then c is the axis and d fixes its place.
The sign of a normal does not matter. Source: H. Pottmann and T. Randrup, Computing 60 (1998) 307.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.dense import cholesky, cholesky_solve, jacobi

_NEIGHBOURS = 8
_NORMALS = 128  # estimated normals: enough to average their noise, few enough to take a tenth of a millisecond


@inner
def estimate_normal(sub, m, i, distances, nearest, cov, vectors, out):  # type: ignore[no-untyped-def]
    """Normal of the plane through point i and its nearest neighbours into out[0:3]; False where they are a line."""
    k = min(_NEIGHBOURS, m - 1)
    for a in range(k):
        distances[a] = np.inf
    px, py, pz = sub[3 * i], sub[3 * i + 1], sub[3 * i + 2]
    for j in range(m):
        if j == i:
            continue
        d = (sub[3 * j] - px) ** 2 + (sub[3 * j + 1] - py) ** 2 + (sub[3 * j + 2] - pz) ** 2
        if d < distances[k - 1]:
            a = k - 1
            while a > 0 and distances[a - 1] > d:
                distances[a] = distances[a - 1]
                nearest[a] = nearest[a - 1]
                a -= 1
            distances[a] = d
            nearest[a] = j
    nearest[k] = i
    for a in range(3):
        out[a] = 0.0
        for b in range(k + 1):
            out[a] += sub[3 * nearest[b] + a] / (k + 1)
    for a in range(3):
        for b in range(a, 3):
            s = 0.0
            for c in range(k + 1):
                s += (sub[3 * nearest[c] + a] - out[a]) * (sub[3 * nearest[c] + b] - out[b])
            cov[a, b] = s
            cov[b, a] = s
    jacobi(cov, 3, vectors)
    low = 0
    for a in range(1, 3):
        if cov[a, a] < cov[low, low]:
            low = a
    middle = np.inf
    for a in range(3):
        out[a] = vectors[a, low]
        if a != low:
            middle = min(middle, cov[a, a])
    return middle > 4.0 * cov[low, low]


@inner
def revolution_axes(sub, m, mean, axes, places, apex, across):  # type: ignore[no-untyped-def]
    """Three candidate axes (rows of `axes`, best first) with a point of each (rows of `places`), and the point `apex`
    where the tangent planes meet best, and the directions `across` the normals (rows); False without normals."""
    cov = np.empty((3, 3))
    vectors = np.empty((3, 3))
    normal = np.empty(3)
    distances = np.empty(_NEIGHBOURS)
    nearest = np.empty(_NEIGHBOURS + 1, np.int64)
    a_part = np.zeros((3, 3))  # sum of moment moment'
    b_part = np.zeros((3, 3))  # sum of moment normal'
    d_part = np.zeros((3, 3))  # sum of normal normal'
    moment = np.empty(3)
    pull = np.zeros(3)
    count = 0
    step = max(1, m // _NORMALS)
    for i in range(0, m, step):
        if not estimate_normal(sub, m, i, distances, nearest, cov, vectors, normal):
            continue
        count += 1
        x, y, z = sub[3 * i] - mean[0], sub[3 * i + 1] - mean[1], sub[3 * i + 2] - mean[2]
        moment[0] = y * normal[2] - z * normal[1]
        moment[1] = z * normal[0] - x * normal[2]
        moment[2] = x * normal[1] - y * normal[0]
        along = x * normal[0] + y * normal[1] + z * normal[2]
        for a in range(3):
            pull[a] += along * normal[a]
            for b in range(3):
                a_part[a, b] += moment[a] * moment[b]
                b_part[a, b] += moment[a] * normal[b]
                d_part[a, b] += normal[a] * normal[b]
    if count < 6:
        return False
    # tangent planes of a cone meet in its apex: n . apex = n . p
    for a in range(3):
        apex[a] = 0.0
        for b in range(3):
            cov[a, b] = d_part[a, b]
        cov[a, a] += 1e-12 * count
    if not cholesky(cov, 3):
        return False
    cholesky_solve(cov, 3, pull)
    for a in range(3):
        for b in range(3):
            cov[a, b] = d_part[a, b]
    jacobi(cov, 3, vectors)
    for row in range(3):
        for a in range(3):
            across[row, a] = vectors[a, row]
    for a in range(3):
        apex[a] = pull[a] + mean[a]
    for a in range(3):
        d_part[a, a] += 1e-9 * count  # normals that leave a direction out say nothing about the place along it
    if not cholesky(d_part, 3):
        return False
    # columns of D^-1 B'
    solved = np.empty((3, 3))
    column = np.empty(3)
    for k in range(3):
        for a in range(3):
            column[a] = b_part[k, a]
        cholesky_solve(d_part, 3, column)
        for a in range(3):
            solved[a, k] = column[a]
    for a in range(3):
        for b in range(3):
            s = a_part[a, b]
            for k in range(3):
                s -= b_part[a, k] * solved[k, b]
            cov[a, b] = s
    for a in range(3):
        for b in range(a):
            cov[a, b] = cov[b, a] = 0.5 * (cov[a, b] + cov[b, a])
    jacobi(cov, 3, vectors)
    for row in range(3):
        best = -1
        for a in range(3):
            if not math.isinf(cov[a, a]) and (best < 0 or cov[a, a] < cov[best, best]):
                best = a
        cov[best, best] = np.inf
        c0, c1, c2 = vectors[0, best], vectors[1, best], vectors[2, best]
        d0 = -(solved[0, 0] * c0 + solved[0, 1] * c1 + solved[0, 2] * c2)
        d1 = -(solved[1, 0] * c0 + solved[1, 1] * c1 + solved[1, 2] * c2)
        d2 = -(solved[2, 0] * c0 + solved[2, 1] * c1 + solved[2, 2] * c2)
        axes[row, 0], axes[row, 1], axes[row, 2] = c0, c1, c2
        # the complex of lines that meet the axis (c, q x c): d = q x c, nearest point q = c x d
        places[row, 0] = mean[0] + c1 * d2 - c2 * d1
        places[row, 1] = mean[1] + c2 * d0 - c0 * d2
        places[row, 2] = mean[2] + c0 * d1 - c1 * d0
    return True
