"""From what the caller gave to what the kernels take: contiguous float64 points, weights, known parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import units as _units
from metrology_core.errors import ParameterError, UnitError
from metrology_core.features.base import Feature, direction, number
from metrology_core.fitting.table import Row

NO_WEIGHTS = np.empty(0)
NO_WEIGHTS.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Given:
    """The caller's points, checked: `array` (n, 2 or 3) float64 C-contiguous; `source` the PointSet, if it was one."""

    array: np.ndarray
    dimension: int
    unit: str | None
    source: Any


def read_points(points: Any, unit: str | None) -> Given:
    """Take an array or a PointSet; `ParameterError` for anything that is not (n, 2) or (n, 3) numbers."""
    source = None
    if hasattr(points, "points_are") and hasattr(points, "xyz"):
        source = points
        points = source.xyz
        if unit is not None and unit != source.unit:
            raise ParameterError(
                "the unit contradicts the points",
                expected=source.unit,
                got=unit,
                remedy="leave unit out: a PointSet carries its own; results can be converted",
            )
        unit = source.unit
    if source is None and unit is not None:
        _length_unit(unit)
    try:
        array = np.asarray(points)
    except ValueError as error:  # rows of different lengths
        raise ParameterError(
            "not an array of points",
            expected="real numbers of shape (n, 3), or (n, 2) for features of a plane",
            got=_ragged(points),
            remedy="give every point the same number of coordinates",
        ) from error
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ParameterError(
            "not an array of points",
            expected="real numbers of shape (n, 3), or (n, 2) for features of a plane",
            got=f"{array.dtype} of shape {array.shape}",
        )
    return Given(np.ascontiguousarray(array, dtype=np.float64), array.shape[1], unit, source)


def _length_unit(unit: Any) -> None:
    """`UnitError` unless this names a unit of length."""
    found = _units.unit(unit) if isinstance(unit, str) else None
    if found is None or found.dimension != "length":
        raise UnitError(
            "points have a unit of length",
            expected="for example 'mm', 'um' or 'inch'",
            got=repr(unit)[:80] if found is None else f"{unit} ({found.dimension})",
        )


def _ragged(points: Any) -> str:
    """What a nested sequence that is no array looks like, in words."""
    try:
        lengths = sorted({len(point) for point in points})
    except TypeError:
        return f"{type(points).__name__} of mixed entries"
    return f"{len(points)} rows with " + " or ".join(str(length) for length in lengths[:5]) + " entries"


def read_weights(weights: Any, n: int) -> np.ndarray:
    """One weight per point (1 / variance, up to a common factor), finite and not negative; empty for none."""
    if weights is None:
        return NO_WEIGHTS
    array = np.asarray(weights)
    if array.dtype.kind not in "fiu" or array.shape != (n,):
        raise ParameterError(
            "weights do not fit the points", expected=f"shape ({n},)", got=f"{array.dtype} of shape {array.shape}"
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not (np.isfinite(array).all() and (array >= 0.0).all()):
        raise ParameterError("weights must be finite and not negative", expected="1 / variance of each point")
    largest = float(array.max(initial=0.0))
    if largest > 0.0:
        array = array * 2.0 ** -math.frexp(largest)[1]  # an exact factor: nothing over- or underflows later
    return array


def read_fixed(fixed: Mapping[str, Any] | None, row: Row) -> dict[str, Any]:
    """Known parameters by name, checked against what this feature can hold fixed."""
    if not fixed:
        return {}
    allowed = [name for name in row.sizes if name] + ([row.axis] if row.axis else [])
    if row.name == "ellipse":
        allowed.append("axis_ratio")
    result: dict[str, Any] = {}
    for name, value in fixed.items():
        if name not in allowed:
            raise ParameterError(
                f"{name!r} of a {row.dimension}-D {row.name} cannot be held fixed",
                expected="one of " + ", ".join(allowed) if allowed else "no fixed parameters",
            )
        if name == row.axis:
            result[name] = direction(value, name, row.dimension)
        elif name == "axis_ratio":
            ratio = number(value, name, positive=True)
            if ratio > 1.0:
                raise ParameterError(
                    "axis_ratio is semi_minor over semi_major", expected="0 < axis_ratio <= 1", got=repr(value)
                )
            result[name] = ratio
        elif name == "half_angle":
            angle = number(value, name)
            if not 0.0 <= angle < 0.5 * math.pi:
                raise ParameterError(
                    "half_angle is not that of a cone", expected="0 <= half_angle < pi/2 rad", got=repr(value)
                )
            result[name] = angle
        else:
            result[name] = number(value, name, positive=True)
    if "axis_ratio" in result and {"semi_major", "semi_minor"} & result.keys():
        raise ParameterError(
            "axis_ratio and a semi-axis cannot both be fixed", expected="one of them, or both semi-axes"
        )
    if result.get("semi_minor", 0.0) > result.get("semi_major", math.inf):
        raise ParameterError("the minor semi-axis is the shorter one", got=f"{result['semi_minor']} > semi_major")
    return result


def read_labels(labels: Any, row: Row, n: int) -> np.ndarray | None:
    """(n,) +1 and -1: to which of two parallel planes each point belongs."""
    if labels is None:
        return None
    if row.name != "parallel_planes":
        raise ParameterError(
            f"a {row.name} takes no labels", expected="labels with parallel_planes only", got=type(labels).__name__
        )
    array = np.asarray(labels)
    names, inverse = np.unique(array, return_inverse=True) if array.shape == (n,) else (np.empty(0), np.empty(0))
    if array.shape != (n,) or len(names) != 2 or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise ParameterError(
            "labels do not split the points into two planes",
            expected=f"shape ({n},) with exactly two different values",
            got=f"shape {array.shape}" + (f" with {len(names)} values" if array.shape == (n,) else ""),
        )
    return np.where(inverse.reshape(-1) == 1, 1.0, -1.0)


def read_start(start: Any, row: Row) -> Feature | None:
    """A feature of the same kind to start from."""
    if start is None:
        return None
    if not isinstance(start, Feature) or start.kind != row.name or start.dimension != row.dimension:
        raise ParameterError(
            "the start is of another kind", expected=f"a {row.dimension}-D {row.name}", got=type(start).__name__
        )
    return start


def off_plane(rms: float, form: float, reach: float) -> bool:
    """Whether the points of a plane curve in space lie off its plane: their root mean square distance, height included,
    cannot exceed the peak to valley within the plane otherwise. Below half a percent of the reach it is called form.
    """
    return rms > form and rms > 0.005 * reach
