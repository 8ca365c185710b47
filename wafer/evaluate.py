"""From an image of lines and spaces to characteristics with uncertainties: the entry point of the CD-SEM half."""

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
from metrology_core.provenance import digest_bytes
from metrology_core.quantity import Influence, Measured
from metrology_core.units import convert

PITCH_CONFLICT = 0.02  # relative: no honest calibration error of a CD-SEM is larger

NOISE = "noise of the edges in single rows"
SAMPLING = "scatter between lines (roughness, local variation)"

SCALE_VARIATION = 0.005  # range of the local pitch over the field that flags pitch and widths


@dataclass(frozen=True)
class SemLineSettings:
    """How lines and spaces are measured; see `wafer.edges.find_edges` for ``criterion`` and ``level`` (0 to 1).

    ``rows``: image area, end exclusive. ``lines``: which stripe is the line. ``detrend``: what is taken off an edge
    before its roughness: ``linear`` or ``mean``. ``orientation``: ``vertical`` lines, or ``horizontal`` (the image is
    transposed, pixel sizes with it). ``nominal_pitch`` and ``nominal_cd`` (unit of the image) only serve checks:
    ``pitch_conflict`` and ``inverted_contrast``. ``seed`` drives the resampling of the edge noise.
    """

    criterion: Literal["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"] = "threshold"
    level: float = 0.5
    rows: tuple[int, int] | None = None
    lines: Literal["bright", "dark"] = "bright"
    detrend: Literal["linear", "mean"] = "linear"
    orientation: Literal["vertical", "horizontal"] = "vertical"
    nominal_pitch: float | None = None
    nominal_cd: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("criterion", ("threshold", "max_gradient", "sigmoid", "linear_approximation", "model")),
            ("lines", ("bright", "dark")),
            ("detrend", ("linear", "mean")),
            ("orientation", ("vertical", "horizontal")),
        ):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"unknown {name} {getattr(self, name)!r}",
                    expected=" | ".join(allowed),
                    got=repr(getattr(self, name)),
                )
        if not 0.05 <= self.level <= 0.95:
            raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{self.level:.4g}")


