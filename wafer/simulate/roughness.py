"""Rough edges with an exactly known autocorrelation (truth for tests, demos and users' own validation)."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import ParameterError


def autocorrelation(lag: np.ndarray, sigma: float, correlation_length: float, hurst: float) -> np.ndarray:
    """Stretched-exponential autocorrelation ``sigma^2 exp(-(|t|/xi)^(2H))`` at ``lag`` (unit of the length)."""
    return sigma**2 * np.exp(-((np.abs(lag) / correlation_length) ** (2.0 * hurst)))


def rough_edges(
    count: int,
    length: int,
    *,
    sigma: float,
    correlation_length: float,
    hurst: float = 0.5,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw ``count`` independent stationary Gaussian edges of ``length`` samples; (count, length), unit of ``sigma``.

    Circulant embedding on a ring of four times the length, cropped: the autocorrelation of the result is exact (no
    periodic wrap, no missing low frequencies), unlike filtering a sampled spectrum. ``correlation_length`` is in
    samples. Raises `ParameterError` for a correlation that the ring cannot carry. Source: Dietrich and Newsam,
    SIAM J. Sci. Comput. 18 (1997) 1088.
    """
    if count < 0 or length < 1:
        raise ParameterError("a rough edge needs a positive length", got=f"count={count}, length={length}")
    if not (sigma >= 0.0 and correlation_length > 0.0 and 0.0 < hurst <= 1.0):
        raise ParameterError(
            "roughness parameters out of range",
            expected="sigma >= 0, correlation_length > 0, 0 < hurst <= 1",
            got=f"sigma={sigma}, correlation_length={correlation_length}, hurst={hurst}",
        )
    if sigma == 0.0 or count == 0:
        return np.zeros((count, length))
    ring = 4 * length
    lag = np.minimum(np.arange(ring), ring - np.arange(ring))
    power = np.fft.rfft(autocorrelation(lag, sigma, correlation_length, hurst)).real
    # The only negative part allowed is rounding; a real one would mean that the ring is too short for this length.
    if power.min() < -1e-6 * power.max():
        raise ParameterError(
            "this roughness does not fit on the simulated length",
            expected="a length of several correlation lengths",
            got=f"length={length}, correlation_length={correlation_length}, hurst={hurst}",
        )
    amplitude = np.sqrt(np.maximum(power, 0.0) * ring)
    noise = rng.standard_normal((2, count, amplitude.size))
    spectrum = (noise[0] + 1j * noise[1]) * (amplitude / np.sqrt(2.0))
    # The two self-conjugate frequencies are real and carry the whole variance in their real part.
    for self_conjugate in (0, -1):
        spectrum[:, self_conjugate] = noise[0][:, self_conjugate] * amplitude[self_conjugate]
    return np.fft.irfft(spectrum, n=ring, axis=1)[:, :length]


def rough_lines(
    count: int,
    length: int,
    *,
    sigma: float,
    correlation_length: float,
    hurst: float = 0.5,
    left_right_correlation: float = 0.0,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Left and right edges of ``count`` lines with the stated correlation between the two edges of a line."""
    if not -1.0 <= left_right_correlation <= 1.0:
        raise ParameterError("a correlation lies between -1 and 1", got=repr(left_right_correlation))
    both = rough_edges(2 * count, length, sigma=sigma, correlation_length=correlation_length, hurst=hurst, rng=rng)
    left, other = both[:count], both[count:]
    right = left_right_correlation * left + np.sqrt(1.0 - left_right_correlation**2) * other
    return left, right
