"""Scanner, microscope and profiler as virtual instruments of a recipe, through `abbe run`: lots measured by others.

The instruments that measured the lots are those of `benchmarks.accuracy.virtual_instruments`: lenses, uniform figures,
Laplace and Student noise. Its script runs the coverage of hundreds of parts; here are a few of each.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.accuracy.virtual_instruments import KINDS, write_lot
from metrology_core.units import convert
from pipelines.cli.entry import main
from pipelines.store import RunFolder
from pointcloud.readers.api import read_points
from tests.docs.documents import blocks

PARTS = 6
CAUSES = {
    "scanner": {"distortion", "registration", "noise"},
    "microscope": {"scale", "distortion", "edge_offset", "noise"},
    "profiler": {"z_scale", "linearity", "flatness", "lateral", "noise"},
}
FORMS = ("plate flatness", "roundness", "flatness")  # of perfect surfaces: their own subject, docs/coverage.md


@pytest.fixture(scope="module", params=KINDS)
def lot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    truth = write_lot(folder / "lot", request.param, PARTS, 2024, 400)
    code = main(["run", str(folder / "lot" / "recipe.yaml"), "--out", str(folder / "run")])
    run = RunFolder(folder / "run")
    records = {Path(run.task(row.task_id).inputs[0].path).stem: run.read_record(row.task_id) for row in run.outcomes()}
    assert code in (0, 1, 6) and all(row.outcome.startswith("measured") for row in run.outcomes()), [
        row.reason for row in run.outcomes()
    ]
    return request.param, truth, records, folder / "run"


def test_budgets_name_every_cause(lot: Any) -> None:
    kind, _, records, _ = lot
    record = next(iter(records.values()))
    view = next(view for view in record.document["views"] if view["kind"] == "simulation")
    assert {cause["key"] for cause in view["causes"]} == CAUSES[kind] and not view["skipped"]
    assert view["joint_of"] and set(view["joint_left_out"]) == set(FORMS) & set(view["names"])
    for m in record.document["measurements"]:
        keys = {row["id"].rsplit("/", 1)[1] for row in m["budget"]}
        if m["name"] in FORMS:
            assert "systematic" in keys
            continue
        assert keys <= {*CAUSES[kind], "nonlinear", "bound", "form"} and len(keys) >= 3, (m["name"], keys)
        assert m["method"].count("uncertainty by simulation of") == 1 and not m["decision"]["provisional"]
        assert m["interval"][0] <= m["value"] <= m["interval"][1]
    distance = next(m for m in record.document["measurements"] if m["name"] in ("ball distance", "pitch"))
    assert {row["type"] for row in distance["budget"]} == {"B"}


def test_the_report_says_what_was_simulated(lot: Any) -> None:
    kind, _, records, run = lot
    page = next((run / "report" / "parts").glob("*.html")).read_text(encoding="utf-8")
    view = next(view for view in next(iter(records.values())).document["views"] if view["kind"] == "simulation")
    assert f"virtual instrument {view['instrument']}, 400 repeats" in page
    assert f"that the {len(view['joint_of'])} simulated characteristics with limits meet them all" in page
    for cause in view["causes"]:
        assert re.sub(r"\s+", " ", cause["label"]) in page, cause["label"]
    assert "(k = 1." in page or "(k = 2." in page
    if kind == "scanner":
        assert "a point belongs to the view that the file names" in page


def test_intervals_hold_the_truth_of_parts_that_another_instrument_measured(lot: Any) -> None:
    kind, truth, records, _ = lot
    hits: dict[str, int] = {}
    for name, record in records.items():
        for m in record.document["measurements"]:
            true = convert(truth[name][m["name"]], KINDS[kind].unit, m["unit"])
            hits[m["name"]] = hits.get(m["name"], 0) + (m["interval"][0] <= true <= m["interval"][1])
    # every part has an instrument of its own, so parts are independent: of 6 with probability 0.95 each at most 2 hold
    # in one of 2 million cases... at most 2 hits: 9e-5; 19 characteristics together 2e-3
    assert all(count >= 3 for name, count in hits.items() if name not in FORMS), hits


def test_without_a_column_the_declared_view_is_chosen_by_incidence(tmp_path: Path) -> None:
    write_lot(tmp_path / "lot", "scanner", 1, 11, 100)
    path = next((tmp_path / "lot" / "parts").glob("*.csv"))
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(row.rsplit(",", 1)[0] for row in rows) + "\n", encoding="utf-8")
    assert main(["run", str(tmp_path / "lot" / "recipe.yaml"), "--out", str(tmp_path / "run")]) in (0, 1, 6)
    run = RunFolder(tmp_path / "run")
    (row,) = run.outcomes()
    (view,) = [v for v in run.read_record(row.task_id).document["views"] if v["kind"] == "simulation"]
    labels = {cause["key"]: cause["label"] for cause in view["causes"]}
    assert "the view that sees it at the smallest angle of incidence" in labels["noise"]


def test_points_of_an_undeclared_view_are_a_fault_of_the_data(tmp_path: Path) -> None:
    write_lot(tmp_path / "lot", "scanner", 1, 12, 100)
    path = next((tmp_path / "lot" / "parts").glob("*.csv"))
    path.write_text(path.read_text(encoding="utf-8").replace(",left\n", ",below\n", 1), encoding="utf-8")
    main(["run", str(tmp_path / "lot" / "recipe.yaml"), "--out", str(tmp_path / "run")])
    (row,) = RunFolder(tmp_path / "run").outcomes()
    assert row.outcome == "unusable_data" and row.reason is not None
    assert "view that SL-1 does not declare" in row.reason["message"] and "below" in row.reason["message"]


def test_what_an_instrument_does_not_measure_keeps_its_uncertainty_and_says_so(tmp_path: Path) -> None:
    """The holes of the microscope's lot under a profiler: circles are no heights."""
    write_lot(tmp_path / "lot", "microscope", 1, 13, 100)
    profiler = "id: P\ntype: profiler\nnoise: 0.4 um\nprofiler: {z_range: [-1 um, 1 um]}\n"
    (tmp_path / "lot" / "instrument.yaml").write_text(profiler, encoding="utf-8")
    assert main(["run", str(tmp_path / "lot" / "recipe.yaml"), "--out", str(tmp_path / "run")]) in (0, 1, 6)
    run = RunFolder(tmp_path / "run")
    (row,) = run.outcomes()
    document = run.read_record(row.task_id).document
    (view,) = [v for v in document["views"] if v["kind"] == "simulation"]
    assert set(view["skipped"]) == {m["name"] for m in document["measurements"]} and view["trials"] == 0
    assert all("is nothing that this instrument measures" in why for why in view["skipped"].values())
    assert all("by simulation" not in m["method"] and m["k"] == 2.0 for m in document["measurements"])
    page = next((tmp_path / "run" / "report" / "parts").glob("*.html")).read_text(encoding="utf-8")
    assert "is nothing that this instrument measures" in page


