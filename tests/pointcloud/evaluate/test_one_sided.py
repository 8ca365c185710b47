"""One-sided least-squares associations (GE, GI): their covariance is that of repeated measurement, contacts held."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data import Frame, PointSet, Selection
from metrology_core.features import Circle, Cylinder, Plane
from metrology_core.instrument import Instrument
from metrology_core.testing import KnownAnswer, known_constrained
from pointcloud.evaluate import one_sided
from pointcloud.evaluate.entry import CharacteristicRequest, EvaluatedFeature, FeatureRequest, evaluate

NOISE = 1e-6
REPEATS = 300
FEATURES: dict[str, Any] = {
    "plane": Plane((100.0, 20.0, -30.0), (0.1, 0.2, 1.0)),
    "cylinder": Cylinder((50.0, -20.0, 10.0), (0.3, -0.2, 1.0), 22.0),
    "circle": Circle((12.0, 30.0, 5.0), (0.0, 0.0, 1.0), 15.0),
}


def known(kind: str) -> KnownAnswer:
    """Contacts that stay: the next point is thousands of standard deviations away."""
    found = known_constrained(
        FEATURES[kind], 90, spread=0.02, seed=5, criterion="least_squares_outside", material="inside", length=60.0
    )
    assert found.gap > 100.0 * NOISE
    return found


def measured(answer: KnownAnswer, kind: str, length: float | None, **options: Any) -> EvaluatedFeature:
    points = PointSet.from_array(answer.points, unit="mm", frame=Frame("machine"), points_are="surface")
    request = FeatureRequest("f", kind, Selection(), criterion="least_squares_outside", material="inside", **options)
    asked = [CharacteristicRequest("x", "coordinate.x", ("f",))]
    instrument = Instrument("I", "cmm", noise=NOISE, correlation_length=length)
    found = evaluate(points, [request], asked, instrument=instrument, inputs=("0" * 64,))
    return found.features[0]


def from_noise(row: EvaluatedFeature, length: float | None, plane: Any = None, places: Any = None) -> np.ndarray:
    """The part of the covariance that point errors bring (what form brings comes on top, as for least squares)."""
    assert row.uncertain is not None
    p = len(row.uncertain.feature.chart)
    return one_sided.one_sided_covariance(
        row.fit, row.uncertain.feature, plane, np.zeros((p, p)), row.points.xyz, NOISE, length, places
    )[0]


def repeated(answer: KnownAnswer, kind: str, length: float | None) -> list[Any]:
    """The fits of simulated repeats: every point displaced along the normal of the surface."""
    rng = np.random.default_rng(6)
    n = len(answer.points)
    root = np.eye(n)
    if length is not None:
        apart = np.linalg.norm(answer.points[:, None] - answer.points[None], axis=2)
        root = np.linalg.cholesky(np.exp(-apart / length) + 1e-12 * np.eye(n))
    normals = answer.feature.normals(answer.points)
    result = []
    for _ in range(REPEATS):
        errors = NOISE * (root @ rng.standard_normal(n))
        points = answer.points + errors[:, None] * normals
        found = fit(points, kind, criterion="least_squares_outside", material="inside", start=answer.feature)
        result.append(found.require().feature)
    return result


@pytest.mark.parametrize("length", [None, 15.0])
@pytest.mark.parametrize("kind", ["plane", "cylinder"])
def test_covariance_is_that_of_repeats(kind: str, length: float | None) -> None:
    answer = known(kind)
    row = measured(answer, kind, length)
    assert row.uncertain is not None
    covariance = from_noise(row, length)
    claimed = np.sqrt(np.diag(covariance))
    # what the evaluation takes: this, and form as for least squares
    more = np.diag(row.uncertain.covariance - covariance)
    assert (more > 0.0).all()
    assert row.form > 0.0
    chart = list(row.uncertain.feature.chart)
    base = row.uncertain.feature
    found = repeated(answer, kind, length)
    direction = "normal" if kind == "plane" else "axis"
    if kind == "plane":
        shifts = [float((f.point - base.point) @ f.normal) for f in found]
        assert np.std(shifts, ddof=1) == pytest.approx(claimed[chart.index("shift")], rel=0.17)  # 4 standard errors
    else:
        radii = [f.radius for f in found]
        assert np.std(radii, ddof=1) == pytest.approx(claimed[chart.index("radius")], rel=0.17)
    turned = np.array([np.cross(getattr(base, direction), getattr(f, direction)) for f in found])
    spread = math.sqrt(float(np.trace(np.cov(turned.T))))
    tilts = math.hypot(claimed[chart.index("tilt_u")], claimed[chart.index("tilt_v")])
    assert spread == pytest.approx(tilts, rel=0.17)


def test_a_circle_of_known_normal() -> None:
    answer = known("circle")
    row = measured(answer, "circle", None, direction=(0.0, 0.0, -1.0), fixed=("direction",))
    assert row.uncertain is not None
    chart = list(row.uncertain.feature.chart)
    # the projection looks along -z: right-handed in its plane, like the evaluation's own
    claimed = np.sqrt(np.diag(from_noise(row, None, (np.array((0.0, 1.0, 0.0)), np.array((1.0, 0.0, 0.0))))))
    rng = np.random.default_rng(7)
    found = []
    for _ in range(REPEATS):
        points = answer.points[:, :2] + NOISE * rng.standard_normal((len(answer.points), 2))
        found.append(fit(points, "circle", criterion="least_squares_outside", material="inside").require().feature)
    assert np.std([f.radius for f in found], ddof=1) == pytest.approx(claimed[chart.index("radius")], rel=0.17)
    across = np.std([f.center for f in found], axis=0, ddof=1)
    shifts = claimed[[chart.index("shift_u"), chart.index("shift_v")]]
    assert math.hypot(*across) == pytest.approx(math.hypot(*shifts), rel=0.17)


def test_many_points_rest_on_a_subset_beside_the_contacts(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = known("plane")
    row = measured(answer, "plane", 15.0)
    whole = np.sqrt(np.diag(from_noise(row, 15.0)))
    monkeypatch.setattr(one_sided, "MAX_CORRELATED", 45)
    part = np.sqrt(np.diag(from_noise(row, 15.0)))
    assert "correlation_subsampled" in measured(answer, "plane", 15.0).flags
    # the contacts, which carry most of it, count in full; every second of the other points stands for all
    assert part == pytest.approx(whole, rel=0.1)


def test_points_at_one_place_have_one_error() -> None:
    answer = known("plane")
    rows = np.concatenate((np.arange(len(answer.points)), np.repeat(np.arange(12), 8)))
    points = PointSet.from_array(answer.points[rows], unit="mm", frame=Frame("machine"), points_are="surface")
    request = FeatureRequest("f", "plane", Selection(), criterion="least_squares_outside", material="inside")
    asked = [CharacteristicRequest("x", "coordinate.x", ("f",))]
    row = evaluate(points, [request], asked, instrument=Instrument("I", "cmm", noise=NOISE), inputs=("0" * 64,))
    found = row.features[0]
    assert "duplicate_points" in found.flags
    response = found.fit.sensitivities
    shared = (rows[:, None] == rows[None, :]).astype(float)
    expected = NOISE**2 * response @ shared @ response.T
    signs = np.sign(found.fit.feature.normal @ found.uncertain.feature.normal)  # type: ignore[union-attr]
    assert signs == 1.0  # one chart
    assert from_noise(found, None, places=rows) == pytest.approx(expected, rel=1e-9, abs=1e-24)
    alone = NOISE**2 * response @ response.T
    assert alone[1, 1] < 0.999 * expected[1, 1]  # as independent errors they would count as more than one
