"""Compile or load every kernel that `fit` uses."""

from __future__ import annotations

import math

import numpy as np


def warm_up_kernels() -> None:
    """Run one small fit and one just large enough for threads: after this no fit compiles anything."""
    from metrology_core.fitting.entry import fit
    from metrology_core.fitting.solver import THREADED_FROM

    angle = np.linspace(0.0, 2.0 * math.pi, 24, endpoint=False)
    xyz = np.column_stack((np.cos(angle), np.sin(angle), np.sin(3.0 * angle)))
    fit(xyz, "cylinder").design()
    fit(xyz, "cylinder", criterion="minimum_zone")
    fit(np.tile(xyz, (THREADED_FROM // len(xyz) + 1, 1)), "sphere")
