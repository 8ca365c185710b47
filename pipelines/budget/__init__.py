"""Uncertainty budgets from a file: model, inputs, correlations in; GUM and Monte Carlo side by side out."""

from __future__ import annotations
