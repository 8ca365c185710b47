"""A grey image that was exported in colour with a frame drawn around it: where the image itself lies."""

from __future__ import annotations

import numpy as np

Area = tuple[tuple[int, int], tuple[int, int]]
_COLOURED = 0.5  # share of a row or column that makes it part of a drawn line or bar
_LEAST_AREA = 0.8  # of the image, grey: less is an image in colour
_DRAWN = 4  # most rows or columns of one grey level beside the coloured ones that belong to the frame


def grey_area(colour: np.ndarray) -> Area | None:
    """((first row, end), (first column, end)) of the grey image within a coloured frame or beside a coloured bar; None
    where colour is not confined to one.

    ``colour`` (ny, nx, 3). Rows and columns that are mostly coloured are lines of the frame or part of a bar; the image
    is the largest rectangle between them, and holds no coloured pixel. What lies on the other side of a line (a data
    bar below the frame) is not part of it. Rows and columns of one single grey level beside a line are part of the
    drawing (a black line inside a green one).
    """
    marked = np.any(colour != colour[:, :, :1], axis=2)
    ny, nx = marked.shape
    rows = _gap(marked.mean(axis=1) > _COLOURED)
    if rows[0] >= rows[1]:
        return None  # all of it is coloured
    columns = _gap(marked[rows[0] : rows[1]].mean(axis=0) > _COLOURED)
    inside = (slice(*rows), slice(*columns))
    if (rows, columns) == ((0, ny), (0, nx)) or marked[inside].any():
        return None
    if (rows[1] - rows[0]) * (columns[1] - columns[0]) < _LEAST_AREA * ny * nx:
        return None
    grey = colour[inside][:, :, 0]
    top, bottom = _drawn(grey, rows[0] > 0, rows[1] < ny)
    left, right = _drawn(grey[top : len(grey) - bottom].T, columns[0] > 0, columns[1] < nx)
    return (rows[0] + top, rows[1] - bottom), (columns[0] + left, columns[1] - right)


def _gap(lines: np.ndarray) -> tuple[int, int]:
    """The longest run without a line, end exclusive."""
    at = np.concatenate([[-1], np.flatnonzero(lines), [lines.size]])
    k = int(np.argmax(np.diff(at)))
    return int(at[k]) + 1, int(at[k + 1])


def _drawn(grey: np.ndarray, before: bool, behind: bool) -> tuple[int, int]:
    """How many rows of one grey level lie at the beginning and at the end, where a coloured line lies beyond."""
    flat = np.all(grey == grey[:, :1], axis=1)
    count = [0, 0]
    for side, (wanted, values) in enumerate(((before, flat), (behind, flat[::-1]))):
        if wanted and not values.all():
            count[side] = min(int(np.argmin(values)), _DRAWN)
    return count[0], count[1]
