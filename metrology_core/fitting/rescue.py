"""A second, patient search where the first one ended badly: cones and tori on small arcs or with few points.

There the sum of squares has long, flat, bent valleys. The compiled search gives every candidate a few dozen passes and
stops where a step gains little, which in such a valley is far from its bottom; and the normal equations of its last
steps lose digits by the square of the condition. Here the best candidates of a wider search go on by
Levenberg-Marquardt on the QR decomposition until nothing is gained, and the last steps may use second derivatives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import canonical_pose, chart_columns, feature_of, pose_of
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.search import FEW, _scattered, search_and_solve
from metrology_core.fitting.solver import SINGULAR_BELOW, Answer, least_squares
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

_KINDS = (layout.CONE, layout.TORUS)
_ILL = 1e3  # condition of J with unit columns from which a converged answer is doubted too
_PLAN = np.array((1, 12, 60, 80, 0, 200, 80, 1), np.int64)  # passes and candidates of the compiled part
_SCATTERED = 100
_REFINED = 80  # candidates that come back from it
_PATIENT = 10  # of those, the different ones that are solved to the end
_SAMPLE = 400  # points on which they compete
_FINISHED = 100_000  # points up to which second derivatives are taken: the rows of all points are in memory then
_FAR = 3.0  # median distances from the middle beyond which a point is a stray: a line of equal spacing reaches 2
_MOST = 0.9  # share of the points that must be near
_SAME = 0.05  # relative difference of costs and sizes below which two candidates are one


def rescued(
    row: Row, xyz: np.ndarray, weights: np.ndarray, held: dict[str, Any], answer: Answer, *, searched: bool
) -> Answer:
    """This answer, or a better one where it ended badly; `searched`: no start was given."""
    if searched and due(row, answer, len(xyz)):
        answer = again(row, xyz, weights, held, answer)
    return finish(row, xyz, weights, answer) if answer.outcome == "not_converged" else answer


def beside_strays(row: Row, xyz: np.ndarray, held: dict[str, Any], answer: Answer) -> Answer:
    """This answer, or a lower minimum that a few points far from all others have hidden from the search.

    Candidates come from samples of the points; where some lie far away, those with such a point in them can win the
    first passes. So the points without them are fitted first, and all points from there: the criterion still counts
    every point.
    """
    n, none = len(xyz), np.empty(0)
    distance = np.linalg.norm(xyz - np.median(xyz, axis=0), axis=1)
    near = distance <= _FAR * float(np.median(distance))
    kept = int(np.count_nonzero(near))
    if kept == n or kept < _MOST * n:
        return answer
    inner = least_squares(row, np.ascontiguousarray(xyz[near]), none, held, None)
    if inner.outcome != "converged":
        return answer
    feature = feature_of(row, canonical_pose(row, inner.pose)[0], inner.centre, inner.scale)
    trial = least_squares(row, xyz, none, held, feature)
    if not _better(row, trial, answer):
        return answer
    trial.rivals = answer.rivals
    return trial


def due(row: Row, answer: Answer, n: int) -> bool:
    """Whether an answer of the search deserves a second one."""
    if row.kind not in _KINDS or answer.outcome not in ("converged", "not_converged", "degenerate"):
        return False
    if answer.outcome == "degenerate" and not answer.doubtful:
        return False
    if n <= int(answer.free.sum()):
        return answer.outcome == "not_converged"
    return answer.outcome != "converged" or answer.condition > _ILL


def again(row: Row, xyz: np.ndarray, weights: np.ndarray, held: dict[str, Any], first: Answer) -> Answer:
    """The better of the first answer and the best of a wider search."""
    n = len(xyz)
    local = (xyz - first.centre) * first.scale
    index = np.arange(n) if n <= _SAMPLE else np.unique((np.arange(_SAMPLE) * 0.6180339887498949 % 1.0 * n).astype(int))
    part = np.ascontiguousarray(local[index])
    load = weights[index] if weights.size else None
    best = first
    solutions = []
    for pose in _different(_candidates(row, part, first, held)):
        found = _patient(row, part, load, pose, first.free)
        if found is not None and math.isfinite(found[0]):
            solutions.append(found)
    solutions.sort(key=lambda item: item[0])
    for _, feature in solutions[:2]:
        trial = _solved(row, xyz, weights, held, first, feature)
        if trial is not None and _better(row, trial, best):
            best = trial
    if best is not first:
        best.rivals = _rivals(row, part, best, solutions) if n <= FEW else ()
    return best


def finish(row: Row, xyz: np.ndarray, weights: np.ndarray, first: Answer) -> Answer:
    """The same minimum proved by second derivatives, where the steps of the compiled solver shrink too slowly."""
    feature = _feature(row, first.pose) if len(xyz) <= _FINISHED else None
    found = None if feature is None else _proved(row, xyz, weights, first, feature)
    if found is None or not _better(row, found, first):
        return first
    found.rivals = first.rivals
    return found


def _cost(row: Row, answer: Answer) -> float:
    p = layout.N_PARAMETERS[row.kind]
    return float(answer.sums[p * (p + 1) - p * (p - 1) // 2])


def _better(row: Row, new: Answer, old: Answer) -> bool:
    if old.outcome == "degenerate":
        return True
    a, b = _cost(row, new), _cost(row, old)
    if new.outcome == "converged" and old.outcome != "converged":
        return a <= b * (1.0 + 1e-6) + 1e-28
    return a < b * (1.0 - 1e-9) and new.outcome == "converged"


def _rivals(row: Row, part: np.ndarray, best: Answer, solutions: list[tuple[float, Feature]]) -> tuple[float, ...]:
    """Costs of the best feature and of the next whose residuals are others: what `search.distinct_costs` gives."""
    feature = _feature(row, best.pose)
    if feature is None:
        return ()
    cost, own = _cost(row, best), feature.distance(part)
    for value, other in solutions:
        if float(np.sum((other.distance(part) - own) ** 2)) > 0.01 * max(cost, value):
            return (min(cost, value), max(cost, value))
    return ()


def _candidates(row: Row, part: np.ndarray, first: Answer, held: dict[str, Any]) -> list[tuple[float, np.ndarray]]:
    """(cost, pose) of the refined candidates, and of the first answer, in scaled coordinates."""
    given = np.full(5, math.nan)
    if row.axis in held:
        given[:3] = held[row.axis]
    for i, name in enumerate(row.sizes):
        if name in held:
            given[3 + i] = held[name] * (1.0 if name == "half_angle" else first.scale)
    info = np.zeros(layout.N_INFO)
    info[layout.I_SCALE] = 1.0
    info[layout.I_CENTROID : layout.I_CENTROID + 3] = part.mean(axis=0)
    found, costs = np.zeros((_REFINED, layout.POSE)), np.full(_REFINED, math.inf)
    extra = _scattered(row.kind, _SCATTERED, part, given[:3])
    search_and_solve(
        row.kind, first.free, given, kernel_view(part), np.empty(0), True, False, _PLAN, extra, info,
        np.zeros(layout.POSE), np.empty(layout.N_SUMS), np.empty(12), found, costs,
    )  # fmt: skip
    result = [(float(c), p) for c, p in zip(costs, found, strict=True) if c < math.inf]
    if first.outcome != "degenerate":
        result.append((_cost(row, first), first.pose))
    return sorted(result, key=lambda item: item[0])


def _different(candidates: list[tuple[float, np.ndarray]]) -> list[np.ndarray]:
    """The best candidates that are not copies of a better one."""
    chosen: list[np.ndarray] = []
    for _, pose in candidates:
        if not np.isfinite(pose).all():
            continue
        if all(_apart(pose, other) for other in chosen):
            chosen.append(pose)
        if len(chosen) == _PATIENT:
            break
    return chosen


def _apart(a: np.ndarray, b: np.ndarray) -> bool:
    turned = float(np.linalg.norm(np.cross(a[9:12], b[9:12]))) > _SAME
    first, second = np.abs(a[12:14]), np.abs(b[12:14])
    return turned or bool((np.abs(first - second) > _SAME * np.maximum(first, second)).any())


def _feature(row: Row, pose: np.ndarray) -> Feature | None:
    turned, _ = canonical_pose(row, pose)
    try:
        return feature_of(row, turned, np.zeros(3), 1.0)
    except ParameterError:  # a size of zero
        return None


def _chart_free(row: Row, free: np.ndarray) -> np.ndarray:
    """The solver's free columns, in the order of the feature's chart."""
    return np.array([free[c] for c in chart_columns(row)], bool)


def _patient(
    row: Row, part: np.ndarray, load: np.ndarray | None, pose: np.ndarray, free: np.ndarray
) -> tuple[float, Feature] | None:
    from metrology_core.fitting.general.least import least_squares as descend
    from metrology_core.fitting.general.models import FeatureModel

    feature = _feature(row, pose)
    if feature is None:
        return None
    model = FeatureModel(part[:, : row.dimension], feature, free=_chart_free(row, free), weights=load)
    try:
        solution = descend(model, model.start)
    except (ParameterError, np.linalg.LinAlgError):
        return None
    return solution.objective, solution.state


def _solved(
    row: Row, xyz: np.ndarray, weights: np.ndarray, held: dict[str, Any], first: Answer, feature: Feature | None
) -> Answer | None:
    """The answer for all points from a feature in scaled coordinates: compiled, else by second derivatives."""
    from metrology_core.fitting.general.models import rescaled

    if feature is None:
        return None
    start = rescaled(feature, first.centre, first.scale, back=True)
    answer = least_squares(row, xyz, weights, held, start)
    if answer.outcome == "converged":
        return answer
    if len(xyz) > _FINISHED:
        return None
    local = (xyz - first.centre) * first.scale
    found = _patient(row, local, weights if weights.size else None, pose_of(row, feature), first.free)
    if found is None:
        return None
    return _proved(row, xyz, weights, first, found[1])


def _proved(row: Row, xyz: np.ndarray, weights: np.ndarray, first: Answer, feature: Feature) -> Answer | None:
    """An answer at a feature that the patient solver calls a minimum: a Newton step with all second derivatives that
    is as small as rounding allows."""
    from metrology_core.fitting.general.least import weighted
    from metrology_core.fitting.general.models import FeatureModel
    from metrology_core.fitting.general.solution import EPS, curvature
    from metrology_core.kernels import fitmain as k

    n = len(xyz)
    local = (xyz - first.centre) * first.scale
    load = weights if weights.size else None
    model = FeatureModel(local[:, : row.dimension], feature, free=_chart_free(row, first.free), weights=load)
    state = model.start
    best, size = state, math.inf
    for _ in range(12):
        c, j = weighted(model, state)
        norms = np.linalg.norm(j, axis=0)
        rows = model.rows(state)
        root = model.root_weights()
        full = j.T @ j + curvature(model, state, rows.c if root is None else rows.c * root**2)
        scaled = full / np.outer(norms, norms)
        try:
            values = np.linalg.eigvalsh(scaled)
            step = -np.linalg.solve(scaled, (j.T @ c) / norms) / norms
        except np.linalg.LinAlgError:
            return None
        if not values[0] > 0.0 or not np.isfinite(step).all():
            return None  # a saddle, or nothing that the points determine
        move = float(np.linalg.norm(j @ step)) / math.sqrt(n)
        if move < size:
            best, size = state, move
        elif size < 1e-9:
            break
        if size <= EPS or float(np.abs(step).max()) > 1.0:
            break
        try:
            state = model.move(state, step)
        except ParameterError:
            return None
    if not size <= 1e-11:  # as the compiled solver: movement of the residuals, relative to the extent of the data
        return None
    pose = pose_of(row, best)
    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    partials, sums = np.empty((chunks, layout.N_SUMS)), np.empty(layout.N_SUMS)
    k.accumulate(row.kind, kernel_view(xyz), kernel_view(weights), first.centre, first.scale, pose, 0, chunks, partials)
    k.fold(partials, chunks, sums)
    info = np.zeros(layout.N_INFO)
    k.conditioning(row.kind, first.free, sums, n, info)
    if not float(info[layout.I_LEAST]) > SINGULAR_BELOW or info[layout.I_EMPTY] > 0.0:
        return None
    return Answer(
        "converged", "", pose, sums, first.free, first.centre, first.scale, step=float(np.abs(step).max()), move=size,
        passes=first.passes, condition=float(info[layout.I_CONDITION]), gradient=float(info[layout.I_GRADIENT]),
        least=float(info[layout.I_LEAST]),
    )  # fmt: skip


__all__ = ["beside_strays", "rescued"]
