"""Wafer maps as plain SVG: verdict by shape and outline, value by a scale that eyes of all kinds can read, notch, edge
exclusion, and grey where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from pipelines.report.encode import clean
from pipelines.report.numbers import fixed

# dark to light in even steps of lightness, blue to yellow: told apart without red and green
STEPS = ("#00224e", "#253d6e", "#4a5572", "#6f6f76", "#949077", "#bcae6c", "#e3cf57", "#fde737")
UNKNOWN = "#c9ced3"
SIZE = 300.0  # of the drawing, whatever the wafer


@dataclass(frozen=True)
class Frame:
    """``diameter``, ``edge_exclusion``, ``field`` (x, y) or None, all in mm; ``notch`` down | up | left | right."""

    diameter: float = 300.0
    edge_exclusion: float = 0.0
    notch: str = "down"
    field: tuple[float, float] | None = None


@dataclass(frozen=True)
class Spot:
    """A site: place in mm (y up), value or None, verdict, a name, and where it leads; ``faint``: it is shown and does
    not count."""

    x: float
    y: float
    value: float | None
    verdict: str = "none"
    name: str = ""
    link: str = ""
    faint: bool = False


class Scale(NamedTuple):
    """Ends of the colour scale, and how many values lie beyond each (drawn in the colour of that end)."""

    low: float
    high: float
    below: int = 0
    above: int = 0


FENCE = 3.0  # quartile distances beyond the quartiles: "far out" (Tukey, Exploratory Data Analysis, 1977, 2D)


def scale_of(values: Sequence[float]) -> Scale:
    """The colour scale: the extremes of the values that are not far out, so that one of them does not make all others
    one colour. Limits play no part: a capable process would be one colour between them, and verdicts have their signs.
    Of normal values 2 in a million lie beyond the fences; where the middle half is one value, the extremes of all
    count. Widened where all are alike."""
    finite = sorted(v for v in values if math.isfinite(v))
    if not finite:
        return Scale(0.0, 1.0)
    first, third = (_quantile(finite, q) for q in (0.25, 0.75))
    reach = FENCE * (third - first)
    kept = [v for v in finite if first - reach <= v <= third + reach] if reach > 0.0 else finite
    low, high = kept[0], kept[-1]
    if not high > low:
        step = 0.5 * abs(low) or 0.5
        return Scale(low - step, high + step)
    return Scale(low, high, sum(v < low for v in finite), sum(v > high for v in finite))


def _quantile(ordered: Sequence[float], q: float) -> float:
    at = q * (len(ordered) - 1)
    k = min(int(at), len(ordered) - 2) if len(ordered) > 1 else 0
    after = ordered[min(k + 1, len(ordered) - 1)]
    return ordered[k] + (at - k) * (after - ordered[k])


def step_of(value: float, scale: Scale) -> int:
    """Step of the colour scale."""
    low, high = scale.low, scale.high
    return min(max(int((value - low) / (high - low) * len(STEPS)), 0), len(STEPS) - 1)


def wafer_svg(frame: Frame, spots: Sequence[Spot], scale: Scale, decimals: int | None, label: str) -> Markup:
    """One wafer. Fields are drawn as rectangles of their size, sites without a field size as discs."""
    k = (SIZE - 16.0) / frame.diameter
    middle = 0.5 * SIZE

    def at(x: float, y: float) -> tuple[float, float]:
        return middle + k * x, middle - k * y

    radius = 0.5 * frame.diameter * k
    parts = [Markup('<path class="wafer" d="{}" fill="#fff" stroke="#4d5b66" stroke-width="1.4"/>').format(
        _outline(middle, radius, frame.notch))]  # fmt: skip
    if frame.edge_exclusion:
        parts.append(
            Markup(
                '<circle cx="{0}" cy="{0}" r="{1:.1f}" fill="none" stroke="#8894a0" stroke-dasharray="4 3"/>'
            ).format(middle, radius - k * frame.edge_exclusion)
        )
    size = _spot_size(spots, frame, k)
    over: list[Markup] = []
    for here in _by_place(spots):
        x, y = at(here[0].x, here[0].y)
        drawn, signs = _place(x, y, here, scale, decimals, size, None if frame.field is None else
                              (k * frame.field[0], k * frame.field[1]))  # fmt: skip
        parts += drawn
        over += signs
    # rim and notch once more, over sites that reach them
    over.append(
        Markup('<path d="{}" fill="none" stroke="#4d5b66" stroke-width="1.4"/><path d="{}" fill="#4d5b66"/>').format(
            _outline(middle, radius, frame.notch), _notch(middle, radius, frame.notch)
        )
    )
    return Markup(
        '<svg class="wafermap" viewBox="0 0 {0:g} {0:g}" width="{0:g}" height="{0:g}" role="img">'
        "<title>{1}</title>{2}{3}</svg>"
    ).format(SIZE, label, Markup("").join(parts), Markup("").join(over))


_BESIDE = 9  # spots of one place that are drawn side by side; more are one symbol with their number
_RANK = {"nonconforming": 0, "indeterminate": 1, "none": 2, "conforming": 3}


def _by_place(spots: Sequence[Spot]) -> list[list[Spot]]:
    """Spots that share a place, in the order of the places' first spots."""
    found: dict[tuple[float, float], list[Spot]] = {}
    for spot in spots:
        found.setdefault((round(spot.x, 6), round(spot.y, 6)), []).append(spot)
    return list(found.values())


