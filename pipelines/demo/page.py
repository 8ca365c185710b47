"""The small page that joins the two reports of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1b1f24}"
    "h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.45rem .6rem;border-bottom:1px solid #d5dae0}a{color:#0b5cad}"
    "p.small{color:#57606a;font-size:.9rem}"
)


def page(rows: Sequence[dict[str, Any]]) -> str:
    """HTML of the page; each row has title, href, parts, matching, values, within."""
    lines = []
    for row in rows:
        link = f'<a href="{escape(row["href"], quote=True)}">{escape(row["title"])}</a>'
        cells = (f"{row['matching']} of {row['parts']}", f"{row['within']} of {row['values']}")
        lines.append(f"<tr><td>{link}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Abbe demo</title><style>{_STYLE}</style></head><body>\n"
        "<h1>Abbe demo: two simulated lots, measured and compared with the truth</h1>\n"
        "<table><thead><tr><th>Report</th><th>Outcome and verdict as in truth</th>"
        "<th>|error| within U (k = 2)</th></tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>\n"
        '<p class="small">The data are simulated; every part has known true values, kept beside the data in '
        "<code>truth.json</code>. The instrument contributions (MPE, tip, temperature) are bounds, so most errors are "
        "much smaller than U.</p>\n</body></html>\n"
    )
