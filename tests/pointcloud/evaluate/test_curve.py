"""Nominal curves: against closed forms, against SciPy's spline, and against a brute search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError, ReaderError
from pointcloud.nominal.curve import NominalCurve, periodic_second_derivatives, read_curve
from pointcloud.simulate.section import SplineSection, aerofoil_points


def circle(n: int, radius: float = 10.0) -> np.ndarray:
    a = 2.0 * np.pi * np.arange(n) / n
    return radius * np.stack([np.cos(a), np.sin(a)], axis=1)


def test_spline_through_a_circle_gives_the_distances_of_the_circle() -> None:
    curve = NominalCurve(circle(200), "mm")
    rng = np.random.default_rng(1)
    a, r = rng.uniform(0, 2 * np.pi, 300), rng.uniform(7.0, 14.0, 300)
    foot = curve.foot(np.stack([r * np.cos(a), r * np.sin(a)], axis=1))
    # the cubic spline of n points on a circle is off it by about r (2 pi / n)^4 / 384 = 2.5e-8 mm
    assert np.max(np.abs(foot.distance - (r - 10.0))) < 5e-8
    assert np.max(np.abs(foot.normal - np.stack([np.cos(a), np.sin(a)], axis=1))) < 1e-6  # third order in the spacing


def test_clockwise_points_give_the_same_signs() -> None:
    there, back = NominalCurve(circle(60), "mm"), NominalCurve(circle(60)[::-1], "mm")
    xy = np.array([[11.0, 2.0], [3.0, -4.0]])
    assert there.foot(xy).distance == pytest.approx(back.foot(xy).distance, abs=1e-12)  # rounding
    assert there.foot(xy).distance[0] > 0.0 > there.foot(xy).distance[1]


def test_spline_equals_scipy() -> None:
    points = aerofoil_points()
    ours, theirs = NominalCurve(points, "mm"), SplineSection(points)
    u = np.linspace(0.0, 1.0, 5001)[:-1]
    xy, normal = theirs(u)
    assert np.max(np.abs(ours.evaluate(u * theirs.length)[0] - xy)) < 1e-12  # same definition, rounding only
    assert np.max(np.abs(ours.normals(u * theirs.length) - normal)) < 1e-9  # derivative of the above


def test_second_derivatives_solve_the_periodic_system() -> None:
    rng = np.random.default_rng(2)
    h, y = rng.uniform(0.1, 3.0, 50), rng.normal(size=(50, 2))
    m = periodic_second_derivatives(h, y)
    before = np.roll(h, 1)[:, None]
    after = h[:, None]
    left = before * np.roll(m, 1, axis=0) + 2.0 * (before + after) * m + after * np.roll(m, -1, axis=0)
    right = 6.0 * ((np.roll(y, -1, axis=0) - y) / after - (y - np.roll(y, 1, axis=0)) / before)
    assert np.max(np.abs(left - right)) < 1e-10 * np.max(np.abs(right))  # dominant diagonal: rounding


def test_feet_are_nearest_points_and_orthogonal() -> None:
    curve = NominalCurve(aerofoil_points(), "mm")
    rng = np.random.default_rng(3)
    xy = rng.uniform([-58.0, -20.0], [-36.0, 18.0], size=(150, 2))
    foot = curve.foot(xy)
    dense = curve.evaluate(np.linspace(0.0, curve.knots[-1], 40001))[0]
    brute = np.array([np.min(np.hypot(*(dense - p).T)) for p in xy])
    # the dense search is never nearer than the true foot; in squares it is off by half its spacing (0.85 um) squared
    # times 1 + curvature x distance (below 30 here)
    assert (np.abs(foot.distance) <= brute + 1e-12).all()
    assert (brute**2 - foot.distance**2 < 30.0 * 8.5e-4**2).all()
    tangent = curve.evaluate(foot.parameter)[1]
    assert np.max(np.abs(np.sum((xy - foot.point) * tangent, axis=1))) < 1e-9  # Newton to rounding


def test_offset_points_come_back_with_their_offset() -> None:
    points = aerofoil_points()
    curve, section = NominalCurve(points, "mm"), SplineSection(points)
    u = (np.arange(720) + 0.5) / 720.0
    xy, normal = section(u)
    offset = 0.05 * np.sin(14.0 * np.pi * u)
    found = curve.foot(xy + offset[:, None] * normal).distance
    assert np.max(np.abs(found - offset)) < 1e-11  # exact for offsets below the radius of curvature


def test_polyline_distances_and_corners() -> None:
    square = NominalCurve(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]), "mm", "polyline")
    foot = square.foot(np.array([[2.0, -1.0], [2.0, 1.0], [5.0, 5.0], [2.0, 2.0]]))
    assert foot.distance == pytest.approx([1.0, -1.0, np.sqrt(2.0), -2.0], abs=1e-15)
    assert foot.normal[2] == pytest.approx([np.sqrt(0.5), np.sqrt(0.5)], abs=1e-15)  # away from the corner
    assert square.chord_tolerance == 0.0


def test_chord_tolerance_is_the_sagitta() -> None:
    n = 100
    curve = NominalCurve(circle(n), "mm")
    sagitta = 10.0 * (1.0 - np.cos(np.pi / n))
    assert curve.chord_tolerance == pytest.approx(sagitta, rel=5e-3)  # 16 places per span miss the top by 0.4 %


def test_closing_point_and_units() -> None:
    table = circle(30)
    closed = NominalCurve(np.vstack([table, table[:1]]), "mm")
    assert np.array_equal(closed.points, table)
    assert closed.to("um").points == pytest.approx(1000.0 * table)
    assert closed.to("mm") is closed


@pytest.mark.parametrize(
    "points",
    [np.zeros((3, 2)), np.zeros((10, 2)), np.full((5, 2), np.nan), np.zeros((5, 3))],
)
def test_what_is_no_curve_is_refused(points: np.ndarray) -> None:
    with pytest.raises(ParameterError):
        NominalCurve(points, "mm")


def test_reading_a_curve(tmp_path: Path) -> None:
    path = tmp_path / "section.csv"
    path.write_text("x,y\n" + "\n".join(f"{x!r},{y!r}" for x, y in circle(12).tolist()) + "\n")
    assert np.array_equal(read_curve(path, unit="mm").points, circle(12))


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"x,y\n1,2\n3,oops\n4,5\n6,7\n", "line 3"),
        (b"1,2,3\n1,2,3\n", "line 1"),
        (b"1,2\nnan,4\n", "line 2"),
        (b"", None),
        (b"\xff\xfe\x00", None),
    ],
)
def test_bad_curve_files_are_typed_errors(tmp_path: Path, content: bytes, place: str | None) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ReaderError) as caught:
        read_curve(path, unit="mm")
    assert place is None or place in str(caught.value)


def test_a_missing_curve_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(ReaderError):
        read_curve(tmp_path / "none.csv", unit="mm")
