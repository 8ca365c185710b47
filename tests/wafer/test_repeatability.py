"""Diameters of two images of one field: what noise does to them, in simulated fields and in real pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.sem_kriss import GROUPS, judge, with_noise
from wafer.contacts import ContactSettings
from wafer.contacts.evaluate import find_contacts
from wafer.contours import GreyNoise, grey_noise
from wafer.simulate.shapes import disc, simulate_shapes

LAGS = (0.49, 0.115, 0.04)


def field(specks: int) -> np.ndarray:
    """Nine bright discs of three sizes (nm), and specks of 5 px on the ground between them."""
    shapes = [disc(r, x, y) for y, r in ((-130.0, 30.0), (0.0, 18.0), (130.0, 10.0)) for x in (-130.0, 0.0, 130.0)]
    shapes += [disc(2.8, -65.0 + 130.0 * (k % 2), -190.0 + 20.0 * (k // 2)) for k in range(specks)]
    return simulate_shapes(shapes, seed=3, electrons_per_grey=np.inf, read_noise=0.0, bits=16).pixels


def diameters(pixels: np.ndarray) -> np.ndarray:
    """Of the features above 8 px, by place."""
    found = find_contacts(pixels, ContactSettings(lattice=False))
    large = [s.contour for s in found.sites if s.contour is not None and s.contour.state == "ok"]
    rows = [(round(c.centre[1] / 40.0), c.centre[0], c.diameter) for c in large if c.diameter > 12.0]
    return np.array([d for _, _, d in sorted(rows)])


def test_specks_on_the_ground_do_not_move_the_threshold_of_features() -> None:
    """As many specks as features and more: the reach of a feature's strips, and so the level of its threshold, is its
    own. A common reach from the median size moved diameters by 0.4 px between two real images of one field."""
    few, many = diameters(field(0)), diameters(field(18))
    assert few.size == many.size == 9
    # the template is pooled over all features, specks too: it moves the rays, not the threshold
    assert np.abs(many - few).max() < 0.02


def test_the_bandwidth_of_the_detector_is_seen_and_no_more() -> None:
    """Noise correlated over three pixels of a row; 60 000 flat pixels tell a correlation to 0.01."""
    rng = np.random.Generator(np.random.PCG64(2))
    ground = np.full((400, 300), 60.0)
    ground[:, 150:] = 120.0
    seen = grey_noise(with_noise(ground, GreyNoise(20.0, 1.5, LAGS, 0.0), rng))
    assert seen.lags[:3] == pytest.approx(LAGS, abs=0.03)
    assert np.abs(seen.lags[3:]).max(initial=0.0) < 0.03
    assert float(seen.variance(np.array(60.0))) == pytest.approx(110.0, rel=0.05)
    white = grey_noise(with_noise(ground, GreyNoise(20.0, 1.5, (), 0.0), rng))
    assert np.abs(white.lags).max(initial=0.0) < 0.03


def test_correlated_noise_is_propagated() -> None:
    """Scatter of 20 noisy images of nine discs over the stated standard uncertainty; without the second and third lag
    it would be 9 % larger for the mean of wide plateaus. 180 values: 5 % standard error."""
    clean = np.rint(field(0))
    rng = np.random.Generator(np.random.PCG64(6))
    noise = GreyNoise(4.0, 1.0, LAGS, 0.0)
    values, predicted = [], []
    for _ in range(20):
        found = find_contacts(with_noise(clean, noise, rng), ContactSettings(lattice=False))
        rows = sorted((round(s.contour.centre[1] / 40.0), s.contour.centre[0], s.contour) for s in found.sites
                      if s.contour is not None and s.contour.diameter > 12.0)  # fmt: skip
        values.append([c.diameter for _, _, c in rows])
        predicted.append([c.diameter_u for _, _, c in rows])
    ratio = np.var(values, axis=0, ddof=1).mean() / np.mean(np.square(predicted))
    assert ratio**0.5 == pytest.approx(1.0, abs=0.15)


@pytest.mark.real_data
@pytest.mark.parametrize("group", GROUPS)
def test_real_pairs_repeat_as_they_claim(data_root: Path, group: str) -> None:
    """KRISS pairs at 300 and 50 times the dose: mean difference and its scatter, as asked (0.1 px, 1.3 times). Three
    pairs of five: the benchmark takes all."""
    folder = data_root / "wafer" / "kriss_sem" / "Data"
    if not folder.is_dir():
        pytest.skip("the image pairs are not part of this copy of the data")
    found = judge(folder, group, "threshold", count=3, noise=False)
    assert found["spheres"] > 90
    assert abs(found["mean"]) <= 0.1
    assert found["ratio"] <= 1.3
