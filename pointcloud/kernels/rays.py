"""Where the lines through points meet a triangle mesh: the intersection nearest to each point, either way.

Shared edges are evaluated from the same numbers by both triangles, so no line slips through between them. Source:
S. Woop, C. Benthin, I. Wald, Journal of Computer Graphics Techniques 2 (2013) 65.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from pointcloud.kernels.closest import CX, CY, CZ, LIMIT2, SCALE
from pointcloud.kernels.codes import BEYOND_LIMIT, FACE, NO_SIGN, NON_FINITE, NOTHING
from pointcloud.kernels.lanes import BOX_ROWS, WIDTH

_PAD = 1e-11  # scaled: far above the rounding of slabs, far below a box


@inner
def cross_line(vertices, tri, s, p, sx, sy, inv, kx, ky, kz):  # type: ignore[no-untyped-def]
    """Parameter t of the line p + t u on triangle s; NaN where they do not meet."""
    a, b, c = tri[s, 0], tri[s, 1], tri[s, 2]
    az, bz, cz = vertices[a, kz] - p[kz], vertices[b, kz] - p[kz], vertices[c, kz] - p[kz]
    ax, ay = vertices[a, kx] - p[kx] - sx * az, vertices[a, ky] - p[ky] - sy * az
    bx, by = vertices[b, kx] - p[kx] - sx * bz, vertices[b, ky] - p[ky] - sy * bz
    cx, cy = vertices[c, kx] - p[kx] - sx * cz, vertices[c, ky] - p[ky] - sy * cz
    u = cx * by - cy * bx
    v = ax * cy - ay * cx
    w = bx * ay - by * ax
    if (u < 0.0 or v < 0.0 or w < 0.0) and (u > 0.0 or v > 0.0 or w > 0.0):
        return np.nan
    det = u + v + w
    if det == 0.0:
        return np.nan
    return (u * az + v * bz + w * cz) / det * inv


@kernel
def along(  # type: ignore[no-untyped-def]
    points, order, offset, size, start, stop, nodes, first, vertices, tri, normals, face_of, numbers, directions, rows,
    words, stack, keys, p, u,
):  # fmt: skip
    """Intersections of blocks start..stop; rows as in `closest`, the distance positive on the outer side."""
    n_inner = len(first)
    scale = numbers[SCALE]
    unscale = 1.0 / scale
    centre = (numbers[CX], numbers[CY], numbers[CZ])
    one = len(directions) == 1
    n = len(order)
    m = len(tri)
    for block in range(start, stop):
        for q in range(block * size, min(n, (block + 1) * size)):
            i = offset + order[q]
            good = True
            kz = 0
            for k in range(3):
                p[k] = (points[i, k] - centre[k]) * scale
                u[k] = directions[0 if one else i, k]
                good = good and math.isfinite(p[k]) and math.isfinite(u[k])
                if abs(u[k]) > abs(u[kz]):
                    kz = k
            slot = -1
            t_best = 0.0
            best = math.sqrt(numbers[LIMIT2])
            if good:
                kx, ky = (kz + 1) % 3, (kz + 2) % 3
                inv = 1.0 / u[kz]
                sx, sy = u[kx] * inv, u[ky] * inv
                stack[0] = 0
                keys[0] = 0.0
                top = 1
                while top > 0:
                    top -= 1
                    if keys[top] > best:
                        continue
                    node = stack[top]
                    if node >= n_inner:
                        base = (node - n_inner) * WIDTH
                        for s in range(base, min(m, base + WIDTH)):
                            t = cross_line(vertices, tri, s, p, sx, sy, inv, kx, ky, kz)
                            if abs(t) < best or (abs(t) == best and (slot < 0 or s < slot)):
                                best, t_best, slot = abs(t), t, s
                        continue
                    base = node * BOX_ROWS * WIDTH
                    floor = top
                    for lane in range(WIDTH):
                        t0, t1 = -np.inf, np.inf
                        for k in range(3):
                            low = np.float64(nodes[base + k * WIDTH + lane]) - _PAD - p[k]
                            high = np.float64(nodes[base + (k + 3) * WIDTH + lane]) + _PAD - p[k]
                            if abs(u[k]) > 1e-290:
                                r = 1.0 / u[k]
                                e0, e1 = low * r, high * r
                                t0 = max(t0, min(e0, e1))
                                t1 = min(t1, max(e0, e1))
                            elif low > 0.0 or high < 0.0:
                                t0 = np.inf
                        if not t0 - _PAD <= t1:
                            continue
                        d = max(0.0, max(t0, -t1) - _PAD)
                        if d > best:
                            continue
                        j = top
                        while j > floor and keys[j - 1] < d:
                            keys[j] = keys[j - 1]
                            stack[j] = stack[j - 1]
                            j -= 1
                        keys[j] = d
                        stack[j] = first[node] + lane
                        top += 1
            if slot < 0:
                for k in range(7):
                    rows[i, k] = np.nan
                words[i, 14] = -1
                words[i, 15] = NOTHING | NO_SIGN | (BEYOND_LIMIT if good else NON_FINITE)
                continue
            facing = 0.0
            for k in range(3):
                rows[i, k] = (p[k] + t_best * u[k]) * unscale + centre[k]
                rows[i, 4 + k] = normals[slot, k]
                facing += normals[slot, k] * u[k]
            rows[i, 3] = (-t_best if facing > 0.0 else t_best) * unscale
            words[i, 14] = face_of[slot]
            words[i, 15] = FACE if facing != 0.0 else FACE | NO_SIGN
