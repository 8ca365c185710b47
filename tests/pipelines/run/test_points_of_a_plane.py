"""Edge points without z through `abbe run`: what is said where nobody named the columns, the same numbers with them.

And what the command line says of verdicts that are provisional because the calibration of the instrument has expired.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy.virtual_instruments import write_lot
from pipelines.cli.entry import main
from pipelines.steps.reader_remedies import in_the_recipe
from pipelines.store import RunFolder


def measured(lot: Path, out: Path) -> tuple[int, Any]:
    code = main(["run", str(lot / "recipe.yaml"), "--out", str(out)])
    (row,) = RunFolder(out).outcomes()
    return code, row


def test_a_microscope_measures_points_without_z_where_the_columns_are_named(tmp_path: Path) -> None:
    lot = tmp_path / "lot"
    write_lot(lot, "microscope", 1, 17, 100)
    (path,) = (lot / "parts").glob("*.csv")
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    z = rows[0].index("z")
    assert rows[0][:3] == ["x", "y", "z"] and {float(row[z]) for row in rows[1:]} == {0.0}
    code, whole = measured(lot, tmp_path / "whole")
    assert whole.outcome.startswith("measured") and code in (0, 1, 6)
    path.write_text("".join(",".join(row[:z] + row[z + 1 :]) + "\n" for row in rows), encoding="utf-8")
    code, refused = measured(lot, tmp_path / "refused")
    names = "x, y, label"
    assert [name for name in rows[0] if name != "z"] == ["x", "y", "feature"]
    assert code == 3 and refused.outcome == "unusable_data"
    assert re.search("z is missing|one column for z", refused.reason["message"])
    assert f"'inputs.text.columns: [{names}]'" in refused.reason["remedy"]
    recipe = (lot / "recipe.yaml").read_text(encoding="utf-8")
    stated = recipe.replace("  unit: um\n", f"  unit: um\n  text: {{columns: [{names}]}}\n", 1)
    (lot / "recipe.yaml").write_text(stated, encoding="utf-8")
    _, flat = measured(lot, tmp_path / "flat")
    assert flat.outcome.startswith("measured"), flat.reason
    one, two = (RunFolder(tmp_path / name).read_record(row.task_id).document["measurements"]
                for name, row in (("whole", whole), ("flat", flat)))  # fmt: skip
    assert [m["value"] for m in one] == [m["value"] for m in two]
    # the draws hang on the file and the recipe: two standard deviations of 100 trials each, 4 standard errors
    assert [m["U"] for m in one] == pytest.approx([m["U"] for m in two], rel=4.0 / 10.0)


@pytest.mark.parametrize("expired", [True, False])
def test_provisional_verdicts_are_counted_beside_the_verdicts(
    expired: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lot = tmp_path / "lot"
    write_lot(lot, "microscope", 2, 18, 100)
    text = (lot / "instrument.yaml").read_text(encoding="utf-8")
    day = "2026-05-03" if expired else "2026-05-04"  # the parts were measured on May 4
    changed = re.sub(r"\nvalid_until: .*", "", text).rstrip("\n") + f'\nvalid_until: "{day}"\n'
    (lot / "instrument.yaml").write_text(changed, encoding="utf-8")
    code = main(["run", str(lot / "recipe.yaml"), "--out", str(tmp_path / "run")])
    shown = capfd.readouterr().out
    assert main(["status", str(tmp_path / "run")]) == code
    shown_again = capfd.readouterr().out
    assert main(["status", str(tmp_path / "run"), "--json"]) == code
    document = json.loads(capfd.readouterr().out)
    assert sum(document["verdicts"].values()) == 2
    assert document["provisional"] == (document["verdicts"] if expired else {})
    assert document["calibration_expired"] == (2 if expired else 0)
    for page in (shown, shown_again):
        assert ("provisional)" in page) is expired
        assert ("instrument past its calibration: 2 parts" in page) is expired


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("state the columns with columns=", "state the columns with 'inputs.text.columns'"),
        ('pass columns=("x", "y", "z", "ignore", ...)', "write 'inputs.text.columns: [x, y, z, ignore, ...]'"),
        (
            'pass separator="," if they are whole numbers, else export with ";" as separator',
            "write 'inputs.text.separator: comma' if they are whole numbers, else export with \";\" as separator",
        ),
        (
            "check that this is a point file; else pass separator=, decimal= or columns=",
            "check that this is a point file; else write 'inputs.text.separator', 'inputs.text.decimal' or "
            "'inputs.text.columns'",
        ),
        ("use unit='inch', or correct the file", "use 'inputs.unit: inch', or correct the file"),
        (
            "pass label_column= with the number of the column, from 0",
            "name it label in 'inputs.text.columns'",
        ),
        ("repair the line", "repair the line"),
    ],
)
def test_remedies_of_the_readers_name_keys_of_the_recipe(said: str, wanted: str) -> None:
    assert in_the_recipe(said) == wanted
