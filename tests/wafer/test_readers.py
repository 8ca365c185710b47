"""Image readers: every supported form, the makers' metadata, the cross-check, and hostile files."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError, ReaderError
from wafer import read_image
from wafer.readers import metadata

PIXELS = (np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) % 251).astype(np.uint8)


def write_tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    import tifffile

    tifffile.imwrite(path, pixels, **{"metadata": None, **options})  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_keeps_the_grey_values(tmp_path: Path, dtype: type, byteorder: str) -> None:
    pixels = PIXELS.astype(dtype) * (100 if dtype == np.uint16 else 1)
    image = read_image(write_tiff(tmp_path / "a.tif", pixels, byteorder=byteorder, photometric="minisblack"), pixel=0.8)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixels.dtype == np.dtype(dtype)  # native byte order
    assert image.pixel_size == (0.8, 0.8) and image.unit == "nm"
    assert image.saturation_level == {np.uint8: 255.0, np.uint16: 65535.0}.get(dtype)
    assert image.flags == ()


def test_source_names_the_file_and_its_digest(tmp_path: Path) -> None:
    folder = tmp_path / "lot" / "w1"
    folder.mkdir(parents=True)
    path = write_tiff(folder / "a.tif", PIXELS)
    source = read_image(path, pixel=1.0, root=tmp_path).source
    assert source is not None
    assert source.path == "lot/w1/a.tif" and source.reader == "tiff"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.size == path.stat().st_size
    bare = read_image(path, pixel=1.0).source
    assert bare is not None and bare.path == "a.tif"


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_png_and_bmp(tmp_path: Path, suffix: str) -> None:
    from PIL import Image as Pillow

    path = tmp_path / f"a.{suffix}"
    Pillow.fromarray(PIXELS).save(path)
    image = read_image(path, pixel=(0.8, 0.9))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert image.source is not None and image.source.reader == suffix
    assert image.pixel_size == (0.8, 0.9)


def test_png_with_sixteen_bit(tmp_path: Path) -> None:
    import cv2

    pixels = PIXELS.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)


def test_region_is_read_and_its_origin_kept(tmp_path: Path) -> None:
    image = read_image(write_tiff(tmp_path / "a.tif", PIXELS), pixel=1.0, rows=(2, 10), columns=(5, 30))
    np.testing.assert_array_equal(image.pixels, PIXELS[2:10, 5:30])
    assert image.origin == (2, 5)


def test_colour_with_equal_channels_becomes_grey(tmp_path: Path) -> None:
    colour = np.repeat(PIXELS[:, :, None], 3, axis=2)
    image = read_image(write_tiff(tmp_path / "a.tif", colour, photometric="rgb"), pixel=1.0)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert image.flags == ("grey_from_colour",)
    colour[15, 7, 1] ^= 1
    path = write_tiff(tmp_path / "b.tif", colour, photometric="rgb")
    with pytest.raises(ReaderError, match="row 15, column 7"):
        read_image(path, pixel=1.0)
    assert read_image(path, pixel=1.0, rows=(0, 15)).flags == ("grey_from_colour",)  # the mark lies outside the area


@pytest.fixture
def framed() -> np.ndarray:
    """A grey image of 90 x 120 in a green frame with a black line inside it, and a data bar of 8 rows below."""
    grey = np.random.default_rng(4).integers(10, 240, (100, 122), dtype=np.uint8)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    colour[1] = colour[90] = 0
    colour[92:] = 0
    colour[94:97, 10:60] = 255
    for side in (np.s_[0, :], np.s_[91, :], np.s_[:92, 0], np.s_[:92, -1]):
        colour[side] = (0, 255, 0)
    return colour


def test_a_coloured_frame_is_not_part_of_a_grey_image(tmp_path: Path, framed: np.ndarray) -> None:
    path = write_tiff(tmp_path / "f.tif", framed, photometric="rgb")
    image = read_image(path, pixel=1.0)
    assert image.area == ((2, 90), (1, 121)) and image.shape == (100, 122)  # places stay those of the file
    assert image.flags == ("coloured_border_cropped", "grey_from_colour")
    np.testing.assert_array_equal(image.pixels[2:90, 1:121], framed[2:90, 1:121, 0])
    assert read_image(path, pixel=1.0, rows=(2, 90), columns=(1, 121)).area is None  # chosen by hand: as before
    assert image.measured_area((0, 50)) == ((2, 50), (1, 121))
    assert image.region((1, 60), (5, 122)).area == ((1, 59), (0, 116))
    with pytest.raises(ParameterError, match="outside"):
        image.measured_area((91, 99))  # the data bar


@pytest.mark.parametrize("what", ["mark", "half", "thick", "all"])
def test_colour_elsewhere_is_refused(tmp_path: Path, framed: np.ndarray, what: str) -> None:
    if what == "mark":  # within the frame
        framed[40, 60] = (255, 0, 0)
    elif what == "half":  # a frame on one side, colour on the other side of it
        framed[:40, 20:100, 1] = 255
    elif what == "thick":  # less than four fifths are left
        framed[70:92] = (0, 0, 255)
    else:
        framed[:, :, 0] = 7
    with pytest.raises(ReaderError, match="in colour"):
        read_image(write_tiff(tmp_path / "c.tif", framed, photometric="rgb"), pixel=1.0)


def test_a_coloured_bar_is_cut_off(tmp_path: Path, framed: np.ndarray) -> None:
    colour = np.repeat(framed[2:90, 1:121, :1], 3, axis=2)
    colour[80:] = (0, 0, 128)
    image = read_image(write_tiff(tmp_path / "b.tif", colour, photometric="rgb"), pixel=1.0)
    assert image.area == ((0, 80), (0, 120))


def test_pages(tmp_path: Path) -> None:
    stack = np.stack([PIXELS, 250 - PIXELS])
    path = write_tiff(tmp_path / "a.tif", stack, photometric="minisblack")
    first = read_image(path, pixel=1.0)
    np.testing.assert_array_equal(first.pixels, PIXELS)
    assert first.flags == ("multi_page",)
    second = read_image(path, pixel=1.0, page=1)
    np.testing.assert_array_equal(second.pixels, 250 - PIXELS)
    assert second.flags == ()
    with pytest.raises(ReaderError, match="page 2"):
        read_image(path, pixel=1.0, page=2)


# --- pixel size
def test_resolution_tags_count_only_where_they_mean_the_specimen(tmp_path: Path) -> None:
    real = write_tiff(tmp_path / "a.tif", PIXELS, resolution=(1e7 / 0.8, 1e7 / 0.9), resolutionunit="CENTIMETER")
    image = read_image(real)
    assert image.pixel_size == pytest.approx((0.8, 0.9), rel=1e-6)  # rational tags of 32 bit
    assert image.flags == ("pixel_size_from_file",)
    for dpi in (72, 96, 300, 1200):
        screen = write_tiff(tmp_path / f"{dpi}.tif", PIXELS, resolution=(dpi, dpi), resolutionunit="INCH")
        assert read_image(screen).pixel_size is None
    bare = write_tiff(tmp_path / "n.tif", PIXELS, resolution=(1e6, 1e6), resolutionunit="NONE")
    assert read_image(bare).pixel_size is None


def test_imagej_states_its_unit(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(1.25, 1.25), metadata={"unit": "nm"})
    assert read_image(path).pixel_size == pytest.approx((0.8, 0.8), rel=1e-6)


def test_pixel_size_conflict(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", PIXELS, resolution=(1e7 / 0.8, 1e7 / 0.8), resolutionunit="CENTIMETER")
    assert read_image(path, pixel=0.801).flags == ()
    far = read_image(path, pixel=0.81)
    assert far.flags == ("pixel_size_conflict",)
    assert far.pixel_size == (0.81, 0.81)  # the stated one counts
    assert far.metadata["pixel_size_file"].startswith("0.8") and far.metadata["pixel_size_stated"].startswith("0.81")
    tight = read_image(path, pixel=0.801, pixel_u=0.0002)  # five times its own uncertainty away
    assert tight.flags == ("pixel_size_conflict",) and tight.pixel_size_u == (0.0002, 0.0002)
    assert read_image(path, pixel=0.0008, unit="um").flags == ()


def test_hitachi_comment() -> None:
    text = "SerialNumber=8200\r\nSampleName=\r\nPixelSize=0.827009\r\nCondition=Vacc=4.0kV\r\n"
    found = metadata.hitachi(text)
    assert found is not None and found.pixel == (0.827009, 0.827009)
    assert found.facts["hitachi.Condition"] == "Vacc=4.0kV"
    assert "hitachi.SampleName" not in found.facts
    assert metadata.hitachi("holiday picture") is None
    empty = metadata.hitachi("SerialNumber=1\r\nPixelSize=-3\r\n")
    assert empty is not None and empty.pixel is None


def test_zeiss_and_fei_tags() -> None:
    zeiss = metadata.zeiss({"": (0, 0, 0, 9.008789e-10, 4e5), "ap_mag": ("Mag", "400.00 K X")})
    assert zeiss is not None and zeiss.pixel == (0.9008789, 0.9008789)
    rounded = metadata.zeiss({"ap_image_pixel_size": ("Image Pixel Size", 900.9, "pm")})
    assert rounded is not None and rounded.pixel == pytest.approx((0.9009, 0.9009), rel=1e-12)
    fei = metadata.fei({"Scan": {"PixelWidth": 5.82813e-9, "PixelHeight": 5.9e-9}, "Beam": {"HV": 10000}})
    assert fei is not None and fei.pixel == (5.82813, 5.9)
    assert metadata.fei({"Scan": {"PixelWidth": "?"}}) is None


# --- hostile files
def png(nx: int, ny: int, *, end: bool = True) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", nx, ny, 8, 0, 0, 0, 0))
    body += chunk(b"IDAT", zlib.compress(bytes(31 * 20)))
    return body + (chunk(b"IEND", b"") if end else b"")


def tiff(nx: int, ny: int, *, bits: int = 8, kind: int = 1, strip: tuple[int, int] | None = None) -> bytes:
    """A little-endian TIFF header with one directory that claims what it likes."""
    offset, count = strip if strip is not None else (8, nx * ny * bits // 8)
    entries = [
        (256, 4, 1, nx), (257, 4, 1, ny), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, offset),
        (277, 3, 1, 1), (278, 4, 1, ny), (279, 4, 1, count % 2**32), (339, 3, 1, kind),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory


def bmp(size: int, nx: int, ny: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHH", size, 0, 54, 40, nx, ny, 1, 24) + bytes(40)


HOSTILE = {
    "empty": b"",
    "one byte": b"I",
    "text": b"x,y\n1,2\n" * 40,
    "html": b"<!doctype html><html></html>",
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "tiff header only": b"II*\0\x08\0\0\0",
    "tiff pointing nowhere": b"II*\0\xff\xff\xff\x7f",
    "tiff of random bytes": b"MM\0*" + np.random.default_rng(1).bytes(500),
    "tiff that claims 100000 x 100000": tiff(100_000, 100_000),
    "tiff that claims 10000 x 10000": tiff(10_000, 10_000),
    "tiff with 0 columns": tiff(0, 10),
    "tiff with 1 bit": tiff(16, 16, bits=1),
    "tiff with 64 bit integers": tiff(2, 2, bits=64, strip=(8, 32)),
    "tiff with complex pixels": tiff(2, 2, bits=64, kind=6, strip=(8, 32)),
    "tiff with short strips": tiff(8, 8, strip=(8, 10)),
    "png signature only": b"\x89PNG\r\n\x1a\n",
    "png truncated": png(30, 20, end=False),
    "png that claims 100000 x 100000": png(100_000, 100_000),
    "png with too few rows": png(30, 200),
    "bmp header only": b"BM" + bytes(10),
    "bmp that claims 100000 x 100000": bmp(70, 100_000, 100_000),
    "bmp truncated": bmp(9999, 30, 20),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_bytes_give_a_typed_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ReaderError) as caught:
        read_image(path, pixel=1.0)
    error = caught.value
    assert error.path == "image.tif" and error.remedy, str(error)
    assert str(tmp_path) not in str(error)  # messages land in records: no absolute path


@pytest.mark.parametrize("suffix", ["tif", "png", "bmp"])
def test_every_truncation_is_seen(tmp_path: Path, suffix: str) -> None:
    from PIL import Image as Pillow

    whole = tmp_path / f"whole.{suffix}"
    Pillow.fromarray(PIXELS).save(whole)
    data = whole.read_bytes()
    read_image(whole)
    for cut in range(0, len(data) - 1, max(1, len(data) // 40)):
        path = tmp_path / "cut"
        path.write_bytes(data[:cut])
        with pytest.raises(ReaderError):
            read_image(path, pixel=1.0)


def test_other_hostile_inputs(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="folder"):
        read_image(tmp_path)
    with pytest.raises(ReaderError, match="cannot be read"):
        read_image(tmp_path / "absent.tif")
    with pytest.raises(ReaderError, match="too small"):
        read_image(write_tiff(tmp_path / "dot.tif", np.zeros((1, 1), np.uint8)))
    with pytest.raises(ReaderError, match="supported"):
        read_image(write_tiff(tmp_path / "int.tif", PIXELS.astype(np.int32)))
    with pytest.raises(ReaderError, match="inverted"):
        read_image(write_tiff(tmp_path / "inv.tif", PIXELS, photometric="miniswhite"))
    with pytest.raises(ReaderError, match="false colours"):
        colours = np.random.default_rng(0).integers(0, 65535, (3, 256), dtype=np.uint16)
        read_image(write_tiff(tmp_path / "pal.tif", PIXELS, photometric="palette", colormap=colours))
    ramp = np.repeat((np.arange(256, dtype=np.uint16) * 257)[None, :], 3, axis=0)
    grey = read_image(write_tiff(tmp_path / "ramp.tif", PIXELS, photometric="palette", colormap=ramp))
    np.testing.assert_array_equal(grey.pixels, PIXELS)
    with pytest.raises(ReaderError, match="area"):
        read_image(write_tiff(tmp_path / "a.tif", PIXELS), rows=(0, 21))
    with pytest.raises(ParameterError, match="pixel"):
        read_image(tmp_path / "a.tif", pixel=-1.0)
    with pytest.raises(ParameterError, match="pixel_u"):
        read_image(tmp_path / "a.tif", pixel_u=0.1)


def test_coloured_marks_outside_the_measured_rows_do_not_matter(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    colour = np.repeat(PIXELS[:, :, None], 3, axis=2).copy()
    colour[-2:, :5, 0] ^= 1  # a mark in the last two rows; a bar across all columns would be a border
    Pillow.fromarray(colour).save(tmp_path / "c.png")
    with pytest.raises(ReaderError, match="in colour"):
        read_image(tmp_path / "c.png", pixel=1.0)
    with pytest.raises(ReaderError, match=f"row {len(PIXELS) - 2}"):
        read_image(tmp_path / "c.png", pixel=1.0, measured_rows=(1, len(PIXELS) - 1))
    image = read_image(tmp_path / "c.png", pixel=1.0, measured_rows=(0, len(PIXELS) - 2))
    assert image.pixels.shape == PIXELS.shape and "grey_from_colour" in image.flags
