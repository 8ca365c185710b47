"""All sums of a run of points of one feature: vectors in, one row of numbers out."""

from __future__ import annotations

import math

import numpy as np

from metrology_core._jit import inner
from metrology_core.kernels.dense import fill
from metrology_core.kernels.layout import (
    BLOCK,
    CIRCLE,
    CONE,
    CYLINDER,
    GRAM,
    PLANE,
    S_DMAX,
    S_DMIN,
    S_GMAX,
    S_GMIN,
    S_REACH2,
    SPHERE,
    TORUS,
)
from metrology_core.kernels.sums import (
    FIRST_TERM,
    SCRATCH,
    T_DMAX,
    T_DMIN,
    T_GMAX,
    T_GMIN,
    T_REACH2,
    T_SUMS,
    TERMS,
    TOTALS,
    plain_circle,
    plain_cone,
    plain_cylinder,
    plain_line,
    plain_plane,
    plain_sphere,
    plain_torus,
    weighted_circle,
    weighted_cone,
    weighted_cylinder,
    weighted_line,
    weighted_plane,
    weighted_sphere,
    weighted_torus,
)
from metrology_core.kernels.vectors import WIDTH

WORK = SCRATCH + 6 * WIDTH  # of a pass: totals and rows, the last points and their weights, sizes, factors


@inner
def work_space():  # type: ignore[no-untyped-def]
    """WORK numbers that begin at a line of the cache: vectors across two lines take twice the time."""
    work = np.empty(WORK + WIDTH)
    return work[(-work.ctypes.data // 8) % WIDTH :]


@inner
def sum_lanes(totals, row):  # type: ignore[no-untyped-def]
    """The eight sums of a row of totals in one, in a fixed order."""
    t = row * WIDTH
    left = (totals[t] + totals[t + 4]) + (totals[t + 2] + totals[t + 6])
    return left + ((totals[t + 1] + totals[t + 5]) + (totals[t + 3] + totals[t + 7]))


@inner
def least_lane(totals, row):  # type: ignore[no-untyped-def]
    value = totals[row * WIDTH]
    for k in range(1, WIDTH):
        value = min(value, totals[row * WIDTH + k])
    return value


@inner
def most_lane(totals, row):  # type: ignore[no-untyped-def]
    value = totals[row * WIDTH]
    for k in range(1, WIDTH):
        value = max(value, totals[row * WIDTH + k])
    return value


@inner
def end_of_run(flat, weights, first, last, tail, load):  # type: ignore[no-untyped-def]
    """Copy the last points, fewer than eight, to `tail` and their weights to `load`; the first again, without weight,
    fills what is left."""
    for i in range(WIDTH):
        point = first + i if first + i < last else first
        for k in range(3):
            tail[3 * i + k] = flat[3 * point + k]
        load[i] = 0.0
        if first + i < last:
            load[i] = weights[point] if weights.shape[0] > 0 else 1.0


@inner
def feature_sums(kind, flat, weights, centre, scale, pose, first, last, work, out):  # type: ignore[no-untyped-def]
    """Sums of points first..last of a feature (no ellipse) into out (N_SUMS numbers).

    `work`: see `work_space`. Every BLOCK points the sums go from the vectors to the totals: long sums are added
    up in two stages, which keeps their rounding small.
    """
    totals = work[:SCRATCH]
    tail, load = work[SCRATCH : SCRATCH + 3 * WIDTH], work[SCRATCH + 3 * WIDTH : SCRATCH + 4 * WIDTH]
    sizes, factors = work[SCRATCH + 4 * WIDTH : SCRATCH + 5 * WIDTH], work[SCRATCH + 5 * WIDTH : WORK]
    sizes[0], sizes[1] = pose[12], pose[13]
    sizes[2], sizes[3] = (math.cos(pose[13]), math.sin(pose[13])) if kind == CONE else (1.0, 0.0)
    sizes[4] = -sizes[3]
    factors[0], factors[1], factors[2], factors[3] = 1.0, -1.0, -sizes[2], pose[12]
    fill(totals, 0, TOTALS, 0.0)
    for k in range(WIDTH):
        totals[T_DMIN * WIDTH + k] = totals[T_GMIN * WIDTH + k] = np.inf
        totals[T_DMAX * WIDTH + k] = totals[T_GMAX * WIDTH + k] = -np.inf
    at = first
    while at < last:
        count = min(BLOCK, last - at) // WIDTH
        points, loads, place = flat, weights, at
        if count == 0:
            end_of_run(flat, weights, at, last, tail, load)
            points, loads, place, count = tail, load, 0, 1
        at += count * WIDTH
        if loads.shape[0] == 0:
            totals[T_SUMS * WIDTH] += count * WIDTH
            if kind == CYLINDER:
                plain_cylinder(place, count, scale, points, loads, centre, pose, sizes, totals)
            elif kind == PLANE:
                plain_plane(place, count, scale, points, loads, centre, pose, sizes, totals)
            elif kind == SPHERE:
                plain_sphere(place, count, scale, points, loads, centre, pose, sizes, totals)
            elif kind == CONE:
                plain_cone(place, count, scale, points, loads, centre, pose, sizes, totals)
            elif kind == CIRCLE:
                plain_circle(place, count, scale, points, loads, centre, pose, sizes, totals)
            elif kind == TORUS:
                plain_torus(place, count, scale, points, loads, centre, pose, sizes, totals)
            else:
                plain_line(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == CYLINDER:
            weighted_cylinder(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == PLANE:
            weighted_plane(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == SPHERE:
            weighted_sphere(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == CONE:
            weighted_cone(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == CIRCLE:
            weighted_circle(place, count, scale, points, loads, centre, pose, sizes, totals)
        elif kind == TORUS:
            weighted_torus(place, count, scale, points, loads, centre, pose, sizes, totals)
        else:
            weighted_line(place, count, scale, points, loads, centre, pose, sizes, totals)
    fill(out, 0, GRAM, 0.0)
    for t in range(FIRST_TERM[kind], FIRST_TERM[kind + 1]):
        entry, row, a, b, c = TERMS[t, 0], TERMS[t, 1], TERMS[t, 2], TERMS[t, 3], TERMS[t, 4]
        out[entry] += sum_lanes(totals, T_SUMS + row) * (factors[a] * factors[b] * factors[c])
    out[S_DMIN], out[S_DMAX] = least_lane(totals, T_DMIN), most_lane(totals, T_DMAX)
    out[S_GMIN], out[S_GMAX] = least_lane(totals, T_GMIN), most_lane(totals, T_GMAX)
    out[S_REACH2], out[S_REACH2 + 1] = most_lane(totals, T_REACH2), 0.0
