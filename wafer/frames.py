"""Repeated frames of one field: drift between them, their average, and roughness without a model of the noise.

The noise of two frames is independent, so the mean product of the residuals of an edge in two frames holds roughness
only (cross-spectrum summed over frequency): an estimate that needs no model of the noise, beside the fitted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError, ReaderError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from wafer.frame_drift import FrameDrift, frame_drift
from wafer.frame_noise import refuse_repeats, shared_noise

if TYPE_CHECKING:
    from wafer.edges import EdgeSet
    from wafer.lines.evaluate import SemLineResult, SemLineSettings

MAX_FRAMES = 256
BROKEN = 0.01  # of the rows of a frame with one grey level: more are no dead rows
LEAST_COMMON = 0.5  # of each side that all frames must show
_WORST = 12  # pairs of frames named in the facts
SHARED_LIMIT = 4.0  # combined standard uncertainties by which products may exceed the fit without noise


def read_frames(path: str | Path, **options: Any) -> tuple[Image, ...]:
    """All frames of a multi-page TIFF file or an HDF5 stack, as `wafer.read_image` reads one (``options``).

    Raises as `wafer.read_image`, and `DataError` for more than 256 frames or frames of different size.
    """
    from wafer.readers import read_image
    from wafer.readers.api import IN_COLOUR
    from wafer.readers.hdf5 import MAGIC, frame_count
    from wafer.readers.tiff import page_count

    file = Path(path)
    try:
        first = read_image(file, **options)
    except ReaderError as error:
        if error.what == IN_COLOUR:
            error.remedy = "frames that were stored as the planes of a colour image: store each frame as a page"
        raise
    with file.open("rb") as stream:
        head = stream.read(8)
    if head == MAGIC:
        count = frame_count(file, shown=file.name, dataset=options.get("dataset"))
    elif head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        count = page_count(file.read_bytes(), path=file.name)
    else:
        count = 1
    if count > MAX_FRAMES:
        raise DataError("the stack holds too many frames", expected=f"at most {MAX_FRAMES}", got=str(count))
    frames = [read_image(file, page=k, **options) for k in range(count)] if count > 1 else [first]
    ny, nx = first.pixels.shape
    for k, frame in enumerate(frames, start=1):
        if frame.pixels.shape != (ny, nx):
            height, width = frame.pixels.shape
            raise DataError(
                "the frames have different sizes", expected="frames of one field",
                got=f"frame 1: {nx} x {ny} pixels, frame {k}: {width} x {height}",
                remedy="leave the other frames out of the stack",
            )  # fmt: skip
    return tuple(frames)


def _too_few(frames: Sequence[Image]) -> ParameterError:
    source = frames[0].source if frames else None
    return ParameterError(
        "an average needs two frames", expected="a stack of two frames and more: pages of a TIFF file, or HDF5",
        got=f"{len(frames)}" + (f" in {source.path}" if source is not None else ""),
        remedy="leave frames (--frames) out for a single image",
    )  # fmt: skip


def average_frames(frames: Sequence[Image], drift: FrameDrift | None = None) -> tuple[Image, FrameDrift]:
    """Mean of the frames over the area that all of them show, each moved by whole pixels (no interpolation, so that the
    noise stays independent from pixel to pixel); what is left of the ``drift`` (None: that of vertical lines) smears
    edges and is in `FrameDrift.smear`.
    """
    if len(frames) < 2:
        raise _too_few(frames)
    drift = drift or frame_drift(frames)
    laid = aligned(frames, drift)
    total = np.zeros(laid[0].pixels.shape)
    for frame in laid:
        total += frame.pixels
    image = replace(
        laid[0], pixels=total / len(frames), flags=_flags.merge(*(f.flags for f in frames)),
        metadata={**frames[0].metadata, "frames": str(len(frames)),
                  "frame_smear_px": "{:.3g}, {:.3g}".format(*drift.smear)},
    )  # fmt: skip
    return image, drift


def aligned(frames: Sequence[Image], drift: FrameDrift) -> list[Image]:
    """The frames cut to what all of them show, moved by whole pixels."""
    ny, nx = frames[0].pixels.shape
    x, y = drift.shifted[:, 0], drift.shifted[:, 1]
    left, top = int(max(0, -x.min())), int(max(0, -y.min()))
    width, height = nx - left - int(max(0, x.max())), ny - top - int(max(0, y.max()))
    base = frames[0]
    area = None
    if base.area is not None:  # what is picture in every frame
        (r0, r1), (c0, c1) = base.area
        area = (
            (max(0, r0 - top - int(y.min())), min(height, r1 - top - int(y.max()))),
            (max(0, c0 - left - int(x.min())), min(width, c1 - left - int(x.max()))),
        )
    return [
        replace(
            frame, area=area, pixels=frame.pixels[top + dy : top + dy + height, left + dx : left + dx + width],
            origin=(base.origin[0] + top, base.origin[1] + left),
        )
        for frame, dx, dy in zip(frames, x, y, strict=True)
    ]  # fmt: skip


def cut_frames(frames: Sequence[Image], settings: SemLineSettings) -> tuple[list[Image], SemLineSettings]:
    """The frames cut to ``rows`` and ``columns`` of the settings, which then ask for all that is left: drift would move
    what they name."""
    if settings.rows is None and settings.columns is None:
        return list(frames), settings
    rows, columns = frames[0].measured_area(settings.rows, settings.columns)
    cut = [
        replace(
            frame, area=None, pixels=frame.pixels[slice(*rows), slice(*columns)],
            origin=(frame.origin[0] + rows[0], frame.origin[1] + columns[0]),
        )
        for frame in frames
    ]  # fmt: skip
    return cut, replace(settings, rows=None, columns=None)


def refuse_empty(frames: Sequence[Image]) -> None:
    """`DataError` for frames that hold no picture, or whose recording broke off: their zeros would enter the average.

    Rows of one grey level that all frames have (drawn ones) are no matter of frames.
    """
    flat = [int(np.count_nonzero(np.ptp(frame.pixels, axis=1) == 0)) for frame in frames]
    rows = frames[0].pixels.shape[0]
    for k, count in enumerate(flat, start=1):
        if count == rows or count - min(flat) > BROKEN * rows:
            raise DataError(
                "a frame is blank" if count == rows else "a frame is not complete", expected="frames of one field",
                got=f"{count} of {rows} rows of frame {k} hold one grey level", remedy="leave it out of the stack",
            )  # fmt: skip


def measure_frames(
    frames: Sequence[Image], settings: Any = None, *, instrument: Instrument | None = None
) -> SemLineResult:
    """`wafer.measure_sem_lines` of the average of the frames, with the roughness from products of frames added.

    Flags: ``frames_not_independent`` where frames share noise (`wafer.frame_noise`), or the products hold more than
    the fit (`shares_noise`); ``frame_drift_ambiguous`` where the content of a frame does not tell its drift from the
    same drift and a pitch; ``frames_differ`` where the products hold less than the fit. Raises as `cross_roughness`.
    """
    from wafer.lines.evaluate import SemLineSettings, measure_sem_lines

    if len(frames) < 2:
        raise _too_few(frames)
    settings = settings or SemLineSettings()
    _refuse_smoothing(settings)
    frames, settings = cut_frames(frames, settings)
    refuse_empty(frames)
    refuse_repeats(frames)
    drift = frame_drift(frames, orientation=settings.orientation)
    _refuse_far(frames, drift)
    image, _ = average_frames(frames, drift)
    try:
        result = measure_sem_lines(image, settings, instrument=instrument)
    except DataError:
        _refuse_odd(frames, settings)
        raise
    measurements, methods, facts = cross_roughness(frames, settings, instrument=instrument, drift=drift)
    spectra, arrays = _with_cross(result.spectra, facts.pop("cross_spectra"))
    missing = facts.pop("missing")
    flags = tuple(f for f in result.flags if f not in ("biased_roughness", "roughness_model_misfit"))
    every = {**result.measurements, **measurements}
    own = set()
    if facts["frames_alike"] or shares_noise(every):
        own.add("frames_not_independent")
    if differ(every, missing):
        own.add("frames_differ")
    if not drift.known.all():
        own.add("frame_drift_ambiguous")
    carried = {name: value.with_flags(*flags, *sorted(own)) for name, value in measurements.items()}
    # what the average shows of an edge hangs on the drift, too
    blurred = tuple(own & {"frame_drift_ambiguous", "frames_differ"})
    rough = {n: v.with_flags(*blurred) for n, v in result.measurements.items() if n.startswith(("sem.lwr", "sem.ler"))}
    return replace(
        result, flags=_flags.merge(result.flags, tuple(sorted(own))),
        measurements={**result.measurements, **rough, **carried}, methods={**result.methods, **methods},
        missing={**result.missing, **missing}, details={**result.details, **facts}, spectra=spectra,
        arrays={**result.arrays, **arrays},
    )  # fmt: skip


def _refuse_smoothing(settings: SemLineSettings) -> None:
    if settings.smoothing:
        raise ParameterError(
            "roughness is not measured in smoothed frames", got=settings.smoothing, remedy="leave smoothing out"
        )


def _refuse_far(frames: Sequence[Image], drift: FrameDrift) -> None:
    """`DataError` where hardly any of the field lies in all frames."""
    ny, nx = frames[0].pixels.shape
    span = np.ptp(drift.shifted, axis=0)
    if nx - span[0] < LEAST_COMMON * nx or ny - span[1] < LEAST_COMMON * ny:
        raise DataError(
            "the frames do not show the same field", expected=f"{LEAST_COMMON:.0%} of the field in all of them",
            got=f"a drift of {span[0]} px in x and {span[1]} px in y", remedy="leave out the frames that drifted most",
        )  # fmt: skip


def shares_noise(measurements: Mapping[str, Measured]) -> bool:
    """Whether the products of frames exceed the fit without noise by more than 4 of their combined uncertainties.

    Noise that frames share stays in their products; drift along the lines only lowers them, and is not meant.
    """
    for stem in ("lwr", "ler"):
        cross, fit = (measurements.get(f"sem.{stem}_{what}_1s") for what in ("cross", "unbiased_box"))
        if cross is None or fit is None:
            continue
        if cross.value - fit.value > SHARED_LIMIT * math.hypot(cross.u, fit.u):
            return True
    return False


def differ(measurements: Mapping[str, Measured], missing: Mapping[str, str]) -> bool:
    """Whether the fit without noise exceeds the products of frames by more than 4 of their combined uncertainties (of
    its own, where the products are not positive): the frames show edges that are not the same."""
    for stem in ("lwr", "ler"):
        cross, fit = (measurements.get(f"sem.{stem}_{what}_1s") for what in ("cross", "unbiased_box"))
        if fit is None or (cross is None and f"sem.{stem}_cross_1s" not in missing):
            continue
        value, u = (0.0, 0.0) if cross is None else (cross.value, cross.u)
        if fit.value - value > SHARED_LIMIT * math.hypot(u, fit.u):
            return True
    return False


def _with_cross(
    views: tuple[dict[str, Any], ...], curves: dict[str, dict[str, np.ndarray]]
) -> tuple[tuple[dict[str, Any], ...], dict[str, np.ndarray]]:
    """The views of the spectra with the names of the curves of the frames beside their own, and these curves."""
    out: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for view in views:
        mine = {f"sem/{view['name']}/psd/{k}": (k, v) for k, v in curves.get(view["name"], {}).items()}
        out.append({**view, "curves": {**view["curves"], **{k: key for key, (k, _) in mine.items()}}})
        arrays |= {key: v for key, (_, v) in mine.items()}
    return tuple(out), arrays


def cross_roughness(
    frames: Sequence[Image], settings: Any = None, *, instrument: Instrument | None = None,
    drift: FrameDrift | None = None,
) -> tuple[dict[str, Measured], dict[str, str], dict[str, Any]]:  # fmt: skip
    """Roughness within the measured length from products of different frames: (measurements, methods, facts).

    ``sem.lwr_cross_1s`` and ``sem.ler_cross_1s`` (and 3 s): root of the mean over lines and pairs of frames of
    ``sum_t a_t b_t / (N - 2)`` with the detrended residuals a and b of one edge in two frames: the expectation is the
    variance within the box, noise excluded, whatever its spectrum. Uncertainty from the scatter of the products between
    lines. Compares with ``unbiased_box``. The same products over frequency are in ``cross_spectra`` of the facts
    (`wafer.roughness.cross_curves`, arrays by "lwr" and "ler"), divided by the square of the share of its wander that
    an edge shows in this noise; what could not be measured is in ``missing``, with the reason.

    Frames are laid on the first by whole pixels of their ``drift`` (None: `frame_drift`), edges found in each, and the
    lines compared that all of them show.

    Raises `DataError` where a frame is blank, repeats another, or shows other lines, `ParameterError` for one frame.
    """
    from wafer.lines import places as _lines
    from wafer.lines.budget import scale_of
    from wafer.lines.evaluate import SemLineSettings, scope_of
    from wafer.lines.roughness import edge_gain
    from wafer.roughness import cross_curves, cross_spectra

    if len(frames) < 2:
        raise ParameterError("products of frames need two frames", got=str(len(frames)))
    settings = settings or SemLineSettings()
    _refuse_smoothing(settings)
    if drift is None:
        frames, settings = cut_frames(frames, settings)
        refuse_empty(frames)
        refuse_repeats(frames)
        drift = frame_drift(frames, orientation=settings.orientation)
        _refuse_far(frames, drift)
    image = frames[0]
    if image.pixel_size is None:
        raise ParameterError("the image has no pixel size", expected="pixel sizes in x and y with a unit")
    turned = settings.orientation == "horizontal"
    px, py = image.pixel_size[::-1] if turned else image.pixel_size
    alike = shared_noise(frames, drift.shifted, orientation=settings.orientation)
    found = _edges_of(aligned(frames, drift), settings)
    first = found[0]
    polarity = -1 if settings.lines == "dark" else 1
    index = same_edges(found)
    here = index[0] >= 0
    left = _lines.stripes(first, polarity)
    left = left[here[left] & here[left + 1]]
    rows = first.rows.size
    if left.size < 3 or rows < 64:
        raise DataError(
            "too little to average", expected="three complete lines, 64 rows that all frames show",
            got=f"{left.size} lines, {rows} rows",
        )  # fmt: skip
    y = np.arange(rows, dtype=np.float64)
    width, edge = [], []
    for one, at in zip(found, index, strict=True):
        begins, ends = one.x[at[left]], one.x[at[left + 1]]
        width.append(_lines.residuals(y, ends - begins, settings.detrend))
        edge.append(_lines.residuals(y, np.concatenate([begins, ends]), settings.detrend))
    scale = px / math.hypot(1.0, first.slope * px / py)
    dof = 2 if settings.detrend == "linear" else 1
    measurements: dict[str, Measured] = {}
    methods: dict[str, str] = {}
    facts: dict[str, Any] = {
        "frames": len(frames), "frame_shift_px": drift.shift.tolist(), "frame_smear_px": list(drift.smear),
        "frame_drift_known": [bool(k) for k in drift.known],
        "frame_noise_correlation": float(np.max(alike.correlation - np.eye(len(frames)))),
        "frames_alike": [list(pair) for pair in alike.pairs[:_WORST]],
    }  # fmt: skip
    row = scale_of(image, instrument, "y" if turned else "x")
    along_row = py / (scale / px)  # as the fit: along the lines
    facts["cross_spectra"], facts["missing"] = {}, {}
    for stem, parts, what in (("lwr", width, "widths"), ("ler", edge, "edges")):
        each = frame_products(np.stack(parts), dof)
        if stem == "lwr" and not alike.pairs:  # frames that share noise follow each other too well
            refuse_strangers(each, drift.known)
        products = pair_products(np.stack(parts), dof)
        spectra = cross_spectra(np.stack(parts))
        if stem == "ler":  # the two edges of a line are one piece of evidence
            products = 0.5 * (products[: left.size] + products[left.size :])
            spectra = 0.5 * (spectra[: left.size] + spectra[left.size :])
        products = products[np.isfinite(products)]
        mean = float(products.mean())
        if products.size < 3 or mean <= 0.0:
            facts["missing"] |= dict.fromkeys(
                (f"sem.{stem}_cross_1s", f"sem.{stem}_cross_3s"),
                "the products of frames are not positive: the frames share no roughness that is seen in their noise",
            )
            continue
        seen = math.sqrt(mean)
        gain, gain_u = edge_gain(first, seen * (1.0 if stem == "ler" else math.sqrt(0.5)))
        sigma = seen / gain
        if np.isfinite(spectra).all(axis=1).sum() >= 3:
            facts["cross_spectra"][stem] = cross_curves(spectra / gain**2, rows, along_row, scale)
        u = float(products.std(ddof=1)) / math.sqrt(products.size) / (2.0 * seen) / gain
        stem_id = f"{scope_of(image, settings.rows, settings.columns)}/{stem}/frames"
        causes = [
            (Influence(f"{stem_id}/sampling", "scatter of the products of frames between lines", "A",
                       float(products.size - 1)), u),
            (Influence(f"{stem_id}/gain", "share of its wander that an edge shows in this noise", "A"),
             sigma * gain_u / gain),
        ]  # fmt: skip
        if row is not None:
            causes.append((row.influence, sigma * row.relative))
        causes = [(c, part) for c, part in causes if part]
        for factor in (1, 3):
            f = factor * scale
            name = f"sem.{stem}_cross_{factor}s"
            measurements[name] = Measured(
                sigma * f, image.unit, {c.id: part * f for c, part in causes}, {c.id: c for c, _ in causes}, 0.0
            )
            methods[name] = (
                f"{factor} times the root of the mean product of the residuals of {products.size} {what} over all "
                f"pairs of {len(frames)} frames, {settings.detrend} detrend, {rows} rows; noise of the frames is "
                f"independent, no model of it; edges: {first.criterion_text} of each frame"
            )
    return measurements, methods, facts


def _refuse_odd(frames: Sequence[Image], settings: SemLineSettings) -> None:
    """Where the average shows no lines: an error that names the frame, if some frames have no edges and others do."""
    failed = []
    for k, frame in enumerate(frames, start=1):
        try:
            _edges_of([frame], settings, k)
        except DataError as error:
            failed.append(error)
    if failed and len(failed) < len(frames):
        raise failed[0]


def _edges_of(frames: Sequence[Image], settings: SemLineSettings, number: int = 1) -> list[EdgeSet]:
    """Edges of each frame; an error names the frame, counted from ``number``."""
    from wafer import edges as _edges
    from wafer.lines.evaluate import area_of

    turned = settings.orientation == "horizontal"
    found = []
    for k, frame in enumerate(frames, start=number):
        rows, columns = area_of(frame, settings)
        try:
            found.append(
                _edges.find_edges(
                    (frame.pixels.T if turned else frame.pixels)[:, slice(*columns)], criterion=settings.criterion,
                    level=settings.level, rows=rows, saturation_level=frame.saturation_level, seed=settings.seed,
                )
            )  # fmt: skip
        except DataError as error:
            raise DataError(
                f"frame {k}: {error.what}", expected=error.expected, got=error.got,
                remedy=f"{error.remedy}; or leave this frame out" if error.remedy else "leave this frame out",
            ) from error  # fmt: skip
    return found


def same_edges(found: Sequence[EdgeSet]) -> np.ndarray:
    """(frames, edges of the first) number of each edge of the first frame in every frame; -1 in all of them for an edge
    that one does not show. Raises `DataError` where a frame shows other lines."""
    first = found[0]
    index = np.tile(np.arange(first.seed.size), (len(found), 1))
    reach = 0.25 * float(np.median(np.diff(first.seed)))
    for k, other in enumerate(found[1:], start=1):
        nearest = np.argmin(np.abs(other.seed[None, :] - first.seed[:, None]), axis=1)
        fits = (np.abs(other.seed[nearest] - first.seed) < reach) & (other.polarity[nearest] == first.polarity)
        index[k] = np.where(fits, nearest, -1)
        # at the borders an edge may be complete in one frame only
        if int(fits.sum()) < max(first.seed.size, other.seed.size) - 4:
            raise DataError(
                "the frames do not show the same lines", expected="one field, the same edges in all frames",
                got=f"frame 1: {first.seed.size} edges, frame {k + 1}: {other.seed.size}, {int(fits.sum())} the same",
                remedy="cut the frames to what all of them show, or leave this frame out",
            )  # fmt: skip
    index[:, (index < 0).any(axis=0)] = -1
    return index


def refuse_strangers(each: np.ndarray, known: np.ndarray) -> None:
    """`DataError` where the residuals of a frame do not follow those of the others: another field of the same pattern.

    each: (frames, n) products of a frame with the others (`frame_products`), their scatter between lines tells chance.
    A frame whose place nothing told (not ``known``) is suspect before: two standard deviations then suffice.
    """
    frames, n = each.shape
    if frames < 3 or n < 3:
        return
    mean = np.nanmean(each, axis=1)
    u = np.nanstd(each, axis=1, ddof=1) / math.sqrt(n)
    usual = float(np.median(mean))
    chance = np.where(known, SHARED_LIMIT, 2.0) * np.hypot(u, float(np.median(u)))
    strange = np.flatnonzero((mean < 0.5 * usual) & (usual - mean > chance))
    if strange.size:
        raise DataError(
            "the frames do not show the same edges", expected="frames of one field",
            got=f"frame {strange[0] + 1}: its edges share {max(0.0, mean[strange[0]] / usual):.0%} of the roughness "
            "that the others share",
            remedy="leave this frame out: it shows another field, or jumped along the lines",
        )  # fmt: skip


def frame_products(residuals: np.ndarray, dof: int) -> np.ndarray:
    """(frames, n) mean over the other frames of ``sum_t a_t b_t / (N - dof)`` of each trace; as `pair_products`."""
    good = np.isfinite(residuals)
    values = np.where(good, residuals, 0.0)
    total = values.sum(axis=0)
    count = good.sum(axis=2) - dof
    with np.errstate(invalid="ignore", divide="ignore"):
        each = ((total - values) * values).sum(axis=2) / (len(residuals) - 1) / count
    return np.asarray(np.where(count > 0, each, np.nan))


def pair_products(residuals: np.ndarray, dof: int) -> np.ndarray:
    """Mean over the pairs of frames of ``sum_t a_t b_t / (N - dof)`` for each trace.

    ``residuals`` (frames, n, rows), NaN where lost. Rows lost in either frame of a pair are left out and N
    counts the others.
    """
    good = np.isfinite(residuals)
    values = np.where(good, residuals, 0.0)
    total = np.zeros(residuals.shape[1])
    pairs = 0
    for i in range(residuals.shape[0]):
        for j in range(i + 1, residuals.shape[0]):
            count = (good[i] & good[j]).sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                total += np.where(count > dof, (values[i] * values[j]).sum(axis=1) / (count - dof), np.nan)
            pairs += 1
    return total / max(pairs, 1)
