"""The only door of the library to HDF5: opening, checking, and points in bounded memory. Importing it loads no h5py.

Input files are immutable, so they are read without locks: shared and network file systems often have none. New files
are opened exclusively; nothing is ever opened for change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from metrology_core.errors import MissingDependencyError, ParameterError, ReaderError, UnitError
from metrology_core.units import UNITS
from metrology_core.units import unit as unit_of

BLOCK = 1 << 18  # points: 6 MB of coordinates
_MAX_RATIO = 1040  # deflate cannot expand one byte to more than 1032


@runtime_checkable
class BlockSource(Protocol):
    """Points that are read piece by piece: what fits accept beside arrays and a PointSet."""

    @property
    def n_points(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3) float64 of the points start to stop."""
        ...

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """All points in order, in pieces of ``size`` (the last may be shorter)."""
        ...


def h5py_module() -> Any:
    """The h5py module; raises `MissingDependencyError` with the command that installs it."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError(
            f"h5py cannot be loaded: {error}", remedy="install it: python -m pip install h5py"
        ) from error
    return h5py


def open_read(path: str | Path, *, shown: str | None = None) -> Any:
    """An existing file, read-only, without locks; raises `ReaderError` where it is not a sound HDF5 file."""
    h5py = h5py_module()
    try:
        return h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise ReaderError(
            "the file does not exist", path=shown or Path(path).name, place="path", remedy="check the path"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ReaderError(
            "cannot be opened as HDF5",
            path=shown or Path(path).name,
            place="byte 0",
            got=str(error).splitlines()[0][:200],
            remedy="the file is damaged, cut off, or another format; export it again",
        ) from error


def open_new(path: str | Path) -> Any:
    """A new file, open for writing; raises `FileExistsError` where one exists already: nothing is overwritten."""
    path = Path(path)
    h5py = h5py_module()
    try:
        return h5py.File(path, "x")
    except OSError as error:
        if path.exists() and not isinstance(error, FileExistsError):
            raise FileExistsError(f"{path.name} exists already") from error
        raise


def stated_unit(dataset: Any, shown: str) -> str | None:
    """Unit of length from the attribute ``units`` or ``unit`` of a dataset or its group; None where none is stated."""
    for holder in (dataset, dataset.parent):
        for key in ("units", "unit"):
            if key not in holder.attrs:
                continue
            value = holder.attrs[key]
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            try:
                name = unit_of(text).name
            except UnitError:
                name = ""
            if name not in UNITS or UNITS[name].dimension != "length":
                raise ReaderError(
                    f"the attribute {key} is no unit of length",
                    path=shown,
                    place=f"dataset {dataset.name}",
                    got=repr(text[:40]),
                    remedy="store 'mm', 'um', 'm', 'inch', ...",
                )
            return name
    return None


_NAME_ONE = "name one: dataset= in Python, 'dataset' in the inputs of a recipe, --dataset on the command line"


def find_points(file: Any, shown: str, name: str | None = None) -> Any:
    """The dataset of points in an open file: the named one, or the only (n, 3) or (3, n) one.

    Refuses links to other files, virtual and external storage (they read files nobody named), and claims of size that
    the file cannot hold. Raises `ReaderError`.
    """
    h5py = h5py_module()

    def fail(what: str, place: str, remedy: str, **details: str) -> Any:
        raise ReaderError(what, path=shown, place=place, remedy=remedy, **details)

    candidates: list[str] = []

    def visit(path: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "fiu" and node.ndim == 2 and 3 in node.shape:
            candidates.append(path)

    try:
        file.visititems(visit)
        if name is None:
            if len(candidates) != 1:
                what = f"holds {len(candidates)} datasets that could be points"
                fail(what, "file", _NAME_ONE, got=", ".join(candidates[:10]) or "none of shape (n, 3)")
            name = candidates[0]
        parts = [part for part in name.split("/") if part]
        for k in range(len(parts)):
            link = file.get("/".join(parts[: k + 1]), getlink=True)
            if isinstance(link, h5py.ExternalLink):
                fail("is a link to another file", f"dataset {name}", "read that file itself")
        node = file.get(name)
    except (OSError, RuntimeError, ValueError) as error:
        fail(f"is damaged: {str(error)[:120]}", "file", "export the file again")
    if not isinstance(node, h5py.Dataset):
        fail(f"holds no dataset {name!r}", "file", _NAME_ONE, got=", ".join(candidates[:10]) or "none")
    place = f"dataset {node.name}"
    if node.is_virtual or node.external:
        fail("takes its numbers from other files", place, "copy the numbers into one file")
    if node.dtype.kind not in "fiu" or node.ndim != 2 or 3 not in node.shape:
        fail(
            "is not a list of points",
            place,
            "name another dataset",
            expected="(n, 3)",
            got=f"{node.dtype} {node.shape}",
        )
    if "scale_factor" in node.attrs or "add_offset" in node.attrs:
        fail("holds scaled numbers (scale_factor, add_offset)", place, "store plain coordinates")
    check_claim(node, shown, place)
    return node


def check_claim(node: Any, shown: str, place: str) -> None:
    claimed = math.prod(node.shape) * node.dtype.itemsize
    stored = node.id.get_storage_size()
    short = claimed > _MAX_RATIO * stored if node.chunks else stored < claimed
    if claimed == 0 or short:
        raise ReaderError(
            f"claims {node.shape[0]} x {node.shape[1]} numbers, for which {stored} bytes are stored",
            path=shown,
            place=place,
            expected="numbers for every point" if claimed == 0 else f"about {claimed} bytes",
            remedy="the file was never filled or is cut off; export it again",
        )


def read_beside(node: Any, name: str, count: int, shown: str) -> np.ndarray | None:
    """(count,) whole numbers or texts of the dataset ``name`` in the group of ``node``; None where the file itself
    holds no such dataset. Raises `ReaderError` for damaged storage."""
    h5py = h5py_module()
    place = f"dataset {node.parent.name.rstrip('/')}/{name}"
    try:
        if not isinstance(node.parent.get(name, getlink=True), h5py.HardLink):
            return None
        other = node.parent[name]
        if not isinstance(other, h5py.Dataset) or other.is_virtual or other.external or other.shape != (count,):
            return None
        if other.dtype.kind in "iu":
            return np.asarray(other[:])
        if h5py.check_string_dtype(other.dtype) is None:
            return None
        return np.asarray(other.asstr(errors="replace")[:], dtype=object)
    except (OSError, RuntimeError, ValueError) as error:
        raise ReaderError(
            f"cannot be read: {str(error)[:120]}", path=shown, place=place,
            remedy="the file is damaged; export it again",
        ) from error  # fmt: skip


def read_rows(node: Any, shown: str, start: int, stop: int) -> np.ndarray:
    """(stop - start, 3) float64 from an (n, 3) or (3, n) dataset; raises `ReaderError` for damaged storage."""
    columns = node.shape[1] != 3
    try:
        part = node[:, start:stop].T if columns else node[start:stop]
    except (OSError, RuntimeError) as error:
        raise ReaderError(
            f"cannot be read: {str(error)[:120]}",
            path=shown,
            place=f"dataset {node.name}, rows {start} to {stop}",
            remedy="the file is damaged; export it again",
        ) from error
    xyz = np.ascontiguousarray(part, dtype=np.float64)
    if node.dtype.kind in "iu" and node.dtype.itemsize == 8 and xyz.size and np.abs(xyz).max() > 2.0**53:
        raise ReaderError(
            "whole numbers beyond 2^53 do not fit into double precision",
            path=shown,
            place=f"dataset {node.name}",
            remedy="store floating-point coordinates",
        )
    return xyz


class Hdf5Points:
    """A block source over one dataset of points; a context manager. ``unit`` as in the file unless given.

    Raises `ReaderError` for an unfit file and `UnitError` where the units differ or none is known.
    """

    def __init__(self, path: str | Path, dataset: str | None = None, *, unit: str | None = None) -> None:
        self._shown = Path(path).name
        self._file = open_read(path, shown=self._shown)
        try:
            self._node = find_points(self._file, self._shown, dataset)
            self.unit = self._agree(stated_unit(self._node, self._shown), unit)
        except BaseException:
            self._file.close()
            raise

    def _agree(self, stated: str | None, wanted: str | None) -> str:
        name = None if wanted is None else unit_of(wanted).name
        if name is None and stated is None:
            raise UnitError(
                "the unit of the coordinates is missing", where=self._shown, expected="for example unit='mm'"
            )
        if name is not None and stated is not None and name != stated:
            raise UnitError(
                "the file states another unit",
                where=self._shown,
                expected=stated,
                got=name,
                remedy=f"use unit='{stated}', or correct the file",
            )
        return str(name or stated)

    @property
    def n_points(self) -> int:
        return int(self._node.shape[0] if self._node.shape[1] == 3 else self._node.shape[1])

    @property
    def is_single(self) -> bool:
        """Whether the file holds less than double precision."""
        return bool(self._node.dtype.kind == "f" and self._node.dtype.itemsize < 8)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers in the file."""
        return np.dtype(self._node.dtype)

    def __len__(self) -> int:
        return self.n_points

    def read(self, start: int, stop: int) -> np.ndarray:
        """(stop - start, 3) float64; indices outside 0 to n_points raise `ParameterError`."""
        if not 0 <= start <= stop <= self.n_points:
            raise ParameterError(f"points {start} to {stop} do not exist", expected=f"0 to {self.n_points}")
        return read_rows(self._node, self._shown, start, stop)

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        if size < 1:
            raise ParameterError("a block holds at least one point", got=str(size))
        for start in range(0, self.n_points, size):
            yield self.read(start, min(start + size, self.n_points))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Hdf5Points:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
