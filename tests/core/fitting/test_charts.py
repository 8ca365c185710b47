"""Charts: the rows of the design matrix are the derivatives of `distance` under `moved`, and motion is exact."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.data import Rigid
from metrology_core.features import Feature, sign_of
from tests.core.fitting.parts import FEATURES, noisy, same_direction
from tests.core.fitting.test_known import FLAT

STEP = 3e-4


def rows_of(feature: Feature, points: np.ndarray) -> np.ndarray:
    """The residual rows in the order that `design` documents, from the public geometry alone."""
    if feature.kind == "line" and feature.dimension == 3:
        raise AssertionError("a line in space has no signed distance")
    first = feature.distance(points)
    return np.concatenate([first, feature.height(points)]) if hasattr(feature, "height") else first


@pytest.mark.parametrize("name", [k for k in FEATURES if k != "line"] + [f"{k}-2D" for k in FLAT])
def test_rows_are_derivatives(name: str) -> None:
    kind = name.removesuffix("-2D")
    if name in FEATURES:
        points = noisy(kind, 40, 0.05)
    else:
        from metrology_core.testing import known_least_squares

        points = known_least_squares(FLAT[kind], 40, sigma=0.05, seed=1).points
    found = fit(points, kind).require()
    feature = found.feature
    assert feature is not None
    used, design, residuals = found.design()
    assert np.array_equal(used, points)
    assert np.abs(rows_of(feature, points) - residuals).max() <= 2e-12  # ulps of coordinates of 1e3
    for column, label in enumerate(feature.chart):
        delta = np.zeros(len(feature.chart))
        values = []
        for k in (-2.0, -1.0, 1.0, 2.0):
            delta[column] = k * STEP
            values.append(rows_of(feature.moved(delta), points))
        slope = (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * STEP)
        # fourth-order rule: truncation STEP^4 = 8e-15 times fifth derivatives below 1e5, rounding 2e-13 / 3e-4
        assert np.abs(slope - design[:, column]).max() <= 2e-9, label


def test_line_rows_are_derivatives() -> None:
    points = noisy("line", 30, 0.05)
    found = fit(points, "line").require()
    _, design, residuals = found.design()
    feature = found.feature
    assert feature is not None
    squares = residuals[:30] ** 2 + residuals[30:] ** 2
    assert np.abs(np.sqrt(squares) - feature.distance(points)).max() <= 2e-12
    for column in range(4):
        delta = np.zeros(4)
        delta[column] = STEP
        slope = (feature.moved(delta).distance(points) ** 2 - feature.moved(-delta).distance(points) ** 2) / (
            4.0 * STEP
        )
        expected = residuals[:30] * design[:30, column] + residuals[30:] * design[30:, column]
        # second-order rule on a quadratic (shifts) or near-quadratic (tilts: g^2 STEP^2 terms up to 30^2 * 1e-6)
        # function
        assert np.abs(slope - expected).max() <= 1e-3 * (1.0 if column < 2 else 30.0)


@pytest.mark.parametrize("kind", FEATURES)
def test_transform_commutes_with_distance(kind: str) -> None:
    feature = FEATURES[kind]
    motion = Rigid.from_rotation_vector((0.3, -1.1, 0.7), (40.0, -25.0, 310.0))
    points = noisy(kind, 25, 0.3)
    moved = feature.transform(motion)
    assert np.abs(moved.distance(motion.apply(points)) - feature.distance(points)).max() <= 1e-11  # few ulps of 1e3
    foot = feature.project(points)
    assert np.abs(feature.distance(foot)).max() <= 1e-11
    assert np.abs(motion.apply(foot) - moved.project(motion.apply(points))).max() <= 1e-11


@pytest.mark.parametrize("kind", FEATURES)
def test_normals_point_where_distance_grows(kind: str) -> None:
    feature = FEATURES[kind]
    points = noisy(kind, 25, 0.3)
    normals = feature.normals(points)
    assert np.abs(np.linalg.norm(normals, axis=1) - 1.0).max() <= 1e-14
    step = 1e-4
    slope = (feature.distance(points + step * normals) - feature.distance(points - step * normals)) / (2.0 * step)
    # ulps of coordinates over the step: 1e-13 / 1e-4
    assert np.abs(slope - 1.0).max() <= 1e-8


def test_sign_rule() -> None:
    assert sign_of(np.array((0.0, 0.0, -1.0))) == -1.0
    assert sign_of(np.array((1.0, 0.0, -1e-17))) == 1.0  # rounding of z must not flip an axis along x
    assert sign_of(np.array((0.6, -0.8, 0.05))) == -1.0
    for kind in FEATURES:
        values = fit(noisy(kind), kind).parameters
        direction = next((values[k] for k in ("axis", "direction", "normal") if k in values), None)
        if direction is not None:
            assert direction[2] > 0.0


def test_hint_turns_directions_and_keeps_geometry() -> None:
    points = noisy("cone", 30, 0.1)
    cone = fit(points, "cone").require().feature
    assert cone is not None
    turned = cone.oriented(-cone.parameters["axis"])
    assert same_direction(turned.parameters["axis"], cone.parameters["axis"]) == 0.0
    assert turned.parameters["half_angle"] == -cone.parameters["half_angle"]
    assert np.array_equal(turned.distance(points), cone.distance(points))
    plane = fit(noisy("plane"), "plane", material="inside").require().feature
    assert plane is not None
    flipped = plane.oriented(-plane.parameters["normal"])
    assert flipped.material_side == "outside"
    assert np.array_equal(flipped.deviation(points), plane.deviation(points))


def test_ellipse_keeps_its_major_axis_longest() -> None:
    ellipse = FEATURES["ellipse"]
    grown = ellipse.moved([0, 0, 0, 0, 0, 0, -5.0, 6.0])
    assert grown.parameters["semi_major"] == 17.0
    assert grown.parameters["semi_minor"] == 15.0
    assert same_direction(grown.parameters["major_axis"], ellipse.parameters["major_axis"]) == pytest.approx(1.0)
