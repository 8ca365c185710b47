"""Characteristics of many trials as arrays: each equals the registry's own function, trial by trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metrology_core import features as shapes
from metrology_core.characteristics import Context, available
from metrology_core.data import Rigid
from metrology_core.errors import CharacteristicError
from metrology_core.virtual.batch import FORMS, FUNCTIONS, Batch, evaluate

T = 7
SIZES = ("radius", "major_radius", "minor_radius", "semi_major", "semi_minor", "half_angle")


def drawn(kind: str, rng: np.random.Generator) -> tuple[Batch, list[Any]]:
    """A feature in T trials: as arrays, and as objects."""
    made = []
    for _ in range(T):
        unit = rng.normal(size=3)
        unit /= np.linalg.norm(unit)
        at = rng.normal(size=3) * 20.0
        size = {
            "circle": (at, unit, 5.0), "sphere": (at, 6.0), "cylinder": (at, unit, 7.0), "cone": (at, unit, 8.0, 0.4),
            "torus": (at, unit, 20.0, 4.0), "ellipse": (at, unit, np.cross(unit, [0.3, 1.0, 0.2]), 9.0, 5.0),
            "plane": (at, unit), "line": (at, unit),
        }[kind]  # fmt: skip
        made.append(getattr(shapes, kind.capitalize())(*size))
    names = made[0].parameters
    parameters = {name: np.array([f.parameters[name] for f in made]) for name in names}
    extent = np.sort(rng.normal(size=(T, 2)) * 10.0, axis=1)
    return Batch(kind, parameters, extent, rng.uniform(size=T), np.ones(T, bool)), made


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_batch_equals_the_registry(name: str) -> None:
    row = available()[name]
    rng = np.random.default_rng(sum(name.encode()))
    kinds = [[kind for kind in group if not kind.endswith("_2d")] for group in row.inputs]
    pairs = [(a,) for a in kinds[0]] if len(kinds) == 1 else [(a, b) for a in kinds[0] for b in kinds[1]]
    for pair in pairs:
        batches, objects = zip(*(drawn(kind, rng) for kind in pair), strict=True)
        at = np.array([1.0, 2.0]) if row.uses_position else None
        got = evaluate(name, batches, at)
        for t in range(T):
            axial = [b.kind in ("line", "cylinder", "cone") for b in batches]
            extents = tuple(tuple(b.extent[t]) if on else None for b, on in zip(batches, axial, strict=True))
            assert row.function is not None
            want = row.function([f[t] for f in objects], Context(at, extents))  # type: ignore[arg-type]
            # the same sums in another order, on numbers of 50
            assert got[t] == pytest.approx(want, abs=1e-12), (pair, t)


def test_a_batch_moves_as_its_features_do() -> None:
    rng = np.random.default_rng(4)
    for kind in ("circle", "sphere", "cylinder", "cone", "torus", "ellipse", "plane", "line"):
        batch, made = drawn(kind, rng)
        rigid = [Rigid.from_rotation_vector(rng.normal(size=3), rng.normal(size=3)) for _ in range(T)]
        moved = batch.transform(np.array([r.rotation for r in rigid]), np.array([r.translation for r in rigid]))
        for t in range(T):
            for name, value in made[t].transform(rigid[t]).parameters.items():
                assert np.abs(moved.parameters[name][t] - value).max() < 1e-12, (kind, name)


def test_every_characteristic_of_features_and_forms_is_here() -> None:
    rows = {name for name, row in available().items() if row.needs in ("features", "form")}
    assert rows == {*FUNCTIONS, *FORMS}
    batch, _ = drawn("plane", np.random.default_rng(0))
    assert np.array_equal(evaluate("iso1101.flatness", [batch], None), batch.form)
    with pytest.raises(CharacteristicError, match="cannot be simulated in a batch"):
        evaluate("iso1101.line_profile", [batch], None)
