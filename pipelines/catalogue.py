"""The catalogue: SQLite for queries over a run. A cache: delete it, and `rebuild` makes the same rows again.

Written by the driver alone, with a rollback journal (the write-ahead log does not work over network file systems).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metrology_core.errors import IntegrityError, UsageError
from pipelines.plan import Plan
from pipelines.store import CATALOGUE, RunFolder, outcomes_of

_SCHEMA = """
CREATE TABLE run(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE task(
  id TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, part TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL,
  verdict TEXT NOT NULL, reason TEXT, attempts INTEGER NOT NULL, record_sha256 TEXT, acquisition TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE input(
  task TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT, size INTEGER, PRIMARY KEY(task, path)
) WITHOUT ROWID;
CREATE TABLE flag(task TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY(task, name)) WITHOUT ROWID;
CREATE TABLE measurement(
  task TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, characteristic TEXT NOT NULL, unit TEXT NOT NULL,
  nominal REAL, lower REAL, upper REAL, value REAL, u REAL, verdict TEXT NOT NULL, provisional INTEGER,
  conformity_probability REAL, PRIMARY KEY(task, position)
) WITHOUT ROWID;
CREATE INDEX measurement_name ON measurement(name);
"""
Row = Mapping[str, Any]
_COLUMNS = (
    "name",
    "characteristic",
    "unit",
    "nominal",
    "lower",
    "upper",
    "value",
    "u",
    "verdict",
    "provisional",
    "conformity_probability",
)


def measurement_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The few numbers of each measurement of a record that are worth querying."""
    rows = []
    for item in document["measurements"]:
        decision = item["decision"]
        limits = item["tolerance"] or {"lower": None, "upper": None}
        rows.append(
            {
                "name": item["name"],
                "characteristic": item["characteristic"],
                "unit": item["unit"],
                "nominal": item["nominal"],
                "lower": limits["lower"],
                "upper": limits["upper"],
                "value": item["value"],
                "u": item["u"],
                "verdict": "none" if decision is None else decision["verdict"],
                "provisional": None if decision is None else int(decision["provisional"]),
                "conformity_probability": None if decision is None else decision["conformity_probability"],
            }
        )
    return rows


class Catalogue:
    """Writer for the driver; every task is one transaction."""

    def __init__(self, run: Path, plan: Plan) -> None:
        path = run / CATALOGUE
        for stale in (path, path.with_name(path.name + "-journal")):
            stale.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute("PRAGMA synchronous=OFF")  # a cache: a torn one is rebuilt, so it need not be durable
        with self._transaction():
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    self._db.execute(statement)
            facts = {"recipe_name": plan.recipe_name, "recipe_sha256": plan.recipe_sha256, "version": plan.version}
            self._db.executemany("INSERT INTO run VALUES(?, ?)", facts.items())
            for position, task in enumerate(plan.tasks):
                acquisition = json.dumps(dict(task.acquisition), sort_keys=True, ensure_ascii=False)
                self._db.execute(
                    "INSERT INTO task VALUES(?, ?, ?, 'not_run', 'none', NULL, 0, NULL, ?)",
                    (task.id, position, task.part, acquisition),
                )
                self._db.executemany(
                    "INSERT INTO input VALUES(?, ?, ?, ?)", [(task.id, r.path, r.sha256, r.size) for r in task.inputs]
                )

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN")
        return self._db

    def put(
        self,
        task_id: str,
        outcome: str,
        verdict: str,
        *,
        reason: Row | None,
        flags: Iterable[str],
        attempts: int,
        record_sha256: str | None,
        rows: Sequence[Row],
    ) -> None:
        """Set the state of one task and its measurements."""
        text = None if reason is None else json.dumps(dict(reason), sort_keys=True, ensure_ascii=False)
        with self._transaction():
            self._db.execute(
                "UPDATE task SET outcome=?, verdict=?, reason=?, attempts=?, record_sha256=? WHERE id=?",
                (outcome, verdict, text, attempts, record_sha256, task_id),
            )
            self._db.execute("DELETE FROM flag WHERE task=?", (task_id,))
            self._db.execute("DELETE FROM measurement WHERE task=?", (task_id,))
            self._db.executemany("INSERT INTO flag VALUES(?, ?)", [(task_id, name) for name in flags])
            self._db.executemany(
                f"INSERT INTO measurement VALUES({', '.join('?' * 13)})",
                [(task_id, position, *(row[name] for name in _COLUMNS)) for position, row in enumerate(rows)],
            )

    def close(self) -> None:
        self._db.close()


def fill(catalogue: Catalogue, run: RunFolder) -> None:
    """Bring a fresh catalogue to the state of journal and records."""
    for row in outcomes_of(run.plan(), run.journal()):
        if row.outcome == "not_run" and row.reason is None:
            continue
        rows: list[dict[str, Any]] = []
        if row.record_sha256 is not None:
            try:
                rows = measurement_rows(run.read_record(row.task_id).document)
            except (IntegrityError, UsageError):
                rows = []  # 'abbe verify' names the record; the catalogue shows the outcome without numbers
        catalogue.put(
            row.task_id,
            row.outcome,
            row.verdict,
            reason=row.reason,
            flags=row.flags,
            attempts=row.attempts,
            record_sha256=row.record_sha256,
            rows=rows,
        )


def rebuild(path: str | Path) -> Path:
    """Make the catalogue of a run anew from plan, journal and records; returns its path."""
    run = RunFolder(path)
    catalogue = Catalogue(run.path, run.plan())
    try:
        fill(catalogue, run)
    finally:
        catalogue.close()
    return run.path / CATALOGUE
