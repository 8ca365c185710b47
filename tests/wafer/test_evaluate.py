"""Characteristics of lines and spaces: laws, truth with coverage, budget, checks, view."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.characteristics import available
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.instrument import Instrument
from wafer import SemLineResult, SemLineSettings, measure_sem_lines
from wafer.characteristics import IDS as ALL_IDS
from wafer.simulate import SemModel, simulate_lines
from wafer.simulate.sem import SemImage, threshold_offset


def as_image(simulated: SemImage, **changes: object) -> Image:
    fields: dict[str, object] = {"pixels": simulated.pixels, "unit": "nm", "pixel_size": simulated.model.pixel}
    return Image(**{**fields, **changes})  # type: ignore[arg-type]


def measure(model: SemModel, seed: int, **settings: object) -> SemLineResult:
    return measure_sem_lines(as_image(simulate_lines(model, seed=seed)), SemLineSettings(**settings))  # type: ignore[arg-type]


SMALL = SemModel(shape=(256, 512))
# what one image gives; the rows from repeated frames need a stack (tests of frames)
IDS = tuple(name for name in ALL_IDS if "_cross_" not in name)


def test_every_characteristic_is_registered_and_measured() -> None:
    result = measure(SMALL, 1)
    assert set(result.measurements) == set(IDS) == set(result.methods)
    for name in IDS:
        assert available()[name].needs == "image"
        ratio = available()[name].dimension == "ratio"
        assert result.measurements[name].unit == ("1" if ratio else "nm")
        assert result.measurements[name].u > 0.0
        assert "threshold at 50 %" in result.methods[name]
    assert not result.missing
    assert "linear detrend" in result.methods["sem.lwr_biased_3s"]
    assert "box length" in result.methods["sem.lwr_biased_3s"]
    assert "biased" in result.methods["sem.ler_biased_1s"]


def test_three_sigma_is_three_times_one_sigma_and_the_same_cause() -> None:
    m = measure(SMALL, 1).measurements
    for stem in ("sem.lwr", "sem.ler"):
        one, three = m[f"{stem}_biased_1s"], m[f"{stem}_biased_3s"]
        assert three.value == pytest.approx(3.0 * one.value, rel=1e-15)
        assert one.correlation(three) == pytest.approx(1.0, abs=1e-12)


def test_unit_of_the_pixel_carries_through() -> None:
    simulated = simulate_lines(SMALL, seed=2)
    a = measure_sem_lines(as_image(simulated))
    b = measure_sem_lines(as_image(simulated, unit="um", pixel_size=(0.0008, 0.0008)))
    for name in IDS:
        unit = a.measurements[name].unit
        assert b.measurements[name].to(unit).value == pytest.approx(a.measurements[name].value, rel=1e-12)
        assert b.measurements[name].to(unit).u == pytest.approx(a.measurements[name].u, rel=1e-12)


def test_line_and_space_make_the_pitch() -> None:
    m = measure(SMALL, 3).measurements
    # the pitch uses all edges, the widths complete stripes only: both scatter by some hundredths of a nm
    total = m["sem.cd_line"].value + m["sem.cd_space"].value
    assert total == pytest.approx(m["sem.pitch"].value, abs=3 * (m["sem.cd_line"].u + m["sem.cd_space"].u))


def test_tilt_is_taken_out_of_widths_and_pitch() -> None:
    tilt = 0.05  # 2.9 degrees: widths along x are 0.125 % too long, here 0.04 nm of pitch
    model = SemModel(shape=(384, 640), sigma=0.2, tilt=tilt)
    result = measure(model, 4)
    pitch = result.measurements["sem.pitch"]
    assert pitch.value == pytest.approx(32.0 / math.hypot(1.0, tilt), abs=3.0 * pitch.u)
    assert pitch.u < 0.01  # so that the factor 1.00125 would show
    assert result.details["tilt_deg"] == pytest.approx(math.degrees(math.atan(tilt)), abs=0.02)
    assert "tilted" in result.flags


def test_horizontal_lines_are_measured_when_asked() -> None:
    simulated = simulate_lines(SemModel(shape=(256, 256), pixel=(0.8, 1.0)), seed=5)
    upright = measure_sem_lines(as_image(simulated))
    lying = as_image(simulated, pixels=np.ascontiguousarray(simulated.pixels.T), pixel_size=(1.0, 0.8))
    with pytest.raises(DataError, match="orientation: horizontal"):
        measure_sem_lines(lying)
    turned = measure_sem_lines(lying, SemLineSettings(orientation="horizontal"))
    for name in IDS:
        assert turned.measurements[name].value == upright.measurements[name].value
    assert turned.view["transposed"]


def test_dark_lines_are_the_negative_of_bright_ones() -> None:
    simulated = simulate_lines(SMALL, seed=6)
    bright = measure_sem_lines(as_image(simulated)).measurements
    negative = as_image(simulated, pixels=(255 - simulated.pixels).astype(np.uint8))
    dark = measure_sem_lines(negative, SemLineSettings(lines="dark")).measurements
    # same pixels, same noise; only the seeded noise of the resampling falls otherwise: 0.01 px
    assert dark["sem.cd_line"].value == pytest.approx(bright["sem.cd_line"].value, abs=0.02)
    assert dark["sem.lwr_biased_3s"].value == pytest.approx(bright["sem.lwr_biased_3s"].value, rel=1e-3)


def test_pixel_size_is_one_shared_cause() -> None:
    simulated = simulate_lines(SMALL, seed=7)
    instrument = Instrument(id="SEM-1", type="cd_sem", unit="nm", edge_offset_u=0.3)
    image = as_image(simulated, pixel_size_u=(0.004, 0.004), pixel_size_u_common=True)
    result = measure_sem_lines(image, instrument=instrument)
    m = result.measurements
    for name in ("sem.pitch", "sem.cd_line", "sem.lwr_biased_3s"):
        assert m[name].contributions["instrument/SEM-1/scale"] == pytest.approx(0.005 * m[name].value, rel=1e-12)
    edge = "instrument/SEM-1/edge/threshold"
    assert m["sem.cd_line"].contributions[edge] == pytest.approx(0.6)  # both edges move outward
    assert m["sem.cd_space"].contributions[edge] == pytest.approx(-0.6)
    assert edge not in m["sem.pitch"].contributions
    assert "repeatability_only" not in result.flags
    # what is uncertain about the line cancels in the sum of line and space
    assert abs((m["sem.cd_line"] + m["sem.cd_space"]).contributions.get(edge, 0.0)) < 1e-12
    assert "repeatability_only" in measure_sem_lines(as_image(simulated)).flags


def test_truth_and_coverage() -> None:
    """40 images: mean errors against their standard error, and 95 % intervals that hold the truth."""
    model = SemModel(shape=(192, 384), pitch_walk=0.0, tilt=0.003)
    offset = 2.0 * threshold_offset(model, 0.5)
    hits = {"sem.pitch": 0, "sem.cd_line": 0, "sem.cd_space": 0}
    errors: dict[str, list[float]] = {name: [] for name in hits}
    rough: dict[str, list[float]] = {"sem.lwr_biased_1s": [], "sem.ler_biased_1s": []}
    noise = []
    for seed in range(40):
        simulated = simulate_lines(model, seed=1000 + seed, offset=0.8 * seed)
        result = measure_sem_lines(as_image(simulated))
        truth = {
            "sem.pitch": simulated.truth["pitch"],
            "sem.cd_line": simulated.truth["cd_line"] + offset,
            "sem.cd_space": simulated.truth["cd_space"] - offset,
        }
        for name, value in truth.items():
            low, high = result.measurements[name].coverage_interval(0.95)
            hits[name] += int(low <= value <= high)
            errors[name].append(result.measurements[name].value - value)
        for name in rough:
            rough[name].append(result.measurements[name].value ** 2)
        noise.append(result.details["edge_noise_rising"] ** 2)
    for name, count in hits.items():
        # binomial(40, 0.95): 33 or fewer would happen by chance once in 2000
        assert count >= 34, name
        mean, se = np.mean(errors[name]), np.std(errors[name], ddof=1) / math.sqrt(40)
        # bias against the criterion: 0.02 px per edge (issue 6), plus three standard errors of this ensemble
        assert abs(mean) < 2 * 0.02 * 0.8 + 3.0 * se, name
    # biased roughness = true variance, less what the finite box and the detrending take, plus the noise of the edges
    box = 192 * 0.8
    for name, edges in (("sem.lwr_biased_1s", 2.0), ("sem.ler_biased_1s", 1.0)):
        expected = edges * (detrended_variance(model, box) + float(np.mean(noise)))
        se = float(np.std(rough[name], ddof=1)) / math.sqrt(40)
        # threshold edges of rough lines: blur over neighbouring rows and pixel phases change it by up to 2 %
        assert np.mean(rough[name]) == pytest.approx(expected, abs=3.0 * se + 0.02 * expected), name


def detrended_variance(model: SemModel, box: float) -> float:
    """Expected variance of an edge of the model about its least-squares line (exact, by matrices)."""
    n = int(round(box / model.pixel[1]))
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) * model.pixel[1]
    covariance = model.sigma**2 * np.exp(-((lag / model.correlation_length) ** (2.0 * model.hurst)))
    design = np.column_stack([np.ones(n), np.arange(n) - 0.5 * (n - 1)])
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    return float(np.trace(covariance) - np.trace(hat @ covariance)) / (n - 2)


def test_pitch_walk_is_found() -> None:
    model = SemModel(shape=(256, 768), pitch_walk=1.5)
    walk = measure(model, 11).measurements["sem.pitch_walk"]
    assert walk.value == pytest.approx(1.5, abs=3.0 * walk.u)
    assert walk.u < 0.3
    assert walk.coverage_interval()[0] >= 0.0
    none = measure(SemModel(shape=(256, 768)), 12).measurements["sem.pitch_walk"]
    assert none.value < 3.5 * none.u  # the absolute value of something normal around zero


def test_dose_does_not_move_the_width() -> None:
    """Issue 6: drift over a 20-fold dose at most 0.05 nm."""
    widths = []
    for electrons in (4.0, 0.2):
        model = SemModel(shape=(512, 512), sigma=0.4, electrons_per_grey=electrons, read_noise=1.0)
        errors = []
        for seed in range(4):
            simulated = simulate_lines(model, seed=seed)
            m = measure_sem_lines(as_image(simulated)).measurements
            errors.append(m["sem.cd_line"].value - simulated.truth["cd_line_in_image"])
        widths.append(np.mean(errors))
    # 0.05 nm, plus the scatter of the mean of four images at the low dose, 0.016/2 nm, twice
    assert abs(widths[1] - widths[0]) < 0.05 + 0.016


def one_line() -> SemImage:
    return simulate_lines(SemModel(shape=(256, 128), pitch=80.0, cd=30.0, offset=10.0), seed=1)


def test_one_line_only() -> None:
    result = measure_sem_lines(as_image(one_line()))
    assert "sem.pitch" not in result.measurements and "two lines" in result.missing["sem.pitch"]
    assert "sem.pitch_walk" in result.missing and "sem.cd_space" in result.missing
    assert "few_lines" in result.flags
    width = result.measurements["sem.cd_line"]
    assert width.value == pytest.approx(30.0, abs=2.0)  # the criterion offset of bloom is below 1 nm
    assert width.u > 0.0  # from pieces of the line
    assert "one line" in result.missing["sem.lwr_biased_3s"]
    assert result.measurements["sem.lwr_unbiased_3s"].u > 0.0


def test_checks_against_the_recipe() -> None:
    simulated = simulate_lines(SemModel(shape=(256, 512), cd=12.0), seed=3)
    good = measure_sem_lines(as_image(simulated), SemLineSettings(nominal_pitch=32.0, nominal_cd=12.0))
    assert not {"pitch_conflict", "inverted_contrast"} & set(good.flags)
    wrong = measure_sem_lines(as_image(simulated, pixel_size=(0.85, 0.85)), SemLineSettings(nominal_pitch=32.0))
    assert "pitch_conflict" in wrong.flags
    inverted = measure_sem_lines(as_image(simulated), SemLineSettings(lines="dark", nominal_cd=12.0))
    assert "inverted_contrast" in inverted.flags


def test_a_scan_that_is_not_linear_is_flagged() -> None:
    simulated = simulate_lines(SemModel(shape=(256, 640), sigma=0.3), seed=3)
    assert "scan_nonlinear" not in measure_sem_lines(as_image(simulated)).flags
    x = np.arange(600)
    source = x * (1.0 + 0.03 * x / 600.0)  # the local scale changes by 6 % over the field
    k = source.astype(int)
    t = source - k
    bent = simulated.pixels[:, k] * (1.0 - t) + simulated.pixels[:, k + 1] * t
    result = measure_sem_lines(as_image(simulated, pixels=np.rint(bent).astype(np.uint8)))
    assert "scan_nonlinear" in result.flags
    assert result.details["scale_variation"] == pytest.approx(0.06, abs=0.01)  # 2 * 0.03, seen over most of the field


def test_view_holds_what_a_reviewer_needs() -> None:
    simulated = simulate_lines(SMALL, seed=9)
    result = measure_sem_lines(as_image(simulated), SemLineSettings(rows=(16, 200)))
    view, arrays = result.view, result.arrays
    edges = arrays[view["edges"]]
    assert view["kind"] == "sem_edges"
    assert edges.shape == (len(view["sides"]), arrays[view["rows"]].size) == (len(view["line_index"]), 184)
    assert arrays[view["image"]].dtype == np.uint8 and arrays[view["image"]].shape == (256, 512)
    assert arrays[view["rows"]][0] == 16
    assert view["pixel_size"] == {"x": 0.8, "y": 0.8, "unit": "nm"}
    complete = [i for i in view["line_index"] if i >= 0]
    assert sorted(set(complete)) == [row["line"] for row in view["per_line"]]
    assert all(complete.count(i) == 2 for i in set(complete))
    widths = [row["cd"] for row in view["per_line"]]
    assert np.mean(widths) == pytest.approx(result.measurements["sem.cd_line"].value, rel=1e-12)
    import json

    json.dumps([view, result.details, result.per_line])  # plain types only


def test_sixteen_bit_images_give_the_same_lengths() -> None:
    simulated = simulate_lines(SMALL, seed=10)
    a = measure_sem_lines(as_image(simulated)).measurements
    wide = as_image(simulated, pixels=(simulated.pixels.astype(np.uint16) * 128))
    b = measure_sem_lines(wide)
    for name in IDS:
        assert b.measurements[name].value == pytest.approx(a[name].value, abs=1e-9)  # a power of two: same arithmetic
    assert b.arrays["sem/image"].dtype == np.uint8


def test_wrong_use_raises() -> None:
    image = as_image(simulate_lines(SMALL, seed=1))
    with pytest.raises(ParameterError, match="pixel size"):
        measure_sem_lines(Image(image.pixels, "nm", None))
    with pytest.raises(ParameterError, match="criterion"):
        SemLineSettings(criterion="median")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="level"):
        SemLineSettings(level=50.0)
