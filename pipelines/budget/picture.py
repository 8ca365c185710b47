"""Pictures of a budget as plain SVG files: the parts of the uncertainty, and both densities with their intervals."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipelines.budget.evaluate import BudgetResult

_WIDTH = 760.0
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_INK, _SOFT, _BAR, _BEND, _GUM, _MC = "#1c2530", "#66717f", "#2f6f9f", "#b7791f", "#c0392b", "#9bbfd8"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{fill}"/>'


def _shorten(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def picture(result: BudgetResult, name: str) -> str:
    """The picture of one output: parts of the variance above, densities below."""
    spec = result.loaded.budget.outputs.get(name)
    unit = f" {spec.unit}" if spec and spec.unit else ""
    parts: list[str] = []
    y = 30.0
    title = result.loaded.budget.title or "Uncertainty budget"
    parts.append(_text(16, y, f"{title}: {name}", bold=True))
    y += 26
    if result.gum is None:
        parts.append(
            _text(16, y, "The law of propagation does not apply here (no derivative at the estimates).", fill=_SOFT)
        )
        y += 20
    else:
        row = result.gum[name]
        parts.append(_text(16, y, f"Parts of the variance (law of propagation, u = {row.u:.3g}{unit})", fill=_SOFT))
        y += 12
        rows = [(line.label or line.name, abs(line.contribution), line.share) for line in row.lines]
        rows.sort(key=lambda item: -item[2])
        small = [item for item in rows if abs(item[2]) < 5e-4]
        rows = [item for item in rows if abs(item[2]) >= 5e-4][:24]
        if row.share_nonlinear > 5e-4:
            rows.append(("second-order terms", math.sqrt(row.u**2 - row.u_first**2), row.share_nonlinear))
        left, full = 330.0, _WIDTH - 330.0 - 150.0
        for label, size, share in rows:
            y += 22
            fill = _BEND if label == "second-order terms" or share < 0.0 else _BAR
            parts.append(_text(left - 10, y, _shorten(label), anchor="end"))
            length = max(1.0, min(1.0, abs(share)) * full)
            parts.append(f'<rect x="{_n(left)}" y="{_n(y - 11)}" width="{_n(length)}" height="14" fill="{fill}"/>')
            parts.append(_text(left + length + 6, y, f"{100 * share:.1f} %   |c| u = {size:.2g}", fill=_SOFT))
        if small:
            y += 22
            parts.append(_text(left - 10, y, f"{len(small)} more, below 0.05 % each", anchor="end", fill=_SOFT))
        y += 14
    y += 26
    chart, height = _densities(result, name, y, unit)
    parts += chart
    total = y + height + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(_WIDTH)} {_n(total)}" width="{_n(_WIDTH)}" '
        f'height="{_n(total)}" role="img" {_FONT}><title>{escape(f"Uncertainty budget of {name}")}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _densities(result: BudgetResult, name: str, top: float, unit: str) -> tuple[list[str], float]:
    """Histogram of Monte Carlo, the GUM's density, and the two coverage intervals under a common axis."""
    k = result.drawn.index(name)
    y = result.drawn.samples[k]
    p = result.drawn.p
    low, high = (float(v) for v in np.quantile(y, [0.0005, 0.9995]))
    a, b = result.drawn.interval(k)
    row = result.gum[name] if result.gum is not None else None
    gum = row.interval(p) if row is not None and row.u > 0.0 else None
    if gum is not None:
        low, high = min(low, gum[0]), max(high, gum[1])
    low, high = min(low, a), max(high, b)
    air = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - air, high + air
    left, width, height = 40.0, _WIDTH - 80.0, 190.0
    base = top + 18 + height

    def x_of(v: float) -> float:
        return left + (v - low) / (high - low) * width

    counts, edges = np.histogram(y, 80, (low, high))
    density = counts / (len(y) * (edges[1] - edges[0]))
    curve = np.linspace(low, high, 200)
    peak = float(density.max())
    line = np.zeros(0)
    if row is not None and gum is not None:
        line = _gum_density(curve, row.value, row.u, row.dof)
        peak = max(peak, float(line.max()))
    parts = [
        _text(16, top, "Monte Carlo (bars) and the density that the law of propagation implies (line)", fill=_SOFT)
    ]
    for value, left_edge, right_edge in zip(density, edges, edges[1:]):
        if value > 0.0:
            tall = value / peak * height
            x0, x1 = x_of(float(left_edge)), x_of(float(right_edge))
            parts.append(_box(x0, base - tall, x1 - x0 + 0.2, tall, _MC))
    if len(line):
        path = "L".join(f"{_n(x_of(float(v)))} {_n(base - float(d) / peak * height)}" for v, d in zip(curve, line))
        parts.append(f'<path d="M{path}" fill="none" stroke="{_GUM}" stroke-width="1.8"/>')
    parts.append(f'<path d="M{_n(left)} {_n(base)}H{_n(left + width)}" stroke="{_INK}"/>')
    at = base + 18
    for label, ends, colour in (("Monte Carlo", (a, b), _BAR), ("GUM", gum, _GUM)):
        if ends is None:
            continue
        x0, x1 = x_of(ends[0]), x_of(ends[1])
        parts.append(
            f'<path d="M{_n(x0)} {_n(at - 5)}v10M{_n(x1)} {_n(at - 5)}v10M{_n(x0)} {_n(at)}H{_n(x1)}" '
            f'stroke="{colour}" stroke-width="2" fill="none"/>'
        )
        parts.append(
            _text(
                (x0 + x1) / 2,
                at + 18,
                f"{label} {100 * p:g} %: [{_place(ends[0], result, k)}, {_place(ends[1], result, k)}]{unit}",
                anchor="middle",
                fill=colour,
            )
        )
        at += 38
    return parts, at - top


def _place(value: float, result: BudgetResult, k: int) -> str:
    from pipelines.report.numbers import fixed, place

    return fixed(value, place(float(result.drawn.u[k])))


def _gum_density(x: np.ndarray, mean: float, u: float, dof: float) -> np.ndarray:
    from metrology_core.uncertainty.standard import pdf

    z = (x - mean) / u
    found = pdf("normal", (), z) if math.isinf(dof) else pdf("t", (max(1.0, float(math.floor(dof))),), z)
    return np.asarray(found) / u
