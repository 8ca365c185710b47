"""The coarse stage: any start up to symmetry, mirror images, wrong units, nothing in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import metrology_core.features as features
from metrology_core.data import Rigid
from metrology_core.errors import FitError, ParameterError
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import align
from pointcloud.registration.target import sample_mesh
from tests.pointcloud.registration.parts_for_tests import blade, freeform, motion, plate, points, prism, worst_shift


def scan_of(
    tree: SurfaceTree, rng: np.random.Generator, n: int = 4000, noise: float = 5e-3
) -> tuple[np.ndarray, Rigid]:
    """(points in the scanner's frame, the motion that leads back)."""
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, n, 4)
    xyz = xyz + noise * rng.standard_normal(xyz.shape)
    true = motion(rng, rng.uniform(0.0, np.pi), 400.0, xyz.mean(axis=0))
    return true.inverse().apply(xyz), true


@pytest.mark.parametrize("part", ["freeform", "plate"])
def test_any_start(part: str) -> None:
    tree = SurfaceTree(freeform() if part == "freeform" else plate())
    rng = np.random.default_rng(1)
    for _ in range(3):
        xyz, true = scan_of(tree, rng)
        found = align(points(xyz), tree)
        assert found.status == "converged" and not found.equivalents
        # noise of 5 um on 4000 points: the pose is known to better than a micrometre or two
        assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 5e-3


def test_any_start_of_the_blade(data_root: Path) -> None:
    tree = blade(data_root)
    rng = np.random.default_rng(2)
    for _ in range(2):
        xyz, true = scan_of(tree, rng)
        found = align(points(xyz), tree)
        assert found.status == "converged"
        assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 5e-3


def test_half_a_blade(data_root: Path) -> None:
    """A scan of one side only: its middle and its axes are not those of the part."""
    tree = blade(data_root)
    rng = np.random.default_rng(3)
    xyz, true = scan_of(tree, rng, 8000)
    there = true.apply(xyz)
    found = align(points(xyz[there[:, 0] > 0.0]), tree)
    assert found.status == "converged"
    assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 10e-3


def test_the_answer_belongs_to_the_seed() -> None:
    tree = SurfaceTree(plate())
    xyz, _ = scan_of(tree, np.random.default_rng(5), 1500)
    a, b = (align(points(xyz), tree, seed=9).target_from_source for _ in range(2))
    assert a is not None and b is not None
    assert a.matrix.tobytes() == b.matrix.tobytes()


def test_symmetric_parts_name_their_poses() -> None:
    tree = SurfaceTree(plate(symmetric=True))
    xyz, true = scan_of(tree, np.random.default_rng(6))
    found = align(points(xyz), tree)
    assert found.status == "ambiguous" and "equivalent_poses" in found.flags and found.usable
    assert len(found.equivalents) == 1  # a twofold axis
    poses = [found.target_from_source, *found.equivalents]
    # one of them is the true one; the coarse pose is good to some micrometres
    assert min(worst_shift(p, true, tree.mesh.vertices) for p in poses) < 0.05
    with pytest.raises(FitError, match="ambiguous"):
        found.require()
    assert found.require(ambiguous=True) is found


def test_a_mirrored_part_is_recognised() -> None:
    tree = SurfaceTree(plate())
    # the step alone has a mirror plane (the thickness): a bevel takes it away
    mesh = tree.mesh
    xyz = mesh.vertices.copy()
    xyz[:, 2] *= 1.0 + 0.02 * xyz[:, 0] / 8.0 * (xyz[:, 2] > 0.0)
    tree = SurfaceTree(type(mesh)(xyz, mesh.faces, "mm"))
    scan, _ = scan_of(tree, np.random.default_rng(7))
    found = align(points(scan * np.array([1.0, -1.0, 1.0])), tree, open3d=False)
    assert found.status == "mirrored" and "mirror_image" in found.flags
    with pytest.raises(FitError, match="mirror"):
        found.require()