def test_the_instruments_of_the_manual_are_those_of_the_lots() -> None:
    """Every block of docs/instruments.md is an instrument, and with each a simulation is possible."""
    from pipelines.recipe.instruments import missing_for_simulation
    from pipelines.recipe.models import InstrumentSpec
    from pipelines.recipe.source import parse

    found = [parse(block.body, "instrument.yaml").data for block in blocks("docs/instruments.md", "yaml")]
    assert len(found) == 4
    for data in found:
        InstrumentSpec.model_validate(data)
        assert not missing_for_simulation(data)
    shown = {data["id"]: {k: v for k, v in data.items() if k not in ("certificate", "valid_until")} for data in found}
    for kind in KINDS.values():
        used = parse(kind.instrument, "instrument.yaml").data
        assert shown[used["id"]] == {k: v for k, v in used.items() if k not in ("certificate", "valid_until")}


@pytest.mark.parametrize("form", ["text", "ply", "ply binary", "hdf5 numbers", "hdf5 names"])
def test_readers_carry_the_view_of_each_point(form: str, tmp_path: Path) -> None:
    xyz = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.5], [2.0, 1.0, 0.25], [0.5, 2.0, 1.0]])
    views = np.array([3, 1, 1, 3])
    if form == "text":
        path = tmp_path / "p.csv"
        body = "".join(f"{x},{y},{z},v{k}\n" for (x, y, z), k in zip(xyz, views, strict=True))
        path.write_text("x,y,z,view\n" + body)
        names = ["v3", "v1", "v1", "v3"]
    elif form.startswith("ply"):
        path = tmp_path / "p.ply"
        order = "ascii" if form == "ply" else "binary_little_endian"
        head = f"ply\nformat {order} 1.0\nelement vertex 4\n" + "".join(f"property double {a}\n" for a in "xyz")
        head += "property uchar view\nend_header\n"
        table = np.zeros(4, dtype=[("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("view", "u1")])
        for axis, name in enumerate("xyz"):
            table[name] = xyz[:, axis]
        table["view"] = views
        text = "".join(f"{x} {y} {z} {k}\n" for (x, y, z), k in zip(xyz, views, strict=True))
        path.write_bytes(head.encode() + (text.encode() if form == "ply" else table.tobytes()))
        names = [str(k) for k in views]
    else:
        path = tmp_path / "p.h5"
        with h5py.File(path, "w") as file:
            file["scan/points"] = xyz
            names = [str(k) for k in views] if form == "hdf5 numbers" else [f"v{k}" for k in views]
            file["scan/view"] = views if form == "hdf5 numbers" else names
    found = read_points(path, unit="mm", points_are="surface")
    assert found.views is not None and [found.view_names[k] for k in found.views] == names
    half = found.select(np.array([False, True, True, False]))
    assert half.views is not None and [half.view_names[k] for k in half.views] == names[1:3]
    assert "columns_ignored" not in found.flags
