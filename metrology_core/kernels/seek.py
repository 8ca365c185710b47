"""Where the search begins: candidate poses on a sample, one compiled unit per family of features.

Each unit compiles by itself, so that the first fit of a sphere on a machine does not wait for the code of tori.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.bent import elbow_candidate, sector_candidates
from metrology_core.kernels.dense import frame_from
from metrology_core.kernels.layout import (
    CONE,
    I_CENTRE,
    I_SCALE,
    LINE,
    PLANE,
    ROW,
    SCORED,
    SPHERE,
    TORUS,
)
from metrology_core.kernels.normals import revolution_axes
from metrology_core.kernels.quick import elsewhere, quick_cylinder
from metrology_core.kernels.starts import (
    axis_from_apex,
    ellipse_candidates,
    from_direction,
    patch_at,
    patch_candidates,
    place,
    principal_axes,
    profile,
    project,
    right_handed,
    taubin_circle,
    taubin_sphere,
)

_DIRECTIONS = 110  # half a sphere at about 13 degrees


@inner
def sample(flat, centre, scale, sub):  # type: ignore[no-untyped-def]
    """A deterministic spread of distinct points in centred, scaled coordinates, of which every beginning is spread too.

    Steps of about the golden section of n, coprime to n, through the points taken as a ring.
    """
    n = flat.shape[0] // 3
    m = sub.shape[0] // 3
    step = max(1, int(0.6180339887498949 * n))
    while True:
        a, b = step, n
        while b > 0:
            a, b = b, a % b
        if a == 1:
            break
        step += 1
    k = 0
    for i in range(m):
        for a in range(3):
            sub[3 * i + a] = (flat[3 * k + a] - centre[a]) * scale
        k += step
        if k >= n:
            k -= n


@inner
def plain_starts(kind, sub, m, given, poses):  # type: ignore[no-untyped-def]
    """Lines, planes, spheres (one pose each) and circles; returns how many. given[0:3]: axis, NaN where it is free."""
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    if kind == SPHERE:
        taubin_sphere(sub, m, mean, poses[0])
        return 1
    direction = np.empty(3)
    frame = np.empty(9)
    known = not math.isnan(given[0])
    if kind == LINE or kind == PLANE:
        first = 0 if kind == LINE else 6
        for k in range(3):
            direction[k] = given[k] if known else axes[first + k]
        frame_from(direction, frame)
        place(mean, frame, 0.0, 0.0, 0.0, poses[0])
        poses[0, 12] = poses[0, 13] = 0.0
        return 1
    few = min(m, SCORED)
    work = np.empty((3, m))
    circle = np.empty(3)
    count = 0
    for t in range(1 if known else 3):
        for k in range(3):
            direction[k] = given[k] if known else axes[3 * t + k]
        frame_from(direction, frame)
        project(sub, few, mean, frame, work[0], work[1], work[2])
        if taubin_circle(work[0], work[1], few, circle) < np.inf:
            place(mean, frame, circle[0], circle[1], 0.0, poses[count])
            poses[count, 12], poses[count, 13] = circle[2], 0.0
            count += 1
    return count


@inner
def ellipse_starts(sub, m, given, poses):  # type: ignore[no-untyped-def]
    """Poses of ellipses; returns how many."""
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    known = not math.isnan(given[0])
    if known:
        direction = np.empty(3)
        frame = np.empty(9)
        for k in range(3):
            direction[k] = given[k]
        frame_from(direction, frame)
        for k in range(9):
            axes[k] = frame[k]
    count = ellipse_candidates(sub, m, mean, axes, np.empty((4, m)), known, poses, 0)
    right_handed(poses, count)
    return count


@inner
def axis_starts(kind, sub, m, mean, few, work, lines, poses):  # type: ignore[no-untyped-def]
    """Cylinders, cones and tori about the three axes (rows of `lines`) that the normals of the sample speak for."""
    places = np.empty((3, 3))
    apex = np.empty(3)
    across = np.empty((3, 3))
    direction = np.empty(3)
    frame = np.empty(9)
    if not revolution_axes(sub, m, mean, lines, places, apex, across):
        return -1
    x, y, g, f = work[0], work[1], work[2], work[3]
    count = 0
    for t in range(3):
        frame_from(lines[t], frame)
        project(sub, few, places[t], frame, x, y, g)
        if profile(kind, x, y, g, f, few, 0.0, 0.0, places[t], frame, poses[count]) < np.inf:
            count += 1
    if kind == TORUS:
        for t in range(3):
            frame_from(across[t], frame)
            project(sub, m, mean, frame, x, y, g)
            if elbow_candidate(x, y, g, m, mean, frame, poses[count]):
                count += 1
    if kind == CONE and axis_from_apex(sub, m, apex, direction):
        frame_from(direction, frame)
        project(sub, few, apex, frame, x, y, g)
        if profile(kind, x, y, g, f, few, 0.0, 0.0, apex, frame, poses[count]) < np.inf:
            count += 1
    return count


@inner
def round_starts(kind, sub, m, given, poses):  # type: ignore[no-untyped-def]
    """Poses of cylinders, cones and tori; returns how many (0: the points are all one)."""
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    direction = np.empty(3)
    frame = np.empty(9)
    work = np.empty((4, m))
    known = not math.isnan(given[0])
    if known:
        for k in range(3):
            direction[k] = given[k]
    few = min(m, SCORED)
    golden = math.pi * (3.0 - math.sqrt(5.0))
    tries = 3 + _DIRECTIONS
    count = 0
    lines = np.empty((3, 3))
    turned = False
    if not known:
        found = axis_starts(kind, sub, m, mean, few, work, lines, poses)
        turned = found >= 0
        if turned:
            count = found
            tries += 3
    for t in range(1 if known else tries):
        if turned and t >= tries - 3:
            for k in range(3):
                direction[k] = lines[t - tries + 3, k]
        elif not known and t < 3:
            for k in range(3):
                direction[k] = axes[3 * t + k]
        elif not known:
            z = (t - 2.5) / _DIRECTIONS
            r = math.sqrt(1.0 - z * z)
            c, s = r * math.cos(golden * t), r * math.sin(golden * t)
            for k in range(3):
                direction[k] = c * axes[k] + s * axes[3 + k] + z * axes[6 + k]
        if from_direction(kind, sub, few, mean, direction, work, poses[count]) < np.inf:
            count += 1
    patch = np.empty(14)
    if not known and patch_at(sub, m, mean, axes, patch):
        count = patch_candidates(kind, patch, poses, count)
    if not known and kind == CONE:
        count = sector_candidates(sub, m, mean, axes, poses, count)
    if not known and kind == TORUS:
        x, y, g = work[0], work[1], work[2]
        for t in range(3):
            for k in range(3):
                direction[k] = axes[3 * t + k]
            frame_from(direction, frame)
            project(sub, m, mean, frame, x, y, g)
            if elbow_candidate(x, y, g, m, mean, frame, poses[count]):
                count += 1
    return count


@kernel
def plain_candidates(kind, flat, info, given, sub, poses):  # type: ignore[no-untyped-def]
    """Draw the sample `sub` and write candidates of a line, plane, sphere or circle; returns how many."""
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    return plain_starts(kind, sub, sub.shape[0] // 3, given, poses)


@kernel
def ellipse_search(kind, flat, info, given, sub, poses):  # type: ignore[no-untyped-def]
    """The same for ellipses."""
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    return ellipse_starts(sub, sub.shape[0] // 3, given, poses)


@kernel
def round_candidates(kind, flat, info, given, sub, poses):  # type: ignore[no-untyped-def]
    """The same for cylinders, cones and tori: the wide search."""
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    return round_starts(kind, sub, sub.shape[0] // 3, given, poses)


@kernel
def quick_axes(kind, flat, info, given, sub, poses):  # type: ignore[no-untyped-def]
    """The same for cones and tori, about the axes that estimated normals speak for alone."""
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    m = sub.shape[0] // 3
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    return max(0, axis_starts(kind, sub, m, mean, min(m, SCORED), np.empty((4, m)), np.empty((3, 3)), poses))


@kernel
def quick_circle(flat, info, rows, sub, scores, pose):  # type: ignore[no-untyped-def]
    """Draw the sample and put the best cylinder of the fan into `pose` (see kernels.quick); False without one."""
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    m = sub.shape[0] // 3
    own = np.zeros(7)
    own[3] = 1.0
    for i in range(m):
        for a in range(3):
            own[4 + a] += sub[3 * i + a] / m
    return quick_cylinder(sub, own, rows, np.empty(9 * ROW), scores, pose)


@kernel
def other_axes(rows, scores, pose):  # type: ignore[no-untyped-def]
    """Least mean squared distance that the fan predicts for axes far from that of `pose`."""
    return elsewhere(rows, scores, pose)


__all__ = [
    "ellipse_search",
    "other_axes",
    "plain_candidates",
    "quick_axes",
    "quick_circle",
    "round_candidates",
]
