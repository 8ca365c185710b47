"""HDF5: one dataset of shape (n, 3) or (3, n). A dataset of (3, 3) is three points in rows.

A dataset ``view`` of n whole numbers or texts in the same group says from which view each point comes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrology_core.hdf5 import find_points, open_read, read_beside, read_rows, stated_unit
from pointcloud.readers._raw import RawCloud, label_column, view_column


def read(path: Path, shown: str, dataset: str | None) -> RawCloud:
    """All points of a dataset with the unit that its attribute ``units`` states; raises `ReaderError`."""
    with open_read(path, shown=shown) as file:
        node = find_points(file, shown, dataset)
        unit = stated_unit(node, shown)
        single = node.dtype.kind == "f" and node.dtype.itemsize < 8
        n_points = node.shape[0] if node.shape[1] == 3 else node.shape[1]
        words = f"HDF5 dataset {node.name}, {node.dtype} {tuple(int(n) for n in node.shape)}"
        xyz = read_rows(node, shown, 0, n_points)
        beside = read_beside(node, "view", n_points, shown)
    views: np.ndarray | None = None
    names: tuple[str, ...] = ()
    if beside is not None:
        views, names = view_column(beside) if beside.dtype.kind in "iu" else label_column(beside.tolist())
        words += ", views beside it"
    flags = ("float32_source",) if single else ()
    return RawCloud(xyz, unit=unit, views=views, view_names=names, flags=flags, history=(words,))
