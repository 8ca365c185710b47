"""Data bars: rows that the microscope's software has drawn over the scan (scale, text), which are no measurement."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import DataError

_DRAWN = 0.6  # share of neighbours in a row with the same grey level: few where there is noise, nearly all where drawn
_SCANNED = 0.4  # the usual row must lie below: in a noise-free image nothing can be told
_LEAST_BAR = 6  # rows
_LEAST_SIDE = 24  # columns at the border


def refuse_drawn_rows(pixels: np.ndarray) -> None:
    """`DataError` where at least six rows in a block are drawn: neighbours in most of them share one grey level.

    Columns count where one block of them lies at the border: within the image they may be lines in saturation.
    """
    if min(pixels.shape) < 4 * _LEAST_BAR:
        return
    same = np.ascontiguousarray(pixels[:, 1:] == pixels[:, :-1])
    alike = same.view(np.uint8).sum(axis=1, dtype=np.uint32) / same.shape[1]
    if float(np.median(alike)) > _SCANNED:
        return
    some = pixels[: len(pixels) // 2 * 2].reshape(len(pixels) // 2, 2, -1)[:: max(1, len(pixels) // 256)]
    across = np.mean(some[:, 0] == some[:, 1], axis=0)
    rows, columns = _blocks(alike), _blocks(across)
    beside = 0 < columns[0, 0] < columns[0, 1] < pixels.shape[1] if len(columns) else True
    if len(columns) != 1 or beside or np.ptp(columns) < _LEAST_SIDE or float(np.median(across)) > _SCANNED:
        columns = columns[:0]
    if not len(rows) and not len(columns):
        return
    found = [f"{what} {', '.join(f'{a}:{b}' for a, b in blocks)}" for what, blocks in
             (("rows", rows), ("columns", columns)) if len(blocks)]  # fmt: skip
    free = [f"{what} {a}:{b}" for what, blocks, end in
            (("rows", rows, pixels.shape[0]), ("columns", columns, pixels.shape[1])) if len(blocks)
            for a, b in [_largest_gap(blocks, end)]]  # fmt: skip
    raise DataError(
        "the image has a drawn data bar",
        expected="scanned rows and columns only",
        got=f"{' and '.join(found)} hold drawn text, a scale or a frame",
        remedy=f"choose {' and '.join(free)}",
    )


def _blocks(alike: np.ndarray) -> np.ndarray:
    """(k, 2) first and end of the blocks of drawn lines of pixels."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (alike > _DRAWN).astype(np.int8), [0]))))
    blocks = edges.reshape(-1, 2)
    result: np.ndarray = blocks[blocks[:, 1] - blocks[:, 0] >= _LEAST_BAR]
    return result


def _largest_gap(blocks: np.ndarray, end: int) -> tuple[int, int]:
    free = np.concatenate(([0], blocks.ravel(), [end])).reshape(-1, 2)
    first, last = free[int(np.argmax(free[:, 1] - free[:, 0]))]
    return int(first), int(last)
