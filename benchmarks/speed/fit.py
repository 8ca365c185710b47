"""Speed of our own fits: `python -m benchmarks.speed.fit`.

One Gauss-Newton pass over 1e6 points against one reading of them, whole fits from raw points at 1e3 and 1e6, fits
with a start, and the first fit of a new process with a warm cache.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from benchmarks.against.fit_shapes import part
from benchmarks.common import interleaved, print_environment
from metrology_core import fit
from metrology_core.blocks import run_blocks, thread_count

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


def passes(n: int) -> None:
    """One accumulate pass of each feature against one sum of all coordinates."""
    from metrology_core.kernels import fitmain as k
    from metrology_core.kernels import layout

    chunks = (n + layout.CHUNK - 1) // layout.CHUNK
    partials, sums = np.empty((chunks, layout.N_SUMS)), np.empty((chunks, layout.N_MOMENTS))
    centre, none = np.zeros(3), np.empty(0)
    for kind in KINDS:
        code = layout.KIND_NAMES.index(kind)
        flat = part(kind, n, 360.0).reshape(-1)
        pose = np.zeros(layout.POSE)
        pose[[3, 7, 11]] = 1.0
        pose[12:] = (25.0, 0.3)
        timings = interleaved(
            {
                "pass": lambda flat=flat, code=code, pose=pose: run_blocks(
                    lambda a, b: k.accumulate(code, flat, none, centre, 1.0, pose, a, b, partials), chunks
                ),
                "box": lambda flat=flat: run_blocks(lambda a, b: k.extremes(flat, a, b, sums), chunks),
                "read": lambda flat=flat: run_blocks(
                    lambda a, b: flat[3 * a * layout.CHUNK : 3 * b * layout.CHUNK].sum(), chunks
                ),
            },
            rounds=9,
        )
        one, read = timings["pass"].median, timings["read"].median
        print(f"{kind:9s} pass {one / n * 1e9:6.2f} ns/point   read {read / n * 1e9:5.2f}   ratio {one / read:5.2f}")


def main() -> int:
    print_environment()
    print(f"# threads: {thread_count()}")
    passes(1_000_000)
    for n, rounds in ((1000, 40), (1_000_000, 7)):
        for kind in KINDS:
            x = part(kind, n, 360.0)
            known = fit(x, kind).require().feature
            timings = interleaved(
                {
                    "raw": lambda x=x, kind=kind: fit(x, kind),
                    "start": lambda x=x, kind=kind, known=known: fit(x, kind, start=known),
                },
                rounds=rounds,
            )
            raw, start = timings["raw"].median * 1e3, timings["start"].median * 1e3
            print(f"{kind:9s} {n:8d} points: from raw points {raw:9.3f} ms, with a start {start:9.3f} ms")
    seconds = [
        float(subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True).stdout)
        for _ in range(4)
    ]
    print(f"first fit of a new process, warm cache: {min(seconds[1:]):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
