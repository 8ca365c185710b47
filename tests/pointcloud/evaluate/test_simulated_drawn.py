"""Simulated evaluations of features with drawn surfaces: noise and form stay those of the draws, number by number."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from metrology_core.conformity import Tolerance
from metrology_core.data import PointSet
from metrology_core.instrument import Instrument
from metrology_core.virtual import VirtualCMM
from pointcloud.evaluate.drawn import order_statistics
from pointcloud.evaluate.entry import CharacteristicRequest, Evaluation, FeatureRequest, evaluate
from pointcloud.evaluate.simulated import Simulated, simulate_evaluation

SIGMA, OWN, LENGTH, FORM = 3e-4, 2e-4, 2.0, 0.02
A, PER_LENGTH, RADIUS = 1.5e-3, 3e-6, 10.0
DECLARED = Instrument(
    "CMM-07", "cmm", mpe_constant=A, mpe_per_length=PER_LENGTH, noise=SIGMA, correlation_length=LENGTH,
    correlation_kernel="exponential", noise_independent=OWN,
)  # fmt: skip
MACHINE = VirtualCMM.from_instrument(DECLARED, ((-250.0,) * 3, (250.0,) * 3))
LIMITS = Tolerance(2.0 * RADIUS - 0.0205, 2.0 * RADIUS + 0.0005, "mm")
REQUESTS = [
    CharacteristicRequest("gg", "iso14405.GG", ("bore",), tolerance=LIMITS),
    CharacteristicRequest("gx", "iso14405.GX", ("bore",), tolerance=LIMITS),
    CharacteristicRequest("gn", "iso14405.GN", ("bore",)),
    CharacteristicRequest("x", "coordinate.x", ("bore",)),
    CharacteristicRequest("form", "form.G.peak_to_valley", ("bore",)),
    CharacteristicRequest("ball", "iso14405.GG", ("ball",)),
]


def points(seed: int = 5) -> PointSet:
    """A bore of five lobes, FORM high at its middle and less at its ends; and a sphere, which is not drawn."""
    rng = np.random.default_rng(seed)
    a, z = (v.ravel() for v in np.meshgrid(2.0 * np.pi * np.arange(16) / 16, np.linspace(-15.0, 15.0, 5)))
    r = RADIUS + 0.5 * FORM * np.cos(5.0 * a + 0.3) * (1.0 - 0.3 * (z / 15.0) ** 2)
    bore = np.stack([r * np.cos(a), r * np.sin(a), z], axis=1)
    away = rng.standard_normal((40, 3))
    away /= np.linalg.norm(away, axis=1)[:, None]
    ball = 6.0 * away + np.array([40.0, 0.0, 0.0])
    outer = np.concatenate([np.stack([np.cos(a), np.sin(a), 0.0 * a], axis=1), away])
    xyz = np.concatenate([bore, ball])
    d = np.linalg.norm(xyz[:, None] - xyz[None], axis=2)
    c = (SIGMA**2 - OWN**2) * np.exp(-d / LENGTH) + OWN**2 * np.eye(len(xyz))
    xyz = xyz + (np.linalg.cholesky(c) @ rng.standard_normal(len(xyz)))[:, None] * outer
    labels = np.repeat(np.array([0, 1]), [len(bore), len(ball)]).astype(np.int32)
    return PointSet.from_array(
        xyz, unit="mm", frame="part", points_are="surface", labels=labels, label_names=("bore", "ball")
    )


@functools.cache
def both() -> tuple[Evaluation, Simulated]:
    from metrology_core.data import Selection

    features = [
        FeatureRequest("bore", "cylinder", Selection(label="bore"), material="outside", direction=(0.0, 0.0, 1.0)),
        FeatureRequest("ball", "sphere", Selection(label="ball"), material="inside"),
    ]
    found = evaluate(points(), features, REQUESTS, instrument=DECLARED)
    return found, simulate_evaluation(found, REQUESTS, MACHINE, trials=3000, scope="p", seed=4)


def pair(name: str) -> tuple[object, object]:
    found, done = both()
    return tuple(next(m for m in rows if m.name == name) for rows in (found.measurements, done.measurements))  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "truth"), [("gx", 2.0 * RADIUS - FORM), ("gn", 2.0 * RADIUS + FORM)])
def test_intervals_with_and_without_simulation_agree(name: str, truth: float) -> None:
    """Form 70 times the noise: it makes the interval, and the machine stays within its MPE in both."""
    plain, simulated = (m.measured for m in pair(name))  # type: ignore[attr-defined]
    ends = np.array([one.coverage_interval(0.95) for one in (plain, simulated)])
    # held at the five lobes of the middle: closed form
    assert (ends[:, 0] <= truth).all() and (truth <= ends[:, 1]).all()
    # what acts beside noise and form moves an end by no more than the MPE, declared (rectangular) or simulated (k = 2)
    mpe = A + PER_LENGTH * 2.0 * RADIUS
    assert np.abs(ends[0] - ends[1]).max() < mpe
    assert simulated.value == plain.value
    # independent errors of the machine cannot make the interval of the drawn surfaces shorter, but for the chance of
    # 3000 trials; and the form between the points takes the truth farther from the value than noise and machine do
    length = ends[:, 1] - ends[:, 0]
    drawn = float(np.ptp(np.quantile(both()[0].noise_and_form[name], [0.025, 0.975])))
    assert length[1] > 0.97 * drawn and abs(truth - plain.value) > A
    # U reaches to the farther end
    assert simulated.stated_expanded()[0] == pytest.approx(
        max(simulated.value - ends[1, 0], ends[1, 1] - simulated.value)
    )


def test_draws_and_simulated_errors_make_the_samples() -> None:
    found, done = both()
    repeats = done.repeats
    assert repeats is not None and set(repeats.drawn) == {"gg", "gx", "gn", "x"} == set(found.noise_and_form)
    for name, own in repeats.drawn.items():
        measured = pair(name)[1].measured  # type: ignore[attr-defined]
        e = repeats.errors[:, repeats.index(name)]
        # slow twin: repeat t belongs to draw t, again from the first after the last, its error to either side
        want = [measured.value + own[t % len(own)] - e[t] for t in range(len(e))]
        want += [measured.value + own[t % len(own)] + e[t] for t in range(len(e))]
        np.testing.assert_allclose(measured.samples, want, rtol=0.0, atol=1e-12)
        # the law of the budget: second moments add; 399 draws, whose last round is not whole, and 3000 trials
        assert repeats.u[repeats.index(name)] ** 2 == pytest.approx(np.mean(own**2) + np.mean(e**2), rel=1e-9)
        kept = {k for k in measured.contributions if not k.startswith("simulated/")}
        assert kept and all(k.startswith(("fit/", "bound/")) for k in kept)  # no declared MPE, tip or temperature
        labels = {measured.influences[k].label for k in measured.contributions}
        assert not any("independent errors" in label or "repeatability" in label for label in labels)
    assert repeats.index("ball") >= 0 and "ball" not in repeats.drawn
    # jointly: both sizes within their limits, counted by hand
    rows = [pair(name)[1].measured.samples for name in ("gg", "gx")]  # type: ignore[attr-defined]
    inside = [(row >= LIMITS.lower) & (row <= LIMITS.upper) for row in rows]
    p = repeats.conformity(dict.fromkeys(("gg", "gx"), (LIMITS.lower, LIMITS.upper)))
    # the values of batch and evaluation differ by rounding: no sample in thousands lies that near a limit
    assert p == pytest.approx(float(np.mean(inside[0] & inside[1])), abs=2e-3) and 0.02 < p < 0.98


def test_draws_keep_the_order_of_the_surfaces() -> None:
    """Draw d of every characteristic is one surface: the diameter is twice the radius of chart d."""
    found, done = both()
    bore = next(row for row in found.features if row.request.name == "bore")
    assert bore.drawn is not None
    radius = 2.0 * bore.drawn.chart[:, list(bore.uncertain.feature.chart).index("radius")]  # type: ignore[union-attr]
    own, rank = found.noise_and_form["gg"], np.argsort(np.argsort(radius, kind="stable"))
    assert np.array_equal(np.argsort(own, kind="stable"), np.argsort(radius, kind="stable"))
    # the size is straight in the chart: rounding of a difference quotient over 1e-6 of the reach
    np.testing.assert_allclose(own, order_statistics(np.sort(radius))[rank], rtol=0.0, atol=1e-6 * radius.std() + 1e-9)
    assert done.repeats is not None
    i, j = (done.repeats.index(name) for name in ("gg", "gx"))
    assert np.array_equal(done.repeats.correlation, done.repeats.correlation.T)
    assert abs(done.repeats.correlation[i, j]) <= 1.0


def test_the_method_says_where_noise_and_form_come_from() -> None:
    for name in ("gg", "gx", "x"):
        plain, simulated = (m.method for m in pair(name))  # type: ignore[attr-defined]
        assert "interval from 399 draws" in plain and "interval from 399 draws" not in simulated
        assert "drawn 399 times" in simulated  # and they are used
        assert "interval from drawn noise and form" in simulated
        count = int(both()[1].repeats.good.sum())  # type: ignore[union-attr]
        assert f", and from all other errors by simulation of CMM-07, {count} repeats" in simulated
        measured = pair(name)[1].measured  # type: ignore[attr-defined]
        low, high = measured.coverage_interval(0.95)
        assert ("which does not hold the fit" in simulated) == (not low <= measured.value <= high)
    assert "noise and form from the drawn surfaces, all other errors by simulation" in pair("form")[1].method  # type: ignore[attr-defined]
    assert "uncertainty by simulation of CMM-07" in pair("ball")[1].method  # type: ignore[attr-defined]


def test_without_drawn_surfaces_all_errors_are_simulated() -> None:
    """The sphere of the same part, alone and beside drawn features: the same errors, bit by bit."""
    found, done = both()
    plain = replace(found, noise_and_form={})
    again = simulate_evaluation(plain, REQUESTS, MACHINE, trials=3000, scope="p", seed=4)
    assert done.repeats is not None and again.repeats is not None
    i, j = done.repeats.index("ball"), again.repeats.index("ball")
    assert np.array_equal(done.repeats.values[:, i], again.repeats.values[:, j])


@pytest.mark.parametrize("seed", [5, 6])
def test_one_sided_sizes_without_a_kernel_keep_the_noise_of_the_evaluation(seed: int) -> None:
    """Repeats of the measurement about its points know nothing of what the points missed: U was 0.7 um of 2.7 um."""
    from metrology_core.data import Selection

    plain = replace(DECLARED, correlation_kernel=None, noise_independent=None)
    feature = FeatureRequest(
        "bore", "cylinder", criterion="least_squares", material="outside", selection=Selection("bore")
    )
    asked = [row for row in REQUESTS if row.name in ("gg", "gx", "gn")]
    found = evaluate(points(seed), [feature], asked, instrument=plain)
    machine = VirtualCMM.from_instrument(plain, ((-250.0,) * 3, (250.0,) * 3))
    done = simulate_evaluation(found, asked, machine, trials=600)
    for before, after in zip(found.measurements, done.measurements, strict=True):
        if before.name == "gg":
            continue
        low, high = before.measured.coverage_interval()
        new_low, new_high = after.measured.coverage_interval()
        # MPE as a bound against errors of the whole machine: of one size; without the noise a quarter of it
        assert 0.6 * (high - low) < new_high - new_low < 1.5 * (high - low)
        assert after.measured.value == before.measured.value
