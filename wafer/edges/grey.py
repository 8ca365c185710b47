"""Grey levels in the middle of the stripes, block of rows by block of rows: what background and charging do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wafer.edges.linescan import ShearedBlocks


@dataclass(frozen=True, eq=False)
class StripeGrey:
    """``level`` (blocks, stripes) mean grey of the central part of each stripe, ``rise`` (blocks, stripes) by how much
    it grows from its left to its right edge there (straight line through the central part, over the whole width); NaN
    where unknown. ``centre`` (stripes,) pixels at the middle row, ``bright`` (stripes,); ``rows`` (blocks,) middles."""

    level: np.ndarray
    rise: np.ndarray
    centre: np.ndarray
    rows: np.ndarray
    bright: np.ndarray


def stripe_grey(scans: ShearedBlocks, stripes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> StripeGrey:
    """``stripes``: centre, half of the central part, brightness (`wafer.edges.checks.stripes`); the outer ones, which
    the border cuts, are left out."""
    centre, half, bright = (part[1:-1] for part in stripes)
    blocks, nx = scans.total.shape
    size = scans.size
    level, rise = np.full((blocks, centre.size), np.nan), np.full((blocks, centre.size), np.nan)
    first = np.clip(np.ceil(centre - np.maximum(half, 0.5)), 0, nx - 1).astype(np.int64)
    end = np.clip(np.floor(centre + np.maximum(half, 0.5)) + 1, first + 1, nx).astype(np.int64)
    n = (end - first).astype(np.float64)
    middle = 0.5 * (first + end - 1)
    place = np.arange(nx, dtype=np.float64) - 0.5 * (nx - 1)
    moment = n * (n * n - 1.0) / 12.0
    for b in range(blocks):
        total, weight = scans.total[b], scans.weight[b]
        scan = np.where(weight > 0.5 * size, total / np.maximum(weight, 1.0), 0.0)
        lost = np.concatenate([[0.0], np.cumsum(weight <= 0.5 * size)])
        sums = np.concatenate([[0.0], np.cumsum(scan)])
        firsts = np.concatenate([[0.0], np.cumsum(scan * place)])
        whole = lost[end] == lost[first]
        mean = (sums[end] - sums[first]) / n
        level[b] = np.where(whole, mean, np.nan)
        steep = (firsts[end] - firsts[first] - (middle - 0.5 * (nx - 1)) * n * mean) / np.maximum(moment, 1.0)
        rise[b] = np.where(whole & (n >= 3), steep * half / 0.2, np.nan)
    return StripeGrey(level, rise, centre, (np.arange(blocks) + 0.5) * size - 0.5, bright)
