"""Exit codes of the command line (DESIGN section 6): a contract for scripts.

Precedence where several apply: 5 > 4 > 2 > 3 > 1 > 6 > 0. An internal error (70) stands above all, since nothing that
follows it can be trusted. What asks for 3 in each command: docs/exit-codes.md.
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
_VERDICTS = (0, 1, 3, 4, 5, 6)
_IMAGE = "3: the image cannot be used, or a characteristic that was asked for has no value"
# command -> what it can give beside 2, 70 and, after Ctrl-C, 4; and what these say where that is not plain
OF_COMMANDS: dict[str, tuple[tuple[int, ...], str]] = {
    "run": (
        _VERDICTS,
        "2: also a pattern that matches no file; 3: a part was not measured, or only in part, or its data carry no "
        "verdict; 5: an input changed or went after the plan was made: its part is not measured, the others are",
    ),
    "status": (_VERDICTS, "what `run` would give now; 5: also a record, journal or plan that is not what `run` wrote"),
    "deviation": (_VERDICTS, "as `run`, of one part"),
    "fit": ((0, 3), "3: the file cannot be used, or the fit did not converge"),
    "sem lines": ((0, 3), _IMAGE),
    "sem contacts": ((0, 3), _IMAGE),
    "sem match": ((0, 3), "3: an image cannot be used, or the two do not show the same field"),
    "sem contours": (
        (0, 3),
        "3: the image cannot be used or shows no contour; with a design: no placement errors, no line ends",
    ),
    "map": ((0, 3), "3: the file cannot be used, a map has no value, or a stated summary is not that of its sites"),
    "lot": (
        (0, 3, 4, 5),
        "3: a characteristic has too few values, or no two of a level to compare, or a part was not run (one that has "
        "no value is counted, and asks for no code); 4: the run is not finished; 5: as `export`",
    ),
    "budget": ((0, 3), "3: Monte Carlo stopped before it met its tolerance, or a certificate cannot be used"),
    "report": ((0, 5), "5: it was built from records that do not match the journal"),
    "export": ((0, 5), "0: the files are written, whatever they say; 5: records do not match the journal: none is"),
    "verify": ((0, 4, 5), "0: intact and complete; 4: intact, not complete; 5: also an input as under `run`"),
    "recipe check": ((0,), "0: valid"),
    "recipe init": ((0,), "0: written"),
    "recipe schema": ((0,), "0: printed"),
    "demo": ((0, 1), "1: an outcome or verdict differs from the simulated truth"),
    "selftest": ((0, 3), "70: a fit is not within its limits; 3: results of `--judge` cannot be read"),
    "doctor": ((0, 1), "1: something is missing"),
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


def of_part(outcome: str, verdict: str, flags: Iterable[str] = (), *, strict: bool = False) -> ExitCode:
    """The code that one part asks for. A part with a characteristic missing, or with a verdict that its data cannot
    carry, counts as not (wholly) measured; where ``strict``, a provisional verdict as indeterminate at best."""
    flags = set(flags)
    codes = [ExitCode.CONFORMING]
    if strict and "provisional_verdict" in flags:
        codes.append(ExitCode.INDETERMINATE)
    if outcome not in MEASURED or flags & {"partial_result", "verdict_withheld"}:
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
