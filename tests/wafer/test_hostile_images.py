"""Odd and bad images as users feed them: an error that says what to do, or a flag; never a wrong number in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metrology_core.data import Image
from metrology_core.errors import DataError, ReaderError
from wafer import read_image
from wafer.contacts import measure_contacts
from wafer.contours.evaluate import measure_contours
from wafer.lines.evaluate import SemLineSettings, measure_sem_lines
from wafer.recording import copies, piled_up
from wafer.simulate import simulate_lines
from wafer.simulate.contacts import simulate_contacts

LINES = simulate_lines(seed=811, shape=(300, 420)).pixels
CONTACTS = simulate_contacts(seed=812, shape=(320, 320)).pixels
MEASURE: dict[str, Callable[[Image], Any]] = {
    "lines": measure_sem_lines, "contacts": measure_contacts, "contours": measure_contours,
}  # fmt: skip
BASE = {"lines": LINES, "contacts": CONTACTS, "contours": CONTACTS}
CLEAN_FLAGS = {"repeatability_only", "biased_roughness", "polarity_assumed", "few_contacts", "pixel_size_from_file"}


def image(pixels: np.ndarray) -> Image:
    return Image(pixels, "nm", (0.8, 0.8))


def flags(kind: str, pixels: np.ndarray) -> set[str]:
    return set(MEASURE[kind](image(pixels)).flags)


def noise(shape: tuple[int, ...], sd: float) -> np.ndarray:
    return np.random.default_rng(813).normal(0.0, sd, shape)


def bytes_of(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", MEASURE)
def test_the_images_themselves_are_not_suspect(kind: str) -> None:
    assert flags(kind, BASE[kind]) <= CLEAN_FLAGS


@pytest.mark.parametrize("kind", MEASURE)
@pytest.mark.parametrize("scale", ["12 bit in 16", "float", "within 8 bit", "below"])
def test_plateaus_cut_off_anywhere_are_flagged(kind: str, scale: str) -> None:
    """Diameters and widths change by 0.6 nm and more; the ends of the file's own type do not show it."""
    grey = BASE[kind].astype(np.float64)
    pixels = {
        "12 bit in 16": lambda: np.minimum(32.0 * grey, 4095.0).astype(np.uint16),
        "float": lambda: np.clip(2.2 * grey, 0.0, 255.0).astype(np.float32),
        "within 8 bit": lambda: np.minimum(grey, 130.0).astype(np.uint8),
        "below": lambda: np.maximum(grey, 60.0).astype(np.uint8),
    }[scale]()  # fmt: skip
    assert "saturated" in flags(kind, pixels)


def test_values_do_not_pile_up_where_noise_made_them() -> None:
    grey = np.rint(noise((400, 400), 1.5)) + 20.0
    assert not piled_up(grey.astype(np.uint8), 0.002)
    assert piled_up(np.minimum(grey, 22.0).astype(np.uint8), 0.002)
    assert not piled_up(np.repeat(np.arange(400.0), 400).reshape(400, 400), 0.002)  # drawn: nothing can be told


@pytest.mark.parametrize("kind", MEASURE)
def test_rows_and_columns_that_hold_no_scan(kind: str) -> None:
    dead = BASE[kind].copy()
    dead[150:152] = 0
    assert "dead_rows" in flags(kind, dead)
    dead = BASE[kind].copy()
    dead[:, 123] = 255
    assert "dead_columns" in flags(kind, dead)
    dead = BASE[kind].copy()
    dead[1::2] = 0
    with pytest.raises(DataError, match="many rows of the image are dead") as caught:
        flags(kind, dead)
    assert caught.value.remedy


@pytest.mark.parametrize("kind", MEASURE)
def test_copies_of_rows_are_flagged(kind: str) -> None:
    """The lower half is the upper one again; every row twice (an enlarged image)."""
    base = BASE[kind]
    half = base.shape[0] // 2
    assert "rows_repeated" in flags(kind, np.concatenate([base[:half], base[:half]]))
    assert "rows_repeated" in flags(kind, np.repeat(base[::2], 2, axis=0))
    assert copies(base) == 0


def test_one_row_again_and_again_has_no_roughness() -> None:
    result = measure_sem_lines(image(np.repeat(LINES[100:101], 300, axis=0)))
    assert "rows_repeated" in result.flags
    assert "sem.lwr_unbiased_1s" not in result.measurements and "copies" in result.missing["sem.lwr_unbiased_1s"]


@pytest.mark.parametrize("kind", MEASURE)
def test_bands_of_brightness_are_flagged(kind: str) -> None:
    grey = BASE[kind].astype(np.float64)
    rows = bytes_of(grey + noise((grey.shape[0], 1), 18.0))
    assert "row_banding" in flags(kind, rows)
    alternate = grey.copy()
    alternate[1::2] *= 0.75
    assert "row_banding" in flags(kind, bytes_of(alternate))


def test_a_wave_through_the_image_is_flagged() -> None:
    """It adds a tenth to the roughness. Rough and tilted lines make none."""
    y, x = np.mgrid[: LINES.shape[0], : LINES.shape[1]]
    for wave in (x / 7.3 + y / 31.0, y / 5.0 - x / 11.0):
        assert "periodic_pattern" in flags("lines", bytes_of(LINES + 14.0 * np.sin(2.0 * np.pi * wave)))
    for seed in range(8):
        other = simulate_lines(seed=820 + seed, shape=(300, 420), sigma=1.6, tilt=0.01 * seed, electrons_per_grey=4.0)
        assert "periodic_pattern" not in flags("lines", other.pixels)


