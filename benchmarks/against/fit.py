"""Least-squares fits beside their peers in one run: `python -m benchmarks.against.fit [--feature F] [--points N]
[--coverage DEG] [--rounds R] [--limit S] [--peer P]`.

Ours starts from raw points, SciPy gets an analytic Jacobian and a good start (see fit_peers). Every peer lives in its
own process; peers take turns, with a pause in which idle BLAS threads of the last one fall asleep. Printed: medians,
peer over ours (medians, and best over best for a busy machine), the least processor time of all threads together, and
the largest difference from the exact optimum at the points (fit_shapes), then the goals of the project as PASS or miss,
by the medians.
"abbe after BLAS": the clock starts right after a threaded matrix product in our process.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time

from benchmarks.against.fit_peers import PEERS, version
from benchmarks.against.fit_shapes import KINDS
from benchmarks.against.fit_worker import Worker
from benchmarks.common import print_environment

PAUSE_S = 0.1  # OpenBLAS threads spin some ten milliseconds after their last work
ONCE_FROM_S = 3.0  # a peer this slow is timed once
AFTER = "abbe after BLAS"
# peer over ours at 1e6 points
RATIOS = {
    ("plane", "numpy"): 8.0, ("sphere", "scipy"): 40.0, ("circle", "scipy"): 40.0, ("cylinder", "scipy"): 40.0,
    ("cone", "scipy"): 40.0, ("torus", "scipy"): 40.0, ("sphere", "engeom"): 25.0,
}  # fmt: skip
# ours at 1e3 points, microseconds
SMALL = {"plane": 100.0, "sphere": 100.0, "circle": 300.0, "cylinder": 300.0, "cone": 600.0, "torus": 600.0}
MODULES = {"scikit-spatial": "skspatial.objects", "cgal": "CGAL.CGAL_Shape_detection", "scipy tight": "scipy"}


def present() -> list[str]:
    """Peers that import, each tried in this process; says which do not."""
    found = ["abbe"]
    for name in PEERS:
        if name == "abbe":
            continue
        try:
            importlib.import_module(MODULES.get(name, name))
            found.append(name)
            print(f"# {name}: {version(name)}")
        except ImportError as problem:
            print(f"# {name}: absent ({problem})")
    return found


def case(kind: str, n: int, coverage: float, workers: dict[str, Worker], rounds: int, limit: float) -> list[str]:
    """Time all peers on one part; returns the lines about the goals."""
    taking: dict[str, float] = {}
    once: dict[str, float] = {}
    notes: dict[str, str] = {}
    for name, worker in workers.items():
        if name == AFTER and "abbe" not in taking:
            continue
        ready = worker.prepare(kind=kind, n=n, coverage=coverage)
        if ready is None or "failed" in ready:
            notes[name] = "not prepared in time" if ready is None else ready["failed"]
        elif ready["has"]:
            worker.ask({"do": "time", "spin": False, "estimate": 1e9}, 120.0 if name == "abbe" else limit)
            first = worker.ask({"do": "time", "spin": False, "estimate": 1e9}, limit)
            if first is None or "failed" in first:
                notes[name] = f"> {limit:.0f} s" if first is None else first["failed"]
            else:
                taking[name] = first["seconds"]
                once[name] = first["cpu"]
    seconds: dict[str, list[float]] = {name: [] for name in taking}
    work: dict[str, list[float]] = {name: [] for name in taking}
    for turn in range(rounds):
        names = list(taking) if turn % 2 == 0 else list(reversed(taking))
        for name in names:
            if taking[name] > ONCE_FROM_S:
                seconds[name], work[name] = [taking[name]], [once[name]]
                continue
            time.sleep(PAUSE_S)
            answer = workers[name].ask({"do": "time", "spin": name == AFTER, "estimate": taking[name]}, limit)
            if answer is not None and "seconds" in answer:
                seconds[name].append(answer["seconds"])
                work[name].append(answer["cpu"])
    medians = {name: statistics.median(values) for name, values in seconds.items() if values}
    ours = medians.get("abbe", float("nan"))
    best = min(seconds.get("abbe") or [float("nan")])
    for name in workers:
        head = f"{kind:9s} {n:8d} {coverage:4.0f}  {name:17s}"
        if name in medians:
            answer = None if name == AFTER else workers[name].ask({"do": "error"}, limit + 60.0)
            error = (answer or {}).get("error")
            words = f"{error * 1e6:10.2e}" if error is not None else f"{'-':>10s}"
            runs = "  once" if len(seconds[name]) == 1 else ""
            times = f"{medians[name] * 1e3:12.3f} {medians[name] / ours:9.2f} {min(seconds[name]) / best:9.2f}"
            times += f" {min(work[name]) * 1e3:11.3f}"
            print(f"{head} {times} {words}{runs}", flush=True)
        elif name in notes:
            print(f"{head} {notes[name]}", flush=True)
    lines = []
    if n == 1_000_000:
        for (feature, peer), goal in RATIOS.items():
            if feature == kind and peer in medians:
                ratio = medians[peer] / ours
                word = "PASS" if ratio >= goal else "miss"
                lines.append(f"{word}  {kind} {coverage:.0f} deg, 1e6 points: {ratio:.1f} x {peer}, goal {goal:.0f}")
    if n == 1000:
        word = "PASS" if ours * 1e6 <= SMALL[kind] else "miss"
        lines.append(f"{word}  {kind} {coverage:.0f} deg, 1e3 points: {ours * 1e6:.0f} us, goal {SMALL[kind]:.0f}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feature", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--points", type=int, nargs="*", default=[1000, 1_000_000])
    parser.add_argument("--coverage", type=float, nargs="*", default=[360.0, 60.0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one fit of a peer")
    parser.add_argument("--peer", nargs="*", default=None, help="only these")
    arguments = parser.parse_args()
    print_environment()
    print("# threads: each peer's default; ours 2 (one per usable core)")
    names = [name for name in present() if name == "abbe" or arguments.peer is None or name in arguments.peer]
    workers = {name: Worker(name) for name in names}
    workers[AFTER] = workers["abbe"]
    print(
        "feature     points  deg  peer                       ms    / ours      best      cpu ms   error nm", flush=True
    )
    lines: list[str] = []
    try:
        for n in arguments.points:
            for kind in arguments.feature:
                for coverage in arguments.coverage[: 1 if kind == "plane" else None]:  # a plane has no coverage
                    lines += case(kind, n, coverage, workers, arguments.rounds, arguments.limit)
    finally:
        for worker in workers.values():
            worker.close()
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
