"""Strips along the normals of a contour, and the noise of whatever is a linear combination of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.contours.grey import GreyNoise

STEP = 0.5  # px between samples along a normal


@dataclass(frozen=True, eq=False)
class Strips:
    """Grey values along the normals of a contour.

    ``x``, ``y`` (n,) vertices in pixels, ``ux``, ``uy`` their unit normals (grey is sampled from inside to outside);
    ``distance`` (m,) places along the normal in pixels, 0 on the contour; ``grey`` (n, m), NaN outside the image.
    """

    x: np.ndarray
    y: np.ndarray
    ux: np.ndarray
    uy: np.ndarray
    distance: np.ndarray
    grey: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether all samples lie in the image."""
        return bool(np.isfinite(self.grey).all())


@dataclass(frozen=True)
class Window:
    """Reach of the strips in pixels: ``inside`` and ``outside`` of the contour, both positive."""

    inside: float
    outside: float

    def distances(self) -> np.ndarray:
        first, last = -math.ceil(self.inside / STEP), math.ceil(self.outside / STEP)
        return STEP * np.arange(first, last + 1)


def strips_along(
    image: np.ndarray, x: np.ndarray, y: np.ndarray, ux: np.ndarray, uy: np.ndarray, window: Window
) -> Strips:
    """Sample an image (float64, C order) along the normals of a contour."""
    from wafer.kernels.strips import sample_strips

    distance = window.distances()
    x, y, ux, uy = (np.ascontiguousarray(a, np.float64) for a in (x, y, ux, uy))
    grey = np.empty((x.size, distance.size))
    sample_strips(image, x, y, ux, uy, float(distance[0]), STEP, 0, x.size, grey)
    return Strips(x, y, ux, uy, distance, grey)


@dataclass(frozen=True, eq=False)
class PixelWeights:
    """How pixels enter linear combinations of strips: ``weights`` (h, w, k) on the window at (``left``, ``top``)."""

    weights: np.ndarray
    left: int
    top: int


def pixel_weights(strips: Strips, parts: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int]) -> PixelWeights:
    """Lay combinations ``sum_ij across[k, i] along[i, j] grey[i, j]`` out on the pixels, exactly for the interpolation.

    parts: (along (n, m), across (k, n)) pairs, their combinations one after another.
    """
    from wafer.kernels.strips import combine_noise

    reach = max(abs(float(strips.distance[0])), abs(float(strips.distance[-1]))) + 3.0
    ny, nx = shape
    left, right = max(0, int(strips.x.min() - reach)), min(nx, int(strips.x.max() + reach) + 2)
    top, bottom = max(0, int(strips.y.min() - reach)), min(ny, int(strips.y.max() + reach) + 2)
    found = []
    for along, across in parts:
        weights = np.empty((bottom - top, right - left, across.shape[0]))
        combine_noise(
            strips.x, strips.y, strips.ux, strips.uy, float(strips.distance[0]), STEP, np.ascontiguousarray(along),
            np.ascontiguousarray(across.T), left, top, weights,
        )  # fmt: skip
        found.append(weights)
    return PixelWeights(np.concatenate(found, axis=2), left, top)


def weights_covariance(given: PixelWeights, image: np.ndarray, noise: GreyNoise) -> np.ndarray:
    """(k, k) covariance of combinations by the noise of the pixels; neighbours in a row correlate as the noise says."""
    h, w, k = given.weights.shape
    patch = image[given.top : given.top + h, given.left : given.left + w]
    scaled = given.weights * np.sqrt(noise.variance(smoothed_grey(patch)))[:, :, None]
    flat = scaled.reshape(-1, k)
    covariance: np.ndarray = flat.T @ flat
    add_row_lags(covariance, scaled, noise)
    return covariance


def add_row_lags(covariance: np.ndarray, scaled: np.ndarray, noise: GreyNoise) -> None:
    """Add to ``covariance`` (k, k) what the correlation of pixels in a row does to combinations with the ``scaled``
    weights (h, w, k), weight times standard deviation."""
    k = scaled.shape[2]
    for lag, r in enumerate(noise.lags, start=1):
        cross = scaled[:, :-lag].reshape(-1, k).T @ scaled[:, lag:].reshape(-1, k)
        covariance += r * (cross + cross.T)


def smoothed_grey(patch: np.ndarray) -> np.ndarray:
    """Grey levels for the noise model: 3 x 3 means, so that a pixel's own noise does not choose its variance."""
    padded = np.pad(patch, 1, mode="edge")
    total = np.zeros_like(patch)
    for b in range(3):
        for a in range(3):
            total += padded[b : b + patch.shape[0], a : a + patch.shape[1]]
    return total / 9.0
