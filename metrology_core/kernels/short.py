"""The short way to a solution: a handful of cheap starts, and a judgement whether the best of them is beyond doubt.

Most data need no wide search: a start from principal axes falls into the right minimum. What proves it is the pattern
of the residuals: about the right feature those of neighbouring points are unrelated, about a wrong one they form a
smooth pattern. Where they do (form error makes one, too), or where the points determine the feature badly, the answer
is no, and the wide search decides.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner, kernel
from metrology_core.kernels.accumulate import feature_rows, load_block
from metrology_core.kernels.bent import elbow_candidate
from metrology_core.kernels.dense import copy_into, frame_from
from metrology_core.kernels.descent import CONVERGED, OUTCOME, packed, slide, solve
from metrology_core.kernels.fitmain import conditioning, sample
from metrology_core.kernels.layout import (
    BLOCK,
    CIRCLE,
    I_CENTRE,
    I_CENTROID,
    I_CONDITION,
    I_LEAST,
    I_SCALE,
    N_INFO,
    N_PARAMETERS,
    N_ROWS,
    ROWS2,
    SCORED,
    SPHERE,
)
from metrology_core.kernels.starts import (
    ellipse_candidates,
    from_direction,
    mean_and_covariance,
    place,
    principal_axes,
    project,
    right_handed,
    taubin_sphere,
)

MAX_STARTS = 8
_SHORT_PASSES, _LONG_PASSES = 5, 60
# What the residuals of a sample must look like (rms in units of the extent, see `convincing`).
_EXACT = 1e-10
_WHITE = 0.6


@kernel
def simple_start(kind, given, flat, info, sub, poses):  # type: ignore[no-untyped-def]
    """The one start of a sphere, or of a line or plane of known direction; returns how many (0: points all one)."""
    m = sub.shape[0] // 3
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    mean = np.empty(3)
    cov = np.empty((3, 3))
    mean_and_covariance(sub, m, mean, cov)
    if not cov[0, 0] + cov[1, 1] + cov[2, 2] > 0.0:
        return 0
    if kind == SPHERE:
        taubin_sphere(sub, m, mean, poses[0])
    else:
        frame = np.empty(9)
        frame_from(given[0:3], frame)
        place(mean, frame, 0.0, 0.0, 0.0, poses[0])
        poses[0, 12] = poses[0, 13] = 0.0
    if not math.isnan(given[3]):
        poses[0, 12] = given[3]
    return 1


@kernel
def round_starts(kind, given, flat, info, sub, poses):  # type: ignore[no-untyped-def]
    """Starts of a circle, cylinder, cone or torus about the principal axes (or the known one)."""
    m = sub.shape[0] // 3
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    few = min(m, SCORED)
    work = np.empty((4, m))
    direction = np.empty(3)
    known = not math.isnan(given[0])
    count = 0
    for t in range(1 if known else 3):
        for k in range(3):
            direction[k] = given[k] if known else axes[6 - 3 * t + k]
        if from_direction(kind, sub, m if kind == CIRCLE else few, mean, direction, work, poses[count]) < np.inf:
            count += 1
        if kind == CIRCLE:
            break
    for c in range(count):
        for k in range(2):
            if not math.isnan(given[3 + k]):
                poses[c, 12 + k] = given[3 + k]
    return count


@kernel
def elbow_starts(sub, poses, count):  # type: ignore[no-untyped-def]
    """Tori of which the sample is an elbow along one of its principal axes, after the starts already there."""
    m = sub.shape[0] // 3
    mean = np.empty(3)
    axes = np.empty(9)
    principal_axes(sub, m, mean, axes)
    frame = np.empty(9)
    work = np.empty((3, m))
    for t in range(3):
        frame_from(axes[3 * t : 3 * t + 3], frame)
        project(sub, m, mean, frame, work[0], work[1], work[2])
        if elbow_candidate(work[0], work[1], work[2], m, mean, frame, poses[count]):
            count += 1
    return count


@kernel
def ellipse_starts(given, flat, info, sub, poses):  # type: ignore[no-untyped-def]
    """Starts of an ellipse in the plane of the points (or the known one): algebraic, and about a circle."""
    m = sub.shape[0] // 3
    sample(flat, info[I_CENTRE : I_CENTRE + 3], info[I_SCALE], sub)
    mean = np.empty(3)
    axes = np.empty(9)
    if not principal_axes(sub, m, mean, axes):
        return 0
    if not math.isnan(given[0]):
        frame_from(given[0:3], axes)
    count = ellipse_candidates(sub, m, mean, axes, np.empty((3, m)), True, poses, 0)
    right_handed(poses, count)
    return count


@inner
def unrelated(kind, few, m, pose, residuals):  # type: ignore[no-untyped-def]
    """Mean squared difference of residuals of nearest neighbours, over twice their mean square: 1 for noise, near 0
    for a pattern. At most SCORED points."""
    p = N_PARAMETERS[kind]
    q = np.empty(4 * BLOCK)
    j = np.empty(2 * ROWS2 * BLOCK)
    foot = np.empty(4)
    origin = np.zeros(3)
    load_block(few, 0, m, origin, 1.0, pose, q)
    feature_rows(kind, q, m, pose, foot, j)
    two = N_ROWS[kind] == 2
    change = total = 0.0
    for i in range(m):
        x, y, z = few[3 * i], few[3 * i + 1], few[3 * i + 2]
        nearest = np.inf
        at = i
        for k in range(m):
            d = (few[3 * k] - x) ** 2 + (few[3 * k + 1] - y) ** 2 + (few[3 * k + 2] - z) ** 2
            if d < nearest and k != i:
                nearest = d
                at = k
        r = j[p * BLOCK + i]
        change += (r - j[p * BLOCK + at]) ** 2
        total += r * r
        if two:
            r = j[(ROWS2 + p) * BLOCK + i]
            change += (r - j[(ROWS2 + p) * BLOCK + at]) ** 2
            total += r * r
    residuals[0] = total / m
    return 0.5 * change / total if total > 0.0 else 1.0


@inner
def convincing(kind, free, sub, pose, sums, state, judged):  # type: ignore[no-untyped-def]
    """Whether a solution for the sample can be taken without looking further."""
    m = sub.shape[0] // 3
    p = N_PARAMETERS[kind]
    if state[OUTCOME] != CONVERGED:
        return False
    conditioning(kind, free, sums, m, judged)
    few = m <= SCORED
    if not judged[I_CONDITION] < (100.0 if few else 300.0) or not judged[I_LEAST] > 1e-9:
        return False
    rms = math.sqrt(max(0.0, sums[packed(p, p, p)]) / m)
    if rms < _EXACT:
        return True
    if rms > (2e-3 if few else 2e-2):
        return False
    size = np.empty(1)
    return unrelated(kind, sub[: 3 * min(m, SCORED)], min(m, SCORED), pose, size) > _WHITE


@kernel
def short_solve(  # type: ignore[no-untyped-def]
    kind, free, flat, weights, sub, poses, count, sure, whole, info, pose, sums, state
):
    """Refine the starts `poses[:count]` on the sample, judge the best, then solve with all points (`whole`).

    count 0: `pose` is the start. sure: the one start needs no judgement. False where the wide search must decide.
    """
    n = flat.shape[0] // 3
    m = sub.shape[0] // 3
    centre = info[I_CENTRE : I_CENTRE + 3]
    centroid = info[I_CENTROID : I_CENTROID + 3]
    p = N_PARAMETERS[kind]
    origin = np.zeros(3)
    none = np.empty(0)
    judged = np.empty(N_INFO)
    few = sub[: 3 * min(m, SCORED)]
    least = np.inf
    best = 0
    stage = 2
    if count > 0 and sure:
        copy_into(pose, poses[0])
    elif count > 0:
        stage = 0
    item = 0
    while True:
        if stage == 2:
            slide(kind, pose, centroid)
            if not whole:
                return True
        full = stage == 2
        solve(
            kind, free, flat if full else (sub if stage == 1 else few), weights if full else none,
            centre if full else origin, info[I_SCALE] if full else 1.0, centroid, poses[item] if stage == 0 else pose,
            sums, state, 80 if full else (_LONG_PASSES if stage == 1 else _SHORT_PASSES), stage > 0,
        )  # fmt: skip
        if full:
            conditioning(kind, free, sums, n, info)
            return True
        if stage == 1:
            if not convincing(kind, free, sub, pose, sums, state, judged):
                return False
            stage = 2
            continue
        cost = sums[packed(p, p, p)]
        if cost < least:
            least = cost
            best = item
        item += 1
        if item == count:
            if not least < np.inf:
                return False
            copy_into(pose, poses[best])
            stage = 1
