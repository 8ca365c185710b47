"""Tables beside a deviation map: worst places, shares of the tolerance, coverage, as recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.report.cloud import CloudView
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.numbers import fixed, percent, place

PLACES = 12  # rows shown; the record holds all


def place_rows(v: CloudView, decimals: int | None) -> list[dict[str, Any]]:
    """One row for each recorded place (a connected patch, not its single points), worst first."""
    out = []
    for row in v.places[:PLACES]:
        u, share = row.get("u"), row.get("share")
        digits = place(2.0 * u) if u else decimals
        area = row.get("area")
        out.append(
            {
                "label": clean(row.get("label", "")),
                "value": fixed(row.get("value"), digits, sign=True),
                "U": fixed(2.0 * u, digits) if u else "\u2013",
                "share": percent(abs(share)) if share is not None else "\u2013",
                "out": bool(share is not None and abs(share) > 1.0),
                "n": f"{int(row.get('n', 0)):,}".replace(",", "\u202f"),
                "area": "\u2013" if area is None else f"{area:.3g}",
                "extent": "\u2013" if row.get("extent") is None else f"{row['extent']:.3g}",
                "xyz": ", ".join(fixed(float(c), 3) for c in row.get("position") or ()),
                "guard": bool(row.get("guard")),
            }
        )
    return out


def tag_of(v: CloudView, i: int, decimals: int | None) -> tuple[str, str]:
    """Name of the recorded place whose worst shown point is ``i``; the deviation of its top with U."""
    row = v.places[v.place_at[i]]
    u = row.get("u")
    digits = place(2.0 * u) if u else decimals
    value = fixed(row.get("value"), digits, sign=True)
    spread = f" \u00b1 {fixed(2.0 * u, digits)}" if u else ""
    return str(clean(row.get("label", ""))), f"{value}{spread} {v.unit}"


def coverage_text(words: Words, v: CloudView) -> Any:
    """The sentence on how much of the nominal was measured, or None where the record does not say."""
    found: Mapping[str, Any] = v.coverage or {}
    total, missing = found.get("area"), found.get("without_data")
    if not total or missing is None:
        return None
    text = words.t(
        "map.coverage",
        total=f"{total:.4g}",
        missing=f"{missing:.3g}",
        share=percent(missing / total, digits=1),
        unit=f"{v.unit}\u00b2",
        distance=f"{found['distance']:.3g}" if found.get("distance") else "\u2013",
        length=v.unit,
    )
    if found.get("enough", True):
        return text
    return text + " " + words.t("map.coverage.short", least=percent(found["least"], digits=0))


_STATISTICS = ("mean", "sd", "rms", "min", "p05", "median", "p95", "max")


def statistics_rows(words: Words, v: CloudView, decimals: int | None) -> list[dict[str, Any]]:
    """Recorded statistics of all points, each with its name; shares of the tolerance last."""
    found = v.statistics or {}
    rows = [
        {"name": words.t(f"map.stat.{key}"), "value": f"{fixed(found[key], decimals, sign=key not in ('sd', 'rms'))}",
         "unit": v.unit}
        for key in _STATISTICS
        if found.get(key) is not None
    ]  # fmt: skip
    rows += [
        {"name": words.t(f"map.stat.{key}"), "value": percent(found[key], digits=2), "unit": ""}
        for key in ("inside", "guard", "above", "below")
        if found.get(key) is not None
    ]
    return rows
