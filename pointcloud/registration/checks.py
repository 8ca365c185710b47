"""What a registration is suspected of: mirror images, wrong units, other poses that fit as well, no pose at all."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import Rigid
from metrology_core.flags import merge
from pointcloud.registration.coarse import Found
from pointcloud.registration.redundancy import is_symmetry
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose, cross_matrix, rotation_vector
from pointcloud.registration.target import Surface

FloatArray = NDArray[np.float64]
_AS_GOOD = 1.1  # ratio of mean squares up to which another pose fits as well
_SAMPLE = 2500  # points of the nominal by which its symmetry is judged
_APART = 0.05  # of the part, or rad: what is left of a motion after its free part, to be another pose


def logarithm(a: Pose, b: Pose, pivot: FloatArray) -> FloatArray:
    """The twist about ``pivot`` whose exponential leads from a to b: a free motion of any size stays along itself."""
    r = b.rotation @ a.rotation.T
    back = a.rotation.T @ (pivot - a.target) + a.source
    shift = b.apply(back) - pivot
    omega = rotation_vector(r)
    angle = float(np.linalg.norm(omega))
    if angle < 1e-8:
        return np.concatenate([omega, shift])
    k = cross_matrix(omega)
    half = 0.5 * angle
    factor = (1.0 - half * math.cos(half) / math.sin(half)) / angle**2 if math.sin(half) > 1e-12 else 1.0 / angle**2
    inverse = np.eye(3) - 0.5 * k + factor * (k @ k)
    return np.concatenate([omega, inverse @ shift])


def is_other(a: Pose, b: Pose, free: FloatArray, pivot: FloatArray, length: float) -> bool:
    """Whether two poses differ by more than a free motion (``free`` (6, m), scaled chart about the pivot)."""
    twist = logarithm(a, b, pivot)
    scaled = np.concatenate([twist[:3], twist[3:] / length])
    return float(np.linalg.norm(scaled - free @ (free.T @ scaled))) > _APART


def with_findings(
    result: Registration, found: Found, pose: Pose, free: FloatArray, surface: Surface, seed: int
) -> Registration:
    """The registration with the coarse stage's findings: status, flags, equivalent poses."""
    chord = surface.chord
    details = dict(result.details)
    details["coarse"] = found.method
    flags = list(result.flags)
    if found.mirrored:
        details["reason"] = "the mirror image of the scan fits the nominal"
        return replace(result, status="mirrored", flags=merge(flags, ["mirror_image"]), details=details)
    if found.unit_factor is not None:
        details["unit_factor"] = found.unit_factor
        details["reason"] = f"the scan fits the nominal after multiplying its numbers by {found.unit_factor:.6g}"
        return replace(
            result, status="unit_mismatch", flags=merge(flags, ["unit_suspect"]), details=details,
            target_from_source=None,
        )  # fmt: skip
    if not found.good:
        best = found.trials[0].share if found.trials else 0.0
        details["reason"] = f"no pose brings more than {100.0 * best:.0f} % of the points to the nominal"
        return replace(
            result, status="disjoint", flags=merge(flags, ["disjoint"]), details=details, target_from_source=None
        )
    length = float(details["length"])
    floor = (2.0 * chord) ** 2 if math.isfinite(chord) else 0.0
    equal: list[Rigid] = []
    seen = [pose]
    if found.trials:
        best = found.trials[0].cost
        for trial in found.trials:
            if trial.cost > _AS_GOOD * best + floor + (1e-9 * found.size) ** 2:
                continue
            if all(is_other(other, trial.pose, free, result.pivot, length) for other in seen):
                equal.append(trial.pose.rigid)
                seen.append(trial.pose)
    if not equal:
        return replace(result, details=details)
    status = "ambiguous" if result.status in ("converged", "degenerate") else result.status
    flags.append("equivalent_poses")
    sample = surface.sample(_SAMPLE, seed)
    allowed = math.sqrt(floor) + (0.1 * result.sigma if math.isfinite(result.sigma) else 0.0)
    here = result.target_from_source
    # poses that the nominal's own symmetry explains give the same deviations of the same part; others do not
    if (
        here is not None
        and sample is not None
        and not all(is_symmetry(surface, sample, here, other, allowed) for other in equal)
    ):
        flags.append("alignment_undetermined")
    return replace(result, status=status, flags=merge(flags), equivalents=tuple(equal), details=details)
