"""Results against the truth: outcomes, verdicts, and values within their stated uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from metrology_core.units import convert
from pipelines.demo.lots import DemoLot
from pipelines.store import RunFolder

_MEASURED = ("measured", "measured_with_flags")


@dataclass
class Comparison:
    """How one run compares with what is true; ``ratios`` are error / U(k=2) by characteristic."""

    parts: int = 0
    matching: int = 0
    mismatches: list[str] = field(default_factory=list)
    ratios: dict[str, list[float]] = field(default_factory=dict)

    @property
    def values(self) -> int:
        return sum(len(rows) for rows in self.ratios.values())

    @property
    def within(self) -> int:
        return sum(abs(ratio) <= 1.0 for rows in self.ratios.values() for ratio in rows)

    @property
    def share_within(self) -> float | None:
        """Share of values whose error is not larger than U; None without values."""
        return self.within / self.values if self.values else None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The characteristic with the largest |error| / U."""
        rows = [(name, ratio) for name, ratios in self.ratios.items() for ratio in ratios]
        return max(rows, key=lambda row: abs(row[1])) if rows else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "matching": self.matching,
            "mismatches": self.mismatches,
            "values": self.values,
            "within_U": self.within,
            "share_within_U": self.share_within,
            "worst_error_over_U": None if self.worst is None else {"name": self.worst[0], "ratio": self.worst[1]},
            "by_characteristic": {
                name: {"n": len(rows), "within_U": sum(abs(r) <= 1.0 for r in rows), "worst": max(rows, key=abs)}
                for name, rows in sorted(self.ratios.items())
            },
        }


def compare(lot: DemoLot, run: Path) -> Comparison:
    """Read the records of a run and compare them with the truth of the lot."""
    folder = RunFolder(run)
    result = Comparison()
    seen = set()
    for row in folder.outcomes():
        source = folder.task(row.task_id).inputs[0].path
        key = PurePosixPath(source).stem
        seen.add(key)
        expected = lot.expected.get(key)
        result.parts += 1
        if expected is None:
            result.mismatches.append(f"{source}: not part of the lot")
            continue
        outcome = "measured" if row.outcome in _MEASURED else row.outcome
        if (outcome, row.verdict) == (expected.outcome, expected.verdict):
            result.matching += 1
        else:
            result.mismatches.append(
                f"{source}: {row.outcome}, {row.verdict}; true: {expected.outcome}, {expected.verdict}"
            )
        if row.outcome in _MEASURED:
            document = folder.read_record(row.task_id).document
            for item in document["measurements"]:
                true = expected.values.get(item["name"])
                if true is None or item["value"] is None or not item["U"]:
                    continue
                error = item["value"] - convert(true[0], true[1], item["unit"])
                result.ratios.setdefault(item["name"], []).append(error / item["U"])
    result.mismatches += [f"{key}: not measured at all" for key in sorted(set(lot.expected) - seen)]
    return result
