"""Wrong use raises a typed error; bad data give a status and flags, never a hang and never an answer that looks
right."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data import PointSet, ProbeTip
from metrology_core.errors import AbbeError, CriterionError, FitError, ParameterError, UnitError
from metrology_core.features import Cylinder, Plane, Sphere
from metrology_core.fitting import available
from tests.core.fitting.parts import FEATURES, noisy

LEAST = {"line": 2, "plane": 3, "circle": 3, "sphere": 4, "cylinder": 5, "cone": 6, "torus": 7, "ellipse": 5}


@pytest.mark.parametrize("kind", FEATURES)
def test_too_few_points(kind: str) -> None:
    points = noisy(kind, 40)
    for n in range(LEAST[kind]):
        found = fit(points[:n].reshape(n, 3), kind)
        assert (found.status, found.feature) == ("insufficient", None)
        assert "insufficient" in found.flags
        with pytest.raises(FitError, match="insufficient"):
            found.require()
        json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("what", ["equal", "collinear", "coplanar", "two places"])
def test_points_that_determine_nothing(kind: str, what: str) -> None:
    rng = np.random.default_rng(3)
    n = 30
    t = rng.uniform(-1.0, 1.0, (n, 2))
    shapes = {
        "equal": np.tile((3.0, 4.0, 5.0), (n, 1)),
        "collinear": np.outer(t[:, 0], (1.0, 2.0, -2.0)) + 7.0,
        "coplanar": t @ np.array(((1.0, 2.0, -2.0), (2.0, 1.0, 2.0))) + 7.0,
        "two places": np.where(t[:, :1] > 0.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    }
    determined = {("line", "collinear"), ("line", "coplanar"), ("plane", "coplanar"), ("line", "two places")}
    found = fit(shapes[what], kind)
    if (kind, what) in determined:
        assert found.status == "converged"
        return
    if what == "coplanar" and kind in ("circle", "ellipse"):
        assert found.status in ("converged", "not_converged")  # a filled square is a bad circle, and the form says so
        assert found.feature is None or found.form > 0.3
        return
    # Exactly flat data may be met by a curved feature that lies far off the truth only with a warning.
    assert found.status in ("degenerate", "not_converged", "non_unique"), found.parameters
    with pytest.raises(FitError):
        found.require()


@pytest.mark.parametrize("kind", FEATURES)
def test_non_finite_points_are_left_out_and_counted(kind: str) -> None:
    points = noisy(kind, 60)
    dirty = np.insert(points, [5, 20, 40], [(math.nan, 0, 0), (math.inf, 1, 1), (0, -math.inf, math.nan)], axis=0)
    clean, found = fit(points, kind).require(), fit(dirty, kind).require()
    assert "non_finite_points" in found.flags
    assert (found.n_points, found.n_used) == (63, 60)
    for name, value in clean.parameters.items():
        assert np.array_equal(np.asarray(value), np.asarray(found.parameters[name]))
    assert np.isnan(found.residuals).sum() == 3
    assert fit(np.full((20, 3), math.nan), kind).status == "insufficient"


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("factor", [1e300, 1e150, 1e-150, 1e-300, 5e-324])
def test_extreme_magnitudes(kind: str, factor: float) -> None:
    with np.errstate(all="ignore"):
        found = fit(noisy(kind, 30) * factor, kind)
    assert found.status == "degenerate"


def test_huge_outlier_does_not_hang() -> None:
    points = noisy("torus", 40)
    points[7] = (1e100, -1e100, 1e100)
    for kind in FEATURES:
        with np.errstate(all="ignore"):
            found = fit(points, kind)
        assert found.status in ("converged", "not_converged", "degenerate", "non_unique")


@pytest.mark.parametrize(
    "bad",
    [
        "points", None, 5, [[1, 2, 3, 4]], [[1]], np.zeros(3), np.zeros((2, 2, 3)), np.zeros((4, 3), complex),
        np.zeros((4, 3), bool), [["a", "b", "c"]], np.array([["x", 1, 2]], object),
    ],
)  # fmt: skip
def test_things_that_are_not_points(bad: Any) -> None:
    with pytest.raises(ParameterError, match="points"):
        fit(bad, "plane")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"feature": "cylindre"}, ParameterError),
        ({"feature": 5}, ParameterError),
        ({"feature": "cylinder", "criterion": "least_square"}, CriterionError),
        ({"feature": "line", "criterion": "maximum_inscribed"}, CriterionError),
        ({"feature": "cylinder", "material": "left"}, ParameterError),
        ({"feature": "cylinder", "weights": np.ones(3)}, ParameterError),
        ({"feature": "cylinder", "weights": -np.ones(30)}, ParameterError),
        ({"feature": "cylinder", "weights": np.full(30, math.nan)}, ParameterError),
        ({"feature": "cylinder", "fixed": {"diameter": 3.0}}, ParameterError),
        ({"feature": "cylinder", "fixed": {"radius": -3.0}}, ParameterError),
        ({"feature": "cylinder", "fixed": {"axis": (0, 0, 0)}}, ParameterError),
        ({"feature": "plane", "fixed": {"radius": 1.0}}, ParameterError),
        ({"feature": "cylinder", "bounds": (0, 1)}, ParameterError),
        ({"feature": "cylinder", "covariances": np.zeros((30, 3, 3))}, ParameterError),
        ({"feature": "cylinder", "start": Sphere((0, 0, 0), 1.0)}, ParameterError),
    ],
)
def test_wrong_use(arguments: dict[str, Any], error: type[AbbeError]) -> None:
    with pytest.raises(error) as caught:
        fit(noisy("cylinder", 30), **arguments)
    assert caught.value.expected or caught.value.remedy  # says what would have been right


def test_near_misses_are_named() -> None:
    with pytest.raises(ParameterError, match="'cylinder'"):
        fit(np.zeros((9, 3)), "cylindre")
    with pytest.raises(CriterionError, match="'least_squares'"):
        fit(np.zeros((9, 3)), "plane", criterion="least_square")
    with pytest.raises(ParameterError, match="2-D"):
        fit(np.zeros((9, 2)), "sphere")


def test_zero_weights_leave_points_out() -> None:
    points = noisy("sphere", 30)
    weights = np.ones(30)
    weights[10:] = 0.0
    found = fit(points, "sphere", weights=weights).require()
    assert found.n_used == 10
    assert np.array_equal(found.parameters["center"], fit(points[:10], "sphere").parameters["center"])
    assert fit(points, "sphere", weights=np.zeros(30)).status == "insufficient"


def test_as_many_points_as_parameters() -> None:
    for kind, n in (("plane", 3), ("sphere", 4), ("circle", 3), ("line", 2)):
        found = fit(noisy(kind, n), kind)
        assert (found.status, found.dof) == ("converged", 0)
        assert "zero_redundancy" in found.flags
        assert math.isnan(found.sigma)
        assert json.dumps(found.to_dict(), allow_nan=False)
    for kind in ("cylinder", "cone", "torus"):
        found = fit(noisy(kind, LEAST[kind]), kind)
        assert found.status != "converged"
        with pytest.raises(FitError):
            found.require()


def test_short_arcs_are_flagged() -> None:
    assert "ill_conditioned" not in fit(noisy("cylinder", 200, arc=math.radians(90.0)), "cylinder").flags
    assert "ill_conditioned" in fit(noisy("cylinder", 200, 1e-5, arc=math.radians(10.0)), "cylinder").flags
    flat = fit(noisy("cylinder", 200, 5e-3, arc=math.radians(2.0)), "cylinder")  # sagitta 1.2e-3, noise 5e-3
    assert flat.status != "converged" or "curvature_not_significant" in flat.flags


def test_ball_centres_move_towards_the_material() -> None:
    tip = ProbeTip(1.5, 1e-4)
    cases = [
        ("cylinder", "inside", 8.0 - 1.5, "radius"),
        ("cylinder", "outside", 8.0 + 1.5, "radius"),
        ("sphere", "inside", 25.0 - 1.5, "radius"),
        ("torus", "outside", 7.0 + 1.5, "minor_radius"),
    ]
    for kind, side, expected, size in cases:
        points = PointSet.from_array(noisy(kind, 80), unit="mm", frame="machine", points_are="ball_centre", tip=tip)
        found = fit(points, kind, material=side).require()
        # noise of 2e-3 over 80 points: the mean is known to some 1e-3
        assert found.parameters[size] == pytest.approx(expected, abs=3e-3)
        assert found.associated.parameters[size] == pytest.approx(FEATURES[kind].parameters[size], abs=3e-3)
        assert found.settings["tip_radius"] == 1.5
        assert "ball_centre_uncompensated" not in found.flags
        assert "ball_centre_uncompensated" in fit(points, kind).flags
    plane = PointSet.from_array(noisy("plane", 80), unit="mm", frame="machine", points_are="ball_centre", tip=tip)
    found = fit(plane, "plane", material="inside").require()
    gap = (found.associated.parameters["point"] - found.parameters["point"]) @ found.parameters["normal"]
    assert gap == pytest.approx(1.5, abs=1e-12)  # the touched face lies one tip radius behind the ball centres
    cone = PointSet.from_array(noisy("cone", 80), unit="mm", frame="machine", points_are="ball_centre", tip=tip)
    found = fit(cone, "cone", material="inside").require()
    apart = found.feature.distance(found.associated.project(noisy("cone", 20, seed=3)))
    assert np.abs(apart - 1.5).max() <= 1e-11  # parallel cones, coordinates of 1e3


def test_the_unit_of_a_point_set_is_kept() -> None:
    points = PointSet.from_array(noisy("plane", 20), unit="inch", frame="machine", points_are="surface")
    assert fit(points, "plane").unit == points.unit
    with pytest.raises(ParameterError, match="unit"):
        fit(points, "plane", unit="mm")
    assert fit(noisy("plane", 20), "plane", unit="mm").to_dict()["unit"] == "mm"


def test_constructors_refuse_nonsense() -> None:
    for make in (
        lambda: Cylinder((0, 0, 0), (0, 0, 0), 1.0),
        lambda: Cylinder((0, 0, 0), (0, 0, 1), 0.0),
        lambda: Cylinder((0, 0, math.nan), (0, 0, 1), 1.0),
        lambda: Sphere((0, 0), 1.0),
        lambda: Sphere((0, 0, 0), "big"),
        lambda: Plane((0, 0, 0), (0, 0, 1), material_side="left"),
    ):
        with pytest.raises(ParameterError):
            make()


def test_table_of_criteria_holds_least_squares_everywhere() -> None:
    table = available()
    assert set(table) == {*FEATURES, "slot", "parallel_planes"}
    for dimensions in table.values():
        for criteria in dimensions.values():
            assert "least_squares" in criteria


@pytest.mark.parametrize("unit", ["furlong", "deg", "", 3])
def test_the_unit_is_one_of_length(unit: Any) -> None:
    with pytest.raises(UnitError):
        fit(noisy("plane", 20), "plane", unit=unit)
    assert fit(noisy("plane", 20), "plane", unit="um").unit == "um"


@pytest.mark.parametrize(("points", "shape"), [([[1, 2, 3], [1, 2]], "2 rows with 2 or 3"), ([[1, 2, 3], 4], "mixed")])
def test_ragged_points(points: Any, shape: str) -> None:
    with pytest.raises(ParameterError, match=shape):
        fit(points, "plane")


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_out_of_range_is_called_so(factor: float) -> None:
    found = fit(np.random.default_rng(1).uniform(-1.0, 1.0, (20, 3)) * factor, "sphere")
    assert found.status == "degenerate"
    assert "rescale" in found.optimality["reason"]
    assert "squares" in found.optimality["reason"]
    equal = fit(np.full((20, 3), 7.0), "sphere")
    assert equal.optimality["reason"] == "all points are equal to rounding"


def test_the_form_claims_no_coverage() -> None:
    form = fit(noisy("plane", 200), "plane").to_dict()["form"]
    assert form["interval"] is None  # the points are noise on a true plane: form 0 is in no interval about the value
    assert "p" not in form
    assert "evaluate()" in form["note"]
