"""Methods of many characteristics, with the words that several of them share said once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def footnotes(
    methods: Mapping[Key, str], least: int = 1
) -> tuple[dict[Key, tuple[str, tuple[int, ...]]], dict[int, str]]:
    """((own words, numbers of its notes) of each method, notes by number).

    A method is clauses with semicolons between them (those in brackets do not count). A clause of ``least`` characters
    or more, not the first of a method, that several methods hold becomes a note; clauses that the same methods share
    are one note.
    """
    clauses = {key: _clauses(text) for key, text in methods.items()}
    holders: dict[str, list[Key]] = {}
    for key, rows in clauses.items():
        for clause in dict.fromkeys(rows[1:]):
            if len(clause) >= least:
                holders.setdefault(clause, []).append(key)
    together: dict[tuple[Key, ...], list[str]] = {}
    for clause, keys in holders.items():
        if len(keys) > 1:
            together.setdefault(tuple(keys), []).append(clause)
    notes = {n: "; ".join(shared) for n, shared in enumerate(together.values(), start=1)}
    said = {clause for shared in together.values() for clause in shared}
    words = {}
    for key, rows in clauses.items():
        own = "; ".join(rows[:1] + [clause for clause in rows[1:] if clause not in said])
        words[key] = own, tuple(n for n, keys in zip(notes, together, strict=True) if key in keys)
    return words, notes


def _clauses(text: str) -> list[str]:
    """The text at its semicolons outside of brackets."""
    found: list[str] = []
    for part in text.split("; "):
        if found and found[-1].count("(") > found[-1].count(")"):
            found[-1] += "; " + part
        else:
            found.append(part)
    return found
