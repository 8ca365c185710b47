"""Named smoothing before the edges: the filter itself, its noise in the results, and what it may not be used for."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from scipy import ndimage

from metrology_core.blocks import threads
from metrology_core.data import Image
from metrology_core.errors import ParameterError
from wafer import EdgeSet, SemLineSettings, find_edges, measure_sem_lines
from wafer.edges.locate import Shape, Windows, locate
from wafer.edges.smoothed import smoothed_edges, smoothed_image
from wafer.frames import measure_frames
from wafer.lines.roughness import measure_roughness
from wafer.simulate import SemModel, simulate_lines
from wafer.smoothing import Smoothing, parse_smoothing

MODEL = SemModel(shape=(256, 260), pitch=34.0, cd=17.0, tilt=0.004)
REPEATS = 24


@functools.cache
def clean() -> np.ndarray:
    """Rough lines without noise."""
    quiet = dataclasses.replace(MODEL, electrons_per_grey=float("inf"), read_noise=0.0, bits=16)
    return simulate_lines(quiet, seed=3).pixels.astype(np.float64)


@functools.cache
def repeated(kind: str) -> tuple[EdgeSet, ...]:
    """Edges of one field with fresh noise (10 grey levels, a ninth of the step) in each image."""
    rng = np.random.Generator(np.random.Philox(11))
    images = [clean() + rng.normal(0.0, 10.0, clean().shape) for _ in range(REPEATS)]
    return tuple(find_edges(image, smoothing=parse_smoothing(kind)) for image in images)


@pytest.mark.parametrize("kind", ["gaussian 2 px", "gaussian_x 1.3", "gaussian_y 3 px"])
def test_the_filter_is_that_of_scipy(kind: str) -> None:
    smoothing = parse_smoothing(kind)
    assert smoothing is not None
    sigma = {"gaussian": (smoothing.sigma,) * 2, "gaussian_x": (0, smoothing.sigma), "gaussian_y": (smoothing.sigma, 0)}
    image = np.random.Generator(np.random.Philox(5)).normal(100.0, 30.0, (130, 77))
    expected = ndimage.gaussian_filter(image, sigma[smoothing.kind], mode="mirror", truncate=4.0)
    # single precision: 6e-8 of values that differ by some 200 grey levels, 34 sums
    np.testing.assert_allclose(smoothed_image(image, smoothing), expected, atol=1e-4)


@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_edges_in_one_pass_are_those_of_the_whole_filtered_image(slope: float) -> None:
    """The fused kernel against the general one on an image filtered before: places, sigmas, states."""
    rng = np.random.Generator(np.random.Philox(7))
    y, x = np.mgrid[0:150, 0:200]
    image = 60.0 + 90.0 * (np.abs((x - slope * (y - 74.5)) % 50.0 - 25.0) > 12.0) + rng.normal(0.0, 25.0, x.shape)
    seed = np.array([12.5, 37.5, 62.5, 87.5, 112.5, 137.5, 162.5, 187.5])
    sign = np.array([-1, 1] * 4, dtype=np.int64)
    one = np.ones(8)
    windows = Windows(seed, 10.0 * one, 11.0 * one, sign, slope, 74.5)
    shape = Shape(105.0 * one, 60.0 * one, 150.0 * one, 20.0 * one, 2.0 * one)
    noise = find_edges(clean()[:, :200]).noise
    smoothing = Smoothing("gaussian", 1.5)
    whole = locate(smoothed_image(image, smoothing), 0, windows, shape, noise)
    fused = smoothed_edges(image, windows, shape, noise, smoothing)
    np.testing.assert_array_equal(fused[2], whole[2])
    assert np.isfinite(fused[0]).mean() > 0.95
    # rounding of 1e-5 grey levels over a slope of some 20 levels per pixel
    np.testing.assert_allclose(fused[0], whole[0], atol=2e-5)
    np.testing.assert_allclose(fused[1], whole[1], rtol=1e-4)


def test_bits_do_not_depend_on_threads() -> None:
    results = []
    for count in (1, 2, 3):
        with threads(count):
            results.append(find_edges(clean(), smoothing=Smoothing("gaussian", 2.0)))
    for other in results[1:]:
        assert results[0].x.tobytes() == other.x.tobytes() and results[0].u.tobytes() == other.u.tobytes()


@pytest.mark.parametrize("kind", ["gaussian 2 px", "gaussian_x 2 px", "gaussian_y 1.5 px"])
def test_propagated_noise_is_what_repeated_images_scatter(kind: str) -> None:
    """Single rows, and means over all rows, whose neighbours share noise."""
    found = repeated(kind)
    x = np.stack([f.x for f in found])
    scatter = float(np.sqrt(np.mean(np.var(x, axis=0, ddof=1))))
    u = float(np.sqrt(np.mean(found[0].u ** 2)))
    resampled = float(np.sqrt(np.mean([s.sd**2 for s in found[0].noise_sd.values()])))
    # 12 edges x 256 rows / 7 that share noise x 23: the scatter is known to 1 %; its linear propagation holds to some
    # per cent at this noise, the noise model of one small image to 4 %
    assert u == pytest.approx(scatter, rel=0.08)
    assert resampled == pytest.approx(scatter, rel=0.06)
    means = x.mean(axis=2)
    noise = resampled * np.sqrt(found[0].row_repeats / x.shape[2])
    # what moves an edge as a whole: the grey level, which is found in each image anew
    slope = float(np.mean([p.slope for p in found[0].profiles.values()]))
    level = float(np.mean(np.std([f.level for f in found], axis=0, ddof=1))) / slope
    # 12 edges x 23: known to 4 %; the mirrored borders count twice in some rows
    expected = float(np.hypot(noise, level))
    assert float(np.sqrt(np.mean(np.var(means, axis=0, ddof=1)))) == pytest.approx(expected, rel=0.12)


def test_results_name_it_and_say_nothing_about_roughness() -> None:
    image = Image(repeat_image(), "nm", (0.8, 0.8))
    plain = measure_sem_lines(image)
    smooth = measure_sem_lines(image, SemLineSettings(smoothing="gaussian 1.5 px"))
    assert all("smoothed with a Gaussian of 1.5 px, both directions" in text for text in smooth.methods.values())
    assert all("unfiltered image" in text for text in plain.methods.values())
    rough = {n for n in plain.measurements if n.startswith(("sem.lwr", "sem.ler", "sem.left_right"))}
    assert rough and rough <= set(smooth.missing) and not rough & set(smooth.measurements)
    assert all(row["lwr_biased_3s"] is None for row in smooth.per_line)
    assert smooth.details["ler_left_biased_1s"] is None
    pitch, same = plain.measurements["sem.pitch"], smooth.measurements["sem.pitch"]
    assert abs(pitch.value - same.value) < 3.0 * pitch.u


def repeat_image() -> np.ndarray:
    return np.rint(clean() + np.random.Generator(np.random.Philox(2)).normal(0.0, 10.0, clean().shape))


def test_roughness_and_fits_are_refused() -> None:
    found = repeated("gaussian 2 px")[0]
    with pytest.raises(ParameterError, match="roughness"):
        measure_roughness(found, np.array([0]), "linear", None, 1.0, None, "")  # type: ignore[arg-type]
    image = Image(repeat_image(), "nm", (0.8, 0.8))
    with pytest.raises(ParameterError, match="roughness"):
        measure_frames([image, image], SemLineSettings(smoothing="gaussian 2 px"))
    for criterion in ("model", "sigmoid", "linear_approximation"):
        with pytest.raises(ParameterError, match=criterion):
            SemLineSettings(criterion=criterion, smoothing="gaussian 2 px")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["median 3 px", "gaussian", "gaussian -1 px", "gaussian 0.1 px", "gaussian 50 px", "2"]
)
def test_what_is_no_smoothing_is_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        parse_smoothing(text)


@pytest.mark.parametrize("text", [None, "", "none", " None "])
def test_nothing_is_nothing(text: str | None) -> None:
    assert parse_smoothing(text) is None


@pytest.mark.parametrize(
    ("kind", "flagged"),
    [(None, False), ("gaussian 2 px", False), ("gaussian 8 px", True), ("gaussian_x 8 px", True),
     ("gaussian_y 8 px", False)],
)  # fmt: skip
def test_a_filter_as_wide_as_the_stripes_is_flagged(kind: str | None, flagged: bool) -> None:
    """Two full widths at half maximum of 8 px are 37.7 px, of 2 px 9.4 px; the narrower stripes lie between. Along the
    lines a filter is as long as it likes."""
    result = measure_sem_lines(Image(repeat_image(), "nm", (0.8, 0.8)), SemLineSettings(smoothing=kind))
    assert ("smoothing_too_wide" in result.flags) is flagged
    for name in ("sem.cd_line", "sem.cd_space"):
        assert ("smoothing_too_wide" in result.measurements[name].flags) is flagged
        assert result.measurements[name].value / 0.8 > 9.4
    assert "smoothing_too_wide" not in result.measurements["sem.pitch"].flags
