"""Film maps as a recipe: parts, records, verdicts, exit codes, resuming, lots, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.recipe import parse_recipe, template
from pipelines.store import RunFolder

BLOCK = """WAFER ID,{wafer},,,
LOT ID,L7,,,
RESULT TYPE,1st Thickness,GOF ,,
MEAN,{mean},0.99,,
RANGE,4.0,0.0,,
Site #,Value,Value, X , Y
1,{a},0.99,0,0
2,{b},0.99,100,0
3,{c},0.99,0,-100
"""
RECIPE = """schema: abbe/recipe/1
name: films
inputs: {{files: ["*.csv"], unit: nm, wafer: {{diameter: {diameter}, edge_exclusion: 3 mm}}}}
{instrument}
measure:
  kind: film_map
  {result}
  characteristics:
    - {{name: mean, characteristic: film.mean, nominal: 102 nm, tolerance: {{plus_minus: 3 nm}}}}
    - {{name: s, characteristic: film.nonuniformity_relative_1s, tolerance: {{max: 5 %}}}}
    - {{name: centre, characteristic: film.site, at: [0 mm, 0 mm]}}
"""
TOOL = "instrument: {id: F5, type: ellipsometer, noise: 0.1 nm, offset_u: 0.2 nm, scale_u: 0.1 %}"


def block(wafer: str, shift: float = 0.0, mean: float | None = None) -> str:
    a, b, c = (v + shift for v in (100.0, 102.0, 104.0))
    return BLOCK.format(wafer=wafer, a=a, b=b, c=c, mean=102.0 + shift if mean is None else mean)


def recipe(folder: Path, *, instrument: str = TOOL, diameter: str = "300 mm", result: str = "result: 1st Thickness",
           edit: tuple[str, str] = ("", "")) -> Path:  # fmt: skip
    path = folder / "r.yaml"
    path.write_text(RECIPE.format(instrument=instrument, diameter=diameter, result=result).replace(*edit))
    return path


def run(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["run", str(folder / "r.yaml"), "--out", str(folder / "run"), *options, "--json"])
    return code, json.loads(capsys.readouterr().out)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = RunFolder(folder / "run")
    return {str(o.part): dict(found.read_record(o.task_id).document) for o in found.outcomes()}


def test_each_wafer_of_each_file_is_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path)
    (tmp_path / "a.csv").write_text(block("S1") + block("S2", 2.0))
    (tmp_path / "b.csv").write_text(block("S3", 40.0))
    code, answer = run(tmp_path, capsys)
    assert code == 1 and answer["verdicts"] == {"nonconforming": 1, "conforming": 2} and answer["tasks"] == 3
    found = records(tmp_path)
    assert list(found) == ["a.csv#S1", "a.csv#S2", "b.csv"]
    facts = [(d["acquisition"]["lot"], d["acquisition"]["wafer"], d["verdict"]) for d in found.values()]
    assert facts == [("L7", "S1", "conforming"), ("L7", "S2", "conforming"), ("L7", "S3", "nonconforming")]
    mean, s, centre = found["a.csv#S2"]["measurements"]
    assert mean["value"] == pytest.approx(104.0) and mean["unit"] == "nm" and centre["value"] == pytest.approx(102.0)
    # noise / sqrt(3), offset, scale times the mean
    assert mean["u"] == pytest.approx((0.01 / 3.0 + 0.04 + 0.104**2) ** 0.5)
    assert s["unit"] == "%" and s["value"] == pytest.approx(100.0 * (4.0 - 0.01) ** 0.5 / 104.0)
    assert "3 of 3 sites" in mean["method"] and found["a.csv#S2"]["flags"] == []
    # the same inputs give the same run; a part that has its record is not measured again
    code, answer = run(tmp_path, capsys, "--resume")
    assert code == 1 and answer["measured_now"] == 0 and answer["tasks"] == 3
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_the_page_has_map_and_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path)
    (tmp_path / "a.csv").write_text(block("S1") + block("S2", 2.0))
    run(tmp_path, capsys)
    index = (tmp_path / "run" / "report" / "index.html").read_text()
    section = index[index.index('id="films"') :]
    assert section.count('class="wafermap"') == 2 and "a.csv#S2" in section
    page = next((tmp_path / "run" / "report" / "parts").glob("*S2*.html")).read_text()
    film = re.search(r'<section class="film".*?</section>', page, re.S)
    assert film is not None and film[0].count("<circle") >= 4  # three sites and the edge exclusion
    assert re.search(r"<td>MEAN</td><td class=\"r\">104.0</td><td class=\"r\">104.0</td>", film[0])
    assert 'data-m="film.right"' in film[0]
    # one scale for all: the smallest and the largest value of both wafers
    assert "100.0" in film[0] and "106.0" in film[0]


@pytest.mark.parametrize(
    ("instrument", "flags"),
    [
        ("seed: 1", {"repeatability_only", "repeatability_missing", "provisional_verdict"}),
        ("instrument: {id: F5, noise: 0.1 nm}", {"repeatability_only", "provisional_verdict"}),
        ("instrument: {id: F5, scale_u: 0.1 %}", {"repeatability_missing", "provisional_verdict"}),
        (TOOL, set()),
    ],
)
def test_an_uncertainty_that_nobody_stated_makes_verdicts_provisional(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], instrument: str, flags: set[str]
) -> None:
    recipe(tmp_path, instrument=instrument)
    (tmp_path / "a.csv").write_text(block("S1"))
    code, answer = run(tmp_path, capsys)
    assert code == 0 and answer["provisional"] == ({"conforming": 1} if flags else {})
    document = records(tmp_path)["a.csv"]
    assert flags <= set(document["flags"]) and document["measurements"][0]["decision"]["provisional"] == bool(flags)
    index = (tmp_path / "run" / "report" / "index.html").read_text()
    assert ("index.cause.repeatability" in index) == bool(flags)


def test_a_file_that_contradicts_itself_gets_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path)
    (tmp_path / "a.csv").write_text(block("S1", mean=101.0))
    code, answer = run(tmp_path, capsys)
    assert code == 3 and answer["verdicts"] == {"none": 1}  # as abbe map
    assert {"summary_not_reproduced", "verdict_withheld"} <= set(records(tmp_path)["a.csv"]["flags"])
    assert main(["map", str(tmp_path / "a.csv"), "--unit", "nm"]) == 3


def test_sites_off_the_wafer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path, diameter="190 mm")
    (tmp_path / "a.csv").write_text(block("S1"))
    code, answer = run(tmp_path, capsys)
    document = records(tmp_path)["a.csv"]
    assert "sites_off_wafer" in document["flags"] and document["measurements"][0]["value"] == pytest.approx(100.0)
    assert answer["provisional"] == {"none": 1} and code == 3  # no spread of one site: measured in part
    recipe(tmp_path, diameter="190 mm", edit=("edge_exclusion: 3 mm", "edge_exclusion: 94 mm"))
    (tmp_path / "a.csv").write_text(block("S1").replace(",0,0\n", ",20,0\n"))
    assert main(["run", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "none")]) == 3
    assert "no site of the map counts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "result", "unit", "words"),
    [
        (block("S1"), "result: 2nd Thickness", "unit: nm, ", "no result '2nd Thickness'"),
        (block("S1").replace("GOF ", "2nd"), "", "unit: nm, ", "several results"),
        (block("S1"), "", "", "does not say the unit"),
        ("X,Y,w1 [ohm]\n0,0,3\n", "", "unit: nm, ", "is no length"),
        ("a,b\n1,2\n", "", "unit: nm, ", "no film map"),
    ],
)
def test_bad_films_are_unusable_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, result: str, unit: str, words: str
) -> None:
    recipe(tmp_path, result=result, edit=("unit: nm, ", unit))
    (tmp_path / "a.csv").write_text(text)
    code, answer = run(tmp_path, capsys)
    assert code == 3 and answer["outcomes"]["unusable_data"] == 1
    assert words in answer["not_measured"][0]["reason"]["message"]


def test_a_wafer_of_one_site_is_measured_without_its_spreads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe(tmp_path, result="")
    (tmp_path / "a.csv").write_text("X,Y,w7 [nm]\n0,0,102.5\n")
    code, answer = run(tmp_path, capsys)
    mean, s, centre = records(tmp_path)["a.csv"]["measurements"]
    assert code == 3 and answer["outcomes"].get("failed", 0) == 0  # a spread with a tolerance has no verdict
    # one value: all of its noise, the offset, the scale times it
    assert mean["value"] == 102.5 and mean["u"] == pytest.approx((0.01 + 0.04 + 0.1025**2) ** 0.5)
    assert s["value"] is None and "a spread needs two sites" in s["method"] and centre["value"] == 102.5
    page = tmp_path / "map.html"
    assert main(["map", str(tmp_path / "a.csv"), "--json", "--out", str(page)]) == 0
    figures = json.loads(capsys.readouterr().out)["maps"][0]["figures"]
    assert figures["MEAN"] == 102.5 and figures["STDDEV"] is None and "102.5" in page.read_text()


def test_a_value_that_is_no_number_costs_no_other_wafer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path, result="")
    (tmp_path / "a.csv").write_text("X,Y,w1,w2,w3\n0,0,101,n/a,---\n9,0,102,102,---\n18,0,103,103,---\n")
    code, answer = run(tmp_path, capsys)
    assert code == 3 and answer["tasks"] == 3 and answer["outcomes"]["unusable_data"] == 1
    assert "'---'" in answer["not_measured"][0]["reason"]["message"]
    found = records(tmp_path)
    assert found["a.csv#w1"]["verdict"] == "conforming" and found["a.csv#w1"]["flags"] == []
    second = found["a.csv#w2"]
    assert "sites_without_value" in second["flags"] and second["measurements"][0]["value"] == 102.5
    assert "2 of 3 sites (1 without a value left out); no number: 'n/a'" in second["measurements"][0]["method"]
    assert main(["map", str(tmp_path / "a.csv"), "--unit", "nm", "--out", str(tmp_path / "m.html")]) == 3
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "w2 : 2 sites" in shown and "1 without a value: (0, 0) mm 'n/a'" in shown


def test_files_of_several_units_give_one_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One film in three units: the same values, one characteristic of the lot, one scale of colours."""
    recipe(tmp_path, result="", edit=(", nominal: 102 nm, tolerance: {plus_minus: 3 nm}", ""))
    text = (tmp_path / "r.yaml").read_text()
    (tmp_path / "r.yaml").write_text(text.replace(" unit: nm,", ""))
    for unit, factor in (("nm", 1.0), ("angstrom", 10.0), ("um", 1e-3)):
        rows = "".join(f"{x},0,{v * factor:.10g},{(v + 1) * factor:.10g}\n" for x, v in ((0, 101.0), (9, 102.0)))
        (tmp_path / f"{unit}.csv").write_text(f"X,Y,{unit}1 [{unit}],{unit}2 [{unit}]\n{rows}")
    run(tmp_path, capsys)
    means = [d["measurements"][0] for d in records(tmp_path).values()]
    assert {row["unit"] for row in means} == {"nm"}
    assert sorted(row["value"] for row in means) == pytest.approx([101.5] * 3 + [102.5] * 3)
    index = (tmp_path / "run" / "report" / "index.html").read_text()
    assert index.count('<svg class="mapscale"') == 1 and "101.000 … 103.000 nm" in index
    page = next((tmp_path / "run" / "report" / "parts").glob("angstrom.csv_angstrom1*.html")).read_text()
    assert "MEAN / angstrom" in page and "1015" in page
    assert main(["lot", str(tmp_path / "run"), "--json"]) in (0, 3)  # 3: no level of a characteristic to compare
    rows_of_lot = json.loads(capsys.readouterr().out)["characteristics"]
    assert [row["values"] for row in rows_of_lot if row["name"] == "mean"] == [6]
    # the unit that the recipe states goes first
    (tmp_path / "r.yaml").write_text(text.replace(" unit: nm,", " unit: um,"))
    assert main(["run", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "um")]) in (0, 3)
    found = RunFolder(tmp_path / "um")
    assert {found.read_record(o.task_id).document["measurements"][0]["unit"] for o in found.outcomes()} == {"um"}


