"""Fits to points that are not in memory: the passes of `fit` over the pieces of a block source."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import problem as _problem
from metrology_core.fitting.canonical import canonical_pose, chart_columns, pose_of
from metrology_core.fitting.result import Evidence, Fit
from metrology_core.fitting.search import FOUND, NO_SEARCH
from metrology_core.fitting.search import plan as search_plan
from metrology_core.fitting.solver import THREADED_FROM, Answer, _hold, _judge
from metrology_core.fitting.sources import SLICE, ArrayPoints, AsGiven, Stream, count_points, read_piece
from metrology_core.fitting.table import Row, find
from metrology_core.kernels import layout


def fit_source(
    source: Any,
    feature: str,
    *,
    criterion: str,
    material: str | None,
    weights: Any,
    fixed: Mapping[str, Any] | None,
    start: Feature | None,
    unit: str | None,
    others: Mapping[str, Any],
) -> Fit:
    """`fit` for a block source: the same answer, to the last bit, in memory that does not grow with the points."""
    from metrology_core.fitting import entry

    n = count_points(source)
    unit = _unit(source, unit)
    if not isinstance(feature, str):
        raise ParameterError("a feature is named by a word", expected="for example 'cylinder'", got=repr(feature)[:80])
    row = find(feature, 3, criterion)
    if n < THREADED_FROM:
        return entry.fit(
            read_piece(source, 0, n) if n else np.empty((0, 3)), feature, criterion=criterion, material=material,
            weights=weights, fixed=fixed, start=start, unit=unit, **others,
        )  # fmt: skip
    if material not in (None, "inside", "outside"):
        raise ParameterError("unknown material side", expected="'inside', 'outside' or None", got=repr(material))
    held = _problem.read_fixed(fixed, row)
    first = _problem.read_start(start, row)
    all_weights = _problem.read_weights(weights, n)
    try:
        _check(row, criterion, held, others)
    except (ParameterError, CriterionError):
        if not isinstance(source, ArrayPoints):
            raise
        return entry.fit(
            np.array(source.array, dtype=np.float64, order="C"), feature, criterion=criterion, material=material,
            weights=weights, fixed=fixed, start=start, unit=unit, **others,
        )  # fmt: skip
    if criterion != "least_squares":
        from metrology_core.fitting.zone.finish import check_arguments

        check_arguments(criterion, material, all_weights)
    declared = source if hasattr(source, "points_are") else None
    stream = Stream(source, all_weights)
    notes: list[str] = list(getattr(source, "flags", ()))
    settings: dict[str, Any] = {"start": "given" if first is not None else "search", "passes_over": "block source"}
    if held:
        settings["fixed"] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in held.items()}
    if all_weights.size:
        settings["weighted"] = True
    n_free = entry._free_count(row, held)
    needed = entry._minimum(row, n_free)
    given = _problem.Given(AsGiven(stream), 3, unit, declared)  # type: ignore[arg-type]
    answer = least_squares_of(row, stream, held, first, needed)
    m = len(stream)
    if stream.not_finite:
        notes.append("non_finite_points")
    if answer.outcome not in ("converged", "not_converged"):
        return entry._failed(row, criterion, given, n, m, answer, notes, settings)
    pose, turn = canonical_pose(row, answer.pose)
    fixed_columns = tuple(int(c) for c in chart_columns(row) if not answer.free[c])
    used = None
    if criterion != "least_squares":
        used = stream.used()
    evidence = Evidence(row, given.array, all_weights, None, pose, answer.centre, answer.scale, fixed_columns)
    if criterion != "least_squares":
        from metrology_core.fitting.zone.finish import zone_fit

        return zone_fit(
            row, criterion, declared, unit, given.array, stream, used, answer, held, n_free, material, notes, settings
        )
    plain = entry._finish(row, criterion, given, n, m, n_free, answer, turn, evidence, material, notes, settings)
    return StreamedFit(**{f.name: getattr(plain, f.name) for f in fields(Fit)}, _stream=stream)


def _unit(source: Any, unit: str | None) -> str | None:
    stated = getattr(source, "unit", None)
    if unit is None:
        unit = stated
    elif stated is not None and stated != unit:
        raise ParameterError(
            "the unit contradicts the points",
            expected=stated,
            got=unit,
            remedy="leave unit out: the source carries its own; results can be converted",
        )
    if unit is not None:
        _problem._length_unit(unit)
    return unit


_STREAMED = ("least_squares", "minimum_zone", "maximum_inscribed", "minimum_circumscribed")


def _check(row: Row, criterion: str, held: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Typed error for what needs all points in memory."""
    remedy = "read the points into an array first"
    asked = [name for name, value in others.items() if value is not None]
    if asked or not getattr(row, "compiled", True) or "axis_ratio" in held:
        raise ParameterError(
            f"this fit needs all points in memory ({', '.join(asked) or row.name})",
            expected="a block source without them",
            remedy=remedy,
        )
    one_sided = criterion in ("minimum_zone_outside", "minimum_zone_inside")
    if criterion not in _STREAMED and not one_sided:
        raise CriterionError(
            f"{criterion} needs all points in memory", expected="one of " + ", ".join(_STREAMED), remedy=remedy
        )


