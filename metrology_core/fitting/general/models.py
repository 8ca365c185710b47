"""What the solvers of this folder work on: residual rows with derivatives, and exact motion along a local chart."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features import Feature
from metrology_core.fitting.general.rows import Rows, feature_rows

_LENGTHS = ("radius", "major_radius", "minor_radius", "semi_major", "semi_minor", "length", "width")
_STEEPEST = 0.5 * math.pi - 1e-6


def rescaled(feature: Feature, centre: np.ndarray, scale: float, *, back: bool = False) -> Any:
    """The feature in coordinates (x - centre) * scale, or `back` from them."""
    values: dict[str, Any] = {}
    for name, value in feature.parameters.items():
        if name in ("point", "center"):
            d = len(value)
            values[name] = centre[:d] + value / scale if back else (value - centre[:d]) * scale
        elif name in _LENGTHS:
            values[name] = value / scale if back else value * scale
    return replace(feature, **values)


def at_foot(feature: Any, centroid: np.ndarray, *, keep_radius: bool = False) -> Any:
    """The same geometry with its point at the foot of the centroid (line, plane, cylinder, cone, parallel planes).

    keep_radius: a cone keeps its radius at the point instead (it slides along its axis).
    """
    kind = feature.kind
    if kind in ("plane", "parallel_planes"):
        return replace(feature, point=centroid - float((centroid - feature.point) @ feature.normal) * feature.normal)
    if kind not in ("line", "cylinder", "cone"):
        return feature
    w = feature.direction if kind == "line" else feature.axis
    slide = float((centroid - feature.point) @ w)
    if kind == "cone":
        radius = feature.radius if keep_radius else feature.radius + slide * math.tan(feature.half_angle)
        return replace(feature, point=feature.point + slide * w, radius=radius)
    return replace(feature, point=feature.point + slide * w)


def displaced(feature: Any, delta: np.ndarray) -> Any:
    """`feature.moved`, with sizes that would vanish cut to a tenth and angles kept below a right one."""
    delta = np.asarray(delta, dtype=np.float64).copy()
    if not np.isfinite(delta).all():
        raise ParameterError("a step of the solver is not finite")
    for i, name in enumerate(feature.chart):
        if name in _LENGTHS and not (feature.kind == "cone" and name == "radius"):
            old = float(getattr(feature, name))
            if not old + delta[i] > 0.0:
                delta[i] = -0.9 * old
        elif name == "half_angle":
            old = float(feature.half_angle)
            delta[i] = min(_STEEPEST, max(-_STEEPEST, old + delta[i])) - old
        elif name.startswith(("tilt", "rotation")):
            delta[i] = min(1.5, max(-1.5, delta[i]))
    if feature.kind == "slot":
        i, k = feature.chart.index("length"), feature.chart.index("width")
        short = feature.width + delta[k] - (feature.length + delta[i])
        if short > 0.0:
            delta[i] += short * (1.0 + 1e-12) + 1e-15
    return feature.moved(delta)


class FeatureModel:
    """One feature. Points (n, d) in centred, scaled coordinates.

    free: chart coordinates that move. ratio: semi-axes of an ellipse kept in proportion. sides: see `feature_rows`.
    weights (n,): 1 / variance. rows: those of each point that count (all, or the first: in the plane).
    """

    def __init__(
        self,
        points: np.ndarray,
        feature: Feature,
        *,
        free: np.ndarray | None = None,
        ratio: bool = False,
        sides: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        first_only: bool = False,
        keep_radius: bool = False,
    ) -> None:
        self.points = np.ascontiguousarray(points)
        self.centroid = points.mean(axis=0)
        self.sides = sides
        self.weights = weights
        self.first_only = first_only
        self.keep_radius = keep_radius
        chart = feature.chart
        self.angles = np.array([name.startswith(("tilt", "rotation", "half_angle")) for name in chart])
        moving = np.ones(len(chart), bool) if free is None else np.asarray(free, bool).copy()
        if ratio:
            moving[chart.index("semi_minor")] = False
        self.columns = np.flatnonzero(moving)
        self.ratio = ratio
        self.start: Any = at_foot(feature, self.centroid)

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return len(self.columns)

    def basis(self, state: Any) -> np.ndarray:
        """(p, q): chart increments of one unit of each free coordinate."""
        result = self._plain(state)
        if self.ratio:
            major, minor = state.chart.index("semi_major"), state.chart.index("semi_minor")
            result[minor] = result[major] * (state.semi_minor / state.semi_major)
        if self.keep_radius and state.kind == "cone":
            # tilts slide the point along the axis: the radius at the foot of the centroid stays
            from metrology_core.features import basis

            slope, offset = math.tan(state.half_angle), self.centroid - state.point
            radius = state.chart.index("radius")
            for name, e in zip(("tilt_u", "tilt_v"), basis(state.axis), strict=True):
                result[radius] -= result[state.chart.index(name)] * slope * float(offset @ e)
        return result

    def _plain(self, state: Any) -> np.ndarray:
        result = np.zeros((len(state.chart), len(self.columns)))
        result[self.columns, np.arange(len(self.columns))] = 1.0
        return result

    def rows(self, state: Any) -> Rows:
        """Rows at a state, with derivatives along the free coordinates (k, n, q)."""
        full = feature_rows(state, self.points, self.sides)
        k = slice(0, 1) if self.first_only else slice(None)
        return Rows(full.c[k], full.d[k], full.j[k] @ self.basis(state))

    def move(self, state: Any, step: np.ndarray) -> Any:
        """The state displaced along the free coordinates."""
        if self.ratio:
            quotient = state.semi_minor / state.semi_major
            moved = displaced(state, self.basis(state) @ step)
            return replace(moved, semi_minor=quotient * moved.semi_major)
        moved = displaced(state, self._plain(state) @ step)
        return at_foot(moved, self.centroid, keep_radius=self.keep_radius)

    def root_weights(self) -> np.ndarray | None:
        """(n,) square roots of the weights."""
        return None if self.weights is None else np.sqrt(self.weights)

    def part(self, state: Any, index: np.ndarray) -> Rows:
        """Rows of some points."""
        sides = None if self.sides is None else self.sides[index]
        full = feature_rows(state, self.points[index], sides)
        k = slice(0, 1) if self.first_only else slice(None)
        return Rows(full.c[k], full.d[k], full.j[k] @ self.basis(state))

    def nudged(self, i: int, axis: int, step: float) -> FeatureModel:
        """A model of point i alone, displaced along a coordinate axis; about the same centroid."""
        result = copy.copy(self)
        result.points = self.points[i : i + 1].copy()
        result.points[0, axis] += step
        result.sides = None if self.sides is None else self.sides[i : i + 1]
        return result

    def size_factor(self, state: Any, name: str, index: np.ndarray | None) -> np.ndarray:
        """(n,) how fast the distance of each point falls as the size grows."""
        points = self.points if index is None else self.points[index]
        sides = self.sides if self.sides is None or index is None else self.sides[index]
        j = feature_rows(state, points, sides).j[0]
        if name == "scale":  # both semi-axes in proportion, per unit of the major one
            major, minor = state.chart.index("semi_major"), state.chart.index("semi_minor")
            return np.asarray(-(j[:, major] + j[:, minor] * (state.semi_minor / state.semi_major)))
        return np.asarray(-j[:, state.chart.index(name)])

    def grown(self, state: Any, name: str, amount: float) -> Any:
        """The state with its size changed."""
        if name == "scale":
            major = state.semi_major + amount
            return replace(state, semi_major=major, semi_minor=major * (state.semi_minor / state.semi_major))
        return replace(state, **{name: getattr(state, name) + amount})


def canonical(feature: Any) -> Any:
    """The same geometry with the house's signs; planes and 2-D lines keep theirs, since their distance has one."""
    from metrology_core.features import sign_of

    kind = feature.kind
    if kind == "cone":
        positive = feature.half_angle > 0.0 or (feature.half_angle == 0.0 and sign_of(feature.axis) > 0.0)
        return feature if positive else replace(feature, axis=-feature.axis, half_angle=-feature.half_angle)
    changes = {}
    names: tuple[str, ...] = ("axis", "direction", "normal", "major_axis")
    if kind in ("plane",) or (kind == "line" and feature.dimension == 2):
        names = ()
    for name in names:
        value = getattr(feature, name, None)
        if value is not None and sign_of(value) < 0.0:
            changes[name] = -value
    return replace(feature, **changes) if changes else feature


def flipped(feature: Any) -> bool:
    """Whether the sign rule would turn the normal of a plane or the direction of a 2-D line."""
    from metrology_core.features import sign_of

    if feature.kind == "plane":
        return sign_of(feature.normal) < 0.0
    return feature.kind == "line" and feature.dimension == 2 and sign_of(feature.direction) < 0.0
