"""The probe: lobing as a smooth function of the approach direction (a touch trigger has three lobes)."""

from __future__ import annotations

import numpy as np


def lobes(normals: np.ndarray, orders: tuple[int, ...]) -> np.ndarray:
    """(2 len(orders), n) functions of the approach direction: ``sin^m(theta) cos/sin(m phi)`` about z, the axis of the
    stylus; smooth at the pole, so a point at the pole has no lobing."""
    phi = np.arctan2(normals[:, 1], normals[:, 0])
    sine = np.hypot(normals[:, 0], normals[:, 1])
    rows = []
    for m in orders:
        rows += [sine**m * np.cos(m * phi), sine**m * np.sin(m * phi)]
    return np.array(rows).reshape(2 * len(orders), len(normals))


def sphere_points() -> np.ndarray:
    """(25, 3) directions of the probing test of ISO 10360-5: the pole, and 4, 8, 12 points at 22.5, 45... degrees."""
    rows = [(0.0, 0.0, 1.0)]
    for polar, count, turn in ((22.5, 4, 0.0), (45.0, 8, 22.5), (67.5, 4, 0.0), (90.0, 8, 22.5)):
        t = np.radians(polar)
        for k in range(count):
            a = np.radians(turn + 360.0 * k / count)
            rows.append((np.sin(t) * np.cos(a), np.sin(t) * np.sin(a), np.cos(t)))
    return np.array(rows)


def off_sphere(directions: np.ndarray) -> np.ndarray:
    """(n, n) projector: from radial errors to their residuals about the least-squares sphere (linear, exact for small
    errors)."""
    design = np.column_stack([directions, np.ones(len(directions))])
    q, _ = np.linalg.qr(design)
    return np.asarray(np.eye(len(directions)) - q @ q.T)
