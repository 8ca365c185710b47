"""Everything of a nominal within a radius, once for each group (CAD face, CAD edge) of its triangles."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import kernel
from pointcloud.kernels.closest import CX, CY, CZ, SCALE, SLACK, bound_of, nearest_on
from pointcloud.kernels.lanes import BOX_ROWS, LEAF_ROWS, WIDTH, lowest, sieve_boxes, sieve_triangles

MOST = 16
"""Groups kept for one point; the nearest ones where there are more."""


@kernel
def groups_within(  # type: ignore[no-untyped-def]
    points, radius, start, stop, nodes, leaves, first, vertices, tri, normals, group_of, numbers, counts, groups, slots,
    square, feet, stack, near,
):  # fmt: skip
    """Nearest triangle of every group within radius[i] of point i: group, slot, squared distance and foot (scaled)."""
    n_inner = len(first)
    scale = numbers[SCALE]
    for i in range(start, stop):
        x, y, z = (
            (points[i, 0] - numbers[CX]) * scale,
            (points[i, 1] - numbers[CY]) * scale,
            (points[i, 2] - numbers[CZ]) * scale,
        )
        counts[i] = 0
        reach = max(abs(x), abs(y), abs(z))
        if not (math.isfinite(reach) and math.isfinite(radius[i])):
            continue
        slack = numbers[SLACK] * max(1.0, reach)
        limit = (radius[i] * scale) ** 2
        bound = bound_of(limit, slack)
        fx, fy, fz = np.float32(x), np.float32(y), np.float32(z)
        stack[0] = 0
        top = 1
        while top > 0:
            top -= 1
            node = stack[top]
            if node < n_inner:
                mask = sieve_boxes(nodes, node * BOX_ROWS * WIDTH, fx, fy, fz, bound, near)
                while mask != 0:
                    stack[top] = first[node] + lowest(mask)
                    mask &= mask - 1
                    top += 1
                continue
            mask = sieve_triangles(leaves, (node - n_inner) * LEAF_ROWS * WIDTH, fx, fy, fz, bound, near)
            while mask != 0:
                s = (node - n_inner) * WIDTH + lowest(mask)
                mask &= mask - 1
                d2, _, gx, gy, gz, _ = nearest_on(vertices, tri, normals, s, x, y, z)
                if d2 > limit:
                    continue
                g = group_of[s]
                place = -1
                worst = 0
                for k in range(counts[i]):
                    if groups[i, k] == g:
                        place = k
                    if square[i, k] > square[i, worst]:
                        worst = k
                if place < 0:
                    if counts[i] < MOST:
                        place = counts[i]
                        counts[i] += 1
                    elif d2 < square[i, worst]:
                        place = worst
                    else:
                        continue
                elif d2 > square[i, place] or (d2 == square[i, place] and s > slots[i, place]):
                    continue
                groups[i, place] = g
                slots[i, place] = s
                square[i, place] = d2
                feet[i, place, 0], feet[i, place, 1], feet[i, place, 2] = gx, gy, gz
