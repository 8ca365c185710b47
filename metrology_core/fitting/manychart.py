"""`canonical` for many poses at once: sign rule, documented basis, parameters and chart turns as arrays."""

from __future__ import annotations

import math

import numpy as np

from metrology_core.fitting.canonical import _SHIFT, _TILT
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

_SIGN_THRESHOLD = 0.1  # that of features.sign_of


def signs_of(axes: np.ndarray) -> np.ndarray:
    """(k,) +1 or -1 that make directions (k, d) follow the house rule (`features.sign_of`)."""
    result = np.ones(len(axes))
    undecided = np.ones(len(axes), bool)
    for component in axes.T[::-1]:
        here = undecided & (np.abs(component) > _SIGN_THRESHOLD)
        result[here & (component < 0.0)] = -1.0
        undecided &= ~here
    return result


def bases(axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u and v (k, 3) of unit directions (k, 3): `features.basis`, the same arithmetic for many."""
    size = np.abs(axes)
    x_least = (size[:, 0] <= size[:, 1]) & (size[:, 0] <= size[:, 2])
    pick = np.where(x_least, 0, np.where(size[:, 1] <= size[:, 2], 1, 2))
    every = np.arange(len(axes))
    u = -axes[every, pick][:, None] * axes
    u[every, pick] += 1.0
    u /= np.sqrt(u[:, 0] * u[:, 0] + u[:, 1] * u[:, 1] + u[:, 2] * u[:, 2])[:, None]
    x, y, z = axes.T
    a, b, c = u.T
    return u, np.column_stack((y * c - z * b, z * a - x * c, x * b - y * a))


def canonical_poses(row: Row, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same geometries (k, POSE) with the house's signs and bases, and the sign (k,) that each axis was given."""
    new = poses.copy()
    kind, planar = row.kind, row.dimension == 2
    if kind == layout.SPHERE:
        return new, np.ones(len(poses))
    w = poses[:, 9:12]
    if kind == layout.CONE:
        sign = np.where(poses[:, 13] < 0.0, -1.0, 1.0)
        flat = poses[:, 13] == 0.0
        sign[flat] = signs_of(w[flat])
        new[:, 13] = np.where(sign < 0.0, -poses[:, 13], poses[:, 13])
    elif planar:
        sign = signs_of(w[:, :2]) if kind == layout.LINE else np.where(w[:, 2] > 0.0, 1.0, -1.0)
    else:
        sign = signs_of(w)
    w = sign[:, None] * w
    if kind == layout.ELLIPSE:
        swap = poses[:, 12] < poses[:, 13]
        u = np.where(swap[:, None], poses[:, 6:9], poses[:, 3:6])
        u = u * signs_of(u[:, :2] if planar else u)[:, None]
        v = np.cross(w, u)
        new[:, 12] = np.where(swap, poses[:, 13], poses[:, 12])
        new[:, 13] = np.where(swap, poses[:, 12], poses[:, 13])
    elif planar and kind == layout.LINE:
        u = np.column_stack((-w[:, 1], w[:, 0], np.zeros(len(w))))
        v = np.tile((0.0, 0.0, 1.0), (len(w), 1))
    else:
        u, v = bases(w)
    new[:, 3:6], new[:, 6:9], new[:, 9:12] = u, v, w
    return new, sign


def turns(row: Row, old: np.ndarray, new: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """T (k, p, p) of each: canonical chart = T solver's chart (see `canonical.canonical_pose`)."""
    kind = row.kind
    p = layout.N_PARAMETERS[kind]
    result = np.tile(np.eye(p), (len(old), 1, 1))
    if kind == layout.SPHERE:
        return result
    old_uv = old[:, 3:9].reshape(-1, 2, 3)
    new_uv = new[:, 3:9].reshape(-1, 2, 3)
    a = np.einsum("kai,kbi->kab", new_uv, old_uv)
    su, sv, sw = _SHIFT[kind]
    if su is not None and sv is not None:
        result[:, su : sv + 1, su : sv + 1] = a
    if sw is not None:
        result[:, sw, sw] = sign
    tu, tv = _TILT[kind]
    result[:, tu : tv + 1, tu : tv + 1] = sign[:, None, None] * a
    if kind == layout.CONE:
        result[:, 5, 5] = sign
    if kind == layout.ELLIPSE:
        result[:, 5, 5] = sign
        swap = old[:, 12] < old[:, 13]
        result[swap, 6, 6] = result[swap, 7, 7] = 0.0
        result[swap, 6, 7] = result[swap, 7, 6] = 1.0
    return result


def _blank(row: Row, count: int) -> dict[str, np.ndarray]:
    """NaN arrays of the parameters of slots and pairs of planes, which have no pose: they are filled item by item."""
    one, d = np.full(count, math.nan), np.full((count, row.dimension), math.nan)
    if row.name == "slot":
        flat = {"center": d, "direction": d.copy(), "length": one, "width": one.copy()}
        return flat if row.dimension == 2 else {"center": d, "normal": d.copy(), **flat}
    return {"point": d, "normal": d.copy(), "width": one}


def parameter_arrays(row: Row, poses: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters by name, (k, 3), (k, 2) or (k,), of canonical poses: those of `canonical.feature_of`."""
    d, kind = row.dimension, row.kind
    if not row.compiled:
        return _blank(row, len(poses))
    place = (centre + poses[:, :3] / scale[:, None])[:, :d]
    w = poses[:, 9 : 9 + d]
    r, s = poses[:, 12] / scale, poses[:, 13] / scale
    if kind == layout.LINE:
        return {"point": place, "direction": w}
    if kind == layout.PLANE:
        return {"point": place, "normal": w}
    if kind == layout.SPHERE:
        return {"center": place, "radius": r}
    if kind == layout.CYLINDER:
        return {"point": place, "axis": w, "radius": r}
    if kind == layout.CONE:
        return {"point": place, "axis": w, "radius": r, "half_angle": poses[:, 13]}
    if kind == layout.TORUS:
        return {"center": place, "axis": w, "major_radius": r, "minor_radius": s}
    result = {"center": place} if d == 2 else {"center": place, "normal": w}
    if kind == layout.CIRCLE:
        return {**result, "radius": r}
    return {**result, "major_axis": poses[:, 3 : 3 + d], "semi_major": r, "semi_minor": s}
