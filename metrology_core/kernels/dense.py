"""Small dense symmetric algebra for compiled code: Jacobi eigenvalues and Cholesky, matrices up to 9 x 9."""

from __future__ import annotations

import math

from metrology_core._jit import inner


@inner
def copy_into(target, source):  # type: ignore[no-untyped-def]
    """target[:] = source, as a plain loop: the slice assignment costs a third of a second to compile each time it is
    used."""
    for i in range(target.shape[0]):
        target[i] = source[i]


@inner
def fill(target, start, stop, value):  # type: ignore[no-untyped-def]
    """target[start:stop] = value."""
    for i in range(start, stop):
        target[i] = value


@inner
def jacobi(a, n, vectors):  # type: ignore[no-untyped-def]
    """Diagonalise the symmetric a[:n, :n] in place (cyclic Jacobi); columns of `vectors` follow. Unsorted."""
    for i in range(n):
        for j in range(n):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(40):
        off = 0.0
        total = 0.0
        for i in range(n):
            total += a[i, i] * a[i, i]
            for j in range(i + 1, n):
                off += a[i, j] * a[i, j]
        if not off > 1e-34 * total:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                apq = a[p, q]
                if apq == 0.0:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * apq)
                if abs(theta) > 1e150:
                    t = 0.5 / theta
                else:
                    t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                    if theta < 0.0:
                        t = -t
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(n):
                    akp = a[k, p]
                    akq = a[k, q]
                    a[k, p] = c * akp - s * akq
                    a[k, q] = s * akp + c * akq
                for k in range(n):
                    apk = a[p, k]
                    aqk = a[q, k]
                    a[p, k] = c * apk - s * aqk
                    a[q, k] = s * apk + c * aqk
                for k in range(n):
                    vkp = vectors[k, p]
                    vkq = vectors[k, q]
                    vectors[k, p] = c * vkp - s * vkq
                    vectors[k, q] = s * vkp + c * vkq


@inner
def smallest(a, n, vectors, out):  # type: ignore[no-untyped-def]
    """Smallest eigenvalue of a[:n, :n] (destroyed); its eigenvector goes to out[:n]."""
    jacobi(a, n, vectors)
    best = 0
    for i in range(1, n):
        if a[i, i] < a[best, best]:
            best = i
    for i in range(n):
        out[i] = vectors[i, best]
    return a[best, best]


@inner
def cholesky(a, n):  # type: ignore[no-untyped-def]
    """Lower Cholesky factor of a[:n, :n] in place; False when it is not numerically positive definite."""
    for j in range(n):
        d = a[j, j]
        for k in range(j):
            d -= a[j, k] * a[j, k]
        if not d > 0.0:
            return False
        d = math.sqrt(d)
        a[j, j] = d
        for i in range(j + 1, n):
            s = a[i, j]
            for k in range(j):
                s -= a[i, k] * a[j, k]
            a[i, j] = s / d
    return True


@inner
def cholesky_solve(a, n, b):  # type: ignore[no-untyped-def]
    """Solve in place with the factor left by `cholesky`."""
    for i in range(n):
        s = b[i]
        for k in range(i):
            s -= a[i, k] * b[k]
        b[i] = s / a[i, i]
    for i in range(n - 1, -1, -1):
        s = b[i]
        for k in range(i + 1, n):
            s -= a[k, i] * b[k]
        b[i] = s / a[i, i]


@inner
def frame_from(direction, out):  # type: ignore[no-untyped-def]
    """Write u, v, w of the documented local basis of a unit direction to out[0:9] (same rule as features.basis)."""
    x, y, z = direction[0], direction[1], direction[2]
    norm = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / norm, y / norm, z / norm
    ax, ay, az = abs(x), abs(y), abs(z)
    ex, ey, ez = 0.0, 0.0, 0.0
    if ax <= ay and ax <= az:
        ex = 1.0
    elif ay <= az:
        ey = 1.0
    else:
        ez = 1.0
    # u = e - (e.w) w, v = w x u
    d = ex * x + ey * y + ez * z
    ux, uy, uz = ex - d * x, ey - d * y, ez - d * z
    norm = math.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / norm, uy / norm, uz / norm
    out[0], out[1], out[2] = ux, uy, uz
    out[3] = y * uz - z * uy
    out[4] = z * ux - x * uz
    out[5] = x * uy - y * ux
    out[6], out[7], out[8] = x, y, z
