"""The journal: every edit inside it is found, a torn end is dropped, the tree over the records binds order."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from metrology_core.canonical import canonical_json
from metrology_core.errors import IntegrityError
from pipelines.journal import START, Journal, merkle_root, read_journal


def make(path: Path, count: int = 4) -> bytes:
    with Journal(path) as journal:
        for number in range(count):
            journal.append("task_done", task=f"t{number}", note="µ", seconds=0.25)
    return path.read_bytes()


def test_lines_are_chained(tmp_path: Path) -> None:
    make(tmp_path / "j")
    text = read_journal(tmp_path / "j")
    assert text.fault is None
    assert [entry["seq"] for entry in text.entries] == [0, 1, 2, 3]
    assert [entry["prev"] for entry in text.entries] == [START, *(entry["hash"] for entry in text.entries[:-1])]


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    """Every byte of the journal, one at a time; only the very last (the line's end) shows as a torn line instead."""
    path = tmp_path / "j"
    data = make(path, 2)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        text = read_journal(path)
        assert text.fault is not None or text.torn, position
        if position < len(data) - 1:
            assert text.fault is not None or len(text.entries) < 2


def test_removed_inserted_and_swapped_lines_are_found(tmp_path: Path) -> None:
    path = tmp_path / "j"
    lines = make(path).splitlines(keepends=True)
    for edited in (
        lines[1:],
        [lines[0], *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
        [*lines, lines[-1]],
        [lines[0], lines[0], *lines[1:]],
    ):
        path.write_bytes(b"".join(edited))
        assert read_journal(path).fault is not None


def test_an_entry_with_a_new_hash_breaks_the_chain_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    lines = make(path).splitlines()
    entry = json.loads(lines[1])
    entry["task"] = "other"
    body = {key: value for key, value in entry.items() if key != "hash"}
    lines[1] = canonical_json({**body, "hash": hashlib.sha256(canonical_json(body)).hexdigest()})
    path.write_bytes(b"\n".join(lines) + b"\n")
    fault = read_journal(path).fault
    assert fault is not None and "line 3" in fault


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    data = make(path)
    path.write_bytes(data + b'{"event":"task_do')
    assert read_journal(path).torn == b'{"event":"task_do'
    with Journal(path) as journal:
        assert journal.dropped == 17
        journal.append("interrupted")
    text = read_journal(path)
    assert (text.fault, text.torn, len(text.entries)) == (None, b"", 5)
    assert path.read_bytes().startswith(data)


def test_a_broken_chain_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "j"
    data = make(path)
    path.write_bytes(data.replace(b"t1", b"tX"))
    with pytest.raises(IntegrityError):
        Journal(path)
    assert path.read_bytes() == data.replace(b"t1", b"tX")


@pytest.mark.parametrize(
    "line", [b"[]", b"1", b"{}", b'{"hash":3}', b"\xff\xfe", b'{"a":1e999,"hash":"x"}', b"[" * 5000]
)
def test_strange_lines_are_faults_not_crashes(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "j").write_bytes(line + b"\n")
    assert read_journal(tmp_path / "j").fault is not None


def test_only_known_events_are_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal, pytest.raises(ValueError, match="unknown"):
        journal.append("party")


def test_merkle_root_follows_its_definition() -> None:
    """RFC 9162 2.1.1 on three leaves: H(01 | H(01 | L0 | L1) | L2), with L = H(00 | data)."""

    def h(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
    leaves = [h(b"\x00" + bytes.fromhex(item)) for item in digests]
    assert merkle_root(digests) == h(b"\x01" + h(b"\x01" + leaves[0] + leaves[1]) + leaves[2]).hex()
    assert merkle_root(digests[:1]) == leaves[0].hex()
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()
    assert len({merkle_root(digests), merkle_root(digests[::-1]), merkle_root([*digests, digests[-1]])}) == 3
