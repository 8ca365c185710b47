"""Who is whose neighbour in a triangle mesh, and the normals of edges and vertices.

``around`` lists the triangles of each vertex (start of its list in ``begin``). ``across[s, k]`` is the triangle on the
other side of edge k (from corner k to corner k + 1), or one of the negative codes below.
"""

from __future__ import annotations

import math

from metrology_core._jit import kernel

OPEN = -1  # no other triangle
CROWDED = -2  # more than one other triangle (a non-manifold edge)
REVERSED = -3  # one other triangle, which runs through the edge in the same direction

BORDER_VERTEX = 1
CROWDED_VERTEX = 2


@kernel
def list_triangles(tri, begin, around):  # type: ignore[no-untyped-def]
    """Fill ``begin`` (vertices + 1) and ``around`` (3 m) by counting."""
    n = len(begin) - 1
    for v in range(n + 1):
        begin[v] = 0
    for s in range(len(tri)):
        for k in range(3):
            begin[tri[s, k]] += 1
    total = 0
    for v in range(n + 1):
        count = begin[v]
        total += count
        begin[v] = total
    for s in range(len(tri) - 1, -1, -1):
        for k in range(3):
            v = tri[s, k]
            begin[v] -= 1
            around[begin[v]] = s


@kernel
def find_neighbours(tri, begin, around, start, stop, across):  # type: ignore[no-untyped-def]
    """Neighbours of the triangles start..stop; returns counts packed as open + crowded * 2^21 + reversed * 2^42."""
    n_open = 0
    n_crowded = 0
    n_reversed = 0
    for s in range(start, stop):
        for k in range(3):
            a = tri[s, k]
            b = tri[s, k + 1 if k < 2 else 0]
            found = OPEN
            count = 0
            for j in range(begin[a], begin[a + 1]):
                t = around[j]
                if t == s:
                    continue
                t0, t1, t2 = tri[t, 0], tri[t, 1], tri[t, 2]
                if t0 == b or t1 == b or t2 == b:
                    count += 1
                    opposite = (t0 == b and t1 == a) or (t1 == b and t2 == a) or (t2 == b and t0 == a)
                    found = t if opposite else REVERSED
            if count > 1:
                found = CROWDED
                n_crowded += 1
            elif count == 0:
                n_open += 1
            elif found == REVERSED:
                n_reversed += 1
            across[s, k] = found
    return n_open + (n_crowded << 21) + (n_reversed << 42)


@kernel
def lend_normals(vertices, tri, across, normals, rounds):  # type: ignore[no-untyped-def]
    """A triangle without area takes the normal of its neighbour across its longest edge; returns how many have none.

    Its surface is that edge, so the neighbour's side is its side.
    """
    left = 0
    for _ in range(rounds):
        left = 0
        for s in range(len(tri)):
            if normals[s, 0] != 0.0 or normals[s, 1] != 0.0 or normals[s, 2] != 0.0:
                continue
            best = -1.0
            pick = -1
            for k in range(3):
                a, b = tri[s, k], tri[s, k + 1 if k < 2 else 0]
                length = 0.0
                for c in range(3):
                    length += (vertices[b, c] - vertices[a, c]) ** 2
                if length > best:
                    best = length
                    pick = across[s, k]
            if pick >= 0 and (normals[pick, 0] != 0.0 or normals[pick, 1] != 0.0 or normals[pick, 2] != 0.0):
                for c in range(3):
                    normals[s, c] = normals[pick, c]
            else:
                left += 1
        if left == 0:
            break
    return left


@kernel
def vertex_normals(vertices, tri, begin, around, across, normals, start, stop, out, kinds):  # type: ignore[no-untyped-def]
    """Angle-weighted unit normals, and whether a vertex is on an open border or where sheets merely touch.

    Source: J. A. Baerentzen and H. Aanaes, IEEE Trans. Vis. Comput. Graph. 11 (2005) 243. A vertex whose triangles do
    not form one fan has no such normal that tells sides: it gets CROWDED_VERTEX.
    """
    for v in range(start, stop):
        sx = sy = sz = 0.0
        kind = 0
        first = begin[v]
        size = begin[v + 1] - first
        for j in range(first, begin[v + 1]):
            s = around[j]
            k = 0 if tri[s, 0] == v else (1 if tri[s, 1] == v else 2)
            b, c = tri[s, (k + 1) % 3], tri[s, (k + 2) % 3]
            ux, uy, uz = (
                vertices[b, 0] - vertices[v, 0],
                vertices[b, 1] - vertices[v, 1],
                vertices[b, 2] - vertices[v, 2],
            )
            wx, wy, wz = (
                vertices[c, 0] - vertices[v, 0],
                vertices[c, 1] - vertices[v, 1],
                vertices[c, 2] - vertices[v, 2],
            )
            nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
            angle = math.atan2(math.sqrt(nx * nx + ny * ny + nz * nz), ux * wx + uy * wy + uz * wz)
            sx += angle * normals[s, 0]
            sy += angle * normals[s, 1]
            sz += angle * normals[s, 2]
            for e in (across[s, k], across[s, (k + 2) % 3]):
                if e == OPEN:
                    kind |= BORDER_VERTEX
                elif e < 0:
                    kind |= CROWDED_VERTEX
        if kind == 0 and size > 0:
            # walk the fan: it must come back after all triangles
            s = around[first]
            steps = 0
            while steps <= size:
                k = 0 if tri[s, 0] == v else (1 if tri[s, 1] == v else 2)
                s = across[s, k]
                steps += 1
                if s < 0 or s == around[first]:
                    break
            if steps != size:
                kind |= CROWDED_VERTEX
        length = math.sqrt(sx * sx + sy * sy + sz * sz)
        if length > 0.0:
            sx, sy, sz = sx / length, sy / length, sz / length
        out[v, 0], out[v, 1], out[v, 2] = sx, sy, sz
        kinds[v] = kind


@kernel
def flood(across_any, parity, start_order, component, turned, stack):  # type: ignore[no-untyped-def]
    """Give every triangle a component and say whether it must be turned to agree with the first of its component.

    ``across_any[s, k]`` is the one neighbour across edge k or -1, ``parity[s, k]`` is 1 where the two run through it in
    the same direction. Returns the number of components, negative where a surface cannot be oriented (Moebius).
    """
    count = 0
    torn = False
    for first in start_order:
        if component[first] >= 0:
            continue
        component[first] = count
        turned[first] = 0
        stack[0] = first
        top = 1
        while top > 0:
            top -= 1
            s = stack[top]
            for k in range(3):
                t = across_any[s, k]
                if t < 0:
                    continue
                want = turned[s] ^ parity[s, k]
                if component[t] < 0:
                    component[t] = count
                    turned[t] = want
                    stack[top] = t
                    top += 1
                elif turned[t] != want:
                    torn = True
        count += 1
    return -count if torn else count
