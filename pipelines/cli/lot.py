"""``abbe lot`` and ``abbe map``: a run as a lot of wafers, and film maps from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.session import Session, json_option, named_file
from pipelines.cli.tables import show_flags

if TYPE_CHECKING:
    from wafer.maps import SiteMap


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--leave-out",
    "names",
    multiple=True,
    metavar="FLAG",
    help="Leave out values that carry this flag, or any of a comma-separated list; 'warnings': any flag of warning. "
    "Repeatable.",
)
@json_option
@click.pass_obj
def lot(session: Session, run_folder: Path, names: tuple[str, ...]) -> int:
    """Spread of every characteristic of RUN by lot, wafer, field and image, with intervals.

    Every record is checked against the journal first. Parts made of the same bytes count once. Exit code 3 where a
    characteristic has too few values, or no level, to compare, 4 where the run is not finished, 5 where journal and
    records do not belong together.
    """
    from pipelines.exit_codes import ExitCode, combine
    from pipelines.lots import (
        by_characteristic,
        components_document,
        copies_in,
        decompose,
        doubts,
        leave_out,
        once,
        why_no_components,
    )
    from pipelines.store import RunFolder, count_outcomes, is_closed
    from pipelines.verify import require_evidence

    run = RunFolder(run_folder)
    require_evidence(run)
    seed = int(run.plan().seed or 0)
    flags = {part.strip() for text in names for part in text.split(",") if part.strip()}
    rows = []
    for (name, characteristic, unit), everything in by_characteristic(run).items():
        single = once(everything)
        values, left_out = leave_out(single, flags)
        found = decompose(values, seed=seed)
        rows.append(
            {
                "name": name,
                "characteristic": characteristic,
                "values": sum(v.value is not None for v in values),
                "components": components_document(found, unit),
                "why_none": None if found is not None else why_no_components(values),
                "doubts": doubts(values),
                "left_out": left_out,
                "copies": sum(v.value is not None for v in everything) - sum(v.value is not None for v in single),
            }
        )
    outcomes = count_outcomes(run.outcomes())
    closed = is_closed(run.journal())
    copies = copies_in(run.plan().tasks)
    session.answer(
        {
            "run": str(run.path),
            "parts": sum(outcomes.values()),
            "outcomes": outcomes,
            "complete": closed and "not_run" not in outcomes,
            "copies": copies,
            "characteristics": rows,
        }
    )
    if not session.as_json:
        for line in _not_in_it(outcomes, closed, copies, bool(rows)):
            session.console.print(line, markup=False)
        _show(session, rows)
    codes = [ExitCode.CONFORMING if rows and all(row["components"] for row in rows) else ExitCode.NOT_MEASURED]
    if not closed:
        codes.append(ExitCode.INTERRUPTED)
    elif "not_run" in outcomes:
        codes.append(ExitCode.NOT_MEASURED)
    return int(combine(codes))


def _not_in_it(outcomes: dict[str, int], closed: bool, copies: dict[str, str], values: bool) -> list[str]:
    """What the spread below is not made of: parts without a value, and parts that are copies of others."""
    from pipelines.exit_codes import MEASURED
    from pipelines.lots import copies_words

    parts = sum(outcomes.values())
    missing = {name: count for name, count in outcomes.items() if name not in MEASURED}
    each = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in missing.items())
    lines = []
    if not closed:
        lines.append("the run is not finished: more parts may come; see 'abbe status'")
    if missing:
        lines.append(f"{sum(missing.values())} of the {parts} parts have no value: {each}")
    if copies:
        lines.append(f"warning: {copies_words(copies)}; each counts once, under its first name")
    if not values:
        lines.append(f"nothing to compare: none of the {parts} parts has a value")
    return lines


def _show(session: Session, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    for row in rows:
        found = row["components"]
        session.console.print(f"{row['name']} ({row['characteristic']}): {row['values']} values", markup=False)
        if row["left_out"] is not None:
            session.console.print(f"  {_left_out(row['left_out'], row['values'])}", markup=False)
        for line in _doubtful(row["doubts"], row["values"]):
            session.console.print(f"  {line}", markup=False)
        if found is None:
            session.console.print(f"  no levels: {row['why_none']}", markup=False)
            continue
        table = Table(box=None, pad_edge=False)
        for title in (
            "level",
            "groups",
            f"s / {found['unit']}".removesuffix(" / 1"),
            "95 % interval",
            "share of variance",
        ):
            table.add_column(title)
        for c in found["components"]:
            if c["status"] == "not_estimable":
                table.add_row(c["level"], str(c["groups"]), "-", c["reason"], "")
                continue
            share = "-" if c["share"] is None else f"{100 * c['share']:.0f} %"
            table.add_row(c["level"], str(c["groups"]), f"{c['sd']:.3g}", f"{c['low']:.3g} to {c['high']:.3g}", share)
        total = found["total"]
        table.add_row("total", "", f"{total['sd']:.3g}", f"{total['low']:.3g} to {total['high']:.3g}", "")
        session.console.print(table)
    show_flags(session, sorted({name for row in rows for name in row["doubts"]["flags"]}))


def _left_out(found: dict[str, Any], kept: int) -> str:
    """How many values the option took out of the spread, and for which flags."""
    each = ", ".join(f"{name} {n}" for name, n in found["flags"].items())
    return f"left out: {found['values']} of {found['values'] + kept} values" + (f" ({each})" if each else "")


def _doubtful(found: dict[str, Any], of: int) -> list[str]:
    """The values that stand in the spread as all others do, though a flag says to look at them first."""
    lines = []
    if found["flagged"]:
        each = ", ".join(f"{name} {n}" for name, n in found["flags"].items())
        lines.append(f"{found['flagged']} of the {of} values carry flags of warning, and count all the same: {each}")
    if found["provisional"]:
        lines.append(f"{found['provisional']} of the {of} values have a provisional verdict")
    return lines


def _without_value(found: SiteMap) -> list[dict[str, Any]]:
    """The sites that have no value: place in mm, and what the file says there instead."""
    return [
        {"x": float(x), "y": float(y), "text": found.unread.get(k, "")}
        for k, (x, y, v) in enumerate(zip(found.x, found.y, found.value, strict=True)) if not math.isfinite(v)
    ]  # fmt: skip


def _said_without(sites: list[dict[str, Any]]) -> str:
    if not sites:
        return ""
    each = [f"({s['x']:g}, {s['y']:g}) mm" + (f" {s['text']!r}" if s["text"] else "") for s in sites[:3]]
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return f"; {len(sites)} without a value: {', '.join(each)}{more}"


@click.command("map")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--unit", help="Unit of the values where the file does not state one in brackets: angstrom, nm, ...")
@click.option("--diameter", default="300mm", show_default=True, metavar="LENGTH", help="Of the wafer.")
@click.option("--edge-exclusion", default="3mm", show_default=True, metavar="LENGTH")
@click.option("--notch", type=click.Choice(["down", "up", "left", "right"]), default="down", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write a page with the maps and their summaries.")
@json_option
@click.pass_obj
def film_map(
    session: Session, file: Path, unit: str | None, diameter: str, edge_exclusion: str, notch: str, out: Path | None
) -> int:
    """Wafer maps of the film measurements in FILE, their summaries beside those that the file states."""
    from metrology_core.units import quantity
    from pipelines.exit_codes import ExitCode
    from wafer.maps import WaferFrame, doubts, known_unit, read_film_maps

    frame = WaferFrame(
        quantity(diameter, "length").to("mm"), quantity(edge_exclusion, "length").to("mm"), notch,  # type: ignore[arg-type]
    )  # fmt: skip
    named_file(file)
    maps = read_film_maps(file, unit=unit)
    rows: list[dict[str, Any]] = []
    for found in maps:
        n = sum(math.isfinite(v) for v in found.value)
        rows.append(
            {
                "wafer": found.wafer, "lot": found.lot, "title": found.title, "unit": found.unit,
                "unit_known": known_unit(found.unit), "n": n,
                "sites": int(found.value.size), "without_value": _without_value(found), "figures": found.figures(),
                "flags": list(doubts(found)), "reported": {k: float(v) for k, v in found.reported.items()},
                "differences": {k: list(v) for k, v in found.differences().items()},
                "outside": sum(not frame.counts(float(x), float(y)) for x, y in zip(found.x, found.y, strict=True)),
                "off_wafer": sum(not frame.holds(float(x), float(y)) for x, y in zip(found.x, found.y, strict=True)),
            }
        )  # fmt: skip
    if out is not None:
        from pipelines.report.film_page import film_page

        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(film_page(file.name, maps, frame), encoding="utf-8")
    session.answer({"file": file.name, "maps": rows})
    if not session.as_json:
        for row in rows:
            f = {
                name: "-" if v is None else f"{v:.{5 if name == 'MEAN' else 3}g}" for name, v in row["figures"].items()
            }
            said = f"{len(row['reported'])} figures of the file" + (
                " reproduced" if not row["differences"] else f", not reproduced: {', '.join(row['differences'])}"
            )
            session.console.print(
                f"{row['wafer']} {row['title']}: {row['n']} sites, mean {f['MEAN']} {row['unit']}, "
                f"3 s {f['3 STDDEV']}, range {f['RANGE']}"
                + _said_without(row["without_value"])
                + (f"; {', '.join(row['flags'])}" if row["flags"] else "")
                + (f"; {said}" if row["reported"] else "")
                + (f"; {row['off_wafer']} of the sites off the wafer, counted, not drawn" if row["off_wafer"] else ""),
                markup=False,
            )
        for strange in sorted({row["unit"] for row in rows if not row["unit_known"]}):
            session.console.print(
                f"warning: the unit {strange!r} of the file is none that Abbe knows: shown as it stands, no "
                "length for a recipe",
                markup=False,
            )
        off, sites = sum(row["off_wafer"] for row in rows), sum(row["n"] for row in rows)
        if off:
            session.console.print(
                f"warning: {off} of {sites} values lie farther from the middle than a wafer of {diameter} reaches: "
                "--diameter is wrong, or the places in the file are not in mm from the middle of the wafer",
                markup=False,
            )
        show_flags(session, sorted({flag for row in rows for flag in row["flags"]}))
    bad = any(row["differences"] or not row["n"] for row in rows)
    return int(ExitCode.NOT_MEASURED if bad else ExitCode.CONFORMING)
