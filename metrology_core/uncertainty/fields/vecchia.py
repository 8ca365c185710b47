"""Vecchia factors: a field point by point, each from its nearest earlier ones.

The likelihood of n correlated values as a product of conditional laws on at most `NEIGHBOURS` earlier points in a
coarse-to-fine order (Vecchia, J. R. Stat. Soc. B 50 (1988) 297; order after Guinness, Technometrics 60 (2018) 415):
linear in n, exact up to that many points, and its own covariance is a proper one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import Coordinates

NEIGHBOURS = 30
_FIRST = 256  # points that search among all earlier ones
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Order:
    """A coarse-to-fine order of points and the nearest earlier ones of each (-1: none), in the places of the order."""

    order: np.ndarray
    neighbours: np.ndarray


@dataclass(frozen=True, eq=False)
class Factor:
    """Conditional laws: ``weights`` of the earlier neighbours, ``spread`` the conditional standard deviations of a
    field of unit variance."""

    order: Order
    weights: np.ndarray
    spread: np.ndarray


def coarse_to_fine(place: np.ndarray, neighbours: int = NEIGHBOURS) -> Order:
    """A fixed shuffle of the points, and for each the nearest of those that come before it."""
    from scipy.spatial import cKDTree

    n = len(place)
    order = np.random.Generator(np.random.Philox(20160101)).permutation(n)
    x = place[order]
    found = np.full((n, neighbours), -1, np.int64)
    for i in range(1, min(n, _FIRST)):
        d = np.sum((x[:i] - x[i]) ** 2, axis=1)
        m = min(i, neighbours)
        found[i, :m] = np.argsort(d, kind="stable")[:m]
    start = _FIRST
    while start < n:
        # of the nearest among all points up to twice as many, at least half come before
        stop = min(n, 2 * start)
        _, index = cKDTree(x[:stop]).query(x[start:stop], k=min(3 * neighbours, stop))
        earlier = index < np.arange(start, stop)[:, None]
        first = np.argsort(~earlier, axis=1, kind="stable")[:, :neighbours]
        index = np.where(np.take_along_axis(earlier, first, 1), np.take_along_axis(index, first, 1), -1)
        found[start:stop, : index.shape[1]] = index
        start = stop
    return Order(order, found)


def factor(at: Coordinates, kernel: Kernel, share: float, order: Order) -> Factor:
    """Conditional laws for a field of unit variance with the independent share ``share`` (0 to 1).

    Raises `ParameterError` where the correlation is not positive definite on these points.
    """
    from metrology_core.kernels import correlation as k

    x = np.ascontiguousarray(at.x[order.order])
    weights = np.zeros(order.neighbours.shape)
    spread = np.zeros(len(x))
    table = kernel.table()
    chunks = -(-len(x) // _BLOCK)
    bad = np.zeros(chunks, np.int64)

    def work(start: int, stop: int) -> None:
        for chunk in range(start, stop):
            bad[chunk] = k.vecchia(
                at.metric, kernel.code, table, at.numbers, x, share, order.neighbours, chunk * _BLOCK,
                min(len(x), (chunk + 1) * _BLOCK), weights, spread,
            )  # fmt: skip

    run_blocks(work, chunks)
    if bad.any():
        raise ParameterError(
            f"the {kernel.name} kernel is not positive definite with the {at.along} distance of these points",
            remedy="take metric='auto' or 'chordal'",
        )
    return Factor(order, weights, spread)


def whitened(law: Factor, y: np.ndarray) -> np.ndarray:
    """Rows y (n, p) in the order of the points, made uncorrelated with unit variance; (n, p) in the factor's order."""
    from metrology_core.kernels import correlation as k

    result = np.empty(y.shape)
    spread = np.maximum(law.spread, 1e-12)
    k.whiten(law.order.neighbours, law.weights, spread, np.ascontiguousarray(y[law.order.order]), result)
    return result
