"""`read_image`: bytes of a microscope image to an `Image`, its pixel size cross-checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Acquisition, Image
from metrology_core.errors import MissingDependencyError, ParameterError, ReaderError
from metrology_core.provenance import Source, digest_bytes
from metrology_core.units import convert
from wafer.readers.border import Area, grey_area
from wafer.readers.hdf5 import MAGIC, read_hdf5
from wafer.readers.metadata import Found, side_file
from wafer.readers.tiff import MAX_PIXELS, Decoded, read_tiff

MAX_BYTES = 2**31
IN_COLOUR = "the image is in colour"
CONFLICT = 0.005  # relative difference of pixel sizes that no rounding in a file explains


def read_image(
    path: str | Path,
    *,
    pixel: float | tuple[float, float] | None = None,
    pixel_u: float | tuple[float, float] | None = None,
    pixel_u_common: bool | None = None,
    unit: str = "nm",
    root: str | Path | None = None,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
    measured_rows: tuple[int, int] | None = None,
    page: int | None = None,
    dataset: str | None = None,
    acquisition: Acquisition | None = None,
    saturation_level: float | None = None,
) -> Image:
    """Read a grey TIFF, PNG, BMP or HDF5 image; grey values as the file had them.

    ``pixel`` is the calibrated pixel size, one number or (x, y), with standard uncertainty ``pixel_u``, all in
    ``unit``: one number is one calibration, whose error both axes share, (x, y) are two that are independent unless
    ``pixel_u_common`` says that they are one. Without ``pixel`` the size in the file's metadata counts (flag
    ``pixel_size_from_file``), and where there is none either, the image has no pixel size. Where both exist and differ
    by more than 0.5 % or by more than twice ``pixel_u``, the stated one counts and the image carries
    ``pixel_size_conflict``; its metadata keep both (``pixel_size_file``, ``pixel_size_stated``). ``rows`` and
    ``columns`` read a region, ends exclusive. ``page`` chooses a page of a TIFF file or a frame of an HDF5 stack
    (default the first; flag ``multi_page`` where there are more), ``dataset`` the dataset of an HDF5 file that holds
    several. A text file of the same name beside the image (Hitachi, JEOL) gives the pixel size where the image does
    not. ``root``: `Source.path` is relative to it, else the bare name.

    Colour images with equal channels (in the region, or in its ``measured_rows`` where only these will be measured) are
    read as grey with flag ``grey_from_colour``. Where colour is confined to a frame or bar drawn around or beside a
    grey image, the image keeps its pixels and their coordinates, and ``area`` says where it lies (flag
    ``coloured_border_cropped``; `wafer.readers.border`). Others raise.
    Raises `ReaderError` with path and place for unreadable files, `ParameterError` for wrong arguments.
    """
    stated = _pair(pixel, "pixel", positive=True)
    stated_u = _pair(pixel_u, "pixel_u", positive=False)
    if stated_u is not None and stated is None:
        raise ParameterError("pixel_u needs a pixel size", remedy="state pixel too")
    file = Path(path)
    name = _name(file, root)
    data = _bytes(file, name)
    if data[:8] == MAGIC:
        decoded, reader = read_hdf5(file, shown=name, page=page, dataset=dataset), "hdf5"
    else:
        decoded, reader = _decode(data, name, page)
    pixels = _region(decoded.pixels, rows, columns, name)
    pixels, colour_flags, area = _grey(pixels, name, measured_rows)
    ny, nx = pixels.shape
    if min(ny, nx) < 2:
        raise ReaderError(
            "the image is too small to measure",
            path=name,
            expected="at least 2 x 2 pixels",
            got=f"{nx} x {ny}",
            remedy="check the export",
        )
    flags = list(decoded.flags) + colour_flags
    facts = dict(decoded.facts or {})
    size = stated
    found = decoded.found
    if found is None or found.pixel is None:
        beside = _beside(file)
        if beside is not None:
            facts.update(beside.facts)
            found = beside
    if found is not None and found.pixel is not None:
        x, y = (convert(v, "nm", unit) for v in found.pixel)
        facts["pixel_size_file"] = f"{x!r}, {y!r} {unit} ({found.place})"
        if stated is None:
            size = (x, y)
            flags.append("pixel_size_from_file")
        else:
            facts["pixel_size_stated"] = f"{stated[0]!r}, {stated[1]!r} {unit}"
            if _conflict(stated, stated_u, (x, y)):
                flags.append("pixel_size_conflict")
    if saturation_level is None and pixels.dtype.kind == "u":
        saturation_level = float(np.iinfo(pixels.dtype).max)
    origin = (rows[0] if rows else 0, columns[0] if columns else 0)
    return Image(
        pixels,
        unit,
        size,
        stated_u,
        acquisition=acquisition or Acquisition(),
        source=Source(name, digest_bytes(data), len(data), reader),
        saturation_level=saturation_level,
        flags=_flags.merge(flags),
        metadata=facts,
        origin=origin,
        area=area,
        pixel_size_u_common=isinstance(pixel_u, int | float) if pixel_u_common is None else pixel_u_common,
    )


def _beside(file: Path) -> Found | None:
    """What the maker's text file of the same name says; None where there is none, or none that is known."""
    for suffix in (".txt", ".TXT", ".Txt"):
        text = file.with_suffix(suffix)
        try:
            if text.is_file() and text.stat().st_size < 2**18:
                data = text.read_bytes()
                utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
                return side_file(data.decode("utf-16" if utf16 else "utf-8", "replace"))
        except OSError:
            continue
    return None


