"""Digital calibration certificates as inputs, and the check of units across expressions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from metrology_core.errors import ReaderError
from pipelines.budget.certificate import converted, read_certificate
from pipelines.budget.evaluate import evaluate
from pipelines.budget.expression import ExpressionError
from pipelines.budget.load import LoadedBudget, parse_budget
from pipelines.budget.unit_algebra import conversion, read_unit, unit_of
from pipelines.cli import main
from pipelines.recipe.problems import RecipeProblems

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<dcc:digitalCalibrationCertificate xmlns:dcc="https://ptb.de/dcc" xmlns:si="https://ptb.de/si" schemaVersion="3.3.0">
 <dcc:administrativeData><dcc:coreData><dcc:uniqueIdentifier>GB-17</dcc:uniqueIdentifier>
  <dcc:beginPerformanceDate>2026-03-01</dcc:beginPerformanceDate></dcc:coreData>
  <dcc:calibrationLaboratory><dcc:contact><dcc:name><dcc:content>Lab</dcc:content></dcc:name></dcc:contact>
  </dcc:calibrationLaboratory></dcc:administrativeData>
 <dcc:measurementResults><dcc:measurementResult><dcc:results><dcc:result>
  <dcc:name><dcc:content lang="de">Laenge</dcc:content><dcc:content lang="en">length</dcc:content></dcc:name>
  <dcc:data>"""
TAIL = "</dcc:data></dcc:result></dcc:results></dcc:measurementResult></dcc:measurementResults>"
END = f"{TAIL}</dcc:digitalCalibrationCertificate>"
OLD = r"""<dcc:quantity id="L" refType="basic_measuredValue gb_length">
 <dcc:name><dcc:content>length</dcc:content></dcc:name>
 <si:real><si:value>50.000623</si:value><si:unit>\milli\metre</si:unit>
 <si:expandedUnc><si:uncertainty>0.00005</si:uncertainty><si:coverageFactor>2</si:coverageFactor>
 <si:coverageProbability>0.95</si:coverageProbability></si:expandedUnc></si:real></dcc:quantity>"""
NEW = r"""<dcc:quantity id="M"><si:hybrid><si:realListXMLList><si:valueXMLList>1 2 3</si:valueXMLList>
 <si:unitXMLList>\micro\metre</si:unitXMLList><si:measurementUncertaintyUnivariateXMLList><si:expandedMUXMLList>
 <si:valueExpandedMUXMLList>0.2 0.4 0.6</si:valueExpandedMUXMLList>
 <si:coverageFactorXMLList>2</si:coverageFactorXMLList>
 </si:expandedMUXMLList></si:measurementUncertaintyUnivariateXMLList></si:realListXMLList></si:hybrid></dcc:quantity>
 <dcc:quantity id="S"><si:real><si:value>3</si:value><si:unit>\kelvin</si:unit><si:measurementUncertaintyUnivariate>
 <si:standardMU><si:valueStandardMU>0.1</si:valueStandardMU><si:distribution>uniform</si:distribution></si:standardMU>
 </si:measurementUncertaintyUnivariate></si:real></dcc:quantity>
 <dcc:quantity id="bare"><si:real><si:value>7</si:value><si:unit>\one</si:unit></si:real></dcc:quantity>"""
BUDGET = """
schema: abbe/budget/1
model: {y: L + d}
outputs: {y: {unit: nm}}
inputs:
  L: {distribution: certificate, file: cert.xml, quantity: gb_length, unit: nm}
  d: {distribution: certificate, file: cert.xml, quantity: M, item: 2, unit: nm}
monte_carlo: {trials: 100000}
"""


def written(folder: Path, *quantities: str) -> Path:
    (folder / "cert.xml").write_text(HEAD + "".join(quantities) + END, encoding="utf-8")
    return folder / "cert.xml"


def test_both_forms_of_the_uncertainty(tmp_path: Path) -> None:
    found = read_certificate(written(tmp_path, OLD, NEW))
    assert (found.identifier, found.performed, found.laboratory) == ("GB-17", "2026-03-01", "Lab")
    length, listed, hot, bare = found.quantities
    assert length.values == (50.000623,) and length.u == (0.000025,) and (length.k, length.p) == (2.0, 0.95)
    assert length.result == "length" and length.types == ("basic_measuredValue", "gb_length")
    assert listed.u == (0.1, 0.2, 0.3) and listed.unit == "\\micro\\metre"
    assert hot.u == (0.1,) and hot.distribution == "uniform" and bare.u is None
    value, u, unit = converted(length, None, "nm")
    assert value == pytest.approx(50_000_623.0, abs=1e-6) and u == pytest.approx(25.0, rel=1e-12) and unit == "nm"
    for item, unit, message in ((None, None, "list of 3"), (4, None, "no item 4"), (1, "kg", "does not convert")):
        with pytest.raises(ValueError, match=message):
            converted(listed, item, unit)
    with pytest.raises(ValueError, match="no uncertainty"):
        converted(bare, None, None)


