"""Claimed covariance against repeated measurement: least squares on every feature, zones whose contacts stay fixed.

    python -m benchmarks.accuracy.covariance [--trials 100000] [--features sphere,plane]

Least squares: noise on exact points, standard deviation of each size over what its fit claims. Minimum zone: known sets
(`testing.known_zone`) whose gap is 20 standard deviations or more, noise along x, y and z; sizes and form.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from metrology_core import fit
from metrology_core.features import Circle, Cone, Cylinder, Ellipse, Plane, Sphere, Torus
from metrology_core.testing import known_zone
from metrology_core.testing.surfaces import sample_feet

PLACE, AXIS = (12.0, -7.0, 3.0), (0.36, -0.48, 0.8)
FEATURES = {
    "plane": (Plane(PLACE, AXIS), {}),
    "circle": (Circle(PLACE, AXIS, 12.0), {}),
    "sphere": (Sphere(PLACE, 25.0), {}),
    "cylinder": (Cylinder(PLACE, AXIS, 8.0), {}),
    "cone": (Cone(PLACE, AXIS, 20.0, 0.35), {"length": 30.0}),
    "torus": (Torus(PLACE, AXIS, 30.0, 7.0), {}),
    "ellipse": (Ellipse(PLACE, AXIS, (0.8, 0.6, 0.0), 20.0, 11.0), {}),
}


def ratios(points, feature, criterion, sigma, trials, rng, noise=None):  # type: ignore[no-untyped-def]
    """Standard deviation over trials / claimed one, for each size (and the form of zones)."""
    base = fit(points, feature.kind, criterion=criterion, start=feature)
    sizes = [name for name, value in base.parameters.items() if np.ndim(value) == 0 and feature.kind != "cone"]
    sizes += ["half_angle"] if feature.kind == "cone" else []
    values, claims = np.empty((trials, len(sizes) + 1)), np.zeros(len(sizes) + 1)
    for t in range(trials):
        again = fit(
            points + sigma * rng.standard_normal(points.shape), feature.kind, criterion=criterion, start=feature
        )
        values[t] = [*(again.parameters[name] for name in sizes), again.form]
        if noise is None:
            claims[:-1] += np.array([again.standard_uncertainty[name] ** 2 for name in sizes]) / trials
    if noise is not None:
        factor = sigma / base.noise
        claims[:-1] = [(base.standard_uncertainty[name] * factor) ** 2 for name in sizes]
        claims[-1] = (base.form_uncertainty * factor) ** 2
    spread = values.std(axis=0, ddof=1)
    names = [*sizes, "form"] if noise is not None else sizes
    return {name: float(spread[i] / np.sqrt(claims[i])) for i, name in enumerate(names)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--features", default=",".join(FEATURES))
    chosen = parser.parse_args(arguments)
    rng = np.random.default_rng(1)
    worst = 0.0
    for name in chosen.features.split(","):
        feature, options = FEATURES[name]
        exact = sample_feet(feature, 60, rng, **options).points
        found = ratios(exact, feature, "least_squares", 1e-3, chosen.trials, rng)
        known = known_zone(feature, 60, zone=0.05, seed=3, gap=0.05, **options)
        zones = ratios(known.points, feature, "minimum_zone", known.gap / 25.0, chosen.trials, rng, noise=1.0)
        for criterion, table in (("least_squares", found), ("minimum_zone", zones)):
            words = "  ".join(f"{key} {value:.4f}" for key, value in table.items())
            sys.stdout.write(f"{name:10s} {criterion:14s} measured / claimed: {words}\n")
            worst = max([worst, *(abs(value - 1.0) for value in table.values())])
    sys.stdout.write(f"largest deviation from 1: {worst:.4f} ({chosen.trials} trials)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