@dataclass(frozen=True, eq=False)
class SemLineResult:
    """What one image of lines and spaces gave.

    ``measurements`` maps characteristic ids to `Measured` in ``unit``; what the image cannot give (pitch of a single
    line) is absent and named in ``missing`` with the reason. ``methods`` says in words how each number came about.
    ``per_line`` is the table of complete lines, ``view`` and ``arrays`` the picture of the found edges (record
    contract, kind ``sem_edges``); ``details`` further facts (noise, tilt, bounds).
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


def measure_sem_lines(
    image: Image, settings: SemLineSettings | None = None, *, instrument: Instrument | None = None
) -> SemLineResult:
    """Measure pitch, widths and biased roughness of lines and spaces.

    The unit is that of ``image``; widths and roughness are normal to the lines (horizontal times cos of the tilt).
    Influences of noise and sampling carry the digest of the image (`_scope`): two images share none of them. Pitch,
    line and space come from the same edges; their common causes are kept, so that line plus space is as certain as
    the pitch. Pitch walk and roughness have causes of their own (their correlation with the widths is left out), and
    two criteria on one image count as one cause. Further influences: grey levels of the plateaus and the plateau that
    narrow stripes miss (lines and spaces with opposite signs), pixel size (relative, shared by all characteristics
    and, with an ``instrument``, by all its images), edge criterion (``edge_offset_u`` per edge: widths of lines and
    spaces with opposite signs, pitch none). Without a declared uncertainty of the pixel size the results carry
    ``repeatability_only``.

    Flags: those of `wafer.edges.find_edges`, of the image, ``few_lines``, ``biased_roughness``, ``pitch_conflict``,
    ``inverted_contrast``, ``scan_nonlinear``. Raises `ParameterError` for an image without pixel size, `DataError` for
    an image without lines.
    """
    from wafer import edges as _edges
    from wafer import lines as _lines

    settings = settings or SemLineSettings()
    if image.pixel_size is None:
        raise ParameterError(
            "the image has no pixel size",
            expected="pixel sizes in x and y with a unit",
            remedy="state pixel in the recipe, for example 0.827 nm",
        )
    pixels = image.pixels
    px, py = image.pixel_size
    pixel_u = image.pixel_size_u
    axis = "x"
    if settings.orientation == "horizontal":
        pixels, px, py, axis = pixels.T, py, px, "y"
        pixel_u = (pixel_u[1], pixel_u[0]) if pixel_u is not None else None
    found = _edges.find_edges(
        pixels,
        criterion=settings.criterion,
        level=settings.level,
        rows=settings.rows,
        saturation_level=image.saturation_level,
        seed=settings.seed,
    )
    line_polarity = 1 if settings.lines == "bright" else -1
    # Lengths normal to the lines: the slope dx/dy counts in lengths, not in pixels.
    scale = px / math.hypot(1.0, found.slope * px / py)
    lines = _lines.table(found, line_polarity, settings.detrend)
    spaces = _lines.table(found, -line_polarity, settings.detrend)
    budget = _Budget(
        image.unit, scale, px, _scale(image, instrument, axis, px, pixel_u), instrument, found.criterion,
        _scope(image, settings.rows),
    )  # fmt: skip

    measurements: dict[str, Measured] = {}
    methods: dict[str, str] = {}
    missing: dict[str, str] = {}
    flags: set[str] = {*image.flags, *found.flags}
    box = f"{found.rows.size} rows, box length {found.rows.size * py / (scale / px):.4g} {image.unit}"
    common = f"edges: {found.criterion_text}; unfiltered image; {found.rows.size} rows"
    facts: dict[str, Any] = {}

    linear: dict[str, _lines.Estimate] = {}
    fit: _lines.PitchFit | None = None
    try:
        fit = _lines.pitch(found, line_polarity)
    except DataError as error:
        missing["sem.pitch"] = missing["sem.pitch_walk"] = str(error)
    if fit is not None:
        count = int(np.count_nonzero(np.isfinite(fit.residual)))
        linear["sem.pitch"] = fit.pitch
        methods["sem.pitch"] = f"regression of {count} edges of {fit.lines} lines, both polarities; {common}"
        facts["pitch_residual_rms"] = float(np.sqrt(np.nanmean(fit.residual**2))) * scale
        varied, varied_u = _lines.scale_variation(fit.residual, fit)
        facts["scale_variation"], facts["scale_variation_u"] = varied, varied_u
        if varied > SCALE_VARIATION + 3.0 * varied_u:
            flags.add("scan_nonlinear")
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
    measurements.update(budget.from_edges(linear, found, fit, line_polarity, short))
    both = np.concatenate([lines.left_variance, lines.right_variance])
    for stem, variances, what in (("lwr", lines.variance, "line widths"), ("ler", both, "edges of complete lines")):
        rough = _lines.roughness(variances)
        if rough is None:
            missing[f"sem.{stem}_biased_1s"] = missing[f"sem.{stem}_biased_3s"] = "no complete line in the image"
            continue
        for factor in (1, 3):
            name = f"sem.{stem}_biased_{factor}s"
            measurements[name] = budget.length(name, rough, edges=0, bound=0.0, factor=float(factor))
            methods[name] = (
                f"{factor} times the root of the mean variance of {rough.count} {what}, {settings.detrend} detrend, "
                f"{box}; biased: contains the noise of the edges; {common}"
            )
            if math.isnan(rough.sampling):
                flags.add("few_lines")
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
    if any(name.startswith(("sem.lwr", "sem.ler")) for name in measurements):
        flags.add("biased_roughness")
    flags.update(_checks(settings, measurements))
    if budget.scale_row is None:
        flags.add("repeatability_only")
    facts.update(_facts(found, lines, scale, px, image.unit))
    facts["complete_lines"] = complete
    all_flags = _flags.merge(flags)
    carried = {name: value.with_flags(*_own_flags(name, all_flags)) for name, value in measurements.items()}
    per_line = _per_line(found, lines, scale, image.unit)
    view, arrays = _view(image, found, lines.left, per_line, px, py, settings)
    return SemLineResult(image.unit, carried, methods, missing, all_flags, per_line, view, arrays, facts)


def _scope(image: Image, rows: tuple[int, int] | None) -> str:
    """Prefix of the influences that belong to this image alone: its digest, and the rows that were used."""
    if image.source is not None and image.source.sha256:
        digest = image.source.sha256
    else:
        digest = digest_bytes(f"{image.pixels.dtype.str}{image.pixels.shape}".encode() + image.pixels.tobytes())
    return f"image/{digest[:16]}" + ("" if rows is None else f"/rows-{rows[0]}-{rows[1]}")


@dataclass(frozen=True)
class _Scale:
    influence: Influence
    relative: float


def _scale(
    image: Image, instrument: Instrument | None, axis: str, px: float, pixel_u: tuple[float, float] | None
) -> _Scale | None:
    """The uncertainty of the pixel size: what the image states, else what the instrument declares."""
    relative = pixel_u[0] / px if pixel_u is not None and pixel_u[0] > 0.0 else None
    if relative is None and instrument is not None:
        relative = instrument.scale_u
    if not relative:
        return None
    if instrument is not None:
        return _Scale(instrument.scale_influence(axis), relative)
    # One calibration stated in one place is one cause for all images read with it.
    return _Scale(Influence(f"image/scale/{axis}", f"pixel size in {axis}", "B"), relative)


class _Budget:
    """Turns estimates in pixels into lengths with their contributions."""

    def __init__(
        self,
        unit: str,
        scale: float,
        px: float,
        scale_row: _Scale | None,
        instrument: Instrument | None,
        criterion: str,
        scope: str,
    ) -> None:
        self.scope = scope
        self.unit, self.scale, self.px, self.scale_row = unit, scale, px, scale_row
        self.edge: tuple[Influence, float] | None = None
        if instrument is not None and instrument.edge_offset_u:
            row = Influence(
                f"instrument/{instrument.id}/edge/{criterion}", f"offset of the edge criterion {criterion}", "B"
            )
            self.edge = (row, convert(instrument.edge_offset_u, instrument.unit, unit))

    def length(
        self,
        name: str,
        estimate: Any,
        *,
        edges: int,
        bound: float | None = None,
        factor: float = 1.0,
        given: list[tuple[Influence, float]] | None = None,
    ) -> Measured:
        """``edges``: how many times the offset of one edge enters (+2 line, -2 space, 0 where it cancels)."""
        unit_length = self.scale * factor
        value = estimate.value * unit_length
        parts: dict[str, float] = {}
        rows: dict[str, Influence] = {}

        def add(row: Influence, contribution: float) -> None:
            if contribution and math.isfinite(contribution):
                rows[row.id] = row
                parts[row.id] = contribution

        # 1 s and 3 s of one roughness are one measurement: they share their influences.
        stem = f"{self.scope}/{name.removesuffix('_1s').removesuffix('_3s')}"
        if given is None:
            given = [
                (Influence(f"{stem}/noise", NOISE, "A"), estimate.noise),
                (Influence(f"{stem}/sampling", SAMPLING, "A", estimate.dof), estimate.sampling),
            ]
        for row, contribution in given:
            add(row, contribution * unit_length)
        if self.scale_row is not None:
            add(self.scale_row.influence, value * self.scale_row.relative)
        if self.edge is not None and edges:
            add(self.edge[0], edges * self.edge[1])
        return Measured(value, self.unit, parts, rows, bound)

    def from_edges(
        self, linear: Mapping[str, Any], found: Any, fit: Any, line_polarity: int, short: float
    ) -> dict[str, Measured]:
        """Pitch, line and space from the same edges: contributions in pixels that keep their covariances."""
        from wafer import lines as _lines

        if not linear:
            return {}
        weights = np.array([estimate.weights for estimate in linear.values()])
        noise = _lines.causes(weights, _lines.noise_covariance(found))
        sampled = None if fit is None else _lines.sampling_covariance(found, fit, line_polarity)
        scatter = None if sampled is None else _lines.causes(weights, sampled[0])
        level = Influence(f"{self.scope}/level", "grey levels of the plateaus, shift by noise", "A")
        missed = Influence(f"{self.scope}/plateau", "plateau not reached by narrow stripes", "B")
        out = {}
        for i, (name, estimate) in enumerate(linear.items()):
            given = [(Influence(f"{self.scope}/edges/noise/{j}", NOISE, "A"), float(c)) for j, c in enumerate(noise[i])]
            if scatter is None or sampled is None:
                row = Influence(f"{self.scope}/{name}/sampling", SAMPLING, "A", estimate.dof)
                given.append((row, estimate.sampling))
            else:
                for j, c in enumerate(scatter[i]):
                    given.append((Influence(f"{self.scope}/edges/sampling/{j}", SAMPLING, "A", sampled[1]), float(c)))
            sign = {"sem.cd_line": line_polarity, "sem.cd_space": -line_polarity}.get(name, 0)
            given += [(level, sign * _lines.common_shift(found)), (missed, sign * short)]
            edges = {"sem.cd_line": 2, "sem.cd_space": -2}.get(name, 0)
            out[name] = self.length(name, estimate, edges=edges, bound=0.0 if sign else None, given=given)
        return out


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
    return flags


def _own_flags(name: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Flags of the image that concern this characteristic: all but the word on biased roughness elsewhere."""
    rough = name.startswith(("sem.lwr", "sem.ler"))
    return tuple(flag for flag in flags if rough or flag != "biased_roughness")


