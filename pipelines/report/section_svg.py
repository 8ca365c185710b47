"""A section for paper and for pages without scripts: outline, whiskers of the deviations, limits, all magnified alike.

The magnification is printed beside the drawing: without it a whisker says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.report import colour
from pipelines.report.nominal import SectionView
from pipelines.report.numbers import fixed

WIDTH, HEIGHT, PAD = 900.0, 560.0, 56.0
MAX_WHISKERS = 1500
STEPS = (1, 2, 5)


def nice_magnification(section: SectionView) -> float:
    """1, 2, 5 x 10^n at which the larger of the limits and the deviations reaches a twelfth of the outline."""
    size = float(np.nanmax(np.ptp(section.nominal[np.isfinite(section.nominal).all(axis=1)], axis=0)))
    ends = [abs(v) for v in (section.lower, section.upper) if v]
    finite = np.abs(section.value[np.isfinite(section.value)])
    if finite.size:
        ends.append(float(np.quantile(finite, 0.99)))
    largest = max(ends, default=0.0)
    if not largest > 0.0:
        return 1.0
    target = max(1.0, size / 12.0 / largest)
    base = 10.0 ** math.floor(math.log10(target))
    return max(m * base for m in STEPS if m * base <= target * (1.0 + 1e-12))


def thinned(section: SectionView) -> NDArray[np.int64]:
    """Indices of at most `MAX_WHISKERS` points: the farthest of each group of neighbours in recorded order."""
    good = np.flatnonzero(np.isfinite(section.value) & np.isfinite(section.foot).all(axis=1))
    if len(good) <= MAX_WHISKERS:
        return good
    groups = np.array_split(good, MAX_WHISKERS)
    return np.array([g[np.argmax(np.abs(section.value[g]))] for g in groups if len(g)], dtype=np.int64)


def _path(points: NDArray[np.float64]) -> str:
    parts, pen = [], "M"
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return "".join(parts)


def section_svg(section: SectionView, magnification: float, unit: str, label: str) -> Markup:
    """The drawing as SVG. ``label`` is its accessible name."""
    finite = section.nominal[np.isfinite(section.nominal).all(axis=1)]
    low, high = finite.min(axis=0), finite.max(axis=0)
    extent = np.maximum(high - low, 1e-12 + 1e-6 * float(np.max(high - low)))
    scale = float(min((WIDTH - 2 * PAD) / extent[0], (HEIGHT - 2 * PAD) / extent[1]))
    middle = 0.5 * (low + high)

    def place(p: NDArray[np.float64]) -> NDArray[np.float64]:
        q = (p - middle) * scale
        return np.column_stack((0.5 * WIDTH + q[:, 0], 0.5 * HEIGHT - q[:, 1]))

    parts = [Markup('<path class="outline" d="{}"/>').format(_path(place(section.nominal)))]
    for end in (section.lower, section.upper):
        if end is not None and math.isfinite(end):
            parts.append(
                Markup('<path class="band" d="{}"/>').format(
                    _path(place(section.nominal + magnification * end * section.outward))
                )
            )
    index = thinned(section)
    foot = section.foot[index]
    tip = foot + magnification * section.value[index, None] * section.direction[index]
    a, b = place(foot), place(tip)
    bands = _bands(section, index)
    for band in np.unique(bands):
        rows = np.flatnonzero(bands == band)
        d = "".join(f"M{a[i, 0]:.1f} {a[i, 1]:.1f}L{b[i, 0]:.1f} {b[i, 1]:.1f}" for i in rows)
        dots = "".join(f"M{b[i, 0]:.1f} {b[i, 1]:.1f}h0" for i in rows)
        shade = colour.BANDS[int(band)]
        parts.append(Markup('<path class="needle" stroke="{}" d="{}"/>').format(shade, d))
        parts.append(Markup('<path class="dots" stroke="{}" d="{}"/>').format(_ink(int(band)), dots))
    parts += _scales(scale, magnification, unit)
    return Markup('<svg class="photo section" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>').format(
        int(WIDTH), int(HEIGHT), label, Markup("").join(parts)
    )


def _bands(section: SectionView, index: NDArray[np.int64]) -> NDArray[np.uint8]:
    value = section.value[index]
    low = np.full(len(value), np.nan if section.lower is None and section.upper is None else -math.inf)
    high = -low
    if section.lower is not None:
        low[:] = section.lower
    if section.upper is not None:
        high[:] = section.upper
    return colour.band_index(colour.shares(value, low, high), value, 0.0)


def _ink(band: int) -> str:
    """Dots darker than the palest bands: they must be seen on white."""
    return {4: "#84b4cf", 6: "#e6a860", 5: "#9aa3ab"}.get(band, colour.BANDS[band])


def _scales(scale: float, magnification: float, unit: str) -> list[Markup]:
    """Two rulers: of the outline, and of the deviations, which are drawn larger."""
    out = []
    for x, length in ((16.0, _nice(170.0 / scale)), (WIDTH - 210.0, _nice(110.0 / scale / magnification))):
        factor = 1.0 if x < 100.0 else magnification
        w = length * scale * factor
        text = f"{fixed(length, None)} {unit}" + (f" (\u00d7 {factor:g})" if factor != 1.0 else "")
        out.append(
            Markup(
                '<g class="ruler thin"><path d="M{x} {y}v-8m0 4h{w:.1f}m0-4v8"/><text x="{x}" y="{t}">{s}</text></g>'
            ).format(x=x, y=HEIGHT - 12.0, w=w, t=HEIGHT - 26.0, s=text)
        )
    return out


def _nice(target: float) -> float:
    base = 10.0 ** math.floor(math.log10(target))
    return next(m * base for m in (5.0, 2.0, 1.0) if m * base <= target * (1.0 + 1e-12))


def section_data(sections: Sequence[SectionView], pack: Any) -> list[dict[str, Any]]:
    """What the script needs to draw the sections at another magnification."""
    out = []
    for s in sections:
        index = thinned(s)
        finite = s.nominal[np.isfinite(s.nominal).all(axis=1)]
        origin = 0.5 * (finite.min(axis=0) + finite.max(axis=0))
        out.append(
            {
                "nominal": pack((s.nominal - origin).astype(np.float32).ravel()),
                "outward": pack(s.outward.astype(np.float32).ravel()),
                "foot": pack((s.foot[index] - origin).astype(np.float32).ravel()),
                "direction": pack(s.direction[index].astype(np.float32).ravel()),
                "value": pack(s.value[index].astype(np.float32)),
                "band": pack(_bands(s, index)),
                "origin": origin.tolist(),
                "axes": [s.horizontal, s.vertical],
                "limits": [s.lower, s.upper],
                "magnification": nice_magnification(s),
            }
        )
    return out
