"""Film maps of a run: one for each wafer, all of a result on one colour scale, figures beside those of the file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.report import model
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.numbers import fixed, place
from pipelines.report.wafer_svg import Frame, Scale, Spot, scale_of, scale_svg, wafer_svg

KIND = "film_map"
MOST_MAPS = 12
_ORDER = ("MEAN", "MIN", "MAX", "% STDDEV", "STDDEV", "3 % STDDEV", "3 STDDEV", "RANGE")  # as the tools print them
Scales = Mapping[tuple[str, str], Scale]


def film_scales(run: model.RunLike, gathered: model.RunModel) -> dict[tuple[str, str], Scale]:
    """(result, unit) -> the colour scale of all its maps in the run."""
    values: dict[tuple[str, str], list[float]] = {}
    if gathered.kind == KIND:
        for row in gathered.rows:
            if row.has_record:
                record = run.read_record(row.task_id)
                for view in record.document.get("views", ()):
                    shown = _sites(view, record.arrays)
                    if shown is not None:
                        value, used = shown[2:]
                        values.setdefault(_key(view), []).extend(value[used].tolist())
    return {key: scale_of(found) for key, found in values.items()}


def film_gallery(
    words: Words, run: model.RunLike, gathered: model.RunModel, scales: Scales, up: str = ""
) -> dict[str, Any] | None:
    """What the index shows: the maps of the worst parts, with links; None where the run has no film maps."""
    if gathered.kind != KIND:
        return None
    maps: list[dict[str, Any]] = []
    rows = [row for row in gathered.worst_first if row.has_record and row.outcome in model.MEASURED]
    for row in rows[:MOST_MAPS]:
        record = run.read_record(row.task_id)
        for view in record.document.get("views", ()):
            found = film_figure(words, view, record.arrays, scales, row.part)
            if found is not None:
                maps.append({**found, "part": row.part, "link": f"{up}parts/{row.page}.html",
                             "verdict": row.shown_verdict})  # fmt: skip
    if not maps:
        return None
    return {"maps": maps, "hidden": len(rows) - len(rows[:MOST_MAPS]), "scales": _unique(m["scale"] for m in maps)}


def film_figure(
    words: Words,
    view: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    scales: Scales,
    label: str,
    *,
    own_page: bool = False,
) -> dict[str, Any] | None:
    """One ``film_map`` view for a page; None where the record does not hold its arrays. On its ``own_page`` a map whose
    values lie beyond the scale of all has a scale of its own: in the colour of one end they would tell nothing."""
    shown = _sites(view, arrays)
    if shown is None:
        return None
    x, y, value, used = shown
    scale = scales.get(_key(view)) or scale_of(value[used].tolist())
    beyond = value[used & np.isfinite(value)]
    beyond = beyond[(beyond < scale.low) | (beyond > scale.high)]
    if own := own_page and beyond.size > 0:
        scale = scale_of(value[used].tolist())
    decimals = decimals_of(scale)
    frame = dict(view.get("frame") or {})
    shape = Frame(
        float(frame.get("diameter") or 300.0), float(frame.get("edge_exclusion") or 0.0),
        str(frame.get("notch") or "down"),
    )  # fmt: skip
    spots = [
        Spot(a, b, v if math.isfinite(v) else None, name=f"{a:g}, {b:g} mm", faint=not counts)
        for a, b, v, counts in zip(x.tolist(), y.tolist(), value.tolist(), used.tolist(), strict=True)
        if math.hypot(a, b) <= 0.52 * shape.diameter  # what lies off the wafer is counted, and has no place to be drawn
    ]
    counts = dict(view.get("counts") or {})
    unit = clean(view.get("unit") or "")
    return {
        "name": clean(view.get("name") or ""),
        "unit": unit,
        "svg": wafer_svg(shape, spots, scale, decimals, clean(label)),
        "scale": scale_svg(scale, decimals, str(unit)),
        "caption": words.t(
            "film.caption", used=counts.get("used", "?"), total=counts.get("sites", "?"),
            diameter=f"{shape.diameter:g}", edge=f"{shape.edge_exclusion:g}",
        ),
        "own_scale": words.t("film.own_scale", n=beyond.size) if own else "",
        "left_out": [
            words.t(f"film.{key}", n=counts[key])
            for key in ("excluded", "off_wafer", "without_value") if counts.get(key)
        ],
        "rows": _rows(view),
        "stated": bool(view.get("reported")),
        "wrong": bool(view.get("differences")),
    }  # fmt: skip


def _sites(
    view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
    if view.get("kind") != KIND:
        return None
    found = [arrays[name] for key in ("x", "y", "value", "used") if (name := str(view.get(key))) in arrays]
    if len(found) < 4 or any(a.ndim != 1 or a.size != found[0].size for a in found):
        return None
    x, y, value = (np.asarray(a, np.float64) for a in found[:3])
    return x, y, value, np.asarray(found[3], bool)


def _key(view: Mapping[str, Any]) -> tuple[str, str]:
    return str(view.get("name") or ""), str(view.get("unit") or "")


def decimals_of(scale: Scale) -> int | None:
    """Places that tell the steps of the scale apart."""
    at = place((scale.high - scale.low) / 100.0)
    return None if at is None else min(at, 6)


def _rows(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figures of all sites as film tools name them, beside those that the file states."""
    reported, wrong = dict(view.get("reported") or {}), set(view.get("differences") or ())
    out = []
    figures = dict(view.get("figures") or {})
    unit = view.get("figures_unit")  # where it is not that of the map
    for name in (*(n for n in _ORDER if n in figures), *(n for n in figures if n not in _ORDER)):
        value = figures[name]
        said = str(reported.get(name, ""))
        digits = len(said.partition(".")[2]) if said else 4
        shown = "\u2013" if value is None or value - value != 0.0 else fixed(float(value), digits)
        shown_name = name if unit is None or "%" in name else f"{name} / {unit}"
        out.append({"name": clean(shown_name), "ours": shown, "said": clean(said) or "\u2013", "bad": name in wrong})
    return out


def _unique(items: Any) -> list[Markup]:
    return list(dict.fromkeys(items))
