"""The random words against the authors' known answers; tables of quantiles; moments and laws of every distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from metrology_core.blocks import threads
from metrology_core.errors import ParameterError
from metrology_core.kernels import threefry
from metrology_core.uncertainty import distributions as d
from metrology_core.uncertainty import standard, tables
from metrology_core.uncertainty.model import Model
from metrology_core.uncertainty.sampling import BLOCK, Sampler, seed_of, stream_of

U64 = np.uint64
ALL = {
    "normal": d.Normal(3.0, 0.2),
    "rectangular": d.Rectangular(-1.0, 2.0),
    "trapezoidal": d.Trapezoidal(-1.0, 3.0, 0.4),
    "triangular": d.Triangular(0.0, 2.0),
    "curvilinear": d.CurvilinearTrapezoidal(-1.0, 1.0, 0.3),
    "arcsine": d.ArcSine(-0.5, 1.5),
    "t as in JCGM 101": d.StudentT(1.0, 5, scale=0.3),
    "t as in TN 1900": d.StudentT(1.0, 5, sd=0.3),
    "exponential": d.Exponential(2.0),
    "gamma": d.Gamma(0.7, 2.0),
    "counting": d.Gamma.counting(12),
    "beta": d.Beta(2.0, 5.0, -1.0, 1.0),
    "lognormal": d.Lognormal(2.0, 0.4),
    "weibull": d.Weibull(1.7, 2.0),
}


def test_known_answers_of_the_generator() -> None:
    """Random123's known-answer vectors for threefry2x64 with 13 rounds, key and counter zero: the words of trial 0
    and 1 of stream 0."""
    words = np.zeros(4, dtype=U64)
    threefry.raw_words(U64(0), U64(0), U64(0), 0, words)
    assert [f"{int(w):016x}" for w in words[:2]] == ["f167b032c3b480bd", "e91f9fee4b7a6fb5"]


def test_a_word_depends_on_its_trial_alone() -> None:
    whole, part = np.zeros(1000, dtype=U64), np.zeros(10, dtype=U64)
    threefry.raw_words(U64(7), U64(8), U64(0), 0, whole)
    threefry.raw_words(U64(7), U64(8), U64(0), 500, part)
    assert (part == whole[500:510]).all()
    other = np.zeros(1000, dtype=U64)
    for key in ((8, 8, 0), (7, 9, 0), (7, 8, 1)):  # another seed, stream, substream
        threefry.raw_words(U64(key[0]), U64(key[1]), U64(key[2]), 0, other)
        assert not (other == whole).any()


def test_uniform_numbers_are_uniform_and_open() -> None:
    n = 1 << 18
    words, u = np.zeros(n, dtype=U64), np.zeros(n)
    threefry.uniforms(U64(1), U64(2), U64(0), 0, words, u)
    assert u.min() > 0.0 and u.max() < 1.0
    counts = np.histogram(u, 256, (0, 1))[0]
    chi = ((counts - n / 256) ** 2).sum() / (n / 256)
    assert 1e-4 < stats.chi2.sf(chi, 255) < 1.0 - 1e-4  # a fixed seed, so this cannot flicker
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4.0 / math.sqrt(n)
    # the ends of the range of words stay inside (0, 1)
    for word in (0, 2**64 - 1):
        value = ((word >> 12) + 0.5) * 2.0**-52
        assert 0.0 < value < 1.0


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("normal", ()),
        ("t", (1.0,)),
        ("t", (5.0,)),
        ("t", (18.5,)),
        ("gamma", (0.3,)),
        ("gamma", (13.0,)),
        ("beta", (0.5, 0.5)),
        ("beta", (2.0, 5.0)),
        ("exponential", ()),
        ("arcsine", ()),
        ("lognormal", (0.5,)),
        ("weibull", (0.7,)),
    ],
)
def test_tables_follow_the_quantile_function(name: str, shape: tuple[float, ...]) -> None:
    table = tables.standard(name, *shape)
    places = np.linspace(0.0, 1.0, 17)[:-1]
    p = tables.tail_probabilities(places)
    rows = np.vander(places, tables.COEFFICIENTS, increasing=True).T
    for part, quantile in ((table[: tables.CELLS], standard.ppf), (table[tables.CELLS :], standard.isf)):
        exact = quantile(name, shape, p)
        # a polynomial of degree 4 on a cell 1/32 of an octave: 1e-10 is the bound of the module's promise; a Monte
        # Carlo of 1e6 trials knows a quantile to 1e-3
        assert (
            np.abs(part @ rows - exact).max() <= 1e-10 * np.maximum(np.abs(exact), 1.0).max()
            or (np.abs(part @ rows - exact) <= 1e-10 * np.maximum(np.abs(exact), 1.0)).all()
        )


@pytest.mark.parametrize("name", sorted(ALL))
def test_draws_follow_the_distribution(name: str) -> None:
    given = ALL[name]
    n = 40_000
    sampler = Sampler(Model(lambda x: x, {"x": given}), seed=5)
    x = np.empty((1, n))
    sampler.fill(0, np.empty((2, n), dtype=U64), x)
    # Kolmogorov-Smirnov with a fixed seed; 1e-4 lies far from every value that a right sampler gives with it
    assert stats.kstest(x[0], lambda v: np.asarray(given.cdf(v))).pvalue > 1e-4
    low, high = given.support
    assert x.min() >= low and x.max() <= high


@pytest.mark.parametrize("name", sorted(ALL))
def test_moments_quantile_and_density_belong_together(name: str) -> None:
    given = ALL[name]
    p = (np.arange(100_000) + 0.5) / 100_000  # midpoint rule in probability: heavy tails leave about 1e-3
    x = given.ppf(p)
    assert np.all(np.diff(x) >= 0.0)
    assert x.mean() == pytest.approx(given.mean, rel=1e-3, abs=1e-3)
    assert x.std() == pytest.approx(given.sd, rel=5e-3)
    middle = x[5_000:-5_000:997]  # away from poles of the density
    assert given.cdf(middle) == pytest.approx(p[5_000:-5_000:997], abs=1e-9)
    h = 1e-5 * given.sd
    slope = (given.cdf(middle + h) - given.cdf(middle - h)) / (2.0 * h)
    assert given.pdf(middle) == pytest.approx(slope, rel=1e-3)  # a central difference across kinks of the density


@pytest.mark.parametrize("name", ["rectangular", "trapezoidal", "curvilinear", "arcsine", "gamma", "beta", "lognormal"])
def test_skewness_and_kurtosis(name: str) -> None:
    given = ALL[name]
    p = (np.arange(100_000) + 0.5) / 100_000
    z = (given.ppf(p) - given.mean) / given.sd
    assert (z**3).mean() == pytest.approx(given.shape[0], rel=1e-2, abs=1e-6)
    assert (z**4).mean() == pytest.approx(given.shape[1], rel=4e-2)  # the far tail that the midpoint rule cuts


def test_the_two_conventions_of_t_must_be_named() -> None:
    scale, sd = d.StudentT(0.0, 5, scale=4.0), d.StudentT(0.0, 5, sd=4.0)
    assert scale.sd == pytest.approx(4.0 * math.sqrt(5.0 / 3.0))
    assert sd.sd == 4.0 and sd.density_scale == pytest.approx(4.0 * math.sqrt(3.0 / 5.0))
    assert scale.standard_uncertainty == sd.standard_uncertainty == 4.0
    with pytest.raises(ParameterError, match="exactly one"):
        d.StudentT(0.0, 5)
    with pytest.raises(ParameterError, match="exactly one"):
        d.StudentT(0.0, 5, scale=1.0, sd=1.0)
    with pytest.raises(ParameterError, match="above 2"):
        d.StudentT(0.0, 2, sd=1.0)
    assert d.StudentT(0.0, 2, scale=1.0).sd == math.inf


def test_readings_and_certificates() -> None:
    values = [10.1, 10.3, 9.9, 10.0]
    t = d.readings(values)
    assert (t.mean, t.dof, t.evaluation) == (pytest.approx(10.075), 3, "A")
    assert t.scale == pytest.approx(np.std(values, ddof=1) / 2.0, rel=1e-15)
    with pytest.raises(ParameterError, match="two readings"):
        d.readings([1.0])
    with pytest.raises(ParameterError, match="resolution"):
        d.readings([1.0, 1.0])
    assert d.Normal.from_expanded(1.0, 0.2, k=2.0).u == 0.1
    assert d.Normal.from_expanded(1.0, 0.196, p=0.95).u == pytest.approx(0.1, rel=1e-3)


def test_streams_belong_to_names_not_to_places() -> None:
    def drawn(names: list[str]) -> dict[str, np.ndarray]:
        model = Model(lambda **x: sum(x.values()), dict.fromkeys(names, ALL["normal"]))
        out = np.empty((len(names), 100))
        Sampler(model, seed=3).fill(0, np.empty((2, 100), dtype=U64), out)
        return dict(zip(names, out))

    first, second = drawn(["a", "b"]), drawn(["c", "b", "a"])
    assert (first["a"] == second["a"]).all() and (first["b"] == second["b"]).all()
    assert stream_of("a") != stream_of("b")
    assert seed_of(1, "part", 2) != seed_of(1, "part", 3) and seed_of(1, "x") < 2**63


def test_the_same_bits_for_any_number_of_threads() -> None:
    inputs = {**{f"x{i}": given for i, given in enumerate(ALL.values())}}

    def model(**x):  # type: ignore[no-untyped-def]
        return sum(np.sin(v) for v in x.values())

    results = []
    for count in (1, 2, 3, 5):
        with threads(count):
            results.append(Model(model, inputs).monte_carlo(trials=5 * BLOCK + 1234, seed=11))
    for other in results[1:]:
        assert other.samples.tobytes() == results[0].samples.tobytes()
        assert other.mean.tobytes() == results[0].mean.tobytes()
        assert other.covariance.tobytes() == results[0].covariance.tobytes()
