"""The command line: exit codes, one JSON document and nothing else, errors in words, help without loading anything."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.cli.entry import COMMANDS, cli
from pipelines.cli.fit import FEATURES, FORMATS
from pipelines.recipe.templates import TEMPLATES
from tests.pipelines.run.lot import GOOD, RECIPE, REPOSITORY, make_lot, run_lot


@pytest.fixture(autouse=True)
def fake_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line has no option for another step: the default is exchanged."""
    import pipelines.run
    from tests.pipelines.run.fake_steps import PATH

    monkeypatch.setattr(
        pipelines.run.run_recipe,
        "__kwdefaults__",
        {**pipelines.run.run_recipe.__kwdefaults__, "measure": PATH, "report": False},
    )


def call(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capfd.readouterr()
    return code, out, err


def answer(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    """Exit code and the one JSON document; fails where stdout holds anything else."""
    code, out, _ = call(capfd, *words, "--json")
    return code, json.loads(out)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_listed_command_exists_and_has_help(capfd: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = call(capfd, name, "--help")
    assert code == 0 and f"abbe {name}" in out
    _, overview, _ = call(capfd, "--help")
    assert COMMANDS[name][2].split()[0] in overview


def test_every_command_takes_json() -> None:
    import click

    def leaves(command: click.Command) -> list[click.Command]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            return [
                leaf
                for n in command.list_commands(context)
                for leaf in leaves(command.get_command(context, n) or command)
            ]
        return [command]

    for leaf in leaves(cli):
        assert any("--json" in parameter.opts for parameter in leaf.params), leaf.name


def test_the_features_of_fit_are_those_of_the_fits() -> None:
    from metrology_core.fitting.table import available

    assert set(FEATURES) <= set(available())


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    from metrology_core import __version__

    assert call(capfd, "--version")[:2] == (0, f"abbe {__version__}\n")


WRONG = [
    (["rnu"], 2, "UsageError", "Did you mean 'run'?"),
    (["run"], 2, "UsageError", "Missing argument"),
    (["run", "r.yaml"], 2, "UsageError", "--out"),
    (["run", "r.yaml", "--out", "x", "--wrokers", "2"], 2, "UsageError", "--workers"),
    (["run", "r.yaml", "--out", "x", "--workers", "-1"], 2, "UsageError", "-1"),
    (["run", "gone.yaml", "--out", "x"], 2, "recipe/not-readable", "No such file"),
    (["recipe", "check", "gone.yaml"], 2, "recipe/not-readable", "No such file"),
    (["recipe", "init", "/nowhere/at/all.yaml"], 2, "UsageError", "cannot write"),
    (["status", "gone"], 2, "UsageError", "not a run folder"),
    (["verify", "gone"], 2, "UsageError", "not a run folder"),
    (["report", "gone"], 2, "UsageError", "not a run folder"),
    (["export", "gone"], 2, "UsageError", "not a run folder"),
    (["export", "gone", "--as", "qif"], 2, "ParameterError", "csv, json"),
    (["fit", "plan", "x.csv"], 2, "UsageError", "plane"),
    (["fit", "plane", "gone.csv", "--unit", "mm"], 2, "UsageError", "there is no file"),
    (["fit", "plane", "gone.csv", "--unit", "mn"], 2, "UnitError", "unknown unit"),
    (["sem", "lines", "x.tif", "--pixel", "0.8"], 2, "UnitError", "unit"),
    (["sem", "lines", "x.tif", "--pixel", "1nm", "--rows", "9:1"], 2, "ParameterError", "FIRST:END"),
    (["sem", "lines", "x.tif", "--pixel", "1nm", "--smoothing", "median 3"], 2, "ParameterError", "gaussian"),
]


@pytest.mark.parametrize(("words", "code", "name", "text"), WRONG)
def test_wrong_use_is_told_in_words_and_in_json(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    name: str,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, document = answer(capfd, *words)
    assert found == code
    assert set(document) == {"error"}
    error = document["error"]
    assert error["code"] == name
    assert {"code", "message", "where", "remedy"} <= set(error)
    assert text in json.dumps(error)
    found, out, err = call(capfd, *words)
    assert (found, out) == (code, "")
    assert "error" in err and "Traceback" not in err


def test_an_internal_error_is_70_with_its_traceback(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pipelines.verify

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(pipelines.verify, "verify_run", broken)
    code, out, err = call(capfd, "verify", tmp_path, "--json")
    assert code == 70
    assert json.loads(out)["error"]["code"] == "internal"
    assert "Traceback" in err


# --- recipe


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_started_recipe_is_sound(capfd: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.yaml"
    assert call(capfd, "recipe", "init", path, "--kind", kind)[0] == 0
    code, document = answer(capfd, "recipe", "check", path)
    assert (code, document["valid"], document["kind"]) == (0, True, kind)
    code, document = answer(capfd, "recipe", "init", path)
    assert code == 2 and "exists" in document["error"]["message"]


def test_faults_are_drawn_for_people_and_listed_for_programs(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.replace("iso14405.GG", "diameter").replace("seed: 5", "sed: 5"))
    code, out, err = call(capfd, "recipe", "check", path)
    assert (code, out) == (2, "")
    assert f"{path}:3:1" in err and "did you mean 'seed'?" in err and "^^^" in err
    code, document = answer(capfd, "recipe", "check", path)
    problems = document["error"]["problems"]
    assert [(item["code"], item["line"]) for item in problems] == [
        ("recipe/unknown-key", 3),
        ("recipe/ambiguous-characteristic", 9),
        ("recipe/ambiguous-characteristic", 10),
    ]


def test_the_schema_is_json_either_way(capfd: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capfd, "recipe", "schema")
    assert answer(capfd, "recipe", "schema") == (0, json.loads(out))


# --- run and what can be asked of it


def test_a_run_from_start_to_export(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe, run = make_lot(tmp_path, {"a": GOOD, "b": "10.1\n", "c": "!reader\n"}), tmp_path / "run"
    code, out, err = call(capfd, "run", recipe, "--out", run)
    assert code == 3
    assert "parts/c.csv: unusable data: not a cloud" in out and "nonconforming" in out
    assert "3/3" in err
    code, document = answer(capfd, "status", run)
    assert (code, document["complete"], document["outcomes"]) == (3, True, {"measured": 2, "unusable_data": 1})
    code, document = answer(capfd, "verify", run, "--data", tmp_path)
    assert (code, document["intact"], document["inputs"]) == (0, True, 3)
    code, document = answer(capfd, "export", run, "--as", "csv,json")
    assert code == 0
    lines = Path(document["files"]["csv"]).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * 2 + 1
    parts = json.loads(Path(document["files"]["json"]).read_text(encoding="utf-8"))["parts"]
    assert [part["outcome"] for part in parts] == ["measured", "measured", "unusable_data"]
    code, document = answer(capfd, "run", recipe, "--out", run)
    assert code == 2 and "--resume" in document["error"]["remedy"]
    code, document = answer(capfd, "run", recipe, "--out", run, "--resume")
    assert (code, document["measured_now"], document["complete"]) == (3, 0, True)


def test_inputs_on_the_command_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD, "b": "10.1\n"})
    code, document = answer(capfd, "run", recipe, tmp_path / "parts" / "a.csv", "--out", tmp_path / "run")
    assert (code, document["tasks"]) == (0, 1)


def test_a_damaged_run_is_5(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    run_lot(recipe, tmp_path / "run")
    next((tmp_path / "run" / "measurements").glob("*.h5")).write_bytes(b"")
    code, document = answer(capfd, "verify", tmp_path / "run")
    assert (code, document["intact"]) == (5, False)
    code, out, _ = call(capfd, "verify", tmp_path / "run")
    assert code == 5 and "NOT intact" in out
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"conforming", b"conformInG"))
    assert answer(capfd, "run", recipe, "--out", tmp_path / "run", "--resume")[0] == 5
    assert answer(capfd, "status", tmp_path / "run")[0] == 5


def test_an_interrupted_run_tells_how_to_go_on(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe, run = make_lot(tmp_path, {f"p{i}": "!slow\n" + GOOD for i in range(4)}), tmp_path / "run"
    import os
    import signal

    timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    code, document = answer(capfd, "run", recipe, "--out", run)
    timer.join()
    assert (code, document["interrupted"]) == (4, True)
    words = document["resume"].split()
    assert words[:2] == ["abbe", "run"] and words[-1] == "--resume"
    code, status = answer(capfd, "status", run)
    assert code == 4 and status["resume"].endswith("--resume") and not status["complete"]
    code, document = answer(capfd, *words[1:])
    assert (code, document["complete"]) == (0, True)


def test_formulas_do_not_reach_a_spreadsheet(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = RECIPE.replace('"parts/*.csv"', "{file: parts/a.csv, part: '=1+1'}")
    run_lot(make_lot(tmp_path, {"a": GOOD}, text), tmp_path / "run")
    call(capfd, "export", tmp_path / "run")
    table = (tmp_path / "run" / "exports" / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert table[1].startswith("'=1+1,")


# --- whole processes


def abbe(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=120)


def test_native_output_does_not_soil_the_answer(tmp_path: Path) -> None:
    """What a library writes to file descriptor 1 goes to stderr; the document alone is on stdout."""
    code = (
        "import sys, os, pipelines.verify as v\n"
        "from pipelines.cli import main\n"
        "def noisy(*a, **k):\n    print('python noise'); os.write(1, b'native noise\\n'); raise SystemError('x')\n"
        "v.verify_run = noisy\n"
        "sys.exit(main(['verify', 'x', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 70
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert "python noise" in done.stderr and "native noise" in done.stderr


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    done = abbe("recipe", "check", tmp_path / "gone.yaml", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "recipe/not-readable"
    assert abbe("--help").stdout.startswith("Usage: abbe ")


def test_checking_a_recipe_loads_nothing_heavy(tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {})
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        f"assert main(['recipe', 'check', {str(recipe)!r}]) == 0\n"
        "heavy = {'numba', 'scipy', 'h5py', 'dask', 'distributed', 'cv2', 'open3d', 'skimage'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr


# --- folders, evidence, and what a first user meets


def test_a_folder_that_cannot_be_written_is_wrong_use(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = make_lot(tmp_path, {"a": GOOD})
    (tmp_path / "file").write_text("x")
    run_lot(recipe, tmp_path / "run")
    (tmp_path / "run" / "exports").write_text("in the way")
    for words in (
        ("run", recipe, "--out", tmp_path / "file" / "run"),
        ("run", recipe, "--out", "/dev/null/run"),
        ("export", tmp_path / "run"),
        ("demo", "--out", tmp_path / "file"),
        ("demo", "--out", tmp_path / "file" / "demo"),
    ):
        code, document = answer(capfd, *words)
        assert (code, document["error"]["code"]) == (2, "UsageError"), words
        assert "cannot write" in document["error"]["what"] and "--" in document["error"]["remedy"]
        code, _, err = call(capfd, *words)
        assert code == 2 and "Traceback" not in err


def test_a_changed_record_is_not_exported_and_named_by_the_report(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from pipelines.record import read_record, write_record

    run = tmp_path / "run"
    run_lot(make_lot(tmp_path, {"a": GOOD, "b": "10.1\n"}), run)
    path = sorted((run / "measurements").glob("*.h5"))[0]
    record = read_record(path)
    record.document["measurements"][0]["value"] = 10.0123  # a sound file, but not the one that was committed
    path.unlink()
    write_record(path, record)
    code, document = answer(capfd, "export", run)
    assert (code, document["error"]["code"]) == (5, "IntegrityError")
    assert path.name in document["error"]["where"]
    assert not (run / "exports").exists()
    code, document = answer(capfd, "report", run)
    assert code == 5 and Path(document["report"]).is_file()
    assert [path.name in row["where"] for row in document["findings"]] == [True]
    path.unlink()
    assert answer(capfd, "export", run)[0] == 5
    (run / "journal.jsonl").unlink()
    assert answer(capfd, "export", run)[0] == 5
    assert answer(capfd, "report", run)[0] == 5
    assert not (run / "journal.jsonl").exists()


def test_flags_of_the_part_are_in_the_table(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import csv

    run_lot(make_lot(tmp_path, {"a": "!info\n" + GOOD}), tmp_path / "run")
    assert call(capfd, "export", tmp_path / "run")[0] == 0
    with open(tmp_path / "run" / "exports" / "measurements.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["flags"], row["part_flags"]) for row in rows] == [("", "columns_ignored")] * 2


def test_the_formats_of_fit_are_those_of_the_readers(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from pointcloud.readers.registry import FORMATS as READERS

    assert ("auto", *READERS) == FORMATS
    cloud = tmp_path / "points.cloud"
    cloud.write_text("0 0 0\n1 0 0\n0 1 0\n1 1 0.001\n2 1 0\n")
    code, document = answer(capfd, "fit", "plane", cloud, "--unit", "mm")
    assert code == 3 and document["error"]["remedy"].startswith("name the format with --format, for example --format ")
    code, document = answer(capfd, "fit", "plane", cloud, "--unit", "mm", "--format", "text")
    assert (code, document["n_points"]) == (0, 5)


def test_compiling_is_said_while_it_happens_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib
    import time

    import metrology_core._jit
    from pipelines.execute.compiling import TEXT, compile_notice

    names: list[str] = []
    monkeypatch.setattr(metrology_core._jit, "compile_report", lambda: contextlib.nullcontext(names))
    said: list[str] = []
    with compile_notice(said.append, after=0.01):
        time.sleep(0.2)  # nothing is compiled: silence
    assert said == []
    with compile_notice(said.append, after=0.01):
        names.append("kernel")
        deadline = time.monotonic() + 20.0  # far beyond the 0.1 s between two looks
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert said == [TEXT]
    assert said == [TEXT]
