"""The static picture of a deviation map: orthographic, hidden points removed, without a graphics library.

It stands where scripts or WebGL do not run, and on paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.report import colour, nominal
from pipelines.report.cloud import CloudView
from pipelines.report.encode import png

SHADES = 16
_NO_DATA = len(colour.BANDS)  # comes after the bands in the palette
_MOST_GREY = 400_000  # points of the nominal: enough to leave no hole at the size of the picture
_LIGHT = np.array([-0.35, 0.55, 0.76])  # from the upper left, towards the viewer


@dataclass(frozen=True)
class Picture:
    """A PNG and where chosen points fall on it, in pixels; ``pixel`` is the length of one pixel in the map's unit."""

    body: bytes
    width: int
    height: int
    marks: dict[int, tuple[float, float]]
    pixel: float


def camera(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Rotation part -> screen (x right, y up, z to the viewer); z of the part is up. Angles in degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    out = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    return np.stack([right, np.cross(out, right), out])


def _palette() -> NDArray[np.uint8]:
    """Bands x shades, then the background: at most 256 colours, so that the picture is small."""
    shade = np.linspace(0.62, 1.0, SHADES)
    bands = (*colour.BANDS, colour.NO_DATA)
    rows = [np.clip(colour.rgb(band)[None, :] * shade[:, None], 0, 255) for band in bands]
    extra = np.stack([colour.rgb("#ffffff"), colour.rgb(colour.HATCH), colour.rgb(colour.GUARD)])
    return np.rint(np.concatenate([*rows, extra])).astype(np.uint8)


def render(
    view: CloudView, azimuth: float, elevation: float, marks: list[int], width: int = 900, height: int = 740
) -> Picture:
    """Draw the map seen from a direction. Nearest point wins each pixel; beyond the limits is hatched, as is, more
    widely, what lies nearer to a limit than its U; the nominal is grey where nothing was measured."""
    turn = camera(azimuth, elevation)
    ink = _ink(view)
    xyz = ink.xyz
    screen = (xyz - 0.5 * (xyz.min(axis=0) + xyz.max(axis=0))) @ turn.T
    low, high = screen[:, :2].min(axis=0), screen[:, :2].max(axis=0)
    extent = np.maximum(high - low, 1e-12 + 0.01 * float((high - low).max() or 1.0))
    scale = float(min((width - 80) / extent[0], (height - 80) / extent[1]))
    centre = 0.5 * (low + high)
    px = (screen[:, 0] - centre[0]) * scale + 0.5 * width
    py = 0.5 * height - (screen[:, 1] - centre[1]) * scale
    lift = np.where(ink.band < _NO_DATA, view.spacing, 0.0)  # what was measured lies on the nominal, not in it
    # by the foot: excess must not hide the missing material beside it
    lift[: len(view.value)] -= view.value * (np.asarray(view.normals, np.float64) @ turn[2])
    near = np.rint((screen[:, 2] + lift) / (0.01 * view.spacing or 1.0))  # rounding must not decide it either
    order = np.argsort(near, kind="stable")  # far to near: the rank of a point is its nearness
    column = np.clip(np.rint(px[order]).astype(np.int64), 0, width - 1)
    row = np.clip(np.rint(py[order]).astype(np.int64), 0, height - 1)
    nearest = np.full((height, width), -1, np.int32)
    np.maximum.at(nearest, (row, column), np.arange(len(order), dtype=np.int32))
    owner = _grow(nearest, int(np.clip(np.ceil(0.95 * view.spacing * scale), 2, 9)))
    image = _shade(ink, turn, order, owner)
    placed = {i: (float(px[i]), float(py[i])) for i in marks}
    return Picture(png(image, _palette()), width, height, placed, 1.0 / scale)


def _grow(nearest: NDArray[np.int32], radius: int) -> NDArray[np.int32]:
    """Every point becomes an octagon of ``radius`` pixels; where several reach a pixel the nearest keeps it.

    The largest rank in a neighbourhood, by steps of one pixel that are in turn a square and a cross.
    """
    for step in range(radius):
        tall = nearest.copy()
        np.maximum(tall[1:], nearest[:-1], out=tall[1:])
        np.maximum(tall[:-1], nearest[1:], out=tall[:-1])
        base = tall if step % 2 else nearest
        wide = tall.copy()
        np.maximum(wide[:, 1:], base[:, :-1], out=wide[:, 1:])
        np.maximum(wide[:, :-1], base[:, 1:], out=wide[:, :-1])
        nearest = wide
    return nearest


@dataclass(frozen=True)
class _Ink:
    """Everything drawn: measured points, then points of the nominal."""

    xyz: NDArray[np.float64]
    normals: NDArray[np.float32]
    band: NDArray[np.int64]
    beyond: NDArray[np.bool_]
    guard: NDArray[np.bool_]


def _ink(view: CloudView) -> _Ink:
    band = view.band.astype(np.int64)
    beyond = (view.band == colour.N_ABOVE) | (view.band == colour.N_BELOW)
    guard = np.abs(view.margin) < view.expanded_each
    if view.surface is None:
        return _Ink(view.xyz, view.normals, band, beyond, guard)
    grey, normals = nominal.samples(view.surface, 0.7 * view.spacing, _MOST_GREY)
    none = np.zeros(len(grey), bool)
    return _Ink(
        np.concatenate([view.xyz, grey]),
        np.concatenate([view.normals, normals]),
        np.concatenate([band, np.full(len(grey), _NO_DATA)]),
        np.concatenate([beyond, none]),
        np.concatenate([guard, none]),
    )


def _shade(
    ink: _Ink, turn: NDArray[np.float64], order: NDArray[np.int64], owner: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Palette indices: band and light of the owner of each pixel, stripes beyond the limits, white elsewhere."""
    normals = ink.normals @ turn.T.astype(np.float32)
    facing = np.where(normals[:, 2:3] < 0.0, -normals, normals)  # both sides of a surface are lit
    light = facing @ (_LIGHT / np.linalg.norm(_LIGHT)).astype(np.float32)
    light = np.where(ink.normals.any(axis=1), np.clip(0.25 + 0.75 * light, 0.0, 1.0), 0.8)
    code = ink.band * SHADES + np.rint(light * (SHADES - 1)).astype(np.int64)
    white = (_NO_DATA + 1) * SHADES
    hit = owner >= 0
    source = order[np.where(hit, owner, 0)]
    image = np.where(hit, code[source], white)
    across = np.arange(owner.shape[0])[:, None] + np.arange(owner.shape[1])[None]
    image[hit & ink.beyond[source] & (across % 8 < 2)] = white + 1
    back = np.arange(owner.shape[0])[:, None] - np.arange(owner.shape[1])[None]
    image[hit & ink.guard[source] & (back % 10 < 1)] = white + 2
    return image.astype(np.uint8)
