"""Virtual instruments: errors of a measuring instrument, simulated from what is stated about it.

`VirtualInstrument` is the protocol, `VirtualCMM` the coordinate measuring machine; scanners live in
`pointcloud.simulate`, microscopes and height-map instruments in `wafer.simulate`. `repeat_measurement` re-runs a whole
measurement on simulated data. Everything loads when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrology_core._lazy import load

if TYPE_CHECKING:
    from metrology_core.virtual.acceptance import LengthTest, ProbingTest, length_test, probing_test
    from metrology_core.virtual.cmm import VirtualCMM
    from metrology_core.virtual.modes import Modes
    from metrology_core.virtual.protocol import Cause, VirtualInstrument
    from metrology_core.virtual.repeat import (
        AskedCharacteristic,
        LinearBudget,
        ProbedFeature,
        Repeats,
        by_cause,
        linear_measurement,
        repeat_measurement,
    )

_HOMES = {
    "acceptance": ("LengthTest", "ProbingTest", "length_test", "probing_test"),
    "cmm": ("VirtualCMM",),
    "modes": ("Modes",),
    "protocol": ("Cause", "VirtualInstrument"),
    "repeat": (
        "AskedCharacteristic",
        "LinearBudget",
        "ProbedFeature",
        "Repeats",
        "by_cause",
        "linear_measurement",
        "repeat_measurement",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AskedCharacteristic",
    "Cause",
    "LengthTest",
    "LinearBudget",
    "Modes",
    "ProbedFeature",
    "ProbingTest",
    "Repeats",
    "VirtualCMM",
    "VirtualInstrument",
    "by_cause",
    "length_test",
    "linear_measurement",
    "probing_test",
    "repeat_measurement",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
