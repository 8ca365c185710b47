"""Small drawings in the tables: tolerance bar, lot chart, budget bar. Plain SVG, styled by the page's sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Zone:
    """Limits and acceptance limits of one characteristic, None where there is none."""

    lower: float | None
    upper: float | None
    accept_lower: float | None = None
    accept_upper: float | None = None
    nominal: float | None = None


def _n(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def axis_of(zone: Zone, values: Sequence[float]) -> tuple[float, float]:
    """Range of an axis that shows the whole tolerance zone with air, and the values where they are not far off."""
    if zone.lower is not None and zone.upper is not None:
        width = zone.upper - zone.lower
        return zone.lower - 0.4 * width, zone.upper + 0.4 * width
    finite = [v for v in values if math.isfinite(v)]
    one = zone.upper if zone.upper is not None else zone.lower
    if one is None:
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        air = 0.1 * (high - low) or abs(high) * 0.1 or 1.0
        return low - air, high + air
    if zone.upper is not None and one > 0.0 and all(v >= 0.0 for v in finite):
        return 0.0, 1.4 * one
    reach = max((abs(v - one) for v in finite), default=0.0) or abs(one) or 1.0
    return one - 1.2 * reach, one + 1.2 * reach


def _bands(
    zone: Zone, place: tuple[float, float], at: float, size: float, *, upright: bool, scale: Scale
) -> list[Markup]:
    """Zone and guard bands as rectangles along x, or along y for a chart."""

    def box(a: float, b: float, name: str) -> Markup:
        p, q = sorted((scale(a), scale(b)))
        if upright:
            return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                name, _n(at), _n(p), _n(size), _n(q - p)
            )
        return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
            name, _n(p), _n(at), _n(q - p), _n(size)
        )

    low = place[0] if zone.lower is None else zone.lower
    high = place[1] if zone.upper is None else zone.upper
    out = [box(low, high, "zone")]
    for limit, accept in ((zone.lower, zone.accept_lower), (zone.upper, zone.accept_upper)):
        if limit is not None and accept is not None and accept != limit:
            bounded = min(max(accept, place[0]), place[1])
            out.append(box(limit, bounded, "guard"))
    return out


def tolerance_bar(
    zone: Zone, value: float | None, ends: tuple[float, float] | None, verdict: str, label: str
) -> Markup:
    """Tolerance zone, hatched guard bands, nominal tick, the value with its whisker. An arrow where it is off."""
    if value is None:
        return Markup("")
    width, height, pad = 176.0, 30.0, 8.0
    low, high = axis_of(zone, [value])

    def scale(v: float) -> float:
        share = (v - low) / (high - low)
        return pad + min(max(share, 0.0), 1.0) * (width - 2 * pad)

    parts = [Markup('<line class="axis" x1="0" x2="{}" y1="21" y2="21"/>').format(_n(width))]
    if zone.lower is not None or zone.upper is not None:
        parts += _bands(zone, (low, high), 6.0, 15.0, upright=False, scale=scale)
    for limit in (zone.lower, zone.upper):
        if limit is not None:
            parts.append(Markup('<line class="limit" x1="{0}" x2="{0}" y1="3" y2="24"/>').format(_n(scale(limit))))
    if zone.nominal is not None and low <= zone.nominal <= high:
        parts.append(Markup('<line class="nominal" x1="{0}" x2="{0}" y1="6" y2="21"/>').format(_n(scale(zone.nominal))))
    if ends is not None:
        a, b = scale(ends[0]), scale(ends[1])
        parts.append(Markup('<path class="whisker" d="M{a} 10.5v6M{b} 10.5v6M{a} 13.5H{b}"/>').format(a=_n(a), b=_n(b)))
    x = scale(value)
    if low <= value <= high:
        parts.append(_mark(x, 13.5, verdict, 4.0))
    else:
        tip = 7.0 if value > high else -7.0
        parts.append(
            Markup('<path class="mark m-{}" d="M{} 8v11l{} -5.5z"/>').format(verdict, _n(x - tip / 2), _n(tip))
        )
    return Markup(
        '<svg class="bar" viewBox="0 0 {} {}" width="{}" height="{}" role="img"><title>{}</title>{}</svg>'
    ).format(_n(width), _n(height), _n(width), _n(height), label, Markup("").join(parts))


def _mark(x: float, y: float, verdict: str, r: float) -> Markup:
    """The verdict by shape as well as colour: disc, diamond (nonconforming), triangle (indeterminate), ring."""
    if verdict == "nonconforming":
        a, b = _n(r + 0.8), _n(-r - 0.8)
        d = f"M{_n(x)} {_n(y - r - 0.8)}l{a} {a} {b} {a} {b} {b}z"
        return Markup('<path class="mark m-nonconforming" d="{}"/>').format(d)
    if verdict == "indeterminate":
        d = f"M{_n(x)} {_n(y - r - 0.5)}l{_n(r + 0.5)} {_n(1.8 * r)}H{_n(x - r - 0.5)}z"
        return Markup('<path class="mark m-indeterminate" d="{}"/>').format(d)
    return Markup('<circle class="mark m-{}" cx="{}" cy="{}" r="{}"/>').format(verdict, _n(x), _n(y), _n(r))


@dataclass(frozen=True)
class LotPoint:
    """A part in the lot chart: place in part order, value, verdict, name."""

    order: int
    value: float
    verdict: str
    name: str


def lot_chart(zone: Zone, points: Sequence[LotPoint], total: int, label: str) -> Markup:
    """Values in part order with limits and guard bands, and their histogram at the right on the same axis."""
    width, height, left, right, top, bottom = 420.0, 104.0, 6.0, 96.0, 8.0, 8.0
    low, high = axis_of(zone, [p.value for p in points])
    values = [p.value for p in points]
    if values:  # a lot chart shows every value: the axis grows rather than clip, up to five widths of the zone
        span = high - low
        low = max(min(low, min(values) - 0.04 * span), low - 2 * span)
        high = min(max(high, max(values) + 0.04 * span), high + 2 * span)
    plot = width - left - right

    def scale(v: float) -> float:
        share = (v - low) / (high - low)
        return height - bottom - min(max(share, 0.0), 1.0) * (height - top - bottom)

    parts: list[Markup] = []
    if zone.lower is not None or zone.upper is not None:
        parts += _bands(zone, (low, high), left, width - left - 6.0, upright=True, scale=scale)
    for limit in (zone.lower, zone.upper):
        if limit is not None:
            parts.append(
                Markup('<line class="limit" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                    _n(left), _n(width - 6.0), y=_n(scale(limit))
                )
            )
    if zone.nominal is not None and low <= zone.nominal <= high:
        parts.append(
            Markup('<line class="nominal" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                _n(left), _n(width - 6.0), y=_n(scale(zone.nominal))
            )
        )
    step = plot / max(total, 1)
    if len(points) <= 600:
        radius = min(3.4, max(1.3, 0.4 * step))
        for p in points:
            mark = _mark(left + (p.order + 0.5) * step, scale(p.value), p.verdict, radius)
            parts.append(Markup("<g><title>{}</title>{}</g>").format(p.name, mark))
    else:
        parts += _dense(points, left, plot, total, scale)
    parts += _histogram(values, low, high, width - right + 10.0, right - 16.0, scale)
    return Markup(
        '<svg class="lot" viewBox="0 0 {} {}" role="img" preserveAspectRatio="xMidYMid meet"><title>{}</title>{}</svg>'
    ).format(_n(width), _n(height), label, Markup("").join(parts))


def _dense(points: Sequence[LotPoint], left: float, plot: float, total: int, scale: Scale) -> list[Markup]:
    """Many parts: the range of each pixel column, and the worst parts as single marks."""
    columns: dict[int, tuple[float, float]] = {}
    parts = []
    for p in points:
        column = int(p.order / max(total, 1) * plot)
        a, b = columns.get(column, (p.value, p.value))
        columns[column] = (min(a, p.value), max(b, p.value))
    path = "".join(
        f"M{_n(left + c + 0.5)} {_n(scale(a) + 0.6)}V{_n(scale(b) - 0.6)}" for c, (a, b) in sorted(columns.items())
    )
    parts.append(Markup('<path class="range" d="{}"/>').format(path))
    bad = [p for p in points if p.verdict == "nonconforming"][:300]
    for p in bad:
        mark = _mark(left + (p.order + 0.5) / max(total, 1) * plot, scale(p.value), p.verdict, 2.2)
        parts.append(Markup("<g><title>{}</title>{}</g>").format(p.name, mark))
    return parts


def _histogram(values: Sequence[float], low: float, high: float, x: float, width: float, scale: Scale) -> list[Markup]:
    bins = 24
    counts = [0] * bins
    for v in values:
        counts[min(bins - 1, max(0, int((v - low) / (high - low) * bins)))] += 1
    most = max(counts, default=0)
    out = [Markup('<line class="axis" x1="{0}" x2="{0}" y1="4" y2="100"/>').format(_n(x))]
    for i, count in enumerate(counts):
        if count:
            y = scale(low + (i + 1) / bins * (high - low))
            tall = scale(low + i / bins * (high - low)) - y
            out.append(
                Markup('<rect class="hist" x="{}" y="{}" width="{}" height="{}"/>').format(
                    _n(x), _n(y + 0.3), _n(max(1.0, count / most * width)), _n(max(tall - 0.6, 0.6))
                )
            )
    return out


def share_bar(share: float) -> Markup:
    """A horizontal bar for a share of variance, 0..1."""
    return Markup(
        '<svg class="share" viewBox="0 0 100 10" width="100" height="10" aria-hidden="true">'
        '<rect class="track" width="100" height="10"/><rect class="fill" width="{}" height="10"/></svg>'
    ).format(_n(100.0 * min(max(share, 0.0), 1.0)))


def edge_path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """SVG path through (x, y) with gaps at NaN; hundredths of a pixel, relative moves to stay short."""
    out: list[str] = []
    px = py = 0
    pen = False
    for x, y in zip(xs, ys):
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = False
            continue
        cx, cy = round(x * 100), round(y * 100)
        out.append(f"{'l' if pen else 'M'}{_hundredths(cx - px if pen else cx)} {_hundredths(cy - py if pen else cy)}")
        px, py, pen = cx, cy, True
    return str(escape("".join(out)))


def _hundredths(value: int) -> str:
    return _n(value / 100.0)
