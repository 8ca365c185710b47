"""How long a person waits before Abbe does anything: fresh processes, medians, against the goals.

    python -m benchmarks.startup [--rounds N] [--json]

Times are of whole processes, less nothing; `import` rows are the difference to a bare interpreter in the same round.
Status 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import REPOSITORY, environment, interleaved, print_environment, table

COMMAND = "import sys; sys.argv = ['abbe', '--help']; from pipelines.cli import main; main()"
# name -> (code, whether the bare interpreter is subtracted, goal in seconds)
CASES: dict[str, tuple[str, bool, float | None]] = {
    "bare interpreter": ("pass", False, None),
    "import numpy": ("import numpy", True, None),
    "import metrology_core": ("import metrology_core", True, 0.150),
    "import pointcloud": ("import pointcloud", True, None),
    "import wafer": ("import wafer", True, None),
    "abbe --help": (COMMAND, False, 0.200),
}


def run_fresh(code: str, folder: str) -> None:
    """Run `code` in a new interpreter, in an empty folder, with Abbe importable and byte code compiled."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{code!r} ended with status {done.returncode}:\n{done.stderr}")


def measure(rounds: int) -> dict[str, dict[str, object]]:
    """Median seconds of every case, with its goal."""
    with tempfile.TemporaryDirectory() as folder:

        def runner(code: str) -> object:
            return lambda: run_fresh(code, folder)

        candidates = {name: runner(code) for name, (code, _, _) in CASES.items()}
        timings = interleaved(candidates, rounds=rounds)  # type: ignore[arg-type]
    print(table(timings), file=sys.stderr)
    bare = timings["bare interpreter"].seconds
    result: dict[str, dict[str, object]] = {}
    for name, (_, less_bare, goal) in CASES.items():
        seconds = timings[name].seconds
        # Paired by round: what slowed the machine in a round slowed both.
        values = [a - b for a, b in zip(seconds, bare)] if less_bare else list(seconds)
        median = statistics.median(values)
        result[name] = {"seconds": median, "goal": goal, "met": None if goal is None else median < goal}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    facts = environment()
    result = measure(options.rounds)
    if options.json:
        print(json.dumps({"environment": facts, "rounds": options.rounds, "startup": result}, indent=2))
    else:
        print_environment(facts)
        for name, row in result.items():
            goal = "" if row["goal"] is None else f"  goal {row['goal']:.3f} s: {'met' if row['met'] else 'MISSED'}"
            print(f"{name:24} {row['seconds']:.3f} s{goal}")
    return 0 if all(row["met"] is not False for row in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
