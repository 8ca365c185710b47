"""Speed of our own fits: `python -m benchmarks.speed.fit`.

One Gauss-Newton pass over 1e6 points against one reading of them, whole fits from raw points at 1e3 and 1e6, fits
with a start, memory, and the first fit of a new process with a warm cache; `--first`: only the first fit on a machine,
with an empty cache, and the first of a process after it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable

import numpy as np

from benchmarks.against.fit_shapes import part
from benchmarks.common import interleaved, print_environment
from metrology_core import fit
from metrology_core.blocks import run_blocks, thread_count, threads

KINDS = ("plane", "sphere", "circle", "cylinder", "cone", "torus")
FIRST = """
import sys
import time
import numba, metrology_core.fitting
from benchmarks.against.fit_shapes import part
x = part(sys.argv[1], 1000, 360.0)
start, work = time.perf_counter(), time.process_time()
metrology_core.fitting.fit(x, sys.argv[1])
print(time.perf_counter() - start, time.process_time() - work)
"""


def first_fit(kind: str, cache: str | None = None) -> tuple[float, float]:
    """Seconds on the clock and of the processor that the first fit of a new process takes, imports apart."""
    where = os.environ if cache is None else {**os.environ, "ABBE_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", FIRST, kind], capture_output=True, text=True, check=True, env=where)
    clock, work = map(float, done.stdout.split())
    return clock, work


def first_ever() -> None:
    """The first fit with an empty cache of compiled code, and the next process."""
    for kind in ("plane", "sphere", "cylinder"):
        with tempfile.TemporaryDirectory() as cache:
            (clock, work), (again, _) = first_fit(kind, cache), first_fit(kind, cache)
        print(f"{kind:9s} first fit on a machine: {clock:.1f} s, processor {work:.1f} s; next process {again:.3f} s")


def memory(n: int) -> None:
    """Largest memory of a fit, the points included, over that of the points."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    ring = np.column_stack((np.cos(angle), np.sin(angle))) + 1e-4 * rng.standard_normal((n, 2))
    bad = part("cylinder", n, 360.0).copy()
    bad[::1000] = np.nan
    line = np.column_stack((angle, 0.1 * angle)) + 1e-4 * rng.standard_normal((n, 2))
    for name, points, kind in (
        ("cylinder (n, 3)", part("cylinder", n, 360.0), "cylinder"), ("cylinder, some not finite", bad, "cylinder"),
        ("circle (n, 2)", ring, "circle"), ("line (n, 2)", line, "line"),
    ):  # fmt: skip
        fit(points, kind)
        tracemalloc.start()
        fit(points, kind)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:26s} {n} points: {1.0 + peak / points.nbytes:.2f} times the memory of the points")


def passes(n: int, copies: int) -> None:
    """One pass of the solver against one reading of the same points, on one thread and on all.

    `copies` arrays are visited in turn: one stays in the caches as far as they reach, many come from memory. A reading
    is the faster of two: NumPy's sum, and the library's pass for smallest, largest and finite coordinates, which does
    little more than read.
    """
    from metrology_core.kernels import fitmain as k
    from metrology_core.kernels import layout

    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    partials, rows = np.empty((chunks, layout.N_SUMS)), np.empty((chunks, layout.N_MOMENTS))
    centre, none = np.zeros(3), np.empty(0)
    pose = np.zeros(layout.POSE)
    pose[[3, 7, 11]] = 1.0
    pose[12:] = (25.0, 0.3)
    flats = [part("sphere", n, 360.0).reshape(-1) for _ in range(copies)]
    turn = itertools.cycle(flats)

    def over(work: Callable[[np.ndarray, int, int], object]) -> Callable[[], None]:
        def once() -> None:
            flat = next(turn)
            run_blocks(lambda a, b: work(flat, a, b), chunks)

        return once

    def sums(flat: np.ndarray, a: int, b: int, code: int) -> None:
        k.accumulate(code, flat, none, centre, 1.0, pose, a, b, partials)

    runs = {
        "sum": over(lambda flat, a, b: flat[3 * a * layout.CHUNK : 3 * b * layout.CHUNK].sum()),
        "extremes": over(lambda flat, a, b: k.extremes(flat, a, b, rows)),
        "moments": over(lambda flat, a, b: k.moments(flat, none, centre, 1.0, a, b, rows)),
    } | {kind: over(functools.partial(sums, code=layout.KIND_NAMES.index(kind))) for kind in KINDS}
    where = "again and again" if copies == 1 else f"{copies} arrays in turn"
    for count in sorted({1, thread_count()}):
        with threads(count):
            timings = {name: timing.best / n * 1e9 for name, timing in interleaved(runs, rounds=15).items()}
        read = min(timings["sum"], timings["extremes"])
        print(f"{n} points, {where}, {count} threads: ns/point, and times the faster reading")
        for name, time in timings.items():
            print(f"  {name:9s} {time:6.2f} {time / read:6.2f}   (sum {time / timings['sum']:5.2f})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    print_environment()
    if options.first:
        first_ever()
        return 0
    print(f"# threads: {thread_count()}")
    passes(1_000_000, 1)
    passes(1_000_000, 12)
    for n, rounds in ((1000, 40), (1_000_000, 7)):
        for kind in KINDS:
            runs = {}
            for coverage in (360.0,) if kind == "plane" else (360.0, 60.0):
                x = part(kind, n, coverage)
                known = fit(x, kind).require().feature
                runs[f"{coverage:.0f} deg"] = lambda x=x, kind=kind: fit(x, kind)
                runs[f"{coverage:.0f} deg with a start"] = lambda x=x, kind=kind, known=known: fit(x, kind, start=known)
            words = [f"{name} {timing.median * 1e3:.3f}" for name, timing in interleaved(runs, rounds=rounds).items()]
            print(f"{kind:9s} {n:8d} points, ms: {', '.join(words)}")
    memory(1_000_000)
    print(f"first fit of a new process, warm cache: {min(first_fit('sphere')[0] for _ in range(4)):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
