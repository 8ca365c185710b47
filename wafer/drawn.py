"""Data bars: rows that the microscope's software has drawn over the scan (scale, text), which are no measurement."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import DataError

_DRAWN = 0.6  # share of neighbours in a row with the same grey level: few where there is noise, nearly all where drawn
_SCANNED = 0.4  # the usual row must lie below: in a noise-free image nothing can be told
_LEAST_BAR = 6  # rows


def refuse_drawn_rows(pixels: np.ndarray) -> None:
    """`DataError` where at least six rows in a block are drawn: neighbours in most of them share one grey level."""
    if pixels.shape[0] < 4 * _LEAST_BAR or pixels.shape[1] < 2:
        return
    same = np.ascontiguousarray(pixels[:, 1:] == pixels[:, :-1])
    alike = same.view(np.uint8).sum(axis=1, dtype=np.uint32) / same.shape[1]
    if float(np.median(alike)) > _SCANNED:
        return
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (alike > _DRAWN).astype(np.int8), [0]))))
    blocks = edges.reshape(-1, 2)
    blocks = blocks[blocks[:, 1] - blocks[:, 0] >= _LEAST_BAR]
    if not len(blocks):
        return
    free = np.concatenate(([0], blocks.ravel(), [len(alike)])).reshape(-1, 2)
    first, end = free[int(np.argmax(free[:, 1] - free[:, 0]))]
    raise DataError(
        "the image has a drawn data bar",
        expected="scanned rows only",
        got=f"rows {blocks[0, 0]}:{blocks[-1, 1]} hold drawn text or a scale",
        remedy=f"choose rows {first}:{end}",
    )
