"""Zones of points on regular grids: contacts in a row, or across a bore, hold the zone in some directions only.

Before, a tenth of flatness zones of noise on a grid of 9 x 7 points ended `not_converged`.
"""

import itertools

import numpy as np
import pytest

from metrology_core import fit


def _width_by_hull(points: np.ndarray) -> float:
    """Smallest distance of two parallel planes with all points between: three points against one, or two edges across
    (the only ways in which a minimum can be held), by trying all facets and pairs of edges of the convex hull."""
    from scipy.spatial import ConvexHull

    # heights alone would be lost in the rounding of the hull: stretch them, the pairs of contacts stay the same
    stretch = np.array([1.0, 1.0, 1e4])
    hull = ConvexHull(points * stretch)
    normals = [np.cross(points[b] - points[a], points[c] - points[a]) for a, b, c in hull.simplices]
    edges = {tuple(sorted(pair)) for simplex in hull.simplices for pair in itertools.combinations(simplex, 2)}
    spans = np.array([points[b] - points[a] for a, b in sorted(edges)])
    normals.extend(np.cross(u, spans[k + 1 :]) for k, u in enumerate(spans[:-1]))
    n = np.concatenate([np.atleast_2d(row) for row in normals])
    n = n[np.abs(n[:, 2]) > 0.9 * np.linalg.norm(n, axis=1)]  # nearly level: the zone of a flat part
    n /= np.linalg.norm(n, axis=1)[:, None]
    return float(np.ptp((points - points.mean(axis=0)) @ n.T, axis=0).min())


@pytest.mark.parametrize("shape", [(9, 7), (5, 5), (3, 12)])
def test_flatness_of_noise_on_a_grid_is_the_smallest_zone(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0, 40, shape[0]), np.linspace(0, 30, shape[1])))
    for _ in range(60):
        points = np.column_stack((x, y, rng.normal(0.0, 1e-3, x.size)))
        found = fit(points, "plane", criterion="minimum_zone", unit="mm")
        assert found.status == "converged", found.optimality
        # every pair of planes that can be a minimum was tried, by coordinates of 40 mm: rounding of a few 1e-15
        assert found.form == pytest.approx(_width_by_hull(points), abs=5e-14)


@pytest.mark.parametrize("criterion", ["minimum_circumscribed", "maximum_inscribed", "minimum_zone"])
def test_bores_of_noise_on_a_grid_are_held(criterion: str) -> None:
    rng = np.random.default_rng(11)
    t, z = (v.ravel() for v in np.meshgrid(np.arange(16) * np.pi / 8.0, np.linspace(0.0, 30.0, 5)))
    for _ in range(120):
        r = 10.0 + rng.normal(0.0, 1e-3, t.size)
        points = np.column_stack((r * np.cos(t), r * np.sin(t), z))
        found = fit(points, "cylinder", criterion=criterion, unit="mm")
        assert found.status in ("converged", "non_unique"), found.optimality
        assert found.optimality["residual"] <= 1e-10  # of derivatives of order one
        distance = found.associated.distance(points)
        if criterion == "minimum_circumscribed":
            assert distance.max() <= 1e-13
        if criterion == "maximum_inscribed":
            assert distance.min() >= -1e-13
