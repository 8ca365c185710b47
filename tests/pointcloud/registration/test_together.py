"""Several scans at once: exact without errors; tied to each other, as their covariance says, by the part's form."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.data import PointSet, Rigid
from metrology_core.errors import ParameterError
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import align_together
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import rotation_vector
from pointcloud.registration.target import sample_mesh
from pointcloud.registration.uncertainty import chi_square
from tests.pointcloud.registration.parts_for_tests import freeform, motion, points, worst_shift

STRIPS = ((600.0, 650.0), (625.0, 675.0), (655.0, 700.0))
BETWEEN = np.array([637.0, -165.0, 5.0])  # in the overlap of the first two


def simulated(tree: SurfaceTree, seed: int, form: float, noise: float) -> tuple[list[PointSet], list[Rigid]]:
    """Three overlapping strips of a patch with one form deviation (a sum of waves with a Gaussian correlation over
    2 mm), each moved by a motion of its own."""
    rng = np.random.default_rng([seed, 0x70])
    waves, phase = rng.standard_normal((300, 3)) / np.sqrt(2.0), rng.uniform(0.0, 2.0 * np.pi, 300)
    scans, true = [], []
    for low, high in STRIPS:
        xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 3000, int(rng.integers(1 << 30)))
        xyz = xyz[(xyz[:, 0] > low) & (xyz[:, 0] < high)][:1000]
        value = form * np.sqrt(2.0 / 300) * np.cos(xyz @ waves.T + phase).sum(axis=1)
        xyz = xyz + (value + noise * rng.standard_normal(len(xyz)))[:, None] * tree.closest(xyz).normal
        true.append(motion(rng, 0.01, 0.4, xyz.mean(axis=0)))
        scans.append(points(true[-1].inverse().apply(xyz), **({"noise": noise} if noise else {})))
    return scans, true


def twist(found: Registration, true: Rigid, pivot: np.ndarray) -> np.ndarray:
    """What leads from the found to the true motion, about a point of the target frame."""
    assert found.target_from_source is not None
    turn = rotation_vector(true.rotation @ found.target_from_source.rotation.T)
    return np.r_[turn, true.apply(found.target_from_source.inverse().apply(pivot)) - pivot]


def test_without_form_and_noise_all_motions_are_exact() -> None:
    tree = SurfaceTree(freeform())
    scans, true = simulated(tree, 1, 0.0, 0.0)
    found = align_together(scans, tree, starts=[Rigid.identity()] * 3, cell=8.0)
    assert found.status == "converged" and found.shared > 5
    for row, t in zip(found.registrations, true):
        assert worst_shift(row.target_from_source, t, tree.mesh.vertices) < 1e-9
    assert found.form < 1e-9


def test_a_shared_form_ties_the_scans() -> None:
    """Eight simulated parts: errors that the covariances hold, and relative motions better known than by two scans."""
    tree = SurfaceTree(freeform())
    joint = relative = 0.0
    for seed in range(8):
        scans, true = simulated(tree, seed, 0.02, 0.005)
        found = align_together(scans, tree, starts=[Rigid.identity()] * 3, cell=8.0)
        assert found.status == "converged" and 0.004 < found.form < 0.02  # means over cells, so less than 20 um
        assert np.allclose(found.covariance, found.covariance.T, rtol=1e-9)
        for row, t in zip(found.registrations, true):
            joint += chi_square(twist(row, t, row.pivot), row.covariance_determined)
        a, b = found.registrations[:2]
        between = found.relative_covariance(0, 1, BETWEEN)
        relative += chi_square(twist(a, true[0], BETWEEN) - twist(b, true[1], BETWEEN), between)
        # a step between the scans is smaller than their two errors make it were they independent
        apart = a.covariance_at(BETWEEN) + b.covariance_at(BETWEEN)
        assert between[0, 0] < 0.9 * apart[0, 0] and between[5, 5] < 0.9 * apart[5, 5]
    # chi-square of 8 x 18: mean 144, standard deviation 17, twice that for scans of one part are correlated
    assert 144 - 3 * 34 < joint < 144 + 3 * 34
    # of 8 x 6: mean 48, standard deviation 9.8
    assert 48 - 3 * 9.8 < relative < 48 + 3 * 9.8


def test_a_scan_that_cannot_be_aligned_gives_its_status() -> None:
    tree = SurfaceTree(freeform(30))
    good = points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 500, 1))
    found = align_together([good, points(np.zeros((2, 3)))], tree, starts=[Rigid.identity()] * 2)
    assert found.status == "insufficient" and np.isnan(found.covariance).all()


def test_wrong_use_is_refused() -> None:
    tree = SurfaceTree(freeform(30))
    scan = points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 500, 1))
    inches = PointSet.from_array(scan.xyz, unit="in", frame="s", points_are="surface")
    for scans, more in (
        ([], {}), ([scan, scan.xyz], {}), ([scan, inches], {}), ([scan], {"starts": []}), ([scan], {"cell": 0.0}),
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            align_together(scans, tree, **more)  # type: ignore[arg-type]


def test_cells_that_determine_nothing_give_a_status() -> None:
    """One cell about the whole part: one mean a scan, six motions each."""
    tree = SurfaceTree(freeform(30))
    scans = [points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 500, seed)) for seed in (1, 2)]
    found = align_together(scans, tree, starts=[Rigid.identity()] * 2, cell=1e6)
    assert found.status == "degenerate" and "degenerate" in found.flags and np.isnan(found.covariance).all()
