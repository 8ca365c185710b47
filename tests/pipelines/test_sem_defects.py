"""Defects of an image decide: a count with a limit, or every verdict of the part is provisional."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from metrology_core.data import Image
from pipelines.cli import main
from pipelines.store import RunFolder
from wafer.contacts import ContactSettings, measure_contacts
from wafer.simulate.contacts import simulate_contacts
from wafer.simulate.shapes import holes, simulate_shapes

SHAPES = """schema: abbe/recipe/1
name: holes
inputs: {files: ["*.tif"], format: image}
instrument: {id: SEM-01, type: cd-sem, scale_u: 0.1 %, edge_offset_u: 0.3 nm}
measure:
  kind: sem_contours
  pixel: 0.8 nm
  design: {file: design.txt, origin: [0 nm, 0 nm]}
  characteristics:
    - {name: EPE, characteristic: sem.epe_mean, nominal: 0 nm, tolerance: {plus_minus: 5 nm}}
"""
CONTACTS = """schema: abbe/recipe/1
name: contacts
inputs: {files: ["*.tif"], format: image}
instrument: {id: SEM-01, type: cd-sem, scale_u: 0.1 %, edge_offset_u: 0.3 nm}
measure:
  kind: sem_contacts
  pixel: 0.9 nm
  characteristics:
    - {name: CD, characteristic: sem.contact_diameter, tolerance: {upper: 90 nm}}
"""


def run(folder: Path, recipe: str, name: str) -> tuple[int, dict[str, Any], list[str]]:
    """Exit code, measurements by name, flags of the part."""
    (folder / f"{name}.yaml").write_text(recipe)
    code = main(["run", str(folder / f"{name}.yaml"), "--out", str(folder / name), "--workers", "0"])
    kept = RunFolder(folder / name)
    (outcome,) = kept.outcomes()
    rows = kept.read_record(outcome.task_id).document["measurements"]
    return code, {row["name"]: row for row in rows}, list(outcome.flags)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("shapes")
    image = simulate_shapes(
        holes(4, 4, 44.0, 88.0), seed=14, corner_radius=10.0, missing=(5,),
        bridges=((-132.0, -132.0, -44.0, -132.0, 16.0),), breaks=((100.0, 132.0, 164.0, 132.0, 14.0),),
    )  # fmt: skip
    tifffile.imwrite(where / "a.tif", image.pixels)
    rings = ["\n".join(f"{x!r} {y!r}" for x, y in p.tolist()) for p in image.design]
    (where / "design.txt").write_text("unit nm\n" + "\n\n".join(rings) + "\n")
    return where


def test_defects_without_a_limit_leave_verdicts_provisional(shapes: Path) -> None:
    code, rows, flags = run(shapes, SHAPES, "without")
    assert code == 0 and rows["EPE"]["decision"]["verdict"] == "conforming"
    assert rows["EPE"]["decision"]["provisional"] is True
    assert {"provisional_verdict", "defects_without_limit"} <= set(rows["EPE"]["flags"])
    assert "defects_without_limit" in flags
    page = (shapes / "without" / "report" / "index.html").read_text()
    assert "defects without a limit on their number" in page


@pytest.mark.parametrize("limit", ["upper: 0", "upper: 0 1", "max: 3"])
def test_a_limit_on_shape_defects_decides(shapes: Path, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One polygon missing, one broken, two bridged: four, and neither three nor none are allowed."""
    line = f"    - {{name: defects, characteristic: sem.shape_defects, tolerance: {{{limit}}}}}\n"
    name = limit.replace(" ", "").replace(":", "")
    code, rows, flags = run(shapes, SHAPES + line, name)
    found = rows["defects"]
    assert code == 1 and found["value"] == 4.0 and found["unit"] == "1" and found["u"] == 0.0
    assert found["decision"]["verdict"] == "nonconforming" and found["decision"]["provisional"] is False
    assert rows["EPE"]["decision"]["provisional"] is False and "defects_without_limit" not in flags
    assert "1 missing, 1 broken, 2 bridged, 0 extra" in found["method"]
    assert main(["export", str(shapes / name)]) == 0
    table = (shapes / name / "exports" / "measurements.csv").read_text()
    assert "sem.shape_defects" in table
    for page in (shapes / name / "report").rglob("*.html"):  # a pure number has no unit behind it
        text = page.read_text()
        assert '<span class="unit">1</span>' not in text and "/ 1</th>" not in text
        assert re.search(r'title="4.0">4</span>', text) and not re.search(r'title="4.0">4</span> 1\b', text)


