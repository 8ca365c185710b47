"""The data of a registration and one evaluation of it: feet, residuals, weights, normal equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrology_core.blocks import run_blocks
from pointcloud.registration.se3 import Pose
from pointcloud.registration.target import Feet, Surface

FloatArray = NDArray[np.float64]
Loss = Literal["squares", "huber", "tukey"]
# tuning constants with 95 % efficiency at the normal distribution (P. J. Huber, Robust Statistics, 1981; A. E. Beaton &
# J. W. Tukey, Technometrics 16, 1974)
TUNING = {"squares": math.inf, "huber": 1.345, "tukey": 4.685}
_UPPER7, _UPPER3 = np.triu_indices(7), np.triu_indices(3)
_MAD = 1.482602218505602  # normal standard deviation over the median absolute deviation


@dataclass(frozen=True, eq=False)
class Data:
    """Scan points (n, 3), C-contiguous, all finite; ``prior`` weights (n,) 1/variance; ``offset`` of the probe ball;
    ``normals`` (n, 3) of the points where an angle limits the search."""

    xyz: FloatArray
    prior: FloatArray
    offset: float = 0.0
    normals: FloatArray | None = None

    @property
    def n(self) -> int:
        return len(self.xyz)

    def thinned(self, count: int) -> Data:
        """Every so many-th point: with points in the order of a space-filling curve, an even subset."""
        if count >= self.n:
            return self
        index = (np.arange(count, dtype=np.int64) * self.n) // count
        normals = None if self.normals is None else self.normals[index]
        return Data(np.ascontiguousarray(self.xyz[index]), self.prior[index], self.offset, normals)


@dataclass(frozen=True)
class Rules:
    """Which points count, and how much. ``limit``: distance beyond which a point is left out; ``trim``: share of the
    points with the largest residuals left out; ``border``: whether feet on an open border count."""

    loss: Loss = "squares"
    trim: float = 0.0
    limit: float = math.inf
    border: bool = False


@dataclass(frozen=True, eq=False)
class State:
    """One evaluation: pose, moved points (n, 3), gradients (n, 3), residuals (n,), weights (n,), mean cost, sums."""

    pose: Pose
    moved: FloatArray
    direction: FloatArray
    residual: FloatArray
    weight: FloatArray
    cost: float
    scale: float
    n_valid: int
    n_kept: int
    pivot: FloatArray
    length: float
    h_plane: FloatArray
    gradient: FloatArray
    h_point: FloatArray
    square: float


def move(data: Data, pose: Pose) -> FloatArray:
    """The points after the motion, on all threads; the same bits for any number of them."""
    from pointcloud.kernels import registration as k

    out = np.empty_like(data.xyz)
    flat, target, packed = data.xyz.reshape(-1), out.reshape(-1), pose.packed()
    run_blocks(lambda a, b: k.move(flat, packed, a, b, target), -(-data.n // k.CHUNK))
    return out


def accumulate(
    xyz: FloatArray, direction: FloatArray, residual: FloatArray, weight: FloatArray, pivot: FloatArray, length: float
) -> FloatArray:
    """Sums of `kernels.registration.accumulate` over all points."""
    from pointcloud.kernels import registration as k

    chunks = -(-len(residual) // k.CHUNK)
    partials = np.zeros((max(chunks, 1), k.N_SUMS))
    flat, normals = xyz.reshape(-1), direction.reshape(-1)
    run_blocks(lambda a, b: k.accumulate(flat, normals, residual, weight, pivot, 1.0 / length, a, b, partials), chunks)
    total = np.zeros(k.N_SUMS)
    for row in partials:  # in chunk order, whatever the threads
        total += row
    return total


def unpack(sums: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """(J'WJ (6, 6), J'Wr (6,), r'Wr) in the scaled chart."""
    full = np.zeros((7, 7))
    full[_UPPER7] = sums[:28]
    full = full + np.triu(full, 1).T
    return full[:6, :6], full[:6, 6], float(full[6, 6])


def point_information(sums: FloatArray) -> FloatArray:
    """J'WJ (6, 6) of the foot points held fixed, from the moments."""
    w, first = sums[28], sums[29:32]
    second = np.zeros((3, 3))
    second[_UPPER3] = sums[32:38]
    second = second + np.triu(second, 1).T
    cross = np.array([[0.0, -first[2], first[1]], [first[2], 0.0, -first[0]], [-first[1], first[0], 0.0]])
    result = np.zeros((6, 6))
    result[:3, :3] = np.trace(second) * np.eye(3) - second
    result[:3, 3:] = cross
    result[3:, :3] = cross.T
    result[3:, 3:] = w * np.eye(3)
    return result


def robust_scale(residual: FloatArray, prior: FloatArray) -> float:
    """Standard deviation from the median absolute residual (about zero: the nominal is where residuals should be)."""
    if not len(residual):
        return math.nan
    return float(_MAD * np.median(np.abs(residual) * np.sqrt(prior)))


def loss_weights(loss: Loss, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(weight psi(t)/t, cost rho(t)) of standardised residuals t; rho(t) = t^2 / 2 near zero."""
    c = TUNING[loss]
    size = np.abs(t)
    if loss == "huber":
        inside = size <= c
        with np.errstate(divide="ignore"):
            weight = np.where(inside, 1.0, c / size)
        return weight, np.where(inside, 0.5 * t * t, c * size - 0.5 * c * c)
    if loss == "tukey":
        q = 1.0 - np.minimum(size / c, 1.0) ** 2  # the square of a gross outlier can overflow
        return q * q, c * c / 6.0 * (1.0 - q**3)
    return np.ones_like(t), 0.5 * t * t


def loss_slope(loss: Loss, t: FloatArray) -> FloatArray:
    """psi'(t)."""
    c = TUNING[loss]
    if loss == "huber":
        return (np.abs(t) <= c).astype(np.float64)
    if loss == "tukey":
        u = (t / c) ** 2
        return np.where(u < 1.0, (1.0 - u) * (1.0 - 5.0 * u), 0.0)
    return np.ones_like(t)


def evaluate(
    data: Data, surface: Surface, pose: Pose, rules: Rules, pivot: FloatArray, length: float,
    scale: float | None = None, follow: Callable[[FloatArray], Feet] | None = None,
) -> State:  # fmt: skip
    """Feet, residuals and normal equations of all points at a pose. ``scale`` of a robust loss: estimated if None;
    ``follow``: feet by what the evaluation before this one of the same points proved."""
    moved = move(data, pose)
    normals = None if data.normals is None else data.normals @ pose.rotation.T
    feet = follow(moved) if follow else surface.feet(moved, border=rules.border, normals=normals)
    residual = feet.distance - data.offset if data.offset else feet.distance
    valid = feet.valid
    if math.isfinite(rules.limit):
        valid = valid & (np.abs(residual) <= rules.limit)
    all_valid = bool(valid.all())
    n_valid = data.n if all_valid else int(np.count_nonzero(valid))
    kept = valid
    if rules.trim > 0.0 and n_valid:
        size = np.where(valid, np.abs(residual) * np.sqrt(data.prior), np.inf)
        keep = max(1, int(math.ceil((1.0 - rules.trim) * n_valid)))
        kept = valid & (size <= np.partition(size, keep - 1)[keep - 1])
    n_kept = n_valid if kept is valid else int(np.count_nonzero(kept))
    everything = n_kept == data.n
    weight = data.prior if everything else np.where(kept, data.prior, 0.0)
    used = residual if everything else residual[kept]
    prior = data.prior if everything else data.prior[kept]
    if scale is None:
        scale = robust_scale(used, prior) if rules.loss != "squares" else 1.0
        scale = max(scale, 1e-300)
    if rules.loss == "squares":
        cost = 0.5 * float(np.sum(prior * used * used))
    else:
        t = used * np.sqrt(prior) / scale
        factor, rho = loss_weights(rules.loss, t)
        cost = float(np.sum(rho)) * scale * scale
        weight = weight.copy()
        weight[kept] = prior * factor
    # points that do not count cost as much as the worst that may: an honest comparison of two poses
    if n_valid < data.n and math.isfinite(rules.limit):
        cost += 0.5 * rules.limit**2 * float(np.sum(data.prior[~valid]))
    sums = accumulate(moved, feet.direction, residual, weight, pivot, length)
    h, g, square = unpack(sums)
    return State(
        pose, moved, feet.direction, residual, weight, cost, scale, n_valid, n_kept, pivot, length,
        h, g, point_information(sums), square,
    )  # fmt: skip


def solve(h: FloatArray, g: FloatArray, basis: FloatArray, cut: float = 1e-10) -> FloatArray:
    """The step -H^+ g (6,) within the span of ``basis`` (6, k): directions whose information is below ``cut`` of the
    largest stay where they are."""
    hb = basis.T @ h @ basis
    values, vectors = np.linalg.eigh(hb)
    keep = values > cut * max(values[-1], 1e-300) if len(values) else np.zeros(0, dtype=bool)
    inverse = np.where(keep, 1.0 / np.where(keep, values, 1.0), 0.0)
    return np.asarray(-basis @ (vectors @ (inverse * (vectors.T @ (basis.T @ g)))))


def twist_of(step: FloatArray, length: float) -> FloatArray:
    """A step of the scaled chart as a twist."""
    return np.concatenate([step[:3], step[3:] * length])
