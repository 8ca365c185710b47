"""The budget file to start from (``abbe budget --template``): complete, commented, checked by a test."""

from __future__ import annotations

TEMPLATE = """\
# Uncertainty budget: calibration of a gauge block by comparison (JCGM 101:2008, 9.5). Evaluate: abbe budget FILE
schema: abbe/budget/1
title: Gauge block by comparison with a standard

model:                        # one expression per output: + - * / **, sin, exp, log, sqrt, hypot, ...
  l: ls + d + d1 + d2 - ls * (dalpha * theta + alpha * dtheta)
where:                        # shorthands, in order
  theta: theta0 + cycle
outputs:
  l: {unit: nm, label: length of the gauge block at 20 degC}

inputs:                       # numbers are in the unit of the input; a text such as '25 um' is converted to it
  # t: say whether u is the scale (JCGM 101 6.4.9) or the standard deviation (sd, NIST TN 1900)
  ls:     {distribution: t, value: 50000623, scale: 25, dof: 18, unit: nm, label: length of the standard}
  d:      {distribution: t, value: 215, scale: 6, dof: 24, unit: nm, label: mean difference, type: A}
  d1:     {distribution: t, value: 0, scale: 4, dof: 5, unit: nm, label: random effects of the comparator}
  d2:     {distribution: t, value: 0, scale: 7, dof: 8, unit: nm, label: systematic effects of the comparator}
  alpha:  {distribution: rectangular, low: 9.5e-6, high: 13.5e-6, unit: 1/K, label: expansion of the standard}
  theta0: {distribution: normal, value: -0.1, u: 0.2, unit: K, label: mean deviation from 20 degC}
  cycle:  {distribution: arcsine, low: -0.5, high: 0.5, unit: K, label: cyclic variation of the temperature}
  dalpha: {distribution: curvilinear, low: -1e-6, high: 1e-6, d: 1e-7, dof: 50, unit: 1/K, label: expansion difference}
  dtheta: {distribution: curvilinear, low: -0.05, high: 0.05, d: 0.025, dof: 2, unit: K, label: temperature difference}
  # others: triangular, trapezoidal (beta), exponential (mean), gamma, counting (count), beta, lognormal, weibull,
  #   readings: {distribution: readings, readings: [10.1, 10.3, 9.9]}   simultaneous ones share a name: together: set-1
  #   a certificate: {distribution: normal, value: 10, expanded: 0.2, k: 2}
  #   an exact number: c: 299792458

# correlations:
#   - {between: [d1, d2], r: 0.3}

coverage: {p: 0.99, interval: shortest}   # or symmetric; region of several outputs: ellipsoid | box | smallest
gum: {order: 1}                                  # 2 adds the second-order terms of JCGM 100 5.1.2
monte_carlo: {trials: 1000000, digits: 1, seed: 1}   # trials: adaptive follows JCGM 101 7.9.4 (JCGM 102 7.8)
"""
