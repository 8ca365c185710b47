"""The temperature of the part while it was measured: what is left of the correction to 20 degC, for any instrument."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.instrument import REFERENCE_TEMPERATURE, Instrument
from metrology_core.virtual.modes import Builder
from metrology_core.virtual.protocol import Cause


@dataclass(frozen=True)
class PartTemperature:
    """``temperature`` of the part in degC and its ``expansion`` in 1/K, with standard uncertainties (K, 1/K)."""

    temperature: float = REFERENCE_TEMPERATURE
    temperature_u: float = 0.0
    expansion: float = 0.0
    expansion_u: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.temperature, self.temperature_u, self.expansion, self.expansion_u)
        if not all(math.isfinite(x) for x in numbers) or self.temperature_u < 0.0 or self.expansion_u < 0.0:
            raise ParameterError("temperature or expansion of the part cannot be", got=repr(numbers))

    @classmethod
    def of(cls, instrument: Instrument) -> PartTemperature:
        """What a declared instrument says of the part."""
        return cls(
            REFERENCE_TEMPERATURE if instrument.temperature is None else instrument.temperature,
            instrument.temperature_u or 0.0,
            instrument.expansion or 0.0,
            instrument.expansion_u or 0.0,
        )

    def add_to(self, made: Builder, name: str, arm: np.ndarray) -> None:
        """Add the two causes to the modes of an instrument; ``arm`` (n, 3) from a point that stays where it is."""
        if self.expansion and self.temperature_u:
            row = Cause("temperature", f"{name}/temperature", "temperature of the part")
            made.add(row, [self.expansion * self.temperature_u * arm], [row.id])
        lift = self.temperature - REFERENCE_TEMPERATURE
        if self.expansion_u and lift:
            row = Cause("expansion", f"{name}/expansion", "expansion coefficient of the part")
            made.add(row, [lift * self.expansion_u * arm], [row.id])


AT_REFERENCE = PartTemperature()
"""A part at 20 degC exactly: nothing to add."""
