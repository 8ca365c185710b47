"""Numbers and recorded facts as markup: rounded for reading, unrounded in the title and in a data attribute."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from metrology_core.flags import FLAGS
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.model import PROVISIONAL
from pipelines.report.numbers import exact, fixed, place, unit_text

_SEVERITIES = {name: flag.severity for name, flag in FLAGS.items()}


def num(value: float | None, decimals: int | None, *, sign: bool = False) -> Markup:
    """A number with its unrounded value at hand."""
    if value is None:
        return Markup('<span class="dim">\u2013</span>')
    raw = exact(value)
    return Markup('<span class="num" data-value="{0}" title="{0}">{1}</span>').format(
        raw, fixed(value, decimals, sign=sign)
    )


def value_place(row: Mapping[str, Any]) -> int | None:
    """Decimal places for the value of a measurement: those of its U, else of u."""
    return place(row.get("U") or row.get("u"))


def plus_minus(row: Mapping[str, Any]) -> Markup:
    """Value ± U with unit, and the coverage factor of U where that is not 2 (a distribution was drawn)."""
    decimals = value_place(row)
    value = num(row["value"], decimals)
    unit = escape(unit_text(row.get("unit")))
    if not row.get("U"):
        return Markup("{} {}").format(value, unit) if unit else value
    return Markup('<span class="pm">{} ± {} <span class="unit">{}</span>{}</span>').format(
        value, num(row["U"], decimals), unit, own_factor(row.get("k"))
    )


def own_factor(factor: float | None) -> Markup:
    """`` (k = 3.85)`` for a coverage factor that is not the usual 2, else nothing."""
    if factor is None or factor == 2.0:
        return Markup("")
    return Markup(' <span class="dim nb">(k = {})</span>').format(fixed(factor, 2))


def severity(name: str) -> str:
    """Severity of a flag; an unknown one (a record of a newer version) is a warning."""
    return _SEVERITIES.get(name, "warning")


def by_weight(names: Sequence[str]) -> list[str]:
    """Flags a reader must know before acting: invalid, then those that touch the verdict, then other warnings."""
    first = (*PROVISIONAL[:2], "partial_result", *PROVISIONAL[2:])
    told = [name for name in names if severity(name) != "info"]
    return sorted(told, key=lambda n: (severity(n) != "invalid", first.index(n) if n in first else len(first), n))


def short_reason(reason: Mapping[str, Any]) -> str:
    """What went wrong, without the place and the remedy, which the page shows beside it."""
    if reason.get("what"):
        return clean(reason["what"])
    text = str(reason.get("message") or "")
    remedy, where = reason.get("remedy"), reason.get("where")
    if remedy:
        text = text.removesuffix(str(remedy)).rstrip("; ") or text
    if where:
        text = text.removesuffix(f"at {where}").rstrip("; ") or text
    return clean(text)


def flag_summary(name: str) -> str:
    return FLAGS[name].summary if name in FLAGS else ""


def flag_remedy(name: str) -> str:
    remedy = FLAGS[name].remedy if name in FLAGS else ""
    return "" if remedy == "None needed." else remedy


def words_of(value: Any) -> str:
    """A recorded fact in one line."""
    if isinstance(value, Mapping):
        if set(value) == {"value", "unit"}:
            return clean(f"{words_of(value['value'])} {value['unit']}")
        return "; ".join(f"{clean(k)} {words_of(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        return ", ".join(words_of(v) for v in value)
    if isinstance(value, float):
        return fixed(value, None)
    return clean(value)


_FRAME = re.compile(
    r"diameter (?P<diameter>[\d.]+) mm, edge exclusion (?P<edge>[\d.]+) mm, notch (?P<notch>down|up|left|right)"
)


def acquisition_facts(words: Words, facts: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """Acquisition as (label, text); labels of unknown fields stay as they are."""
    out = []
    for key, value in facts.items():
        if value is None or value == "" or value == {}:
            continue
        shown = _frame_text(words, str(value)) if key == "wafer_frame" else words_of(value)
        out.append((words.term(f"meta.{key}", key.replace("_", " ")), shown))
    return out


def _frame_text(words: Words, text: str) -> str:
    """The frame of a wafer, which the plan writes in English, in the words of the page."""
    found = _FRAME.fullmatch(text)
    if found is None:
        return words_of(text)
    return words.t(f"wafer.frame.{found['notch']}", diameter=found["diameter"], edge=found["edge"])


def datum_text(system: Mapping[str, Any] | None) -> str:
    """Datum system in one line: name, then each datum with its feature and association."""
    if not system:
        return ""
    parts = []
    for datum in system.get("datums") or ():
        about = [clean(datum.get("criterion") or ""), " ".join(map(clean, datum.get("locks") or ()))]
        said = ", ".join(a for a in about if a)
        parts.append(
            f"{clean(datum.get('letter', ''))} = {clean(datum.get('feature', ''))}" + (f" ({said})" if said else "")
        )
    others = {k: v for k, v in system.items() if k not in ("name", "datums", "frame") and v}
    return f"{clean(system.get('name') or '')}: " + "; ".join([*parts, *([words_of(others)] if others else [])])


def instrument_text(words: Words, instrument: Mapping[str, Any]) -> Markup:
    """Instrument in one line: id, type, MPE, certificate and its validity."""
    unit = clean(instrument.get("unit") or "")
    parts = [Markup("<b>{}</b>").format(clean(instrument.get("id") or "\u2013"))]
    if instrument.get("type"):
        parts.append(escape(clean(instrument["type"])))
    constant, slope = instrument.get("mpe_constant"), instrument.get("mpe_per_length")
    if constant is not None or slope is not None:
        terms = [f"{fixed(constant, None)} {unit}"] if constant is not None else []
        terms += [f"{fixed(slope * 1e6, None)} \u00b5m/m \u00b7 L"] if slope else []
        parts.append(Markup("{} {}").format(words.t("instrument.mpe"), " + ".join(terms)))
    if instrument.get("noise") is not None:
        parts.append(Markup("{} {} {}").format(words.t("instrument.noise"), fixed(instrument["noise"], None), unit))
    for key in ("certificate", "valid_until"):
        if instrument.get(key):
            parts.append(Markup("{} {}").format(words.t(f"meta.{key}"), clean(instrument[key])))
    return Markup(", ").join(parts)
