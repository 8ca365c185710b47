"""The spectrum of the edge of contacts: power of the Fourier modes of the radius, the noise of the image taken off."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wafer.contacts.contour import Contour


def edge_spectrum(contours: list[Contour], px: float) -> list[dict[str, Any]]:
    """One row for each mode n from 2 on, over all features that have it; lengths in units of ``px`` (one pixel of x).

    ``variance`` is the mean of (a^2 + b^2) / 2 of the two amplitudes less the mean variance that noise gives them,
    ``u`` its standard uncertainty from the scatter between features (None for one), ``noise`` what was taken off.
    ``psd`` is the two-sided density with this variance at the frequencies n / L and -n / L along the mean circumference
    L (``frequency``), L / 2 times the variance: summed over all of them by 1 / L it is the variance of the edge. Noise
    can leave less than nothing of a mode. The beam (standard deviation s) keeps exp(-(2 pi f s)^2) of a mode: the
    spectrum is that of the contour in the image.
    """
    rows: dict[int, list[tuple[float, float]]] = {}
    for c in contours:
        variance = np.diag(c.covariance)[3:].reshape(-1, 2)
        for k in range(len(c.modes)):
            pair = (0.5 * float(np.sum(c.modes[k] ** 2)), 0.5 * float(variance[k].sum()))
            rows.setdefault(k + 2, []).append(pair)
    length = 2.0 * math.pi * float(np.mean([c.radius for c in contours])) * px
    out = []
    for n, values in sorted(rows.items()):
        power, noise = (np.array(column) for column in zip(*values, strict=True))
        each = (power - noise) * px**2
        u = float(each.std(ddof=1)) / math.sqrt(each.size) if each.size > 1 else None
        out.append({
            "mode": n, "features": int(each.size), "frequency": n / length, "variance": float(each.mean()), "u": u,
            "noise": float(noise.mean()) * px**2, "psd": 0.5 * length * float(each.mean()),
            "psd_u": None if u is None else 0.5 * length * u,
        })  # fmt: skip
    return out
