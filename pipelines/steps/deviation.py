"""A scan against its nominal: read both, align, `pointcloud.deviation`, record with its map."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.characteristics import get as get_characteristic
from metrology_core.conformity import decide
from metrology_core.data import PointSet
from metrology_core.errors import DataError, RecipeError
from metrology_core.measurement import Measurement
from metrology_core.units import convert
from pipelines.recipe.convert import calibration_flags, decision_rule, instrument, tolerance
from pipelines.record import StepResult
from pipelines.steps.common import digests, result_unit, under_calibration
from pipelines.steps.deviation_view import deviation_view
from pipelines.steps.features import read_input

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.measure_deviation import DeviationMeasure
    from pointcloud.deviation import DeviationField
    from pointcloud.deviation_statistics import DeviationStatistics
    from pointcloud.nominal.read import Nominal
    from pointcloud.registration.result import Registration

_FINDINGS = {
    "mirrored": "check the handedness of the export; nothing was mirrored",
    "unit_mismatch": "state the right unit of scan and nominal; nothing was scaled",
    "disjoint": "check that scan and nominal are of one part, and the search limit",
    "insufficient": "measure more points of the part",
}


def measure_deviation(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the scan of a task and measure its deviations from the recipe's nominal. Raises as
    `pipelines.steps.measure_task`; `DataError` for a scan that cannot be aligned."""
    import pointcloud.deviation_characteristics  # noqa: F401 - registers the rows
    from pointcloud.deviation import deviate
    from pointcloud.deviation_statistics import statistics
    from pointcloud.nominal.read import read_nominal

    measure = recipe.measure
    if measure.kind != "deviation":
        raise RecipeError("this step measures deviations", got=measure.kind)
    scan = read_input(recipe, task, root)
    nominal = read_nominal(recipe.file_path(measure.nominal.file), unit=measure.nominal.unit, root=recipe.folder)
    unit = nominal.surface.unit
    registration = _align(recipe, measure, scan, nominal)
    moved = _moved(scan, registration)
    low, high = measure.limits(unit)
    band = None
    if low is not None or high is not None:
        band = (-math.inf if low is None else low, math.inf if high is None else high)
    field = deviate(
        moved,
        nominal.surface,
        limit=None if measure.search_limit is None else measure.search_limit.to(unit),
        uncertainty=_uncertainty(recipe, scan, registration, unit, digests(task)[0]),
        tolerance=band,
    )
    found = statistics(field)
    if found is None:
        raise DataError(
            "no point of the scan has a deviation",
            expected="points near the nominal",
            got=", ".join(f"{key.replace('_', ' ')}: {count}" for key, count in field.counts.items() if count),
            remedy="check the alignment and the search limit",
        )
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    flags = _flags.merge(field.flags, registration.flags, nominal.flags, calibration)
    rows = tuple(
        _measurement(spec, found, field, registration, recipe, digests(task)) for spec in measure.characteristics
    )
    view, arrays = deviation_view(field, found, registration, nominal, measure, alignment_words(registration))
    declared = instrument(recipe.instrument, unit)
    return StepResult(
        measurements=under_calibration(rows, calibration),
        views=(view,),
        arrays=arrays,
        flags=flags,
        acquisition=scan.acquisition.to_dict(),
        datum_system=None,
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: scan.source.reader} if scan.source is not None else {},
    )