def _pair(value: float | tuple[float, float] | None, name: str, *, positive: bool) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = (value, value) if isinstance(value, int | float) else tuple(value)
    good = len(numbers) == 2 and all(np.isfinite(v) and (v > 0.0 or (v == 0.0 and not positive)) for v in numbers)
    if not good:
        raise ParameterError(f"{name} must be one positive number or two (x, y)", got=repr(value))
    return float(numbers[0]), float(numbers[1])


def _conflict(stated: tuple[float, float], u: tuple[float, float] | None, file: tuple[float, float]) -> bool:
    for i in (0, 1):
        difference = abs(file[i] - stated[i])
        if difference > CONFLICT * stated[i] or (u is not None and u[i] > 0.0 and difference > 2.0 * u[i]):
            return True
    return False


def _name(file: Path, root: str | Path | None) -> str:
    if root is not None:
        try:
            return file.resolve().relative_to(Path(root).resolve()).as_posix()
        except ValueError:
            return file.name
    return file.name


def _bytes(file: Path, name: str) -> bytes:
    try:
        if file.is_dir():
            raise ReaderError("a folder was given", path=name, expected="an image file", remedy="name the file")
        size = file.stat().st_size
        if size == 0:
            raise ReaderError("the file is empty", path=name, expected="an image", remedy="copy the file again")
        if size > MAX_BYTES:
            raise ReaderError(
                "the file is too large", path=name, expected=f"at most {MAX_BYTES} bytes", got=f"{size} bytes"
            )
        return file.read_bytes()
    except OSError as error:
        raise ReaderError(
            "the file cannot be read",
            path=name,
            got=error.strerror or type(error).__name__,
            remedy="check path and rights",
        ) from error


def _decode(data: bytes, name: str, page: int | None) -> tuple[Decoded, str]:
    """The format comes from the first bytes, never from the extension."""
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return read_tiff(data, path=name, page=page), "tiff"
    if page not in (None, 0):
        raise ReaderError("only TIFF files have pages", path=name, got=f"page {page}", remedy="leave page out")
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        _claim(data[16:20], data[20:24], "big", name)
        if b"IEND" not in data[-16:]:
            raise ReaderError(
                "the PNG file is truncated",
                path=name,
                expected="an IEND chunk at its end",
                remedy="copy the file again",
            )
        return _flat(data, name, "PNG"), "png"
    if data[:2] == b"BM" and len(data) >= 26:
        _claim(data[18:22], data[22:26], "little", name)
        claimed = int.from_bytes(data[2:6], "little")
        if claimed > len(data):
            raise ReaderError(
                "the BMP file is truncated",
                path=name,
                expected=f"{claimed} bytes",
                got=f"{len(data)} bytes",
                remedy="copy the file again",
            )
        return _flat(data, name, "BMP"), "bmp"
    raise ReaderError(
        "the file is not an image that can be read",
        path=name,
        place="byte 0",
        expected="TIFF, PNG, BMP or HDF5",
        got=f"first bytes {data[:8]!r}",
        remedy="export as TIFF; JPEG loses the grey values that edges are measured from",
    )


