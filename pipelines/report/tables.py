"""Rows of the tables on a part page and of the lot summary, ready for the templates."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from pipelines.footnotes import footnotes
from pipelines.report import model
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.lot_view import lot_view
from pipelines.report.markup import num, own_factor, value_place
from pipelines.report.numbers import exact, fixed, limit, percent, place, probability, unit_text
from pipelines.report.svg import Zone, lot_chart, share_bar, tolerance_bar

if TYPE_CHECKING:
    from wafer.maps.frame import WaferFrame

_BLANK = Markup('<span class="dim">\u2013</span>')


def limits_text(zone: Zone) -> Markup:
    """Limits as the drawing has them; one-sided with its sign of order."""
    if zone.lower is not None and zone.upper is not None:
        return Markup('<span class="nb">{}</span> … <span class="nb">{}</span>').format(
            limit(zone.lower), limit(zone.upper)
        )
    if zone.upper is not None:
        return Markup('<span class="nb">≤ {}</span>').format(limit(zone.upper))
    if zone.lower is not None:
        return Markup('<span class="nb">≥ {}</span>').format(limit(zone.lower))
    return _BLANK


def _gauge(share: float | None) -> Markup:
    return (
        _BLANK
        if share is None
        else Markup('<span class="num{}">{}</span>').format(" bad" if share > 1 else "", percent(share))
    )


def _json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False, sort_keys=True)) if value else ""


def measurement_row(words: Words, m: Mapping[str, Any]) -> dict[str, Any]:
    """One characteristic as the part page shows it."""
    decimals = value_place(m)
    zone = model.zone_of(m)
    decision = m.get("decision") or {}
    verdict = model.verdict_of(m)
    interval = m.get("interval")
    value, expanded, factor = m.get("value"), m.get("U"), m.get("k", 2.0)
    label = f"{m.get('name')}: {fixed(value, decimals)} {unit_text(m.get('unit'))}".strip() if value is not None else ""
    shown = _BLANK
    if interval:
        shown = Markup('<span class="nb">{}</span> … <span class="nb">{}</span>').format(
            *(num(v, decimals) for v in interval)
        )
    guard = decision.get("guard_band")
    return {
        "name": clean(m.get("name", "")),
        "characteristic": clean(m.get("characteristic", "")),
        "title": words.term(f"term.char.{m.get('characteristic')}", clean(m.get("title") or "")),
        "unit": clean(unit_text(m.get("unit"))),
        "nominal": _BLANK if m.get("nominal") is None else limit(m["nominal"]),
        "limits": limits_text(zone),
        "has_value": value is not None,
        "value": num(value, decimals),
        "deviation": num(m.get("deviation"), decimals, sign=True),
        "U": _with_factor(num(expanded, decimals), factor) if expanded else _BLANK,
        "own_factor": bool(expanded) and factor != 2.0,
        "interval": shown,
        "probability": probability(decision.get("conformity_probability")) if decision else _BLANK,
        "bar": tolerance_bar(zone, value, _whisker(value, expanded, factor, interval), verdict, label),
        "share": _gauge(model.measurement_share(m)),
        "verdict": verdict,
        "provisional": bool(decision.get("provisional")),
        "method": clean(m.get("method") or "\u2013"),
        "rule": clean(decision.get("rule", "")),
        "guard": fixed(guard, decimals if decimals is not None else place(guard)) if guard else "",
        "flags": tuple(m.get("flags", ())),
        "budget": _budget(words, m.get("budget", ())),
        "n_budget": len(m.get("budget", ())),
        "u": num(m.get("u"), place(m.get("u"))),
        "dof": _dof(m.get("dof")),
        "details": _json(m.get("details")),
    }


SHORT = 40  # characters: a clause that short is read faster than a number beside it


def with_notes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The notes of a page (``n``, ``text``); rows of `measurement_row` get their own words and the numbers of notes."""
    words, notes = footnotes({k: row["method"] for k, row in enumerate(rows)}, SHORT)
    for k, row in enumerate(rows):
        row["method"], row["notes"] = words[k]
    return [{"n": n, "text": text} for n, text in notes.items()]


