"""What a reader must not miss: parts not measured, measured in part, provisional verdicts, limits without a share."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metrology_core.flags import FLAGS
from pipelines.report import build_report, markup, model
from pipelines.report.i18n import catalogue


def _plain(text: str) -> str:
    return re.sub(r"<[^>]+>", "", text)


def _headline(index: Path) -> str:
    found = re.search(r'class="headline">(.*?)</p>', index.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return _plain(found.group(1))


def _counts(index: Path) -> list[int]:
    text = index.read_text(encoding="utf-8")
    return [int(n) for n in re.findall(r'class="tile v-\w+[^>]*><span class="count">(\d+)', text)]


def _good(synthetic: ModuleType, seed: int, **extra: Any) -> Any:
    """A part whose only characteristic conforms by a wide margin, whatever the seed."""
    part = synthetic.blade_part(f"part-{seed:03d}", seed, n=300)
    size = synthetic.measured(60.002, "mm", {"noise": 0.0001})
    kept = synthetic.measurement("bore diameter", "iso14405.GG", size, nominal=60.0, limits=(59.99, 60.015))
    part.document.update({"measurements": [kept], "views": [], "flags": [], **extra})
    return part


def _with_missing(synthetic: ModuleType, seed: int) -> Any:
    part = _good(synthetic, seed, flags=["partial_result"])
    lost = synthetic.measurement(
        "bore depth", "distance", None, nominal=40.0, limits=(39.9, 40.1), flags=("not_evaluated",)
    )
    part.document["measurements"].append(lost)
    return part


def test_the_banner_counts_what_was_not_measured(blade: Path) -> None:
    assert _headline(blade / "index.html").startswith("2 of 15 parts do not conform, 1 indeterminate, 3 not measured")
    assert sum(_counts(blade / "index.html")) == 15  # every planned part is in exactly one card
    assert "{n} 件未完成测量" in catalogue("zh")["index.plus.unmeasured"]


def test_all_conform_only_when_all_was_measured(synthetic: ModuleType, tmp_path: Path) -> None:
    whole = [_good(synthetic, i) for i in (1, 2)]
    assert _headline(build_report(synthetic.write_run(tmp_path / "a", whole))) == "All 2 parts conform"
    index = build_report(synthetic.write_run(tmp_path / "b", [_good(synthetic, 1), _with_missing(synthetic, 2)]))
    assert _headline(index) == "No nonconforming part found, but 1 of 2 parts were measured only in part"
    assert _counts(index) == [0, 0, 1, 1]
    failures = re.search(r'id="h-failures".*?</table>', index.read_text(encoding="utf-8"), re.S)
    assert failures is not None and "part-002" in failures.group() and "bore depth" in failures.group()
    assert "part-001" not in failures.group()


def test_a_planned_characteristic_absent_from_the_record_is_missing() -> None:
    rows = [{"name": "a", "value": 1.0}, {"name": "b", "value": 2.0, "tolerance": {"upper": 3.0}, "decision": None}]
    assert model._missing(rows, ["a", "b", "c"]) == ["b", "c"]


def test_flags_of_the_part_stand_above_its_numbers(synthetic: ModuleType, tmp_path: Path) -> None:
    flags = ["calibration_date_unknown", "calibration_expired", "provisional_verdict"]
    index = build_report(synthetic.write_run(tmp_path / "run", [_good(synthetic, 1, flags=flags)]))
    page = (index.parent / "parts" / "part-001.html").read_text(encoding="utf-8")
    top = page[page.index('id="warnings"') : page.index('id="h-char"')]
    assert FLAGS["calibration_expired"].summary.replace("'", "&#39;") in top
    assert FLAGS["calibration_expired"].remedy in top
    assert FLAGS["calibration_date_unknown"].summary not in top  # a note, explained further down
    banner = re.search(r'id="provisional">(.*?)</p>', index.read_text(encoding="utf-8"), re.S)
    assert banner is not None
    assert _plain(banner.group(1)) == "Verdicts provisional: calibration expired (1 parts)"


def _lower(value: float, u: float | None, p: float | None = None) -> dict[str, Any]:
    decision = {"verdict": "conforming", "conformity_probability": p}
    return {"name": "wall", "value": value, "nominal": None, "U": u, "tolerance": {"lower": 2.0}, "decision": decision}


def test_a_lower_limit_alone_has_no_share_but_a_place_in_the_order() -> None:
    far, near, unknown = _lower(2.5, 0.01), _lower(2.005, 0.01), _lower(2.5, None, 0.9)
    assert [model.measurement_share(m) for m in (far, near, unknown)] == [None, None, None]
    assert model.urgency(near) == pytest.approx(1 / 1.5, rel=1e-9)  # half a U inside, quotient of decimal fractions
    assert model.urgency(unknown) == pytest.approx(0.2, rel=1e-12)  # 2 (1 - 0.9)
    half = {**_lower(0.5, 0.01), "tolerance": {"lower": 0.0, "upper": 1.0}, "name": "flatness"}
    assert model.worst_first([far, half, near]) == [near, half, far]
    assert model.tolerance_share(2.1, 2.2, 2.0, None) == pytest.approx(0.5, rel=1e-9)  # with a nominal there is room
    # a deviation: the room is between zero and a lower limit below it
    assert model.tolerance_share(-0.2, None, -0.1, None) == pytest.approx(2.0, rel=1e-9)
    assert model.tolerance_share(0.05, None, -0.1, None) == 0.0


def test_a_reason_does_not_repeat_place_and_remedy() -> None:
    said = {"message": "holds NUL bytes; at a.csv, byte 9; save as UTF-8", "where": "a.csv, byte 9"}
    said["remedy"] = "save as UTF-8"
    assert markup.short_reason(said) == "holds NUL bytes"
    assert markup.short_reason({**said, "what": "binary data"}) == "binary data"
    assert markup.short_reason({"message": "the worker died", "where": None, "remedy": None}) == "the worker died"


def test_an_own_factor_stands_beside_u_and_the_heading_claims_none(synthetic: ModuleType, tmp_path: Path) -> None:
    """A heading "U (k = 2)" over a U of another factor is false: U of a drawn distribution is read with its own k."""
    part, other = _good(synthetic, 1), _good(synthetic, 2)
    (row,) = part.document["measurements"]
    row.update({"k": 6.9, "U": 6.9 * row["u"], "interval": [row["value"] - 6.9 * row["u"], row["value"]]})
    index = build_report(synthetic.write_run(tmp_path / "k", [part, other]))
    text = index.read_text(encoding="utf-8")
    cells = [_plain(c) for c in re.findall(r'<span class="pm">.*?</td>', text, re.S)]
    assert len(cells) == 2 and sum("(k = 6.90)" in c for c in cells) == 1 and not any("k = 2" in c for c in cells)
    assert "Value ± U</span></th>" in text and "k = 2 where no k stands beside it" in _plain(text)
    for language in ("en", "zh"):
        assert "k" not in catalogue(language)["col.valueU"]
        assert "k = 2" in catalogue(language)["index.legendU"]
    page = next(p for p in (index.parent / "parts").glob("*.html") if "(k = 6.90)" in _plain(p.read_text()))
    assert catalogue("en")["part.ownfactor"] in _plain(page.read_text(encoding="utf-8"))


def test_a_flag_that_speaks_another_language_says_its_remedy_in_it(synthetic: ModuleType, tmp_path: Path) -> None:
    """What a flag means and what to do about it stand side by side: half of it in English is no translation."""
    zh = catalogue("zh")
    for name, flag in FLAGS.items():
        if f"term.flag.{name}" in zh:
            assert re.search(r"[\u4e00-\u9fff]", zh.get(f"term.remedy.{name}", "")), name
            for word in re.findall(r"[a-z]+_[a-z_]+", flag.remedy):  # keys of recipes are the same in every language
                assert word in zh[f"term.remedy.{name}"], (name, word)
    assert not {key for key in zh if key.startswith("term.remedy.")} - {f"term.remedy.{name}" for name in FLAGS}
    part = _good(synthetic, 1, flags=["provisional_verdict", "tilted"])
    index = build_report(synthetic.write_run(tmp_path / "run", [part]))
    page = next((index.parent / "parts").glob("*.html")).read_text(encoding="utf-8")
    said = FLAGS["provisional_verdict"].remedy
    for text in (index.read_text(encoding="utf-8"), page):
        assert f'data-m="term.remedy.provisional_verdict" data-en="{said}">{said}' in text
        assert "term.remedy.tilted" not in text  # nothing to do
