"""Exact feet about the poles of CAD faces, against closed forms; skipped where OpenCascade is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pointcloud.nominal.cad import CadSurface, cad_from_shape, read_cad
from pointcloud.nominal.cad_bridge import ocp

try:
    import OCP  # noqa: F401

    HAS_OCP = True
except ImportError:
    HAS_OCP = False
pytestmark = pytest.mark.skipif(not HAS_OCP, reason="OpenCascade (extra [cad]) is not installed")

CENTRE, RADIUS = np.array([1.0, 2.0, 3.0]), 10.0
MERIDIAN = np.array([(0.0, 10.0), (6.0, 10.0), (12.0, 6.0), (12.0, 0.0)])  # radius and height: a cubic over the axis


def ball() -> Any:
    return ocp("BRepPrimAPI").BRepPrimAPI_MakeSphere(ocp("gp").gp_Pnt(*CENTRE), RADIUS).Shape()


def splined(shape: Any) -> Any:
    return ocp("BRepBuilderAPI").BRepBuilderAPI_NurbsConvert(shape, True).Shape()


def dome() -> Any:
    """One open face: a Bezier curve about the z axis."""
    gp, geom = ocp("gp"), ocp("Geom")
    try:
        array = ocp("collections").Array1_gp_Pnt(1, 4)
    except (ImportError, AttributeError):
        array = ocp("TColgp").TColgp_Array1OfPnt(1, 4)
    for k, (r, z) in enumerate(MERIDIAN.tolist()):
        array.SetValue(k + 1, gp.gp_Pnt(r, 0.0, z))
    axis = gp.gp_Ax1(gp.gp_Pnt(0, 0, 0), gp.gp_Dir(0, 0, 1))
    surface = geom.Geom_SurfaceOfRevolution(geom.Geom_BezierCurve(array), axis)
    return ocp("BRepBuilderAPI").BRepBuilderAPI_MakeFace(surface, 1e-7).Face()


def about_the_ball(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, true distances and normals; most within 1e-12 to 0.3 rad of a pole, two over the poles themselves."""
    rng = np.random.default_rng(11)
    tilt, turn = 10.0 ** rng.uniform(-12, -0.5, n), rng.uniform(0, 2 * np.pi, n)
    tilt[:2] = 0.0
    side = np.where(np.arange(n) % 2, -1.0, 1.0)
    d = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), side * np.cos(tilt)], axis=1)
    height = rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-6, 0.3, n)
    return CENTRE + (RADIUS + height)[:, None] * d, height, d


@pytest.mark.parametrize("form", ["iges", "splines"])
def test_a_ball_is_exact_about_its_poles(tmp_path: Path, form: str) -> None:
    """IGES: a surface of revolution, whose normal turned over where Newton's method ran across the pole, so that
    distances had the wrong sign. Splines: a start on the other side of the pole stopped there."""
    if form == "iges":
        from tests.pointcloud.nominal import cad_parts

        cad_parts.write(ball(), tmp_path / "ball.igs")
        cad = read_cad(tmp_path / "ball.igs", deflection=0.05)
        assert cad.model.words == ("1 spheres",)
    else:
        cad = cad_from_shape(splined(ball()), deflection=0.05)
        assert cad.model.words == ("1 B-spline surfaces",) and len(cad.model.faces[0].poles) == 2
    points, height, normal = about_the_ball(3000)
    found = cad.closest(points)
    assert not found.approximate.any() and (found.region == 0).all()
    assert found.distance == pytest.approx(height, abs=1e-12)  # reached 7e-14; the goal is 1e-9
    assert found.normal == pytest.approx(normal, abs=1e-8)


def dome_truth(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points over known places of the dome, from 1e-13 of its meridian to nine tenths, and their distances."""
    rng = np.random.default_rng(12)
    t = 10.0 ** rng.uniform(-13, -0.05, n)
    t[0] = 0.0
    turn = rng.uniform(0, 2 * np.pi, n)
    weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3], axis=1)
    slopes = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t * t], axis=1)
    along = slopes @ np.diff(MERIDIAN, axis=0)
    up = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1)[:, None]
    height = rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-6, 0.3, n)
    r, z = (weights @ MERIDIAN + height[:, None] * up).T
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1), height


@pytest.mark.parametrize("form", ["general", "splines"])
def test_a_dome_of_no_named_kind_is_exact_about_its_pole(form: str) -> None:
    cad = cad_from_shape(dome() if form == "general" else splined(dome()), deflection=0.05)
    assert cad.model.words == ("1 other surfaces" if form == "general" else "1 B-spline surfaces",)
    (pole,) = cad.model.faces[0].poles
    assert pole.point == pytest.approx([0, 0, 10], abs=1e-12)
    # curvature of a cubic at its end: 2/3 of the drop of the second leg, 4 mm, over the square of the first, 6 mm
    assert np.linalg.eigvalsh(pole.bend * np.sign(pole.normal[2])) == pytest.approx(
        [-2 / 3 * 4 / 36] * 2 + [0], abs=1e-5
    )
    points, height = dome_truth(1500)
    found = cad.closest(points)
    assert not found.approximate.any() and (found.region == 0).all()
    side = np.sign(pole.normal[2]) * cad.model.faces[0].outward  # of an open face, as OpenCascade made it
    assert found.distance == pytest.approx(side * height, abs=1e-11)  # reached 1.8e-12: the next order beside the pole


def test_a_tip_is_no_pole_and_a_skew_line_no_cone() -> None:
    """A cone in splines ends in a tip, where no curvature gives feet; points about it are flagged, never wrong in
    silence. A straight line askew to the axis makes a hyperboloid."""
    prim, gp, geom = ocp("BRepPrimAPI"), ocp("gp"), ocp("Geom")
    cone = cad_from_shape(splined(prim.BRepPrimAPI_MakeCone(4.0, 0.0, 8.0).Shape()), deflection=0.05)
    assert all(face.poles == () for face in cone.model.faces)
    d = np.random.default_rng(13).normal(size=(300, 3)) * 0.05
    points = d + np.array([0.0, 0.0, 8.0])
    found = cone.closest(points)
    r, z = np.hypot(points[:, 0], points[:, 1]), 8.0 - points[:, 2]
    along = np.clip((4.0 * r + 8.0 * z) / np.hypot(4.0, 8.0), 0.0, None)
    truth = np.hypot(r - 4.0 * along / np.hypot(4.0, 8.0), z - 8.0 * along / np.hypot(4.0, 8.0))
    off = np.abs(np.abs(found.signed) - truth)
    assert (~found.approximate).sum() > 50 and off[~found.approximate].max() < 1e-9
    assert off.max() < cone.measured_deflection
    line = geom.Geom_Line(gp.gp_Pnt(5, 0, 0), gp.gp_Dir(0, 1, 1))
    surface = geom.Geom_SurfaceOfRevolution(line, gp.gp_Ax1(gp.gp_Pnt(0, 0, 0), gp.gp_Dir(0, 0, 1)))
    face = ocp("BRepBuilderAPI").BRepBuilderAPI_MakeFace(surface, 0.0, 2 * np.pi, -3.0, 3.0, 1e-7).Face()
    waist: CadSurface = cad_from_shape(face, deflection=0.05)
    assert waist.model.words == ("1 other surfaces",)
    assert np.abs(waist.closest([[4.0, 0, 0], [0, 5.5, 0]]).signed) == pytest.approx([1.0, 0.5], abs=1e-12)