def least_squares_of(row: Row, stream: Stream, fixed: Mapping[str, Any], start: Feature | None, needed: int) -> Answer:
    """`solver.least_squares` in passes over a stream."""
    from metrology_core.kernels import fitmain as k

    free = np.zeros(9, np.bool_)
    free[: len(row.free)] = row.free
    given = np.full(5, math.nan)
    if fixed:
        _hold(row, dict(fixed), free, given)
    pose = np.zeros(layout.POSE) if start is None else pose_of(row, start)
    answer = Answer("not_converged", pose=pose, free=free)
    state, info = np.empty(12), np.zeros(layout.N_INFO)
    rows = _extremes(stream)
    n = len(stream)
    if n < needed:
        return Answer("insufficient", f"{n} usable points, {needed} needed")
    code = int(k.settle_extremes(rows, n, info))
    answer.centre = info[layout.I_CENTRE : layout.I_CENTRE + 3]
    answer.scale = float(info[layout.I_SCALE])
    if code == layout.NO_EXTENT:
        answer.outcome, answer.reason = "degenerate", _no_extent(rows)
        return answer
    picks = _sample_rows(n)
    sample = np.empty((len(picks), 3))
    _moments(stream, answer.centre, answer.scale, rows, picks, sample)
    code = int(k.settle_moments(row.kind, False, given, start is not None, rows, info, pose))
    if code in (layout.COLLINEAR, layout.COPLANAR):
        words = "collinear" if code == layout.COLLINEAR else "coplanar"
        answer.outcome, answer.reason = "degenerate", f"the points are {words} to rounding"
        return answer
    if code == layout.SEARCH and not _search(row, free, given, n, picks, sample, info, answer, state):
        answer.outcome, answer.reason = "degenerate", "no feature of this kind passes near the points"
        return answer
    _solve(row.kind, free, stream, info, pose, answer.sums, state)
    _judge(answer, state, info)
    return answer