def _place(
    x: float, y: float, spots: Sequence[Spot], scale: Scale, decimals: int | None, size: float,
    field: tuple[float, float] | None,
) -> tuple[list[Markup], list[Markup]]:  # fmt: skip
    """What is drawn at one place: its spots side by side in their order, or, where they are too many, the worst of
    them with the number of all; the signs of the verdicts apart, to lie on top."""
    columns = math.ceil(math.sqrt(len(spots)))
    if len(spots) > _BESIDE:
        worst = min(spots, key=lambda spot: _RANK.get(spot.verdict, 2))
        count = Markup(
            '<text class="count" x="{:.1f}" y="{:.1f}" font-size="9" text-anchor="middle" fill="#26323d" stroke="#fff" '
            'stroke-width="2.4" paint-order="stroke">{}</text>'
        ).format(x, y + 3.2 + 0.6 * size, f"\u00d7{len(spots)}")
        drawn, signs = _place(x, y, [worst], scale, decimals, size, field)
        return drawn, [*signs, count]
    rows = math.ceil(len(spots) / columns)
    w, h = field or (2.0 * size, 2.0 * size)
    if field is not None and len(spots) > 1:
        w, h = w - 1.6, h - 1.6  # what belongs to one field stands closer than fields do
    step_x, step_y = w / columns, h / rows
    if field is None and columns > 1:  # discs stay large enough to be seen and hit
        step_x = step_y = max(step_x, 4.4)
    drawn = []
    marked: list[tuple[str, list[Markup]]] = []
    for i, spot in enumerate(spots):
        in_row = min(columns, len(spots) - i // columns * columns)
        cx = x + (i % columns - 0.5 * (in_row - 1)) * step_x
        cy = y + (i // columns - 0.5 * (rows - 1)) * step_y
        if field is not None:
            shape = _rectangle(cx, cy, w / in_row if rows == 1 else step_x, step_y, spot, scale, decimals)
        else:
            shape = _disc(cx, cy, size if columns == 1 else 0.5 * step_x, spot, scale, decimals)
        drawn.append(Markup('<a href="{}">{}</a>').format(spot.link, shape) if spot.link else shape)
        reach = size if columns == 1 else 0.5 * min(step_x, step_y)
        marked.append((spot.verdict, _sign(cx, cy, spot, max(3.5 if columns == 1 else 2.8, min(0.7 * reach, 8.0)))))
    marked.sort(key=lambda item: -_RANK.get(item[0], 2))  # the worst verdict last, on top of its neighbours
    return drawn, [mark for _, marks in marked for mark in marks]


def _text(spot: Spot, decimals: int | None) -> str:
    return spot.name + (": \u2013" if spot.value is None else f": {fixed(spot.value, decimals)}")


def _colour(spot: Spot, scale: Scale) -> str:
    return UNKNOWN if spot.value is None else STEPS[step_of(spot.value, scale)]


def _rectangle(x: float, y: float, w: float, h: float, spot: Spot, scale: Scale, decimals: int | None) -> Markup:
    return Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}" stroke="#fff" stroke-width=".8">'
        "<title>{}</title></rect>"
    ).format(x - w / 2, y - h / 2, w, h, _colour(spot, scale), _text(spot, decimals))


def _disc(x: float, y: float, r: float, spot: Spot, scale: Scale, decimals: int | None) -> Markup:
    colour = _colour(spot, scale)
    if spot.faint:
        return Markup(
            '<circle class="faint" cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="#fff" stroke="{}" stroke-width="1.4">'
            "<title>{}</title></circle>"
        ).format(x, y, max(0.7 * r, 1.8), colour, _text(spot, decimals))
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="{}"><title>{}</title></circle>').format(
        x, y, r, colour, _text(spot, decimals)
    )


