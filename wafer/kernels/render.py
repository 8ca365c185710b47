"""Kernel of the SEM simulator: lays tabulated edge responses into an image."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel


@kernel
def render_edges(
    edges: np.ndarray,
    sign: np.ndarray,
    table: np.ndarray,
    half: float,
    step: float,
    start: int,
    stop: int,
    plane: np.ndarray,
    out: np.ndarray,
) -> int:
    """Add lines to the rows ``start`` to ``stop`` of ``out`` (ny, nx); 0 outside the lines, 1 inside.

    ``edges`` (n_edges, ny) are positions in pixels, half of them with ``sign`` +1 (line to the right of the edge),
    half with -1; ``table`` holds the response from ``-half`` to ``+half`` pixels in steps of ``step`` over the
    distance into the line. ``plane`` (nx + 1) is scratch for what lies beyond the tables.
    """
    n_edges = edges.shape[0]
    nx = out.shape[1]
    last = table.size - 2
    for y in range(start, stop):
        for x in range(nx + 1):
            plane[x] = 0.0
        for e in range(n_edges):
            position = edges[e, y]
            direction = sign[e]
            first = int(np.ceil(position - half))
            end = int(np.floor(position + half))
            if direction > 0:
                plane[min(max(end + 1, 0), nx)] += 1.0
            else:
                plane[0] += 1.0
                plane[min(max(first, 0), nx)] -= 1.0
            for x in range(max(first, 0), min(end, nx - 1) + 1):
                where = (direction * (x - position) + half) / step
                k = min(max(int(where), 0), last)
                t = where - k
                out[y, x] += table[k] * (1.0 - t) + table[k + 1] * t
        # A line is the overlap of two half planes: one whole plane per line goes away again.
        level = -0.5 * n_edges
        for x in range(nx):
            level += plane[x]
            out[y, x] += level
    return 0
