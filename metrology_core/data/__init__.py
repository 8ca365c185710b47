"""The data that enters: point sets, images, height maps, and where they come from. Frozen, read-only, unit declared."""

from metrology_core.data.acquisition import Acquisition
from metrology_core.data.datums import Datum, DatumSystem
from metrology_core.data.frames import Frame, Rigid
from metrology_core.data.heightmap import HeightMap
from metrology_core.data.image import Image
from metrology_core.data.pointset import PointSet, PrepareStep, ProbeTip, ThermalState
from metrology_core.data.selection import Box, Selection

__all__ = [
    "Acquisition",
    "Box",
    "Datum",
    "DatumSystem",
    "Frame",
    "HeightMap",
    "Image",
    "PointSet",
    "PrepareStep",
    "ProbeTip",
    "Rigid",
    "Selection",
    "ThermalState",
]
