"""Contours by the command line and by recipe: simulated images and designs in, documents, pictures and pages out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipelines.cli import main
from pipelines.report import build_report
from wafer.simulate.shapes import Polygon, line_ends, simulate_shapes


def write_design(path: Path, polygons: list[Polygon]) -> None:
    rows = ["\n".join(f"{x!r} {y!r}" for x, y in p.tolist()) for p in polygons]
    path.write_text("unit nm\n" + "\n\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("contours")
    design = line_ends(4, 26.0, 60.0, 34.0)
    image = simulate_shapes(
        design, seed=3, shape=(384, 384), pullback=4.0, end_width=30.0, corner_radius=8.0, roughness=0.5,
        shift=(3.0, -5.0), missing=(7,),
    )  # fmt: skip
    tifffile.imwrite(where / "a.tif", image.pixels)
    write_design(where / "design.txt", design)
    return where


def test_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([
        "sem", "contours", str(folder / "a.tif"), "--pixel", "0.8nm", "--pixel-u", "0.1 %", "--design",
        str(folder / "design.txt"), "--origin", "0nm,0nm", "--out", str(folder / "look"), "--json",
    ])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert found["shapes"]["counts"]["missing"] == 1 and "missing_shapes" in found["flags"]
    assert found["registration"]["x"] == pytest.approx(3.0, abs=4 * found["registration"]["x_u"] + 0.05)
    assert found["measurements"]["sem.pullback"]["value"] == pytest.approx(4.0, abs=0.8)  # rough ends
    labels = {row["label"] for row in found["measurements"]["sem.epe_mean"]["budget"]}
    assert "pixel size, x and y alike" in labels
    with (folder / "look" / "contours.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["details"]["vertices"] - sum(r["lost"] for r in found["contours"])
    epe = np.array([float(r["epe_nm"]) for r in rows if r["kind"] == "edge"])
    assert epe.mean() == pytest.approx(found["measurements"]["sem.epe_mean"]["value"], abs=1e-3)
    svg = (folder / "look" / "contours.svg").read_text()
    assert svg.count("<path") > 10 and ">missing</text>" in svg and "data:image/png" in svg


def test_command_without_design(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sem", "contours", str(folder / "a.tif"), "--pixel", "0.8nm"]) == 0
    assert "no design was given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--design", "nowhere.txt"], "there is no design"),
        (["--origin", "3nm"], "--origin is a place X,Y"),
        (["--layer", "10", "--design", "{folder}/design.txt"], "belong to GDSII"),
        (["--limit", "3 kg"], "kg"),
    ],
)
def test_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str], extra: list[str], words: str) -> None:
    given = [part.format(folder=folder) for part in extra]
    assert main(["sem", "contours", str(folder / "a.tif"), "--pixel", "0.8nm", *given]) in (2, 3)
    assert words in capsys.readouterr().err


RECIPE = """schema: abbe/recipe/1
name: line ends
inputs: {files: ["*.tif"], format: image}
instrument: {id: SEM-01, type: cd-sem, scale_u: 0.1 %, edge_offset_u: 0.3 nm}
measure:
  kind: sem_contours
  pixel: 0.8 nm
  design: {file: design.txt, origin: [0 nm, 0 nm]}
  characteristics:
    - {name: EPE, characteristic: sem.epe_mean, nominal: 0 nm, tolerance: {plus_minus: 2 nm}}
    - {name: EPE 3s, characteristic: sem.epe_3s, tolerance: {max: 4 nm}}
    - {name: pull-back, characteristic: sem.pullback, tolerance: {max: 2 nm}}
    - {name: tip to tip, characteristic: sem.tip_to_tip}
"""


def test_recipe_and_page(folder: Path, tmp_path: Path) -> None:
    (folder / "recipe.yaml").write_text(RECIPE)
    run = tmp_path / "run"
    assert main(["run", str(folder / "recipe.yaml"), "--out", str(run), "--workers", "0"]) == 1  # pulled back too far
    pages = list((run / "report" / "parts").glob("*.html"))
    assert len(pages) == 1
    text = pages[0].read_text()
    for word in ("Contours", "contours.place", "Tip to tip", "missing", "#b35806"):
        assert word in text
    assert build_report(run).is_file()


def test_recipe_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for old, new, words in (
        ("sem.epe_mean", "sem.cd_line", "not a characteristic of sem_contours"),
        ("criterion", "criterion", ""),
        ("design.txt,", "../design.txt,", "stays inside its folder"),
        ("format: image", "format: text", "measures images"),
    ):
        if not words:
            continue
        path = folder / "bad.yaml"
        path.write_text(RECIPE.replace(old, new))
        assert main(["recipe", "check", str(path)]) == 2
        assert words in capsys.readouterr().err
