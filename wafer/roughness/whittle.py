"""Sigma, correlation length, Hurst exponent and noise floor of rough edges by debiased-Whittle likelihood.

The expected periodogram of the model (`wafer.roughness.spectrum.Expectation`) is fitted to the mean periodogram of the
traces: ``minimise sum_k log E_k + I_k / E_k`` (Whittle 1953; debiased by Sykulski, Olhede, Guillaumin, Lilly and Early,
Biometrika 106 (2019) 251-266). Nothing is subtracted from the spectrum: the noise is a parameter with its own place in
the autocorrelation, ``R(m) = sigma^2 exp(-(m D / xi)^(2H)) + sigma_n^2 rho_n(m)`` (Azarnouche, thesis, LTM-CNRS 2012).
The covariance is the sandwich of the expected Hessian and the exact covariance of the score, which knows that leakage
and the line taken off correlate the ordinates, and that the two edges of a line are correlated. Its own uncertainty
and the skewness of the estimates give the distributions their shape (`Shape`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.roughness.spectrum import Expectation, Traces, score_covariance

_H_MIN, _H_SPAN = 0.02, 0.98
HURST_BOUNDS = (_H_MIN, _H_MIN + _H_SPAN)
_MOST_CORRELATED = 0.99  # of a pair of edges: what is left of its difference stays positive
PARAMETERS = ("sigma", "correlation_length", "hurst", "noise")


@dataclass(frozen=True)
class Pairs:
    """How traces that are the two edges of lines depend on each other.

    ``product``: mean product of the residuals of both edges of a line in squared pixels, in which no noise is;
    ``common_shift``: whether the mean over all edges was taken off each row. With n edges of independent noise, and c
    the correlation of the roughness of a pair, that mean holds 1/n of the variance of the noise and (1 + c)/n of that
    of the roughness (`keeps`).
    """

    product: float
    common_shift: bool

    def correlation(self, variance: float, edges: int) -> float:
        """c, from the variance of the roughness of the traces as they are."""
        share = 1.0 / edges if self.common_shift else 0.0
        c = self.product * (1.0 - share) / max(variance + share * self.product, 1e-300)
        return float(np.clip(c, -_MOST_CORRELATED, _MOST_CORRELATED))

    def keeps(self, correlation: float, edges: int) -> tuple[float, float]:
        """Shares of the variances of roughness and noise that are left."""
        return (1.0 - (1.0 + correlation) / edges, 1.0 - 1.0 / edges) if self.common_shift else (1.0, 1.0)

    def independent(self, correlation: np.ndarray, edges: int) -> np.ndarray:
        """Independent traces that tell as much about their variance as ``edges`` of this ``correlation`` (pairs, noise
        included): ``(tr C)^2 / tr C^2`` of their covariance matrix, which has the eigenvalues 1 + c and 1 - c, once for
        each pair; the common shift is one of the former."""
        lines = 0.5 * edges
        even, odd = 1.0 + correlation, 1.0 - correlation
        left = lines - 1.0 if self.common_shift else lines
        return np.asarray((even * left + odd * lines) ** 2 / (even**2 * left + odd**2 * lines))


@dataclass(frozen=True, eq=False)
class Shape:
    """How the error of an estimate over its stated standard uncertainty is distributed, for log sigma^2, log xi, logit
    of H and log noise^2; (4,) each, to the first order of the inverse root of the number of values.

    With T = (estimate - truth) / u as stated, ``T + bend T^2 / 2`` has no skewness, and is taken as Student's t with
    ``dof``. ``bend`` is a third of minus the skewness of T: that of the maximum of a likelihood (P. McCullagh, "Tensor
    Methods in Statistics", 1987, ch. 7; ordinates of M traces are gamma distributed), and that which comes from u being
    larger wherever the estimate is. For one variance it is u/3, the cube root of Wilson and Hilferty. ``dof`` is
    ``1 / (2 var(log u))`` without the part of log u that follows the estimate itself.
    """

    bend: np.ndarray
    dof: np.ndarray

    def beside(self, share: np.ndarray) -> Shape:
        """That of estimates of whose standard uncertainty only ``share`` (4,) is this one, the rest normal and known:
        third cumulants stay what they are, and so do the variances of the variances (Welch and Satterthwaite)."""
        return Shape(self.bend * share**3, self.dof / share**4)


@dataclass(frozen=True, eq=False)
class Roughness:
    """Result of `fit_roughness`; lengths across the line in pixels of x, along it in rows.

    ``parameters``: sigma (of an infinitely long line), correlation length, Hurst exponent, sd of the noise of one row;
    ``covariance`` (4, 4) is theirs, ``shape`` that of their distribution. ``box``: expected standard deviation within
    the measured length after detrending, noise apart, and its gradient to the parameters. ``expected`` and ``clean``
    (N // 2) are the fitted periodogram of the traces as they are, with and without noise; at each ordinate
    ``independent`` (N // 2) of them are. ``status`` is ``converged``, ``not_converged`` or ``not_resolved`` (the data
    do not separate roughness from noise). ``misfit`` is the mean of ``M (I/E - 1)^2`` over the ordinates, M independent
    traces: 1 for a model that holds.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    shape: Shape
    box: float
    box_gradient: np.ndarray
    expected: np.ndarray
    expected_u: np.ndarray
    clean: np.ndarray
    independent: np.ndarray
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


def model_curvature(n: int, xi: float, hurst: float) -> np.ndarray:
    """Second derivatives of `model_lags`: log xi twice, log xi and H, H twice; (3, n)."""
    out = np.zeros((3, n))
    log = np.log(np.arange(1, n) / xi)
    power = np.exp(np.minimum(2.0 * hurst * log, 600.0))
    slope = power * np.exp(-power)
    bent = slope * (1.0 - power)
    out[0, 1:] = -4.0 * hurst**2 * bent
    out[1, 1:] = 2.0 * slope + 4.0 * hurst * log * bent
    out[2, 1:] = -4.0 * log * log * bent
    return out


def fit_roughness(
    given: Traces, *, noise_lags: np.ndarray | None = None, pairs: Pairs | None = None,
    start: tuple[float, float, float] | None = None,
) -> Roughness:  # fmt: skip
    """Fit (sigma, xi, H, noise) to the mean periodogram of ``given``.

    ``noise_lags`` (from lag 1): autocorrelation of the noise along the line, for filtered images. ``pairs``: where the
    traces are edges, two for each line, and not independent; sigma, box and noise are those of the edges before their
    common shift was taken off. Fisher scoring with step control from two starts, the first of them at ``start``
    (correlation length in rows, Hurst exponent, noise of a row) where given.
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
    sigma, xi, hurst, noise = fit.natural(theta)
    rough, clean = fit.rough(theta)
    variance = fit.expectation.box_variance(rough)
    independent = np.full(e.size, float(given.count))
    kept = (1.0, 1.0)
    if pairs is not None:
        c = pairs.correlation(float(variance[0]), given.count)
        independent = pairs.independent(c * clean / e, given.count)
        kept = pairs.keeps(c, given.count)
    score = de * (fit.weight / e**2)
    hessian = score @ de.T
    scale = np.sqrt(np.diag(hessian))
    usable = bool(np.all(scale > 0.0)) and float(np.linalg.cond(hessian / np.outer(scale, scale))) < 1e10
    if usable:
        inverse = np.linalg.inv(hessian)
        spread = score_covariance(score / np.sqrt(independent), fit.lags(theta), fit.expectation)
        covariance = inverse @ spread @ inverse
        shape = fit.shape(theta, inverse, float(np.mean(independent)))
    else:
        covariance = np.full((4, 4), math.nan)
        shape = Shape(np.zeros(4), np.full(4, math.inf))
    expected_u = np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", de, np.nan_to_num(covariance), de), 0.0))
    # to the natural parameters, of edges that keep their common shift
    share = (hurst - _H_MIN) / _H_SPAN
    sigma, noise = sigma / math.sqrt(kept[0]), noise / math.sqrt(kept[1])
    jacobian = np.array([0.5 * sigma, xi, _H_SPAN * share * (1.0 - share), 0.5 * noise])
    natural = covariance * np.outer(jacobian, jacobian)
    variance = variance / kept[0]
    box = math.sqrt(max(float(variance[0]), 0.0))
    gradient = np.array([box / sigma, 0.5 * variance[1] / (box * xi), 0.5 * variance[2] / box, 0.0])
    status = "converged" if converged else "not_converged"
    if converged and (not usable or not natural[0, 0] < (0.5 * sigma) ** 2 or not natural[0, 0] > 0.0):
        status = "not_resolved"
    return Roughness(
        np.array([sigma, xi, hurst, noise]), natural, shape, box, gradient, e, expected_u, clean, independent,
        given.count, given.rows, status, fit.misfit(theta, independent), iterations,
    )  # fmt: skip


class _Fit:
    def __init__(self, given: Traces, noise_lags: np.ndarray | None) -> None:
        self.n = given.rows
        self._last: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]] | None = None
        self._rough: tuple[np.ndarray, np.ndarray] | None = None
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

    def start(self, hurst: float, given: tuple[float, float, float] | None = None) -> np.ndarray:
        """From the level of the highest frequencies and the width of what rises above it; ``given``: xi, H, noise."""
        tail = self.data[-max(4, self.data.size // 8) :] / self.noise[-max(4, self.data.size // 8) :]
        noise = 0.8 * float(np.mean(tail)) if given is None else given[2] ** 2
        rough = max(float(np.mean(self.data)) - noise, 0.05 * self.total)
        low = float(np.mean(self.data[: max(3, self.data.size // 64)]))
        # at low frequency the spectrum of an exponential autocorrelation is 2 sigma^2 xi
        xi = min(max(0.5 * low / rough, 0.7), self.n / 8.0)
        if given is not None:
            xi, hurst = given[0], min(max(given[1], 0.05), 0.98)
        logit = math.log((hurst - _H_MIN) / (_H_MIN + _H_SPAN - hurst))
        return np.array([math.log(rough), math.log(xi), logit, math.log(max(noise, self.floor))])

    def rough(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Autocovariance of the roughness with its derivatives to log xi and H, (3, N), and its periodogram."""
        self.expected(theta)
        assert self._rough is not None
        variance = math.exp(theta[0])
        return variance * self._rough[0], variance * self._rough[1]

    def lags(self, theta: np.ndarray) -> np.ndarray:
        """Autocovariance with noise."""
        return np.asarray(self.rough(theta)[0][0] + math.exp(theta[3]) * self.noise_lags)

    def expected(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected periodogram and its derivatives to theta."""
        if self._last is not None and np.array_equal(self._last[0], theta):
            return self._last[1]
        sigma, xi, hurst, noise = self.natural(theta)
        model = model_lags(self.n, xi, hurst)
        unit = self.expectation(model)
        parts = sigma**2 * unit
        floor = noise**2 * self.noise
        share = (hurst - _H_MIN) / _H_SPAN
        e = np.maximum(parts[0] + floor, self.floor)
        found = e, np.stack([parts[0], parts[1], parts[2] * _H_SPAN * share * (1.0 - share), floor])
        self._last, self._rough = (theta.copy(), found), (model, unit[0])
        return found

    def shape(self, theta: np.ndarray, inverse: np.ndarray, count: float) -> Shape:
        """`Shape` of the estimates ``theta``; ``inverse``: of the expected Hessian of one trace.

        Along ``v``, the row of the inverse of one parameter, that parameter and its nuisances move together. With D and
        D2 the derivatives of log E: ``s`` is the sum over the ordinates of (D v)^3, ``j`` that of (v'D2 v)(D v), over
        u^3. The skewness of an estimate is -(3 j + s), log u has the slope -j / u, so the skewness of T is 3 j - s.
        """
        sigma, xi, hurst, _ = self.natural(theta)
        e, de = self.expected(theta)
        share = (hurst - _H_MIN) / _H_SPAN
        first = _H_SPAN * share * (1.0 - share)
        bent = sigma**2 * self.expectation(model_curvature(self.n, xi, hurst))
        zero = np.zeros_like(e)
        both = np.array(
            [
                [de[0], de[1], de[2], zero],
                [de[1], bent[0], bent[1] * first, zero],
                [de[2], bent[1] * first, bent[2] * first**2 + de[2] * (1.0 - 2.0 * share), zero],
                [zero, zero, zero, de[3]],
            ]
        )
        d = de / e
        square = d[:, None, :] * d[None, :, :]
        weighed = (d * self.weight).T
        second = ((both / e - square).reshape(16, -1) @ weighed).reshape(4, 4, 4)
        third = (square.reshape(16, -1) @ weighed).reshape(4, 4, 4)
        slope = -np.einsum("ia,ic,abc->ib", inverse, inverse, second)  # of half the variance to all parameters
        own = np.diag(inverse)
        u3 = own**1.5 * math.sqrt(count)
        j = -np.einsum("ib,ib->i", slope, inverse) / u3
        s = np.einsum("ia,ib,ic,abc->i", inverse, inverse, inverse, third) / u3
        wander = np.einsum("ia,ab,ib->i", slope, inverse, slope) / own**2 / count
        return Shape(s / 3.0 - j, 0.5 / np.maximum(wander - j**2, 1e-12))

    def objective(self, e: np.ndarray) -> float:
        return float(self.weight @ (np.log(e) + self.data / e))

    def misfit(self, theta: np.ndarray, count: float | np.ndarray) -> float:
        e, _ = self.expected(theta)
        return float(np.mean(count * (self.data / e - 1.0) ** 2))

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
            # A parameter at a bound with the maximum beyond it (H of 1) stays: its step would shorten the others'.
            held = ((theta <= low) & (gradient < 0.0)) | ((theta >= high) & (gradient > 0.0))
            if held.any():
                gradient[held] = hessian[held] = hessian[:, held] = 0.0
                hessian[held, held] = 1.0
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
            promised = float(step @ gradient) - 0.5 * float(step @ hessian @ step)
            theta, e, de, value = trial, e_new, de_new, new
            # The expected Hessian may be half of the real one: steps then go to and fro across the minimum.
            damp = max(4.0 * damp, 0.1) if gain < 0.25 * promised else 0.2 * damp
            if moved < 1e-6 or (gain < 1e-11 * abs(value) and moved < 1e-3):
                return value, theta, True, iteration
        return value, theta, False, 60
