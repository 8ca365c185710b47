"""The report as a reader sees it: in a real browser, from disk, pixels looked at."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.report import colour

READY = "document.querySelector('[data-map]').dataset.ready"


@pytest.fixture(autouse=True)
def _desktop(browser: Any) -> None:
    browser.size(1280)
    browser.media("screen")


def quiet(browser: Any) -> None:
    """Nothing in the console, nothing asked of a network."""
    assert browser.console == []
    assert all(u.startswith(("file:", "data:")) for u in browser.requests), browser.requests
    assert any(u.endswith("abbe.js") for u in browser.requests)


def pixels(browser: Any, path: Path, selector: str) -> np.ndarray:
    from PIL import Image

    box = browser.run(
        f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
        " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}; })()"
    )
    return np.asarray(Image.open(io.BytesIO(browser.picture(path, clip=box))).convert("RGB")).astype(float)


def near(image: np.ndarray, hexadecimal: str) -> int:
    """Pixels of a band's hue: light scales a colour between 0.62 and 1, so compare with all shades of it."""
    shades = np.linspace(0.62, 1.0, 30)[:, None] * colour.rgb(hexadecimal)[None]
    codes, counts = np.unique(image.reshape(-1, 3) @ [65536, 256, 1], return_counts=True)
    colours = np.stack([codes // 65536, codes // 256 % 256, codes % 256], 1)
    close = np.abs(colours[:, None, :] - shades[None]).max(axis=2).min(axis=1) < 4.0
    return int(counts[close].sum())


def test_index(browser: Any, blade: Path) -> None:
    browser.open(blade / "index.html", "#lang=en")
    browser.until("document.querySelector('#parts').dataset.ready")
    assert browser.run("document.querySelector('#parts').tBodies[0].rows.length") == 15
    browser.run("(() => { const q = document.querySelector('#q'); q.value = 'part-00'; q.oninput(); })()")
    browser.until("document.querySelector('#parts').dataset.found === '9'")
    browser.run("(() => { const s = document.querySelector('#fv'); s.value = '0'; s.onchange(); })()")
    browser.until("document.querySelector('#parts').dataset.found === '2'")
    quiet(browser)


def test_map_of_a_bad_part(browser: Any, blade: Path, tmp_path: Path) -> None:
    browser.open(blade / "parts" / "part-008.html", "#lang=en")
    browser.until(READY)
    counts = json.loads(browser.run("document.querySelector('[data-map]').dataset.bands"))
    assert sum(counts) == 9000 and counts[colour.N_ABOVE] > 20
    image = pixels(browser, tmp_path / "map.png", "[data-map] .viewport canvas")
    seen = {i for i, band in enumerate(colour.BANDS[:11]) if near(image, band) > 60}
    assert len(seen) >= 6  # several bands, not one flat colour
    assert colour.N_ABOVE in seen  # the dent, dark red ...
    assert near(image, colour.HATCH) > 30  # ... and hatched
    again = browser.run(
        "(() => { const v = document.querySelector('[data-map]').view, g = v.gl; v.mode = 1; v.paint();"
        " const p = new Uint8Array(4 * v.canvas.width * v.canvas.height);"
        " g.readPixels(0, 0, v.canvas.width, v.canvas.height, g.RGBA, g.UNSIGNED_BYTE, p);"
        " let n = 0; for (let i = 3; i < p.length; i += 4) n += p[i] > 0; return n / (p.length / 4); })()"
    )
    assert 0.1 < again < 0.9  # the other colouring draws the part too
    quiet(browser)


def test_picking_gives_the_recorded_number(browser: Any, blade: Path, synthetic: Any) -> None:
    part = synthetic.blade_part("part-008", 8, dent=0.034)
    worst = int(np.argmax(np.abs(part.arrays["deviation/value"])))
    value, xyz = part.arrays["deviation/value"][worst], part.arrays["deviation/xyz"][worst]
    browser.open(blade / "parts" / "part-008.html", "#lang=en")
    browser.until(READY)
    got = browser.run(
        "(() => { const v = document.querySelector('[data-map]').view, p = v.place(v.map.worst[0], v.frame());"
        " const b = v.canvas.getBoundingClientRect();"
        " v.pick({clientX: b.left + p[0], clientY: b.top + p[1]}, true);"
        " const i = v.selected, c = [0, 1, 2].map(k => v.map.centre[k] + v.xyz[3 * i + k]);"
        " return [v.value[i], v.tip.textContent, ...c]; })()"
    )
    assert got[0] == np.float32(value)  # the same single-precision number, not one read back from a colour
    assert f"+{value:.4f} ± 0.0012 mm" in got[1] and "flange" in got[1]
    assert got[2:] == pytest.approx(xyz.tolist(), abs=1e-5)  # single precision about the centre of a 110 mm part


def test_keyboard_turns_and_finds_the_worst_place(browser: Any, blade: Path) -> None:
    browser.open(blade / "parts" / "part-008.html", "#lang=en")
    browser.until(READY)
    browser.run("document.querySelector('[data-map] canvas').focus()")
    before = browser.run("document.querySelector('[data-map]').view.az")
    for key in ("ArrowRight", "n"):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        browser.call("Input.dispatchKeyEvent", type="keyUp", key=key)
    assert browser.run("document.querySelector('[data-map]').view.az") != before
    assert "+0.0" in browser.run("document.querySelector('[data-map] [aria-live]').textContent")
    quiet(browser)


def test_lost_context_and_no_webgl_leave_a_picture(browser: Any, blade: Path, tmp_path: Path) -> None:
    page = blade / "parts" / "part-008.html"
    browser.open(page, "#lang=en")
    browser.until(READY)
    browser.run("document.querySelector('[data-map]').view.gl.getExtension('WEBGL_lose_context').loseContext()")
    browser.until("document.querySelector('[data-map]').dataset.fallback === 'map.lost'")
    browser.open(page, "#static&lang=en")
    browser.until("document.querySelector('[data-map]').dataset.fallback === 'map.fallback'")
    assert browser.run("document.querySelector('.fallback').offsetHeight > 0")
    image = pixels(browser, tmp_path / "still.png", "[data-map] .still svg")
    assert near(image, colour.ABOVE) > 15 and near(image, colour.HATCH) > 5
    quiet(browser)


def test_without_scripts_the_tables_and_pictures_are_there(browser: Any, blade: Path) -> None:
    browser.script(False)
    try:
        browser.open(blade / "parts" / "part-008.html")
        rows, still, text = browser.run(
            "[document.querySelectorAll('.chars > tbody').length, document.querySelector('.still').offsetHeight,"
            " document.body.innerText]"
        )
    finally:
        browser.script(True)
    assert rows == 4 and still > 200
    assert "nonconforming" in text and "ISO 14253-1" in text


def test_sem_page_draws_edges_and_lost_rows(browser: Any, wafer: Path, tmp_path: Path) -> None:
    browser.open(wafer / "parts" / "W03-F07.html", "#lang=en")
    browser.until("document.querySelector('[data-sem]').dataset.ready")
    lost, drawn = browser.run("(d => [+d.lost, +d.drawn])(document.querySelector('[data-sem]').dataset)")
    assert lost == 60 and drawn == 20 * 420 - 60
    image = pixels(browser, tmp_path / "sem.png", "[data-sem] canvas")

    def count(h: str) -> int:
        return int((np.abs(image - colour.rgb(h)).max(axis=2) < 70).sum())

    assert count("#35d0ff") > 300 and count("#ff4b6e") > 30
    tip = browser.run(
        "(() => { const v = document.querySelector('[data-sem]').view, b = v.canvas.getBoundingClientRect();"
        " const i = 4, m = v.rows.length, e = (v.edges[i*m+9] + v.edges[(i+1)*m+9]) / 2;"
        " v.hover({clientX: b.left + v.x + e*v.k, clientY: b.top + v.y + 9*v.k}); return v.tip.textContent; })()"
    )
    assert "Line 3" in tip and "lost 60" in tip and "nm" in tip
    quiet(browser)


@pytest.mark.parametrize("page", ["index.html", "parts/part-005.html"])
def test_chinese(browser: Any, blade: Path, page: str) -> None:
    browser.open(blade / page, "#lang=zh")
    browser.until("document.documentElement.lang === 'zh-CN'")
    if page != "index.html":
        browser.until(READY)
    text = browser.run("document.body.innerText")
    assert "不合格" in text and "判定规则" in text
    for english in ("Nonconforming", "Decision rule", "Worst characteristic", "Deviation map", "undefined"):
        assert english not in text
    assert "iso14405.GG" in text  # ids stay
    browser.run("document.querySelector('[data-lang=en]').click()")
    text = browser.run("document.body.innerText")
    assert "Decision rule" in text and "判定规则" not in text
    browser.run("localStorage.clear()")
    quiet(browser)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_off_the_page(browser: Any, blade: Path, wafer: Path, width: int) -> None:
    browser.size(width, mobile=width < 500)
    for page in (blade / "index.html", blade / "parts" / "part-008.html", wafer / "parts" / "W03-F07.html"):
        browser.open(page, "#lang=en")
        assert browser.run("document.documentElement.scrollWidth") <= width, page


def test_accessible_structure(browser: Any, blade: Path, wafer: Path) -> None:
    for page in (blade / "index.html", blade / "parts" / "part-008.html", wafer / "parts" / "W03-F07.html"):
        browser.open(page, "#lang=en")
        problems = browser.run(
            "(() => { const out = [], all = s => [...document.querySelectorAll(s)];"
            " for (const s of ['main', 'header', 'footer', 'nav', 'h1']) if (!all(s).length) out.push('no ' + s);"
            " for (const e of all('th')) if (!e.scope) out.push('th ' + e.textContent);"
            " for (const e of all('input, select')) if (!e.labels.length) out.push('label ' + e.id);"
            " for (const e of all('svg')) if (e.getAttribute('aria-hidden') !== 'true' && !e.querySelector('title'))"
            "  out.push('svg ' + e.outerHTML.slice(0, 80));"
            " for (const e of all('canvas')) if (!e.getAttribute('aria-label')) out.push('canvas');"
            " const ids = all('[id]').map(e => e.id); if (new Set(ids).size !== ids.length) out.push('ids');"
            " return out; })()"
        )
        assert problems == []


def test_print_opens_everything(browser: Any, blade: Path) -> None:
    browser.open(blade / "parts" / "part-008.html", "#lang=en")
    browser.until(READY)
    browser.media("print")
    assert browser.run("getComputedStyle(document.querySelector('.still')).display") != "none"
    assert browser.run("getComputedStyle(document.querySelector('.stage')).display") == "none"
    assert browser.run("document.querySelector('.budget').offsetHeight") > 20  # the budgets are on paper too
    body = browser.pdf()
    assert body.startswith(b"%PDF") and len(body) > 20_000


CLASHES = """(() => { const box = e => e.getBoundingClientRect();
  const all = s => [...document.querySelectorAll('[data-map] ' + s)];
  const over = (a, b) => a.left < b.right - 0.5 && b.left < a.right - 0.5
    && a.top < b.bottom - 0.5 && b.top < a.bottom - 0.5;
  const pairs = (x, y) => x.flatMap(a => y.map(b => [a, b])).filter(([a, b]) => a !== b && over(box(a), box(b))).length;
  return { bars: pairs(all('.scalekey .h'), all('.scalekey text')), seen: all('.over .tagbox').length,
    axes: pairs(all('.over .tagbox'), [...all('.over .triad'), ...all('.over .rule'), ...all('.scalekey')]),
    tags: pairs(all('.over .tagbox'), all('.over .tagbox')) }; })()"""


def test_nothing_on_the_map_covers_a_label(browser: Any, blade: Path) -> None:
    browser.open(blade / "parts" / "part-008.html", "#lang=en")
    browser.until(READY)
    seen = 0
    for feature in (-1, 0, 1, 2):  # one feature alone has its limits in mm beside the shares: the widest labels
        for preset in range(7):
            got = browser.run(
                f"(() => {{ const v = document.querySelector('[data-map]').view; v.only = {feature}; v.key();"
                f" v.look({preset}); v.paint(); return {CLASHES}; }})()"
            )
            assert (got["bars"], got["axes"], got["tags"]) == (0, 0, 0), (feature, preset, got)
            seen += got["seen"]
    assert seen > 20  # labels were there to be covered


@pytest.mark.parametrize("width", [1280, 1366])
def test_the_table_of_characteristics_fits_a_laptop(browser: Any, synthetic: Any, tmp_path: Path, width: int) -> None:
    from pipelines.report import build_report

    part = synthetic.blade_part("wide", 1, n=300)
    size = synthetic.measured(1250.0312, "mm", {"noise": 0.00012})
    limits = {"nominal": 1250.0, "limits": (1249.9875, 1250.0125), "provisional": True}
    row = synthetic.measurement("outer seat diameter, lower end", "iso14405.local.two_point", size, **limits)
    part.document["measurements"].append(row)
    folder = build_report(synthetic.write_run(tmp_path / "run", [part])).parent
    browser.size(width)
    for language in ("en", "zh"):
        browser.open(folder / "parts" / "wide.html", f"#lang={language}")
        browser.until(READY)
        room = browser.run("(() => { const s = document.querySelector('.chars').parentNode;"
                           " return s.clientWidth - s.scrollWidth; })()")  # fmt: skip
        assert room >= 0, (language, room)
