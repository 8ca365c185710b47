"""Roughness statistics: periodograms, autocorrelation, and the debiased-Whittle estimate of sigma, xi, H and noise."""

from __future__ import annotations

from wafer.roughness.curves import autocorrelation, cross_curves, cross_spectra, height_height, psd_curves
from wafer.roughness.spectrum import Traces, traces
from wafer.roughness.whittle import HURST_BOUNDS, Pairs, Roughness, Shape, fit_roughness

__all__ = [
    "HURST_BOUNDS",
    "Pairs",
    "Roughness",
    "Shape",
    "Traces",
    "autocorrelation",
    "cross_curves",
    "cross_spectra",
    "fit_roughness",
    "height_height",
    "psd_curves",
    "traces",
]
