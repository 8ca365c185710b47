"""The recipe for real film maps: the tool's own printed figures stand beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipe import load_recipe
from pipelines.run import run_recipe
from pipelines.store import RunFolder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRINTED = {"mean": "MEAN", "smallest": "MIN", "largest": "MAX", "range": "RANGE", "s as printed": "STDDEV"}


@pytest.mark.real_data
def test_every_wafer_reproduces_what_the_tool_printed(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "wafer" / "waferscope_kla_f5"
    if not folder.is_dir():
        pytest.skip("the film maps are not among the shared data")
    assert load_recipe(EXAMPLES / "kla_film_maps.yaml").recipe.name == "native oxide"
    run_recipe(EXAMPLES / "kla_film_maps.yaml", data_root=folder, out=tmp_path / "run", report=False)
    found = RunFolder(tmp_path / "run")
    outcomes = found.outcomes()
    assert len(outcomes) == 37 and {str(o.outcome) for o in outcomes} <= {"measured", "measured_with_flags"}
    for outcome in outcomes:
        document = found.read_record(outcome.task_id).document
        view = document["views"][0]
        assert view["differences"] == [] and view["counts"]["used"] == 49
        values = {m["name"]: m for m in document["measurements"]}
        for name, printed in PRINTED.items():
            # both are rounded to 1e-4 angstrom: half of it each
            assert values[name]["value"] == pytest.approx(float(view["reported"][printed]), abs=1.01e-4), outcome.part
            assert values[name]["unit"] == "angstrom" and values[name]["U"] > 0.0
        printed_share = float(view["reported"]["% STDDEV"])
        noisy = (values["s as printed"]["value"] ** 2 - 0.05**2) ** 0.5 / values["mean"]["value"]
        assert values["non-uniformity"]["value"] == pytest.approx(100.0 * noisy, rel=1e-6)
        assert 0.0 < values["non-uniformity"]["value"] < printed_share
