"""Datum systems (ISO 5459): which features, in which order, associated how, locking what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metrology_core.data.frames import Frame
from metrology_core.errors import ParameterError

DEGREES_OF_FREEDOM = ("tx", "ty", "tz", "rx", "ry", "rz")


@dataclass(frozen=True)
class Datum:
    """One datum: its letter, the feature it is derived from, the association criterion, and the degrees of freedom of
    the datum frame it locks (``tx ty tz rx ry rz`` about the axes of that frame).

    The criterion is stated, never implied: which one a standard prescribes depends on its edition.
    """

    letter: str
    feature: str
    criterion: str
    locks: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.locks if name not in DEGREES_OF_FREEDOM]
        if unknown:
            raise ParameterError(
                f"datum {self.letter}: unknown degree of freedom {unknown[0]!r}", expected=", ".join(DEGREES_OF_FREEDOM)
            )
        if not self.locks:
            raise ParameterError(f"datum {self.letter} locks nothing", remedy="leave it out of the datum system")


@dataclass(frozen=True, eq=False)
class DatumSystem:
    """Ordered datums and the frame they make. A later datum locks only what earlier ones left free.

    ``alignment`` is ``"datums"``, or ``"best_fit"``/``"tolerance_fit"``: these two give no verdict unless
    ``permission`` cites where the drawing allows them.
    """

    name: str
    datums: tuple[Datum, ...]
    frame: Frame
    alignment: str = "datums"
    permission: str | None = None

    def __post_init__(self) -> None:
        if not self.datums and self.alignment == "datums":
            raise ParameterError(f"datum system {self.name!r} has no datum")
        if self.alignment not in ("datums", "best_fit", "tolerance_fit"):
            raise ParameterError(f"unknown alignment {self.alignment!r}", expected="datums, best_fit or tolerance_fit")
        letters = [datum.letter for datum in self.datums]
        if len(set(letters)) != len(letters):
            raise ParameterError(f"datum system {self.name!r} uses a letter twice", got=", ".join(letters))
        taken: set[str] = set()
        for datum in self.datums:
            again = taken.intersection(datum.locks)
            if again:
                raise ParameterError(
                    f"datum {datum.letter} locks {', '.join(sorted(again))}, which an earlier datum locks already"
                )
            taken.update(datum.locks)

    @property
    def free(self) -> tuple[str, ...]:
        """Degrees of freedom that no datum locks."""
        taken = {name for datum in self.datums for name in datum.locks}
        return tuple(name for name in DEGREES_OF_FREEDOM if name not in taken)

    @property
    def allows_verdict(self) -> bool:
        """Whether characteristics in this system may be decided."""
        return self.alignment == "datums" or bool(self.permission)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "alignment": self.alignment,
            "permission": self.permission,
            "datums": [
                {"letter": d.letter, "feature": d.feature, "criterion": d.criterion, "locks": list(d.locks)}
                for d in self.datums
            ],
            "free": list(self.free),
            "frame": self.frame.to_dict(),
        }
