"""What a test writes must come back to the last bit: no tolerance is used where the file holds doubles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError, UnitError
from pointcloud import read_mesh, read_points
from pointcloud.readers.lzf import decompress
from tests.pointcloud.readers import writers
from tests.pointcloud.readers.writers import NASTY, save

POINTS = np.vstack([NASTY, writers.cloud(200)])


def read(path: Path, **options: object) -> np.ndarray:
    return read_points(path, **{"unit": "mm", "points_are": "surface", **options}).xyz


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xyz", writers.text(POINTS)),
        ("a.csv", writers.text(POINTS, ",", header="x,y,z")),
        ("comma.txt", writers.text(POINTS, ";", ",")),
        ("tab.asc", writers.text(POINTS, "\t", ",", end="\r\n")),
        ("count.pts", writers.text(POINTS, header=str(len(POINTS)))),
        ("ascii.ply", writers.ply(POINTS, "ascii")),
        ("little.ply", writers.ply(POINTS, "binary_little_endian")),
        ("big.ply", writers.ply(POINTS, "binary_big_endian")),
        ("a.obj", writers.obj(POINTS, [])),
        ("ascii.pcd", writers.pcd(POINTS, "ascii")),
        ("binary.pcd", writers.pcd(POINTS, "binary")),
        ("packed.pcd", writers.pcd(POINTS, "binary_compressed")),
        ("a.qif", writers.qif([("HOLE", POINTS)], compensated="true", radius=None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_doubles_come_back_to_the_last_bit(tmp_path: Path, name: str, data: bytes) -> None:
    points = read_points(save(tmp_path, name, data), unit="mm", points_are="surface")
    # compared as bits: -0.0 and 0.0 are not the same number in a file
    assert np.array_equal(points.xyz.view(np.uint64), POINTS.view(np.uint64))
    assert points.xyz.dtype == np.float64 and not points.xyz.flags.writeable
    assert points.unit == "mm" and points.frame.name == "file"
    assert points.source is not None
    assert points.source.path == name
    assert points.source.sha256 == hashlib.sha256(data).hexdigest()
    assert points.source.size == len(data)
    assert "float32_source" not in points.flags


@pytest.mark.parametrize("order", ["binary_little_endian", "binary_big_endian"])
def test_single_precision_is_flagged_and_not_embellished(tmp_path: Path, order: str) -> None:
    xyz = writers.cloud(50)
    points = read_points(
        save(tmp_path, "f.ply", writers.ply(xyz, order, "float")), unit="mm", points_are="surface", frame="machine"
    )
    assert np.array_equal(points.xyz, xyz.astype(np.float32).astype(np.float64))
    assert points.flags == ("float32_source",)
    assert "single precision" in points.history[0].words
    pcd = read_points(save(tmp_path, "f.pcd", writers.pcd(xyz, size=4)), unit="mm", points_are="surface")
    assert np.array_equal(pcd.xyz, xyz.astype(np.float32).astype(np.float64))
    assert pcd.flags == ("columns_ignored", "float32_source")


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_normals_faces_polygons_and_unused_columns(tmp_path: Path, order: str) -> None:
    vertices, faces = writers.tetrahedron()
    normals = writers.cloud(4, seed=8)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    data = writers.ply(vertices, order, normals=normals, faces=[*faces.tolist(), [0, 1, 2, 3]], extra="red")
    points = read_points(save(tmp_path, "m.ply", data), unit="mm", points_are="surface")
    assert np.array_equal(points.normals, normals)
    assert points.normals_role == "measured"
    assert points.flags == ("columns_ignored",)
    mesh = read_mesh(tmp_path / "m.ply", unit="um")
    assert np.array_equal(mesh.faces, [*faces.tolist(), [0, 1, 2], [0, 2, 3]])  # the square became a fan
    assert mesh.unit == "um"
    plain = read_mesh(save(tmp_path, "t.ply", writers.ply(vertices, order, faces=faces.tolist())), unit="mm")
    assert np.array_equal(plain.faces, faces) and plain.is_closed()


def test_stl_binary_ascii_and_a_binary_header_that_says_solid(tmp_path: Path) -> None:
    vertices, faces = writers.tetrahedron()
    corners = vertices[faces]
    mesh = read_mesh(save(tmp_path, "a.stl", writers.stl_ascii(corners)), unit="mm")
    assert np.array_equal(mesh.corners, corners) and len(mesh.vertices) == 4 and mesh.flags == ()
    for header in (b"made by a test", b"solid made by a test"):
        single = read_mesh(save(tmp_path, "b.stl", writers.stl(corners, header)), unit="mm")
        assert np.array_equal(single.corners, corners.astype(np.float32).astype(np.float64))
        assert single.flags == ("float32_source",)
    points = read_points(tmp_path / "b.stl", unit="mm", points_are="surface")
    assert points.n_points == 4 and "single precision" in points.history[0].words


def test_obj_counts_back_from_the_end_and_splits_polygons(tmp_path: Path) -> None:
    data = b"v 0.1 0 0\nv 1 0 0 1.0\n"
    with pytest.raises(Exception, match="4 numbers"):
        read_mesh(save(tmp_path, "ragged.obj", data), unit="mm")
    data = b"mtllib a.mtl\nv 0.1 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf -4/1 -3/1 -2/1 -1/1\nf 1 \\\n 2 3\n"
    mesh = read_mesh(save(tmp_path, "a.obj", data), unit="inch")
    assert np.array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])
    assert mesh.vertices[0, 0] == 0.1


def test_mesh_geometry(tmp_path: Path) -> None:
    vertices, faces = writers.tetrahedron()
    mesh = read_mesh(save(tmp_path, "m.ply", writers.ply(vertices, faces=faces.tolist())), unit="mm")
    # 1e-12: a few roundings on numbers of order 10
    assert mesh.areas() == pytest.approx(
        [37.5, 25.0, 0.5 * np.linalg.norm(np.cross([-10, 7.5, 0], [-10, 0, 5])), 18.75], rel=1e-12
    )
    assert mesh.normals()[0] == pytest.approx([0.0, 0.0, -1.0], abs=1e-12)  # same reason
    assert np.array_equal(mesh.bounds, [[0.1, 0.2, 0.3], [10.1, 7.7, 5.3]])
    assert mesh.is_closed()
    with pytest.raises(UnitError):
        read_mesh(tmp_path / "m.ply", unit=None)  # type: ignore[arg-type]


def test_a_pose_of_the_sensor_is_flagged(tmp_path: Path) -> None:
    data = writers.pcd(writers.cloud(3), viewpoint="1 2 3 1 0 0 0")
    points = read_points(save(tmp_path, "p.pcd", data), unit="m", points_are="surface")
    assert "sensor_pose_not_applied" in points.flags


def test_data_after_the_announced_end_is_flagged(tmp_path: Path) -> None:
    for name, data in (
        ("a.ply", writers.ply(POINTS)),
        ("a.pcd", writers.pcd(POINTS)),
        ("b.pcd", writers.pcd(POINTS, "binary_compressed")),
    ):
        points = read_points(save(tmp_path, name, data + b"more"), unit="mm", points_are="surface")
        assert "trailing_data" in points.flags and np.array_equal(points.xyz, POINTS), name


def test_points_that_are_not_finite_are_kept_flagged_and_counted(tmp_path: Path) -> None:
    xyz = writers.cloud(6)
    xyz[2, 1], xyz[4, 0] = np.nan, -np.inf
    for name, data in (
        ("a.xyz", writers.text(xyz)),
        ("a.csv", writers.text(xyz, ";", ",")),
        ("a.ply", writers.ply(xyz)),
        ("b.ply", writers.ply(xyz, "ascii")),
        ("a.pcd", writers.pcd(xyz, "ascii")),
        ("b.pcd", writers.pcd(xyz)),
    ):
        points = read_points(save(tmp_path, name, data), unit="mm", points_are="surface")
        assert np.array_equal(points.xyz, xyz, equal_nan=True), name
        assert points.n_nonfinite == 2 and "non_finite_points" in points.flags, name


def test_the_source_is_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    save(tmp_path / "parts", "a.xyz", writers.text(POINTS))
    for path in ("parts/a.xyz", tmp_path / "parts" / "a.xyz"):
        points = read_points(path, unit="mm", points_are="surface", root=tmp_path)
        assert points.source is not None and points.source.path == "parts/a.xyz"


def test_wrong_use_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    path = save(tmp_path, "a.xyz", writers.text(POINTS))
    for options, error, words in (
        ({"unit": None}, UnitError, "missing"),
        ({"unit": "deg"}, UnitError, "unit of length"),
        ({"unit": "furlong"}, UnitError, "unknown unit"),
        ({"points_are": None}, ParameterError, "points_are='surface'"),
        ({"points_are": "balls"}, ParameterError, "points_are"),
        ({"format": "step"}, ParameterError, "unknown format"),
        ({"separator": "7"}, ParameterError, "separate"),
        ({"decimal": ":"}, ParameterError, "decimal sign"),
        ({"columns": ("x", "y", "height")}, ParameterError, "height"),
        ({"dataset": "a"}, ParameterError, "HDF5"),
        ({"feature": "bore"}, ParameterError, "no labels"),
    ):
        with pytest.raises(error, match=words):
            read(path, **options)
    ply = save(tmp_path, "a.ply", writers.ply(POINTS))
    with pytest.raises(ParameterError, match="text clouds"):
        read(ply, label_column=3)
    with pytest.raises(TypeError):
        read_points(path)  # type: ignore[call-arg]


def test_lzf_in_both_directions() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    for plain in (b"", b"a", b"abcabcabcabc" * 50, bytes(5000), random.integers(0, 4, 9000, dtype=np.uint8).tobytes()):
        assert decompress(writers.lzf(plain), len(plain)) == plain


def test_outside_readers_agree(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    vertices, faces = writers.tetrahedron()
    for name, data in (
        ("a.ply", writers.ply(vertices, faces=faces.tolist())),
        ("b.ply", writers.ply(vertices, "ascii", faces=faces.tolist())),
        ("c.ply", writers.ply(vertices, "binary_big_endian", "float", faces=faces.tolist())),
        ("a.stl", writers.stl(vertices[faces])),
        ("b.stl", writers.stl_ascii(vertices[faces])),
        ("a.obj", writers.obj(vertices, faces.tolist())),
    ):
        path = save(tmp_path, name, data)
        theirs = trimesh.load(path, process=False)
        ours = read_mesh(path, unit="mm")
        assert np.array_equal(np.asarray(theirs.triangles), ours.corners), name


def test_files_of_an_outside_writer(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    vertices, faces = writers.tetrahedron()
    solid = trimesh.Trimesh(vertices, faces, process=False)
    for name, options in (("a.stl", {}), ("a.ply", {}), ("b.ply", {"encoding": "ascii"}), ("a.obj", {"digits": 17})):
        solid.export(tmp_path / name, **options)
        ours = read_mesh(tmp_path / name, unit="mm")
        # 1e-6: all but OBJ are written in single precision by that library
        assert np.abs(ours.corners - vertices[faces]).max() < 1e-6 and ours.is_closed(), name


@pytest.mark.real_data
def test_a_real_blade_mesh_passes_through_every_format(data_root: Path, tmp_path: Path) -> None:
    with np.load(data_root / "clouds" / "engeom_blade" / "engine_blade.npz") as blade:
        vertices, faces = blade["vertices"], blade["faces"].astype(np.int64)
    for name, data in (
        ("a.ply", writers.ply(vertices, faces=faces.tolist())),
        ("a.obj", writers.obj(vertices, faces.tolist())),
        ("b.stl", writers.stl_ascii(vertices[faces])),
    ):
        mesh = read_mesh(save(tmp_path, name, data), unit="mm")
        assert np.array_equal(mesh.corners, vertices[faces]) and mesh.is_closed(), name
        assert mesh.n_triangles == 43586 and len(mesh.vertices) == 21795, name
