"""Every fault of a recipe is found, at its line and column, with a stable code, and all faults are told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipe import Problem, RecipeProblems, instrument, load_recipe, parse_recipe
from pipelines.recipe.problems import CODES
from pipelines.recipe.source import MAX_BYTES

BASE = """\
schema: abbe/recipe/1
name: ring
seed: 7
inputs:
  files: ["parts/*.csv"]
  format: text
  unit: mm
  points_are: ball_centre
  tip_radius: 1.5 mm
  tip_radius_u: 0.3 um
  acquisition: {lot: L17, time: "2026-05-04T10:20:30+02:00"}
  acquisition_from_name: "part-(?P<serial>[0-9]+)"
  thermal: {state: raw, temperature: 21.2 degC, expansion: 11.5e-6 1/K}
instrument:
  id: CMM-07
  mpe: {constant: 1.5 um, per_length: 3 um/m}
  noise: 0.4 um
  temperature: {value: 20.3 degC, u: 0.2 K}
  valid_until: 2027-06-30
decision: {rule: iso14253-1, proving: conformity, probability: 0.95}
measure:
  kind: features
  features:
    - {name: flange, feature: plane, select: {label: flange}, direction: [0, 0, 1]}
    - {name: bore, feature: cylinder, select: {label: bore}, material: outside}
    - {name: tip, feature: points, select: {label: tip}}
  datum_system: {name: AB, primary: flange, secondary: bore}
  characteristics:
    - {name: size, characteristic: iso14405.GG, of: bore, nominal: 60 mm, tolerance: {minus: 10 um, plus: 15 um}}
    - {name: form, characteristic: form.G.peak_to_valley, of: flange, tolerance: {max: 20 um}}
    - {name: place, characteristic: iso1101.position.G, of: bore, in: AB, at: [0 mm, 0 mm], tolerance: {max: 50 um}}
    - {name: square, characteristic: iso1101.perpendicularity.G, of: [bore, flange], tolerance: {max: 30 um}}
"""
SEM = """\
schema: abbe/recipe/1
name: lines
inputs: {files: ["*.tif"], format: image}
measure:
  kind: sem_lines
  pixel: 0.8 nm
  rows: [0, 100]
  criterion: threshold
  level: 50 %
  characteristics:
    - {name: CD, characteristic: sem.cd_line, nominal: 16 nm, tolerance: {plus_minus: 1.6 nm}}
