"""Alignment on datum targets (RPS, 3-2-1): points of the nominal, each with the direction in which it is held.

One target locks one direction at one point; a point held in two directions is two targets. Where a target names its
measured coordinates (a probed point, the centre of a fitted hole), those are used; else the scan is read in a disc of
the target's radius: its mean deviation from the nominal along the direction, so that the curvature of the surface under
the disc does not enter. Six independent targets are met exactly; more are a weighted least-squares adjustment; fewer
leave motions free, which are named. Standards: ISO 5459 (datum targets), ISO 1101; 3-2-1 is six targets, 3 + 2 + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.flags import merge
from pointcloud.registration.fine import length_of
from pointcloud.registration.free import name_motions
from pointcloud.registration.normal import solve, twist_of
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose, displacement_rows
from pointcloud.registration.target import Surface

FloatArray = NDArray[np.float64]
_PASSES, _SETTLE = 60, 6  # after `_SETTLE` passes the points of each disc stay: the steps can end
_STEEP = 0.5  # cosine between direction and surface normal below which a disc says nothing about the direction


@dataclass(frozen=True, eq=False)
class DatumTarget:
    """One locked direction at one nominal point.

    ``point`` (3,) and unit ``direction`` (3,) in the nominal frame; ``radius`` of the disc in which the scan is read;
    ``weight`` relative to the others (only where there are more than six); ``measured`` (3,) coordinates in the frame
    of the scan, in place of reading the scan, with standard uncertainty ``u`` along the direction if known.
    """

    name: str
    point: FloatArray
    direction: FloatArray
    radius: float | None = None
    weight: float = 1.0
    measured: FloatArray | None = None
    u: float | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for field_ in ("point", "direction", "measured"):
            value = getattr(self, field_)
            if value is None and field_ == "measured":
                continue
            array = np.array(value, dtype=np.float64)
            if array.shape != (3,) or not np.isfinite(array).all():
                raise ParameterError(f"target {self.name}: {field_} is three finite numbers", got=repr(value)[:60])
            put(self, field_, array)
        size = float(np.linalg.norm(self.direction))
        if not size > 0.0:
            raise ParameterError(f"target {self.name}: the direction has no length")
        put(self, "direction", self.direction / size)
        if self.measured is None and not (self.radius is not None and self.radius > 0.0):
            raise ParameterError(
                f"target {self.name} needs a radius or measured coordinates",
                remedy="say how large the disc is in which the scan is read",
            )
        if not (math.isfinite(self.weight) and self.weight > 0.0):
            raise ParameterError(f"target {self.name}: the weight is a positive number", got=repr(self.weight))
        if self.u is not None and not (math.isfinite(self.u) and self.u >= 0.0):
            raise ParameterError(f"target {self.name}: u is a standard uncertainty", got=repr(self.u))


def three_two_one(
    points: Any, normals: Any, *, radius: float | None = None, measured: Any = None
) -> tuple[DatumTarget, ...]:
    """Six targets (points (6, 3)): three along the first of ``normals`` (3, 3), two along the second, one along the
    third; ``measured`` (6, 3) in the frame of the scan where they were probed."""
    points, normals = np.asarray(points, dtype=np.float64), np.asarray(normals, dtype=np.float64)
    if points.shape != (6, 3) or normals.shape != (3, 3):
        raise ParameterError("3-2-1 is six points and three directions", got=f"{points.shape}, {normals.shape}")
    if measured is not None and np.shape(measured) != (6, 3):
        raise ParameterError("measured goes with the points", expected="(6, 3)", got=str(np.shape(measured)))
    which = (0, 0, 0, 1, 1, 2)
    names = ("A1", "A2", "A3", "B1", "B2", "C1")
    return tuple(
        DatumTarget(names[k], points[k], normals[which[k]], radius, 1.0, None if measured is None else measured[k])
        for k in range(6)
    )


@dataclass(eq=False)
class _Reading:
    """One target at a pose: offset along its direction, its row (6,), number of points, scatter of their mean."""

    offset: float
    row: FloatArray
    count: int
    u: float


class _Reader:
    """Reads the targets in a scan at a pose."""

    def __init__(self, xyz: FloatArray, surface: Surface, targets: Sequence[DatumTarget], offset: float) -> None:
        self.xyz, self.surface, self.targets, self.ball = xyz, surface, targets, offset
        self.members: list[NDArray[np.int64] | None] = [None] * len(targets)

    def gather(self, pose: Pose) -> None:
        """Points of each disc: within the radius about the direction, and within three radii along it."""
        moved = pose.apply(self.xyz)
        for k, target in enumerate(self.targets):
            if target.measured is not None:
                continue
            assert target.radius is not None
            away = moved - target.point
            along = away @ target.direction
            across = np.einsum("ij,ij->i", away, away) - along * along
            near = (across <= target.radius**2) & (np.abs(along) <= 3.0 * target.radius)
            self.members[k] = np.flatnonzero(near)

    def read(self, k: int, pose: Pose, pivot: FloatArray, noise: float | None) -> _Reading | str:
        target = self.targets[k]
        n = target.direction
        if target.measured is not None:
            at = pose.apply(target.measured)
            row = displacement_rows(at[None], n[None], pivot)[0]
            return _Reading(float(n @ (at - target.point)), row, 1, math.nan if target.u is None else target.u)
        index = self.members[k]
        if index is None or not len(index):
            return f"target {target.name}: no scan point within its radius"
        moved = np.ascontiguousarray(pose.apply(self.xyz[index]))
        feet = self.surface.feet(moved)
        slope = feet.direction @ n
        # a disc near an edge or a thin wall may hold points of other faces: they say nothing along the direction
        use = feet.valid & (np.abs(slope) > _STEEP) & (slope * np.sign(np.median(slope)) > 0.0)
        if not use.any():
            return f"target {target.name}: its direction runs along the surface there"
        offsets = (feet.distance[use] - self.ball) / slope[use]
        rows = displacement_rows(moved[use], feet.direction[use], pivot) / slope[use][:, None]
        count = int(np.count_nonzero(use))
        scatter = float(np.std(offsets, ddof=1)) if count > 1 else math.nan
        u = (scatter if noise is None else noise) / math.sqrt(count)
        return _Reading(float(offsets.mean()), rows.mean(axis=0), count, u)


def align_targets(
    scan: PointSet, xyz: FloatArray, surface: Surface, targets: Sequence[DatumTarget], pose: Pose, *,
    offset: float = 0.0, noise: float | None = None, residuals: Any = None,
) -> Registration:  # fmt: skip
    """The motion that brings the targets to their nominal places, from a pose near it. See `entry.align`."""
    targets = tuple(targets)
    for target in targets:
        if not isinstance(target, DatumTarget):
            raise ParameterError("targets are DatumTarget", got=type(target).__name__)
    if not targets:
        raise ParameterError("an alignment on targets needs targets", got="none")
    names = [f"{t.name} along ({', '.join(f'{c:.3g}' for c in t.direction)})" for t in targets]
    flags = list(scan.flags)
    pivot = np.mean([t.point for t in targets], axis=0)
    length = max(length_of(np.array([t.point for t in targets])), 1e-12 * float(np.abs(pivot).max() + 1e-300))
    common: dict[str, Any] = {"n_points": len(scan), "alignment": "datums"}
    weights = np.array([t.weight for t in targets])
    scale = np.r_[np.ones(3), np.full(3, length)]
    reader = _Reader(xyz, surface, targets, offset)
    step, passes, converged = math.inf, 0, False
    readings: list[_Reading] = []
    first: FloatArray | None = None
    jacobian = np.zeros((len(targets), 6))
    for passes in range(1, _PASSES + 1):
        if passes <= _SETTLE:
            reader.gather(pose)
        readings = []
        for k in range(len(targets)):
            reading = reader.read(k, pose, pivot, noise)
            if isinstance(reading, str):
                return Registration(
                    None, "rps", scan.unit, "insufficient", merge(flags, ["insufficient"]), pivot, iterations=passes,
                    details={"reason": reading, "length": length}, **common,
                )  # fmt: skip
            readings.append(reading)
        r = np.array([reading.offset for reading in readings])
        first = r if first is None else first
        jacobian = np.array([reading.row for reading in readings]) * scale / length
        h = jacobian.T @ (weights[:, None] * jacobian)
        twist = solve(h, jacobian.T @ (weights * r) / length, np.eye(6))
        pose = pose.moved(twist_of(twist, length), pivot)
        step = float(np.linalg.norm(twist))
        if step <= 1e-13 or (passes > _SETTLE and step <= 1e-12):
            converged = True
            break
    h = jacobian.T @ (weights[:, None] * jacobian)
    values, vectors = np.linalg.eigh(h)
    free = vectors[:, values <= 1e-9 * values[-1]]
    kept = vectors[:, values > 1e-9 * values[-1]]
    rank = kept.shape[1]
    dof = len(targets) - rank
    final = [reader.read(k, pose, pivot, noise) for k in range(len(targets))]
    left = np.array([reading.offset if isinstance(reading, _Reading) else math.nan for reading in final])
    u = np.array([reading.u for reading in readings])
    if dof > 0:
        spread = math.sqrt(float(np.sum(weights * left**2)) / dof)
        own = spread / np.sqrt(weights)
        u = np.where(np.isfinite(u), u, own)
        if np.all(np.isfinite(u)) and float(np.sum((left / np.maximum(u, 1e-300)) ** 2)) > 9.0 * max(dof, 1):
            flags.append("residuals_exceed_noise")
    gain = kept @ np.linalg.inv(kept.T @ h @ kept) @ kept.T @ (jacobian * weights[:, None]).T / length
    covariance = (gain * u**2) @ gain.T * np.outer(scale, scale)
    motions = name_motions(free, pivot, length)
    status = "converged" if converged else "not_converged"
    if not converged:
        flags.append("not_converged")
    elif len(motions):
        status = "degenerate"
    if len(motions):
        flags.append("free_motions")
    if dof == 0:
        flags.append("zero_redundancy")
    if noise is None:
        flags.append("repeatability_only")
    rows = [
        {"target": names[k], "points": readings[k].count, "before": float(first[k]), "after": float(left[k]),
         "u": float(u[k]), "weight": float(weights[k])}
        for k in range(len(targets))
    ] if first is not None else []  # fmt: skip
    return Registration(
        pose.rigid, "rps", scan.unit, status, merge(flags), pivot, h * np.outer(1.0 / scale, 1.0 / scale) * length**2,
        covariance, free * scale[:, None], motions, (), math.inf if dof == 0 else float(dof),
        math.sqrt(float(np.mean(left**2))), math.nan, n_used=sum(reading.count for reading in readings),
        iterations=passes, details={"targets": rows, "length": length, "step": step},
        _residuals=None if residuals is None else residuals(pose), **common,
    )  # fmt: skip
