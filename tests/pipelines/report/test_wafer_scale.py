"""Colours and headings of wafer maps: a value far out does not hide the others, no wafer is called by its best site."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipelines.lots import PlacedValue
from pipelines.report.i18n import Words, catalogue
from pipelines.report.lot_view import lot_view
from pipelines.report.wafer_svg import STEPS, Frame, Spot, scale_of, scale_svg, step_of, wafer_svg

# widths of a real shape: ten sites about 16 nm, one of another scale
GOOD = [15.65, 15.8, 15.9, 16.0, 16.05, 16.1, 16.2, 16.3, 16.4, 16.6]


def test_one_value_far_out_leaves_the_others_their_colours() -> None:
    scale = scale_of([*GOOD, 40.1])
    assert (scale.low, scale.high, scale.below, scale.above) == (15.65, 16.6, 0, 1)
    assert len({step_of(v, scale) for v in GOOD}) >= 5  # ten values over the whole range of eight steps
    assert step_of(40.1, scale) == len(STEPS) - 1 and step_of(-3.0, scale) == 0
    low = scale_of([*GOOD, 1.0, 1.1])
    assert (low.low, low.below, low.above) == (15.65, 2, 0)


def test_values_that_are_not_far_out_keep_their_extremes() -> None:
    drawn = np.random.default_rng(11).normal(16.0, 0.3, 2000)
    scale = scale_of(list(drawn))
    assert (scale.low, scale.high) == (drawn.min(), drawn.max()) and scale.below == scale.above == 0
    two = [16.0 + 0.01 * k for k in range(10)] + [17.0 + 0.01 * k for k in range(10)]  # two wafers apart
    assert scale_of(two)[:2] == (16.0, 17.09)
    assert scale_of([1.0] * 9 + [2.0])[:2] == (1.0, 2.0)  # no quartile distance: nothing to judge by
    assert scale_of([3.0])[:2] == (1.5, 4.5) and scale_of([])[:2] == (0.0, 1.0)
    assert scale_of([1.0, float("nan"), 2.0])[:2] == (1.0, 2.0)


def test_the_scale_says_at_which_end_values_lie_beyond() -> None:
    assert "15.65 … ≥ 16.60 nm" in scale_svg(scale_of([*GOOD, 40.1]), 2, "nm")
    assert "≤ 15.65 … 16.60 nm" in scale_svg(scale_of([*GOOD, 1.0]), 2, "nm")
    svg = wafer_svg(Frame(), [Spot(0.0, 0.0, 40.1)], scale_of([*GOOD, 40.1]), 2, "w")
    assert f'fill="{STEPS[-1]}"' in svg and "40.10" in svg


def _site(k: int, value: float | None, verdict: str) -> PlacedValue:
    return PlacedValue(f"t{k}", f"p{k}", {"lot": "L1", "wafer": "W09"}, (10.0 * k, 0.0), value, 0.0, verdict)


def _said(markup: object) -> str:
    return re.sub(r"<[^>]+>", "", str(markup))


def test_verdicts_are_counted_over_all_sites_worst_first() -> None:
    words = Words(("en", "zh"))
    rows = [_site(k, 16.0 + 0.1 * k, "conforming") for k in range(4)]
    rows += [_site(4 + k, None, "none") for k in range(10)]
    view = lot_view(words, rows, None, {}, "nm", 2, 0)
    (m,) = view["maps"]
    assert (m["verdicts"], m["n"], m["without"]) == ([("conforming", 4)], 14, 10) and view["beyond"] == ""
    more = [*rows, _site(14, 40.0, "nonconforming"), _site(15, 16.2, "indeterminate")]
    view = lot_view(words, more, None, {}, "nm", 2, 0)
    assert view["maps"][0]["verdicts"] == [("nonconforming", 1), ("indeterminate", 1), ("conforming", 4)]
    assert _said(view["beyond"]) == "1 above the scale"
    bare = [_site(k, 1.0 + k, "none") for k in range(3)]
    assert lot_view(words, bare, None, {}, "nm", 2, 0)["maps"][0]["verdicts"] == []
    for name in ("conforming", "indeterminate", "nonconforming", "none"):
        for key in (f"wafers.first.{name}", f"wafers.count.{name}"):
            assert "{n}" in catalogue("en")[key] and "{n}" in catalogue("zh")[key]


FIELD = Frame(300.0, 3.0, "down", (26.0, 33.0))


def _boxes(svg: object) -> list[tuple[float, float, float, float, str]]:
    """x, y, width, height and title of each rectangle."""
    found = re.findall(
        r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"[^>]*><title>([^<]*)</title>', str(svg)
    )
    return [(*map(float, row[:4]), row[4]) for row in found]  # type: ignore[misc]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_images_of_one_field_lie_side_by_side_in_it(n: int) -> None:
    """No two boxes overlap, all lie in the field, and all are there, each with its own name and link."""
    spots = [Spot(26.0, 33.0, 16.0 + 0.1 * k, "conforming", f"image {k}", f"p{k}.html") for k in range(n)]
    svg = wafer_svg(FIELD, [*spots, Spot(0.0, 0.0, 16.0, name="alone")], scale_of(GOOD), 2, "w")
    boxes = [box for box in _boxes(svg) if box[4].startswith("image")]
    assert [box[4].split(":")[0] for box in boxes] == [f"image {k}" for k in range(n)]
    assert all(f'href="p{k}.html"' in svg for k in range(n))
    (alone,) = [box for box in _boxes(svg) if box[4].startswith("alone")]
    per_mm = (300.0 - 16.0) / 300.0
    middle = (150.0 + per_mm * 26.0, 150.0 - per_mm * 33.0)
    for x, y, w, h, _ in boxes:  # 0.2: places are printed to 0.1
        assert abs(x + 0.5 * w - middle[0]) <= 0.5 * (alone[2] - w) + 0.2
        assert abs(y + 0.5 * h - middle[1]) <= 0.5 * (alone[3] - h) + 0.2
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = max(abs(a[0] + a[2] / 2 - b[0] - b[2] / 2) - (a[2] + b[2]) / 2,
                        abs(a[1] + a[3] / 2 - b[1] - b[3] / 2) - (a[3] + b[3]) / 2)  # fmt: skip
            assert apart >= -0.2


def test_the_sign_of_the_worst_verdict_lies_on_top() -> None:
    spots = [Spot(0.0, 0.0, 16.0, verdict) for verdict in ("nonconforming", "conforming", "indeterminate")]
    svg = str(wafer_svg(FIELD, spots, scale_of(GOOD), 2, "w"))
    assert svg.index('class="m-open"') < svg.index('class="m-out"')
    assert svg.rindex("<rect") < svg.index('class="m-open"')  # and all signs above all colours


def test_many_at_one_place_are_the_worst_and_their_number() -> None:
    spots = [Spot(0.0, 0.0, 16.0 + 0.01 * k, "conforming", f"image {k}") for k in range(11)]
    spots[4] = Spot(0.0, 0.0, 17.9, "nonconforming", "image 4", "worst.html")
    svg = str(wafer_svg(FIELD, spots, scale_of(GOOD), 2, "w"))
    assert "\u00d711" in svg and "image 4" in svg and 'href="worst.html"' in svg and "image 5" not in svg
    assert svg.count('class="m-out"') == 1


def test_discs_of_one_place_stay_apart() -> None:
    spots = [Spot(x, 0.0, 16.0, "conforming", f"{x} {k}") for x in (-20.0, 20.0) for k in range(4)]
    svg = str(wafer_svg(Frame(), spots, scale_of(GOOD), 2, "w"))
    discs = [tuple(map(float, found)) for found in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', svg)]
    assert len(discs) == 8
    for i, a in enumerate(discs):
        for b in discs[:i]:  # 0.2: places are printed to 0.1
            assert np.hypot(a[0] - b[0], a[1] - b[1]) >= a[2] + b[2] - 0.2


def test_a_site_that_does_not_count_is_a_ring() -> None:
    svg = str(wafer_svg(Frame(), [Spot(0.0, 0.0, 16.0, faint=True), Spot(9.0, 0.0, 16.0)], scale_of(GOOD), 2, "w"))
    assert svg.count('class="faint"') == 1