def _claim(width: bytes, height: bytes, order: str, name: str) -> None:
    """Refuse a header that claims too many pixels before anything is allocated for them."""
    nx = int.from_bytes(width, "little" if order == "little" else "big", signed=order == "little")
    ny = abs(int.from_bytes(height, "little" if order == "little" else "big", signed=order == "little"))
    if nx <= 0 or ny == 0 or nx * ny > MAX_PIXELS:
        raise ReaderError(
            "the header claims an impossible image size",
            path=name,
            place="header",
            expected=f"1 to {MAX_PIXELS} pixels",
            got=f"{nx} x {ny}",
            remedy="check the file",
        )


def _flat(data: bytes, name: str, kind: str) -> Decoded:
    try:
        from wafer.opencv_bridge import decode
    except ImportError as error:  # the module is ours; what can be missing is cv2
        raise MissingDependencyError("reading PNG and BMP needs opencv", remedy="abbe doctor") from error
    pixels = decode(data)
    if pixels is None:
        raise ReaderError(f"the {kind} file is damaged", path=name, remedy="export the image again")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ReaderError(
            "this type of grey value is not supported", path=name, expected="8 or 16 bit", got=str(pixels.dtype)
        )
    return Decoded(pixels, None)


def _region(pixels: np.ndarray, rows: tuple[int, int] | None, columns: tuple[int, int] | None, name: str) -> np.ndarray:
    ny, nx = pixels.shape[:2]
    r0, r1 = rows if rows is not None else (0, ny)
    c0, c1 = columns if columns is not None else (0, nx)
    if not (0 <= r0 < r1 <= ny and 0 <= c0 < c1 <= nx):
        raise ReaderError(
            "the image area does not lie in the image",
            path=name,
            expected=f"rows within [0, {ny}], columns within [0, {nx}]",
            got=f"rows [{r0}, {r1}), columns [{c0}, {c1})",
            remedy="correct rows or columns in the recipe",
        )
    return pixels[r0:r1, c0:c1]


def _opaque(pixels: np.ndarray, name: str, measured: tuple[int, int] | None) -> None:
    """Refuse images whose last channel says that parts of them are transparent: what stands there is no measurement."""
    if pixels.shape[2] not in (2, 4):
        return
    start, end = measured or (0, len(pixels))
    cover = pixels[start:end, :, -1]
    if cover.min() != cover.max():
        raise ReaderError(
            "parts of the image are transparent", path=name, expected="an image without transparency",
            got=f"{int(np.count_nonzero(cover < cover.max()))} pixels of less opacity",
            remedy="export in grey, or choose rows that are opaque",
        )  # fmt: skip


def _grey(pixels: np.ndarray, name: str, measured: tuple[int, int] | None) -> tuple[np.ndarray, list[str], Area | None]:
    if pixels.ndim == 2:
        return pixels, [], None
    if pixels.shape[2] == 1:
        return pixels[:, :, 0], [], None
    colour = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]
    _opaque(pixels, name, measured)
    first = colour[:, :, :1]
    grey = np.ascontiguousarray(colour[:, :, 0])
    start, end = measured or (0, len(colour))
    if np.array_equal(colour[start:end], np.broadcast_to(first, colour.shape)[start:end]):
        return grey, ["grey_from_colour"], None
    area = grey_area(colour)
    if area is not None:
        return grey, ["grey_from_colour", "coloured_border_cropped"], area
    differing = np.any(colour[start:end] != first[start:end], axis=2)
    y, x = (int(v) for v in np.argwhere(differing)[0] + (start, 0))
    raise ReaderError(
        IN_COLOUR,
        path=name,
        place=f"row {y}, column {x}",
        expected="grey, equal channels, or colour in nothing but a frame or bar at the border",
        got=f"{int(np.count_nonzero(differing))} pixels with different channels",
        remedy="export in grey, or choose rows and columns without coloured marks",
    )
