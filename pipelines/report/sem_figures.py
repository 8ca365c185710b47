"""Figures of SEM images beside the image with its edges: roughness spectra, and the map of contacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.report import contact_svg, spectrum_svg
from pipelines.report.edge_spectrum_svg import edge_spectrum_svg
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.markup import num
from pipelines.report.numbers import fixed, place

SHOWN = 60  # rows of faulty sites in the table


def spectrum_figure(words: Words, view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
    """The spectrum of one ``sem_psd`` view with its caption; None where the record does not hold its curves."""
    curves = spectrum_svg.curves_of(view, arrays)
    if curves is None:
        return None
    name, unit = str(view.get("name", "")), clean(view.get("unit") or "px")
    known = name in ("lwr", "ler")
    frames = Markup(" {}").format(words.t("psd.cross")) if "cross" in curves else ""
    return {
        "title": words.t(f"psd.{name}") if known else Markup(clean(name)),
        "svg": spectrum_svg.spectrum_svg(curves, str(unit), name.upper()),
        "cross": "cross" in curves,
        "caption": words.t(
            "psd.caption",
            n=view.get("traces", "?"),
            sigma=_figure(view.get("sigma")),
            xi=_figure(view.get("correlation_length")),
            hurst=_figure(view.get("hurst")),
            noise=_figure(view.get("noise")),
            misfit=_figure(view.get("misfit")),
            unit=unit,
        )
        + frames,
    }


EFFECTS = (
    "tilt", "drift", "row_jitter", "background_across", "background_over_frame", "contrast_over_frame",
    "charging_trail",
)  # fmt: skip


def scan_rows(words: Words, view: Mapping[str, Any]) -> list[list[Any]]:
    """What the scan did to the image of a view: effect, value, U, unit, seen; empty where a record does not say."""
    rows = []
    scan = view.get("scan") or {}
    for name in EFFECTS:
        fact = scan.get(name)
        if not isinstance(fact, Mapping) or not all(isinstance(fact.get(key), int | float) for key in ("value", "u")):
            continue
        share = fact.get("unit") == "1"
        factor = 100.0 if share else 1.0
        expanded = 2.0 * factor * float(fact["u"])
        decimals = place(expanded)
        value = fixed(factor * float(fact["value"]), decimals, sign=True)
        unit = words.t("scan.share") if share else clean(fact.get("unit"))
        seen = words.t("scan.yes" if fact.get("seen") else "scan.no")
        rows.append([words.t(f"scan.{name}"), value, fixed(expanded, decimals), unit, seen])
    return rows


def _figure(value: Any) -> str:
    return f"{float(value):.3g}" if isinstance(value, int | float) and np.isfinite(value) else "\u2013"


def contact_figure(
    words: Words, view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], NDArray[Any]] | None:
    """Facts of one ``sem_contacts`` view for the page, and the image; None where the record does not hold them."""
    image = arrays.get(str(view.get("image")))
    shape = contact_svg.geometry(view, arrays)
    if image is None or image.ndim != 2 or not image.size or shape is None:
        return None
    origin = list(view.get("origin") or (0, 0))
    counts = view.get("counts") or {}
    rates = view.get("rates") or {}
    unit = clean(view.get("unit") or "px")
    rows = [row for row in view.get("per_contact", ()) if isinstance(row, Mapping)]
    states = []
    for state, colour in contact_svg.COLOURS.items():
        rate = rates.get(state)
        text = ""
        if rate and rate.get("count") is not None:
            text = f"{_figure(100.0 * rate['low'])} \u2026 {_figure(100.0 * rate['high'])}\u202f%"
        states.append(
            {"colour": colour, "name": words.t(f"contacts.{state}"), "interval": text,
             "count": "\u2013" if counts.get(state, 0) is None else counts.get(state, 0)}
        )  # fmt: skip
    pixel = view.get("pixel_size") or {}
    lengths = [Markup("{} / {}").format(words.t(f"contacts.{key}"), unit) for key in ("diameter", "U")]
    facts = {
        "width": image.shape[1],
        "height": image.shape[0],
        "marks": contact_svg.marks(*shape, (float(origin[0]), float(origin[1]))),
        "states": states,
        "unit": unit,
        "columns": [words.t("contacts.state"), "x / px", "y / px", *lengths],
        "rows": [
            [
                words.t(f"contacts.{row.get('state')}") if row.get("state") in contact_svg.COLOURS else "",
                num(row.get("x"), 1),
                num(row.get("y"), 1),
                num(row.get("diameter"), 2),
                num(None if row.get("diameter_u") is None else 2.0 * row["diameter_u"], 2),
            ]
            for row in rows[:SHOWN]
        ],
        "more": max(0, len(rows) - SHOWN),
        "scan": scan_rows(words, view),
        "spectrum": edge_spectrum_svg(list(view.get("edge_spectrum") or ()), unit),
        "caption": words.t(
            "contacts.caption",
            n=len(shape[2]),
            px=fixed(pixel.get("x"), None),
            py=fixed(pixel.get("y"), None),
            unit=unit,
        ),
    }  # fmt: skip
    return facts, image
