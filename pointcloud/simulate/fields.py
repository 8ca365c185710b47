"""Form error as sums of cosines: lobing, waviness and cupping with a spectrum no evaluation of ours assumes.

The evaluation models point errors with an exponential covariance; the shapes here are band-limited cosine sums whose
amplitudes fall with a power of the wave number, so a test on simulated parts does not feed a model its own assumption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CosineField:
    """Sum of ``amplitude * cos(2 pi (ku u + kv v) + phase)`` over the unit square; shapes (m,) each.

    ``u`` and ``v`` are the surface's own parameters. Integer ``ku`` makes the field periodic in ``u``.
    Values are excess material along the outward normal, in the unit of the part.
    """

    amplitude: FloatArray
    ku: FloatArray
    kv: FloatArray
    phase: FloatArray

    def __call__(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Values at ``u``, ``v`` (any equal shapes)."""
        total = np.zeros(np.broadcast(u, v).shape)
        for a, ku, kv, p in zip(self.amplitude, self.ku, self.kv, self.phase, strict=True):
            total += a * np.cos(2.0 * np.pi * (ku * u + kv * v) + p)
        return total

    def __add__(self, other: CosineField) -> CosineField:
        """Sum of two fields."""
        return CosineField(
            np.concatenate([self.amplitude, other.amplitude]),
            np.concatenate([self.ku, other.ku]),
            np.concatenate([self.kv, other.kv]),
            np.concatenate([self.phase, other.phase]),
        )


def lobing(rng: np.random.Generator, amplitudes: dict[int, float], kv: float = 0.15) -> CosineField:
    """Lobes around the circumference, ``{number of undulations: amplitude}``, slowly turning along the axis."""
    orders = np.array(sorted(amplitudes), dtype=np.float64)
    values = np.array([amplitudes[int(k)] for k in orders]) * rng.uniform(0.7, 1.3, len(orders))
    return CosineField(values, orders, rng.uniform(-kv, kv, len(orders)), rng.uniform(0.0, 2.0 * np.pi, len(orders)))


def waviness(
    rng: np.random.Generator, rms: float, *, ku: tuple[int, int], kv: float, terms: int = 24, slope: float = 1.5
) -> CosineField:
    """Random waves with integer ``u`` wave numbers in ``ku`` (inclusive) and |v wave numbers| up to ``kv``.

    Amplitudes fall as (wave number)**-slope and are scaled so that the mean square over the square is ``rms**2``.
    """
    u_orders = rng.integers(ku[0], ku[1] + 1, terms).astype(np.float64)
    v_orders = rng.uniform(-kv, kv, terms)
    amplitude = (1.0 + np.hypot(u_orders, v_orders)) ** -slope * rng.uniform(0.5, 1.5, terms)
    amplitude *= rms / np.sqrt(0.5 * np.sum(amplitude**2))
    return CosineField(amplitude, u_orders, v_orders, rng.uniform(0.0, 2.0 * np.pi, terms))


def correlated_noise(rng: np.random.Generator, xyz: FloatArray, sigma: float, length: float | None) -> FloatArray:
    """Probing noise (n,) along the path of the points, standard deviation ``sigma``.

    With ``length`` the noise is a first-order autoregression over the distance travelled (correlation exp(-d/length)
    between neighbours of the path); without it every point is independent.
    """
    white = rng.standard_normal(len(xyz))
    if length is None or len(xyz) < 2:
        return sigma * white
    step = np.linalg.norm(np.diff(xyz, axis=0), axis=1)
    rho = np.exp(-step / length)
    out = np.empty(len(xyz))
    out[0] = white[0]
    for i in range(1, len(xyz)):
        out[i] = rho[i - 1] * out[i - 1] + np.sqrt(1.0 - rho[i - 1] ** 2) * white[i]
    return sigma * out
