"""A lot of SEM images of lines under Dask on this machine: wall time, images per second, memory of the workers.

    python -m benchmarks.speed.sem_lot [--images 1000] [--distinct 8] [--workers 2] [--size 1024] [--json]

Few distinct images are simulated and written under many names: reading, digests, measurement and records are those of
different files. The run is that of ``abbe run`` without the report; the time includes the start of the cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.common import environment, print_environment
from wafer.simulate import simulate_lines

RECIPE = """\
schema: abbe/recipe/1
name: lot
inputs: {files: ["*.tif"], format: image}
measure:
  kind: sem_lines
  pixel: {x: 0.8 nm, y: 0.8 nm, u_relative: 0.5 %}
  characteristics:
    - {name: pitch, characteristic: sem.pitch}
    - {name: CD, characteristic: sem.cd_line}
    - {name: LWR, characteristic: sem.lwr_unbiased_3s}
    - {name: LER, characteristic: sem.ler_unbiased_3s}
"""


def resident(pid: int) -> tuple[int, int]:
    """Parent and resident bytes of a process (Linux); (0, 0) where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if len(line.split()) > 1}
    return int(fields.get("PPid", 0)), 1024 * int(fields.get("VmRSS", 0))


class Watch(threading.Thread):
    """Largest resident memory of any descendant of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest, self.done = 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            table = {int(p.name): resident(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
            mine = {os.getpid()}
            for _ in range(4):
                mine |= {pid for pid, (parent, _) in table.items() if parent in mine}
            sizes = [table[pid][1] for pid in mine if pid in table and pid != os.getpid()]
            self.largest = max(self.largest, *sizes, 0) if sizes else self.largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--distinct", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    import tifffile

    from benchmarks.accuracy.sem_edges import model
    from pipelines.run import run_recipe
    from pipelines.store import RunFolder

    m = model(4.0, 2.0, shape=(arguments.size, arguments.size), pitch=42 * 0.8, cd=21 * 0.8, sigma=0.8)
    folder = Path(tempfile.mkdtemp(prefix="sem-lot-"))
    try:
        drawn = [simulate_lines(m, seed=k).pixels for k in range(arguments.distinct)]
        for k in range(arguments.images):
            tifffile.imwrite(folder / f"i{k:05d}.tif", drawn[k % len(drawn)])
        (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        watch = Watch()
        watch.start()
        start = time.perf_counter()
        run_recipe(folder / "recipe.yaml", out=folder / "run", report=False, workers=arguments.workers)
        seconds = time.perf_counter() - start
        watch.done.set()
        outcomes = RunFolder(folder / "run").outcomes()
        failed = sum(o.outcome not in ("measured", "measured_with_flags") for o in outcomes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    facts = {
        "images": arguments.images, "size": arguments.size, "workers": arguments.workers, "seconds": seconds,
        "images_per_second": arguments.images / seconds, "failed": failed,
        "largest_process_mb": watch.largest / 2**20,
    }  # fmt: skip
    if arguments.json:
        print(json.dumps({"environment": environment(), **facts}, indent=1))
        return
    print_environment()
    for name, value in facts.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    main()
