"""Sigma, correlation length, Hurst exponent and noise floor of rough edges by debiased-Whittle likelihood.

The expected periodogram of the model (`wafer.roughness.spectrum.Expectation`) is fitted to the mean periodogram of the
traces: ``minimise sum_k log E_k + I_k / E_k`` (Whittle 1953; debiased by Sykulski, Olhede, Guillaumin, Lilly and Early,
Biometrika 106 (2019) 251-266). Nothing is subtracted from the spectrum: the noise is a parameter with its own place in
the autocorrelation, ``R(m) = sigma^2 exp(-(m D / xi)^(2H)) + sigma_n^2 rho_n(m)`` (Azarnouche, thesis, LTM-CNRS 2012).
The covariance is the sandwich of the expected Hessian and the exact covariance of the score, which knows that leakage
correlates the ordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.roughness.spectrum import Expectation, Traces, score_covariance

_H_MIN, _H_SPAN = 0.02, 0.98
PARAMETERS = ("sigma", "correlation_length", "hurst", "noise")


@dataclass(frozen=True, eq=False)
class Roughness:
    """Result of `fit_roughness`; lengths across the line in pixels of x, along it in rows.

    ``parameters``: sigma (of an infinitely long line), correlation length, Hurst exponent, sd of the noise of one row;
    ``covariance`` (4, 4) is theirs. ``box``: expected standard deviation within the measured length after detrending,
    noise apart, and its gradient to the parameters. ``expected`` and ``clean`` (N // 2) are the fitted periodogram with
    and without noise. ``status`` is ``converged``, ``not_converged`` or ``not_resolved`` (the data do not separate
    roughness from noise). ``misfit`` is the mean of ``M (I/E - 1)^2`` over the ordinates: 1 for a model that holds.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    box: float
    box_gradient: np.ndarray
    expected: np.ndarray
    expected_u: np.ndarray
    clean: np.ndarray
    traces: int
    rows: int
    status: str
    misfit: float
    iterations: int


def model_lags(n: int, xi: float, hurst: float) -> np.ndarray:
    """``exp(-(m / xi)^(2H))`` and its derivatives to log xi and H at the lags 0 ... n-1; (3, n)."""
    out = np.zeros((3, n))
    out[0, 0] = 1.0
    log = np.log(np.arange(1, n) / xi)
    power = np.exp(np.minimum(2.0 * hurst * log, 600.0))
    rho = np.exp(-power)
    out[0, 1:] = rho
    slope = power * rho
    out[1, 1:] = 2.0 * hurst * slope
    out[2, 1:] = -2.0 * log * slope
    return out


def fit_roughness(
    given: Traces, *, noise_lags: np.ndarray | None = None, pair_correlation: float = 0.0, count: float | None = None,
    start: tuple[float, float] | None = None,
) -> Roughness:  # fmt: skip
    """Fit (sigma, xi, H, noise) to the mean periodogram of ``given``.

    ``noise_lags`` (from lag 1): autocorrelation of the noise along the line, for filtered images. ``pair_correlation``:
    between the left and right edges among the traces; it makes fewer independent traces of them. ``count`` replaces the
    number of traces where they are not independent. Fisher scoring with step control from two starts, the first of
    them at ``start`` (correlation length in rows, Hurst exponent) where given.
    """
    fit = _Fit(given, noise_lags)
    best: tuple[float, np.ndarray, bool, int] | None = None
    for hurst in (0.5, 0.8) if start is None else (None, 0.5, 0.8):
        found = fit.solve(fit.start(0.5 if hurst is None else hurst, start if hurst is None else None))
        # The second start is for the surfaces with two valleys; a converged first one that fits settles it.
        if best is None or found[0] < best[0]:
            best = found
        if best[2] and fit.misfit(best[1], given.count) < 1.5:
            break
    assert best is not None
    _, theta, converged, iterations = best
    e, de = fit.expected(theta)
    independent = (given.count if count is None else count) / (1.0 + pair_correlation**2)
    weight = fit.weight
    hessian = (de * (weight / e**2)) @ de.T
    lags = fit.lags(theta)
    scores = score_covariance(de * weight / e**2, lags, e)
    scale = np.sqrt(np.diag(hessian))
    usable = bool(np.all(scale > 0.0)) and float(np.linalg.cond(hessian / np.outer(scale, scale))) < 1e10
    if usable:
        inverse = np.linalg.inv(hessian)
        covariance = inverse @ scores @ inverse / independent
    else:
        covariance = np.full((4, 4), math.nan)
    # to the natural parameters
    sigma, xi, hurst, noise = fit.natural(theta)
    jacobian = np.diag([0.5 * sigma, xi, _H_SPAN * (hurst - _H_MIN) / _H_SPAN * (1.0 - (hurst - _H_MIN) / _H_SPAN),
                        0.5 * noise])  # fmt: skip
    natural = jacobian @ covariance @ jacobian
    rough = model_lags(fit.n, xi, hurst)
    variance = sigma**2 * fit.expectation.box_variance(rough)
    box = math.sqrt(max(float(variance[0]), 0.0))
    gradient = np.array([box / sigma, 0.5 * variance[1] / (box * xi), 0.5 * variance[2] / box, 0.0])
    spread = np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", de, np.nan_to_num(covariance), de), 0.0))
    status = "converged" if converged else "not_converged"
    if converged and (not usable or not natural[0, 0] < (0.5 * sigma) ** 2 or not natural[0, 0] > 0.0):
        status = "not_resolved"
    return Roughness(
        np.array([sigma, xi, hurst, noise]), natural, box, gradient, e, spread,
        sigma**2 * fit.expectation(rough[0]), given.count, given.rows, status,
        fit.misfit(theta, given.count), iterations,
    )  # fmt: skip


class _Fit:
    def __init__(self, given: Traces, noise_lags: np.ndarray | None) -> None:
        self.n = given.rows
        self._last: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None
        self.expectation = Expectation(given)
        self.data = given.periodogram
        self.total = float(np.mean(self.data))
        noise = np.zeros(self.n)
        noise[0] = 1.0
        if noise_lags is not None:
            k = min(noise_lags.size, self.n - 1)
            noise[1 : k + 1] = noise_lags[:k]
        self.noise_lags = noise
        self.noise = np.maximum(self.expectation(noise), 1e-9)
        self.weight = np.ones(self.data.size)
        if self.n % 2 == 0:
            self.weight[-1] = 0.5  # one degree of freedom at the Nyquist frequency, two elsewhere
        self.floor = 1e-8 * self.total

    def natural(self, theta: np.ndarray) -> tuple[float, float, float, float]:
        h = _H_MIN + _H_SPAN / (1.0 + math.exp(-theta[2]))
        return math.exp(0.5 * theta[0]), math.exp(theta[1]), h, math.exp(0.5 * theta[3])

    def start(self, hurst: float, given: tuple[float, float] | None = None) -> np.ndarray:
        """From the level of the highest frequencies and the width of what rises above it; ``given``: xi and H."""
        tail = self.data[-max(4, self.data.size // 8) :] / self.noise[-max(4, self.data.size // 8) :]
        noise = 0.8 * float(np.mean(tail))
        rough = max(float(np.mean(self.data)) - noise, 0.05 * self.total)
        low = float(np.mean(self.data[: max(3, self.data.size // 64)]))
        # at low frequency the spectrum of an exponential autocorrelation is 2 sigma^2 xi
        xi = min(max(0.5 * low / rough, 0.7), self.n / 8.0)
        if given is not None:
            xi, hurst = given[0], min(max(given[1], 0.05), 0.98)
        logit = math.log((hurst - _H_MIN) / (_H_MIN + _H_SPAN - hurst))
        return np.array([math.log(rough), math.log(xi), logit, math.log(max(noise, self.floor))])

    def lags(self, theta: np.ndarray) -> np.ndarray:
        sigma, xi, hurst, noise = self.natural(theta)
        return np.asarray(sigma**2 * model_lags(self.n, xi, hurst)[0] + noise**2 * self.noise_lags)

    def expected(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected periodogram and its derivatives to theta."""
        if self._last is not None and np.array_equal(self._last[0], theta):
            return self._last[1]
        sigma, xi, hurst, noise = self.natural(theta)
        parts = sigma**2 * self.expectation(model_lags(self.n, xi, hurst))
        floor = noise**2 * self.noise
        share = (hurst - _H_MIN) / _H_SPAN
        e = np.maximum(parts[0] + floor, self.floor)
        found = e, np.stack([parts[0], parts[1], parts[2] * _H_SPAN * share * (1.0 - share), floor])
        self._last = theta.copy(), found
        return found

    def objective(self, e: np.ndarray) -> float:
        return float(self.weight @ (np.log(e) + self.data / e))

    def misfit(self, theta: np.ndarray, count: int) -> float:
        e, _ = self.expected(theta)
        return float(count * np.mean((self.data / e - 1.0) ** 2))

    def solve(self, theta: np.ndarray) -> tuple[float, np.ndarray, bool, int]:
        low = np.array([-math.inf, math.log(0.2), -6.0, math.log(self.floor)])
        high = np.array([math.inf, math.log(4.0 * self.n), 8.0, math.inf])
        theta = np.clip(theta, low, high)
        e, de = self.expected(theta)
        value = self.objective(e)
        damp = 1e-3
        for iteration in range(1, 61):
            gradient = de @ (self.weight * (self.data - e) / e**2)
            hessian = (de * (self.weight / e**2)) @ de.T
            while True:
                step = np.linalg.solve(hessian + np.diag(damp * np.diag(hessian) + 1e-9), gradient)
                step *= min(1.0, 1.5 / float(np.max(np.abs(step))))
                trial = np.clip(theta + step, low, high)
                e_new, de_new = self.expected(trial)
                new = self.objective(e_new)
                if new <= value + 1e-12 * abs(value):
                    break
                damp = max(4.0 * damp, 1e-3)
                if damp > 1e8:
                    return value, theta, True, iteration  # no descent left: at the minimum to rounding
            moved = float(np.max(np.abs(trial - theta)))
            gain = value - new
            theta, e, de, value = trial, e_new, de_new, new
            damp *= 0.2
            if moved < 1e-6 or (gain < 1e-11 * abs(value) and moved < 1e-3):
                return value, theta, True, iteration
        return value, theta, False, 60
