"""The picture of measured contours in a record (view kind ``sem_contours``): image, vertices with errors, design."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.data import Image
from wafer.contours.evaluate import ContourResult
from wafer.picture import display

KEPT = ("x", "y", "epe", "epe_u", "u")


def contour_view(image: Image, result: ContourResult) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """View and arrays: ``vertices`` names the arrays over all vertices (places in pixels of the image, errors and
    standard uncertainties in ``unit``), ``design`` the (k, 3) polygon number, x, y of the registered design."""
    arrays: dict[str, np.ndarray] = {"contours/image": display(image.pixels)}
    names = {}
    for key in (*KEPT, "contour", "kind"):
        if key in result.vertices:
            names[key] = f"contours/{key}"
            values = result.vertices[key]
            arrays[names[key]] = values.astype(np.float32 if key in KEPT else np.int32)
    view: dict[str, Any] = {
        "kind": "sem_contours", "name": "contours", "image": "contours/image", "vertices": names, "unit": result.unit,
        "pixel_size": {"x": result.pixel[0], "y": result.pixel[1], "unit": result.unit},
        "registration": result.registration, "shapes": result.shapes, "tips": result.tips, "gaps": result.gaps,
        "worst": result.details.get("worst", []), "contours": len(result.contours), "lost": result.details["lost"],
        "criterion": result.details["criterion"], "scan": result.details["scan"],
    }  # fmt: skip
    if result.design:
        view["design"] = "contours/design"
        arrays["contours/design"] = np.concatenate(
            [np.column_stack((np.full(len(ring), k), ring)) for k, ring in enumerate(result.design)]
        ).astype(np.float32)
    return view, arrays
