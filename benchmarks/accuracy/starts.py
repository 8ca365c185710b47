"""Starts from raw points, systematically: `python -m benchmarks.accuracy.starts [--seeds N] [--features F...]`.

Every cell (feature, arc, shape, points, noise, place) is a set whose least-squares optimum is known by construction
(`metrology_core.testing.known_least_squares`). The public fit gets the points only, in random order. A set counts as

* right: the sum of squares of the known optimum (or a lower one) is reached;
* flagged: it is not, and the fit says so (not converged, other_minima, ill_conditioned, curvature_not_significant);
* missed: it is not, and the fit says nothing.

Prints the cells that are not all right, and the totals; exit status 1 where a set was missed.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.common import print_environment
from metrology_core import fit
from metrology_core.features import Circle, Cone, Cylinder, Feature, Sphere, Torus
from metrology_core.testing import known_least_squares

WARNINGS = {"other_minima", "ill_conditioned", "curvature_not_significant", "non_unique", "zero_redundancy"}
ARCS = (10.0, 20.0, 45.0, 90.0, 180.0, 360.0)
SHAPES: dict[str, tuple[float, ...]] = {
    "circle": (1.0,),
    "sphere": (1.0,),
    "cylinder": (0.02, 0.3, 2.0, 50.0),  # length / radius
    "cone": (1.0, 10.0, 30.0, 60.0, 80.0, 87.0),  # half-angle in degrees
    "torus": (0.1, 0.4, 0.9),  # minor / major radius
}
FEWEST = {"circle": 6, "sphere": 8, "cylinder": 10, "cone": 12, "torus": 14}
COUNTS = (0, 25, 100, 1000)  # 0: the fewest
RADIUS = 20.0


@dataclass(frozen=True)
class Cell:
    feature: str
    arc: float
    shape: float
    n: int
    noise: float
    away: float

    def __str__(self) -> str:
        return (
            f"{self.feature:9s} arc {self.arc:5.0f}  shape {self.shape:6.2f}  n {self.n:5d}  noise {self.noise:.0e}  "
            f"away {self.away:6.0f}"
        )


def cells(features: list[str]) -> Iterator[Cell]:
    for name in features:
        for arc, shape, n, noise, away in itertools.product(ARCS, SHAPES[name], COUNTS, (0.0, 1e-5), (0.0, 1e4)):
            yield Cell(name, arc, shape, n or FEWEST[name], noise, away)


def element(cell: Cell, rng: np.random.Generator) -> tuple[Feature, float | None]:
    """A feature in a random pose, and the length to sample."""
    axis = rng.standard_normal(3)
    place = rng.uniform(-50.0, 50.0, 3) + cell.away * np.array((0.6, -0.7, 0.4))
    if cell.feature == "circle":
        return Circle(place, axis, RADIUS), None
    if cell.feature == "sphere":
        return Sphere(place, RADIUS), None
    if cell.feature == "cylinder":
        return Cylinder(place, axis, RADIUS), cell.shape * RADIUS
    if cell.feature == "cone":
        psi = math.radians(cell.shape)
        return Cone(place, axis, RADIUS, psi), RADIUS * math.cos(psi)  # slant length: the radius
    return Torus(place, axis, RADIUS, cell.shape * RADIUS), None


def outcome(cell: Cell, seed: int) -> tuple[str, float]:
    """right, flagged or missed; and the seconds of the fit."""
    rng = np.random.default_rng((seed, int(cell.arc), int(100 * cell.shape), cell.n, cell.noise > 0.0, cell.away > 0.0))
    feature, length = element(cell, rng)
    sigma = cell.noise * RADIUS
    try:
        known = known_least_squares(
            feature, cell.n, sigma=max(sigma, 1e-300), seed=int(rng.integers(1 << 30)), length=length,
            arc=math.radians(cell.arc),
        )  # fmt: skip
    except np.linalg.LinAlgError:  # the generator found no independent columns
        return "right", 0.0
    points = known.points[rng.permutation(cell.n)]
    # a rounding of the coordinates is a displacement, too
    rounding = 2.0 * float(np.spacing(np.abs(points).max()))
    start = time.perf_counter()
    found = fit(points, cell.feature)
    seconds = time.perf_counter() - start
    best = float(np.sum(np.square(feature.distance(points))))
    if hasattr(feature, "height"):
        best += float(np.sum(np.square(feature.height(points))))
    if found.feature is not None and found.rms**2 * cell.n <= best * (1.0 + 1e-6) + cell.n * rounding**2:
        return "right", seconds
    honest = found.status != "converged" or WARNINGS & set(found.flags)
    return ("flagged" if honest else "missed"), seconds


def sweep(features: list[str], seeds: int, *, every: int = 1, first: int = 0) -> dict[Cell, Counter[str]]:
    """Outcomes of every cell (or of every `every`-th, for tests)."""
    table: dict[Cell, Counter[str]] = {}
    for cell in itertools.islice(cells(features), first, None, every):
        table[cell] = Counter(outcome(cell, seed)[0] for seed in range(seeds))
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--every", type=int, default=1, help="take every N-th cell")
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    print_environment()
    missed = 0
    for name in arguments.features:
        table = sweep([name], arguments.seeds, every=arguments.every, first=arguments.first)
        total: Counter[str] = Counter()
        for cell, row in table.items():
            total += row
            if row["right"] < row.total():
                print(f"{cell}  right {row['right']}  flagged {row['flagged']}  missed {row['missed']}")
        print(f"{name}: {len(table)} cells, {dict(total)}")
        missed += total["missed"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
