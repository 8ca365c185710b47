"""Widths of lines and spaces against images drawn here: error-function edges, normal noise, 20 nm lines unless said."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from metrology_core.data import Image
from metrology_core.provenance import Source
from wafer import SemLineResult, SemLineSettings, measure_sem_lines
from wafer.edges import find as edge_finder
from wafer.edges import find_edges
from wafer.edges.profiles import Spread, plateaus, rough_levels, splines_of
from wafer.lines.places import causes, gain_shift, width_correction
from wafer.noise import NoiseModel, grey_step

PX = 0.8
LOW, HIGH, BLUR = 60.0, 160.0, 2.0


def draw(
    seed: int, cd: float = 20.0, space: float = 20.0, noise: float = 15.0, line_sd: float = 0.0, lines: int = 12
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pitch = cd + space
    x = np.arange(round(lines * pitch / PX)) * PX
    first = rng.uniform(0.0, pitch)
    shape = np.zeros(x.size)
    for k in range(-2, lines + 3):
        half = 0.5 * (cd + line_sd * rng.standard_normal())
        shape += ndtr((x - first - k * pitch + half) / BLUR) - ndtr((x - first - k * pitch - half) / BLUR)
    grey = LOW + (HIGH - LOW) * shape + noise * rng.standard_normal((192, x.size))
    return np.clip(np.rint(grey), 0.0, 255.0).astype(np.uint8)


def measure(pixels: np.ndarray, source: Source | None = None, **settings: object) -> SemLineResult:
    image = Image(pixels=pixels, unit="nm", pixel_size=(PX, PX), source=source)
    return measure_sem_lines(image, SemLineSettings(**settings))  # type: ignore[arg-type]


def errors(n: int, criterion: str, **model: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors, standard uncertainties and hits of the 95 % interval, (n, 2): lines and spaces."""
    truth = {"sem.cd_line": model.get("cd", 20.0), "sem.cd_space": model.get("space", 20.0)}
    rows = []
    for seed in range(n):
        m = measure(draw(seed, **model), criterion=criterion).measurements  # type: ignore[arg-type]
        for name, value in truth.items():
            low, high = m[name].coverage_interval(0.95)
            rows.append((m[name].value - value, m[name].u, low <= value <= high))
    error, u, hit = np.array(rows).reshape(n, 2, 3).transpose(2, 0, 1)
    return error, u, hit


@pytest.mark.parametrize("criterion", ["threshold", "max_gradient", "sigmoid"])
def test_symmetric_edges_are_not_shifted(criterion: str) -> None:
    error, u, hit = errors(30, criterion)
    for k in range(2):
        standard_error = error[:, k].std(ddof=1) / math.sqrt(30)
        # no shift: four standard errors of the mean of 30 images (once in 3000 by chance)
        assert abs(error[:, k].mean()) < 4.0 * standard_error
        # binomial(30, 0.95): 24 or fewer happen once in 300 by chance, 23 once in 1500
        assert hit[:, k].sum() >= 24
        # a standard deviation from 30 values is known to 13 %: within three of them, both ways a factor 2 at most
        assert 0.5 < math.sqrt(float(np.mean(error[:, k] ** 2) / np.mean(u[:, k] ** 2))) < 1.5


@pytest.mark.parametrize("noise", [5.0, 15.0])
def test_the_seed_of_the_resampling_hardly_moves_the_width(noise: float) -> None:
    """A shift that follows the seed would be the same for all images of a lot."""
    pixels = draw(1, noise=noise)
    results = [measure(pixels, seed=seed).measurements["sem.cd_line"] for seed in range(4)]
    # far below the uncertainty of one image: a tenth of it
    assert np.ptp([r.value for r in results]) < 0.1 * results[0].u


def test_equal_noise_on_both_sides_needs_no_correction() -> None:
    found = find_edges(draw(2))
    for edge in found.noise_sd.values():
        # 0.01 px is a third of what one seed of plain resampling injected
        assert abs(edge.bias) < 0.01
    assert width_correction(found, 1) == -width_correction(found, -1)


def shot_noise(seed: int) -> np.ndarray:
    """The image of `draw`, its noise as shot noise: variance in proportion to the grey, contrast to noise about 2."""
    clean = draw(seed, noise=0.0).astype(np.float64)
    return clean + np.sqrt(23.0 * clean) * np.random.default_rng(100 + seed).standard_normal(clean.shape)