@pytest.mark.parametrize("limit", ["upper: 50 %", "max: 20 ppm", "upper: 2 nm"])
def test_a_limit_of_a_count_is_a_number_of_defects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    """50 % would be read as half a defect."""
    line = f"    - {{name: defects, characteristic: sem.contact_defects, tolerance: {{{limit}}}}}\n"
    (tmp_path / "r.yaml").write_text(CONTACTS + line)
    assert main(["recipe", "check", str(tmp_path / "r.yaml")]) == 2
    assert ("not a share" in (said := capsys.readouterr().err)) or "is a length" in said


def test_a_limit_that_allows_the_defects_is_met(shapes: Path) -> None:
    line = "    - {name: defects, characteristic: sem.shape_defects, tolerance: {upper: 4}}\n"
    code, rows, _ = run(shapes, SHAPES + line, "allowed")
    assert code == 0 and rows["defects"]["decision"]["verdict"] == "conforming"
    assert rows["EPE"]["decision"]["provisional"] is False


def test_counts_in_the_terminal_and_as_json(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["sem", "contours", str(shapes / "a.tif"), "--pixel", "0.8nm", "--design", str(shapes / "design.txt"),
             "--origin", "0nm,0nm"]  # fmt: skip
    main([*given, "--json"])
    row = json.loads(capsys.readouterr().out)["measurements"]["sem.shape_defects"]
    assert row["value"] == 4.0 and row["u"] == 0.0 and row["interval"] == [4.0, 4.0]
    assert "repeatability_only" not in row["flags"] and "bridged_shapes" in row["flags"]
    main(given)
    assert "sem.shape_defects" in capsys.readouterr().out


def test_contacts(tmp_path: Path) -> None:
    drawn = simulate_contacts(seed=21, missing=3, merged=2, pitch=(44.0, 42.0), rotation=3.0, shape=(420, 420))
    tifffile.imwrite(tmp_path / "a.tif", drawn.pixels)
    code, rows, _ = run(tmp_path, CONTACTS, "without")
    assert code == 0 and rows["CD"]["decision"]["provisional"] and "defects_without_limit" in rows["CD"]["flags"]
    line = "    - {name: defects, characteristic: sem.contact_defects, tolerance: {upper: 0}}\n"
    code, rows, _ = run(tmp_path, CONTACTS + line, "with")
    # the simulator joins two pairs of contacts: four sites
    assert code == 1 and rows["defects"]["value"] == 7.0 and rows["defects"]["decision"]["verdict"] == "nonconforming"
    assert rows["CD"]["decision"]["provisional"] is False


def test_a_pixel_size_that_the_file_contradicts_is_provisional(tmp_path: Path) -> None:
    drawn = simulate_contacts(seed=22, shape=(300, 300))
    size = 1e7 / 1.8  # pixels in a centimetre: the file says 1.8 nm, the recipe 0.9 nm
    tifffile.imwrite(tmp_path / "a.tif", drawn.pixels, resolution=(size, size), resolutionunit="CENTIMETER")
    code, rows, _ = run(tmp_path, CONTACTS, "run")
    assert code == 0 and "pixel_size_conflict" in rows["CD"]["flags"]
    assert rows["CD"]["decision"]["provisional"] is True and "provisional_verdict" in rows["CD"]["flags"]
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "the file states another pixel size" in page


def test_without_a_lattice() -> None:
    """Not asked for: none can be missing, merged ones count. Asked for and not there: nobody knows the count."""
    drawn = simulate_contacts(seed=23, merged=2, shape=(420, 420))
    image = Image(drawn.pixels, "nm", drawn.model.pixel)
    free = measure_contacts(image, ContactSettings(lattice=False))
    assert free.measurements["sem.contact_defects"].value == 2.0  # two regions of two contacts each
    y, x = np.mgrid[0:200, 0:200]
    grey = np.full(x.shape, 170.0)
    for at in ((50.0, 60.0), (140.0, 110.0)):  # two discs make no lattice
        grey -= 90.0 / (1.0 + np.exp((np.hypot(x - at[0], y - at[1]) - 14.0) / 1.2))
    grey += np.random.default_rng(24).normal(0.0, 6.0, grey.shape)
    found = measure_contacts(Image(np.clip(grey, 0, 255).astype(np.uint8), "nm", (0.9, 0.9)))
    assert found.lattice is None and "no lattice" in found.missing["sem.contact_defects"]


def test_a_sound_image_has_none() -> None:
    drawn = simulate_contacts(seed=25, shape=(420, 420))
    found = measure_contacts(Image(drawn.pixels, "nm", drawn.model.pixel))
    assert found.measurements["sem.contact_defects"].value == 0.0
