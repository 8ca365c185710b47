"""Types of instrument that the virtual CMM cannot stand for; apart, so that a recipe is checked without kernels."""

from __future__ import annotations

NOT_A_CMM = ("scanner", "sem", "microscope", "profiler", "profilometer")  # guideways are not what these err by
