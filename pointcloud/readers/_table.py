"""Rows of blank-separated numbers inside a larger file (PLY, PCD, OBJ): exact, and with the line of a fault."""

from __future__ import annotations

import re

import numpy as np

from pointcloud.readers._raw import FileBytes, numbers

_NUMBER = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf|infinity)", re.IGNORECASE)


def parse_rows(source: FileBytes, text: bytes, n_columns: int, first_line: int) -> np.ndarray:
    """(n, n_columns) float64 of the non-blank lines of ``text``; ``first_line`` is the line number of its start."""
    text = text if text.endswith(b"\n") else text + b"\n"
    counts = tokens_per_line(text)
    counts = counts[counts > 0]
    if np.all(counts == n_columns):
        values = numbers(text, len(counts) * n_columns)
        if values is not None:
            return values.reshape(-1, n_columns)
    for n, line in enumerate(text.split(b"\n"), start=first_line):
        parts = line.split()
        bad = next((part for part in parts if not _NUMBER.fullmatch(part)), None)
        if bad is not None:
            source.fail(
                "is not a number", f"line {n}", "repair the value", got=repr(bad.decode("utf-8", "replace")[:40])
            )
        if parts and len(parts) != n_columns:
            source.fail(
                f"has {len(parts)} numbers",
                f"line {n}",
                "the line is damaged or the file was cut off there; export it again",
                expected=f"{n_columns} numbers in a line",
            )
    raise source.error("cannot be parsed", f"after line {first_line}", "check for unusual characters")


def tokens_per_line(text: bytes) -> np.ndarray:
    """Number of blank-separated words of each line (lines end with a newline)."""
    buffer = np.frombuffer(text.translate(bytes.maketrans(b"\t\v\f\r", b"    ")), dtype=np.uint8)
    word = (buffer != 32) & (buffer != 10)
    begins = np.flatnonzero(np.diff(word.astype(np.int8), prepend=np.int8(0)) == 1)
    return np.diff(np.searchsorted(begins, np.flatnonzero(buffer == 10)), prepend=0)


def fan(polygon: np.ndarray) -> np.ndarray:
    """(k - 2, 3) triangles of a polygon, from its first corner."""
    triangles = np.empty((len(polygon) - 2, 3), dtype=np.int64)
    triangles[:, 0] = polygon[0]
    triangles[:, 1] = polygon[1:-1]
    triangles[:, 2] = polygon[2:]
    return triangles


def check_indices(source: FileBytes, faces: np.ndarray, n_vertices: int, place: str) -> None:
    """Refuse faces that name a vertex the file does not hold."""
    if faces.size and (faces.min() < 0 or faces.max() >= n_vertices):
        row = int(np.flatnonzero((faces < 0).any(axis=1) | (faces >= n_vertices).any(axis=1))[0])
        source.fail(
            f"triangle {row + 1} names a vertex outside the {n_vertices} of the file",
            place,
            "the file is damaged; export it again",
            got=str([int(v) for v in faces[row]]),
        )
