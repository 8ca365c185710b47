"""Every criterion against its optimum in 50 digits, on sets that nobody designed (random points) and on NIST's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpmath import mpf

from metrology_core import fit
from metrology_core.features import FEATURES
from metrology_core.fitting import available
from metrology_core.testing.reference_sets import make_feature
from metrology_core.testing.surfaces import sample_feet
from tests.oracles import high_precision as oracle

ROWS = [
    (kind, int(words[0]), criterion)
    for kind, dimensions in available().items()
    for words, criteria in dimensions.items()
    for criterion in criteria
]
# Coordinates to 300 mm, ulp 5.7e-14: rounding of the answer and of the distances, amplified by conditions up to 20.
LIMIT = 2e-12


def scattered(kind: str, dimension: int, seed: int, n: int = 16, sigma: float = 3e-3) -> tuple[Any, np.ndarray]:
    """A random feature and random points about it; nothing is balanced."""
    rng = np.random.default_rng((seed, dimension, len(kind)))
    feature, options = make_feature(kind, dimension, rng, 200.0)
    feet = sample_feet(feature, n, rng, **options)
    return feature, feet.displaced(*(sigma * rng.standard_normal(n) for _ in feet.directions))


def check(pose: oracle.Pose, found: Any, points: np.ndarray, limit: float = LIMIT) -> None:
    wrong = {name: error for name, error in oracle.errors(pose, found.associated, points).items() if error > limit}
    assert not wrong


@pytest.mark.parametrize(("kind", "dimension"), sorted({(kind, size) for kind, size, _ in ROWS}))
def test_least_squares(kind: str, dimension: int) -> None:
    _, points = scattered(kind, dimension, 1)
    found = fit(points, kind).require()
    check(oracle.least_squares(found.associated, points), found, points)


def _certificate(found: Any) -> tuple[list[int], list[float], list[float]]:
    proof = found.optimality
    return list(proof["contacts"]), list(proof["signs"]), list(proof["multipliers"])


@pytest.mark.parametrize(
    ("kind", "dimension"), sorted({(k, d) for k, d, c in ROWS if c == "minimum_zone" and (k, d) != ("line", 3)})
)
def test_minimum_zone(kind: str, dimension: int) -> None:
    _, points = scattered(kind, dimension, 2)
    held = ()
    if dimension == 3 and kind in ("circle", "ellipse", "slot"):
        held = ("sw", "tu", "tv")  # the zone lies in the plane of the least-squares element
    found = fit(points, kind, criterion="minimum_zone")
    if kind in ("slot", "parallel_planes") and found.status == "non_unique":
        return  # all contacts on one of two sides: the place of the other is free within the zone
    found.require()
    answer = oracle.zone(found.associated, points, *_certificate(found), held=held)
    assert abs(float(2 * answer.h) - found.form) <= 1e-12
    assert min(answer.multipliers) > 0 and answer.outside < 0  # a proof: no other double could be better
    check(answer.pose, found, points, 1e-11)


@pytest.mark.parametrize("criterion", ["maximum_inscribed", "minimum_circumscribed"])
@pytest.mark.parametrize(("kind", "dimension"), [("circle", 2), ("circle", 3), ("sphere", 3), ("cylinder", 3)])
def test_inscribed_and_circumscribed(kind: str, dimension: int, criterion: str) -> None:
    _, points = scattered(kind, dimension, 3)
    held = ("sw", "tu", "tv") if (kind, dimension) == ("circle", 3) else ()
    found = fit(points, kind, criterion=criterion).require()
    answer = oracle.zone(found.associated, points, *_certificate(found), size="s0", held=held)
    assert min(answer.multipliers) > 0 and answer.outside < 0
    check(answer.pose, found, points)


ONE_ROW = [
    (k, d) for k, d, c in ROWS if c == "least_absolute" and not (d == 3 and k in ("line", "circle", "ellipse", "slot"))
]


@pytest.mark.parametrize(("kind", "dimension"), ONE_ROW)
def test_least_absolute(kind: str, dimension: int) -> None:
    _, points = scattered(kind, dimension, 4)
    found = fit(points, kind, criterion="least_absolute").require()
    p = len(found.associated.chart)
    on = sorted(np.argsort(np.abs(found.residuals))[:p].tolist())
    pose, subgradients = oracle.interpolating(found.associated, points, on)
    assert max(abs(v) for v in subgradients) < 1  # with this the interpolating feature is optimal
    check(pose, found, points, 1e-11)


SIDED = [(k, d) for k, d, c in ROWS if c == "least_squares_outside"]


@pytest.mark.parametrize(("kind", "dimension"), SIDED)
@pytest.mark.parametrize("material", ["inside", "outside"])
def test_one_sided_least_squares(kind: str, dimension: int, material: str) -> None:
    _, points = scattered(kind, dimension, 5)
    found = fit(points, kind, criterion="least_squares_outside", material=material).require()
    side = -1.0 if material == "inside" else 1.0
    distance = side * found.residuals
    on = sorted(np.flatnonzero(distance < 1e-9).tolist())
    pose, press, all_distances = oracle.one_sided(found.associated, points, on)
    assert min(mpf(side) * mu for mu in press) > 0
    assert min(mpf(side) * d for i, d in enumerate(all_distances) if i not in on) > 0
    check(pose, found, points, 1e-11)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["Cylinder/cyl10", "Cone/con3", "Plane/pla2", "Sphere/sph17", "Circle2d/cir2d3"])
def test_the_oracle_gives_the_published_digits(name: str, data_root: Path) -> None:
    """The oracle itself: 32 published digits, from the double-precision answer."""
    folder = data_root / "fits" / "nist_atep"
    table = json.loads((folder / "nist_hp_reference.json").read_text())
    circles = json.loads((folder / "Circle2d" / "circle2d_hp_reference.json").read_text())
    reference = table.get(name) or circles[name.split("/")[1]]
    points = np.loadtxt(folder / f"{name}.ds", skiprows=1, dtype=str)  # decimal: the digits are those of the file
    if name.startswith("Circle2d"):
        points = points[:, ["xyz".index(c) for c in "xyz" if c != reference["dropped_axis"]]]
    kind = name.split("/")[0].lower().removesuffix("2d")
    pose = oracle.least_squares(fit(points.astype(float), kind).require().associated, points)
    sizes = {"radius": reference.get("radius")}
    if kind == "cone":
        angle = mpf(reference["apex_full_angle_deg"]) / 2 * oracle.mpmath.pi / 180
        assert abs(pose.sizes[1] - angle) < mpf(10) ** -25
    elif sizes["radius"] is not None:
        assert abs(pose.sizes[0] - mpf(sizes["radius"])) < mpf(10) ** -25
    if reference.get("axis") is not None and kind != "sphere":
        axis = [mpf(v) for v in reference["axis"]]
        assert oracle._turn(pose.w, oracle._unit(axis)) < 1e-25
    if kind in ("sphere", "circle"):
        assert max(abs(a - mpf(b)) for a, b in zip(pose.origin, reference["center"], strict=True)) < mpf(10) ** -25


def test_the_oracle_knows_every_feature() -> None:
    assert set(oracle.MOVES) >= {(kind, size) for kind, size, _ in ROWS} and set(oracle.MOVES) >= set(FEATURES)
