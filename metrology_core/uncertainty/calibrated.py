"""Uncertainty by experiment on a calibrated workpiece (ISO 15530-3:2011): the alternative to a simulated instrument.

A workpiece like the one to be measured, calibrated by somebody better, is measured again and again as parts are
measured: same program, same places, same environment, on several days. Its scatter and its bias are those of parts of
the same shape, size and material; what differs between workpieces is stated beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.units import convert
from metrology_core.units import unit as unit_row

ENOUGH = 20
"""Measurements that ISO 15530-3 asks for (in 10 cycles or more)."""
SIMILAR_LENGTH, SIMILAR_SHARE, SIMILAR_ANGLE = 0.025, 0.10, math.radians(5.0)
"""How far a part may be from the calibrated workpiece (ISO 15530-3, similarity): m, share beyond 250 mm, rad."""
LARGE_BIAS = 5.0
"""A bias of more combined standard uncertainties than this asks for an explanation."""


@dataclass(frozen=True)
class Assessment:
    """What the experiment says about one characteristic, in ``unit``.

    ``u_cal`` standard uncertainty of the calibration; ``u_p`` standard deviation of the measurements, with ``dof``;
    ``u_b`` of the bias beyond calibration and scatter (expansion of the calibrated workpiece); ``u_w`` by what differs
    between workpieces (expansion, form, roughness); ``bias`` mean of the measurements less the ``calibrated`` value,
    taken off every result where ``corrected``.
    """

    name: str
    unit: str
    u_cal: float
    u_p: float
    u_b: float
    u_w: float
    bias: float
    dof: float
    count: int
    corrected: bool = True
    calibrated: float | None = None

    def similar(self, value: float) -> bool:
        """Whether a part of this value (in ``unit``) is of the size of the calibrated workpiece."""
        row = unit_row(self.unit)
        if self.calibrated is None or row.dimension not in ("length", "angle"):
            return True
        base = "m" if row.dimension == "length" else "rad"
        known = convert(self.calibrated, self.unit, base)
        limit = max(SIMILAR_LENGTH, SIMILAR_SHARE * abs(known)) if base == "m" else SIMILAR_ANGLE
        return abs(convert(value, self.unit, base) - known) <= limit

    @property
    def flags(self) -> tuple[str, ...]:
        """``assessment_short`` below 20 readings; ``bias_exceeds_uncertainty`` where calibration, scatter and stated
        causes do not explain the bias: a wrong value, unit or tip rather than a process that needs correcting."""
        short = () if self.count >= ENOUGH else ("assessment_short",)
        own = math.hypot(self.u_cal, self.u_p, self.u_b, self.u_w)
        return (*short, "bias_exceeds_uncertainty") if abs(self.bias) > LARGE_BIAS * own else short

    @property
    def u(self) -> float:
        """Combined standard uncertainty; a bias that is not corrected counts with its size."""
        own = math.hypot(self.u_cal, self.u_p, self.u_b, self.u_w)
        return own if self.corrected else math.hypot(own, self.bias)

    def expanded(self, k: float = 2.0) -> float:
        """``U = k sqrt(u_cal^2 + u_p^2 + u_b^2 + u_w^2)``; where the bias is not corrected ``|b|`` is added outside the
        root, as ISO/TS 15530-3:2004 has it: safer than `u` times k."""
        own = k * math.hypot(self.u_cal, self.u_p, self.u_b, self.u_w)
        return own if self.corrected else own + abs(self.bias)

    def apply(self, value: float, *, lower_bound: float | None = None) -> Measured:
        """One measured value (in ``unit``) of a part, corrected for the bias, with the budget of the experiment.

        Calibration, bias and the difference between workpieces are common to all values assessed by this experiment;
        the scatter is that of this value alone, so it bears the value in its id.
        """
        stem = f"calibrated_workpiece/{self.name}"
        rows = [
            (Influence(f"{stem}/calibration", "calibration of the workpiece", "B"), self.u_cal),
            (Influence(f"{stem}/bias", "bias of the process, beyond calibration and scatter", "B"), self.u_b),
            (Influence(f"{stem}/workpiece", "difference between workpieces", "B"), self.u_w),
            (
                Influence(f"{stem}/process/{value!r}", f"process: {self.count} measurements", "A", self.dof),
                self.u_p,
            ),
        ]
        if not self.corrected:
            rows.append((Influence(f"{stem}/uncorrected", "bias of the process, not corrected", "B"), self.bias))
        return Measured(
            value - self.bias if self.corrected else value,
            self.unit,
            {row.id: part for row, part in rows},
            {row.id: row for row, _ in rows},
            lower_bound,
            flags=self.flags if self.similar(value) else (*self.flags, "workpiece_of_another_size"),
        )

    def describe(self) -> str:
        """The method in words."""
        what = "corrected for" if self.corrected else "not corrected for"
        return (
            f"uncertainty by {self.count} measurements of a calibrated workpiece (ISO 15530-3), {what} its bias of "
            f"{self.bias:.3g} {self.unit}"
        )


def assess(
    name: str,
    readings: Sequence[float],
    calibrated: Measured,
    *,
    unit: str | None = None,
    u_w: float = 0.0,
    u_b: float = 0.0,
    correct: bool = True,
) -> Assessment:
    """Evaluate the experiment for one characteristic.

    ``readings`` results of measuring the calibrated workpiece (one a cycle, or all of them), in ``unit`` (default that
    of ``calibrated``, the value of the certificate); ``u_w`` and ``u_b`` in the same unit. Fewer than 20
    readings give the flag ``assessment_short``. Raises `ParameterError` for fewer than two, or numbers that cannot be.
    """
    unit = unit or calibrated.unit
    values = np.asarray(readings, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ParameterError(
            f"assessment of {name}: too few readings", expected=f"at least 2, by the standard {ENOUGH}",
            got=str(values.size),
        )  # fmt: skip
    for label, part in (("u_w", u_w), ("u_b", u_b)):
        if not (math.isfinite(part) and part >= 0.0):
            raise ParameterError(f"assessment of {name}: {label} must not be negative", got=repr(part))
    true = calibrated.to(unit)
    centre = float(values[0])  # differences from a reading keep the digits of nearly equal numbers
    mean = centre + math.fsum((values - centre).tolist()) / len(values)
    spread = math.sqrt(math.fsum(((values - mean) ** 2).tolist()) / (len(values) - 1))
    return Assessment(
        name, true.unit, true.u, spread, u_b, u_w, mean - true.value, float(len(values) - 1), len(values), correct,
        true.value,
    )  # fmt: skip


def artefact_ratio(measured: Measured, calibrated: Measured, k: float = 2.0) -> float:
    """``|y - y_cal| / sqrt(U^2 + U_cal^2)``: at most 1 where a stated uncertainty (of a simulation, say) agrees with
    a calibrated artefact (ISO/TS 15530-4, verification by artefacts)."""
    other = calibrated.to(measured.unit)
    both = math.hypot(measured.expanded(k), other.expanded(k))
    if both == 0.0:
        raise ParameterError("neither value has an uncertainty", remedy="state that of the calibration")
    return abs(measured.value - other.value) / both
