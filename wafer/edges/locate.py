"""One way to call the edge kernels: by criterion, in blocks of rows over the threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metrology_core.blocks import run_blocks
from wafer.edges.profiles import EdgeProfile
from wafer.kernels import edges as _k
from wafer.kernels.logistic import fit_logistic
from wafer.kernels.template import PHASES, fit_template, phases
from wafer.noise import NoiseModel

_BLOCK = 64  # rows per block
TABLE = PHASES  # entries of a tabulated shape per pixel
TIE = 24.0  # pixels that the mean levels weigh in a row's sigmoid
SEARCH_BELOW = 6.0  # contrast to noise below which the template looks beside the split


@dataclass(frozen=True, eq=False)
class Windows:
    """Where each edge is looked for: place at row ``middle``, reach to both sides, polarity; pixels."""

    x: np.ndarray
    left: np.ndarray
    right: np.ndarray
    polarity: np.ndarray
    slope: float
    middle: float


@dataclass(frozen=True, eq=False)
class Shape:
    """What the criteria need to know about each edge: grey levels, slope or curvature, search radius; tabulated
    shapes, or widths of logistics (falling, rising)."""

    level: np.ndarray
    low: np.ndarray
    high: np.ndarray
    steepness: np.ndarray
    radius: np.ndarray
    points: int = 5
    table: np.ndarray | None = None
    half: float = 0.0
    search: bool = False
    width: np.ndarray | None = None


def locate(
    area: np.ndarray, code: int, windows: Windows, shape: Shape, noise: NoiseModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, their propagated standard deviations, and states, each (n_edges, rows)."""
    ny = area.shape[0]
    n = windows.x.size
    x, u = np.empty((n, ny)), np.empty((n, ny))
    state = np.empty((n, ny), dtype=np.uint8)
    found = noise.as_array()
    table, length, pad = np.empty(0), 0, 0
    if code == _k.MODEL and shape.table is not None:
        stacked, length, pad = phases(shape.table, min(float((windows.left + windows.right).max()), area.shape[1]))
        table = stacked.ravel()

    def work(first: int, end: int) -> None:
        start, stop = first * _BLOCK, min(end * _BLOCK, ny)
        common = (
            area, start, stop, 0, windows.slope, windows.middle, windows.x, windows.left, windows.right,
            windows.polarity, shape.level, shape.low, shape.high,
        )  # fmt: skip
        if code == _k.MODEL:
            fit_template(*common, table, length, pad, shape.search, found, x, u, state)
        elif code == _k.SIGMOID:
            fit_logistic(*common[:3], *common[4:], shape.width, TIE, shape.search, found, x, u, state)
        else:
            _k.locate_edges(*common, shape.steepness, shape.radius, found, code, shape.points, x, u, state)

    run_blocks(work, (ny + _BLOCK - 1) // _BLOCK)
    return x, u, state


def tables(profiles: Mapping[int, EdgeProfile], noise: NoiseModel) -> tuple[np.ndarray, float]:
    """Tabulated shapes (2, 3, n) for `wafer.kernels.template.fit_template`, and their half width in pixels."""
    half = float(np.ceil(max(np.abs(p.distance).max() for p in profiles.values()))) + 1.0
    t = np.arange(-half * TABLE, half * TABLE + 1) / TABLE
    out = np.zeros((2, 3, t.size))
    for side, sign in ((0, -1), (1, 1)):
        p = profiles.get(sign) or next(iter(profiles.values()))
        low, high = float(p.grey.min()), float(p.grey.max())
        grey = np.interp(t, p.distance, p.grey)
        gradient = np.interp(t, p.distance, p.gradient, left=0.0, right=0.0)
        sd = np.sqrt(np.maximum(noise.variance(grey), 1e-12 + 1e-6 * (high - low) ** 2))
        out[side] = (grey - low) / (high - low), gradient / (high - low), 1.0 / sd
    return out, half
