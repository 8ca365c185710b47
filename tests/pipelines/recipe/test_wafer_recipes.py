"""What no part of images or film maps could fulfil, and what would enter no budget, is a fault of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipe import Problem, RecipeProblems, parse_recipe, template

FILM = """schema: abbe/recipe/1
name: films
inputs: {files: ["*.csv"], unit: nm, wafer: {diameter: 300 mm, edge_exclusion: 3 mm}}
instrument: {id: F5, noise: 0.1 nm, offset_u: 0.05 nm, scale_u: 0.1 %}
measure:
  kind: film_map
  characteristics:
    - {name: mean, characteristic: film.mean}
    - {name: edge, characteristic: film.site, at: [0 mm, 140 mm]}
"""
LINES = """schema: abbe/recipe/1
name: lines
inputs: {files: ["*.tif"], acquisition: {lot: L1}, acquisition_from_name: "w(?P<wafer>[0-9]+)"}
instrument: {id: SEM, type: sem, scale_u: 0.5 %, edge_offset_u: 0.3 nm, valid_until: "2030-01-01"}
measure:
  kind: sem_lines
  pixel: {x: 0.8 nm, y: 0.8 nm, u_relative: 0.5 %}
  characteristics: [{name: pitch, characteristic: sem.pitch}]
"""
CONTOURS = LINES.replace("sem_lines", "sem_contours").replace("sem.pitch", "sem.epe_mean")
POINTS = """schema: abbe/recipe/1
name: plate
inputs: {files: ["*.csv"], unit: mm, points_are: surface}
instrument: {id: M1, type: cmm, noise: 1 um}
measure:
  kind: features
  features: [{name: top, feature: sphere}]
  characteristics: [{name: size, characteristic: iso14405.GG, of: top}]
"""


def faults(text: str, folder: Path | None = None) -> tuple[Problem, ...]:
    try:
        parse_recipe(text) if folder is None else parse_recipe(text, folder=folder)
    except RecipeProblems as found:
        return found.problems
    return ()


def test_the_base_recipes_are_sound() -> None:
    assert faults(FILM) == faults(LINES) == faults(POINTS) == ()
    assert faults(CONTOURS.replace("epe_mean", "contour_diameter_area")) == ()


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "words", "remedy"),
    [
        # a figure that enters no budget makes every U too small
        (FILM, "offset_u", "edge_offset_u", 4, "no use for 'edge_offset_u'", "is 'offset_u'"),
        (FILM, "noise: 0.1 nm", "flatness_u: 1 nm", 4, "no use for 'flatness_u'", "takes noise, offset_u, scale_u"),
        (LINES, "edge_offset_u", "offset_u", 4, "no use for 'offset_u'", "is 'edge_offset_u'"),
        (LINES, "scale_u: 0.5 %", "noise: 1 nm", 4, "no use for 'noise'", "takes scale_u, edge_offset_u"),
        (LINES, "scale_u: 0.5 %", "linearity_u: 1 nm", 4, "no use for 'linearity_u'", "'scale_u'"),
        (LINES, "scale_u: 0.5 %", "mpe: {constant: 1 um}", 4, "no use for 'mpe'", "take it out"),
        (POINTS, "noise", "offset_u", 4, "no use for 'offset_u'", "'mpe'"),
        # one calibration, two figures
        (LINES, "scale_u: 0.5 %", "scale_u: 5 %", 4, "scale_u 5 %, and u_relative 0.5 %", "the one that holds"),
        (LINES, "lot: L1", "wafer: W1", 3, "'wafer' is stated for all files", "one of them"),
        # nothing could fulfil these
        (FILM, "edge_exclusion: 3 mm", "edge_exclusion: 200 mm", 3, "200 mm leaves nothing of a wafer of 300", "ring"),
        (FILM, "edge_exclusion: 3 mm", "edge_exclusion: 150 mm", 3, "150 mm leaves nothing", "3 mm"),
        (FILM, "140 mm", "150.1 mm", 9, "off the wafer of 300 mm", "from the middle"),
        (FILM, "scale_u: 0.1 %", "scale_u: 200 %", 4, "200 %", "below 100 %"),
        (CONTOURS, "-", "-", 8, "sem.epe_mean compares with a design", "measure.design"),
    ],
)  # fmt: skip
def test_faults_have_a_line_and_a_remedy(text: str, old: str, new: str, line: int, words: str, remedy: str) -> None:
    (found,) = faults(text.replace(old, new))
    assert found.line == line and words in found.message and remedy in str(found.hint)


def test_a_share_of_all_is_none() -> None:
    alone = LINES.replace("scale_u: 0.5 %, ", "")
    (found,) = faults(alone.replace("u_relative: 0.5 %", "u_relative: 200 %"))
    assert found.line == 7 and "200 %" in found.message
    assert faults(alone) == ()
    # other spellings of one figure contradict nothing
    assert faults(LINES.replace("scale_u: 0.5 %", "scale_u: 0.005 1")) == ()


def test_an_instrument_file_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("id: F5\nnoise: 0.1 nm\nedge_offset_u: 0.1 nm\nflatness_u: 1 nm\n")
    text = FILM.replace(FILM.splitlines()[3], "instrument: {file: f.yaml}")
    (found,) = faults(text, tmp_path)
    assert found.path == "instrument.file" and "'edge_offset_u'" in found.message and "'flatness_u'" in found.message
    assert "is 'offset_u'" in str(found.hint)
    (tmp_path / "f.yaml").write_text("id: F5\nnoise: 0.1 nm\n")
    assert faults(text, tmp_path) == ()


def test_templates_measure_as_they_stand_and_limit_defects() -> None:
    contours = template("sem_contours")
    assert "sem.contour_diameter_area" in contours and faults(contours) == ()
    # with the marks of the comments off, check names what is missing: the design
    whole = contours.replace("    # - {", "    - {")
    assert {row.code for row in faults(whole)} == {"recipe/contradiction"} and len(faults(whole)) == 5
    design = "  design:\n    file: design.txt\n    unit: nm\n"
    assert all("design.txt" in row.message for row in faults(whole.replace("  # design:", design + "  # design:")))
    limited = [c for c in parse_recipe(template("sem_contacts")).recipe.measure.characteristics if "defects" in c.name]
    assert len(limited) == 1 and limited[0].tolerance is not None and limited[0].tolerance.upper is not None
    assert limited[0].tolerance.upper.to("1") == 0.0


def test_hints_name_what_the_measure_takes() -> None:
    (key,) = faults(LINES.replace("acquisition: {lot: L1}", "zzz: 1"))
    assert "wafer" in str(key.hint) and "tip_radius" not in str(key.hint) and "unit" not in str(key.hint)
    for text, word, own, other in (
        (LINES, "sem.pitch", "sem.cd_line", "film.mean"), (FILM, "film.mean", "film.range", "sem.cd_line"),
    ):  # fmt: skip
        found = next(row for row in faults(text.replace(word, "qqqqqq.zz")) if "unknown char" in row.message)
        assert own in str(found.hint) and other not in str(found.hint)
