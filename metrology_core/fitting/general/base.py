"""Checked arguments, the points that are used, and the least-squares feature from which every criterion starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature, basis
from metrology_core.fitting.canonical import canonical_pose, feature_of
from metrology_core.fitting.general import models, starts
from metrology_core.fitting.general.least import least_squares, weighted
from metrology_core.fitting.general.models import FeatureModel, rescaled
from metrology_core.fitting.general.solution import Solution
from metrology_core.fitting.solver import Answer
from metrology_core.fitting.solver import least_squares as compiled_least_squares
from metrology_core.fitting.table import Row
from metrology_core.fitting.zone.criteria import PARALLEL_PLANES
from metrology_core.kernels import layout


@dataclass(eq=False)
class Request:
    """What `fit` was asked, checked; all points as given (n, 3 or 2)."""

    row: Row
    criterion: str
    given: Any
    weights: np.ndarray
    held: dict[str, Any]
    start: Feature | None
    material: str | None
    covariances: np.ndarray | None
    labels: np.ndarray | None
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Problem:
    """Points that are used, in the data's and in scaled coordinates, and the least-squares feature to start from."""

    row: Row
    points: np.ndarray
    used: np.ndarray | None
    weights: np.ndarray | None
    sides: np.ndarray | None
    centre: np.ndarray
    scale: float
    local: np.ndarray
    base: Any  # least-squares feature, scaled
    free: np.ndarray
    ratio: bool
    sigma: float
    dof: int
    covariances: np.ndarray | None = None

    def model(self, feature: Any = None, **changes: Any) -> FeatureModel:
        """A model of the points at a feature."""
        options: dict[str, Any] = {
            "free": self.free, "ratio": self.ratio, "sides": self.sides, "weights": self.weights,
        }  # fmt: skip
        options.update(changes)
        return FeatureModel(self.local, self.base if feature is None else feature, **options)


