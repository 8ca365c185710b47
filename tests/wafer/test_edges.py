"""Edges against closed forms, an independent twin, and the noise they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.errors import DataError, ParameterError
from tests.wafer.oracle_edges import erf_lines, erf_shift, line_cut, logistic_fit, threshold_crossing
from wafer.edges import CRITERIA, find_edges
from wafer.edges.locate import TABLE, TIE, Shape, Windows, locate
from wafer.kernels.edges import LINEAR, MODEL, SIGMOID, THRESHOLD
from wafer.noise import NoiseModel
from wafer.simulate import SemModel, simulate_lines


def straight(ny: int, places: list[float], slope: float = 0.0) -> np.ndarray:
    y = np.arange(ny) - 0.5 * (ny - 1)
    return np.array(places)[:, None] + slope * y[None, :]


def five_lines(blur: float, slope: float = 0.0, shift: float = 0.0, ny: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Five lines of 40 px at a pitch of 80 px; (image, edges sorted by place)."""
    left = straight(ny, [40.3 + 80.0 * k + shift for k in range(5)], slope)
    right = left + 40.0
    image = erf_lines((ny, 440), left, right, blur, 40.0, 200.0)
    return image, np.sort(np.concatenate([left, right]), axis=0)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_noise_free_edges_lie_at_the_true_place(criterion: str, slope: float) -> None:
    blur = 4.0
    image, truth = five_lines(blur, slope)
    found = find_edges(image, criterion=criterion)  # type: ignore[arg-type]
    assert found.x.shape == truth.shape
    assert np.isfinite(found.x).all()
    # Linear interpolation of an erf between pixels errs by at most 0.0962/(6 s^2) px (third derivative over the first,
    # times max t(1-t)(1-2t)): 1.0e-3 px at s = 4. The vertex of a parabola through three gradients errs by the same
    # order. The logistic is as symmetric as the edge, but its window begins and ends at whole pixels: 3e-3 px.
    if criterion == "linear_approximation":
        # The line through five pixels of an erf, cut with the dark level: half a step over its slope outside the edge;
        # the slope changes by 2 % with the phase of the pixels.
        gradient = sum(d * (0.5 + 0.5 * math.erf(d / (blur * math.sqrt(2.0)))) for d in range(-2, 3)) / 10.0
        truth = truth - found.polarity[:, None] * 0.5 / gradient
    limit = {"threshold": 1.1e-3, "linear_approximation": 0.1}.get(criterion, 3.1e-3)
    assert np.abs(found.x - truth).max() < limit
    # the tilt comes from averaged blocks; 2e-4 is 0.01 px over 64 rows
    assert found.slope == pytest.approx(slope, abs=2e-4)
    assert ("tilted" in found.flags) == (slope != 0.0)


def test_threshold_level_moves_the_edge_as_the_erf_says() -> None:
    from scipy.special import ndtri

    image, truth = five_lines(4.0)
    for level in (0.3, 0.7):
        found = find_edges(image, level=level)
        shift = found.polarity[:, None] * 4.0 * ndtri(level)
        # Linear interpolation where the curvature does not vanish: t(1-t)/2 * |z|/s^2... at most 0.52/(8*4) = 0.017 px.
        assert np.abs(found.x - truth - shift).max() < 0.02


@pytest.mark.parametrize("criterion", CRITERIA)
def test_grey_scale_law(criterion: str) -> None:
    """Gain and offset of the grey scale do not move an edge."""
    image = simulate_lines(SemModel(shape=(64, 256)), seed=3).pixels.astype(np.float64)
    a = find_edges(image, criterion=criterion)  # type: ignore[arg-type]
    b = find_edges(2.0 * image + 16.0, criterion=criterion)  # type: ignore[arg-type]
    # A gain of two and whole numbers are exact in binary up to the rounding of sums: far below 1e-6 px, while the
    # Gauss-Newton steps stop at 1e-4 px and then jump by their square.
    np.testing.assert_allclose(b.x, a.x, atol=1e-6, equal_nan=True)


