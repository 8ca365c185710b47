"""Minimum-maximum and tolerance fit against known optima and against a slow independent solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

import metrology_core.features as features
from metrology_core.data import Rigid
from metrology_core.errors import ParameterError
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import align
from pointcloud.registration.se3 import rotation
from pointcloud.registration.target import sample_mesh
from tests.pointcloud.registration.parts_for_tests import freeform, plate, points


def twin(xyz: np.ndarray, tree: SurfaceTree, start: Rigid, half: np.ndarray, middle: np.ndarray) -> float:
    """Worst share by SciPy's linear programs with a shrinking box, on all points: slow, and nothing in common with ours
    but the distances."""
    r, t = start.rotation, start.translation
    box = 0.05
    moved = xyz @ r.T + t
    found = tree.closest(moved)
    worst = np.abs((found.distance - middle) / half).max()
    for _ in range(60):
        pivot = moved.mean(axis=0)
        rows = np.c_[np.cross(moved - pivot, found.normal) / 30.0, found.normal] / half[:, None]
        share = (found.distance - middle) / half
        a = np.vstack([np.c_[rows, -np.ones(len(rows))], np.c_[-rows, -np.ones(len(rows))]])
        lp = linprog(np.r_[np.zeros(6), 1.0], a, np.r_[-share, share], bounds=[(-box, box)] * 6 + [(0, None)])
        turn = rotation(lp.x[:3] / 30.0)
        r2, t2 = turn @ r, turn @ (t - pivot) + pivot + lp.x[3:6]
        moved2 = xyz @ r2.T + t2
        found2 = tree.closest(moved2)
        new = np.abs((found2.distance - middle) / half).max()
        if new < worst:
            r, t, moved, found, worst = r2, t2, moved2, found2, new
        else:
            box *= 0.4
        if box < 1e-12:
            break
    return float(worst)


def deformed(n: int = 1200) -> tuple[SurfaceTree, np.ndarray]:
    tree = SurfaceTree(freeform(30))
    rng = np.random.default_rng(1)
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, n, 1)
    inside = (np.abs(xyz[:, 0] - 650.0) < 48.0) & (np.abs(xyz[:, 1] + 165.0) < 33.0)  # not over the open border
    xyz = xyz[inside]
    xyz[:, 2] += 0.05 * np.sin(xyz[:, 0] / 7.0) + 0.08 * np.exp(-(((xyz[:, 0] - 640.0) / 9.0) ** 2))
    return tree, xyz + 2e-3 * rng.standard_normal(xyz.shape)


def test_minimum_maximum_is_that_of_a_slow_twin() -> None:
    tree, xyz = deformed()
    best = align(points(xyz), tree, start=Rigid.identity(), check=False)
    found = align(points(xyz), tree, start=Rigid.identity(), method="minimum_maximum", check=False)
    assert found.status == "converged" and found.alignment == "best_fit" and not found.allows_verdict
    assert best.target_from_source is not None and found.target_from_source is not None
    ones = np.ones(len(xyz))
    expected = twin(xyz, tree, best.target_from_source, ones, 0.0 * ones)
    assert found.details["worst"] < 0.95 * np.abs(best.residuals).max()
    # both stop at a relative 1e-9 of a worst value of 0.1; ours must not be worse
    assert found.details["worst"] <= expected * (1.0 + 1e-6)
    assert np.abs(found.residuals).max() == pytest.approx(found.details["worst"], rel=1e-9)


def test_a_tolerance_fit_shares_the_tolerance() -> None:
    tree, xyz = deformed()
    rng = np.random.default_rng(2)
    upper = rng.uniform(0.05, 0.3, len(xyz))
    limits = np.c_[-0.5 * upper, upper]
    best = align(points(xyz), tree, start=Rigid.identity(), check=False)
    found = align(points(xyz), tree, start=Rigid.identity(), method="tolerance_fit", tolerance=limits, check=False)
    assert found.status == "converged" and found.alignment == "tolerance_fit"
    half, middle = 0.75 * upper, 0.25 * upper
    assert best.target_from_source is not None
    expected = twin(xyz, tree, best.target_from_source, half, middle)
    assert found.details["worst"] <= expected * (1.0 + 1e-6)
    share = np.abs((found.residuals - middle) / half).max()
    assert share == pytest.approx(found.details["worst"], rel=1e-9)
    assert found.details["worst"] < found.details["worst_before"]


@pytest.mark.parametrize("n", [600, 1200, 5000])
def test_the_multipliers_prove_the_optimum(n: int) -> None:
    """At a Chebyshev optimum non-negative multipliers of the contacts, summing to one, cancel their gradients: with
    seven contacts (600), and with six, where the optimum lies on a ridge (1200, 5000)."""
    tree, xyz = deformed(n)
    found = align(points(xyz), tree, start=Rigid.identity(), method="minimum_maximum", check=False)
    contacts = found.details["contacts"]
    total = sum(c["multiplier"] for c in contacts)
    assert total == pytest.approx(1.0, abs=1e-9)
    gradient = sum(c["multiplier"] * c["side"] * np.asarray(c["row"]) for c in contacts)
    rows = max(float(np.linalg.norm(c["row"])) for c in contacts)
    assert min(c["multiplier"] for c in contacts) >= 0.0
    assert np.linalg.norm(gradient) < 1e-10 * rows  # the goal of the project; rounding is 1e-15
    assert np.ptp([abs(c["share"]) for c in contacts]) < 1e-11 * found.details["worst"]
    assert len(contacts) <= 7


def test_a_plane_with_one_bump_has_a_known_minimum_maximum() -> None:
    """Closed form: a flat field with one point 0.2 up is best met 0.1 up; turning cannot help a bump in the middle."""
    g = np.linspace(-10.0, 10.0, 21)
    xyz = np.array([[a, b, 0.0] for a in g for b in g])
    xyz[len(xyz) // 2, 2] = 0.2
    found = align(
        points(xyz), features.Plane(point=(0, 0, 0), normal=(0, 0, 1)), start=Rigid.identity(), method="minimum_maximum"
    )
    assert found.status == "degenerate"
    assert found.details["worst"] == pytest.approx(0.1, rel=1e-9)
    assert [m.kind for m in found.free] == ["translation", "translation", "rotation"]


def test_many_points_are_reduced_without_loss() -> None:
    tree, xyz = deformed(60_000)
    found = align(points(xyz), tree, start=Rigid.identity(), method="minimum_maximum", check=False)
    assert found.status == "converged"
    assert np.abs(found.residuals).max() == pytest.approx(found.details["worst"], rel=1e-9)


def test_a_tolerance_that_does_not_fit_is_refused() -> None:
    tree = SurfaceTree(plate())
    scan = points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 100, 1))
    for bad in ((0.1, -0.1), np.ones(7), np.ones((100, 3)), float("nan")):
        with pytest.raises(ParameterError):
            align(scan, tree, start=Rigid.identity(), method="tolerance_fit", tolerance=bad)
