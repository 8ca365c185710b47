"""Alignments that are given, not found: the coordinates as they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.data import PointSet, Rigid
from metrology_core.flags import merge
from pointcloud.registration.fine import length_of
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose
from pointcloud.registration.target import Surface


def as_measured(scan: PointSet, surface: Surface, limit: float) -> Registration:
    """The scan where it is: an identity that the user asked for, without uncertainty of its own."""
    from pointcloud.registration.entry import lazy_residuals

    finite = scan.finite
    n = int(np.count_nonzero(finite))
    details: dict[str, Any] = {"reason": "the coordinates of the scan were declared to be those of the nominal"}
    flags = list(scan.flags)
    if n == 0:
        return Registration(
            None, "none", scan.unit, "insufficient", merge(flags, ["insufficient"]), n_points=len(scan),
            alignment="as_measured", details=details,
        )  # fmt: skip
    xyz = scan.xyz[finite]
    pose = Pose(np.eye(3), np.zeros(3), np.zeros(3))
    offset = scan.tip.radius if scan.points_are == "ball_centre" and scan.tip is not None else 0.0
    residuals = lazy_residuals(scan, surface, pose, offset)
    values = residuals()
    with np.errstate(invalid="ignore"):
        used = values[np.abs(values) <= limit]
    status = "converged"
    if not len(used):
        status = "disjoint"
        flags.append("disjoint")
    elif len(used) < n:
        flags.append("points_beyond_limit")
    details["length"] = length_of(xyz)
    return Registration(
        Rigid.identity(), "none", scan.unit, status, merge(flags), xyz.mean(axis=0),
        covariance_determined=np.zeros((6, 6)),
        rms=math.sqrt(float(np.mean(used**2))) if len(used) else math.nan, n_points=len(scan), n_used=len(used),
        n_outside=n - len(used), alignment="as_measured", details=details, _residuals=residuals,
    )  # fmt: skip
