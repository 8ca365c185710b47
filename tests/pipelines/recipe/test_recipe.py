"""Sound recipes: digests, exact units, templates, the published schema, conversion to the core's types."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrology_core.errors import UnitError
from pipelines.plan import dump_recipe
from pipelines.recipe import (
    Recipe,
    amount,
    calibration_flags,
    decision_rule,
    instrument,
    load_recipe,
    parse_recipe,
    recipe_schema,
    template,
    tolerance,
)
from pipelines.recipe.load import recipe_digest
from pipelines.recipe.templates import TEMPLATES
from tests.pipelines.recipe.test_recipe_errors import BASE


@pytest.mark.parametrize("kind", TEMPLATES)
def test_templates_are_sound_recipes(kind: str) -> None:
    loaded = parse_recipe(template(kind))
    assert loaded.recipe.measure.kind == kind


def test_each_template_has_a_heading_of_its_own() -> None:
    heads = {kind: template(kind).splitlines()[0] for kind in TEMPLATES}
    assert len(set(heads.values())) == len(TEMPLATES)
    assert "contacts" in heads["sem_contacts"] and "contours" in heads["sem_contours"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: ring\n", "# a remark\nname:   'ring'   # another\n"),
        ("noise: 0.4 um", "noise: 400 nm"),
        ("noise: 0.4 um", "noise: 0.0004 mm"),
        ("noise: 0.4 um", "noise: 4e-4 mm"),
        ("tip_radius: 1.5 mm", "tip_radius: 1500 \u00b5m"),
        ("tolerance: {minus: 10 um, plus: 15 um}", "tolerance:\n        plus: 0.015 mm\n        minus: 0.01 mm"),
        ("of: bore, nominal", "of: [bore], nominal"),
        ("per_length: 3 um/m", "per_length: 3 ppm"),
    ],
)
def test_spelling_does_not_change_the_digest(old: str, new: str) -> None:
    assert old in BASE
    text = BASE.replace(old, new, 1)
    if (
        "\n        plus" in new
    ):  # the block form does not fit into a flow mapping: write that characteristic in block form
        line = next(row for row in BASE.splitlines() if "name: size" in row)
        block = (
            "    - name: size\n      characteristic: iso14405.GG\n      of: bore\n      nominal: 60 mm\n"
            "      tolerance:\n        plus: 0.015 mm\n        minus: 0.01 mm"
        )
        text = BASE.replace(line, block)
    assert parse_recipe(text).sha256 == parse_recipe(BASE).sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("noise: 0.4 um", "noise: 0.5 um"),
        ("seed: 7", "seed: 8"),
        ("plus: 15 um", "plus: 16 um"),
        ("nominal: 60 mm", "nominal: 6 cm"),  # the result is given in the unit of the nominal
        ("name: bore, feature", "name: bore, material: outside, feature"),
    ],
)
def test_content_changes_the_digest(old: str, new: str) -> None:
    text = BASE.replace(old, new, 1)
    if "material" in new:
        text = text.replace(", material: outside}", ", direction: [0, 0, 1]}", 1)
    assert parse_recipe(text).sha256 != parse_recipe(BASE).sha256


def test_the_plain_form_gives_the_same_recipe_back() -> None:
    loaded = parse_recipe(BASE)
    again = Recipe.model_validate(json.loads(json.dumps(dump_recipe(loaded.recipe))))
    assert recipe_digest(again, {}) == loaded.sha256


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e6", max_value="1e6", places=7),
    st.sampled_from(["m", "cm", "mm", "um", "nm", "inch"]),
)
def test_amounts_convert_with_one_rounding(number: object, unit: str) -> None:
    """Equal lengths in two spellings give the same bits in every unit: the digest may ignore the spelling."""
    factor = {"m": "1", "cm": "0.01", "mm": "0.001", "um": "1e-6", "nm": "1e-9", "inch": "0.0254"}
    exact = Fraction(str(number)) * Fraction(factor[unit])
    found = amount(f"{number} {unit}")
    for target, value in factor.items():
        assert found.to(target) == float(exact / Fraction(value))


def test_amounts_refuse_other_dimensions_and_bombs() -> None:
    with pytest.raises(UnitError):
        amount("1 mm").to("deg")
    with pytest.raises(UnitError):
        amount("1e999999999 mm")
    assert amount("20 degC").to("degC") == 20.0


def test_limits_are_added_exactly() -> None:
    """60 - 0.01 and 60 + 0.015 as the nearest doubles of the exact sums, not as sums of rounded doubles."""
    size, form, *_ = parse_recipe(BASE).recipe.measure.characteristics
    limits = tolerance(size, "mm")
    assert limits is not None and form.tolerance is not None
    assert (limits.lower, limits.upper, limits.nominal) == (59.99, 60.015, 60.0)
    upper = tolerance(form, "mm")
    assert upper is not None
    assert (upper.lower, upper.upper) == (None, 0.02)


def test_instrument_and_rule_reach_the_core() -> None:
    recipe = parse_recipe(BASE).recipe
    made = instrument(recipe.instrument, "um")
    assert made is not None
    assert (made.mpe_constant, made.noise, made.temperature, made.temperature_u) == (1.5, 0.4, 20.3, 0.2)
    assert made.mpe_per_length == 3e-6
    assert decision_rule(recipe.decision).probability == 0.95
    simple = BASE.replace(
        "{rule: iso14253-1, proving: conformity, probability: 0.95}", "{rule: guard_band, guard_factor: 0.5}"
    )
    rule = decision_rule(parse_recipe(simple).recipe.decision)
    assert (rule.kind, rule.factor) == ("guard_band", 0.5)


@pytest.mark.parametrize(
    ("time", "flags"),
    [
        ("2027-06-30T23:59:59+02:00", ()),
        ("2027-07-01T00:00:00+02:00", ("calibration_expired",)),
        (None, ("calibration_date_unknown",)),
        ("yesterday", ("calibration_date_unknown",)),
    ],
)
def test_calibration_is_judged_by_the_acquisition_alone(time: str | None, flags: tuple[str, ...]) -> None:
    assert calibration_flags(parse_recipe(BASE).recipe, time) == flags


def with_curve(text: str) -> str:
    line = "    - {name: prof, characteristic: iso1101.line_profile, of: tip, in: AB, tolerance: {max: 60 um}, "
    return text + line + "nominal_curve: {file: nominal/section.csv, unit: mm}}\n"


def test_files_of_the_recipe_are_part_of_its_digest(tmp_path: Path) -> None:
    (tmp_path / "nominal").mkdir()
    (tmp_path / "nominal" / "section.csv").write_text("0,0\n1,1\n")
    (tmp_path / "r.yaml").write_text(with_curve(BASE))
    first = load_recipe(tmp_path / "r.yaml")
    assert list(first.recipe.files()) == ["nominal/section.csv"]
    assert first.recipe.file_path("nominal/section.csv").read_text().startswith("0,0")
    (tmp_path / "nominal" / "section.csv").write_text("0,0\n1,2\n")
    assert load_recipe(tmp_path / "r.yaml").sha256 != first.sha256


def test_an_instrument_in_a_file_is_the_same_as_inline(tmp_path: Path) -> None:
    lines = BASE.splitlines(keepends=True)
    start, end = lines.index("instrument:\n"), next(i for i, line in enumerate(lines) if line.startswith("decision"))
    (tmp_path / "cmm.yaml").write_text("".join(line[2:] for line in lines[start + 1 : end]))
    (tmp_path / "r.yaml").write_text("".join([*lines[:start], "instrument: {file: cmm.yaml}\n", *lines[end:]]))
    assert load_recipe(tmp_path / "r.yaml").sha256 == parse_recipe(BASE).sha256


def test_the_published_schema_is_current() -> None:
    path = Path(__file__).parents[3] / "pipelines" / "recipe" / "recipe-1.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == recipe_schema(), "write it again: abbe recipe schema > FILE"


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    schema = recipe_schema()
    objects = [schema, *schema["$defs"].values()]
    shapes = [shape for item in objects for shape in [item, *item.get("anyOf", [])] if shape.get("type") == "object"]
    assert len(shapes) > 15
    assert all(shape["additionalProperties"] is False for shape in shapes)
