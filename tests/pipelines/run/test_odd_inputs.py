"""What a pattern can match besides files: links to nothing, folders with the name of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.cli import main

RECIPE = """\
schema: abbe/recipe/1
name: planes
inputs: {files: ["parts/*.csv"], unit: mm, points_are: surface}
measure:
  kind: features
  features: [{name: top, feature: plane, select: {label: top}}]
  characteristics: [{name: flatness, characteristic: form.G.peak_to_valley, of: top, tolerance: {max: 1 mm}}]
"""


def test_a_link_to_nothing_is_one_failed_part_and_a_folder_is_told(tmp_path: Path, capsys: Any) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    xy = np.random.default_rng(1).uniform(0.0, 10.0, (40, 2))
    rows = "".join(f"{x},{y},0.0,top\n" for x, y in xy)
    (parts / "a.csv").write_text("x,y,z,label\n" + rows)
    (parts / "b.csv").symlink_to(tmp_path.parent / "nowhere" / "b.csv")  # outside the root, and not there
    (parts / "c.csv").mkdir()
    code = main(["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == 3 and answer["outcomes"] == {"measured_with_flags": 1, "unusable_data": 1}
    (failed,) = answer["not_measured"]
    assert failed["part"] == "parts/b.csv" and "leads to no file" in failed["reason"]["message"]
    assert any("'parts/c.csv'" in text and "folder" in text for text in answer["problems"])
