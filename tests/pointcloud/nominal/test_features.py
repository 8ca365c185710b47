"""Analytic nominals: closed forms, material sides, groups."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.errors import ParameterError, UnitError
from metrology_core.features import Cone, Cylinder, Line, Plane, Sphere, Torus
from pointcloud.nominal.features import FeatureGroup, FeatureSurface
from pointcloud.nominal.surface import NominalSurface

POINTS = np.random.default_rng(1).uniform(-20, 20, (500, 3))


def test_a_sphere_and_a_bore_have_opposite_sides() -> None:
    truth = np.linalg.norm(POINTS - [1.0, 2.0, 3.0], axis=1) - 9.0
    shaft = FeatureSurface(Sphere([1, 2, 3], 9.0, material_side="inside"), unit="mm")
    bore = FeatureSurface(Sphere([1, 2, 3], 9.0, material_side="outside"), unit="mm")
    assert isinstance(shaft, NominalSurface)
    # 1e-14: rounding of coordinates of 20 mm
    assert shaft.closest(POINTS).distance == pytest.approx(truth, abs=1e-14)
    assert bore.closest(POINTS).distance == pytest.approx(-truth, abs=1e-14)
    found = bore.closest(POINTS)
    assert POINTS - found.distance[:, None] * found.normal == pytest.approx(found.foot, abs=1e-13)


def test_the_nearest_feature_of_a_group_or_the_assigned_one() -> None:
    bottom = Plane([0, 0, 0], [0, 0, -1], material_side="inside")
    top = Plane([0, 0, 10], [0, 0, 1], material_side="inside")
    group = FeatureGroup([bottom, top], unit="mm")
    points = np.array([[1.0, 2.0, 9.0], [1.0, 2.0, -0.5], [np.nan, 0, 0]])
    found = group.closest(points)
    assert found.face.tolist() == [1, 0, -1] and found.distance[:2].tolist() == [-1.0, 0.5]
    assert found.non_finite.tolist() == [False, False, True]
    assert group.closest(points, assigned=[0, -1, -1]).distance[0] == -9.0
    assert group.closest(points, limit=0.7).beyond_limit.tolist() == [True, False, False]
    up = np.tile([0.0, 0, 1.0], (3, 1))
    assert group.closest(points, limit=20.0, normals=up, max_angle=0.1).face.tolist() == [1, 1, -1]


def test_beyond_the_apex_of_a_cone_the_apex_is_nearest() -> None:
    cone = Cone([0, 0, 10.0], [0, 0, 1.0], 10.0 * np.tan(0.4), 0.4, material_side="inside")
    found = FeatureSurface(cone, unit="mm").closest([[0.0, 0.1, -3.0], [5.0, 0, 2.0]])
    assert found.region.tolist() == [2, 0] and found.distance[0] == pytest.approx(np.hypot(0.1, 3.0), abs=1e-14)
    assert found.distance[1] == pytest.approx(5.0 * np.cos(0.4) - 2.0 * np.sin(0.4), abs=1e-14)


def test_feet_lie_on_cylinder_and_torus() -> None:
    for feature in (
        Cylinder([0, 0, 0], [0.1, 0.2, 1.0], 6.0, material_side="inside"),
        Torus([1, 0, 0], [0, 1.0, 0.1], 12.0, 3.0, material_side="outside"),
    ):
        found = FeatureSurface(feature, unit="mm").closest(POINTS)
        assert np.abs(feature.distance(found.foot)).max() < 2e-14 * 20  # rounding of coordinates of 20 mm
        assert np.linalg.norm(POINTS - found.foot, axis=1) == pytest.approx(np.abs(found.distance), abs=1e-13)


def test_what_is_no_surface_is_refused() -> None:
    with pytest.raises(ParameterError, match="not a surface"):
        FeatureSurface(Line([0, 0, 0], [0, 0, 1]), unit="mm")
    with pytest.raises(ParameterError, match="material side"):
        FeatureSurface(Sphere([0, 0, 0], 1.0), unit="mm")
    with pytest.raises(UnitError):
        FeatureSurface(Sphere([0, 0, 0], 1.0, material_side="inside"), unit="deg")
    with pytest.raises(ParameterError):
        FeatureGroup([], unit="mm")