def _facts(found: Any, lines: Any, scale: float, px: float, unit: str) -> dict[str, Any]:
    from wafer import lines as _lines

    left, right = _lines.roughness(lines.left_variance), _lines.roughness(lines.right_variance)
    joint = lines.correlation[np.isfinite(lines.correlation)]
    facts: dict[str, Any] = {
        "unit": unit,
        "edges": int(found.polarity.size),
        "rows": int(found.rows.size),
        "tilt_deg": math.degrees(math.acos(min(1.0, scale / px))) * (1.0 if found.slope >= 0 else -1.0),
        "straightness_px": found.straightness,
        "row_jitter_px": _lines.row_jitter(found),
        "contrast_to_noise": found.contrast_to_noise,
        "noise_variance_offset": found.noise.offset,
        "noise_variance_per_grey": found.noise.gain,
        "noise_correlation_x": found.noise.correlation,
        "noise_vertical_ratio": found.noise.vertical_ratio,
        "edges_dropped_at_border": found.dropped_at_border,
        "saturated_share": found.details["saturated_share"],
        "left_right_correlation": float(joint.mean()) if joint.size else None,
        "ler_left_biased_1s": None if left is None else left.value * scale,
        "ler_right_biased_1s": None if right is None else right.value * scale,
        "lost": {
            name: int(np.count_nonzero(found.state == code))
            for code, name in enumerate(("ok", "lost", "spike", "merged", "broken", "saturated"))
            if code
        },
    }
    for sign, word in ((1, "rising"), (-1, "falling")):
        if sign in found.noise_sd:
            facts[f"edge_noise_{word}"] = found.noise_sd[sign].sd * scale
            facts[f"cramer_rao_{word}"] = found.profiles[sign].crb * scale
    return facts