"""


def faults(text: str) -> tuple[Problem, ...]:
    with pytest.raises(RecipeProblems) as caught:
        parse_recipe(text)
    return caught.value.problems


def place(text: str, marker: str, occurrence: int = 0) -> tuple[int, int]:
    """Line and column (from 1) of a marker in the text."""
    position = -1
    for _ in range(occurrence + 1):
        position = text.index(marker, position + 1)
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


# (what is replaced, by what, code, the text at which the caret must stand, a word of message or hint)
CASES: list[tuple[str, str, str, str, str]] = [
    ("noise: 0.4 um", "noize: 0.4 um", "recipe/unknown-key", "noize", "noise"),
    ("seed: 7", "sed: 7", "recipe/unknown-key", "sed", "seed"),
    ("tolerance: {max: 20 um}", "tolerence: {max: 20 um}", "recipe/unknown-key", "tolerence", "tolerance"),
    ("{label: bore}", "{labl: bore}", "recipe/unknown-key", "labl", "label"),
    ("name: ring\n", "", "recipe/missing-key", "schema", "name"),
    ("feature: plane, ", "", "recipe/missing-key", "{name: flange", "feature"),
    ("  id: CMM-07\n", "", "recipe/missing-key", "instrument", "id"),
    ("  kind: features\n", "", "recipe/missing-key", "measure", "kind"),
    ("  unit: mm\n", "", "recipe/missing-key", "inputs", "unit"),
    ("  points_are: ball_centre\n", "", "recipe/missing-key", "inputs", "points_are"),
    ("  tip_radius: 1.5 mm\n", "", "recipe/missing-key", "ball_centre", "tip_radius"),
    (", at: [0 mm, 0 mm]", "", "recipe/missing-key", "{name: place", "at"),
    ("schema: abbe/recipe/1", "schema: abbe/recipe/2", "recipe/unknown-choice", "abbe/recipe/2", "abbe/recipe/1"),
    ("feature: cylinder", "feature: cilinder", "recipe/unknown-choice", "cilinder", "did you mean 'cylinder'"),
    ("points_are: ball_centre", "points_are: ball_center", "recipe/unknown-choice", "ball_center", "ball_centre"),
    ("kind: features", "kind: feature", "recipe/unknown-choice", "feature\n", "features"),
    ("rule: iso14253-1", "rule: iso14253", "recipe/unknown-choice", "iso14253,", "iso14253-1"),
    ("material: outside", "material: out", "recipe/unknown-choice", "out}", "outside"),
    ("noise: 0.4 um", "noise: 0.4", "recipe/needs-unit", "0.4", "0.05 mm"),
    ("tip_radius: 1.5 mm", 'tip_radius: "1.5"', "recipe/needs-unit", '"1.5"', "0.05 mm"),
    ("at: [0 mm, 0 mm]", "at: [0 mm, 0]", "recipe/needs-unit", "0]", "0.05 mm"),
    ("temperature: 21.2 degC", "temperature: 21.2", "recipe/needs-unit", "21.2", "degC"),
    ("noise: 0.4 um", "noise: 0.4 umm", "recipe/bad-unit", "0.4 umm", "unknown unit"),
    ("unit: mm", "unit: millimeters", "recipe/bad-unit", "millimeters", "millimeter"),
    ("nominal: 60 mm", "nominal: about 60 mm", "recipe/bad-unit", "about 60 mm", "not a quantity"),
    ("noise: 0.4 um", "noise: 0.4 deg", "recipe/wrong-dimension", "0.4 deg", "length"),
    ("unit: mm", "unit: deg", "recipe/wrong-dimension", "deg", "length"),
    ("temperature: 21.2 degC", "temperature: 21.2 K", "recipe/wrong-dimension", "21.2 K", "temperature"),
    ("{max: 20 um}", "{max: 20 arcsec}", "recipe/wrong-dimension", "20 arcsec", "length"),
    ("nominal: 60 mm", "nominal: 60 deg", "recipe/wrong-dimension", "60 deg", "length"),
    ("tip_radius: 1.5 mm", "tip_radius: 0 mm", "recipe/out-of-range", "0 mm", "greater than zero"),
    ("noise: 0.4 um", "noise: -0.4 um", "recipe/out-of-range", "-0.4 um", "negative"),
    ("probability: 0.95", "probability: 1.5", "recipe/out-of-range", "1.5}", "less than 1"),
    ("seed: 7", "seed: -1", "recipe/out-of-range", "-1", "greater than or equal"),
    ("seed: 7", "seed: many", "recipe/wrong-type", "many", "a whole number"),
    ("name: ring", "name: 12", "recipe/wrong-type", "12", '"12"'),
    ("lot: L17", "lot: 007", "recipe/wrong-type", "007", '"007"'),
    ('files: ["parts/*.csv"]', 'files: "parts/*.csv"', "recipe/wrong-type", '"parts', "a list"),
    ('files: ["parts/*.csv"]', "files: []", "recipe/wrong-type", "[]", "at least 1"),
    ("direction: [0, 0, 1]", "direction: [0, 1]", "recipe/wrong-type", "[0, 1]", "at least 3"),
    ("mpe: {constant: 1.5 um, per_length: 3 um/m}", "mpe: 1.5 um", "recipe/wrong-type", "1.5 um", "a mapping"),
    ("direction: [0, 0, 1]", "direction: [0, 0, 0]", "recipe/bad-value", "[0, 0, 0]", "zero vector"),
    ("direction: [0, 0, 1]", "direction: [0, 0, .inf]", "recipe/bad-value", ".inf", "finite"),
    ('"parts/*.csv"', '"../parts/*.csv"', "recipe/bad-value", '"../parts', "inside its folder"),
    ('"parts/*.csv"', '"/etc/*.csv"', "recipe/bad-value", '"/etc', "relative path"),
    ("(?P<serial>", "(?P<serail>", "recipe/bad-value", '"part-', "serial"),
    ("[0-9]+)", "[0-9+)", "recipe/bad-value", '"part-', "regular expression"),
    ("valid_until: 2027-06-30", "valid_until: 2027-06-31", "recipe/bad-value", "2027-06-31", "calendar"),
    ("valid_until: 2027-06-30", "valid_until: 30.06.2027", "recipe/bad-value", "30.06.2027", "2027-06-30"),
    ("10:20:30+02:00", "10:20:30", "recipe/bad-value", '"2026-05-04T10:20:30"', "zone"),
    *(
        ("noise: 0.4 um", f"noise: 0.4 um\n  {more}", code, at, word)
        for more, code, at, word in (
            ("correlation_kernel: gaussian", "recipe/contradiction", "gaussian", "needs a correlation_length"),
            ("correlation_kernel: gaussian\n  correlation_length: 0 mm", "recipe/contradiction", "gaussian", "zero"),
            ("noise_independent: 0.2 um", "recipe/contradiction", "0.2 um", "needs a correlation_kernel"),
            (
                "correlation_kernel: matern52\n  correlation_length: 2 mm\n  noise_independent: 400.1 nm",
                "recipe/out-of-range",
                "400.1 nm",
                "at most 0.4 um",
            ),
        )
    ),
    (
        "noise: 0.4 um",
        "correlation_kernel: gaussian\n  correlation_length: 2 mm\n  noise_independent: 0.2 um",
        "recipe/contradiction",
        "0.2 um",
        "it needs noise",
    ),
    ("expansion: 11.5e-6 1/K}", "}", "recipe/contradiction", "raw", "expansion"),
    ("rule: iso14253-1", "rule: simple_acceptance", "recipe/contradiction", "simple_acceptance", "simple_acceptance"),
    ("points_are: ball_centre", "points_are: surface", "recipe/contradiction", "tip_radius:", "ball_centre"),
    ("feature: points,", "feature: points, material: inside,", "recipe/contradiction", "{name: tip", "not fitted"),
    ("0, 1]}", "0, 1], criterion: least_absolute}", "recipe/bad-value", "least_absolute", "least_squares_outside"),
    (
        "0, 1]}",
        "0, 1], criterion: least_squares_outside}",
        "recipe/bad-value",
        "least_squares_out",
        "inside or outside",
    ),
    ("0, 1]}", "0, 1], fixed: [direction]}", "recipe/contradiction", "[direction", "circle only"),
    ("feature: plane,", "feature: cone,", "recipe/contradiction", "[0, 0, 1]", "widens"),
    ("feature: plane,", "feature: sphere,", "recipe/contradiction", "[0, 0, 1]", "no direction"),
    ("secondary: bore", "secondary: flange", "recipe/contradiction", "flange}\n  char", "already the primary"),
    ("of: flange, tol", "of: flange, in: AB, tol", "recipe/contradiction", "in: AB, tolerance", "datum system"),
    ("of: flange, tol", "of: flange, at: [1 mm, 1 mm], tol", "recipe/contradiction", "at: [1", "exact location"),
    ("name: form,", "name: size,", "recipe/duplicate-name", "size, characteristic: form", "line 29"),
    ("name: tip,", "name: bore,", "recipe/duplicate-name", "bore, feature: points", "line 25"),
    ("of: bore, nominal", "of: boer, nominal", "recipe/unknown-feature", "boer", "did you mean 'bore'"),
    ("[bore, flange]", "[bore, flang]", "recipe/unknown-feature", "flang]", "flange"),
    ("primary: flange", "primary: flansch", "recipe/unknown-feature", "flansch", "flange"),
    ("in: AB", "in: ABC", "recipe/unknown-datum-system", "ABC", "AB"),
    (
        "form.G.peak_to_valley",
        "form.G.peak_to_valey",
        "recipe/unknown-characteristic",
        "form.G.peak_to_valey",
        "valley",
    ),
    ("iso14405.GG", "diameter", "recipe/ambiguous-characteristic", "diameter", "iso14405.GG"),
    ("iso14405.GG", "iso14405.LP", "recipe/ambiguous-characteristic", "iso14405.LP", "two-point"),
    ("form.G.peak_to_valley", "flatness", "recipe/ambiguous-characteristic", "flatness", "form.G"),
    ("of: bore, nominal", "of: flange, nominal", "recipe/wrong-feature", "flange, nominal", "plane"),
    ("of: [bore, flange]", "of: bore", "recipe/wrong-feature", "bore, tolerance: {max: 30", "2 features"),
    ("secondary: bore", "secondary: tip", "recipe/wrong-feature", "tip}\n", "cannot be a datum"),
    ("iso14405.GG", "sem.cd_line", "recipe/wrong-feature", "sem.cd_line", "features"),
    ("nominal: 60 mm, ", "", "recipe/tolerance", "tolerance: {minus", "nominal"),
    ("{max: 20 um}", "{plus_minus: 20 um, max: 1 um}", "recipe/tolerance", "{plus_minus", "got max and plus_minus"),
    ("{minus: 10 um, plus: 15 um}", "{minus: 10 um}", "recipe/tolerance", "{minus", "minus and plus"),
    ("{minus: 10 um, plus: 15 um}", "{minus: 10 um, plus: -15 um}", "recipe/tolerance", "{minus", "without sign"),
    ("{minus: 10 um, plus: 15 um}", "{lower: 61 mm, upper: 60 mm}", "recipe/tolerance", "{lower", "above the lower"),
    ("{max: 20 um}", "{max: 0 um}", "recipe/tolerance", "0 um", "never be met"),
    ("{max: 20 um}", "{min: 20 um}", "recipe/tolerance", "tolerance: {min", "upper limit only"),
    ("noise: 0.4 um", "noise: 0.4 um\n  noise: 1 um", "recipe/duplicate-key", "noise: 1 um", "line 17"),
    ("lot: L17", "lot: &a L17", "recipe/not-plain", "&a", "anchor"),
    ("lot: L17", "lot: !!str L17", "recipe/not-plain", "!!str", "tag"),
    ("lot: L17", "<<: {lot: L17}", "recipe/not-plain", "<<", "merge"),
    ("seed: 7", "seed: 7]", "recipe/wrong-type", "7]", "whole number"),
    ("inputs:\n", "inputs: [\n", "recipe/syntax", ": [", ""),
    ("  unit: mm", "\tunit: mm", "recipe/syntax", "\tunit", "tab"),
]


def test_the_base_recipe_is_sound() -> None:
    assert parse_recipe(BASE).recipe.name == "ring"


def test_a_datum_may_be_associated_from_outside_the_material() -> None:
    criterion = "criterion: least_squares_outside, material: inside"
    recipe = parse_recipe(BASE.replace("0, 1]}", f"0, 1], {criterion}}}", 1)).recipe
    assert [f.criterion for f in recipe.measure.features if f.feature == "plane"] == ["least_squares_outside"]


@pytest.mark.parametrize(
    ("old", "new", "code", "marker", "word"), CASES, ids=[f"{c[2][7:]}-{i}" for i, c in enumerate(CASES)]
)
def test_fault_has_code_and_place(old: str, new: str, code: str, marker: str, word: str) -> None:
    assert old in BASE
    text = BASE.replace(old, new, 1)
    found = [item for item in faults(text) if item.code == code]
    assert found, [item.render() for item in faults(text)]
    assert code in CODES
    if code == "recipe/syntax":  # the parser decides where it gives up; the line is what helps
        lines = {item.line for item in found}
        line = place(text, marker)[0]
        assert lines & {line, line + 1, line + 2}
    else:
        wanted = {place(text, marker, n) for n in range(text.count(marker))}
        assert {(item.line, item.column) for item in found} & wanted, [item.render() for item in found]
    told = " ".join(f"{item.message} {item.hint or ''}" for item in found)
    assert word in told, told


SEM_CASES = [
    ("pixel: 0.8 nm", "pixel: 0.8", "recipe/needs-unit", "0.8", "e.g."),
    ("pixel: 0.8 nm", "pixel: 0 nm", "recipe/out-of-range", "0 nm", "greater"),
    ("pixel: 0.8 nm", "pixel: {x: 0.8 nm}", "recipe/missing-key", "pixel", "y"),
    ("rows: [0, 100]", "rows: [100, 0]", "recipe/out-of-range", "[100, 0]", "first < end"),
    ("criterion: threshold", "criterion: sigmoid", "recipe/contradiction", "50 %", "threshold"),
    ("level: 50 %", "level: 120 %", "recipe/out-of-range", "120 %", "95 %"),
    ("level: 50 %", "smoothing: median 3 px", "recipe/contradiction", "median 3 px", "gaussian"),
    ("level: 50 %", "smoothing: gaussian 99 px", "recipe/contradiction", "gaussian 99 px", "too strong"),
    ("format: image", "format: text", "recipe/contradiction", "text", "images"),
    ('"*.tif"]', '"*.tif"], unit: nm', "recipe/contradiction", "unit", "point clouds"),
    ("sem.cd_line", "iso14405.GG", "recipe/wrong-feature", "iso14405.GG", "sem_lines"),
    ("sem.cd_line", "cd", "recipe/ambiguous-characteristic", "cd", "sem.cd_line"),
    ("sem.cd_line", "sem.cd_lines", "recipe/unknown-characteristic", "sem.cd_lines", "did you mean"),
    ("plus_minus: 1.6 nm", "plus_minus: 1.6 %", "recipe/wrong-dimension", "1.6 %", "length"),
]


@pytest.mark.parametrize(("old", "new", "code", "marker", "word"), SEM_CASES)
def test_fault_of_an_image_recipe(old: str, new: str, code: str, marker: str, word: str) -> None:
    assert parse_recipe(SEM).recipe.measure.kind == "sem_lines"
    text = SEM.replace(old, new, 1)
    found = [item for item in faults(text) if item.code == code]
    assert found, [item.render() for item in faults(text)]
    wanted = {place(text, marker, n) for n in range(text.count(marker))}
    assert {(item.line, item.column) for item in found} & wanted, [item.render() for item in found]
    assert word in " ".join(f"{item.message} {item.hint or ''}" for item in found)


def test_roughness_and_fits_of_a_smoothed_image_are_refused() -> None:
    smooth = SEM.replace("level: 50 %", "smoothing: gaussian 2 px")
    assert parse_recipe(smooth).recipe.measure.smoothing == "gaussian 2 px"
    rough = smooth.replace("sem.cd_line", "sem.lwr_unbiased_3s")
    for text, word in ((rough, "sem.lwr_unbiased_3s"), (smooth.replace("threshold", "sigmoid"), "criterion sigmoid")):
        (fault,) = [item for item in faults(text) if item.code == "recipe/contradiction"]
        assert (fault.line, fault.column) == place(text, "gaussian 2 px") and word in fault.message


def test_all_faults_are_told_at_once_in_order() -> None:
    text = (
        BASE.replace("name: ring", "name: 7")
        .replace("noise: 0.4 um", "noize: 0.4")
        .replace("of: bore, n", "of: boer, n")
    )
    found = faults(text.replace("iso14405.GG", "diameter").replace("{max: 20 um}", "{max: 20}"))
    assert [item.code for item in found] == [
        "recipe/wrong-type",
        "recipe/unknown-key",
        "recipe/ambiguous-characteristic",
        "recipe/unknown-feature",
        "recipe/needs-unit",
    ]
    assert [item.line for item in found] == [2, 17, 29, 29, 30]


def test_a_fault_is_drawn_with_its_line_and_caret() -> None:
    (fault,) = faults(BASE.replace("noise: 0.4 um", "noize: 0.4 um"))
    assert fault.render().splitlines() == [
        "error[recipe/unknown-key]: unknown key 'noize'",
        "  --> recipe.yaml:17:3",
        "    |",
        " 17 |   noize: 0.4 um",
        "    |   ^^^^^",
        "   = did you mean 'noise'?",
    ]


def test_both_micro_signs_are_read() -> None:
    sums = {
        parse_recipe(BASE.replace("noise: 0.4 um", f"noise: 0.4 {sign}m")).sha256 for sign in ("u", "\u00b5", "\u03bc")
    }
    assert len(sums) == 1


def test_nesting_and_size_do_not_exhaust_the_reader(tmp_path: Path) -> None:
    assert faults("a: " + "[" * 100_000)[0].code == "recipe/too-deep"
    assert "recipe/bad-value" in {item.code for item in faults("x: " + "9" * 5000 + "\n")}
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(big)
    assert caught.value.problems[0].code == "recipe/not-readable"


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "- a list\n", "just text\n", "a: 1\n---\nb: 2\n", "a: \x01\n"]
)
def test_what_is_no_recipe_is_a_typed_error(text: str) -> None:
    assert faults(text)


def test_wrong_encoding_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("schema: x\nname: Prüfling\n".encode("latin-1"))
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(path)
    (fault,) = caught.value.problems
    assert (fault.code, fault.line, fault.column) == ("recipe/not-readable", 2, 9)


def test_faults_of_an_instrument_file_stand_in_that_file(tmp_path: Path) -> None:
    lines = BASE.splitlines(keepends=True)
    start, end = lines.index("instrument:\n"), next(i for i, line in enumerate(lines) if line.startswith("decision"))
    text = "".join([*lines[:start], "instrument: {file: cmm.yaml}\n", *lines[end:]])
    (tmp_path / "cmm.yaml").write_text("id: CMM-07\nnoise: 0.4\nnoize: 1 um\n")
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert [(Path(f.file).name, f.line, f.code) for f in caught.value.problems] == [
        ("cmm.yaml", 2, "recipe/needs-unit"),
        ("cmm.yaml", 3, "recipe/unknown-key"),
    ]


def test_impossible_noise_of_an_instrument_file_is_told_in_that_file_all_at_once(tmp_path: Path) -> None:
    """What `Instrument` refuses is a fault of the check; the whole noise as independent part is allowed by both."""
    lines = BASE.splitlines(keepends=True)
    start, end = lines.index("instrument:\n"), next(i for i, line in enumerate(lines) if line.startswith("decision"))
    (tmp_path / "r.yaml").write_text("".join([*lines[:start], "instrument: {file: cmm.yaml}\n", *lines[end:]]))
    head = "id: CMM-07\nmpe: {constant: 1.5 um}\nnoise: 0.4 um\n"
    (tmp_path / "cmm.yaml").write_text(head + "correlation_kernel: exponential\nnoise_independent: 0.5 um\n")
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert [(Path(f.file).name, f.line, f.code) for f in caught.value.problems] == [
        ("cmm.yaml", 4, "recipe/contradiction"),
        ("cmm.yaml", 5, "recipe/out-of-range"),
    ]
    right = "correlation_kernel: exponential\ncorrelation_length: 2 mm\nnoise_independent: 400 nm\n"
    (tmp_path / "cmm.yaml").write_text(head + right)
    recipe = load_recipe(tmp_path / "r.yaml").recipe
    made = instrument(recipe.instrument, "mm")
    assert made is not None and made.noise_independent == made.noise


@pytest.mark.parametrize("name", ["../cmm.yaml", "gone.yaml", "link.yaml"])
def test_a_named_file_must_exist_inside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "cmm.yaml").write_text("id: X\n")
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(tmp_path / "cmm.yaml")
    text = SEM + f"instrument: {{file: {name}}}\n"
    (folder / "r.yaml").write_text(text)
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(folder / "r.yaml")
    (fault,) = caught.value.problems
    assert fault.code == "recipe/file"
    assert (fault.line, fault.column) == place(text, name)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("{minus: 10 um, plus: 15 um}", "{lower: 60.01 mm, upper: 60.02 mm}", "below the lower"),
        ("{minus: 10 um, plus: 15 um}", "{upper: 59.99 mm}", "above the upper"),
        ("{max: 50 um}", "{min: 50 um}", "upper limit only"),
        ("{max: 30 um}", "{min: 30 um}", "upper limit only"),
        ("{max: 20 um}", "{min: 20 um}", "upper limit only"),
    ],
)
def test_limits_that_make_no_sense(old: str, new: str, text: str) -> None:
    assert BASE.count(old) == 1
    with pytest.raises(RecipeProblems) as caught:
        parse_recipe(BASE.replace(old, new))
    assert [problem.code for problem in caught.value.problems] == ["recipe/tolerance"]
    assert text in caught.value.problems[0].message


def test_limits_of_a_fit_leave_the_nominal_out() -> None:
    """Deviations may lie on one side of the nominal (as of g6): they are written on purpose."""
    parse_recipe(BASE.replace("{minus: 10 um, plus: 15 um}", "{minus: 14 um, plus: -5 um}"))
