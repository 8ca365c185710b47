"""Keys of image recipes that say what of a file is measured: columns, and frames of one field. The command for one
image takes the same words and goes another way to the same measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipelines.cli import main
from pipelines.store import RunFolder
from wafer.simulate import SemModel, simulate_lines
from wafer.simulate.shapes import holes, simulate_shapes

HEAD = """schema: abbe/recipe/1
name: keys
seed: 0
inputs: {files: ["*.tif"], format: image}
measure:
"""
LINES = """  kind: sem_lines
  pixel: {x: 0.8 nm, y: 0.8 nm, u_relative: 0.5 %}
  KEYS
  characteristics:
    - {name: CD, characteristic: sem.cd_line}
    - {name: pitch, characteristic: sem.pitch}
    - {name: LWR, characteristic: CROSS}
"""


def recorded(folder: Path, recipe: str, expected: int = 0) -> dict[str, Any]:
    """Characteristic -> measurement of the one part of a run."""
    (folder / "r.yaml").write_text(HEAD + recipe)
    assert main(["run", str(folder / "r.yaml"), "--out", str(folder / "run")]) == expected
    kept = RunFolder(folder / "run")
    (outcome,) = kept.outcomes()
    document = kept.read_record(outcome.task_id).document
    return {"reason": document["reason"]} | {m["characteristic"]: m for m in document["measurements"]}


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    main(["sem", *words, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_columns_of_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = simulate_lines(SemModel(shape=(256, 512)), seed=8)
    pixels = np.array(image.pixels)
    pixels[:, 360:] = pixels[:, 360:].mean()  # beside the lines there is something else
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    found = recorded(tmp_path, LINES.replace("KEYS", "columns: [0, 350]").replace("CROSS", "sem.lwr_biased_3s"))
    other = asked(
        capsys, "lines", str(tmp_path / "a.tif"), "--pixel", "0.8nm", "--pixel-u", "0.5 %", "--columns", "0:350"
    )
    for name in ("sem.cd_line", "sem.pitch", "sem.lwr_biased_3s"):
        assert found[name]["value"] == other["measurements"][name]["value"], name
    # 4 standard uncertainties: one draw
    assert found["sem.pitch"]["value"] == pytest.approx(image.truth["pitch"], abs=4.0 * found["sem.pitch"]["u"])


def test_columns_of_contours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = simulate_shapes(holes(4, 4, 44.0, 88.0), seed=14, corner_radius=10.0)
    tifffile.imwrite(tmp_path / "a.tif", image.pixels)
    half = image.pixels.shape[1] // 2
    found = recorded(
        tmp_path,
        f"  kind: sem_contours\n  pixel: {{x: 0.8 nm, y: 0.8 nm, u_relative: 0.5 %}}\n  columns: [0, {half}]\n"
        "  characteristics:\n    - {name: size, characteristic: sem.contour_diameter_area}\n",
    )
    words = ("contours", str(tmp_path / "a.tif"), "--pixel", "0.8nm", "--pixel-u", "0.5 %")
    other = asked(capsys, *words, "--columns", f"0:{half}")
    whole = asked(capsys, *words)
    name = "sem.contour_diameter_area"
    assert found[name]["value"] == other["measurements"][name]["value"] != whole["measurements"][name]["value"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of one field: the clean image of the simulator, each with noise of its own."""
    where = tmp_path_factory.mktemp("frames")
    quiet = SemModel(shape=(384, 512), sigma=1.2, read_noise=0.0, electrons_per_grey=float("inf"), bits=16)
    clean = simulate_lines(quiet, seed=21).pixels.astype(np.float64)
    rng = np.random.default_rng(21)
    frames = np.stack([np.clip(clean + rng.normal(0.0, 12.0, clean.shape), 0, 65535) for _ in range(4)])
    tifffile.imwrite(where / "stack.tif", np.rint(frames).astype(np.uint16), photometric="minisblack")
    return where


def test_frames_of_one_field(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recorded(stack, LINES.replace("KEYS", "frames: true").replace("CROSS", "sem.lwr_cross_3s"))
    other = asked(capsys, "lines", str(stack / "stack.tif"), "--pixel", "0.8nm", "--pixel-u", "0.5 %", "--frames")
    for name in ("sem.cd_line", "sem.pitch", "sem.lwr_cross_3s"):
        assert found[name]["value"] == other["measurements"][name]["value"], name
    assert "product" in found["sem.lwr_cross_3s"]["method"]
    page = next((stack / "run" / "report" / "parts").glob("*.html")).read_text()
    assert "psd.cross" in page  # the spectrum shows the products of frames


def test_a_file_of_one_frame_is_unusable(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", simulate_lines(SemModel(shape=(128, 256)), seed=3).pixels)
    found = recorded(tmp_path, LINES.replace("KEYS", "frames: true").replace("CROSS", "sem.lwr_biased_3s"), 3)
    assert "holds one frame" in found["reason"]["message"] and "leave 'frames: true' out" in found["reason"]["remedy"]


@pytest.mark.parametrize(
    ("keys", "cross", "words"),
    [
        ("rows: [0, 9]", "sem.lwr_cross_3s", "needs repeated frames: write 'frames: true'"),
        ("frames: true\n  smoothing: gaussian 2 px", "sem.cd_space", "repeated frames are not smoothed"),
        ("columns: [9, 9]", "sem.cd_space", "0 <= first < end"),
        ("columns: [9]", "sem.cd_space", "at least 2 entries"),
        ("frames: 2", "sem.cd_space", "true or false"),
    ],
)
def test_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, cross: str, words: str) -> None:
    (tmp_path / "r.yaml").write_text(HEAD + LINES.replace("KEYS", keys).replace("CROSS", cross))
    assert main(["recipe", "check", str(tmp_path / "r.yaml")]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ({"characteristic": "sem.contact_defects", "tolerance": {"upper": 0}}, True),
        ({"characteristic": "sem.contact_defects", "tolerance": {"max": "3 1"}, "nominal": 0}, True),
        ({"characteristic": "sem.contact_diameter", "tolerance": {"upper": "20 nm"}}, True),
        ({"characteristic": "sem.contact_diameter", "tolerance": {"upper": 20}}, False),
        ({"characteristic": "sem.contact_diameter", "nominal": 20}, False),
        ({"characteristic": "sem.contact_defects", "tolerance": {"uper": 0}}, False),
    ],
)
def test_the_schema_for_editors_takes_what_a_recipe_takes(tmp_path: Path, row: dict[str, Any], fits: bool) -> None:
    """Limits of counts are plain numbers, and those of nothing else: as `abbe recipe check` says."""
    from pipelines.recipe import RecipeProblems, parse_recipe, recipe_schema

    jsonschema = pytest.importorskip("jsonschema")
    document = {
        "schema": "abbe/recipe/1", "name": "counts", "inputs": {"files": ["*.tif"], "format": "image"},
        "measure": {"kind": "sem_contacts", "pixel": "0.9 nm", "characteristics": [{"name": "n", **row}]},
    }  # fmt: skip
    jsonschema.Draft202012Validator.check_schema(recipe_schema())
    assert jsonschema.Draft202012Validator(recipe_schema()).is_valid(document) is fits
    try:
        parse_recipe(json.dumps(document))
        accepted = True
    except RecipeProblems:
        accepted = False
    assert accepted is fits
