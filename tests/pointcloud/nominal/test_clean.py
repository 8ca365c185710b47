"""Cleaning a mesh: what is planted is found, and the answer afterwards is that of the sound mesh."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.errors import ParameterError, ReaderError
from pointcloud.nominal.clean import clean_arrays, clean_mesh
from pointcloud.nominal.mesh import TriangleMesh, read_mesh
from pointcloud.nominal.tree import SurfaceTree
from tests.pointcloud.nominal import solids


def test_a_sound_mesh_stays_as_it_is() -> None:
    mesh = TriangleMesh(*solids.box((2.0, 3.0, 4.0)), "mm")
    clean, report = clean_mesh(mesh)
    assert np.array_equal(clean.vertices, mesh.vertices) and np.array_equal(clean.faces, mesh.faces)
    assert report.closed and report.volume == pytest.approx(24.0, rel=1e-14) and report.area == pytest.approx(52.0)
    assert report.words() == () and report.flags == () and report.components == 1


def test_everything_planted_is_found() -> None:
    v, f = solids.box((2.0, 3.0, 4.0))
    soup = v[f].reshape(-1, 3)  # every triangle with its own corners
    faces = np.arange(36).reshape(12, 3)
    soup = np.vstack([soup, [[np.nan, 0, 0], [9.0, 9.0, 9.0], [-0.0, 0.0, 5.0]]])
    faces = np.vstack([faces, faces[3], faces[5], [[0, 0, 1]], [[0, 1, 36]]])
    faces[7] = faces[7, ::-1]  # one triangle turned
    clean, report = clean_arrays(soup, faces, unit="mm")
    assert report.merged_vertices == 36 - 8 and report.unused_vertices == 3 and report.non_finite_vertices == 1
    assert report.duplicate_faces == 2 and report.collapsed_faces == 1 and report.turned_faces == 1
    assert report.closed and report.volume == pytest.approx(24.0, rel=1e-14) and clean.n_triangles == 12
    assert {"mesh_cleaned", "mesh_non_finite", "mesh_reoriented"} <= set(report.flags)
    points = solids.beside((v, f), 2000, 1.0, 1)
    got, want = (
        SurfaceTree(clean).closest(points).distance,
        SurfaceTree(TriangleMesh(v, f, "mm")).closest(points).distance,
    )
    assert np.array_equal(got, want)


def test_a_mesh_that_is_inside_out_is_turned_and_said_so() -> None:
    v, f = solids.torus(20, 12)
    clean, report = clean_arrays(v, f[:, ::-1], unit="mm")
    assert report.inverted and "mesh_inverted" in clean.flags and report.volume is not None and report.volume > 0
    assert SurfaceTree(clean).closest([[35.0, 0, 0]]).distance[0] < 0
    kept, report = clean_arrays(v, f[:, ::-1], unit="mm", orient=False)
    assert report.inverted and report.volume is not None and report.volume < 0
    assert SurfaceTree(kept).closest([[35.0, 0, 0]]).distance[0] > 0


def test_many_turned_triangles_follow_the_larger_area() -> None:
    v, f = solids.torus(20, 12)
    turned = f.copy()
    pick = np.random.default_rng(2).random(len(f)) < 0.3
    turned[pick] = turned[pick, ::-1]
    clean, report = clean_arrays(v, turned, unit="mm")
    assert report.closed and report.volume is not None and report.volume > 0
    assert report.turned_faces == pick.sum() and SurfaceTree(clean).is_closed


def test_a_moebius_band_is_recognised() -> None:
    n = 24
    t = np.arange(n) * 2 * np.pi / n
    edge = np.stack([np.cos(t / 2) * np.cos(t), np.cos(t / 2) * np.sin(t), np.sin(t / 2)], -1)
    ring = np.stack([np.cos(t), np.sin(t), 0 * t], -1) * 10
    v = np.concatenate([ring + edge, ring - edge])
    faces = []
    for k in range(n):
        a, b = k, k + n
        c, d = (k + 1, k + 1 + n) if k + 1 < n else (n, 0)  # the last strip is twisted
        faces += [(a, b, d), (a, d, c)]
    _, report = clean_arrays(v, np.array(faces), unit="mm")
    assert report.not_orientable and "mesh_not_orientable" in report.flags and not report.closed


def test_open_and_non_manifold_edges_are_counted() -> None:
    v, f = solids.sheet(4)
    _, report = clean_arrays(v, f, unit="mm")
    assert report.open_edges == 12 and "mesh_open" in report.flags and report.volume is None
    fin = np.vstack([v, [[0, 0, 30.0]]])
    a, b = f[4][0], f[4][1]
    _, report = clean_arrays(fin, np.vstack([f, [[a, b, len(v)]]]), unit="mm")
    assert report.non_manifold_edges > 0 and "mesh_non_manifold" in report.flags


def test_triangles_without_area_do_not_open_the_surface() -> None:
    """A cap without height inside a face: its neighbours stay joined through it, and the side stays right."""
    v, f = solids.box((2.0, 2.0, 2.0))
    a, b, c = f[0]
    v = np.vstack([v, (v[a] + v[b]) / 2])
    faces = np.vstack([f[1:], [[a, 8, c], [8, b, c], [a, b, 8]]])
    clean, report = clean_arrays(v, faces, unit="mm")
    assert report.faces_without_area == 1 and report.closed and clean.n_triangles == 14
    points = solids.beside((v, faces), 5000, 0.5, 3)
    got = SurfaceTree(clean).closest(points)
    want = SurfaceTree(TriangleMesh(*solids.box((2.0, 2.0, 2.0)), "mm")).closest(points)
    clear = np.abs(want.signed) > 1e-12
    assert np.array_equal(np.sign(got.distance[clear]), np.sign(want.distance[clear]))
    assert np.abs(got.distance - want.distance)[clear].max() < 1e-14


def test_nothing_left_is_an_error(tmp_path: object) -> None:
    with pytest.raises(ParameterError, match="no triangle is left"):
        clean_arrays(np.full((3, 3), np.nan), np.array([[0, 1, 2]]), unit="mm")
    with pytest.raises(ParameterError, match="no triangle is left"):
        clean_arrays(np.zeros((0, 3)), np.zeros((0, 3), dtype=int), unit="mm")


def test_a_header_that_claims_1e8_triangles_is_refused_at_once(tmp_path: object) -> None:
    path = tmp_path / "claim.stl"  # type: ignore[operator]
    path.write_bytes(b"\0" * 80 + (100_000_000).to_bytes(4, "little") + b"\0" * 500)
    with pytest.raises(ReaderError, match="too short"):
        read_mesh(path, unit="mm")
