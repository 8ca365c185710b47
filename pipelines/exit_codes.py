"""Exit codes of the command line (DESIGN section 6): a contract for scripts.

Precedence where several apply: 5 > 4 > 2 > 3 > 1 > 6 > 0. An internal error (70) stands above all, since nothing that
follows it can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller."""

    CONFORMING = 0
    NONCONFORMING = 1
    USAGE = 2
    NOT_MEASURED = 3
    INTERRUPTED = 4
    INTEGRITY = 5
    INDETERMINATE = 6
    INTERNAL = 70


MEANING = {
    ExitCode.CONFORMING: "all conforming",
    ExitCode.NONCONFORMING: "some nonconforming",
    ExitCode.USAGE: "wrong use or recipe",
    ExitCode.NOT_MEASURED: "something not measured",
    ExitCode.INTERRUPTED: "interrupted, resumable",
    ExitCode.INTEGRITY: "integrity violated",
    ExitCode.INDETERMINATE: "some indeterminate",
    ExitCode.INTERNAL: "internal error",
}
PRECEDENCE = (
    ExitCode.INTERNAL,
    ExitCode.INTEGRITY,
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.NOT_MEASURED,
    ExitCode.NONCONFORMING,
    ExitCode.INDETERMINATE,
    ExitCode.CONFORMING,
)
MEASURED = ("measured", "measured_with_flags")


def combine(codes: Iterable[int]) -> ExitCode:
    """The code that stands first in the precedence; 0 for none."""
    given = {ExitCode(code) for code in codes}
    return next((code for code in PRECEDENCE if code in given), ExitCode.CONFORMING)


def of_part(outcome: str, verdict: str, flags: Iterable[str] = ()) -> ExitCode:
    """The code that one part asks for. A part with a characteristic missing, or with a verdict that its data cannot
    carry, counts as not (wholly) measured."""
    codes = [ExitCode.CONFORMING]
    if outcome not in MEASURED or not {"partial_result", "verdict_withheld"}.isdisjoint(flags):
        codes.append(ExitCode.NOT_MEASURED)
    if verdict == "nonconforming":
        codes.append(ExitCode.NONCONFORMING)
    if verdict == "indeterminate":
        codes.append(ExitCode.INDETERMINATE)
    return combine(codes)


def of_error(error: BaseException) -> ExitCode:
    """The code for an error that ends a command."""
    from metrology_core.errors import DataError, FitError, IntegrityError, MissingDependencyError, UsageError

    if isinstance(error, IntegrityError):
        return ExitCode.INTEGRITY
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, (UsageError, MissingDependencyError)):
        return ExitCode.USAGE
    if isinstance(error, (DataError, FitError)):
        return ExitCode.NOT_MEASURED
    return ExitCode.INTERNAL
