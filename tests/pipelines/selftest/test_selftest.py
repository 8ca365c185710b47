"""``abbe selftest`` and what of it stands in a run and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metrology_core.testing import read_sets, selftest
from metrology_core.testing.reference_sets import Case
from pipelines.cli import main
from pipelines.run import RunSummary
from pipelines.verify import verify_run
from tests.pipelines.run.lot import events, good_lot, run_lot

FEW = [Case("sphere", 3, "least_squares"), Case("plane", 3, "minimum_zone")]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "cases", lambda: FEW)


def call(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["selftest", *words])
    return code, capfd.readouterr().out


def test_passes_and_says_what_it_is(few: None, capfd: pytest.CaptureFixture[str]) -> None:
    code, out = call(capfd)
    assert code == 0
    assert "all 2 rows within limits" in out and "not measurement uncertainty" in out
    code, out = call(capfd, "--json", "--full", "--seed", "4")
    document = json.loads(out)
    assert code == 0 and document["passed"] and document["level"] == "full" and document["seed"] == 4
    assert document["rows"][0]["errors"]["position"]["worst"] <= document["rows"][0]["errors"]["position"]["limit"]


def test_a_failure_never_ends_with_zero(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(selftest, "cases", lambda: [*FEW, Case("helix", 3, "least_squares")])
    code, out = call(capfd)
    assert code == 70
    assert "1 of 3 rows FAILED" in out and "no generator for a 3-D helix" in out


def test_export_and_judgement(few: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out = call(capfd, "--export", str(tmp_path / "sets"), "--json")
    assert code == 0 and json.loads(out)["sets"] == 4
    known = dict(read_sets(tmp_path / "sets"))
    name = "sphere_3d_least_squares_01"
    sphere = known[name].feature.parameters
    mine = {name: {"center": sphere["center"].tolist(), "radius": sphere["radius"] + 1e-5}}
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    words = ["--sets", str(tmp_path / "sets"), "--judge", str(tmp_path / "mine.json"), "--json"]
    code, out = call(capfd, *words)
    assert code == 0 and json.loads(out)["errors"][name]["size"] == pytest.approx(1e-5)
    assert call(capfd, "--export", str(tmp_path / "sets"))[0] == 2  # never into a folder that holds something
    assert call(capfd, "--judge", str(tmp_path / "mine.json"))[0] == 2
    (tmp_path / "mine.json").write_text("[1")
    assert call(capfd, *words)[0] == 3


@pytest.fixture
def run(tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch) -> RunSummary:
    monkeypatch.setenv("ABBE_CACHE_DIR", str(tmp_path / "cache"))
    return _run(tmp_path, monkeypatch)


def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSummary:
    from metrology_core import _jit

    folder = tmp_path / "cache"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(_jit, "cache_folder", lambda: folder)
    return run_lot(good_lot(tmp_path / "lot"), tmp_path / "run", report=True)


def test_every_run_holds_the_result(run: RunSummary, tmp_path: Path) -> None:
    assert run.exit_code == 0
    document = json.loads((run.path / "selftest.json").read_text())
    assert document["passed"] and set(document["criteria"]) == {"least_squares", "minimum_zone"}
    (noted,) = [entry for entry in events(run.path) if entry["event"] == "self_tested"]
    assert noted["passed"] and noted["version"] == document["version"]
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="selftest"' in page and document["date"] in page and "not measurement uncertainty" in page
    assert not verify_run(run.path).findings
    (run.path / "selftest.json").write_text((run.path / "selftest.json").read_text().replace("true", "false"))
    assert [item.where for item in verify_run(run.path).findings] == ["selftest.json"]


def test_it_runs_once_per_version_and_machine(run: RunSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipelines.selftest as module

    first = module.quick_result()
    monkeypatch.setattr(module, "_run", lambda: pytest.fail("it was run again"))
    assert module.quick_result() == first
    monkeypatch.setattr(module, "source_digest", lambda: "of other code")
    made: list[int] = []
    monkeypatch.setattr(module, "_run", lambda: made.append(1) or dict(first))  # type: ignore[func-returns-value]
    module.quick_result()
    assert made == [1]


def test_a_failed_self_test_stands_in_the_report_and_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = selftest.limit_of
    monkeypatch.setattr(selftest, "cases", lambda: FEW)
    monkeypatch.setattr(selftest, "limit_of", lambda known, name: 1e-30 if name == "position" else real(known, name))
    found: Any = _run(tmp_path, monkeypatch)
    assert found.exit_code == 70
    assert any(text.startswith("self-test: not passed") for text in found.problems)
    page = (found.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "NOT passed" in page and "sphere 3-D, least_squares" in page
