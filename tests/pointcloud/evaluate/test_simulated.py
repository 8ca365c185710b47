"""Evaluations under a virtual CMM: the chain of `evaluate`, Monte Carlo against propagation, datums never forgotten."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ive

from metrology_core.blocks import threads
from metrology_core.conformity import Tolerance
from metrology_core.data import PointSet, ThermalState
from metrology_core.errors import FrameError, ParameterError
from metrology_core.features import Circle, Cylinder, Plane, Sphere, Torus
from metrology_core.instrument import Instrument
from metrology_core.virtual import VirtualCMM, by_cause, linear_measurement
from metrology_core.virtual.batch import Batch
from metrology_core.virtual.repeat import Repeats
from pointcloud.datums import frame_from_parent
from pointcloud.datums_batch import motions
from pointcloud.evaluate.entry import DatumRequest, Evaluation, FeatureRequest, evaluate
from pointcloud.evaluate.simulated import (
    SimulationPlan,
    machine_for,
    plan_simulation,
    simulate_evaluation,
    with_state_of,
)
from tests.pointcloud.evaluate.part_for_tests import CHARACTERISTICS, DATUM, FEATURES, ask, measured, surfaces

# a centre 50 um off its place: the position of an axis has two ends, and a kink where both are equally far
BALL = ask("ball position", "iso1101.position.G", "ball", in_datum=True, at=(9.97, -47.04))
REQUESTS = [*(request for request, _ in CHARACTERISTICS if request.name != "flatness"), BALL]
FORM = ask("roundness", "iso1101.cylindricity", "bore")
VOLUME = ((0.0, 0.0, 0.0), (700.0, 600.0, 500.0))
NOISE = 2e-4
DECLARED = Instrument(
    "CMM-07", "cmm", mpe_constant=2e-3, mpe_per_length=4e-6, noise=NOISE, tip_radius_u=3e-4, temperature=20.0,
    temperature_u=0.2, expansion=11.5e-6,
)  # fmt: skip


def machine(**changes: object) -> VirtualCMM:
    return VirtualCMM.from_instrument(DECLARED, VOLUME, **changes)


@functools.cache
def part(noise: float = 0.0) -> Evaluation:
    n = sum(len(xyz) for xyz, _ in surfaces().values())
    errors = noise * np.random.default_rng(1).standard_normal(n)
    return evaluate(measured(noise=errors), FEATURES, REQUESTS, datum=DATUM, instrument=DECLARED)


@functools.cache
def plan(noise: float = 0.0) -> SimulationPlan:
    return plan_simulation(part(noise), REQUESTS, datum=DATUM, scope="p")


def test_without_errors_the_chain_gives_the_values_of_the_evaluation() -> None:
    repeats = plan(3e-4).repeat(machine(), trials=2, only=["scale"])
    values = {m.name: m.measured for m in part(3e-4).measurements}
    assert set(repeats.names) == set(values) and not plan().skipped
    for name, base in zip(repeats.names, repeats.base, strict=True):
        # both fits stop at rounding of coordinates of 400 mm, magnified by the short clocking axis
        assert base == pytest.approx(values[name].value, abs=5e-9), name  # type: ignore[union-attr]


def test_noise_alone_gives_the_propagated_uncertainty() -> None:
    """Monte Carlo of the whole chain, datum system included, against the covariances of `evaluate`."""
    trials = 4000
    repeats = plan().repeat(machine(), trials=trials, only=["repeatability"])
    quiet = evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=Instrument("I", "cmm", noise=NOISE))
    for m in quiet.measurements:
        if m.name in ("profile", "perpendicularity", "parallelism", "angle", "coaxiality", "position"):
            # not simulated; zones at zero and the angle at 90 degrees are no normal quantities; the axes of seat and
            # hole are parallel to their datum, so either end may be the farther one: a kink (see the test of it)
            continue
        assert m.measured is not None
        stated = math.hypot(*(part for key, part in m.measured.contributions.items() if key.startswith("fit/")))
        i = repeats.index(m.name)
        # 4 standard errors of a standard deviation; the position is 100 um long and bends by 2e-4 of itself
        assert repeats.u[i] == pytest.approx(stated, rel=4.0 / math.sqrt(2.0 * trials)), m.name
        assert abs(repeats.bias[i]) < 4.5 * stated / math.sqrt(trials), m.name


def test_datum_features_contribute_what_propagation_says() -> None:
    """Position in A|B|C: each datum alone, by simulation and by the linear law; none is forgotten."""
    trials = 4000
    m = next(row for row in part().measurements if row.name == "ball position").measured
    assert m is not None
    names = [f.name for f in plan().features]
    linear = linear_measurement(machine(), plan().features, plan().characteristics, datum=plan().datum)
    for datum in DATUM.features:
        shares = [v for key, v in m.contributions.items() if key.startswith("fit/") and f"/{datum}/" in key]
        stated = math.hypot(*shares)
        others = [name for name in names if name != datum]
        repeats = plan().repeat(machine(), trials=trials, only=["repeatability"], hold=others)
        got = repeats.u[repeats.index("ball position")]
        assert stated > 0.0 and got == pytest.approx(stated, rel=4.0 / math.sqrt(2.0 * trials)), datum
        # derivative along 60 single points against the covariance of the fit: first order both
        assert linear.of_points(f"p/{datum}")[linear.names.index("ball position")] == pytest.approx(stated, rel=2e-3), (
            datum
        )


@pytest.mark.parametrize("request_", [r for r in REQUESTS if r.in_datum or len(r.of) == 2], ids=lambda r: r.name)
def test_a_characteristic_relative_to_a_datum_has_a_contribution_by_the_datum(request_: object) -> None:
    name = request_.name  # type: ignore[attr-defined]
    m = next(row for row in part().measurements if row.name == name).measured
    assert m is not None
    datums = DATUM.features if request_.in_datum else request_.of[1:]  # type: ignore[attr-defined]
    # which datum features act: not the one that only turns about an axis the quantity does not feel
    felt = {d: [v for k, v in m.contributions.items() if k.startswith("fit/") and f"/{d}/" in k] for d in datums}
    assert any(math.hypot(*v) > 0.0 for v in felt.values() if v), name
    if name in ("position", "x", "y"):
        assert all(v and math.hypot(*v) > 0.0 for v in felt.values()), felt


def test_at_a_kink_simulation_is_right_and_the_linear_law_is_not() -> None:
    """Coaxiality of an axis parallel to its datum: the larger of two ends that are equally far. For two equal, jointly
    normal distances the mean of the larger is above each by s(difference) / sqrt(2 pi) (closed form)."""
    trials = 8000
    few = replace(plan(), characteristics=tuple(c for c in plan().characteristics if c.name == "coaxiality"))
    repeats = few.repeat(machine(), trials=trials, only=["repeatability"])
    ends = few.characteristics[0].of
    assert ends == ("seat", "bore")
    quiet = evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=Instrument("I", "cmm", noise=NOISE))
    rows = {f.request.name: f.uncertain for f in quiet.features}
    seat, bore = rows["seat"], rows["bore"]
    assert seat is not None and bore is not None
    away = np.array(bore.feature.point) - seat.feature.point  # type: ignore[attr-defined]
    extent = (quiet.features[2].points.xyz - seat.feature.point) @ seat.feature.axis  # type: ignore[attr-defined]
    heights = np.array([extent.min(), extent.max()])

    def distances(a: object, b: object) -> np.ndarray:
        at = a.point + heights[:, None] * a.axis  # type: ignore[attr-defined]
        return np.linalg.norm(np.cross(at - b.point, b.axis), axis=1)  # type: ignore[attr-defined]

    columns = []
    for first, row in ((True, seat), (False, bore)):
        for column in row.factor().T:
            up = [row.feature.moved(s * column) for s in (1.0, -1.0)]
            pair = [distances(f, bore.feature) if first else distances(seat.feature, f) for f in up]
            columns.append((pair[0] - pair[1]) / 2.0)
    difference = np.linalg.norm(np.array(columns)[:, 1] - np.array(columns)[:, 0])
    expected = 2.0 * difference / math.sqrt(2.0 * math.pi)
    assert np.linalg.norm(away) > 0.0
    # 4 standard errors of the mean of the trials; curvature across the 5 um adds u^2 / 2 d: 2 %
    tolerance = 4.0 * repeats.u[0] / math.sqrt(trials) + 0.03 * expected
    assert repeats.bias[0] == pytest.approx(expected, abs=tolerance)


def test_the_whole_machine_by_monte_carlo_and_by_the_linear_law() -> None:
    trials = 4000
    repeats = plan().repeat(machine(), trials=trials, seed=3)
    linear = linear_measurement(machine(), plan().features, plan().characteristics, datum=plan().datum)
    for name in ("bore", "seat", "ball", "apex", "axis distance", "plane distance", "x", "y", "z", "ball position"):
        i = repeats.index(name)
        # 4 standard errors; position: 100 um against errors of 2 um, second order 2e-4
        assert repeats.u[i] == pytest.approx(linear.u[i], rel=4.0 / math.sqrt(2.0 * trials) + 1e-3), name
        j = repeats.index("bore")
        r = linear.covariance[i, j] / (linear.u[i] * linear.u[j])
        assert repeats.correlation[i, j] == pytest.approx(r, abs=4.5 / math.sqrt(trials)), name
    # the tip acts on every bore alike and temperature on every length: sizes of one machine are correlated
    assert linear.covariance[0, 2] / (linear.u[0] * linear.u[2]) < -0.1  # bore against ball: tip with opposite signs
    assert abs(linear.value[0] - 60.0) < 1e-8


def test_causes_alone_and_off_add_up() -> None:
    few = replace(plan(), characteristics=tuple(c for c in plan().characteristics if c.name in ("bore", "x", "y")))
    whole = few.repeat(machine(), trials=500, seed=5).u
    rows = by_cause(machine(), few.features, few.characteristics, trials=500, seed=5, datum=few.datum)
    assert set(rows) == {c.key for c in machine().causes}
    total = np.zeros(3)
    for alone, off in rows.values():
        # independent causes of 500 trials: cross terms of 1 / sqrt(500) of the products, 4 of them; fits stop at 1e-9
        assert np.all(np.abs(alone**2 + off**2 - whole**2) <= 8.0 * alone * off / math.sqrt(500.0) + 4e-9 * whole)
        total += alone**2
    assert np.sqrt(total) == pytest.approx(whole, rel=0.2)
    linear = linear_measurement(machine(), few.features, few.characteristics, datum=few.datum)
    for key, (alone, _) in rows.items():
        assert alone == pytest.approx(linear.of_cause(key), rel=4.0 / math.sqrt(1000.0), abs=1e-9), key


def test_same_bits_for_any_number_of_threads() -> None:
    runs = []
    for count in (1, 2, 3):
        with threads(count):
            runs.append(plan().repeat(machine(), trials=300, seed=2).values)
    assert all(np.array_equal(run, runs[0]) for run in runs)


def test_measurements_get_the_distribution_and_the_decision() -> None:
    wanted = [replace(r, tolerance=Tolerance(59.999, 60.001, "mm")) if r.name == "bore" else r for r in REQUESTS]
    wanted = [
        replace(r, unit="um", tolerance=Tolerance(None, 110.0, "um")) if r.name == "position" else r for r in wanted
    ]
    found = evaluate(measured(), FEATURES, wanted, datum=DATUM, instrument=DECLARED)
    done = simulate_evaluation(found, wanted, machine(), datum=DATUM, trials=2000, seed=1, scope="p")
    rows = {m.name: m for m in done.measurements}
    assert done.repeats is not None and not done.skipped
    bore, position = rows["bore"], rows["position"]
    assert bore.measured is not None and bore.measured.samples is not None and bore.decision is not None
    inside = np.abs(bore.measured.samples - 60.0) <= 0.001
    assert bore.decision.probability == pytest.approx(inside.mean(), abs=1e-12)
    assert "uncertainty by simulation of CMM-07, 2000 repeats" in bore.method
    assert bore.measured.u == pytest.approx(done.repeats.u[done.repeats.index("bore")], rel=0.06)
    assert {row.label.split(" of ")[0] for row in bore.measured.budget()} >= {"radius", "scales"}
    assert position.unit == "um" and position.measured is not None
    assert position.measured.value == pytest.approx(100.0, abs=1e-4) and 0.3 < position.measured.u < 10.0
    joint = done.repeats.conformity({"bore": (59.999, 60.001), "position": (None, 0.110)})
    assert joint <= min(bore.decision.probability, position.decision.probability) + 1e-12  # type: ignore[union-attr]
    assert rows["profile"].measured is not None
    ids = {row.id.split("/")[0] for row in rows["profile"].measured.budget()}
    assert ids == {"noise", "fit", "simulated"}  # noise as evaluated; the declared MPE, tip and temperature are drawn


def test_an_exact_tip_is_said_where_it_matters() -> None:
    flags = {
        tip: {m.name: m.flags for m in simulate_evaluation(
            part(), REQUESTS, machine(tip_u=tip), datum=DATUM, trials=20, scope="p").measurements}
        for tip in (0.0, 1e-4)
    }  # fmt: skip
    assert "tip_taken_as_exact" in flags[0.0]["bore"] and "tip_taken_as_exact" not in flags[0.0]["position"]
    assert not any("tip_taken_as_exact" in row for row in flags[1e-4].values())


def test_zones_at_zero_are_not_enlarged_twice() -> None:
    """Perpendicularity of an exact part: every error enlarges it, so what is known of the part ends at zero."""
    done = simulate_evaluation(part(), REQUESTS, machine(), datum=DATUM, trials=2000, scope="p")
    assert done.repeats is not None
    assert done.repeats.bias[done.repeats.index("perpendicularity")] > 0.0
    m = next(row for row in done.measurements if row.name == "perpendicularity").measured
    assert m is not None and m.coverage_interval(0.95)[0] == 0.0 and m.samples is not None and m.samples.min() == 0.0


def test_zone_criteria_are_simulated_with_their_own_fit() -> None:
    found = evaluate(measured(noise=3e-4), FEATURES, [FORM], instrument=DECLARED)
    done = simulate_evaluation(found, [FORM], machine(), trials=20, scope="p")
    assert done.repeats is not None and done.repeats.good.all() and done.linear is None
    assert done.repeats.values.std() > 0.0
    # noise keeps the bound of the evaluation; lobing and the other errors of the machine count too
    old, new = found.measurements[0].measured, done.measurements[0].measured
    assert old is not None and new is not None and new.samples is None
    assert {k: v for k, v in new.contributions.items() if k.startswith("noise/")} == dict(old.contributions)
    (added,) = (row for row in new.budget() if row.id.endswith("/systematic"))
    assert new.u == pytest.approx(math.hypot(old.u, added.contribution), rel=1e-12) and added.contribution > 0.0
    assert "lobing" in added.label and "repeatability" not in added.label


def test_straightness_of_a_line_in_space_is_simulated() -> None:
    """Two offsets across a line, not one distance without sign: calmed residuals vanish where noise explains them."""
    t = np.linspace(0.0, 80.0, 50)
    drawn = []
    for seed in range(5):
        across = NOISE * np.random.default_rng(seed).standard_normal((50, 2))
        points = PointSet.from_array(
            np.column_stack([300.0 + t, 200.0 + across[:, 0], 150.0 + across[:, 1]]), unit="mm", frame="machine",
            points_are="surface",
        )  # fmt: skip
        request = ask("straightness", "iso1101.straightness", "edge")
        features = [FeatureRequest("edge", "line")]
        found = evaluate(points, features, [request], instrument=DECLARED)
        made = plan_simulation(found, [request], scope=str(seed))
        assert not made.skipped and found.measurements[0].measured is not None
        still = made.repeat(machine(), trials=2, only=["repeatability"])
        assert still.base[0] < 0.6 * found.measurements[0].measured.value  # 98 degrees of freedom: 7 % of a size
        done = simulate_evaluation(found, [request], machine(), trials=200, scope=str(seed))
        assert done.measurements[0].measured is not None
        drawn.append(done.measurements[0].measured.u > found.measurements[0].measured.u)
    assert all(drawn)


def test_a_profile_in_trials_is_the_profile_of_displaced_points() -> None:
    """The batch sees the curve by its tangents; `evaluate` finds the foot of every displaced point."""
    name = "profile"
    few = plan().only([name])
    repeats = few.repeat(machine(), trials=3, seed=7)
    (group,) = (f for f in few.features if f.kind == "points")
    errors = {f.name: machine().modes(f.points, f.normals, scope=f.points_id).displacements(0, 3, seed=7)
              for f in few.features}  # fmt: skip
    for t in range(3):
        moved = np.array(part().points.xyz)
        labels = part().points.labels
        assert labels is not None
        for f in few.features:
            label = "section" if f is group else f.name
            rows = np.flatnonzero(labels == part().points.label_names.index(label))
            moved[rows] += errors[f.name][t]
        again = evaluate(
            replace(part().points, xyz=moved, raw=None), FEATURES, REQUESTS, datum=DATUM, instrument=DECLARED
        )
        value = next(m for m in again.measurements if m.name == name).measured
        assert value is not None
        # second order of errors of 3 um on radii of millimetres: a few nanometres
        assert repeats.values[t, 0] == pytest.approx(value.value, abs=1e-5)


def test_form_that_the_instrument_makes_is_not_counted_twice() -> None:
    """A perfect part, measured by a machine with lobes: what its points scatter beyond the noise is the machine's."""
    lobed = machine(probing_mpe=4e-3)
    n = sum(len(xyz) for xyz, _ in surfaces().values())
    quiet = evaluate(measured(noise=NOISE * np.random.default_rng(2).standard_normal(n)), FEATURES, REQUESTS,
                     datum=DATUM, instrument=DECLARED)  # fmt: skip
    made = plan_simulation(quiet, REQUESTS, datum=DATUM, scope="p").only(["bore"])
    (bore,) = made.features
    error = lobed.modes(bore.points, bore.normals, scope="x").displacements(5, 6, only=["lobing"])[0]
    scanned = replace(bore, points=bore.points + error, form=2e-3)
    assert replace(made, features=(scanned,)).without_own_errors(machine(probing_mpe=1e-3)).features[0].form > 0.0
    assert replace(made, features=(scanned,)).without_own_errors(lobed).features[0].form == 0.0


