"""Data with exactly known answers, for Abbe's own tests and for everybody who validates fitting software.

`known_answer` and its parts make points whose best fit is chosen in advance; `errors_of` compares; `write_sets`,
`read_sets` and `judge_answers` carry sets and results to and from other software; `run_selftest` runs Abbe's own.
"""

from __future__ import annotations

from metrology_core.testing.answer import KnownAnswer
from metrology_core.testing.files import judge_answers, read_sets, write_sets
from metrology_core.testing.judge import Errors, errors_of
from metrology_core.testing.known import (
    known_answer,
    known_constrained,
    known_least_absolute,
    known_least_squares,
    known_zone,
)
from metrology_core.testing.selftest import SelfTest, run_selftest

__all__ = [
    "Errors",
    "KnownAnswer",
    "SelfTest",
    "errors_of",
    "judge_answers",
    "known_answer",
    "known_constrained",
    "known_least_absolute",
    "known_least_squares",
    "known_zone",
    "read_sets",
    "run_selftest",
    "write_sets",
]
