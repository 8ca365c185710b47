"""CSV (RFC 4180, UTF-8): one row per characteristic and part; a part that was not measured has one row of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from pipelines.store import RunFolder, TaskOutcome

COLUMNS = (
    "part",
    "outcome",
    "part_verdict",
    "name",
    "characteristic",
    "unit",
    "nominal",
    "lower",
    "upper",
    "value",
    "u",
    "k",
    "U",
    "interval_low",
    "interval_high",
    "p",
    "verdict",
    "conformity_probability",
    "provisional",
    "rule",
    "method",
    "flags",
    "part_flags",
    "reason",
    "task_id",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(run: RunFolder) -> bytes:
    """The table of a run. Numbers are unrounded; a text that a spreadsheet would run as a formula gets a leading '."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in run.outcomes():
        for line in _lines(run, row):
            writer.writerow({key: _cell(value) for key, value in line.items()})
    return buffer.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else value


def _lines(run: RunFolder, row: TaskOutcome) -> list[dict[str, Any]]:
    reason = (row.reason or {}).get("message")
    common = {
        "part": row.part,
        "outcome": row.outcome,
        "part_verdict": row.verdict,
        "part_flags": " ".join(row.flags),
        "reason": reason,
        "task_id": row.task_id,
    }
    measurements = [] if row.record_sha256 is None else run.read_record(row.task_id).document["measurements"]
    if not measurements:
        return [{**common, "flags": " ".join(row.flags)}]
    return [{**common, **_measurement(item)} for item in measurements]


def _measurement(item: Mapping[str, Any]) -> dict[str, Any]:
    limits = item["tolerance"] or {}
    decision = item["decision"] or {}
    low, high = item["interval"] or (None, None)
    same = ("name", "characteristic", "unit", "nominal", "value", "u", "k", "U", "p", "method")
    return {
        **{key: item[key] for key in same},
        "lower": limits.get("lower"),
        "upper": limits.get("upper"),
        "interval_low": low,
        "interval_high": high,
        "verdict": decision.get("verdict", "none"),
        "conformity_probability": decision.get("conformity_probability"),
        "provisional": decision.get("provisional"),
        "rule": decision.get("rule"),
        "flags": " ".join(item["flags"]),
    }
