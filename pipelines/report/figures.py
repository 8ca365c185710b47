"""Figures of a part page: deviation maps and images with edges, as static pictures and as data for the viewers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipelines.report import colour, picture
from pipelines.report.cloud import CloudView, cloud_view, spread_worst
from pipelines.report.encode import Site, clean, pack, png
from pipelines.report.film_figures import KIND as FILM_MAP
from pipelines.report.film_figures import Scales, film_figure
from pipelines.report.i18n import Words
from pipelines.report.nominal import SurfaceView
from pipelines.report.numbers import fixed, limit, percent, place
from pipelines.report.places import coverage_text, place_rows, statistics_rows, tag_of
from pipelines.report.section_svg import nice_magnification, section_data, section_svg
from pipelines.report.sem_figures import contact_figure, scan_rows, spectrum_figure
from pipelines.report.svg import edge_path
from pipelines.report.tables import sem_line_table
from pipelines.report.views import first_view, opposite

MAX_IMAGE = 2048  # pixels on the longer side; larger images are averaged down, edges are kept exact


def nice_length(target: float) -> float:
    """The largest of 1, 2, 5 x 10^n not above ``target``."""
    if not target > 0.0 or not math.isfinite(target):
        return 1.0
    base = 10.0 ** math.floor(math.log10(target))
    return next(m * base for m in (5.0, 2.0, 1.0) if m * base <= target * (1 + 1e-12))


def nice_limit(value: float) -> float:
    """The smallest of 1, 2, 5 x 10^n not below ``value``: the end of a scale."""
    base = 10.0 ** math.floor(math.log10(value)) if value > 0.0 and math.isfinite(value) else 1.0
    return next((m * base for m in (1.0, 2.0, 5.0) if m * base >= value * (1 - 1e-12)), 10.0 * base)


def view_limit(view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> float:
    """What a scale in units of deviation must reach for this map: its largest limit, else its largest deviation."""
    tolerances = [t for t in [*(view.get("tolerances") or ()), view.get("tolerance")] if t]
    ends = [abs(v) for t in tolerances for v in (t.get("lower"), t.get("upper")) if v]
    if ends:
        return max(ends)
    value = np.abs(np.asarray(arrays.get(str(view.get("value")), ()), dtype=np.float64))
    value = value[np.isfinite(value)]
    return float(np.quantile(value, 0.995)) if value.size else 0.0


class Figures:
    """Builds the figures of one part; writes their pictures and collects the data script."""

    def __init__(self, site: Site, words: Words, page: str, scale: float, film_scales: Scales | None = None) -> None:
        self.site, self.words, self.page, self.scale = site, words, page, scale
        self.film_scales: Scales = film_scales or {}
        self.films: list[dict[str, Any]] = []
        self.maps: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.spectra: list[dict[str, Any]] = []
        self.contacts: list[dict[str, Any]] = []
        self.contours: list[dict[str, Any]] = []
        self.data: dict[str, list[Any]] = {"maps": [], "images": []}

    def add(self, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """All views of a record; kinds this version does not know are left out."""
        for view in document.get("views", ()):
            if view.get("kind") == "deviation_map":
                cloud = cloud_view(view, arrays, document.get("features", ()))
                if cloud is not None:
                    self._add_map(cloud)
            elif view.get("kind") == "sem_edges":
                self._add_image(view, arrays, document)
            elif view.get("kind") == "sem_psd":
                spectrum = spectrum_figure(self.words, view, arrays)
                if spectrum is not None:
                    self.spectra.append(spectrum)
            elif view.get("kind") == "sem_contacts":
                self._add_contacts(view, arrays)
            elif view.get("kind") == "sem_contours":
                self._add_contours(view, arrays)
            elif view.get("kind") == FILM_MAP:
                film = film_figure(self.words, view, arrays, self.film_scales, self.page, own_page=True)
                self.films += [film] if film is not None else []

    # ------------------------------------------------------------------------------------------------ deviation maps
    def _add_map(self, v: CloudView) -> None:
        finest = float(np.min(v.expanded_each, where=np.asarray(v.expanded_each) > 0.0, initial=np.inf))
        decimals = place(finest) if math.isfinite(finest) else (place(float(np.abs(v.value).max())) or 3) + 1
        marks = spread_worst(v, 6)
        has_limits = bool(np.isfinite(v.share).any() or np.isinf(v.share).any())
        pictures = []
        first = first_view(v, marks)
        for number, (azimuth, elevation) in enumerate((first, opposite(*first))):
            p = picture.render(v, azimuth, elevation, marks)
            name = f"{self.page}-map{len(self.maps)}{'ab'[number]}.png"
            self.site.write(f"img/{name}", p.body)
            length = nice_length(0.25 * p.width * p.pixel)
            pictures.append(
                {
                    "file": name,
                    "width": p.width,
                    "height": p.height,
                    "marks": self._callouts(v, p, marks, decimals, azimuth, elevation),
                    "ruler": round(length / p.pixel, 1),
                    "ruler_text": f"{fixed(length, None)} {v.unit}",
                }
            )
        beyond = float(np.isin(v.band, (colour.N_ABOVE, colour.N_BELOW)).mean() * 100.0)
        facts = {
            "name": clean(v.name),
            "max": fixed(float(v.value.max()), decimals, sign=True),
            "min": fixed(float(v.value.min()), decimals, sign=True),
            "unit": v.unit,
        }
        if has_limits:
            facts["beyond"] = fixed(beyond, 2)
        key = "map.caption" if has_limits else "map.caption.nolimit"
        shown = "map.shown" if v.n_shown < v.n_total else "map.all"
        self.maps.append(
            {
                "name": clean(v.name),
                "unit": v.unit,
                "pictures": pictures,
                "caption": self.words.t(key, **facts),
                "caption_text": self.words.text(key, **facts),
                "shown": self.words.t(
                    shown, shown=f"{v.n_shown:,}".replace(",", "\u202f"), total=f"{v.n_total:,}".replace(",", "\u202f")
                ),
                "normals": v.normals_from == "features",
                "reference": clean(v.reference),
                "U": fixed(v.expanded, place(v.expanded)) if v.expanded else "",
                "legend": self._legend(v),
                "worst": [self._worst_row(v, i, decimals) for i in spread_worst(v, 8)],
                "places": place_rows(v, decimals),
                "coverage": coverage_text(self.words, v),
                "statistics": statistics_rows(self.words, v, decimals),
                "surface": v.surface is not None,
                "sections": [self._section(v, i) for i in range(len(v.sections))],
            }
        )
        self.data["maps"].append(self._map_data(v, marks, decimals) | {"view": list(first)})

    def _section(self, v: CloudView, i: int) -> dict[str, Any]:
        section = v.sections[i]
        magnification = nice_magnification(section)
        facts = {"name": clean(section.name), "factor": f"{magnification:g}"}
        return {
            "name": clean(section.name),
            "svg": section_svg(section, magnification, v.unit, self.words.text("section.label", **facts)),
            "caption": self.words.t(
                "section.caption",
                n=f"{len(section.value):,}".replace(",", "\u202f"),
                thickness="\u2013" if section.thickness is None else f"{section.thickness:g}",
                unit=v.unit,
                horizontal=clean(section.horizontal),
                vertical=clean(section.vertical),
            ),
        }

    def _worst_row(self, v: CloudView, i: int, decimals: int | None) -> dict[str, str]:
        f = int(v.feature[i])
        return {
            "feature": clean(v.feature_names[f]) if f >= 0 else "\u2013",
            "value": fixed(float(v.value[i]), decimals, sign=True),
            "share": percent(abs(float(v.share[i]))) if np.isfinite(v.share[i]) else "\u2013",
            "xyz": ", ".join(fixed(float(c), 3) for c in v.xyz[i]),
        }

    def _callouts(
        self, v: CloudView, p: picture.Picture, marks: list[int], decimals: int | None, azimuth: float, elevation: float
    ) -> list[dict[str, Any]]:
        """Labels at the worst places that face this view, in two columns at the sides so that none covers another."""
        turn = picture.camera(azimuth, elevation)
        depth = v.xyz @ turn[2]
        middle = 0.5 * (float(depth.max()) + float(depth.min()))
        facing = [i for i in marks if _faces(v, i, turn) and (v.normals[i].any() or depth[i] >= middle)]
        out = []
        for side in (-1, 1):
            column = sorted(
                (i for i in facing if (p.marks[i][0] < p.width / 2) == (side < 0)), key=lambda i: p.marks[i][1]
            )
            at = 0.0
            for i in column[:4]:
                x, y = p.marks[i]
                at = max(at + 34.0, min(max(y - 20.0, 30.0), p.height - 70.0))
                text_x = 8.0 if side < 0 else p.width - 8.0
                text = f"{fixed(float(v.value[i]), decimals, sign=True)} {v.unit}"
                if i in v.place_at:
                    text = ": ".join(tag_of(v, i, decimals))
                length = 11.5 * len(text)
                out.append(
                    {
                        "x": round(x, 1),
                        "y": round(y, 1),
                        "lx": round(text_x - side * length, 1),
                        "ly": round(at - 6.0, 1),
                        "tx": text_x,
                        "ty": round(at, 1),
                        "anchor": "start" if side < 0 else "end",
                        "text": text,
                    }
                )
        return out

    def _legend(self, v: CloudView) -> list[dict[str, Any]]:
        counts = np.bincount(v.band, minlength=len(colour.BANDS)) / v.n_shown
        names: list[Markup | str] = [self.words.t("map.below")]
        low = ["100", "75", "50", "25"]
        names += [_range(f"\u2212{a}", f"\u2212{b}") for a, b in zip(low, [*low[1:], "0"])]
        names += [self.words.t("map.neutral")]
        names += [_range(f"+{a}", f"+{b}") for a, b in zip(["0", *low[:0:-1]], low[::-1])]
        names += [self.words.t("map.above"), self.words.t("map.nolimit")]
        out = []
        for i, (name, band) in enumerate(zip(names, colour.BANDS)):
            if i == colour.N_NO_LIMIT and not counts[i]:
                continue
            hatched = i in (colour.N_BELOW, colour.N_ABOVE)
            share = percent(float(counts[i]), digits=1)
            out.append({"label": name, "colour": band, "hatched": hatched, "stripe": colour.HATCH, "share": share})
        guard = np.abs(v.margin) < v.expanded_each
        if guard.any():
            share = percent(float(guard.mean()), digits=1)
            out.append(
                {
                    "label": self.words.t("map.guard"),
                    "colour": colour.POSITIVE[-1],
                    "hatched": True,
                    "stripe": colour.GUARD,
                    "share": share,
                }
            )
        if v.surface is not None:
            out.append({"label": self.words.t("map.nodata"), "colour": colour.NO_DATA, "hatched": False, "share": ""})
        return out

    def _map_data(self, v: CloudView, marks: list[int], decimals: int | None) -> dict[str, Any]:
        whole = v.xyz if v.surface is None else np.concatenate([v.xyz, v.surface.vertices])
        low, high = whole.min(axis=0), whole.max(axis=0)
        centre = 0.5 * (low + high)
        finite = [
            (None if not math.isfinite(a) else a, None if not math.isfinite(b) else b) for a, b in zip(v.lower, v.upper)
        ]
        share = np.where(np.isnan(v.share), 0.0, np.clip(v.share, -1e6, 1e6))
        return {
            "name": clean(v.name),
            "unit": v.unit,
            "centre": [float(c) for c in centre],
            "radius": float(0.5 * np.linalg.norm(high - low)) or 1.0,
            "xyz": pack((v.xyz - centre).astype(np.float32).ravel()),
            "value": pack(v.value.astype(np.float32)),
            "share": pack(share.astype(np.float32)),
            "expanded": None if v.point_u is None else pack((2.0 * v.point_u).astype(np.float32)),
            "margin": pack(np.clip(v.margin, -1e30, 1e30).astype(np.float32)),
            "surface": None if v.surface is None else _surface_data(v.surface, centre),
            "sections": section_data(v.sections, pack),
            "grey": colour.NO_DATA,
            "guard": colour.GUARD,
            "limited": pack((~np.isnan(v.share)).astype(np.uint8)),
            "feature": pack((v.feature + 1).astype(np.uint16)),
            "normals": pack(np.rint(v.normals * 127).astype(np.int8).ravel()) if v.normals_from else None,
            "features": [clean(n) for n in v.feature_names],
            "limits": [list(pair) for pair in finite],
            "U": v.expanded,
            "decimals": decimals if decimals is not None else 4,
            "worst": list(marks),
            "tags": {str(i): list(tag_of(v, i, decimals)) for i in marks if i in v.place_at},
            "spacing": v.spacing,
            "scale": self.scale,
            "scale_text": limit(self.scale),
            "bands": list(colour.BANDS),
            "edges": list(colour.EDGES),
            "hatch": colour.HATCH,
        }

    # ------------------------------------------------------------------------------------------------ contacts
    def _add_contacts(self, view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        found = contact_figure(self.words, view, arrays)
        if found is None:
            return
        facts, image = found
        reduced, grey = reduce_image(image)
        name = f"{self.page}-contacts{len(self.contacts)}.png"
        self.site.write(f"img/{name}", png(grey))
        self.contacts.append({**facts, "file": name, "reduced": reduced})

    def _add_contours(self, view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        from pipelines.report.contours import contour_figure

        name = f"{self.page}-contours{len(self.contours)}.png"
        found = contour_figure(self.words, view, arrays, f"../img/{name}")
        if found is not None:
            self.site.write(f"img/{name}", png(reduce_image(arrays[str(view.get("image"))])[1]))
            self.contours.append(found)

    # -------------------------------------------------------------------------------------------------- images
    def _add_image(
        self, view: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], document: Mapping[str, Any]
    ) -> None:
        image = arrays.get(str(view.get("image")))
        if image is None or image.ndim != 2 or not image.size:
            return
        edges = np.asarray(arrays.get(str(view.get("edges")), np.empty((0, 0))), dtype=np.float64)
        rows = np.asarray(arrays.get(str(view.get("rows")), np.empty(0)), dtype=np.float64)
        if edges.ndim != 2 or edges.shape[1] != len(rows):
            edges, rows = np.empty((0, 0)), np.empty(0)
        reduced, grey = reduce_image(image)
        name = f"{self.page}-image{len(self.images)}.png"
        self.site.write(f"img/{name}", png(grey))
        height, width = image.shape
        sides = [str(s) for s in view.get("sides", ())]
        lines = [int(i) for i in view.get("line_index", ())]
        pixel = view.get("pixel_size") or {}
        per_line = list(view.get("per_line", ()))
        columns, table = sem_line_table(self.words, view)
        font = max(9.0, 0.02 * width)
        lost = int(np.isnan(edges).sum())
        self.images.append(
            {
                "name": clean(view.get("name", "image")),
                "file": name,
                "width": width,
                "height": height,
                "reduced": reduced,
                "transposed": bool(view.get("transposed")),
                "edges": [
                    {"side": "right" if _at(sides, i) == "right" else "left", "path": _static_path(edges[i], rows)}
                    for i in range(len(edges))
                ],
                "lost_marks": [p for p in (_lost_path(edges[i], rows) for i in range(len(edges))) if p],
                "labels": _line_labels(edges, lines, per_line),
                "label_y": round(1.3 * font, 1),
                "font": round(font, 1),
                "scale": _scale_bar(pixel, width, height, font),
                "columns": columns,
                "lines": table,
                "criterion": clean(view.get("criterion") or _criterion(document)),
                "scan": scan_rows(self.words, view),
                "caption": self.words.t(
                    "sem.caption",
                    lines=len(per_line) or len(set(lines)),
                    edges=len(edges),
                    lost=lost,
                    samples=edges.size,
                    px=fixed(pixel.get("x"), None),
                    py=fixed(pixel.get("y"), None),
                    unit=clean(pixel.get("unit") or "px"),
                ),
            }
        )
        self.data["images"].append(
            {
                "file": name,
                "width": width,
                "height": height,
                "edges": pack(edges.astype(np.float32).ravel()),
                "n": len(edges),
                "rows": pack(rows.astype(np.float32)),
                "sides": [_at(sides, i) or "left" for i in range(len(edges))],
                "lines": [lines[i] if i < len(lines) else -1 for i in range(len(edges))],
                "pixel": {"x": pixel.get("x"), "y": pixel.get("y"), "unit": clean(pixel.get("unit") or "px")},
                "tips": [_tip(row) for row in per_line],
                "tip_lines": [row.get("line", i) for i, row in enumerate(per_line)],
            }
        )


def _surface_data(surface: SurfaceView, centre: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "vertices": pack((surface.vertices - centre).astype(np.float32).ravel()),
        "triangles": pack(surface.triangles.astype(np.uint32).ravel()),
    }


def _faces(v: CloudView, i: int, turn: NDArray[np.float64]) -> bool:
    """Whether the surface at a point looks towards the viewer; true where its direction is not known."""
    return not v.normals[i].any() or float(v.normals[i] @ turn[2]) > 0.05


def _range(a: str, b: str) -> str:
    return f"{a} … {b}\u202f%"


def _at(values: Sequence[str], i: int) -> str:
    return values[i] if i < len(values) else ""


def reduce_image(image: NDArray[Any]) -> tuple[int, NDArray[np.uint8]]:
    """8-bit grey for the page, averaged by a whole factor where the image is larger than a screen needs."""
    factor = max(1, math.ceil(max(image.shape) / MAX_IMAGE))
    data = np.asarray(image)
    if data.dtype != np.uint8:
        values = data.astype(np.float64)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        data = np.rint(np.nan_to_num((values - low) / ((high - low) or 1.0) * 255.0)).astype(np.uint8)
    if factor > 1:
        ny, nx = (s // factor * factor for s in data.shape)
        blocks = data[:ny, :nx].reshape(ny // factor, factor, nx // factor, factor)
        data = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return factor, data


def _static_path(xs: NDArray[np.float64], rows: NDArray[np.float64]) -> str:
    """An edge for print: at most 400 samples. Pixel centres are at whole numbers, so the drawing shifts by a half."""
    step = max(1, math.ceil(len(rows) / 400))
    return edge_path((xs[::step] + 0.5).tolist(), (rows[::step] + 0.5).tolist())


def _lost_path(xs: NDArray[np.float64], rows: NDArray[np.float64]) -> str:
    """Crosses where the edge was lost, placed between its neighbours; at most 40 of them."""
    lost = np.flatnonzero(~np.isfinite(xs))
    found = np.flatnonzero(np.isfinite(xs))
    if not len(lost) or not len(found):
        return ""
    lost = lost[:: max(1, math.ceil(len(lost) / 40))]
    x = np.interp(lost, found, xs[found]) + 0.5
    r = 4.0
    return "".join(
        f"M{a - r:.1f} {b - r:.1f}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}"
        for a, b in zip(x, rows[lost] + 0.5)
    )


def _line_labels(edges: NDArray[np.float64], lines: list[int], per_line: list[Any]) -> list[dict[str, Any]]:
    warned = {row.get("line"): bool(row.get("lost") or row.get("flags")) for row in per_line}
    out: list[dict[str, Any]] = []
    for line in sorted(set(lines)):
        members = edges[[i for i, n in enumerate(lines) if n == line and i < len(edges)]]
        if line >= 0 and np.isfinite(members).any():
            warn = warned.get(line, False)
            out.append(
                {
                    "x": round(float(np.nanmean(members)) + 0.5, 1),
                    "text": f"{line + 1}{'!' if warn else ''}",
                    "warn": warn,
                }
            )
    if len(out) > 24:  # numbers that would touch say nothing
        out = [label for label in out if label["warn"] or (int(label["text"].rstrip("!")) - 1) % 5 == 0]
    return out


def _scale_bar(pixel: Mapping[str, Any], width: int, height: int, font: float) -> dict[str, Any] | None:
    if not pixel.get("x"):
        return None
    length = nice_length(0.22 * width * float(pixel["x"]))
    w = length / float(pixel["x"])
    x, h = 0.03 * width, max(2.0, 0.006 * width)
    y = height - 0.03 * width - h
    return {
        "x": round(x, 1),
        "y": round(y, 1),
        "w": round(w, 2),
        "h": round(h, 1),
        "tx": round(x + w / 2, 1),
        "ty": round(y - 0.35 * font, 1),
        "text": f"{fixed(length, None)} {clean(pixel.get('unit') or 'px')}",
    }


def _criterion(document: Mapping[str, Any]) -> str:
    """The edge criterion as the first characteristic's details name it; the method says it in words anyway."""
    for m in document.get("measurements", ()):
        found = (m.get("details") or {}).get("criterion")
        if found:
            return str(found)
    return ""


def _tip(row: Mapping[str, Any]) -> str:
    """The numbers of one line, for the tooltip."""
    unit = clean(row.get("unit") or "")
    parts = []
    for key, value in row.items():
        if key in ("line", "unit") or value is None or value == []:
            continue
        text = f"{fixed(value, 3)} {unit}" if isinstance(value, float) else clean(value)
        parts.append(f"{clean(key)} {text}")
    return "\n".join(parts)
