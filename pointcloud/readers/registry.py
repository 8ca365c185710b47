"""Which reader reads what: a table of formats by extension and first bytes. Importing it imports no reader."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from metrology_core.errors import ParameterError, ReaderError


@dataclass(frozen=True)
class Format:
    """One row: extensions without the dot, the pattern of the first bytes (None: text has none), where the code is."""

    name: str
    title: str
    extensions: tuple[str, ...]
    magic: re.Pattern[bytes] | None
    module: str
    mesh: bool = False
    float64: bool = True

    def reader(self) -> Callable[..., Any]:
        """The function ``read(source, ...) -> RawCloud`` of the format."""
        function: Callable[..., Any] = importlib.import_module(self.module).read
        return function


_ROWS = (
    Format("text", "text cloud", ("xyz", "txt", "asc", "csv", "pts", "dat"), None, "pointcloud.readers.text"),
    Format("ply", "PLY", ("ply",), re.compile(rb"ply\s*[\r\n]"), "pointcloud.readers.ply", mesh=True),
    Format("stl", "STL", ("stl",), re.compile(rb"solid\s[^\0]*?facet\s+normal"), "pointcloud.readers.stl", mesh=True),
    Format("obj", "Wavefront OBJ", ("obj",), None, "pointcloud.readers.obj", mesh=True),
    Format(
        "pcd",
        "PCD",
        ("pcd",),
        re.compile(rb"(?:#[^\n]*\n|\s)*VERSION\s+\.?\d[^\n]*\n\s*FIELDS"),
        "pointcloud.readers.pcd",
    ),
    Format("hdf5", "HDF5", ("h5", "hdf5", "hdf"), re.compile(rb"\x89HDF\r\n\x1a\n"), "pointcloud.readers.hdf5_points"),
    Format(
        "qif",
        "QIF 3.0",
        ("qif", "xml"),
        re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>)?(?:\s|<!--.*?-->)*<(?:\w+:)?QIFDocument", re.DOTALL),
        "pointcloud.readers.qif",
    ),
)
FORMATS = MappingProxyType({row.name: row for row in _ROWS})

# Files that come in by mistake, and what to do about each.
_FOREIGN = (
    (b"\x89PNG", "a PNG image", "read it as an image"),
    (b"\xff\xd8\xff", "a JPEG image", "read it as an image"),
    (b"II*\0", "a TIFF image", "read it as an image"),
    (b"MM\0*", "a TIFF image", "read it as an image"),
    (b"BM", "a BMP image", "read it as an image"),
    (b"%PDF", "a PDF document", "export the points as text"),
    (
        b"\x1f\x8b",
        "gzip-compressed",
        "decompress it first: compressed files are not read, since a small one can hold terabytes",
    ),
    (b"BZh", "bzip2-compressed", "decompress it first"),
    (b"\xfd7zXZ", "xz-compressed", "decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"PK\x03\x04", "a zip archive or an office document", "unpack it first, or export the sheet as csv"),
    (b"\xd0\xcf\x11\xe0", "an old office document", "export the sheet as csv"),
    (b"ASTM-E57", "an E57 file, which is not read yet", "export the points as PLY with double precision"),
    (b"LASF", "a LAS file, which is not read", "export the points as PLY with double precision"),
)


def detect_format(path: str | PurePath, head: bytes, *, shown: str | None = None, format: str = "auto") -> Format:
    """The row for a file from its first bytes (64 kB suffice) and its extension.

    First bytes win over the extension; foreign files are refused by name. ``format`` other than "auto" chooses the
    row, and is still refused for the first bytes of a different known format. Raises `ReaderError`, `ParameterError`.
    """
    shown = shown or PurePath(path).name
    extension = PurePath(path).suffix.lstrip(".").lower()
    foreign = next((row for row in _FOREIGN if head.startswith(row[0]) and not _is_text(row[0], head)), None)
    if foreign is not None:
        raise ReaderError(f"is {foreign[1]}, not a point file", path=shown, place="byte 0", remedy=foreign[2])
    by_magic = next((row for row in _ROWS if row.magic is not None and row.magic.match(head)), None)
    if format != "auto":
        if format not in FORMATS:
            raise ParameterError(f"unknown format {format!r}", expected=f"auto, {', '.join(FORMATS)}")
        chosen = FORMATS[format]
        if by_magic is not None and by_magic.name != chosen.name:
            raise ReaderError(
                f"is {by_magic.title}, not {chosen.title}", path=shown, place="byte 0", remedy="use format='auto'"
            )
        return chosen
    if by_magic is not None:
        return by_magic
    by_extension = next((row for row in _ROWS if extension in row.extensions), None)
    if by_extension is None:
        raise ReaderError(
            f"no reader knows the extension {'.' + extension if extension else '(none)'!r}",
            path=shown,
            place="path",
            expected=", ".join(f".{e}" for row in _ROWS for e in row.extensions),
            remedy="name the format with format=, for example format='text'",
        )
    return by_extension


def _is_text(magic: bytes, head: bytes) -> bool:
    """Two-letter marks such as BM also begin honest headers of text files."""
    return magic.isalpha() and len(magic) == 2 and b"\0" not in head[:512]
