"""Wrong use raises a typed error; bad points give a status, never a hang and never a wrong answer that looks right."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting import available
from metrology_core.fitting.table import ROWS
from metrology_core.fitting.zone.criteria import compiled
from metrology_core.testing import known_zone
from tests.core.zone.cases import NAMES, make


def test_table_says_what_there_is() -> None:
    table = available()
    for name in ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse"):
        for criteria in table[name].values():
            assert "minimum_zone" in criteria
    assert "maximum_inscribed" in table["cylinder"]["3-D"]
    assert "maximum_inscribed" not in table["slot"]["3-D"]
    assert "minimum_zone_outside" not in table["ellipse"]["2-D"]


def test_wrong_use() -> None:
    points = np.random.default_rng(1).standard_normal((20, 3))
    with pytest.raises(CriterionError, match="not available"):
        fit(points, "plane", criterion="maximum_inscribed")
    with pytest.raises(CriterionError, match="minimum_zone"):
        fit(points, "plane", criterion="minimum_zones")
    with pytest.raises(CriterionError, match="weights"):
        fit(points, "plane", criterion="minimum_zone", weights=np.ones(20))
    with pytest.raises(ParameterError, match="material"):
        fit(points, "plane", criterion="minimum_zone_outside")
    with pytest.raises(CriterionError, match="radius"):
        fit(points, "cylinder", criterion="maximum_inscribed", fixed={"radius": 1.0})


@pytest.mark.parametrize("name", NAMES)
def test_too_few_equal_and_collinear_points(name: str) -> None:
    feature, _ = make(name, 1)
    d = feature.dimension
    for points, expected in (
        (np.zeros((0, d)), {"insufficient"}),
        (np.ones((1, d)), {"insufficient"}),
        (np.full((30, d), 7.25), {"degenerate"}),
    ):
        found = fit(points, feature.kind, criterion="minimum_zone")
        assert found.status in expected
        assert found.feature is None
    along = np.outer(np.linspace(-1.0, 1.0, 30), np.arange(1.0, d + 1.0))
    found = fit(along, feature.kind, criterion="minimum_zone")
    if feature.kind == "line":
        assert found.status == "converged"
    else:
        assert found.status != "converged"


def test_points_that_are_not_finite_are_left_out() -> None:
    feature, options = make("cylinder", 2)
    known = known_zone(feature, 80, zone=0.01, seed=3, **options)
    points = np.insert(known.points, [5, 40], [[np.nan] * 3, [np.inf, 0.0, 0.0]], axis=0)
    found = fit(points, "cylinder", criterion="minimum_zone").require()
    assert found.flags[-1] == "non_finite_points" or "non_finite_points" in found.flags
    assert abs(found.form - 0.01) <= 1e-12  # coordinates to 500 mm
    kept = np.flatnonzero(np.isfinite(points).all(axis=1))
    assert set(found.optimality["contacts"]) == {int(kept[i]) for i in known.contacts}
    assert found.sensitivities.shape == (5, 80)


def test_huge_integers_order_and_read_only() -> None:
    found = fit(
        np.full((10, 3), 1e300) * np.random.default_rng(1).uniform(-1, 1, (10, 3)), "sphere", criterion="minimum_zone"
    )
    assert found.status != "converged"
    grid = np.array([(x, y, (x * y) % 3) for x in range(6) for y in range(5)])
    whole = fit(grid, "plane", criterion="minimum_zone")
    fortran = np.asfortranarray(grid.astype(np.float64))
    fortran.setflags(write=False)
    assert fit(fortran, "plane", criterion="minimum_zone").form == whole.form
    assert whole.form <= 2.0 + 4.0 * np.spacing(5.0)  # the project's limit: four roundings of the largest coordinate


@pytest.mark.parametrize("name", NAMES)
def test_random_clouds_end(name: str) -> None:
    """Points that are no such feature at all: an end in bounded time, and whatever is called converged is certified."""
    feature, _ = make(name, 1)
    rng = np.random.default_rng(5)
    for n in (9, 30):
        for criterion in available()[feature.kind][f"{feature.dimension}-D"]:
            if n == 9 and not compiled(ROWS[feature.kind, feature.dimension].kind, criterion):
                continue  # the slower engine: once is enough
            points = rng.standard_normal((n, feature.dimension))
            shape = {"cone": {"half_angle": 0.4}, "torus": {"major_radius": 1.0}, "ellipse": {"axis_ratio": 0.5}}
            held = shape.get(feature.kind) if criterion in ("maximum_inscribed", "minimum_circumscribed") else None
            found = fit(points, feature.kind, criterion=criterion, material="inside", fixed=held)
            if found.status == "converged" and criterion != "least_squares":
                assert found.optimality["residual"] <= 1e-10
                assert found.form <= np.ptp(points, axis=0).sum() * 50.0
