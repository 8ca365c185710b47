"""`HeightMap`: heights on a regular grid, with a mask of what is valid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data.acquisition import Acquisition
from metrology_core.data.arrays import frozen_float, frozen_mask
from metrology_core.data.frames import Frame
from metrology_core.errors import ParameterError, UnitError
from metrology_core.provenance import Source
from metrology_core.units import unit as _unit


@dataclass(frozen=True, eq=False)
class HeightMap:
    """Heights ``z`` (ny, nx) in ``unit`` at a grid of ``spacing`` (dx, dy) in ``lateral_unit``.

    The centre of the first sample is (0, 0), x to the right, y down. ``valid`` (ny, nx) says which samples were
    measured: the mask decides, a NaN never does (a NaN marked valid is refused). ``z_noise`` is a standard deviation in
    ``unit``.
    """

    z: np.ndarray
    valid: np.ndarray
    spacing: tuple[float, float]
    unit: str
    lateral_unit: str
    frame: Frame = Frame("heightmap")
    z_noise: float | None = None
    acquisition: Acquisition = Acquisition()
    source: Source | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        z = frozen_float(self.z, "z", (None, None))
        if 0 in z.shape:
            raise ParameterError("a height map has rows and columns", got=str(z.shape))
        valid = frozen_mask(self.valid, "valid", z.shape)
        if not np.isfinite(z[valid]).all():
            raise ParameterError(
                "a sample marked valid is not finite",
                expected="finite heights where valid is true",
                remedy="mark samples without data as invalid",
            )
        set_(self, "z", z)
        set_(self, "valid", valid)
        spacing = tuple(float(step) for step in self.spacing)
        if len(spacing) != 2 or not all(np.isfinite(step) and step > 0.0 for step in spacing):
            raise ParameterError("spacing must be two positive numbers (dx, dy)", got=repr(self.spacing))
        set_(self, "spacing", spacing)
        for name in ("unit", "lateral_unit"):
            found = _unit(getattr(self, name))
            if found.dimension != "length":
                raise UnitError(f"{name} cannot be {found.name}", expected="a unit of length")
            set_(self, name, found.name)
        if self.z_noise is not None and not (np.isfinite(self.z_noise) and self.z_noise >= 0.0):
            raise ParameterError("z_noise is a standard deviation", expected=">= 0", got=repr(self.z_noise))
        set_(self, "flags", _flags.merge(self.flags))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.z.shape[0], self.z.shape[1]

    @property
    def n_valid(self) -> int:
        return int(np.count_nonzero(self.valid))

    def with_flags(self, *names: str) -> HeightMap:
        return replace(self, flags=_flags.merge(self.flags, names))
