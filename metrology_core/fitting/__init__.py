"""Fitting of features to points: `fit`, many small ones at once with `fit_many` and `fit_trials`, and their results."""

from __future__ import annotations

from metrology_core.fitting.entry import fit
from metrology_core.fitting.many import fit_many
from metrology_core.fitting.manyfit import FitMany
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import CRITERIA, available
from metrology_core.fitting.trials import fit_trials

__all__ = ["CRITERIA", "Fit", "FitMany", "available", "fit", "fit_many", "fit_trials"]


def __getattr__(name: str) -> object:
    """Groups are imported on first use: they would cost every import."""
    if name in ("PatternFit", "fit_pattern"):
        from metrology_core.fitting.general import group

        return getattr(group, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
