"""Large scans from a file: `python -m benchmarks.speed.deviation_stream --points 1e7 [--kill 20] [--folder DIR]`.

Writes an HDF5 file of points near a part of a million triangles (random order, 5 um of noise, two dents), runs `abbe
deviation` on it as a user does, and prints the wall time and the largest memory of the process. With ``--kill`` the
command is killed (no signal that it could catch) after so many seconds and gone on with by `--resume`; the record must
have the same bytes as that of a run that was not stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import print_environment
from benchmarks.parts import bumpy_torus
from metrology_core.data import Rigid
from metrology_core.hdf5 import open_new

NOISE, DENTS = 5e-3, ((0.7, -0.12), (3.9, 0.08))  # mm; angle on the outer side and depth of the two dents


def write_nominal(path: Path, triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """A binary PLY in double precision."""
    v, f = bumpy_torus(triangles)
    with path.open("wb") as file:
        head = (
            f"ply\nformat binary_little_endian 1.0\nelement vertex {len(v)}\n"
            "property double x\nproperty double y\nproperty double z\n"
            f"element face {len(f)}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        file.write(head.encode())
        file.write(np.ascontiguousarray(v, dtype="<f8").tobytes())
        rows = np.empty(len(f), dtype=[("n", "u1"), ("i", "<i4", 3)])
        rows["n"], rows["i"] = 3, f
        file.write(rows.tobytes())
    return v, f


def write_scan(path: Path, v: np.ndarray, f: np.ndarray, n: int) -> None:
    rng = np.random.default_rng(1)
    middle = v.mean(axis=0)
    motion = Rigid.from_rotation_vector([0.002, -0.003, 0.004], [0.1, -0.2, 0.15])
    with open_new(path) as file:
        data = file.create_dataset("points", shape=(n, 3), dtype="f8")
        data.attrs["units"] = "mm"
        for start in range(0, n, 1_000_000):
            count = min(1_000_000, n - start)
            corners = v[f[rng.integers(len(f), size=count)]]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            normal /= np.linalg.norm(normal, axis=1)[:, None]
            on = np.einsum("ij,ijk->ik", rng.dirichlet([1.0] * 3, count), corners)
            away = NOISE * rng.standard_normal(count)
            for angle, depth in DENTS:
                at = middle + 49.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
                away += depth * np.exp(-np.sum((on - at) ** 2, axis=1) / 8.0)
            data[start : start + count] = motion.apply(on + away[:, None] * normal)


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "pipelines", "deviation", str(folder / "scan.h5"), str(folder / "nominal.ply"), "--unit",
        "mm", "--tolerance", "0.06 mm", "--noise", f"{NOISE} mm", "--loss", "tukey", "--out", str(out), "--json", *more,
    ]  # fmt: skip


def run(line: list[str], kill: float | None = None) -> tuple[float, float, dict[str, Any] | None]:
    """Seconds, largest resident memory in MB, the answer (None where it was killed)."""
    began = time.monotonic()
    process = subprocess.Popen(line, stdout=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/status")
    most = 0.0
    while process.poll() is None:
        for row in status.read_text().splitlines() if status.exists() else []:
            if row.startswith("VmHWM"):
                most = max(most, float(row.split()[1]) / 1024.0)
        if kill is not None and time.monotonic() - began > kill:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return time.monotonic() - began, most, None
        if process.stdout is not None and most > 0.0:
            time.sleep(0.2)
    text = process.stdout.read() if process.stdout is not None else b""
    return time.monotonic() - began, most, json.loads(text)


def digest(out: Path) -> str:
    return "".join(hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "run/measurements").glob("*.h5")))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=float, default=1e7)
    parser.add_argument("--triangles", type=float, default=1e6)
    parser.add_argument("--kill", type=float, help="seconds after which a second run is killed and resumed")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary folder)")
    chosen = parser.parse_args(arguments)
    print_environment()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        v, f = write_nominal(folder / "nominal.ply", int(chosen.triangles))
        scan = folder / "scan.h5"
        if not scan.exists():
            write_scan(scan, v, f, int(chosen.points))
        print(f"# {os.path.getsize(scan) / 1e9:.2f} GB of points", flush=True)
        for name in ("whole", "broken"):
            shutil.rmtree(folder / name, ignore_errors=True)
        took, memory, answer = run(command(folder, folder / "whole"))
        assert answer is not None
        n = answer["statistics"]["n"]
        print(f"{n} of {chosen.points:g} points: {took:.0f} s in all, largest memory {memory:.0f} MB")
        for row in answer["places"][:2]:
            u = row["u"]
            print(f"  {row['label']}: {row['value']:+.4f} mm, u {u:.4f} mm, {row['n']} points")
        print(f"  true: {', '.join(f'{depth:+.4f}' for _, depth in DENTS)} mm; sd {answer['statistics']['sd']:.5f} mm")
        if chosen.kill:
            took, memory, _ = run(command(folder, folder / "broken"), chosen.kill)
            print(f"killed after {took:.0f} s (memory {memory:.0f} MB)", flush=True)
            took, memory, again = run(command(folder, folder / "broken", "--resume"))
            assert again is not None
            same = digest(folder / "broken") == digest(folder / "whole")
            print(f"gone on with: {took:.0f} s, memory {memory:.0f} MB; same bytes: {same}")
            return 0 if same else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
