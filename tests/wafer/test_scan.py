"""What the scan did to an image: tilt, drift, jitter, background and charging against what the simulator put in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core.data import Image
from wafer import measure_sem_lines
from wafer.edges.grey import stripe_grey
from wafer.edges.linescan import sheared_blocks
from wafer.lines.scan import row_jitter
from wafer.scan import ScanFact, field_background, uneven
from wafer.simulate import simulate_lines
from wafer.simulate.sem import SemModel


def scan(seed: int, pixels: np.ndarray | None = None, **changes: Any) -> dict[str, Any]:
    drawn = simulate_lines(SemModel(), seed=seed, **changes)
    image = Image(drawn.pixels if pixels is None else pixels, "nm", drawn.model.pixel)
    result = measure_sem_lines(image)
    return {**result.details["scan"], "flags": result.flags}


def held(fact: dict[str, Any], truth: float) -> bool:
    """Four standard uncertainties: of some ten comparisons in this file none fails by chance."""
    return abs(fact["value"] - truth) <= 4.0 * fact["u"]


def test_a_quiet_scan_shows_nothing() -> None:
    found = scan(4100)
    assert {name for name, fact in found.items() if name != "flags" and fact["seen"]} == set()
    assert not {"background_uneven", "charging_trail"} & set(found["flags"])


def test_tilt_is_that_of_the_lines() -> None:
    found = scan(4101, tilt=0.01)
    assert held(found["tilt"], math.degrees(math.atan(0.01)))
    assert found["tilt"]["u"] < 0.02 and found["tilt"]["seen"]


def test_a_drift_at_constant_speed_is_a_tilt() -> None:
    found = scan(4102, drift=2.0)  # nm over 512 rows of 0.8 nm
    assert held(found["tilt"], math.degrees(math.atan(2.0 / (512 * 0.8))))
    assert held(found["drift"], 0.0)


def test_a_scan_that_slows_down_bends_all_lines_alike() -> None:
    """Rows moved by whole pixels along a parabola: the middle lies 4 px = 3.2 nm beside the line through the ends."""
    drawn = simulate_lines(SemModel(shape=(512, 560)), seed=4103)
    t = np.linspace(-1.0, 1.0, 512)
    shift = np.rint(4.0 * (1.0 - t * t)).astype(int)
    moved = np.stack([row[8 - s : 8 - s + 540] for row, s in zip(drawn.pixels, shift, strict=True)])
    result = measure_sem_lines(Image(moved, "nm", (0.8, 0.8)))
    fact = result.details["scan"]["drift"]
    assert held(fact, 3.2) and fact["seen"]


@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_jitter_of_rows(jitter: float) -> None:
    found = scan(4104, jitter=jitter)["row_jitter"]
    assert found["seen"]
    # the drawn shifts of 512 rows themselves scatter by 1 / sqrt(2 x 512) = 3 %
    assert found["value"] == pytest.approx(jitter, abs=4.0 * math.hypot(found["u"], 0.03 * jitter))


def test_jitter_with_lost_rows_is_that_without() -> None:
    rng = np.random.default_rng(8)
    y = np.arange(400.0)
    places = 0.3 * rng.standard_normal((20, 400)) + 0.4 * rng.standard_normal(400)
    whole = row_jitter(places, y)
    some = places.copy()
    some[rng.random(places.shape) < 0.1] = np.nan
    lost = row_jitter(some, y)
    assert whole is not None and lost is not None
    assert whole[0] == pytest.approx(0.4, abs=4.0 * math.hypot(whole[1], 0.4 / math.sqrt(800.0)))
    assert lost[0] == pytest.approx(whole[0], abs=2.0 * whole[1])
    assert row_jitter(places[:2], y) is None


def test_charging_is_a_slow_rise_and_a_trail() -> None:
    """`wafer.simulate.disturb.charged`: the frame rises by the charging, and each stripe holds its share of the trail.

    In the steady state the trail of a square wave of half period T and decay L runs from -a to a with
    a = tanh(T / 2L) / 2: over a stripe the grey changes by 2 a times the charging.
    """
    model = SemModel()
    found = scan(4105, charging=0.6)
    step = model.line_level - model.space_level
    measured = 1.03 * step  # blooms lift the middle of a stripe of 16 nm: 2 x 0.25 exp(-8 / 2.5) / 1.3 and less
    rise = found["background_over_frame"]
    assert rise["value"] == pytest.approx(0.6 * step / measured, rel=0.03)
    trail = math.tanh(0.5 * 0.5 * model.pitch / model.charging_length) * 0.6
    assert found["charging_trail"]["value"] == pytest.approx(
        trail, rel=0.15
    )  # straight line, central part: 10 % steeper
    assert {"background_uneven", "charging_trail"} <= set(found["flags"])
    assert held(found["background_across"], 0.0)


def test_background_across_and_contrast_over_the_frame() -> None:
    drawn = simulate_lines(SemModel(bits=16, electrons_per_grey=math.inf, read_noise=3.0), seed=4106)
    ny, nx = drawn.pixels.shape
    y, x = np.mgrid[0:ny, 0:nx]
    ground = drawn.model.space_level
    contrast = 1.0 - 0.2 * ((y + 0.5) / ny - 0.5)
    grey = 500.0 + ground + contrast * (drawn.pixels - ground) + 30.0 * ((x + 0.5) / nx - 0.5)
    found = scan(4106, np.rint(grey).astype(np.uint16))
    step = 30.0 / found["background_across"]["value"]
    assert 85.0 < step < 100.0  # between the levels and with their blooms
    assert found["contrast_over_frame"]["value"] == pytest.approx(-0.2, abs=0.02)  # dark stripes keep some of the bloom
    # dark stripes stay, bright ones fall by a fifth of the step: a tenth of it on average
    assert found["background_over_frame"]["value"] == pytest.approx(-0.1, abs=0.02)
    assert "background_uneven" in found["flags"]


def test_levels_of_stripes_are_plain_means() -> None:
    rng = np.random.default_rng(9)
    area = rng.normal(size=(64, 60))
    stripes = (np.array([5.0, 20.0, 36.0, 52.0]), np.array([2.0, 3.0, 4.0, 2.0]), np.array([True, False, True, False]))
    found = stripe_grey(sheared_blocks(area, 0.0), stripes)
    assert found.level.shape == (8, 2) and found.bright.tolist() == [False, True]
    for b in range(8):
        for s, (centre, half) in enumerate(((20, 3), (36, 4))):
            x = np.arange(centre - half, centre + half + 1)
            mean = area[8 * b : 8 * b + 8, x].mean(axis=0)
            assert found.level[b, s] == pytest.approx(mean.mean(), abs=1e-12)
            assert found.rise[b, s] == pytest.approx(np.polyfit(x, mean, 1)[0] * half / 0.2, abs=1e-11)


def test_background_of_a_field_of_features() -> None:
    rng = np.random.default_rng(10)
    ny, nx = 240, 320
    y, x = np.mgrid[0:ny, 0:nx]
    features = (((x + 20) % 40 - 20) ** 2 + ((y + 20) % 40 - 20) ** 2) < 11**2
    u, v = (x + 0.5) / nx - 0.5, (y + 0.5) / ny - 0.5
    grey = 100.0 - 50.0 * features * (1.0 + 0.3 * v) + 20.0 * u - 10.0 * v + 4.0 * rng.standard_normal((ny, nx))
    found = field_background(grey, features)
    # features are darker: their contrast grows by 30 % of the step, half of which counts as background
    for name, truth in (
        ("background_across", 0.4),
        ("background_over_frame", -0.2 - 0.15),
        ("contrast_over_frame", 0.3),
    ):
        assert abs(found[name].value - truth) <= 4.0 * found[name].u + 0.003  # places of tiles, not of their features
        assert found[name].u < 0.02
    assert uneven(found) == {"background_uneven"}
    assert field_background(grey, np.zeros_like(features)) == {}
    assert uneven({"background_across": ScanFact(0.2, 0.1, "1")}) == set()


@pytest.mark.parametrize("shift", [3, 13])
def test_a_jump_of_the_frame_is_flagged(shift: int) -> None:
    drawn = simulate_lines(SemModel(), seed=4107, jitter=0.1)
    pixels = drawn.pixels.copy()
    pixels[256:] = np.roll(pixels[256:], shift, axis=1)
    result = measure_sem_lines(Image(pixels, "nm", (0.8, 0.8)))
    assert "scan_jump" in result.flags and result.details["scan_jumps"] == 1
    plain = measure_sem_lines(Image(drawn.pixels, "nm", (0.8, 0.8)))
    assert "scan_jump" not in plain.flags and plain.details["scan_jumps"] == 0


def test_one_line_has_no_biased_roughness() -> None:
    drawn = simulate_lines(SemModel(), seed=3, pitch=300.0, cd=60.0)
    result = measure_sem_lines(Image(drawn.pixels, "nm", (0.8, 0.8)))
    assert "sem.lwr_biased_1s" not in result.measurements
    assert "one line" in result.missing["sem.lwr_biased_3s"]


@pytest.mark.parametrize("seed", [41, 22])
def test_contacts_cut_by_the_border_are_no_background(seed: int) -> None:
    from wafer.contacts import measure_contacts
    from wafer.simulate.contacts import simulate_contacts

    drawn = simulate_contacts(seed=seed, shape=(480, 480))
    found = measure_contacts(Image(drawn.pixels, "nm", drawn.model.pixel))
    for fact in found.details["scan"].values():
        assert abs(fact["value"]) <= 4.0 * fact["u"], found.details["scan"]
        assert fact["u"] < 0.02
