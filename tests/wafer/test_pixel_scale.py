"""One stated uncertainty of the pixel size is one error of both axes; two are two: closed forms, and a slow twin."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from metrology_core.data import Image
from metrology_core.instrument import Instrument
from pipelines.cli import main
from wafer import measure_contours, measure_sem_lines, read_image
from wafer.contacts import ContactSettings, measure_contacts
from wafer.contours.design import Design
from wafer.contours.evaluate import ContourSettings
from wafer.scale import pixel_scale
from wafer.simulate.contacts import ContactModel, simulate_contacts
from wafer.simulate.sem import SemModel, simulate_lines
from wafer.simulate.shapes import disc, rectangle, simulate_shapes

U = 0.01  # relative


def of_scale(measured: Any) -> float:
    """What the pixel size contributes, all its influences together."""
    rows = [c for key, c in measured.contributions.items() if "scale" in key]
    return math.hypot(*rows)


@pytest.fixture(scope="module")
def disc_image() -> np.ndarray:
    return simulate_shapes([disc(24.0)], seed=41, shape=(128, 128)).pixels


def contours_of(pixels: np.ndarray, common: bool, pixel: tuple[float, float] = (0.8, 0.8), **settings: Any) -> Any:
    image = Image(pixels, "nm", pixel, (U * pixel[0], U * pixel[1]), pixel_size_u_common=common)
    return measure_contours(image, ContourSettings(**settings))


def test_diameter_of_a_disc(disc_image: np.ndarray) -> None:
    """D = 2 sqrt(A / pi), A goes with px py: u(D)/D = U for one calibration, U / sqrt(2) for two. The third row is the
    same by measuring again with another pixel size, one axis after the other: to the curvature of the root, U."""
    name = "sem.contour_diameter_area"
    one, two = (contours_of(disc_image, common).measurements[name] for common in (True, False))
    assert of_scale(one) == pytest.approx(U * one.value, rel=1e-12)
    assert of_scale(two) == pytest.approx(U * two.value / math.sqrt(2.0), rel=1e-12)
    assert list(one.influences) != list(two.influences) and one.value == two.value
    moved = [
        contours_of(disc_image, True, pixel).measurements[name].value - one.value
        for pixel in ((0.8 * (1 + U), 0.8), (0.8, 0.8 * (1 + U)))
    ]
    assert sum(moved) == pytest.approx(of_scale(one), rel=U)
    assert math.hypot(*moved) == pytest.approx(of_scale(two), rel=U)


def test_contacts() -> None:
    model = ContactModel(shape=(256, 256))
    pixels = simulate_contacts(model, seed=41).pixels
    found = {}
    for common in (True, False):
        u = (U * model.pixel[0], U * model.pixel[1])
        image = Image(pixels, "nm", model.pixel, u, pixel_size_u_common=common)
        found[common] = measure_contacts(image, ContactSettings()).measurements
    for name in ("sem.contact_diameter", "sem.contact_diameter_area"):
        assert of_scale(found[True][name]) == pytest.approx(U * found[True][name].value, rel=1e-12)
        assert of_scale(found[False][name]) == pytest.approx(U * found[False][name].value / math.sqrt(2.0), rel=1e-12)
    # a lattice vector along x lies in x alone, whoever errs; both vectors share one calibration and not two
    a, b = (found[True][f"sem.contact_pitch_{v}"] for v in "ab")
    assert of_scale(a) == pytest.approx(U * a.value, rel=1e-3)
    shared = set(a.contributions) & set(b.contributions)
    assert any("scale" in key for key in shared)


def test_lines_share_one_calibration_across_and_along() -> None:
    """Pitch lies across, correlation length along the lines: the same influence from one number, two from two."""
    simulated = simulate_lines(SemModel(shape=(256, 256)), seed=41)
    tool = Instrument("SEM-1", "cd_sem", unit="nm", scale_u=U)
    for given, expected in (
        ((tool, None, False), 1),
        ((tool, (0.004, 0.006), False), 2),
        ((None, (0.004, 0.004), True), 1),
    ):
        instrument, u, common = given
        image = Image(simulated.pixels, "nm", simulated.model.pixel, u, pixel_size_u_common=common)
        m = measure_sem_lines(image, instrument=instrument).measurements
        rows = [
            {key for key in m[name].contributions if "scale" in key}
            for name in ("sem.pitch", "sem.lwr_correlation_length")
        ]
        assert all(len(keys) == 1 for keys in rows) and len(rows[0] | rows[1]) == expected


def test_edge_placement_by_one_calibration() -> None:
    """A square about the middle, 300 nm: a larger pixel moves all four sides out. One calibration moves the mean error
    by all of them (U 150 nm), two by half each."""
    image = simulate_shapes([rectangle(-150, -150, 150, 150)], seed=2)
    design = Design(image.design, "nm")
    settings = ContourSettings(origin=(0.0, 0.0))
    for common, factor in ((True, 1.0), (False, math.sqrt(0.5))):
        picture = Image(image.pixels, "nm", (0.8, 0.8), (0.8 * U, 0.8 * U), pixel_size_u_common=common)
        found = measure_contours(picture, settings, design=design)
        # 3 %: the place found is not quite the middle, and corners leave unlike numbers of vertices to the sides
        assert of_scale(found.measurements["sem.epe_mean"]) == pytest.approx(factor * 1.5, rel=0.03)
        # a vertex errs along its normal, by one axis either way
        on = found.vertices["kind"] == 0
        assert np.median(found.vertices["epe_u"][on]) == pytest.approx(1.5, rel=0.03)


def test_who_says_one_and_who_says_two(tmp_path: Path, disc_image: np.ndarray, capsys: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, disc_image)
    assert read_image(path, pixel=0.8, pixel_u=0.004).pixel_size_u_common
    assert not read_image(path, pixel=0.8, pixel_u=(0.004, 0.004)).pixel_size_u_common
    assert read_image(path, pixel=0.8, pixel_u=(0.004, 0.004), pixel_u_common=True).pixel_size_u_common
    tool = Instrument("SEM-1", "cd_sem", unit="nm", scale_u=U)
    scale = pixel_scale(read_image(path, pixel=0.8), tool)
    assert scale is not None and scale.common and scale.influences[0] == tool.scale_influence()
    assert pixel_scale(read_image(path, pixel=0.8), None) is None
    found = {}
    for text in ("1 %", "1 %,1 %"):
        assert main(["sem", "contours", str(path), "--pixel", "0.8nm", "--pixel-u", text, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["measurements"]["sem.contour_diameter_area"]["budget"]
        found[text] = [row["label"] for row in rows if "pixel size" in row["label"]]
    assert found["1 %"] == ["pixel size, x and y alike"]
    assert sorted(found["1 %,1 %"]) == ["pixel size in x", "pixel size in y"]
    assert main(["sem", "contours", str(path), "--pixel", "0.8nm", "--pixel-u", "1 %,1 %,1 %"]) == 2
