"""What benchmarks print and how they time: the machine first, candidates interleaved, medians last."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "scipy", "numba", "h5py", "dask", "open3d-cpu", "open3d", "opencv-python-headless", "scikit-image")


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate over its rounds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "median": self.median, "best": self.best, "worst": self.worst}


def interleaved(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int = 7, warm_up: int = 1
) -> dict[str, Timing]:
    """Time every candidate once per round, in turn, so that a noisy minute hits all of them alike.

    The order is reversed every other round: a candidate that always follows the same neighbour inherits its caches.
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")
    for _ in range(warm_up):
        for run in candidates.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        names = list(candidates)
        for name in names if turn % 2 == 0 else reversed(names):
            start = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


def processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment() -> dict[str, object]:
    """The machine and the versions a figure belongs to."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor_name(),
        "processors": usable,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def print_environment(facts: Mapping[str, object] | None = None, *, stream: object = None) -> None:
    """Write the environment, one fact per line, each starting with '#'."""
    out = stream or sys.stdout
    for name, value in (facts or environment()).items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {text}" for key, text in value.items())
        print(f"# {name}: {value}", file=out)  # type: ignore[call-overload]
    load, processors = (facts or environment()).get("load"), os.cpu_count() or 1
    if isinstance(load, float) and load > 0.5 * processors:
        print("# the machine is busy: read the best times, not the medians", file=out)  # type: ignore[call-overload]


def table(timings: Mapping[str, Timing], *, scale: float = 1e3, unit: str = "ms") -> str:
    """The timings as aligned text."""
    width = max(len(name) for name in timings)
    lines = [f"{'':{width}}  {'median':>10} {'best':>10} {'worst':>10}  {unit}"]
    for name, item in timings.items():
        lines.append(
            f"{name:{width}}  {item.median * scale:10.2f} {item.best * scale:10.2f} {item.worst * scale:10.2f}"
        )
    return "\n".join(lines)
