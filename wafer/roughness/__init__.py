"""Roughness statistics: periodograms, autocorrelation, and the debiased-Whittle estimate of sigma, xi, H and noise."""

from __future__ import annotations

from wafer.roughness.curves import autocorrelation, cross_curves, cross_spectra, height_height, psd_curves
from wafer.roughness.spectrum import Traces, traces
from wafer.roughness.whittle import Pairs, Roughness, fit_roughness

__all__ = [
    "Pairs",
    "Roughness",
    "Traces",
    "autocorrelation",
    "cross_curves",
    "cross_spectra",
    "fit_roughness",
    "height_height",
    "psd_curves",
    "traces",
]
