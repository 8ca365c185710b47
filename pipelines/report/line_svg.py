"""One image of lines as a picture file of its own: the edges on the image, the spectra beneath."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.report import spectrum_svg
from pipelines.report.encode import png
from pipelines.report.svg import edge_path

SIDE = {"left": "#35d0ff", "right": "#ffc13b"}
LEGEND = {
    "measured": "measured, mean of the lines",
    "range": "95 % of such means fall here under the fit",
    "fit": "fit with its 95 % interval",
    "clean": "roughness without noise",
    "cross": "products of frames, 95 % interval",
}
TITLES = {"lwr": "Linewidth: power spectral density", "ler": "Edges: power spectral density"}


def line_picture(
    view: Mapping[str, Any], spectra: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]
) -> str:
    """SVG text. ``view`` of kind ``sem_edges``, ``spectra`` of kind ``sem_psd``, with their arrays."""
    from pipelines.report.figures import reduce_image

    image = arrays[str(view["image"])]
    ny, nx = image.shape
    _, grey = reduce_image(image)
    body = base64.b64encode(png(grey)).decode("ascii")
    edges, rows = np.asarray(arrays[str(view["edges"])]), np.asarray(arrays[str(view["rows"])], dtype=np.float64)
    drawn = [(s, spectrum_svg.curves_of(s, arrays)) for s in spectra]
    width = float(max(nx, 640))
    inner = (width - 16.0) / 2.0
    tall = inner * spectrum_svg.HEIGHT / spectrum_svg.WIDTH
    height = ny + (tall + 40.0 if drawn else 0.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:.0f}" width="{width:g}" '
        f'height="{height:.0f}"><rect width="100%" height="100%" fill="#fff"/>',
        f'<image href="data:image/png;base64,{body}" width="{nx}" height="{ny}" preserveAspectRatio="none"/>',
    ]
    for side, xs in zip(view["sides"], edges, strict=True):
        path = edge_path((xs + 0.5).tolist(), (rows + 0.5).tolist())
        parts.append(f'<path d="{path}" fill="none" stroke="{SIDE.get(side, "#fff")}" stroke-width="1"/>')
    for n, (spectrum, curves) in enumerate(drawn):
        if curves is None:
            continue
        name = str(spectrum.get("name", ""))
        x = n * (inner + 16.0)
        parts.append(
            f'<text x="{x + 10:.0f}" y="{ny + 24}" font-family="sans-serif" font-size="15">'
            f"{TITLES.get(name, name)}</text>"
            f'<svg x="{x:.0f}" y="{ny + 34}" width="{inner:.0f}" height="{tall:.0f}">'
            f"{spectrum_svg.spectrum_svg(curves, str(spectrum.get('unit', 'px')), name.upper(), LEGEND)}</svg>"
        )
    return "\n".join(parts) + "</svg>\n"
