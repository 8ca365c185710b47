"""Closest points per second on B-splines, and fits of nominals; SciPy's dense table of points beside them.

Run: python -m benchmarks.speed.freeform
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.common import interleaved, print_environment, table


def main() -> None:
    from scipy.spatial import cKDTree

    from metrology_core.freeform import BSplineSurface, clamped_knots, fit_nominal, interpolate

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", type=int, default=20_000)
    options = parser.parse_args()
    print_environment()
    rng = np.random.default_rng(1)
    t = np.linspace(0.0, 2.0 * np.pi, 60, endpoint=False)
    profile = interpolate(np.column_stack((50.0 * np.cos(t), 4.0 * np.sin(t))), closed=True)
    flat = np.stack(np.meshgrid(np.linspace(0, 100, 12), np.linspace(0, 60, 10), indexing="ij"), axis=-1)
    control = np.concatenate((flat, 3.0 * rng.standard_normal((12, 10, 1))), axis=-1)
    surface = BSplineSurface(control, clamped_knots(12, 3), clamped_knots(10, 3))
    origin, local, directions = profile.sample_feet(options.points, rng)
    near_curve = origin + local + 0.05 * rng.standard_normal((options.points, 1)) * directions[0]
    origin, local, directions = surface.sample_feet(options.points, rng)
    near_surface = origin + local + 0.05 * rng.standard_normal((options.points, 1)) * directions[0]
    dense = profile.evaluate(np.linspace(*profile.domain, 100_000))[0]
    runs = {
        f"curve, {options.points} closest points": lambda: profile.feet(near_curve),
        "curve, table of 1e5 points in a k-d tree (to 1e-3 mm)": lambda: cKDTree(dense).query(near_curve),
        f"surface, {options.points} closest points": lambda: surface.feet(near_surface),
        "nominal surface, least squares, 2000 points": lambda: fit_nominal(near_surface[:2000], surface).require(),
        "nominal curve, minimum zone, 2000 points": lambda: fit_nominal(
            near_curve[:2000], profile, criterion="minimum_zone"
        ),
    }
    timings = interleaved(runs, rounds=options.rounds)
    print(table(timings))
    for name in (f"curve, {options.points} closest points", f"surface, {options.points} closest points"):
        print(f"{name}: {options.points / timings[name].median:.3g} points per second")


if __name__ == "__main__":
    main()
