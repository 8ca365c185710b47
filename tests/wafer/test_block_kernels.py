"""Kernels on averaged linescans, edge profiles and pictures, against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.data import Image
from wafer.kernels.blocks import lagged_products
from wafer.kernels.display import to_bytes
from wafer.kernels.draws import coloured_rows
from wafer.kernels.linescan import edge_spread
from wafer.kernels.shifts import template_shift


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("reach", [1, 7, 20])
def test_cross_correlation_is_that_of_numpy(rows: int, reach: int) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(rows, 41)), rng.normal(size=(3, 41))
    out = np.empty((3, 2 * reach + 1))
    lagged_products(a, b, reach, out)
    for r in range(3):
        full = np.correlate(b[r], a[r if rows > 1 else 0], mode="full")  # index 40 is lag 0
        # sums of 41 products of order 1: rounding alone
        assert out[r] == pytest.approx(full[40 - reach : 41 + reach], abs=1e-13)


def test_picture_rounds_and_cuts() -> None:
    pixels = np.array([[0, 10, 19], [20, 30, 60000]], dtype=np.uint16)
    out = np.empty(pixels.shape, dtype=np.uint8)
    to_bytes(pixels, 10.0, 0.51, out)
    assert out.tolist() == [[0, 0, 5], [5, 10, 255]]


def test_coloured_draws_have_the_variance_and_the_correlation_asked_for() -> None:
    white = np.random.default_rng(6).standard_normal((40_000, 4))
    out = np.empty(white.shape)
    coloured_rows(white, 0.6, out)
    found = np.corrcoef(out, rowvar=False)
    expected = 0.6 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    # a correlation of n pairs is known to 1 / sqrt(n) = 0.005; variance 1 to sqrt(2 / n) = 0.007: four of each
    assert found == pytest.approx(expected, abs=0.02)
    assert out.var(axis=0) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_edge_spread_is_the_plain_sum_over_pixels(lost: float) -> None:
    rng = np.random.default_rng(7)
    ny, nx, fine, half, near = 53, 40, 4, 6.0, 3
    image = rng.normal(size=(ny, nx))
    x = np.array([[5.3], [20.1], [36.9]]) + 0.4 * rng.normal(size=(3, ny))
    x[rng.random(x.shape) < lost] = np.nan
    left, right = np.array([4.0, 6.5, 7.0]), np.array([7.0, 5.2, 4.1])
    bins = int(2 * half * fine)
    total, count, misfit = np.zeros(bins), np.zeros(bins), np.zeros(2)
    edge_spread(image, 0, 24, 0, x, left, right, near, float(fine), half, total, count, misfit)
    edge_spread(image, 24, ny, 0, x, left, right, near, float(fine), half, total, count, misfit)
    sums, numbers, squares = np.zeros(bins), np.zeros(bins), []
    for e in range(3):
        for y in range(ny):
            beside = [x[e, m] for m in range(max(0, y - near), min(ny, y + near + 1)) if m != y]
            beside = [v for v in beside if not math.isnan(v)]
            if len(beside) < near:
                continue
            place = float(np.sum(beside)) / len(beside)
            if not math.isnan(x[e, y]):
                squares.append((x[e, y] - place) ** 2)
            first = max(math.ceil(place - min(half, left[e])), 0)
            last = min(math.floor(place + min(half, right[e])), nx - 1)
            start = math.floor((first - place + half) * fine)  # the bin of the first pixel: the others one pixel apart
            for k in range(first, last + 1):
                b = start + fine * (k - first)
                if 0 <= b < bins:
                    sums[b] += image[y, k]
                    numbers[b] += 1.0
    assert count.tolist() == numbers.tolist()
    assert total == pytest.approx(sums, abs=1e-12)  # rounding of sums of tens of numbers of order 1
    assert misfit[1] == len(squares)
    assert misfit[0] == pytest.approx(sum(squares), rel=1e-12)


def test_digest_of_an_image_without_a_file_tells_type_shape_and_pixels_apart() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    digest = Image(pixels, "nm", (1.0, 1.0)).digest
    assert digest == Image(pixels.copy(), "um", (2.0, 1.0)).digest
    other = pixels.copy()
    other[3, 3] += 1
    others = (other, pixels.reshape(4, 16), pixels.astype(np.uint16))
    assert len({digest, *(Image(p, "nm", (1.0, 1.0)).digest for p in others)}) == 4


def test_template_shift_is_the_least_squares_optimum() -> None:
    """Against SciPy's general minimiser: shift, gain and offset free."""
    from scipy.optimize import least_squares

    start, step = -12.0, 0.25
    place = start + step * np.arange(97)
    grey = 0.5 * (1.0 + np.tanh(place / 2.5)) + 0.2 * np.exp(-((place - 3.0) ** 2) / 4.0)
    slope = np.gradient(grey, place)
    distance = np.arange(-9.0, 9.2, 0.25)
    rng = np.random.default_rng(13)
    for true in (-1.7, 0.3, 2.9):
        rising = 20.0 + 90.0 * np.interp(distance - true, place, grey) + rng.normal(0.0, 3.0, distance.size)
        found = np.empty(3)
        assert template_shift(distance, rising, start, step, grey, slope, found) == 1

        def rest(p: np.ndarray, rising: np.ndarray = rising) -> np.ndarray:
            return np.asarray(p[2] + p[1] * np.interp(distance - p[0], place, grey) - rising)

        best = least_squares(rest, [0.0, 50.0, 0.0], x_scale=[1.0, 50.0, 50.0], xtol=1e-14, ftol=1e-14).x
        # the slope is that of central differences, not of the straight lines of the table: it aims a little beside
        assert found[0] == pytest.approx(best[0], abs=0.02 * step)
        assert found[1:] == pytest.approx(best[1:], rel=2e-3)
    assert template_shift(distance, -rising, start, step, grey, slope, found) == 0
    assert found[1] > 0.0  # as it was
