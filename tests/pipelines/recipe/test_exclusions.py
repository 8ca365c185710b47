"""What excludes what across the parts of a recipe is a fault of the recipe, not of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrology_core.errors import UsageError
from pipelines.plan import build_plan
from pipelines.recipe import Problem, RecipeProblems, parse_recipe

DEVIATION = """\
schema: abbe/recipe/1
name: blade
inputs:
  files: [{file: one.csv, also: [two.csv]}]
  unit: mm
  points_are: surface
measure:
  kind: deviation
  nominal: {file: blade.stl, unit: mm}
  align: {method: best_fit}
  tolerance: {plus_minus: 0.1 mm}
  characteristics:
    - {name: largest, characteristic: deviation.maximum}
"""
FEATURES = """\
schema: abbe/recipe/1
name: plate
inputs: {files: ["*.csv"], unit: mm, points_are: surface}
instrument: {id: M1, type: cmm, mpe: {constant: 1.5 um, per_length: 3 um/m}}
measure:
  kind: features
  features:
    - {name: top, feature: sphere}
  simulation: {trials: 200}
  characteristics:
    - {name: size, characteristic: iso14405.GG, of: top}
    - {name: form, characteristic: form.G.peak_to_valley, of: top}
"""
WORKPIECE = "calibrated_workpiece: {value: 60 mm, u: 0.5 um, readings: [60.001 mm, 60.002 mm, 60.0015 mm]}"


def faults(text: str, folder: Path) -> tuple[Problem, ...]:
    (folder / "blade.stl").touch()
    try:
        parse_recipe(text, folder=folder)
    except RecipeProblems as found:
        return found.problems
    return ()


def test_the_base_recipes_are_sound(tmp_path: Path) -> None:
    assert faults(DEVIATION, tmp_path) == () and faults(FEATURES, tmp_path) == ()


FILES = "[{file: one.csv, also: [two.csv]}]"


@pytest.mark.parametrize(
    "files",
    [
        "[{file: one.csv, also: [one.csv]}]",
        "[{file: one.csv, also: [./one.csv]}]",
        "[{file: one.csv, also: [two.csv, two.csv]}]",
        "[{file: one.csv, also: [two.csv]}, {file: two.csv, also: [one.csv]}]",
        "[{file: one.csv, also: [two.csv]}, two.csv]",
        "[{file: one.csv, also: [two.csv]}, {file: three.csv, also: [two.csv]}]",
    ],
)
def test_a_scan_that_stands_twice(files: str, tmp_path: Path) -> None:
    found = faults(DEVIATION.replace(FILES, files), tmp_path)
    assert found and {(row.code, row.line) for row in found} == {("recipe/contradiction", 4)}
    assert all("stands twice" in row.message for row in found)


@pytest.mark.parametrize(
    "align",
    ["method: none", "method: minimum_maximum", "method: tolerance_fit", "loss: huber", "loss: tukey", "trim: 0.1"],
)
def test_scans_are_registered_together_by_least_squares_only(align: str, tmp_path: Path) -> None:
    text = DEVIATION.replace("method: best_fit", align)
    (found,) = faults(text, tmp_path)
    assert found.code == "recipe/contradiction" and found.line == 10 and "least squares" in found.message
    assert faults(text.replace(FILES, "[one.csv, two.csv]"), tmp_path) == ()  # each for itself it may be


def test_further_scans_belong_to_deviations(tmp_path: Path) -> None:
    (found,) = faults(FEATURES.replace('["*.csv"]', FILES), tmp_path)
    assert found.code == "recipe/contradiction" and found.line == 3 and "'also'" in found.message


OPTICS = {
    "scanner": "scanner: {distance_mpe: 40 um, field: [240 mm, 240 mm, 160 mm], standoff: 500 mm, "
    "views: [{name: top, direction: [0, 0, -1]}]}",
    "SEM": "microscope: {field: [2 um, 2 um]}",
    "microscope": "microscope: {field: [2 mm, 2 mm], scale_u: {x: 0.1 %, y: 0.2 %}}",
    "profiler": "profiler: {z_range: [0 um, 100 um], z_scale_u: 0.1 %}",
    "Profilometer": "profiler: {z_range: [0 um, 100 um]}",
}


@pytest.mark.parametrize("kind", OPTICS)
def test_a_simulation_needs_the_figures_of_its_instrument(kind: str, tmp_path: Path) -> None:
    line = FEATURES.splitlines()[3]
    bare = f"instrument: {{id: M1, type: {kind}, mpe: {{constant: 1.5 um}}}}"
    found = faults(FEATURES.replace(line, bare), tmp_path)
    assert found and {row.code for row in found} == {"recipe/missing-key"}
    key = OPTICS[kind].split(":")[0]
    assert any(f"needs its '{key}'" in row.message and OPTICS[kind].split(":")[0] in (row.hint or "") for row in found)
    whole = f"instrument: {{id: M1, type: {kind}, noise: 1 um, {OPTICS[kind]}}}"
    assert faults(FEATURES.replace(line, whole), tmp_path) == ()
    balls = FEATURES.replace(line, whole).replace("points_are: surface", "points_are: ball_centre, tip_radius: 1 mm")
    (row,) = faults(balls, tmp_path)
    assert row.path == "inputs.points_are" and "not ball centres" in row.message
    quiet = whole.replace("noise: 1 um, ", "")
    (row,) = faults(FEATURES.replace(line, quiet), tmp_path)
    assert row.path == "measure.simulation" and "needs its noise" in row.message
    (tmp_path / "m.yaml").write_text(f"id: M1\ntype: {kind}\n{OPTICS[kind]}\n")
    (row,) = faults(FEATURES.replace(line, "instrument: {file: m.yaml}"), tmp_path)
    assert row.path == "instrument.file" and "needs its noise" in row.message
    (tmp_path / "m.yaml").write_text(f"id: M1\ntype: {kind}\nnoise: 1 um\n{OPTICS[kind]}\n")
    assert faults(FEATURES.replace(line, "instrument: {file: m.yaml}"), tmp_path) == ()
    (row,) = faults(
        FEATURES.replace(line, whole.replace(f"type: {kind}", "type: cmm, mpe: {constant: 1 um}")), tmp_path
    )
    assert row.code == "recipe/contradiction" and f"'{key}' belongs to" in row.message


SCANNER = OPTICS["scanner"]
WRONG = {
    "no view": (SCANNER.replace("[{name: top, direction: [0, 0, -1]}]", "[]"), "views"),
    "no distance": (SCANNER.replace("distance_mpe: 40 um, ", ""), "distance_mpe"),
    "nowhere": (SCANNER.replace("direction: [0, 0, -1]", "target: [0 mm, 0 mm, 0 mm]"), "views"),
    "too much": (SCANNER.replace("direction: [0, 0, -1]", "direction: [0, 0, -1], target: [0 mm, 0 mm, 0 mm], "
                                 "position: [0 mm, 0 mm, 1 mm]"), "direction"),
    "twice": (SCANNER.replace("}]}", "}, {name: top, direction: [0, 1, -1]}]}"), "views"),
    "inside": (SCANNER.replace("standoff: 500 mm", "standoff: 50 mm"), "standoff"),
    "grazing": (SCANNER.replace("standoff", "steepest: 95 deg, standoff"), "steepest"),
    "no length": (SCANNER.replace("240 mm, 160", "240 deg, 160"), "field"),
    "upside down": (OPTICS["profiler"].replace("[0 um, 100 um]", "[100 um, 0 um]"), "z_range"),
    "one axis": (OPTICS["microscope"].replace(", y: 0.2 %", ""), "scale_u"),
    "no field": (OPTICS["profiler"].replace("z_scale_u", "origin: [0 mm, 0 mm], z_scale_u"), "origin"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_figures_of_an_optical_instrument_are_found_at_their_place(name: str, tmp_path: Path) -> None:
    text, key = WRONG[name]
    kind = text.split(":")[0]
    whole = f"instrument: {{id: M1, type: {kind}, noise: 1 um, {text}}}"
    found = faults(FEATURES.replace(FEATURES.splitlines()[3], whole), tmp_path)
    assert found and all(row.line == 4 for row in found) and any(key in row.path + row.message for row in found), found


def test_a_simulation_of_a_machine_that_cannot_be(tmp_path: Path) -> None:
    """Every part of the lot would fail by these figures, so the recipe does."""

    def with_figures(mpe: str, more: str = "") -> tuple[Problem, ...]:
        line = FEATURES.splitlines()[3]
        return faults(FEATURES.replace(line, f"instrument: {{id: M1, type: cmm, mpe: {{{mpe}}}{more}}}"), tmp_path)

    # tables of the range: 25 normal values span 3.9 standard deviations on average, up to 5.2 in 95 %
    (row,) = with_figures("constant: 1.5 um, per_length: 3 um/m, probing: 1.5 um", ", noise: 0.4 um")
    assert (row.code, row.path, row.line) == ("recipe/contradiction", "instrument.mpe", 4)
    assert "noise of a point exceeds the probing MPE" in row.message and row.hint
    assert with_figures("constant: 1.5 um, per_length: 3 um/m, probing: 2.5 um", ", noise: 0.4 um") == ()
    # two points of a length with noise 1 um each scatter by 1.4 um, more than 1.5 um / 2
    volume = ", volume: {lower: [0 mm, 0 mm, 0 mm], upper: [100 mm, 100 mm, 100 mm]}"
    (row,) = with_figures("constant: 1.5 um, per_length: 3 um/m", f", noise: 1 um{volume}")
    assert row.path == "instrument.mpe" and "leave no room in the MPE" in row.message
    (tmp_path / "m.yaml").write_text("id: M1\nmpe: {constant: 1.5 um, probing: 1.5 um}\nnoise: 0.4 um\n")
    (row,) = faults(FEATURES.replace(FEATURES.splitlines()[3], "instrument: {file: m.yaml}"), tmp_path)
    assert row.path == "instrument.file" and "probing MPE" in row.message
    # without a simulation the figures are not used together
    text = FEATURES.replace("  simulation: {trials: 200}\n", "").replace("per_length: 3 um/m", "probing: 0.1 um")
    assert faults(text, tmp_path) == ()


def test_a_simulation_that_no_characteristic_would_use(tmp_path: Path) -> None:
    one = FEATURES.replace("iso14405.GG, of: top", f"iso14405.GG, of: top, {WORKPIECE}")
    assert faults(one, tmp_path) == ()  # the other one has none
    both = "\n".join(line for line in one.splitlines() if "name: form" not in line)
    (found,) = faults(both, tmp_path)
    assert found.code == "recipe/contradiction" and found.path == "measure.simulation"


def test_further_scans_alone_are_no_part_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "blade.stl").touch()
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("x,y,z\n0,0,0\n")
    with pytest.raises(UsageError, match="no part is left"):
        build_plan(parse_recipe(DEVIATION, folder=tmp_path), inputs=[tmp_path / "two.csv"])
    loaded = parse_recipe(DEVIATION.replace("two.csv", "gone.csv"), folder=tmp_path)
    (task, other) = build_plan(loaded, inputs=[tmp_path / "one.csv", tmp_path / "two.csv"]).tasks
    assert other.problem is None and task.problem is not None
    assert "'gone.csv'" in task.problem["message"] and task.problem["where"] == "gone.csv"
