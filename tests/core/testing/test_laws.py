"""Laws for every row of the table of `fit`: every feature, criterion and known parameter, on sets with known answers.

Each run draws new sets. A law changes the points in a way that changes the answer in a known way: the known answer is
carried along, and judged by the self-test's own limits (stated limit, or the effect of rounding of the points).
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data import Rigid
from metrology_core.features import sign_of
from metrology_core.testing import KnownAnswer
from metrology_core.testing.judge import feature_from
from metrology_core.testing.reference_sets import Case, Layout, cases, make_set
from metrology_core.testing.selftest import Row, judge_fit

CASES = cases()
SIDED = ("plane", "line")  # their material side is told by the sense of a direction, which follows a house rule


def _directions(name: str, value: Any) -> bool:
    return np.ndim(value) == 1 and name not in ("point", "center")


def _judge(case: Case, known: KnownAnswer, seed: int, law: str, roundings: float = 1.0) -> None:
    """roundings: how many times the points were rounded since the set was made, the first time included."""
    known = dataclasses.replace(
        known, sensitivity={name: roundings * value for name, value in known.sensitivity.items()}
    )
    row = Row(case, sets=1)
    judge_fit(known, fit(known.points, case.feature, **known.arguments()), row)
    assert row.passed, (law, seed, row.to_dict())


def _moved(case: Case, known: KnownAnswer, rng: np.random.Generator) -> KnownAnswer:
    flat = case.dimension == 2
    turn = rng.uniform(-np.pi, np.pi) * np.array((0.0, 0.0, 1.0)) if flat else rng.uniform(-1.8, 1.8, 3)
    shift = rng.uniform(-100.0, 100.0, 3) * ((1.0, 1.0, 0.0) if flat else 1.0)
    rigid = Rigid.from_rotation_vector(turn, shift)
    space = np.zeros((len(known.points), 3))
    space[:, : case.dimension] = known.points
    feature = known.feature.transform(rigid)
    turned = {
        name: rigid.rotation[: case.dimension, : case.dimension] @ value if _directions(name, value) else value
        for name, value in known.fixed.items()
    }
    material = known.material
    if material is not None and case.feature in SIDED:
        name = "normal" if case.feature == "plane" else "direction"
        before, after = known.feature.parameters[name], turned.get(name)
        if after is None:
            after = rigid.rotation[: case.dimension, : case.dimension] @ before
        if sign_of(before) != sign_of(after):
            material = {"inside": "outside", "outside": "inside"}[material]
    points = rigid.apply(space)[:, : case.dimension]
    return dataclasses.replace(known, points=points, feature=feature, fixed=turned, material=material)


def _length(name: str, value: Any, factor: float) -> Any:
    """A parameter in another unit: directions, angles and ratios stay."""
    return value if _directions(name, value) or name in ("half_angle", "axis_ratio") else value * factor


def _scaled(known: KnownAnswer, factor: float) -> KnownAnswer:
    parameters = {name: _length(name, value, factor) for name, value in known.feature.parameters.items()}
    return dataclasses.replace(
        known,
        points=known.points * factor,
        feature=feature_from(known.feature.kind, known.feature.dimension, parameters),
        value=known.value * factor,
        fixed={name: _length(name, value, factor) for name, value in known.fixed.items()},
        sensitivity={n: v / factor if n in ("direction", "angle") else v for n, v in known.sensitivity.items()},
    )


def _repeated(known: KnownAnswer, rng: np.random.Generator) -> KnownAnswer:
    """Where a sum decides, every point twice; else a third of the points once more. The size of an inscribed or
    circumscribed cone is that at the centroid of the points, which must stay."""
    n = len(known.points)
    sums = known.criterion.startswith("least") or (known.feature.kind == "cone" and "scribed" in known.criterion)
    more = np.arange(n) if sums else rng.choice(n, n // 3, replace=False)
    return dataclasses.replace(known, points=np.concatenate((known.points, known.points[more])))


LAWS: dict[str, Callable[[Case, KnownAnswer, np.random.Generator], tuple[KnownAnswer, float]]] = {
    "as made": lambda case, known, rng: (known, 1.0),
    # a rotation adds three products and a shift: some five roundings of larger coordinates
    "rigid motion": lambda case, known, rng: (_moved(case, known, rng), 4.0),
    "inches": lambda case, known, rng: (_scaled(known, 1.0 / 25.4), 2.0),
    "metres": lambda case, known, rng: (_scaled(known, 1e-3), 2.0),
    "order": lambda case, known, rng: (
        dataclasses.replace(known, points=known.points[rng.permutation(len(known.points))]),
        1.0,
    ),
    "repeated points": lambda case, known, rng: (_repeated(known, rng), 1.0),
}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_laws(case: Case) -> None:
    seed = secrets.randbelow(1 << 30)
    rng = np.random.default_rng(seed)
    known = make_set(case, Layout(44, 4e-3), seed)
    for law, change in LAWS.items():
        changed, roundings = change(case, known, rng)
        _judge(case, changed, seed, law, roundings)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_scale_by_a_power_of_two_is_exact(case: Case) -> None:
    """It rounds nothing: every parameter must come out with the same bits."""
    seed = secrets.randbelow(1 << 30)
    known = make_set(case, Layout(44, 4e-3), seed)
    large = _scaled(known, 1024.0)
    here = fit(known.points, case.feature, **known.arguments())
    there = fit(large.points, case.feature, **large.arguments())
    assert (here.status, there.status) == ("converged", "converged"), seed
    assert there.form == 1024.0 * here.form, seed
    for name, value in there.parameters.items():
        assert np.array_equal(value, _length(name, here.parameters[name], 1024.0)), (name, seed)


def _shared() -> list[Case]:
    rows = {(case.feature, case.dimension, case.criterion, case.fixed) for case in CASES}
    return [
        case
        for case in CASES
        if case.dimension == 2 and case.feature in ("circle", "ellipse", "slot", "line")
        if (case.feature, 3, case.criterion, case.fixed) in rows
    ]


@pytest.mark.parametrize("case", _shared(), ids=[case.name for case in _shared()])
def test_plane_and_space_agree(case: Case) -> None:
    """Points of one plane: the feature in space lies in that plane and is the feature of the plane."""
    seed = secrets.randbelow(1 << 30)
    known = make_set(case, Layout(44, 4e-3), seed)
    arguments = known.arguments()
    for name, value in known.fixed.items():
        if _directions(name, value):
            arguments["fixed"] = {**arguments["fixed"], name: np.append(value, 0.0)}
    space = np.column_stack((known.points, np.full(len(known.points), 31.25)))
    found = fit(space, case.feature, **arguments)
    assert found.status == "converged", seed
    flat = fit(known.points, case.feature, **known.arguments()).require()
    # ulps of 4e2 (5.7e-14), times the sensitivity of the parameters to rounding (below 10 for whole outlines)
    limit = 1e-11 * max(1.0, *known.sensitivity.values())
    for name, value in flat.parameters.items():
        there = np.asarray(found.parameters[name])
        if np.ndim(value) == 0:
            assert abs(there - value) <= limit, (name, seed)
        elif _directions(name, value):
            assert abs(there[0] * value[1] - there[1] * value[0]) <= limit, (name, seed)
            assert abs(there[2]) <= limit, (name, seed)
        elif name == "center":
            assert np.abs(there - np.append(value, 31.25)).max() <= limit, (name, seed)