def test_the_gain_of_the_noise_moves_both_edges_of_all_stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the slow way: the whole resampling again with the gain one standard uncertainty up and down."""
    plain, calls = edge_finder.resample_edge, []

    def kept(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return plain(*args, **kwargs)

    monkeypatch.setattr(edge_finder, "resample_edge", kept)
    found = edge_finder.find_edges(shot_noise(11))
    slow = 0.0
    for (profile, noise, shape), kwargs in calls:
        if not kwargs.get("shift", True):
            continue
        middle = 0.5 * float(shape.low[0] + shape.high[0])
        biases = []
        for step in (noise.gain_u, -noise.gain_u):
            turned = replace(noise, gain=noise.gain + step, offset=noise.offset - step * middle)
            # four times as many draws again: no bias is then too small to be seen and set to nought
            biases.append(plain(profile, turned, shape, **kwargs, count=8192).bias)
        assert min(biases) > 0.0  # noisier on the bright side: crossings move there
        slow += 0.5 * (biases[0] - biases[1])
    # other draws, a quarter and four times as many: each knows its difference to some 10 %
    assert gain_shift(found) == pytest.approx(slow, rel=0.4)
    m = measure(shot_noise(11)).measurements
    line, space, pitch = (m[f"sem.{name}"].contributions for name in ("cd_line", "cd_space", "pitch"))
    (row,) = (key for key in line if key.endswith("/gain"))
    # the same calculation; the tilt that noise shows (some 1e-4) turns lengths by its cosine
    assert line[row] == pytest.approx(gain_shift(found) * PX, rel=1e-6)
    assert space[row] == -line[row] and row not in pitch  # what lines gain, spaces lose


def test_the_stated_shift_by_the_gain_is_what_it_does_from_image_to_image() -> None:
    sets = [find_edges(shot_noise(seed)) for seed in range(16)]
    corrections = np.array([width_correction(f, 1) for f in sets])
    gains = np.array([f.noise.gain for f in sets])
    # one gain for both edges: the correction follows it. The noise of profiles and levels adds as much again.
    assert np.corrcoef(gains, corrections)[0, 1] > 0.2
    # scatter of 16 values: known to 18 %, three of those; above also the levels, which the correction follows
    parts = [math.hypot(gain_shift(f), *(s.bias_u for s in f.noise_sd.values())) for f in sets]
    assert 0.5 < corrections.std(ddof=1) / math.sqrt(float(np.mean(np.square(parts)))) < 1.6


def test_narrow_stripes_state_the_plateau_they_miss() -> None:
    result = measure(draw(3, cd=30.0, space=10.0, noise=5.0))
    # the dark extreme misses by erfc(5 / (2 sqrt 2)) = 1.24 % of 100 grey levels, the threshold by half of it; the
    # slope is 100 / (2 sqrt(2 pi)) = 19.9 per nm: 0.031 nm for each of two edges, blur known to some 5 %
    assert result.details["plateau_not_reached"] == pytest.approx(-0.062, abs=0.015)
    assert "do not reach their plateau" in result.methods["sem.cd_line"]
    line, space = (result.measurements[f"sem.{n}"].contributions for n in ("cd_line", "cd_space"))
    (row,) = (key for key in line if key.endswith("/plateau"))
    assert line[row] == pytest.approx(-0.062, abs=0.015) and space[row] == -line[row]
    assert "plateau" not in measure(draw(3)).methods["sem.cd_line"]  # 10 nm half width is five times the blur
    _, _, hit = errors(20, "threshold", cd=30.0, space=10.0)
    assert hit[:, 0].sum() >= 15  # binomial(20, 0.95): 14 or fewer happen once in 3000


def test_levels_of_plateaus_are_not_the_extremes_of_their_noise() -> None:
    rng = np.random.default_rng(5)
    x = np.arange(-60, 60) / 4.0
    clean = LOW + (HIGH - LOW) * ndtr(x / 2.5)
    model = NoiseModel(225.0, 0.0, 0.0, LOW, HIGH, 15.0, 15.0, 1.0)
    count = np.full(x.size, 400.0)
    got = []
    for _ in range(200):
        halves = np.array([[count * clean + rng.normal(0.0, 15.0 * np.sqrt(count)), count] for _ in range(2)])
        spread = Spread(x, halves, 0.0)
        _, one, other = splines_of(spread, rough_levels(spread), model)
        got.append(plateaus(x, one, other))
    values = np.array(got)  # (200, dark or bright, value or u)
    for k, truth in enumerate((LOW, HIGH)):
        error, u = values[:, k, 0] - truth, values[:, k, 1]
        # the extreme of 40 bins of noise 0.53 would lie 1.1 off; the tail of the edge itself adds up to 0.1
        assert abs(error.mean()) < 4.0 * error.std() / math.sqrt(200) + 0.1
        assert 0.7 < error.std() / math.sqrt(float(np.mean(u**2))) < 1.3  # 5 % from 200 values, u by a model


def test_spaces_that_share_varying_lines() -> None:
    """Lines of 0.5 nm scatter: neighbouring spaces share a line, their mean scatters more than they tell."""
    error, u, hit = errors(40, "threshold", line_sd=0.5)
    for k in range(2):
        # 11 % from 40 values, and few degrees of freedom per image; spaces taken as independent give 1.5
        assert math.sqrt(float(np.mean(error[:, k] ** 2) / np.mean(u[:, k] ** 2))) < 1.4
        assert hit[:, k].sum() >= 33  # binomial(40, 0.95): 32 or fewer happen once in 2000


def test_line_plus_space_is_as_certain_as_the_pitch() -> None:
    m = measure(draw(6, line_sd=0.3)).measurements
    line, space, pitch = (m[f"sem.{name}"] for name in ("cd_line", "cd_space", "pitch"))
    assert line.correlation(space) < -0.7  # a line takes from its space what it gains
    # the sum over n stripes ends at two edges: two edge errors over n, against sqrt(2 / n) of them for one mean
    assert (line + space).u < 0.6 * line.u
    # the sum and the pitch are the same length: they differ by less than they would as independent values
    assert (line + space - pitch).u < 0.6 * math.hypot(line.u, space.u)


def test_images_share_no_noise() -> None:
    a, b = (measure(draw(seed)).measurements["sem.cd_line"] for seed in (7, 8))
    assert a.correlation(b) == 0.0  # nothing in common without a stated pixel uncertainty
    again = measure(draw(7)).measurements["sem.cd_line"]
    assert a.correlation(again) == pytest.approx(1.0, abs=1e-12)  # the same pixels: the same noise
    named = measure(draw(7), source=Source("a.tif", "ab" * 32, 1, "image")).measurements["sem.cd_line"]
    assert all(key.startswith("image/" + "ab" * 8 + "/") for key in named.contributions)
    for name, measured in measure(draw(7)).measurements.items():
        assert all(key.startswith("image/") for key in measured.contributions), name


@pytest.mark.parametrize("noise", [0.3, 15.0])
def test_the_grey_scale_does_not_matter(noise: float) -> None:
    pixels = draw(9, noise=noise)
    ours = measure(pixels).measurements
    for changed in (pixels / 255.0, pixels * 0.001, 3.0 * pixels - 500.0, pixels.astype(np.float32)):
        theirs = measure(changed).measurements
        for name, m in ours.items():
            # rounding of doubles through sums of 100 000 pixels; float32 holds whole grey levels exactly
            assert theirs[name].value == pytest.approx(m.value, abs=1e-7), name
            # nm; sampling is the root of a difference of variances that is nought here: rounding of 1e-12 under a root
            assert theirs[name].u == pytest.approx(m.u, rel=1e-5, abs=2e-6), name


def test_grey_step() -> None:
    pixels = draw(10)
    assert grey_step(pixels) == 1.0
    assert grey_step(pixels.astype(np.uint16) * 128) == 128.0
    assert grey_step(pixels / 255.0) == pytest.approx(1.0 / 255.0, rel=1e-9)  # differences of rounded doubles
    assert grey_step(np.random.default_rng(1).normal(size=(64, 64))) == 0.0


def test_causes_keep_the_covariance() -> None:
    weights = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, -1.0]])  # the third is the sum of two
    covariance = np.diag([1.0, 2.0, 3.0])
    triangle = causes(weights, covariance)
    np.testing.assert_allclose(triangle @ triangle.T, weights @ covariance @ weights.T, atol=1e-12)  # rounding
    assert triangle[2, 2] == 0.0
