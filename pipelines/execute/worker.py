"""What happens where the work is done: check the input, measure, make the record, commit it, answer with a few numbers.

A task may run twice (an executor cannot promise otherwise): both runs give the same bytes under the same name.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from metrology_core import flags as flag_registry
from metrology_core.errors import AbbeError, DataError, IntegrityError, UsageError
from metrology_core.measurement import worst_verdict
from metrology_core.provenance import digest_bytes, digest_file
from pipelines.catalogue import measurement_rows
from pipelines.execute.protocol import Job, StopNow
from pipelines.files import commit
from pipelines.plan import Task
from pipelines.recipe import Recipe
from pipelines.record import SCHEMA_ID, Record, StepResult, encode_record, plain
from pipelines.steps.surroundings import unfinished_work
from pipelines.store import PLAN, UNFINISHED, RunFolder

Measure = Callable[[Recipe, Task, Path], StepResult]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_LONGEST = 600
_ABSOLUTE = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:\\|/)(?:[^\s/\\'\"<>]+[/\\])+")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")


def load_measure(path: str) -> Measure:
    """The step of an import path ``module:function``; raises `UsageError`."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no step {path!r}", expected="'module:function'", got=str(error)) from None
    return found


@lru_cache(maxsize=4)
def _open(run: str, plan_sha256: str) -> RunFolder:
    folder = RunFolder(run)
    found = digest_file(folder.path / PLAN)
    if found != plan_sha256:
        raise IntegrityError("the plan on disk is not the one of this run", expected=plan_sha256[:16], got=found[:16])
    return folder


def perform(job: Job) -> dict[str, Any]:
    """Measure one task and commit its record.

    Returns a small mapping: ``task``, ``outcome``, ``verdict``, ``flags``, ``reason``, ``record_sha256``, ``rows`` (for
    the catalogue), ``seconds``, ``worker``. Where an input changed after the plan was made no record is written and the
    mapping holds ``changed`` and ``missing`` (whether it is gone) instead. Raises `IntegrityError` where the record
    exists with other bytes, and `OSError` where the file system fails.
    """
    began = time.perf_counter()
    folder = _open(job.run, job.plan_sha256)
    task = folder.task(job.task_id)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    changed = _changed(task, Path(job.root))
    if changed is not None:
        missing = not (Path(job.root) / changed).exists()
        return {"task": task.id, "changed": changed, "missing": missing, "worker": worker}
    with unfinished_work(folder.path / UNFINISHED):
        record = measure_record(folder, task, Path(job.root), load_measure(job.measure))
    try:
        data = encode_record(record)
    except AbbeError as error:
        record = _failed(folder, task, "algorithm_failed", _reason(error, folder, Path(job.root)))
        data = encode_record(record)
    commit(folder.record_path(task.id), data)
    document = record.document
    return {
        "task": task.id,
        "outcome": document["outcome"],
        "verdict": document["verdict"],
        "flags": list(document["flags"]),
        "reason": document["reason"],
        "record_sha256": digest_bytes(data),
        "rows": plain(measurement_rows(document)),
        "seconds": round(time.perf_counter() - began, 3),
        "worker": worker,
    }


def _changed(task: Task, root: Path) -> str | None:
    """Name of the first input that is not what the plan says; None where all are."""
    for ref in task.inputs:
        if ref.sha256 is None:
            continue
        try:
            same = digest_file(root / ref.path) == ref.sha256
        except FileNotFoundError:
            same = False
        if not same:
            return ref.path
    return None


def measure_record(folder: RunFolder, task: Task, root: Path, measure: Measure) -> Record:
    """The record of a task. Whatever the step raises becomes an outcome; only interrupts pass through."""
    if task.problem is not None:
        return _failed(folder, task, "unusable_data", {**dict(task.problem)})
    try:
        result = measure(folder.recipe(), task, root)
        return _measured(folder, task, result)
    except DataError as error:
        return _failed(folder, task, "unusable_data", _reason(error, folder, root))
    except AbbeError as error:
        return _failed(folder, task, "algorithm_failed", _reason(error, folder, root))
    except (KeyboardInterrupt, GeneratorExit, StopNow):
        raise
    except BaseException as error:  # noqa: BLE001
        # not narrower: a library may raise anything (even SystemExit), and one part must not end the batch
        reason = {
            "code": type(error).__name__,
            "message": _clean(str(error), folder, root),
            "where": None,
            "remedy": None,
        }
        return _failed(folder, task, "algorithm_failed", reason)


