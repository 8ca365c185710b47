"""Building the tree: triangles are put in an order whose aligned runs of 8, 64, 512, ... are compact in space.

The order is the tree: node j of a level covers items 8j to 8j+7 of the level below, so no child pointers are needed.
Each cut is across the longest extent of the centroids, at a power of two, which keeps every node but the last full.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from pointcloud.kernels.lanes import BOX_ROWS, LEAF_ROWS, WIDTH

_ULP = 1.2e-7  # one rounding step of single precision, relative


@kernel
def centroids(vertices, faces, start, stop, records, words):  # type: ignore[no-untyped-def]
    """Single-precision centroid (times three) and index of each triangle."""
    for f in range(start, stop):
        for k in range(3):
            records[f, k] = vertices[faces[f, 0], k] + vertices[faces[f, 1], k] + vertices[faces[f, 2], k]
        words[f, 3] = f


@inner
def longest_axis(records, lo, hi):  # type: ignore[no-untyped-def]
    x0 = x1 = records[lo, 0]
    y0 = y1 = records[lo, 1]
    z0 = z1 = records[lo, 2]
    for i in range(lo + 1, hi):
        x, y, z = records[i, 0], records[i, 1], records[i, 2]
        x0, x1 = min(x0, x), max(x1, x)
        y0, y1 = min(y0, y), max(y1, y)
        z0, z1 = min(z0, z), max(z1, z)
    x1, y1, z1 = x1 - x0, y1 - y0, z1 - z0
    if x1 >= y1 and x1 >= z1:
        return 0
    return 1 if y1 >= z1 else 2


@inner
def swap(words, i, j):  # type: ignore[no-untyped-def]
    for k in range(4):
        t = words[i, k]
        words[i, k] = words[j, k]
        words[j, k] = t


@inner
def select(records, words, lo, hi, k, axis):  # type: ignore[no-untyped-def]
    """Rearrange records lo..hi so that the smallest along the axis come before place k."""
    hi -= 1
    while hi > lo:
        mid = (lo + hi) >> 1
        a, b, c = records[lo, axis], records[mid, axis], records[hi, axis]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = lo, hi
        while i <= j:
            while records[i, axis] < pivot:
                i += 1
            while records[j, axis] > pivot:
                j -= 1
            if i <= j:
                swap(words, i, j)
                i += 1
                j -= 1
        if k <= j:
            hi = j
        elif k >= i:
            lo = i
        else:
            return


@inner
def cut_at(n):  # type: ignore[no-untyped-def]
    """Size of the left part: the smallest power of two times WIDTH that is at least half."""
    left = WIDTH
    while 2 * left < n:
        left *= 2
    return left


@kernel
def cut(records, words, lo, hi):  # type: ignore[no-untyped-def]
    """One cut of lo..hi; returns where the right part begins."""
    middle = lo + cut_at(hi - lo)
    select(records, words, lo, hi, middle, longest_axis(records, lo, hi))
    return middle


@kernel
def sort_ranges(records, words, ranges, start, stop, stack):  # type: ignore[no-untyped-def]
    """Cut each range down to single leaves."""
    for r in range(start, stop):
        stack[0, 0] = ranges[r, 0]
        stack[0, 1] = ranges[r, 1]
        top = 1
        while top > 0:
            top -= 1
            lo, hi = stack[top, 0], stack[top, 1]
            if hi - lo <= WIDTH:
                continue
            middle = lo + cut_at(hi - lo)
            select(records, words, lo, hi, middle, longest_axis(records, lo, hi))
            stack[top, 0] = lo
            stack[top, 1] = middle
            stack[top + 1, 0] = middle
            stack[top + 1, 1] = hi
            top += 2


@kernel
def fill_leaves(vertices, tri, normals, start, stop, leaves, boxes):  # type: ignore[no-untyped-def]
    """Single-precision triangles of each leaf, and its box (rounded outwards); empty places are far away."""
    m = len(tri)
    for leaf in range(start, stop):
        base = leaf * LEAF_ROWS * WIDTH
        for k in range(3):
            boxes[leaf, k] = np.float32(np.inf)
            boxes[leaf, k + 3] = np.float32(-np.inf)
        for lane in range(WIDTH):
            s = leaf * WIDTH + lane
            if s >= m:
                for row in range(LEAF_ROWS):
                    leaves[base + row * WIDTH + lane] = np.float32(1e18) if row < 9 else np.float32(0.0)
                continue
            for c in range(3):
                for k in range(3):
                    x = vertices[tri[s, c], k]
                    leaves[base + (3 * c + k) * WIDTH + lane] = x
                    margin = _ULP * (abs(x) + 1e-30)
                    boxes[leaf, k] = min(boxes[leaf, k], np.float32(x - margin))
                    boxes[leaf, k + 3] = max(boxes[leaf, k + 3], np.float32(x + margin))
            for k in range(3):
                leaves[base + (9 + k) * WIDTH + lane] = normals[s, k]


@kernel
def join_boxes(boxes, start, stop, nodes, offset, above):  # type: ignore[no-untyped-def]
    """Nodes over the boxes of the level below, written from node `offset` on; their own boxes go to `above`."""
    count = len(boxes)
    for node in range(start, stop):
        base = (offset + node) * BOX_ROWS * WIDTH
        for k in range(3):
            above[node, k] = np.float32(np.inf)
            above[node, k + 3] = np.float32(-np.inf)
        for lane in range(WIDTH):
            child = node * WIDTH + lane
            for k in range(3):
                low = np.float32(np.inf) if child >= count else boxes[child, k]
                high = np.float32(-np.inf) if child >= count else boxes[child, k + 3]
                nodes[base + k * WIDTH + lane] = low
                nodes[base + (k + 3) * WIDTH + lane] = high
                above[node, k] = min(above[node, k], low)
                above[node, k + 3] = max(above[node, k + 3], high)


@kernel
def move_vertices(source, centre, factor, rank, start, stop, out):  # type: ignore[no-untyped-def]
    """Vertices in their new order, about the centre, times a power of two."""
    for v in range(start, stop):
        r = rank[v]
        if r >= 0:
            for k in range(3):
                out[r, k] = (source[v, k] - centre[k]) * factor


@kernel
def plane_normals(vertices, tri, start, stop, normals, heights):  # type: ignore[no-untyped-def]
    """Unit normals of triangles, exact enough on slivers; zero where a triangle has no area to rounding.

    The cross product of two short edges is made perpendicular to the longest edge: rounding then turns the plane of a
    sliver about that edge only, where the triangle is too narrow to feel it. `heights` is height / longest edge.
    """
    for s in range(start, stop):
        ax, ay, az = vertices[tri[s, 0], 0], vertices[tri[s, 0], 1], vertices[tri[s, 0], 2]
        bx, by, bz = vertices[tri[s, 1], 0], vertices[tri[s, 1], 1], vertices[tri[s, 1], 2]
        cx, cy, cz = vertices[tri[s, 2], 0], vertices[tri[s, 2], 1], vertices[tri[s, 2], 2]
        ux, uy, uz = bx - ax, by - ay, bz - az
        vx, vy, vz = cx - bx, cy - by, cz - bz
        wx, wy, wz = ax - cx, ay - cy, az - cz
        uu = ux * ux + uy * uy + uz * uz
        vv = vx * vx + vy * vy + vz * vz
        ww = wx * wx + wy * wy + wz * wz
        if uu >= vv and uu >= ww:
            lx, ly, lz, ll = ux, uy, uz, uu
            nx, ny, nz = vy * wz - vz * wy, vz * wx - vx * wz, vx * wy - vy * wx
        elif vv >= ww:
            lx, ly, lz, ll = vx, vy, vz, vv
            nx, ny, nz = wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux
        else:
            lx, ly, lz, ll = wx, wy, wz, ww
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        along = 0.0 if ll == 0.0 else (nx * lx + ny * ly + nz * lz) / ll
        nx, ny, nz = nx - along * lx, ny - along * ly, nz - along * lz
        area = math.sqrt(nx * nx + ny * ny + nz * nz)
        heights[s] = 0.0 if ll == 0.0 else area / ll
        # below this the direction about the longest edge is rounding and nothing else
        if heights[s] < 1e-14:
            normals[s, 0] = normals[s, 1] = normals[s, 2] = 0.0
        else:
            normals[s, 0], normals[s, 1], normals[s, 2] = nx / area, ny / area, nz / area