def test_a_budget_takes_its_inputs_from_the_certificate(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    loaded = parse_budget(BUDGET, folder=tmp_path)
    spec = loaded.budget.inputs["L"]
    assert (spec.distribution, spec.unit, spec.type) == (
        "normal",
        "nm",
        "B",
    ) and spec.label == "length, certificate GB-17"
    result = evaluate(loaded)
    assert result.gum is not None
    assert result.gum["y"].value == pytest.approx(50_002_623.0, abs=1e-6)
    assert result.gum["y"].u == pytest.approx(math.hypot(25.0, 200.0), rel=1e-12)
    text = (
        BUDGET.replace("outputs: {y: {unit: nm}}", "")
        .replace("quantity: M, item: 2, unit: nm", "quantity: S, unit: K")
        .replace("L + d", "L * d")
    )
    assert parse_budget(text, folder=tmp_path).budget.inputs["d"].distribution == "rectangular"


def fault(text: str, folder: Path) -> str:
    with pytest.raises(RecipeProblems) as caught:
        parse_budget(text, folder=folder)
    return " | ".join(f"{p.message} ({p.hint})" for p in caught.value.problems)


def test_faults_of_certificates_are_told_at_their_input(tmp_path: Path) -> None:
    written(tmp_path, OLD, NEW)
    assert "0 quantities of 'cert.xml' are called 'gb_lenght' (did you mean 'gb_length'?)" in fault(
        BUDGET.replace("gb_length", "gb_lenght"), tmp_path
    )
    assert "there is no item 9" in fault(BUDGET.replace("item: 2", "item: 9"), tmp_path)
    assert "does not convert to kg" in fault(BUDGET.replace("item: 2, unit: nm", "item: 2, unit: kg"), tmp_path)
    assert "cannot be read" in fault(BUDGET.replace("cert.xml", "none.xml"), tmp_path)
    assert "stays inside its folder" in fault(BUDGET.replace("cert.xml", "../cert.xml"), tmp_path)
    (tmp_path / "twice.xml").write_text(HEAD + OLD + OLD.replace('id="L"', 'id="L2"') + END)
    assert "2 quantities" in fault(
        BUDGET.replace("file: cert.xml, quantity: gb_length", "file: twice.xml, quantity: gb_length"), tmp_path
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<a/>", "is no DCC"),
        (HEAD, "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY e "v">]><a>&e;</a>', "document type or an entity"),
        (HEAD + OLD.replace("50.000623", "fifty") + END, "not a number"),
        (HEAD + OLD.replace("<si:coverageFactor>2</si:coverageFactor>", "") + END, "no coverage factor"),
        (HEAD + OLD.replace("<si:coverageFactor>2<", "<si:coverageFactor>0<") + END, "negative"),
        (HEAD + NEW.replace("0.2 0.4 0.6", "0.2 0.4") + END, "as many uncertainties"),
        (HEAD + OLD.replace("<si:value>50.000623</si:value>", "") + END, "no value or no unit"),
    ],
)
def test_damaged_certificates_are_refused_with_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReaderError, match=message) as caught:
        read_certificate(path)
    assert "bad.xml" in str(caught.value)


