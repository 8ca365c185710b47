"""A fit of a file larger than memory should be: time, passes and the most memory that the process ever held.


Writes an HDF5 file of float64 points with a known feature (24 bytes a point), fits it in a process of its own by
`fit(Hdf5Points(...))`, and prints the largest resident size (`resource`), which includes Python, NumPy and the kernels.
The file is deleted afterwards.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import print_environment

BLOCK = 1 << 20
PLACE = np.array((120.0, -80.0, 45.0))


def write(path: Path, n: int, feature: str) -> None:
    """n noisy points (1 um) on a cylinder of radius 12.5 mm, or a sphere."""
    from metrology_core.hdf5 import open_new

    rng = np.random.default_rng(4)
    with open_new(path) as file:
        data = file.create_dataset("points", (n, 3), dtype="f8")
        data.attrs["unit"] = "mm"
        for a in range(0, n, BLOCK):
            m = min(BLOCK, n - a)
            t, z = rng.uniform(0.0, 2.0 * math.pi, m), rng.uniform(-1.0, 1.0, m)
            r = 12.5 + 1e-3 * rng.standard_normal(m)
            ring = np.sqrt(1.0 - z * z) if feature == "sphere" else np.ones(m)
            height = r * z if feature == "sphere" else 40.0 * z
            data[a : a + m] = np.column_stack([r * ring * np.cos(t), r * ring * np.sin(t), height]) + PLACE


def child(path: Path, feature: str) -> None:
    """Fit, print what it took."""
    from metrology_core import fit
    from metrology_core.hdf5 import Hdf5Points

    rng = np.random.default_rng(1)
    fit(rng.standard_normal((200_000, 3)), feature)  # loads the kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    with Hdf5Points(path) as source:
        found = fit(source, feature).require()
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    place = found.parameters.get("center", found.parameters.get("point"))
    sys.stdout.write(
        f"{found.n_points} points, {found.optimality['passes']} passes of the solver: {seconds:.1f} s; radius - 12.5 = "
        f"{found.parameters['radius'] - 12.5:.2e} (u {found.standard_uncertainty['radius']:.1e}), "
        f"centre off by {np.abs(np.cross(place - PLACE, found.parameters.get('axis', place - PLACE))).max():.1e}\n"
        f"largest resident size: {before / 1024:.0f} MB before, {after / 1024:.0f} MB after; "
        f"the points are {24e-6 * found.n_points:.0f} MB\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=float, default=3e7)
    parser.add_argument("--feature", choices=["cylinder", "sphere"], default="cylinder")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.file is not None:
        child(chosen.file, chosen.feature)
        return 0
    print_environment()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "points.h5"
        write(path, int(chosen.points), chosen.feature)
        command = [sys.executable, "-m", "benchmarks.speed.blocks", "--feature", chosen.feature, "--file", str(path)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
