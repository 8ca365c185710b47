"""A run in this process: outcomes, records, catalogue, resume, and what is refused."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from metrology_core.errors import IntegrityError, UsageError
from pipelines.catalogue import rebuild
from pipelines.cli import main
from pipelines.driver import Driver
from pipelines.exit_codes import ExitCode
from pipelines.run import Progress
from pipelines.store import RunFolder
from pipelines.verify import verify_run
from tests.pipelines.run.lot import GOOD, RECIPE, digests, events, good_lot, make_lot, names, run_lot

MIXED = {
    "bad": "10.1\n",
    "bug": "!bug\n",
    "exit": "!exit\n",
    "fit": "!fit\n",
    "good": GOOD,
    "info": "!info\n" + GOOD,
    "partial": "!partial\n" + GOOD,
    "reader": "!reader\n",
    "zone": "10.010\n",
}


def outcomes(run: Path) -> dict[str, tuple[str, str]]:
    return {row.part[6:-4]: (row.outcome, row.verdict) for row in RunFolder(run).outcomes()}


def test_everything_becomes_an_outcome_with_a_record(tmp_path: Path) -> None:
    summary = run_lot(make_lot(tmp_path, MIXED), tmp_path / "run")
    assert outcomes(tmp_path / "run") == {
        "bad": ("measured", "nonconforming"),
        "bug": ("algorithm_failed", "none"),
        "exit": ("algorithm_failed", "none"),
        "fit": ("algorithm_failed", "none"),
        "good": ("measured", "conforming"),
        "info": ("measured", "conforming"),
        "partial": ("measured_with_flags", "conforming"),
        "reader": ("unusable_data", "none"),
        "zone": ("measured", "indeterminate"),
    }
    assert len(digests(tmp_path / "run")) == len(MIXED)
    assert summary.exit_code == ExitCode.NOT_MEASURED
    assert summary.complete and not summary.interrupted and summary.resume_command is None
    assert verify_run(tmp_path / "run", data_root=tmp_path).exit_code == ExitCode.CONFORMING


def test_reasons_hold_nothing_of_this_machine(tmp_path: Path) -> None:
    run_lot(make_lot(tmp_path, MIXED), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    by_part = {row.part[6:-4]: row for row in folder.outcomes()}
    bug = folder.read_record(by_part["bug"].task_id).document
    assert bug["reason"] == {
        "code": "ZeroDivisionError",
        "message": "division of parts/bug.csv at 0x...",
        "where": None,
        "remedy": None,
    }
    reader = folder.read_record(by_part["reader"].task_id).document["reason"]
    assert (reader["code"], reader["where"], reader["remedy"]) == (
        "ReaderError",
        "parts/reader.csv, line 1",
        "export it again",
    )
    for path in (tmp_path / "run" / "measurements").glob("*.h5"):
        data = folder.read_record(path.stem).document
        assert str(tmp_path) not in json.dumps(data)


def test_the_record_says_what_it_is_of(tmp_path: Path) -> None:
    run_lot(make_lot(tmp_path, {"good": GOOD}), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    (task,) = folder.plan().tasks
    document = folder.read_record(task.id).document
    assert document["task"]["id"] == task.id
    assert document["task"]["seed"] == 5
    assert document["task"]["recipe_sha256"] == folder.plan().recipe_sha256
    assert document["acquisition"] == {"part": "parts/good.csv"}
    assert [item["name"] for item in document["measurements"]] == ["d", "e"]
    assert document["kind"] == "features"


def test_records_do_not_depend_on_the_place(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path / "a", MIXED)
    run_lot(recipe, tmp_path / "run1")
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "b")
    run_lot(tmp_path / "elsewhere" / "b" / "recipe.yaml", tmp_path / "elsewhere" / "run2")
    assert digests(tmp_path / "run1") == digests(tmp_path / "elsewhere" / "run2")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"a": GOOD}, ExitCode.CONFORMING),
        ({"a": GOOD, "b": "10.1\n"}, ExitCode.NONCONFORMING),
        ({"a": GOOD, "b": "10.010\n"}, ExitCode.INDETERMINATE),
        ({"a": "10.1\n", "b": "10.010\n"}, ExitCode.NONCONFORMING),
        ({"a": "10.1\n", "b": "!reader\n"}, ExitCode.NOT_MEASURED),
        ({"a": "!partial\n" + GOOD}, ExitCode.NOT_MEASURED),
    ],
)
def test_exit_code_of_a_run(tmp_path: Path, files: dict[str, str], code: ExitCode) -> None:
    assert run_lot(make_lot(tmp_path, files), tmp_path / "run").exit_code == code


def test_progress_counts_outcomes(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run_lot(make_lot(tmp_path, MIXED), tmp_path / "run", progress=seen.append)
    assert [state.done for state in seen] == list(range(len(MIXED) + 1))
    assert seen[-1].counts == {"measured": 4, "algorithm_failed": 3, "measured_with_flags": 1, "unusable_data": 1}


def test_a_problem_found_before_the_run_becomes_unusable_data(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"good": GOOD})
    (tmp_path / "parts" / "gone.csv").symlink_to(tmp_path / "parts" / "nowhere")
    run_lot(recipe, tmp_path / "run")
    assert outcomes(tmp_path / "run")["gone"] == ("unusable_data", "none")


def test_an_input_that_changes_after_the_plan_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD, "b": GOOD})
    opened = Driver.opened

    def change(self: Driver, **content: object) -> None:
        opened(self, **content)  # type: ignore[arg-type]
        (tmp_path / "parts" / "b.csv").write_text("11\n")

    monkeypatch.setattr(Driver, "opened", change)
    summary = run_lot(recipe, tmp_path / "run")
    monkeypatch.undo()
    assert summary.exit_code == ExitCode.INTEGRITY
    assert summary.not_measured[0].reason is not None
    assert summary.not_measured[0].reason["code"] == "input_changed"
    (tmp_path / "parts" / "b.csv").write_text(GOOD)
    assert run_lot(recipe, tmp_path / "run", resume=True).exit_code == ExitCode.CONFORMING


def test_the_catalogue_can_be_made_again(tmp_path: Path) -> None:
    run_lot(make_lot(tmp_path, MIXED), tmp_path / "run")

    def dump() -> list[str]:
        with sqlite3.connect(tmp_path / "run" / "catalogue.sqlite") as db:
            return sorted(db.iterdump())

    before = dump()
    assert any('INSERT INTO "measurement"' in line for line in before)
    (tmp_path / "run" / "catalogue.sqlite").unlink()
    rebuild(tmp_path / "run")
    assert dump() == before


# --- refusal and resume


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    with pytest.raises(UsageError, match="already holds a run"):
        run_lot(recipe, tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    for resume in (False, True):
        with pytest.raises(UsageError, match="not empty"):
            run_lot(recipe, tmp_path / "mine", resume=resume)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="not a folder"):
        run_lot(recipe, tmp_path / "file")


def test_resuming_a_complete_run_measures_nothing(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    before = digests(tmp_path / "run")
    summary = run_lot(recipe, tmp_path / "run", resume=True)
    assert summary.measured_now == 0 and summary.exit_code == ExitCode.CONFORMING
    assert digests(tmp_path / "run") == before
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING


def test_resume_measures_what_is_missing_or_damaged_and_says_why(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path, 4)
    run_lot(recipe, tmp_path / "run")
    before = digests(tmp_path / "run")
    first, second, *_ = sorted((tmp_path / "run" / "measurements").glob("*.h5"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-7] + b"1234567")
    assert verify_run(tmp_path / "run").exit_code == ExitCode.INTEGRITY
    summary = run_lot(recipe, tmp_path / "run", resume=True)
    assert summary.queued == {
        "its record is missing": 1,
        "its record does not match the digest in the journal": 1,
    }
    assert summary.measured_now == 2
    assert digests(tmp_path / "run") == before
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING
    assert len(list((tmp_path / "run" / "rejected").iterdir())) == 1
    assert names(tmp_path / "run").count("record_rejected") == 2


def test_a_record_that_the_journal_missed_is_adopted(tmp_path: Path) -> None:
    """The driver died between the worker's commit and its own line: cut the journal there."""
    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["event"] in ("run_opened", "task_done")][:2]
    journal.write_bytes(b"".join(kept) + b'{"torn')
    assert verify_run(tmp_path / "run").exit_code == ExitCode.INTERRUPTED
    summary = run_lot(recipe, tmp_path / "run", resume=True)
    assert summary.measured_now == 0 and summary.complete
    assert [entry.get("adopted", False) for entry in events(tmp_path / "run") if entry["event"] == "task_done"] == [
        False,
        True,
        True,
    ]
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING


