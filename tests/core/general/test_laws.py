"""What must not matter: order, place, unit, repeated points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data.frames import Rigid
from tests.core.fitting.parts import noisy
from tests.core.general import known

CASES = [
    ("cylinder", "least_absolute"), ("cylinder", "least_squares_outside"), ("sphere", "least_squares_inside"),
    ("cone", "least_absolute"), ("torus", "maximum_inscribed"), ("parallel_planes", "minimum_zone"),
    ("parallel_planes", "maximum_inscribed"), ("parallel_planes", "least_squares_inside"),
]  # fmt: skip


def measured(points: np.ndarray, kind: str, criterion: str, size: float = 1.0) -> tuple[dict[str, float], float]:
    fixed: dict[str, Any] | None = {"major_radius": 30.0 * size} if criterion == "maximum_inscribed" else None
    fixed = fixed if kind == "torus" else None
    found = fit(points, kind, criterion=criterion, material="inside", fixed=fixed)
    assert found.status in ("converged", "non_unique")
    sizes = {name: value for name, value in found.parameters.items() if np.ndim(value) == 0}
    return ({} if kind == "cone" or found.status == "non_unique" else sizes), found.form


@pytest.mark.parametrize(("kind", "criterion"), CASES)
def test_laws(kind: str, criterion: str) -> None:
    rng = np.random.default_rng()
    seed = int(rng.integers(1 << 30))
    if kind == "parallel_planes":
        feet, normals, _ = known.sampled(known.PAIR, 61, seed)
        points = feet + 2e-3 * np.random.default_rng(seed).standard_normal((61, 1)) * normals
    else:
        points = noisy(kind, 61, seed=seed)
    sizes, form = measured(points, kind, criterion)
    rigid = Rigid.from_rotation_vector(rng.standard_normal(3), rng.uniform(-300.0, 300.0, 3))
    variants = {
        "permutation": (points[rng.permutation(61)], 1.0),
        "motion": (rigid.apply(points), 1.0),
        "unit": (points / 25.4, 1.0 / 25.4),
    }
    if "absolute" not in criterion and "squares" not in criterion:
        variants["repeats"] = (np.concatenate((points, points[:20])), 1.0)
    for name, (other, scale) in variants.items():
        new_sizes, new_form = measured(other, kind, criterion, scale)
        # coordinates of 1e3 are rounded to 1e-13, conditions are below 1e2
        assert abs(new_form - form * scale) <= 2e-11, (name, seed)
        for key in sizes.keys() & new_sizes.keys():
            assert abs(new_sizes[key] - sizes[key] * scale) <= 2e-11, (name, key, seed)