def _sign(x: float, y: float, spot: Spot, r: float) -> list[Markup]:
    """What a verdict adds: a crossed diamond, a triangle, a dash for a site without value; light under dark."""
    if spot.value is None:
        d = f"M{x - r:.1f} {y:.1f}h{2 * r:.1f}"
        return [Markup('<path d="{}" stroke="#4d5b66" stroke-width="1.6"/>').format(d)]
    if spot.verdict == "nonconforming":
        d = f"M{x:.1f} {y - r:.1f}l{r:.1f} {r:.1f} {-r:.1f} {r:.1f} {-r:.1f} {-r:.1f}z"
        cross = f"M{x - r / 2:.1f} {y - r / 2:.1f}l{r:.1f} {r:.1f}m0 {-r:.1f}l{-r:.1f} {r:.1f}"
        return _haloed("m-out", d + cross, "#a50f24")
    if spot.verdict == "indeterminate":
        return _haloed("m-open", f"M{x:.1f} {y - r:.1f}l{r:.1f} {1.7 * r:.1f}h{-2 * r:.1f}z", "#7a5200")
    return []


def _haloed(name: str, d: str, colour: str) -> list[Markup]:
    """A sign that lets the value's colour through, with a light rim so that it is seen on any."""
    return [
        Markup('<path d="{}" fill="none" stroke="#fff" stroke-width="4"/>').format(d),
        Markup('<path class="{}" d="{}" fill="none" stroke="{}" stroke-width="1.8"/>').format(name, d, colour),
    ]


def _spot_size(spots: Sequence[Spot], frame: Frame, k: float) -> float:
    if frame.field is not None:
        return 0.35 * k * min(frame.field)
    places = [(s.x, s.y) for s in spots]
    near = [
        min((math.hypot(x - a, y - b) for a, b in places if (a, b) != (x, y)), default=frame.diameter / 8.0)
        for x, y in places[:400]
    ]
    middle = sorted(near)[len(near) // 2] if near else frame.diameter / 8.0
    return float(min(max(0.4 * k * middle, 2.5), 8.0))


def _notch(middle: float, radius: float, notch: str) -> str:
    """A mark outside the rim that says where the notch is."""
    dx, dy = {"down": (0.0, 1.0), "left": (-1.0, 0.0), "up": (0.0, -1.0), "right": (1.0, 0.0)}[notch]
    x, y = middle + dx * radius, middle + dy * radius
    return f"M{x:.1f} {y:.1f}l{6 * dx + 5 * dy:.1f} {6 * dy + 5 * dx:.1f} {-10 * dy:.1f} {-10 * dx:.1f}z"


def _outline(middle: float, radius: float, notch: str) -> str:
    """The rim with its notch, drawn larger than it is so that it is seen."""
    turn = {"down": 90.0, "left": 180.0, "up": 270.0, "right": 0.0}[notch]
    half = 3.2

    def rim(degrees: float, r: float = radius) -> str:
        a = math.radians(degrees)
        return f"{middle + r * math.cos(a):.1f} {middle + r * math.sin(a):.1f}"

    return f"M{rim(turn + half)}A{radius:.1f} {radius:.1f} 0 1 1 {rim(turn - half)}L{rim(turn, radius - 9.0)}z"


def scale_svg(scale: Scale, decimals: int | None, unit: str) -> Markup:
    """The colour scale with its ends."""
    width, height = 30.0, 10.0
    parts = [
        Markup('<rect x="{:g}" y="0" width="{:g}" height="{:g}" fill="{}"/>').format(i * width, width, height, colour)
        for i, colour in enumerate(STEPS)
    ]
    whole = width * len(STEPS)
    low = ("≤ " if scale.below else "") + fixed(scale.low, decimals)
    high = ("≥ " if scale.above else "") + fixed(scale.high, decimals)
    parts.append(
        Markup(
            '<text x="0" y="22" font-size="11">{}</text><text x="{:g}" y="22" font-size="11" text-anchor="end">{} {}'
            "</text>"
        ).format(low, whole, high, clean(unit))
    )
    return Markup(
        '<svg class="mapscale" viewBox="0 0 {0:g} 26" width="{0:g}" height="26" role="img"><title>{1}</title>{2}</svg>'
    ).format(whole, escape(f"{low} … {high} {clean(unit)}".rstrip()), Markup("").join(parts))
