"""`Measurement`: one characteristic of one part, with its value, decision, and the method in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metrology_core import flags as _flags
from metrology_core.conformity import Decision, Tolerance
from metrology_core.errors import ParameterError
from metrology_core.quantity import Measured


@dataclass(frozen=True)
class Measurement:
    """The result for one characteristic.

    ``characteristic`` is an id of the registry; ``measured`` is None where it could not be evaluated (then a flag of
    severity *invalid* says why); ``nominal`` and ``tolerance`` are in the unit of the measured value; ``method`` says
    in words how the number came about (criterion, filter or "unfiltered", number of points); ``inputs`` are SHA-256
    digests of the files it rests on; ``details`` holds further facts as JSON (never needed to read the verdict).
    """

    name: str
    characteristic: str
    title: str
    unit: str
    measured: Measured | None
    nominal: float | None = None
    tolerance: Tolerance | None = None
    decision: Decision | None = None
    method: str = ""
    flags: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        merged = _flags.merge(self.flags, self.measured.flags if self.measured is not None else ())
        object.__setattr__(self, "flags", merged)
        if self.measured is None and _flags.worst(merged) != "invalid":
            raise ParameterError(
                f"measurement {self.name!r} has no value and no reason", remedy="add a flag of severity invalid"
            )
        if self.measured is not None and self.measured.unit != self.unit:
            raise ParameterError(
                f"measurement {self.name!r} is in {self.unit} but its value is in {self.measured.unit}",
                remedy="convert the value first",
            )
        if self.tolerance is not None:
            object.__setattr__(self, "tolerance", self.tolerance.to(self.unit))

    @property
    def verdict(self) -> str:
        """``conforming``, ``nonconforming``, ``indeterminate``, or ``none`` without a decision."""
        return "none" if self.decision is None else self.decision.verdict

    def to_dict(self, *, k: float = 2.0, p: float = 0.95) -> dict[str, Any]:
        """JSON form (contract of the record); numbers are unrounded, ``text`` is rounded for people.

        ``U`` is ``k u``; for a value with a drawn distribution it reaches to the farther end of ``interval``, and ``k``
        is ``U / u`` (`Measured.stated_expanded`).
        """
        m = self.measured
        expanded, factor = (None, k) if m is None else m.stated_expanded(k, p)
        value = None if m is None else m.value
        limits = self.tolerance
        return {
            "name": self.name,
            "characteristic": self.characteristic,
            "title": self.title,
            "unit": self.unit,
            "nominal": self.nominal,
            "tolerance": None if limits is None else {"lower": limits.lower, "upper": limits.upper},
            "value": value,
            "deviation": None if value is None or self.nominal is None else value - self.nominal,
            "u": None if m is None else m.u,
            "k": factor,
            "U": expanded,
            "interval": None if m is None else list(m.coverage_interval(p)),
            "p": p,
            "dof": None if m is None or math.isinf(m.dof) else m.dof,
            "text": "" if m is None else m.short(),
            "budget": [] if m is None else [row.to_dict() for row in m.budget()],
            "decision": None if self.decision is None else self.decision.to_dict(),
            "method": self.method,
            "flags": list(self.flags),
            "inputs": list(self.inputs),
            "details": dict(self.details),
        }


def worst_verdict(verdicts: list[str]) -> str:
    """Verdict of a part: nonconforming before indeterminate before conforming; ``none`` without decisions."""
    for verdict in ("nonconforming", "indeterminate", "conforming"):
        if verdict in verdicts:
            return verdict
    return "none"
