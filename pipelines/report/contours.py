"""Contours of arbitrary shapes on their image: one SVG for the page, the command's picture, and paper.

Edge placement errors have seven steps of a scale from blue (too small) to orange (too large), told apart by eyes of all
kinds; grey has no error (corner, line end, no design edge near). Places out of the scale are drawn thicker.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pipelines.report.encode import clean, png
from pipelines.report.figures import nice_limit, reduce_image
from pipelines.report.i18n import Words
from pipelines.report.markup import num
from pipelines.report.numbers import fixed, place
from pipelines.report.sem_figures import scan_rows

STEPS = ("#2166ac", "#67a9cf", "#bcd9ea", "#f4f4f4", "#fdd9a8", "#f1a340", "#b35806")
PLAIN, NONE, DESIGN = "#35d0ff", "#9aa3ab", "#ffe14d"
_MARK = {"missing": "#ff4b6e", "broken": "#ffc13b", "bridged": "#ff7a3d"}


def scale_of(epe: np.ndarray) -> float:
    """End of the scale: a round number above nearly all errors."""
    finite = np.abs(epe[np.isfinite(epe)])
    return nice_limit(float(np.quantile(finite, 0.98))) if finite.size else 1.0


def contour_svg(
    image: np.ndarray,
    vertices: Mapping[str, np.ndarray],
    design: Sequence[np.ndarray],
    shapes: Mapping[str, Any],
    tips: Sequence[Mapping[str, Any]],
    unit: str,
    href: str | None = None,
) -> str:
    """The image with its contours; ``href`` of the picture, or None to put it into the file."""
    ny, nx = image.shape
    if href is None:
        href = "data:image/png;base64," + base64.b64encode(png(reduce_image(image)[1])).decode("ascii")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {nx} {ny + 34}" class="contours" role="img">',
        f'<image href="{href}" width="{nx}" height="{ny}"/>',
    ]
    for ring in design:
        path = "M" + "L".join(f"{x + 0.5:.1f} {y + 0.5:.1f}" for x, y in ring) + "z"
        parts.append(
            f'<path d="{path}" fill="none" stroke="{DESIGN}" stroke-width="0.8" stroke-dasharray="4 3" opacity="0.8"/>'
        )
    epe = vertices.get("epe")
    end = scale_of(epe[vertices["kind"] == 0]) if epe is not None else 1.0
    for colour, width, path in _strokes(vertices, end):
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    for row in shapes.get("marked", ()):
        colour = _MARK[row["state"]]
        parts.append(
            f'<path d="M{row["x"] - 6:.1f} {row["y"] - 6:.1f}l12 12m0-12l-12 12" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{row["x"] + 9:.1f}" y="{row["y"] + 4:.1f}" fill="{colour}" font-size="12">{row["state"]}</text>'
        )
    for x, y in shapes.get("extra", ()):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="#ff4b6e" stroke-width="2"/>')
    for row in tips:
        if "reason" not in row:
            parts.append(f'<circle cx="{row["x"] + 0.5:.1f}" cy="{row["y"] + 0.5:.1f}" r="2.5" fill="{DESIGN}"/>')
    parts.append(_legend(nx, ny, end if epe is not None else None, unit))
    return "".join(parts) + "</svg>"


def _strokes(vertices: Mapping[str, np.ndarray], end: float) -> list[tuple[str, str, str]]:
    """(colour, width, path) with all stretches of one colour in one path."""
    x, y, contour = vertices["x"], vertices["y"], vertices["contour"]
    epe = vertices.get("epe")
    if epe is None:
        key = np.zeros(x.size, np.int64)
    else:
        step = np.clip(np.floor((np.nan_to_num(epe) / end + 1.0) * 3.5), 0, 6).astype(np.int64)
        beyond = np.abs(np.nan_to_num(epe)) > end
        key = np.where(vertices["kind"] == 0, step + 10 * beyond, -1)
    found: dict[int, list[str]] = {}
    good = np.isfinite(x)
    for c in np.unique(contour):
        index = np.flatnonzero(contour == c)
        for i, j in zip(index, np.roll(index, -1), strict=True):
            # a stretch from a vertex to the next; the last goes back where the contour is closed
            if good[i] and good[j] and math.hypot(x[j] - x[i], y[j] - y[i]) < 16.0:
                found.setdefault(int(key[i]), []).append(
                    f"M{x[i] + 0.5:.1f} {y[i] + 0.5:.1f}L{x[j] + 0.5:.1f} {y[j] + 0.5:.1f}"
                )
    out = []
    for k in sorted(found):
        colour = PLAIN if epe is None else NONE if k < 0 else STEPS[k % 10]
        out.append((colour, "3.2" if k >= 10 else "1.6", "".join(found[k])))
    return out


def _legend(nx: int, ny: int, end: float | None, unit: str) -> str:
    font = 'font-family="sans-serif" font-size="11" fill="#223"'
    if end is None:
        return f'<text x="6" y="{ny + 20}" {font}>contour</text>'
    width = min(44.0, (nx - 20.0) / len(STEPS))
    rows = [f'<rect x="0" y="{ny}" width="{nx}" height="34" fill="#fff"/>']
    for k, colour in enumerate(STEPS):
        rows.append(
            f'<rect x="{8 + k * width:.1f}" y="{ny + 4}" width="{width:.1f}" height="10" fill="{colour}" '
            'stroke="#778"/>'
        )
    for at, anchor in ((0.0, "start"), (3.5, "middle"), (7.0, "end")):
        value = end * (at / 3.5 - 1.0)
        rows.append(
            f'<text x="{8 + at * width:.1f}" y="{ny + 28}" text-anchor="{anchor}" {font}>{value:+.3g}'
            f"{' ' + unit if at == 7.0 else ''}</text>".replace("+0<", "0<")
        )
    return "".join(rows)


def contour_figure(
    words: Words, view: Mapping[str, Any], arrays: Mapping[str, Any], href: str
) -> dict[str, Any] | None:
    """What the part page shows of a view of kind ``sem_contours``; None where the record does not hold its arrays."""
    image = arrays.get(str(view.get("image")))
    names = view.get("vertices") or {}
    vertices = {str(k): np.asarray(arrays[str(v)]) for k, v in names.items() if str(v) in arrays}
    if image is None or not {"x", "y", "contour"} <= set(vertices):
        return None
    rings = np.asarray(arrays.get(str(view.get("design")), np.empty((0, 3))), np.float64)
    design = [rings[rings[:, 0] == k][:, 1:] for k in np.unique(rings[:, 0])] if rings.size else []
    unit = clean(view.get("unit") or "px")
    shapes = view.get("shapes") or {}
    svg = contour_svg(np.asarray(image), vertices, design, shapes, view.get("tips") or (), unit, href)
    found = view.get("registration")
    where = None
    if found:
        facts = {key: fixed(found[key], place(2.0 * found[key + "_u"])) for key in ("x", "y")}
        spread = {f"U{key}": fixed(2.0 * found[key + "_u"], place(2.0 * found[key + "_u"])) for key in ("x", "y")}
        where = words.t("contours.place", **facts, **spread, unit=unit, n=found["vertices"])
    return {
        "svg": Markup(svg),  # built here from numbers and our own words
        "scan": scan_rows(words, view),
        "caption": words.t(
            "contours.caption",
            contours=view.get("contours", 0),
            vertices=int(np.isfinite(vertices["x"]).sum()),
            lost=view.get("lost", 0),
        ),
        "place": where,
        "note": words.t("contours.colours") if found else None,
        "counts": [(words.t(f"contours.{key}"), int(n)) for key, n in (shapes.get("counts") or {}).items() if n],
        "unit": unit,
        "worst": [_row(words, row, "epe", unit) for row in view.get("worst") or ()],
        "tips": [_row(words, row, "pullback", unit) for row in view.get("tips") or () if "reason" not in row],
        "gaps": [
            {"place": " – ".join(str(i + 1) for i in row["tips"]), **_row(words, row, "value", unit)}
            for row in view.get("gaps") or ()
        ],
    }


def _row(words: Words, row: Mapping[str, Any], key: str, unit: str) -> dict[str, Any]:
    at = place(2.0 * float(row["u"]))
    found: dict[str, Any] = {"value": num(float(row[key]), at), "U": num(2.0 * float(row["u"]), at)}
    if "x" in row:
        found["place"] = f"{row['x']:.1f}, {row['y']:.1f}"
    return found
