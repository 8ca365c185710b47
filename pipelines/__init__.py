"""Batch pipelines: recipe, plan, run, record, report, command line. Importing this package loads nothing heavy."""

from __future__ import annotations

from metrology_core._version import __version__

__all__ = ["__version__"]
