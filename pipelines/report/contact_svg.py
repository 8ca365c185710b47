"""Contacts of one image as SVG: the contour of each feature in the colour of its state, crosses where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

COLOURS = {
    "found": "#35d0ff", "weak": "#ffc13b", "merged": "#ff7a3d", "missing": "#ff4b6e", "border": "#9aa3ab",
    "not_measured": "#c58bff",
}  # fmt: skip
DRAWN = ("found", "weak")  # states whose contour is drawn


def marks(
    contours: NDArray[np.float64], places: NDArray[np.float64], states: Sequence[str], origin: tuple[float, float]
) -> Markup:
    """Paths over an image in its pixels. ``contours`` (n, k, 2) NaN where there is none, ``places`` (n, 2); x, y.

    ``origin``: first row and column of the measured area. Pixel centres lie at half: the picture begins at 0.
    """
    shift = np.array([origin[1] + 0.5, origin[0] + 0.5])
    parts = []
    for points, place, state in zip(contours, places, states, strict=True):
        colour = COLOURS.get(state, "#ffffff")
        good = np.isfinite(points).all(axis=1)
        if good.any() and state in DRAWN:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points[good] + shift) + "z"
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
        elif np.isfinite(place).all():
            x, y = place + shift
            parts.append(
                f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
    return Markup("".join(parts))


def document(body: str, width: int, height: int, drawn: Markup, counts: Mapping[str, int | None]) -> str:
    """A picture file of its own: ``body`` is the image as base64 PNG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<image href="data:image/png;base64,{body}" width="{width}" height="{height}"/>',
        str(drawn),
    ]
    for row, (state, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="6" y="{6 + 18 * row}" width="150" height="17" fill="#fffd"/>')
        parts.append(f'<rect x="10" y="{10 + 18 * row}" width="10" height="10" fill="{colour}"/>')
        count = counts.get(state, 0)
        label = f"{state.replace('_', ' ')}: {'not known' if count is None else count}"
        parts.append(f'<text x="26" y="{19 + 18 * row}" font-family="sans-serif" font-size="13">{label}</text>')
    return "\n".join(parts) + "</svg>\n"


def geometry(view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[Any, Any, list[str]] | None:
    """Contours, places and states of a ``sem_contacts`` view; None where they do not fit together."""
    contours = np.asarray(arrays.get(str(view.get("contours")), np.empty((0, 0, 2))), dtype=np.float64)
    places = np.asarray(arrays.get(str(view.get("places")), np.empty((0, 2))), dtype=np.float64)
    states = [str(s) for s in view.get("states", ())]
    if contours.ndim != 3 or contours.shape[2:] != (2,) or places.shape != (contours.shape[0], 2):
        return None
    return (contours, places, states) if len(states) == contours.shape[0] else None
