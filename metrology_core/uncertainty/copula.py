"""The normal copula: which correlation of normal scores gives a wanted correlation of the inputs.

For two normal inputs they are the same. For others the product-moment correlation follows from that of the scores by a
double integral, which is inverted here; extreme correlations may be out of reach for two unlike distributions.
"""

from __future__ import annotations

import math

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.distributions import Distribution, Normal

_NODES = 64


def _scores(distribution: Distribution) -> np.ndarray:
    """Standardised values of the distribution at the nodes of Gauss-Hermite integration."""
    from scipy.special import ndtr, roots_hermitenorm

    z, _ = roots_hermitenorm(_NODES)
    x = distribution.ppf(np.clip(ndtr(z), 1e-300, 1.0 - 1e-16))
    return (x - distribution.mean) / distribution.sd


def _hermite(distribution: Distribution) -> np.ndarray:
    """Coefficients of the standardised quantile function in orthonormal Hermite polynomials of the score."""
    from scipy.special import roots_hermitenorm

    z, w = roots_hermitenorm(_NODES)
    w = w / w.sum()
    x = _scores(distribution)
    out, before, now = [], np.zeros_like(z), np.ones_like(z)
    for k in range(_NODES // 2):
        out.append(float(np.sum(w * x * now)))
        before, now = now, (z * now - math.sqrt(k) * before) / math.sqrt(k + 1.0)
    return np.array(out)


def normal_scores_correlation(a: Distribution, b: Distribution, r: float) -> float:
    """Correlation of the normal scores for which the two inputs have product-moment correlation ``r``.

    Mehler's formula makes it a polynomial equation: the correlation of the inputs is ``sum a_k b_k rho^k``. Raises
    `ParameterError` where no copula of this kind reaches ``r``.
    """
    if r == 0.0 or (isinstance(a, Normal) and isinstance(b, Normal)):
        return r
    if not (math.isfinite(a.sd) and math.isfinite(b.sd)) or a.sd == 0.0 or b.sd == 0.0:
        raise ParameterError(
            "an input without a finite standard deviation has no correlation coefficient",
            got=f"{a.describe()}; {b.describe()}",
        )
    products = _hermite(a)[1:] * _hermite(b)[1:]

    def reached(rho: float) -> float:
        return float(sum(c * rho ** (k + 1) for k, c in enumerate(products)))

    low, high = reached(-1.0), reached(1.0)
    if not low - 1e-3 <= r <= high + 1e-3:
        raise ParameterError(
            "two inputs of such unlike distributions cannot have this correlation",
            expected=f"between {low:.3f} and {high:.3f}",
            got=repr(r),
        )
    left, right = -1.0, 1.0
    for _ in range(60):
        middle = 0.5 * (left + right)
        left, right = (middle, right) if reached(middle) < r else (left, middle)
    return 0.5 * (left + right)
