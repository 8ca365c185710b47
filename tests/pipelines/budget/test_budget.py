"""``abbe budget``: examples, JCGM cases through the file, faults with their places, hostile expressions, files."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from pipelines.budget.evaluate import evaluate
from pipelines.budget.expression import Expression, ExpressionError
from pipelines.budget.load import parse_budget
from pipelines.budget.template import TEMPLATE
from pipelines.cli import main
from pipelines.recipe.problems import RecipeProblems

MASS = """
schema: abbe/budget/1
model: {dm: (mRc + dmRc) * (1 + (ra - 1.2) * (1 / rW - 1 / rR)) - 100000}
inputs:
  mRc: {distribution: normal, value: 100000, u: 0.05}
  dmRc: {distribution: normal, value: 1.234, u: 0.02}
  ra: {distribution: rectangular, low: 1.10, high: 1.30}
  rW: {distribution: rectangular, low: 7000, high: 9000}
  rR: {distribution: rectangular, value: 8000, half_width: 50}
gum: {order: 2}
monte_carlo: {trials: 200000}
"""


def test_the_template_is_the_example_and_runs(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    assert main(["budget", "--template"]) == 0
    assert capsys.readouterr().out == TEMPLATE
    example = repository / "examples" / "budget_gauge_block.yaml"
    assert example.read_text(encoding="utf-8") == TEMPLATE
    assert main(["budget", str(example), "--json", "--trials", "100000"]) == 0
    document = json.loads(capsys.readouterr().out)
    output = document["outputs"][0]
    # JCGM 101 Table 11: 838 nm, u 32 and 36
    assert round(output["gum"]["value"]) == 50_000_838 and round(output["gum"]["standard_uncertainty"]) == 32
    mc = output["monte_carlo"]
    assert abs(mc["standard_uncertainty"] - 35.8) <= 4 * mc["standard_error_of_uncertainty"] + 0.05
    assert output["validation"]["valid"] is True and document["trials"] == 100_000
    assert sum(row["share"] for row in output["gum"]["budget"]) == pytest.approx(1.0)


def test_the_impedance_example(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    assert main(["budget", str(repository / "examples" / "budget_impedance.yaml"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    r = {row["name"]: row["gum"] for row in document["outputs"]}
    assert round(r["R"]["value"], 3) == 127.732 and round(r["R"]["standard_uncertainty"], 3) == 0.071  # GUM H.2
    assert document["vector"]["gum_correlation"][0][1] == pytest.approx(-0.588, abs=5e-4)
    assert document["flags"] == ["no_finite_variance"]  # five readings of three quantities leave 2 degrees of freedom


def test_mass_calibration_with_second_order() -> None:
    result = evaluate(parse_budget(MASS))
    gum = result.gum["dm"]
    assert round(gum.value, 4) == 1.2340 and round(gum.u, 4) == 0.0750  # JCGM 101 Table 6
    e_mean, e_u = result.drawn.standard_error()
    assert abs(result.drawn.u[0] - 0.07546) <= 4 * e_u and abs(result.drawn.mean[0] - 1.2341) <= 4 * e_mean + 5e-5


def test_every_distribution_through_the_file() -> None:
    rows = {
        "a": "{distribution: normal, value: 1, expanded: 0.2, k: 2}",
        "b": "{distribution: triangular, low: 0, high: 1}",
        "c": "{distribution: arcsine, value: 0, half_width: 1}",
        "d": "{distribution: trapezoidal, low: 0, high: 1, beta: 0.5}",
        "f": "{distribution: exponential, mean: 2}",
        "g": "{distribution: gamma, shape: 2, scale: 3}",
        "h": "{distribution: counting, count: 7}",
        "i": "{distribution: beta, a: 2, b: 3, low: 0, high: 1}",
        "j": "{distribution: lognormal, median: 1, s: 0.2}",
        "k": "{distribution: weibull, shape: 2, scale: 1}",
        "l": "{distribution: readings, readings: [1.0, 1.1, 0.9, 1.05]}",
        "m": "{distribution: t, value: 0, dof: 5, sd: 0.1}",
        "n": "{distribution: normal, value: 25.4 um, u: 10 nm, unit: mm}",
        "o": "2.5",
    }
    inputs = "\n".join(f"  {name}: {text}" for name, text in rows.items())
    text = (
        f"schema: abbe/budget/1\nmodel: {{y: {' + '.join(rows)}}}\ninputs:\n{inputs}\nmonte_carlo: {{trials: 20000}}\n"
    )
    result = evaluate(parse_budget(text))
    variance = sum(row.distribution.sd**2 for row in result.model.base.values())
    assert result.drawn.u[0] == pytest.approx(math.sqrt(variance), rel=0.05)
    assert result.model.base["n"].distribution.mean == 0.0254 and result.model.base["n"].distribution.sd == 1e-5
    assert result.model.base["l"].evaluation == "A"


def test_a_stationary_point_and_a_point_without_derivative() -> None:
    text = "schema: abbe/budget/1\nmodel: {y: %s}\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n"
    flat = evaluate(parse_budget(text % "x**2"))
    assert "stationary" in str(flat.validations["y"])
    kink = evaluate(parse_budget(text % "abs(x)"))
    assert kink.gum is None and "derivative" in str(kink.gum_failure)
    json.dumps(kink.to_dict(), allow_nan=False)
    assert kink.drawn.mean[0] == pytest.approx(math.sqrt(2 / math.pi), abs=4e-3)  # half normal


THREE = """schema: abbe/budget/1
model: {y: a + b + c + d}
inputs:
  a: {distribution: normal, value: 0, u: 1}
  b: {distribution: normal, value: 0, u: 1}
  c: {distribution: normal, value: 0, u: 1}
  d: {distribution: exponential, mean: 1}
