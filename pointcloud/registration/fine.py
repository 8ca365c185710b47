"""The fine stage: Gauss-Newton on the exact distance to the surface, from an even subset to all points.

The objective is the sum of (robust) squares of the exact signed distances. Two quadratic models share its gradient: the
tangent planes at the feet ("point to plane": Gauss-Newton, fast near the solution) and the feet held fixed ("point to
point": a majorant, so that its steps never climb; P. J. Besl & N. D. McKay, IEEE PAMI 14 (1992) 239). A blend of both
takes the part of the damping: the plane model where it keeps its promise, the majorant where it does not. The end is
always undamped, and judged by the step. Curvature that Gauss-Newton leaves out (residual times curvature of the
surface) makes the last steps shrink only linearly; Anderson's mixing (J. ACM 12 (1965) 547) restores the speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointcloud.registration.normal import Data, Rules, State, evaluate, solve, twist_of
from pointcloud.registration.se3 import Pose, transport
from pointcloud.registration.target import Surface

FloatArray = NDArray[np.float64]
Evaluate = Callable[[Pose, float | None], State]
Basis = Callable[[FloatArray], FloatArray]  # pivot (3,) -> allowed motions (6, k) of the scaled chart about it
_MIX = 3  # steps that Anderson's mixing remembers
_SMALL = 1e-6  # steps below this (relative to the part) cannot be judged by the cost, which carries 1e-16 only


@dataclass(frozen=True)
class Limits:
    """When to stop: the step relative to the part's size, the step in units of its own standard uncertainty, passes."""

    step: float = 1e-12
    share: float = 1e-3
    passes: int = 60


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent ended: last evaluation, pose after the last step, passes, whether the steps ended, last step."""

    state: State
    pose: Pose
    passes: int
    converged: bool
    step: float
    rate: float


def descend(
    run: Evaluate,
    start: Pose,
    basis: Basis,
    limits: Limits,
    *,
    blend: float = 0.0,
    point_to_point: bool = False,
    parameters: int = 6,
) -> Descent:
    """Steps from ``start`` until they end. ``blend`` is the share of the point-to-point model to begin with."""
    state = run(start, None)
    lowest = 1.0 if point_to_point else 0.0
    blend = max(blend, lowest)
    history: list[tuple[FloatArray, FloatArray]] = []
    travelled = np.zeros(6)
    before = math.inf
    rate = 0.0
    passes = 1
    while True:
        if state.n_kept < 3:
            return Descent(state, state.pose, passes, False, math.inf, rate)
        h = (1.0 - blend) * state.h_plane + blend * state.h_point
        step = solve(h, state.gradient, basis(state.pivot))
        size = float(np.linalg.norm(step))
        if blend == lowest:
            rate = min(size / before, 0.99) if math.isfinite(before) and before > 0.0 else 0.0
            # what is left after this step, were it the last: the sum of the steps to come
            left = size * max(rate / (1.0 - rate), 1e-3)
            sigma = math.sqrt(2.0 * state.cost / max(state.n_kept - parameters, 1)) / state.length
            share = math.sqrt(max(0.0, float(step @ h @ step))) / max(sigma, 1e-300)
            small = size <= limits.step or (share <= limits.share and rate <= 0.5)
            if size <= max(_SMALL, limits.step) and (small or left <= 0.1 * limits.step):
                return Descent(state, _moved(state, step), passes, True, size, rate)
        if passes >= limits.passes:
            return Descent(state, state.pose, passes, False, size, rate)
        taken = step
        if blend == lowest and size < 1e-2:
            history.append((travelled.copy(), step))
            if rate > 0.05 and len(history) > 1:
                taken = _mixed(history[-_MIX - 1 :], size)
        trial = run(_moved(state, taken), state.scale if size > _SMALL else None)
        passes += 1
        if trial.cost <= state.cost * (1.0 + 1e-12) or (size <= _SMALL and trial.cost <= state.cost * 1.0001 + 1e-300):
            travelled = travelled + taken
            before = size if blend == lowest else math.inf
            blend = lowest if blend < 0.02 else max(lowest, 0.2 * blend)
            state = trial
            continue
        history.clear()
        before = math.inf
        if blend >= 1.0 or (taken is not step and size <= _SMALL):
            # the majorant itself does not fall: rounding, or a changing set of points
            if size <= _SMALL:
                return Descent(state, state.pose, passes, True, size, rate)
            if trial.cost > state.cost * 1.05:
                return Descent(state, state.pose, passes, False, size, rate)
            state = trial
            continue
        if taken is step:
            blend = min(1.0, max(0.05, 4.0 * blend))


def _moved(state: State, step: FloatArray) -> Pose:
    return state.pose.moved(twist_of(step, state.length), state.pivot)


def _mixed(history: list[tuple[FloatArray, FloatArray]], size: float) -> FloatArray:
    """Anderson's step from (place, step) pairs; the plain step where mixing would run away."""
    x = np.array([row[0] for row in history])
    f = np.array([row[1] for row in history])
    df, dx = np.diff(f, axis=0), np.diff(x, axis=0)
    gamma = np.linalg.lstsq(df.T, f[-1], rcond=1e-6)[0]
    step = f[-1] - (dx + df).T @ gamma
    return step if float(np.linalg.norm(step)) <= 20.0 * size else f[-1]


def length_of(xyz: FloatArray) -> float:
    """Radius of gyration of points (n, 3): the length by which rotations and translations are compared."""
    centred = xyz - xyz.mean(axis=0)
    return math.sqrt(max(float(np.einsum("ij,ij->", centred, centred)) / len(xyz), 0.0))


def span(motions: FloatArray, pivot: FloatArray, length: float) -> Basis:
    """Motions (6, k) of the scaled chart about ``pivot``, as a function that tells them about any other pivot."""
    scale = np.r_[np.ones(3), np.full(3, length)][:, None]

    def about(other: FloatArray) -> FloatArray:
        if not motions.shape[1] or motions.shape[1] == 6:
            return motions if not motions.shape[1] else np.eye(6)
        return np.linalg.qr(transport(other - pivot) @ (motions * scale) / scale)[0]

    return about


def runner(data: Data, surface: Surface, rules: Rules, length: float, middle: FloatArray | None = None) -> Evaluate:
    """Evaluations of these points, each about the moved ``middle`` (of the points)."""
    middle = data.xyz.mean(axis=0) if middle is None else middle
    begin = getattr(surface, "follow", None)
    follow = begin(data.n, rules.border) if begin is not None and data.normals is None else None

    def run(pose: Pose, scale: float | None) -> State:
        pivot = pose.rotation @ (middle - pose.source) + pose.target
        return evaluate(data, surface, pose, rules, pivot, length, scale, follow)

    return run
