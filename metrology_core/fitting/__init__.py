"""Fitting of features to points: `fit` and its result."""

from __future__ import annotations

from metrology_core.fitting.entry import fit
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import CRITERIA, available

__all__ = ["CRITERIA", "Fit", "available", "fit"]
