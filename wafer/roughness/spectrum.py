"""Periodograms of edges, and their exact expectation for a given autocorrelation.

Conventions: ``N`` rows one row apart; the periodogram is ``I_k = |sum_t y_t e^{-2 pi i k t / N}|^2 / N``, in squared
pixels, at the frequencies ``k / N`` per row, k = 1 ... N/2. Times the row distance and the square of the pixel it is
the two-sided power spectral density.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Traces:
    """Edges or widths after detrending, what is missing zero, and how much of each lag they hold.

    ``values`` (n, N); ``kernel`` (N): mean over the traces of ``(1/N) sum_t g_t g_{t+m}`` with g 1 where a row is
    there, 0 where it is missing; ``periodogram`` (N // 2): mean over the traces; ``detrend`` names what was taken off.
    """

    values: np.ndarray
    complete: np.ndarray
    kernel: np.ndarray
    periodogram: np.ndarray
    detrend: str

    @property
    def count(self) -> int:
        return int(self.values.shape[0])

    @property
    def rows(self) -> int:
        return int(self.values.shape[1])

    @functools.cached_property
    def padded_power(self) -> np.ndarray:
        """Sum over the traces of their power over 2 N, zero-padded: the transform of the products at every lag."""
        return padded_power(self.values)


def padded_power(values: np.ndarray) -> np.ndarray:
    """Sum over the rows of ``values`` (n, N) of the squared transform over 2 N; (N + 1,)."""
    spectrum = np.fft.rfft(values, 2 * values.shape[1], axis=1)
    return np.asarray(
        np.einsum("ij,ij->j", spectrum.real, spectrum.real) + np.einsum("ij,ij->j", spectrum.imag, spectrum.imag)
    )


def traces(residual: np.ndarray, detrend: str, *, missing: float = 0.2) -> Traces | None:
    """Traces of the detrended ``residual`` (n, N), NaN where a row is lost; None where no trace is usable.

    Traces with a larger share of lost rows than ``missing`` are left out.
    """
    good = np.isfinite(residual)
    n_rows = residual.shape[1]
    found = good.sum(axis=1)
    keep = found >= (1.0 - missing) * n_rows
    if not keep.any() or n_rows < 16:
        return None
    good, values = good[keep], np.where(good[keep], residual[keep], 0.0)
    complete = good.all(axis=1)
    full = 1.0 - np.arange(n_rows) / n_rows
    kernel = full * np.count_nonzero(complete)
    if not complete.all():
        spectrum = np.fft.rfft(good[~complete].astype(np.float64), 2 * n_rows, axis=1)
        kernel = kernel + np.fft.irfft((spectrum * spectrum.conj()).real.sum(axis=0), 2 * n_rows)[:n_rows] / n_rows
    transform = np.fft.rfft(values, axis=1)
    power = (transform.real**2 + transform.imag**2).mean(axis=0) / n_rows
    return Traces(values, complete, kernel / values.shape[0], power[1 : n_rows // 2 + 1], detrend)


@functools.lru_cache(maxsize=8)
def _line(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vector of a straight line over n rows, its transform at k = 1 ... n/2, and the square of that."""
    t = np.arange(n) - 0.5 * (n - 1)
    line = t / np.sqrt(float(t @ t))
    hat = np.fft.rfft(line)[1 : n // 2 + 1]
    power = np.abs(hat) ** 2
    for array in (line, hat, power):
        array.setflags(write=False)
    return line, hat, power


class Expectation:
    """From autocorrelations at the lags 0 ... N-1 to expected periodograms: length, aliasing, leakage, detrending.

    ``E_k = sum_m kernel(|m|) R(m) e^{-2 pi i k m / N}`` is the convolution of the spectrum with the Fejer kernel
    (Sykulski, Olhede, Guillaumin, Lilly, Early, Biometrika 106 (2019) 251); with lost rows the kernel is that of the
    sampling pattern (Guillaumin et al., J. R. Stat. Soc. B 84 (2022) 1526). A straight line taken off by least squares
    adds two terms, written with its unit vector l: ``- 2 Re(l^_k conj(u^_k)) + |l^_k|^2 l'u`` with ``u = C l``.
    """

    def __init__(self, given: Traces) -> None:
        n = self.n = given.rows
        self.kernel = given.kernel
        self.linear = given.detrend == "linear"
        self.line, self.line_hat, self.line_power = _line(n)

    def __call__(self, lags: np.ndarray) -> np.ndarray:
        """(..., N) autocorrelations to (..., N // 2) expected ordinates."""
        n = self.n
        out = self.undetrended(lags)
        if self.linear:
            u = self.times_line(lags)
            u_hat = np.fft.rfft(u, axis=-1)[..., 1 : n // 2 + 1]
            inner = (u @ self.line)[..., None]
            out = out + (-2.0 * (self.line_hat * u_hat.conj()).real + self.line_power * inner) / n
        return np.asarray(out)

    def undetrended(self, lags: np.ndarray) -> np.ndarray:
        """The same of traces as they were before the line was taken off."""
        folded = self.kernel * lags
        # sum over positive and negative lags: twice the real part, less the lag 0 that both halves have
        both = np.fft.rfft(folded, axis=-1).real[..., 1 : self.n // 2 + 1]
        return np.asarray(2.0 * both - folded[..., :1])

    def times_line(self, lags: np.ndarray) -> np.ndarray:
        """Toeplitz matrix of the ``lags`` times the unit line: with a straight line the sum over the lags needs their
        partial sums of order 0 and 1 only."""
        n = self.n
        m = np.arange(n)
        zeroth = np.cumsum(lags, axis=-1)
        first = np.cumsum(m * lags, axis=-1)
        # sum over d = s - t of R(d) (s - d - c), d from s - (n - 1) to s
        both = zeroth + zeroth[..., ::-1] - lags[..., :1]
        u = (m - 0.5 * (n - 1)) * both - (first - first[..., ::-1])
        return np.asarray(u * (self.line[1] - self.line[0]))

    def box_variance(self, lags: np.ndarray) -> np.ndarray:
        """Expected variance of a trace of N rows about its mean or line, divisor N less one or two."""
        n = self.n
        weight = 2.0 * (n - np.arange(n)) / n
        weight[0] = 1.0
        lost = lags @ weight  # 1'C1 / N: what the mean takes
        if self.linear:
            lost = lost + self.times_line(lags) @ self.line
        return np.asarray((n * lags[..., 0] - lost) / (n - (2 if self.linear else 1)))


def score_covariance(weights: np.ndarray, lags: np.ndarray, expectation: Expectation) -> np.ndarray:
    """Covariance of the sums ``sum_k weights[i, k] I_k`` over k = 1 ... N/2 of one trace; (p, p).

    Ordinates of a periodogram are correlated by leakage. Exactly, for a normal series: with G the covariance of the
    transform, ``cov = 1/2 sum_kl a_k b_l |G_kl|^2`` over the full circle. The covariance matrix is Toeplitz, so that
    ``G_kl = i (q_k - q_l) / (sqrt(N) (1 - z_k / z_l))`` off the diagonal with q the imaginary part of the transform of
    ``R(t) - R(N - t)``: the double sum is a convolution with ``1 / (4 sin^2)`` and costs a few transforms.
    The diagonal is the expected periodogram. A line that ``expectation`` takes off (`_line_terms`) is taken off all
    ordinates of a trace at once: sigma of lines of 16 correlation lengths is 12 % less certain for it.
    """
    n = lags.size
    half = n // 2
    difference = np.zeros(n)
    difference[1:] = lags[1:] - lags[:0:-1]
    q = np.zeros(n)
    q[: half + 1] = np.fft.rfft(difference).imag / np.sqrt(n)
    circle = np.zeros((weights.shape[0], n))
    diagonal = np.zeros(n)
    circle[:, 1 : half + 1] = weights
    diagonal[1 : half + 1] = expectation.undetrended(lags)
    if n % 2 == 0:
        circle[:, half] *= (
            2.0  # the ordinate at the Nyquist frequency stands for itself, the others for their mirror too
        )
    mirror = np.arange(1, (n + 1) // 2)
    circle[:, n - mirror] = circle[:, mirror]
    diagonal[n - mirror] = diagonal[mirror]
    q[n - mirror] = -q[mirror]
    # sum_kl a_k b_l h_{k-l} (q_k - q_l)^2 by the transforms of a, a q and a q^2 (Parseval), and the diagonal; that of
    # 1 / (4 n sin^2(pi k / n)) without k = 0 is ((n^2 - 1) / 3 - 2 j (n - j)) / (4 n)
    j = np.arange(half + 1)
    kernel_hat = ((n * n - 1.0) / 3.0 - 2.0 * j * (n - j)) / (4.0 * n * n)
    kernel_hat[1 : (n + 1) // 2] *= 2.0  # both halves
    turned = circle * q
    plain, once, twice = np.fft.rfft(np.stack([circle, turned, turned * q]), axis=-1)
    once = once.imag  # of odd sequences; the others are even
    cross = (twice.real * kernel_hat) @ plain.real.T
    out = cross + cross.T - 2.0 * (once * kernel_hat) @ once.T + (circle * diagonal**2) @ circle.T
    if expectation.linear:
        out = out + _line_terms(circle[:, : half + 1], lags, expectation)
    return np.asarray(0.25 * (out + out.T))


def _line_terms(weights: np.ndarray, lags: np.ndarray, expectation: Expectation) -> np.ndarray:
    """What a straight line taken off adds to ``sum_kl a_k b_l |G_kl|^2`` over the full circle.

    With the unit vector l of the line the transform loses ``l^_k l'y``, so G becomes ``G - p q^* - q p^*`` with
    ``p = l^ / sqrt(N)``, ``q = (C l)^ / sqrt(N) - p l'C l / 2``. The squares of what is added are sums over one index;
    its products with G are forms in the Toeplitz matrix C of the ``lags``, by transforms over 2 N. ``weights``
    (p, N // 2 + 1) at k = 0 ... N/2.
    """
    n = lags.size
    root = np.sqrt(n)
    u = expectation.times_line(lags)
    p = np.fft.rfft(expectation.line) / root
    q = np.fft.rfft(u) / root - 0.5 * float(u @ expectation.line) * p
    full = 2.0 * weights  # both halves of the circle
    if n % 2 == 0:
        full[:, -1] *= 0.5
    pp, qq, pq = full @ np.abs(p) ** 2, full @ np.abs(q) ** 2, full @ (p * q.conj()).real
    square = np.outer(pp, qq) + np.outer(qq, pp) + 2.0 * np.outer(pq, pq)
    both = np.fft.irfft(np.stack([weights * p, weights * q]), n, axis=-1)
    one, other = np.fft.rfft(both, 2 * n, axis=-1)
    ring = np.zeros(2 * n)
    ring[:n] = lags
    ring[n + 1 :] = lags[:0:-1]
    spectrum = np.fft.rfft(ring).real
    spectrum[1:-1] *= 2.0  # both halves
    product = 0.5 * ((one * spectrum) @ other.conj().T).real
    return np.asarray(square - 2.0 * (product + product.T))
