"""The serial executor: in this process, one task after the other. For single parts, tests and debugging.

A step that kills its process (a fault in a native library) kills the driver with it; the run stays resumable, but only
an executor with worker processes can isolate such a part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from metrology_core.errors import IntegrityError
from pipelines.execute.protocol import Finished, Job, Stop
from pipelines.execute.retry import MAX_ATTEMPTS, describe_failure, pause, retryable
from pipelines.execute.worker import perform


class SerialExecutor:
    """Runs every job in the calling process."""

    def describe(self) -> dict[str, Any]:
        return {"executor": "serial"}

    def run(self, jobs: Sequence[Job], stop: Stop) -> Iterator[Finished]:
        for job in jobs:
            if stop.requested:
                return
            yield self._one(job, stop)

    def _one(self, job: Job, stop: Stop) -> Finished:
        attempt = 0
        while True:
            attempt += 1
            try:
                return Finished(job.task_id, attempt, summary=perform(job))
            except IntegrityError:
                raise
            except Exception as error:  # noqa: BLE001 - told to the journal, whatever it is
                if not retryable(error) or attempt >= MAX_ATTEMPTS or stop.requested:
                    return Finished(job.task_id, attempt, error=describe_failure(error))
                time.sleep(pause(attempt))
