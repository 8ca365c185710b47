"""Several scans of one part against its nominal: registered together, then one field of deviations of all points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.data import PointSet
from metrology_core.errors import DataError, RecipeError
from metrology_core.units import convert
from pipelines.recipe.convert import instrument
from pipelines.steps.features import read_input

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.measure_deviation import DeviationMeasure
    from pointcloud.nominal.read import Nominal
    from pointcloud.registration.result import Registration

FloatArray = NDArray[np.float64]


def aligned_together(
    recipe: Recipe, measure: DeviationMeasure, task: Task, root: Path, nominal: Nominal
) -> tuple[PointSet, Registration]:
    """All points in the frame of the nominal, in the unit of the scans, and one registration that stands for all.

    Its covariance is an upper bound of those of the scans: a deviation is as uncertain as with the scan that is known
    least. Raises `RecipeError`, `DataError`.
    """
    from pointcloud.registration import align, align_together

    spec = measure.align
    if spec.method != "best_fit" or spec.loss != "squares" or spec.trim:
        raise RecipeError(
            "several scans of a part are registered together by least squares",
            expected="align: {method: best_fit}",
            got=f"{spec.method}, loss {spec.loss}",
        )
    scans = [read_input(recipe, replace(task, inputs=(ref,)), root) for ref in task.inputs]
    unit = scans[0].unit
    declared = instrument(recipe.instrument, unit)
    if declared is not None and declared.noise is not None:
        noise = convert(declared.noise, declared.unit, unit)
        scans = [scan if scan.noise is not None else replace(scan, noise=noise) for scan in scans]
    limit = None if spec.search_limit is None else spec.search_limit.to(unit)
    found = align_together(scans, nominal.surface, search_limit=limit, seed=recipe.seed)
    rows = found.registrations
    if found.status != "converged" or any(not row.usable for row in rows):
        raise DataError(
            f"the scans could not be aligned to the nominal together: {found.status.replace('_', ' ')}",
            got=", ".join(f"{ref.path}: {row.status}" for ref, row in zip(task.inputs, rows)),
            remedy="look at scans and nominal together; measure them one by one to see which does not fit",
        )
    spreads = [row.covariance_determined for row in rows]
    pivots = [row.pivot for row in rows]
    if declared is not None:  # what the instrument adds for all points alike is in the single fits only
        alone = [
            align(
                scan,
                nominal.surface,
                start=row.target_from_source,
                search_limit=limit,
                instrument=declared,
                check=False,
            )
            for scan, row in zip(scans, rows)
        ]
        spreads += [row.covariance_determined for row in alone if set(row.details["budget"]) - {"noise", "form"}]
        pivots += [row.pivot for row in alone if set(row.details["budget"]) - {"noise", "form"}]
    pivot = np.mean([row.pivot for row in rows], axis=0)
    names = _flags.merge(*(row.flags for row in rows))
    if spec.permission:
        names = tuple(name for name in names if name != "best_fit_alignment")
    details = {
        **rows[0].details, "form": found.form, "cell": found.cell, "shared_cells": found.shared,
        "together": [
            {"file": ref.path, "points": row.n_used, **_motion(row), "status": row.status}
            for ref, row in zip(task.inputs, rows)
        ],
    }  # fmt: skip
    one = replace(
        rows[0], permission=spec.permission, flags=names, pivot=pivot, details=details,
        covariance_determined=upper_bound(spreads, pivots, pivot, float(rows[0].details["length"])),
        n_points=sum(row.n_points for row in rows), n_used=sum(row.n_used for row in rows),
        n_outside=sum(row.n_outside for row in rows),
    )  # fmt: skip
    first = scans[0]
    xyz = np.concatenate([_placed(scan, row) for scan, row in zip(scans, rows)])
    points = PointSet.from_array(
        xyz, unit=unit, frame=first.frame, points_are=first.points_are, tip=first.tip, acquisition=first.acquisition,
        thermal=first.thermal, flags=_flags.merge(*(scan.flags for scan in scans)),
    )  # fmt: skip
    return replace(points, source=first.source), one


def _motion(row: Registration) -> dict[str, Any]:
    assert row.target_from_source is not None
    return {
        "rotation": row.target_from_source.rotation.tolist(), "translation": row.target_from_source.translation.tolist()
    }  # fmt: skip


def _placed(scan: PointSet, row: Registration) -> FloatArray:
    assert row.target_from_source is not None
    with np.errstate(invalid="ignore"):
        return np.asarray(row.target_from_source.apply(scan.xyz))


def upper_bound(spreads: list[FloatArray], pivots: list[FloatArray], pivot: FloatArray, length: float) -> FloatArray:
    """A covariance (6, 6) of the twist about ``pivot`` that is at least each of those given about their own pivots: no
    displacement is less uncertain. Near the largest where one is the largest in every direction."""
    from pointcloud.registration.se3 import transport

    scale = np.r_[np.full(3, length), np.ones(3)]
    bound = np.zeros((6, 6))
    for spread, at in zip(spreads, pivots):
        lead = transport(pivot - at)
        here = lead @ spread @ lead.T * np.outer(scale, scale)
        values, vectors = np.linalg.eigh(0.5 * (here + here.T) - bound)
        bound = bound + (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray(bound / np.outer(scale, scale))
