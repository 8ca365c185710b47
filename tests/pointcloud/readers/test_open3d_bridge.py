"""The door to Open3D. Skipped, visibly, where Open3D does not import; its error is tested everywhere."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core.data import PointSet
from metrology_core.errors import MissingDependencyError, ParameterError
from pointcloud import open3d_bridge, read_mesh, read_points
from tests.pointcloud.readers import writers
from tests.pointcloud.readers.writers import save


@pytest.fixture(scope="module")
def o3d() -> Any:
    try:
        return open3d_bridge.open3d_module()
    except MissingDependencyError as error:
        pytest.skip(f"Open3D does not import: {error}")


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("libusb-1.0.so.0: cannot open shared object file: No such file or directory", "apt-get install libusb-1.0-0"),
        ("libGL.so.1: cannot open shared object file", "apt-get install libgl1"),
        ("libstrange.so.9: cannot open shared object file", "holds libstrange.so.9"),
        ("No module named 'open3d'", "pip install open3d"),
    ],
)
def test_what_is_missing_is_named_with_its_command(monkeypatch: Any, message: str, remedy: str) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any, **more: Any) -> Any:
        if name == "open3d":
            raise (ModuleNotFoundError if "No module" in message else OSError)(message)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingDependencyError) as caught:
        open3d_bridge.open3d_module()
    assert remedy in str(caught.value)


def test_points_far_from_the_origin_keep_their_digits(o3d: Any) -> None:
    xyz = writers.cloud(500) + np.array([1e6, -2e6, 5e5])
    points = PointSet.from_array(xyz, unit="mm", frame="site", points_are="surface")
    single = open3d_bridge.to_open3d(points, precision="float32")
    back = open3d_bridge.from_open3d(single, frame="site", points_are="surface")
    # half a step of single precision at 250 mm from the centre is 8e-6; without the offset it would be 0.06
    assert np.abs(back.xyz - xyz).max() == single.rounding < 1e-5
    assert back.flags == ("float32_source",)
    double = open3d_bridge.to_open3d(points)
    assert double.rounding <= 2.4e-10  # one step of double precision at 2e6
    assert single.unit == "mm"


def test_meshes_pass(o3d: Any, tmp_path: Path) -> None:
    vertices, faces = writers.tetrahedron()
    mesh = read_mesh(save(tmp_path, "m.ply", writers.ply(vertices, faces=faces.tolist())), unit="mm")
    passed = open3d_bridge.to_open3d(mesh)
    back = open3d_bridge.from_open3d(passed)
    assert np.array_equal(back.faces, faces)
    assert np.abs(back.vertices - vertices).max() == passed.rounding
    legacy = open3d_bridge.from_open3d(passed.geometry.to_legacy(), unit="mm", offset=passed.offset)
    assert np.array_equal(legacy.vertices, back.vertices)


def test_wrong_use_is_refused(o3d: Any) -> None:
    points = PointSet.from_array(writers.cloud(5), unit="mm", frame="f", points_are="surface")
    with pytest.raises(ParameterError, match="precision"):
        open3d_bridge.to_open3d(points, precision="half")  # type: ignore[arg-type]
    passed = open3d_bridge.to_open3d(points)
    with pytest.raises(ParameterError, match="frame= and points_are="):
        open3d_bridge.from_open3d(passed)
    with pytest.raises(ParameterError, match="unit"):
        open3d_bridge.from_open3d(passed.geometry, frame="f", points_are="surface")


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_open3d_writes_pcd_as_we_read_it(o3d: Any, tmp_path: Path, data: str) -> None:
    xyz = writers.cloud(300)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(xyz))
    path = tmp_path / "a.pcd"
    assert o3d.io.write_point_cloud(str(path), cloud, write_ascii=data == "ascii", compressed="compressed" in data)
    assert f"DATA {data}".encode() in path.read_bytes()
    ours = read_points(path, unit="mm", points_are="surface")
    theirs = np.asarray(o3d.io.read_point_cloud(str(path)).points)
    # 2e-5: Open3D stores PCD in single precision (binary) or with 10 digits (ASCII), and reads through single precision
    assert np.abs(ours.xyz - xyz).max() < 2e-5
    assert np.abs(ours.xyz - theirs).max() < 2e-5  # same reason


def test_open3d_reads_our_ply_alike(o3d: Any, tmp_path: Path) -> None:
    xyz = writers.cloud(300)
    path = save(tmp_path, "a.ply", writers.ply(xyz))
    theirs = np.asarray(o3d.io.read_point_cloud(str(path)).points)
    assert np.array_equal(theirs, read_points(path, unit="mm", points_are="surface").xyz)
