"""From what the caller of `fit_many` gave to one array of points with offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import pose_of
from metrology_core.fitting.problem import NO_WEIGHTS, read_points
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

_SHAPES = "a (k, n, 3) array, a list of (n, 3) arrays or PointSets, or (n, 3) points with offsets"


@dataclass(frozen=True, eq=False)
class Items:
    """k runs of points: `flat` (3 N,) float64, offsets (k + 1,); `item(i)` gives what the caller gave for one of
    them."""

    flat: np.ndarray
    offsets: np.ndarray
    dimension: int
    unit: str | None
    item: Callable[[int], Any]
    sources: Mapping[int, Any] = field(default_factory=dict)  # items that are PointSets

    def __len__(self) -> int:
        return len(self.offsets) - 1


def read_items(points: Any, offsets: Any, unit: str | None) -> Items:
    """Check and join the items; `ParameterError` says which item is wrong."""
    if offsets is not None:
        given = read_points(points, unit)
        n = len(given.array)
        edges = np.asarray(offsets)
        if edges.dtype.kind not in "iu" or edges.ndim != 1 or not len(edges):
            raise ParameterError(
                "offsets are not indices", expected="whole numbers (k + 1,)", got=f"{edges.dtype} {edges.shape}"
            )
        edges = edges.astype(np.int64)
        if edges[0] != 0 or edges[-1] != n or (np.diff(edges) < 0).any():
            raise ParameterError(
                "offsets do not cut the points into runs",
                expected=f"from 0, never falling, to {n}",
                got=f"from {edges[0]} to {edges[-1]}",
            )

        def cut(i: int) -> Any:
            part = slice(int(edges[i]), int(edges[i + 1]))
            return given.array[part] if given.source is None else given.source.select(np.arange(n)[part])

        sources = {} if given.source is None else dict.fromkeys(range(len(edges) - 1), given.source)
        return Items(in_space(given.array), edges, given.dimension, given.unit, cut, sources)
    if isinstance(points, np.ndarray) or not isinstance(points, Sequence):
        try:
            array = np.asarray(points)
        except ValueError:
            array = np.empty(0, object)
        if array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[2] not in (2, 3):
            raise ParameterError(
                "not several sets of points", expected=_SHAPES, got=f"{array.dtype} of shape {array.shape}"
            )
        k, n, d = array.shape
        joined = np.ascontiguousarray(array, dtype=np.float64).reshape(k * n, d)
        _ = read_points(joined[:0], unit)  # checks the unit
        return Items(in_space(joined), np.arange(k + 1, dtype=np.int64) * n, d, unit, lambda i: array[i])
    return _from_list(points, unit)


def _from_list(points: Sequence[Any], unit: str | None) -> Items:
    arrays, sources = [], {}
    dimension, stated = 3, unit
    for i, one in enumerate(points):
        if not (type(one) is np.ndarray and one.dtype == np.float64 and one.ndim == 2 and one.shape[1] in (2, 3)):
            try:
                given = read_points(one, unit)
            except ParameterError as error:
                error.where = f"item {i}"
                raise
            if given.source is not None:
                sources[i] = given.source
                if given.unit != (stated or given.unit):
                    raise ParameterError("the items are in different units", expected=stated, got=given.unit)
                stated = given.unit
            one = given.array
        if i == 0:
            dimension = one.shape[1]
        elif one.shape[1] != dimension:
            raise ParameterError(
                f"item {i} has another dimension", expected=f"(n, {dimension})", got=f"{one.shape}", where=f"item {i}"
            )
        arrays.append(one)
    if sources and len(sources) < len(arrays):
        raise ParameterError(
            "some items are PointSets and some are not", expected="one kind", remedy="declare all points or none"
        )
    if not sources:
        read_points(np.empty((0, 3)), unit)  # checks the unit
    edges = np.zeros(len(arrays) + 1, np.int64)
    np.cumsum([len(a) for a in arrays], out=edges[1:])
    flat = np.zeros((int(edges[-1]), 3))
    if arrays:
        np.concatenate(arrays, out=flat[:, :dimension])
    return Items(flat.reshape(-1), edges, dimension, stated, lambda i: points[i], sources)


def in_space(array: np.ndarray) -> np.ndarray:
    """Flat x y z of contiguous points (n, 2 or 3); a view where that is possible."""
    from metrology_core.fitting.memory import kernel_view

    if array.shape[1] == 3:
        return kernel_view(array)
    result = np.zeros((len(array), 3))
    result[:, :2] = array
    return result.reshape(-1)


def read_many_weights(weights: Any, items: Items) -> np.ndarray:
    """One weight per point of all items, scaled item by item as `fit` does; empty for none."""
    if weights is None:
        return NO_WEIGHTS
    n = int(items.offsets[-1])
    if isinstance(weights, (list, tuple)):
        parts = [np.asarray(w) for w in weights]
        sizes = np.diff(items.offsets).tolist()
        if [p.shape for p in parts] != [(s,) for s in sizes]:
            raise ParameterError("weights do not fit the points", expected="one array per item, one weight per point")
        array = np.concatenate(parts) if parts else np.empty(0)
    else:
        array = np.asarray(weights)
        if array.ndim == 2 and array.shape == (len(items), n // max(1, len(items))):
            array = array.reshape(-1)
    if array.dtype.kind not in "fiu" or array.shape != (n,):
        raise ParameterError(
            "weights do not fit the points", expected=f"shape ({n},)", got=f"{array.dtype} of shape {array.shape}"
        )
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not (np.isfinite(array).all() and (array >= 0.0).all()):
        raise ParameterError("weights must be finite and not negative", expected="1 / variance of each point")
    sizes = np.diff(items.offsets)
    filled = sizes > 0
    largest = np.zeros(len(items))
    if filled.any():
        largest[filled] = np.maximum.reduceat(array, items.offsets[:-1][filled])
    exponent = np.where(largest > 0.0, np.frexp(largest)[1], 0)
    return np.ldexp(array, -np.repeat(exponent, sizes))


def read_starts(start: Any, row: Row, k: int) -> np.ndarray:
    """(1 or k, POSE) poses to start from; empty for none. A feature for all, or one for each."""
    from metrology_core.fitting.manyfit import FitMany
    from metrology_core.fitting.problem import read_start

    if start is None:
        return np.empty((0, layout.POSE))
    if isinstance(start, Feature):
        read_start(start, row)
        return pose_of(row, start)[None]
    if isinstance(start, FitMany):
        start = start.features()
    features = list(start) if isinstance(start, Sequence) else []
    if len(features) != k or not k:
        raise ParameterError(
            "not a start for the items",
            expected=f"a feature, {k} features, or the result of fit_many",
            got=str(start)[:60],
        )
    result = np.empty((k, layout.POSE))
    for i, one in enumerate(features):
        if one is None:
            raise ParameterError("an item has no start", where=f"item {i}", remedy="give a feature for each item")
        read_start(one, row)
        result[i] = pose_of(row, one)
    return result