def test_a_wafer_beyond_the_scale_of_all_has_its_own_on_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe(tmp_path)
    (tmp_path / "a.csv").write_text("".join(block(f"S{k}", 0.1 * k) for k in range(6)) + block("far", 60.0))
    run(tmp_path, capsys)
    parts = tmp_path / "run" / "report" / "parts"
    far = next(parts.glob("*far*.html")).read_text()
    near = next(parts.glob("*S3*.html")).read_text()
    assert 'class="ownscale"' in far and re.search("160[.]0+ … 164[.]0+ nm", far)
    assert 'class="ownscale"' not in near and "≥ 104.5" in near


def test_a_cut_file_gives_provisional_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path, result="")
    (tmp_path / "a.csv").write_text("X,Y,w1\n0,0,101.1\n9,0,102.1\n18,0,103.1\n27,0,10")
    code, answer = run(tmp_path, capsys)
    document = records(tmp_path)["a.csv"]
    assert code == 1 and answer["provisional"] == {"nonconforming": 1} and "file_cut" in document["flags"]
    assert "midst" in (tmp_path / "run" / "report" / "index.html").read_text()


def test_map_says_an_unknown_unit_and_tells_steps_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("X,Y,w1 [parsec]\n0,0,0.991\n9,0,0.992\n")
    assert main(["map", str(tmp_path / "a.csv"), "--out", str(tmp_path / "m.html")]) == 0
    assert "'parsec' of the file is none that Abbe knows" in capsys.readouterr().out.replace("\n", " ")
    assert re.search("0[.]99100+ \u2026 0[.]99200+ parsec", (tmp_path / "m.html").read_text())
    (tmp_path / "b.csv").write_text("X,Y,w1 [angstrom]\n0,0,5\n")
    main(["map", str(tmp_path / "b.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)["maps"][0]["unit_known"] is True


def test_the_frame_of_the_wafer_is_a_message_that_both_languages_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe(tmp_path)
    (tmp_path / "a.csv").write_text(block("S1"))
    run(tmp_path, capsys)
    page = next((tmp_path / "run" / "report" / "parts").glob("*.html")).read_text()
    assert 'data-m="wafer.frame.down"' in page and "diameter 300 mm, edge exclusion 3 mm, notch down" in page


def test_one_name_for_many_wafers_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe(tmp_path, edit=("unit: nm,", "unit: nm, acquisition: {wafer: W1},"))
    (tmp_path / "a.csv").write_text(block("S1") + block("S2"))
    code, answer = run(tmp_path, capsys)
    assert code == 3 and {row["reason"]["code"] for row in answer["not_measured"]} == {"acquisition_wafer"}


def test_lot_of_film_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two lots of three wafers: the table is that of the means; the lowest level is a map."""
    from metrology_core.statistics import nested_components

    recipe(tmp_path)
    shifts = {"L1": (0.0, 1.0, 2.5), "L2": (3.0, 3.5, 5.0)}
    for lot, values in shifts.items():
        text = "".join(block(f"S{k}", v) for k, v in enumerate(values))
        (tmp_path / f"{lot}.csv").write_text(text.replace("LOT ID,L7", f"LOT ID,{lot}"))
    run(tmp_path, capsys)
    capsys.readouterr()
    assert main(["lot", str(tmp_path / "run"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["characteristics"][0]
    assert [c["level"] for c in row["components"]["components"]] == ["lot", "wafer", "map"]
    means = [102.0 + v for values in shifts.values() for v in values]
    twin = nested_components(means, {"lot": ["a"] * 3 + ["b"] * 3}, bottom="map")
    assert row["components"]["components"][0]["variance"] == pytest.approx(twin["lot"].variance, rel=1e-6)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("at: [0 mm, 0 mm]", "nominal: 100 nm"), "missing key 'at'"),
        (("film.mean,", "film.mean, at: [0 mm, 0 mm],"), "film.mean has no place"),
        (("film.mean", "sem.pitch"), "not a characteristic of film_map"),
        (("film.nonuniformity_relative_1s", "uniformity"), "film.nonuniformity_half_range"),
        (("max: 5 %", "max: 5 nm"), "is a ratio"),
        (("unit: nm,", "unit: nm, points_are: surface,"), "belongs to point clouds"),
        (("unit: nm,", "unit: nm, format: image,"), "film maps are text"),
        (("kind: film_map", "kind: film_maps"), "film_map"),
    ],
)
def test_recipe_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: tuple[str, str], words: str) -> None:
    assert main(["recipe", "check", str(recipe(tmp_path, edit=edit))]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")


def test_the_template_is_valid() -> None:
    found = parse_recipe(template("film_map")).recipe
    assert found.measure.kind == "film_map" and found.inputs.unit == "angstrom"
