"""`fit_many`: thousands of small features in one compiled batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import problem as _problem
from metrology_core.fitting.entry import FLAT_KINDS, ILL_CONDITIONED, _free_count, _minimum, fit
from metrology_core.fitting.manychart import canonical_poses, parameter_arrays
from metrology_core.fitting.manyfit import STATUSES, FitMany, Solution
from metrology_core.fitting.manyitems import Items, read_items, read_many_weights, read_starts
from metrology_core.fitting.manyparts import Bits, enter, offset_parameters
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.result import Fit
from metrology_core.fitting.search import FEW, plan, search_and_solve
from metrology_core.fitting.solver import SINGULAR_BELOW, _hold
from metrology_core.fitting.table import Row, find
from metrology_core.kernels import layout

GROUP = 16  # items per dispatched block
_NO_SEARCH = (layout.LINE, layout.PLANE, layout.CYLINDER)  # these find their start in the kernel
_LONG_SEARCH = (layout.CYLINDER, layout.CONE, layout.TORUS)  # with few points
_REASONS = {
    "singular": "the points leave a parameter undetermined",
    "stalled": "the last step is too large",
    "extent": "the points have no usable extent",
    "collinear": "the points are collinear to rounding",
    "coplanar": "the points are coplanar to rounding",
}


def fit_many(
    points: Any,
    feature: str,
    *,
    offsets: Any = None,
    criterion: str = "least_squares",
    material: str | None = None,
    weights: Any = None,
    fixed: Mapping[str, Any] | None = None,
    start: Any = None,
    unit: str | None = None,
) -> FitMany:
    """Fit one feature to each of k sets of points: the answers of `fit`, one compiled batch for all.

    points: (k, n, 3) array, list of (n_i, 3) arrays or PointSets, or (N, 3) points with `offsets` (k + 1,): item i is
    ``points[offsets[i]:offsets[i + 1]]``; (…, 2) for features of a plane. weights: (N,), (k, n) or a list. start: a
    feature for all (simulated repeats of one part: a few Gauss-Newton passes, no search), one for each, or the result
    of another `fit_many`. material, fixed, unit, criterion: as those of `fit`, the same for all.

    Every item is solved for itself: neighbours, order and threads change no bit. Bad data never raise: an item gets a
    status and flags, and the others go on. Optimum, status and flags are those of `fit`; the optimum agrees to
    rounding, since a shorter search may reach it from elsewhere (least squares, more than 64 points or with a start:
    to the last bit; spheres and circles of which a small piece is seen are refined by `fit` alone, within 1e-9 of a
    radius of 1e4). Wrong use raises `ParameterError`, `CriterionError` or `UnitError`, naming the item.
    """
    items = read_items(points, offsets, unit)
    if not isinstance(feature, str):
        raise ParameterError("a feature is named by a word", expected="for example 'cylinder'", got=repr(feature)[:80])
    row = find(feature, items.dimension, criterion)
    if material not in (None, "inside", "outside"):
        raise ParameterError("unknown material side", expected="'inside', 'outside' or None", got=repr(material))
    held = _problem.read_fixed(fixed, row)
    first = read_starts(start, row, len(items))
    all_weights = read_many_weights(weights, items)

    def refit(i: int, near: Feature | None) -> Fit:
        part = slice(int(items.offsets[i]), int(items.offsets[i + 1]))
        own = start if isinstance(start, Feature) else (start[i] if isinstance(start, (list, tuple)) else None)
        return fit(
            items.item(i), feature, criterion=criterion, material=material, fixed=fixed, unit=items_unit(items, i),
            weights=all_weights[part] if all_weights.size else None, start=near or own,
        )  # fmt: skip

    def items_unit(items: Items, i: int) -> str | None:
        return None if i in items.sources else items.unit

    return run_items(row, criterion, items, all_weights, held, first, material, refit)


def run_items(
    row: Row,
    criterion: str,
    items: Items,
    weights: np.ndarray,
    held: dict[str, Any],
    starts: np.ndarray,
    material: str | None,
    refit: Any,
) -> FitMany:
    """Run the kernel over all items, the rest one by one (`refit`), and make arrays of what comes out."""
    from metrology_core.fitting import manyzone

    zone = criterion != "least_squares"
    if not row.compiled or (zone and not manyzone.in_batch(row, criterion, items, weights)):
        return _one_by_one(row, criterion, items, refit)
    from metrology_core.kernels import many as k
    from metrology_core.kernels.quick import fan

    count, weights = len(items), kernel_view(weights)
    free = np.zeros(9, np.bool_)
    free[: len(row.free)] = row.free
    given = np.full(5, math.nan)
    planar = row.dimension == 2
    if planar and row.kind != layout.LINE:
        given[:3] = (0.0, 0.0, 1.0)
    if held:
        _hold(row, held, free, given)
    n_free = _free_count(row, held)
    needed = _minimum(row, n_free)
    poses, sums = np.zeros((count, layout.POSE)), np.zeros((count, layout.N_SUMS))
    facts, codes = np.full((count, k.N_FACTS), math.nan), np.full(count, k.LEFT, np.uint8)
    searched = not len(starts)
    if searched and (row.kind not in _NO_SEARCH or not math.isnan(given[0])):
        starts = _search(row, items, weights, free, given)
    table = fan()

    def work(start: int, stop: int) -> None:
        k.fit_items(
            row.kind, planar, free, given, needed, items.flat, weights, items.offsets, starts, table, start * GROUP,
            min(count, stop * GROUP), poses, sums, facts, codes,
        )  # fmt: skip

    run_blocks(work, (count + GROUP - 1) // GROUP, serial_below=2)
    if zone:
        return manyzone.zones(row, criterion, items, held, n_free, poses, sums, facts, codes, free, refit)
    return _assemble(row, items, weights, n_free, material, refit, poses, sums, facts, codes, free, searched)


def _search(row: Row, items: Items, weights: np.ndarray, free: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(k, POSE) starts by the search of `fit`, in the data's coordinates; NaN where there is none, or where its long
    search is due.
    """
    from metrology_core.kernels import fitmain as k

    count = len(items)
    planar = row.dimension == 2
    result = np.full((count, layout.POSE), math.nan)
    numbers, extra = plan(row.kind, FEW + 1, np.empty(0), given, np.empty(0))

    def work(start: int, stop: int) -> None:
        sums, state = np.empty(layout.N_SUMS), np.empty(12)
        found, costs = np.empty((0, layout.POSE)), np.empty(0)
        edges = items.offsets.tolist()
        for i in range(start * GROUP, min(count, stop * GROUP)):
            a, b = edges[i], edges[i + 1]
            if b - a <= FEW and row.kind in _LONG_SEARCH:
                continue
            part, load = items.flat[3 * a : 3 * b], weights[a:b] if weights.size else weights
            known, info, pose = given.copy(), np.zeros(layout.N_INFO), np.zeros(layout.POSE)
            if k.begin(row.kind, planar, known, False, part, load, info, pose) != layout.SEARCH:
                continue
            if search_and_solve(
                row.kind, free, known, part, load, True, False, numbers, extra, info, pose, sums, state, found, costs
            ):
                scale = info[layout.I_SCALE]
                pose[:3] = pose[:3] / scale + info[layout.I_CENTRE : layout.I_CENTRE + 3]
                pose[12] /= scale
                if row.kind != layout.CONE:
                    pose[13] /= scale
                result[i] = pose

    run_blocks(work, (count + GROUP - 1) // GROUP, serial_below=2)
    return result


def _assemble(
    row: Row,
    items: Items,
    weights: np.ndarray,
    n_free: int,
    material: str | None,
    refit: Any,
    poses: np.ndarray,
    sums: np.ndarray,
    facts: np.ndarray,
    codes: np.ndarray,
    free: np.ndarray,
    searched: bool,
) -> FitMany:
    from metrology_core.kernels import many as k

    count, p = len(items), layout.N_PARAMETERS[row.kind]
    n_points = np.diff(items.offsets)
    bits = Bits(count)
    reason = np.full(count, "", object)
    with np.errstate(all="ignore"):
        n_used = np.where(codes == k.LEFT, n_points, facts[:, k.F_USED]).astype(np.int64)
        scale = facts[:, k.F_SCALE]
        finite = np.isfinite(poses.sum(axis=1)) & np.isfinite(sums[:, : layout.GRAM].sum(axis=1))
        determined = finite & (facts[:, k.F_LEAST] > SINGULAR_BELOW)
        solved = (codes == k.FIT_CONVERGED) | (codes == k.FIT_STALLED)
        status = np.full(count, STATUSES.index("degenerate"), np.uint8)
        status[solved & determined & (codes == k.FIT_CONVERGED)] = STATUSES.index("converged")
        status[solved & determined & (codes == k.FIT_STALLED)] = STATUSES.index("not_converged")
        status[codes == k.FIT_FEW] = STATUSES.index("insufficient")
        valid = solved & determined
        total = np.maximum(0.0, sums[:, p * (p + 1) - p * (p - 1) // 2])
        rows = n_used * row.rows_per_point
        dof = np.where(valid, rows - n_free, np.maximum(0, rows - sum(row.free)))
        sigma = np.where(valid & (dof > 0), np.sqrt(total / dof) / scale, math.nan)
        squares = facts[:, k.F_SQUARES] if weights.size else total
        rms = np.where(valid, np.sqrt(squares / n_used) / scale, math.nan)
        low, high = sums[:, layout.S_DMIN], sums[:, layout.S_DMAX]
        width = 2.0 * np.sqrt(np.maximum(0.0, high)) if row.kind == layout.LINE and row.dimension == 3 else high - low
        form = np.where(valid, width / scale, math.nan)
        reach = np.where(valid, np.sqrt(sums[:, layout.S_REACH2]) / scale, math.nan)
        condition = np.where(valid, facts[:, k.F_CONDITION], math.nan)
        canonical, sign = canonical_poses(row, np.where(valid[:, None], poses, math.nan))
        centre = facts[:, k.F_CENTRE : k.F_CENTRE + 3]
        values = parameter_arrays(row, canonical, centre, scale)
        extent = np.full((count, 2), math.nan)
        if row.kind in (layout.LINE, layout.CYLINDER, layout.CONE):
            g_low, g_high = sums[:, layout.S_GMIN] / scale, sums[:, layout.S_GMAX] / scale
            extent = np.where(
                (sign < 0.0)[:, None], np.column_stack((-g_high, -g_low)), np.column_stack((g_low, g_high))
            )
            extent[~valid] = math.nan
    bits.add("non_finite_points", _non_finite(items, weights, n_points, n_used))
    exact = valid & (dof <= 0)
    bits.add("zero_redundancy", exact)
    if not row.exact_is_unique:
        status[exact & (status == 0)] = STATUSES.index("non_unique")
    for code, name in enumerate(STATUSES[1:], 1):
        bits.add(name, status == code)
    bits.add("ill_conditioned", valid & (condition > ILL_CONDITIONED))
    if row.name in ("sphere", "cylinder", "circle"):
        with np.errstate(all="ignore"):
            variance = facts[:, k.F_SIZE_VARIANCE] * sigma**2
            bits.add("curvature_not_significant", valid & (variance > (0.5 * poses[:, 12] / scale) ** 2))
    words = (
        (k.FIT_SINGULAR, "singular"), (k.FIT_NO_EXTENT, "extent"), (k.FIT_COLLINEAR, "collinear"),
        (k.FIT_COPLANAR, "coplanar"),
    )  # fmt: skip
    reason[solved & ~determined] = _REASONS["singular"]
    reason[status == STATUSES.index("not_converged")] = _REASONS["stalled"]
    for code, word in words:
        reason[codes == code] = _REASONS[word]
    for i in np.flatnonzero(codes == k.FIT_FEW):
        reason[i] = f"{n_used[i]} usable points"
    offset = _compensate(row, items, material, values, bits)
    solution = Solution(poses, canonical, sign, sums, scale, free, offset, valid)
    again = (codes == k.LEFT) | _doubted(row, status, condition, reason, searched)
    single = {int(i): refit(int(i), None) for i in np.flatnonzero(again)}
    result = FitMany(
        row.name, "least_squares", items.unit, values, status, bits.values, bits.names, n_points, n_used, dof, rms,
        sigma, form, extent, reach, condition, reason, row, solution, single, refit,
    )  # fmt: skip
    return enter(result, single, bits) if single else result


def _doubted(row: Row, status: np.ndarray, condition: np.ndarray, reason: np.ndarray, searched: bool) -> np.ndarray:
    """Which items deserve what `fitting.rescue` does: cones and tori of a search that ended badly, and last steps that
    shrink too slowly."""
    result = status == STATUSES.index("not_converged")
    if searched and row.kind in (layout.CONE, layout.TORUS):
        lost = (status == STATUSES.index("degenerate")) & (reason == _REASONS["singular"])
        with np.errstate(invalid="ignore"):
            result = result | lost | (condition > ILL_CONDITIONED)
    if row.kind in FLAT_KINDS:  # too flat for a radius: `fit` gives the curvature
        flat = [_REASONS[word] for word in ("singular", "collinear", "coplanar")]
        result = result | ((status == STATUSES.index("degenerate")) & np.isin(reason.astype(str), flat))
    return np.asarray(result)


def _non_finite(items: Items, weights: np.ndarray, n_points: np.ndarray, n_used: np.ndarray) -> np.ndarray:
    """Which items hold points that are not finite (some points may be left out for their weight alone)."""
    fewer = n_used < n_points
    if not weights.size:
        return fewer
    for i in np.flatnonzero(fewer):
        part = items.flat[3 * items.offsets[i] : 3 * items.offsets[i + 1]]
        fewer[i] = not np.isfinite(part).all()
    return fewer


def _compensate(row: Row, items: Items, material: str | None, values: dict[str, np.ndarray], bits: Bits) -> np.ndarray:
    """Take the probe tip off the features of ball centres, towards the material; returns the signed distances."""
    distance = np.zeros(len(items))
    if not items.sources:
        return distance
    ball = np.zeros(len(items), bool)
    known = np.zeros(len(items), bool)
    for i, source in items.sources.items():
        for name in source.flags:
            if name != "non_finite_points":  # that of the whole set; the items have their own
                bits.add(name, i)
        if source.points_are == "ball_centre":
            ball[i] = True
            if source.tip is not None and material is not None:
                known[i] = True
                distance[i] = -source.tip.radius if material == "inside" else source.tip.radius
    if ball.any():
        possible = offset_parameters(row, values, distance)
        distance[~possible] = 0.0
        has_feature = np.isfinite(next(iter(values.values()))).reshape(len(items), -1).all(axis=1)
        bits.add("ball_centre_uncompensated", ball & has_feature & ~(known & possible))
    return distance


def _one_by_one(row: Row, criterion: str, items: Items, refit: Any) -> FitMany:
    count = len(items)
    blank = parameter_arrays(
        row, np.full((count, layout.POSE), math.nan), np.full((count, 3), math.nan), np.ones(count)
    )
    bits = Bits(count)
    nothing = [np.full(count, math.nan) for _ in range(5)]
    n_points = np.diff(items.offsets)
    empty = {name: values.copy() for name, values in blank.items()}
    result = FitMany(
        row.name, criterion, items.unit, empty, np.zeros(count, np.uint8), bits.values, bits.names,
        n_points, n_points.copy(), np.zeros(count, np.int64), nothing[0], nothing[1], nothing[2],
        np.full((count, 2), math.nan), nothing[3], nothing[4], np.full(count, "", object), row, None,
        {i: refit(i, None) for i in range(count)}, refit,
    )  # fmt: skip
    return enter(result, result._single, bits)
