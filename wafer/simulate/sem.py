"""Simulated CD-SEM images of lines and spaces with known truth.

The image model is deliberately another one than the evaluation uses: a step with two-sided exponential blooms,
convolved with a Gaussian beam, against thresholds and logistic curves there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from wafer.kernels.render import render_edges
from wafer.simulate.disturb import charged, distorted
from wafer.simulate.line_defects import LineDefect, rows_of, with_defects
from wafer.simulate.roughness import rough_lines

_TABLE_STEP = 1.0 / 64.0


@dataclass(frozen=True)
class SemModel:
    """Everything that makes a simulated line/space image. Lengths in nm, grey levels in counts of the image.

    ``pitch``, ``cd`` (line width), ``pixel`` (x, y); ``sigma``, ``correlation_length``, ``hurst`` describe one edge
    (1 s; length along the line); ``left_right_correlation`` joins the two edges of a line. ``blur`` is the standard
    deviation of the beam in nm. ``bloom_inside/outside`` are the heights of the edge brightness relative to the step
    and ``bloom_length_inside/outside`` their decay in nm. ``electrons_per_grey`` sets the Poisson noise (inf: none),
    ``read_noise`` adds Gaussian noise in grey levels. ``tilt`` is the slope of the lines (x per y, both in nm),
    ``drift`` the total shift of x over the frame and ``jitter`` the 1 s shift of single rows, in nm.
    ``pitch_walk`` is the difference of alternate centre distances in nm. ``offset`` moves the pattern in nm.
    ``charging`` (share of the step, with ``charging_length`` in nm) leaves a trail along the rows, ``distortion`` bends
    the field by that many nm at its left and right border (`wafer.simulate.disturb`); the truth knows the second.
    ``bridges`` close the space behind a line, ``breaks`` interrupt one (`wafer.simulate.line_defects`); the edges of
    the truth go through them.
    """

    shape: tuple[int, int] = (512, 512)
    pixel: tuple[float, float] = (0.8, 0.8)
    pitch: float = 32.0
    cd: float = 16.0
    sigma: float = 0.8
    correlation_length: float = 10.0
    hurst: float = 0.6
    left_right_correlation: float = 0.0
    blur: float = 1.6
    space_level: float = 50.0
    line_level: float = 140.0
    bloom_inside: float = 0.25
    bloom_outside: float = 0.05
    bloom_length_inside: float = 2.5
    bloom_length_outside: float = 1.5
    electrons_per_grey: float = 1.0
    read_noise: float = 2.0
    tilt: float = 0.0
    drift: float = 0.0
    jitter: float = 0.0
    pitch_walk: float = 0.0
    offset: float = 0.0
    bits: int = 8
    lines_bright: bool = True
    charging: float = 0.0
    charging_length: float = 40.0
    distortion: float = 0.0
    bridges: tuple[LineDefect, ...] = ()
    breaks: tuple[LineDefect, ...] = ()

    def check(self) -> None:
        """Raise `ParameterError` where the model cannot be drawn."""
        ny, nx = self.shape
        if ny < 2 or nx < 2 or min(self.pixel) <= 0.0:
            raise ParameterError("the image needs two rows, two columns and a pixel size", got=f"{self.shape}")
        if not 0.0 < self.cd < self.pitch:
            raise ParameterError("the line must be narrower than the pitch", got=f"cd={self.cd}, pitch={self.pitch}")
        if self.blur <= 0.0 or self.bits not in (8, 16):
            raise ParameterError("blur must be positive and bits 8 or 16", got=f"blur={self.blur}, bits={self.bits}")


@dataclass(frozen=True, eq=False)
class SemImage:
    """A simulated image and its truth.

    ``pixels`` (ny, nx) uint8 or uint16; ``left`` and ``right`` (n_lines, ny): true positions of the line edges in
    pixels as they lie in the image (with tilt, drift and jitter), lines that reach outside included.
    """

    pixels: np.ndarray
    left: np.ndarray
    right: np.ndarray
    model: SemModel
    seed: int
    saturated: int = 0
    truth: dict[str, Any] = field(default_factory=dict)


def simulate_lines(model: SemModel | None = None, *, seed: int, **changes: Any) -> SemImage:
    """Draw an image of vertical lines and spaces; ``changes`` replace fields of the model; fixed by ``seed``."""
    model = replace(model or SemModel(), **changes)
    model.check()
    ny, nx = model.shape
    px, py = model.pixel
    rough_stream, row_stream, noise_stream = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(3)
    )
    common = _row_shift(model, row_stream)
    slack = float(np.ptp(common)) + 6.0 * model.sigma + model.pitch
    first = math.floor((-slack - model.offset) / model.pitch)
    last = math.ceil((nx * px + slack - model.offset) / model.pitch)
    index = np.arange(first, last + 1)
    centre = model.offset + (index + 0.5) * model.pitch + 0.25 * model.pitch_walk * np.where(index % 2 == 0, 1.0, -1.0)
    rough_left, rough_right = rough_lines(
        index.size,
        ny,
        sigma=model.sigma,
        correlation_length=model.correlation_length / py,
        hurst=model.hurst,
        left_right_correlation=model.left_right_correlation,
        rng=rough_stream,
    )
    left = distorted(centre[:, None] - 0.5 * model.cd + rough_left + common, nx * px, model.distortion) / px
    right = distorted(centre[:, None] + 0.5 * model.cd + rough_right + common, nx * px, model.distortion) / px
    # Complete lines only, so that means over lines compare like with like.
    inside = (left.min(axis=1) >= 0.0) & (right.max(axis=1) <= nx - 1.0)
    signal = _render(model, left, right, np.flatnonzero(inside))
    signal = charged(signal, model.charging, model.charging_length / px, model.line_level - model.space_level)
    pixels, saturated = _expose(model, signal, noise_stream)
    width = (right - left) * px
    cosine = 1.0 / math.hypot(1.0, model.tilt)
    truth: dict[str, Any] = {
        "unit": "nm",
        "pitch": model.pitch * cosine,
        "cd_line": model.cd * cosine,
        "cd_space": (model.pitch - model.cd) * cosine,
        "pitch_walk": abs(model.pitch_walk) * cosine,
        "ler_1s": model.sigma * cosine,
        "lwr_1s": model.sigma * math.sqrt(2.0 * (1.0 - model.left_right_correlation)) * cosine,
        "cd_line_in_image": float(width[inside].mean() * cosine) if inside.any() else None,
        "complete_lines": int(inside.sum()),
        "bridges": rows_of(model.bridges, py),
        "breaks": rows_of(model.breaks, py),
    }
    return SemImage(pixels, left, right, model, seed, saturated, truth)


def simulate_blank(model: SemModel | None = None, *, seed: int, **changes: Any) -> SemImage:
    """An image without any structure: the space level with the noise of the model."""
    model = replace(model or SemModel(), **changes)
    model.check()
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    pixels, saturated = _expose(model, np.full(model.shape, model.space_level), stream)
    none = np.empty((0, model.shape[0]))
    return SemImage(pixels, none, none, model, seed, saturated, {"unit": "nm", "blank": True, "complete_lines": 0})


def edge_response(model: SemModel, half: float) -> np.ndarray:
    """Response to one edge of step 1, from ``-half`` to ``+half`` pixels into the line, in steps of 1/64 px.

    The sum over both edges of a line, minus one, is the line: 0 far outside, 1 far inside.
    """
    px = model.pixel[0]
    s = model.blur / px
    u = np.arange(-half, half + 0.5 * _TABLE_STEP, _TABLE_STEP)
    erf = np.vectorize(math.erf, otypes=[np.float64])
    response = 0.5 * (1.0 + erf(u / (s * math.sqrt(2.0))))
    # Exponential blooms convolved with the Gaussian beam: numerically, on the table's own grid.
    pad = math.ceil(6.0 * s / _TABLE_STEP)
    wide = np.arange(-pad, u.size + pad) * _TABLE_STEP - half
    inner = model.bloom_inside * np.where(
        wide > 0.0, np.exp(-np.maximum(wide, 0.0) * px / model.bloom_length_inside), 0.0
    )
    outer = model.bloom_outside * np.where(
        wide < 0.0, np.exp(np.minimum(wide, 0.0) * px / model.bloom_length_outside), 0.0
    )
    taps = np.arange(-pad, pad + 1) * _TABLE_STEP / s
    beam = np.exp(-0.5 * taps**2)
    bloom = np.convolve(inner + outer, beam / beam.sum(), mode="valid")
    return response + bloom


def threshold_offset(model: SemModel, level: float = 0.5) -> float:
    """How far outside the true edge a threshold at ``level`` between space minimum and line maximum lies, in nm.

    From the noise-free cross-section of straight lines of this model: the method offset of the criterion, which a
    width measured with it carries twice.
    """
    px = model.pixel[0]
    half = 1.5 * model.pitch / px
    table = edge_response(model, half)
    u = np.linspace(-half, half, table.size)
    # One line period around the left edge of a line, the neighbours at their places.
    x = np.arange(-0.5 * (model.pitch - model.cd), 0.5 * model.cd, 0.005 * px) / px
    total = np.zeros_like(x)
    for k in (-1, 0, 1):
        left = k * model.pitch / px
        right = left + model.cd / px
        inside = np.interp(x - left, u, table, left=0.0, right=1.0)
        inside += np.interp(right - x, u, table, left=0.0, right=1.0)
        total += inside - 1.0
    low, high = float(total.min()), float(total.max())
    target = low + level * (high - low)
    peak = int(np.argmax(total))
    k = int(np.flatnonzero(total[: peak + 1] < target)[-1])
    t = (target - total[k]) / (total[k + 1] - total[k])
    return -float(x[k] + t * (x[k + 1] - x[k])) * px


def _row_shift(model: SemModel, stream: np.random.Generator) -> np.ndarray:
    ny = model.shape[0]
    y = (np.arange(ny) - 0.5 * (ny - 1)) * model.pixel[1]
    shift = model.tilt * y
    if model.drift:
        shift = shift + model.drift * (np.arange(ny) / max(ny - 1, 1) - 0.5)
    if model.jitter:
        shift = shift + model.jitter * stream.standard_normal(ny)
    return shift


def _render(model: SemModel, left: np.ndarray, right: np.ndarray, complete: np.ndarray) -> np.ndarray:
    px = model.pixel[0]
    reach = 6.0 * model.blur + 8.0 * max(
        model.bloom_length_inside if model.bloom_inside else 0.0,
        model.bloom_length_outside if model.bloom_outside else 0.0,
    )
    half = math.ceil(reach / px) + 1.0
    table = edge_response(model, half)
    shape = np.zeros(model.shape)
    edges = np.ascontiguousarray(np.concatenate([left, right]))
    sign = np.concatenate([np.ones(left.shape[0]), -np.ones(right.shape[0])])
    render_edges(edges, sign, table, half, _TABLE_STEP, 0, model.shape[0], np.empty(model.shape[1] + 1), shape)
    shape = with_defects(
        shape, left, right, complete, model.bridges, model.breaks, (model.blur / px, model.blur / model.pixel[1]),
        model.pixel[1], reach / px,
    )  # fmt: skip
    if not model.lines_bright:
        shape = 1.0 - shape
    return model.space_level + (model.line_level - model.space_level) * shape


def _expose(model: SemModel, signal: np.ndarray, stream: np.random.Generator) -> tuple[np.ndarray, int]:
    grey = signal
    if math.isfinite(model.electrons_per_grey):
        mean = np.maximum(signal, 0.0) * model.electrons_per_grey
        grey = stream.poisson(mean) / model.electrons_per_grey
    if model.read_noise:
        grey = grey + model.read_noise * stream.standard_normal(signal.shape)
    top = float(2**model.bits - 1)
    counts = np.rint(grey)
    saturated = int(np.count_nonzero((counts < 0.0) | (counts > top)))
    return np.clip(counts, 0.0, top).astype(np.uint8 if model.bits == 8 else np.uint16), saturated
