"""A roughness spectrum as SVG: measured ordinates, their range under the fit, the fit with its interval, noise apart.

Both axes are logarithmic; without a legend the text in the drawing is symbols and units only, so that it needs no
translation.
Colours are written into the drawing: the same text serves the report and a picture file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.report.encode import clean

WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 84.0, 16.0, 14.0, 52.0
INK, GRID, RANGE, FIT, CLEAN, MEASURED = "#26323d", "#dfe4e8", "#d9e2ea", "#b4521e", "#1f6f50", "#38688f"
CROSS = "#7a3e9d"
CURVES = ("frequency", "measured", "range_low", "range_high", "fit", "fit_low", "fit_high", "clean")
FRAMES = ("cross_frequency", "cross", "cross_low", "cross_high")  # of repeated frames, where there are any


def curves_of(view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]] | None:
    """The curves of a ``sem_psd`` view, None where the record does not hold them all or they do not fit together."""
    names = view.get("curves") or {}
    found = {key: arrays.get(str(names.get(key))) for key in CURVES}
    if any(values is None for values in found.values()):
        return None
    curves = {key: np.asarray(values, dtype=np.float64).ravel() for key, values in found.items()}
    size = curves["frequency"].size
    if size < 2 or any(values.size != size for values in curves.values()) or not np.all(curves["frequency"] > 0.0):
        return None
    frames = {key: arrays.get(str(names.get(key))) for key in FRAMES}
    if all(values is not None for values in frames.values()):
        more = {key: np.asarray(values, dtype=np.float64).ravel() for key, values in frames.items()}
        size = more["cross_frequency"].size
        if all(values.size == size for values in more.values()) and np.all(more["cross_frequency"] > 0.0):
            curves |= more
    return curves


def spectrum_svg(
    curves: Mapping[str, NDArray[np.float64]], unit: str, label: str, legend: Mapping[str, str] | None = None
) -> Markup:
    """The drawing. ``unit`` is that of lengths: frequencies in 1/unit, densities in unit cubed. ``legend``: words for
    the keys of `LEGEND`, written into the drawing; without it the page that shows the drawing has the legend."""
    x = np.log10(curves["frequency"])
    positive = np.concatenate([curves[k][curves[k] > 0.0] for k in ("measured", "range_low", "range_high", "fit_low")])
    if not positive.size:
        return Markup("")
    low, high = float(np.log10(positive.min())), float(np.log10(positive.max()))
    low, high = low - 0.04 * (high - low) - 0.02, high + 0.04 * (high - low) + 0.02
    x0, x1 = float(x[0]) - 0.03, float(x[-1]) + 0.03
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(v: NDArray[np.float64] | float) -> Any:
        return LEFT + (v - x0) / (x1 - x0) * width

    def up(v: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(v > 0.0, np.log10(np.where(v > 0.0, v, 1.0)), low)
        return np.asarray(TOP + (high - np.clip(logs, low, high)) / (high - low) * height)

    px = across(x)

    floor = TOP + height

    def line(name: str) -> str:
        shown = [(a, b) for a, b in zip(px, up(curves[name]), strict=True) if b < floor - 1e-9]
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in shown) if shown else ""

    def band(lower: str, upper: str) -> str:
        there = [f"{a:.1f} {b:.1f}" for a, b in zip(px, up(curves[upper]), strict=True)]
        back = [f"{a:.1f} {b:.1f}" for a, b in zip(px[::-1], up(curves[lower])[::-1], strict=True)]
        return "M" + "L".join(there + back) + "z"

    dots = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(px, up(curves["measured"]), strict=True))
    crosses = ""
    if "cross" in curves:  # a vertical bar for the interval, a short one across it for the value
        wide = across(np.log10(curves["cross_frequency"]))
        bars = zip(wide, *(up(curves[name]) for name in ("cross_low", "cross_high", "cross")), strict=True)
        crosses = "".join(
            f"M{a:.1f} {b:.1f}V{c:.1f}" + (f"M{a - 3.0:.1f} {d:.1f}h6" if d < floor - 1e-9 else "")
            for a, b, c, d in bars if c < floor - 1e-9
        )  # fmt: skip
    parts = [f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" fill="#fff"/>', *axes(x0, x1, low, high, unit)]
    parts += [
        f'<path d="{band("range_low", "range_high")}" fill="{RANGE}"/>',
        f'<path d="{band("fit_low", "fit_high")}" fill="{FIT}" fill-opacity=".28"/>',
        f'<path d="{line("fit")}" fill="none" stroke="{FIT}" stroke-width="1.8"/>',
        f'<path d="{line("clean")}" fill="none" stroke="{CLEAN}" stroke-width="1.6" stroke-dasharray="7 4"/>',
        f'<path d="{dots}" fill="none" stroke="{MEASURED}" stroke-width="4.6" stroke-linecap="round"/>',
    ]
    if crosses:
        parts.append(f'<path d="{crosses}" fill="none" stroke="{CROSS}" stroke-width="1.2"/>')
    if legend:
        shown = {key: words for key, words in legend.items() if key != "cross" or crosses}
        parts.append(_legend(shown, px, up(curves["range_low"]), up(curves["range_high"])))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="photo spectrum" viewBox="0 0 {} {}" role="img">'
        "<title>{}</title>{}</svg>"
    ).format(int(WIDTH), int(HEIGHT), label, Markup("".join(parts)))


# in the order of the drawing: what the words of a legend are for
KEYS = {
    "measured": f'<path d="M5 7h0M13 7h0M21 7h0" stroke="{MEASURED}" stroke-width="5" stroke-linecap="round"/>',
    "range": f'<rect width="26" height="14" fill="{RANGE}"/>',
    "fit": f'<rect y="3" width="26" height="8" fill="{FIT}" fill-opacity=".28"/>'
    f'<path d="M0 7h26" stroke="{FIT}" stroke-width="1.8"/>',
    "clean": f'<path d="M0 7h26" stroke="{CLEAN}" stroke-width="1.6" stroke-dasharray="7 4"/>',
    "cross": f'<path d="M13 0v14M9 7h8" fill="none" stroke="{CROSS}" stroke-width="1.2"/>',
}


def _legend(words: Mapping[str, str], px: Any, low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    """The keys with their words, in the corner at the left end where the curves leave more room."""
    width, height = 44.0 + 6.2 * max(map(len, words.values())), 12.0 + 20.0 * len(words)
    near = np.asarray(px) < LEFT + 16.0 + width
    below = HEIGHT - BOTTOM - float(low[near].max(initial=TOP))
    above = float(high[near].min(initial=HEIGHT)) - TOP
    x, y = LEFT + 8.0, (HEIGHT - BOTTOM - height - 8.0 if below >= above else TOP + 8.0)
    rows = "".join(
        f'<g transform="translate(8 {8 + 20 * i})">{KEYS[key]}'
        f'<text x="34" y="11.5" font-family="sans-serif" font-size="12" fill="{INK}">{clean(text)}</text></g>'
        for i, (key, text) in enumerate(words.items())
    )
    return (
        f'<g class="legend" transform="translate({x:g} {y:.1f})"><rect width="{width:.0f}" height="{height:g}" '
        f'fill="#fff" fill-opacity=".88" stroke="{GRID}"/>{rows}</g>'
    )


def axes(x0: float, x1: float, low: float, high: float, unit: str) -> list[str]:
    """Frame, decades, and the names of the axes."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    name = str(clean(unit))
    text = f'font-family="sans-serif" font-size="13" fill="{INK}"'
    out = []
    for first, last, upright in ((x0, x1, True), (low, high, False)):
        decades = range(math.ceil(first), math.floor(last) + 1)
        marks = [(float(d), True) for d in decades]
        marks += [
            (d + math.log10(m), len(decades) < 2 and m in (2, 5))
            for d in range(math.floor(first), math.ceil(last)) for m in range(2, 10)
            if first < d + math.log10(m) < last
        ]  # fmt: skip
        for at, named in marks:
            share = (at - first) / (last - first)
            shown = _tick(at)
            if upright:
                px = LEFT + share * width
                weight = 1.0 if named else 0.5
                out.append(f'<path d="M{px:.1f} {TOP:g}v{height:g}" stroke="{GRID}" stroke-width="{weight}"/>')
                if named:
                    out.append(
                        f'<text x="{px:.1f}" y="{TOP + height + 18:g}" text-anchor="middle" {text}>{shown}</text>'
                    )
            elif named:
                py = TOP + (1.0 - share) * height
                out.append(f'<path d="M{LEFT:g} {py:.1f}h{width:g}" stroke="{GRID}"/>')
                out.append(f'<text x="{LEFT - 8:g}" y="{py + 4.5:.1f}" text-anchor="end" {text}>{shown}</text>')
    out.append(
        f'<rect x="{LEFT:g}" y="{TOP:g}" width="{width:g}" height="{height:g}" fill="none" stroke="{INK}" '
        'stroke-width=".8"/>'
    )
    middle = TOP + 0.5 * height
    out.append(
        f'<text x="{LEFT + 0.5 * width:.0f}" y="{HEIGHT - 10:g}" text-anchor="middle" {text}>'
        f"f / {name}\u207b\u00b9</text>"
    )
    out.append(
        f'<text x="20" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 20 {middle:.0f})" {text}>'
        f"PSD / {name}\u00b3</text>"
    )
    return out


def _tick(exponent: float) -> str:
    value = 10.0**exponent
    if -3.01 < exponent < 4.01:
        return f"{value:.4g}"
    whole = math.floor(exponent + 1e-9)
    factor = value / 10.0**whole
    body = "10" if abs(factor - 1.0) < 1e-6 else f"{factor:.0f}\u00b710"
    return f'{body}<tspan dy="-5" font-size="9.5">{whole}</tspan>'.replace(">-", ">\u2212")
