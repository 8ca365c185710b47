"""Small lots of files for the fake step, and ways to run them inside and outside this process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.run import RunSummary, run_recipe
from tests.pipelines.run.fake_steps import PATH

REPOSITORY = Path(__file__).resolve().parents[3]
RECIPE = """\
schema: abbe/recipe/1
name: fake
seed: 5
inputs: {files: ["parts/*.csv"], unit: mm, points_are: surface}
measure:
  kind: features
  features: [{name: bore, feature: cylinder}]
  characteristics:
    - {name: d, characteristic: iso14405.GG, of: bore, nominal: 10 mm, tolerance: {plus_minus: 10 um}}
    - {name: e, characteristic: iso14405.GG, of: bore, nominal: 10 mm}
"""
GOOD = "10.000\n10.001\n9.999\n"


def make_lot(folder: Path, files: Mapping[str, str], recipe: str = RECIPE) -> Path:
    """A recipe and its files ``parts/NAME.csv``; returns the recipe's path."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "parts" / f"{name}.csv").write_text(text)
    (folder / "recipe.yaml").write_text(recipe)
    return folder / "recipe.yaml"


def good_lot(folder: Path, count: int = 3) -> Path:
    return make_lot(folder, {f"p{i}": f"10.00{i}\n{GOOD}" for i in range(count)})


def run_lot(recipe: Path, out: Path, **options: Any) -> RunSummary:
    """A run with the fake step and without a report."""
    return run_recipe(recipe, out=out, **{"measure": PATH, "report": False, **options})


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of every record by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((run / "measurements").glob("*.h5"))
    }


def events(run: Path) -> list[dict[str, Any]]:
    """Whole lines of the journal."""
    data = (run / "journal.jsonl").read_bytes() if (run / "journal.jsonl").exists() else b""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def names(run: Path) -> list[str]:
    return [entry["event"] for entry in events(run)]


_DRIVE = """\
import json, sys
from pathlib import Path
from tests.pipelines.run.lot import run_lot
if __name__ == "__main__":
    recipe, out, workers, resume = sys.argv[1:]
    summary = run_lot(Path(recipe), Path(out), workers=int(workers), resume=resume == "resume")
    sys.stdout.write(json.dumps(summary.to_dict()))
    sys.exit(int(summary.exit_code))
"""


def drive(recipe: Path, out: Path, workers: int = 0, *, resume: bool = False) -> subprocess.Popen[str]:
    """The same run in a process (and process group) of its own, so that it can be interrupted and killed."""
    script = recipe.parent / "drive.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{_DRIVE}")
    words = [sys.executable, str(script), str(recipe), str(out), str(workers), "resume" if resume else "new"]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
    )


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