def needed_points(row: Row, held: dict[str, Any]) -> int:
    gone = sum(len(chart_names(row, name)) for name in held)
    return max(1, row.minimum - gone // row.rows_per_point)


def chart_names(row: Row, name: str) -> list[str]:
    """Chart coordinates that a fixed parameter takes away."""
    if name == "axis_ratio":
        return ["semi_minor"]
    if name == row.axis:
        return ["tilt"] if row.dimension == 2 else ["tilt_u", "tilt_v"]
    return [name]


def free_mask(row: Row, feature: Any, held: dict[str, Any]) -> np.ndarray:
    """(p,) chart coordinates of a feature that are not held."""
    gone = {column for name in held if name != "axis_ratio" for column in chart_names(row, name)}
    return np.array([name not in gone for name in feature.chart])


def base_of(
    request: Request, points: np.ndarray, weights: np.ndarray | None, labels: np.ndarray | None
) -> Problem | str:
    """The least-squares feature, or "status: reason"."""
    row = request.row
    space = points
    if row.dimension == 2:
        space = np.zeros((len(points), 3))
        space[:, :2] = points
    if row.compiled:
        held = {k: v for k, v in request.held.items() if k != "axis_ratio"}
        answer = compiled_least_squares(row, space, np.empty(0) if weights is None else weights, held, request.start)
        if answer.outcome not in ("converged", "not_converged"):
            return f"{answer.outcome}: {answer.reason}"
        return _from_compiled(request, points, weights, answer)
    extent = _frame(space)
    if isinstance(extent, str):
        return extent
    centre, scale = extent
    local = (points - centre[: row.dimension]) * scale
    return (_planes if row.kind == PARALLEL_PLANES else _slot)(request, points, local, weights, labels, centre, scale)


def _frame(space: np.ndarray) -> tuple[np.ndarray, float] | str:
    low, high = space.min(axis=0), space.max(axis=0)
    half = float((0.5 * high - 0.5 * low).max())
    size = float(np.abs(space).max())
    if size > layout.LARGEST:
        return "degenerate: the coordinates are out of the range whose squares can be represented: rescale them"
    if half <= layout.EQUAL_BELOW * size or half < layout.SMALLEST:
        return "degenerate: all points are equal to rounding"
    return 0.5 * low + 0.5 * high, 2.0 ** -(math.frexp(half)[1] + 1)


def _from_compiled(request: Request, points: np.ndarray, weights: np.ndarray | None, answer: Answer) -> Problem | str:
    row = request.row
    pose, _ = canonical_pose(row, answer.pose)
    try:
        feature = feature_of(row, pose, np.zeros(3), 1.0)
    except ParameterError:
        return "degenerate: the size of the feature is zero to rounding"
    local = (points - answer.centre[: row.dimension]) * answer.scale
    ratio = "axis_ratio" in request.held
    free = free_mask(row, feature, request.held)
    if ratio:
        size: Any = feature
        feature = replace(size, semi_minor=request.held["axis_ratio"] * size.semi_major)
    problem = Problem(
        row, points, None, weights, None, answer.centre, answer.scale, local, feature, free, ratio, 0.0, 0
    )
    if ratio:
        problem.base = least_squares(problem.model(), problem.model().start).state
    return _with_sigma(problem)


def _with_sigma(problem: Problem) -> Problem:
    model = problem.model()
    problem.base = model.start
    c, _ = weighted(model, problem.base)
    problem.dof = len(c) - model.size
    problem.sigma = math.sqrt(float(c @ c) / problem.dof) / problem.scale if problem.dof > 0 else math.nan
    return problem


def _planes(
    request: Request, points: np.ndarray, local: np.ndarray, weights: np.ndarray | None, labels: np.ndarray | None,
    centre: np.ndarray, scale: float,
) -> Problem | str:  # fmt: skip
    row = request.row
    held = dict(request.held)
    start = None if request.start is None else rescaled(request.start, centre, scale)
    found: list[Any]
    if labels is not None:
        if not (labels > 0).any() or not (labels < 0).any():
            return "insufficient: only one of the two planes has points"
        pair = starts.planes_of(local, labels)
        found = [] if pair is None else [pair]
    elif start is not None:
        found = [(start, np.where((local - start.point) @ start.normal >= 0.0, 1.0, -1.0))]
    else:
        found = starts.find_planes(local)
    if not found:
        return "degenerate: the points do not form two groups"
    best: tuple[float, Any, np.ndarray] | None = None
    for feature, sides in found[:3]:
        if held:
            known = _hold(row, feature, held, scale)
            if row.axis in held:
                across = local @ known.normal
                if labels is None:
                    _, threshold = starts.two_groups(across[starts.thinned(len(across))][None])
                    sides = np.where(across > threshold[0], 1.0, -1.0)
                if float(across[sides > 0].mean()) < float(across[sides < 0].mean()):
                    sides = -sides
                high, low = float(across[sides > 0].mean()), float(across[sides < 0].mean())
                centroid = local.mean(axis=0)
                point = centroid + (0.5 * (high + low) - float(centroid @ known.normal)) * known.normal
                width = known.width if "width" in held else high - low
                known = replace(known, point=point, width=width)
            feature = known
        free = free_mask(row, feature, held)
        for _ in range(20):
            model = FeatureModel(local, feature, free=free, sides=sides, weights=weights)
            solution = least_squares(model, model.start)
            feature = solution.state
            new = np.where((local - feature.point) @ feature.normal >= 0.0, 1.0, -1.0)
            if labels is not None or (new == sides).all() or len(np.unique(new)) < 2:
                break
            sides = new
        if solution.status != "degenerate" and (best is None or solution.objective < best[0]):
            best = (solution.objective, feature, sides)
    if best is None:
        return "degenerate: the points leave a parameter undetermined"
    _, feature, sides = best
    turned = models.canonical(feature)
    if float(turned.normal @ feature.normal) < 0.0:
        sides = -sides
    request.settings["assignment"] = "labels" if labels is not None else "automatic"
    problem = Problem(
        row, points, None, weights, sides, centre, scale, local, turned, free_mask(row, feature, held), False, 0.0, 0
    )
    return _with_sigma(problem)


def _hold(row: Row, feature: Any, held: dict[str, Any], scale: float) -> Any:
    changes: dict[str, Any] = {}
    for name, value in held.items():
        if name == row.axis:
            changes[name] = value if float(value @ getattr(feature, name)) >= 0.0 else -value
        elif name in ("half_angle", "axis_ratio"):
            changes[name] = value
        else:
            changes[name] = value * scale
    if "length" in changes or "width" in changes:
        length = changes.get("length", getattr(feature, "length", math.inf))
        width = changes.get("width", feature.width)
        if length < width and "width" not in changes:
            changes["width"] = length * (1.0 - 1e-9)
        elif length < width:
            changes["length"] = width * (1.0 + 1e-9)
    return replace(feature, **changes)


def _slot(
    request: Request, points: np.ndarray, local: np.ndarray, weights: np.ndarray | None, labels: np.ndarray | None,
    centre: np.ndarray, scale: float,
) -> Problem | str:  # fmt: skip
    row = request.row
    held = request.held
    if {"length", "width"} <= held.keys() and held["length"] < held["width"]:
        raise ParameterError("a slot is at least as long as it is wide", got=f"{held['length']} < {held['width']}")
    origin = None
    flat = local
    candidates: list[Any]
    if request.start is not None:
        candidates = [rescaled(request.start, centre, scale)]
    else:
        if row.dimension == 3:
            origin, u, v = starts.plane_of(local)
            if row.axis in held:
                u, v = basis(held[row.axis])
            flat = np.column_stack(((local - origin) @ u, (local - origin) @ v))
        candidates = list(starts.slot_starts(flat))
        if row.dimension == 3:
            candidates = [starts.lifted(slot, origin, u, v) for slot in candidates]  # type: ignore[arg-type]
    best: Solution | None = None
    found: list[Solution] = []
    for slot in candidates:
        slot = _hold(row, slot, held, scale)
        model = FeatureModel(local, slot, free=free_mask(row, slot, held), weights=weights)
        solution = least_squares(model, model.start)
        if solution.status == "degenerate":
            continue
        found.append(solution)
        if best is None or solution.objective < best.objective:
            best = solution
    if best is None:
        return "degenerate: the points leave a parameter undetermined"
    slot = models.canonical(best.state)
    free = free_mask(row, slot, held)
    if slot.length <= slot.width * (1.0 + 1e-6) and not {"length", "width"} <= held.keys():
        return "degenerate: the points form a circle: a slot's direction is undetermined"
    return _with_sigma(Problem(row, points, None, weights, None, centre, scale, local, slot, free, False, 0.0, 0))
