"""Time of zone fits, warm, whole public `fit` from raw points; least squares beside it.

Run: python -m benchmarks.speed.zone
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from benchmarks.common import interleaved, print_environment, table


def cylinder(n: int, seed: int = 3) -> np.ndarray:
    """A cylinder of 60 mm with lobes, taper and noise, 200 mm long, away from the origin."""
    rng = np.random.default_rng(seed)
    angle, z = rng.uniform(0.0, 2.0 * math.pi, n), rng.uniform(-100.0, 100.0, n)
    r = 30.0 + 4e-3 * np.cos(3.0 * angle) + 2e-5 * z + 1e-3 * rng.standard_normal(n)
    return np.column_stack((r * np.cos(angle) + 250.0, r * np.sin(angle) - 120.0, z + 60.0))


def plate(n: int, seed: int = 4) -> np.ndarray:
    """A plate of 300 mm x 200 mm, slightly bent, with noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-150.0, 150.0, n), rng.uniform(-100.0, 100.0, n)
    return np.column_stack((x, y, 4e-7 * x * x + 1e-3 * rng.standard_normal(n)))


def main() -> None:
    from metrology_core import fit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--largest", type=int, default=1_000_000)
    options = parser.parse_args()
    print_environment()
    for n in (25, 1_000, 100_000, 1_000_000):
        if n > options.largest:
            continue
        round_part, flat_part = cylinder(n), plate(n)
        section = np.ascontiguousarray(round_part[:, :2])
        runs = {
            f"cylinder least squares {n}": lambda x=round_part: fit(x, "cylinder").require(),
            f"cylinder minimum zone {n}": lambda x=round_part: fit(x, "cylinder", criterion="minimum_zone").require(),
            f"cylinder inscribed {n}": lambda x=round_part: fit(x, "cylinder", criterion="maximum_inscribed"),
            f"cylinder circumscribed {n}": lambda x=round_part: fit(x, "cylinder", criterion="minimum_circumscribed"),
            f"plane minimum zone {n}": lambda x=flat_part: fit(x, "plane", criterion="minimum_zone").require(),
            f"circle minimum zone {n}": lambda x=section: fit(x, "circle", criterion="minimum_zone"),
        }
        print(table(interleaved(runs, rounds=options.rounds)))


if __name__ == "__main__":
    main()
