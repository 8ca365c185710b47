"""Last steps of a sphere or circle of which the points see a small piece, by foot point and curvature.

Of a radius ten times the extent of the points, distances as root less radius carry the rounding of the radius, which
the geometry of the piece magnifies a thousand times in the centre. Written with the foot point (`fitting.curvature`)
they carry the rounding of the points alone.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

FROM = 3.0  # radius over half the extent of the points
MOST = 20_000  # points: with more the rounding averages out, and the passes would cost
_TURNS = 6


def refined(row: Row, xyz: np.ndarray, weights: np.ndarray, pose: np.ndarray, centre: np.ndarray, scale: float) -> None:
    """Refine `pose` (centred, scaled coordinates) in place where it is that of a shallow sphere or plane circle.

    xyz (n, 3) finite points, weights (n,) or empty. The pose stays where the steps do not settle, or lead elsewhere.
    """
    planar = row.kind == layout.CIRCLE and row.dimension == 2
    if not (row.kind == layout.SPHERE or planar) or not FROM < pose[12] < 1e6 or len(xyz) > MOST:
        return
    d = row.dimension
    middle = 0.5 * (xyz.max(axis=0) + xyz.min(axis=0))[:d]
    local = (xyz[:, :d] - middle) * scale
    root = np.sqrt(weights)[:, None] if weights.size else np.ones((len(xyz), 1))
    place = pose[:d] + (centre[:d] - middle) * scale  # of the centre, about the middle of the points
    away = float(np.linalg.norm(place))
    normal, k = place / away, 1.0 / float(pose[12])
    rho = away - float(pose[12])
    before = math.inf
    for _ in range(_TURNS):
        _, _, frame = np.linalg.svd(normal[None])
        across = frame[1:]
        p = local - rho * normal
        pa, pn = p @ across.T, p @ normal
        q2 = np.einsum("ni,ni->n", p, p)
        t = 0.5 * k * q2 - pn
        s = np.sqrt(1.0 + 2.0 * k * t)
        c = 2.0 * t / (1.0 + s)
        j = np.column_stack(((1.0 - k * pn) / s, -(k * rho + 1.0) * pa / s[:, None], 0.5 * (q2 - c * c) / s)) * root
        if not np.isfinite(j).all():
            return
        norms = np.linalg.norm(j, axis=0)
        step = -np.linalg.lstsq(j / norms, c * root[:, 0], rcond=None)[0] / norms
        size = float(np.abs(j @ step).max())
        rho += float(step[0])
        normal = normal + step[1:-1] @ across
        normal = normal / float(np.linalg.norm(normal))
        k += float(step[-1])
        if size <= 1e-17 or (size <= 1e-12 and size >= 0.5 * before):
            break
        before = size
    if not (before <= 1e-10 or size <= 1e-10) or not k > 0.0 or abs(k * pose[12] - 1.0) > 1e-6:
        return
    pose[:d] = (rho + 1.0 / k) * normal - (centre[:d] - middle) * scale
    pose[12] = 1.0 / k
