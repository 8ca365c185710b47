"""Takes the picture of the README from the demo's report: head and worst characteristic of a part, its deviation map.

make demo && .venv/bin/python scripts/readme_picture.py demo-run/blades/run/report
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WIDTH = 1280
LARGEST = 250_000  # bytes: a clone should not grow by its documentation
EDGE = "document.querySelector({!r}).getBoundingClientRect().{} + scrollY"


def main() -> int:
    sys.path.insert(0, str(REPOSITORY))
    from PIL import Image

    from tests.conftest import find_browser
    from tests.pipelines.report.browser import browse

    parser = argparse.ArgumentParser(description="Take the picture of the README.")
    parser.add_argument("report", type=Path, help="report folder of the blade lot")
    parser.add_argument("--part", default="part-005")
    parser.add_argument("--to", type=Path, default=REPOSITORY / "docs" / "images" / "report.png")
    chosen = parser.parse_args()
    page = next(iter(sorted((chosen.report / "parts").glob(f"*{chosen.part}*.html"))))
    browser = find_browser()
    if browser is None:
        sys.stderr.write("no browser found; 'make setup' installs one on Debian\n")
        return 2
    with browse(browser) as tab:
        tab.size(WIDTH)
        tab.open(page)
        tab.until("document.querySelector('canvas') && document.querySelector('canvas').width > 300")
        tab.run("new Promise(done => setTimeout(done, 2000))")  # labels of the worst places are laid out after drawing
        head = float(tab.run(EDGE.format("tbody tr", "bottom")))
        top = float(tab.run(EDGE.format("figure", "top")))
        bottom = float(tab.run(EDGE.format("canvas", "bottom")))
        whole = Image.open(io.BytesIO(tab.picture(chosen.to.with_suffix(".tmp.png"), full=True))).convert("RGB")
    chosen.to.with_suffix(".tmp.png").unlink()
    pieces = [whole.crop((0, 0, WIDTH, round(head) + 8)), whole.crop((0, round(top) - 8, WIDTH, round(bottom) + 8))]
    made = Image.new("RGB", (WIDTH, sum(piece.height for piece in pieces)), "white")
    made.paste(pieces[0], (0, 0))
    made.paste(pieces[1], (0, pieces[0].height))
    made.save(chosen.to, optimize=True)
    size = chosen.to.stat().st_size
    sys.stdout.write(f"{chosen.to.name}: {made.width} x {made.height}, {size} bytes\n")
    return 0 if size <= LARGEST else 1


if __name__ == "__main__":
    raise SystemExit(main())
