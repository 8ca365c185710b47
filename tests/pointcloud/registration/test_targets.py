"""Alignment on datum targets, and the file that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.data import Rigid
from metrology_core.errors import ParameterError, ReaderError
from pointcloud.nominal.tree import SurfaceTree
from pointcloud.registration import DatumTarget, align, read_rps, three_two_one, write_rps
from pointcloud.registration.rps_file import parse_rps
from pointcloud.registration.target import sample_mesh
from tests.pointcloud.registration.parts_for_tests import freeform, motion, plate, points, worst_shift

AXES = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
PLACES = np.array([[10, 10, 8], [70, 20, 8], [30, 45, 8], [10, 0, 4], [50, 0, 4], [0, 25, 4]], dtype=float)


def test_three_two_one_on_probed_points_is_exact() -> None:
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(1)
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 3000, 1)
    true = motion(rng, 0.05, 2.0, xyz.mean(axis=0))
    # probed anywhere on the datum planes: sideways shifts are not locked by that point
    slide = np.array([np.eye(3) - np.outer(n, n) for n in AXES[[0, 0, 0, 1, 1, 2]]])
    probed = PLACES + np.einsum("kij,kj->ki", slide, rng.uniform(-0.3, 0.3, (6, 3)))
    targets = three_two_one(PLACES, AXES, measured=true.inverse().apply(probed))
    found = align(points(true.inverse().apply(xyz)), tree, method="rps", targets=targets, start=true)
    assert found.status == "converged" and found.allows_verdict and found.alignment == "datums"
    assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 1e-10
    assert "zero_redundancy" in found.flags and "best_fit_alignment" not in found.flags


def test_discs_of_the_scan_give_the_datum_frame_not_the_best_fit() -> None:
    """The part's long side is bent away from the nominal: targets on the other faces do not see it."""
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(2)
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 60_000, 1)
    bent = xyz.copy()
    bent[np.abs(xyz[:, 1] - 50.0) < 1e-9, 1] += 0.2
    bent += 2e-3 * rng.standard_normal(bent.shape)
    true = motion(rng, 1.0, 50.0, xyz.mean(axis=0))
    scan = points(true.inverse().apply(bent), noise=2e-3)
    targets = three_two_one(PLACES, AXES, radius=3.0)
    found = align(scan, tree, method="rps", targets=targets)
    best = align(scan, tree)
    assert found.status == "converged"
    # each disc holds some hundred points: 2 um / sqrt(100), amplified a few times by the lever arms
    assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 4e-3
    assert worst_shift(best.target_from_source, true, tree.mesh.vertices) > 20e-3
    u = np.array(list(found.standard_uncertainty.values()))
    assert (u > 0.0).all() and (u[3:] < 1e-3).all()
    assert {row["target"][:2] for row in found.details["targets"]} == {"A1", "A2", "A3", "B1", "B2", "C1"}


def test_discs_on_a_curved_surface_are_exact_without_noise() -> None:
    tree = SurfaceTree(freeform())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 30_000, 1)
    true = motion(np.random.default_rng(3), 0.02, 0.5, xyz.mean(axis=0))
    z = np.array([0.0, 0.0, 1.0])
    places = tree.closest(np.array([[610.0, -190, 0], [690, -190, 5], [650, -140, 5], [630, -160, 0]])).foot
    targets = [DatumTarget(f"T{k}", p, z, 4.0) for k, p in enumerate(places)]
    found = align(points(true.inverse().apply(xyz)), tree, method="rps", targets=targets, start=Rigid.identity())
    # locked along z only: the rest is free, in part, through the slopes; the pose itself is the true one
    assert found.target_from_source is not None
    assert worst_shift(found.target_from_source, true, tree.mesh.vertices) < 1e-9


def test_the_scatter_of_the_targets_is_the_stated_uncertainty() -> None:
    """Six probed points of known noise, 60 times: the covariance is that of the poses found (exact case)."""
    tree = SurfaceTree(plate())
    rng = np.random.default_rng(4)
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 300, 1)
    shifts, stated = [], None
    for _ in range(60):
        probed = PLACES + 5e-3 * rng.standard_normal(PLACES.shape)
        targets = [
            DatumTarget(f"T{k}", PLACES[k], AXES[(0, 0, 0, 1, 1, 2)[k]], measured=probed[k], u=5e-3) for k in range(6)
        ]
        found = align(points(xyz), tree, method="rps", targets=targets, start=Rigid.identity())
        assert found.target_from_source is not None
        shifts.append(found.target_from_source.apply(found.pivot) - found.pivot)
        stated = found.covariance[3:, 3:]
    assert stated is not None
    ratio = np.cov(np.array(shifts).T)[np.diag_indices(3)] / np.diag(stated)
    # 60 repeats: the relative standard deviation of a variance is sqrt(2/59) = 18 %; three of them
    assert (np.abs(ratio - 1.0) < 0.55).all(), ratio


