"""Freeform features: B-spline curves and surfaces, closest points, fits, section curves."""

from __future__ import annotations

from metrology_core.freeform.nominal_fit import FreeformFit, fit_nominal
from metrology_core.freeform.shape_fit import (
    ShapeFit,
    clamped_knots,
    fit_curve,
    fit_surface,
    interpolate,
    order_points,
)
from metrology_core.freeform.splines import BSplineCurve, BSplineCurve2D, BSplineSurface, Feet

__all__ = [
    "BSplineCurve",
    "BSplineCurve2D",
    "BSplineSurface",
    "Feet",
    "FreeformFit",
    "ShapeFit",
    "clamped_knots",
    "fit_curve",
    "fit_nominal",
    "fit_surface",
    "interpolate",
    "order_points",
]