def test_a_public_certificate(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GP_DCC_temperature_resistance_1.2 of PTB: nine resistances with U at k = 2, as printed there."""
    path = data_root / "uncertainty" / "dcc_lutaml" / "valid_formula.xml"
    found = read_certificate(path)
    resistance = found.find("basic_measuredValue")[0]
    value, u, _ = converted(resistance, 3, "ohm")
    assert (value, u) == pytest.approx((107.8300, 0.0042 / 2.0), rel=1e-12) and len(resistance.values) == 9
    assert found.schema == "3.3.0" and found.identifier == "GP_DCC_temperature_resistance_1.2"
    assert main(["budget", "--certificate", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [q["id"] for q in document["quantities"]][:5] == [None, None, "R0", "A", "B"]
    assert main(["budget", "--certificate", str(path)]) == 0
    assert "basic_measuredValue" in capsys.readouterr().out


# --- units
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("um/(m.K)", "ppm/K"), ("N m", "J"), ("kg m^2 s^-2", "J"), ("V/A", "ohm"), ("m3", "m^3"), ("mm^2", "1e-6"),
        ("\\kilogram\\metre\\tothe{2}\\ampere\\tothe{-2}\\second\\tothe{-3}", "ohm"), ("\\metre\\per\\second", "m/s"),
        ("\\per\\kelvin", "1/K"), ("\u00b5m", "um"), ("\\micro\\metre", "um"), ("\u2126", "ohm"),
    ],
)  # fmt: skip
def test_spellings_of_one_unit(text: str, same: str) -> None:
    a = read_unit(text)
    assert a is not None
    if same == "1e-6":
        assert a.factor == pytest.approx(1e-6)
        return
    b = read_unit(same)
    assert b is not None and a.powers == b.powers and a.factor == pytest.approx(b.factor, rel=1e-12)


def test_what_is_not_known_is_not_guessed() -> None:
    for text in ("HRC", "counts", "m/s/s", "m/s.K", "\\furlong", "\\tothe{2}", "\\milli", ""):
        assert read_unit(text) is None, text
    assert conversion("HRC", "HRC") == 1.0 and conversion("HRC", "m") is None
    assert conversion("degC", "K") is None and conversion("mK", "K") == pytest.approx(1e-3)


UNITS = {name: read_unit(unit) for name, unit in {
    "L": "mm", "d": "um", "t": "s", "T": "degC", "dT": "K", "a": "1/K", "w": "deg", "r": "rad", "V": "V", "I": "A",
}.items()}  # fmt: skip
UNITS["x"] = None


@pytest.mark.parametrize(
    ("expression", "unit"),
    [
        ("L + 1e-3 * d", "mm"), ("L * (1 + a * dT)", "mm"), ("L * a * (T - 20)", "mm"), ("2 * pi * L", "mm"),
        ("V / I", "ohm"), ("sqrt(L**2 + L * L)", "mm"), ("hypot(L, L)", "mm"), ("L * sin(r)", "mm"),
        ("L * cos(radians(w))", "mm"), ("L / t**2", "mm/s^2"), ("where(L > L, L, L)", "mm"), ("max(L, L)", "mm"),
        ("exp(a * dT)", "1"), ("log(L / L)", "1"), ("L * L**(1/2) / sqrt(L)", "mm"), ("atan2(L, L)", "rad"),
        ("-L + abs(L)", "mm"), ("L - 0.5 * L", "mm"), ("L + d / 1000", "mm"), ("1e3 * L + d", "um"),
        ("d + 10 * d", "um"), ("1e6 * a * dT", "ppm"), ("100 * (L - L) / L", "%"), ("L + 2.5e-3 * d", "mm"),
        ("L + 1e-3 * (d + 10 * d)", "mm"), ("sin(1e-3 * r)", "1"),
    ],
)  # fmt: skip
def test_sound_expressions(expression: str, unit: str) -> None:
    found, wanted = unit_of(expression, UNITS), read_unit(unit)
    assert found is not None and wanted is not None and found.agrees(wanted)


@pytest.mark.parametrize(
    ("expression", "message", "start"),
    [
        ("L + t", "stand in one sum", 0), ("V + L + d", "stand in one sum", 0), ("1 + (L - d)", "stand in one sum", 5),
        ("sin(w)", "takes radians, not degrees", 0), ("exp(L)", "quantity in", 0), ("L**t", "needs a number", 0),
        ("hypot(L, d)", "stand in one sum", 0), ("radians(L)", "takes|quantity in", 0),
        ("where(L > t, 1, 2)", "one sum", 6), ("L + 1000 * d", "one sum", 0), ("L + d / 1e6", "one sum", 0),
        ("L + (1e-3 * d - d)", "one sum", 0), ("sqrt(L**2 + (1000 * d)**2)", "one sum", 5),
    ],
)  # fmt: skip
def test_contradictions_are_found_at_their_place(expression: str, message: str, start: int) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        unit_of(expression, UNITS)
    assert caught.value.start == start


def test_what_is_unknown_agrees_with_everything() -> None:
    for expression in ("x + L", "x + t", "L * x", "x**2", "sin(x)", "2 + 3"):
        unit_of(expression, UNITS)


def test_the_check_in_a_budget() -> None:
    text = """
schema: abbe/budget/1
model: {y: L + d}
outputs: {y: {unit: mm}}
inputs:
  L: {distribution: normal, value: 10, u: 0.1, unit: mm}
  d: {distribution: normal, value: 3, u: 1, unit: um}
"""
    message = fault(text, Path())
    assert "stand in one sum" in message and "check_units: false" in message
    assert isinstance(parse_budget(text + "check_units: false\n"), LoadedBudget)
    wrong = text.replace("L + d", "L * d")
    assert "the output is said to be in mm" in fault(wrong, Path())
    assert isinstance(parse_budget(text.replace("L + d", "L + 1e-3 * d")), LoadedBudget)
