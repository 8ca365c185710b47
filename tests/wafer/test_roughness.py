"""Roughness statistics: exact expectations by brute force, truth with coverage, laws, and the whole chain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.data import Image
from metrology_core.spreads import log_error, log_normal_spread
from wafer import SemLineSettings, measure_sem_lines
from wafer.lines.places import residuals
from wafer.roughness import HURST_BOUNDS, Pairs, autocorrelation, fit_roughness, height_height, psd_curves, traces
from wafer.roughness.curves import palasantzas
from wafer.roughness.spectrum import Expectation, score_covariance
from wafer.roughness.whittle import model_lags
from wafer.simulate import SemModel, simulate_lines
from wafer.simulate.roughness import rough_edges

N = 64


def toeplitz(lags: np.ndarray) -> np.ndarray:
    return lags[np.abs(np.arange(lags.size)[:, None] - np.arange(lags.size)[None, :])]


def projector(detrend: str, n: int = N) -> np.ndarray:
    basis = np.ones((n, 1)) if detrend == "mean" else np.column_stack([np.ones(n), np.arange(n)])
    q, _ = np.linalg.qr(basis)
    return np.eye(n) - q @ q.T


@pytest.mark.parametrize("detrend", ["mean", "linear"])
def test_expected_periodogram_is_exact(detrend: str) -> None:
    """Against the whole covariance matrix, transformed: no sum over lags, no Fejer kernel."""
    lags = 1.3 * model_lags(N, 7.0, 0.6)[0]
    lags[0] += 0.4
    p = projector(detrend)
    covariance = p @ toeplitz(lags) @ p
    transform = np.exp(-2j * np.pi * np.outer(np.arange(N), np.arange(N)) / N) / math.sqrt(N)
    given = traces(np.random.default_rng(1).normal(size=(3, N)), detrend)
    assert given is not None
    expectation = Expectation(given)
    exact = np.diag(transform @ covariance @ transform.conj().T).real[1 : N // 2 + 1]
    np.testing.assert_allclose(expectation(lags), exact, atol=1e-12)  # rounding of sums of 64 terms
    dof = N - (2 if detrend == "linear" else 1)
    assert float(expectation.box_variance(lags)) == pytest.approx(np.trace(covariance) / dof, rel=1e-12)


def test_expected_periodogram_with_lost_rows() -> None:
    """The kernel of the sampling pattern: mean periodogram of masked series, in expectation, by the matrix."""
    lags = model_lags(N, 5.0, 0.5)[0]
    mask = np.ones((2, N))
    mask[1, 10:20] = 0.0
    given = traces(np.where(mask > 0, 0.5, np.nan), "mean")
    assert given is not None and not given.complete.all()
    transform = np.exp(-2j * np.pi * np.outer(np.arange(N), np.arange(N)) / N) / math.sqrt(N)
    exact = np.mean(
        [np.diag(transform @ np.diag(g) @ toeplitz(lags) @ np.diag(g) @ transform.conj().T).real for g in mask], axis=0
    )
    np.testing.assert_allclose(Expectation(given)(lags), exact[1 : N // 2 + 1], atol=1e-12)


@pytest.mark.parametrize("detrend", ["mean", "linear"])
@pytest.mark.parametrize("n", [64, 63])
def test_score_covariance_is_exact(n: int, detrend: str) -> None:
    """Against the whole covariance matrix of the detrended series, transformed: its ordinates one by one."""
    lags = model_lags(n, 9.0, 0.7)[0]
    lags[0] += 0.2
    transform = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / math.sqrt(n)
    p = projector(detrend, n)
    spectrum = transform @ p @ toeplitz(lags) @ p @ transform.conj().T
    half = n // 2
    weights = np.random.default_rng(2).normal(size=(2, half))
    k = np.arange(1, half + 1)
    # cov(I_k, I_l) of a real normal series: |G_kl|^2 + |G_k,-l|^2; sum over the half circle, one by one
    pair = np.abs(spectrum[np.ix_(k, k)]) ** 2 + np.abs(spectrum[np.ix_(k, (-k) % n)]) ** 2
    given = traces(np.random.default_rng(1).normal(size=(2, n)), detrend)
    assert given is not None
    found = score_covariance(weights, lags, Expectation(given))
    np.testing.assert_allclose(found, weights @ pair @ weights.T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("c", [-0.6, 0.0, 0.8])
def test_pairs_of_edges_count_as_what_they_tell(c: float, shifted: bool) -> None:
    """Shares and counts against the covariance matrix of ten edges, the left ones first, with noise as strong as their
    roughness."""
    pair = np.kron(np.array([[1.0, c], [c, 1.0]]), np.eye(5))
    p = np.eye(10) - 0.1 if shifted else np.eye(10)
    rough, noise = p @ pair @ p, p @ p
    product = float(np.mean(np.diag(pair[:5, 5:])))  # freed from the shift, as `residuals_of` does
    pairs = Pairs(product, shifted)
    assert pairs.correlation(float(np.trace(rough)) / 10.0, 10) == pytest.approx(c, abs=1e-12)
    assert pairs.keeps(c, 10) == pytest.approx((np.trace(rough) / 10.0, np.trace(noise) / 10.0), abs=1e-12)
    both = rough + noise
    # the mean square of normal values of covariance C has the relative variance 2 tr C^2 / (tr C)^2
    exact = np.trace(both) ** 2 / np.trace(both @ both)
    assert float(pairs.independent(np.array([0.5 * c]), 10)[0]) == pytest.approx(exact, abs=1e-9)


def exact_bound(n: int, xi: float, hurst: float, noise: float) -> np.ndarray:
    """Cramer-Rao bounds of log sigma^2, log xi, H and log noise^2 from one detrended trace, by matrices."""
    model = model_lags(n, xi, hurst)
    white = np.zeros(n)
    white[0] = noise**2
    rest = np.linalg.svd(projector("linear", n))[0][:, : n - 2]
    inverse = np.linalg.inv(rest.T @ toeplitz(model[0] + white) @ rest)
    each = [inverse @ (rest.T @ toeplitz(d) @ rest) for d in (model[0], model[1], model[2], white)]
    information = 0.5 * np.array([[np.sum(a * b.T) for b in each] for a in each])
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(information))))


def test_short_lines_are_as_uncertain_as_stated() -> None:
    """Lines of 16 correlation lengths, where the line taken off counts (12 % of u of sigma): the scatter of 300 fits,
    and the bound that no estimator beats."""
    n, xi, hurst, noise, count = 200, 12.5, 0.6, 0.8, 40
    rng = np.random.default_rng(88)
    y = np.arange(n) - 0.5 * (n - 1)
    error, stated = [], []
    for _ in range(300):
        edges = rough_edges(count, n, sigma=1.0, correlation_length=xi, hurst=hurst, rng=rng)
        given = traces(residuals(y, edges + noise * rng.standard_normal(edges.shape), "linear"), "linear")
        assert given is not None
        fit = fit_roughness(given)
        error.append(math.log(fit.parameters[0]))
        stated.append(math.sqrt(fit.covariance[0, 0]) / fit.parameters[0])
    # a standard deviation of 300 values is known to 4 %: twice that
    assert float(np.std(error)) / float(np.median(stated)) == pytest.approx(1.0, abs=0.08)
    bound = exact_bound(n, xi, hurst, noise)[0] / 2.0 / math.sqrt(count)  # of log sigma
    # this likelihood loses 2.6 % to the exact one here; u follows the estimate, its median by 4 % at most
    assert 0.99 < float(np.median(stated)) / bound < 1.07


def test_derivatives_of_the_model() -> None:
    for xi, hurst in ((7.0, 0.6), (2.0, 0.9)):
        up, down = model_lags(50, xi * math.exp(1e-5), hurst)[0], model_lags(50, xi * math.exp(-1e-5), hurst)[0]
        np.testing.assert_allclose(model_lags(50, xi, hurst)[1], (up - down) / 2e-5, atol=1e-8)
        up, down = model_lags(50, xi, hurst + 1e-5)[0], model_lags(50, xi, hurst - 1e-5)[0]
        np.testing.assert_allclose(model_lags(50, xi, hurst)[2], (up - down) / 2e-5, atol=1e-8)


@pytest.mark.parametrize(("xi", "hurst", "noise"), [(12.5, 0.6, 0.3), (12.5, 0.6, 1.5), (7.5, 0.8, 0.8)])
def test_truth_and_coverage(xi: float, hurst: float, noise: float) -> None:
    """Small version of benchmarks/accuracy/sem_roughness.py: 40 edges of 512 rows, 40 trials."""
    rng = np.random.default_rng(4)
    truth = np.array([1.0, xi, hurst, noise])
    y = np.arange(512) - 255.5
    values, spreads = [], []
    for _ in range(40):
        edges = rough_edges(40, 512, sigma=1.0, correlation_length=xi, hurst=hurst, rng=rng)
        given = traces(residuals(y, edges + noise * rng.standard_normal(edges.shape), "linear"), "linear")
        assert given is not None
        fit = fit_roughness(given)
        assert fit.status == "converged"
        values.append(fit.parameters)
        spreads.append(np.sqrt(np.diag(fit.covariance)))
    value, u = np.array(values), np.array(spreads)
    error = value.mean(axis=0) / truth - 1.0
    # 4 standard errors of 40 trials, plus the bias of a maximum-likelihood estimate (1 % of sigma, 3 % of xi and H)
    assert np.all(np.abs(error) < 4.0 * value.std(axis=0) / truth / math.sqrt(40) + np.array([0.01, 0.03, 0.03, 0.01]))
    # binomial(160, 0.95): 142 or fewer happen once in 1500 by chance; the four parameters of a trial are correlated
    assert np.count_nonzero(np.abs(value - truth) < 1.96 * u) >= 142
    ratio = value.std(axis=0) / np.sqrt((u**2).mean(axis=0))
    assert np.all((ratio > 0.6) & (ratio < 1.5))  # a standard deviation of 40 values: 11 %, within four of them


def test_shape_against_differences() -> None:
    """Bend and degrees of freedom of sigma and xi by another way: derivatives of log E, and of the uncertainty that
    the inverse Hessian gives, by differences; along the row of one parameter in the inverse Hessian."""
    rng = np.random.default_rng(11)
    edges = rough_edges(6, 256, sigma=1.0, correlation_length=8.0, hurst=0.6, rng=rng) + 0.5 * rng.standard_normal(
        (6, 256)
    )
    given = traces(residuals(np.arange(256) - 127.5, edges, "linear"), "linear")
    assert given is not None
    fit = fit_roughness(given)
    sigma, xi, hurst, noise = fit.parameters
    share = (hurst - HURST_BOUNDS[0]) / (HURST_BOUNDS[1] - HURST_BOUNDS[0])
    at = np.array([2.0 * math.log(sigma), math.log(xi), math.log(share / (1.0 - share)), 2.0 * math.log(noise)])
    expectation = Expectation(given)
    weight = np.ones(128)
    weight[-1] = 0.5

    def log_e(theta: np.ndarray) -> np.ndarray:
        h = HURST_BOUNDS[0] + (HURST_BOUNDS[1] - HURST_BOUNDS[0]) / (1.0 + math.exp(-theta[2]))
        lags = math.exp(theta[0]) * model_lags(256, math.exp(theta[1]), h)[0]
        lags[0] += math.exp(theta[3])
        return np.log(expectation(lags))

    def inverse(theta: np.ndarray) -> np.ndarray:
        d = np.array([(log_e(theta + step) - log_e(theta - step)) / 2e-4 for step in 1e-4 * np.eye(4)])
        return np.asarray(np.linalg.inv((d * weight) @ d.T))

    k = inverse(at)
    for i in (0, 1):
        v = k[i] / math.sqrt(k[i, i])  # one u of a single trace
        up, middle, down = log_e(at + 1e-3 * v), log_e(at), log_e(at - 1e-3 * v)
        first, second = (up - down) / 2e-3, (up - 2.0 * middle + down) / 1e-6
        j, s = np.sum(weight * second * first), np.sum(weight * first**3)
        assert fit.shape.bend[i] == pytest.approx((s / 3.0 - j) / math.sqrt(6.0), rel=1e-3)
        slope = np.array(
            [math.log(inverse(at + step)[i, i] / inverse(at - step)[i, i]) / 4e-3 for step in 1e-3 * np.eye(4)]
        )
        wander = (slope @ k @ slope - (slope @ v) ** 2) / 6.0
        assert fit.shape.dof[i] == pytest.approx(0.5 / wander, rel=1e-2)


def test_strong_noise_converges_and_leaves_no_bias() -> None:
    """Eleven short lines in noise of 1.7 times their roughness: H often ends at its bound, and steps overshoot. A fit
    that does not converge is no value: those were the small ones, 8 % of all, and the mean of the rest too large."""
    rng = np.random.default_rng(626)
    y = np.arange(224) - 111.5
    fits = []
    for _ in range(200):
        edges = rough_edges(11, 224, sigma=1.0, correlation_length=6.25, hurst=0.6, rng=rng)
        given = traces(residuals(y, edges + 1.73 * rng.standard_normal(edges.shape), "linear"), "linear")
        assert given is not None
        fits.append(fit_roughness(given))
    states = [fit.status for fit in fits]
    assert "not_converged" not in states
    assert states.count("not_resolved") < 8  # 1 % are, the rough part of them like noise: 4 standard deviations
    assert any(fit.parameters[2] > 0.99 for fit in fits)
    sigma = np.array([fit.parameters[0] for fit in fits if fit.status == "converged"])
    # three standard errors of 0.09/sqrt(200), and the bias of a maximum-likelihood estimate, of the order of 0.09^2
    assert abs(float(sigma.mean()) - 1.0) < 0.019 + 0.008


def test_intervals_of_few_short_lines_miss_on_both_sides_alike() -> None:
    """Five lines of 25 correlation lengths, 600 trials: 95 % intervals of sigma and xi, and what lies beyond each end.
    Lognormal intervals have 4 % and 6 % of the truths above and 1 % and 0.4 % below."""
    rng = np.random.default_rng(313)
    y = np.arange(320) - 159.5
    above, below = np.zeros(2), np.zeros(2)
    for _ in range(600):
        edges = rough_edges(5, 320, sigma=1.0, correlation_length=12.5, hurst=0.6, rng=rng)
        given = traces(residuals(y, edges + 0.6 * rng.standard_normal(edges.shape), "linear"), "linear")
        assert given is not None
        fit = fit_roughness(given)
        for i, truth in enumerate((1.0, 12.5)):
            u = math.sqrt(fit.covariance[i, i])
            spread = log_normal_spread(
                float(fit.parameters[i]), u, log_error(float(fit.shape.bend[i]), float(fit.shape.dof[i]))
            )
            low, high = np.quantile(spread, [0.025, 0.975])
            above[i] += truth > high
            below[i] += truth < low
    # 2.5 % of 600 trials are 15 with a standard deviation of 3.8: three of them, and what the next order leaves
    assert np.all((above + below) / 600.0 < 0.05 + 3.0 * 0.0089)
    assert np.all(np.abs(above - below) / 600.0 < 3.0 * 0.0091 + 0.01)


def test_conservation_of_finite_length() -> None:
    """Sigma in the box, squared, plus the variance of the means, is sigma of the infinite line, squared."""
    for n in (64, 512):
        lags = model_lags(n, 12.0, 0.5)[0]
        given = traces(np.random.default_rng(0).normal(size=(2, n)), "mean")
        assert given is not None
        box = float(Expectation(given).box_variance(lags)) * (n - 1) / n
        means = float(np.sum(toeplitz(lags))) / n**2
        assert box + means == pytest.approx(1.0, abs=1e-12)
        # closed form for H = 1/2 (continuous line); the sum over rows differs by the square of row over xi, 1/12/144
        v = 2.0 * 12.0 / n * (1.0 - 12.0 / n * (1.0 - math.exp(-n / 12.0)))
        assert means == pytest.approx(v, rel=2e-3)


def test_correlated_noise_of_a_filtered_image() -> None:
    rng = np.random.default_rng(8)
    edges = rough_edges(60, 512, sigma=1.0, correlation_length=12.0, hurst=0.6, rng=rng)
    white = rng.standard_normal((60, 514))
    noise = (white[:, :-2] + white[:, 1:-1] + white[:, 2:]) / math.sqrt(3.0)  # a mean over three rows
    given = traces(residuals(np.arange(512) - 255.5, edges + noise, "linear"), "linear")
    assert given is not None
    told = fit_roughness(given, noise_lags=np.array([2.0 / 3.0, 1.0 / 3.0]))
    plain = fit_roughness(given)
    # told of the correlation: within 4 u; white noise assumed: roughness takes what is noise
    assert abs(told.parameters[0] - 1.0) < 4.0 * math.sqrt(told.covariance[0, 0])
    assert plain.parameters[0] > 1.15


def test_curves() -> None:
    rng = np.random.default_rng(3)
    edges = rough_edges(200, 512, sigma=1.0, correlation_length=10.0, hurst=0.5, rng=rng)
    given = traces(residuals(np.arange(512) - 255.5, edges, "mean"), "mean")
    assert given is not None
    acf, hhcf = autocorrelation(given), height_height(given)
    y = given.values
    assert acf[3] == pytest.approx(float(np.mean(y[:, 3:] * y[:, :-3])), rel=1e-10)
    assert hhcf[5] == pytest.approx(float(np.mean((y[:, 5:] - y[:, :-5]) ** 2)), rel=1e-10)
    # 200 lines of 50 correlation lengths: lag 10 holds 1/e, less 4 % that the means took; 3 % of scatter
    assert acf[10] == pytest.approx(math.exp(-1.0) - 0.04, abs=0.04)
    fit = fit_roughness(given)
    curves = psd_curves(given, fit, 0.8, 0.5)
    inside = (curves["measured"] > curves["range_low"]) & (curves["measured"] < curves["range_high"])
    assert inside.mean() > 0.85  # 95 % expected of some 60 bins: 0.85 is 3.5 standard deviations below
    assert np.all(np.diff(curves["frequency"]) > 0.0)
    # two-sided: the integral over both halves is the variance in unit^2 (pixel 0.5), to the 2 % below the first bin
    full = 2.0 * np.sum(given.periodogram) * 0.25 * 0.8 / (512 * 0.8)
    assert full == pytest.approx(0.25 * float(np.mean(y * y)), rel=0.01)


def test_palasantzas_integrates_to_the_variance() -> None:
    f = np.linspace(0.0, 2000.0, 4_000_001)
    total = 2.0 * np.trapezoid(palasantzas(f, 1.5, 10.0, 0.6), f)
    assert total == pytest.approx(2.25, rel=1e-3)  # what lies above 2000: (2 pi f xi)^(-2 H) of it, 1e-6


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_image_to_unbiased_roughness(correlation: float) -> None:
    model = SemModel(shape=(768, 768), sigma=0.8, correlation_length=10.0, electrons_per_grey=0.4,
                     left_right_correlation=correlation, jitter=0.5)  # fmt: skip
    drawn = simulate_lines(model, seed=5)
    result = measure_sem_lines(Image(drawn.pixels, "nm", (0.8, 0.8)), SemLineSettings(criterion="model"))
    m = result.measurements
    truth = {
        "lwr_unbiased_1s": 0.8 * math.sqrt(2.0 * (1.0 - correlation)), "ler_unbiased_1s": 0.8,
        "left_right_correlation": correlation, "lwr_correlation_length": 10.0, "ler_hurst": 0.6,
    }  # fmt: skip
    for name, value in truth.items():
        got = m[f"sem.{name}"]
        assert abs(got.value - value) < 4.0 * got.u, name  # once in 3000 images for each
    assert m["sem.lwr_biased_1s"].value > 1.03 * truth["lwr_unbiased_1s"]
    # two ways to the noise of a row: the spectrum, and resampling with the noise of the image; 10 % of model error
    image_noise = math.hypot(result.details["edge_noise_rising"], result.details["edge_noise_falling"])
    assert m["sem.lwr_noise_1s"].value == pytest.approx(image_noise, rel=0.1)
    one, three = m["sem.lwr_unbiased_1s"], m["sem.lwr_unbiased_3s"]
    assert one.correlation(three) == pytest.approx(1.0, abs=1e-12)
    assert m["sem.lwr_unbiased_box_1s"].value < one.value
    assert {v["name"] for v in result.spectra} == {"lwr", "ler"}
    for view in result.spectra:
        for name in view["curves"].values():
            assert np.isfinite(result.arrays[name]).all()
    assert "debiased-Whittle" in result.methods["sem.lwr_unbiased_3s"]


def test_too_few_rows_say_so() -> None:
    drawn = simulate_lines(SemModel(shape=(48, 256)), seed=1)
    result = measure_sem_lines(Image(drawn.pixels, "nm", (0.8, 0.8)))
    assert "64 rows" in result.missing["sem.lwr_unbiased_3s"]


def test_local_cdu_without_the_noise() -> None:
    # straight lines: what their widths scatter is noise alone
    quiet = SemModel(shape=(256, 1024), sigma=1e-6, electrons_per_grey=0.2)
    m = measure_sem_lines(Image(simulate_lines(quiet, seed=2).pixels, "nm", (0.8, 0.8))).measurements
    low, high = m["sem.local_cdu_1s"].coverage_interval(0.95)
    # the noise of a mean of 256 rows is 0.05 nm: nothing near the 0.8 nm that the lines of other images scatter
    assert low < 0.05 and high < 0.15
