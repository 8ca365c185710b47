"""What the first interrupt says is finished first."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import pipelines.run as run_module
from pipelines.run import run_recipe
from tests.pipelines.run.test_odd_inputs import RECIPE


def test_an_interrupt_during_the_report_speaks_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    xy = np.random.default_rng(1).uniform(0.0, 10.0, (40, 2))
    (tmp_path / "parts" / "a.csv").write_text("x,y,z,label\n" + "".join(f"{x},{y},0.0,top\n" for x, y in xy))
    real, told = run_module._report, []

    def interrupted(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "_report", interrupted)
    summary = run_recipe(tmp_path / "recipe.yaml", out=tmp_path / "run", on_interrupt=told.append)
    assert told == ["report"]
    assert not summary.interrupted and summary.report is not None and summary.report.is_file()
