"""Rounded corners of printed shapes: their radius from the contours, and edges that do not suffer from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from metrology_core.data import Image
from pipelines.cli import main
from wafer.contours.design import CONCAVE, CONVEX, LINE_END, Design, edges_of
from wafer.contours.evaluate import ContourResult, ContourSettings, measure_contours
from wafer.simulate.shapes import disc, elbows, holes, line_ends, rectangle, simulate_shapes

QUIET: dict[str, Any] = {"electrons_per_grey": 40.0, "read_noise": 0.3}  # a vertex scatters by 0.03 nm
PATTERNS = {"elbows": elbows(), "line ends": line_ends(), "holes": holes(4, 4, 44.0, 88.0)}


def measured(pattern: str, radius: float, seed: int, corner: float | None = None, **changes: Any) -> ContourResult:
    image = simulate_shapes(PATTERNS[pattern], seed=seed, corner_radius=radius, shift=(2.0, -3.0), **changes)
    return measure_contours(
        Image(image.pixels, "nm", image.model.pixel), ContourSettings(origin=(0.0, 0.0), criterion="model",
        corner=corner), design=Design(image.design, "nm"),
    )  # fmt: skip


@pytest.mark.parametrize("radius", [0.0, 5.0, 12.0])
@pytest.mark.parametrize(
    ("pattern", "changes"),
    [("elbows", {}), ("holes", {}), ("line ends", {}), ("line ends", {"pullback": 5.0, "end_width": 30.0})],
)
def test_edges_do_not_suffer_from_rounded_corners(pattern: str, changes: dict[str, Any], radius: float) -> None:
    """Drawn 0.7 nm larger, without roughness: every vertex that counts lies 0.7 nm out, to 5 standard deviations of its
    noise (0.03 nm, 2600 of them). With the zone of the beam alone some lie several nanometres in. The beam (1.6 nm)
    rounds a sharp corner to two of its standard deviations and adds less to a round one."""
    result = measured(pattern, radius, 51, bias=0.7, **QUIET, **changes)
    v = result.vertices
    epe = v["epe"][v["kind"] == 0]
    assert epe.size > 400 and np.abs(epe - 0.7).max() < 0.16
    assert result.measurements["sem.epe_mean"].value == pytest.approx(0.7, abs=0.01)
    assert result.measurements["sem.epe_1s"].value < 0.05
    where = result.registration
    assert where is not None and where["corners"]["source"] == "estimated"
    kinds = {"elbows": ("convex", "concave"), "holes": ("convex",), "line ends": ("line_end",)}[pattern]
    for name in kinds:
        found = where["corners"]["kinds"][name]
        if radius == 0.0:
            assert 0.0 <= found["radius"] <= 2.2 * 1.6
        else:
            assert found["radius"] == pytest.approx(radius, abs=1.2)
        assert found["reach"] > found["radius"] + found["begin"]


@pytest.mark.parametrize("radius", [0.0, 12.0])
def test_rounding_does_not_widen_the_spread(radius: float) -> None:
    """Rough edges of 0.5 nm: the standard deviation is theirs, whatever the corners (it was 0.77 nm with 12 nm at ends
    pulled back by 5 nm). Interval of one image, so by its own statement of 99.9 %."""
    result = measured(
        "line ends", radius, 52, roughness=0.5, correlation_length=25.0, hurst=1.0, pullback=5.0, end_width=30.0
    )
    low, high = result.measurements["sem.epe_1s"].coverage_interval(0.999)
    assert low < 0.5 < high


def test_a_stated_zone_counts_before_what_is_seen() -> None:
    result = measured("elbows", 12.0, 53, corner=7.0, **QUIET)
    where = result.registration
    assert where is not None and where["corner"] == 7.0 and where["corners"]["source"] == "stated"
    v = result.vertices
    # an arc of 12 nm lies 1.09 nm inside the edge at 7 nm from the corner, 0.49 nm one vertex (1.6 nm) farther
    assert 0.4 < np.abs(v["epe"][v["kind"] == 0]).max() < 1.3


def test_nothing_to_see() -> None:
    """Lines that leave the image have no corner in it: the width of the edge decides."""
    lines = [rectangle(x - 14.0, -400.0, x + 14.0, 400.0) for x in (-112.0, -56.0, 0.0, 56.0, 112.0)]
    image = simulate_shapes(lines, seed=54, roughness=1.0)
    result = measure_contours(
        Image(image.pixels, "nm", (0.8, 0.8)), ContourSettings(origin=(0.0, 0.0), search=20.0),
        design=Design(tuple(lines), "nm"),
    )  # fmt: skip
    assert result.registration is not None and result.registration["corners"]["source"] == "edge_width"


def test_kinds_of_corners() -> None:
    """An elbow with ends: two corners at each end, one convex and one concave at the bend; a disc has none."""
    edges = edges_of(Design((elbows(1)[0], disc(30.0, 900.0, 0.0)), "nm"))
    kinds = edges.corner_kind[0]
    assert sorted(kinds.tolist()) == [CONVEX, CONCAVE, LINE_END, LINE_END, LINE_END, LINE_END]
    assert edges.corner_kind[1].size == 0
    far, kind, number = edges.nearest_corner(np.array([0, 6, -1]), np.array([1.0, 0.1, np.nan]))
    assert far[0] == 1.0 and np.isinf(far[1]) and np.isnan(far[2]) and kind[1] == CONVEX
    assert number[0] >= 0 and number[1] == -1


def test_the_command_names_the_zone(tmp_path: Path, capsys: Any) -> None:
    image = simulate_shapes(elbows(), seed=55, corner_radius=8.0)
    tifffile.imwrite(tmp_path / "a.tif", image.pixels)
    rows = ["\n".join(f"{x!r} {y!r}" for x, y in p.tolist()) for p in image.design]
    (tmp_path / "d.txt").write_text("unit nm\n" + "\n\n".join(rows) + "\n")
    call = ["sem", "contours", str(tmp_path / "a.tif"), "--pixel", "0.8nm", "--design", str(tmp_path / "d.txt"),
            "--origin", "0nm,0nm"]  # fmt: skip
    assert main(call) == 0
    assert "from their rounding in the contours" in capsys.readouterr().out
    assert main([*call, "--corner", "9nm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["registration"]["corners"]["source"] == "stated"