def _reason(error: AbbeError, folder: RunFolder, root: Path) -> dict[str, Any]:
    parts = {"code": error.code, "message": str(error), "where": error.where, "remedy": error.remedy}
    return {key: None if value is None else _clean(value, folder, root) for key, value in parts.items()}


def _clean(text: str, folder: RunFolder, root: Path) -> str:
    """Take out of a message what differs between machines: the data root, other absolute paths, memory addresses."""
    for base in sorted(
        {str(root), str(root.resolve()), str(folder.path), str(folder.path.resolve())}, key=len, reverse=True
    ):
        text = text.replace(base + os.sep, "").replace(base, ".")
    text = _ADDRESS.sub("0x...", _ABSOLUTE.sub("", text))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _document(folder: RunFolder, task: Task, readers: Mapping[str, str]) -> dict[str, Any]:
    plan = folder.plan()
    return {
        "schema": SCHEMA_ID,
        "task": {
            "id": task.id,
            "part": task.part,
            "inputs": [{**ref.to_dict(), "reader": readers.get(ref.path)} for ref in task.inputs],
            "recipe_sha256": plan.recipe_sha256,
            "recipe_name": plan.recipe_name,
            "seed": plan.seed,
            "version": plan.version,
        },
        "acquisition": dict(task.acquisition),
        "kind": folder.recipe().measure.kind,
        "outcome": "measured",
        "verdict": "none",
        "flags": [],
        "reason": None,
        "features": [],
        "measurements": [],
        "views": [],
        "datum_system": None,
        "instrument": None,
    }


def _failed(folder: RunFolder, task: Task, outcome: str, reason: Mapping[str, Any]) -> Record:
    return Record({**_document(folder, task, {}), "outcome": outcome, "reason": dict(reason)})


def _measured(folder: RunFolder, task: Task, result: StepResult) -> Record:
    document = _document(folder, task, result.readers)
    recipe = folder.recipe()
    given = result.acquisition
    found = given.to_dict() if hasattr(given, "to_dict") else dict(given)
    document["acquisition"] = {
        **{key: value for key, value in plain(found).items() if value is not None},
        **document["acquisition"],
    }
    measurements = [item.to_dict() for item in result.measurements]
    have = {item["name"] for item in measurements if item["value"] is not None}
    missing = [row.name for row in recipe.measure.characteristics if row.name not in have]
    groups = [
        result.flags,
        *(item["flags"] for item in measurements),
        *(row.get("flags", ()) for row in result.features),
    ]
    flags = flag_registry.merge(*groups, ("partial_result",) if missing else ())
    verdict = worst_verdict([item["decision"]["verdict"] for item in measurements if item["decision"] is not None])
    decided = {item["name"] for item in measurements if item["decision"] is not None}
    if verdict == "conforming" and any(
        row.tolerance is not None and row.name not in decided for row in recipe.measure.characteristics
    ):
        verdict = "none"  # what was decided conforms, but a part is not conforming while some of it is unknown
    outcome = "measured" if flag_registry.worst(flags) in (None, "info") else "measured_with_flags"
    reason = None
    if missing and not have:
        outcome, verdict = "algorithm_failed", "none"
        reason = {
            "code": "not_evaluated",
            "message": "no characteristic of the recipe could be evaluated",
            "where": None,
            "remedy": "see the flags of the features",
        }
    document |= {
        "outcome": outcome,
        "verdict": verdict,
        "flags": list(flags),
        "reason": reason,
        "features": list(result.features),
        "measurements": measurements,
        "views": list(result.views),
        "datum_system": result.datum_system,
        "instrument": result.instrument,
    }
    return Record(plain(document), dict(result.arrays))
