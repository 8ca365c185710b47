"""One table of exit codes for all commands: each that can end with "not measured" is driven there, and what is not
there at all is wrong use everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile

from pipelines.cli import main
from pipelines.cli.entry import COMMANDS
from pipelines.exit_codes import OF_COMMANDS, of_part
from wafer.simulate import SemModel, simulate_lines

FILM = """schema: abbe/recipe/1
name: films
inputs: {files: ["%s"], unit: nm}
measure:
  kind: film_map
  characteristics: [{name: mean, characteristic: film.mean, nominal: %s nm, tolerance: {plus_minus: 1 nm}}]
"""
CUBE = """solid plate
%s
endsolid plate
"""


def _triangle(*corners: tuple[float, float, float]) -> str:
    lines = "\n".join(f"vertex {x} {y} {z}" for x, y, z in corners)
    return f"facet normal 0 0 1\nouter loop\n{lines}\nendloop\nendfacet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("codes")
    (where / "two.csv").write_text("0 0 0\n1 0 0\n")
    (where / "text.csv").write_text("hello world\nno numbers here\n")
    (where / "empty_map.csv").write_text("X,Y,w [nm]\n0,0,\n10,0,\n")
    (where / "map.csv").write_text("X,Y,w [nm]\n0,0,100\n10,0,101\n")
    (where / "wrong_map.csv").write_text("WAFER ID,W\nRESULT TYPE,T [nm]\nMEAN,9.0\nSite #,Value,X,Y\n1,5.0,0,0\n")
    (where / "plate.stl").write_text(CUBE % _triangle((0, 0, 0), (9, 0, 0), (0, 9, 0)))
    (where / "bad.yaml").write_text(FILM % ("empty_map.csv", "100"))
    (where / "good.yaml").write_text(FILM % ("map.csv", "100.5"))
    (where / "high.yaml").write_text(FILM % ("map.csv", "200"))
    tifffile.imwrite(where / "flat.tif", np.full((128, 128), 90, np.uint8))
    # lines that leave the image at both ends: contours, and no whole one
    tifffile.imwrite(where / "lines.tif", simulate_lines(SemModel(shape=(160, 256)), seed=4).pixels)
    (where / "sets").mkdir()
    for name in ("bad", "good"):
        main(["run", str(where / f"{name}.yaml"), "--out", str(where / f"run_{name}")])
    return where


# command -> what ends with 3
NOT_MEASURED: dict[str, list[list[str]]] = {
    "run": [["run", "@bad.yaml", "--out", "@again"]],
    "status": [["status", "@run_bad"]],
    "deviation": [["deviation", "@two.csv", "@plate.stl", "--unit", "mm"]],
    "fit": [["fit", "plane", "@two.csv", "--unit", "mm"], ["fit", "plane", "@text.csv", "--unit", "mm"]],
    "sem lines": [["sem", "lines", "@flat.tif", "--pixel", "1nm"], ["sem", "lines", "@text.csv", "--pixel", "1nm"]],
    "sem contacts": [["sem", "contacts", "@flat.tif", "--pixel", "1nm"]],
    "sem match": [["sem", "match", "@flat.tif", "@flat.tif", "--pixel", "1nm"]],
    "sem contours": [["sem", "contours", "@flat.tif", "--pixel", "1nm"]],
    "map": [["map", f"@{name}_map.csv", "--unit", "nm"] for name in ("empty", "wrong")],
    "lot": [["lot", "@run_bad"], ["lot", "@run_good"]],
    "budget": [["budget", "--certificate", "@text.csv"]],
    "selftest": [["selftest", "--judge", "@text.csv", "--sets", "@sets"]],
}
# command -> a file or folder that is not there
NOT_THERE = [
    ["run", "@none.yaml", "--out", "@never"], ["run", "@good.yaml", "@none.csv", "--out", "@never"],
    ["status", "@none"], ["report", "@none"], ["export", "@none"], ["verify", "@none"], ["lot", "@none"],
    ["deviation", "@none.csv", "@plate.stl", "--unit", "mm"], ["deviation", "@two.csv", "@none.stl", "--unit", "mm"],
    ["fit", "plane", "@none.csv", "--unit", "mm"], ["map", "@none.csv", "--unit", "nm"],
    ["map", "@sets", "--unit", "nm"],
    *(["sem", kind, "@none.tif", "--pixel", "1nm"] for kind in ("lines", "contacts", "contours")),
    ["sem", "contours", "@lines.tif", "--pixel", "1nm", "--design", "@none.txt"],
    ["sem", "match", "@lines.tif", "@none.tif", "--pixel", "1nm"],
    ["budget", "@none.yaml"], ["budget", "--certificate", "@none.xml"], ["recipe", "check", "@none.yaml"],
]  # fmt: skip


def call(folder: Path, words: list[str]) -> int:
    return main([str(folder / word[1:]) if word.startswith("@") else word for word in words])


def test_the_table_names_every_command() -> None:
    names = []
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(import_module(module), attribute)
        names += [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else [name]
    assert set(OF_COMMANDS) == set(names)
    assert {name for name, (codes, _) in OF_COMMANDS.items() if 3 in codes} == set(NOT_MEASURED)


@pytest.mark.parametrize("words", [words for group in NOT_MEASURED.values() for words in group], ids=" ".join)
def test_not_measured_ends_with_3(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert call(folder, words) == 3
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("words", NOT_THERE, ids=" ".join)
def test_what_is_not_there_is_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert call(folder, [*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]


def test_measured_ends_with_0(folder: Path) -> None:
    for words in (["status", "@run_good"], ["map", "@map.csv"], ["verify", "@run_bad"], ["export", "@run_bad"]):
        assert call(folder, words) == 0  # a folder that holds a part without values is whole all the same
    assert call(folder, ["report", "@run_bad"]) == 0
    assert (
        call(folder, ["sem", "contours", "@lines.tif", "--pixel", "1nm"]) == 0
    )  # contours are there, no sizes of whole ones


def test_strict_counts_a_provisional_verdict_as_indeterminate(folder: Path) -> None:
    """Without an instrument the verdict is provisional: conforming by the bare value, 0 as it reads and 6 strictly."""
    run: Callable[..., int] = lambda name, *more: call(folder, ["run", f"@{name}.yaml", "--out", f"@s_{name}", *more])  # noqa: E731
    assert call(folder, ["status", "@run_good", "--strict"]) == 6 and call(folder, ["status", "@run_good"]) == 0
    assert run("good", "--strict") == 6 and run("good", "--resume") == 0
    assert run("high", "--strict") == 1  # nonconforming stays what it is
    flat = np.random.default_rng(2).uniform(0.0, 4.0, (400, 2))
    np.savetxt(folder / "scan.csv", np.c_[flat, np.zeros(400)], fmt="%.4f")
    words = ["deviation", "@scan.csv", "@plate.stl", "--unit", "mm", "--align", "none", "--tolerance", "0.1 mm",
             "--least-coverage", "0.1"]  # fmt: skip
    assert call(folder, words) == 0 and call(folder, [*words, "--strict"]) == 6


@pytest.mark.parametrize(
    ("verdict", "flags", "code"),
    [
        ("conforming", ("provisional_verdict",), 6),
        ("nonconforming", ("provisional_verdict",), 1),
        ("none", ("provisional_verdict", "partial_result"), 3),
        ("conforming", ("repeatability_only",), 0),
    ],
)
def test_what_a_part_asks_for_strictly(verdict: str, flags: tuple[str, ...], code: int) -> None:
    assert of_part("measured_with_flags", verdict, flags, strict=True) == code


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "both"])
def test_a_reader_that_left_changes_no_code(folder: Path, tmp_path: Path, both: bool) -> None:
    """`abbe ... | head`: with the pipe closed before the first word, each command ends as it does with a reader; and a
    shell that closed the streams altogether is no fault of the parts either."""
    import os
    import subprocess
    import sys

    run = tmp_path / "run"
    code = main(["run", str(folder / "good.yaml"), "--out", str(run)])
    for number, words in enumerate(
        (["run", str(folder / "good.yaml"), "--out", str(tmp_path / "again")], ["lot", str(run)], ["status", str(run)],
         ["status", str(run), "--json"], ["--help"], ["lot", "--help"])
    ):  # fmt: skip
        with_reader = (code, 3, code, code, 0, 0)[number]
        read, write = os.pipe()
        os.close(read)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pipelines", *words], stdout=write, stderr=write if both else subprocess.PIPE
            )
        finally:
            os.close(write)
        assert done.returncode == with_reader, words
        assert both or (b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr)
    closed = subprocess.run(["sh", "-c", f'exec "$0" -m pipelines lot "{run}" >&- 2>&-', sys.executable])
    assert closed.returncode == 3


def test_another_pipe_that_breaks_is_an_internal_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """click makes exit(1) of any broken pipe, and 1 says that a part is nonconforming."""

    def broken(path: Path) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("pipelines.store.RunFolder.__init__", lambda self, path: broken(path))
    assert main(["lot", str(folder)]) == 70
    assert "broke" in capsys.readouterr().err
