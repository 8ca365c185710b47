"""What the driver and the executors say to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """One measurement for one worker: plain text only, so that it crosses any boundary.

    ``run`` and ``root`` are absolute paths that every worker sees; ``plan_sha256`` guards against a folder that was
    exchanged; ``measure`` is the import path ``module:function`` of the step.
    """

    run: str
    root: str
    plan_sha256: str
    measure: str
    task_id: str


@dataclass(frozen=True)
class Finished:
    """The end of a task: either ``summary`` (a record was committed), or ``error`` (none was), or ``crashed``."""

    task_id: str
    attempt: int
    summary: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    crashed: bool = False


class Stop:
    """Set by the first interrupt: no further task is started, those in flight end and commit."""

    def __init__(self) -> None:
        self.requested = False
        self.phase = "parts"  # what an interrupt lets finish first: parts in flight, or the report


class StopNow(BaseException):
    """Raised by the second interrupt. Not an `Exception`, so that no step can take it for a failure of its own."""


class Executor(Protocol):
    """Runs jobs. Yields one `Finished` per job that ended; jobs that were not started when `Stop` came are not
    reported. ``describe()`` goes to the journal."""

    def describe(self) -> dict[str, Any]: ...

    def run(self, jobs: Sequence[Job], stop: Stop) -> Iterator[Finished]: ...
