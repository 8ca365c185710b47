"""Wafer maps and contours as a reader sees them: in a real browser, nothing in the console, pixels looked at."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.report.wafer_svg import STEPS, Frame, Spot, scale_of, wafer_svg


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    path = Path(__file__).parents[1] / "report" / "browser.py"
    spec = importlib.util.spec_from_file_location("lot_pages_browser", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lot_pages_browser"] = module
    spec.loader.exec_module(module)
    with module.browse(chromium) as page:
        yield page


@pytest.mark.browser
def test_a_map_is_drawn_where_its_sites_are(browser: Any, tmp_path: Path) -> None:
    """Highest site to the right, lowest at the top, one without value below, one out of tolerance in the middle."""
    from PIL import Image

    spots = [
        Spot(100.0, 0.0, 2.0),
        Spot(0.0, 100.0, 1.0),
        Spot(0.0, -100.0, None),
        Spot(0.0, 0.0, 1.5, "nonconforming"),
    ]
    svg = wafer_svg(Frame(notch="left"), spots, scale_of([2.0, 1.0, 1.5]), 2, "a wafer")
    page = tmp_path / "map.html"
    page.write_text(f"<!doctype html><body style='margin:0'>{svg}</body>")
    browser.size(320, 320)
    browser.open(page)
    seen = np.asarray(Image.open(io.BytesIO(browser.picture(tmp_path / "a.png"))).convert("RGB")).astype(int)
    k = (300.0 - 16.0) / 300.0

    def at(x: float, y: float, dx: int = 0) -> np.ndarray:
        result: np.ndarray = seen[round(150 - k * y), round(150 + k * x) + dx]
        return result

    def colour(text: str) -> np.ndarray:
        return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)])

    assert np.abs(at(100, 0) - colour(STEPS[-1])).max() < 6
    assert np.abs(at(0, 100) - colour(STEPS[0])).max() < 6
    assert np.abs(at(0, -100, 6) - colour("#c9ced3")).max() < 6
    red = np.abs(seen - colour("#a50f24")).max(axis=2) < 40
    y, x = np.argwhere(red).mean(axis=0)
    assert abs(x - 150) < 2 and abs(y - 150) < 2 and red.sum() > 20
    # the notch: dark pixels left of the rim
    assert (seen[140:160, :7].max(axis=2) < 120).any() and not (seen[140:160, 294:300].max(axis=2) < 120).any()
    assert browser.console == []
