"""A scan against its nominal: read both, align, `pointcloud.deviation.field`, record with its map."""

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
from pipelines.steps.common import digests, nothing_measured, under_calibration
from pipelines.steps.deviation_view import deviation_view
from pipelines.steps.features import read_input

if TYPE_CHECKING:
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.measure_deviation import DeviationMeasure
    from pointcloud.deviation.field import DeviationField
    from pointcloud.deviation.statistics import DeviationStatistics
    from pointcloud.nominal.read import Nominal
    from pointcloud.registration.result import Registration

_EXTREMES = ("deviation.maximum", "deviation.minimum")
_FINDINGS = {
    "mirrored": "check the handedness of the export; nothing was mirrored",
    "unit_mismatch": "state the right unit of scan and nominal; nothing was scaled",
    "disjoint": "check that scan and nominal are of one part, and the search limit",
    "insufficient": "measure more points of the part",
}


def measure_deviation(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Read the scan of a task and measure its deviations from the recipe's nominal. Raises as
    `pipelines.steps.measure_task`; `DataError` for a scan that cannot be aligned."""
    import pointcloud.deviation.characteristics  # noqa: F401 - registers the rows
    from pipelines.steps.deviation_blocks import is_streamed
    from pointcloud.deviation.coverage import coverage
    from pointcloud.nominal.read import read_nominal

    measure = recipe.measure
    if measure.kind != "deviation":
        raise RecipeError("this step measures deviations", got=measure.kind)
    nominal = read_nominal(recipe.file_path(measure.nominal.file), unit=measure.nominal.unit, root=recipe.folder)
    of_all: dict[str, Any] = {}
    if len(task.inputs) > 1:
        from pipelines.steps.deviation_together import aligned_together

        scan, registration = aligned_together(recipe, measure, task, root, nominal)
        field, found = _at_once(recipe, measure, scan, registration, nominal, digests(task)[0], moved=True)
    elif is_streamed(recipe, task, root):
        scan, registration, field, found, of_all = _in_blocks(recipe, measure, task, root, nominal)
    else:
        scan = read_input(recipe, task, root)
        registration = _align(recipe, measure, scan, nominal)
        field, found = _at_once(recipe, measure, scan, registration, nominal, digests(task)[0])
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    flags = _flags.merge(field.flags, registration.flags, nominal.flags, calibration)
    covered = coverage(field, radius=of_all.pop("radius", None))
    seen = covered.fraction >= measure.least_coverage
    if not seen:
        flags = _flags.merge(flags, ["coverage_too_low"])
    rows = tuple(
        _measurement(spec, found, field, registration, recipe, digests(task), seen) for spec in measure.characteristics
    )
    view, arrays = deviation_view(
        field, found, covered, registration, nominal, measure, alignment_words(registration), **of_all
    )
    declared = instrument(recipe.instrument, nominal.surface.unit)
    return StepResult(
        measurements=under_calibration(rows, calibration),
        views=(view,),
        arrays=arrays,
        flags=flags,
        acquisition=scan.acquisition.to_dict(),
        datum_system=None,
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: "hdf5" if scan.source is None else scan.source.reader},
    )


def _band(measure: DeviationMeasure, unit: str) -> tuple[float, float] | None:
    low, high = measure.limits(unit)
    if low is None and high is None:
        return None
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _at_once(
    recipe: Recipe,
    measure: DeviationMeasure,
    scan: PointSet,
    registration: Registration,
    nominal: Nominal,
    digest: str,
    moved: bool = False,
) -> tuple[DeviationField, DeviationStatistics]:
    """Deviations and statistics of a scan that is in memory."""
    from pointcloud.deviation.field import deviate
    from pointcloud.deviation.statistics import statistics

    unit = nominal.surface.unit
    field = deviate(
        scan if moved else _moved(scan, registration),
        nominal.surface,
        limit=None if measure.search_limit is None else measure.search_limit.to(unit),
        uncertainty=_uncertainty(recipe, scan, registration, unit, digest),
        tolerance=_band(measure, unit),
    )
    found = statistics(field)
    if found is None:
        raise nothing_measured(field.counts)
    return field, found


def _in_blocks(
    recipe: Recipe, measure: DeviationMeasure, task: Task, root: Path, nominal: Nominal
) -> tuple[PointSet, Registration, DeviationField, DeviationStatistics, dict[str, Any]]:
    """The same of a scan that is read block by block; last, what the view must know of all points."""
    from pipelines.steps import deviation_blocks as blockwise
    from pointcloud.deviation.stream import DeviationStream

    unit, digest = nominal.surface.unit, digests(task)[0]
    blocks = blockwise.Blocks(recipe, task, root)
    part = blocks.part(blockwise.ALIGN)
    registration = _align(recipe, measure, part, nominal)
    motion = registration.target_from_source
    model = _uncertainty(recipe, part, registration, unit, digest)
    options = {
        "limit": None if measure.search_limit is None else measure.search_limit.to(unit),
        "offset": 0.0 if part.points_are != "ball_centre" or part.tip is None
        else convert(part.tip.radius, part.unit, unit),
        "uncertainty": model,
        "tolerance": _band(measure, unit),
    }  # fmt: skip
    store = blockwise.Store(task.id, blockwise.store_key(recipe, digest, motion, blocks.n_points))
    stream = blockwise.stream_all(
        blocks, lambda state: DeviationStream(nominal.surface, state=state, **options), motion, unit, store
    )
    field, found = blockwise.summary_of(blocks, stream, nominal, len(part))
    spacing = blockwise.spacing_of(blocks, part, stream)
    places = blockwise.places_of(blocks, stream, motion, measure.places, spacing) if measure.places else ()
    store.clear()
    # a place within a cell of which anything was kept counts as measured
    reach = max(2.5 * stream.spacing, 1.75 * stream.edge)
    whole = {"places": places, "guard": stream.guard, "n_total": stream.n, "radius": reach}
    return part, registration, field, found, whole


def _align(recipe: Recipe, measure: DeviationMeasure, scan: PointSet, nominal: Nominal) -> Registration:
    """The alignment that the recipe asks for; `DataError` where there is none."""
    from pointcloud.registration import align
    from pointcloud.registration.redundancy import LEAST

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
    over = found.details.get("redundancy")
    if over and over["points"] <= over["motions"] and found.alignment in ("best_fit", "tolerance_fit"):
        raise DataError(
            "the alignment uses up all points: their deviations vanish whatever the part is like",
            expected=f"more points than fitted motions; {LEAST} more for a verdict",
            got=f"{over['points']} points for {over['motions']} motions",
            remedy="measure more points, spread over the part; or align on datum targets (method rps)",
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
    from pointcloud.deviation.uncertainty import DeviationUncertainty

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
    seen: bool,
) -> Measurement:
    """``seen``: enough of the nominal was measured. What was not measured cannot make good what was, so that a largest
    or smallest deviation beyond its limit is decided all the same."""
    from pointcloud.deviation.characteristics import FIELD_OF

    row = get_characteristic(spec.characteristic)
    # one unit for all of a part, numbers, map and places alike: that of the nominal
    unit = field.unit if spec.nominal is None else spec.nominal.unit
    measured = getattr(found, FIELD_OF[row.id]).to(unit)
    limits = tolerance(spec, unit)
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    flags = [*measured.flags, *registration.bars]
    decision = None
    if limits is not None and registration.allows_verdict:
        provisional = recipe.instrument is None
        decision = decide(measured, limits, decision_rule(recipe.decision), provisional=provisional)
        if not seen and not (decision.verdict == "nonconforming" and row.id in _EXTREMES):
            decision = None
            flags += ["coverage_too_low", "verdict_withheld"]
        elif provisional:
            flags += ["repeatability_only", "provisional_verdict"]
    elif limits is not None:
        flags.append("verdict_withheld" if registration.permitted else "best_fit_alignment")
    method = f"{row.words}; {found.n} points; {alignment_words(registration)}; {field.method}"
    return Measurement(
        spec.name, row.id, row.title, unit, measured, nominal, limits, decision, method, _flags.merge(flags), inputs, {}
    )


def alignment_words(registration: Registration) -> str:
    """The alignment in words, with its permission or the want of one."""
    words = registration.method.replace("_", " ")
    if registration.alignment == "as_measured":
        return "alignment: none, coordinates as measured"
    if registration.permission and registration.permitted:
        words += f", permitted by {registration.permission}"
    return f"alignment: {words}" + (f", no verdict: {registration.obstacle}" if registration.obstacle else "")
