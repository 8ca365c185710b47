"""Rigid patterns against SciPy on independent distances, and against what a shared axis means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from metrology_core.data.frames import Rigid
from metrology_core.errors import FitError, ParameterError
from metrology_core.features import Cylinder
from metrology_core.fitting.general.group import fit_pattern

MOTION = Rigid(Rotation.from_rotvec((0.02, -0.03, 0.05)).as_matrix(), np.array((0.4, -0.3, 0.2)))


def ring(cylinder: Cylinder, n: int, rng: np.random.Generator) -> np.ndarray:
    t, z = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(-5.0, 5.0, n)
    flat = np.column_stack((cylinder.radius * np.cos(t), cylinder.radius * np.sin(t), z)) + cylinder.point
    return flat @ MOTION.rotation.T + MOTION.translation + 1e-3 * rng.standard_normal((n, 3))


def test_hole_pattern_with_free_radii() -> None:
    rng = np.random.default_rng(1)
    place = {"a": (0.0, 0.0, 0.0), "b": (40.0, 0.0, 0.0), "c": (0.0, 30.0, 0.0)}
    nominal = {name: Cylinder(p, (0.0, 0.0, 1.0), 4.0) for name, p in place.items()}
    points = {name: ring(Cylinder(p, (0.0, 0.0, 1.0), 4.05), 60, rng) for name, p in place.items()}
    found = fit_pattern(points, nominal).require()
    assert found.free_motions == 1  # along the holes

    def residuals(q: np.ndarray) -> np.ndarray:
        r = Rotation.from_rotvec(q[3:6]).as_matrix()
        parts = []
        for k, name in enumerate(place):
            y = points[name] - (r @ np.array(place[name]) + q[:3])
            parts.append(np.linalg.norm(np.cross(y, r[:, 2]), axis=1) - q[6 + k])
        return np.concatenate(parts)

    twin = least_squares(residuals, [0, 0, 0, 0, 0, 0, 4, 4, 4], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    own = np.concatenate(list(found.residuals.values()))
    assert np.abs(own - twin.fun).max() <= 1e-8  # forward differences of the twin
    assert own @ own <= 2.0 * twin.cost * (1.0 + 1e-12)
    for k, name in enumerate(place):
        assert found.features[name].radius == pytest.approx(twin.x[6 + k], abs=1e-8)
    # what is shared stays shared: distances between axes are nominal
    axis = found.features["a"].axis
    gap = found.features["b"].point - found.features["a"].point
    assert np.linalg.norm(np.cross(gap, axis)) == pytest.approx(40.0, abs=1e-12)
    assert np.sqrt(found.covariance[6, 6]) == pytest.approx(1e-3 / np.sqrt(60.0), rel=0.25)


def test_coaxial_cylinders_share_their_axis() -> None:
    rng = np.random.default_rng(2)
    nominal = {"low": Cylinder((0, 0, 0), (0, 0, 1), 5.0), "high": Cylinder((0, 0, 40), (0, 0, 1), 8.0)}
    points = {name: ring(c, 50, rng) for name, c in nominal.items()}
    found = fit_pattern(points, nominal).require()
    assert found.free_motions == 2  # along and about the axis
    low, high = found.features["low"], found.features["high"]
    assert np.abs(np.cross(low.axis, high.axis)).max() <= 1e-15
    assert np.abs(np.cross(high.point - low.point, low.axis)).max() <= 1e-12
    assert found.dof == 100 - 6
    assert found.sigma == pytest.approx(1e-3, rel=0.25)


def test_wrong_use_and_no_points() -> None:
    nominal = {"a": Cylinder((0, 0, 0), (0, 0, 1), 5.0)}
    with pytest.raises(ParameterError):
        fit_pattern({"b": np.zeros((5, 3))}, nominal)
    with pytest.raises(ParameterError):
        fit_pattern({"a": np.zeros((5, 2))}, nominal)
    empty = fit_pattern({"a": np.full((5, 3), np.nan)}, nominal)
    assert empty.status == "insufficient"
    with pytest.raises(FitError):
        empty.require()


@pytest.mark.parametrize("sizes", ["free", "nominal"])
def test_tied_radii_are_one_parameter(sizes: str) -> None:
    rng = np.random.default_rng(7)
    place = {"a": (0.0, 0.0, 0.0), "b": (40.0, 0.0, 0.0), "c": (0.0, 30.0, 0.0)}
    true = {"a": 4.03, "b": 4.03, "c": 6.0}
    nominal = {name: Cylinder(p, (0.0, 0.0, 1.0), 4.0 if name != "c" else 6.0) for name, p in place.items()}
    points = {name: ring(Cylinder(p, (0.0, 0.0, 1.0), true[name]), 60, rng) for name, p in place.items()}
    found = fit_pattern(points, nominal, sizes=sizes, tied=[("b.radius", "a.radius")]).require()
    own = [6.0] if sizes == "nominal" else []
    assert found.chart[6:] == (("a.radius=b.radius",) if own else ("a.radius=b.radius", "c.radius"))
    assert found.features["a"].radius == found.features["b"].radius
    assert found.dof == 180 - 5 - (1 if own else 2)

    def residuals(q: np.ndarray) -> np.ndarray:
        r = Rotation.from_rotvec(q[3:6]).as_matrix()
        parts = []
        for name, radius in (("a", q[6]), ("b", q[6]), ("c", own[0] if own else q[7])):
            y = points[name] - (r @ np.array(place[name]) + q[:3])
            parts.append(np.linalg.norm(np.cross(y, r[:, 2]), axis=1) - radius)
        return np.concatenate(parts)

    twin = least_squares(residuals, [0, 0, 0, 0, 0, 0, 4, 6][: 7 if own else 8], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert found.features["a"].radius == pytest.approx(twin.x[6], abs=1e-8)  # forward differences of the twin
    mine = np.concatenate(list(found.residuals.values()))
    assert mine @ mine <= 2.0 * twin.cost * (1.0 + 1e-12)
    # one radius from 120 points: two free ones are known sqrt(2) times worse
    apart = fit_pattern(points, nominal).require()
    assert found.covariance[6, 6] == pytest.approx(0.5 * apart.covariance[6, 6], rel=0.2)


def test_wrong_ties_are_told() -> None:
    nominal = {"a": Cylinder((0, 0, 0), (0, 0, 1), 5.0), "b": Cylinder((9, 0, 0), (0, 0, 1), 5.0)}
    points = {name: np.zeros((9, 3)) for name in nominal}
    for tied in ([("a.radius",)], [("a.radius", "b.width")], [("a.radius", "a.radius")], ["a.radius"]):
        with pytest.raises(ParameterError, match="tied"):
            fit_pattern(points, nominal, tied=tied)