def test_too_few_targets_leave_motions_free() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 5000, 1)
    targets = [DatumTarget(f"A{k}", PLACES[k], AXES[0], 4.0) for k in range(3)]
    found = align(points(xyz), tree, method="rps", targets=targets, start=Rigid.identity())
    assert found.status == "degenerate"
    assert [m.kind for m in found.free] == ["translation", "translation", "rotation"]


def test_a_target_without_points_is_said() -> None:
    tree = SurfaceTree(plate())
    xyz = sample_mesh(tree.mesh.vertices, tree.mesh.faces, 2000, 1)
    targets = three_two_one(PLACES + np.array([0.0, 0.0, 90.0]), AXES, radius=1.0)
    found = align(points(xyz), tree, method="rps", targets=targets, start=Rigid.identity())
    assert found.status == "insufficient" and "A1" in found.details["reason"]
    sideways = [DatumTarget("S", PLACES[0], [1.0, 0.0, 0.0], 2.0)]  # along the face
    found = align(points(xyz), tree, method="rps", targets=sideways, start=Rigid.identity())
    assert found.status == "insufficient" and "along the surface" in found.details["reason"]


# --- the file
def test_the_file_comes_back_with_the_same_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    targets = [
        DatumTarget("A,1", rng.standard_normal(3), rng.standard_normal(3), 2.5),
        DatumTarget("B", rng.standard_normal(3), [0, 0, 2], None, 0.25, rng.standard_normal(3), 1e-3),
    ]
    write_rps(tmp_path / "t.csv", targets, unit="mm")
    back = read_rps(tmp_path / "t.csv", unit="mm")
    for a, b in zip(targets, back, strict=True):
        assert (a.name, a.radius, a.weight, a.u) == (b.name, b.radius, b.weight, b.u)
        assert np.array_equal(a.point, b.point)
        assert a.direction == pytest.approx(b.direction, abs=1e-15)  # made a unit vector once more
        assert (a.measured is None) == (b.measured is None)
    inches = read_rps(tmp_path / "t.csv", unit="in")
    assert inches[0].point == pytest.approx(targets[0].point / 25.4, rel=1e-14)


HEAD = "abbe-rps,1\nunit,mm\n"
COLUMNS = "name,x,y,z,i,j,k,radius\n"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "not a file"),
        ("abbe-rps,2\nunit,mm\n", 1, "not a file"),
        ("abbe-rps,1\n", 1, "unit is missing"),
        ("abbe-rps,1\nunit,parsec\n", 2, "not known"),
        ("abbe-rps,1\nunit,deg\n", 2, "length"),
        (HEAD, 2, "columns are missing"),
        (HEAD + "name,x,y,z,i,j\n", 3, "'k' is missing"),
        (HEAD + "name,x,y,z,i,j,k,radios\n", 3, "unknown column"),
        (HEAD + "name,x,y,z,i,j,k,x\n", 3, "twice"),
        (HEAD + COLUMNS, 3, "no target"),
        (HEAD + COLUMNS + "A,1,2,3,0,0,1,2,5\n", 4, "more cells"),
        (HEAD + COLUMNS + "# comment\nA,1,2,x,0,0,1,2\n", 5, "z is not a number"),
        (HEAD + COLUMNS + "A,1,2,inf,0,0,1,2\n", 4, "z is not a number"),
        (HEAD + COLUMNS + "A,1,2,3,0,0,0,2\n", 4, "no length"),
        (HEAD + COLUMNS + "A,1,2,3,0,0,1,\n", 4, "radius or measured"),
        (HEAD + COLUMNS + ",1,2,3,0,0,1,2\n", 4, "no name"),
        (HEAD + "name,x,y,z,i,j,k,mx\nA,1,2,3,0,0,1,2\n", 4, "three"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ReaderError, match=what) as caught:
        parse_rps(text)
    assert caught.value.place == f"line {line}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="cannot be read"):
        read_rps(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ReaderError, match="not text"):
        read_rps(tmp_path / "b.csv")


def test_a_target_checks_itself() -> None:
    for bad in (
        {"point": [1, 2]}, {"direction": [0, 0, 0]}, {"radius": None}, {"radius": -1.0}, {"weight": 0.0}, {"u": -1.0},
    ):  # fmt: skip
        whole = {"name": "A", "point": [0, 0, 0], "direction": [0, 0, 1], "radius": 1.0} | bad
        with pytest.raises(ParameterError):
            DatumTarget(**whole)  # type: ignore[arg-type]
