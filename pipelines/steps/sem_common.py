"""What the steps for SEM images share: the image as the recipe states it, measurements with verdicts, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core import flags as _flags
from metrology_core.characteristics import get as get_characteristic
from metrology_core.conformity import decide
from metrology_core.errors import DataError
from metrology_core.measurement import Measurement
from pipelines.recipe.convert import calibration_flags, decision_rule, tolerance
from pipelines.record import StepResult
from pipelines.steps.common import acquisition_of, digests, result_unit, single_input, under_calibration

if TYPE_CHECKING:
    from metrology_core.data import Image
    from metrology_core.instrument import Instrument
    from pipelines.plan import Task
    from pipelines.recipe import Recipe
    from pipelines.recipe.models import SemCharacteristicSpec, SemContactsMeasure, SemContoursMeasure, SemLinesMeasure
    from wafer.contacts import ContactResult
    from wafer.contours.evaluate import ContourResult
    from wafer.lines.evaluate import SemLineResult

    Found = SemLineResult | ContactResult | ContourResult
    Measure = SemLinesMeasure | SemContactsMeasure | SemContoursMeasure

DEFECTS = ("missing_shapes", "broken_shapes", "bridged_shapes", "missing_contacts", "merged_contacts")
UNIT = "nm"  # in which images are measured; results are converted to the unit of the recipe


def image_of(measure: Measure, task: Task, root: Path) -> Image:
    """The image of a task with the pixel size of the recipe; raises `ReaderError`."""
    from wafer.readers import read_image

    return read_image(single_input(task, root), **_options(measure, task, root))


def frames_of(measure: SemLinesMeasure, task: Task, root: Path) -> tuple[Image, ...]:
    """The frames of a task's stack, as `image_of` one image; raises `DataError` for a file of one frame."""
    from wafer.frames import read_frames

    frames = read_frames(single_input(task, root), **_options(measure, task, root))
    if len(frames) < 2:
        raise DataError(
            "the file holds one frame", where=task.inputs[0].path, expected="a stack of frames of one field",
            remedy="leave 'frames: true' out of the recipe, or store the frames as pages of one file",
        )  # fmt: skip
    return frames


def _options(measure: Measure, task: Task, root: Path) -> dict[str, Any]:
    """How the recipe wants images read."""
    pixel = (measure.pixel.x.to(UNIT), measure.pixel.y.to(UNIT))
    relative = None if measure.pixel.u_relative is None else measure.pixel.u_relative.to("1")
    return {
        "pixel": pixel,
        "pixel_u": None if relative is None else (relative * pixel[0], relative * pixel[1]),
        "pixel_u_common": True,  # u_relative is one number: one calibration
        "unit": UNIT,
        "root": root,
        "measured_rows": None if measure.rows is None else (measure.rows[0], measure.rows[1]),
        "acquisition": acquisition_of(task),
    }


def step_result(
    recipe: Recipe,
    task: Task,
    image: Image,
    declared: Instrument | None,
    found: Found,
    views: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, Any],
) -> StepResult:
    """Everything that the recipe asked for, decided, under the state of the calibration."""
    inputs = digests(task)
    rows = tuple(measurement_of(spec, found, recipe, inputs) for spec in recipe.measure.characteristics)  # type: ignore[arg-type]
    calibration = calibration_flags(recipe, task.acquisition.get("time"))
    return StepResult(
        measurements=under_calibration(rows, calibration),
        features=(),
        views=tuple(views),
        arrays=dict(arrays),
        flags=_flags.merge(found.flags, calibration),
        acquisition=image.acquisition.to_dict(),
        datum_system=None,
        instrument=None if declared is None else declared.to_dict(),
        readers={task.inputs[0].path: image.source.reader} if image.source is not None else {},
    )


def measurement_of(
    spec: SemCharacteristicSpec,
    found: Found,
    recipe: Recipe,
    inputs: tuple[str, ...],
) -> Measurement:
    """What a recipe asked for, from the result of an image: value, decision, flags; not evaluated with its reason."""
    row = get_characteristic(spec.characteristic)
    unit = result_unit(spec, "1" if row.dimension == "ratio" else found.unit)
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    limits = tolerance(spec, unit)
    value = found.measurements.get(row.id)
    if value is None:
        reason = found.missing.get(row.id, "the image does not give it")
        return Measurement(
            spec.name,
            row.id,
            row.title,
            unit,
            None,
            nominal,
            limits,
            None,
            f"not evaluated: {reason}",
            ("not_evaluated",),
            inputs,
            {"reason": reason},
        )
    measured = value.to(unit)
    flags = measured.flags
    decision = None
    if limits is not None:
        from wafer.characteristics import COUNT_IDS

        doubts = _doubts(recipe, found)
        incomplete = row.id not in COUNT_IDS and (recipe.instrument is None or "repeatability_only" in flags)
        provisional = incomplete or bool(doubts)
        decision = decide(measured, limits, decision_rule(recipe.decision), provisional=provisional)
        if provisional:
            flags = _flags.merge(flags, doubts, ["provisional_verdict"])
    return Measurement(
        spec.name,
        row.id,
        row.title,
        unit,
        measured,
        nominal,
        limits,
        decision,
        found.methods.get(row.id, row.words),
        flags,
        inputs,
        {},
    )


def _doubts(recipe: Recipe, found: Found) -> tuple[str, ...]:
    """Flags that leave every verdict of the part provisional: shapes or contacts that are gone or grown together while
    no limit on their number decides about them, and a pixel size that the file contradicts."""
    from wafer.characteristics import COUNT_IDS

    flags = set(found.flags)
    doubts = ["pixel_size_conflict"] if "pixel_size_conflict" in flags else []
    limited = any(
        spec.characteristic in COUNT_IDS
        and spec.characteristic in found.measurements
        and spec.tolerance is not None
        and tolerance(spec, "1").upper is not None  # type: ignore[union-attr]
        for spec in recipe.measure.characteristics
    )
    if flags & set(DEFECTS) and not limited:
        doubts.append("defects_without_limit")
    return tuple(doubts)
