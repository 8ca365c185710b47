"""Files of a budget: result as JSON, the table as CSV, one picture per output."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from metrology_core.errors import UsageError
from pipelines.budget.evaluate import BudgetResult
from pipelines.budget.picture import picture


def table(result: BudgetResult) -> str:
    """The budget lines of all outputs as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["output", "input", "label", "unit", "estimate", "standard_uncertainty", "distribution", "type", "dof",
         "sensitivity", "contribution", "share"]
    )  # fmt: skip
    for row in result.gum.outputs if result.gum is not None else ():
        for line in row.lines:
            found = line.to_dict()
            dof = "" if found["dof"] is None else found["dof"]
            writer.writerow(
                [row.name, line.name, line.label, line.unit, line.estimate, line.u, line.distribution, line.kind, dof,
                 line.sensitivity, line.contribution, line.share]
            )  # fmt: skip
    return stream.getvalue()


def write(result: BudgetResult, folder: Path) -> list[str]:
    """Write ``budget.json``, ``budget.csv``, ``budget-<output>.svg``; returns their names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}", got=error.strerror) from None
    files = {
        "budget.json": json.dumps(result.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n",
        "budget.csv": table(result),
    }
    for name in result.loaded.budget.model:
        files[f"budget-{re.sub(r'[^A-Za-z0-9_]', '_', name)}.svg"] = picture(result, name)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return list(files)
