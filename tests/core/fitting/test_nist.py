"""NIST's least-squares sets (ATEP-CMS): 100 of 100 from our own starts, at 1e-12 mm and 1e-12 rad.

The reference answers carry 32 digits (an independent 50-digit solution); comparisons of positions are made in decimal.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from tests.core.fitting.parts import same_direction

# Coordinates reach 1e3 mm, where one ulp is 1.1e-13 mm: the limit leaves nine roundings.
LIMIT = 1e-12
SETS = [
    (shape, f"{prefix}{number}")
    for shape, prefix in (
        ("Plane", "pla"),
        ("Sphere", "sph"),
        ("Cylinder", "cyl"),
        ("Cone", "con"),
        ("Circle2d", "cir2d"),
    )
    for number in range(1, 21)
]


def gap(values: Any, digits: Any) -> float:
    """Largest difference between doubles and numbers given as strings, without rounding the latter."""
    pairs = zip(np.atleast_1d(values), [digits] if isinstance(digits, str) else digits, strict=True)
    return max(abs(float(Decimal(float(a)) - Decimal(b))) for a, b in pairs)


@pytest.fixture(scope="module")
def references(data_root: Path) -> dict[str, Any]:
    folder = data_root / "fits" / "nist_atep"
    table = json.loads((folder / "nist_hp_reference.json").read_text())
    circles = json.loads((folder / "Circle2d" / "circle2d_hp_reference.json").read_text())
    return {**table, **{f"Circle2d/{name}": row for name, row in circles.items()}}


@pytest.mark.real_data
@pytest.mark.parametrize(("shape", "name"), SETS)
def test_set(shape: str, name: str, references: dict[str, Any], data_root: Path) -> None:
    points = np.loadtxt(data_root / "fits" / "nist_atep" / shape / f"{name}.ds", skiprows=1)
    reference = references[f"{shape}/{name}"]
    if shape == "Circle2d":
        points = points[:, ["xyz".index(c) for c in "xyz" if c != reference["dropped_axis"]]]
    found = fit(points, shape.lower().removesuffix("2d"))
    if found.n_used == len(found.covariance) and shape in ("Cylinder", "Cone"):
        # As many points as parameters: any exact solution is right, and the result must say that it is one of several.
        assert found.status == "non_unique"
        assert "zero_redundancy" in found.flags
        assert found.rms <= LIMIT
        return
    assert found.status == "converged"
    values = found.parameters
    assert gap(values.get("point", values.get("center")), reference["center"]) <= LIMIT
    if reference.get("radius") is not None:
        assert gap(values["radius"], reference["radius"]) <= LIMIT
    direction = values.get("axis", values.get("normal"))
    if direction is not None and reference.get("axis") is not None:
        assert same_direction(direction, np.array([float(c) for c in reference["axis"]])) <= LIMIT
    if "half_angle" in values:
        assert abs(values["half_angle"] - math.radians(float(reference["apex_full_angle_deg"]) / 2.0)) <= LIMIT
    # rms is printed with about 20 digits: agreement to rounding of the sum
    assert found.rms == pytest.approx(float(reference["rms"]), rel=1e-9, abs=1e-12)
