"""The self-test sees errors: a fit that is wrong by more than a limit, that raises, or that has no reference set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.testing import reference_sets, run_selftest, selftest
from metrology_core.testing.reference_sets import Case, Layout, cases, make_set


def test_every_row_of_the_table_is_tested() -> None:
    from metrology_core.fitting import available

    listed = {(case.feature, f"{case.dimension}-D", case.criterion) for case in cases()}
    assert listed == {
        (kind, words, criterion)
        for kind, dimensions in available().items()
        for words, criteria in dimensions.items()
        for criterion in criteria
    }


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_quick_level(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that the command does not use."""
    monkeypatch.setattr(selftest, "cases", lambda: [case])
    result = run_selftest("quick", seed=77)
    assert result.passed, result.rows[0].to_dict()


def _only(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    monkeypatch.setattr(selftest, "cases", lambda: [case])


def _judged(monkeypatch: pytest.MonkeyPatch, case: Case, judged: Any) -> selftest.Row:
    _only(monkeypatch, case)
    (row,) = selftest.rows_of(full=False, seed=3, fit=judged)
    return row


def test_a_wrong_radius_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(points: np.ndarray, feature: str, **options: Any) -> Any:
        found = fit(points, feature, **options)
        return replace(found, feature=replace(found.feature, radius=found.feature.radius + 2e-12))

    row = _judged(monkeypatch, Case("sphere", 3, "least_squares"), wrong)
    assert not row.passed
    assert row.worst["size"][0] == pytest.approx(2e-12, rel=0.1)


def test_a_zone_too_large_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(points: np.ndarray, feature: str, **options: Any) -> Any:
        found = fit(points, feature, **options)
        return replace(found, form=found.form + 1e-11)

    assert not _judged(monkeypatch, Case("plane", 3, "minimum_zone"), wrong).passed


@pytest.mark.parametrize("kind", ["raises", "gives up"])
def test_no_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def wrong(points: np.ndarray, feature: str, **options: Any) -> Any:
        if kind == "raises":
            raise RuntimeError("no")
        return fit(points[:2], feature, **options)

    row = _judged(monkeypatch, Case("sphere", 3, "least_squares"), wrong)
    assert not row.passed and row.failures and row.ratio == np.inf
    assert row.to_dict()["ratio"] is None


def test_a_row_without_generator_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, Case("helix", 3, "least_squares"))
    result = run_selftest("quick")
    assert not result.passed
    assert result.rows[0].sets == 0 and "no generator" in result.rows[0].failures[0]


def test_sets_depend_on_the_seed_alone() -> None:
    case = Case("cone", 3, "minimum_zone")
    one, again, other = (make_set(case, Layout(40, 1e-3), seed) for seed in (1, 1, 2))
    assert one.points.tobytes() == again.points.tobytes() != other.points.tobytes()


def test_stress_sets_are_what_they_say() -> None:
    case = Case("cylinder", 3, "least_squares")
    sets = list(reference_sets.sets_of(case, full=True, seed=5))
    assert max(float(np.abs(known.points).max()) for _, known in sets) > 5e3
    patch = sets[-1][1]
    assert len(patch.points) == 12 and patch.feature.parameters["radius"] == 1e4
    assert np.ptp(patch.points, axis=0).max() < 1000.0
