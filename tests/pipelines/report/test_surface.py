"""The map of a scan against its nominal, as a reader sees it: grey where nothing was measured, sections, places."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.report import colour
from pipelines.report.colour import margins

READY = "document.querySelector('[data-map]').dataset.ready"


@pytest.fixture(scope="module")
def page(synthetic: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipelines.report import build_report

    folder = tmp_path_factory.mktemp("surface") / "run"
    index = build_report(synthetic.write_run(folder, [synthetic.surface_part("scan-1", 3)], name="sheet"))
    return index.parent / "parts" / "scan-1.html"


def _shades(image: np.ndarray, hexadecimal: str) -> int:
    """Pixels of a colour under any light of the viewer (0.62 to 1)."""
    pixel, base = image.reshape(-1, 3), colour.rgb(hexadecimal)
    light = pixel.sum(axis=1) / base.sum()
    near = np.abs(pixel - light[:, None] * base).max(axis=1) < 2.0  # two of 255 for rounding
    return int((near & (light > 0.6) & (light < 1.01)).sum())


def _canvas(browser: Any, folder: Path) -> np.ndarray:
    from PIL import Image

    box = browser.run(
        "(() => { const b = document.querySelector('[data-map] canvas').getBoundingClientRect();"
        " return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}; })()"
    )
    body = browser.picture(folder / "canvas.png", clip=box)
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float)


def test_grey_where_nothing_was_measured(browser: Any, page: Path, tmp_path: Path) -> None:
    browser.media("screen")
    browser.size(1280)
    browser.open(page, "#lang=en")
    browser.until(READY)
    browser.run(
        "(() => { const v = document.querySelector('[data-map]').view; v.labels = false; v.look(1); v.paint(); })()"
    )
    with_nominal = _shades(_canvas(browser, tmp_path), colour.NO_DATA)
    browser.run("(() => { const v = document.querySelector('[data-map]').view; v.nominal = false; v.paint(); })()")
    without = _shades(_canvas(browser, tmp_path), colour.NO_DATA)
    assert with_nominal > 2000  # a fifth of the sheet has no data
    assert without < with_nominal / 10
    assert browser.console == []


def test_picking_shows_the_uncertainty_of_that_point(browser: Any, page: Path) -> None:
    browser.open(page, "#lang=en")
    browser.until(READY)
    found = browser.run(
        "(() => { const v = document.querySelector('[data-map]').view, out = [];"
        " for (const left of [true, false]) { let i = 0; while ((v.xyz[3 * i] + v.map.centre[0] < 0) !== left) i++;"
        " v.show(i); out.push(v.tip.textContent); } return out; })()"
    )
    assert "\u00b1 0.0080 mm" in found[0] and "\u00b1 0.0160 mm" in found[1]  # U = 2 u on either side of x = 0


def test_the_section_is_magnified_as_it_says(browser: Any, page: Path) -> None:
    browser.open(page, "#lang=en")
    browser.until("document.querySelector('svg.section').dataset.live")
    reach = (
        "(() => { const s = document.querySelector('[data-section]').section; let m = 0;"
        " for (let i = 0; i < s.value.length; i++) { const a = s.at(s.foot, i), b = s.tipOf(i);"
        " m = Math.max(m, Math.hypot(a[0] - b[0], a[1] - b[1]) / s.scale / Math.abs(s.value[i])); } return m; })()"
    )
    printed = float(browser.run("document.querySelector('svg.section').dataset.magnification"))
    assert browser.run(reach) == pytest.approx(printed, rel=1e-3)  # single precision and unit normals
    browser.run(
        "(() => { const r = document.querySelector('[data-section] input'); r.value = +r.value + 2; r.oninput(); })()"
    )
    larger = float(browser.run("document.querySelector('svg.section').dataset.magnification"))
    assert larger > printed and browser.run(reach) == pytest.approx(larger, rel=1e-3)
    assert f"(\u00d7 {larger:g})" in browser.run("document.querySelector('svg.section').textContent")


def test_page_without_scripts_holds_the_same(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(r'<svg class="photo section".*class="outline".*class="band".*class="needle"', text, re.S)
    assert "Worst places" in text and "31" in text and "20.0" in text  # the patch, and the share without data
    assert "\u00d7 " in text  # the magnification is printed


def test_margin_is_the_distance_to_the_nearer_limit() -> None:
    value = np.array([0.0, 0.05, -0.07, 0.02])
    low, high = np.array([-0.06, -0.06, -0.06, np.nan]), np.array([0.06, 0.06, 0.06, np.nan])
    assert margins(value, low, high)[:3] == pytest.approx([0.06, 0.01, -0.01])
    assert margins(value, low, high)[3] == np.inf
    assert margins(value[:1], np.array([-np.inf]), np.array([0.03])) == pytest.approx([0.03])
