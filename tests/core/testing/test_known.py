"""The public generators do what they promise, judged without any fit: optimality conditions by numerical
derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features import Plane, Slot, basis
from metrology_core.testing import known_least_squares, known_zone
from tests.core.zone.cases import NAMES, make


def residuals(feature: Any, points: np.ndarray, frame: tuple[np.ndarray, ...] | None = None) -> np.ndarray:
    if feature.kind == "line" and feature.dimension == 3:
        assert frame is not None
        y = points - feature.point
        y = y - np.outer(y @ feature.direction, feature.direction)
        return np.concatenate((y @ frame[0], y @ frame[1]))
    if hasattr(feature, "height"):
        return np.concatenate((feature.distance(points), feature.height(points)))
    return np.asarray(feature.distance(points))


@pytest.mark.parametrize("name", NAMES)
def test_least_squares_sets_are_stationary(name: str) -> None:
    feature, options = make(name, 61, offset=20.0)
    known = known_least_squares(feature, 40, sigma=1e-3, seed=61, **options)
    frame = basis(feature.direction) if name == "line" else None
    base = residuals(feature, known.points, frame)
    p = len(feature.chart)
    assert np.sqrt(base @ base / (len(base) - p)) == pytest.approx(1e-3, rel=1e-9)  # rounding of points: 1e-14 / 1e-3
    for i in range(p):
        step = np.zeros(p)
        step[i] = 1e-5
        up = residuals(feature.moved(step), known.points, frame)
        down = residuals(feature.moved(-step), known.points, frame)
        slope = (up - down) / 2e-5
        # truncation of the difference: 1e-10 times third derivatives, times the residuals
        assert abs(slope @ base) <= 1e-8 * np.linalg.norm(slope) * np.linalg.norm(base)


@pytest.mark.parametrize("name", NAMES)
def test_least_squares_fit_recovers_them(name: str) -> None:
    feature, options = make(name, 62)
    known = known_least_squares(feature, 60, sigma=2e-3, seed=62, **options)
    found = fit(known.points, feature.kind, start=feature).require()
    assert found.sigma == pytest.approx(known.value, rel=1e-9)
    here, there = found.feature.distance(known.points), feature.distance(known.points)
    assert np.allclose(np.abs(here), np.abs(there), rtol=0, atol=1e-11)  # rounding of coordinates, times the condition


@pytest.mark.parametrize("name", NAMES)
def test_zone_sets_meet_the_condition(name: str) -> None:
    feature, options = make(name, 63, offset=20.0)
    known = known_zone(feature, 50, zone=0.01, seed=63, **options)
    touch = known.points[known.contacts]
    held = ("shift_w", "tilt_u", "tilt_v") if name in ("circle", "ellipse") else ()
    moving = [i for i, n in enumerate(feature.chart) if n not in held]
    for i in moving:
        step = np.zeros(len(feature.chart))
        step[i] = 1e-6
        slope = (feature.moved(step).distance(touch) - feature.moved(-step).distance(touch)) / 2e-6
        # a line's distance has curvature 1 / 0.005 mm: its differences are good to (1e-6 * lever / 0.005)^2
        limit = 1e-2 if name == "line" else 1e-7
        assert abs((known.multipliers * known.signs) @ slope) <= limit * np.abs(slope).max()
    assert known.multipliers.sum() == pytest.approx(1.0, abs=1e-14)
    assert known.multipliers.min() > 0.0
    distance = feature.distance(known.points)
    half = 0.5 * known.value
    assert np.allclose(known.signs * distance[known.contacts], half, rtol=0.0, atol=1e-13)
    others = np.delete(distance, known.contacts)
    assert np.abs(others).max() <= half - known.gap + 1e-13


def test_sets_are_reproducible_and_differ_by_seed() -> None:
    feature, _ = make("cylinder", 64)
    one, again, other = (known_zone(feature, 40, zone=0.01, seed=s) for s in (1, 1, 2))
    assert one.points.tobytes() == again.points.tobytes()
    assert one.points.tobytes() != other.points.tobytes()


def test_wrong_use() -> None:
    plane = Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    with pytest.raises(CriterionError):
        known_zone(plane, 20, zone=0.01, seed=1, criterion="maximum_inscribed")
    with pytest.raises(CriterionError):
        known_zone(plane, 20, zone=0.01, seed=1, criterion="least_squares")
    with pytest.raises(ParameterError):
        known_zone(plane, 3, zone=0.01, seed=1)
    with pytest.raises(ParameterError):
        known_least_squares(plane, 3, sigma=0.01, seed=1)
    with pytest.raises(ParameterError):  # two sets of residuals, eight parameters
        known_least_squares(Slot((0, 0, 0), (0, 0, 1), (1, 0, 0), 5.0, 2.0), 4, sigma=0.01, seed=1)
