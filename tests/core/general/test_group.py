"""Rigid patterns against SciPy on independent distances, and against what a shared axis means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares, nnls
from scipy.spatial.transform import Rotation

from metrology_core.data.frames import Rigid
from metrology_core.errors import CriterionError, FitError, ParameterError
from metrology_core.features import Circle, Cylinder
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
    # each member's place is rounded by an ulp of 40, 7e-15, apart: 2 * 7e-15 * sqrt(180 / cost) of the cost at most
    assert mine @ mine <= 2.0 * twin.cost * (1.0 + 2e-11)
    # one radius from 120 points: two free ones are known sqrt(2) times worse
    apart = fit_pattern(points, nominal).require()
    assert found.covariance[6, 6] == pytest.approx(0.5 * apart.covariance[6, 6], rel=0.2)


def test_wrong_ties_are_told() -> None:
    nominal = {"a": Cylinder((0, 0, 0), (0, 0, 1), 5.0), "b": Cylinder((9, 0, 0), (0, 0, 1), 5.0)}
    points = {name: np.zeros((9, 3)) for name in nominal}
    for tied in ([("a.radius",)], [("a.radius", "b.width")], [("a.radius", "a.radius")], ["a.radius"]):
        with pytest.raises(ParameterError, match="tied"):
            fit_pattern(points, nominal, tied=tied)


PLACES = {"a": (0.0, 0.0, 0.0), "b": (40.0, 0.0, 0.0), "c": (0.0, 30.0, 0.0)}
HOLES = {name: Cylinder(place, (0.0, 0.0, 1.0), 4.0) for name, place in PLACES.items()}


def _distances(points: dict[str, np.ndarray], radii: np.ndarray, q: np.ndarray) -> dict[str, np.ndarray]:
    """Distances after a shift q[:3] and a turn q[3:6] of the nominal pattern, by angles and cross products."""
    r = Rotation.from_rotvec(q[3:6]).as_matrix()
    parts = {}
    for k, name in enumerate(PLACES):
        y = points[name] - (r @ np.array(PLACES[name]) + q[:3])
        parts[name] = np.linalg.norm(np.cross(y, r[:, 2]), axis=1) - radii[k] - (q[6 + k] if len(q) > 6 else 0.0)
    return parts


@pytest.mark.parametrize("sizes", ["free", "nominal"])
def test_minimum_zone_of_a_pattern(sizes: str) -> None:
    rng = np.random.default_rng(11)
    points = {name: ring(HOLES[name], 40, rng) for name in PLACES}
    found = fit_pattern(points, HOLES, criterion="minimum_zone", sizes=sizes)
    squares = fit_pattern(points, HOLES, sizes=sizes).require()
    # one zone about members with sizes of their own: the worst member decides its width and leaves the others play
    assert found.status == ("non_unique" if sizes == "free" else "converged")
    assert found.zone < squares.zone
    # shared: distances between axes stay nominal; all members lie in the one zone, and its contacts on its borders
    axis = found.features["a"].axis
    gap = found.features["b"].point - found.features["a"].point
    assert np.linalg.norm(np.cross(gap, axis)) == pytest.approx(40.0, abs=1e-12)
    half = 0.5 * found.zone
    radii = np.array([found.features[name].radius for name in PLACES])
    turn = Rotation.from_matrix(found.motion.rotation).as_rotvec()
    q = np.concatenate((found.motion.translation, turn, np.zeros(3 if sizes == "free" else 0)))
    own = _distances(points, radii, q)
    assert max(np.abs(d).max() for d in own.values()) == pytest.approx(half, abs=2e-13)  # roundings of 40, some ten
    # the twin of the proof: derivatives of the contacts by differences of the distances above
    contacts = [(name, i) for name, rows in found.optimality["contacts"].items() for i in rows]
    signs = [float(np.sign(own[name][i])) for name, i in contacts]
    assert len(contacts) == len(found.optimality["multipliers"]) >= 2
    slopes = np.empty((len(contacts), len(q)))
    for a in range(len(q)):
        step = np.zeros(len(q))
        step[a] = 1e-5
        up, down = _distances(points, radii, q + step), _distances(points, radii, q - step)
        slopes[:, a] = [s * (up[n][i] - down[n][i]) / 2e-5 for s, (n, i) in zip(signs, contacts, strict=True)]
    for sign, (name, i) in zip(signs, contacts, strict=True):
        assert sign * own[name][i] == pytest.approx(half, abs=2e-13)
    free, rest = nnls(np.vstack((slopes.T / 40.0, np.ones(len(contacts)))), np.append(np.zeros(len(q)), 1.0))
    assert rest <= 1e-9  # truncation of the differences: 1e-10 times third derivatives
    assert np.sort(free) == pytest.approx(np.sort(found.optimality["multipliers"]), abs=1e-7)
    # no motion nearby makes the zone narrower
    for size in (1e-3, 1e-5):
        for _ in range(300):
            near = q + size * rng.standard_normal(len(q)) * np.where(np.arange(len(q)) // 3 == 1, 0.03, 1.0)
            assert max(np.abs(d).max() for d in _distances(points, radii, near).values()) >= half - 2e-13


def test_one_member_is_the_zone_of_the_feature() -> None:
    from metrology_core import fit

    rng = np.random.default_rng(12)
    points = ring(HOLES["b"], 50, rng)
    alone = fit(points, "cylinder", criterion="minimum_zone").require()
    found = fit_pattern({"b": points}, {"b": HOLES["b"]}, criterion="minimum_zone").require()
    assert found.zone == pytest.approx(alone.form, abs=1e-12)
    assert found.free_motions == 2
    assert found.features["b"].radius == pytest.approx(alone.feature.radius, abs=1e-11)
    assert found.optimality["contacts"]["b"] == sorted(
        alone.optimality["contacts"], key=found.optimality["contacts"]["b"].index
    )


def test_covariance_of_a_zone_is_that_of_repeated_measurement() -> None:
    """Contacts that stay: points disturbed by a hundredth of the gap to the next one."""
    rng = np.random.default_rng(11)
    points = {name: ring(HOLES[name], 40, rng) for name in PLACES}
    base = fit_pattern(points, HOLES, criterion="minimum_zone", sizes="nominal").require()
    noise = base.optimality["gap"] / 100.0
    assert noise > 1e-8
    found = []
    for _ in range(150):
        near = {name: part + noise * rng.standard_normal(part.shape) for name, part in points.items()}
        fitted = fit_pattern(near, HOLES, criterion="minimum_zone", sizes="nominal").require()
        away = fitted.features["c"].point - base.features["c"].point
        found.append(away - (away @ base.features["c"].axis) * base.features["c"].axis)
    # how the point of that axis moves: shift, and turn about the origin of the chart, by the claimed covariance
    lever = base.features["c"].point - base.origin
    cross = np.array(((0.0, -lever[2], lever[1]), (lever[2], 0.0, -lever[0]), (-lever[1], lever[0], 0.0)))
    across = np.eye(3) - np.outer(base.features["c"].axis, base.features["c"].axis)
    j = across @ np.hstack((np.eye(3), -cross))
    claimed = np.sqrt(np.diag(j @ base.covariance @ j.T)) * noise / base.sigma
    # 150 repeats give a standard deviation to 5.8 %: four standard errors
    assert np.std(found, axis=0, ddof=1)[:2] == pytest.approx(claimed[:2], rel=0.23)


def test_zone_of_a_pattern_takes_surfaces_only() -> None:
    with pytest.raises(CriterionError, match="curve"):
        fit_pattern({"a": np.zeros((5, 3))}, {"a": Circle((0, 0, 0), (0, 0, 1), 5.0)}, criterion="minimum_zone")
    with pytest.raises(CriterionError, match="no such criterion"):
        fit_pattern({"a": np.zeros((5, 3))}, {"a": HOLES["a"]}, criterion="least_absolute")
    unknown = {name: np.full((9, 3), np.nan) for name in HOLES}
    assert fit_pattern(unknown, HOLES, criterion="minimum_zone").status == "insufficient"


@pytest.mark.parametrize("criterion", ["least_squares", "minimum_zone"])
def test_a_member_without_points_is_not_measured(criterion: str) -> None:
    rng = np.random.default_rng(14)
    points = {name: ring(HOLES[name], 30, rng) for name in PLACES}
    for nothing in (points["c"][:0], np.full((4, 3), np.nan)):
        found = fit_pattern({**points, "c": nothing}, HOLES, criterion=criterion)
        assert found.status == "insufficient"
        assert found.optimality["reason"] == "no usable points of c"


def test_a_pattern_far_from_its_place_is_told() -> None:
    rng = np.random.default_rng(15)
    turned = Rotation.from_rotvec((0.0, 0.0, 2.0)).as_matrix()
    points = {name: ring(HOLES[name], 30, rng) @ turned.T for name in PLACES}
    lost = fit_pattern(points, HOLES)
    assert "other_minima" in lost.flags
    found = fit_pattern(points, HOLES, start=Rigid(turned, np.zeros(3))).require()
    assert found.flags == ()
    assert found.sigma == pytest.approx(1e-3, rel=0.25)
    with pytest.raises(ParameterError, match="not a feature"):
        fit_pattern(points, dict.fromkeys(points, "cylinder"))  # type: ignore[arg-type]
