"""The site as files: what it says, that it is safe, the same bytes every time, and small enough for a large lot."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from metrology_core.errors import UsageError
from metrology_core.flags import FLAGS
from pipelines.report import build_report
from pipelines.report.i18n import LANGUAGES, Words, catalogue


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


def test_the_index_says_the_verdict_first(blade: Path) -> None:
    text = (blade / "index.html").read_text(encoding="utf-8")
    order = [
        text.index(s) for s in ("2 of 15 parts do not conform", "This report is incomplete: 1 of 15", 'id="parts"')
    ]
    assert order == sorted(order)
    rows = re.findall(r'<tr id="r\d+">\s*<th[^>]*>(?:<a href="parts/[^"]+">)?([^<]+)', text)
    assert rows[:2] == ["part-005", "part-008"]  # the two nonconforming, the one that uses more of its tolerance first
    assert set(rows[2:4]) == {"corrupt", "giant"}  # then what was not measured
    assert rows[4] == "part-010"  # then the indeterminate
    assert rows[-1] == "part-099"  # what was not run comes last; the alert above has already said it
    assert len(rows) == 15


def test_failures_carry_reason_place_and_remedy(blade: Path) -> None:
    for text in ((blade / name).read_text(encoding="utf-8") for name in ("index.html", "parts/corrupt.html")):
        assert "line 812 has 2 columns" in text
        assert "parts/corrupt.csv:812" in text
        assert "export the file again" in text


def test_the_decision_rule_is_printed_with_every_decision(blade: Path) -> None:
    rule = "ISO 14253-1, proving conformity, by the supplier, probability 0.95"
    assert rule in (blade / "index.html").read_text(encoding="utf-8")
    part = (blade / "parts" / "part-001.html").read_text(encoding="utf-8")
    assert part.count(rule) == 4  # four decided characteristics
    assert "guard band" in part and "DKD-123" in part and "CMM-07" in part


def test_a_number_is_rounded_for_reading_and_whole_in_its_title(blade: Path, synthetic: ModuleType) -> None:
    row = synthetic.blade_part("part-001", 1).document["measurements"][0]
    part = (blade / "parts" / "part-001.html").read_text(encoding="utf-8")
    shown = re.search(rf'data-value="{re.escape(repr(row["value"]))}" title="[^"]*">([^<]+)<', part)
    assert shown is not None
    assert shown.group(1) == f"{row['value']:.4f}"  # U = 0.0019 mm: two digits of it reach the fourth place


def test_every_flag_on_a_page_is_explained_there(blade: Path) -> None:
    text = (blade / "parts" / "part-006.html").read_text(encoding="utf-8")
    for name in ("independent_noise_assumed", "not_evaluated", "partial_result"):
        assert FLAGS[name].summary in text


def test_no_page_refers_to_a_network(blade: Path, wafer: Path) -> None:
    for folder in (blade, wafer):
        for path in folder.rglob("*"):
            if path.suffix not in (".html", ".js", ".css"):
                continue
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
            assert not re.search(r"https?://|//cdn|@import|fetch\(|XMLHttpRequest|import\(", text), path
        for path in pages(folder):
            text = path.read_text(encoding="utf-8")
            assert "default-src 'none'" in text and "connect-src 'none'" in text
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|javascript:", text), path  # nothing inline


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and not value.startswith(("#", "data:")):
                self.targets.add(value)


def test_every_link_leads_to_a_file(blade: Path, wafer: Path) -> None:
    for folder in (blade, wafer):
        for path in pages(folder):
            parser = _Links()
            parser.feed(path.read_text(encoding="utf-8"))
            assert parser.targets
            for target in parser.targets:
                assert (path.parent / target).is_file(), (path, target)


def test_same_run_same_bytes_and_stale_pages_go(synthetic: ModuleType, tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", synthetic.blade_lot(n=900)[:3])
    shutil.copytree(first, tmp_path / "elsewhere" / "b")
    one, two = build_report(first).parent, build_report(tmp_path / "elsewhere" / "b").parent
    files = {p.relative_to(one).as_posix(): p.read_bytes() for p in one.rglob("*") if p.is_file()}
    assert files == {p.relative_to(two).as_posix(): p.read_bytes() for p in two.rglob("*") if p.is_file()}
    assert len(files) > 12  # index, catalogues, assets, three parts with data and two pictures each
    stamp = (one / "index.html").stat().st_mtime_ns
    stale = one / "parts" / "of-an-older-report.html"
    stale.write_text("old")
    build_report(first)
    assert not stale.exists()
    assert (one / "index.html").stat().st_mtime_ns == stamp  # unchanged files are left alone
    assert not list(one.rglob("*.tmp"))


HOSTILE = [
    "<script>alert(1)</script>",
    "../../etc/passwd",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }}",
    "con",
    "CON",
    "part\u202egnp.exe",
    "零件 7",
    "",
    "x" * 500,
    "a\udce9b",
]


def test_hostile_names_stay_text(synthetic: ModuleType, tmp_path: Path) -> None:
    crash = {"code": "<b>", "message": "<script>alert(3)</script>", "where": "</td>", "remedy": "<i>"}
    names = [n for n in HOSTILE if n.isprintable() or "\u202e" in n]  # a lone surrogate cannot enter a plan
    parts = [synthetic.Part(name, "crashed", None, reason=crash) for name in names]
    evil = synthetic.blade_part("<svg onload=alert(4)>", 4, n=600)
    for m in evil.document["measurements"]:
        m["name"] = m["method"] = "<script>alert(5)</script>"
    evil.document["views"][0]["feature_names"][0] = "</script><script>alert(6)</script>"
    folder = build_report(
        synthetic.write_run(tmp_path / "run", [*parts, evil], name="<script>alert(7)</script>")
    ).parent
    files = list((folder / "parts").iterdir())
    assert len(files) == len(names) + 1
    assert len({f.name.lower() for f in files}) == len(files)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,90}\.html", f.name) for f in files)
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "<img src=x" not in text and "<svg onload" not in text
        assert "\u202e" not in text  # a name cannot turn the reading direction around
    for path in (folder / "data").iterdir():
        assert "<" not in path.read_text(encoding="ascii")


def test_surrogates_are_made_visible() -> None:
    from pipelines.report.encode import clean, page_names

    assert clean("a\udce9\x00b") == "a\ufffd\ufffdb"
    names = page_names([("s", "a\udce9b"), ("t", "A/B")])
    assert names["s"] == "a_b"
    assert re.fullmatch(r"A_B-[0-9a-f]{10}", names["t"])  # the same file where case does not count


def test_a_damaged_record_is_reported_not_raised(synthetic: ModuleType, tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", synthetic.blade_lot(n=600)[:3])
    victim = sorted((run / "measurements").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:300])
    text = build_report(run).read_text(encoding="utf-8")
    assert "IntegrityError" in "".join(p.read_text(encoding="utf-8") for p in (run / "report" / "parts").iterdir())
    assert text.count('<tr id="r') == 3


def test_an_empty_plan_has_a_report(synthetic: ModuleType, tmp_path: Path) -> None:
    text = build_report(synthetic.write_run(tmp_path / "run", [])).read_text(encoding="utf-8")
    assert "The plan holds no parts" in text


def test_catalogues_match(blade: Path) -> None:
    en, zh = catalogue("en"), catalogue("zh")
    plain = {k for k in zh if not k.startswith("term.")}
    assert plain == set(en)
    for key in plain:
        assert set(re.findall(r"\{\w+\}", en[key])) == set(re.findall(r"\{\w+\}", zh[key])), key
        assert zh[key].strip()
    used = set()
    for path in [*pages(blade), *(blade / "assets").glob("*.js")]:
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'data-m(?:-[\w-]+)?="([\w.\-µ]+)"', text)) | set(re.findall(r'say\("([\w.]+)"', text))
        used |= set(re.findall(r'word\("([\w.]+)"\)', text))
    assert {k for k in used if not k.startswith("term.") and not k.endswith(".")} <= set(en)


def test_languages_are_checked_and_chosen(synthetic: ModuleType, tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", synthetic.blade_lot(n=300)[:2])
    with pytest.raises(UsageError, match="unknown report language"):
        build_report(run, languages=("en", "xx"))
    text = build_report(run, languages=("zh",)).read_text(encoding="utf-8")
    assert f'<html lang="{LANGUAGES["zh"][0]}">' in text
    assert "判定规则" in text and "Decision rule" not in text
    assert json.dumps("Decision rule") not in (run / "report" / "assets" / "messages.js").read_text(encoding="ascii")


def test_ten_thousand_parts(synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.report import build, encode, model

    row = synthetic.blade_part("x", 1, n=30).document["measurements"][:2]
    rows = [
        model.PartRow(i, f"{i:064x}", f"part-{i:05d}", f"part-{i:05d}", "measured",
                      "nonconforming" if i % 997 == 0 else "conforming", ("tilted",), None, 1,
                      worst=row[0], worst_share=(i % 97) / 100)
        for i in range(10_000)
    ]  # fmt: skip
    lots: dict[tuple[str, str, str], model.LotRow] = {}
    for r in rows:
        model._add_measurements(r, row, lots, {})
    counts = Counter(r.verdict for r in rows)
    run = model.RunModel("large", "features", "0" * 64, "0.1.0", 1, rows, list(lots.values()), [], [], {},
                         Counter(measured=10_000), counts, 0, Counter(tilted=10_000))  # fmt: skip
    words = Words(("en", "zh"))
    site = encode.Site(tmp_path)
    start = time.process_time()
    build._write_index(site, build._environment(words), words, run)
    seconds = time.process_time() - start
    assert seconds < 30.0  # processor time, about 3 s; the bound only catches something quadratic
    sizes = {p.name: p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()}
    assert sizes["index.html"] < 600_000  # opens at once; the other rows wait in 49 files
    assert sizes["index.js"] < 400_000
    assert len([n for n in sizes if n.startswith("rows-")]) == 49
    assert max(v for n, v in sizes.items() if n.startswith("rows-")) < 60_000
    text = (tmp_path / "parts-0050.html").read_text(encoding="utf-8")  # the last page, for a browser without scripts
    assert text.count('<tr id="r') == 200