def _align(recipe: Recipe, measure: DeviationMeasure, scan: PointSet, nominal: Nominal) -> Registration:
    """The alignment that the recipe asks for; `DataError` where there is none."""
    from pointcloud.registration import align

    spec = measure.align
    options: dict[str, Any] = {}
    if spec.method == "rps":
        from pointcloud.registration import read_rps

        assert spec.targets is not None  # the model was checked
        options["targets"] = read_rps(recipe.file_path(spec.targets), unit=scan.unit)
    if spec.method == "tolerance_fit":
        low, high = measure.limits(scan.unit)
        options["tolerance"] = (-math.inf if low is None else low, math.inf if high is None else high)
    if spec.search_limit is not None:
        options["search_limit"] = spec.search_limit.to(scan.unit)
    found = align(
        scan,
        nominal.surface,
        method=spec.method,
        loss=spec.loss,
        trim=spec.trim,
        instrument=instrument(recipe.instrument, scan.unit),
        permission=spec.permission,
        seed=recipe.seed,
        **options,
    )
    if spec.method != "none" and not found.usable:
        raise DataError(
            f"the scan could not be aligned to the nominal: {found.status.replace('_', ' ')}",
            got=str(found.details.get("reason", "")) or ", ".join(found.flags) or None,
            remedy=_FINDINGS.get(found.status, "look at scan and nominal together; give datum targets (method rps)"),
        )
    return found


def _moved(scan: PointSet, registration: Registration) -> PointSet:
    """The scan in the nominal's frame."""
    motion = registration.target_from_source
    if motion is None:
        return scan
    with np.errstate(invalid="ignore"):
        xyz = motion.apply(scan.xyz)
    normals = None if scan.normals is None else motion.rotate(scan.normals)
    return replace(scan, xyz=xyz, normals=normals)


def _uncertainty(recipe: Recipe, scan: PointSet, registration: Registration, unit: str, digest: str) -> Any:
    """Noise and instrument as declared, the covariance of the alignment; ids of this scan alone."""
    from pointcloud.deviation_uncertainty import DeviationUncertainty

    factor = convert(1.0, scan.unit, unit)
    rest: dict[str, Any] = {"scope": f"scan/{digest[:16]}", "aligned": registration.alignment != "as_measured"}
    if rest["aligned"] and np.isfinite(registration.covariance_determined).all():
        scale = np.r_[np.ones(3), np.full(3, factor)]
        rest["alignment"] = registration.covariance_determined * np.outer(scale, scale)
        rest["pivot"] = registration.pivot * factor
        rest["alignment_dof"] = registration.dof
    declared = instrument(recipe.instrument, unit)
    if declared is not None:
        return DeviationUncertainty.of_instrument(declared, unit, **rest)
    noise = None if scan.noise is None else np.asarray(scan.noise) * factor
    if noise is None and math.isfinite(registration.sigma) and registration.sigma > 0.0:
        noise = np.asarray(registration.sigma * factor)  # scatter about the nominal: form and noise together
    return DeviationUncertainty(noise=noise if noise is None or noise.ndim else float(noise), **rest)


def _measurement(
    spec: Any,
    found: DeviationStatistics,
    field: DeviationField,
    registration: Registration,
    recipe: Recipe,
    inputs: tuple[str, ...],
) -> Measurement:
    from pointcloud.deviation_characteristics import FIELD_OF

    row = get_characteristic(spec.characteristic)
    unit = result_unit(spec, field.unit)
    measured = getattr(found, FIELD_OF[row.id]).to(unit)
    limits = tolerance(spec, unit)
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    flags = list(measured.flags)
    decision = None
    if limits is not None and registration.allows_verdict:
        provisional = recipe.instrument is None
        decision = decide(measured, limits, decision_rule(recipe.decision), provisional=provisional)
        if provisional:
            flags += ["repeatability_only", "provisional_verdict"]
    elif limits is not None:
        flags.append("best_fit_alignment")
    method = f"{row.words}; {found.n} points; {alignment_words(registration)}; {field.method}"
    return Measurement(
        spec.name, row.id, row.title, unit, measured, nominal, limits, decision, method, _flags.merge(flags), inputs, {}
    )


def alignment_words(registration: Registration) -> str:
    """The alignment in words, with its permission or the want of one."""
    words = registration.method.replace("_", " ")
    if registration.alignment == "as_measured":
        return "alignment: none, coordinates as measured"
    if registration.permission:
        return f"alignment: {words}, permitted by {registration.permission}"
    if not registration.allows_verdict:
        return f"alignment: {words}, no permission of the drawing cited: no verdict"
    return f"alignment: {words}"