def test_shift_law() -> None:
    """Moving the image by whole pixels moves the edges by the same number."""
    image = simulate_lines(SemModel(shape=(64, 300)), seed=4).pixels
    a, b = find_edges(image[:, 2:]), find_edges(image[:, :-2])
    common = [(i, j) for i, s in enumerate(a.seed) for j, t in enumerate(b.seed) if abs(s + 2.0 - t) < 0.5]
    assert len(common) >= 12
    for i, j in common:
        # Levels come from profiles over slightly different sets of edges: a few hundredths of a grey level.
        np.testing.assert_allclose(a.x[i] + 2.0, b.x[j], atol=0.05)


def test_mirror_law() -> None:
    """Left and right are treated alike."""
    image = simulate_lines(SemModel(shape=(64, 300)), seed=5).pixels
    a, b = find_edges(image), find_edges(np.ascontiguousarray(image[:, ::-1]))
    assert a.x.shape == b.x.shape
    # The same pixels in the same rows; bins of the edge profile fall otherwise by rounding only at their borders.
    np.testing.assert_allclose(299.0 - b.x[::-1], a.x, atol=0.02)


def one_edge_rows(seed: int, rising: bool) -> np.ndarray:
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    place = 10.0 + rng.uniform(-3.0, 3.0, 200)
    clean = 50.0 + 90.0 * ndtr((np.arange(21)[None, :] - place[:, None]) / 1.6)
    rows = clean + rng.normal(0.0, 22.0, clean.shape)
    return rows if rising else np.ascontiguousarray(rows[:, ::-1])


def one_window(sign: int) -> Windows:
    return Windows(np.full(1, 10.0), np.full(1, 10.0), np.full(1, 10.0), np.array([sign]), 0.0, 0.0)


def erf_table() -> tuple[np.ndarray, float]:
    from scipy.special import ndtr

    half = 24.0
    t = np.arange(-half * TABLE, half * TABLE + 1) / TABLE
    one = np.stack([ndtr(t / 1.6), np.exp(-0.5 * (t / 1.6) ** 2) / (1.6 * math.sqrt(2.0 * math.pi)), np.ones_like(t)])
    return np.stack([one, one]), half


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("criterion", [THRESHOLD, SIGMOID, LINEAR, MODEL])
def test_kernels_agree_with_the_slow_twins(criterion: int, rising: bool) -> None:
    rows = one_edge_rows(11, rising)
    one = np.ones(1)
    table, half = erf_table()
    shape = Shape(95.0 * one, 50.0 * one, 140.0 * one, 20.0 * one, 2.0 * one, 5, table, half, False, np.ones(2))
    noise = NoiseModel(484.0, 0.0, 0.0, 50.0, 140.0, 22.0, 22.0, 1.0)
    x, u, state = (a[0] for a in locate(rows, criterion, one_window(1 if rising else -1), shape, noise))
    found = np.flatnonzero(state == 0)
    assert found.size > 190  # contrast to noise 4: rows without a step of a quarter of the contrast are rare
    assert (u[found] > 0.0).all() and np.isnan(x[state != 0]).all()
    low, high = (50.0, 140.0) if rising else (140.0, 50.0)
    for j in found:
        crossing = threshold_crossing(rows[j], 95.0, rising)
        if criterion == THRESHOLD:
            assert x[j] == pytest.approx(crossing, abs=1e-9)  # same definition, other arithmetic
        elif criterion == LINEAR:
            assert x[j] == pytest.approx(line_cut(rows[j], 50.0, crossing, 2.0, rising), abs=1e-9)
        elif criterion == SIGMOID:
            twin = logistic_fit(rows[j], low, high, 1.0, TIE, crossing)
            # `test_edge_optima` asks for 1e-6 px; here the twin's own differences by finite steps limit
            assert x[j] == pytest.approx(twin, abs=2e-3)
        else:
            # the error function with fixed levels: the table (1/16 px) is followed linearly, 3e-4 px
            assert x[j] == pytest.approx(erf_shift(rows[j], low, high, 1.6, crossing), abs=2e-3)
    if criterion == MODEL:
        # weight 1 everywhere: the bound of an error function, (sigma / C) sqrt(2 sqrt(pi) s), to the pixel grid's 1 %
        assert np.median(u[found]) == pytest.approx(22.0 / 90.0 * math.sqrt(2.0 * math.sqrt(math.pi) * 1.6), rel=0.02)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("electrons", [1.0, 0.3])
