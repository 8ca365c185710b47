"""What is wrong with single edges: bridged spaces, broken lines, spikes."""

from __future__ import annotations

import math

import numpy as np

from wafer.kernels import edges as _k
from wafer.kernels.defects import watch_stripes
from wafer.noise import NoiseModel

SPIKE_LIMIT = 6.0  # robust standard deviations from the straight line of the edge
_ENOUGH = 400  # rows that tell the middle and the spread of an edge: to 5 % of the spread


def mark_defects(
    area: np.ndarray,
    slope: float,
    middle: float,
    stripes: tuple[np.ndarray, np.ndarray, np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    noise: NoiseModel,
    x: np.ndarray,
    u: np.ndarray,
    state: np.ndarray,
) -> list[str]:
    """Mark bridged spaces, broken lines and spikes in ``state``; bridged and broken rows lose their edges.

    ``stripes``: centre, half of the central part, brightness of all stripes. Returns the flags.
    """
    flags: list[str] = []
    centres, half, bright = stripes
    ny = x.shape[1]
    limit = 0.5 * float(np.median(low) + np.median(high))
    contrast = float(np.median(high) - np.median(low))
    pixels = np.maximum(1.0, 2.0 * half)
    sigma = max(noise.sigma_dark, noise.sigma_bright)
    # As many rows as make half the contrast six standard deviations: noise alone then never looks like a defect.
    rows = np.ceil((6.0 * sigma / (0.5 * contrast)) ** 2 / pixels)
    rows = np.minimum(np.clip(rows, 5, 101).astype(np.int64) | 1, ny - 1 + ny % 2)
    bad = np.zeros((centres.size, ny), dtype=np.bool_)
    watch_stripes(area, slope, middle, x, centres, half, np.ascontiguousarray(bright), limit, rows, bad)
    for s in np.flatnonzero(bad.any(axis=1)):
        flags.append("broken_lines" if bright[s] else "merged_lines")
        for e in (s - 1, s):
            x[e, bad[s]] = np.nan
            u[e, bad[s]] = np.nan
            state[e, bad[s]] = _k.BROKEN if bright[s] else _k.MERGED
    rest = x - slope * (np.arange(ny) - middle)
    some = slice(None, None, max(1, ny // _ENOUGH))
    centre = _medians(rest[:, some])
    rest = np.abs(rest - centre[:, None])
    scale = 1.4826 * _medians(rest[:, some])
    with np.errstate(invalid="ignore"):
        far = (rest > SPIKE_LIMIT * np.maximum(scale, 0.05)[:, None]) & (state == _k.OK)
    if far.any():
        state[far] = _k.SPIKE
        flags.append("edge_spikes")
    return flags


def _medians(values: np.ndarray) -> np.ndarray:
    """Upper median of each row, NaN left out: one partition, a third of the time of numpy.median."""
    count = np.count_nonzero(np.isfinite(values), axis=1)
    out = np.full(values.shape[0], math.nan)
    full = count == values.shape[1]
    half = values.shape[1] // 2
    if full.any():
        out[full] = np.partition(values[full], half, axis=1)[:, half]
    for e in np.flatnonzero(~full & (count > 0)):
        good = values[e][np.isfinite(values[e])]
        out[e] = np.partition(good, good.size // 2)[good.size // 2]
    return out
