"""Virtual instruments: errors of a measuring instrument, simulated from what is stated about it.

`VirtualInstrument` is the protocol, `VirtualCMM` the coordinate measuring machine; scanners live in
`pointcloud.simulate`, microscopes and height-map instruments in `wafer.simulate`. `repeat_measurement` re-runs a whole
measurement on simulated data. Everything loads when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrology_core.virtual.acceptance import LengthTest, ProbingTest, length_test, probing_test
    from metrology_core.virtual.cmm import VirtualCMM
    from metrology_core.virtual.modes import Modes
    from metrology_core.virtual.protocol import Cause, VirtualInstrument

_HOMES = {
    "acceptance": ("LengthTest", "ProbingTest", "length_test", "probing_test"),
    "cmm": ("VirtualCMM",),
    "modes": ("Modes",),
    "protocol": ("Cause", "VirtualInstrument"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Cause",
    "LengthTest",
    "Modes",
    "ProbingTest",
    "VirtualCMM",
    "VirtualInstrument",
    "length_test",
    "probing_test",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'metrology_core.virtual' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"metrology_core.virtual.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