@pytest.mark.parametrize("factor", [25.4, 1e-3])
def test_a_wrong_unit_is_recognised_and_not_corrected(factor: float) -> None:
    tree = SurfaceTree(plate())
    scan, _ = scan_of(tree, np.random.default_rng(8), 2000)
    found = align(points(scan * factor), tree, open3d=False)
    assert found.status == "unit_mismatch" and "unit_suspect" in found.flags
    assert found.details["unit_factor"] == pytest.approx(1.0 / factor)
    assert found.target_from_source is None


def test_nothing_in_common_is_said() -> None:
    tree = SurfaceTree(plate())
    cloud = 30.0 * np.random.default_rng(9).standard_normal((600, 3))
    found = align(points(cloud), tree, open3d=False)
    assert found.status in ("disjoint", "not_converged") and found.target_from_source is None
    with pytest.raises(FitError):
        found.require(free=True, ambiguous=True)


def test_features_are_found_from_anywhere() -> None:
    rng = np.random.default_rng(10)
    t, h = rng.uniform(0.0, 2.0 * np.pi, 800), rng.uniform(-15.0, 15.0, 800)
    xyz = np.c_[4.0 * np.cos(t), 4.0 * np.sin(t), h]
    true = motion(rng, 2.5, 300.0, (0.0, 0.0, 0.0))
    found = align(points(true.inverse().apply(xyz)), features.Cylinder(point=(0, 0, 0), axis=(0, 0, 1), radius=4.0))
    assert found.status == "degenerate" and found.rms < 1e-10
    assert [m.kind for m in found.free] == ["translation", "rotation"]


# --- bad data and wrong use
def test_too_few_points_are_a_status() -> None:
    tree = SurfaceTree(plate())
    for xyz in (np.zeros((0, 3)), np.zeros((2, 3)), np.full((50, 3), np.nan)):
        found = align(points(xyz), tree)
        assert found.status == "insufficient" and found.target_from_source is None
        assert "insufficient" in found.flags
    found = align(points(np.ones((50, 3))), tree, start=Rigid.identity())
    assert found.status == "degenerate" and found.target_from_source is None


def test_points_that_are_not_finite_are_counted_not_used() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 1500, 1)
    holed = xyz.copy()
    holed[::7] = np.nan
    found = align(points(holed), tree, start=Rigid.identity(), check=False)
    assert found.status == "converged" and "non_finite_points" in found.flags
    assert found.n_used == np.isfinite(holed[:, 0]).sum() and found.n_points == 1500
    assert np.isnan(found.residuals[::7]).all() and np.isfinite(found.residuals[1::7]).all()


def test_all_points_beyond_the_limit_are_disjoint() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 1500, 1)
    found = align(points(xyz + 500.0), tree, start=Rigid.identity(), search_limit=2.0)
    assert found.status == "disjoint" and found.target_from_source is None and "disjoint" in found.flags


def test_one_triangle_leaves_three_motions() -> None:
    mesh = prism(np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]), 5.0)
    tree = SurfaceTree(type(mesh)(mesh.vertices, mesh.faces[:1], "mm"))
    rng = np.random.default_rng(3)
    u, v = rng.uniform(0.1, 0.4, (2, 400))
    xyz = np.c_[50.0 * u, 50.0 * v, 0.0 * u]
    true = motion(rng, 0.02, 0.2, xyz.mean(axis=0))
    found = align(points(true.inverse().apply(xyz)), tree, start=Rigid.identity(), check=False)
    assert [m.kind for m in found.free] == ["translation", "translation", "rotation"]


def test_wrong_use_is_refused() -> None:
    tree = SurfaceTree(plate())
    scan = points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 100, 1))
    for bad in (
        {"method": "icp"}, {"loss": "l1"}, {"trim": 1.5}, {"search_limit": -1.0}, {"locked": ("tq",)},
        {"locked": ("tx",)}, {"method": "tolerance_fit"}, {"method": "rps"}, {"trim": 0.1, "loss": "huber"},
        {"max_angle": 0.3}, {"metric": "plane"},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            align(scan, tree, **bad)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="PointSet"):
        align(scan.xyz, tree)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="nominal"):
        align(scan, "part.stl")


