"""`verify` finds every change in a closed run folder, wherever it is made."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from metrology_core.canonical import canonical_json
from metrology_core.errors import UsageError
from pipelines.exit_codes import ExitCode
from pipelines.journal import START
from pipelines.verify import verify_run
from tests.pipelines.run.lot import GOOD, digests, make_lot, run_lot


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lot")
    run_lot(make_lot(folder, {"a": GOOD, "b": "10.1\n", "c": "!reader\n"}), folder / "run")
    return folder


@pytest.fixture
def run(sealed: Path, tmp_path: Path) -> Path:
    shutil.copytree(sealed / "run", tmp_path / "run")
    return tmp_path / "run"


def test_an_untouched_run_is_intact(run: Path, sealed: Path) -> None:
    result = verify_run(run, data_root=sealed)
    assert (result.exit_code, result.records, result.inputs, result.complete) == (ExitCode.CONFORMING, 3, 3, True)


def test_a_flip_in_any_region_of_the_journal_is_found(run: Path) -> None:
    journal = run / "journal.jsonl"
    data = journal.read_bytes()
    positions = sorted({*range(0, len(data), 23), *(i for i, byte in enumerate(data) if byte == 10)})
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 0x04
        journal.write_bytes(damaged)
        result = verify_run(run)
        if position == len(data) - 1:  # the end of the last line: it reads as torn, so the run is not closed
            assert result.exit_code == ExitCode.INTERRUPTED
        else:
            assert result.exit_code == ExitCode.INTEGRITY, position


def test_a_journal_cut_at_a_line_is_not_complete(run: Path) -> None:
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):
        journal.write_bytes(b"".join(lines[:count]))
        assert verify_run(run).exit_code in (ExitCode.INTERRUPTED, ExitCode.INTEGRITY)
    journal.unlink()
    assert verify_run(run).exit_code == ExitCode.INTEGRITY


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flip_in_a_record_is_found_and_named(run: Path, share: float) -> None:
    record = sorted((run / "measurements").glob("*.h5"))[1]
    data = bytearray(record.read_bytes())
    data[int(share * len(data))] ^= 0x01
    record.write_bytes(data)
    result = verify_run(run)
    assert result.exit_code == ExitCode.INTEGRITY
    assert [finding.where.split(" ")[0] for finding in result.findings] == [f"measurements/{record.name}"]


@pytest.mark.parametrize("name", ["plan.json", "recipe.yaml"])
@pytest.mark.parametrize("share", [0.01, 0.4, 0.8])
def test_a_changed_plan_or_recipe_is_found(run: Path, name: str, share: float) -> None:
    data = bytearray((run / name).read_bytes())
    data[int(share * len(data))] ^= 0x01
    (run / name).write_bytes(data)
    result = verify_run(run)
    assert result.exit_code == ExitCode.INTEGRITY
    assert any(finding.where == name for finding in result.findings)


def test_missing_swapped_and_added_records_are_found(run: Path) -> None:
    first, second, third = sorted((run / "measurements").glob("*.h5"))
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    third.unlink()
    (run / "measurements" / ("0" * 64 + ".h5")).write_bytes(a)
    found = verify_run(run).findings
    assert len(found) == 4
    assert {"the record is missing", "a file that the plan does not know"} < {finding.message for finding in found}


def test_inputs_are_checked_where_asked(run: Path, sealed: Path, tmp_path: Path) -> None:
    shutil.copytree(sealed / "parts", tmp_path / "data" / "parts")
    (tmp_path / "data" / "parts" / "a.csv").write_text("other\n")
    (tmp_path / "data" / "parts" / "b.csv").unlink()
    result = verify_run(run, data_root=tmp_path / "data")
    assert {finding.where: finding.message.split()[-1] for finding in result.findings} == {
        "parts/a.csv": "measured",
        "parts/b.csv": "missing",
    }


def rechain(lines: list[dict[str, object]]) -> bytes:
    """What a forger would do: make all hashes anew."""
    head, out = START, b""
    for entry in lines:
        body = {key: value for key, value in {**entry, "prev": head}.items() if key != "hash"}
        head = hashlib.sha256(canonical_json(body)).hexdigest()
        out += canonical_json({**body, "hash": head}) + b"\n"
    return out


def test_a_verdict_rewritten_with_a_new_chain_contradicts_the_closing_entry(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_bytes().splitlines()]
    target = next(entry for entry in lines if entry.get("verdict") == "nonconforming")
    target["verdict"] = "conforming"
    (run / "journal.jsonl").write_bytes(rechain(lines))
    assert [finding.message for finding in verify_run(run).findings] == ["the closing entry names other outcomes"]


def test_an_edited_report_is_found(tmp_path: Path) -> None:
    from pipelines.driver import note_report
    from pipelines.journal import Journal

    recipe = make_lot(tmp_path, {"a": GOOD})
    run_lot(recipe, tmp_path / "run")
    index = tmp_path / "run" / "report" / "index.html"
    index.parent.mkdir()
    index.write_text("<p>nonconforming</p>")
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        note_report(journal, tmp_path / "run", index)
    assert verify_run(tmp_path / "run").exit_code == ExitCode.CONFORMING
    index.write_text("<p>conforming</p>")
    assert [finding.where for finding in verify_run(tmp_path / "run").findings] == ["report"]


def test_verification_changes_nothing(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    verify_run(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert len(digests(run)) == 3


def test_a_folder_that_is_no_run_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        verify_run(tmp_path)
