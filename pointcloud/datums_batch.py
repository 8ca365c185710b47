"""Datum frames of many simulated repeats at once: the rules of `pointcloud.datums`, on arrays of trials.

A test holds every case to `frame_from_parent`, trial by trial.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import FrameError
from metrology_core.virtual.batch import Batch
from metrology_core.virtual.repeat import Motion
from pointcloud.datums import _MIN_PIERCE
from pointcloud.evaluate.types import DatumRequest

FloatArray = NDArray[np.float64]
_WITH_AXIS = ("line", "cylinder", "cone")


def motions(request: DatumRequest, features: Mapping[str, Batch], materials: Mapping[str, str | None]) -> Motion:
    """Rotations (T, 3, 3) and translations (T, 3) into the datum frame; ``materials`` of the features by name. Raises
    `FrameError` where the datums make no frame."""
    rows = [None if name is None else features[name] for name in (request.primary, request.secondary, request.tertiary)]
    primary, secondary, tertiary = rows
    assert primary is not None  # has no default
    if primary.kind == "plane":
        z = _outward(primary, materials[request.primary])
        base = primary.location
        if secondary is None:
            origin = _dot(base, z)[:, None] * z
        elif secondary.kind == "plane":
            raise FrameError("a secondary plane is not supported yet", expected="an axis or a centre")
        else:
            origin = _pierce(secondary, base, z)
    else:
        if primary.kind not in (*_WITH_AXIS, "torus"):
            raise FrameError(f"a {primary.kind} cannot be the primary datum", expected="a plane, or an axis")
        z, base = primary.direction, primary.location
        if secondary is None:
            origin = base - _dot(base, z)[:, None] * z
        elif secondary.kind == "plane":
            assert request.secondary is not None
            origin = _pierce(primary, secondary.location, _outward(secondary, materials[request.secondary]))
        else:
            origin = base + _dot(secondary.location - base, z)[:, None] * z
    if tertiary is None:
        # the parent's x, or its y where z runs along x: decided once, by the first trial, so that no trial jumps
        x = np.broadcast_to(np.eye(3)[0 if abs(z[0, 0]) < 0.9 else 1], z.shape)
    else:
        x = _pierce(tertiary, origin, z) - origin
    x = x - _dot(x, z)[:, None] * z
    size = np.linalg.norm(x, axis=1)
    if not (size > 0.0).all():
        raise FrameError("the tertiary datum lies on the origin", remedy="choose another tertiary datum")
    x = x / size[:, None]
    rotation = np.stack([x, np.cross(z, x), z], axis=1)
    return rotation, -np.einsum("tij,tj->ti", rotation, origin)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("tk,tk->t", a, b))


def _outward(plane: Batch, material: str | None) -> FloatArray:
    normal = plane.direction
    return -normal if material == "outside" else normal


def _pierce(feature: Batch, point: FloatArray, normal: FloatArray) -> FloatArray:
    """Where an axis meets the plane, or a centre projects onto it."""
    at = feature.location
    height = _dot(point - at, normal)
    if feature.kind not in _WITH_AXIS:
        return np.asarray(at + height[:, None] * normal)
    along = feature.direction
    slope = _dot(along, normal)
    if (np.abs(slope) < _MIN_PIERCE).any():
        raise FrameError("a datum does not meet the primary plane", expected="an axis that pierces the plane")
    return np.asarray(at + (height / slope)[:, None] * along)