def test_none_is_what_the_user_asked_for() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 500, 1) + np.array([0.0, 0.0, 0.01])
    found = align(points(xyz), tree, method="none")
    assert found.status == "converged" and found.allows_verdict and found.alignment == "as_measured"
    assert found.rms > 1e-3 and (found.covariance == 0.0).all()


def test_a_best_fit_gives_no_verdict_without_permission() -> None:
    tree = SurfaceTree(plate())
    scan = points(sample_mesh(tree.mesh.vertices, tree.mesh.faces, 500, 1))
    found = align(scan, tree, start=Rigid.identity())
    assert not found.allows_verdict and "best_fit_alignment" in found.flags
    cited = align(scan, tree, start=Rigid.identity(), permission="drawing 4711, note 3")
    assert cited.allows_verdict and "best_fit_alignment" not in cited.flags
    system = cited.datum_system("aligned", scan.frame)
    assert system.alignment == "best_fit" and system.allows_verdict
    assert system.frame.parent is scan.frame


@pytest.mark.parametrize("loss", ["squares", "tukey"])
def test_stray_points_all_about_do_not_lose_the_part(loss: str) -> None:
    """2 % of the points anywhere in a box four times as large: they move the middle, the axes and the size."""
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(12)
    xyz, true = scan_of(tree, rng)
    strays = xyz.mean(axis=0) + rng.uniform(-160.0, 160.0, (80, 3))
    found = align(points(np.vstack([xyz, strays])), tree, loss=loss, open3d=False)  # type: ignore[arg-type]
    assert found.status == "converged"
    # plain squares are pulled by the few strays nearer than 0.3 radii of gyration (9 mm): two or three of
    # the 80 in the box; 3 x 9 mm over 4000 points, levers of up to 6
    assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < (5e-3 if loss == "tukey" else 0.05)
    if loss == "squares":  # said, and counted
        assert "gross_outliers_left_out" in found.flags and 60 <= found.n_outside <= 80
    assert found.residuals.shape == (4080,)


def test_a_nominal_that_is_half_of_the_part(data_root: Path) -> None:
    """The nominal is cut open at half height: the scan lies on it with half of its points, and holds all motions."""
    whole = blade(data_root)
    mesh = whole.mesh
    middle = mesh.vertices[mesh.faces].mean(axis=1)[:, 2]
    half = SurfaceTree(type(mesh)(mesh.vertices, mesh.faces[middle > np.median(mesh.vertices[:, 2])], "mm"))
    placed = sample_mesh(mesh.vertices, mesh.faces, 6000, 4)
    placed = placed + 5e-3 * np.random.default_rng(13).standard_normal(placed.shape)
    found = align(points(placed), half)
    assert found.status == "converged" and found.details["coarse"] == "as it lies"
    assert found.n_outside > 1500 and found.rms < 6e-3
    assert worst_shift(found.target_from_source, Rigid.identity(), mesh.vertices) < 10e-3


def test_of_several_poses_as_good_the_one_that_is_there() -> None:
    tree = SurfaceTree(plate(symmetric=True))
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 2000, 4)
    found = align(points(xyz), tree, open3d=False)
    assert found.status == "ambiguous" and found.target_from_source is not None
    assert worst_shift(found.target_from_source, Rigid.identity(), tree.mesh.vertices) < 1e-6


@pytest.mark.parametrize("shape", ["flat", "ball"])
def test_clouds_without_a_triangulation_get_a_status(shape: str) -> None:
    """Points of one plane or one sphere: Open3D cannot orient their normals by a Delaunay triangulation."""
    rng = np.random.default_rng(5)
    xyz = rng.uniform(-60.0, 60.0, (3000, 3))
    if shape == "flat":
        xyz[:, 2] = 0.0
    else:
        xyz *= 60.0 / np.linalg.norm(xyz, axis=1)[:, None]
    found = align(points(xyz + 500.0), SurfaceTree(freeform()))
    assert found.status == "disjoint" and found.target_from_source is None