def test_a_kink_far_from_zero_is_no_bound() -> None:
    """The larger of two equal distances grows by first-order errors; at six of its u from zero no bound acts."""
    drawn = 5.0 + np.random.default_rng(3).standard_normal((4000, 2)).max(axis=1)
    made = Repeats(("v",), np.array([5.0]), drawn[:, None], np.ones(4000, bool), 0, (), (0.0,), (None,))
    larger, near = made.at_bound("v")
    # mean square of the larger of two standard normal numbers: 1 (closed form), so near is 5 / sqrt(2) = 3.54
    assert near == pytest.approx(5.0 / math.sqrt(2.0), rel=0.05) and larger < math.sqrt(1.0 + 0.3)
    far = replace(made, base=np.array([6.0]), values=made.values + 1.0)
    assert far.at_bound("v")[0] == 1.0


def test_near_zero_the_interval_is_that_of_the_small_vector() -> None:
    """A zone |v| of two normal errors: repeats at a measured place (closed form of the mean square), and coverage."""

    def rice(b: float) -> float:
        x = b * b / 4.0
        return float(math.sqrt(math.pi / 2.0) * ((1.0 + 2.0 * x) * ive(0, x) + 2.0 * x * ive(1, x)))

    rng = np.random.default_rng(8)
    trials, hits, widths = 4000, {0.0: 0, 1.0: 0, 6.0: 0}, []
    for true in hits:
        for _ in range(300):
            seen = np.array([true, 0.0]) + rng.standard_normal(2)
            values = np.linalg.norm(seen + rng.standard_normal((trials, 2)), axis=1)
            base = float(np.linalg.norm(seen))
            made = Repeats(("v",), np.array([base]), values[:, None], np.ones(trials, bool), 0, (), (0.0,), (None,))
            larger, near = made.at_bound("v")
            # 2 + 2 b^2 - 2 b E is the mean square error (E the mean of a Rice distribution); of 4000 trials, 5 sd of
            # squares whose kurtosis is below 4
            square = 2.0 + 2.0 * base**2 - 2.0 * base * rice(base)
            assert (base / near) ** 2 / 2.0 == pytest.approx(square, rel=5.0 * math.sqrt(3.0 / trials))
            assert 1.0 <= larger <= math.sqrt(2.0) and (larger == 1.0 or base < 4.2 * math.sqrt(2.0 * square))
            low, high = made.interval("v")
            assert low == pytest.approx(max(0.0, 2.0 * base - high), abs=1e-9)  # symmetric, but for the bound
            hits[true] += low <= true <= high
            widths.append(larger)
    # at least 95 %, less three standard errors of 300: 91.2 %; far from zero no more than 95 % plus as much
    assert all(count >= 0.912 * 300 for count in hits.values()), hits
    assert hits[6.0] <= 0.99 * 300 and max(widths) > 1.3  # nearly the whole of a second component


