"""What the index shows of a lot of wafers: maps of a measurand, verdict first, and its spread by level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipelines.lots import PlacedValue, decompose, once
from pipelines.report.encode import clean
from pipelines.report.i18n import Words
from pipelines.report.markup import num
from pipelines.report.numbers import fixed, percent, place
from pipelines.report.wafer_svg import Frame, Scale, Spot, scale_of, scale_svg, wafer_svg

if TYPE_CHECKING:
    from wafer.maps.frame import WaferFrame

MOST_MAPS = 12
_ORDER = ("nonconforming", "indeterminate", "conforming", "none")
_RANK = {"nonconforming": 0, "indeterminate": 1, "none": 2, "conforming": 3}


def lot_view(
    words: Words, values: Sequence[PlacedValue], frame: WaferFrame | None, pages: Mapping[str, str], unit: str,
    decimals: int | None, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Maps by wafer (those with the worst verdicts first, all on one scale) and the table of components; both empty
    where the acquisitions do not say enough. ``pages`` task -> page name."""
    located = [row for row in values if row.place is not None]
    maps: list[dict[str, Any]] = []
    scale = scale_of([row.value for row in located if row.value is not None])
    if len({row.place for row in located}) > 1:
        shape = _shape(frame)
        wafers: dict[tuple[str, str], list[PlacedValue]] = {}
        for row in located:
            key = (str(row.acquisition.get("lot") or ""), str(row.acquisition.get("wafer") or ""))
            wafers.setdefault(key, []).append(row)
        order = sorted(wafers.items(), key=lambda item: (*_severity(item[1]), item[0]))
        for key, rows in order[:MOST_MAPS]:
            name = clean(" ".join(part for part in key if part)) or "–"
            spots = [
                Spot(
                    *(row.place or (0.0, 0.0)), row.value, row.verdict,
                    clean(str(row.acquisition.get("field") or row.part)),
                    f"parts/{pages[row.task]}.html" if row.task in pages else "",
                )
                for row in rows
            ]  # fmt: skip
            maps.append(
                {
                    "name": name,
                    "svg": wafer_svg(shape, spots, scale, decimals, name),
                    "verdicts": _counts(rows),
                    "n": len(rows),
                    "without": sum(row.value is None for row in rows),
                }
            )
        hidden = len(order) - len(maps)
    else:
        hidden = 0
    return {
        "maps": maps,
        "hidden": hidden,
        "scale": scale_svg(scale, decimals, unit) if maps else "",
        "beyond": _beyond(words, scale),
        "components": _components(words, values, seed),
    }


def _counts(rows: Sequence[PlacedValue]) -> list[tuple[str, int]]:
    """Verdicts of the sites with a value, worst first; none where nothing was to be decided."""
    found = Counter(row.verdict for row in rows if row.value is not None)
    return [(name, found[name]) for name in _ORDER if found[name]] if set(found) - {"none"} else []


def _beyond(words: Words, scale: Scale) -> Markup:
    """How many values lie beyond the ends of the colour scale; empty where none does."""
    said = [("wafers.below", scale.below), ("wafers.above", scale.above)]
    return Markup(", ").join(words.t(key, n=n) for key, n in said if n)


def _severity(rows: Sequence[PlacedValue]) -> tuple[int, int]:
    worst = min(_RANK.get(row.verdict, 2) for row in rows)
    return worst, -sum(_RANK.get(row.verdict, 2) == worst for row in rows)


def _shape(frame: WaferFrame | None) -> Frame:
    """The stated wafer, or the usual one, with its fields where their size is known."""
    if frame is None:
        return Frame()
    return Frame(frame.diameter, frame.edge_exclusion, frame.notch, frame.field_size)


def _components(words: Words, values: Sequence[PlacedValue], seed: int) -> dict[str, Any] | None:
    found = decompose(once(values), seed=seed)  # as `abbe lot` counts
    if found is None:
        return None
    rows = []
    for c in found.components:
        level = words.t(f"level.{c.level}")
        if c.status == "not_estimable":
            rows.append({"level": level, "groups": c.groups, "reason": clean(c.reason)})
            continue
        at = place(c.sd if c.sd > 0.0 else c.high)
        rows.append(
            {
                "level": level, "groups": c.groups, "reason": "", "sd": num(c.sd, at), "low": fixed(c.low, at),
                "high": fixed(c.high, at), "share": percent(c.share) if c.share == c.share else "–",
                "open": c.status == "not_resolved", "bar": round(100.0 * c.share, 1) if c.share == c.share else 0.0,
            }
        )  # fmt: skip
    at = place(found.total)
    total = {"sd": num(found.total, at), "low": fixed(found.total_low, at), "high": fixed(found.total_high, at)}
    return {
        "rows": rows,
        "total": total,
        "n": found.n,
        "copies": sum(row.value is not None for row in values) - found.n,
        "p": percent(found.p),
        "noise": fixed(found.noise, place(found.noise)),
    }