def test_stripes_of_several_levels_and_bent_lines_are_flagged() -> None:
    """A wave whose crests run along the lines; a stage that jumped by 9 px: the tilt found in it shortens the pitch."""
    x = np.arange(LINES.shape[1])
    for period in (5.1, 13.0, 29.0):
        assert "stripes_uneven" in flags("lines", bytes_of(LINES + 25.0 * np.sin(2.0 * np.pi * x / period)))
    jumped = LINES.copy()
    jumped[150:] = np.roll(LINES[150:], 9, axis=1)
    assert "lines_bent" in flags("lines", jumped)
    for seed in range(8):
        other = simulate_lines(seed=830 + seed, shape=(300, 420), sigma=1.6, tilt=0.01 * seed, electrons_per_grey=0.1)
        assert not {"stripes_uneven", "lines_bent"} & flags("lines", other.pixels)


@pytest.mark.parametrize("kind", MEASURE)
def test_few_grey_levels_are_flagged(kind: str) -> None:
    """Four levels move widths by 2 nm. A step of six levels with noise above a level is no loss."""
    assert "grey_levels_few" in flags(kind, (BASE[kind] // 64 * 64 + 20).astype(np.uint8))
    assert "grey_levels_few" not in flags(kind, (BASE[kind] // 14).astype(np.uint8))


@pytest.mark.parametrize("kind", MEASURE)
@pytest.mark.parametrize("value", [1e30, -9999.0 * 1e3, np.nan, np.inf])
def test_marks_for_missing_data_are_refused(kind: str, value: float) -> None:
    grey = BASE[kind].astype(np.float32)
    grey[100, 100:104] = value
    with pytest.raises(DataError, match="grey values") as caught:
        flags(kind, grey)
    assert caught.value.expected and caught.value.got and caught.value.remedy


def test_defocus_that_moves_widths_is_flagged() -> None:
    """Lines of 11 nm at a pitch of 32 nm under a beam of 6 and 8 nm (1 s) measure 15 nm and more (u 0.2 nm)."""
    for blur, missed in ((1.6, False), (2.0, False), (6.0, True), (8.0, True)):
        drawn = simulate_lines(seed=841, shape=(300, 420), blur=blur, cd=11.2)
        result = measure_sem_lines(image(drawn.pixels))
        cd = result.measurements["sem.cd_line"]
        assert ("plateau_missed" in cd.flags) is missed
        assert "plateau_missed" not in result.measurements["sem.pitch"].flags
        if not missed:  # and blooms move both edges of what is not flagged by less than half a nanometre
            assert abs(cd.value - drawn.truth["cd_line_in_image"]) < 1.0


def test_who_says_which_stripe_is_the_line() -> None:
    """Inverted, lines and spaces of about 50 % duty change places unseen: said where nobody stated them."""
    inverted = 255 - LINES
    for pixels in (LINES, inverted):
        assert "polarity_assumed" in measure_sem_lines(image(pixels)).flags
        for stated in ("bright", "dark"):
            result = measure_sem_lines(image(pixels), SemLineSettings(lines=stated))  # type: ignore[arg-type]
            assert "polarity_assumed" not in result.flags
    narrow = simulate_lines(seed=814, shape=(300, 420), cd=9.0).pixels
    assert "polarity_assumed" not in measure_sem_lines(image(narrow)).flags
    one = measure_sem_lines(image(LINES), SemLineSettings(lines="bright")).measurements["sem.cd_line"]
    other = measure_sem_lines(image(inverted), SemLineSettings(lines="dark")).measurements["sem.cd_line"]
    assert abs(one.value - other.value) < 0.1 * one.u  # the same stripes, but for the rounding of Poisson noise


def test_bars_of_columns_are_refused() -> None:
    bar = LINES.copy()
    bar[:, -60:] = 0
    bar[100:110, -40:-20] = 255
    with pytest.raises(DataError, match="data bar") as caught:
        measure_sem_lines(image(bar))
    assert "columns 0:360" in str(caught.value.remedy)


def test_files_with_loss_or_transparency_are_refused(tmp_path: Path) -> None:
    import cv2
    import tifffile

    base = np.ascontiguousarray(LINES[:296])
    assert cv2.imwrite(str(tmp_path / "lzw.tif"), base, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(read_image(tmp_path / "lzw.tif").pixels, base)
    settings = [cv2.IMWRITE_TIFF_COMPRESSION, 7, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 8]
    if cv2.imwrite(str(tmp_path / "jpeg.tif"), base, settings):
        with pytest.raises(ReaderError, match="JPEG"):
            read_image(tmp_path / "jpeg.tif")
    cover = np.full(base.shape, 255, np.uint8)
    whole = np.dstack([base, base, base, cover])
    tifffile.imwrite(tmp_path / "whole.tif", whole, photometric="rgb", extrasamples=["unassalpha"])
    assert "grey_from_colour" in read_image(tmp_path / "whole.tif").flags
    cover[:, :100] = 0
    tifffile.imwrite(
        tmp_path / "part.tif", np.dstack([base, base, base, cover]), photometric="rgb", extrasamples=["unassalpha"]
    )
    with pytest.raises(ReaderError, match="transparent") as caught:
        read_image(tmp_path / "part.tif")
    assert "29600 pixels" in str(caught.value.got)
