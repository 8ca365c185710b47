"""From an image of arbitrary shapes to contours, edge placement errors and line ends, each with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Measured
from wafer.characteristics import flags_of
from wafer.contours.budget import ContourBudget
from wafer.contours.design import Design
from wafer.contours.grey import GreyNoise, grey_noise
from wafer.contours.seeds import SMOOTH, find_seeds, split_grey
from wafer.contours.trace import Trace, trace
from wafer.drawn import refuse_drawn_rows
from wafer.grey_flags import grey_flags
from wafer.recording import recording_flags
from wafer.scan import field_background, uneven
from wafer.visible import refuse_noise, refuse_not_finite

SPACING = 2.0  # px of contour for each vertex ...
MOST_SPACING = 6.0  # ... up to this where the noise asks for it
_NOISY = 0.35  # px, noise of a vertex that the automatic spacing aims at
_TOO_NOISY = 0.5  # px, noise that is flagged
_LOST_SHARE = 0.01
_OF_DESIGN = ("sem.epe_mean", "sem.epe_1s", "sem.epe_3s", "sem.pullback", "sem.tip_to_tip", "sem.shape_defects")


@dataclass(frozen=True)
class ContourSettings:
    """How contours are measured.

    ``criterion``: ``threshold`` (``level`` between the plateaus of each contour's own mean profile) or ``model`` (half
    of the step of the mean profile of all contours). ``spacing`` px of contour that a vertex averages over (None: 2,
    more where the image is noisy, less again for line ends that are too narrow for it). ``polarity`` of the features;
    ``rows``, ``columns`` image area, end exclusive.

    With a design: ``origin`` the design place in the middle of the image area (None: middle of the design's box), in
    the unit of the image; ``search`` how far it may be off, ``limit`` largest distance of a contour from
    its edge, ``corner`` distance from a corner of the design within which an edge does not count (all in the unit of
    the image; None: a quarter of the image, 15 px, as far as the contours show corners rounded,
    `wafer.contours.corners`); ``free``: ``rotation``, ``scale``.
    """

    criterion: Literal["threshold", "model"] = "threshold"
    level: float = 0.5
    spacing: float | None = None
    polarity: Literal["auto", "dark", "bright"] = "auto"
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    origin: tuple[float, float] | None = None
    search: float | None = None
    limit: float | None = None
    corner: float | None = None
    free: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.criterion not in ("threshold", "model"):
            raise ParameterError("unknown edge criterion", expected="threshold | model", got=repr(self.criterion))
        if self.polarity not in ("auto", "dark", "bright"):
            raise ParameterError("unknown polarity", expected="auto | dark | bright", got=repr(self.polarity))
        if not 0.05 <= self.level <= 0.95:
            raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{self.level:.4g}")
        if self.spacing is not None and not 1.0 <= self.spacing <= 12.0:
            raise ParameterError("the spacing of vertices lies between 1 and 12 px", got=f"{self.spacing:.4g}")
        if set(self.free) - {"rotation", "scale"}:
            raise ParameterError(
                "unknown freedom of the registration", expected="rotation, scale", got=", ".join(self.free)
            )
        for name in ("search", "limit", "corner"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ParameterError(f"{name} is a positive length", got=f"{value:.4g}")


@dataclass(frozen=True, eq=False)
class ContourResult:
    """What the contours of one image gave; lengths in ``unit``, vertices in pixels of the image (not of the area).

    ``measurements`` by characteristic id; ``missing`` what the image cannot give, with the reason. ``contours`` one row
    each. ``vertices`` arrays over all vertices: ``contour``, ``x``, ``y``, ``nx``, ``ny`` (outward normal), ``u``
    (length, along the normal, noise), and with a design ``epe``, ``epe_u`` (all influences), ``edge`` (design edge or
    -1), ``kind`` (0 edge, 1 near a corner, 2 line end, 3 no design edge near). ``tips``, ``gaps`` rows of line ends and
    pairs; ``shapes`` counts and rates of the design's polygons; ``registration`` in numbers; ``design`` polygons in
    pixels where the registration puts them.
    """

    unit: str
    measurements: Mapping[str, Measured]
    methods: Mapping[str, str]
    missing: Mapping[str, str]
    flags: tuple[str, ...]
    contours: list[dict[str, Any]]
    vertices: Mapping[str, np.ndarray]
    pixel: tuple[float, float]
    noise: GreyNoise
    registration: dict[str, Any] | None = None
    tips: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    shapes: dict[str, Any] = field(default_factory=dict)
    design: tuple[np.ndarray, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


def measure_contours(
    image: Image,
    settings: ContourSettings | None = None,
    *,
    design: Design | None = None,
    instrument: Instrument | None = None,
) -> ContourResult:
    """Measure the contours of all features and, with a ``design``, their edge placement.

    An edge placement error is the signed distance of a contour from the nearest facing edge of the registered
    design, positive where the feature is larger. Its uncertainty holds the noise of the vertex, the covariance of
    the registration, the pixel size and the edge criterion. Influences: noise (propagated exactly from the pixels
    through contour and registration), scatter (cluster-robust over pieces of edges), place of the design, pixel
    size, edge criterion. Flags: those of the image, ``repeatability_only``, ``contours_lost``, ``edge_noise_high``,
    ``registration_ambiguous``, ``registration_undetermined``, ``registration_by_line_ends``,
    ``registration_unmodelled``, ``missing_shapes``, ``broken_shapes``, ``bridged_shapes``, ``extra_shapes``,
    ``unmatched_contours``, ``few_line_ends``, ``rows_share_noise``, ``saturated``. Raises `ParameterError` for an image
    without pixel size, `DataError` where there is nothing but noise, no contour, a drawn data bar, grey values that are
    no numbers, or the design does not fit.
    """
    settings = settings or ContourSettings()
    if image.pixel_size is None:
        raise ParameterError(
            "the image has no pixel size",
            expected="pixel sizes in x and y with a unit",
            remedy="state pixel in the recipe, or --pixel on the command line, for example '0.8 nm'",
        )
    rows, columns = image.measured_area(settings.rows, settings.columns)
    area = image.pixels[rows[0] : rows[1], columns[0] : columns[1]]
    if min(area.shape) < 32:
        raise DataError("the image area is too small for contours", expected="32 x 32 pixels", got=f"{area.shape}")
    refuse_not_finite(area)
    refuse_drawn_rows(area)
    recorded = recording_flags(area)
    pixels = np.ascontiguousarray(area, np.float64)
    noise = grey_noise(area)
    split = split_grey(pixels)
    refuse_noise(pixels, noise, SMOOTH)
    budget = ContourBudget(image, settings, instrument)
    flags: set[str] = {*image.flags, *recorded}
    if budget.scale is None:
        flags.add("repeatability_only")
    polarity = settings.polarity
    start = edges = origin = None
    if design is not None:
        from wafer.contours.placement import begin

        design = design.to(image.unit)
        origin, start, edges = begin(split, design, settings, image)
        polarity = "bright" if start.bright else "dark"
    found, spacing = traced(pixels, noise, split, settings, polarity)
    good = found.state == 0
    if not good.any():
        raise DataError("no edge was found along the contours", remedy="check contrast and noise of the image")
    if float(np.mean(found.state[found.state != 2] == 1)) > _LOST_SHARE:
        flags.add("contours_lost")
    typical = float(np.nanmedian(found.u))
    if typical > _TOO_NOISY:
        flags.add("edge_noise_high")
    out = Collected(budget, flags)
    text = (
        f"threshold {settings.level:.0%} between the plateaus of the mean profile of each contour"
        if settings.criterion == "threshold"
        else "half of the step of the mean profile of all contours"
    )
    words = f"edge: {text}; unfiltered image"
    out.common = f"{words}; {int(good.sum())} vertices, each the mean over {spacing:.3g} px of contour"
    from wafer.contours.closed import closed_contours
    from wafer.contours.functionals import Functionals

    functionals = Functionals(pixels, found, noise)
    table = closed_contours(out, functionals, image.pixel_size)
    px, py = image.pixel_size
    scale = np.hypot(found.seeds.ux * px, found.seeds.uy * py)
    shift = (columns[0], rows[0])
    vertices: dict[str, np.ndarray] = {
        "contour": found.seeds.contour, "x": found.x + shift[0], "y": found.y + shift[1], "nx": found.seeds.ux,
        "ny": found.seeds.uy, "u": found.u * scale, "state": found.state,
    }  # fmt: skip
    details: dict[str, Any] = {
        "criterion": settings.criterion, "level": settings.level, "spacing_px": spacing,
        "polarity": "bright" if found.seeds.bright else "dark", "edge_width": found.profile.width * px,
        "vertices": int(found.state.size), "lost": int(np.count_nonzero(found.state == 1)),
        "vertex_u": typical * px, "area": [*rows, *columns],
        "noise": {"offset": noise.offset, "gain": noise.gain, "correlation": noise.correlation},
    }  # fmt: skip
    flags |= {*grey_flags(area, image.saturation_level, found.seeds.mask, split.high - split.low, noise)}
    scan = field_background(area, found.seeds.mask)
    flags |= uneven(scan)
    details["scan"] = {name: fact.to_dict() for name, fact in scan.items()}
    extra: dict[str, Any] = {}
    if design is not None and edges is not None and start is not None and origin is not None:
        from wafer.contours.defects import STATES
        from wafer.contours.placement import placement

        extra = placement(out, functionals, settings, image.pixel_size, edges, origin, start, vertices, shift)
        details.update(extra.pop("details"))
        counts = extra["shapes"]["counts"]  # polygons too far off to be looked at are outside, too
        counts["outside"] += len(design.polygons) - sum(counts[state] for state in STATES)
        if settings.spacing is None and spacing > SPACING:
            from wafer.contours.ends import measure_narrow_ends

            closer = measure_narrow_ends(
                out, pixels, noise, split, settings, image.pixel_size, edges, origin, start, shift, extra, words
            )
            if closer is not None:
                details["line_end_spacing_px"] = closer
    else:
        for name in _OF_DESIGN:
            out.missing[name] = "no design was given"
    final = _flags.merge(out.flags)
    carried = {name: value.with_flags(*flags_of(name, final)) for name, value in out.measurements.items()}
    return ContourResult(
        image.unit, carried, out.methods, out.missing, final, table, vertices, (px, py), noise, details=details, **extra
    )


@dataclass(eq=False)
class Collected:
    """What the parts of an evaluation add to."""

    budget: ContourBudget
    flags: set[str]
    measurements: dict[str, Measured] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    common: str = ""


def traced(
    pixels: np.ndarray, noise: GreyNoise, split: Any, settings: ContourSettings, polarity: Any
) -> tuple[Trace, float]:
    """Contours with the stated spacing, or with as wide a one as the noise asks for."""
    level = settings.level if settings.criterion == "threshold" else 0.5
    spacing = settings.spacing or SPACING
    for _ in range(2):
        seeds = find_seeds(pixels, spacing, polarity, split)
        found = trace(pixels, seeds, noise, spacing=spacing, criterion=settings.criterion, level=level)
        typical = float(np.nanmedian(found.u)) if np.isfinite(found.u).any() else math.inf
        if settings.spacing is not None or spacing > SPACING or typical <= _NOISY:
            break
        wanted = min(MOST_SPACING, SPACING * (typical / _NOISY) ** 2)
        spacing = float(max(round(wanted), round(SPACING) + 1))
    return found, spacing
