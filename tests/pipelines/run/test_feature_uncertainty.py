"""Recipes that name another source of uncertainty: simulation, calibrated workpiece, process prior, instrument file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core.conformity import Tolerance
from metrology_core.uncertainty import Normal, global_risk, specific_risk
from pipelines.export.csv_table import csv_bytes
from pipelines.recipe import RecipeProblems, decision_rule, parse_recipe
from pipelines.recipe.models import DecisionSpec
from pipelines.record import read_record
from pipelines.run import run_recipe
from pipelines.store import RunFolder
from pointcloud.simulate import simulate_lot
from tests.pipelines.recipe.test_recipe_errors import BASE, faults, place

READINGS = ", ".join(f"{60.0 + 1e-3 * (1.0 + (-1.0) ** i):.4f} mm" for i in range(20))
WORKPIECE = f"{{value: 60.0004 mm, u: 0.3 um, readings: [{READINGS}], u_workpiece: 0.4 um}}"


def edited(folder: Path, *pairs: tuple[str, str]) -> Path:
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def lot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lot")
    simulate_lot(folder, n=1, bad={})
    return edited(
        folder,
        ("  datum_system:", "  simulation: {trials: 200}\n  datum_system:"),
        ("of: bore, nominal: 60 mm,", f"of: bore, nominal: 60 mm, calibrated_workpiece: {WORKPIECE},"),
        ("of: seat_1, nominal: 100 mm,", "of: seat_1, nominal: 100 mm, process: {mean: 100 mm, sd: 8 um},"),
        ('valid_until: "2027-06-30"', 'valid_until: "2026-01-31"\n  environment: room 2'),
    )


@pytest.fixture(scope="module")
def measured(lot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "r"
    run_recipe(lot, out=out, report=False)
    return next((out / "measurements").glob("*.h5"))


@pytest.fixture(scope="module")
def record(measured: Path) -> Any:
    return read_record(measured)


def row(record: Any, name: str) -> dict[str, Any]:
    return next(m for m in record.document["measurements"] if m["name"] == name)


def test_simulated_uncertainty_reaches_the_record(record: Any) -> None:
    hole = row(record, "hole position")
    assert "uncertainty by simulation of CMM-07, 200 repeats" in hole["method"]
    causes = {part["id"].rsplit("/", 1)[1] for part in hole["budget"]}
    assert {"scale", "squareness", "position", "repeatability", "temperature"} <= causes
    assert all("MPE / 2" in part["label"] for part in hole["budget"] if part["id"].endswith(("scale", "position")))
    assert hole["interval"][0] < hole["value"] < hole["interval"][1]
    view = next(view for view in record.document["views"] if view["kind"] == "simulation")
    names = view["names"]
    correlation = np.asarray(record.arrays["simulation/correlation"])
    assert correlation.shape == (len(names), len(names)) and "blade section profile" in names and not view["skipped"]
    # two sizes are probed with one tip of unknown radius: bore and shaft go against each other
    assert correlation[names.index("bore diameter"), names.index("seat 2 diameter")] < -0.2
    assert 0.0 <= view["joint_conformity"] <= 1.0 and view["trials"] == 200
    profile = row(record, "blade section profile")
    assert "noise as evaluated, all other errors by simulation of CMM-07" in profile["method"]
    assert {part["id"].split("/")[0] for part in profile["budget"]} == {"noise", "fit", "simulated"}
    # what is counted together, and what is not, by name: the experiment's correlation with the others nobody knows
    limited = {m["name"] for m in record.document["measurements"] if m["tolerance"]}
    assert set(view["joint_of"]) | set(view["joint_left_out"]) == limited
    assert not set(view["joint_of"]) & set(view["joint_left_out"])
    assert "calibrated workpiece" in view["joint_left_out"]["bore diameter"]
    assert "largest of many points" in view["joint_left_out"]["flange flatness"]
    single = [row(record, name)["decision"]["conformity_probability"] for name in view["joint_of"]]
    # Frechet's bounds of a joint probability
    assert max(0.0, 1.0 - sum(1.0 - p for p in single)) - 1e-12 <= view["joint_conformity"] <= min(single) + 1e-12


def test_value_U_and_interval_of_a_simulated_value_agree(record: Any) -> None:
    drawn = [m for m in record.document["measurements"] if m["name"] in joint(record)]
    assert len(drawn) > 5
    for m in drawn:
        low, high = m["interval"]
        assert m["U"] == pytest.approx(max(m["value"] - low, high - m["value"]), rel=1e-12)
        assert m["k"] == pytest.approx(m["U"] / m["u"], rel=1e-12)
        assert low <= m["value"] <= high
        # the same to both sides, but for the physical bound at 0; quantiles of mirrored draws are mirror images
        mirrored = 2.0 * m["value"] - high
        assert low == pytest.approx(max(0.0, mirrored) if low == 0.0 else mirrored, abs=1e-9 * abs(m["value"]) + 1e-12)
        # 95 % of nearly normal errors of 200 trials: 1.96 with a standard error of 0.1; zones near zero less
        assert 1.4 < m["k"] < 2.4


def test_the_table_of_a_run_has_the_same_U_and_k(record: Any, measured: Path) -> None:
    rows = list(csv.DictReader(csv_bytes(RunFolder(measured.parents[1])).decode("utf-8").splitlines()))
    shown = {row["name"]: row for row in rows}
    for m in record.document["measurements"]:
        line = shown[m["name"]]
        assert (float(line["U"]), float(line["k"])) == (m["U"], m["k"])
        assert [float(line["interval_low"]), float(line["interval_high"])] == m["interval"]
    assert {m["k"] for m in record.document["measurements"] if m["name"] not in joint(record)} == {2.0}


def joint(record: Any) -> list[str]:
    view = next(view for view in record.document["views"] if view["kind"] == "simulation")
    return list(view["joint_of"])


def test_an_expired_calibration_is_on_every_result(record: Any) -> None:
    for m in record.document["measurements"]:
        assert {"calibration_expired", "provisional_verdict"} <= set(m["flags"]), m["name"]
        assert m["decision"]["provisional"]
    assert record.document["instrument"]["environment"] == "room 2"


def test_the_calibrated_workpiece_is_the_source_of_its_characteristic(record: Any) -> None:
    bore = row(record, "bore diameter")
    assert {part["id"].split("/")[-1 if "process" not in part["id"] else -2] for part in bore["budget"]} == {
        "calibration", "process", "workpiece",
    }  # fmt: skip
    # mean reading 60.001 against 60.0004; the sd of ten 0 and ten 2 um is sqrt(20/19) um; by hand
    assert bore["u"] == pytest.approx(1e-3 * np.sqrt(0.09 + 20.0 / 19.0 + 0.16), rel=1e-9)
    assert "corrected for its bias of 0.0006 mm" in bore["method"] and "ISO 15530-3" in bore["method"]
    assert "simulation" not in bore["method"] and "tip_taken_as_exact" not in bore["flags"]
    assert bore["dof"] == pytest.approx(19.0 * (bore["u"] ** 2 / (1e-6 * 20.0 / 19.0)) ** 2, rel=1e-9)


@pytest.mark.parametrize(
    ("value", "reading", "flag"),
    [("60.02 mm", "60.02 mm", None), ("90 mm", "90 mm", "workpiece_of_another_size"),
     ("60.0 mm", "60.02 mm", "bias_exceeds_uncertainty")],
)  # fmt: skip
def test_a_doubtful_experiment_makes_the_verdict_provisional(
    value: str, reading: str, flag: str | None, tmp_path: Path
) -> None:
    simulate_lot(tmp_path / "lot", n=1, bad={})
    text = f"{{value: {value}, u: 0.3 um, readings: [{', '.join([reading] * 20)}], u_workpiece: 0.4 um}}"
    recipe = edited(
        tmp_path / "lot", ("of: bore, nominal: 60 mm,", f"of: bore, nominal: 60 mm, calibrated_workpiece: {text},")
    )
    run_recipe(recipe, out=tmp_path / "r", report=False)
    bore = row(read_record(next((tmp_path / "r" / "measurements").glob("*.h5"))), "bore diameter")
    assert bore["decision"]["provisional"] is (flag is not None)
    doubts = {"workpiece_of_another_size", "bias_exceeds_uncertainty"} & set(bore["flags"])
    assert doubts == ({flag} if flag else set())
    assert ("provisional_verdict" in bore["flags"]) is (flag is not None)


def test_risks_under_a_process(record: Any) -> None:
    seat = row(record, "seat 1 diameter")
    risk = seat["details"]["risk"]
    limits, prior = Tolerance(99.985, 100.015, "mm"), Normal(100.0, 8e-3)
    assert risk["conformity_probability"] == pytest.approx(
        specific_risk(seat["value"], seat["u"], limits, prior).conforming, abs=1e-12
    )
    accept = Tolerance(seat["decision"]["acceptance_lower"], seat["decision"]["acceptance_upper"], "mm")
    assert risk["consumer_risk"] == pytest.approx(global_risk(prior, seat["u"], limits, accept).consumer, abs=1e-12)
    # with guarded acceptance next to nothing wrong is accepted: below 5 % of what the process makes wrong
    assert risk["consumer_risk"] < 0.05 * (1.0 - risk["conforming"]) + 1e-4


def test_another_run_gives_the_same_bytes(lot: Path, measured: Path, tmp_path: Path) -> None:
    run_recipe(lot, out=tmp_path / "again", report=False)
    assert next((tmp_path / "again" / "measurements").glob("*.h5")).read_bytes() == measured.read_bytes()


# --- recipes
def test_decision_rules_of_the_recipe() -> None:
    made = {
        rule: decision_rule(DecisionSpec(rule=rule, guard_factor=0.5))
        for rule in ("guard_band", "guarded_rejection", "non_binary")
    }  # type: ignore[arg-type]
    assert made["guard_band"].factor == 0.5 and made["guarded_rejection"].factor == -0.5
    assert made["non_binary"].kind == "non_binary" and made["non_binary"].factor == 0.5
    text = BASE.replace(
        "decision: {rule: iso14253-1, proving: conformity, probability: 0.95}",
        "decision: {rule: non_binary, guard_factor: 0.5}",
    )
    assert decision_rule(parse_recipe(text).recipe.decision).kind == "non_binary"
    bad = BASE.replace(
        "decision: {rule: iso14253-1, proving: conformity, probability: 0.95}",
        "decision: {rule: simple_acceptance, guard_factor: 1.0}",
    )
    assert "guarded_rejection" in faults(bad)[0].message


SIMULATED = BASE.replace("  datum_system:", "  simulation: {trials: 1000}\n  datum_system:")
BORE = "of: bore, nominal: 60 mm,"
MIXED = "calibrated_workpiece: {value: 60 mm, u: 1 um, readings: [60 mm, 1 deg]}"
FLAT = "volume: {lower: [0 mm, 0 mm, 0 mm], upper: [1 mm, 1 mm, 0 mm]}"
CASES = {  # what is written, the place of the fault, what is said
    "no MPE": (
        SIMULATED.replace("  mpe: {constant: 1.5 um, per_length: 3 um/m}\n", ""), "simulation:", "with its MPE",
    ),
    "trials": (SIMULATED.replace("trials: 1000", "trials: 5"), "5}\n  datum", "100"),
    "volume": (BASE.replace("  noise:", f"  {FLAT}\n  noise:"), "[1 mm, 1 mm, 0 mm]", "above the lower"),
    "angle": (BASE.replace(BORE, f"process: {{mean: 1 deg, sd: 1 deg}}, {BORE}"), "1 deg", "is a length"),
    "mixed": (BASE.replace(BORE, f"{MIXED}, {BORE}"), "60 mm, u:", "different dimensions"),
    "no tolerance": (
        BASE.replace("of: flange, tolerance: {max: 20 um}", "of: flange, process: {mean: 5 um, sd: 1 um}"),
        "process", "need a tolerance",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_faults_are_found_at_their_place(name: str) -> None:
    text, marker, message = CASES[name]
    assert any(
        (f.line, f.column) == place(text, marker) and message in f.message + (f.hint or "") for f in faults(text)
    ), [(f.line, f.column, f.message) for f in faults(text)]


def test_an_instrument_file_without_mpe_is_no_simulation(tmp_path: Path) -> None:
    lines = SIMULATED.splitlines(keepends=True)
    start, end = lines.index("instrument:\n"), next(i for i, line in enumerate(lines) if line.startswith("decision"))
    (tmp_path / "cmm.yaml").write_text("id: CMM-07\nnoise: 0.4 um\n")
    text = "".join([*lines[:start], "instrument: {file: cmm.yaml}\n", *lines[end:]])
    with pytest.raises(RecipeProblems) as caught:
        parse_recipe(text, folder=tmp_path)
    assert "needs an instrument with its MPE" in caught.value.problems[0].message
    (tmp_path / "cmm.yaml").write_text("".join(line[2:] for line in lines[start + 1 : end]))
    assert parse_recipe(text, folder=tmp_path).recipe.measure.simulation is not None  # type: ignore[union-attr]


def test_the_schema_of_instrument_files(capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli.entry import main

    assert main(["recipe", "schema", "--instrument"]) == 0
    schema = json.loads(capsys.readouterr().out)
    optics = {"scanner", "microscope", "profiler"}
    assert optics | {"id", "mpe", "certificate", "valid_until", "environment", "volume"} <= set(schema["properties"])
    assert schema["required"] == ["id"] and schema["additionalProperties"] is False
