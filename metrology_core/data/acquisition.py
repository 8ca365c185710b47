"""`Acquisition`: which part was measured, where, when and how. Measuring it again is a new acquisition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from dataclasses import field as dataclass_field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from metrology_core.errors import ParameterError


@dataclass(frozen=True)
class Acquisition:
    """Identity and conditions of one measurement; every field is optional text, and nothing is guessed.

    ``part`` names the part type or part id, ``serial`` the individual; ``lot``, ``wafer``, ``field``, ``die``,
    ``site`` the place in production (a wafer frame names notch and mirroring in ``wafer_frame``;
    ``wafer_x``, ``wafer_y`` place on the wafer from its middle, as text with unit); ``condition`` the
    probe or beam condition; ``time`` is ISO 8601 *with* a zone; ``environment`` holds readings as text with units.
    """

    part: str | None = None
    serial: str | None = None
    lot: str | None = None
    wafer: str | None = None
    field: str | None = None
    die: str | None = None
    site: str | None = None
    wafer_frame: str | None = None
    wafer_x: str | None = None
    wafer_y: str | None = None
    operation: str | None = None
    repeat: str | None = None
    setup: str | None = None
    operator: str | None = None
    instrument: str | None = None
    condition: str | None = None
    time: str | None = None
    environment: Mapping[str, str] = dataclass_field(default_factory=dict)
    drawing: str | None = None
    cad_revision: str | None = None

    def __post_init__(self) -> None:
        for row in fields(self):
            value = getattr(self, row.name)
            if row.name == "environment":
                object.__setattr__(self, "environment", MappingProxyType({str(k): str(v) for k, v in value.items()}))
            elif value is not None and not isinstance(value, str):
                raise ParameterError(f"acquisition.{row.name} must be text", got=repr(value), remedy="quote it")
        if self.time is not None and self.instant() is None:
            raise ParameterError(
                "acquisition.time must be ISO 8601 with a time zone",
                expected="for example 2026-11-23T08:30:00+01:00",
                got=repr(self.time),
            )

    def instant(self) -> datetime | None:
        """The time as an aware datetime; None where there is none or it names no zone."""
        if self.time is None:
            return None
        try:
            found = datetime.fromisoformat(self.time)
        except ValueError:
            return None
        return found if found.tzinfo is not None else None

    def updated(self, **changes: Any) -> Acquisition:
        """A copy with the given fields; unknown names raise `ParameterError`."""
        known = {row.name for row in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ParameterError(
                f"unknown acquisition field {unknown[0]!r}", expected=", ".join(sorted(known)), got=unknown[0]
            )
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set."""
        result: dict[str, Any] = {}
        for row in fields(self):
            value = getattr(self, row.name)
            if row.name == "environment":
                if value:
                    result["environment"] = dict(value)
            elif value is not None:
                result[row.name] = value
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        # mapping proxies cannot be pickled, and acquisitions travel to workers
        return (_rebuild, (self.to_dict(),))


def _rebuild(state: dict[str, Any]) -> Acquisition:
    return Acquisition(**state)