def test_a_foreign_file_under_the_name_of_a_record_is_not_adopted(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path, 2)
    run_lot(recipe, tmp_path / "run")
    first, second = sorted((tmp_path / "run" / "measurements").glob("*.h5"))
    lines = (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "run" / "journal.jsonl").write_bytes(lines[0])
    second.write_bytes(first.read_bytes())
    summary = run_lot(recipe, tmp_path / "run", resume=True)
    assert summary.queued == {"a file under the name of its record is not its record": 1}
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING


def test_a_changed_recipe_or_a_new_input_cannot_be_resumed(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    recipe.write_text(RECIPE.replace("plus_minus: 10 um", "plus_minus: 5 um"))
    with pytest.raises(UsageError, match="the recipe changed"):
        run_lot(recipe, tmp_path / "run", resume=True)
    recipe.write_text("# a remark\n" + RECIPE.replace("10 um", "0.01 mm"))
    run_lot(recipe, tmp_path / "run", resume=True)  # the same recipe, written otherwise
    (tmp_path / "parts" / "p9.csv").write_text("11\n")
    with pytest.raises(UsageError, match=r"inputs added: parts/p9.csv"):
        run_lot(recipe, tmp_path / "run", resume=True)


@pytest.mark.parametrize("named", [False, True], ids=["pattern", "named"])
def test_inputs_that_changed_stop_only_their_own_parts(
    tmp_path: Path, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a power cut one part is measured; of the other three one changed and one is gone. The third is measured,
    the two say why not, and run, status and verify end alike; with the files back, the run is completed."""
    recipe = good_lot(tmp_path, 4)
    files = [tmp_path / "parts" / f"p{i}.csv" for i in range(4)] if named else []
    run = tmp_path / "run"
    run_lot(recipe, run, inputs=files)
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))  # the opening and p0
    for path in (run / "measurements").glob("*.h5"):
        if path.stem not in lines[1].decode():
            path.unlink()
    before = {name: (tmp_path / "parts" / name).read_text() for name in ("p0.csv", "p1.csv", "p2.csv")}
    (tmp_path / "parts" / "p0.csv").write_text("9\n")  # measured already
    (tmp_path / "parts" / "p1.csv").write_text("11\n")
    (tmp_path / "parts" / "p2.csv").unlink()
    for _ in range(2):  # and again: the hint to resume must not be one that cannot work
        summary = run_lot(recipe, run, inputs=files, resume=True)
        assert summary.counts == {"measured": 2, "not_run": 2} and not summary.interrupted
        assert {row.part: (row.reason or {})["code"] for row in summary.not_measured} == {
            "parts/p1.csv": "input_changed", "parts/p2.csv": "input_missing"
        }  # fmt: skip
        assert any("p0.csv has other content; the records stand" in text for text in summary.problems)
        assert summary.resume_command is not None
        assert summary.exit_code == main(["status", str(run)]) == main(["verify", str(run)]) == ExitCode.INTEGRITY
    said = capsys.readouterr().out
    assert "parts/p2.csv: not run: the input parts/p2.csv is gone since the plan was made" in said
    assert "parts/p1.csv is not the file that was there when the plan was made: the part was not measured" in said
    found = {item.where: item.message for item in verify_run(run, data_root=tmp_path).findings}
    assert set(found) == {"parts/p0.csv", "parts/p1.csv", "parts/p2.csv"}
    assert found["parts/p0.csv"] == "the input is not the file that was measured"
    for name, text in before.items():
        (tmp_path / "parts" / name).write_text(text)
    assert run_lot(recipe, run, inputs=files, resume=True).exit_code == ExitCode.CONFORMING
    assert main(["status", str(run)]) == main(["verify", str(run), "--data", str(tmp_path)]) == ExitCode.CONFORMING


def test_a_part_never_measured_is_not_called_measured(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path, 2)
    run_lot(recipe, tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    (tmp_path / "parts" / "p1.csv").write_text("11\n")
    (found,) = [f for f in verify_run(tmp_path / "run", data_root=tmp_path).findings if f.where == "parts/p1.csv"]
    assert found.message == "the input is not the file that was there when the plan was made"


def test_all_inputs_gone(tmp_path: Path) -> None:
    """A pattern that matches nothing any more is no wrong use of a run that knows its inputs."""
    recipe = good_lot(tmp_path, 2)
    run_lot(recipe, tmp_path / "run")
    for path in (tmp_path / "parts").iterdir():
        path.unlink()
    summary = run_lot(recipe, tmp_path / "run", resume=True)
    assert summary.counts == {"measured": 2} and summary.exit_code == ExitCode.CONFORMING
    assert any("parts/p0.csv is gone" in text for text in summary.problems)


def test_status_of_a_copy_goes_on_with_the_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = good_lot(tmp_path, 2)
    first, copy = tmp_path / "first", tmp_path / "a copy"
    run_lot(recipe, first)
    journal = first / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]))
    shutil.copytree(first, copy)
    for folder in (first, copy):
        assert main(["status", str(folder), "--json"]) == ExitCode.INTERRUPTED
        words = shlex.split(json.loads(capsys.readouterr().out)["resume"])
        assert words[words.index("--out") + 1] == str(folder.resolve()) and words[:3] == ["abbe", "run", str(recipe)]


@pytest.mark.parametrize("damage", ["edited", "gone"])
def test_status_sees_a_record_that_is_not_that_of_the_run(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = good_lot(tmp_path, 2)
    run_lot(recipe, tmp_path / "run")
    record = min((tmp_path / "run" / "measurements").glob("*.h5"))
    record.unlink() if damage == "gone" else record.write_bytes(record.read_bytes() + b"x")
    assert main(["status", str(tmp_path / "run")]) == ExitCode.INTEGRITY
    assert f"{record.name} (parts/" in capsys.readouterr().out


def test_another_step_cannot_resume(tmp_path: Path) -> None:
    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    with pytest.raises(UsageError, match="another step"):
        run_lot(recipe, tmp_path / "run", resume=True, measure="tests.pipelines.run.fake_steps:other")


def test_a_step_that_is_not_a_function_of_its_input_is_an_alarm(tmp_path: Path) -> None:
    """The same task measured twice gives other bytes: the second commit is refused, the first stays."""
    recipe = make_lot(tmp_path, {"a": "!random\n" + GOOD})
    run_lot(recipe, tmp_path / "run")
    before = digests(tmp_path / "run")
    from pipelines.execute.protocol import Job
    from pipelines.execute.worker import perform
    from tests.pipelines.run.fake_steps import PATH

    folder = RunFolder(tmp_path / "run")
    (task,) = folder.plan().tasks
    with pytest.raises(IntegrityError, match="two different results"):
        perform(Job(str(tmp_path / "run"), str(tmp_path), folder.plan().sha256, PATH, task.id))
    assert digests(tmp_path / "run") == before


def test_two_drivers_on_one_folder_are_refused(tmp_path: Path) -> None:
    from pipelines.lock import RunLock, is_locked

    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run")
    assert not is_locked(tmp_path / "run" / ".lock")
    with RunLock(tmp_path / "run" / ".lock"):
        assert is_locked(tmp_path / "run" / ".lock")
        with pytest.raises(UsageError, match="another process") as caught:
            run_lot(recipe, tmp_path / "run", resume=True)
    assert "process" in (caught.value.got or "")
    run_lot(recipe, tmp_path / "run", resume=True)


def test_files_of_the_recipe_travel_with_the_run(tmp_path: Path) -> None:
    """The run folder stands on its own: the recipe's folder may go."""
    text = RECIPE.replace(
        "    - {name: e,",
        "    - {name: p, characteristic: iso1101.line_profile, of: s, tolerance: {max: 1 mm}, "
        "nominal_curve: {file: nominal/s.csv, unit: mm}}\n    - {name: e,",
    ).replace("feature: cylinder}", "feature: cylinder}, {name: s, feature: points}")
    recipe = make_lot(tmp_path / "lot", {"a": GOOD}, text)
    (tmp_path / "lot" / "nominal").mkdir()
    (tmp_path / "lot" / "nominal" / "s.csv").write_text("0,0\n")
    run_lot(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "lot")
    folder = RunFolder(tmp_path / "run")
    assert folder.recipe().file_path("nominal/s.csv").read_text() == "0,0\n"
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING
    (tmp_path / "run" / "files" / "nominal" / "s.csv").write_text("1,1\n")
    assert [item.where for item in verify_run(tmp_path / "run").findings] == ["files/nominal/s.csv"]


def test_a_part_with_an_undecided_tolerance_is_not_conforming(tmp_path: Path) -> None:
    both = RECIPE.replace("of: bore, nominal: 10 mm}", "of: bore, nominal: 10 mm, tolerance: {plus_minus: 10 um}}")
    assert both.count("tolerance") == 2
    files = {"bad": "!partial\n10.1\n", "good": GOOD, "open": "!partial\n10.010\n", "partial": "!partial\n" + GOOD}
    run_lot(make_lot(tmp_path, files, both), tmp_path / "run")
    assert {name: verdict for name, (_, verdict) in outcomes(tmp_path / "run").items()} == {
        "bad": "nonconforming",
        "good": "conforming",
        "open": "indeterminate",
        "partial": "none",
    }
    row = next(row for row in RunFolder(tmp_path / "run").outcomes() if "partial" in row.part)
    assert RunFolder(tmp_path / "run").read_record(row.task_id).document["verdict"] == "none"


@pytest.mark.parametrize("gone", [["journal.jsonl"], ["journal.jsonl", "plan.json"]])
def test_records_without_their_journal_are_not_taken_over(tmp_path: Path, gone: list[str]) -> None:
    recipe, run = good_lot(tmp_path), tmp_path / "run"
    run_lot(recipe, run)
    for name in gone:
        (run / name).unlink()
    (run / "catalogue.sqlite").unlink()
    before = digests(run)
    with pytest.raises(IntegrityError, match="journal is gone") as caught:
        run_lot(recipe, run, resume=True)
    assert "new run" in str(caught.value.remedy)
    assert digests(run) == before and not (run / "journal.jsonl").exists()
