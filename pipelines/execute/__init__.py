"""Executors: they run tasks and yield what became of them. They decide nothing about records, journal or outcome."""

from __future__ import annotations

from pipelines.execute.protocol import Executor, Finished, Job, Stop

__all__ = ["Executor", "Finished", "Job", "Stop"]
