"""`fit_trials`: one feature fitted again and again to displaced copies of the same points, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import problem as _problem
from metrology_core.fitting.entry import fit
from metrology_core.fitting.many import run_items
from metrology_core.fitting.manyfit import FitMany, Solution
from metrology_core.fitting.manyitems import Items, in_space, read_starts
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import find

BLOCK_POINTS = 1 << 17  # points of the trials that are in memory together: 3 MB of coordinates


def fit_trials(
    points: Any,
    feature: str,
    displacements: Any,
    *,
    directions: Any = None,
    trials: int | None = None,
    criterion: str = "least_squares",
    material: str | None = None,
    weights: Any = None,
    fixed: Mapping[str, Any] | None = None,
    start: Feature | None = None,
    unit: str | None = None,
    keep: str = "summary",
) -> FitMany:
    """Fit a feature to `trials` displaced copies of the same n points: the inner loop of a Monte Carlo evaluation.

    points: (n, 3) array or PointSet, (n, 2) for features of a plane. displacements: (trials, n) along `directions` (n,
    d), or (trials, n, d) vectors, in the unit of the points; or a function ``(start, stop)`` that gives those of trials
    start to stop (then `trials` says how many there are): it is called for consecutive blocks from one thread, so the
    memory stays bounded, and again for single trials that are looked at. directions: default the normals of the
    start at the points. start: default the least-squares fit of the points themselves; every trial starts there, and
    directions of the results are turned to its side. material, weights (n,), fixed, criterion, unit: as those of
    `fit`. keep: ``"summary"`` (parameters, form, rms, status: about 200 bytes a trial) or ``"all"`` (also what
    `FitMany.covariance` needs).

    Trial i is solved from its points alone: blocks and threads change no bit. Raises `ParameterError` for shapes that
    do not fit, and `FitError` where the points themselves determine no such feature.
    """
    given = _problem.read_points(points, unit)
    n, d = given.array.shape
    row = find(feature, d, criterion)
    if keep not in ("summary", "all"):
        raise ParameterError("unknown amount to keep", expected="'summary' or 'all'", got=repr(keep))
    own = given.array if given.source is None else given.source
    if start is None:
        first = fit(own, feature, weights=weights, fixed=fixed, unit=unit)
        if first.status not in ("converged", "non_unique"):
            first.require()
        start = first.associated
    assert start is not None
    along = _directions(directions, start, given.array)
    produce, count = _producer(displacements, trials, n, d)
    held = _problem.read_fixed(fixed, row)
    one_weight = _problem.read_weights(weights, n)
    starts = read_starts(start, row, 1)
    size = max(1, BLOCK_POINTS // max(1, n))

    def displaced(a: int, b: int) -> np.ndarray:
        move = _checked(produce(a, b), b - a, n, d)
        if move.ndim == 2:
            move = move[:, :, None] * along
        return given.array + move

    def refit(i: int, near: Feature | None) -> Fit:
        xyz = displaced(i, i + 1)[0]
        one = xyz if given.source is None else replace(given.source, xyz=xyz)
        return fit(
            one, feature, criterion=criterion, material=material, weights=weights, fixed=fixed, unit=unit,
            start=near or start,
        )  # fmt: skip

    parts = []
    for a in range(0, count, size) or (0,):
        b = min(count, a + size)
        xyz = displaced(a, b)
        items = Items(
            in_space(xyz.reshape(-1, d)), np.arange(b - a + 1, dtype=np.int64) * n, d, given.unit, lambda i: None,
            {} if given.source is None else dict.fromkeys(range(b - a), given.source),
        )  # fmt: skip
        part = run_items(
            row, criterion, items, np.tile(one_weight, b - a), held, starts, material,
            lambda i, near, a=a: refit(a + i, near),
        )  # fmt: skip
        parts.append(part if keep == "all" else replace(part, _solution=None))
    result = replace(_join(parts), _refit=refit)
    hint = start.parameters.get(row.axis or "", start.parameters.get("normal", start.parameters.get("direction")))
    return result if hint is None else result.oriented(hint)


def _directions(given: Any, start: Feature, array: np.ndarray) -> np.ndarray:
    if given is None:
        return start.normals(array)
    along = np.asarray(given)
    if along.dtype.kind not in "fiu" or along.shape != array.shape:
        raise ParameterError(
            "directions do not fit the points", expected=f"shape {array.shape}", got=f"{along.dtype} of {along.shape}"
        )
    return np.asarray(along, dtype=np.float64)


def _producer(displacements: Any, trials: int | None, n: int, d: int) -> tuple[Callable[[int, int], Any], int]:
    if callable(displacements):
        if not isinstance(trials, (int, np.integer)) or trials < 0:
            raise ParameterError(
                "a function of displacements needs the number of trials", expected="trials=10000", got=repr(trials)
            )
        return displacements, int(trials)
    array = np.asarray(displacements)
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or array.shape[1:] not in ((n,), (n, d)):
        raise ParameterError(
            "displacements do not fit the points",
            expected=f"(trials, {n}) along directions, or (trials, {n}, {d})",
            got=f"{array.dtype} of shape {array.shape}",
        )
    if trials is not None and trials != len(array):
        raise ParameterError("trials contradicts the displacements", expected=str(len(array)), got=repr(trials))
    return lambda a, b: array[a:b], len(array)


def _checked(move: Any, count: int, n: int, d: int) -> np.ndarray:
    array = np.asarray(move)
    if array.dtype.kind not in "fiu" or array.shape not in ((count, n), (count, n, d)):
        raise ParameterError(
            "the function of displacements gave another shape",
            expected=f"({count}, {n}) or ({count}, {n}, {d})",
            got=f"{array.dtype} of shape {array.shape}",
        )
    return np.asarray(array, dtype=np.float64)


def _join(parts: list[FitMany]) -> FitMany:
    """Results of consecutive blocks as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    names = first.flag_names
    for part in parts:
        names = (*names, *(name for name in part.flag_names if name not in names))
    bits = []
    for part in parts:
        own = np.zeros(len(part), np.uint64)
        for name in part.flag_names:
            own[part.flagged(name)] |= np.uint64(1 << names.index(name))
        bits.append(own)
    joined: dict[str, Any] = {"flag_bits": np.concatenate(bits), "flag_names": names}
    for f in fields(FitMany):
        value = getattr(first, f.name)
        if isinstance(value, np.ndarray) and f.name not in joined:
            joined[f.name] = np.concatenate([getattr(part, f.name) for part in parts])
    joined["parameters"] = {
        name: np.concatenate([part.parameters[name] for part in parts]) for name in first.parameters
    }
    single, place = {}, 0
    for part in parts:
        single.update({place + i: one for i, one in part._single.items()})
        place += len(part)
    joined["_single"] = single
    if first._solution is not None:
        solutions = [part._solution for part in parts if part._solution is not None]
        values = {
            f.name: np.concatenate([getattr(s, f.name) for s in solutions])
            for f in fields(Solution)
            if f.name != "free"
        }
        joined["_solution"] = Solution(free=first._solution.free, **values)
    return replace(first, **joined)
