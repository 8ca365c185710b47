"""``abbe fit`` on text clouds that leave something open: the remedy names options that exist and work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli import main


def _cylinder(n: int = 40) -> np.ndarray:
    rng = np.random.default_rng(2)
    t = rng.uniform(0.0, 2.0 * np.pi, n)
    return np.column_stack((10.0 * np.cos(t), 10.0 * np.sin(t), rng.uniform(0.0, 20.0, n)))


def test_a_column_of_numbers_is_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "index.csv"
    np.savetxt(path, np.column_stack((np.arange(40), _cylinder())), delimiter=",", fmt=["%d", "%.9f", "%.9f", "%.9f"])
    words = ["fit", "cylinder", str(path), "--unit", "mm", "--json"]
    assert main(words) == 3
    assert "--columns index,x,y,z" in json.loads(capsys.readouterr().out)["error"]["remedy"]
    assert main([*words, "--columns", "index,x,y,z"]) == 0
    # written with nine decimals
    assert json.loads(capsys.readouterr().out)["parameters"]["radius"] == pytest.approx(10.0, abs=1e-8)


def test_decimal_comma_and_separator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "comma.csv"
    path.write_text("\n".join("; ".join(f"{v:.9f}".replace(".", ",") for v in row) for row in _cylinder()))
    words = ["fit", "cylinder", str(path), "--unit", "mm", "--json", "--separator", "semicolon", "--decimal", "comma"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["radius"] == pytest.approx(10.0, abs=1e-8)


def test_values_are_printed_to_their_uncertainty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "far.csv"
    points = _cylinder() + np.array((1e6, 0.0, 0.0)) + np.random.default_rng(3).normal(0.0, 0.001, (40, 3))
    np.savetxt(path, points, delimiter=",", fmt="%.9f")
    assert main(["fit", "cylinder", str(path), "--unit", "mm"]) == 0
    shown = capsys.readouterr().out
    assert "1000000.000" in shown or "999999.99" in shown  # a place known to micrometres is shown to micrometres


def test_two_columns_are_points_of_a_plane_and_are_fitted_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from metrology_core import fit

    rng = np.random.default_rng(5)
    t = rng.uniform(0.0, 2.0 * np.pi, 60)
    xy = (20.0 + rng.normal(0.0, 0.002, 60))[:, None] * np.column_stack((np.cos(t), np.sin(t))) + (3.0, -7.0)
    path = tmp_path / "profile.txt"
    np.savetxt(path, xy, fmt="%.17g")
    words = ["fit", "circle", str(path), "--unit", "mm", "--json"]
    assert main(words) == 3
    assert "--columns x,y" in json.loads(capsys.readouterr().out)["error"]["remedy"]
    assert main([*words, "--columns", "x,y"]) == 0
    found = json.loads(capsys.readouterr().out)
    plain = fit(xy, "circle", unit="mm")
    # the same points to the last digit, and no heights that pretend to be measured
    assert found["parameters"]["radius"] == plain.parameters["radius"]
    assert found["standard_uncertainty"]["radius"] == plain.standard_uncertainty["radius"]
    assert "points_are_unknown" in found["flags"]
    assert main(["fit", "cylinder", str(path), "--unit", "mm", "--json", "--columns", "x,y"]) == 2
    capsys.readouterr()
    balls = ["--points-are", "ball_centre", "--tip-radius", "1 mm", "--material", "inside"]
    assert main([*words, "--columns", "x,y", *balls]) == 2
    assert "ball centres without z" in json.loads(capsys.readouterr().out)["error"]["message"]
