"""Exact closest points on a triangle mesh: sieve in single precision, evaluate in double, sign by the local surface.

Coordinates are centred and scaled to about one by a power of two (both exact enough to be undone), so the constants
below are relative to the part. The answer of a query does not depend on the queries before it: seeds only shorten the
search, and of equally near triangles the one first in the tree is taken.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from pointcloud.kernels.codes import (
    ANGLE,
    BEYOND_LIMIT,
    EDGE,
    FACE,
    LOCAL_SHIFT,
    NO_SIGN,
    NON_FINITE,
    NON_MANIFOLD,
    NOTHING,
    OPEN_BORDER,
    VERTEX,
)
from pointcloud.kernels.lanes import BOX_ROWS, LEAF_ROWS, WIDTH, lowest, sieve_boxes, sieve_triangles
from pointcloud.kernels.topology import BORDER_VERTEX, CROWDED, CROWDED_VERTEX

SCALE, CX, CY, CZ, LIMIT2, COS_MIN, SLACK, MARGIN = 0, 1, 2, 3, 4, 5, 6, 7  # places in `numbers`
STACK = 256
_ROUNDING = 1e-12  # of a distance: a thousand times the rounding of two of them
_FAR = 1e15  # scaled: beyond this single precision overflows
_FLAT = 0.9  # cosine between neighbours above which an edge counts as nearly flat


@inner
def nearest_on(vertices, tri, normals, s, x, y, z):  # type: ignore[no-untyped-def]
    """Squared distance, region with local index, foot and side (for a face) of triangle s.

    The nearest of the three edges, unless the point is in the prism over the triangle: stable on slivers, where
    barycentric coordinates are not.
    """
    i0, i1, i2 = tri[s, 0], tri[s, 1], tri[s, 2]
    ax, ay, az = vertices[i0, 0], vertices[i0, 1], vertices[i0, 2]
    bx, by, bz = vertices[i1, 0], vertices[i1, 1], vertices[i1, 2]
    cx, cy, cz = vertices[i2, 0], vertices[i2, 1], vertices[i2, 2]
    nx, ny, nz = normals[s, 0], normals[s, 1], normals[s, 2]
    pax, pay, paz = x - ax, y - ay, z - az
    pbx, pby, pbz = x - bx, y - by, z - bz
    pcx, pcy, pcz = x - cx, y - cy, z - cz
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - bx, cy - by, cz - bz
    wx, wy, wz = ax - cx, ay - cy, az - cz
    s0 = (uy * paz - uz * pay) * nx + (uz * pax - ux * paz) * ny + (ux * pay - uy * pax) * nz
    s1 = (vy * pbz - vz * pby) * nx + (vz * pbx - vx * pbz) * ny + (vx * pby - vy * pbx) * nz
    s2 = (wy * pcz - wz * pcy) * nx + (wz * pcx - wx * pcz) * ny + (wx * pcy - wy * pcx) * nz
    if s0 > 0.0 and s1 > 0.0 and s2 > 0.0:
        h = pax * nx + pay * ny + paz * nz
        return h * h, FACE, x - h * nx, y - h * ny, z - h * nz, h
    best = np.inf
    region = EDGE
    fx = fy = fz = 0.0
    for k in range(3):
        if k == 0:
            qx, qy, qz, ex, ey, ez, ox, oy, oz = pax, pay, paz, ux, uy, uz, ax, ay, az
            side = s0
        elif k == 1:
            qx, qy, qz, ex, ey, ez, ox, oy, oz = pbx, pby, pbz, vx, vy, vz, bx, by, bz
            side = s1
        else:
            qx, qy, qz, ex, ey, ez, ox, oy, oz = pcx, pcy, pcz, wx, wy, wz, cx, cy, cz
            side = s2
        if side > 0.0:
            continue  # another edge is at least as near
        ee = ex * ex + ey * ey + ez * ez
        t = qx * ex + qy * ey + qz * ez
        if t <= 0.0:
            code, t = VERTEX | (k << LOCAL_SHIFT), 0.0
        elif t >= ee:
            code, t = VERTEX | ((k + 1 if k < 2 else 0) << LOCAL_SHIFT), 1.0
        else:
            code, t = EDGE | (k << LOCAL_SHIFT), t / ee
        if t == 1.0:
            if k == 0:
                ox, oy, oz, qx, qy, qz = bx, by, bz, pbx, pby, pbz
            elif k == 1:
                ox, oy, oz, qx, qy, qz = cx, cy, cz, pcx, pcy, pcz
            else:
                ox, oy, oz, qx, qy, qz = ax, ay, az, pax, pay, paz
            t = 0.0
        rx, ry, rz = qx - t * ex, qy - t * ey, qz - t * ez
        d2 = rx * rx + ry * ry + rz * rz
        if d2 < best or (d2 == best and (code & 3) == VERTEX):
            best, region = d2, code
            fx, fy, fz = ox + t * ex, oy + t * ey, oz + t * ez
    return best, region, fx, fy, fz, 0.0


@inner
def edge_side(vertices, tri, normals, across, begin, around, s, k, rx, ry, rz):  # type: ignore[no-untyped-def]
    """A number whose sign is the side on which the vector r leaves edge k of triangle s; 0 on an open border.

    Nearly flat: against the sum of both normals. Otherwise a point whose nearest place is the edge is outside where
    the edge is convex and inside where it is concave. Where more triangles meet: the one most across r decides.
    """
    t = across[s, k]
    nx, ny, nz = normals[s, 0], normals[s, 1], normals[s, 2]
    if t >= 0:
        mx, my, mz = normals[t, 0], normals[t, 1], normals[t, 2]
        if nx * mx + ny * my + nz * mz > _FLAT:
            return rx * (nx + mx) + ry * (ny + my) + rz * (nz + mz)
        a, b = tri[s, k], tri[s, k + 1 if k < 2 else 0]
        o = tri[t, 0]
        if o == a or o == b:
            o = tri[t, 1]
            if o == a or o == b:
                o = tri[t, 2]
        rise = (
            (vertices[o, 0] - vertices[a, 0]) * nx
            + (vertices[o, 1] - vertices[a, 1]) * ny
            + (vertices[o, 2] - vertices[a, 2]) * nz
        )
        return -1.0 if rise > 0.0 else 1.0
    if t == CROWDED:
        a, b = tri[s, k], tri[s, k + 1 if k < 2 else 0]
        best = 0.0
        for j in range(begin[a], begin[a + 1]):
            q = around[j]
            if tri[q, 0] == b or tri[q, 1] == b or tri[q, 2] == b:
                value = rx * normals[q, 0] + ry * normals[q, 1] + rz * normals[q, 2]
                if abs(value) > abs(best):
                    best = value
        return best
    return 0.0


@inner
def vertex_side(vertices, tri, normals, across, begin, around, v, rx, ry, rz):  # type: ignore[no-untyped-def]
    """As `edge_side`, at a vertex: the edge that leaves it nearest to the direction of r decides.

    All triangles lie behind r there, so seen from the vertex the nearest place of the spherical polygon that they cut
    is one of its corners.
    """
    best = -np.inf
    pick, edge = -1, 0
    for j in range(begin[v], begin[v + 1]):
        s = around[j]
        for k in range(3):
            a, b = tri[s, k], tri[s, k + 1 if k < 2 else 0]
            if a != v and b != v:
                continue
            o = b if a == v else a
            ex, ey, ez = (
                vertices[o, 0] - vertices[v, 0],
                vertices[o, 1] - vertices[v, 1],
                vertices[o, 2] - vertices[v, 2],
            )
            length = math.sqrt(ex * ex + ey * ey + ez * ez)
            if length == 0.0:
                continue
            cosine = (rx * ex + ry * ey + rz * ez) / length
            if cosine > best:
                best, pick, edge = cosine, s, k
    if pick < 0:
        return 0.0
    return edge_side(vertices, tri, normals, across, begin, around, pick, edge, rx, ry, rz)


@inner
def bound_of(best, slack):  # type: ignore[no-untyped-def]
    """Squared single-precision bound that no true candidate below `best` can exceed by rounding."""
    root = math.sqrt(best) + slack
    return np.float32(root * root * 1.000001)


@kernel
def closest(  # type: ignore[no-untyped-def]
    points, order, offset, size, start, stop, nodes, leaves, first, vertices, tri, normals, across, begin, around,
    pseudo, kinds, face_of, numbers, directions, seeds, before, others, rows, words, stack, keys, near,
):  # fmt: skip
    """Closest points of blocks start..stop of `size` queries each.

    Rows of eight: foot (3), signed distance, normal (3), and in the last place two 32-bit words: face and code.

    With `others` (n,) points are followed from call to call: `seeds` hold the triangle of each, which is updated,
    `before` where it was then, and `others` a distance that every other triangle is proved to have at least. As long
    as a point has moved too little for another to be as near, no search is needed and the answer is the same.
    """
    n_inner = len(first)
    scale, cx, cy, cz = numbers[SCALE], numbers[CX], numbers[CY], numbers[CZ]
    unscale = 1.0 / scale
    limit2, cos_min, slack_part = numbers[LIMIT2], numbers[COS_MIN], numbers[SLACK]
    limited = len(directions) > 0
    followed = len(others) > 0
    margin = numbers[MARGIN] if followed else 0.0
    sorted_ = len(order) > 0
    n = len(order) if sorted_ else len(seeds)
    for block in range(start, stop):
        last = -1
        for q in range(block * size, min(n, (block + 1) * size)):
            i = offset + (order[q] if sorted_ else q)
            x, y, z = (points[i, 0] - cx) * scale, (points[i, 1] - cy) * scale, (points[i, 2] - cz) * scale
            reach = max(abs(x), abs(y), abs(z))
            if not reach < _FAR:
                code = NOTHING | NO_SIGN | (BEYOND_LIMIT if math.isfinite(reach) else NON_FINITE)
                for k in range(7):
                    rows[i, k] = np.nan
                words[i, 14] = -1
                words[i, 15] = code
                continue
            dx = dy = dz = 0.0
            if limited:
                dx, dy, dz = directions[i, 0], directions[i, 1], directions[i, 2]
            slack = slack_part * max(1.0, reach) + margin
            fpx, fpy, fpz = np.float32(x), np.float32(y), np.float32(z)
            best, slot, region = limit2, -1, NOTHING
            second = np.inf
            proved = False
            fx = fy = fz = side = 0.0
            seed = seeds[i - offset] if seeds[i - offset] >= 0 else last
            if seed >= 0 and (
                not limited or dx * normals[seed, 0] + dy * normals[seed, 1] + dz * normals[seed, 2] >= cos_min
            ):
                d2, c, gx, gy, gz, h = nearest_on(vertices, tri, normals, seed, x, y, z)
                if d2 <= best:
                    best, slot, region, fx, fy, fz, side = d2, seed, c, gx, gy, gz, h
                    if followed and seeds[i - offset] >= 0:
                        ex, ey, ez = (
                            points[i, 0] - before[i, 0],
                            points[i, 1] - before[i, 1],
                            points[i, 2] - before[i, 2],
                        )
                        moved = math.sqrt(ex * ex + ey * ey + ez * ez) * scale
                        still = others[i] - moved - _ROUNDING * max(1.0, reach)
                        if math.sqrt(d2) < still:
                            proved = True
                            others[i] = still
            bound = bound_of(best, slack)
            stack[0] = 0
            keys[0] = 0.0
            top = 0 if proved else 1
            while top > 0:
                top -= 1
                if not keys[top] < bound:
                    continue
                node = stack[top]
                if node < n_inner:
                    mask = sieve_boxes(nodes, node * BOX_ROWS * WIDTH, fpx, fpy, fpz, bound, near)
                    child = first[node]
                    floor = top
                    while mask != 0:
                        k = lowest(mask)
                        mask &= mask - 1
                        d = near[k]
                        j = top
                        while j > floor and keys[j - 1] < d:
                            keys[j] = keys[j - 1]
                            stack[j] = stack[j - 1]
                            j -= 1
                        keys[j] = d
                        stack[j] = child + k
                        top += 1
                    continue
                leaf = node - n_inner
                mask = sieve_triangles(leaves, leaf * LEAF_ROWS * WIDTH, fpx, fpy, fpz, bound, near)
                while mask != 0:
                    k = lowest(mask)
                    rest = mask & (mask - 1)
                    while rest != 0:
                        j = lowest(rest)
                        rest &= rest - 1
                        if near[j] < near[k]:
                            k = j
                    if not near[k] < bound:
                        break
                    mask &= ~(1 << k)
                    s = leaf * WIDTH + k
                    if s == slot:
                        continue
                    if limited and not (dx * normals[s, 0] + dy * normals[s, 1] + dz * normals[s, 2] >= cos_min):
                        continue
                    d2, c, gx, gy, gz, h = nearest_on(vertices, tri, normals, s, x, y, z)
                    if d2 < best or (d2 == best and (slot < 0 or s < slot)):
                        if slot >= 0:
                            second = best if best < second else second
                        best, slot, region, fx, fy, fz, side = d2, s, c, gx, gy, gz, h
                        bound = bound_of(best, slack)
                    elif d2 < second:
                        second = d2
            last = slot if slot >= 0 else last
            if followed:
                seeds[i - offset] = slot
                if not proved:
                    others[i] = min(math.sqrt(second), math.sqrt(best) + margin) - _ROUNDING * max(1.0, reach)
            if slot < 0:
                for k in range(7):
                    rows[i, k] = np.nan
                words[i, 14] = -1
                words[i, 15] = NOTHING | NO_SIGN | (ANGLE if limited else BEYOND_LIMIT)
                continue
            kind = region & 3
            code = region
            rx, ry, rz = x - fx, y - fy, z - fz
            distance = math.sqrt(best)
            nx, ny, nz = normals[slot, 0], normals[slot, 1], normals[slot, 2]
            sign = 1.0
            if kind == FACE:
                if side < 0.0:
                    sign = -1.0
            elif kind == EDGE:
                k = region >> LOCAL_SHIFT
                other = across[slot, k]
                value = edge_side(vertices, tri, normals, across, begin, around, slot, k, rx, ry, rz)
                if other >= 0:
                    nx, ny, nz = nx + normals[other, 0], ny + normals[other, 1], nz + normals[other, 2]
                    length = math.sqrt(nx * nx + ny * ny + nz * nz)
                    if length > 1e-9:
                        nx, ny, nz = nx / length, ny / length, nz / length
                    else:
                        nx, ny, nz = normals[slot, 0], normals[slot, 1], normals[slot, 2]
                elif other == CROWDED:
                    code |= NON_MANIFOLD
                elif other == -1:
                    code |= OPEN_BORDER | NO_SIGN
                else:
                    code |= NON_MANIFOLD | NO_SIGN
                if value < 0.0:
                    sign = -1.0
            else:
                v = tri[slot, region >> LOCAL_SHIFT]
                if kinds[v] & CROWDED_VERTEX:
                    code |= NON_MANIFOLD
                if pseudo[v, 0] != 0.0 or pseudo[v, 1] != 0.0 or pseudo[v, 2] != 0.0:
                    nx, ny, nz = pseudo[v, 0], pseudo[v, 1], pseudo[v, 2]
                value = rx * nx + ry * ny + rz * nz
                if kinds[v] & BORDER_VERTEX:
                    code |= OPEN_BORDER | NO_SIGN
                elif kinds[v] != 0 or abs(value) < 0.05 * distance:
                    value = vertex_side(vertices, tri, normals, across, begin, around, v, rx, ry, rz)
                if value < 0.0:
                    sign = -1.0
            rows[i, 0] = fx * unscale + cx
            rows[i, 1] = fy * unscale + cy
            rows[i, 2] = fz * unscale + cz
            rows[i, 3] = sign * distance * unscale
            rows[i, 4] = nx
            rows[i, 5] = ny
            rows[i, 6] = nz
            words[i, 14] = face_of[slot]
            words[i, 15] = code