def test_a_form_is_simulated_from_points_that_do_not_hold_the_noise_twice() -> None:
    """A flange with nothing but noise: its base has next to no form left, and the trials show the form of noise."""
    flat = ask("flat", "form.G.peak_to_valley", "flange")
    n = sum(len(xyz) for xyz, _ in surfaces().values())
    reported, base, drawn = [], [], []
    for seed in range(6):
        errors = NOISE * np.random.default_rng(seed).standard_normal(n)
        found = evaluate(measured(noise=errors), FEATURES, [flat], instrument=DECLARED)
        run = plan_simulation(found, [flat], scope=str(seed)).repeat(machine(), trials=200, only=["repeatability"])
        assert found.measurements[0].measured is not None
        reported.append(found.measurements[0].measured.value)
        base.append(run.base[0])
        drawn.append(run.values.mean())
    # the residual variance of 57 degrees of freedom scatters by 19 %: what is left of it is below 45 % of the size
    assert max(base) < 0.5 * np.mean(reported)
    # the range of 60 normal values: 4.64 s, sd 0.72 s; the simulated mean sees no more than base and noise together
    assert np.mean(drawn) == pytest.approx(np.mean(reported), rel=0.15)


def test_form_beyond_the_noise_acts_too() -> None:
    smooth = [request for request in REQUESTS if request.name != "profile"]
    found = replace(part(2e-3), measurements=tuple(m for m in part(2e-3).measurements if m.name != "profile"))
    rough = plan_simulation(found, smooth, datum=DATUM, scope="p")
    assert all(f.form > 1.5e-3 for f in rough.features)
    u = rough.repeat(machine(), trials=300).u
    calm = rough.repeat(machine(), trials=300, only=[c.key for c in machine().causes]).u
    assert (u > calm).all()


