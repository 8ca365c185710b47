"""Speed of our own fits: `python -m benchmarks.speed.fit`.

One Gauss-Newton pass over 1e6 points against one reading of them, whole fits from raw points at 1e3 and 1e6, fits
with a start, and the first fit of a new process with a warm cache.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.against.fit_shapes import part
from benchmarks.common import interleaved, print_environment
from metrology_core import fit
from metrology_core.blocks import run_blocks, thread_count, threads

KINDS = ("plane", "sphere", "circle", "cylinder", "cone", "torus")
FIRST = """
import time
import numpy as np, numba, metrology_core.fitting
x = np.random.default_rng(0).standard_normal((1000, 3))
x /= np.linalg.norm(x, axis=1)[:, None]
start = time.perf_counter()
metrology_core.fitting.fit(x, "sphere")
print(time.perf_counter() - start)
"""


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
    print_environment()
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
    seconds = [
        float(subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True).stdout)
        for _ in range(4)
    ]
    print(f"first fit of a new process, warm cache: {min(seconds[1:]):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
