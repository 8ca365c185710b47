"""JSON: recipe, plan facts and the documents of all records in one file (arrays stay in the records)."""

from __future__ import annotations

import json

from pipelines.store import RunFolder, count_outcomes, count_verdicts

SCHEMA_ID = "abbe/export/1"


def json_bytes(run: RunFolder) -> bytes:
    """The whole run as one JSON document, UTF-8."""
    plan = run.plan()
    rows = run.outcomes()
    document = {
        "schema": SCHEMA_ID,
        "recipe": dict(plan.recipe),
        "recipe_sha256": plan.recipe_sha256,
        "version": plan.version,
        "outcomes": count_outcomes(rows),
        "verdicts": count_verdicts(rows),
        "parts": [
            {
                **row.to_dict(),
                "record_sha256": row.record_sha256,
                "record": None if row.record_sha256 is None else dict(run.read_record(row.task_id).document),
            }
            for row in rows
        ],
    }
    return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode("utf-8")
