"""Repeated frames of one field: drift between them, their average, and roughness without a model of the noise.

The noise of two frames is independent, so the mean product of the residuals of an edge in two frames holds roughness
only (cross-spectrum summed over frequency): an estimate that needs no model of the noise, beside the fitted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured

if TYPE_CHECKING:
    from wafer.lines.evaluate import SemLineResult

MAX_FRAMES = 256
SHARED_LIMIT = 4.0  # combined standard uncertainties by which products may exceed the fit without noise


@dataclass(frozen=True, eq=False)
class FrameDrift:
    """Places of the frames against the first in pixels, (frames, 2): x and y. ``shifted`` whole pixels taken off before
    averaging; ``smear`` the rms of what is left, per axis."""

    shift: np.ndarray
    shifted: np.ndarray
    smear: tuple[float, float]


def read_frames(path: str | Path, **options: Any) -> tuple[Image, ...]:
    """All frames of a multi-page TIFF file or an HDF5 stack, as `wafer.read_image` reads one (``options``).

    Raises as `wafer.read_image`, and `DataError` for more than 256 frames or frames of different size.
    """
    from wafer.readers import read_image
    from wafer.readers.hdf5 import MAGIC, frame_count
    from wafer.readers.tiff import page_count

    file = Path(path)
    first = read_image(file, **options)
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
    shapes = {frame.pixels.shape for frame in frames}
    if len(shapes) > 1:
        raise DataError(
            "the frames have different sizes", expected="frames of one field",
            got=", ".join(str(s) for s in sorted(shapes)), remedy="split the file",
        )  # fmt: skip
    return tuple(frames)


def frame_drift(frames: Sequence[Image]) -> FrameDrift:
    """Drift of every frame against the first: vertex of the peak of the phase-free cross-correlation, sub-pixel.

    Along lines there is little to see: where the structure does not change in y, the shift in y follows the roughness.
    """
    first = _spectrum(frames[0].pixels)
    shape = frames[0].pixels.shape
    found = np.zeros((len(frames), 2))
    for k, frame in enumerate(frames[1:], start=1):
        correlation = np.fft.irfft2(np.conj(first) * _spectrum(frame.pixels), s=shape)
        reach = [max(1, s // 8) for s in shape]
        rows, columns = (np.arange(-r, r + 1) for r in reach)
        window = correlation[np.ix_(rows, columns)]
        y, x = np.unravel_index(int(np.argmax(window)), window.shape)
        found[k] = columns[x] + _vertex(window[y, :], int(x)), rows[y] + _vertex(window[:, x], int(y))
    whole = np.rint(found).astype(np.int64)
    rest = (found - whole) - (found - whole).mean(axis=0)
    smear = np.sqrt(np.mean(rest**2, axis=0))
    return FrameDrift(found, whole, (float(smear[0]), float(smear[1])))


def _spectrum(pixels: np.ndarray) -> np.ndarray:
    values = np.asarray(pixels, dtype=np.float64)
    window = np.multiply.outer(np.hanning(values.shape[0]), np.hanning(values.shape[1]))
    return np.fft.rfft2((values - values.mean()) * window)


def _vertex(values: np.ndarray, k: int) -> float:
    if not 0 < k < values.size - 1:
        return 0.0
    before, peak, after = (float(v) for v in values[k - 1 : k + 2])
    curvature = 2.0 * peak - before - after
    return 0.5 * (after - before) / curvature if curvature > 0.0 else 0.0


def average_frames(frames: Sequence[Image]) -> tuple[Image, FrameDrift]:
    """Mean of the frames over the area that all of them show, each moved by whole pixels (no interpolation, so that the
    noise stays independent from pixel to pixel); what is left of the drift smears edges and is in `FrameDrift.smear`.
    """
    if len(frames) < 2:
        raise ParameterError("an average needs two frames", got=str(len(frames)))
    drift = frame_drift(frames)
    ny, nx = frames[0].pixels.shape
    x, y = drift.shifted[:, 0], drift.shifted[:, 1]
    left, top = int(max(0, -x.min())), int(max(0, -y.min()))
    width, height = nx - left - int(max(0, x.max())), ny - top - int(max(0, y.max()))
    total = np.zeros((height, width))
    for frame, dx, dy in zip(frames, x, y, strict=True):
        total += frame.pixels[top + dy : top + dy + height, left + dx : left + dx + width]
    base = frames[0]
    area = None
    if base.area is not None:  # what is picture in every frame
        (r0, r1), (c0, c1) = base.area
        area = (
            (max(0, r0 - top - int(y.min())), min(height, r1 - top - int(y.max()))),
            (max(0, c0 - left - int(x.min())), min(width, c1 - left - int(x.max()))),
        )
    image = replace(
        base, area=area, pixels=total / len(frames), flags=_flags.merge(*(f.flags for f in frames)),
        origin=(base.origin[0] + top, base.origin[1] + left),
        metadata={**base.metadata, "frames": str(len(frames)), "frame_smear_px": "{:.3g}, {:.3g}".format(*drift.smear)},
    )  # fmt: skip
    return image, drift


def refuse_repeats(frames: Sequence[Image]) -> None:
    """`DataError` where two frames are equal pixel by pixel, or but for a constant: their noise is one and the same."""
    few = [np.asarray(f.pixels).ravel()[:: max(1, f.pixels.size // 1024)].astype(np.float64) for f in frames]
    for j in range(1, len(frames)):
        for i in range(j):
            if not _same(few[i], few[j]):  # spares the whole frames of nearly every pair
                continue
            if _same(np.asarray(frames[i].pixels, np.float64), np.asarray(frames[j].pixels, np.float64)):
                raise DataError(
                    "the stack repeats a frame", expected="frames scanned one by one, each with noise of its own",
                    got=f"frames {i + 1} and {j + 1} are equal, or differ by a constant only",
                    remedy="leave the repeats out; one image is measured without frames",
                )  # fmt: skip


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal but for a constant, within the rounding of single precision."""
    if a.shape != b.shape:
        return False
    return float(np.ptp(a - b)) <= 1e-6 * max(float(np.abs(a).max()), float(np.abs(b).max()))


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


