"""Mean and spread of errors along edges: a dense twin, and coverage on drawn processes (no images)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.quantity import two_sided_factor
from wafer.contours.correlated import Decay, Errors, spread_of
from wafer.contours.design import Design, edges_of
from wafer.simulate.shapes import disc, rectangle

PX = 0.8


class Field:
    """Boundaries along x and y, registered in x and y by all vertices; draws errors of a known process."""

    def __init__(self, lengths: list[float], noise: float, length: float, hurst: float, sigma: float) -> None:
        self.noise, self.sigma, self.length, self.hurst = noise, sigma, length, hurst
        boundary, place, normal = [], [], []
        for i, size in enumerate(lengths):
            s = np.arange(0.0, size, 2.0 * PX)
            angle = 0.5 * math.pi * (i % 4)
            boundary.append(np.full(s.size, i))
            place.append(s)
            normal.append(np.tile((math.cos(angle), math.sin(angle)), (s.size, 1)))
        self.boundary, self.place = np.concatenate(boundary), np.concatenate(place)
        n = np.concatenate(normal)
        self.j = np.zeros((len(n), 4))
        self.j[:, :2] = -n
        x = np.column_stack((n, np.ones(len(n))))  # offset fitted beside the place, as the registration does
        self.solve = np.zeros((4, len(n)))
        self.solve[:2] = np.linalg.pinv(x)[:2]
        self.around = np.full(len(lengths), math.inf)
        self.roots = [
            np.linalg.cholesky(self.correlation(np.abs(s[:, None] - s[None])) + 1e-8 * np.eye(s.size))
            for s in (self.place[self.boundary == i] for i in range(len(lengths)))
        ]

    def correlation(self, t: np.ndarray) -> np.ndarray:
        return np.exp(-((t / self.length) ** (2.0 * self.hurst)))

    def drawn(self, stream: np.random.Generator, mean: float) -> Errors:
        y = np.concatenate([mean + self.sigma * (root @ stream.standard_normal(len(root))) for root in self.roots])
        y += self.noise * stream.standard_normal(y.size)
        epe = y + self.j @ (self.solve @ y)
        return Errors(epe, np.full(y.size, self.noise**2), self.boundary, self.place, self.around,
                      np.arange(y.size), self.j, self.solve, PX)  # fmt: skip


def test_low_rank_sums_are_those_of_whole_matrices() -> None:
    """What mean and registration took, and the Gaussian scatter of the mean square, from matrices over all vertices
    with the decay that was found. Stretches of 4 px count as one place: against 30 nm, 1 % and 2 %."""
    field = Field([90.0, 60.0, 120.0, 75.0, 50.0, 110.0], 0.2, 30.0, 0.9, 0.6)
    e = field.drawn(np.random.default_rng(3), 0.4)
    found = spread_of(e)
    n = e.epe.size
    apart = np.abs(e.place[:, None] - e.place[None])
    r = np.where(e.boundary[:, None] == e.boundary[None], found.decay(apart), 0.0)
    change = (np.eye(n) - 1.0 / n) @ (np.eye(n) + e.j @ e.solve)
    kept = np.trace(change @ r @ change.T) / n
    assert 1.0 - found.lost == pytest.approx(kept, rel=0.01)
    noise = np.trace(change @ change.T) * field.noise**2 / n
    d = e.epe - e.epe.mean()
    assert found.variance == pytest.approx((np.mean(d * d) - noise) / kept, rel=0.01)
    c = change @ (found.variance * r + field.noise**2 * np.eye(n)) @ change.T
    assert found.gaussian == pytest.approx(math.sqrt(2.0 * np.sum(c * c)) / n / kept, rel=0.02)


@pytest.mark.parametrize(
    ("lengths", "noise", "length", "hurst"),
    [
        ([200.0, 180.0, 150.0, 120.0, 200.0, 160.0, 90.0, 60.0, 190.0, 140.0, 100.0, 170.0], 0.2, 25.0, 1.0),
        ([120.0, 90.0, 60.0, 130.0, 110.0, 70.0, 100.0, 80.0], 0.3, 20.0, 0.5),
    ],
)
def test_coverage_of_mean_and_spread(lengths: list[float], noise: float, length: float, hurst: float) -> None:
    """500 drawn fields: 95 % intervals hold in 93 to 97 % within three standard errors of 1 %; the variance is unbiased
    to three standard errors of its scatter (it was 4 to 7 % low before the registration was accounted for)."""
    sigma, mean = 0.5, 0.7
    field = Field(lengths, noise, length, hurst, sigma)
    stream = np.random.default_rng(11)
    rows = []
    for _ in range(500):
        e = field.drawn(stream, mean)
        found = spread_of(e)
        low, high = np.quantile(found.quantiles, (0.025, 0.975))
        off = abs(float(e.epe.mean()) - mean) / math.sqrt(found.mean_variance)
        rows.append((off < two_sided_factor(0.95, found.mean_dof), low <= sigma <= high, found.variance))
    held_mean, held_spread, variance = np.array(rows, float).T
    assert 0.92 < held_mean.mean() < 0.98 and 0.92 < held_spread.mean() < 0.98
    assert abs(variance.mean() - sigma**2) < 3.0 * variance.std() / math.sqrt(500)


def test_a_polygon_is_one_boundary() -> None:
    """Hundreds of design edges of a disc are one boundary: taken for pieces of their own, they made the mean of a disc
    ten times too sure. So are the sides of a small square, whose errors are alike across its corners."""
    edges = edges_of(Design((disc(30.0, count=180), rectangle(100, 100, 200, 300)), "nm"))
    boundary, place, around = edges.boundaries(np.arange(184), np.full(184, 0.1))
    assert set(boundary[:180]) == {0} and set(boundary[180:]) == {1}
    assert around == pytest.approx([2.0 * math.pi * 30.0, 600.0], rel=1e-3)
    assert np.allclose(np.diff(place[:180]), 2.0 * math.pi * 30.0 / 180, rtol=1e-3)
    assert edges.boundaries(np.array([-1]), np.array([math.nan]))[0][0] == -1


def test_the_mean_of_round_edges() -> None:
    """Nine closed boundaries of 188 nm with a process of 25 nm: variance of the mean in closed form (sum of the
    correlation around), within the scatter of 300 estimates."""
    count, around = 9, 188.0
    s = np.arange(0.0, around, 2.0 * PX)
    t = np.abs(s[:, None] - s[None])
    r = np.exp(-((np.minimum(t, around - t) / 25.0) ** 2))
    value, vector = np.linalg.eigh(r)
    root = vector * np.sqrt(np.maximum(value, 0.0))
    boundary = np.repeat(np.arange(count), s.size)
    stream = np.random.default_rng(5)
    held, variances = [], []
    for _ in range(300):
        y = np.concatenate([0.5 * (root @ stream.standard_normal(s.size)) for _ in range(count)])
        y += 0.2 * stream.standard_normal(y.size)
        e = Errors(y, np.full(y.size, 0.04), boundary, np.tile(s, count), np.full(count, around), np.arange(y.size),
                   np.zeros((y.size, 4)), np.zeros((4, y.size)), PX)  # fmt: skip
        found = spread_of(e)
        variances.append(found.mean_variance)
        held.append(abs(y.mean()) < two_sided_factor(0.95, found.mean_dof) * math.sqrt(found.mean_variance))
    expected = (0.25 * r.mean() + 0.04 / s.size) / count
    assert np.mean(variances) == pytest.approx(expected, rel=0.1)  # 16 pieces or so: sd 40 % of each, 2 % of the mean
    assert 0.92 < np.mean(held) < 0.985


def test_without_correlation_the_least_pieces_count() -> None:
    """White errors: no decay is seen, the spread is that of the process all the same, and nothing divides by zero."""
    field = Field([120.0, 90.0, 100.0, 80.0], 0.3, 0.01, 0.5, 0.3)
    found = spread_of(field.drawn(np.random.default_rng(2), 0.0))
    assert not found.decay.seen and math.isfinite(found.mean_variance)
    low, high = np.quantile(found.quantiles, (0.001, 0.999))
    assert low < 0.3 < high
    assert Decay(2.0, 0.5, True).reach == pytest.approx(2.0 * math.log(10.0))