def test_claimed_noise_is_the_noise(criterion: str, electrons: float) -> None:
    """The resampled standard deviation against the true error of the edges of an image, lost edges counted."""
    model = SemModel(shape=(512, 512), electrons_per_grey=electrons, sigma=0.6)
    image = simulate_lines(model, seed=21)
    found = find_edges(image.pixels, criterion=criterion)  # type: ignore[arg-type]
    truth = np.sort(np.concatenate([image.left, image.right]), axis=0)
    rms = []
    for i in range(found.x.shape[0]):
        j = int(np.argmin(np.abs(truth.mean(axis=1) - np.nanmean(found.x[i]))))
        error = (found.x[i] - truth[j]) * found.polarity[i]
        rms.append(np.nanvar(error))
    actual = math.sqrt(float(np.mean(rms)))
    claimed = math.sqrt(np.mean([n.sd**2 for n in found.noise_sd.values()]))
    bound = math.sqrt(np.mean([p.crb**2 for p in found.profiles.values()]))
    # 12 000 edges fix the actual value to 1 %, 8000 copies the claimed one to 1 %; heavy tails double both.
    assert claimed == pytest.approx(actual, rel=0.05)
    assert actual > 0.97 * bound  # below the bound the truth would have leaked in
    if criterion == "sigmoid":
        # contrast to noise 10 and 5; issue: within 1.3 of the bound, whose grey levels are known where ours are not
        assert actual < 1.35 * bound
        assert float(np.nanmean(found.u)) == pytest.approx(actual, rel=0.1)  # linear propagation, nearly linear here
    assert np.isnan(found.x).mean() < 0.005


def test_noise_model_is_measured() -> None:
    model = SemModel(shape=(256, 512), electrons_per_grey=0.5, read_noise=3.0)
    noise = find_edges(simulate_lines(model, seed=2).pixels).noise
    # variance = read^2 + 1/12 (rounding) + grey/electrons; 50 stripe columns x 256 rows fix a variance to 1.3 %
    for grey in (60.0, 140.0):
        assert float(noise.variance(grey)) == pytest.approx(9.0 + 1 / 12 + grey / 0.5, rel=0.08)
    assert noise.correlation == pytest.approx(0.0, abs=0.05)


def test_half_lines_at_the_borders_are_left_out_when_their_middle_is_outside() -> None:
    image, truth = five_lines(3.0, shift=-62.0)  # first line begins outside; its right edge lies at 18 px
    found = find_edges(image)
    assert found.x[0].mean() == pytest.approx(truth[1].mean(), abs=0.01)  # the right edge of the half line counts
    image, truth = five_lines(3.0, shift=-75.0)  # now that edge is 5 px from the border: no grey level for it
    found = find_edges(image)
    assert found.x[0].mean() == pytest.approx(truth[2].mean(), abs=0.01)
    assert found.dropped_at_border >= 1


def test_bridged_and_broken_rows_are_marked_not_invented() -> None:
    model = SemModel(shape=(200, 300), sigma=0.3)
    image = simulate_lines(model, seed=8).pixels.copy()
    found = find_edges(image)
    spaces = np.flatnonzero(found.polarity[:-1] < 0)
    lines = np.flatnonzero(found.polarity[:-1] > 0)
    a, b = int(found.seed[spaces[1]]) - 3, int(found.seed[spaces[1] + 1]) + 4
    image[60:80, a:b] = 140
    c, d = int(found.seed[lines[3]]) - 3, int(found.seed[lines[3] + 1]) + 4
    image[120:150, c:d] = 50
    marked = find_edges(image)
    assert {"merged_lines", "broken_lines"} <= set(marked.flags)
    assert np.isnan(marked.x[spaces[1], 64:76]).all()
    assert np.isnan(marked.x[lines[3] + 1, 124:146]).all()
    assert np.isfinite(marked.x[spaces[1], :50]).all()
    assert not {"merged_lines", "broken_lines"} & set(found.flags)