def _extremes(stream: Stream) -> np.ndarray:
    from metrology_core.kernels import fitmain as k

    parts = []
    for flat, _, _ in stream.blocks():
        chunks = (len(flat) // 3 + layout.CHUNK - 1) // layout.CHUNK
        rows = np.empty((chunks, layout.N_MOMENTS))
        _run(lambda a, b, flat=flat, rows=rows: k.extremes(flat, a, b, rows), chunks)
        parts.append(rows)
    return np.concatenate(parts) if parts else np.empty((0, layout.N_MOMENTS))


def _run(work: Any, chunks: int) -> None:
    from metrology_core.blocks import run_blocks

    run_blocks(work, chunks)


def _no_extent(rows: np.ndarray) -> str:
    from metrology_core.fitting.solver import _no_extent as words

    low = rows[:, layout.M_MIN : layout.M_MIN + 3].min(axis=0)
    high = rows[:, layout.M_MAX : layout.M_MAX + 3].max(axis=0)
    return words(np.vstack((low, high)))


def _sample_rows(n: int) -> np.ndarray:
    """Numbers of the points that `fitmain.sample` takes, in its order."""
    m = min(n, layout.SAMPLE)
    step = _step(n)
    return (np.arange(m, dtype=np.int64) * step) % n


def _step(n: int) -> int:
    step = max(1, int(0.6180339887498949 * n))
    while math.gcd(step, n) != 1:
        step += 1
    return step


def _moments(
    stream: Stream, centre: np.ndarray, scale: float, rows: np.ndarray, picks: np.ndarray, sample: np.ndarray
) -> None:
    from metrology_core.kernels import fitmain as k

    for flat, load, number in stream.blocks():
        count = len(flat) // 3
        chunks = (count + layout.CHUNK - 1) // layout.CHUNK
        first = number // layout.CHUNK
        own = rows[first : first + chunks]
        _run(lambda a, b, flat=flat, load=load, own=own: k.moments(flat, load, centre, scale, a, b, own), chunks)
        here = (picks >= number) & (picks < number + count)
        sample[here] = flat.reshape(-1, 3)[picks[here] - number]


def _search(
    row: Row, free: np.ndarray, given: np.ndarray, n: int, picks: np.ndarray, sample: np.ndarray, info: np.ndarray,
    answer: Answer, state: np.ndarray,
) -> bool:  # fmt: skip
    """The search of `fit` on the sample alone: it is laid out so that sampling it gives the same points in the same
    order."""
    from metrology_core.kernels import fitmain as k

    m = len(picks)
    flat = np.empty((m, 3))
    flat[(np.arange(m) * _step(m)) % m] = sample
    plan, extra = search_plan(row.kind, n, flat.reshape(-1), given, info) if n else NO_SEARCH
    found, costs = np.zeros((FOUND, layout.POSE)), np.full(FOUND, math.inf)
    return bool(
        k.search_and_solve(
            row.kind, free, given, flat.reshape(-1), np.empty(0), True, False, plan, extra, info, answer.pose,
            answer.sums, state, found, costs,
        )
    )  # fmt: skip


def _solve(
    kind: int, free: np.ndarray, stream: Stream, info: np.ndarray, pose: np.ndarray, sums: np.ndarray, state: np.ndarray
) -> None:
    """`solver._solve_threaded` over a stream."""
    from metrology_core.kernels import fitmain as k

    n = len(stream)
    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    centre, scale = info[layout.I_CENTRE : layout.I_CENTRE + 3], float(info[layout.I_SCALE])
    centroid = info[layout.I_CENTROID : layout.I_CENTROID + 3]
    partials = np.empty((chunks, layout.N_SUMS))
    trial, best = pose.copy(), pose.copy()
    trial_sums, best_sums = np.empty(layout.N_SUMS), np.empty(layout.N_SUMS)
    delta, matrix = np.zeros(9), np.empty((9, 9))
    k.start_state(state)
    more = True
    while more:
        stream.each(
            lambda flat, load, first, a, b: k.accumulate(kind, flat, load, centre, scale, trial, a, b, partials[first:])
        )
        k.fold(partials, chunks, trial_sums)
        more = k.advance(
            kind, free, n, trial_sums, centroid, state, pose, sums, trial, best, best_sums, delta, matrix,
            layout.LIMITS[3], True,
        )  # fmt: skip
    k.conditioning(kind, free, sums, n, info)


@dataclass(frozen=True, eq=False)
class StreamedFit(Fit):
    """A `Fit` to a block source: what needs the points reads them again, piece by piece.

    `residual_blocks` gives the residuals in bounded memory; `residuals`, `design` and `sensitivities` hold numbers for
    every point and take memory for them.
    """

    _stream: Stream | None = None

    def residual_blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first point, residuals) of one piece after the other; NaN where a point is not finite."""
        assert self._stream is not None and self.associated is not None
        for start, piece in self._stream.pieces():
            yield start, _distances(self.associated, piece)

    @functools.cached_property
    def residuals(self) -> np.ndarray:
        """(n_points,) signed normal distances, NaN for points that are not finite."""
        result = np.empty(self.n_points)
        for start, part in self.residual_blocks():
            result[start : start + len(part)] = part
        result.setflags(write=False)
        return result

    def _used_points(self) -> np.ndarray:
        assert self._stream is not None
        return np.ascontiguousarray(np.vstack([flat.reshape(-1, 3) for flat, _, _ in self._stream.blocks()]))

    def _row_weights(self, rows: int) -> np.ndarray:
        assert self._stream is not None
        if not self._known().weights.size:
            return np.ones(rows)
        weights = np.concatenate([load for _, load, _ in self._stream.blocks()])
        return np.tile(weights, rows // len(weights))


def _distances(feature: Feature, piece: np.ndarray) -> np.ndarray:
    result = np.empty(len(piece))
    for a in range(0, len(piece), SLICE):
        part = piece[a : a + SLICE]
        with np.errstate(invalid="ignore"):
            result[a : a + len(part)] = feature.distance(part)
        result[a : a + len(part)][~np.isfinite(part).all(axis=1)] = math.nan
    return result


__all__ = ["StreamedFit", "fit_source"]
