"""The spectrum of contact edges as SVG: density of each mode with U, and the noise that was taken off.

Axes, symbols and colours as in `pipelines.report.spectrum_svg`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipelines.report import spectrum_svg as base


def edge_spectrum_svg(rows: Sequence[Mapping[str, Any]], unit: str) -> Markup:
    """The drawing; empty for less than two modes with power. ``rows`` as `wafer.contacts.edge_spectrum` gives them."""
    points = []
    for row in rows:
        found = [row.get(key) for key in ("frequency", "psd", "psd_u", "noise", "variance", "mode")]
        if all(isinstance(v, int | float) and math.isfinite(v) for v in found) and float(row["frequency"]) > 0.0:
            f, psd, u = (float(row[key]) for key in ("frequency", "psd", "psd_u"))
            scale = 0.5 * float(row["mode"]) / f  # half the circumference: from variance to density
            points.append((math.log10(f), psd, 2.0 * u, scale * float(row["noise"]), int(row["mode"])))
    shown = [p for p in points if p[1] > 0.0]
    if len(shown) < 2:
        return Markup("")
    levels = [math.log10(v) for p in shown for v in (p[1], p[1] + p[2], p[1] - p[2], p[3]) if v > 0.0]
    low, high = min(levels), max(levels)
    low, high = max(low, high - 5.0) - 0.08, high + 0.08
    x0, x1 = points[0][0] - 0.05, points[-1][0] + 0.05
    width, height = base.WIDTH - base.LEFT - base.RIGHT, base.HEIGHT - base.TOP - base.BOTTOM
    floor = base.TOP + height

    def across(x: float) -> float:
        return base.LEFT + (x - x0) / (x1 - x0) * width

    def up(v: float) -> float:
        return floor if v <= 0.0 else base.TOP + (high - min(max(math.log10(v), low), high)) / (high - low) * height

    bars = "".join(f"M{across(x):.1f} {up(p - e):.1f}V{up(p + e):.1f}" for x, p, e, _, _ in points if p + e > 0.0)
    dots = "".join(f"M{across(x):.1f} {up(p):.1f}h0" for x, p, *_ in shown)
    noise = "M" + "L".join(f"{across(x):.1f} {up(n):.1f}" for x, _, _, n, _ in points)
    text = f'font-family="sans-serif" font-size="12" fill="{base.INK}" text-anchor="middle"'
    names = "".join(
        f'<text x="{across(x):.1f}" y="{max(up(p + e) - 7.0, base.TOP + 12.0):.1f}" {text}>{n}</text>'
        for x, p, e, _, n in points if p + e > 0.0
    )  # fmt: skip
    parts = [
        f'<rect width="{base.WIDTH:g}" height="{base.HEIGHT:g}" fill="#fff"/>',
        *base.axes(x0, x1, low, high, unit),
        f'<path d="{noise}" fill="none" stroke="{base.CLEAN}" stroke-width="1.6" stroke-dasharray="7 4"/>',
        f'<path d="{bars}" fill="none" stroke="{base.MEASURED}" stroke-width="1.4"/>',
        f'<path d="{dots}" fill="none" stroke="{base.MEASURED}" stroke-width="6" stroke-linecap="round"/>',
        names,
    ]
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="photo spectrum" viewBox="0 0 {} {}" role="img">'
        "<title>CER</title>{}</svg>"
    ).format(int(base.WIDTH), int(base.HEIGHT), Markup("".join(parts)))
