"""The command line. One file per group of commands, each loaded only when it is called."""

from __future__ import annotations

from pipelines.cli.entry import main

__all__ = ["main"]
