"""A simulated lot on disk: point files, nominal section, recipe, and what is true of every part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointcloud.simulate.drawing import REQUIREMENTS, recipe_text
from pointcloud.simulate.part import FAULTS, Part, Truth, make_part, nominal_section_points, true_values
from pointcloud.simulate.scan import Machine, Scan, scan
from pointcloud.simulate.section import SplineSection

FloatArray = NDArray[np.float64]
#: index of the part (from 0) -> fault; "corrupt" spoils the file, not the part
DEFAULT_BAD: Mapping[int, str] = MappingProxyType({4: "bore", 11: "hole", 17: "section", 20: "corrupt"})


@dataclass(frozen=True)
class SimulatedPart:
    """A part, its scan and its truth."""

    part: Part
    scan: Scan
    truth: Truth


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of one purpose: keyed by seed and key, so no part depends on how many others were drawn."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def simulate_part(
    index: int,
    seed: int,
    *,
    fault: str | None = None,
    machine: Machine | None = None,
    section: SplineSection | None = None,
) -> SimulatedPart:
    """Part number ``index`` of lot ``seed``: a pure function of its arguments.

    Without ``machine`` one is drawn from the population of the declared instrument for this part alone. Raises
    `ValueError` for an unknown fault.
    """
    section = section or SplineSection(nominal_section_points())
    part = make_part(f"{index + 1:03d}", stream(seed, 1, index), section=section, fault=fault)
    chosen = machine or Machine.draw(stream(seed, 3, index))
    return SimulatedPart(part, scan(part, chosen, stream(seed, 2, index)), true_values(part))


def simulate_lot(
    folder: Path | str,
    n: int = 24,
    seed: int = 20261123,
    bad: Mapping[int, str] | None = None,
    *,
    lot: str = "L17",
) -> dict[str, Any]:
    """Write a lot under ``folder``: ``parts/part-NNN.csv``, ``nominal/section.csv``, ``recipe.yaml``, ``truth.json``.

    All files depend on the arguments only. Returns the content of ``truth.json``: per part the expected outcome and
    verdict, the fault, and the true value of every characteristic in mm or rad.
    """
    bad = DEFAULT_BAD if bad is None else bad
    folder = Path(folder)
    for sub in ("parts", "nominal"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    table = nominal_section_points()
    section = SplineSection(table)
    lines = ["x,y", *(f"{x!r},{y!r}" for x, y in table.tolist())]
    _write(folder / "nominal" / "section.csv", "\n".join(lines) + "\n")
    machine = Machine.draw(stream(seed, 0))  # one machine in one state measures the whole lot
    _write(folder / "recipe.yaml", recipe_text(lot=lot, seed=seed))
    parts: dict[str, Any] = {}
    for index in range(n):
        fault = bad.get(index)
        if fault is not None and fault != "corrupt" and fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}; one of {sorted(FAULTS)} or corrupt")
        made = simulate_part(index, seed, fault=None if fault == "corrupt" else fault, machine=machine, section=section)
        name = f"part-{made.part.serial}"
        data = csv_bytes(made.scan)
        if fault == "corrupt":
            data = corrupted(data, stream(seed, 4, index))
        (folder / "parts" / f"{name}.csv").write_bytes(data)
        parts[name] = {
            "outcome": "unusable_data" if fault == "corrupt" else "measured",
            "verdict": "none" if fault == "corrupt" else ("nonconforming" if fault else "conforming"),
            "fault": fault,
            "fails": FAULTS.get(fault or ""),
            "values": made.truth.values,
        }
    truth = {
        "schema": "abbe/truth/1",
        "kind": "features",
        "seed": seed,
        "unit": {row.name: "rad" if row.characteristic == "cone.apex_angle" else "mm" for row in REQUIREMENTS},
        "definition": " ".join((true_values.__doc__ or "").split()),
        "parts": parts,
    }
    _write(folder / "truth.json", json.dumps(truth, indent=1, sort_keys=True) + "\n")
    return truth


def csv_bytes(made: Scan) -> bytes:
    """The point file: ``x,y,z,feature`` with the shortest decimal text that gives back every bit."""
    rows = (f"{x!r},{y!r},{z!r},{label}" for (x, y, z), label in zip(made.xyz.tolist(), made.labels, strict=True))
    return ("x,y,z,feature\n" + "\n".join(rows) + "\n").encode("ascii")


def corrupted(data: bytes, rng: np.random.Generator) -> bytes:
    """A transfer that broke off: the first part of the file, cut inside a number, then bytes of something else."""
    cut = data.index(b",", int(0.6 * len(data))) - 3
    return data[:cut] + rng.integers(0, 256, 600, dtype=np.uint8).tobytes()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
