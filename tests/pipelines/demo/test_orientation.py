"""A recipe that says how the lines run is obeyed: the turned image gives the same widths as the upright one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.run import run_recipe
from pipelines.store import RunFolder

RECIPE = """\
schema: abbe/recipe/1
name: turned
inputs: {{files: ["*.tif"], format: image}}
measure:
  kind: sem_lines
  pixel: 0.8 nm
  orientation: {orientation}
  characteristics:
    - {{name: CD, characteristic: sem.cd_line}}
"""


def _cd(folder: Path, pixels: np.ndarray, orientation: str) -> float:
    import tifffile

    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", pixels)
    (folder / "r.yaml").write_text(RECIPE.format(orientation=orientation), encoding="utf-8")
    run_recipe(folder / "r.yaml", out=folder / "run", report=False)
    run = RunFolder(folder / "run")
    (outcome,) = run.outcomes()
    document = run.read_record(outcome.task_id).document
    assert document["reason"] is None
    return float(document["measurements"][0]["value"])


def test_horizontal_lines_are_measured_as_the_recipe_says(tmp_path: Path) -> None:
    from wafer.simulate import SemModel, simulate_lines

    pixels = simulate_lines(SemModel(), seed=5).pixels
    upright = _cd(tmp_path / "up", np.asarray(pixels), "vertical")
    turned = _cd(tmp_path / "turned", np.ascontiguousarray(np.asarray(pixels).T), "horizontal")
    assert turned == upright  # the same pixels in the same order: not one bit may differ
