"""Curves in a plane fitted to points that leave it; uncertainties that are not known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core import fit


def _curve(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    t = rng.uniform(0.0, 2.0 * np.pi, n)
    if kind == "slot":  # 16 by 6
        xy = np.column_stack((3.0 * np.cos(t), 3.0 * np.sin(t)))
        xy[:, 0] += np.where(xy[:, 0] > 0.0, 5.0, -5.0)
        straight = np.arange(n) % 2 == 0
        xy[straight] = np.column_stack((rng.uniform(-5.0, 5.0, n), np.where(t < np.pi, 3.0, -3.0)))[straight]
        return xy
    return np.column_stack(((8.0 if kind == "circle" else 10.0) * np.cos(t), 8.0 * np.sin(t)))


@pytest.mark.parametrize("kind", ["circle", "ellipse", "slot"])
@pytest.mark.parametrize(("depth", "flagged"), [(0.0, False), (5.0, True)])
def test_points_along_the_depth_of_a_hole_are_told(kind: str, depth: float, flagged: bool) -> None:
    rng = np.random.default_rng(3)
    xy = _curve(kind, 400, rng)
    points = np.column_stack((xy, rng.uniform(0.0, depth, len(xy)))) + rng.normal(0.0, 0.002, (len(xy), 3))
    result = fit(points, kind, unit="mm")
    assert ("points_not_in_plane" in result.flags) == flagged


def test_a_warped_flange_is_no_warning() -> None:
    """Ten micrometres of warp about a round circle of 20 mm: form, not a wrong selection."""
    rng = np.random.default_rng(5)
    t = rng.uniform(0.0, 2.0 * np.pi, 300)
    points = np.column_stack((20.0 * np.cos(t), 20.0 * np.sin(t), 0.01 * np.cos(2.0 * t)))
    assert "points_not_in_plane" not in fit(points, "circle", unit="mm").flags


def test_unknown_uncertainty_is_not_zero() -> None:
    """Five points determine a cylinder without redundancy: nothing is known of its uncertainty."""
    rng = np.random.default_rng(7)
    t = rng.uniform(0.0, 2.0 * np.pi, 5)
    points = np.column_stack((10.0 * np.cos(t), 10.0 * np.sin(t), rng.uniform(0.0, 20.0, 5)))
    result = fit(points, "cylinder", unit="mm")
    assert "zero_redundancy" in result.flags
    assert math.isnan(result.standard_uncertainty["radius"])
    assert result.to_dict()["standard_uncertainty"]["radius"] is None
