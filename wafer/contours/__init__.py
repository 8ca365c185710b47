"""Contours in images: strips along their normals, templates, sub-pixel shifts with their noise."""

from wafer.contours.grey import GreyNoise, grey_noise
from wafer.contours.strips import PixelWeights, Strips, Window, pixel_weights, strips_along, weights_covariance

__all__ = [
    "GreyNoise",
    "PixelWeights",
    "Strips",
    "Window",
    "grey_noise",
    "pixel_weights",
    "strips_along",
    "weights_covariance",
]
