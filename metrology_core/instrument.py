"""`Instrument`: what the user declares about the measuring instrument, and the influences that follow from it.

The declared figures are few (an MPE, a noise, a tip, a temperature), so the model is simple and stated: each becomes
one named influence of type B. Models of the instrument itself (virtual CMM, virtual SEM) are another subject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from metrology_core.errors import ParameterError, UnitError
from metrology_core.quantity import Influence
from metrology_core.units import unit as _unit

REFERENCE_TEMPERATURE = 20.0
"""degC, ISO 1."""


@dataclass(frozen=True)
class Instrument:
    """A declared instrument. All lengths in ``unit``; every figure is optional, and what is missing adds nothing.

    ``mpe_constant`` A and ``mpe_per_length`` 1/K of ``E = A + L/K`` (ISO 10360-2; the second is a pure ratio);
    ``noise`` standard deviation of a single point along the normal; ``correlation_length`` of that noise along the
    surface; ``correlation_kernel`` (exponential, gaussian, matern32, matern52) how it falls: with it the noise is a
    field over all points (`metrology_core.uncertainty.fields`), ``noise_independent`` the part of it that no two points
    share, as a standard deviation; ``tip_radius_u``; ``temperature`` of the part in degC with ``temperature_u`` in K;
    ``expansion`` in 1/K with ``expansion_u``; ``scale_u`` relative standard uncertainty of a scale (pixel size), one
    error of one calibration for both axes; ``edge_offset_u`` standard uncertainty of an edge position from the edge
    criterion; ``offset_u`` of an offset that all values of a film tool share; ``probing_mpe`` of the 25-point probing
    test (ISO 10360-5); ``linearity_u``, ``flatness_u`` and ``distortion_u`` standard uncertainties of a height scale's
    linearity, of a reference flat, of an image's distortion; ``volume`` two corners (3,) of the measuring volume in the
    frame of the points. ``environment`` is in words. ``valid_until`` is an ISO date.
    """

    id: str
    type: str
    unit: str = "mm"
    mpe_constant: float | None = None
    mpe_per_length: float | None = None
    noise: float | None = None
    correlation_length: float | None = None
    correlation_kernel: str | None = None
    noise_independent: float | None = None
    tip_radius: float | None = None
    tip_radius_u: float | None = None
    temperature: float | None = None
    temperature_u: float | None = None
    expansion: float | None = None
    expansion_u: float | None = None
    scale_u: float | None = None
    edge_offset_u: float | None = None
    offset_u: float | None = None
    probing_mpe: float | None = None
    linearity_u: float | None = None
    flatness_u: float | None = None
    distortion_u: float | None = None
    volume: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    environment: str | None = None
    certificate: str | None = None
    valid_until: str | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise ParameterError("an instrument needs an id")
        found = _unit(self.unit)
        if found.dimension != "length":
            raise UnitError(f"the unit of instrument {self.id} is {found.name}", expected="a unit of length")
        object.__setattr__(self, "unit", found.name)
        for row in fields(self):
            value = getattr(self, row.name)
            if row.type != "float | None" or value is None:
                continue
            if not math.isfinite(value):
                raise ParameterError(f"instrument {self.id}: {row.name} must be finite", got=repr(value))
            if value < 0.0 and row.name not in ("temperature", "expansion"):
                raise ParameterError(f"instrument {self.id}: {row.name} must not be negative", got=repr(value))
        if self.volume is not None:
            low, high = (tuple(float(x) for x in corner) for corner in self.volume)
            ordered = len(low) == len(high) == 3 and all(a < b for a, b in zip(low, high, strict=True))
            if not ordered or not all(math.isfinite(x) for x in (*low, *high)):
                raise ParameterError(
                    f"instrument {self.id}: the volume is two corners", expected="lowest and highest x, y, z",
                    got=repr(self.volume)[:80],
                )  # fmt: skip
            object.__setattr__(self, "volume", (low, high))
        self._check_field()
        if self.valid_until is not None:
            try:
                date.fromisoformat(self.valid_until)
            except ValueError:
                raise ParameterError(
                    f"instrument {self.id}: valid_until is not a date", expected="2027-06-30", got=self.valid_until
                ) from None

    def _check_field(self) -> None:
        if self.correlation_kernel is None:
            if self.noise_independent is not None:
                raise ParameterError(
                    f"instrument {self.id}: noise_independent is a part of correlated noise",
                    remedy="state correlation_kernel and correlation_length too",
                )
            return
        if not self.correlation_length:
            raise ParameterError(
                f"instrument {self.id}: a correlation_kernel needs a correlation_length",
                got=repr(self.correlation_length),
            )
        from metrology_core.uncertainty.fields.kernels import kernel_named

        kernel_named(self.correlation_kernel, self.correlation_length)
        if self.noise is not None and (self.noise_independent or 0.0) > self.noise:
            raise ParameterError(
                f"instrument {self.id}: noise_independent is a part of noise", expected=f"at most {self.noise:g}",
                got=repr(self.noise_independent),
            )  # fmt: skip

    def noise_field(self, sigma: Any = None) -> Any:
        """The noise as a `CorrelatedField`, None where no ``correlation_kernel`` is declared.

        ``sigma``: total standard deviation of a point (a number or (n,)), by default ``noise``; the independent part is
        taken out of it.
        """
        total = self.noise if sigma is None else sigma
        if self.correlation_kernel is None or self.correlation_length is None or total is None:
            return None
        import numpy as np

        from metrology_core.uncertainty.fields.field import CorrelatedField
        from metrology_core.uncertainty.fields.kernels import kernel_named

        own = self.noise_independent or 0.0
        part = np.sqrt(np.clip(np.square(np.asarray(total, dtype=np.float64)) - own**2, 0.0, None))
        kernel = kernel_named(self.correlation_kernel, self.correlation_length)
        return CorrelatedField(float(part) if part.ndim == 0 else part, kernel, own)

    # --- influences; sharing an id is correlation, so the scope of each id is part of the model
    def length_contribution(self, length: float, where: str) -> dict[Influence, float]:
        """Error of indication for a length (in ``unit``): rectangular between ``-E`` and ``+E``, ``E = A + L/K``.

        ``where`` names the feature or pair of features: errors at the same place are common, elsewhere independent.
        """
        if self.mpe_constant is None and self.mpe_per_length is None:
            return {}
        bound = (self.mpe_constant or 0.0) + (self.mpe_per_length or 0.0) * abs(length)
        influence = Influence(
            f"instrument/{self.id}/length/{where}",
            f"length error of {self.id} within its MPE (rectangular)",
            "B",
            distribution="rectangular",
        )
        return {influence: bound / math.sqrt(3.0)}

    def thermal_contribution(self, length: float) -> dict[Influence, float]:
        """Effect of the part's temperature on a length (in ``unit``), common to all lengths of the part."""
        result: dict[Influence, float] = {}
        if self.expansion is not None and self.temperature_u:
            row = Influence(f"instrument/{self.id}/temperature", "temperature of the part", "B")
            result[row] = length * self.expansion * self.temperature_u
        if self.expansion_u and self.temperature is not None:
            row = Influence(f"instrument/{self.id}/expansion", "expansion coefficient of the part", "B")
            result[row] = length * (self.temperature - REFERENCE_TEMPERATURE) * self.expansion_u
        return result

    def tip_influence(self) -> Influence:
        """The radius of the probe tip, common to all features probed with it."""
        return Influence(f"instrument/{self.id}/tip", "radius of the probe tip", "B")

    def scale_influence(self, axis: str | None = None) -> Influence:
        """The scale of an image axis (``x`` or ``y``; None: one calibration for both), common to all images taken with
        it."""
        if axis is None:
            return Influence(f"instrument/{self.id}/scale", "pixel size, x and y alike", "B")
        return Influence(f"instrument/{self.id}/scale/{axis}", f"pixel size in {axis}", "B")

    def calibration_flags(self, acquired: datetime | None) -> tuple[str, ...]:
        """``calibration_expired`` / ``calibration_date_unknown``: from the acquisition time, never from today's
        date."""
        if self.valid_until is None:
            return ()
        if acquired is None:
            return ("calibration_date_unknown",)
        return ("calibration_expired",) if acquired.date() > date.fromisoformat(self.valid_until) else ()

    def to_dict(self) -> dict[str, Any]:
        """Only what was declared."""
        found = {row.name: getattr(self, row.name) for row in fields(self) if getattr(self, row.name) is not None}
        if self.volume is not None:
            found["volume"] = [list(corner) for corner in self.volume]
        return found
