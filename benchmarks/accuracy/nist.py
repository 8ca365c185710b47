"""Accuracy on NIST's least-squares sets, from raw points: `python -m benchmarks.accuracy.nist [--json]`.

Prints the worst error of each shape and quantity, and how many of the 100 sets stay within 1e-12 mm and 1e-12 rad.
Sets with as many points as parameters have several exact solutions: any is right, and is counted apart.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import REPOSITORY, print_environment
from metrology_core import fit

LIMIT = 1e-12
SHAPES = {"Plane": "pla", "Sphere": "sph", "Cylinder": "cyl", "Cone": "con", "Circle2d": "cir2d"}


def gap(values: Any, digits: Any) -> float:
    pairs = zip(np.atleast_1d(values), [digits] if isinstance(digits, str) else digits, strict=True)
    return max(abs(float(Decimal(float(a)) - Decimal(b))) for a, b in pairs)


def errors(shape: str, points: np.ndarray, reference: dict[str, Any]) -> tuple[dict[str, float], str, float]:
    """Errors by quantity, status and rms of one set."""
    if shape == "Circle2d":
        points = points[:, ["xyz".index(c) for c in "xyz" if c != reference["dropped_axis"]]]
    found = fit(points, shape.lower().removesuffix("2d"))
    values = found.parameters
    result = {"position": gap(values.get("point", values.get("center")), reference["center"])}
    if reference.get("radius") is not None:
        result["radius"] = gap(values["radius"], reference["radius"])
    direction = values.get("axis", values.get("normal"))
    if direction is not None and reference.get("axis") is not None:
        exact = np.array([float(c) for c in reference["axis"]])
        result["direction"] = float(np.linalg.norm(np.cross(direction, exact)))
    if "half_angle" in values:
        result["half_angle"] = abs(values["half_angle"] - math.radians(float(reference["apex_full_angle_deg"]) / 2.0))
    return result, found.status, found.rms


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    root = Path(os.environ.get("ABBE_DATA") or REPOSITORY.parent / "shared" / "data") / "fits" / "nist_atep"
    if not root.is_dir():
        print(f"no reference sets at {root}: set ABBE_DATA", file=sys.stderr)
        return 2
    references = json.loads((root / "nist_hp_reference.json").read_text())
    circles = json.loads((root / "Circle2d" / "circle2d_hp_reference.json").read_text())
    references |= {f"Circle2d/{name}": row for name, row in circles.items()}
    worst: dict[str, dict[str, float]] = {}
    good, several, failed = 0, [], []
    for shape, prefix in SHAPES.items():
        for number in range(1, 21):
            name = f"{shape}/{prefix}{number}"
            row, status, rms = errors(shape, np.loadtxt(root / f"{name}.ds", skiprows=1), references[name])
            if status == "non_unique" and rms <= LIMIT:
                several.append(name)
            elif status == "converged" and max(row.values()) <= LIMIT:
                good += 1
                for quantity, value in row.items():
                    table = worst.setdefault(shape, {})
                    table[quantity] = max(table.get(quantity, 0.0), value)
            else:
                failed.append(name)
    if arguments.json:
        document = {"within_limit": good, "several_solutions": several, "failed": failed, "worst": worst}
        print(json.dumps(document, indent=2))
    else:
        print_environment()
        for shape, table in worst.items():
            print(f"{shape:9s} " + "  ".join(f"{quantity} {value:.1e}" for quantity, value in table.items()))
        print(f"{good} of 100 within {LIMIT:g}; several exact solutions, flagged: {several}; failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
