"""The self-test that stands in every report: run once per version, source and processor, kept beside the kernels.

The result goes to ``selftest.json`` of the run folder and, by digest, into the journal; never into a record, which is
a pure function of its inputs.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import files

if TYPE_CHECKING:
    from pipelines.driver import Driver

SCHEMA = "abbe/selftest/1"
_KEPT = ("statement", "level", "seed", "version", "passed", "sets", "criteria")


def source_digest() -> str:
    """Digest of the core's source: a self-test says nothing about other code, whatever its version is called."""
    import metrology_core
    from metrology_core.provenance import digest_bytes

    root = Path(metrology_core.__file__).parent
    return digest_bytes(b"\0".join(path.read_bytes() for path in sorted(root.rglob("*.py"))))


def quick_result() -> dict[str, Any]:
    """The compact result of the quick self-test of this version on this machine, from the cache or made now."""
    from metrology_core._jit import cache_folder

    folder = cache_folder()
    path = None if folder is None else folder / f"selftest-{source_digest()[:16]}.json"
    if path is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.get("schema") == SCHEMA:
                return dict(kept)
    result = _run()
    if path is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, never a result
            files.replace(path, _bytes(result))
    return result


def _run() -> dict[str, Any]:
    from metrology_core.testing import run_selftest

    result = run_selftest("quick")
    document = result.to_dict()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema": SCHEMA,
        "date": now,
        "machine": platform.machine(),
        "source": source_digest(),
        **{key: document[key] for key in _KEPT},
        "failed": [row.case.name for row in result.rows if not row.passed and row.sets],
        "untested": [row.case.name for row in result.rows if not row.sets],
    }


def _bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def note_in_run(driver: Driver, problems: list[str]) -> None:
    """Put the result into the run folder and its digest into the journal; a failure becomes a problem to tell."""
    from metrology_core.provenance import digest_bytes
    from pipelines.store import SELFTEST

    try:
        result = quick_result()
        data = _bytes(result)
        files.replace(driver.run / SELFTEST, data)
    except Exception as error:  # noqa: BLE001 - a self-test that cannot run must not lose a measured run
        problems.append(f"self-test: {type(error).__name__}: {error}")
        return
    driver.journal.append("self_tested", passed=result["passed"], version=result["version"], sha256=digest_bytes(data))
    if result["failed"]:
        problems.append(f"self-test: not passed: {', '.join(result['failed'][:5])}; see 'abbe selftest'")