def test_what_the_points_state_comes_before_the_instrument() -> None:
    """Tip and temperature of the input, as `evaluate` takes them; else those of the instrument stay."""
    points = part().points
    assert points.tip is not None and points.points_are == "ball_centre"
    stated = replace(
        points, tip=replace(points.tip, u=7e-4),
        thermal=ThermalState("compensated", 22.0, 0.3, 23e-6, 1e-6),
    )  # fmt: skip
    made = with_state_of(stated, DECLARED)
    assert (made.tip_radius_u, made.temperature, made.temperature_u) == (7e-4, 22.0, 0.3)
    assert (made.expansion, made.expansion_u, made.mpe_constant) == (23e-6, 1e-6, DECLARED.mpe_constant)
    surface = replace(points, points_are="surface", tip=None)
    assert with_state_of(surface, DECLARED) == DECLARED  # the machine compensated with a tip whose u it states
    # a length of 400 mm: 2 K beside 20 degrees times 1e-6 / K, and 23e-6 / K times 0.3 K
    cmm = machine_for(made, np.array([[0.0, 0.0, 0.0], [400.0, 1.0, 1.0]]))
    two = cmm.modes(np.array([[0.0, 0.0, 0.0], [400.0, 1.0, 1.0]]), np.array([[1.0, 0.0, 0.0]] * 2))
    for key, size in (("expansion", 2.0 * 1e-6 * 400.0), ("temperature", 23e-6 * 0.3 * 400.0)):
        (row,) = two.fields[two.mask([key])]
        assert row[1, 0] - row[0, 0] == pytest.approx(size, rel=1e-12)


