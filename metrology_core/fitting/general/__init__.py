"""One engine for every criterion beside the compiled least-squares and zone paths.

A `Model` gives residual rows and their derivatives in a local chart and moves along it; solvers for least squares,
constrained least squares, least absolute deviations and minimax work on any model: a feature, a pair of planes, a
group of features with shared parameters, a rigid pattern.
"""