def measure_frames(
    frames: Sequence[Image], settings: Any = None, *, instrument: Instrument | None = None
) -> SemLineResult:
    """`wafer.measure_sem_lines` of the average of the frames, with the roughness from products of frames added.

    ``frames_not_independent`` where the products hold noise that the frames share (`shares_noise`).
    """
    from wafer.lines.evaluate import measure_sem_lines

    image, _ = average_frames(frames)
    result = measure_sem_lines(image, settings, instrument=instrument)
    measurements, methods, facts = cross_roughness(frames, settings, instrument=instrument)
    spectra, arrays = _with_cross(result.spectra, facts.pop("cross_spectra"))
    flags = tuple(f for f in result.flags if f not in ("biased_roughness", "roughness_model_misfit"))
    shared = ("frames_not_independent",) if shares_noise({**result.measurements, **measurements}) else ()
    carried = {name: value.with_flags(*flags, *shared) for name, value in measurements.items()}
    return replace(
        result, flags=_flags.merge(result.flags, shared),
        measurements={**result.measurements, **carried}, methods={**result.methods, **methods},
        details={**result.details, **facts}, spectra=spectra, arrays={**result.arrays, **arrays},
    )  # fmt: skip


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
    frames: Sequence[Image], settings: Any = None, *, instrument: Instrument | None = None
) -> tuple[dict[str, Measured], dict[str, str], dict[str, Any]]:
    """Roughness within the measured length from products of different frames: (measurements, methods, facts).

    ``sem.lwr_cross_1s`` and ``sem.ler_cross_1s`` (and 3 s): root of the mean over lines and pairs of frames of
    ``sum_t a_t b_t / (N - 2)`` with the detrended residuals a and b of one edge in two frames: the expectation is the
    variance within the box, noise excluded, whatever its spectrum. Drift along the lines between frames lowers it.
    Uncertainty from the scatter of the products between lines. Compares with ``unbiased_box``. The same products over
    frequency are in ``cross_spectra`` of the facts (`wafer.roughness.cross_curves`, arrays by "lwr" and "ler"), divided
    by the square of the share of its wander that an edge shows in this noise.

    Raises `DataError` where the frames do not show the same lines or repeat one another, `ParameterError` for one
    frame.
    """
    from wafer import edges as _edges
    from wafer.lines import places as _lines
    from wafer.lines.budget import scale_of
    from wafer.lines.evaluate import SemLineSettings, area_of, scope_of
    from wafer.lines.roughness import edge_gain
    from wafer.roughness import cross_curves, cross_spectra

    if len(frames) < 2:
        raise ParameterError("products of frames need two frames", got=str(len(frames)))
    settings = settings or SemLineSettings()
    if settings.smoothing:
        raise ParameterError(
            "roughness is not measured in smoothed frames", got=settings.smoothing, remedy="leave smoothing out"
        )
    refuse_repeats(frames)
    image = frames[0]
    if image.pixel_size is None:
        raise ParameterError("the image has no pixel size", expected="pixel sizes in x and y with a unit")
    turned = settings.orientation == "horizontal"
    px, py = image.pixel_size[::-1] if turned else image.pixel_size
    drift = frame_drift(frames)
    rows_used, used = area_of(image, settings)
    found = [
        _edges.find_edges(
            (frame.pixels.T if turned else frame.pixels)[:, slice(*used)], criterion=settings.criterion,
            level=settings.level, rows=rows_used, saturation_level=frame.saturation_level, seed=settings.seed,
        )
        for frame in frames
    ]  # fmt: skip
    first = found[0]
    move = drift.shift[:, 1 if turned else 0]
    along = drift.shifted[:, 0 if turned else 1]
    polarity = 1 if settings.lines == "bright" else -1
    reach = 0.25 * float(np.median(np.diff(first.seed)))
    for other, dx in zip(found[1:], move[1:], strict=True):
        same = other.seed.size == first.seed.size and np.array_equal(other.polarity, first.polarity)
        if not same or float(np.max(np.abs(other.seed - first.seed - dx))) > reach:
            raise DataError(
                "the frames do not show the same lines", expected="one field, drift below a quarter of a stripe",
                got=f"{first.seed.size} and {other.seed.size} edges", remedy="cut the frames to what all of them show",
            )  # fmt: skip
    top, bottom = int(max(0, -along.min())), int(max(0, along.max()))
    rows = first.rows.size - top - bottom
    left = _lines.stripes(first, polarity)
    if left.size < 3 or rows < 64:
        raise DataError(
            "too little to average", expected="three complete lines, 64 rows that all frames show",
            got=f"{left.size} lines, {rows} rows",
        )  # fmt: skip
    y = np.arange(rows, dtype=np.float64)
    both = np.concatenate([left, left + 1])
    width, edge = [], []
    for one, dy in zip(found, along, strict=True):
        x = one.x[:, top + dy : top + dy + rows]
        width.append(_lines.residuals(y, x[left + 1] - x[left], settings.detrend))
        edge.append(_lines.residuals(y, x[both], settings.detrend))
    scale = px / math.hypot(1.0, first.slope * px / py)
    dof = 2 if settings.detrend == "linear" else 1
    measurements: dict[str, Measured] = {}
    methods: dict[str, str] = {}
    facts: dict[str, Any] = {
        "frames": len(frames), "frame_shift_px": drift.shift.tolist(), "frame_smear_px": list(drift.smear)
    }  # fmt: skip
    row = scale_of(image, instrument, "y" if turned else "x", px, None if image.pixel_size_u is None else
                   (image.pixel_size_u[::-1] if turned else image.pixel_size_u))  # fmt: skip
    along_row = py / (scale / px)  # as the fit: along the lines
    facts["cross_spectra"] = {}
    for stem, parts, what in (("lwr", width, "widths"), ("ler", edge, "edges")):
        products = pair_products(np.stack(parts), dof)
        spectra = cross_spectra(np.stack(parts))
        if stem == "ler":  # the two edges of a line are one piece of evidence
            products = 0.5 * (products[: left.size] + products[left.size :])
            spectra = 0.5 * (spectra[: left.size] + spectra[left.size :])
        products = products[np.isfinite(products)]
        mean = float(products.mean())
        if products.size < 3 or mean <= 0.0:
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
