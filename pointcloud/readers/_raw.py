"""What a format gives before a unit, a frame and a source turn it into a PointSet, and how bytes enter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from metrology_core.errors import ParameterError, ReaderError


@dataclass(frozen=True)
class RawCloud:
    """Arrays of one file, numbers exactly as stored.

    ``unit``, ``points_are`` and ``tip_radius`` are what the *file* states (None: it says nothing). ``labels`` is (n,)
    int32 into ``label_names``, -1 for none, ``views`` likewise into ``view_names``. ``faces`` is (m, 3) int64 for
    meshes.
    """

    xyz: np.ndarray
    normals: np.ndarray | None = None
    normals_role: str | None = None
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    views: np.ndarray | None = None
    view_names: tuple[str, ...] = ()
    faces: np.ndarray | None = None
    unit: str | None = None
    points_are: str | None = None
    tip_radius: float | None = None
    flags: tuple[str, ...] = ()
    history: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileBytes:
    """The whole content of a file and the name under which errors and records speak of it."""

    path: Path
    shown: str
    data: bytes = field(repr=False)

    def fail(self, what: str, place: str, remedy: str, **details: Any) -> NoReturn:
        """Raise the `ReaderError` of this file."""
        raise self.error(what, place, remedy, **details)

    def error(self, what: str, place: str, remedy: str, **details: Any) -> ReaderError:
        """The `ReaderError` of this file, to be raised."""
        return ReaderError(what, path=self.shown, place=place, remedy=remedy, **details)


def shown_name(path: Path, root: Path | None) -> str:
    """Path under ``root`` with forward slashes, or the bare name: records never hold the place on a machine."""
    if root is not None:
        try:
            return path.resolve().relative_to(Path(root).resolve()).as_posix()
        except ValueError:
            return path.name
    return path.name


def check_path(path: str | Path, root: Path | None) -> tuple[Path, str]:
    """A readable, non-empty, ordinary file, and its shown name; raises `ReaderError` otherwise."""
    if not isinstance(path, str | Path):
        raise ParameterError("a path is text or a pathlib.Path", got=type(path).__name__, remedy="pass the file's path")
    path = Path(path)
    if root is not None and not path.is_absolute():
        path = Path(root) / path
    shown = shown_name(path, root)
    if path.is_dir():
        raise ReaderError("is a folder, not a file", path=shown, place="path", remedy="name one file inside it")
    if not path.exists():
        raise ReaderError(
            "the file does not exist", path=shown, place="path", remedy="check the path and the data root"
        )
    if not path.is_file():
        raise ReaderError("is not an ordinary file", path=shown, place="path", remedy="copy the data into a file first")
    if path.stat().st_size == 0:
        raise ReaderError("the file is empty", path=shown, place="byte 0", remedy="export the data again")
    return path, shown


def load(path: str | Path, root: Path | None = None) -> FileBytes:
    """Read a file whole; raises `ReaderError` for anything that is not a readable, non-empty file."""
    checked, shown = check_path(path, root)
    try:
        data = checked.read_bytes()
    except OSError as error:
        raise ReaderError(
            f"cannot be opened: {error.strerror}", path=shown, place="path", remedy="check the permissions of the file"
        ) from error
    return FileBytes(checked, shown, data)


def as_double(values: np.ndarray) -> np.ndarray:
    """Copy in float64; every single-precision number fits, and damaged NaN patterns raise no warning."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def numbers(text: bytes, expected: int) -> np.ndarray | None:
    """Correctly rounded float64 of blank-separated decimal numbers, or None where they are not ``expected`` numbers.

    NumPy's text parser rounds as ``float(text)`` does; it differs in what it accepts (no underscores), and it reads
    ``3-4`` as two numbers, which the count exposes.
    """
    if expected == 0:
        return np.empty(0)
    try:
        values = np.fromstring(text, dtype=np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return values if values.size == expected else None


def label_column(tokens: Iterable[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integer labels (-1 for the empty text) and names in order of first appearance."""
    known: dict[str, int] = {}
    labels = [known.setdefault(token, len(known)) if token else -1 for token in tokens]
    return np.array(labels, dtype=np.int32), tuple(known)


def view_column(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Views (n,) int32 and their names from whole numbers: names are the numbers as text, in ascending order."""
    numbers_, index = np.unique(values, return_inverse=True)
    return index.reshape(-1).astype(np.int32), tuple(str(int(number)) for number in numbers_)
