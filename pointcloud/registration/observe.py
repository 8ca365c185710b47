"""Which motions the data determine: eigenvalues of the information, and for tessellated nominals a walk along them.

Exact geometry shows its free motions as eigenvalues at rounding, with noise or without. A tessellated cylinder does
not: turning it costs a little, because its facets come and go, and a fit would read an angle out of the facets. So weak
motions are walked: where a walk across many facets raises the residuals by no more than the chord tolerance or the
noise explains, and by far less than the curvature at the solution promises, the motion is free.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pointcloud.registration.fine import Evaluate
from pointcloud.registration.normal import State, twist_of

FloatArray = NDArray[np.float64]
_EXACT = 1e-9  # relative eigenvalue at which a motion is free whatever the nominal: rounding of sums is 1e-16
_WEAK = 3e-2  # relative eigenvalue below which a motion is walked
_WALKS = (0.02, 0.05, 0.1, 0.2)  # lengths of a walk, in radii of gyration (root mean square over the points)
_SHORTFALL = 0.1  # of the promised rise, below which the walk says that the promise was of the facets


def free_space(
    state: State, basis: FloatArray, walk: Evaluate | None, chord: float, sigma: float
) -> tuple[FloatArray, FloatArray]:
    """(determined (6, k), free (6, m)) orthonormal motions of the scaled chart within ``basis``.

    ``walk`` evaluates an even subset; None for exact geometry. ``sigma``: scatter of the residuals.
    """
    weight = float(np.sum(state.weight))
    if weight <= 0.0 or not basis.shape[1]:
        return basis[:, :0], basis
    values, vectors = np.linalg.eigh(basis.T @ state.h_plane @ basis / weight)
    motions = basis @ vectors
    free = values <= _EXACT * max(values[-1], 1e-300)
    if walk is not None:
        allowed = max(2.0 * chord if math.isfinite(chord) else 0.0, sigma)
        base = walk(state.pose, state.scale)
        for i in np.flatnonzero(~free & (values < _WEAK * values[-1])):
            free[i] = _slides(base, motions[:, i], walk, allowed)
    return motions[:, ~free], motions[:, free]


def _slides(base: State, motion: FloatArray, walk: Evaluate, allowed: float) -> bool:
    if base.n_kept < 3 or not allowed > 0.0:
        return False
    weight = float(np.sum(base.weight))
    level = 2.0 * base.cost / weight
    spread = math.sqrt(float(motion @ base.h_point @ motion) / weight)  # rms displacement per unit, in L
    for length in _WALKS:
        t = length / max(spread, 1e-300)
        promised = t * t * float(motion @ base.h_plane @ motion) / weight * base.length**2
        rises = []
        for sign in (1.0, -1.0):
            there = walk(base.pose.moved(twist_of(sign * t * motion, base.length), base.pivot), base.scale)
            rises.append(2.0 * there.cost / weight - level)
        if max(rises) <= _SHORTFALL * promised and max(rises) <= allowed**2:
            return True
    return False
