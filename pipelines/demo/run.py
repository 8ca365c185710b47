"""Running the demo: prepare the folder, simulate, measure, compare, tell."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrology_core.errors import UsageError
from pipelines.demo.compare import Comparison, compare
from pipelines.demo.lots import DemoLot, blade_lot, wafer_lot, write_json
from pipelines.demo.page import page
from pipelines.execute.compiling import compile_notice
from pipelines.files import writing

if TYPE_CHECKING:
    from pipelines.run import RunSummary

MARKER = "abbe-demo.json"
_SHOWN = 10  # differences from the truth that are listed
_OURS = ("blades", "wafers", "report", MARKER)  # all that a demo writes: nothing else is ever removed


@dataclass(frozen=True)
class LotResult:
    """One lot, measured and compared. Times in seconds."""

    lot: DemoLot
    summary: RunSummary
    comparison: Comparison
    simulate_s: float
    measure_s: float

    @property
    def matches(self) -> bool:
        return not self.comparison.mismatches and not self.summary.interrupted and not self.summary.problems


def run(out: Path, *, workers: int, as_json: bool, parts: int, images: int) -> int:
    """The demo; see `pipelines.demo.run_demo`."""
    began = time.monotonic()
    prepare(out)
    results = [
        _lot(out, "blades", lambda folder: blade_lot(folder, parts), workers),
        _lot(out, "wafers", lambda folder: wafer_lot(folder, images), workers),
    ]
    index = _index(out, results)
    document = _document(results, index, workers, time.monotonic() - began)
    write_json(out / MARKER, document)
    if as_json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        _tell(results, document)
    return 0 if document["matches_truth"] else 1


def prepare(out: Path) -> None:
    """Make the folder, or take away an earlier demo from it. Raises `UsageError` where something else is in it."""
    with writing(out, "give another folder with --out"):
        _prepare(out)


def _prepare(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    strangers = sorted(path.name for path in out.iterdir() if path.name not in _OURS)
    if strangers or (any(out.iterdir()) and not (out / MARKER).is_file()):
        raise UsageError(
            f"{str(out)!r} is not empty and holds no demo",
            got=", ".join(strangers[:3]) or None,
            remedy="give a new folder with --out",
        )
    for name in _OURS:
        path = out / name
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    # written first, so that a demo that was interrupted can be told from a stranger's folder
    write_json(out / MARKER, {"schema": "abbe/demo/1", "complete": False})


def _lot(out: Path, name: str, make: Callable[[Path], DemoLot], workers: int) -> LotResult:
    from pipelines.run import run_recipe

    began = time.monotonic()
    _remark(f"{name}: simulating")
    data = out / name / "data"
    data.mkdir(parents=True)
    with compile_notice(_remark):
        lot = make(data)
    simulated = time.monotonic()
    _remark(f"{name}: measuring {len(lot.expected)} parts with {workers or 'no'} extra processes")
    stopped: list[bool] = []

    def stop(phase: str) -> None:
        stopped.append(True)
        first = b"parts in flight are" if phase == "parts" else b"the report is"
        os.write(2, b"\nabbe demo: stopping: " + first + b" finished first; interrupt again to stop now\n")

    summary = run_recipe(lot.recipe, out=out / name / "run", workers=workers, on_interrupt=stop, remark=_remark)
    if summary.interrupted or stopped:
        raise KeyboardInterrupt  # the interrupt was meant for the demo, not for this lot of it
    measured = time.monotonic()
    return LotResult(lot, summary, compare(lot, summary.path), simulated - began, measured - simulated)


def _index(out: Path, results: list[LotResult]) -> Path:
    folder = out / "report"
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for result in results:
        if result.summary.report is None:
            continue
        rows.append(
            {
                "title": result.lot.title,
                "href": Path(os.path.relpath(result.summary.report, folder)).as_posix(),
                "parts": result.comparison.parts,
                "matching": result.comparison.matching,
                "values": result.comparison.values,
                "within": result.comparison.within,
            }
        )
    target = folder / "index.html"
    target.write_text(page(rows), encoding="utf-8", newline="\n")
    return target


def _document(results: list[LotResult], index: Path, workers: int, seconds: float) -> dict[str, Any]:
    lots = {}
    for result in results:
        lots[result.lot.name] = {
            "title": result.lot.title,
            "outcomes": result.summary.counts,
            "verdicts": result.summary.verdicts,
            "matches_truth": result.matches,
            "comparison": result.comparison.to_dict(),
            "problems": list(result.summary.problems),
            "simulate_s": round(result.simulate_s, 2),
            "measure_and_report_s": round(result.measure_s, 2),
            "report": None if result.summary.report is None else str(result.summary.report),
        }
    return {
        "schema": "abbe/demo/1",
        "complete": True,
        "matches_truth": all(result.matches for result in results),
        "workers": workers,
        "seconds": round(seconds, 2),
        "report": str(index),
        "lots": lots,
    }


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n) or "-"


def _remark(text: str) -> None:
    sys.stderr.write(f"abbe demo: {text}\n")
    sys.stderr.flush()


def _tell(results: list[LotResult], document: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout)
    # narrow enough for 80 columns: no words are cut off
    table = Table(title="Abbe demo: measured against the truth", title_justify="left", box=box.SIMPLE)
    for heading in ("lot", "parts", "outcomes", "verdicts", "as in\ntruth", "|error|\n<= U", "seconds"):
        table.add_column(heading, overflow="fold")
    for result in results:
        c = result.comparison
        share = "-" if c.share_within is None else f"{c.within}/{c.values}\n{100.0 * c.share_within:.1f} %"
        table.add_row(
            result.lot.name,
            str(c.parts),
            _counts(result.summary.counts),
            _counts(result.summary.verdicts),
            f"{c.matching}/{c.parts}",
            share,
            f"{result.simulate_s:.1f} sim\n{result.measure_s:.1f} run",
        )
    console.print(table)
    for result in results:
        for key, expected in sorted(result.lot.expected.items()):
            if expected.why is not None:
                console.print(
                    f"  {result.lot.name}: {key} was made bad ({expected.why}); expected {expected.outcome}, "
                    f"{expected.verdict}",
                    highlight=False,
                )
        differing = [*result.comparison.mismatches, *result.summary.problems]
        for line in differing[:_SHOWN]:
            console.print(f"  {result.lot.name}: DIFFERS FROM TRUTH: {line}", style="bold red", highlight=False)
        if len(differing) > _SHOWN:
            console.print(f"  {result.lot.name}: and {len(differing) - _SHOWN} more differences", style="bold red")
        console.print(f"  {result.lot.name} report: {result.summary.report}", soft_wrap=True, highlight=False)
    verdict = "every outcome and verdict matches the truth" if document["matches_truth"] else "NOT as in truth"
    console.print(f"{verdict}; {document['seconds']:.1f} s in all", highlight=False)
    console.print(f"open {document['report']}", soft_wrap=True, highlight=False)


__all__ = ["prepare", "run"]