def _with_factor(text: Markup, factor: float | None) -> Markup:
    """U, and its coverage factor where that is not the 2 of the heading."""
    return text + own_factor(factor)


def simulation_row(view: Mapping[str, Any]) -> dict[str, Any]:
    """What the part page says of the simulation: instrument, repeats, and the probability that all limits are met."""
    counted = view.get("joint_of") or ()
    return {
        "instrument": clean(view.get("instrument") or ""),
        "trials": view.get("trials", "\u2013"),
        "joint": probability(view.get("joint_conformity")) if counted else "",
        "counted": len(counted),
        "left_out": {clean(name): clean(why) for name, why in (view.get("joint_left_out") or {}).items()},
    }


def _whisker(
    value: float | None, expanded: float | None, factor: float | None, interval: Sequence[float] | None
) -> tuple[float, float] | None:
    """Ends of the whisker: value -+ U, or the interval itself where a distribution was drawn."""
    if value is None or not expanded:
        return None
    if factor != 2.0 and interval:
        return float(interval[0]), float(interval[1])
    return value - expanded, value + expanded


def _dof(value: Any) -> str:
    if value is None:
        return "∞"
    if float(value) >= 1e4:  # of no consequence any more; digits would only look precise
        return "> 10\u202f000"
    return fixed(float(value), 0 if float(value) >= 20 else 1)


NEGLIGIBLE = 1e-5  # of the variance: rows below it share one line


