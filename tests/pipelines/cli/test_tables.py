"""What the terminal says of U, its factor and the interval, and of flags."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from metrology_core.flags import FLAGS
from pipelines.cli import main
from pipelines.cli.tables import value_table


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(name + " "))
    return [part for part in line.split("  ") if part.strip()]


def printed(rows: list[dict[str, object]], **further: list[str]) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(value_table(rows, further=further))
    return out.getvalue()


def test_factor_and_interval_have_columns() -> None:
    """Drawn values have U of their own factor, few degrees of freedom an interval that U = 2 u does not hold."""
    plain = {"name": "a", "text": "20.00(10) mm", "value": 20.0, "unit": "mm", "U": 0.2, "k": 2.0, "p": 0.95}
    text = printed(
        [
            {**plain, "interval": [19.682, 20.318]},
            {**plain, "name": "b", "U": 0.352, "k": 3.52, "interval": [19.9, 20.352]},
            {**plain, "name": "c", "text": "", "value": None, "U": None, "interval": None},
            {**plain, "name": "d", "text": "1 mm", "value": 1.0, "U": 0.0, "k": None, "interval": [1.0, 1.0]},
        ],
        verdict=["yes", "no", "-", "-"],
    )
    assert "k=2" not in text.replace(" ", "") and "95 % interval" in text.splitlines()[0]
    assert [c.strip() for c in cells(text, "a")] == ["a", "20.00(10) mm", "0.20 mm", "2", "19.68 to 20.32", "yes"]
    assert [c.strip() for c in cells(text, "b")] == ["b", "20.00(10) mm", "0.35 mm", "3.52", "19.90 to 20.35", "no"]
    assert [c.strip() for c in cells(text, "c")] == ["c", "-", "-", "-", "-", "-"]
    assert [c.strip() for c in cells(text, "d")] == ["d", "1 mm", "0 mm", "-", "1 to 1", "-"]


def test_sem_lines_says_what_its_flags_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tifffile

    from wafer.simulate import SemModel, simulate_lines

    tifffile.imwrite(tmp_path / "l.tif", simulate_lines(SemModel(shape=(300, 300)), seed=3).pixels)
    assert main(["sem", "lines", str(tmp_path / "l.tif"), "--pixel", "0.8nm"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "95 % interval" in words and "U (k=2)" not in words
    assert f"repeatability_only (warning): {FLAGS['repeatability_only'].summary}" in words


def test_deviation_shows_factor_interval_and_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xy = np.random.default_rng(4).uniform(1.0, 39.0, (3000, 2))
    z = 0.01 * np.random.default_rng(5).standard_normal(3000)
    np.savetxt(tmp_path / "scan.csv", np.column_stack((xy, z)), delimiter=",", header="x,y,z", comments="")
    (tmp_path / "n.obj").write_text("v 0 0 0\nv 40 0 0\nv 40 40 0\nv 0 40 0\nf 1 2 3\nf 1 3 4\n")
    where = [str(tmp_path / "scan.csv"), str(tmp_path / "n.obj")]
    main(["deviation", *where, "--unit", "mm", "--align", "none", "--tolerance", "0.2 mm"])
    text = capsys.readouterr().out
    assert "U (k=2)" not in text
    words = " ".join(text.split())
    assert "95 % interval verdict" in words and "mean deviation" in words
    assert f"repeatability_only (warning): {FLAGS['repeatability_only'].summary}" in words
