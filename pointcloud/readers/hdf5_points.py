"""HDF5: one dataset of shape (n, 3) or (3, n). A dataset of (3, 3) is three points in rows."""

from __future__ import annotations

from pathlib import Path

from metrology_core.hdf5 import find_points, open_read, read_rows, stated_unit
from pointcloud.readers._raw import RawCloud


def read(path: Path, shown: str, dataset: str | None) -> RawCloud:
    """All points of a dataset with the unit that its attribute ``units`` states; raises `ReaderError`."""
    with open_read(path, shown=shown) as file:
        node = find_points(file, shown, dataset)
        unit = stated_unit(node, shown)
        single = node.dtype.kind == "f" and node.dtype.itemsize < 8
        n_points = node.shape[0] if node.shape[1] == 3 else node.shape[1]
        words = f"HDF5 dataset {node.name}, {node.dtype} {tuple(int(n) for n in node.shape)}"
        xyz = read_rows(node, shown, 0, n_points)
    flags = ("float32_source",) if single else ()
    return RawCloud(xyz, unit=unit, flags=flags, history=(words,))
