"""The evaluation of a part: exact values, spread under noise, instrument budgets, verdicts, and what goes wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from metrology_core.conformity import Tolerance
from metrology_core.data import ProbeTip, Rigid, Selection
from metrology_core.data.pointset import ThermalState
from metrology_core.errors import CharacteristicError, DataError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.measurement import Measurement
from pointcloud.evaluate.entry import Evaluation, FeatureRequest, evaluate
from tests.pointcloud.evaluate.part_for_tests import (
    CHARACTERISTICS,
    CURVE,
    DATUM,
    FEATURES,
    TIP,
    ask,
    measured,
    surfaces,
)

REQUESTS = [request for request, _ in CHARACTERISTICS]
TRUE = {request.name: value for request, value in CHARACTERISTICS}
ZERO_BOUND = ("flatness", "perpendicularity", "parallelism")  # noise can only enlarge them
QUIET = Instrument("I", "cmm", noise=5e-4)


def by_name(found: Evaluation) -> dict[str, Measurement]:
    return {m.name: m for m in found.measurements}


def value(m: Measurement) -> float:
    assert m.measured is not None, m.method
    return m.measured.value


@pytest.mark.parametrize("balls", [True, False])
def test_exact_points_give_exact_values(balls: bool) -> None:
    found = by_name(evaluate(measured(balls=balls), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    for name, true in TRUE.items():
        # the fits stop at rounding of coordinates of 400 mm; the clocking axis (8 mm long) magnifies tilts 10 times
        assert value(found[name]) == pytest.approx(true, abs=2e-9), name


def test_values_do_not_depend_on_the_place_of_the_part() -> None:
    here = by_name(evaluate(measured(noise=_noise(1)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    place = Rigid.from_rotation_vector((0.1, 0.05, -2.0), (-500.0, 900.0, 30.0))
    there = by_name(evaluate(measured(noise=_noise(1), place=place), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    for name in TRUE:
        assert value(there[name]) == pytest.approx(value(here[name]), abs=5e-9), name  # rounding at 1000 mm
        a, b = here[name].measured, there[name].measured
        assert a is not None and b is not None
        # two digits are printed; the effect of noise on extremes is drawn, keyed by the data: 400 draws, 5 %, 3 sigma
        assert b.u == pytest.approx(a.u, rel=0.15 if name in ("profile", "flatness") else 1e-3), name


def _noise(seed: int, sigma: float = 5e-4) -> np.ndarray:
    n = sum(len(xyz) for xyz, _ in surfaces().values())
    return np.random.default_rng(seed).normal(0.0, sigma, n)


def test_the_stated_uncertainty_is_the_spread_under_noise() -> None:
    chosen = [r for r in REQUESTS if r.name not in (*ZERO_BOUND, "profile", "angle")]
    rows: dict[str, list[float]] = {r.name: [] for r in chosen}
    u: dict[str, list[float]] = {r.name: [] for r in chosen}
    for seed in range(60):
        found = evaluate(measured(noise=_noise(seed)), FEATURES, chosen, datum=DATUM, instrument=QUIET)
        for m in found.measurements:
            assert m.measured is not None
            rows[m.name].append(m.measured.value)
            u[m.name].append(m.measured.u)
    for name, values in rows.items():
        stated = float(np.mean(u[name]))
        # 60 draws know a standard deviation to 9 %: 3.3 of these for ten characteristics
        assert np.std(values, ddof=1) == pytest.approx(stated, rel=0.3), name
        # and the mean to 13 % of it: 4 of these
        assert abs(np.mean(values) - TRUE[name]) < 0.55 * stated, name


def test_extremes_cover_the_truth_under_noise() -> None:
    chosen = [r for r in REQUESTS if r.name in ("flatness", "profile")]
    inside = 0
    for seed in range(20):
        for m in evaluate(measured(noise=_noise(seed)), FEATURES, chosen, datum=DATUM, instrument=QUIET).measurements:
            assert m.measured is not None
            low, high = m.measured.coverage_interval(0.95)
            inside += low <= TRUE[m.name] <= high or (TRUE[m.name] == 0.0 and "form_not_resolved" in m.flags)
    assert inside >= 36  # of 40 at 95 %: fewer than 36 has probability 1.4 %


def test_flatness_of_noise_alone_is_flagged() -> None:
    found = by_name(evaluate(measured(noise=_noise(1)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    flat = found["flatness"]
    # the range of 60 normal values has mean 4.64 s and standard deviation 0.72 s: 95 % are below about 5.9 s
    assert flat.details["noise_alone"] == pytest.approx(5.9 * 5e-4, rel=0.1)
    assert "form_not_resolved" in flat.flags
    assert value(flat) == pytest.approx(flat.details["highest"] - flat.details["lowest"], abs=1e-12)


def test_size_uncertainty_has_its_closed_form() -> None:
    found = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    bore = found["bore"].measured
    # 72 points evenly round: u(radius) = s / sqrt(n)
    assert bore is not None and bore.u == pytest.approx(2.0 * 5e-4 / math.sqrt(72.0), rel=1e-6)
    assert "independent_noise_assumed" in found["bore"].flags


def test_correlated_noise_makes_the_size_less_certain() -> None:
    with_length = replace(QUIET, correlation_length=20.0)
    a = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))["bore"].measured
    b = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=with_length))["bore"].measured
    assert a is not None and b is not None
    xyz = surfaces()["bore"][0] * np.array([28.5 / 30.0, 28.5 / 30.0, 1.0])  # the errors are those of ball centres
    rho = np.exp(-np.linalg.norm(xyz[:, None] - xyz[None], axis=2) / 20.0)
    # symmetric places: the radius is the mean of the errors, so its variance is the mean of the correlation matrix
    assert b.u == pytest.approx(2.0 * 5e-4 * math.sqrt(rho.mean()), rel=1e-6)
    assert b.u > 3.0 * a.u


def test_residuals_stand_in_where_no_noise_is_declared() -> None:
    found = by_name(evaluate(measured(noise=_noise(5)), FEATURES, REQUESTS, datum=DATUM))
    bore = found["bore"].measured
    assert bore is not None
    # 72 residuals with 67 degrees of freedom know the noise to 9 %: three of these
    assert bore.u == pytest.approx(2.0 * 5e-4 / math.sqrt(72.0), rel=0.27)
    assert bore.dof == pytest.approx(67.0)
    assert "repeatability_only" in found["bore"].flags


def test_tip_radius_enters_sizes_with_its_sign_and_not_positions() -> None:
    points = measured(tip=ProbeTip(TIP, 3e-4))
    found = by_name(evaluate(points, FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))

    def tip(name: str) -> float:
        m = found[name].measured
        assert m is not None
        return m.contributions.get("instrument/I/tip", 0.0)

    assert tip("bore") == pytest.approx(2 * 3e-4, rel=1e-9)
    assert tip("seat") == pytest.approx(-2 * 3e-4, rel=1e-9)
    assert tip("plane distance") == pytest.approx(3e-4, rel=1e-6)  # the flange moves down, the ball's centre stays
    assert tip("z") == pytest.approx(3e-4, rel=1e-6)
    assert tip("position") == tip("x") == tip("apex") == tip("coaxiality") == 0.0
    assert abs(tip("profile")) == pytest.approx(2 * 3e-4, rel=1e-9)
    shared = found["bore"].measured, found["seat"].measured
    assert shared[0] is not None and shared[1] is not None and shared[0].correlation(shared[1]) < -0.8


def test_wrong_tip_radius_shows_where_the_budget_says() -> None:
    """The sensitivity to the tip is what really happens when the tip is larger than assumed."""
    right = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    wrong = by_name(
        evaluate(measured(tip=ProbeTip(TIP + 1e-3, 1e-3)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET)
    )
    for name in TRUE:
        if name in ZERO_BOUND:
            continue
        m = wrong[name].measured
        assert m is not None
        stated = m.contributions.get("instrument/I/tip", 0.0)
        # linear to 1e-6; the profile decides at another point of equal height, so its sign may differ
        found = value(wrong[name]) - value(right[name])
        assert abs(found) == pytest.approx(abs(stated), abs=1e-8), name


def test_temperature_acts_on_lengths_and_not_on_angles() -> None:
    warm = replace(QUIET, temperature=21.0, temperature_u=0.2, expansion=11.5e-6, expansion_u=1e-6)
    found = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=warm))

    def part(name: str, which: str) -> float:
        m = found[name].measured
        assert m is not None
        return m.contributions.get(f"instrument/I/{which}", 0.0)

    assert part("bore", "temperature") == pytest.approx(60.0 * 11.5e-6 * 0.2, rel=1e-9)
    assert part("bore", "expansion") == pytest.approx(60.0 * 1.0 * 1e-6, rel=1e-9)
    assert part("y", "temperature") == pytest.approx(-47.0 * 11.5e-6 * 0.2, rel=1e-6)
    assert part("apex", "temperature") == 0.0
    # position: the centre at (-11.97, 46.04) grows away from the origin; the drawing's place stays
    d = np.array([0.03, 0.04])
    along = float(np.array([-11.97, 46.04]) @ d / np.linalg.norm(d))
    assert part("position", "temperature") == pytest.approx(2.0 * along * 11.5e-6 * 0.2, rel=1e-6)


def test_scaling_the_part_shows_what_the_thermal_sensitivity_says() -> None:
    strain = 1e-5
    warm = replace(QUIET, temperature=20.0, temperature_u=1.0, expansion=strain)
    base = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=warm))
    grown = by_name(evaluate(measured(scale=1.0 + strain), FEATURES, REQUESTS, datum=DATUM, instrument=warm))
    for name in TRUE:
        if name in ZERO_BOUND:
            continue
        m = base[name].measured
        assert m is not None
        found = value(grown[name]) - value(base[name])
        # profile: six points of equal deviation compete, and another one may decide; position: an offset of 50 um
        # turns by 0.35 um, which is second order: 2 x 0.35^2 / (2 x 50) um
        limit = {"profile": 1.5e-3, "position": 3e-6}.get(name, 2e-8)
        assert found == pytest.approx(m.contributions.get("instrument/I/temperature", 0.0), abs=limit), name


def test_raw_lengths_are_corrected_and_the_original_is_kept() -> None:
    thermal = ThermalState("raw", 30.0, 0.1, 11.5e-6, 0.5e-6)
    # the part has grown, the tip has not
    points = measured(scale=1.0 + 11.5e-6 * 10.0, thermal=thermal)
    found = evaluate(points, FEATURES, REQUESTS, datum=DATUM, instrument=QUIET)
    rows = by_name(found)
    for name, true in TRUE.items():
        assert value(rows[name]) == pytest.approx(true, abs=2e-9), name  # as for exact points
    assert found.points.raw is points
    assert [s.name for s in found.points.history] == ["thermal"]
    bore = rows["bore"].measured
    assert bore is not None
    scope = found.points.thermal
    assert scope.state == "compensated"
    parts = {k.split("/")[-1]: v for k, v in bore.contributions.items() if k.startswith("thermal/")}
    assert parts["temperature"] == pytest.approx(60.0 * 11.5e-6 * 0.1, rel=1e-6)
    assert parts["expansion"] == pytest.approx(60.0 * 10.0 * 0.5e-6, rel=1e-6)
    assert "divided by" in rows["bore"].method


def test_raw_lengths_without_temperature_are_flagged_and_provisional() -> None:
    request = replace(REQUESTS[0], tolerance=Tolerance(59.9, 60.1, "mm"))
    found = evaluate(measured(thermal=ThermalState("raw")), FEATURES, [request], instrument=QUIET)
    m = found.measurements[0]
    assert "thermal_raw" in m.flags and "provisional_verdict" in m.flags
    assert m.decision is not None and m.decision.provisional


def test_length_error_of_the_instrument() -> None:
    cmm = replace(QUIET, mpe_constant=1.5e-3, mpe_per_length=3e-6)
    found = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=cmm))

    def length(name: str) -> float:
        m = found[name].measured
        assert m is not None
        return math.hypot(*(v for k, v in m.contributions.items() if k.startswith("instrument/I/length/")))

    def bound(size: float) -> float:
        return (1.5e-3 + 3e-6 * size) / math.sqrt(3.0)

    assert length("bore") == pytest.approx(bound(60.0), rel=1e-9)
    assert length("axis distance") == pytest.approx(bound(47.5), rel=1e-9)
    assert length("position") == pytest.approx(2.0 * bound(math.hypot(11.97, 46.04)), rel=1e-6)  # zone: twice
    assert length("perpendicularity") == pytest.approx(bound(16.0), rel=1e-6)  # over the 16 mm between outer circles
    assert length("apex") == pytest.approx(bound(10.0) / 10.0, rel=1e-3)  # axial extent 10 mm
    assert length("flatness") == 0.0


def test_datum_features_enter_the_budget_with_shared_ids() -> None:
    found = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))
    x, position = found["x"].measured, found["position"].measured
    assert x is not None and position is not None
    names = {key.split("/")[2] for key in x.contributions}
    assert names >= {"ball", "bore"}
    assert {key.split("/")[2] for key in position.contributions} >= {"hole", "bore", "clocking"}
    assert x.correlation(position) != 0.0


def test_verdicts_and_units() -> None:
    requests = [
        ask("good", "iso14405.GG", "bore", tolerance=Tolerance(59.99, 60.015, "mm"), nominal=60.0, unit="mm"),
        ask("bad", "iso1101.position.G", "hole", in_datum=True, at=(-12.0, 46.0),
            tolerance=Tolerance(None, 50.0, "um"), unit="um"),
        ask("edge", "iso14405.GG", "seat", tolerance=Tolerance(None, 100.0, "mm")),
        ask("degrees", "cone.apex_angle", "cone", unit="deg"),
    ]  # fmt: skip
    rows = by_name(evaluate(measured(), FEATURES, requests, datum=DATUM, instrument=QUIET))
    assert [rows[n].verdict for n in ("good", "bad", "edge", "degrees")] == [
        "conforming", "nonconforming", "indeterminate", "none",
    ]  # fmt: skip
    assert value(rows["bad"]) == pytest.approx(100.0, abs=1e-5) and rows["bad"].unit == "um"
    assert value(rows["degrees"]) == pytest.approx(40.0, abs=1e-8)
    assert rows["good"].decision is not None and not rows["good"].decision.provisional


def test_without_an_instrument_the_verdict_is_provisional() -> None:
    request = replace(REQUESTS[0], tolerance=Tolerance(59.99, 60.015, "mm"))
    m = evaluate(measured(noise=_noise(2)), FEATURES, [request]).measurements[0]
    assert m.decision is not None and m.decision.provisional and m.verdict == "conforming"
    assert "provisional_verdict" in m.flags


def test_method_says_criterion_filter_number_and_compensation() -> None:
    m = by_name(evaluate(measured(), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET))["position"]
    for word in ("least squares (G)", "unfiltered", "36 points", "compensated", "1.5 mm", "ABC", "A flange"):
        assert word in m.method, word


# --- what goes wrong
def test_a_missing_feature_spoils_only_what_needs_it() -> None:
    found = evaluate(measured(leave_out=("clocking",)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET)
    rows = by_name(found)
    for name in ("position", "x", "profile", "axis distance"):
        assert rows[name].measured is None and "not_evaluated" in rows[name].flags, name
    assert value(rows["bore"]) == pytest.approx(60.0, abs=1e-9)
    assert found.datum_system is None and "partial_result" in found.flags
    assert found.deviations is not None and "section" not in found.deviations.feature_names


def test_nothing_usable_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match="no requested feature"):
        evaluate(measured(), [FeatureRequest("a", "plane", Selection("typo"))], [])


def test_degenerate_points_are_not_evaluated() -> None:
    request = FeatureRequest("as sphere", "sphere", Selection("flange"), "inside")
    m = evaluate(measured(), [request], [ask("d", "iso14405.GG", "as sphere")], instrument=QUIET).measurements[0]
    assert m.measured is None or {"curvature_not_significant", "ill_conditioned"} & set(m.flags)


def test_too_few_points_are_not_evaluated() -> None:
    points = measured()
    index = np.flatnonzero(points.labels == points.label_names.index("bore"))[:4]
    m = evaluate(points.select(index), [FEATURES[1]], [REQUESTS[0]], instrument=QUIET).measurements[0]
    assert m.measured is None and {"insufficient", "not_evaluated"} <= set(m.flags)


def test_points_that_are_not_finite_are_counted_and_left_out() -> None:
    points = measured()
    xyz = points.xyz.copy()
    xyz[np.flatnonzero(points.labels == points.label_names.index("bore"))[3]] = np.nan
    found = evaluate(replace(points, xyz=xyz), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET)
    bore = by_name(found)["bore"]
    assert value(bore) == pytest.approx(60.0, abs=1e-9)
    assert "non_finite_points" in bore.flags and "71 points" in bore.method


def test_ball_centres_without_material_are_flagged() -> None:
    features = [replace(FEATURES[1], material=None)]
    m = evaluate(measured(), features, [REQUESTS[0]], instrument=QUIET).measurements[0]
    assert "ball_centre_uncompensated" in m.flags
    assert value(m) == pytest.approx(60.0 - 2.0 * TIP, abs=1e-9)


def test_wrong_requests_raise() -> None:
    points = measured()
    with pytest.raises(CharacteristicError):
        evaluate(points, FEATURES, [ask("a", "diameter", "bore")])
    with pytest.raises(ParameterError, match="no feature"):
        evaluate(points, FEATURES, [ask("a", "iso14405.GG", "bor")])
    with pytest.raises(ParameterError, match="takes 2"):
        evaluate(points, FEATURES, [ask("a", "iso1101.coaxiality.G", "seat")])
    with pytest.raises(ParameterError, match="no datum system"):
        evaluate(points, FEATURES, [ask("a", "coordinate.x", "ball", in_datum=True)])
    with pytest.raises(ParameterError, match="same name"):
        evaluate(points, [FEATURES[0], FEATURES[0]], [])
    with pytest.raises(ParameterError, match="another unit"):
        evaluate(points, FEATURES, [], instrument=Instrument("I", "cmm", unit="um"))
    with pytest.raises(ParameterError, match="nominal curve"):
        evaluate(points, FEATURES, [ask("a", "iso1101.line_profile", "section")])
    with pytest.raises(ParameterError, match="unknown feature"):
        evaluate(points, [FeatureRequest("a", "plain")], [])


def test_the_same_input_gives_the_same_bits() -> None:
    a, b = (evaluate(measured(noise=_noise(9)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET) for _ in range(2))
    assert [m.to_dict() for m in a.measurements] == [m.to_dict() for m in b.measurements]


# --- the deviation map
def test_deviations_are_excess_material_and_from_the_nominal_where_there_is_one() -> None:
    requests = [*REQUESTS, ask("p", "iso1101.line_profile", "section", in_datum=True, curve=CURVE,
                               tolerance=Tolerance(None, 60.0, "um"), unit="um")]  # fmt: skip
    bump = np.zeros_like(_noise(0))
    points = measured()
    first = int(np.flatnonzero(points.labels == points.label_names.index("bore"))[0])
    bump[first] = 0.05  # the ball sits 50 um further out of the material of the bore
    found = evaluate(measured(noise=bump), FEATURES, requests, datum=DATUM, instrument=QUIET)
    shown = found.deviations
    assert shown is not None and shown.n_total == len(points)
    of_bore = shown.value[shown.feature == shown.feature_names.index("bore")]
    assert of_bore[0] == pytest.approx(0.05, rel=0.15)  # the fit takes a part of it (5 / 72 parameters, and more)
    assert shown.worst[0] == first
    of_section = shown.value[shown.feature == shown.feature_names.index("section")]
    # the bump leans the bore's axis, and with it the origin, by about 2 x 0.05 / 72 x 3 mm
    assert of_section.max() == pytest.approx(0.02, abs=0.006)
    assert "nominal" in shown.reference and "section" in shown.reference
    index = shown.feature_names.index("section")
    assert shown.tolerances[index] == pytest.approx((-0.03, 0.03))


def test_thinning_keeps_the_extremes_of_every_feature() -> None:
    found = evaluate(measured(noise=_noise(4)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET, max_shown=450)
    whole = evaluate(measured(noise=_noise(4)), FEATURES, REQUESTS, datum=DATUM, instrument=QUIET)
    a, b = found.deviations, whole.deviations
    assert a is not None and b is not None and len(a.value) < len(b.value) == b.n_total == a.n_total
    for i in range(len(b.feature_names)):
        assert a.value[a.feature == i].max() == b.value[b.feature == i].max()
        assert a.value[a.feature == i].min() == b.value[b.feature == i].min()
