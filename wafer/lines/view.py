"""What the eye and the log get beside the numbers: facts, the table of lines, the picture with its edges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.data import Image
from wafer.lines import places as _lines
from wafer.picture import display

if TYPE_CHECKING:
    from wafer.lines.evaluate import SemLineSettings


def facts_of(found: Any, lines: Any, scale: float, px: float, unit: str) -> dict[str, Any]:
    left, right = _lines.roughness(lines.left_variance), _lines.roughness(lines.right_variance)
    joint = lines.correlation[np.isfinite(lines.correlation)]
    facts: dict[str, Any] = {
        "unit": unit,
        "edges": int(found.polarity.size),
        "rows": int(found.rows.size),
        "tilt_deg": math.degrees(math.acos(min(1.0, scale / px))) * (1.0 if found.slope >= 0 else -1.0),
        "straightness_px": found.straightness,
        "contrast_to_noise": found.contrast_to_noise,
        "noise_variance_offset": found.noise.offset,
        "noise_variance_per_grey": found.noise.gain,
        "noise_correlation_x": found.noise.correlation,
        "noise_vertical_ratio": found.noise.vertical_ratio,
        "edges_dropped_at_border": found.dropped_at_border,
        "saturated_share": found.details["saturated_share"],
        "left_right_correlation": float(joint.mean()) if joint.size else None,
        "ler_left_biased_1s": None if left is None else left.value * scale,
        "ler_right_biased_1s": None if right is None else right.value * scale,
        "lost": {
            name: int(np.count_nonzero(found.state == code))
            for code, name in enumerate(("ok", "lost", "spike", "merged", "broken", "saturated"))
            if code
        },
    }
    for sign, word in ((1, "rising"), (-1, "falling")):
        if sign in found.noise_sd:
            facts[f"edge_noise_{word}"] = found.noise_sd[sign].sd * scale
            facts[f"cramer_rao_{word}"] = found.profiles[sign].crb * scale
    if found.smoothing:  # what is left of the roughness is nobody's
        facts |= dict.fromkeys(("left_right_correlation", "ler_left_biased_1s", "ler_right_biased_1s"))
        facts["smoothing"] = found.smoothing
    return facts


def line_rows(found: Any, lines: Any, scale: float, unit: str) -> list[dict[str, Any]]:
    rows = []
    for i, e in enumerate(lines.left):
        lost = int(np.count_nonzero(~np.isfinite(found.x[e]) | ~np.isfinite(found.x[e + 1])))
        row: dict[str, Any] = {"line": i, "unit": unit, "lost": lost}
        for key, value in (
            ("cd", lines.width[i] * scale),
            ("lwr_biased_3s", 3.0 * math.sqrt(lines.variance[i]) * scale),
            ("ler_left_biased_3s", 3.0 * math.sqrt(lines.left_variance[i]) * scale),
            ("ler_right_biased_3s", 3.0 * math.sqrt(lines.right_variance[i]) * scale),
        ):
            told = math.isfinite(value) and (key == "cd" or not found.smoothing)
            row[key] = float(value) if told else None
        rows.append(row)
    return rows


def edge_view(
    image: Image,
    found: Any,
    left: np.ndarray,
    per_line: list[dict[str, Any]],
    px: float,
    py: float,
    settings: SemLineSettings,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    begins = found.polarity == (-1 if settings.lines == "dark" else 1)
    number = {int(e): i for i, e in enumerate(left)} | {int(e) + 1: i for i, e in enumerate(left)}
    pixels = image.pixels.T if settings.orientation == "horizontal" else image.pixels
    arrays = {
        "sem/image": display(pixels),
        "sem/edges": found.x,
        "sem/rows": found.rows.astype(np.int64),
        "sem/state": found.state,
    }
    view = {
        "kind": "sem_edges",
        "name": "edges",
        "image": "sem/image",
        "edges": "sem/edges",
        "rows": "sem/rows",
        "state": "sem/state",
        "sides": ["left" if b else "right" for b in begins],
        # -1: edge of a line that is cut by the border
        "line_index": [number.get(e, -1) for e in range(found.polarity.size)],
        "pixel_size": {"x": px, "y": py, "unit": image.unit},
        "per_line": per_line,
        "transposed": settings.orientation == "horizontal",
        "criterion": found.criterion_text,
    }
    return view, arrays
