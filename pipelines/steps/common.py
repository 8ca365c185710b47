"""What the steps share: the input of a task, its acquisition, result units, and the decision rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core import flags as _flags
from metrology_core.data import Acquisition
from metrology_core.errors import DataError, UsageError

if TYPE_CHECKING:
    from metrology_core.measurement import Measurement
    from pipelines.plan import Task
    from pipelines.recipe.models import ResultSpec


def single_input(task: Task, root: Path) -> Path:
    """Path of the one input file of a task; raises `UsageError` for several."""
    if len(task.inputs) != 1:
        raise UsageError(f"part {task.part!r} has {len(task.inputs)} inputs", expected="one file for each part")
    return root / task.inputs[0].path


def digests(task: Task) -> tuple[str, ...]:
    """SHA-256 of the inputs; raises `DataError` where a file could not be digested when the plan was made."""
    found = tuple(ref.sha256 for ref in task.inputs if ref.sha256 is not None)
    if len(found) != len(task.inputs):
        raise DataError("an input could not be read", where=task.inputs[0].path, remedy="check the file")
    return found


def under_calibration(measurements: Sequence[Measurement], flags: Sequence[str]) -> tuple[Measurement, ...]:
    """The measurements with the state of the calibration on each: an expired one makes every verdict provisional.

    "Not known" is said for the part, not on each value: most files carry no time, and the verdict stands.
    """
    if "calibration_expired" not in flags:
        return tuple(measurements)
    names = ("calibration_expired", "provisional_verdict")
    return tuple(
        replace(
            row,
            flags=_flags.merge(row.flags, names if row.decision is not None else names[:1]),
            decision=None if row.decision is None else replace(row.decision, provisional=True),
        )
        for row in measurements
    )


def acquisition_of(task: Task) -> Acquisition:
    """The acquisition that plan and recipe state for the task."""
    known = {row.name for row in fields(Acquisition)}
    facts: dict[str, Any] = {key: value for key, value in task.acquisition.items() if key in known}
    return Acquisition(**facts)


def result_unit(spec: ResultSpec, default: str) -> str:
    """Unit of a result: that of the nominal, else that of the tolerance, else ``default``."""
    if spec.nominal is not None:
        return spec.nominal.unit
    if spec.tolerance is not None:
        return next(iter(spec.tolerance.amounts().values())).unit
    return default


def nothing_measured(counts: Mapping[str, int]) -> DataError:
    """The error of a scan without a single deviation."""
    return DataError(
        "no point of the scan has a deviation",
        expected="points near the nominal",
        got=", ".join(f"{key.replace('_', ' ')}: {count}" for key, count in counts.items() if count),
        remedy="check the alignment and the search limit",
    )
