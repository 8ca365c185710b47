"""One page with the film maps of a file: the maps on one scale for each result, summaries beside the file's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from pipelines.report.encode import clean
from pipelines.report.film_figures import decimals_of
from pipelines.report.wafer_svg import Frame, Scale, Spot, scale_of, scale_svg, wafer_svg

if TYPE_CHECKING:
    from wafer.maps import SiteMap, WaferFrame

_STYLE = """body{font:14px/1.45 system-ui,sans-serif;color:#1b2733;margin:24px auto;max-width:1280px;padding:0 16px}
h1{font-size:22px}h2{font-size:17px;margin-top:28px}.maps{display:flex;flex-wrap:wrap;gap:18px}
figure{margin:0;width:300px}figcaption{font-weight:600}table{border-collapse:collapse;font-size:12px;margin-top:4px}
td,th{padding:1px 8px 1px 0;text-align:right;font-weight:400}th:first-child,td:first-child{text-align:left}
thead th{color:#5c6b78;border-bottom:1px solid #c9d2d9}.bad{color:#a50f24;font-weight:600}.good{color:#0b6b53}
.dim{color:#5c6b78}@media print{figure{break-inside:avoid}}"""


def film_page(name: str, maps: Sequence[SiteMap], frame: WaferFrame) -> str:
    """The page as HTML, complete in itself."""
    shape = Frame(frame.diameter, frame.edge_exclusion, frame.notch, frame.field_size)
    titles = list(dict.fromkeys((m.title, m.unit) for m in maps))
    off = sum(not frame.holds(float(x), float(y)) for m in maps for x, y in zip(m.x, m.y, strict=True))
    remark = (
        Markup("")
        if not off
        else Markup(
            '<p class="bad">{} values lie off the wafer: counted in the figures, not drawn. Check the places and the '
            "diameter.</p>"
        ).format(off)
    )
    wrong = sum(bool(m.differences()) for m in maps)
    stated = sum(bool(m.reported) for m in maps)
    verdict = (
        Markup('<p class="dim">The file states no summaries of its own.</p>') if not stated
        else Markup('<p class="bad">{} of {} summaries of the file are not reproduced.</p>').format(wrong, stated)
        if wrong
        else Markup('<p class="good">All {} summaries of the file are reproduced from its sites.</p>').format(stated)
    )  # fmt: skip
    sections = []
    for title, unit in titles:
        mine = [m for m in maps if (m.title, m.unit) == (title, unit)]
        scale = scale_of([float(v) for m in mine for v in m.value if math.isfinite(v)])
        figures = Markup("").join(_figure(m, shape, scale) for m in mine)
        sections.append(
            Markup('<section><h2>{}</h2><p>{}{}</p><div class="maps">{}</div></section>').format(
                clean(title or "values"), scale_svg(scale, decimals_of(scale), unit), _beyond(scale), figures
            )
        )
    body = Markup(
        '<h1>{}</h1>{}{}<p class="dim">{} maps; wafer {:g} mm, edge exclusion {:g} mm (dashed), notch {}. One '
        "colour scale for all wafers of a result.</p>{}"
    ).format(
        clean(name),
        verdict,
        remark,
        len(maps),
        frame.diameter,
        frame.edge_exclusion,
        frame.notch,
        Markup("").join(sections),
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{clean(name)}</title><style>{_STYLE}</style><body>{body}</body></html>\n"
    )


def _beyond(scale: Scale) -> Markup:
    if not scale.below + scale.above:
        return Markup("")
    return Markup(' <span class="dim">Far from the rest, drawn in the colour of the nearer end: {}.</span>').format(
        ", ".join(f"{n} {side} the scale" for n, side in ((scale.below, "below"), (scale.above, "above")) if n)
    )


def _figure(found: SiteMap, shape: Frame, scale: Scale) -> Markup:
    spots = [
        Spot(float(x), float(y), float(v) if math.isfinite(v) else None, name=f"{x:g}, {y:g} mm")
        for x, y, v in zip(found.x, found.y, found.value, strict=True)
    ]
    differences = found.differences()
    rows = []
    for name, value in found.figures().items():
        said = found.reported.get(name)
        digits = len(said.partition(".")[2]) if said else 3
        mark = Markup("") if said is None else Markup(' class="bad"') if name in differences else Markup("")
        rows.append(
            Markup("<tr{}><td>{}</td><td>{}</td><td>{}</td></tr>").format(
                mark, name, "–" if value is None else f"{value:.{digits}f}", said or "–"
            )
        )
    label = clean(" ".join(part for part in (found.lot, found.wafer) if part))
    with_value = sum(spot.value is not None for spot in spots)
    sites = f"{with_value} sites" if with_value == len(spots) else f"{with_value} of {len(spots)} sites have a value"
    return Markup(
        "<figure><figcaption>{}</figcaption>{}<table><thead><tr><th>{}</th><th>from sites</th>"
        "<th>file says</th></tr></thead><tbody>{}</tbody></table></figure>"
    ).format(label, wafer_svg(shape, spots, scale, decimals_of(scale), label), sites, Markup("").join(rows))
