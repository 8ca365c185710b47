"""One-sided least squares (GE, GI) in an evaluation: all points decide the direction, the contacts hold the feature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.uncertainty.fields.field import CorrelatedField
from pointcloud.evaluate.uncertainty import MAX_CORRELATED, correlation
from pointcloud.evaluate.zone import into_chart

FloatArray = NDArray[np.float64]
CRITERIA = ("least_squares_outside", "least_squares_inside")


def is_one_sided(fit: Any) -> bool:
    """Whether a fit is least squares with all points on one side."""
    return fit.criterion in CRITERIA and hasattr(fit, "contact_response")


def one_sided_covariance(
    fit: Any,
    geometry: Any,
    plane: tuple[FloatArray, FloatArray] | None,
    least_squares: FloatArray,
    xyz: FloatArray,
    sigma: float | FloatArray,
    length: float | None,
    places: NDArray[np.int64] | None = None,
    field: CorrelatedField | None = None,
) -> tuple[FloatArray, bool]:
    """Covariance (p, p) in the chart of ``geometry``, first order, the contacts held; and whether it rests on a subset.

    ``S V S'`` with ``S`` the sensitivities of the fit: of contacts, whose errors move the feature at full size, every
    pair with every point counts; pairs of all other points beyond `MAX_CORRELATED` are those of a regular subset,
    weighted up. ``plane`` and ``least_squares``: see `zone_covariance`.
    """
    n = len(xyz)
    turn = into_chart(fit, geometry, plane)
    response = turn @ np.asarray(fit.sensitivities)
    s = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,))
    contacts = np.unique(np.asarray(fit.contacts, dtype=np.int64))
    covariance = np.zeros((len(turn), len(turn)))
    subset = False
    for start in range(0, response.shape[1], n):
        block = response[:, start : start + n]
        if field is not None:
            covariance += field.on(geometry, xyz).sandwich(block).value
            continue
        part, fewer = _sandwich(block * s, xyz, length, places, contacts)
        covariance += part
        subset = subset or fewer
    if plane is not None:  # a circle of known normal: its height is the mean of the points
        held = [list(geometry.chart).index("shift_w")]
        covariance[np.ix_(held, held)] = least_squares[np.ix_(held, held)]
    return np.asarray((covariance + covariance.T) / 2.0), subset


def _sandwich(
    w: FloatArray, xyz: FloatArray, length: float | None, places: NDArray[np.int64] | None, contacts: NDArray[np.int64]
) -> tuple[FloatArray, bool]:
    """``w rho w'`` of responses times standard deviations (p, n). einsum, not BLAS: see `fit_covariance`."""
    n = w.shape[1]
    if length is None:
        if places is not None:  # points at one place have one error
            summed = np.zeros((len(w), int(places.max()) + 1))
            np.add.at(summed.T, places, w.T)
            w = summed
        return np.einsum("an,bn->ab", w, w), False
    if n <= MAX_CORRELATED:
        return np.einsum("an,bn->ab", np.einsum("am,mn->an", w, correlation(xyz, length)), w), False
    result = np.einsum("an,bn->ab", w, w)
    rest = w.copy()
    rest[:, contacts] = 0.0
    apart = np.sqrt(np.sum((xyz[contacts][:, None, :] - xyz[None, :, :]) ** 2, axis=2))
    rho = np.exp(apart / -length)
    rho[np.arange(len(contacts)), contacts] = 0.0
    held = w[:, contacts]
    cross = np.einsum("ac,cn,bn->ab", held, rho, rest)
    result += cross + cross.T + np.einsum("ac,cd,bd->ab", held, rho[:, contacts], held)
    step = math.ceil(n / MAX_CORRELATED)
    near = correlation(xyz[::step], length)
    np.fill_diagonal(near, 0.0)
    part = rest[:, ::step]
    m = part.shape[1]
    pairs = np.einsum("an,bn->ab", np.einsum("am,mn->an", part, near), part)
    return result + pairs * ((n * (n - 1.0)) / (m * (m - 1.0))), True