def test_a_volume_is_taken_from_the_points_where_none_is_stated() -> None:
    with pytest.raises(ParameterError, match="no virtual machine"):
        machine_for(replace(DECLARED, type="scanner"), part().points.xyz)
    made = machine_for(DECLARED, part().points.xyz)
    low, high = made.volume
    assert (high - low == pytest.approx(np.full(3, (high - low)[0]))) and 120.0 < (high - low)[0] < 140.0
    with pytest.raises(ParameterError, match="no feature 'nothing' to hold"):
        plan().repeat(made, trials=1, hold=["nothing"])


# --- datum frames of many trials
def batch_of(kind: str, made: list[object]) -> Batch:
    names = made[0].parameters  # type: ignore[attr-defined]
    parameters = {n: np.array([f.parameters[n] for f in made]) for n in names}  # type: ignore[attr-defined]
    count = len(made)
    return Batch(kind, parameters, np.full((count, 2), np.nan), np.zeros(count), np.ones(count, bool))


def test_frames_of_trials_equal_the_frame_of_each() -> None:
    rng = np.random.default_rng(3)

    def near(*v: float) -> np.ndarray:
        w = np.array(v) + 0.05 * rng.normal(size=3)
        return np.asarray(w / np.linalg.norm(w))

    for material in ("inside", "outside", None):
        shapes = {
            "plane": [Plane(rng.normal(size=3), near(0, 0, 1), material_side=material) for _ in range(5)],
            "cylinder": [Cylinder(rng.normal(size=3), near(0, 0, 1), 5.0) for _ in range(5)],
            "sphere": [Sphere(rng.normal(size=3) + np.array([20, 3, 1]), 5.0) for _ in range(5)],
            "circle": [Circle(rng.normal(size=3) + np.array([20, 3, 1]), near(0, 0, 1), 5.0) for _ in range(5)],
            "torus": [Torus(rng.normal(size=3) + np.array([9, 9, 1]), near(0, 1, 0), 8.0, 2.0) for _ in range(5)],
        }
        batches = {kind: batch_of(kind, made) for kind, made in shapes.items()}
        for names in (
            ("plane",), ("plane", "cylinder"), ("plane", "cylinder", "sphere"), ("plane", "sphere", "circle"),
            ("cylinder",), ("cylinder", "plane"), ("cylinder", "plane", "sphere"), ("cylinder", "sphere", "torus"),
        ):  # fmt: skip
            rotation, translation = motions(DatumRequest("D", *names), batches, dict.fromkeys(shapes, material))
            for t in range(5):
                want = frame_from_parent(*(shapes[name][t] for name in names))
                assert np.abs(rotation[t] - want.rotation).max() < 1e-13, names
                assert np.abs(translation[t] - want.translation).max() < 1e-11, names
    with pytest.raises(FrameError, match="secondary plane"):
        motions(DatumRequest("D", "plane", "plane"), batches, {"plane": None})
    with pytest.raises(FrameError, match="cannot be the primary"):
        motions(DatumRequest("D", "sphere"), batches, {"sphere": None})