correlations:
"""
FAULTS = [
    ("schema: abbe/budget/1\nmodel: {y: x + zz}\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n",
     "recipe/expression", 2, "unknown name 'zz'"),
    ("schema: abbe/budget/1\nmodel:\n  y: x ^ 2\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n",
     "recipe/expression", 3, "not part of the language"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normall, value: 0, u: 1}\n",
     "recipe/unknown-choice", 4, "normall"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normal, value: 0, uu: 1}\n",
     "recipe/unknown-key", 4, "unknown key 'uu'"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: t, value: 0, dof: 3}\n",
     "recipe/contradiction", 4, "say which one"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normal, value: 0, u: 1, low: 2}\n",
     "recipe/contradiction", 4, "'low' does not belong"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normal, value: 0, u: 1}\n  z: 3\n",
     "recipe/contradiction", 5, "not used"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normal, value: 1 furlong, u: 1}\n",
     "recipe/bad-unit", 4, "unknown unit"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: normal, value: 1 V, u: 1}\n",
     "recipe/wrong-dimension", 4, "not a ratio"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n"
     "correlations:\n  - {between: [x, q], r: 0.1}\n", "recipe/bad-value", 5, "no input 'q'"),
    ("schema: abbe/budget/1\nmodell: {y: x}\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n",
     "recipe/unknown-key", 2, "modell"),
    ("schema: abbe/budget/1\nmodel: {sin: x}\ninputs: {x: {distribution: normal, value: 0, u: 1}}\n",
     "recipe/duplicate-name", 2, "is a function"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x:\n    distribution: normal\n    value: 0\n    u: -1\n",
     "recipe/bad-value", 7, "positive"),
    ("schema: abbe/budget/1\nmodel: {y: x}\ninputs:\n  x: {distribution: rectangular, low: 2, high: 1}\n",
     "recipe/bad-value", 4, "below"),
    (THREE + "  - {between: [a, b], r: 0.9}\n  - {between: [b, c], r: 0.9}\n  - {between: [a, c], r: -0.9}\n",
     "recipe/contradiction", 8, "not positive semi-definite"),
    (THREE + "  - {between: [a, b], r: 0.9}\n  - {between: [b, a], r: 0.9}\n",
     "recipe/duplicate-name", 10, "stated already in line 9"),
    (THREE + "  - {between: [a, b], r: 0.5}\n  - {between: [a, d], r: -0.95}\n",
     "recipe/bad-value", 10, "cannot have this correlation"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "line", "words"), FAULTS)
def test_faults_have_places(text: str, code: str, line: int, words: str) -> None:
    with pytest.raises(RecipeProblems) as caught:
        parse_budget(text)
    found = [(p.code, p.line) for p in caught.value.problems]
    assert (code, line) in found, [p.render() for p in caught.value.problems]
    assert any(words in p.message for p in caught.value.problems)


def test_the_column_of_a_fault_inside_an_expression() -> None:
    with pytest.raises(RecipeProblems) as caught:
        parse_budget(FAULTS[0][0])
    fault = next(p for p in caught.value.problems if "zz" in p.message)
    assert FAULTS[0][0].splitlines()[1][fault.column - 1 : fault.column + 1] == "zz"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')", "x.__class__", "x[0]", "lambda: 1", "[x for x in y]", "f(x)", "x if y else z",
        "'text'", "x = 3", "sin(x, y)", "(" * 500 + "x" + ")" * 500, "1" + " + 1" * 3000, "x and y", "True", "3j",
        "open(x)", "sin(x=1)", "x > 3", "where(x, 1, 2)", "",
    ],
)  # fmt: skip
def test_hostile_and_wrong_expressions(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text)


def test_expressions_compute_what_they_say() -> None:
    values = {"x": 0.3, "y": np.array([1.0, 2.0]), "pi": math.pi}
    for text, expected in {
        "-x ** 2 + 2 * (y - 1)": -(0.3**2) + 2 * (values["y"] - 1),
        "where(y > 1.5, x, max(y, 3, x))": np.array([3.0, 0.3]),
        "atan2(sin(pi / 6), cos(pi / 6)) + ln(exp(x)) + hypot(3, 4)": math.pi / 6 + 0.3 + 5.0,
    }.items():
        assert Expression(text)(values) == pytest.approx(expected)


def test_files_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "mass.yaml"
    model.write_text(MASS, encoding="utf-8")
    assert main(["budget", str(model), "--out", str(tmp_path / "out"), "--trials", "adaptive", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    assert "GUM, order 2" in shown and "Monte Carlo" in shown and "JCGM 101 8.1.3" in shown
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["budget-dm.svg", "budget.csv", "budget.json"]
    root = ET.fromstring((tmp_path / "out" / "budget-dm.svg").read_text(encoding="utf-8"))
    assert root.tag.endswith("svg") and len(list(root)) > 20
    assert "second-order terms" in (tmp_path / "out" / "budget-dm.svg").read_text(encoding="utf-8")
    rows = (tmp_path / "out" / "budget.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 5 and rows[0].startswith("output,input")
    again = json.loads((tmp_path / "out" / "budget.json").read_text(encoding="utf-8"))
    assert again["adaptive"] is True and again["converged"] is True


def test_wrong_use_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["budget"]) == 2
    assert main(["budget", str(tmp_path / "absent.yaml")]) == 2
    broken = tmp_path / "broken.yaml"
    broken.write_text(FAULTS[3][0], encoding="utf-8")
    assert main(["budget", str(broken), "--json"]) == 2
    out = capsys.readouterr().out
    assert json.loads(out)["error"]["problems"][0]["line"] == 4
    good = tmp_path / "good.yaml"
    good.write_text(MASS, encoding="utf-8")
    assert main(["budget", str(good), "--trials", "few"]) == 2
