"""Noise of areas in windows of their own against the same on the whole image."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from wafer.contours.functionals import Functionals
from wafer.contours.grey import grey_noise
from wafer.contours.seeds import find_seeds, split_grey
from wafer.contours.trace import trace
from wafer.simulate.shapes import disc, simulate_shapes


@pytest.mark.parametrize("criterion", ["threshold", "model"])
@pytest.mark.parametrize("radius", [9.0, 16.0])  # nm: 35 and 63 vertices; of ~20 none has a mean profile of its own
def test_windows_give_what_the_whole_image_gives(criterion: Literal["threshold", "model"], radius: float) -> None:
    """One mean profile for all contours (model) or one each (threshold, where the contour is long enough); features at
    the border lose vertices; neighbours in a row correlate."""
    places = [(x, y) for x in (-84, -42, 0, 42, 84) for y in (-84, -42, 0, 42, 84)]
    drawn = simulate_shapes([disc(radius, x + 2.0, y - 1.0) for x, y in places], seed=7, shape=(236, 232))
    grey = drawn.pixels.astype(np.float64)
    stream = np.random.Generator(np.random.PCG64(11)).standard_normal((236, 233))
    image = np.ascontiguousarray(grey + 5.0 * (0.9 * stream[:, 1:] + 0.4 * stream[:, :-1]))
    noise = grey_noise(image)
    assert len(noise.lags) > 0
    seeds = find_seeds(image, 2.0, "auto", split_grey(image))
    found = trace(image, seeds, noise, spacing=2.0, criterion=criterion, level=0.5)
    functionals = Functionals(image, found, noise)
    rng = np.random.default_rng(12)
    rows = np.zeros((len(seeds.closed), found.edge.size))
    near = []
    for c in range(len(seeds.closed)):
        mine = np.arange(seeds.first[c], seeds.first[c + 1])
        rows[c, mine] = 1.0 + 0.3 * rng.standard_normal(mine.size)
        near.append((mine, rows[c, mine]))
    whole = np.diag(functionals.covariance(rows))
    # sums of some ten thousand products, in another order; beside the window nothing is left out
    assert functionals.variances(near) == pytest.approx(whole, rel=1e-9)
    assert whole.min() > 0.0


def test_correlation_of_areas_is_the_plain_sum() -> None:
    """The coarse search slides the image over the design: products and means of windows against loops."""
    from wafer.contours.registration import _products, _window_means

    rng = np.random.default_rng(14)
    area, window = rng.random((23, 31)), rng.normal(size=(17, 20))
    products, means = _products(area, window), _window_means(area, window.shape)
    assert products.shape == means.shape == (7, 12)
    for y in range(7):
        for x in range(12):
            part = area[y : y + 17, x : x + 20]
            assert products[y, x] == pytest.approx(float(np.sum(part * window)), abs=1e-11)  # sums of 340 products
            assert means[y, x] == pytest.approx(float(part.mean()), abs=1e-12)
