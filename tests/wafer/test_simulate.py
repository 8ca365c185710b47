"""The simulator: its statistics are exact, its truth is the truth, and it is deterministic."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from tests.wafer.oracle_edges import erf_lines
from wafer import read_image
from wafer.simulate import LotPlan, SemModel, rough_edges, rough_lines, simulate_blank, simulate_lines, write_sem_lot
from wafer.simulate.roughness import autocorrelation
from wafer.simulate.sem import threshold_offset


@pytest.mark.parametrize("hurst", [0.4, 0.5, 0.9])
def test_roughness_has_the_stated_autocorrelation(hurst: float) -> None:
    rng = np.random.default_rng(1)
    edges = rough_edges(4000, 64, sigma=2.0, correlation_length=8.0, hurst=hurst, rng=rng)
    for lag in (0, 1, 4, 8, 20, 63):
        product = (edges[:, : 64 - lag] * edges[:, lag:]).mean(axis=1)
        expected = float(autocorrelation(np.array(lag), 2.0, 8.0, hurst))
        # five standard errors of the mean over 4000 independent edges
        assert product.mean() == pytest.approx(expected, abs=5.0 * product.std() / np.sqrt(4000))


def test_ends_of_a_rough_edge_are_not_joined() -> None:
    """A periodic edge would have its ends correlated; here they are 8 correlation lengths apart."""
    edges = rough_edges(4000, 64, sigma=1.0, correlation_length=8.0, rng=np.random.default_rng(2))
    assert abs(np.mean(edges[:, 0] * edges[:, -1])) < 5.0 / np.sqrt(4000)  # five standard errors about exp(-7.9)


def test_left_right_correlation() -> None:
    left, right = rough_lines(
        3000, 32, sigma=1.0, correlation_length=4.0, left_right_correlation=-0.4, rng=np.random.default_rng(3)
    )
    assert np.mean(left * right) == pytest.approx(-0.4, abs=0.02)  # 3000 x about 8 independent pieces: se 0.007
    assert np.mean(right**2) == pytest.approx(1.0, abs=0.04)  # se of a variance over the same pieces: 0.009


def test_impossible_roughness_raises() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ParameterError, match="length"):
        rough_edges(1, 16, sigma=1.0, correlation_length=500.0, hurst=1.0, rng=rng)
    with pytest.raises(ParameterError, match="out of range"):
        rough_edges(1, 16, sigma=1.0, correlation_length=-1.0, rng=rng)


def test_without_bloom_and_noise_the_image_is_the_blurred_step() -> None:
    model = SemModel(
        shape=(40, 200), bloom_inside=0.0, bloom_outside=0.0, electrons_per_grey=float("inf"), read_noise=0.0, tilt=0.02
    )
    image = simulate_lines(model, seed=7)
    exact = erf_lines((40, 200), image.left, image.right, model.blur / model.pixel[0], 50.0, 140.0)
    # rounding to whole grey levels (0.5) plus the table's linear interpolation (1e-4 of the step)
    assert np.abs(image.pixels - exact).max() <= 0.5 + 0.01


def test_noise_has_the_stated_variance() -> None:
    model = SemModel(shape=(300, 300), electrons_per_grey=0.5, read_noise=3.0, space_level=100.0)
    pixels = simulate_blank(model, seed=1).pixels.astype(float)
    assert pixels.mean() == pytest.approx(100.0, abs=0.25)  # five standard errors: 14.5/300
    assert pixels.var() == pytest.approx(100 / 0.5 + 9.0 + 1 / 12, rel=0.025)  # se sqrt(2/90000) = 0.5 %


def test_truth_describes_the_edges() -> None:
    image = simulate_lines(SemModel(shape=(400, 800), pitch_walk=2.0, tilt=0.01), seed=9)
    widths = (image.right - image.left) * 0.8
    assert widths.mean() == pytest.approx(16.0, abs=0.15)  # 20 lines x 400 rows / 25 rows correlation: se 0.05 nm
    centres = 0.5 * (image.left + image.right).mean(axis=1) * 0.8
    gaps = np.diff(centres)
    assert gaps.mean() == pytest.approx(32.0, abs=0.05)
    assert abs(gaps[::2].mean() - gaps[1::2].mean()) == pytest.approx(
        2.0, abs=0.25
    )  # scatter of centres 0.15/sqrt(10) x 2


def test_seed_decides_everything() -> None:
    a, b, c = (simulate_lines(SemModel(shape=(64, 128)), seed=s).pixels for s in (1, 1, 2))
    assert a.tobytes() == b.tobytes() != c.tobytes()


def test_sixteen_bit_and_dark_lines() -> None:
    dark = simulate_lines(SemModel(shape=(32, 128), lines_bright=False, bits=16), seed=1)
    assert dark.pixels.dtype == np.uint16
    x = int(round(0.5 * (dark.left[3] + dark.right[3]).mean()))
    assert dark.pixels[:, x].mean() < 95.0  # middle of the step: a line is darker than that


def test_threshold_offset_vanishes_without_bloom() -> None:
    plain = SemModel(bloom_inside=0.0, bloom_outside=0.0, pitch=64.0, cd=32.0)
    assert threshold_offset(plain) == pytest.approx(0.0, abs=1e-4)  # the grid of the root search is 0.005 px
    assert threshold_offset(SemModel()) > 0.1  # bloom moves a 50 % threshold outward


def test_model_that_cannot_be_drawn_raises() -> None:
    with pytest.raises(ParameterError, match="narrower"):
        simulate_lines(SemModel(cd=40.0), seed=1)


def test_an_image_is_drawn_quickly() -> None:
    simulate_lines(SemModel(), seed=0)  # compiles
    start = time.perf_counter()
    simulate_lines(SemModel(), seed=1)
    assert time.perf_counter() - start < 0.5  # 0.03 s alone on two cores; the rest is room for a busy machine


def test_lot_on_disk(tmp_path: Path) -> None:
    plan = LotPlan(images=8, wafers=2, blank=(2,), out_of_tolerance=(5,), model=SemModel(shape=(64, 128)))
    truth = write_sem_lot(tmp_path / "a", plan, seed=3)
    write_sem_lot(tmp_path / "b", plan, seed=3)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(names) == 9 and "truth.json" in names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    stored = json.loads((tmp_path / "a" / "truth.json").read_text(encoding="utf-8"))
    assert [row["file"] for row in stored["images"]] == [row["file"] for row in truth.rows]
    assert [row["kind"] for row in truth.rows].count("blank") == 1
    rows = [row for row in truth.rows if row["kind"] == "good"]
    assert len({row["wafer"] for row in rows}) == 2
    for row in rows:
        # radial signature, two scatters of 0.08 and 0.1 nm, five standard deviations; the tilt costs 1e-5
        radial = 16.0 + 0.5 * (row["x_mm"] ** 2 + row["y_mm"] ** 2) / 140.0**2
        assert row["cd_line"] == pytest.approx(radial, abs=5 * 0.13)
        image = read_image(tmp_path / "a" / row["file"])
        assert image.pixel_size == pytest.approx((0.8, 0.8), rel=1e-6)  # rational numbers of 32 bit in the tags
    outlier = next(row for row in truth.rows if row["kind"] == "out_of_tolerance")
    assert outlier["cd_line"] > 18.5


def test_image_of_a_lot_does_not_depend_on_the_others() -> None:
    from wafer.simulate.lot import lot_images

    plan = LotPlan(images=6, wafers=1, blank=(1,), out_of_tolerance=(), model=SemModel(shape=(32, 64)))
    whole = [image.pixels for _, image in lot_images(plan, seed=1)]
    other = LotPlan(images=6, wafers=1, blank=(), out_of_tolerance=(), model=SemModel(shape=(32, 64)))
    again = [image.pixels for _, image in lot_images(other, seed=1)]
    assert [np.array_equal(a, b) for a, b in zip(whole, again, strict=True)] == [True, False, True, True, True, True]
