"""The door to HDF5: points whole and in blocks, units, and files that are not what they claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError, ReaderError, UnitError
from metrology_core.hdf5 import BlockSource, Hdf5Points, open_new
from pointcloud import read_points
from tests.pointcloud.readers import writers

h5py = pytest.importorskip("h5py")


def make(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_rows_and_columns_come_back_to_the_last_bit(tmp_path: Path, turned: bool) -> None:
    xyz = np.vstack([writers.NASTY, writers.cloud(100)])
    path = make(tmp_path / "a.h5", xyz=xyz.T if turned else xyz)
    points = read_points(path, unit="um", points_are="surface")
    assert np.array_equal(points.xyz.view(np.uint64), xyz.view(np.uint64))
    assert points.flags == () and points.source is not None and points.source.reader == "hdf5"
    with Hdf5Points(path, unit="um") as source:
        assert isinstance(source, BlockSource) and source.n_points == len(source) == 105
        blocks = list(source.blocks(40))
        assert [len(block) for block in blocks] == [40, 40, 25]
        assert np.array_equal(np.concatenate(blocks), xyz)
        assert np.array_equal(source.read(7, 9), xyz[7:9])
        with pytest.raises(ParameterError):
            source.read(100, 106)


def test_blocks_keep_memory_bounded(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    n = 400_000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("xyz", data=np.arange(3.0 * n).reshape(n, 3), chunks=(4096, 3))
    with Hdf5Points(tmp_path / "a.h5", unit="mm") as source:
        tracemalloc.start()
        total = sum(float(block[:, 0].sum()) for block in source.blocks(10_000))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert total == 1.5 * n * (n - 1)  # sum of 0, 3, 6, ...: whole numbers below 2^53
    assert peak < 3_000_000  # a block has 240 kB, the whole 9.6 MB


def test_units_are_cross_checked(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", xyz=writers.cloud(5))
    with pytest.raises(UnitError, match="missing"):
        read_points(path, unit=None, points_are="surface")
    with pytest.raises(UnitError, match="missing"):
        Hdf5Points(path)
    with h5py.File(path, "a") as file:
        file["xyz"].attrs["units"] = "µm"
    assert read_points(path, unit=None, points_are="surface").unit == "um"
    with pytest.raises(UnitError, match="another unit"):
        read_points(path, unit="mm", points_are="surface")
    with pytest.raises(UnitError, match="another unit"):
        Hdf5Points(path, unit="mm")
    with h5py.File(path, "a") as file:
        file["xyz"].attrs["units"] = "degC"
    with pytest.raises(ReaderError, match="no unit of length"):
        read_points(path, unit="mm", points_are="surface")


def test_several_datasets_need_a_name(tmp_path: Path) -> None:
    a, b = writers.cloud(5), writers.cloud(6).astype(np.float32)
    path = make(tmp_path / "a.h5", a=a, b=b, c=np.arange(4))
    with pytest.raises(ReaderError, match="2 datasets") as caught:
        read_points(path, unit="mm", points_are="surface")
    assert "dataset=" in str(caught.value) and "a, b" in str(caught.value)
    points = read_points(path, unit="mm", points_are="surface", dataset="b")
    assert np.array_equal(points.xyz, b) and points.flags == ("float32_source",)
    for name in ("c", "d", "/"):
        with pytest.raises(ReaderError) as caught:
            read_points(path, unit="mm", points_are="surface", dataset=name)
        assert caught.value.place and caught.value.remedy


def test_numbers_from_elsewhere_are_refused(tmp_path: Path) -> None:
    other = make(tmp_path / "other.h5", xyz=writers.cloud(5))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["xyz"] = h5py.ExternalLink(str(other), "/xyz")
    with pytest.raises(ReaderError, match="link to another file"):
        read_points(tmp_path / "link.h5", unit="mm", points_are="surface", dataset="xyz")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((5, 3), "f8")
        layout[:] = h5py.VirtualSource(str(other), "xyz", (5, 3))
        file.create_virtual_dataset("xyz", layout)
    (tmp_path / "raw.bin").write_bytes(bytes(120))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("xyz", (5, 3), "f8", external=[(str(tmp_path / "raw.bin"), 0, 120)])
    for name in ("virtual.h5", "external.h5"):
        with pytest.raises(ReaderError, match="other files"):
            read_points(tmp_path / name, unit="mm", points_are="surface")


def test_claims_and_damage_are_refused_without_allocation(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("xyz", (10**12, 3), "f8", chunks=(1024, 3), compression="gzip")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_dataset("xyz", (0, 3), "f8")
    with h5py.File(tmp_path / "scaled.h5", "w") as file:
        file["xyz"] = np.ones((4, 3))
        file["xyz"].attrs["scale_factor"] = 0.001
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["xyz"] = np.full((4, 3), 2**60)
    for name, words in (
        ("huge", "claims 1000000000000"),
        ("empty", "claims 0"),
        ("scaled", "scaled"),
        ("whole", "2^53"),
    ):
        with pytest.raises(ReaderError) as caught:
            read_points(tmp_path / f"{name}.h5", unit="mm", points_are="surface")
        assert words in str(caught.value) and caught.value.place == "dataset /xyz" and caught.value.remedy
    good = make(tmp_path / "good.h5", xyz=writers.cloud(2000)).read_bytes()
    for cut in (9, 100, 1000, len(good) // 2, len(good) - 1):
        (tmp_path / "cut.h5").write_bytes(good[:cut])
        with pytest.raises(ReaderError) as caught:
            read_points(tmp_path / "cut.h5", unit="mm", points_are="surface")
        assert caught.value.remedy


def test_new_files_never_overwrite(tmp_path: Path) -> None:
    with open_new(tmp_path / "a.h5") as file:
        file["x"] = 1
    with pytest.raises(FileExistsError):
        open_new(tmp_path / "a.h5")
    with pytest.raises(ReaderError, match="does not exist"):
        Hdf5Points(tmp_path / "b.h5", unit="mm")
