"""A lot of wafers from images to maps and components: simulated widths with known truth through recipe, run, page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from metrology_core.flags import FLAGS
from metrology_core.statistics import nested_components
from pipelines.cli import main
from pipelines.lots import (
    PlacedValue,
    by_characteristic,
    copies_in,
    decompose,
    doubts,
    frame_of,
    leave_out,
    once,
    placed,
    why_no_components,
)
from pipelines.store import RunFolder
from wafer.simulate.lot import write_tiff
from wafer.simulate.sem import SemModel, simulate_blank, threshold_offset
from wafer.simulate.wafers import CdSignature, WaferLots, wafer_images

RECIPE = """schema: abbe/recipe/1
name: lots
inputs:
  files: ["*.tif"]
  format: image
  acquisition_from_name: "(?P<lot>L[0-9]+)_(?P<wafer>W[0-9]+)_(?P<field>X[+-][0-9]+_Y[+-][0-9]+)"
  wafer: {edge_exclusion: 3 mm, notch: left, field_size: {x: 26 mm, y: 33 mm}}
instrument: {id: SEM-01, type: cd-sem, scale_u: 0.1 %, edge_offset_u: 0.1 nm}
measure:
  kind: sem_lines
  pixel: 0.8 nm
  characteristics:
    - {name: CD, characteristic: sem.cd_line, nominal: 16.7 nm, tolerance: {plus_minus: 0.9 nm}}
