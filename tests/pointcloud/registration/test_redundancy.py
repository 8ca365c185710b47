"""Whether a fit leaves anything over to judge the part by: leverage, places, free motions, symmetric nominals."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.data import PointSet, Rigid
from metrology_core.instrument import Instrument
from pointcloud.nominal.mesh import TriangleMesh
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import Registration, align
from pointcloud.registration.redundancy import LEAST
from pointcloud.registration.rps import three_two_one
from pointcloud.registration.se3 import displacement_rows
from pointcloud.registration.target import sample_mesh
from tests.pointcloud.registration.parts_for_tests import freeform, motion, plate, points, tube


def fitted(scan: PointSet, tree: SurfaceTree, **more: object) -> Registration:
    return align(scan, tree, permission="note 4", **more)  # type: ignore[arg-type]


def some(tree: SurfaceTree, n: int, seed: int = 1, noise: float = 2e-3) -> np.ndarray:
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, n, seed)
    return xyz + noise * np.random.default_rng(seed).standard_normal(xyz.shape)


@pytest.mark.parametrize(("n", "enough"), [(5, False), (7, False), (15, False), (40, True)])
def test_few_points_carry_no_verdict(n: int, enough: bool) -> None:
    found = fitted(
        points(some(SurfaceTree(freeform()), n), noise=2e-3), SurfaceTree(freeform()), start=Rigid.identity()
    )
    assert found.usable and found.permitted
    assert found.allows_verdict is enough and ("alignment_not_redundant" in found.flags) is not enough
    if not enough:
        assert f"{LEAST} more than motions" in found.obstacle


def test_leverage_is_the_diagonal_of_the_hat_matrix() -> None:
    """Against the hat matrix J (J'J)^-1 J' of dense algebra at the same pose."""
    tree = SurfaceTree(plate())
    scan = points(some(tree, 60))
    found = fitted(scan, tree, start=Rigid.identity())
    assert found.target_from_source is not None
    moved = found.target_from_source.apply(scan.xyz)
    normal = tree.closest(moved).normal
    rows = displacement_rows(moved, normal, found.pivot)
    hat = rows @ np.linalg.pinv(rows)
    assert np.trace(hat) == pytest.approx(6.0, abs=1e-9)
    # the nominal is plane at every foot but those at its edges, where noise of 2 um turns the direction
    assert found.details["redundancy"]["largest_leverage"] == pytest.approx(float(np.diag(hat).max()), rel=1e-3)


def test_many_points_in_few_places_are_few() -> None:
    """A thousand points in six spots of 0.2 mm: the fit takes up what each spot has, whatever it is."""
    tree = SurfaceTree(freeform())
    spots = some(tree, 6, 3)
    rng = np.random.default_rng(0)
    xyz = (spots[:, None] + rng.uniform(-0.1, 0.1, (6, 200, 3))).reshape(-1, 3)
    xyz = tree.closest(xyz).foot + 1e-3 * rng.standard_normal(xyz.shape)
    found = fitted(points(xyz), tree, start=Rigid.identity())
    assert found.details["redundancy"]["points"] == 1200 and not found.allows_verdict
    assert "places" in found.obstacle


def test_one_point_that_holds_a_motion_alone_is_named() -> None:
    """Of a plate: the top, one long side, and a single point on the end face: its deviation is always zero."""
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(4)
    top = np.c_[rng.uniform(2, 58, 400), rng.uniform(12, 48, 400), np.full(400, 8.0)]
    side = np.c_[rng.uniform(2, 78, 200), np.full(200, 50.0), rng.uniform(1, 7, 200)]
    xyz = np.vstack([top, side, [[0.0, 25.0, 4.0]]])
    found = fitted(points(xyz + 1e-3 * rng.standard_normal(xyz.shape)), tree, start=Rigid.identity())
    assert found.details["redundancy"]["largest_leverage"] > 0.99 and not found.allows_verdict
    assert "into the alignment" in found.obstacle
    without = fitted(points(xyz[:-1] + 1e-3 * rng.standard_normal((600, 3))), tree, start=Rigid.identity())
    # along its length the plate may slide, and no distance of these points depends on it
    assert without.status == "degenerate" and without.allows_verdict


def test_a_turned_part_and_a_symmetric_part_keep_their_verdict() -> None:
    t = SurfaceTree(tube())
    rng = np.random.default_rng(8)
    a, h = rng.uniform(0.0, 2.0 * np.pi, 3000), rng.uniform(4.0, 56.0, 3000)
    xyz = np.c_[20.0 * np.cos(a), 20.0 * np.sin(a), h] + 5e-3 * rng.standard_normal((3000, 3))
    found = fitted(points(xyz), t, start=Rigid.from_rotation_vector((0.001, 0.002, 0.0)))
    assert found.status == "degenerate" and found.allows_verdict
    twofold = SurfaceTree(plate(symmetric=True))
    found = fitted(points(some(twofold, 3000)), twofold, open3d=False)
    assert found.status == "ambiguous" and found.equivalents and found.allows_verdict


def test_poses_that_fit_alike_but_are_no_symmetry_carry_no_verdict() -> None:
    """A block with a hollow in one face, scanned from the other side: the scan lies on either face as well."""
    block = plate(symmetric=True).vertices
    faces = plate(symmetric=True).faces
    odd = block.copy()
    odd[9, 1] += 0.4  # a corner of the upper face that the scan does not reach: no twofold axis any more
    tree = SurfaceTree(TriangleMesh(odd, faces, "mm"))
    xyz = some(SurfaceTree(TriangleMesh(block, faces, "mm")), 4000)
    keep = (np.linalg.norm(xyz - odd[9], axis=1) > 22.0) & (np.linalg.norm(xyz - [20.0, 50.0, 8.0], axis=1) > 22.0)
    found = fitted(points(xyz[keep & (xyz[:, 2] < 7.9)]), tree, open3d=False)
    assert found.equivalents, found.status
    assert not found.allows_verdict and "alignment_undetermined" in found.flags
    assert "which of several poses" in found.obstacle


def test_targets_that_leave_motions_free_carry_no_verdict() -> None:
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(5)
    xyz = some(tree, 3000)
    at = np.array([[5.0, 5.0, 8.0], [50.0, 5.0, 8.0], [30.0, 45.0, 8.0], [10.0, 50.0, 4.0], [70.0, 50.0, 4.0],
                   [0.0, 25.0, 4.0]])  # fmt: skip
    targets = three_two_one(at, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], radius=2.5)
    true = motion(rng, 0.2, 3.0, xyz.mean(axis=0))
    scan = points(true.inverse().apply(xyz))
    full = align(scan, tree, method="rps", targets=targets, open3d=False)
    assert full.status == "converged" and full.allows_verdict  # six targets, no redundancy: so they are meant
    part = align(scan, tree, method="rps", targets=targets[:3], open3d=False)
    assert part.status == "degenerate" and not part.allows_verdict and "alignment_undetermined" in part.flags


def test_form_at_few_points_is_in_the_uncertainty_of_the_deviations() -> None:
    """25 points of a part with form of 20 um and noise of 1 um: the deviations at the points in the alignment of the
    whole surface lie within the intervals. Truth: the fit to 4000 points without noise."""
    tree = SurfaceTree(freeform())
    mesh = tree.mesh
    dense = sample_mesh(mesh.vertices, mesh.faces, 4000, 77)
    normal = tree.closest(dense).normal
    instrument = Instrument("scanner", "stated", unit="mm", noise=1e-3)
    hits, bare_hits, total, runs = 0, 0, 0, 40
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        middles, size = dense[rng.integers(0, len(dense), 40)], 0.02 * rng.standard_normal(40)
        form = sum(s * np.exp(-np.sum((dense - c) ** 2, axis=1) / 2.0 / 8.0**2) for s, c in zip(size, middles))
        part = dense + np.asarray(form)[:, None] * normal
        whole = fitted(points(part), tree, start=Rigid.identity(), check=False)
        few = rng.permutation(len(dense))[:25]
        scan = part[few] + 1e-3 * rng.standard_normal((25, 1)) * normal[few]
        found = fitted(points(scan), tree, start=Rigid.identity(), check=False, instrument=instrument)
        assert whole.target_from_source is not None and found.target_from_source is not None
        error = found.residuals - whole.residuals[few]
        moved = found.target_from_source.apply(scan)
        u = np.hypot(found.distance_uncertainty(moved, tree.closest(moved).normal), 1e-3)
        noise_only = found.details["budget"]["noise"]
        assert noise_only[3] < found.standard_uncertainty["tx"]
        hits += int(np.count_nonzero(np.abs(error) <= 2.0 * u))
        ratio = np.array(noise_only) / np.array(list(found.standard_uncertainty.values()))
        bare = np.hypot(found.distance_uncertainty(moved, tree.closest(moved).normal) * ratio.mean(), 1e-3)
        bare_hits += int(np.count_nonzero(np.abs(error) <= 2.0 * bare))
        total += 25
    # 40 alignments of six motions: 240 independent errors, standard deviation of a share of 95 % is 1.4 %, and the
    # form is not white; with the noise alone far fewer would lie within
    assert hits / total > 0.90, hits / total
    assert bare_hits / total < 0.75, bare_hits / total
