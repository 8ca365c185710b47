"""From an image of contacts or pillars to sizes, shapes, placement and defects, each with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Measured
from wafer.characteristics import flags_of
from wafer.contacts.checks import refuse_open_pattern
from wafer.contacts.contour import Contour, Edge, Template, fit_contour, pool
from wafer.contacts.lattice import Lattice, find_lattice, on_lattice
from wafer.contacts.locate import SMOOTHING, Candidates, locate
from wafer.contacts.sites import Site, judge, merged_regions, rates, unclaimed
from wafer.contours import GreyNoise, Window, grey_noise
from wafer.drawn import refuse_drawn_rows
from wafer.grey_flags import grey_flags
from wafer.recording import recording_flags
from wafer.scan import field_background, uneven
from wafer.visible import refuse_noise, refuse_not_finite, smoothed

if TYPE_CHECKING:
    from wafer.contacts.statistics import Statistics

PITCH_CONFLICT = 0.04  # relative: real arrays are up to 2.5 % off in one axis by the scan alone
CRITERIA = ("threshold", "sigmoid", "model")
INSIDE, OUTSIDE = 0.8, 0.85
"""How far the strips of features on a lattice reach, in radii."""
FARTHEST, WIDTHS = 10.0, 1.75
"""How far those of others reach: so many pixels, or widths of the edge (10 % to 90 %) where these are more."""


@dataclass(frozen=True)
class ContactSettings:
    """How closed features are measured.

    ``criterion``: ``threshold`` (``level`` between the plateaus of the mean radial profile), ``sigmoid`` (centre of the
    least-squares logistic step) or ``model`` (template pooled over the image, half of its step at zero). ``polarity``
    of the features; ``rows``, ``columns`` image area, end exclusive. ``lattice``: whether the features are looked for
    on a lattice. ``nominal_pitch`` (unit of the image) only serves the check ``pitch_conflict``: a wrong pixel size.
    """

    criterion: Literal["threshold", "sigmoid", "model"] = "threshold"
    level: float = 0.5
    polarity: Literal["auto", "dark", "bright"] = "auto"
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    lattice: bool = True
    nominal_pitch: float | None = None

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise ParameterError("unknown edge criterion", expected=" | ".join(CRITERIA), got=repr(self.criterion))
        if self.polarity not in ("auto", "dark", "bright"):
            raise ParameterError("unknown polarity", expected="auto | dark | bright", got=repr(self.polarity))
        if not 0.05 <= self.level <= 0.95:
            raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{self.level:.4g}")


@dataclass(frozen=True, eq=False)
class ContactResult:
    """What one image of closed features gave.

    ``measurements`` by characteristic id in ``unit``; ``missing`` what the image cannot give, with the reason;
    ``sites`` every lattice site (every feature where there is no lattice) with its state and contour; ``rates`` of
    missing, weak and merged with exact intervals; ``lattice`` in pixels or None; ``per_contact`` table in ``unit``;
    ``noise`` of the grey values; ``flags``; ``details``.
    """

    unit: str
    measurements: Mapping[str, Measured]
    methods: Mapping[str, str]
    missing: Mapping[str, str]
    flags: tuple[str, ...]
    sites: tuple[Site, ...]
    rates: Mapping[str, Mapping[str, float | None]]
    lattice: Lattice | None
    per_contact: list[dict[str, Any]]
    noise: GreyNoise
    pixel: tuple[float, float]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Found:
    """Contours before statistics: what `measure_contacts` and the tests of single contours share."""

    sites: tuple[Site, ...]
    lattice: Lattice | None
    edge: Edge
    template: Template | None
    noise: GreyNoise
    candidates: Candidates


def find_contacts(pixels: np.ndarray, settings: ContactSettings, aspect: float = 1.0) -> Found:
    """Locate features, find their lattice, fit the contour of each, judge every site. Lengths in pixels."""
    refuse_not_finite(pixels)
    refuse_drawn_rows(pixels)
    noise = grey_noise(pixels)
    image = np.ascontiguousarray(pixels, np.float64)
    smooth = smoothed(image, SMOOTHING)
    found = locate(image, settings.polarity, smooth)
    refuse_noise(image, noise, SMOOTHING, smooth)
    refuse_open_pattern(found)
    lattice = find_lattice(found.centres, aspect) if settings.lattice else None
    edges = _edges(found, found.radius, lattice, settings)
    merged = merged_regions(found, lattice)
    plain = [i for i in range(len(found.radius)) if not found.touches[i] and not merged[i]]
    rough = {
        i: fit_contour(image, found.centres[i], found.radius[i], edges[i], noise, "threshold", None, aspect)
        for i in plain
    }
    good = {i: c for i, c in rough.items() if c.state in ("ok", "not_converged")}
    template = pool(list(good.values()), [edges[i] for i in good])
    if template is None:
        raise DataError(
            "no feature has an edge all around",
            expected="features that lie within the image, with an edge on all sides",
            got=f"{len(found.radius)} regions, {int(found.touches.sum())} of them at the border",
            remedy="check polarity and image area",
        )
    if lattice is None:  # once more with the radius of the contour, which noise moves less than that of a region
        size = np.array([good[i].radius if i in good else r for i, r in enumerate(found.radius)])
        edges = _edges(found, size, lattice, settings, max(FARTHEST, WIDTHS * template.width))
    typical = float(np.median([c.radius for c in good.values()]))
    contours: dict[int, Contour] = {}
    for i, first in rough.items():
        known = first.state in ("ok", "not_converged")
        centre, radius = (first.centre, first.radius) if known else (found.centres[i], float(found.radius[i]))
        contours[i] = fit_contour(image, centre, radius, edges[i], noise, settings.criterion, template, aspect)
    median = float(np.median([c.contrast for c in contours.values() if c.state == "ok"] or [found.contrast]))
    sites: list[Site] = []
    used = on_lattice(lattice) if lattice is not None else np.zeros(len(found.radius), bool)
    for i in range(len(found.radius)):
        index = None
        if lattice is not None:
            if not used[i]:
                continue  # a speck between the sites, or one that lost its site to a better one
            index = (int(lattice.index[i, 0]), int(lattice.index[i, 1]))
        state = "border" if found.touches[i] else "merged" if merged[i] else judge(contours[i], median)
        if lattice is None and state == "missing":
            state = "not_measured"  # a region without an edge; nothing says that a feature belongs there
        sites.append(Site(found.centres[i], index, state, contours.get(i)))
    edge = _typical(edges, found)
    if lattice is not None:
        sites += _empty_sites(image, lattice, found, merged, edge, noise, settings, template, aspect, typical, median)
    return Found(tuple(sites), lattice, edge, template, noise, found)


def _empty_sites(
    image: np.ndarray,
    lattice: Lattice,
    found: Candidates,
    merged: np.ndarray,
    edge: Edge,
    noise: GreyNoise,
    settings: ContactSettings,
    template: Template,
    aspect: float,
    typical: float,
    median: float,
) -> list[Site]:
    """Sites that no region claimed: inside a merged region, at the border, closed to a faint rest, or missing."""
    out = []
    ny, nx = image.shape
    for index in unclaimed(lattice, image.shape):
        place = lattice.site(index[None])[0]
        region = int(found.labels[min(max(round(place[1]), 0), ny - 1), min(max(round(place[0]), 0), nx - 1)])
        key = (int(index[0]), int(index[1]))
        if region and merged[region - 1]:
            out.append(Site(place, key, "merged", None))
            continue
        reach = typical + edge.window.outside + 2.0
        if not (reach <= place[0] <= nx - 1 - reach and reach * aspect <= place[1] <= ny - 1 - reach * aspect):
            out.append(Site(place, key, "border", None))
            continue
        contour = fit_contour(image, place, typical, edge, noise, settings.criterion, template, aspect)
        state = judge(contour, median)
        out.append(Site(place, key, "missing" if state == "not_measured" else state, contour))
    return out


def _edges(
    found: Candidates, radius: np.ndarray, lattice: Lattice | None, settings: ContactSettings, most: float = FARTHEST
) -> list[Edge]:
    """Reach of the strips for each region: shares of its own radius, so that the same feature seen at another
    magnification has the same plateaus and the same threshold; outside at most half way to the neighbour.

    On a lattice one reach serves all, from the median of the regions on it. Elsewhere sizes may differ, and each
    feature has its own: a median over all would hang on how many specks the noise makes of the ground, and the level
    of the threshold with it. Neighbours lie anywhere there (`Edge.crowded`), so nobody looks further than ``most`` px:
    ten, or 1.75 widths of the edge where that is more (an oversampled image).
    """
    if lattice is not None:
        inner = on_lattice(lattice) & ~found.touches
        chosen = inner if inner.any() else ~found.touches if (~found.touches).any() else np.ones(radius.size, bool)
        radius = np.full(radius.size, float(np.median(radius[chosen])))
        near = (lattice.a, lattice.b, lattice.a - lattice.b, lattice.a + lattice.b)
        free = 0.5 * min(float(np.hypot(*v)) for v in near) - radius
    else:
        free = radius
    out = []
    for r, f in zip(radius, free, strict=True):
        if lattice is not None:
            outside, inside = max(3.0, min(float(f), OUTSIDE * float(r))), max(3.0, INSIDE * float(r))
        else:
            outside, inside = min(most, max(3.0, float(f))), min(most, max(3.0, 0.8 * float(r)))
        plateau = 0.6 * min(inside, outside)
        sign = -1.0 if found.bright else 1.0
        out.append(Edge(Window(inside, outside), plateau, settings.level, sign, crowded=lattice is None))
    return out


def _typical(edges: list[Edge], found: Candidates) -> Edge:
    """The edge of the region of median size."""
    order = np.argsort(found.radius)
    return edges[int(order[order.size // 2])]


def measure_contacts(
    image: Image, settings: ContactSettings | None = None, *, instrument: Instrument | None = None
) -> ContactResult:
    """Measure contacts, pillars or other closed features.

    Characteristics: `wafer.contacts.statistics`. Influences: noise (propagated exactly from the pixels through the
    contour fit), sampling (between features), pixel size, edge criterion (``edge_offset_u`` of the instrument, twice
    for a diameter). Flags: those of the image, ``few_contacts``, ``lcdu_not_resolved``, ``missing_contacts``,
    ``merged_contacts``, ``no_lattice``, ``pitch_conflict``,
    ``repeatability_only``, ``rows_share_noise``, ``saturated``, ``background_uneven``, those of
    `wafer.grey_flags` and `wafer.recording`. Raises `ParameterError` for an image without pixel size, `DataError` where
    there are no features.
    """
    from wafer.contacts.statistics import statistics

    settings = settings or ContactSettings()
    if image.pixel_size is None:
        raise ParameterError(
            "the image has no pixel size",
            expected="pixel sizes in x and y with a unit",
            remedy="state pixel in the recipe, or --pixel on the command line, for example '0.9 nm'",
        )
    rows, columns = image.measured_area(settings.rows, settings.columns)
    px, py = image.pixel_size
    area = image.pixels[rows[0] : rows[1], columns[0] : columns[1]]
    recorded = recording_flags(area)
    found = find_contacts(area, settings, px / py)
    result = statistics(image, settings, instrument, found)
    for row in result.per_contact:  # places count from the first pixel of the image
        row.update(x=row["x"] + columns[0], y=row["y"] + rows[0])
    features = found.candidates.labels > 0
    scan = field_background(area, features)
    seen = grey_flags(area, image.saturation_level, features, found.candidates.contrast, found.noise)
    flags = _flags.merge(
        image.flags, result.flags, recorded, seen, uneven(scan),
        _pitch_check(settings, result.measurements),
    )  # fmt: skip
    if not result.measurements:
        raise DataError(
            "nothing could be measured in the image",
            expected="at least one complete feature",
            got="; ".join(sorted(set(result.missing.values()))),
            remedy="check polarity and image area",
        )
    _defects(result, found, settings)
    known = found.lattice is not None or not settings.lattice
    counts: dict[str, int | None] = dict(_counts(found.sites))
    if not known:
        counts["missing"] = None
    chances = rates(found.sites, missing_known=known)
    carried = {name: value.with_flags(*flags_of(name, flags)) for name, value in result.measurements.items()}
    return ContactResult(
        image.unit, carried, result.methods, result.missing, flags, found.sites, chances, found.lattice,
        result.per_contact, found.noise, (px, py), {**result.details, "origin": (rows[0], columns[0]),
        "polarity": "bright" if found.candidates.bright else "dark", "sites": counts,
        "scan": {name: fact.to_dict() for name, fact in scan.items()}},
    )  # fmt: skip


def _defects(result: Statistics, found: Found, settings: ContactSettings) -> None:
    """The number of faulty sites. Where a lattice was looked for and none found, nobody knows what is missing."""
    name = "sem.contact_defects"
    if settings.lattice and found.lattice is None:
        result.missing[name] = "no lattice: nothing says where a contact is missing"
        return
    counts = _counts(found.sites)
    faulty = ("missing", "merged", "weak") if settings.lattice else ("merged", "weak")
    judged = sum(counts[state] for state in ("found", *faulty))
    result.measurements[name] = Measured.exact(float(sum(counts[state] for state in faulty)), "1")
    result.methods[name] = (
        f"{', '.join(f'{counts[state]} {state}' for state in faulty)}; {judged} "
        f"{'sites judged' if settings.lattice else 'features judged, on no lattice, so that none can be missing'}; "
        f"{counts['border']} at the border and {counts['not_measured']} not measured are not judged"
    )


def _pitch_check(settings: ContactSettings, measurements: Mapping[str, Measured]) -> tuple[str, ...]:
    """``pitch_conflict`` where neither lattice vector, nor their mean, can be the nominal pitch: a wrong pixel size."""
    pitches = [measurements[f"sem.contact_pitch_{v}"] for v in "ab" if f"sem.contact_pitch_{v}" in measurements]
    if not settings.nominal_pitch or not pitches:
        return ()
    off = min(
        abs(m.value - settings.nominal_pitch) - max(PITCH_CONFLICT * settings.nominal_pitch, 3.0 * m.u) for m in pitches
    )
    return ("pitch_conflict",) if off > 0.0 else ()


def _counts(sites: tuple[Site, ...]) -> dict[str, int]:
    from wafer.contacts.sites import STATES

    return {state: sum(site.state == state for site in sites) for state in STATES}


def finite(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None
