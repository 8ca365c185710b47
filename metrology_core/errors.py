"""The errors of Abbe: every message says what was expected, what came, where, and what to do.

Wrong *use* raises one of the `UsageError` family. Bad *data* raises a `DataError` only where no result can be
formed at all (an unreadable file); elsewhere it becomes a result with a status and flags.
"""

from __future__ import annotations

from typing import Any


class AbbeError(Exception):
    """Base of all errors raised on purpose.

    The parts are kept as attributes so that a record, a JSON answer and a terminal can each lay them out.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.got = got
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    @property
    def code(self) -> str:
        """Stable name of the kind of error."""
        return type(self).__name__

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"at {self.where}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.got:
            parts.append(f"got {self.got}")
        if self.remedy:
            parts.append(self.remedy)
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: ``code``, ``message`` (whole sentence), ``what``, ``expected``, ``got``, ``where``, ``remedy``."""
        return {
            "code": self.code,
            "message": str(self),
            "what": self.what,
            "expected": self.expected,
            "got": self.got,
            "where": self.where,
            "remedy": self.remedy,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions, and workers send errors home.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[AbbeError], state: dict[str, Any]) -> AbbeError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    Exception.__init__(error, state.get("what", ""))
    return error


class UsageError(AbbeError, ValueError):
    """Wrong use of the library: a wrong type, name, shape, or combination."""


class ParameterError(UsageError):
    """An argument has the wrong type, shape or range."""


class UnitError(UsageError):
    """A unit is missing, unknown, or of another dimension."""


class FrameError(UsageError):
    """Coordinates of different frames were mixed, or a frame cannot be reached from another."""


class CriterionError(UsageError):
    """A fit criterion does not exist, or does not exist for this feature."""


class CharacteristicError(UsageError):
    """A characteristic is unknown, ambiguous, or does not apply to this feature."""


class RecipeError(UsageError):
    """A recipe cannot be used; carries the file, line and column of the fault."""

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        remedy: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        excerpt: str | None = None,
    ) -> None:
        super().__init__(what, expected=expected, got=got, where=where, remedy=remedy)
        self.file = file
        self.line = line
        self.column = column
        self.excerpt = excerpt

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "excerpt": self.excerpt,
        }


class DataError(AbbeError):
    """The data cannot give a result at all."""


class ReaderError(DataError):
    """A file cannot be read as what it claims to be; carries the path and the place (line, byte, tag) in it."""

    def __init__(
        self,
        what: str,
        *,
        path: str | None = None,
        place: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        where: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.path = path
        self.place = place
        if where is None:
            where = ", ".join(part for part in (path, place) if part) or None
        super().__init__(what, expected=expected, got=got, where=where, remedy=remedy)


class FitError(AbbeError):
    """Raised by ``fit.require()`` when the fit is not ``converged``."""


class IntegrityError(AbbeError):
    """Stored results do not match their digests, or two runs of the same task gave different bytes."""


class MissingDependencyError(AbbeError):
    """A library or system component that this call needs is not installed."""
