"""TIFF through tifffile: one grey page of 8, 16 bit or float, with the maker's metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ReaderError
from wafer.readers import metadata

MAX_PIXELS = 2**28  # 268 million: 2 GiB in float64, more than any single SEM frame
_LOSSY = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 33003: "JPEG 2000", 33005: "JPEG 2000", 34892: "lossy JPEG",
          50001: "WebP", 52546: "lossy JPEG XL"}  # fmt: skip
_KINDS = tuple(np.dtype(kind) for kind in ("u1", "u2", "u4", "f4", "f8"))


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels as they stood in the file (ny, nx) or (ny, nx, channels), what the metadata said, and flags."""

    pixels: np.ndarray
    found: metadata.Found | None
    flags: tuple[str, ...] = ()
    facts: Mapping[str, str] | None = None


def read_tiff(data: bytes, *, path: str, page: int | None) -> Decoded:
    """Decode one page; raises `ReaderError` with the place for everything that is not a readable grey image."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return _page(file, data, path, page)
    except ReaderError:
        raise
    except MemoryError as error:
        raise ReaderError(
            "the image does not fit into memory", path=path, remedy="cut the image into smaller ones"
        ) from error
    except Exception as error:
        # tifffile answers damaged bytes with many kinds of error (struct, index, value, codec); each means the same.
        raise ReaderError(
            "the TIFF file is damaged or uses an unknown form",
            path=path,
            got=f"{type(error).__name__}: {error}",
            remedy="export the image again, uncompressed",
        ) from error


def page_count(data: bytes, *, path: str) -> int:
    """Number of pages; raises `ReaderError` for what is no TIFF file."""
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return len(file.pages)
    except Exception as error:  # as in `read_tiff`
        raise ReaderError(
            "the TIFF file is damaged or uses an unknown form", path=path, got=f"{type(error).__name__}: {error}",
            remedy="export the image again, uncompressed",
        ) from error  # fmt: skip


def _page(file: Any, data: bytes, path: str, page: int | None) -> Decoded:
    pages = len(file.pages)
    number = 0 if page is None else page
    if not 0 <= number < pages:
        raise ReaderError(
            "the TIFF file does not hold this page",
            path=path,
            place=f"page {number}",
            expected=f"0 to {pages - 1}" if pages else "at least one page",
            remedy="correct the page",
        )
    one = file.pages[number]
    place = f"page {number}"
    shape, dtype = tuple(one.shape), one.dtype
    pixels = int(one.imagewidth) * int(one.imagelength)
    if pixels > MAX_PIXELS:
        raise ReaderError(
            "the header claims an image too large to read",
            path=path,
            place=place,
            expected=f"at most {MAX_PIXELS} pixels",
            got=f"{one.imagewidth} x {one.imagelength} pixels in a file of {len(data)} bytes",
            remedy="check the file; cut the image into smaller ones",
        )
    if dtype is None or np.dtype(dtype) not in _KINDS:
        raise ReaderError(
            "this type of grey value is not supported",
            path=path,
            place=place,
            expected="8, 16 or 32 bit unsigned, or float",
            got=f"{one.bitspersample} bit, type {dtype}",
            remedy="export with 8 or 16 bit",
        )
    if int(one.compression) in _LOSSY:
        raise ReaderError(
            f"the image is compressed by {_LOSSY[int(one.compression)]}, which changes grey values",
            path=path,
            place=place,
            expected="no compression, or one without loss",
            remedy="export again without compression",
        )
    if int(one.compression) == 1:
        # Uncompressed strips that the file is too short for would be filled up with zeros in silence.
        claimed = sum(int(count) for count in one.databytecounts)
        ends = [int(o) + int(c) for o, c in zip(one.dataoffsets, one.databytecounts, strict=False)]
        needed = pixels * int(one.samplesperpixel) * np.dtype(dtype).itemsize
        if max(ends, default=0) > len(data) or claimed < needed:
            raise ReaderError(
                "the TIFF file is truncated",
                path=path,
                place=place,
                expected=f"{needed} bytes of pixels ending at byte {max(ends, default=0)}",
                got=f"a file of {len(data)} bytes holding {claimed}",
                remedy="copy the file again",
            )
    photometric = int(one.photometric)
    array = _decoded(one, data, number, path, place)
    if photometric == 3:
        array = _palette(one, array, path, place)
    elif photometric == 0:
        raise ReaderError(
            "the grey scale of this TIFF file is inverted (white is zero)",
            path=path,
            place=place,
            expected="black is zero",
            remedy="export with black as zero",
        )
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)  # planes stored one after the other
    if array.ndim not in (2, 3):
        raise ReaderError(
            "the page is not an image",
            path=path,
            place=place,
            expected="rows and columns",
            got=str(shape),
            remedy="check the file",
        )
    flags = ("multi_page",) if pages > 1 and page is None else ()
    found, facts = _metadata(one)
    return Decoded(array, found, flags, facts)


def _decoded(one: Any, data: bytes, number: int, path: str, place: str) -> np.ndarray:
    """The pixels of a page. LZW, common in exports, goes through OpenCV where tifffile has no codec for it."""
    try:
        return np.asarray(one.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        if int(one.compression) == 5 and number == 0 and int(one.samplesperpixel) == 1:
            from wafer.opencv_bridge import decode

            pixels = decode(data)
            if pixels is not None and pixels.shape == tuple(one.shape) and pixels.dtype == one.dtype:
                return pixels
        raise ReaderError(
            "the compression of the TIFF file cannot be read here", path=path, place=place,
            expected="no compression, deflate, PackBits, or LZW of the first page of a grey image",
            got=f"compression {getattr(one.compression, 'name', one.compression)}",
            remedy="export without compression, or pip install imagecodecs",
        ) from error  # fmt: skip


def _palette(one: Any, array: np.ndarray, path: str, place: str) -> np.ndarray:
    """Indices of a palette are grey values only where the palette is the plain grey ramp."""
    table = np.asarray(one.tags[320].value).reshape(3, -1)
    ramp = np.arange(table.shape[1]) * (65535 // max(table.shape[1] - 1, 1))
    if not all(np.array_equal(row, ramp) for row in table):
        raise ReaderError(
            "the image is in false colours",
            path=path,
            place=place,
            expected="a grey image, or a palette that is the plain grey ramp",
            remedy="export in grey",
        )
    return array


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-16-le", "ignore").rstrip("\0")
    if isinstance(value, tuple):
        return bytes(value).decode("utf-16-le", "ignore").rstrip("\0")
    return str(value)


def _metadata(one: Any) -> tuple[metadata.Found | None, dict[str, str]]:
    """The maker's pixel size before the resolution tags; facts of all that were found."""
    candidates = []
    tags = one.tags
    if 40092 in tags:
        candidates.append(metadata.hitachi(_text(tags[40092].value)))
    if 34118 in tags and isinstance(tags[34118].value, Mapping):
        candidates.append(metadata.zeiss(tags[34118].value))
    for code in (34680, 34682):
        if code in tags and isinstance(tags[code].value, Mapping):
            candidates.append(metadata.fei(tags[code].value))
    if 282 in tags and 283 in tags:
        unit = int(tags[296].value) if 296 in tags else 2
        description = str(tags[270].value) if 270 in tags else ""
        candidates.append(metadata.resolution(tags[282].value, tags[283].value, unit, description))
    facts: dict[str, str] = {}
    for candidate in candidates:
        if candidate is not None:
            facts.update(candidate.facts)
    with_size = [c for c in candidates if c is not None and c.pixel is not None]
    return (with_size[0] if with_size else None), facts
