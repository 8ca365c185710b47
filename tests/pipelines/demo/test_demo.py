"""The demo, small: it ends well, tells the truth, finds a lie, and never removes what is not its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metrology_core.errors import UsageError
from pipelines.demo import run_demo
from pipelines.demo.compare import compare
from pipelines.demo.lots import Expected, blade_lot, wafer_lot
from pipelines.demo.run import MARKER, prepare
from pipelines.recipe import load_recipe
from pipelines.store import RunFolder
from pointcloud.simulate.drawing import REQUIREMENTS, recipe_text

PARTS, IMAGES = 5, 3  # part 5 has a bore that is too large


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run_demo(out, 0, True, parts=PARTS, images=IMAGES) == 0
    return out


def test_the_demo_matches_the_truth(demo: Path) -> None:
    document = json.loads((demo / MARKER).read_text())
    assert document["matches_truth"] and document["complete"]
    blades, wafers = document["lots"]["blades"], document["lots"]["wafers"]
    assert blades["verdicts"]["nonconforming"] == 1 and blades["verdicts"]["conforming"] == PARTS - 1
    assert blades["comparison"]["values"] == PARTS * len(REQUIREMENTS)
    # U holds bounds of the instrument, so nearly all errors are below it
    assert blades["comparison"]["share_within_U"] >= 0.95
    assert wafers["comparison"]["matching"] == IMAGES


def test_the_pages_exist_and_are_linked(demo: Path) -> None:
    html = (demo / "report" / "index.html").read_text(encoding="utf-8")
    for name in ("blades", "wafers"):
        link = f"../{name}/run/report/index.html"
        assert f'href="{link}"' in html
        assert (demo / "report" / link).resolve().is_file()


def test_the_record_holds_what_a_reviewer_needs(demo: Path) -> None:
    folder = RunFolder(demo / "blades" / "run")
    record = folder.read_record(folder.outcomes()[0].task_id)
    document = record.document
    assert [m["name"] for m in document["measurements"]] == [row.name for row in REQUIREMENTS]
    assert all(m["budget"] and "unfiltered" in m["method"] for m in document["measurements"])
    assert document["datum_system"]["name"] == "ABC" and document["instrument"]["id"] == "CMM-07"
    view = document["views"][0]
    assert view["kind"] == "deviation_map"
    assert record.arrays[view["xyz"]].shape == (len(record.arrays[view["value"]]), 3)
    assert document["acquisition"]["serial"] == "001"
    assert len(document["features"]) == 9


def test_a_lie_is_found(demo: Path) -> None:
    """The comparison must be able to fail: another expectation makes a difference."""
    lot = blade_lot(demo.parent / "again", 2)
    run = demo / "blades" / "run"
    found = compare(lot, run)
    assert [text for text in found.mismatches if "not part of the lot" in text]  # the run has five parts, the lot two
    lying = replace(lot, expected={**lot.expected, "part-001": Expected("measured", "nonconforming")})
    assert [text for text in compare(lying, run).mismatches if text.startswith("parts/part-001.csv: measured, conf")]
    more = replace(lot, expected={**lot.expected, "part-099": Expected("measured", "conforming")})
    assert "part-099: not measured at all" in compare(more, run).mismatches


def test_errors_against_the_truth_are_in_u(demo: Path) -> None:
    lot = blade_lot(demo.parent / "values", PARTS)
    honest = compare(lot, demo / "blades" / "run")
    assert honest.within >= 0.95 * honest.values
    shifted = {
        key: replace(row, values={name: (v + 1.0, unit) for name, (v, unit) in row.values.items()})
        for key, row in lot.expected.items()
    }
    assert compare(replace(lot, expected=shifted), demo / "blades" / "run").within == 0


def test_a_second_demo_replaces_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(out)
    (out / "blades").mkdir()
    (out / "blades" / "old.txt").write_text("old")
    prepare(out)
    assert not (out / "blades").exists() and (out / MARKER).is_file()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no demo"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    other = tmp_path / "other"
    (other / "report").mkdir(parents=True)
    with pytest.raises(UsageError):
        prepare(other)  # a name that a demo uses, but no marker of one
    assert (other / "report").is_dir()


def test_the_recipes_are_valid(tmp_path: Path) -> None:
    lots = blade_lot(tmp_path / "b", 1), wafer_lot(tmp_path / "w", 1)
    for lot in lots:
        assert load_recipe(lot.recipe).recipe.measure.characteristics
    assert (tmp_path / "b" / "recipe.yaml").read_text() == recipe_text(seed=20261123)


def test_truth_of_the_whole_lots(tmp_path: Path) -> None:
    wafers = wafer_lot(tmp_path / "w", 48)
    outcomes = [row.outcome for row in wafers.expected.values()]
    verdicts = [row.verdict for row in wafers.expected.values()]
    assert outcomes.count("unusable_data") == 1 and verdicts.count("nonconforming") == 1 and len(outcomes) == 48


def test_an_interrupt_ends_the_whole_demo(tmp_path: Path) -> None:
    """One Ctrl-C while the first lot is measured: the second is not even simulated."""
    code = (
        "import os, signal, sys\n"
        "import pipelines.execute.serial as serial\n"
        "perform = serial.perform\n"
        "def once(job):\n    os.kill(os.getpid(), signal.SIGINT)\n    return perform(job)\n"
        "serial.perform = once\n"
        "from pipelines.cli import main\n"
        f"sys.exit(main(['demo', '--out', {str(tmp_path / 'out')!r}, '--workers', '0']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 4, done.stderr
    assert (tmp_path / "out" / "blades").is_dir() and not (tmp_path / "out" / "wafers").exists()
    assert done.stdout == "" and "Traceback" not in done.stderr
