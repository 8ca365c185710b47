"""Fitted edges lie at the exact optimum of their row, in upright and in tilted windows, alone and in full groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.wafer.oracle_edges import logistic_root, template_root
from wafer.edges.locate import TABLE, TIE, Shape, Windows, locate
from wafer.kernels.edges import MODEL, SIGMOID
from wafer.noise import NoiseModel

SLOPE = 0.11  # neighbouring rows of a group have different windows
NOISE = NoiseModel(200.0, 3.0, 0.3, 50.0, 140.0, 18.7, 24.9, 1.0)
WIDTH = 1.1
# A Newton step below 2e-4 px (sigmoid) or 2e-5 px (model) leaves its square over a length of the order of the edge; the
# rest is the rounding of sums. Measured: 2e-8 and 1e-11 px.
LIMIT = 1e-6


def image(rows: int, slope: float, sigma: float) -> np.ndarray:
    """A rising and a falling edge, softer in its bright tail, with noise that neighbours share."""
    rng = np.random.default_rng([rows, int(1000 * slope), int(sigma)])
    x, y = np.meshgrid(np.arange(64.0), np.arange(float(rows)))
    middle = slope * (y - 0.5 * (rows - 1)) + rng.normal(0.0, 0.8, (rows, 1))
    one, other = x - 20.3 - middle, 44.6 + middle - x
    clean = 50.0 + 90.0 / (1.0 + np.exp(-np.minimum(one, other) / (1.2 + 0.3 * (np.minimum(one, other) > 0.0))))
    white = rng.normal(0.0, sigma, clean.shape)
    white[:, 1:] += 0.3 * white[:, :-1]
    return np.ascontiguousarray(clean + white)


def table() -> tuple[np.ndarray, float]:
    half = 16.0
    t = np.arange(-half * TABLE, half * TABLE + 1) / TABLE
    sides = []
    for width in (1.2, 1.4):
        f = 1.0 / (1.0 + np.exp(-t / width))
        sides.append(np.stack([f, f * (1.0 - f) / width, 1.0 / np.sqrt(NOISE.variance(50.0 + 90.0 * f))]))
    return np.stack(sides), half


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("slope", [0.0, SLOPE])
@pytest.mark.parametrize("rows", [3, 45])
@pytest.mark.parametrize("criterion", [SIGMOID, MODEL])
@pytest.mark.parametrize("sigma", [9.0, 30.0])
def test_fitted_edges_are_optimal(criterion: int, rows: int, slope: float, search: bool, sigma: float) -> None:
    area = image(rows, slope, sigma)
    two = np.ones(2)
    shapes, half = table()
    shape = Shape(95.0 * two, 50.0 * two, 140.0 * two, 20.0 * two, 2.0 * two, 5, shapes, half, search, WIDTH * two)
    windows = Windows(np.array([20.3, 44.6]), 11.2 * two, 10.6 * two, np.array([1, -1]), slope, 0.5 * (rows - 1))
    x, u, state = locate(area, criterion, windows, shape, NOISE)
    assert (np.isnan(x) == (state != 0)).all()
    # The contrast to noise is 10 and 3: rows without a step, or without a smallest sum, are rare.
    assert (state != 0).mean() < 0.05
    for e, rising in enumerate((True, False)):
        for y in np.flatnonzero(state[e] == 0):
            centre = windows.x[e] + slope * (y - windows.middle)
            a, b = math.ceil(centre - 11.2), math.floor(centre + 10.6)
            row, near = area[y, a : b + 1], x[e, y] - a
            if criterion == SIGMOID:
                left, right = (50.0, 140.0) if rising else (140.0, 50.0)
                place, sd = logistic_root(row, left, right, WIDTH, TIE, near, NOISE.variance, NOISE.correlation)
            else:
                side = shapes[int(rising)]
                place, squares = template_root(row, 50.0, 90.0, rising, side, half, TABLE, NOISE.correlation, near)
                scale = math.sqrt(float(NOISE.variance(95.0))) * side[2, int(half * TABLE)]
                sd = scale * math.sqrt(1.0 - NOISE.correlation**2) / (90.0 * math.sqrt(squares))
            assert near == pytest.approx(place, abs=LIMIT)
            # by the derivatives before the last step: 2e-4 px of a width of a pixel
            assert u[e, y] == pytest.approx(sd, rel=1e-3)


def test_neighbours_in_a_group_do_not_matter() -> None:
    area = image(16, 0.0, 30.0)
    two = np.ones(2)
    shapes, half = table()
    shape = Shape(95.0 * two, 50.0 * two, 140.0 * two, 20.0 * two, 2.0 * two, 5, shapes, half, True, WIDTH * two)
    for criterion in (SIGMOID, MODEL):
        windows = Windows(np.array([20.3, 44.6]), 11.2 * two, 10.6 * two, np.array([1, -1]), 0.0, 0.0)
        x = locate(area, criterion, windows, shape, NOISE)[0]
        for y in range(16):
            alone = locate(area[y : y + 1], criterion, windows, shape, NOISE)[0]
            np.testing.assert_array_equal(alone[:, 0], x[:, y])  # the same operations in the same order