def _per_line(found: Any, lines: Any, scale: float, unit: str) -> list[dict[str, Any]]:
    rows = []
    for i, e in enumerate(lines.left):
        lost = int(np.count_nonzero(~np.isfinite(found.x[e]) | ~np.isfinite(found.x[e + 1])))
        row: dict[str, Any] = {"line": i, "unit": unit, "lost": lost}
        for key, value in (
            ("cd", lines.width[i] * scale),
            ("lwr_biased_3s", 3.0 * math.sqrt(lines.variance[i]) * scale),
            ("ler_left_biased_3s", 3.0 * math.sqrt(lines.left_variance[i]) * scale),
            ("ler_right_biased_3s", 3.0 * math.sqrt(lines.right_variance[i]) * scale),
        ):
            row[key] = float(value) if math.isfinite(value) else None
        rows.append(row)
    return rows


def display(pixels: np.ndarray) -> np.ndarray:
    """An 8-bit picture for the eye: the image itself when it has 8 bits, else stretched between its 0.1 and 99.9 %."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    low, high = np.quantile(pixels, [0.001, 0.999])
    span = max(float(high - low), 1e-12)
    return np.rint(np.clip((pixels - low) / span, 0.0, 1.0) * 255.0).astype(np.uint8)


def _view(
    image: Image,
    found: Any,
    left: np.ndarray,
    per_line: list[dict[str, Any]],
    px: float,
    py: float,
    settings: SemLineSettings,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    begins = found.polarity == (1 if settings.lines == "bright" else -1)
    number = {int(e): i for i, e in enumerate(left)} | {int(e) + 1: i for i, e in enumerate(left)}
    pixels = image.pixels.T if settings.orientation == "horizontal" else image.pixels
    arrays = {
        "sem/image": display(pixels),
        "sem/edges": found.x,
        "sem/rows": found.rows.astype(np.int64),
        "sem/state": found.state,
    }
    view = {
        "kind": "sem_edges",
        "name": "edges",
        "image": "sem/image",
        "edges": "sem/edges",
        "rows": "sem/rows",
        "state": "sem/state",
        "sides": ["left" if b else "right" for b in begins],
        # -1: edge of a line that is cut by the border
        "line_index": [number.get(e, -1) for e in range(found.polarity.size)],
        "pixel_size": {"x": px, "y": py, "unit": image.unit},
        "per_line": per_line,
        "transposed": settings.orientation == "horizontal",
        "criterion": found.criterion_text,
    }
    return view, arrays
