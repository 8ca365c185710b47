"""Feature covariance with correlated errors for many points: seconds, and how far it is from the exact answer.

    python -m benchmarks.speed.fields [--points 1000000] [--rounds 5]

A full circle with equal steps has an exact answer (circulant); scattered points on a cylinder and a sphere are compared
with the dense matrix of 3000 of them. The goal is 2 s for 1e6 points on two cores. The dense matrix would take 8 TB.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from benchmarks.common import print_environment
from metrology_core import fit
from metrology_core.uncertainty.fields import CorrelatedField, exponential, matern

RADIUS, HEIGHT = 10.0, 30.0


def scattered(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    noise = 1e-3 * rng.standard_normal(n)
    if kind == "sphere":
        y = rng.standard_normal((n, 3))
        return y * ((RADIUS + noise) / np.linalg.norm(y, axis=1))[:, None]
    a = 2.0 * np.pi * np.arange(n) / n if kind == "circle" else rng.uniform(0.0, 2.0 * np.pi, n)
    r = RADIUS + noise
    if kind == "circle":
        return np.stack([RADIUS * np.cos(a), RADIUS * np.sin(a)], axis=1)
    return np.stack([r * np.cos(a), r * np.sin(a), rng.uniform(0.0, HEIGHT, n)], axis=1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    print_environment()
    sys.stdout.write(f"{chosen.points} points; fit.correlated(field), median and worst of {chosen.rounds} rounds\n")
    for kind in ("circle", "cylinder", "sphere"):
        for kernel in (exponential(2.0), matern(2.0, 1.5)):
            field = CorrelatedField(1e-3, kernel, 5e-4)
            small = fit(scattered(kind, 3000), kind)
            small.correlated(field)  # compiles
            found = fit(scattered(kind, chosen.points), kind)
            seconds = []
            for _ in range(chosen.rounds):
                begin = time.perf_counter()
                result = found.correlated(field)
                seconds.append(time.perf_counter() - begin)
            u = result.standard_uncertainty["radius"]
            plain = field.total / np.sqrt(chosen.points)
            sys.stdout.write(
                f"{kind:9s} {kernel.name:12s} {statistics.median(seconds):6.2f} s (worst {max(seconds):.2f})  "
                f"u(R) {u * 1e6:.1f} nm, {u / plain:.0f} times s / sqrt(n); n_eff {result.n_eff['radius']:.1f}; "
                f"{result.words}\n"
            )
    n = chosen.points
    theta = 2.0 * np.pi * np.arange(n) / n
    rho = np.exp(-np.minimum(theta, 2.0 * np.pi - theta) / (np.pi / 6.0))
    exact = np.sqrt(rho.sum() / n)
    ours = fit(scattered("circle", n), "circle").correlated(CorrelatedField(1.0, exponential(RADIUS * np.pi / 6.0)))
    sys.stdout.write(
        f"circle, 30 degrees, against the circulant sum: {ours.standard_uncertainty['radius'] / exact - 1.0:.1e}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
