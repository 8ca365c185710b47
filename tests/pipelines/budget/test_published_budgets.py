"""Budgets that standards and guides publish, written as a user would copy them from the text.

Inputs and answers of EA-4/02, EURACHEM/CITAC QUAM, JCGM 100 annex H and NIST TN 1900 are recalled from the documents,
not read from a file here; every answer is therefore computed a second time beside it, from the closed form.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from pipelines.budget.evaluate import evaluate
from pipelines.budget.load import parse_budget
from pipelines.recipe.problems import RecipeProblems

ROOT3 = math.sqrt(3.0)


def run(text: str, output: str, trials: int = 20000):  # type: ignore[no-untyped-def]
    extra = "" if "monte_carlo" in text else f"monte_carlo: {{trials: {trials}}}\n"
    result = evaluate(parse_budget("schema: abbe/budget/1\n" + text + extra))
    return result, result.gum[output]


def test_ea_4_02_s2_weight_of_10_kg_in_its_own_units() -> None:
    """10 000.025 g, u = 29.3 mg, U = 59 mg; the certificate is in g, everything else in mg."""
    _, row = run(
        "model: {mX: mS + dmD + dm + dmC + dB}\n"
        "inputs:\n"
        "  mS: {distribution: normal, value: 10000.005 g, expanded: 45 mg, k: 2, unit: g}\n"
        "  dmD: {distribution: rectangular, value: 0, half_width: 15 mg, unit: g}\n"
        "  dm: {distribution: normal, value: 20 mg, u: 14.4 mg, unit: g}\n"
        "  dmC: {distribution: rectangular, value: 0, half_width: 10 mg, unit: g}\n"
        "  dB: {distribution: rectangular, value: 0, half_width: 10 mg, unit: g}\n"
        "outputs: {mX: {unit: g}}\n",
        "mX",
    )
    twin = math.sqrt(22.5**2 + 14.4**2 + (15**2 + 10**2 + 10**2) / 3)
    assert row.value == pytest.approx(10000.025, abs=1e-12) and row.u * 1e3 == pytest.approx(twin, rel=1e-12)
    assert round(row.u * 1e3, 1) == 29.2 and round(2 * 29.3) == 59  # 29.25 mg, printed 29.3


def test_ea_4_02_s3_standard_resistor() -> None:
    """10 000.178 ohm, u = 8.33 mohm, U = 17 mohm."""
    _, row = run(
        "model: {RX: (RS + dRD + dRTS) * rC * r - dRTX}\n"
        "inputs:\n"
        "  RS: {distribution: normal, value: 10000.053, expanded: 5 mohm, k: 2, unit: ohm}\n"
        "  dRD: {distribution: rectangular, value: 20 mΩ, half_width: 10 mΩ, unit: ohm}\n"
        "  dRTS: {distribution: rectangular, value: 0, half_width: 2.75 mohm, unit: ohm}\n"
        "  dRTX: {distribution: rectangular, value: 0, half_width: 5.5 mohm, unit: ohm}\n"
        "  rC: {distribution: triangular, value: 1, half_width: 1e-6}\n"
        "  r: {distribution: readings, readings: [1.0000104, 1.0000107, 1.0000106, 1.0000103, 1.0000105]}\n"
        "outputs: {RX: {unit: ohm}}\n",
        "RX",
    )
    assert round(row.value, 3) == 10000.178 and round(row.u * 1e3, 2) == 8.33
    parts = [2.5, 10 / ROOT3, 2.75 / ROOT3, 5.5 / ROOT3, 10 / math.sqrt(6), 10 * 0.158114 / math.sqrt(5)]
    assert row.u * 1e3 == pytest.approx(math.hypot(*parts), rel=2e-5)  # the ratio and the drift are not exactly 1 and 0


def test_ea_4_02_s4_gauge_block_needs_the_product_of_two_zeros() -> None:
    """49.999 926 mm, u = 36.4 nm: the product of expansion difference and temperature is of second order only."""
    _, row = run(
        "model: {lX: lS + dlD + dl + dlC - L * (alpha * dt + dalpha * Dt) - dlV}\n"
        "inputs:\n"
        "  lS: {distribution: normal, value: 50.00002 mm, expanded: 30 nm, k: 2, unit: mm}\n"
        "  dlD: {distribution: rectangular, value: 0, half_width: 30 nm, unit: mm}\n"
        "  dl: {distribution: normal, value: -94 nm, u: 5.37 nm, unit: mm}\n"
        "  dlC: {distribution: rectangular, value: 0, half_width: 32 nm, unit: mm}\n"
        "  L: {distribution: constant, value: 50, unit: mm}\n"
        "  alpha: {distribution: constant, value: 11.5e-6, unit: 1/K}\n"
        "  dt: {distribution: rectangular, value: 0, half_width: 0.05, unit: K}\n"
        "  dalpha: {distribution: triangular, value: 0, half_width: 2e-6, unit: 1/K}\n"
        "  Dt: {distribution: rectangular, value: 0, half_width: 0.5, unit: K}\n"
        "  dlV: {distribution: rectangular, value: 0, half_width: 6.7 nm, unit: mm}\n"
        "outputs: {lX: {unit: mm}}\n"
        "gum: {order: 2}\n",
        "lX",
    )
    product = 50e6 * 2e-6 / math.sqrt(6) * 0.5 / ROOT3
    parts = [15, 30 / ROOT3, 5.37, 32 / ROOT3, 50e6 * 11.5e-6 * 0.05 / ROOT3, product, 6.7 / ROOT3]
    assert round(row.value, 6) == 49.999926 and round(row.u * 1e6, 1) == 36.4
    assert row.u * 1e6 == pytest.approx(math.hypot(*parts), rel=1e-9)


def test_ea_4_02_s9_and_s10_end_in_distributions_that_are_not_normal() -> None:
    """Multimeter at 100 V: E = 0.1 V, u = 0.030 V, k = 1.65, U = 0.05 V. Caliper: u = 33 um, k = 1.83, U = 0.06 mm."""
    meter, row = run(
        "model: {EX: ViX - VS + dViX - dVS}\n"
        "inputs:\n"
        "  ViX: {distribution: constant, value: 100.1, unit: V}\n"
        "  VS: {distribution: normal, value: 100, expanded: 2 mV, k: 2, unit: V}\n"
        "  dViX: {distribution: rectangular, value: 0, half_width: 50 mV, unit: V}\n"
        "  dVS: {distribution: rectangular, value: 0, half_width: 11 mV, unit: V}\n"
        "outputs: {EX: {unit: V}}\n",
        "EX",
        200_000,
    )
    assert round(row.value, 9) == 0.1 and round(row.u, 3) == 0.030
    # two rectangular ones make a trapezium: its interval in closed form; 4 standard errors of the end of an interval
    # of 2e5 trials are 2e-4 V
    half = 0.061 - math.sqrt(0.05 * 2 * 0.05 * 0.022)
    low, high = meter.drawn.interval(0, 0.95, "symmetric")
    assert (high - low) / 2 == pytest.approx(half, abs=4e-4) and round(half, 2) == 0.05
    assert not meter.validations["EX"].valid
    caliper, row = run(
        "model: {EX: liX - lS + L * alpha * Dt + dliX + dlM}\n"
        "inputs:\n"
        "  liX: {distribution: constant, value: 150.10, unit: mm}\n"
        "  lS: {distribution: rectangular, value: 150.00, half_width: 0.8 um, unit: mm}\n"
        "  L: {distribution: constant, value: 150, unit: mm}\n"
        "  alpha: {distribution: constant, value: 11.5e-6, unit: 1/K}\n"
        "  Dt: {distribution: rectangular, value: 0, half_width: 2, unit: K}\n"
        "  dliX: {distribution: rectangular, value: 0, half_width: 25 um, unit: mm}\n"
        "  dlM: {distribution: rectangular, value: 0, half_width: 50 um, unit: mm}\n"
        "outputs: {EX: {unit: mm}}\n",
        "EX",
        200_000,
    )
    # 32.3 um from 0.46, 15, 29 and 2.0 um; EA-4/02 sums rounded parts to 33
    assert row.u * 1e3 == pytest.approx(math.sqrt((0.8**2 + 25**2 + 50**2 + (150e3 * 11.5e-6 * 2) ** 2) / 3), rel=1e-9)
    low, high = caliper.drawn.interval(0, 0.95, "symmetric")
    assert round((high - low) / 2, 2) == 0.06 and (high - low) / 2 / row.u == pytest.approx(1.83, abs=0.02)


def test_ea_4_02_s12_an_error_in_per_cent_is_multiplied() -> None:
    text = (
        "model: {eX: '%s(DV + d2 - d1) / (Vi + dVi) - %s1'}\n"
        "inputs:\n"
        "  Vi: {distribution: normal, value: 200, u: 20 mL, unit: L}\n"
        "  dVi: {distribution: rectangular, value: 0, half_width: 20 mL, unit: L}\n"
        "  DV: {distribution: constant, value: 200.1, unit: L}\n"
        "  d1: {distribution: rectangular, value: 0, half_width: 100 mL, unit: L}\n"
        "  d2: {distribution: rectangular, value: 0, half_width: 100 mL, unit: L}\n"
        "outputs: {eX: {unit: '%%'}}\n"
    )
    with pytest.raises(RecipeProblems) as caught:
        run(text % ("", ""), "eX")
    assert "multiply the expression by 100" in (caught.value.problems[0].hint or "")
    _, row = run(text % ("100 * ", "100 * "), "eX")
    twin = 100 * math.sqrt(0.02**2 + 0.02**2 / 3 + 2 * 0.1**2 / 3) / 200
    assert row.value == pytest.approx(0.05, abs=1e-12) and row.u == pytest.approx(twin, rel=1e-3)


def test_quam_a2_and_a3() -> None:
    """NaOH standardised: 0.102 14(10) mol/L. HCl titrated: 0.101 39(18) mol/L in the guide from rounded parts."""
    _, naoh = run(
        "model: {c: 1000 * m * P / (M * V) * rep}\n"
        "inputs:\n"
        "  rep: {distribution: normal, value: 1, u: 0.05 %}\n"
        "  m: {distribution: normal, value: 388.8 mg, u: 0.13 mg, unit: g}\n"
        "  P: {distribution: rectangular, value: 1, half_width: 0.0005}\n"
        "  M: {distribution: normal, value: 204.2212, u: 0.0038, unit: g/mol}\n"
        "  V: {distribution: normal, value: 18.64, u: 0.013, unit: mL}\n"
        "outputs: {c: {unit: mol/L}}\n",
        "c",
    )
    share = [0.0005, 0.13 / 388.8, 0.0005 / ROOT3, 0.0038 / 204.2212, 0.013 / 18.64]
    assert round(naoh.value, 5) == 0.10214 and round(naoh.u, 5) == 0.00010
    assert naoh.u / naoh.value == pytest.approx(math.hypot(*share), rel=1e-9)
    _, hcl = run(
        "model: {c: 1000 * m * P * V2 / (V1 * M * V) * rep}\n"
        "inputs:\n"
        "  rep: {distribution: normal, value: 1, u: 0.001}\n"
        "  m: {distribution: normal, value: 0.3888, u: 0.00013, unit: g}\n"
        "  P: {distribution: rectangular, value: 1.0, u: 0.00029}\n"
        "  V2: {distribution: normal, value: 14.89, u: 0.015, unit: ml}\n"
        "  V1: {distribution: normal, value: 18.64, u: 0.016, unit: ml}\n"
        "  M: {distribution: normal, value: 204.2212, u: 0.0038, unit: g/mol}\n"
        "  V: {distribution: normal, value: 15, u: 0.011, unit: ml}\n"
        "outputs: {c: {unit: mol/L}}\n",
        "c",
    )
    assert round(hcl.value, 5) == 0.10139 and abs(hcl.u - 0.00018) < 1e-5 and hcl.u / hcl.value < 0.0019


RADON = """243.74 15380 305.56 4054 367.37 41432
984.53 14978 1046.10 3922 1107.66 38706
1723.87 14394 1785.43 4200 1846.99 35860
2463.17 13254 2524.73 3830 2586.28 32238
3217.56 12516 3279.12 3956 3340.68 29640
3956.83 11058 4018.38 3980 4079.94 26356"""


def test_gum_h4_radon_from_its_counts_by_both_ways() -> None:
    """JCGM 100 H.4: 0.4300(83) and 0.4304(84) Bq/g; means 652.60(6.42) and 206.09(3.79), r = 0.646, 3.170(46)."""
    rows = np.array([line.split() for line in RADON.splitlines()], dtype=float)
    decay = 1.25894e-4
    rate = {
        key: (rows[:, c] - rows[:, 3]) / 60.0 * np.exp(decay * rows[:, t]) for key, t, c in (("Rs", 0, 1), ("Rx", 4, 5))
    }
    assert round(rate["Rx"].mean(), 2) == 652.60 and round(rate["Rs"].mean(), 2) == 206.09
    assert round(rate["Rx"].std(ddof=1) / 6**0.5, 2) == 6.42 and round(rate["Rs"].std(ddof=1) / 6**0.5, 2) == 3.79
    assert round(np.corrcoef(rate["Rx"], rate["Rs"])[0, 1], 3) == 0.646
    ratio = rate["Rx"] / rate["Rs"]
    assert (round(ratio.mean(), 3), round(ratio.std(ddof=1) / 6**0.5, 3)) == (3.170, 0.046)
    common = (
        "inputs:\n"
        "  As: {distribution: normal, value: 0.1368, u: 0.0018, unit: Bq/g}\n"
        "  ms: {distribution: normal, value: 5.0192, u: 0.0050, unit: g}\n"
        "  mx: {distribution: normal, value: 5.0571, u: 0.0010, unit: g}\n"
    )
    _, one = run(
        "model: {Ax: As * ms / mx * Rx / Rs}\n" + common
        + f"  Rx: {{distribution: readings, together: cycles, readings: {rate['Rx'].tolist()}, unit: 1/min}}\n"
        + f"  Rs: {{distribution: readings, together: cycles, readings: {rate['Rs'].tolist()}, unit: 1/min}}\n"
        + "outputs: {Ax: {unit: Bq/g}}\n",
        "Ax",
    )  # fmt: skip
    _, two = run(
        "model: {Ax: As * ms / mx * R}\n" + common
        + f"  R: {{distribution: readings, readings: {ratio.tolist()}}}\noutputs: {{Ax: {{unit: Bq/g}}}}\n",
        "Ax",
    )  # fmt: skip
    assert one.value == pytest.approx(0.4300, abs=1e-4) and round(one.u, 4) == 0.0083  # 0.42994 unrounded
    assert (round(two.value, 4), round(two.u, 4)) == (0.4304, 0.0084)


def test_tn_1900_e2_mean_of_22_temperatures() -> None:
    """25.6 degC, u = 0.872 degC, 95 % interval 23.8 to 27.4 degC."""
    data = [
        18.75, 28.25, 25.75, 28.00, 28.50, 20.75, 21.00, 22.75, 18.50, 27.25, 20.75, 26.50, 28.00, 23.25, 28.00, 21.75,
        26.00, 26.50, 28.00, 33.25, 32.00, 29.50,
    ]  # fmt: skip
    result, row = run(
        f"model: {{tau: t}}\ninputs:\n  t: {{distribution: readings, readings: {data}, unit: degC}}\n", "tau", 200_000
    )
    assert round(row.value, 1) == 25.6 and round(row.u, 3) == 0.872 and row.dof == 21
    assert [round(v, 1) for v in row.interval(0.95)] == [23.8, 27.4]
    low, high = result.drawn.interval(0, 0.95, "symmetric")
    assert low == pytest.approx(row.interval(0.95)[0], abs=0.02) and high == pytest.approx(
        row.interval(0.95)[1], abs=0.02
    )


def one(line: str, model: str = "x") -> object:
    result = evaluate(
        parse_budget(
            f"schema: abbe/budget/1\nmodel: {{y: {model}}}\ninputs:\n  x: {line}\nmonte_carlo: {{trials: 1e3}}\n"
        )
    )
    return result.model.base["x"]


@pytest.mark.parametrize(
    ("line", "mean", "sd"),
    [
        ("{distribution: normal, value: 10, u: 1 %, unit: mm}", 10.0, 0.1),  # a share of the value
        ("{distribution: normal, value: -10 mm, u: 50 ppm, unit: mm}", -10.0, 5e-4),
        ("{distribution: normal, value: 0.5, u: 1 %}", 0.5, 0.01),  # of a ratio: the ratio itself
        ("{distribution: normal, value: 5, u: 1 %, unit: '%'}", 5.0, 1.0),
        ("{distribution: rectangular, value: 10, half_width: 1 %, unit: kg/m3}", 10.0, 0.1 / ROOT3),
        ("{distribution: normal, value: 1.2 g/mL, u: 3 kg/m3, unit: kg/m3}", 1200.0, 3.0),
        ("{distribution: normal, value: 20.1 degC, u: 0.1 K, unit: degC}", 20.1, 0.1),
        ("{distribution: normal, value: 20.1 degC, u: 0.1 degC, unit: degC}", 20.1, 0.1),
        ("{distribution: rectangular, value: 1, u: 2}", 1.0, 2.0),
        ("{distribution: triangular, value: 1, u: 2}", 1.0, 2.0),
        ("{distribution: arcsine, value: 1, u: 2}", 1.0, 2.0),
        ("{distribution: lognormal, value: 5, u: 2}", 5.0, 2.0),
        ("{distribution: gamma, value: 5, u: 2}", 5.0, 2.0),
        ("{distribution: beta, a: 2, b: 6}", 0.25, math.sqrt(12 / 64 / 9)),
        ("{distribution: normal, value: 1, expanded: 1.959963984540054, p: 95 %}", 1.0, 1.0),
    ],
)
def test_ways_to_state_an_input(line: str, mean: float, sd: float) -> None:
    row = one(line).distribution  # type: ignore[attr-defined]
    assert row.mean == pytest.approx(mean, rel=1e-12) and row.sd == pytest.approx(sd, rel=1e-12)


@pytest.mark.parametrize("dof", [".inf", "infinite", "inf"])
def test_infinitely_many_degrees_of_freedom(dof: str) -> None:
    assert math.isinf(one(f"{{distribution: normal, value: 1, u: 1, dof: {dof}}}").degrees)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("{distribution: uniform, low: 1, high: 2}", "'uniform' is called 'rectangular' here"),
        ("{distribution: Gaussian, value: 1, u: 2}", "called 'normal'"),
        ("{distribution: student_t, value: 1, scale: 2, dof: 3}", "called 't'"),
        ("{distribution: U-shaped, low: 1, high: 2}", "called 'arcsine'"),
        ("{distribution: poisson, count: 3}", "called 'counting'"),
        ("{distribution: normal, value: 1, U: 2, k: 2}", "it is called 'expanded' here"),
        ("{distribution: normal, mean: 1, sigma: 2}", "it is called 'u' here"),
        ("{value: 1, u: 2}", "distribution: normal"),
        ("{distribution: normal, value: 1 mm, u: 2 um}", "add 'unit: mm'"),
        ("{distribution: normal, value: 1 mm, u: 2 V, unit: mm}", "not a length"),
        ("{distribution: rectangular, low: 1 %, high: 2 %, unit: mm}", "not a length"),
        ("{distribution: normal, value: .inf, u: 1}", "not a finite number"),
    ],
)
def test_what_others_call_it_is_answered_with_our_name(line: str, hint: str) -> None:
    with pytest.raises(RecipeProblems) as caught:
        one(line)
    said = [f"{p.message}; {p.hint}" for p in caught.value.problems]
    assert any(hint in text for text in said), said


def test_other_answers_to_slips() -> None:
    with pytest.raises(RecipeProblems) as caught:
        one("{distribution: normal, value: 3, u: 0}")
    assert [p.hint for p in caught.value.problems] == ["an exact number is written x: 3.0"]
    assert caught.value.problems[0].path == "inputs.x.u"
    with pytest.raises(RecipeProblems) as faults:
        parse_budget("model: {y: x}\ninputs: {x: 1}\n")
    assert any(p.hint == "add 'schema: abbe/budget/1'" for p in faults.value.problems)
    with pytest.raises(RecipeProblems) as faults:
        parse_budget("schema: abbe/budget/1\nmodel: {y: x}\ninputs: {x: 1}\ncoverage: {p: 95}\n")
    assert any("0.95 or '95 %'" in p.message for p in faults.value.problems)
    with pytest.raises(ParameterError, match="beyond the range"):
        one("{distribution: normal, value: 1e100, u: 1e98}", "x * x")


def test_a_difference_of_equal_inputs_has_no_region() -> None:
    text = (
        "schema: abbe/budget/1\nmodel: {y: a - b, z: a + b}\n"
        "inputs: {a: {distribution: normal, value: 10, u: 1}, b: {distribution: normal, value: 3, u: 1}}\n"
        "correlations: [{between: [a, b], r: 1}]\nmonte_carlo: {trials: 1000}\n"
    )
    document = evaluate(parse_budget(text)).to_dict()
    assert "does not vary" in document["vector"]["region"]
