"""Speed of many small fits: `python -m benchmarks.speed.fit_many [items]`.

`fit_many` from raw points and with a start, beside a loop over `fit` and a loop over SciPy's `least_squares` (analytic
Jacobian, given a good start). The loops run on a sample and are extrapolated to all items, and the lines say so. Then
`fit_trials`: ten features of 50 points, 1e4 simulated repeats each, displacements drawn inside.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import print_environment
from metrology_core import fit, fit_many, fit_trials
from metrology_core.blocks import thread_count
from metrology_core.features import Feature
from metrology_core.testing.surfaces import sample_feet

LOOP = 100  # items of the loops


def cylinders(k: int, n: int, seed: int = 1) -> np.ndarray:
    """(k, n, 3): cylinders of radius 10 and length 20 mm in all directions and places, noise 5 um."""
    rng = np.random.default_rng(seed)
    a, z = rng.uniform(0.0, 2.0 * math.pi, (k, n)), rng.uniform(-10.0, 10.0, (k, n))
    r = 10.0 + 5e-3 * rng.standard_normal((k, n))
    local = np.stack((r * np.cos(a), r * np.sin(a), z), axis=-1)
    turn, _ = np.linalg.qr(rng.standard_normal((k, 3, 3)))
    return np.ascontiguousarray(local @ turn.transpose(0, 2, 1) + rng.uniform(-300.0, 300.0, (k, 1, 3)))


def scipy_cylinder(xyz: np.ndarray, start: Feature) -> np.ndarray:
    """Five parameters about the start's frame: shift (2), slope (2), radius."""
    from scipy.optimize import least_squares

    from metrology_core.features import basis

    u, v = basis(start.axis)
    x, y, g = ((xyz - start.point) @ np.column_stack((u, v, start.axis))).T

    def parts(p: np.ndarray) -> tuple[np.ndarray, ...]:
        a, b = x - p[0] - p[2] * g, y - p[1] - p[3] * g
        h = 1.0 / (1.0 + p[2] ** 2 + p[3] ** 2)
        t = p[2] * a + p[3] * b
        return a, b, t, np.sqrt(np.maximum(a * a + b * b - h * t * t, 1e-300)), np.full(1, h)

    def residuals(p: np.ndarray) -> np.ndarray:
        return parts(p)[3] - p[4]

    def jacobian(p: np.ndarray) -> np.ndarray:
        a, b, t, f, h = parts(p)
        da, db = (a - h * t * p[2]) / f, (b - h * t * p[3]) / f
        first = (-g * da) - h * t * a / f + h * h * t * t * p[2] / f
        second = (-g * db) - h * t * b / f + h * h * t * t * p[3] / f
        return np.column_stack((-da, -db, first, second, np.full(len(x), -1.0)))

    return np.asarray(least_squares(residuals, np.array((0.0, 0.0, 0.0, 0.0, start.radius)), jacobian, method="lm").x)


def best(work: Callable[[], object], rounds: int = 3) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> int:
    k = int(float(sys.argv[1])) if len(sys.argv) > 1 else 100_000
    print_environment()
    print(f"# threads: {thread_count()}; best of three")
    x = cylinders(k, 50)
    known = fit_many(x, "cylinder")
    starts = known.features()
    raw = best(lambda: fit_many(x, "cylinder"))
    print(f"fit_many   {k} cylinders of 50 points, raw points   {raw:8.3f} s  ({raw / k * 1e6:6.1f} us each)")
    assert known.converged.all()
    one = cylinders(1, 50)[0]
    repeats = one + 5e-3 * np.random.default_rng(2).standard_normal((k, 50, 3))
    nominal = fit(one, "cylinder").feature
    common = best(lambda: fit_many(repeats, "cylinder", start=nominal))
    print(f"fit_many   {k} repeats of one, with a start         {common:8.3f} s  ({common / k * 1e6:6.1f} us each)")
    each = best(lambda: [fit(item, "cylinder") for item in x[:LOOP]]) / LOOP * k
    print(f"fit, loop  extrapolated from {LOOP} items               {each:8.1f} s  ({each / raw:6.1f} times)")
    near = best(lambda: [fit(item, "cylinder", start=s) for item, s in zip(x[:LOOP], starts)]) / LOOP * k
    print(f"fit, loop  with a start, extrapolated from {LOOP}        {near:8.1f} s  ({near / common:6.1f} times)")
    peer = best(lambda: [scipy_cylinder(item, s) for item, s in zip(x[:LOOP], starts)]) / LOOP * k
    worst = max(abs(scipy_cylinder(item, s)[4] - s.radius) for item, s in zip(x[:20], starts))
    print(
        f"SciPy LM   with a start, extrapolated from {LOOP}        {peer:8.1f} s  ({peer / common:6.1f} times; "
        f"radius differs by at most {worst:.1e} mm)"
    )
    trials()
    zones()
    return 0


def _points(kind: str, rng: np.random.Generator) -> np.ndarray:
    from tests.core.fitting.parts import FEATURES as KNOWN

    feet = sample_feet(KNOWN[kind], 50, rng)
    return np.asarray(feet.points + 1e-3 * feet.directions[0] * rng.standard_normal(50)[:, None])


def trials(count: int = 10_000) -> None:
    """Ten features re-fitted to simulated repeats, the draws included."""
    rng = np.random.default_rng(3)
    kinds = ("plane", "plane", "plane", "cylinder", "cylinder", "cylinder", "cylinder", "circle", "sphere", "cone")
    parts = [(kind, _points(kind, rng)) for kind in kinds]

    def run() -> None:
        for number, (kind, xyz) in enumerate(parts):

            def draw(start: int, stop: int, number: int = number) -> np.ndarray:
                return 2e-3 * np.random.default_rng((4, number, start)).standard_normal((stop - start, 50))

            fit_trials(xyz, kind, draw, trials=count)

    seconds = best(run)
    print(f"fit_trials 10 features of 50 points, {count} trials       {seconds:8.3f} s")


def zones(count: int = 1_000) -> None:
    """Minimum zones of small features."""
    x = cylinders(count, 50, seed=5)
    for criterion in ("minimum_zone", "minimum_circumscribed", "maximum_inscribed"):
        many = best(lambda criterion=criterion: fit_many(x, "cylinder", criterion=criterion), 2)
        loop = best(lambda criterion=criterion: [fit(i, "cylinder", criterion=criterion) for i in x[:20]], 1) / 20
        print(
            f"fit_many   {count} cylinders, {criterion:22s} {many:8.3f} s  ({many / count * 1e6:6.0f} us each; a loop "
            f"over fit, from 20: {loop / many * count:5.1f} times)"
        )


if __name__ == "__main__":
    sys.exit(main())
