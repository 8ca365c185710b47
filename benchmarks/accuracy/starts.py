"""Own starts over the whole range that a fit claims: arcs, angles, slenderness, place, order and number of points.

    python -m benchmarks.accuracy.starts [--features cone,torus] [--repeats 3] [--noise 1e-5] [--list]

Every set is made on a known feature, moved 10 m from the origin, turned and shuffled. The optimum is the lowest of the
answer itself, the fit that starts at the truth and fits that start around it. Three outcomes: `reached` (that optimum,
converged), `told` (another answer, but its status is not `converged` or it carries `other_minima`), `silent` (another
answer that looks right: must never happen). Answers that were reached but not marked as converged count as `told`.
`undetermined`: no start leads to any feature, and the fit says so.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import fit
from metrology_core.data import Rigid
from metrology_core.errors import ParameterError
from metrology_core.features import (
    Circle,
    Circle2D,
    Cone,
    Cylinder,
    Ellipse,
    Ellipse2D,
    Feature,
    Line,
    Line2D,
    ParallelPlanes,
    Plane,
    Slot,
    Sphere,
    Torus,
)

OFFSET = np.array((6000.0, -7000.0, 4000.0))  # 10 m from the origin
R = 20.0
ARCS = (10.0, 20.0, 45.0, 90.0, 200.0, 360.0)
HALF_ANGLES = (1.0, 10.0, 30.0, 45.0, 60.0, 75.0, 87.0)
SLENDER = (0.02, 0.1, 0.5, 1.0, 5.0, 50.0)
# a cone narrower than its length allows has its apex among the points: the section radius is at the middle
EXTRA = (0, 1, 2, 4, 8, 20)  # points beyond the smallest number
MANY = (50, 64, 65, 150, 1000)
# rounding: coordinates of 1e4 are known to 1.8e-12, residuals of exact points to a few of those
ROUNDING = 4e-12


@dataclass(frozen=True)
class Cell:
    """One place of the range: the feature in its own frame and how its points are spread."""

    kind: str
    n: int
    spread: tuple[float, ...]  # arc, then what the kind says

    def __str__(self) -> str:
        return f"{self.kind} n={self.n} " + " ".join(f"{v:g}" for v in self.spread)


def sizes(kind: str) -> tuple[int, ...]:
    """Numbers of points, from the fewest that a fit takes."""
    fewest = {
        "line": 2, "line2d": 2, "plane": 3, "circle": 3, "circle2d": 3, "sphere": 4, "cylinder": 5, "cone": 6,
        "torus": 7, "ellipse": 5, "ellipse2d": 5, "slot": 8, "parallel_planes": 4,
    }[kind]  # fmt: skip
    return tuple(sorted({fewest + e for e in EXTRA} | set(MANY)))


def cells(kind: str) -> Iterator[Cell]:
    """All cells of a kind."""
    grids: dict[str, tuple[tuple[float, ...], ...]] = {
        "line": (SLENDER,),
        "line2d": (SLENDER,),
        "plane": (SLENDER,),
        "circle": (ARCS,),
        "circle2d": (ARCS,),
        "sphere": (ARCS,),
        "cylinder": (ARCS, SLENDER),
        "cone": (ARCS, SLENDER, HALF_ANGLES),
        "torus": (ARCS, ARCS, (0.05, 0.3, 0.8)),
        "ellipse": (ARCS[2:], (0.2, 0.6, 0.95)),
        "ellipse2d": (ARCS[2:], (0.2, 0.6, 0.95)),
        "slot": ((1.2, 3.0, 20.0),),
        "parallel_planes": ((0.05, 1.0, 20.0),),
    }
    for n in sizes(kind):
        for spread in itertools.product(*grids[kind]):
            if kind == "cone" and spread[1] * math.sin(math.radians(spread[2])) >= 1.9:
                continue  # it would pass through its own apex
            yield Cell(kind, n, spread)


def spread_over(low: float, high: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """n numbers over a range: both ends are there, as a measuring plan would have it."""
    values = rng.uniform(low, high, n)
    values[:2] = (low, high)[:n]
    rng.shuffle(values)
    return values


def make(cell: Cell, noise: float, seed: int) -> tuple[np.ndarray, Feature]:
    """Points (n, 3 or 2) and the feature they were made on."""
    rng = np.random.default_rng([seed, cell.n, *(int(1000 * v) for v in cell.spread)])
    n, s = cell.n, cell.spread
    zero, z_axis, x_axis = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
    feature: Feature
    kind = cell.kind
    if kind in ("circle", "circle2d", "cylinder", "cone", "torus", "ellipse", "ellipse2d"):
        arc = math.radians(s[0])
        t = spread_over(0.0, arc if s[0] < 360.0 else arc * (1.0 - 1.0 / n), n, rng)
        c, d = np.cos(t), np.sin(t)
    if kind in ("line", "line2d"):
        x = np.column_stack([spread_over(-R, R, n, rng), np.zeros(n), np.zeros(n)])
        feature = Line(zero, x_axis)
    elif kind == "plane":
        x = np.column_stack([spread_over(-R, R, n, rng), s[0] * spread_over(-R, R, n, rng), np.zeros(n)])
        feature = Plane(zero, z_axis)
    elif kind in ("circle", "circle2d"):
        x = np.column_stack([R * c, R * d, np.zeros(n)])
        feature = Circle(zero, z_axis, R)
    elif kind == "sphere":
        cap = spread_over(math.cos(math.radians(0.5 * s[0])), 1.0, n, rng)
        ring, t = np.sqrt(np.maximum(0.0, 1.0 - cap * cap)), rng.uniform(0.0, 2.0 * math.pi, n)
        x = R * np.column_stack([ring * np.cos(t), ring * np.sin(t), cap])
        feature = Sphere(zero, R)
    elif kind == "cylinder":
        x = np.column_stack([R * c, R * d, s[1] * R * spread_over(-0.5, 0.5, n, rng)])
        feature = Cylinder(zero, z_axis, R)
    elif kind == "cone":
        psi = math.radians(s[2])
        along = s[1] * R * spread_over(-0.5, 0.5, n, rng)
        f = R + along * math.sin(psi)
        x = np.column_stack([f * c, f * d, along * math.cos(psi)])
        feature = Cone(zero, z_axis, R, psi)
    elif kind == "torus":
        tube = math.radians(s[1])
        v = rng.uniform(0.0, 2.0 * math.pi) + spread_over(0.0, tube if s[1] < 360.0 else tube * (1 - 1 / n), n, rng)
        minor = s[2] * R
        f = R + minor * np.cos(v)
        x = np.column_stack([f * c, f * d, minor * np.sin(v)])
        feature = Torus(zero, z_axis, R, minor)
    elif kind in ("ellipse", "ellipse2d"):
        turn = rng.uniform(0.0, 2.0 * math.pi)
        c, d = np.cos(t + turn), np.sin(t + turn)
        x = np.column_stack([R * c, s[1] * R * d, np.zeros(n)])
        feature = Ellipse(zero, z_axis, x_axis, R, s[1] * R)
    elif kind == "slot":
        width = 2.0 * R
        straight = (s[0] - 1.0) * width
        outline = 2.0 * straight + math.pi * width
        place = (np.arange(n) + rng.uniform(0.1, 0.9, n)) / n * outline
        x = np.zeros((n, 3))
        for i, p in enumerate(place):
            half = outline / 2.0
            side, p = (1.0, p) if p < half else (-1.0, p - half)
            if p < straight:
                x[i, :2] = side * (p - 0.5 * straight), -side * 0.5 * width
            else:
                a = -0.5 * math.pi + (p - straight) / (0.5 * width)
                x[i, :2] = side * (0.5 * straight + 0.5 * width * math.cos(a)), side * 0.5 * width * math.sin(a)
        feature = Slot(zero, z_axis, x_axis, straight + width, width)
    else:
        width = s[0] * R
        side = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
        x = np.column_stack([spread_over(-R, R, n, rng), spread_over(-R, R, n, rng), 0.5 * width * side])
        feature = ParallelPlanes(zero, z_axis, width)
    x = x + noise * R * rng.standard_normal(x.shape)
    if kind.endswith("2d"):
        turn = rng.uniform(-3.0, 3.0)
        a, b = math.cos(turn), math.sin(turn)
        flat = x[:, :2] @ np.array(((a, b), (-b, a))) + OFFSET[:2]
        place = OFFSET[:2]
        if kind == "line2d":
            feature = Line2D(place, (a, b))
        elif kind == "circle2d":
            feature = Circle2D(place, R)
        else:
            feature = Ellipse2D(place, (a, b), R, s[1] * R)
        return flat[rng.permutation(n)], feature
    motion = Rigid.from_rotation_vector(rng.uniform(-2.0, 2.0, 3), OFFSET)
    return motion.apply(x)[rng.permutation(n)], feature.transform(motion)


def around(truth: Feature, scale: float, rng: np.random.Generator) -> Feature:
    """The truth, displaced at random by a share of its size."""
    step = rng.standard_normal(len(truth.chart))
    for i, name in enumerate(truth.chart):
        angle = name.startswith(("tilt", "rotation", "half_angle"))
        step[i] *= scale if angle else scale * R
    try:
        return truth.moved(step)
    except ParameterError:  # a size that would turn negative
        return truth


@dataclass(frozen=True)
class Outcome:
    """What became of one set."""

    cell: Cell
    seed: int
    word: str  # reached, told, silent
    status: str
    rms: float
    best: float
    flags: tuple[str, ...]


def judge(cell: Cell, noise: float, seed: int, twins: int = 6) -> Outcome:
    """Fit one set and compare with the best that is known."""
    points, truth = make(cell, noise, seed)
    found = fit(points, truth.kind)
    rng = np.random.default_rng(seed)
    starts = [truth, *(around(truth, 10.0 ** rng.uniform(-3.0, -0.5), rng) for _ in range(twins))]
    best = found.rms if found.feature is not None else math.inf
    if found.status != "converged" or best > ROUNDING:
        for start in starts:
            other = fit(points, truth.kind, start=start)
            if other.status == "converged" and other.rms < best:
                best = other.rms
    right = found.feature is not None and found.rms <= best * (1.0 + 1e-9) + ROUNDING
    exact = "zero_redundancy" in found.flags and found.rms <= ROUNDING  # one of many exact answers, and said so
    marked = (found.status != "converged" and not exact) or "other_minima" in found.flags
    word = (
        "told"
        if marked and (not right or not (exact or found.status == "converged"))
        else ("reached" if right else "silent")
    )
    if found.feature is None and not best < math.inf:
        word = "undetermined"  # no start leads anywhere: the points do not determine the feature
    return Outcome(cell, seed, word, found.status, found.rms, best, found.flags)


def sweep(kind: str, noise: float, repeats: int, every: int = 1) -> list[Outcome]:
    """All cells of a kind (or every k-th)."""
    return [judge(cell, noise, seed) for cell in list(cells(kind))[::every] for seed in range(repeats)]


KINDS = (
    "line", "line2d", "plane", "circle", "circle2d", "sphere", "cylinder", "cone", "torus", "ellipse", "ellipse2d",
    "slot", "parallel_planes",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", default=",".join(KINDS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--noise", type=float, default=1e-5, help="standard deviation over the radius of 20")
    parser.add_argument("--list", action="store_true", help="print every set that was not reached")
    chosen = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    for kind in chosen.features.split(","):
        outcomes = sweep(kind, chosen.noise, chosen.repeats, chosen.every)
        words = Counter(o.word for o in outcomes)
        total += words
        stops = Counter(o.status for o in outcomes if o.word == "told")
        n = len(outcomes)
        sys.stdout.write(
            f"{kind:16s} {n:6d} sets  reached {100 * words['reached'] / n:6.2f} %  told {words['told']:5d} "
            f"({', '.join(f'{k} {v}' for k, v in stops.most_common()) or 'none'})  silent {words['silent']}\n"
        )
        short: dict[Any, Counter[str]] = {}
        for o in outcomes:
            short.setdefault((o.cell.n, *o.cell.spread[:1]), Counter())[o.word] += 1
        worst = sorted(short.items(), key=lambda item: item[1]["reached"] / sum(item[1].values()))[:4]
        for key, count in worst:
            if count["reached"] < sum(count.values()):
                sys.stdout.write(f"    n={key[0]}, {key[1]:g}: {dict(count)}\n")
        if chosen.list:
            for o in outcomes:
                if o.word != "reached":
                    sys.stdout.write(
                        f"    {o.word:7s} {o.cell} seed {o.seed}: {o.status} rms {o.rms:.3e} best {o.best:.3e} "
                        f"{','.join(o.flags)}\n"
                    )
        sys.stdout.flush()
    sys.stdout.write(f"all: {dict(total)}\n")
    return 0 if not total["silent"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
