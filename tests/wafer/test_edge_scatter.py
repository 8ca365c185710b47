"""Scatter of the places of edges: components against their truth, coverage, inverted images, trend of the widths."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.sem_edges import model
from metrology_core.data import Image
from metrology_core.quantity import two_sided_factor
from wafer import SemLineSettings, measure_sem_lines
from wafer.edges import EdgeSet, find_edges
from wafer.lines.pitch import field_pitch, pitch
from wafer.lines.scatter import edge_scatter, width_trend
from wafer.simulate import simulate_lines


@pytest.fixture(scope="module")
def found() -> EdgeSet:
    """Twenty lines, the first and the last edge included; places and noise are replaced by the tests."""
    return find_edges(simulate_lines(model(10.0, 2.0, shape=(64, 800)), seed=3).pixels)


def at(found: EdgeSet, places: np.ndarray) -> EdgeSet:
    """The same edges at other places, without noise."""
    quiet = {sign: replace(noise, sd=0.0) for sign, noise in found.noise_sd.items()}
    return replace(found, x=np.repeat(places[:, None], found.rows.size, axis=1), slope=0.0, noise_sd=quiet)


def lattice(found: EdgeSet) -> np.ndarray:
    """Places of equal lines and spaces of 20 px."""
    return 10.0 + 20.0 * np.arange(found.polarity.size)


def covariance(found: EdgeSet, bright: float, dark: float) -> np.ndarray:
    """Variance 1, covariances over bright and over dark stripes."""
    off = np.where(found.polarity[:-1] > 0, bright, dark)
    return np.diag(np.ones(found.polarity.size)) + np.diag(off, 1) + np.diag(off, -1)


@pytest.mark.parametrize(("bright", "dark"), [(0.0, 0.0), (0.5, 0.0), (0.25, 0.25), (-0.3, -0.2)])
def test_components_are_unbiased_and_intervals_hold_the_truth(found: EdgeSet, bright: float, dark: float) -> None:
    root = np.linalg.cholesky(covariance(found, bright, dark))
    rng = np.random.default_rng(11)
    n, trials = found.polarity.size, 1000
    left = np.flatnonzero(found.polarity[:-1] > 0)
    weights = np.zeros(n)
    weights[left] -= 1.0 / left.size
    weights[left + 1] += 1.0 / left.size
    totals, hits = [], []
    for _ in range(trials):
        error = root @ rng.standard_normal(n)
        edges = at(found, lattice(found) + error)
        scatter = edge_scatter(edges, pitch(edges, 1))
        assert scatter is not None
        totals.append(scatter.total)
        u = math.sqrt(weights @ scatter.matrix @ weights)
        hits.append(abs(weights @ error) < two_sided_factor(0.95, scatter.dof(weights)) * u)
    mean, se = np.mean(totals, axis=0), np.std(totals, axis=0) / math.sqrt(trials)
    # unbiased by construction; where the covariances fill the matrix, keeping it positive pulls them in: 3 %
    np.testing.assert_allclose(mean, (1.0, bright, dark), atol=4.0 * float(se.max()) + 0.03 * (bright != 0.0))
    # 94.5 to 95.5 % in 5000 trials of other streams; three standard errors (0.7 %) beside
    assert 0.924 < np.mean(hits) < 0.976


def test_components_against_a_slow_twin(found: EdgeSet) -> None:
    """Sums over edges and pairs written out, expectations from unit vectors: no matrix of the implementation."""
    rng = np.random.default_rng(5)
    edges = at(found, lattice(found) + rng.standard_normal(found.polarity.size))
    fit = pitch(edges, 1)
    scatter = edge_scatter(edges, fit)
    assert scatter is not None
    n = found.polarity.size
    side = found.polarity > 0
    number = np.cumsum(side) - 1
    parity = np.where(number % 2 == 0, 1.0, -1.0)
    design = np.column_stack([side, ~side, number, parity * side, parity * ~side]).astype(float)

    def sums(places: np.ndarray) -> np.ndarray:
        r = places - design @ np.linalg.lstsq(design, places, rcond=None)[0]
        bright = sum(2.0 * r[i] * r[i + 1] for i in range(n - 1) if side[i])
        dark = sum(2.0 * r[i] * r[i + 1] for i in range(n - 1) if not side[i])
        return np.array([float(r @ r), bright, dark])

    # E[q] for covariance S is the sum over S_ij of the polar form of q at unit vectors i and j
    unit = np.eye(n)
    expected = np.zeros((3, 3))
    expected[:, 0] = sum(sums(unit[i]) for i in range(n))
    for i in range(n - 1):
        both = sums(unit[i] + unit[i + 1]) - sums(unit[i]) - sums(unit[i + 1])
        expected[:, 1 if side[i] else 2] += both
    twin = np.linalg.solve(expected, sums(edges.x[:, 0]))
    if abs(twin[1]) + abs(twin[2]) > 0.9 * twin[0]:
        pytest.fail("the drawn places must leave the covariances as they are")
    np.testing.assert_allclose(scatter.total, twin, rtol=1e-9)


@pytest.mark.parametrize("distortion", [0.0, 3.0])
def test_an_inverted_image_is_as_uncertain(distortion: float) -> None:
    """Spaces of an image and lines of its negative are the same stripes; with a bent field too."""
    drawn = simulate_lines(model(6.0, 2.0, shape=(256, 800), cd=13.0, distortion=distortion), seed=8)
    one = Image(drawn.pixels, "nm", drawn.model.pixel)
    results = [
        measure_sem_lines(one, SemLineSettings()),
        measure_sem_lines(one, SemLineSettings(lines="dark")),
    ]
    assert ("scan_nonlinear" in results[0].flags) == (distortion > 0.0)
    mine, other = (r.measurements for r in results)
    for a, b in (("sem.pitch", "sem.pitch"), ("sem.cd_line", "sem.cd_space"), ("sem.cd_space", "sem.cd_line")):
        assert mine[a].value == pytest.approx(other[b].value, rel=1e-9)
        assert mine[a].u == pytest.approx(other[b].u, rel=1e-6)
        assert mine[a].dof == pytest.approx(other[b].dof, rel=1e-6)


def test_a_trend_of_the_widths_is_found(found: EdgeSet) -> None:
    rng = np.random.default_rng(2)
    side = np.where(found.polarity > 0, -1.0, 1.0)
    number = np.cumsum(found.polarity > 0) - 1.0
    noise = 0.05 * rng.standard_normal(number.size)
    plain = at(found, lattice(found) + noise)
    none = width_trend(plain, pitch(plain, 1))
    assert none is not None and none.pitch_u == 0.0 and none.width_u == 0.0
    # the width grows by 0.1 px from line to line: a hundred standard errors
    bent = at(found, lattice(found) + noise + 0.05 * side * (number - number.mean()))
    trend = width_trend(bent, pitch(bent, 1))
    assert trend is not None
    assert trend.change == pytest.approx(0.1 + none.change, rel=1e-9)  # linear in the places
    assert trend.change_u == pytest.approx(none.change_u, rel=1e-6)  # the trend itself is no scatter
    assert trend.pitch_u == pytest.approx(math.sqrt((trend.change**2 - trend.change_u**2) / 12.0), rel=1e-12)
    assert trend.width_u == pytest.approx(trend.pitch_u * 0.5 * (number.size - 1), rel=1e-12)
    # begins and ends of lines alone have pitches that differ by the trend
    slopes = [np.polyfit(number[found.polarity == p], bent.x[found.polarity == p, 0], 1)[0] for p in (1, -1)]
    assert slopes[1] - slopes[0] == pytest.approx(trend.change, rel=1e-9)


def test_chance_is_rarely_a_trend(found: EdgeSet) -> None:
    rng = np.random.default_rng(9)
    seen = []
    for _ in range(600):
        edges = at(found, lattice(found) + rng.standard_normal(found.polarity.size))
        trend = width_trend(edges, pitch(edges, 1))
        assert trend is not None
        seen.append(trend.pitch_u > 0.0)
    assert 0.025 < np.mean(seen) < 0.075  # 5 %, three standard errors of 0.9 %


def test_the_pitch_of_a_bent_field_does_not_depend_on_the_pairs(found: EdgeSet) -> None:
    """A quadratic scan: the mean pitch over the field in closed form; read as lines and as spaces alike."""
    t = lattice(found) / 400.0 - 1.0
    width = 800
    bend = 2.0  # px at the borders, (1 - t^2): the slope of the least-squares line over the field stays
    edges = at(found, lattice(found) + bend * (1.0 - t * t) + 0.02 * t**3)
    values = [field_pitch(edges, pitch(edges, sign), sign, width).pitch.value for sign in (1, -1)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
