"""The fine stage: exact without noise, from far starts, with honest intervals, and with the free motions named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import metrology_core.features as features
from metrology_core.blocks import threads
from metrology_core.data import PointSet, ProbeTip, Rigid
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import align
from pointcloud.registration.se3 import Pose, rotation_vector
from pointcloud.registration.target import sample_mesh
from pointcloud.registration.uncertainty import chi_square
from tests.pointcloud.registration.parts_for_tests import blade, freeform, motion, plate, points, tube, worst_shift


@pytest.mark.parametrize("metric", ["point_to_plane", "point_to_point"])
def test_without_noise_the_pose_is_exact(metric: str) -> None:
    tree = SurfaceTree(freeform())
    mesh = tree.mesh
    rng = np.random.default_rng(3)
    xyz = sample_mesh(mesh.vertices, mesh.faces, 3000, 1)
    middle = xyz.mean(axis=0)
    true = motion(rng, 0.3, 9.0, middle)
    found = align(points(true.inverse().apply(xyz)), tree, start=Rigid.identity(), metric=metric, check=False)  # type: ignore[arg-type]
    assert found.status == "converged"
    assert found.target_from_source is not None
    turn = rotation_vector(found.target_from_source.rotation @ true.rotation.T)
    # the goals of the project: 1e-12 rad, 1e-10 mm; the part is 600 mm off the origin
    assert np.linalg.norm(turn) < 1e-12
    assert worst_shift(found.target_from_source, true, mesh.vertices) < 1e-10
    assert found.rms < 1e-11


def test_far_starts(data_root: Path) -> None:
    """30 degrees and 10 % of the size away: a small seeded version of benchmarks.accuracy.registration."""
    tree = blade(data_root)
    mesh = tree.mesh
    rng = np.random.default_rng(7)
    xyz = sample_mesh(mesh.vertices, mesh.faces, 2500, 2)
    size = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    for _ in range(12):
        true = motion(rng, np.radians(30.0), 0.1 * size, mesh.vertices.mean(axis=0))
        found = align(points(true.inverse().apply(xyz)), tree, start=Rigid.identity(), check=False)
        assert found.status == "converged"
        assert worst_shift(found.target_from_source, true, mesh.vertices) < 1e-10


def test_intervals_hold_the_truth() -> None:
    """Per degree of freedom and jointly: 200 simulated scans; the large run is benchmarks.accuracy.registration."""
    tree = SurfaceTree(freeform())
    mesh = tree.mesh
    rng = np.random.default_rng(11)
    inside = np.zeros(6)
    joint = 0
    runs = 200
    for k in range(runs):
        xyz = sample_mesh(mesh.vertices, mesh.faces, 300, k) + 5e-3 * rng.standard_normal((300, 3))
        true = motion(rng, 0.01, 0.5, xyz.mean(axis=0))
        found = align(points(true.inverse().apply(xyz)), tree, start=Rigid.identity(), check=False).require()
        assert found.target_from_source is not None
        # the truth is the stated motion followed by the twist
        a, b = (Pose.of(r, np.zeros(3)) for r in (found.target_from_source, true))
        back = found.target_from_source.inverse().apply(found.pivot)
        twist = np.r_[rotation_vector(b.rotation @ a.rotation.T), true.apply(back) - found.pivot]
        u = np.array(list(found.standard_uncertainty.values()))
        inside += np.abs(twist) <= 1.96 * u
        joint += chi_square(twist, found.covariance_determined) <= 12.592  # 95 % of chi-square with 6
    # 200 runs: standard deviation of a share of 95 % is 1.5 %, so 90 % to 99.5 % is three of them
    assert ((inside / runs > 0.90) & (inside / runs <= 0.995)).all(), inside / runs
    assert 0.90 < joint / runs <= 0.995


def _surface_points(kind: str, rng: np.random.Generator, n: int = 1500) -> tuple[features.Feature, np.ndarray]:
    axis = np.array([2.0, -1.0, 2.0]) / 3.0
    u, v = np.array([1.0, 2.0, 0.0]) / 5**0.5, np.cross(axis, np.array([1.0, 2.0, 0.0]) / 5**0.5)
    at = np.array([10.0, 20.0, 30.0])
    t, h = rng.uniform(0.0, 2.0 * np.pi, n)[:, None], rng.uniform(-15.0, 15.0, n)[:, None]
    if kind == "sphere":
        w = rng.standard_normal((n, 3))
        return features.Sphere(center=at, radius=5.0), at + 5.0 * w / np.linalg.norm(w, axis=1, keepdims=True)
    if kind == "cylinder":
        return features.Cylinder(point=at, axis=axis, radius=4.0), at + h * axis + 4.0 * (np.cos(t) * u + np.sin(t) * v)
    if kind == "plane":
        return features.Plane(point=at, normal=axis), at + h * u + 9.0 * np.cos(t) * v
    r = 8.0 + h * np.tan(0.2)
    cone = features.Cone(point=at, axis=axis, radius=8.0, half_angle=0.2)
    return cone, at + h * axis + r * (np.cos(t) * u + np.sin(t) * v)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("sphere", ["rotation"] * 3),
        ("cylinder", ["translation", "rotation"]),
        ("plane", ["translation", "translation", "rotation"]),
        ("cone", ["rotation"]),
    ],
)
def test_analytic_nominals_report_exactly_their_free_motions(kind: str, kinds: list[str], noise: float) -> None:
    rng = np.random.default_rng(5)
    feature, xyz = _surface_points(kind, rng)
    xyz = xyz + noise * rng.standard_normal(xyz.shape)
    true = motion(rng, 0.1, 2.0, xyz.mean(axis=0))
    found = align(points(true.inverse().apply(xyz)), feature)
    assert found.status == "degenerate" and found.usable
    assert "free_motions" in found.flags
    assert [m.kind for m in found.free] == kinds
    axis = np.array([2.0, -1.0, 2.0]) / 3.0
    for m in found.free:
        if kind == "sphere":
            assert m.point == pytest.approx([10.0, 20.0, 30.0], abs=1e-9)  # rounding of eigenvectors
        elif m.kind == "rotation":
            assert np.linalg.norm(np.cross(m.direction, axis)) < 1e-9
            if kind != "plane":  # the axis of the nominal, wherever the data lie
                assert m.point is not None
                assert np.linalg.norm(np.cross(m.point - [10.0, 20.0, 30.0], axis)) < 1e-8
        elif kind == "plane":
            assert abs(m.direction @ axis) < 1e-9
        else:
            assert np.linalg.norm(np.cross(m.direction, axis)) < 1e-9
    assert np.isinf(np.diag(found.covariance)).sum() >= len(kinds)
    # a free motion changes no distance, and what is determined has a finite uncertainty
    assert np.isfinite(found.distance_uncertainty(xyz[:5], feature.normals(xyz[:5]))).all()
    assert found.rms == pytest.approx(noise, rel=0.1, abs=1e-12)


def test_facets_do_not_pretend_to_hold_a_turn() -> None:
    """A tessellated tube: the scan of the true cylinder cannot tell the angle, whatever the facets say."""
    tree = SurfaceTree(tube())
    rng = np.random.default_rng(8)
    t, h = rng.uniform(0.0, 2.0 * np.pi, 6000), rng.uniform(2.0, 58.0, 6000)
    xyz = np.c_[20.0 * np.cos(t), 20.0 * np.sin(t), h] + 5e-3 * rng.standard_normal((6000, 3))
    found = align(points(xyz), tree, start=Rigid.from_rotation_vector((0.001, 0.002, 0.0)), check=False)
    assert sorted(m.kind for m in found.free) == ["rotation", "translation"]
    assert found.status == "degenerate"


def test_a_block_is_not_called_free() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 4000, 1)
    xyz = xyz + 5e-3 * np.random.default_rng(1).standard_normal(xyz.shape)
    found = align(points(xyz), tree, start=Rigid.from_rotation_vector((0.001, 0.002, 0.0)), check=False)
    assert found.status == "converged" and not found.free


@pytest.mark.parametrize("how", [{"loss": "huber"}, {"loss": "tukey"}, {"trim": 0.2}])
def test_robust_losses_ignore_what_is_not_the_part(how: dict[str, object]) -> None:
    tree = SurfaceTree(freeform())
    rng = np.random.default_rng(2)
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 4000, 1)
    noisy = xyz + 5e-3 * rng.standard_normal(xyz.shape)
    noisy[::10] += rng.uniform(0.5, 1.5, (400, 1)) * np.array([0.0, 0.0, 1.0])  # one in ten sits on a lump
    plain = align(points(noisy), tree, start=Rigid.identity(), check=False)
    found = align(points(noisy), tree, start=Rigid.identity(), check=False, **how)  # type: ignore[arg-type]
    assert "outliers_present" in plain.flags
    assert found.status == "converged"
    off, robust = (worst_shift(r.target_from_source, Rigid.identity(), xyz) for r in (plain, found))
    assert off > 0.05
    # redescending and trimmed estimates shed the lumps (3 u is about 2 um here); Huber bounds their pull
    assert robust < (0.01 if "loss" not in how or how["loss"] == "tukey" else 0.03)


def test_ball_centres_are_compensated_toward_the_surface() -> None:
    tree = SurfaceTree(plate())
    mesh = tree.mesh
    xyz = sample_mesh(mesh.vertices, mesh.faces, 3000, 1)
    out = tree.closest(xyz).normal
    touching = np.abs(tree.closest(xyz + 1.5 * out).distance - 1.5) < 1e-9  # not where the ball meets the other flank
    xyz, out = xyz[touching], out[touching]
    true = motion(np.random.default_rng(0), 0.02, 1.0, xyz.mean(axis=0))
    scan = PointSet.from_array(
        true.inverse().apply(xyz + 1.5 * out), unit="mm", frame="cmm", points_are="ball_centre", tip=ProbeTip(1.5)
    )
    found = align(scan, tree, start=Rigid.identity(), check=False)
    assert worst_shift(found.target_from_source, true, mesh.vertices) < 1e-10


def test_locked_freedoms_stay() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 3000, 1)
    start = Rigid.from_rotation_vector((0.0, 0.0, 0.02), (0.3, 0.1, 0.2))
    found = align(points(xyz), tree, start=start, locked=("tz", "rx", "ry"), check=False)
    assert found.target_from_source is not None
    assert found.target_from_source.translation[2] == pytest.approx(0.2, abs=1e-13)
    assert found.target_from_source.rotation[2] == pytest.approx([0.0, 0.0, 1.0], abs=1e-15)
    assert abs(found.target_from_source.translation[0]) < 0.01  # what is not locked was found
    assert found.standard_uncertainty["tz"] == 0.0


def test_the_same_bits_for_any_number_of_threads() -> None:
    tree = SurfaceTree(freeform())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 40_000, 1)
    xyz = xyz + 5e-3 * np.random.default_rng(1).standard_normal(xyz.shape)
    results = []
    for count in (1, 2, 3):
        with threads(count):
            found = align(points(xyz), tree, start=Rigid.from_rotation_vector((1e-3, 0.0, 0.0)), loss="huber")
        assert found.target_from_source is not None
        results.append(found.target_from_source.matrix.tobytes() + found.covariance.tobytes())
    assert len(set(results)) == 1


def test_units_of_scan_and_nominal_may_differ() -> None:
    tree = SurfaceTree(freeform())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 3000, 1) / 25.4
    true = motion(np.random.default_rng(0), 0.02, 0.05, xyz.mean(axis=0))
    scan = PointSet.from_array(true.inverse().apply(xyz), unit="in", frame="s", points_are="surface")
    found = align(scan, tree, start=Rigid.identity())
    assert found.status == "converged" and found.unit == scan.unit
    assert worst_shift(found.target_from_source, true, xyz) < 1e-11  # 1e-10 mm and less
    assert np.abs(found.residuals).max() < 1e-11
