"""The two lots of the demo on disk: data, recipe and truth, in one form for both halves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = 20261123


@dataclass(frozen=True)
class Expected:
    """What is true of one part: outcome, verdict, and values by characteristic with their unit."""

    outcome: str
    verdict: str
    values: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    why: str | None = None


@dataclass(frozen=True)
class DemoLot:
    """A lot ready to be measured; ``expected`` by the name of the input file without its ending."""

    name: str
    title: str
    folder: Path
    recipe: Path
    expected: Mapping[str, Expected]


def blade_lot(folder: Path, parts: int) -> DemoLot:
    """Turbine-blade rings probed by a CMM: three bad parts, one corrupt file."""
    from pointcloud.simulate import DEFAULT_BAD, simulate_lot

    truth = simulate_lot(folder, parts, SEED, {i: fault for i, fault in DEFAULT_BAD.items() if i < parts})
    units = truth["unit"]
    expected = {
        name: Expected(
            row["outcome"],
            row["verdict"],
            {} if row["outcome"] == "unusable_data" else {k: (v, units[k]) for k, v in row["values"].items()},
            row["fault"],
        )
        for name, row in truth["parts"].items()
    }
    return DemoLot("blades", "turbine-blade rings, point clouds", folder, folder / "recipe.yaml", expected)


_SEM_RECIPE = """\
# Written by the simulator of Abbe: line width, pitch and roughness of a simulated wafer lot.
schema: abbe/recipe/1
name: wafer lines
seed: {seed}
inputs:
  files: ["images/*.tif"]
  format: image
  acquisition: {{operation: "ADI", time: "2026-05-04T10:20:30+02:00"}}
  acquisition_from_name: "(?P<lot>L[0-9]+)_(?P<wafer>W[0-9]+)_(?P<field>X[+-][0-9]+_Y[+-][0-9]+)"
  wafer: {{diameter: 300 mm, edge_exclusion: 3 mm, notch: down, field_size: {{x: 26 mm, y: 33 mm}}}}
instrument:
  id: SEM-02
  type: cd-sem
  scale_u: 0.2 %
  edge_offset_u: 0.05 nm
  certificate: "simulated"
  valid_until: "2027-06-30"
decision: {{rule: iso14253-1, proving: conformity, probability: 0.95}}
measure:
  kind: sem_lines
  pixel: {{x: {px:g} nm, y: {py:g} nm, u_relative: 0.2 %}}
  criterion: threshold
  level: 50 %
  lines: bright
  detrend: linear
  characteristics:
    - {{name: CD, characteristic: sem.cd_line, nominal: 16.7 nm, tolerance: {{plus_minus: 1.6 nm}}}}
    - {{name: pitch, characteristic: sem.pitch, nominal: 32 nm, tolerance: {{plus_minus: 0.5 nm}}}}
    - {{name: "LWR (biased, 3 s)", characteristic: sem.lwr_biased_3s, tolerance: {{max: 6 nm}}}}
"""


def wafer_lot(folder: Path, images: int) -> DemoLot:
    """SEM images of lines and spaces from two wafers: one blank, one out of tolerance.

    The true width is that of the named criterion: the drawn width plus twice the offset of the 50 % threshold, which
    the simulator knows from its noise-free edge response.
    """
    from wafer.simulate.lot import LotPlan, write_sem_lot

    plan = LotPlan(
        images=images,
        blank=tuple(n for n in (17,) if n < images),
        out_of_tolerance=tuple(n for n in (29,) if n < images),
    )
    truth = write_sem_lot(folder / "images", plan, seed=SEED)
    px, py = plan.model.pixel
    recipe = folder / "recipe.yaml"
    recipe.write_text(_SEM_RECIPE.format(seed=SEED, px=px, py=py), encoding="utf-8", newline="\n")
    expected = {}
    for row in truth.rows:
        blank = row["kind"] == "blank"
        verdict = {"blank": "none", "good": "conforming", "out_of_tolerance": "nonconforming"}[row["kind"]]
        values: dict[str, tuple[float, str]] = {}
        if not blank:
            values = {"CD": (row["cd_line_threshold_50"], "nm"), "pitch": (row["pitch"], "nm")}
        expected[Path(row["file"]).stem] = Expected(
            "unusable_data" if blank else "measured", verdict, values, None if row["kind"] == "good" else row["kind"]
        )
    return DemoLot("wafers", "SEM images of lines and spaces", folder, recipe, expected)


def write_json(path: Path, content: Any) -> None:
    """Sorted, indented JSON with a final line end."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
