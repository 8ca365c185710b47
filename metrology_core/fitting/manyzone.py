"""Zone criteria for thousands of small sets: what the kernel settles in one batch, the rest one by one by `fit`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.features.base import Feature
from metrology_core.fitting.entry import ILL_CONDITIONED
from metrology_core.fitting.manychart import canonical_poses, parameter_arrays
from metrology_core.fitting.manyfit import STATUSES, FitMany
from metrology_core.fitting.manyitems import Items
from metrology_core.fitting.manyparts import Bits, enter, feature_class
from metrology_core.fitting.solver import SINGULAR_BELOW
from metrology_core.fitting.table import Row
from metrology_core.fitting.zone.criteria import compiled
from metrology_core.fitting.zone.exchange import ALL_POINTS, THICK
from metrology_core.fitting.zone.finish import STABLE_GAP, VANISHING
from metrology_core.fitting.zone.problem import pose_problem
from metrology_core.kernels import layout

GROUP = 16  # items per dispatched block
BATCHED = ("minimum_zone", "maximum_inscribed", "minimum_circumscribed")


def in_batch(row: Row, criterion: str, items: Items, weights: np.ndarray) -> bool:
    """Whether the batch knows this: zones without a side, points without declarations of their own, no weights."""
    return (
        criterion in BATCHED
        and row.compiled
        and compiled(row.kind, criterion)
        and not items.sources
        and not weights.size
    )


def zones(
    row: Row,
    criterion: str,
    items: Items,
    held: dict[str, Any],
    n_free: int,
    poses: np.ndarray,
    sums: np.ndarray,
    facts: np.ndarray,
    codes: np.ndarray,
    free: np.ndarray,
    refit: Any,
) -> FitMany:
    """Zone fits from the least-squares solutions of the batch (poses, sums, facts, codes of `kernels.many`).

    Settled: converged, unique, and a zone that is thin beside the feature. Everything else is fitted by `refit`, from
    its least-squares feature where there is one.
    """
    from metrology_core.kernels import many as k
    from metrology_core.kernels import zonemany as z

    count, p = len(items), layout.N_PARAMETERS[row.kind]
    n_points = np.diff(items.offsets)
    problem = pose_problem(row, criterion, free, held)
    with np.errstate(all="ignore"):
        total = np.maximum(0.0, sums[:, p * (p + 1) - p * (p - 1) // 2])
        scale, centre = facts[:, k.F_SCALE], np.ascontiguousarray(facts[:, k.F_CENTRE : k.F_CENTRE + 3])
        dof = n_points * row.rows_per_point - n_free
        sound = (codes == k.FIT_CONVERGED) & np.isfinite(poses.sum(axis=1)) & (facts[:, k.F_LEAST] > SINGULAR_BELOW)
        sound &= facts[:, k.F_CONDITION] <= ILL_CONDITIONED
        # strays beside a sound feature are looked for by `fit` itself
        wanted = sound & (facts[:, k.F_USED] == n_points) & (dof > 0) & (n_points <= ALL_POINTS)
        wanted &= total <= 1e-4 * n_points
        sigma = np.sqrt(total / np.maximum(dof, 1)) / scale
    found = np.full((count, layout.POSE), math.nan)
    numbers, settled = np.full((count, z.N_ZONE), math.nan), np.zeros(count, np.uint8)

    def work(start: int, stop: int) -> None:
        z.zone_items(
            row.kind, problem.law, problem.columns, problem.plus, problem.minus, problem.radial,
            criterion == "maximum_inscribed", 2.0 * THICK, items.flat, items.offsets, wanted, centre, scale, poses,
            start * GROUP, min(count, stop * GROUP), found, numbers, settled,
        )  # fmt: skip

    run_blocks(work, (count + GROUP - 1) // GROUP, serial_below=2)
    done = settled == z.SETTLED
    with np.errstate(all="ignore"):
        if row.sizes:
            done &= ~(np.min(np.abs(found[:, 12 : 12 + layout.N_SIZES[row.kind]]), axis=1) < VANISHING)
        canonical, sign = canonical_poses(row, np.where(done[:, None], found, math.nan))
        values = parameter_arrays(row, canonical, centre, scale)
        form = (numbers[:, z.Z_HIGH] if problem.law == 1 else numbers[:, z.Z_HIGH] - numbers[:, z.Z_LOW]) / scale
        form = np.where(done, 2.0 * form if problem.law == 1 else form, math.nan)
        rms = np.where(done, np.sqrt(numbers[:, z.Z_SQUARES] / n_points) / scale, math.nan)
        reach = np.where(done, np.sqrt(numbers[:, z.Z_REACH2]) / scale, math.nan)
        extent = np.full((count, 2), math.nan)
        if row.kind in (layout.LINE, layout.CYLINDER, layout.CONE):
            low, high = numbers[:, z.Z_ALONG_LOW] / scale, numbers[:, z.Z_ALONG_HIGH] / scale
            extent = np.where((sign < 0.0)[:, None], np.column_stack((-high, -low)), np.column_stack((low, high)))
            extent[~done] = math.nan
        unstable = done & ~(numbers[:, z.Z_GAP] >= STABLE_GAP * sigma * scale)
    bits = Bits(count)
    bits.add("contacts_unstable", unstable)
    status = np.full(count, STATUSES.index("degenerate"), np.uint8)
    status[done] = STATUSES.index("converged")
    start_of = _features(row, np.where(sound[:, None], poses, math.nan), centre, scale, ~done & sound)
    single = {int(i): refit(int(i), start_of.get(int(i))) for i in np.flatnonzero(~done)}
    result = FitMany(
        row.name, criterion, items.unit, values, status, bits.values, bits.names, n_points, n_points.copy(), dof, rms,
        np.where(done, sigma, math.nan), form, extent, reach, np.full(count, math.nan), np.full(count, "", object), row,
        None, single, refit,
    )  # fmt: skip
    return enter(result, single, bits) if single else result


def _features(
    row: Row, poses: np.ndarray, centre: np.ndarray, scale: np.ndarray, which: np.ndarray
) -> dict[int, Feature]:
    """Least-squares features of these items."""
    if not which.any():
        return {}
    with np.errstate(all="ignore"):
        canonical, _ = canonical_poses(row, poses)
        values = parameter_arrays(row, canonical, centre, scale)
    made = feature_class(row)
    return {int(i): made(**{name: v[i] for name, v in values.items()}) for i in np.flatnonzero(which)}