def test_rows_limit_the_area() -> None:
    image, truth = five_lines(3.0)
    found = find_edges(image, rows=(10, 40))
    assert found.rows.tolist() == list(range(10, 40))
    np.testing.assert_allclose(found.x, truth[:, 10:40], atol=3e-3)  # interpolation bound 0.016/9 px


def test_repeated_calls_give_the_same_bits() -> None:
    image = simulate_lines(SemModel(shape=(64, 256)), seed=1).pixels
    a, b = find_edges(image, criterion="sigmoid"), find_edges(image, criterion="sigmoid")
    assert a.x.tobytes() == b.x.tobytes() and a.u.tobytes() == b.u.tobytes()
    assert a.noise_sd == b.noise_sd


def bad(kind: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    good = simulate_lines(SemModel(shape=(256, 256)), seed=1).pixels
    y, x = np.mgrid[0:256, 0:256]
    if kind == "constant":
        return np.full((256, 256), 80, dtype=np.uint8)
    if kind == "noise":
        return rng.poisson(80.0, (256, 256)).clip(0, 255).astype(np.uint8)
    if kind == "shaded noise":
        return (rng.normal(80.0, 6.0, (256, 256)) + 0.2 * x).clip(0, 255).astype(np.uint8)
    if kind == "rotated by 90 degrees":
        return np.ascontiguousarray(good.T)
    if kind == "contacts":
        dots = np.exp(-0.5 * (((x % 40) - 20.0) ** 2 + ((y % 40) - 20.0) ** 2) / 60.0)
        return (60.0 + 120.0 * dots + rng.normal(0, 5, x.shape)).clip(0, 255).astype(np.uint8)
    if kind == "rotated by 45 degrees":
        return (100 + 60 * np.sign(np.sin((x + y) * 0.15)) + rng.normal(0, 5, x.shape)).clip(0, 255).astype(np.uint8)
    if kind == "one edge":
        return np.where(x < 128, 60, 160).astype(np.uint8)
    if kind == "small":
        return good[:10, :10].copy()
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("constant", "blank"),
        ("noise", "blank"),
        ("shaded noise", "blank"),
        ("rotated by 90 degrees", "run along the rows"),
        ("contacts", "both directions"),
        ("rotated by 45 degrees", "lines"),
        ("one edge", "no complete line"),
        ("small", "too small"),
    ],
)
def test_images_without_lines_are_refused_with_a_remedy(kind: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        find_edges(bad(kind))
    assert caught.value.remedy and caught.value.expected and caught.value.got


def test_nan_in_a_float_image_is_refused() -> None:
    image, _ = five_lines(3.0)
    image[3, 4] = np.nan
    with pytest.raises(DataError, match="NaN"):
        find_edges(image)


def test_saturation_is_flagged() -> None:
    image = simulate_lines(SemModel(shape=(128, 256), line_level=280.0), seed=1).pixels
    assert "saturated" in find_edges(image).flags
    assert "saturated" not in find_edges(simulate_lines(SemModel(shape=(128, 256)), seed=1).pixels).flags


def test_wrong_use_raises() -> None:
    image, _ = five_lines(3.0)
    with pytest.raises(ParameterError, match="criterion"):
        find_edges(image, criterion="canny")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="level"):
        find_edges(image, level=50.0)
    with pytest.raises(ParameterError, match="rows"):
        find_edges(image, rows=(0, 999))
    with pytest.raises(ParameterError, match="grey image"):
        find_edges(np.zeros((4, 4, 3)))
