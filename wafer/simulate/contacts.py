"""Simulated SEM images of contacts and pillars with known truth.

Another model than the evaluation's: the pattern is drawn on a grid several times finer than the pixels as areas with
blooms that fall off with the distance from the contour, blurred there by the beam, and averaged over each pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from wafer.simulate.disturb import charged, distorted

FINE = 4  # points per pixel along each axis
_MODES = 12  # highest Fourier mode of a simulated contour


@dataclass(frozen=True)
class ContactModel:
    """Everything that makes a simulated image of closed features. Lengths in nm, grey levels in counts.

    ``pitch`` lattice constants along a and b, ``skew`` angle between them in degrees; ``diameter`` mean, ``cdu`` its
    standard deviation between features; ``elongation`` (largest less smallest diameter) and its direction
    ``elongation_angle`` in degrees; ``roughness`` standard deviation of the contour (modes 3 and up, falling with the
    mode number); ``placement`` standard deviation of the centres along each axis. ``missing``, ``merged`` numbers of
    features to leave out, of pairs to join by a bridge. ``bright`` pillars, else holes. ``blur`` beam; ``bloom`` and
    ``bloom_length`` of the edge brightness on the high side; ``electrons_per_grey`` Poisson noise (inf: none),
    ``read_noise`` Gaussian. ``shading`` relative change of brightness across the image; ``charging`` (share of the
    step, with ``charging_length`` in nm) and ``distortion`` (x, y; nm at the borders) as `wafer.simulate.disturb` says;
    the truth holds the distorted centres.
    """

    shape: tuple[int, int] = (384, 384)
    pixel: tuple[float, float] = (0.9, 0.9)
    pitch: tuple[float, float] = (44.0, 44.0)
    skew: float = 90.0
    rotation: float = 1.5
    diameter: float = 26.0
    cdu: float = 0.8
    elongation: float = 0.0
    elongation_angle: float = 30.0
    roughness: float = 0.3
    placement: float = 0.5
    missing: int = 0
    merged: int = 0
    bright: bool = False
    blur: float = 2.0
    low_level: float = 50.0
    high_level: float = 140.0
    bloom: float = 0.2
    bloom_length: float = 3.0
    electrons_per_grey: float = 1.0
    read_noise: float = 2.0
    shading: float = 0.0
    bits: int = 8
    charging: float = 0.0
    charging_length: float = 40.0
    distortion: tuple[float, float] = (0.0, 0.0)

    def check(self) -> None:
        """Raise `ParameterError` where the model cannot be drawn."""
        if min(self.shape) < 16 or min(self.pixel) <= 0.0 or self.blur <= 0.0 or self.bits not in (8, 16):
            raise ParameterError(
                "the image needs 16 x 16 pixels, a pixel size, a blur, 8 or 16 bits", got=f"{self.shape}"
            )
        if not 0.0 < self.diameter < min(self.pitch):
            raise ParameterError("features must be smaller than their pitch", got=f"{self.diameter}, {self.pitch}")


@dataclass(frozen=True, eq=False)
class ContactImage:
    """A simulated image and its truth: ``pixels``; ``centre`` (k, 2) in pixels, ``diameter`` (k,) mean diameters and
    ``area`` (k,) in nm of the drawn features, ``index`` (k, 2) their lattice indices; ``state`` of every feature drawn
    (``found``, ``merged``), and in ``truth`` the numbers of the model and of this sample."""

    pixels: np.ndarray
    centre: np.ndarray
    diameter: np.ndarray
    area: np.ndarray
    index: np.ndarray
    state: tuple[str, ...]
    missing: np.ndarray
    model: ContactModel
    seed: int
    truth: dict[str, Any] = field(default_factory=dict)


def simulate_contacts(model: ContactModel | None = None, *, seed: int, **changes: Any) -> ContactImage:
    """Draw an image of features on a lattice; ``changes`` replace fields of the model; fixed by ``seed``."""
    from scipy.ndimage import gaussian_filter

    model = replace(model or ContactModel(), **changes)
    model.check()
    shape_stream, noise_stream = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2)
    )
    ny, nx = model.shape
    px, py = model.pixel
    index, nominal = _sites(model)
    n = len(index)
    centre = nominal + model.placement * shape_stream.standard_normal((n, 2))
    # a contact is small against the field: it moves as a whole
    centre = np.column_stack(
        (distorted(centre[:, 0], nx * px, model.distortion[0]), distorted(centre[:, 1], ny * py, model.distortion[1]))
    )
    mean = model.diameter + model.cdu * shape_stream.standard_normal(n)
    modes = _modes(model, n, shape_stream)
    inside = np.flatnonzero(
        (nominal > 1.2 * model.diameter).all(axis=1)
        & (nominal[:, 0] < nx * px - 1.2 * model.diameter)
        & (nominal[:, 1] < ny * py - 1.2 * model.diameter)
    )
    chosen = shape_stream.permutation(inside)
    gone = chosen[: model.missing]
    bridges = _bridges(model, index, chosen[model.missing :], inside)
    pad = math.ceil(4.0 * model.blur / min(px, py)) + 2
    fine = np.zeros(((ny + 2 * pad) * FINE, (nx + 2 * pad) * FINE))
    glow = np.zeros_like(fine)
    drawn = np.setdiff1d(np.arange(n), gone)
    for i in drawn:
        _draw(fine, glow, model, centre[i], 0.5 * mean[i], modes[i], pad)
    for a, b in bridges:
        _bridge(fine, model, centre[a], centre[b], pad)
    # edge brightness lies on the bright side: on the pillars, or on the ground between the holes
    fine += glow * fine if model.bright else -glow * (1.0 - fine)
    blurred = gaussian_filter(fine, (model.blur / py * FINE, model.blur / px * FINE), truncate=5.0)
    inner = blurred[pad * FINE : -pad * FINE, pad * FINE : -pad * FINE]
    level = inner.reshape(ny, FINE, nx, FINE).mean(axis=(1, 3))
    step = model.high_level - model.low_level
    signal = model.low_level + step * level if model.bright else model.high_level - step * level
    if model.shading:
        signal = signal * (1.0 + model.shading * (np.arange(nx) / (nx - 1.0) - 0.5))
    signal = charged(signal, model.charging, model.charging_length / px, step)
    pixels = _expose(model, signal, noise_stream)
    joined = {int(k) for pair in bridges for k in pair}
    state = tuple("merged" if int(i) in joined else "found" for i in drawn)
    amplitude = 0.5 * np.sum(modes[drawn] ** 2, axis=(1, 2))
    area = math.pi * ((0.5 * mean[drawn]) ** 2 + amplitude)
    truth = {
        "unit": "nm",
        "pitch_a": model.pitch[0],
        "pitch_b": model.pitch[1],
        "diameter": model.diameter,
        "lcdu_1s": model.cdu,
        "placement_1s": model.placement,
        "cer_1s": model.roughness,
        "elongation": model.elongation,
    }
    return ContactImage(
        pixels, centre[drawn] / (px, py) - 0.5, mean[drawn], area, index[drawn], state, index[gone], model, seed, truth
    )


def _sites(model: ContactModel) -> tuple[np.ndarray, np.ndarray]:
    """Indices and places (nm) of all sites that touch the image."""
    ny, nx = model.shape
    px, py = model.pixel
    turn = math.radians(model.rotation)
    a = model.pitch[0] * np.array((math.cos(turn), math.sin(turn)))
    b = model.pitch[1] * np.array(
        (math.cos(turn + math.radians(model.skew)), math.sin(turn + math.radians(model.skew)))
    )
    reach = int(2.0 * math.hypot(nx * px, ny * py) / min(model.pitch)) + 2
    i, j = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1), indexing="ij")
    index = np.column_stack((i.ravel(), j.ravel()))
    place = np.array((0.31 * model.pitch[0], 0.43 * model.pitch[1])) + index[:, :1] * a + index[:, 1:] * b
    near = (place > -model.diameter).all(axis=1) & (place < np.array((nx * px, ny * py)) + model.diameter).all(axis=1)
    return index[near], place[near]


def _modes(model: ContactModel, n: int, stream: np.random.Generator) -> np.ndarray:
    """(n, K, 2) amplitudes in nm from mode 2 on; the variance of the roughness falls as 1/k^2 from mode 3 on."""
    modes = np.zeros((n, _MODES - 1, 2))
    k = np.arange(3, _MODES + 1)
    share = k**-2.0 / np.sum(k**-2.0)
    modes[:, 1:] = model.roughness * np.sqrt(share)[None, :, None] * stream.standard_normal((n, len(k), 2))
    angle = 2.0 * math.radians(model.elongation_angle)
    modes[:, 0] = 0.25 * model.elongation * np.array((math.cos(angle), math.sin(angle)))
    return modes


def _patch(
    fine: np.ndarray, model: ContactModel, low: np.ndarray, high: np.ndarray, pad: int
) -> tuple[slice, slice, np.ndarray, np.ndarray] | None:
    """Part of the fine grid that covers a box in nm, with the coordinates of its points."""
    px, py = model.pixel
    x0, x1 = int((low[0] / px + pad) * FINE), int((high[0] / px + pad) * FINE) + 2
    y0, y1 = int((low[1] / py + pad) * FINE), int((high[1] / py + pad) * FINE) + 2
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, fine.shape[1]), min(y1, fine.shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    x = ((np.arange(x0, x1) + 0.5) / FINE - pad) * px
    y = ((np.arange(y0, y1) + 0.5) / FINE - pad) * py
    return slice(y0, y1), slice(x0, x1), x, y


def _draw(
    fine: np.ndarray,
    glow: np.ndarray,
    model: ContactModel,
    centre: np.ndarray,
    radius: float,
    modes: np.ndarray,
    pad: int,
) -> None:
    """Lay one feature into the fine grids: 1 inside; the bloom on both sides of its contour, to be cut later."""
    reach = radius + 4.0 * model.roughness + model.elongation + 6.0 * model.bloom_length + 2.0
    part = _patch(fine, model, centre - reach, centre + reach, pad)
    if part is None:
        return
    rows, columns, x, y = part
    dx, dy = np.meshgrid(x - centre[0], y - centre[1])
    theta = np.arctan2(dy, dx)
    at = np.linspace(-math.pi, math.pi, 2881)  # between two of these a contour bends by less than 1e-4 of its modes
    k = np.arange(2, len(modes) + 2)
    table = radius + np.cos(at[:, None] * k) @ modes[:, 0] + np.sin(at[:, None] * k) @ modes[:, 1]
    contour = np.interp(theta, at, table)
    into = contour - np.hypot(dx, dy)  # distance into the feature
    cell = math.hypot(*model.pixel) / FINE / math.sqrt(2.0)
    cover = np.clip(into / cell + 0.5, 0.0, 1.0)  # share of a fine cell: no staircase
    fine[rows, columns] = np.maximum(fine[rows, columns], cover)
    glow[rows, columns] += model.bloom * np.exp(-np.abs(into) / model.bloom_length)


def _bridge(fine: np.ndarray, model: ContactModel, one: np.ndarray, other: np.ndarray, pad: int) -> None:
    """Join two features by a bar half as wide as a feature."""
    width = 0.25 * model.diameter
    part = _patch(fine, model, np.minimum(one, other) - width, np.maximum(one, other) + width, pad)
    if part is None:
        return
    rows, columns, x, y = part
    along = (other - one) / np.hypot(*(other - one))
    dx, dy = np.meshgrid(x - one[0], y - one[1])
    t, s = dx * along[0] + dy * along[1], np.abs(-dx * along[1] + dy * along[0])
    bar = (t >= 0.0) & (t <= np.hypot(*(other - one))) & (s <= width)
    fine[rows, columns] = np.where(bar, 1.0, fine[rows, columns])


def _bridges(model: ContactModel, index: np.ndarray, order: np.ndarray, inside: np.ndarray) -> list[tuple[int, int]]:
    where = {tuple(row): i for i, row in enumerate(index.tolist())}
    allowed = set(inside.tolist()) & set(order.tolist())
    used: set[int] = set()
    found: list[tuple[int, int]] = []
    for i in order.tolist():
        if len(found) == model.merged:
            break
        j = where.get((int(index[i, 0]) + 1, int(index[i, 1])))
        if j is not None and i in allowed and j in allowed and not {i, j} & used:
            used |= {i, j}
            found.append((i, j))
    return found


def _expose(model: ContactModel, signal: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    grey = signal
    if math.isfinite(model.electrons_per_grey):
        grey = stream.poisson(np.maximum(signal, 0.0) * model.electrons_per_grey) / model.electrons_per_grey
    if model.read_noise:
        grey = grey + model.read_noise * stream.standard_normal(signal.shape)
    top = float(2**model.bits - 1)
    return np.clip(np.rint(grey), 0.0, top).astype(np.uint8 if model.bits == 8 else np.uint16)
