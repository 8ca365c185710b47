"""The exit codes are a contract: their values, their precedence, and what asks for which."""

from __future__ import annotations

import itertools

import pytest

from metrology_core.errors import (
    AbbeError,
    FitError,
    IntegrityError,
    MissingDependencyError,
    ReaderError,
    RecipeError,
    UnitError,
)
from pipelines.exit_codes import MEANING, ExitCode, combine, of_error, of_part

ORDER = [70, 5, 4, 2, 3, 1, 6, 0]  # DESIGN section 6, with the internal error above all


def test_values() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "CONFORMING": 0,
        "NONCONFORMING": 1,
        "USAGE": 2,
        "NOT_MEASURED": 3,
        "INTERRUPTED": 4,
        "INTEGRITY": 5,
        "INDETERMINATE": 6,
        "INTERNAL": 70,
    }
    assert set(MEANING) == set(ExitCode)


def test_precedence_of_every_subset() -> None:
    for size in range(len(ORDER) + 1):
        for given in itertools.combinations(ORDER, size):
            expected = min(given, key=ORDER.index) if given else 0
            assert combine(given) == expected
            assert combine(reversed(given)) == expected


@pytest.mark.parametrize(
    ("outcome", "verdict", "flags", "code"),
    [
        ("measured", "conforming", (), 0),
        ("measured", "none", (), 0),
        ("measured", "nonconforming", (), 1),
        ("measured_with_flags", "indeterminate", ("repeatability_only",), 6),
        ("measured_with_flags", "nonconforming", ("partial_result",), 3),
        ("unusable_data", "none", (), 3),
        ("algorithm_failed", "none", (), 3),
        ("crashed", "none", (), 3),
        ("not_run", "none", (), 3),
    ],
)
def test_what_a_part_asks_for(outcome: str, verdict: str, flags: tuple[str, ...], code: int) -> None:
    assert of_part(outcome, verdict, flags) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (IntegrityError("x"), 5),
        (KeyboardInterrupt(), 4),
        (RecipeError("x"), 2),
        (UnitError("x"), 2),
        (MissingDependencyError("x"), 2),
        (ReaderError("x"), 3),
        (FitError("x"), 3),
        (AbbeError("x"), 70),
        (RuntimeError("x"), 70),
    ],
)
def test_what_an_error_asks_for(error: BaseException, code: int) -> None:
    assert of_error(error) == code
