"""The first view of a map shows the worst place: it faces the viewer, and nothing stands before it."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.report.cloud import CloudView, cloud_view, spread_worst
from pipelines.report.picture import camera
from pipelines.report.views import first_view, opposite


def view_of(xyz: np.ndarray, normals: np.ndarray, value: np.ndarray) -> CloudView:
    arrays = {"xyz": xyz, "value": value, "feature": np.zeros(len(xyz), np.int64), "n": normals.astype(np.float32)}
    view = {
        "xyz": "xyz", "value": "value", "feature": "feature", "normals": "n", "feature_names": ["surface"],
        "tolerances": [{"lower": -0.1, "upper": 0.1}], "unit": "mm",
    }  # fmt: skip
    found = cloud_view(view, arrays, ())
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_dent_anywhere_on_a_ball_faces_the_viewer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = rng.standard_normal((4000, 3))
    n /= np.linalg.norm(n, axis=1)[:, None]
    dent = n[rng.integers(len(n))]
    value = -0.3 * np.exp(-np.sum((n - dent) ** 2, axis=1) / 0.02) + 0.02 * (n @ -dent > 0.99)
    v = view_of(20.0 * n, n, value)
    marks = spread_worst(v, 6)
    assert v.xyz[marks[0]] @ dent > 19.0
    azimuth, elevation = first_view(v, marks)
    assert camera(azimuth, elevation)[2] @ dent > 0.35
    assert camera(*opposite(azimuth, elevation))[2] @ dent < -0.35


def test_a_wall_does_not_stand_before_the_worst_place() -> None:
    """Two upright walls, 4 apart, 20 high: the worst point lies low on the inner side of one, so from above only."""
    rng = np.random.default_rng(2)
    yz = rng.uniform([-15.0, 0.0], [15.0, 20.0], (6000, 2))
    inner = np.column_stack([np.zeros(6000), yz])
    other = np.column_stack([np.full(6000, 4.0), yz])
    xyz = np.vstack([inner, other])
    normals = np.repeat([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], 6000, axis=0)
    value = np.zeros(12000)
    worst = int(np.argmin(np.hypot(inner[:, 1], inner[:, 2] - 17.0)))
    value[worst] = 0.4
    azimuth, elevation = first_view(view_of(xyz, normals, value), [worst])
    out = camera(azimuth, elevation)[2]
    assert out[0] > 0.35  # squarely enough
    # the ray leaves over the edge of the other wall, 3 higher and 4 away, or past its sides
    t = 4.0 / out[0]
    assert 17.0 + t * out[2] > 20.0 or abs(t * out[1]) > 15.0
