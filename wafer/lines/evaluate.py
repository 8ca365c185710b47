"""From an image of lines and spaces to characteristics with uncertainties: the entry point of the CD-SEM half."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Measured
from wafer.smoothing import parse_smoothing

PITCH_CONFLICT = 0.02  # relative: no honest calibration error of a CD-SEM is larger

ABOUT_EQUAL = 0.2  # difference of lines and spaces over their sum (40 to 60 % duty) that tells nobody which is which

SMOOTHED = "the image was smoothed: its rows share noise, and short roughness is gone"
SCALE_VARIATION = 0.005  # range of the local pitch over the field that flags pitch and widths


@dataclass(frozen=True)
class SemLineSettings:
    """How lines and spaces are measured; see `wafer.edges.find_edges` for ``criterion`` and ``level`` (0 to 1).

    ``rows``, ``columns``: image area, end exclusive, of the image as it is looked at. ``lines``: which stripe is the
    line (None: the bright one, and ``polarity_assumed`` where both are about as wide). ``detrend``: what is taken off
    an edge before its roughness: ``linear`` or ``mean``. ``orientation``: ``vertical`` lines, or ``horizontal`` (the
    image is transposed, pixel sizes with it). ``nominal_pitch`` and ``nominal_cd`` (unit of the image) only serve
    checks: ``pitch_conflict`` and ``inverted_contrast``. ``seed`` drives the resampling of the edge noise.
    ``smoothing``: a named filter before the edges are found (``gaussian 2 px``, see `wafer.smoothing`), None for none;
    results say so, and roughness is refused.
    """

    criterion: Literal["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"] = "threshold"
    level: float = 0.5
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None
    lines: Literal["bright", "dark"] | None = None
    detrend: Literal["linear", "mean"] = "linear"
    orientation: Literal["vertical", "horizontal"] = "vertical"
    nominal_pitch: float | None = None
    nominal_cd: float | None = None
    seed: int = 0
    smoothing: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("criterion", ("threshold", "max_gradient", "sigmoid", "linear_approximation", "model")),
            ("lines", ("bright", "dark", None)),
            ("detrend", ("linear", "mean")),
            ("orientation", ("vertical", "horizontal")),
        ):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"unknown {name} {getattr(self, name)!r}",
                    expected=" | ".join(value for value in allowed if value),
                    got=repr(getattr(self, name)),
                )
        if not 0.05 <= self.level <= 0.95:
            raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{self.level:.4g}")
        smoothing = parse_smoothing(self.smoothing)
        if smoothing is not None:
            smoothing.refuse_criterion(self.criterion)


@dataclass(frozen=True, eq=False)
class SemLineResult:
    """What one image of lines and spaces gave.

    ``measurements`` maps characteristic ids to `Measured` in ``unit``; what the image cannot give (pitch of a single
    line) is absent and named in ``missing`` with the reason. ``methods`` says in words how each number came about.
    ``per_line`` is the table of complete lines, ``view`` and ``arrays`` the picture of the found edges (record
    contract, kind ``sem_edges``); ``spectra`` the views of kind ``sem_psd``; ``details`` further facts (noise, tilt,
    bounds).
    """

    unit: str
    measurements: Mapping[str, Measured]
    methods: Mapping[str, str]
    missing: Mapping[str, str]
    flags: tuple[str, ...]
    per_line: list[dict[str, Any]]
    view: dict[str, Any]
    arrays: dict[str, np.ndarray]
    details: dict[str, Any] = field(default_factory=dict)
    spectra: tuple[dict[str, Any], ...] = ()

    @property
    def views(self) -> tuple[dict[str, Any], ...]:
        """All views of the record: the picture, then the spectra."""
        return (self.view, *self.spectra)


def measure_sem_lines(
    image: Image, settings: SemLineSettings | None = None, *, instrument: Instrument | None = None
) -> SemLineResult:
    """Measure pitch, widths and biased roughness of lines and spaces.

    The unit is that of ``image``; widths and roughness are normal to the lines (horizontal times cos of the tilt).
    Influences of noise and sampling carry the digest of the image (`scope_of`): two images share none of them. Pitch,
    line and space come from the same edges; their common causes are kept, so that line plus space is as certain as
    the pitch. Pitch walk and roughness have causes of their own (their correlation with the widths is left out), and
    two criteria on one image count as one cause. Further influences: grey levels of the plateaus, gain of the noise,
    and the plateau that narrow stripes miss (lines and spaces with opposite signs), pixel size (relative, shared by
    all characteristics and, with an ``instrument``, by all its images), edge criterion (``edge_offset_u`` per edge:
    widths of lines and spaces with opposite signs, pitch none), drift of the scan scale (from its change over the
    frame), trend of the widths over the field. Without a declared uncertainty of the pixel size the results carry
    ``repeatability_only``.

    Flags: those of `wafer.edges.find_edges`, of the image, ``few_lines``, ``biased_roughness``, ``pitch_conflict``,
    ``inverted_contrast``, ``polarity_assumed``, ``scan_nonlinear``, ``smoothing_too_wide``, and those of
    `wafer.recording`.
    Raises `ParameterError` for an image without pixel size, `DataError` for
    an image without lines.
    """
    from wafer import edges as _edges
    from wafer.edges.checks import as_looked_at
    from wafer.lines import pitch as _pitch
    from wafer.lines import places as _lines
    from wafer.lines import scatter as _scatter
    from wafer.lines.budget import Budget, scale_of
    from wafer.lines.grey import grey_flags_of
    from wafer.lines.roughness import measure_roughness, refused
    from wafer.lines.scan import jumps, scan_facts
    from wafer.lines.view import edge_view, facts_of, line_rows
    from wafer.recording import recording_flags
    from wafer.scan import uneven

    settings = settings or SemLineSettings()
    if image.pixel_size is None:
        raise ParameterError(
            "the image has no pixel size",
            expected="pixel sizes in x and y with a unit",
            remedy="state pixel in the recipe, or --pixel on the command line, for example '0.827 nm'",
        )
    pixels = image.pixels
    px, py = image.pixel_size
    axis = "x"
    if settings.orientation == "horizontal":
        pixels, px, py, axis = pixels.T, py, px, "y"
    rows_used, (first, end) = area_of(image, settings)
    pixels = pixels[:, first:end]
    scanned = pixels if rows_used is None else pixels[slice(*rows_used)]
    recorded = recording_flags(scanned.T if settings.orientation == "horizontal" else scanned)
    try:
        found = _edges.find_edges(
            pixels, criterion=settings.criterion, level=settings.level, rows=rows_used,
            saturation_level=image.saturation_level, smoothing=parse_smoothing(settings.smoothing), seed=settings.seed,
        )  # fmt: skip
    except DataError as error:
        raise as_looked_at(error, settings.orientation == "horizontal") from error
    line_polarity = -1 if settings.lines == "dark" else 1
    # Lengths normal to the lines: the slope dx/dy counts in lengths, not in pixels.
    scale = px / math.hypot(1.0, found.slope * px / py)
    lines = _lines.table(found, line_polarity, settings.detrend)
    spaces = _lines.table(found, -line_polarity, settings.detrend)
    budget = Budget(
        image.unit, scale, px, scale_of(image, instrument, axis), instrument, found.criterion,
        scope_of(image, settings.rows, settings.columns),
    )  # fmt: skip

    measurements: dict[str, Measured] = {}
    methods: dict[str, str] = {}
    missing: dict[str, str] = {}
    flags: set[str] = {*image.flags, *found.flags, *recorded, *grey_flags_of(scanned, found, settings.orientation)}
    box = f"{found.rows.size} rows, box length {found.rows.size * py / (scale / px):.4g} {image.unit}"
    common = f"edges: {found.criterion_text}; {found.rows.size} rows"
    facts: dict[str, Any] = {}

    linear: dict[str, _lines.Estimate] = {}
    fit: _pitch.PitchFit | None = None
    try:
        fit = _pitch.pitch(found, line_polarity)
    except DataError as error:
        missing["sem.pitch"] = missing["sem.pitch_walk"] = str(error)
    if fit is not None:
        count = int(np.count_nonzero(np.isfinite(fit.residual)))
        linear["sem.pitch"] = fit.pitch
        methods["sem.pitch"] = f"regression of {count} edges of {fit.lines} lines, both polarities; {common}"
        facts["pitch_residual_rms"] = float(np.sqrt(np.nanmean(fit.residual**2))) * scale
        varied, varied_u = _pitch.scale_variation(fit.residual, fit)
        facts["scale_variation"], facts["scale_variation_u"] = varied, varied_u
        facts["local_pitch"] = [
            {"x": float(x) + first, "pitch": float(p) * scale, "u": float(s) * scale}
            for x, p, s in _pitch.local_pitch(found, fit, line_polarity)
        ]
        if varied > SCALE_VARIATION + 3.0 * varied_u:
            flags.add("scan_nonlinear")
            fit = _pitch.field_pitch(found, fit, line_polarity, pixels.shape[1])
            linear["sem.pitch"] = fit.pitch
            methods["sem.pitch"] = (
                f"least-squares line over the whole field, by a polynomial of degree 4 through {count} edges of "
                f"{fit.lines} lines: the scan is not linear; {common}"
            )
        if fit.walk is None:
            missing["sem.pitch_walk"] = "the pitch walk needs five complete neighbouring lines"
        else:
            measurements["sem.pitch_walk"] = budget.length("sem.pitch_walk", fit.walk, edges=0, bound=0.0)
            methods["sem.pitch_walk"] = (
                f"absolute difference of even and odd distances of {fit.walk.count} line centres (mean alternating "
                f"second difference); noise makes a small value too large; {common}"
            )
    short = _lines.plateau_not_reached(found, settings.level)
    facts["plateau_not_reached"] = short * scale
    if _lines.smoothed_too_wide(found, parse_smoothing(settings.smoothing)):
        flags.add("smoothing_too_wide")
    for name, rows, sign in (("sem.cd_line", lines, 2), ("sem.cd_space", spaces, -2)):
        word = "lines" if sign > 0 else "spaces"
        if not np.isfinite(rows.width).any():
            missing[name] = f"no complete {word[:-1]} in the image"
            continue
        estimate = _lines.mean_width(found, rows)
        linear[name] = estimate
        methods[name] = f"mean of {estimate.count} complete {word}; {common}"
        correction = _lines.width_correction(found, line_polarity if sign > 0 else -line_polarity) * scale
        if correction:
            methods[name] += f"; corrected by {correction:+.2g} {image.unit} for noise stronger on one side"
        if abs(short) > 1e-3 * estimate.value:
            methods[name] += (
                f"; narrow stripes do not reach their plateau: against full plateaus the width changes by up to "
                f"{short * scale * line_polarity * (1 if sign > 0 else -1):+.2g} {image.unit}, not corrected"
            )
    drift = 0.0
    if (
        fit is not None and fit.pitch.weights is not None and settings.orientation == "vertical"
    ):  # rows in order of time
        frame_u, change, change_u = _pitch.frame_drift(found, fit.pitch.weights)
        drift = frame_u / fit.pitch.value
        facts["scale_change_over_frame"], facts["scale_change_over_frame_u"] = (
            change / fit.pitch.value,
            change_u / fit.pitch.value,
        )
    spread = None if fit is None else _scatter.edge_scatter(found, fit)
    trend = None if fit is None else _scatter.width_trend(found, fit)
    if trend is not None:
        over = 0.5 * (found.polarity.size - 1) * scale  # lines over the field
        facts["width_change_over_field"], facts["width_change_over_field_u"] = (
            trend.change * over,
            trend.change_u * over,
        )
    measurements.update(budget.from_edges(linear, found, spread, line_polarity, short, drift, trend))
    both = np.concatenate([lines.left_variance, lines.right_variance])
    for stem, variances, what in (("lwr", lines.variance, "line widths"), ("ler", both, "edges of complete lines")):
        if found.smoothing:
            missing[f"sem.{stem}_biased_1s"] = missing[f"sem.{stem}_biased_3s"] = SMOOTHED
            continue
        rough = _lines.roughness(variances)
        if rough is None or rough.count < 2:
            why = "no complete line in the image" if rough is None else "one line does not tell how lines scatter"
            missing[f"sem.{stem}_biased_1s"] = missing[f"sem.{stem}_biased_3s"] = why
            continue
        for factor in (1, 3):
            name = f"sem.{stem}_biased_{factor}s"
            measurements[name] = budget.length(name, rough, edges=0, bound=0.0, factor=float(factor))
            methods[name] = (
                f"{factor} times the root of the mean variance of {rough.count} {what}, {settings.detrend} detrend, "
                f"{box}; biased: contains the noise of the edges; {common}"
            )
    cdu = _lines.local_cdu(found, lines)
    for factor in (1, 3):
        name = f"sem.local_cdu_{factor}s"
        if cdu is None:
            missing[name] = "fewer than three complete lines"
            continue
        measurements[name] = budget.length(name, cdu, edges=0, bound=0.0, factor=float(factor))
        methods[name] = (
            f"{factor} times the root of the variance of the mean widths of {cdu.count} lines less that of their "
            f"noise; {box}: roughness longer than the box is part of it; {common}"
        )
    other = "y" if axis == "x" else "x"
    along = scale_of(image, instrument, other)
    if found.smoothing:
        rough_report = refused(SMOOTHED)
    elif not float(np.nanmax(np.abs(np.diff(found.x, axis=1)), initial=0.0)) > 0.0:
        rough_report = refused("no edge moves from row to row: the rows are copies of one, or the image is drawn")
    else:
        rough_report = measure_roughness(found, lines.left, settings.detrend, budget, py / (scale / px), along, common)
    measurements.update(rough_report.measurements)
    methods.update(rough_report.methods)
    missing.update(rough_report.missing)
    flags |= rough_report.flags
    facts.update(rough_report.facts)
    if not measurements:
        raise DataError(
            "nothing could be measured in the image",
            expected="a complete line or two edges of two lines",
            got="; ".join(sorted(set(missing.values()))),
            remedy="check the image area",
        )
    complete = int(np.count_nonzero(np.isfinite(lines.width)))
    if complete < 3:
        flags.add("few_lines")
    if any("_biased_" in name for name in measurements):
        flags.add("biased_roughness")
    flags.update(_checks(settings, measurements))
    if budget.scale_row is None:
        flags.add("repeatability_only")
    facts.update(facts_of(found, lines, scale, px, image.unit))
    facts["complete_lines"] = complete
    scan = scan_facts(found, found.grey, px, py, image.unit)
    flags |= uneven(scan)
    facts["scan_jumps"] = jumps(found)
    if facts["scan_jumps"]:
        flags.add("scan_jump")
    facts["scan"] = {name: fact.to_dict() for name, fact in scan.items()}
    all_flags = _flags.merge(flags)
    carried = {name: value.with_flags(*_own_flags(name, all_flags)) for name, value in measurements.items()}
    per_line = line_rows(found, lines, scale, image.unit)
    view, arrays = edge_view(image, replace(found, x=found.x + first), lines.left, per_line, px, py, settings)
    arrays |= rough_report.arrays
    view["scan"] = facts["scan"]
    return SemLineResult(
        image.unit, carried, methods, missing, all_flags, per_line, view, arrays, facts, tuple(rough_report.views)
    )


def area_of(image: Image, settings: SemLineSettings) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """Rows (None: all) and columns to measure, of the image as it is looked at: transposed for horizontal lines."""
    across = settings.orientation == "horizontal"
    if image.area is None and settings.columns is None:
        return settings.rows, (0, image.shape[0 if across else 1])
    seen = (settings.rows, settings.columns)
    found = image.measured_area(*(seen[::-1] if across else seen))
    return found[::-1] if across else found


def scope_of(image: Image, rows: tuple[int, int] | None, columns: tuple[int, int] | None = None) -> str:
    """Prefix of the influences that belong to this image alone: its digest, and the rows and columns that were used."""
    area = "" if rows is None else f"/rows-{rows[0]}-{rows[1]}"
    return f"image/{image.digest[:16]}" + area + ("" if columns is None else f"/columns-{columns[0]}-{columns[1]}")


def _checks(settings: SemLineSettings, measurements: Mapping[str, Measured]) -> set[str]:
    flags = set()
    pitch, line, space = (measurements.get(f"sem.{name}") for name in ("pitch", "cd_line", "cd_space"))
    if settings.nominal_pitch and pitch is not None:
        allowed = max(PITCH_CONFLICT * settings.nominal_pitch, 3.0 * pitch.u)
        if abs(pitch.value - settings.nominal_pitch) > allowed:
            flags.add("pitch_conflict")
    if settings.nominal_cd and line is not None and space is not None:
        # The stripe called space fits the nominal line much better than the stripe called line.
        off_line, off_space = (abs(m.value - settings.nominal_cd) for m in (line, space))
        if off_space < 0.25 * off_line and off_line > 0.1 * settings.nominal_cd:
            flags.add("inverted_contrast")
    if settings.lines is None and line is not None and space is not None:
        # a nominal width that is far from one of the two tells which it is
        told = settings.nominal_cd and abs(line.value - space.value) > 0.2 * settings.nominal_cd
        if not told and abs(line.value - space.value) < ABOUT_EQUAL * (line.value + space.value):
            flags.add("polarity_assumed")
    return flags


def _own_flags(name: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of the image that concern this characteristic: all but those on roughness or widths elsewhere."""
    return tuple(
        flag
        for flag in flags
        if (flag != "biased_roughness" or "_biased_" in name)
        and (flag not in ("smoothing_too_wide", "plateau_missed") or name.startswith("sem.cd_"))
        and (flag not in ("roughness_model_misfit", "short_for_roughness") or name.startswith(("sem.lwr", "sem.ler")))
    )
