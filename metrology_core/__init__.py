"""Abbe's core: data, fits, uncertainty, decisions. Importing it is light; heavy libraries load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrology_core._lazy import load
from metrology_core._version import __version__

if TYPE_CHECKING:
    from metrology_core.conformity import Decision, DecisionRule, Tolerance, decide
    from metrology_core.data import (
        Acquisition,
        Box,
        Datum,
        DatumSystem,
        Frame,
        HeightMap,
        Image,
        PointSet,
        ProbeTip,
        Rigid,
        Selection,
        ThermalState,
    )
    from metrology_core.fitting import Fit, FitMany, fit, fit_many, fit_trials
    from metrology_core.instrument import Instrument
    from metrology_core.measurement import Measurement
    from metrology_core.propagation import UncertainFeature, propagate
    from metrology_core.provenance import Source
    from metrology_core.quantity import Influence, Measured
    from metrology_core.units import Quantity

_HOMES = {
    "conformity": ("Decision", "DecisionRule", "Tolerance", "decide"),
    "data": (
        "Acquisition",
        "Box",
        "Datum",
        "DatumSystem",
        "Frame",
        "HeightMap",
        "Image",
        "PointSet",
        "ProbeTip",
        "Rigid",
        "Selection",
        "ThermalState",
    ),
    "fitting": ("Fit", "FitMany", "fit", "fit_many", "fit_trials"),
    "instrument": ("Instrument",),
    "measurement": ("Measurement",),
    "propagation": ("UncertainFeature", "propagate"),
    "provenance": ("Source",),
    "quantity": ("Influence", "Measured"),
    "units": ("Quantity",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Acquisition",
    "Box",
    "Datum",
    "DatumSystem",
    "Decision",
    "DecisionRule",
    "Fit",
    "FitMany",
    "Frame",
    "HeightMap",
    "Image",
    "Influence",
    "Instrument",
    "Measured",
    "Measurement",
    "PointSet",
    "ProbeTip",
    "Quantity",
    "Rigid",
    "Selection",
    "Source",
    "ThermalState",
    "Tolerance",
    "UncertainFeature",
    "__version__",
    "decide",
    "fit",
    "fit_many",
    "fit_trials",
    "propagate",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
