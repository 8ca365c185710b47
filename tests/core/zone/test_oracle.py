"""Zone fits of arbitrary points against the slow twin: no designed contacts, form of several kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.testing import known_least_squares
from tests.core.zone.cases import NAMES, ROUND, make
from tests.oracles.zone_slp import slow_zone

# HiGHS meets its constraints to 1e-10 of the zone and derivatives are numerical: the twin's zone is good to about
# 1e-8 of it
TWIN = 1e-7


@pytest.mark.parametrize("name", NAMES)
def test_minimum_zone_agrees(name: str) -> None:
    for seed in (11, 12):
        feature, options = make(name, seed)
        points = known_least_squares(feature, 40, sigma=5e-3, seed=seed, **options).points
        found = fit(points, feature.kind, criterion="minimum_zone").require()
        start = fit(points, feature.kind).feature
        twin, _ = slow_zone(points, start)
        assert found.form <= twin * (1.0 + 1e-9)  # never larger than what the twin reached
        assert found.form == pytest.approx(twin, rel=TWIN)


@pytest.mark.parametrize("name", ROUND)
@pytest.mark.parametrize("criterion", ["maximum_inscribed", "minimum_circumscribed"])
def test_radius_agrees(name: str, criterion: str) -> None:
    feature, options = make(name, 21)
    points = known_least_squares(feature, 40, sigma=5e-3, seed=21, **options).points
    found = fit(points, feature.kind, criterion=criterion)
    base = fit(points, feature.kind).feature
    radius, _ = slow_zone(points, base, criterion)
    sign = 1.0 if criterion == "minimum_circumscribed" else -1.0
    assert sign * found.feature.radius <= sign * radius + 1e-9 * feature.radius
    assert found.feature.radius == pytest.approx(radius, abs=TWIN * 0.02)


def hull_width(points: np.ndarray) -> float:
    """Exact width of a planar point set: over the edges of its hull, the farthest vertex."""
    from scipy.spatial import ConvexHull

    corner = points[ConvexHull(points).vertices]
    edge = np.roll(corner, -1, axis=0) - corner
    normal = np.column_stack((-edge[:, 1], edge[:, 0])) / np.linalg.norm(edge, axis=1)[:, None]
    return float(np.ptp(corner @ normal.T, axis=0).min())


def test_straightness_is_the_width_of_the_hull() -> None:
    """The global optimum, also of clouds that are no lines at all."""
    rng = np.random.default_rng(8)
    for n in (3, 5, 12, 100):
        for stretch in (1.0, 3.0, 1e3):
            points = rng.uniform(-1.0, 1.0, (n, 2)) * (stretch, 1.0)
            found = fit(points, "line", criterion="minimum_zone")
            if found.status == "converged":
                assert found.form == pytest.approx(hull_width(points), rel=1e-12, abs=1e-15 * stretch)
            else:
                assert found.status in ("non_unique", "degenerate")


def test_smallest_circle_of_random_points() -> None:
    """Circumscribed circle against all pairs and triples: the smallest that holds every point."""
    rng = np.random.default_rng(9)
    for n in (3, 4, 7):
        points = rng.uniform(-1.0, 1.0, (n, 2))
        found = fit(points, "circle", criterion="minimum_circumscribed")
        best = math.inf
        for i in range(n):
            for j in range(i):
                centre = 0.5 * (points[i] + points[j])
                best = min(best, radius_if_all_inside(points, centre, float(np.linalg.norm(points[i] - centre))))
                for k in range(j):
                    a, b = points[j] - points[i], points[k] - points[i]
                    det = 2.0 * (a[0] * b[1] - a[1] * b[0])
                    centre = (
                        points[i] + np.array((b[1] * (a @ a) - a[1] * (b @ b), a[0] * (b @ b) - b[0] * (a @ a))) / det
                    )
                    best = min(best, radius_if_all_inside(points, centre, float(np.linalg.norm(points[i] - centre))))
        assert found.feature.radius == pytest.approx(
            best, rel=1e-11
        )  # the formula of three points loses a digit or two


def radius_if_all_inside(points: np.ndarray, centre: np.ndarray, radius: float) -> float:
    return radius if np.linalg.norm(points - centre, axis=1).max() <= radius * (1.0 + 1e-12) else math.inf
