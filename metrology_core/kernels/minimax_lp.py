"""The small linear programs inside minimax fits: min h subject to s_i (c_i + a_i.x) <= h and |x_j| <= box_j.

At most nine variables and any number of rows: a dual simplex method in its exchange form. The current vertex is
optimal for its basis of constraints; the most violated constraint enters, the ratio test says which one leaves, h
never falls. Rows are kept as structure of arrays, so that the search for the violated row is one vector loop. Source:
the exchange method of E. Ya. Remez (1934) seen as the dual simplex method; formulation for metrology after W. Lotze,
Measurement 12 (1994) 337.
"""

from __future__ import annotations

import numpy as np

from metrology_core._jit import inner

LP_OPTIMAL, LP_LIMIT, LP_SINGULAR = 0, 1, 2


@inner
def lu_factor(a, n, perm):  # type: ignore[no-untyped-def]
    """LU factors of a[:n, :n] in place with partial pivoting; False where it is numerically singular."""
    largest = 0.0
    for i in range(n):
        perm[i] = i
        for j in range(n):
            largest = max(largest, abs(a[i, j]))
    if not largest > 0.0:
        return False
    for k in range(n):
        p = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[p, k]):
                p = i
        if not abs(a[p, k]) > 1e-15 * largest:
            return False
        if p != k:
            for j in range(n):
                t = a[k, j]
                a[k, j] = a[p, j]
                a[p, j] = t
            q = perm[k]
            perm[k] = perm[p]
            perm[p] = q
        for i in range(k + 1, n):
            f = a[i, k] / a[k, k]
            a[i, k] = f
            if f != 0.0:
                for j in range(k + 1, n):
                    a[i, j] -= f * a[k, j]
    return True


@inner
def lu_solve(a, n, perm, b, x):  # type: ignore[no-untyped-def]
    """x with A x = b."""
    for i in range(n):
        s = b[perm[i]]
        for j in range(i):
            s -= a[i, j] * x[j]
        x[i] = s
    for i in range(n - 1, -1, -1):
        s = x[i]
        for j in range(i + 1, n):
            s -= a[i, j] * x[j]
        x[i] = s / a[i, i]


@inner
def lu_solve_transposed(a, n, perm, b, x, work):  # type: ignore[no-untyped-def]
    """x with A' x = b."""
    for i in range(n):
        s = b[i]
        for j in range(i):
            s -= a[j, i] * work[j]
        work[i] = s / a[i, i]
    for i in range(n - 1, -1, -1):
        s = work[i]
        for j in range(i + 1, n):
            s -= a[j, i] * work[j]
        work[i] = s
    for i in range(n):
        x[perm[i]] = work[i]


@inner
def _constraint(at, c, box, nf, code, row):  # type: ignore[no-untyped-def]
    """Coefficients of (x, h) of the constraint with this code into row; returns its right-hand side.

    Codes: 2 i (upper side of point i), 2 i + 1 (lower side), -1 - 2 j (x_j <= box_j), -2 - 2 j (-x_j <= box_j).
    """
    for j in range(nf + 1):
        row[j] = 0.0
    if code >= 0:
        i = code >> 1
        s = -1.0 if code & 1 else 1.0
        for j in range(nf):
            row[j] = s * at[j, i]
        row[nf] = -1.0
        return -s * c[i]
    k = -code - 1
    j = k >> 1
    row[j] = -1.0 if k & 1 else 1.0
    return box[j]


@inner
def lp_exchange(at, c, m, nf, plus, minus, box, basis, mult, z, t):  # type: ignore[no-untyped-def]
    """Solve the program; basis (nf + 1 codes), mult (multipliers >= 0, those of points sum to 1), z (x, then h).

    at (nf, m) rows, c (m,) values, both in units that make the answer of order one; plus, minus: which sides count.
    """
    size = nf + 1
    b = np.empty((size, size))
    rhs = np.empty(size)
    row = np.empty(size)
    y = np.empty(size)
    work = np.empty(size)
    perm = np.empty(size, np.int64)
    goal = np.zeros(size)
    goal[nf] = -1.0
    # a vertex to start from: the worst row alone, and the corner of the box that it wants
    best = -np.inf
    code = 0
    for i in range(m):
        if plus and c[i] > best:
            best = c[i]
            code = 2 * i
        if minus and -c[i] > best:
            best = -c[i]
            code = 2 * i + 1
    basis[nf] = code
    _constraint(at, c, box, nf, code, row)
    for j in range(nf):
        basis[j] = -2 - 2 * j if row[j] > 0.0 else -1 - 2 * j
    for _ in range(60 * size):
        for k in range(size):
            rhs[k] = _constraint(at, c, box, nf, basis[k], b[k])
        if not lu_factor(b, size, perm):
            return LP_SINGULAR
        lu_solve(b, size, perm, rhs, z)
        lu_solve_transposed(b, size, perm, goal, mult, work)
        for i in range(m):
            t[i] = c[i]
        for j in range(nf):
            x = z[j]
            line = at[j]
            for i in range(m):
                t[i] += line[i] * x
        high = -np.inf
        low = np.inf
        for i in range(m):
            high = max(high, t[i])
            low = min(low, t[i])
        h = z[nf]
        worst = 1e-13 * (1.0 + abs(h))
        code = -1000
        side = 0
        if plus and high - h > worst:
            worst = high - h
            side = 1
        if minus and -low - h > worst:
            worst = -low - h
            side = 2
        for j in range(nf):
            over = (abs(z[j]) - box[j]) / box[j]
            if over > 1e-9 and over * box[j] > worst:
                worst = over * box[j]
                code = -1 - 2 * j if z[j] > 0.0 else -2 - 2 * j
                side = 3
        if side == 0:
            return LP_OPTIMAL
        if side == 1:
            for i in range(m):
                if t[i] == high:
                    code = 2 * i
                    break
        elif side == 2:
            for i in range(m):
                if t[i] == low:
                    code = 2 * i + 1
                    break
        for k in range(size):
            if basis[k] == code:  # violated by rounding only
                return LP_OPTIMAL
        _constraint(at, c, box, nf, code, row)
        lu_solve_transposed(b, size, perm, row, y, work)
        largest = 0.0
        for k in range(size):
            largest = max(largest, abs(y[k]))
        leaving = -1
        ratio = np.inf
        for k in range(size):
            if y[k] > 1e-11 * largest:
                r = max(mult[k], 0.0) / y[k]
                if r < ratio * (1.0 - 1e-12) or (leaving >= 0 and r <= ratio and y[k] > y[leaving]):
                    ratio = r
                    leaving = k
        if leaving < 0:
            return LP_SINGULAR
        basis[leaving] = code
    return LP_LIMIT


__all__ = ["LP_LIMIT", "LP_OPTIMAL", "LP_SINGULAR", "lp_exchange", "lu_factor", "lu_solve", "lu_solve_transposed"]
