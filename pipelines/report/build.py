"""Builds the site: one pass over the documents for the index, one over the records for the part pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from metrology_core.errors import AbbeError
from pipelines.report import markup, model, spectrum_svg
from pipelines.report.encode import Site, clean, pack_json, safe_json
from pipelines.report.figures import Figures, nice_limit, view_limit
from pipelines.report.film_figures import Scales, film_gallery, film_scales
from pipelines.report.i18n import LANGUAGES, Words
from pipelines.report.numbers import percent
from pipelines.report.tables import feature_row, lot_card, measurement_row, simulation_row, with_notes

ROWS_PER_FILE = 200
MAX_FAILURES = 200
_ASSETS = ("abbe.css", "abbe.js", "table.js", "viewer.js", "section.js", "sem.js")


def _environment(words: Words) -> Any:
    """The one place that knows Jinja."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("pipelines.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(
        t=words.t,
        text=words.text,
        term=words.term,
        attribute=words.attribute,
        languages=[(code, *LANGUAGES[code]) for code in words.languages],
        first_tag=LANGUAGES[words.first][0],
        severity=markup.severity,
        short_reason=markup.short_reason,
        flag_summary=markup.flag_summary,
        flag_remedy=markup.flag_remedy,
        pm=markup.plus_minus,
        percent=percent,
        psd_keys={key: Markup(drawn) for key, drawn in spectrum_svg.KEYS.items()},
        clean=clean,
        instrument=partial(markup.instrument_text, words),
    )
    return env


def build_site(run: model.RunLike, root: Path, *, languages: Sequence[str] = ("en", "zh")) -> Path:
    """Write the whole site of a run under ``root`` and return its index. See `pipelines.report.build_report`."""
    words = Words(languages)
    env = _environment(words)
    site = Site(root)
    gathered = model.gather(run)
    for name in _ASSETS:
        site.write(f"assets/{name}", (files("pipelines.report") / "assets" / name).read_text(encoding="utf-8"))
    site.write("assets/messages.js", words.script())
    films = film_scales(run, gathered)
    index = _write_index(site, env, words, gathered, film_gallery(words, run, gathered, films))
    scale = _shared_scale(run, gathered)
    ordered = [row for row in gathered.worst_first if row.has_page]
    template = env.get_template("part.html")
    for i, row in enumerate(ordered):
        neighbours = (ordered[i - 1] if i else None, ordered[i + 1] if i + 1 < len(ordered) else None)
        _write_part(site, template, words, run, gathered, row, neighbours, scale, films)
    site.finish()
    return index


def _head(run: model.RunModel) -> dict[str, Any]:
    """The verdict of the lot, in one sentence; what it must not hide; the tone and icon that go with it."""
    bad, open_ = run.verdict_counts["nonconforming"], run.verdict_counts["indeterminate"]
    good, unmeasured, partial_ = run.verdict_counts["conforming"], run.n_unmeasured, len(run.partial)
    if not run.total:
        key, tone, icon, n = "empty", "none", "none", 0
    elif bad:
        key, tone, icon, n = "bad", "nonconforming", "nonconforming", bad
    elif unmeasured:
        key, tone, icon, n = "unmeasured", "indeterminate", "warning", unmeasured
    elif partial_:
        key, tone, icon, n = "partial", "indeterminate", "warning", partial_
    elif open_:
        key, tone, icon, n = "open", "indeterminate", "indeterminate", open_
    elif good == run.total:
        key, tone, icon, n = "good", "conforming", "conforming", good
    elif good:
        key, tone, icon, n = "undecided", "none", "none", run.verdict_counts["none"]
    else:
        key, tone, icon, n = "none", "none", "none", run.total
    rest = [(name, count) for name, count in (("open", open_), ("unmeasured", unmeasured), ("partial", partial_))
            if count and name != key]  # fmt: skip
    return {"key": f"index.head.{key}", "tone": tone, "icon": icon, "n": str(n), "rest": rest}


def _write_index(site: Site, env: Any, words: Words, run: model.RunModel, films: dict[str, Any] | None = None) -> Path:
    head = _head(run)
    ordered = run.worst_first
    pages = {row.task_id: row.page for row in run.rows if row.has_page}
    groups = list(model.chunks(ordered, ROWS_PER_FILE)) or [[]]
    failures = [row for row in ordered if row.outcome in model.FAILED or row.is_partial]
    context = {
        "up": "",
        "run": run,
        "head": {
            **head,
            "text": words.t(head["key"], n=head["n"], total=run.total),
            "rest": [words.t(f"index.plus.{name}", n=count) for name, count in head["rest"]],
        },
        "provisional": [
            words.t(f"index.cause.{name}", n=run.provisional_causes[name])
            for name in model.PROVISIONAL
            if run.provisional_causes[name]
        ],
        "incomplete": run.outcome_counts["not_run"],
        "failures": failures[:MAX_FAILURES],
        "more_failures": max(0, len(failures) - MAX_FAILURES),
        "rows": groups[0],
        "pages": len(groups),
        "lots": [lot_card(words, lot, run.total, run.frame, pages, run.seed or 0) for lot in run.lots],
        "films": films,
        "acquisition": markup.acquisition_facts(words, run.acquisition),
        "selftest": _selftest(run.selftest),
    }
    index = site.write("index.html", env.get_template("index.html").render(context))
    site.write("data/index.js", f"abbe.put({safe_json('index')},{safe_json(_index_data(ordered, len(groups)))});\n")
    rows_template, list_template = env.get_template("rows.html"), env.get_template("list.html")
    for number, rows in enumerate(groups[1:], start=2):
        text = rows_template.render(up="", rows=rows)
        pieces = ["<tr id=" + piece for piece in text.split("<tr id=")[1:]]
        site.write(
            f"data/rows-{number:04d}.js", f"abbe.put({safe_json(f'rows-{number}')},{safe_json(pack_json(pieces))});\n"
        )
        page = list_template.render(up="", run=run, rows=rows, page=number, pages=len(groups))
        site.write(f"parts-{number:04d}.html", page)
    return index


