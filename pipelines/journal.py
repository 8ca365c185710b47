"""The journal of a run: JSON lines, each bound to the one before, written by the driver alone.

Every line carries ``hash`` (SHA-256 of its canonical JSON without that key) and ``prev`` (the hash before it), and must
be canonical to the byte: a changed, inserted, removed or reordered line is found. Cutting whole lines off the end is
not found by the chain itself; a closed run says how many records it holds, so the cut shows as a run that is not
closed. The journal is tamper-evident, not tamper-proof: who can rewrite all of it can make a new one.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrology_core.canonical import canonical_json
from metrology_core.errors import AbbeError, IntegrityError
from metrology_core.provenance import digest_bytes

START = "0" * 64
EVENTS = (
    "run_opened",
    "run_resumed",
    "task_done",
    "task_failed",
    "quarantined",
    "record_rejected",
    "interrupted",
    "self_tested",
    "report_built",
    "run_closed",
)
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class JournalText:
    """A journal as read: whole lines, the bytes of a torn last line, and the first fault of the chain, if any."""

    entries: tuple[Entry, ...]
    good_bytes: int
    torn: bytes
    fault: str | None

    @property
    def head(self) -> str:
        return str(self.entries[-1]["hash"]) if self.entries else START


def read_journal(path: Path) -> JournalText:
    """Read and check a journal; never raises for its content. A missing file is an empty journal."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    entries: list[Entry] = []
    head = START
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            return JournalText(tuple(entries), position, data[position:], None)
        fault, entry = _check(data[position:end], len(entries), head)
        if entry is None:
            return JournalText(tuple(entries), position, b"", f"line {len(entries) + 1} of the journal: {fault}")
        entries.append(entry)
        head = entry["hash"]
        position = end + 1
    return JournalText(tuple(entries), position, b"", None)


def _check(line: bytes, number: int, head: str) -> tuple[str, Entry | None]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return "not JSON", None
    if not isinstance(entry, dict) or not isinstance(entry.get("hash"), str):
        return "not an entry", None
    try:
        if canonical_json(entry) != line:
            return "not in canonical form", None
    except (AbbeError, ValueError, RecursionError):  # lone surrogates, huge numbers: a fault, not a crash
        return "not in canonical form", None
    body = {key: value for key, value in entry.items() if key != "hash"}
    if digest_bytes(canonical_json(body)) != entry["hash"]:
        return "its content does not match its hash", None
    if entry.get("prev") != head:
        return "it does not follow the line before it", None
    if entry.get("seq") != number:
        return "its number is out of order", None
    return "", entry


class Journal:
    """Append-only writer. Opening drops a torn last line; a broken chain raises `IntegrityError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = read_journal(path)
        if text.fault is not None:
            raise IntegrityError(
                text.fault, where=path.name, remedy="keep the folder as it is and look for who changed it"
            )
        self.dropped = len(text.torn)
        self._stream = open(path, "ab")  # noqa: SIM115 - held open for the life of the run
        if text.torn:
            self._stream.truncate(text.good_bytes)
            self._sync()
        self.entries: list[Entry] = list(text.entries)
        self._head = text.head

    def _sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def append(self, event: str, **content: Any) -> Entry:
        """Add one line and make it durable."""
        if event not in EVENTS:
            raise ValueError(f"unknown journal event {event!r}")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        body = {"seq": len(self.entries), "time": now, "event": event, "prev": self._head, **content}
        entry = {**body, "hash": digest_bytes(canonical_json(body))}
        self._stream.write(canonical_json(entry) + b"\n")
        self._sync()
        self.entries.append(entry)
        self._head = entry["hash"]
        return entry

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def merkle_root(digests: Iterable[str]) -> str:
    """Root of a binary hash tree over hexadecimal SHA-256 digests, in order.

    Leaves and nodes are hashed with different prefixes, and an odd node moves up unchanged (as in RFC 9162 2.1.1), so
    that no list can stand for another. The root of nothing is the digest of nothing.
    """
    level = [digest_bytes(b"\x00" + bytes.fromhex(digest)) for digest in digests]
    if not level:
        return digest_bytes(b"")
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [
            digest_bytes(b"\x01" + b"".join(bytes.fromhex(item) for item in pair)) if len(pair) == 2 else pair[0]
            for pair in pairs
        ]
    return level[0]
