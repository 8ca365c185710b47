"""Sets with known answers for the rarer criteria: feet on a feature, residuals that satisfy the optimality condition.

Written on the public sampler of features and linear programs: nothing of the engine under test is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linprog, nnls

from metrology_core.features import ParallelLines2D, ParallelPlanes, Slot2D, basis
from metrology_core.testing.surfaces import sample_feet

SHAPES = {"cone": "half_angle", "torus": "major_radius", "ellipse": "axis_ratio"}


def sampled(feature: Any, n: int, seed: int, **options: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feet (n, d), normals and derivatives (n, p) of the first residual."""
    rng = np.random.default_rng(seed)
    if feature.kind == "parallel_planes":
        side = np.where(rng.random(n) < 0.5, 1.0, -1.0)
        if feature.dimension == 2:
            left = np.array((-feature.normal[1], feature.normal[0]))
            x = rng.uniform(-20.0, 20.0, n)
            feet = feature.point + np.outer(x, left) + np.outer(0.5 * feature.width * side, feature.normal)
            return feet, side[:, None] * feature.normal, np.column_stack((-side, side * x, np.full(n, -0.5)))
        u, v = basis(feature.normal)
        x, y = rng.uniform(-20.0, 20.0, (2, n))
        feet = feature.point + np.outer(x, u) + np.outer(y, v) + np.outer(0.5 * feature.width * side, feature.normal)
        return feet, side[:, None] * feature.normal, np.column_stack((-side, side * x, side * y, np.full(n, -0.5)))
    if feature.kind == "slot":
        return _slot(feature, rng.uniform(0.0, 1.0, n))
    found = sample_feet(feature, n, rng, **options)
    return found.points, found.directions[0], found.jacobians[0]


def _slot(slot: Slot2D, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    half, r = 0.5 * (slot.length - slot.width), 0.5 * slot.width
    lengths = np.array((2.0 * half, np.pi * r, 2.0 * half, np.pi * r))
    ends = np.cumsum(lengths)
    t = place * ends[-1]
    part = np.searchsorted(ends, t)
    s = t - np.concatenate(((0.0,), ends))[part]
    turn = np.where(part == 1, 0.5 * np.pi - s / r, -0.5 * np.pi - s / r)
    end = np.select([part == 1, part == 3], [1.0, -1.0], 0.0)
    nx = np.where(end == 0.0, 0.0, np.cos(turn))
    ny = np.where(end == 0.0, np.where(part == 0, 1.0, -1.0), np.sin(turn))
    x = np.select([part == 0, part == 2], [-half + s, half - s], end * half + r * nx)
    y = r * ny
    u = slot.direction
    v = np.array((-u[1], u[0]))
    feet = slot.center + np.outer(x, u) + np.outer(y, v)
    j = np.column_stack((-nx, -ny, nx * y - ny * x, -0.5 * end * nx, 0.5 * end * nx - 0.5))
    return feet, np.outer(nx, u) + np.outer(ny, v), j


def least_absolute(feature: Any, n: int, size: float, seed: int, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """Points whose L1 fit is the feature, and the rows that lie on it: a basic solution of J's = 0, |s| <= 1 has as
    many entries inside the bounds as there are parameters; those points lie on the feature, the others on the side
    s."""
    feet, normals, j = sampled(feature, n, seed, **options)
    rng = np.random.default_rng(seed + 1)
    scale = np.abs(j).max(axis=0)
    for _ in range(50):
        found = linprog(
            rng.standard_normal(n), A_eq=(j / scale).T, b_eq=np.zeros(j.shape[1]), bounds=(-1.0, 1.0), method="highs-ds"
        )
        free = np.flatnonzero(np.abs(found.x) < 1.0 - 1e-6)
        if len(free) == j.shape[1] and np.abs(found.x[free]).max() < 0.97:
            break
    else:
        raise AssertionError("no set")
    e = np.sign(found.x) * rng.uniform(0.02, 1.0, n) * size
    e[free] = 0.0
    return feet + e[:, None] * normals, free


def one_sided(
    feature: Any, n: int, size: float, side: float, seed: int, **options: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points whose least-squares fit with all points on one side is the feature, and its contacts: J'e = side sum u J.

    The gradient of the residuals of half of the points lies in the cone of the other half; its corners are contacts.
    """
    feet, normals, j = sampled(feature, n, seed, **options)
    rng = np.random.default_rng(seed + 1)
    scale = np.abs(j).max(axis=0)
    e = np.zeros(n)
    half = n // 2
    e[:half] = rng.uniform(0.05, 1.0, half) * size
    u, rest = nnls((j[half:] / scale).T, (j[:half] / scale).T @ e[:half])
    assert rest <= 1e-12 * size * n
    contacts = half + np.flatnonzero(u > 1e-9 * u.max())
    keep = np.concatenate((np.arange(half), contacts))
    points = feet + (side * e)[:, None] * normals
    return points[keep], half + np.arange(len(contacts))


def radial(feature: Any, n: int, size: float, inscribed: bool, seed: int, **options: float) -> np.ndarray:
    """Points whose inscribed or circumscribed feature of fixed shape is the feature.

    Contacts: 0 in the hull of the derivatives by the free coordinates over that by the size (cone: radius at the foot
    of the centroid, see the test), all others off it on one side.
    """
    feet, normals, j = sampled(feature, n, seed, **options)
    names = list(feature.chart)
    if feature.kind == "ellipse":
        grow = (
            j[:, names.index("semi_major")] + j[:, names.index("semi_minor")] * feature.semi_minor / feature.semi_major
        )
        gone = {"semi_major", "semi_minor", "shift_w", "tilt_u", "tilt_v"}
        if feature.dimension == 2:
            gone = {"semi_major", "semi_minor"}
    else:
        size_name = {"cone": "radius", "torus": "minor_radius", "parallel_planes": "width"}[feature.kind]
        grow = j[:, names.index(size_name)]
        gone = {size_name, "half_angle", "major_radius"}
    rows = j[:, [i for i, name in enumerate(names) if name not in gone]] / grow[:, None]
    rng = np.random.default_rng(seed + 1)
    # a corner of {lambda >= 0, sum lambda = 1, sum lambda rows = 0}
    scale = np.abs(rows).max(axis=0)
    found = linprog(
        rng.random(n), A_eq=np.vstack(((rows / scale).T, np.ones(n))), b_eq=np.append(np.zeros(rows.shape[1]), 1.0),
        method="highs-ds",
    )  # fmt: skip
    contacts = np.flatnonzero(found.x > 1e-9)
    side = 1.0 if inscribed else -1.0
    e = side * rng.uniform(0.1, 1.0, n) * size
    e[contacts] = 0.0
    return feet + e[:, None] * normals


PAIR = ParallelPlanes((120.0, -80.0, 40.0), (0.36, -0.48, 0.8), 12.0)
PAIR_2D = ParallelLines2D((120.0, -80.0), (0.6, 0.8), 12.0)
SLOT = Slot2D((50.0, 20.0), (0.8, 0.6), 40.0, 14.0)
