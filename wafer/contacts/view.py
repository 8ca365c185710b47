"""The picture of measured contacts in a record (view kind ``sem_contacts``): image, contours, states, rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.data import Image
from wafer.picture import display

if TYPE_CHECKING:
    from wafer.contacts.evaluate import ContactResult

RAYS = 180  # at most so many vertices of a contour go into the picture; the numbers use all


def contact_view(image: Image, result: ContactResult) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """View and arrays: ``contours`` (n, k, 2) and ``places`` (n, 2) in pixels (x, y) of the measured area, NaN where a
    site has no contour; ``states`` of the n sites; ``origin`` first row and column of the area; ``per_contact`` the
    rows of the sites that are not simply found."""
    shapes = []
    for site in result.sites:
        c = site.contour
        if c is None or c.state != "ok":
            shapes.append(np.empty((0, 2)))
            continue
        vertices = c.vertices()
        shapes.append(vertices[:: max(1, -(-len(vertices) // RAYS))])
    size = max((len(s) for s in shapes), default=0)
    contours = np.full((len(shapes), size, 2), np.nan, dtype=np.float32)
    for row, shape in zip(contours, shapes, strict=True):
        row[: len(shape)] = shape
    arrays = {
        "contacts/image": display(image.pixels),
        "contacts/contours": contours,
        "contacts/places": np.array([site.place for site in result.sites], dtype=np.float64).reshape(-1, 2),
    }
    view = {
        "kind": "sem_contacts",
        "name": "contacts",
        "image": "contacts/image",
        "contours": "contacts/contours",
        "places": "contacts/places",
        "states": [site.state for site in result.sites],
        "origin": list(result.details["origin"]),
        "pixel_size": {"x": result.pixel[0], "y": result.pixel[1], "unit": result.unit},
        "unit": result.unit,
        "counts": dict(result.details["sites"]),
        "rates": {state: _plain(row) for state, row in result.rates.items()},
        "per_contact": [_plain(row) for row in result.per_contact if row["state"] not in ("found", "border")],
        "criterion": result.details["criterion"],
        "polarity": result.details["polarity"],
        "scan": result.details["scan"],
        "edge_spectrum": result.details.get("edge_spectrum", []),
    }
    return view, arrays


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record holds no NaN: what is not known is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