def _budget(words: Words, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The budget, largest first as recorded; what has no share worth reading is added up in one row."""
    small = [b for b in rows if abs(b.get("share") or 0.0) < NEGLIGIBLE]
    if len(small) < 2:
        return [_budget_row(b) for b in rows]
    rest = {
        "label": "",
        "contribution": math.hypot(*(b.get("contribution") or 0.0 for b in small)),
        "share": sum(b.get("share") or 0.0 for b in small),
    }
    row = {**_budget_row(rest), "label": words.t("part.small", n=len(small)), "dof": ""}
    return [*(_budget_row(b) for b in rows if b not in small), row]


def _budget_row(b: Mapping[str, Any]) -> dict[str, Any]:
    contribution = b.get("contribution")
    share = b.get("share")
    return {
        "id": clean(b.get("id", "")),
        "label": clean(b.get("label") or b.get("id", "")),
        "type": clean(b.get("type", "")),
        "dof": _dof(b.get("dof")),
        "contribution": num(contribution, place(abs(contribution)) if contribution else None),
        "share": percent(share, digits=1),
        "bar": share_bar(share) if share is not None else "",
    }


_DIMENSIONLESS = ("direction", "normal", "axis", "major_axis")  # unit vectors


def feature_row(words: Words, f: Mapping[str, Any]) -> dict[str, Any]:
    """One feature as the part page shows it."""
    unit = clean(f.get("unit") or "")
    spread = f.get("standard_uncertainty") or {}
    parameters = []
    for name, value in (f.get("parameters") or {}).items():
        this = "" if name in _DIMENSIONLESS else "rad" if name == "half_angle" else unit
        parameters.append({"name": clean(name), "text": _with_u(value, spread.get(name), this), "exact": _exact(value)})
    form = f.get("form") or {}
    form_value = form.get("value") if isinstance(form, Mapping) else form
    form_u = form.get("u") if isinstance(form, Mapping) else None
    decimals = place(form_u)
    text = _BLANK
    if form_value is not None:
        text = num(form_value, decimals if decimals is not None else _three(form_value))
        text = (
            Markup("{} ± {} {}").format(text, num(form_u, decimals), unit)
            if form_u
            else Markup("{} {}").format(text, unit)
        )
    rms = f.get("rms")
    status = clean(f.get("status") or "")
    kind, criterion = clean(f.get("feature") or ""), clean(f.get("criterion") or "")
    return {
        "name": clean(f.get("name", "")),
        "type": words.term(f"feature.{kind}", kind),
        "criterion": words.term(f"criterion.{criterion}", criterion) if criterion else "\u2013",
        "status": words.term(f"status.{status}", status) if status else "\u2013",
        "bad": status in ("not_converged", "degenerate", "insufficient", "non_unique"),
        "n": f.get("n_points", "\u2013"),
        "parameters": parameters,
        "form": text,
        "rms": Markup("{} {}").format(num(rms, _three(rms)), unit) if rms is not None else _BLANK,
        "flags": tuple(f.get("flags", ())),
    }


def _three(value: float) -> int | None:
    """Places for three significant digits, where no uncertainty says how many."""
    decimals = place(abs(value))
    return None if decimals is None else decimals + 1


def _exact(value: Any) -> str:
    return ", ".join(exact(v) for v in value) if isinstance(value, list | tuple) else exact(value)


def _with_u(value: Any, u: Any, unit: str) -> str:
    if isinstance(value, list | tuple):
        us = list(u) if isinstance(u, list | tuple) and len(u) == len(value) else [u] * len(value)
        return "(" + ", ".join(_with_u(v, s, "") for v, s in zip(value, us)) + ")" + (f" {unit}" if unit else "")
    if value is None:
        return "\u2013"
    scalar = u if isinstance(u, int | float) else None
    decimals = place(scalar)
    text = fixed(value, 6 if decimals is None else decimals)
    if decimals is not None:
        text += f" ± {fixed(scalar, decimals)}"
    return f"{text} {unit}".strip()


def lot_card(
    words: Words,
    lot: model.LotRow,
    total: int,
    frame: WaferFrame | None = None,
    pages: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """One characteristic over the lot: figures, chart, maps of the wafers and spread by level."""
    figures = lot.statistics()
    u = statistics.median(lot.uncertainties) if lot.uncertainties else None
    decimals = place(2.0 * u) if u else None
    s = figures["s"]
    unit = unit_text(lot.unit)
    return {
        "row": lot,
        "unit": unit,
        "chart": lot_chart(lot.zone, lot.points, total, f"{lot.name} ({unit})" if unit else lot.name),
        "mean": num(figures["mean"], decimals),
        "s": num(s, place(s)) if s else (num(s, None) if s is not None else _BLANK),
        "min": num(figures["min"], decimals),
        "max": num(figures["max"], decimals),
        "limits": limits_text(lot.zone),
        "wafers": lot_view(words, lot.placed, frame, pages or {}, unit, decimals, seed),
    }


def sem_line_table(words: Words, view: Mapping[str, Any]) -> tuple[list[Markup | str], list[dict[str, Any]]]:
    """Columns and rows of the per-line table: known columns first, whatever else the record holds after them."""
    lines: Sequence[Mapping[str, Any]] = view.get("per_line", ())
    others = {k for row in lines for k in row} - {"line", "unit", "lost", "flags"}
    keys = ["line", *sorted(others, key=_line_key)]
    keys += [k for k in ("lost", "flags") if any(k in row for row in lines)]
    unit = clean(next((row["unit"] for row in lines if row.get("unit")), ""))
    titles: list[Markup | str] = []
    for key in keys:
        if key in ("line", "lost", "flags"):
            titles.append(words.t(f"col.{key}"))
        else:
            titles.append(Markup("<code>{}</code>{}").format(clean(key), f" / {unit}" if unit else ""))
    rows = []
    for row in lines:
        cells: list[Markup | str] = []
        for key in keys:
            value = row.get(key)
            if key == "line" and isinstance(value, int):
                cells.append(str(value + 1))
            elif isinstance(value, bool) or not isinstance(value, int | float):
                cells.append(escape(_plain(value)))
            elif isinstance(value, int):
                cells.append(str(value))
            else:
                cells.append(num(value, 3))
        rows.append({"cells": cells, "warn": bool(row.get("lost") or row.get("flags"))})
    return titles, rows


def _line_key(key: str) -> tuple[int, str]:
    order = ("cd", "u_cd", "lwr_biased_3s", "lwr_biased_1s", "ler_biased_3s")
    return (order.index(key) if key in order else len(order), key)


def _plain(value: Any) -> str:
    if value is None:
        return "\u2013"
    return ", ".join(map(clean, value)) if isinstance(value, list | tuple) else clean(value)