"""
PLAN = WaferLots(
    2, 2, 6, 2, sd_lot=0.1, sd_wafer=0.3, sd_field=0.2, sd_image=0.15, signature=CdSignature(radial=0.8),
    model=SemModel(shape=(96, 256), sigma=0.4),
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, list[dict[str, object]]]:
    folder = tmp_path_factory.mktemp("lots")
    rows = []
    for row, image in wafer_images(PLAN, seed=2):
        if len(rows) == 5:  # one image that gives nothing
            image = simulate_blank(PLAN.model, seed=1)
        write_tiff(folder / str(row["file"]), image)
        rows.append(row)
    (folder / "recipe.yaml").write_text(RECIPE)
    out = folder / "run"
    assert main(["run", str(folder / "recipe.yaml"), "--out", str(out), "--workers", "0"]) in (1, 3)
    return RunFolder(out), rows


def test_places_are_carried_into_the_records(run: tuple[RunFolder, list[dict[str, object]]]) -> None:
    folder, rows = run
    known = {str(row["file"]): row for row in rows}
    found = by_characteristic(folder)[("CD", "sem.cd_line", "nm")]
    assert len(found) == 47  # the blank one has no measurement
    for value in found:
        row = known[value.part]
        assert value.place == pytest.approx((row["x_mm"], row["y_mm"]))
        assert value.acquisition["wafer"] == row["wafer"] and value.acquisition["lot"] == row["lot"]
        assert value.acquisition["wafer_frame"] == "diameter 300 mm, edge exclusion 3 mm, notch left"
        drawn = float(row["cd"]) + 2.0 * threshold_offset(PLAN.model, 0.5)  # type: ignore[arg-type]
        assert value.value == pytest.approx(drawn, abs=0.35)  # roughness of eight short lines: 0.07 nm (1 s)


def test_components_of_the_run_are_those_of_its_values(
    run: tuple[RunFolder, list[dict[str, object]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command against the decomposition of the true widths: measured ones follow them to hundredths of a nanometre,
    so the components agree far within their intervals."""
    folder, rows = run
    assert main(["lot", str(folder.path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (cd,) = [row for row in document["characteristics"] if row["name"] == "CD"]
    components = {c["level"]: c for c in cd["components"]["components"]}
    kept = [row for i, row in enumerate(rows) if i != 5]
    truth = nested_components(
        [float(row["cd"]) for row in kept],  # type: ignore[arg-type]
        {key: [str(row[key]) for row in kept] for key in ("lot", "wafer", "field")}, bottom="image",
    )  # fmt: skip
    for level in ("wafer", "field"):
        assert components[level]["sd"] == pytest.approx(truth[level].sd, abs=0.05)
        assert components[level]["low"] <= truth[level].sd <= components[level]["high"]
    assert components["image"]["sd"] == pytest.approx(truth["image"].sd, abs=0.06)
    assert cd["components"]["noise"] > 0.0
    assert main(["lot", str(folder.path)]) == 0
    assert "wafer" in capsys.readouterr().out


def test_the_index_shows_the_maps(run: tuple[RunFolder, list[dict[str, object]]]) -> None:
    folder, _ = run
    page = (folder.path / "report" / "index.html").read_text()
    maps = re.findall(r'<svg class="wafermap".*?</svg>', page)
    assert len(maps) == 4
    # 6 fields of 2 images, side by side in their field, every one a link to its page; the blank one is grey with a dash
    assert sum(m.count("<rect") for m in maps) == 48 and sum(m.count("<circle") for m in maps) == 4
    assert sum(m.count("#c9ced3") for m in maps) == 1
    assert all('href="parts/' in m for m in maps)
    assert "Images within fields" in page and 'class="mapscale"' in page
    order = re.findall(r"<figcaption><b>(L\d+ W\d+)</b>.*?</figcaption>", page)
    assert sorted(order) == ["L01 W01", "L01 W02", "L02 W01", "L02 W02"]


def test_runs_without_places_show_none(tmp_path: Path) -> None:
    assert frame_of({}) is None and frame_of({"inputs": {"wafer": None}}) is None
    assert decompose([]) is None


def test_recipe_faults(
    run: tuple[RunFolder, list[dict[str, object]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for old, new, words in (
        ("notch: left", "notch: north", "north"),
        ("x: 26 mm", "x: 26", "26"),
        ("edge_exclusion: 3 mm", "edge: 3 mm", "edge"),
    ):
        path = tmp_path / "bad.yaml"
        path.write_text(RECIPE.replace(old, new))
        assert main(["recipe", "check", str(path)]) == 2
        assert words in capsys.readouterr().err


def test_map_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.csv"
    path.write_text("X,Y,slot1,slot2\n0,0,10.0,11\n100,0,12.0,12\n0,-147,14.0,\n")
    out = tmp_path / "page" / "map.html"
    assert main(["map", str(path), "--out", str(out)]) == 2
    assert "--unit" in capsys.readouterr().err and not out.exists()
    assert main(["map", str(path), "--unit", "nm", "--out", str(out), "--edge-exclusion", "5mm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["maps"]
    assert [m["n"] for m in found] == [3, 2] and found[0]["figures"]["MEAN"] == pytest.approx(12.0)
    assert found[0]["outside"] == 1 and found[0]["off_wafer"] == 0 and found[0]["unit"] == "nm"
    text = out.read_text()
    assert text.count('class="wafermap"') == 2 and "no summaries of its own" in text and "#c9ced3" in text
    assert "off the wafer" not in text


def test_map_says_what_lies_off_the_wafer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of three sites of each of two wafers, 232 mm from the middle of a wafer of 300 mm; the unit is the file's."""
    path = tmp_path / "f.csv"
    path.write_text("X,Y,slot1 [angstrom],slot2 [nm]\n0,0,10.0,11\n100,0,12.0,12\n0,-232,14.0,13\n")
    out = tmp_path / "map.html"
    assert main(["map", str(path), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["maps"]
    assert [(m["unit"], m["off_wafer"], m["n"]) for m in found] == [("angstrom", 1, 3), ("nm", 1, 3)]
    assert "2 values lie off the wafer" in out.read_text()
    assert main(["map", str(path)]) == 0
    assert " ".join(capsys.readouterr().out.split()).count("1 of the sites off the wafer") == 2
    assert main(["map", str(path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "warning: 2 of 6 values lie farther from the middle than a wafer of 300mm reaches" in words
    assert "--diameter" in words


def test_map_refuses_what_is_no_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.csv"
    path.write_text("X,Y,slot1\n0,0,10.0\n100,0,12.0\n0,-140,14.0\n")
    assert main(["map", str(path), "--unit", "furlong"]) == 2
    said = capsys.readouterr().err
    assert "furlong" in said and "angstrom" in said and "nm" in said and "ohm" in said
    for unit in ("angstrom", "\u00c5", "\u00b5m", "ohm"):
        assert main(["map", str(path), "--unit", unit]) == 0


def value(number: float | None, *flags: str, provisional: bool = False, **acquisition: str) -> PlacedValue:
    return PlacedValue("t", "p", acquisition, None, number, 0.0, "none", flags, provisional)


def test_doubts_count_values_not_flags() -> None:
    """Three values with a warning, one with two; flags of information and values without a number do not count."""
    rows = [
        value(1.0, "saturated", "pixel_size_conflict"), value(2.0, "saturated", provisional=True), value(3.0),
        value(4.0, "coloured_border_cropped"), value(None, "saturated", provisional=True), value(5.0, "saturated"),
    ]  # fmt: skip
    assert FLAGS["coloured_border_cropped"].severity == "info"
    assert doubts(rows) == {"flagged": 3, "provisional": 1, "flags": {"saturated": 3, "pixel_size_conflict": 1}}


def test_values_with_flags_are_left_out_by_name_or_all() -> None:
    """A value with two of the flags counts once as a value and once for each flag; without a name all stay."""
    rows = [
        value(1.0, "saturated", "pixel_size_conflict"), value(2.0, "saturated"), value(3.0),
        value(4.0, "coloured_border_cropped"), value(None, "saturated"), value(5.0, "few_lines"),
    ]  # fmt: skip
    assert leave_out(rows, ()) == (rows, None)
    kept, said = leave_out(rows, {"saturated"})
    assert [row.value for row in kept] == [3.0, 4.0, 5.0] and said == {"values": 2, "flags": {"saturated": 2}}
    kept, said = leave_out(rows, {"warnings"})
    assert [row.value for row in kept] == [3.0, 4.0]
    assert said == {"values": 3, "flags": {"saturated": 2, "few_lines": 1, "pixel_size_conflict": 1}}
    # a flag of information is left out where it is named, and only there
    assert leave_out(rows, {"coloured_border_cropped"})[1] == {"values": 1, "flags": {"coloured_border_cropped": 1}}
    with pytest.raises(ParameterError, match="there is no flag 'saturatd'") as error:
        leave_out(rows, {"saturatd"})
    assert error.value.remedy == "did you mean saturated?"


def test_lot_without_flagged_values(
    run: tuple[RunFolder, list[dict[str, object]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command leaves out are the values that it counted as doubtful, and the spread is that of the rest."""
    folder, _ = run
    assert main(["lot", str(folder.path), "--json"]) == 0
    (all_of_them,) = json.loads(capsys.readouterr().out)["characteristics"]
    assert all_of_them["left_out"] is None
    assert main(["lot", str(folder.path), "--leave-out", "warnings,saturated", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["characteristics"]
    assert row["left_out"]["values"] == all_of_them["doubts"]["flagged"] and row["doubts"]["flagged"] == 0
    assert row["values"] == all_of_them["values"] - row["left_out"]["values"] == row["components"]["n"]
    assert main(["lot", str(folder.path), "--leave-out", "warnings"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"left out: {row['left_out']['values']} of {all_of_them['values']} values" in words
    assert main(["lot", str(folder.path), "--leave-out", "saturatd"]) == 2
    assert "did you mean saturated" in capsys.readouterr().err


def test_flags_of_a_part_hold_for_its_values_unless_they_speak_of_others() -> None:
    row = placed("t", "p", {}, {"value": 1.0, "flags": ["few_lines"]}, None, ("saturated", "partial_result"))
    assert row.flags == ("few_lines", "saturated")
    own = {"value": None, "flags": ["not_evaluated"], "decision": {"verdict": "none", "provisional": True}}
    row = placed("t", "p", {}, own, None, ("not_evaluated",))
    assert row.flags == ("not_evaluated",) and row.provisional


def test_why_there_are_no_components() -> None:
    assert "fewer" in why_no_components([value(1.0, lot="A")])
    assert "name no lot" in why_no_components([value(1.0)] * 4)
    one = [value(1.0, lot="A", wafer="1")] * 4
    assert decompose(one) is None
    assert why_no_components(one).startswith("all 4 values are of one lot (A), one wafer (1), no field named")
    assert "one field (X0), no lot or wafer named" in why_no_components([value(1.0, field="X0")] * 4)


def test_lot_says_how_many_values_are_doubtful(
    run: tuple[RunFolder, list[dict[str, object]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The counts of the command are those of the records, read here once more and by hand."""
    from collections import Counter

    folder, _ = run
    counts: Counter[str] = Counter()
    flagged = 0
    for outcome in folder.outcomes():
        record = folder.read_record(outcome.task_id).document if str(outcome.outcome).startswith("measured") else {}
        for m in record.get("measurements", ()):
            names = {f for f in {*m["flags"], *outcome.flags} if FLAGS[f].severity != "info"}
            if m["value"] is not None:
                counts.update(names)
                flagged += bool(names)
    assert main(["lot", str(folder.path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["characteristics"]
    assert row["doubts"]["flagged"] == flagged and row["doubts"]["flags"] == dict(counts)
    assert main(["lot", str(folder.path)]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert (f"{flagged} of the 47 values carry flags of warning" in words) is bool(flagged)
    for name in counts:
        assert f"{name} {counts[name]}" in words and FLAGS[name].summary in words


def test_lot_takes_no_record_that_was_changed(
    run: tuple[RunFolder, list[dict[str, object]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As verify and export: a record with another value, one that is gone, a line out of the journal."""
    import h5py

    folder, _ = run
    task = next(row.task_id for row in folder.outcomes() if row.outcome == "measured")

    def edited(copy: RunFolder) -> None:
        with h5py.File(copy.record_path(task), "r+") as file:
            document = json.loads(bytes(file["record"][()]))
            document["measurements"][0]["value"] += 3.0
            del file["record"]
            file["record"] = np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)

    def cut(copy: RunFolder) -> None:
        lines = (copy.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
        (copy.path / "journal.jsonl").write_bytes(b"".join(lines[:5] + lines[6:]))

    for number, damage in enumerate((edited, lambda copy: copy.record_path(task).unlink(), cut)):
        out = tmp_path / str(number)
        shutil.copytree(folder.path, out)
        assert main(["lot", str(out)]) == 0
        capsys.readouterr()
        damage(RunFolder(out))
        assert main(["lot", str(out)]) == main(["verify", str(out)]) == 5
        assert "values" not in capsys.readouterr().out.split("NOT intact")[0]


def test_lot_of_a_run_that_is_not_finished(
    run: tuple[RunFolder, list[dict[str, object]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal as a power cut leaves it: the parts that are missing are counted, and the code is that of `status`."""
    folder, _ = run
    out = tmp_path / "cut"
    shutil.copytree(folder.path, out)
    lines = (out / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (out / "journal.jsonl").write_bytes(b"".join(lines[:31]))  # the opening and 30 parts
    gone = 48 - 30 + 1  # and the blank one
    assert main(["lot", str(out)]) == main(["status", str(out)]) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "the run is not finished" in said and f"{gone} of the 48 parts have no value" in said and "not run 18" in said
    )
    assert main(["lot", str(out), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is False and found["parts"] == 48 and found["outcomes"]["not_run"] == 18
    (out / "journal.jsonl").write_bytes(lines[0])
    assert main(["lot", str(out)]) == 4
    assert "nothing to compare: none of the 48 parts has a value" in capsys.readouterr().out


def test_the_same_bytes_count_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every image twice, under another wafer too: components, and those of the report, are those of the images."""
    plan = WaferLots(1, 2, 3, 2, sd_field=0.2, sd_image=0.15, model=SemModel(shape=(64, 192), sigma=0.4))
    for row, image in wafer_images(plan, seed=5):
        for folder in ("single/a", "double/a", "double/b"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            write_tiff(tmp_path / folder / str(row["file"]).replace("W01", f"W{folder[-1]}1"), image)
    said = {}
    for name in ("single", "double"):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(
            RECIPE.replace('"*.tif"', f'"{name}/*/*.tif"').replace("W[0-9]+", "W[0-9a-z]+").replace("16.7", "16")
        )
        main(["run", str(recipe), "--out", str(tmp_path / f"run-{name}")])
        words = "".join(capsys.readouterr()).replace("\n", " ")
        assert ("12 parts made of the bytes of another" in words) is (name == "double")
        assert main(["lot", str(tmp_path / f"run-{name}"), "--json"]) == 0
        said[name] = json.loads(capsys.readouterr().out)
    (one,), (two,) = said["single"]["characteristics"], said["double"]["characteristics"]
    assert one["components"] == two["components"] and one["values"] == two["values"] == 12
    assert (one["copies"], two["copies"], len(said["double"]["copies"])) == (0, 12, 12)
    assert said["single"]["copies"] == {}
    assert main(["lot", str(tmp_path / "run-double")]) == 0
    assert "each counts once, under its first name" in " ".join(capsys.readouterr().out.split())
    tables = [
        re.search(
            r'<table class="mini spread">.*?</table>', (tmp_path / f"run-{n}/report/index.html").read_text(), re.S
        )
        for n in said
    ]
    assert tables[0] and tables[1] and tables[0].group() == tables[1].group()
    pages = [(tmp_path / f"run-{n}/report/index.html").read_text() for n in said]
    assert ["Not counted a second time: 12 of the values" in page for page in pages] == [False, True]


def test_copies_are_told_by_bytes_and_item() -> None:
    """Two items of one file are no copies of each other, nor two files that could not be read."""
    from pipelines.plan import InputRef, Task

    def task(part: str, digest: str | None, item: str | None = None) -> Task:
        return Task(part, part, (InputRef(part, digest, 1),), item=item)

    tasks = [
        task("a", "1"),
        task("b", "2", "s1"),
        task("c", "2", "s2"),
        task("d", "1"),
        task("e", None),
        task("f", None),
    ]
    assert copies_in(tasks) == {"d": "a"}
    rows = [PlacedValue(t, t, {}, None, 1.0, 0.0, "none", source=s) for t, s in (("a", "1"), ("a", "1"), ("d", "1"))]
    rows += [PlacedValue(t, t, {}, None, 1.0, 0.0, "none") for t in ("e", "f")]
    assert [row.task for row in once(rows)] == ["a", "a", "e", "f"]
