"""The measuring steps as adapters: what of the recipe reaches the evaluation, and typed errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import DataError, ReaderError, UsageError
from pipelines.plan import InputRef, Task, build_plan
from pipelines.recipe import load_recipe
from pipelines.record import StepResult
from pipelines.steps import measure_task
from pipelines.steps.common import digests, single_input

RECIPE = """\
schema: abbe/recipe/1
name: two planes
inputs:
  files: ["*.csv"]
  unit: mm
  points_are: surface
  {more}
measure:
  kind: features
  features:
    - name: low
      feature: plane
      select: {{region: {{lower: [-1 mm, -1 mm, -1 mm], upper: [11 mm, 11 mm, 1 mm]}}}}
      material: inside
      direction: [0, 0, 1]
    - {{name: all, feature: points}}
  characteristics:
    - {{name: flatness, characteristic: form.G.peak_to_valley, of: low, tolerance: {{max: 20 um}}}}
"""


def prepared(folder: Path, more: str = "frame: part") -> tuple[Path, Task]:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0.0, 10.0, (40, 2))
    low = np.column_stack([xy, rng.uniform(-1.0, 1.0, 40) * 1e-3])
    high = np.column_stack([xy, np.full(40, 5.0)])
    rows = "\n".join(",".join(repr(v) for v in row) for row in np.vstack([low, high]).tolist())
    (folder / "a.csv").write_text("x,y,z\n" + rows + "\n")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(more=more))
    return path, build_plan(load_recipe(path)).tasks[0]


def measure(folder: Path, more: str = "frame: part") -> StepResult:
    path, task = prepared(folder, more)
    return measure_task(load_recipe(path).recipe, task, folder)


def test_region_unit_and_digest_reach_the_measurement(tmp_path: Path) -> None:
    found = measure(tmp_path)
    m = found.measurements[0]
    assert m.unit == "um" and m.measured is not None
    assert 1.0 < m.measured.value < 2.0  # um: 40 points within +-1 um
    assert "40 points" in m.method  # the upper plane is outside the region
    assert m.inputs == (build_plan(load_recipe(tmp_path / "recipe.yaml")).tasks[0].inputs[0].sha256,)
    assert [f["n_points"] for f in found.features] == [40, 80]
    assert m.decision is not None and m.decision.provisional and "repeatability_only" in m.flags
    assert found.readers == {"a.csv": "text"} and found.instrument is None


def test_thermal_state_reaches_the_points(tmp_path: Path) -> None:
    plain = measure(tmp_path).measurements[0].measured
    raw = "thermal: {state: raw, temperature: 120 degC, expansion: 1e-4 1/K}"
    warm = measure(tmp_path, raw).measurements[0].measured
    assert plain is not None and warm is not None
    assert warm.value == pytest.approx(plain.value / 1.01, rel=1e-9)  # strain 1e-4 x 100


def test_a_file_that_changed_into_rubbish_is_a_reader_error(tmp_path: Path) -> None:
    path, task = prepared(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"x,y,z\n1,2,\x00\x01")
    with pytest.raises(ReaderError):
        measure_task(load_recipe(path).recipe, task, tmp_path)


def test_tasks_that_cannot_be_meant(tmp_path: Path) -> None:
    two = Task("id", "p", (InputRef("a", "0" * 64, 1), InputRef("b", "1" * 64, 1)))
    with pytest.raises(UsageError, match="2 inputs"):
        single_input(two, tmp_path)
    with pytest.raises(DataError):
        digests(Task("id", "p", (InputRef("a", None, None),)))


@pytest.mark.parametrize(("day", "provisional"), [("2025-06-30", True), ("2027-06-30", False)])
def test_an_expired_calibration_makes_every_verdict_provisional(tmp_path: Path, day: str, provisional: bool) -> None:
    more = 'frame: part\n  acquisition: {time: "2026-05-04T10:20:30+02:00"}\ninstrument: '
    more += f'{{id: CMM, mpe: {{constant: 0.1 um}}, noise: 0.6 um, valid_until: "{day}"}}'
    found = measure(tmp_path, more)
    m = found.measurements[0]
    assert m.decision is not None
    assert m.decision.provisional is provisional
    assert ("calibration_expired" in m.flags) is provisional
    assert ("calibration_expired" in found.flags) is provisional
