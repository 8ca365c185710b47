"""Edges in smoothed rows: the filter and the search for crossings in one pass, or the whole filtered image."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from metrology_core.blocks import run_blocks
from wafer.edges.locate import Shape, Windows
from wafer.edges.profiles import FINE, EdgeProfile, edge_profile
from wafer.kernels.smooth import smooth_rows, smoothed_crossings
from wafer.noise import NoiseModel
from wafer.smoothing import Smoothing

_BLOCK = 64  # rows per block: what it needs stays in the cache


def smoothed_image(image: np.ndarray, smoothing: Smoothing) -> np.ndarray:
    """The whole image filtered, float64."""
    ny, nx = image.shape
    out = np.empty((ny, nx))
    zero = float(image[image.shape[0] // 2].mean())
    across, along = smoothing.taps

    def work(first: int, end: int) -> None:
        for k in range(first, end):
            smooth_rows(image, k * _BLOCK, min((k + 1) * _BLOCK, ny), across, along, zero, out)

    run_blocks(work, (ny + _BLOCK - 1) // _BLOCK)
    return out


def smoothed_edges(
    image: np.ndarray, windows: Windows, shape: Shape, noise: NoiseModel, smoothing: Smoothing
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Threshold edges of ``image`` (ny, nx; any real type) in filtered rows: places, their standard deviations, states.

    What `wafer.edges.locate.locate` finds in `smoothed_image`, without making that image. ``noise`` is that of the
    filtered image (`smoothed_noise`).
    """
    ny, n = image.shape[0], windows.x.size
    x, u = np.empty((n, ny)), np.empty((n, ny))
    state = np.empty((n, ny), dtype=np.uint8)
    across, along = smoothing.taps
    zero = float(np.median(shape.level))

    def work(first: int, end: int) -> None:
        for k in range(first, end):
            smoothed_crossings(
                image, k * _BLOCK, min((k + 1) * _BLOCK, ny), windows.slope, windows.middle, windows.x, windows.left,
                windows.right, windows.polarity, shape.level, shape.low, shape.high, shape.steepness, noise.as_array(),
                across, along, zero, x, u, state,
            )  # fmt: skip

    run_blocks(work, (ny + _BLOCK - 1) // _BLOCK)
    return x, u, state


def gradient_noise(noise: NoiseModel, smoothing: Smoothing) -> float:
    """Standard deviation of the second difference of gradients (``I[-2] - 2 I[0] + I[2]``) in the filtered image, over
    that of independent pixels of its variance: what the peak of the gradient needs."""
    shared = smoothing.noise(noise.correlation)[1]
    return math.sqrt(max(6.0 - 8.0 * float(shared[2]) + 2.0 * float(shared[4]), 0.0) / 6.0)


def smoothed_noise(noise: NoiseModel, smoothing: Smoothing) -> NoiseModel:
    """The noise of the filtered image: less of it, and neighbours share it."""
    left, shared, _ = smoothing.noise(noise.correlation)
    return replace(
        noise, offset=noise.offset * left, gain=noise.gain * left, correlation=float(shared[1]),
        offset_u=noise.offset_u * left, gain_u=noise.gain_u * left, sigma_dark=noise.sigma_dark * math.sqrt(left),
        sigma_bright=noise.sigma_bright * math.sqrt(left),
    )  # fmt: skip


def smoothed_profile(
    profile: EdgeProfile, smoothing: Smoothing, level: float, noise: NoiseModel
) -> tuple[EdgeProfile, float, float]:
    """The mean edge profile as the filtered image shows it, and how far its dark and bright extremes moved.

    ``level`` (0 to 1) is where its distance is zero. The Cramer-Rao bound stays that of an unfiltered row.
    """
    grey = smoothing.profile(profile.grey, FINE)
    low, high = float(grey.min()), float(grey.max())
    found = edge_profile(
        lambda at: np.interp(at, profile.distance, grey), profile.distance, low + level * (high - low), noise
    )
    moved = low - float(profile.grey.min()), high - float(profile.grey.max())
    return replace(found, crb=profile.crb), *moved
