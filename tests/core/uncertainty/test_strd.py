"""Least squares, variance and analysis of variance against NIST's certified values: log relative error (LRE)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import FitError, ParameterError
from metrology_core.uncertainty import linear
from metrology_core.uncertainty.exact import one_way, summary
from metrology_core.uncertainty.linear import linear_fit, polynomial_fit
from metrology_core.uncertainty.nonlinear import nonlinear_fit
from tests.core.uncertainty.strd import MODELS, NUMBER, lre, nonlinear

# values and standard errors agree to 9 digits or more (the certificates give 11); the target
LRE = 9.0
STAGED = (
    "Bennett5", "BoxBOD", "Chwirut2", "DanWood", "ENSO", "Eckerle4", "Gauss1", "Gauss3", "Kirby2", "Lanczos1",
    "Lanczos3", "MGH09", "MGH17", "Misra1a", "Misra1c", "Misra1d", "Nelson", "Rat42",
)  # fmt: skip
# noise of Wampler 3: symmetric, orthogonal to the fifth-degree polynomials on 0..20
WAMPLER = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
WAMPLER = [*WAMPLER, *WAMPLER[-2::-1]]
# the carrier of these two left NIST's certificate out
CARRIED_WITHOUT = {
    "Lew": (-177.435, 277.332168044316, -0.307304800605679),
    "Lottery": (518.958715596330, 291.699727470969, -0.120948622967393),
}
LONGLEY = """60323 83.0 234289 2356 1590 107608 1947;61122 88.5 259426 2325 1456 108632 1948
60171 88.2 258054 3682 1616 109773 1949;61187 89.5 284599 3351 1650 110929 1950
63221 96.2 328975 2099 3099 112075 1951;63639 98.1 346999 1932 3594 113270 1952
64989 99.0 365385 1870 3547 115094 1953;63761 100.0 363112 3578 3350 116219 1954
66019 101.2 397469 2904 3048 117388 1955;67857 104.6 419180 2822 2857 118734 1956
68169 108.4 442769 2936 2798 120445 1957;66513 110.8 444546 4681 2637 121950 1958
68655 112.6 482704 3813 2552 123366 1959;69564 114.2 502601 3931 2514 125368 1960
69331 115.7 518173 4806 2572 127852 1961;70551 116.9 554894 4007 2827 130081 1962"""


@pytest.mark.real_data
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", STAGED)
def test_nonlinear_sets_from_both_starts(data_root: Path, name: str, start: int) -> None:
    found = nonlinear(data_root / "uncertainty" / "nist_strd_nonlinear" / f"{name}.dat")
    data = found["data"]
    y, x = data[:, 0], data[:, 1]
    if name == "Nelson":
        y, x = np.log(y), (data[:, 1], data[:, 2])
    fitted = nonlinear_fit(MODELS[name], x, y, {f"b{i + 1}": v for i, v in enumerate(found["starts"][start])}).require()
    assert min(map(lre, fitted.coefficients, found["values"])) >= LRE
    if name != "Lanczos1":  # its residuals are the rounding of the data (1e-13): no double precision knows them
        assert min(map(lre, fitted.standard_errors, found["errors"])) >= LRE
        assert lre(fitted.rss, found["rss"]) >= LRE


def test_the_canyon_of_mgh10_from_its_far_start() -> None:
    """NIST MGH10, the set that most algorithms leave at start 1; projecting out the linear parameter finds the way."""
    y = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
    fitted = nonlinear_fit(MODELS["MGH10"], np.arange(50.0, 126.0, 5.0), y, {"b1": 2.0, "b2": 4e5, "b3": 25e3})
    assert fitted.require().status == "converged"
    assert min(map(lre, fitted.coefficients, [5.6096364710e-3, 6.1813463463e3, 3.4522363462e2])) >= LRE
    assert min(map(lre, fitted.standard_errors, [1.5687892471e-4, 2.3309021107e1, 7.8486103508e-1])) >= LRE


@pytest.mark.real_data
def test_norris(data_root: Path) -> None:
    text = (data_root / "uncertainty" / "nist_strd_linear" / "Norris.dat").read_text()
    certified = [[float(v) for v in re.search(rf"B{k}\s+({NUMBER})\s+({NUMBER})", text).groups()] for k in (0, 1)]
    rows = [line.split() for line in text[text.rindex("Data:") :].splitlines()[1:] if line.strip()]
    fitted = polynomial_fit([row[1] for row in rows], [row[0] for row in rows], 1)  # texts: not even input rounding
    assert min(map(lre, fitted.coefficients, [row[0] for row in certified])) >= 14
    assert min(map(lre, fitted.standard_errors, [row[1] for row in certified])) >= 14
    assert lre(fitted.residual_sd, 0.884796396144373) >= 14
    assert lre(fitted.r_squared, 0.999993745883712) >= 14
    assert lre(fitted.f, 5436385.54079785) >= 14


def longley() -> tuple[list[list[str]], list[str]]:
    rows = [line.split() for line in re.split(r"[;\n]", LONGLEY)]
    return [["1", *row[1:]] for row in rows], [row[0] for row in rows]


def test_longley_exactly_and_by_refined_qr(monkeypatch: pytest.MonkeyPatch) -> None:
    design, y = longley()
    values = [
        -3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683, -1.03322686717359,
        -0.0511041056535807, 1829.15146461355,
    ]  # fmt: skip
    errors = [
        890420.383607373, 84.9149257747669, 0.0334910077722432, 0.488399681651699, 0.214274163161675,
        0.226073200069370, 455.478499142212,
    ]  # fmt: skip
    fitted = linear_fit(design, y)
    assert min(map(lre, fitted.coefficients, values)) >= 14
    assert min(map(lre, fitted.standard_errors, errors)) >= 14
    assert lre(fitted.r_squared, 0.995479004577296) >= 14
    monkeypatch.setattr(linear, "EXACT_LIMIT", 0)  # the path of large problems
    refined = linear_fit(np.array(design, dtype=float), np.array(y, dtype=float))
    assert refined.method == "QR, refined"
    # condition 1e4 after scaling: the refined coefficients lose no digit to it, the covariance some
    assert min(map(lre, refined.coefficients, values)) >= 10
    assert min(map(lre, refined.standard_errors, errors)) >= 10


@pytest.mark.parametrize(("factor", "error", "sd"), [(1, 2152.32624678170, 2360.14502379268),
                                                     (100, 215232.624678170, 236014.502379268),
                                                     (10000, 21523262.4678170, 23601450.2379268)])  # fmt: skip
def test_wampler_3_to_5(factor: int, error: float, sd: float) -> None:
    x = range(21)
    y = [sum(v**k for k in range(6)) + factor * d for v, d in zip(x, WAMPLER)]
    fitted = polynomial_fit(list(x), y, 5)
    assert min(map(lre, fitted.coefficients, [1.0] * 6)) >= 15
    assert lre(fitted.standard_errors[0], error) >= 14
    assert lre(fitted.standard_errors[5], factor * 0.112324854679312) >= 14
    assert lre(fitted.residual_sd, sd) >= 14


def test_wampler_1_and_2_have_no_residual() -> None:
    x = range(21)
    one = polynomial_fit(list(x), [sum(v**k for k in range(6)) for v in x], 5)
    assert one.coefficients.tolist() == [1.0] * 6 and one.rss == 0.0 and not one.standard_errors.any()
    # the readings of Wampler 2 as decimal texts: exact
    texts = [str(sum(10 ** (5 - k) * v**k for k in range(6)) / 10**5) for v in x]
    two = polynomial_fit(list(x), texts, 5)
    assert min(map(lre, two.coefficients, [10.0**-k for k in range(6)])) >= 13


def test_filip_like_polynomial_of_degree_ten() -> None:
    """The condition of NIST's Filip (about 1e15): x in [-9, -3], degree 10, whole coefficients in readings that are
    rational numbers: recovered to the last bit."""
    x = [f"{-8.9 + 0.0725 * i:.4f}" for i in range(82)]
    from fractions import Fraction

    wanted = [7 * (-1) ** k * (k + 1) for k in range(11)]
    y = [sum(c * Fraction(v) ** k for k, c in enumerate(wanted)) for v in x]
    assert polynomial_fit(x, y, 10).coefficients.tolist() == wanted


def test_no_intercept_and_weights() -> None:
    one = polynomial_fit(range(60, 71), range(130, 141), 1, intercept=False)
    assert lre(one.coefficients[0], 2.07438016528926) >= 14
    assert lre(one.standard_errors[0], 0.0165289256198347) >= 14
    assert lre(one.r_squared, 0.999365492298663) >= 14
    two = polynomial_fit([4, 5, 6], [3, 4, 4], 1, intercept=False)
    assert lre(two.residual_sd, 0.369274472937998) >= 14 and lre(two.r_squared, 0.993348115299335) >= 14
    # a weighted mean: closed form
    mean = linear_fit([[1], [1], [1]], [10.0, 10.2, 10.1], u=[0.1, 0.2, 0.1])
    assert mean.coefficients[0] == pytest.approx((10.0 + 10.2 / 4 + 10.1) / 2.25, rel=1e-15)
    assert mean.standard_errors[0] == pytest.approx(0.1 / 1.5, rel=1e-15) and not mean.scaled


def test_large_problems_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(300), rng.normal(1e4, 1.0, 300), rng.normal(size=300)])
    y = x @ [3.0, 0.5, -2.0] + 0.1 * rng.standard_normal(300)
    exact = linear_fit(x, y)
    monkeypatch.setattr(linear, "EXACT_LIMIT", 0)
    refined = linear_fit(x, y)
    # scaled condition about 1e4: a refined solution keeps all but the last digits
    assert refined.coefficients == pytest.approx(exact.coefficients, rel=1e-12)
    assert refined.covariance == pytest.approx(exact.covariance, rel=1e-9)
    assert refined.r_squared == pytest.approx(exact.r_squared, rel=1e-12)
    weighted = linear_fit(x, y, u=np.full(300, 0.2))
    assert weighted.standard_errors == pytest.approx(exact.standard_errors * 0.2 / exact.residual_sd, rel=1e-9)


def test_wrong_use_of_the_fits() -> None:
    with pytest.raises(ParameterError, match="no full rank"):
        linear_fit([[1, 2], [2, 4], [3, 6]], [1, 2, 3])
    with pytest.raises(ParameterError, match="fewer readings"):
        linear_fit([[1, 2]], [1])
    with pytest.raises(ParameterError, match="do not fit"):
        linear_fit([[1, 2], [1]], [1, 2])
    with pytest.raises(ParameterError, match="not a finite"):
        linear_fit([[1.0], [1.0]], [1.0, float("nan")])
    with pytest.raises(ParameterError, match="finite value at the start"):
        nonlinear_fit(lambda x, a: np.log(a * x), [1.0, 2.0], [0.0, 1.0], {"a": -1.0})
    hopeless = nonlinear_fit(lambda x, a, b: a * x + b * x, [1.0, 2.0, 3.0], [1.0, 2.0, 4.0], {"a": 1.0, "b": 1.0})
    assert hopeless.status == "degenerate"  # only a + b can be told
    with pytest.raises(FitError, match="degenerate"):
        hopeless.require()


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["Lew", "Lottery", "Mavro", "Michelso", "NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4", "PiDigits"]
)
def test_univariate_sets(data_root: Path, name: str) -> None:
    text = (data_root / "uncertainty" / "nist_strd_univariate" / f"{name}.txt").read_text()
    certified = CARRIED_WITHOUT.get(name) or [
        float(re.search(rf"{label}\s*:\s*({NUMBER})", text).group(1)) for label in (r"ybar", r"\bs", r"r\(1\)")
    ]
    marker = "# Data" if name in CARRIED_WITHOUT else "---"
    body = [line for line in text[text.rindex(marker) :].splitlines()[1:] if not line.startswith("#")]
    found = summary([word for line in body for word in line.split()])
    got = (found.mean, found.deviation, found.autocorrelation)
    assert min(map(lre, got, certified)) >= 14  # readings are taken as the decimals that the file prints


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["SiRstv", "SmLs01", "SmLs03", "SmLs04", "SmLs06", "SmLs07", "SmLs09"])
def test_analysis_of_variance_sets(data_root: Path, name: str) -> None:
    text = (data_root / "uncertainty" / "nist_strd_anova" / f"{name}.dat").read_text()
    between = re.search(rf"Between .*?(\d+)\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})", text)
    within = re.search(rf"Within .*?(\d+)\s+({NUMBER})\s+({NUMBER})", text)
    sd = float(re.search(rf"Standard Deviation\s+({NUMBER})", text).group(1))
    groups: dict[str, list[str]] = {}
    for line in text[text.rindex("Data:") :].splitlines()[1:]:
        words = line.split()
        if len(words) == 2:
            groups.setdefault(words[0], []).append(words[1])
    found = one_way(list(groups.values()))
    assert (found.df_between, found.df_within) == (int(between.group(1)), int(within.group(1)))
    wanted = [float(between.group(2)), float(between.group(4)), float(within.group(2)), sd]
    # exact sums of the printed decimals: every certified digit, 13 leading digits in common or not
    assert min(map(lre, (found.ss_between, found.f, found.ss_within, found.residual_sd), wanted)) >= 13


def test_wrong_use_of_the_statistics() -> None:
    with pytest.raises(ParameterError, match="two readings"):
        summary([1.0])
    with pytest.raises(ParameterError, match="two groups"):
        one_way([[1.0, 2.0]])
    assert summary([2.0, 2.0, 2.0]).deviation == 0.0