def _selftest(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The recorded self-test as the page shows it: worst error over limit of each criterion, as percent."""
    if document is None:
        return None
    rows = []
    for name, row in dict(document.get("criteria") or {}).items():
        ratio = row.get("ratio")
        share = "–" if ratio is None else f"{100.0 * float(ratio):.2g} %"
        shown = {"name": str(name), "features": row.get("features"), "sets": row.get("sets"), "share": share}
        rows.append({**shown, "passed": bool(row.get("passed"))})
    bad = [clean(str(name)) for key in ("failed", "untested") for name in document.get(key) or ()]
    return {
        "passed": bool(document.get("passed")),
        "sets": document.get("sets"),
        "date": clean(str(document.get("date", ""))),
        "version": clean(str(document.get("version", ""))),
        "machine": clean(str(document.get("machine", ""))),
        "rows": rows,
        "bad": bad,
    }


def _index_data(ordered: Sequence[model.PartRow], files_: int) -> dict[str, Any]:
    """What the table's script needs to search, filter and sort without the rows themselves."""
    search = []
    for row in ordered:
        worst = str(row.worst["name"]) if row.worst else ""
        search.append(" ".join([row.part, clean(row.task_id), clean(worst), *row.flags]).lower())
    return {
        "per_file": ROWS_PER_FILE,
        "files": files_,
        "search": pack_json(search),
        "verdict": [
            model.VERDICTS.index(row.shown_verdict) if row.shown_verdict in model.VERDICTS else 3 for row in ordered
        ],
        "outcome": [model.OUTCOMES.index(row.outcome) if row.outcome in model.OUTCOMES else 5 for row in ordered],
        "order": [row.order for row in ordered],
    }


def _shared_scale(run: model.RunLike, gathered: model.RunModel) -> float:
    """One end for the scale of deviations over the whole run: pictures of different parts can be compared."""
    largest = 0.0
    for row in gathered.rows:
        if not row.has_record:
            continue
        record = run.read_record(row.task_id)
        for view in record.document.get("views", ()):
            if view.get("kind") == "deviation_map":
                largest = max(largest, view_limit(view, record.arrays))
    return nice_limit(largest) if largest > 0.0 else 1.0


def _write_part(
    site: Site,
    template: Any,
    words: Words,
    run: model.RunLike,
    gathered: model.RunModel,
    row: model.PartRow,
    neighbours: tuple[model.PartRow | None, model.PartRow | None],
    scale: float,
    films: Scales,
) -> None:
    document: Mapping[str, Any] = {}
    figures = Figures(site, words, row.page, scale, films)
    if row.has_record:
        try:
            record = run.read_record(row.task_id)
        except (AbbeError, OSError) as error:  # damaged between the two passes: say so, go on
            row.reason = row.reason or {
                "code": type(error).__name__,
                "message": str(error),
                "where": None,
                "remedy": None,
            }
        else:
            document = record.document
            figures.add(document, record.arrays)
    measurements = model.worst_first(list(document.get("measurements", ())))
    rows = [measurement_row(words, m) for m in measurements]
    verdicts = [model.verdict_of(m) for m in measurements]
    task = document.get("task", {})
    failed = row.outcome in model.FAILED
    flags = sorted({*row.flags, *(f for m in measurements for f in m.get("flags", ()))})
    context = {
        "up": "../",
        "run": gathered,
        "row": row,
        "document": {"instrument": document.get("instrument")},
        "previous": neighbours[0],
        "following": neighbours[1],
        "failed": failed,
        "tone": "indeterminate" if failed or (row.is_partial and row.shown_verdict == "none") else row.shown_verdict,
        "warnings": markup.by_weight(row.flags),
        "counts": {
            "bad": verdicts.count("nonconforming"),
            "open": verdicts.count("indeterminate"),
            "good": verdicts.count("conforming"),
            "n": sum(v != "none" for v in verdicts),
        },
        "acquisition": markup.acquisition_facts(words, document.get("acquisition") or {}),
        "measurements": rows,
        "notes": with_notes(rows),
        "simulations": [simulation_row(view) for view in document.get("views", ()) if view.get("kind") == "simulation"],
        "features": [feature_row(words, f) for f in document.get("features", ())],
        "maps": figures.maps,
        "images": figures.images,
        "spectra": figures.spectra,
        "contacts": figures.contacts,
        "contours": figures.contours,
        "films": figures.films,
        "datums": markup.datum_text(document.get("datum_system")),
        "flags": flags,
        "inputs": [
            {"path": i.get("path", ""), "size": i.get("size"), "reader": i.get("reader"), "sha256": i.get("sha256")}
            for i in task.get("inputs") or row.inputs
        ],
    }
    if figures.maps or figures.images:
        site.write(f"data/{row.page}.js", f"abbe.put({safe_json('part')},{safe_json(figures.data)});\n")
    site.write(f"parts/{row.page}.html", template.render(context))
