"""Defects of lines: bridges between two of them, and breaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError


@dataclass(frozen=True)
class LineDefect:
    """A bridge from complete line ``line`` (counted from the left, 0 first) to the next one, or a break of it.

    ``y`` and ``length`` in nm: middle and extent along the line, y from the first row.
    """

    line: int
    y: float
    length: float


def with_defects(
    shape: np.ndarray, left: np.ndarray, right: np.ndarray, complete: np.ndarray, bridges: tuple[LineDefect, ...],
    breaks: tuple[LineDefect, ...], blur: tuple[float, float], pixel_y: float, reach: float,
) -> np.ndarray:  # fmt: skip
    """``shape`` (ny, nx; 0 space, 1 line) with its bridges and breaks, softened by the beam: ``blur`` (x, y) in pixels.

    ``left``, ``right`` (n, ny) edges in pixels; ``complete`` numbers of the lines that lie in the image; ``reach`` in
    pixels is how far blooms show beside a line: a break takes them away, too.
    """
    for kind, defects, last in (("bridge", bridges, complete.size - 2), ("break", breaks, complete.size - 1)):
        for d in defects:
            if not (0 <= d.line <= last and d.length > 0.0):
                raise ParameterError(
                    f"a {kind} needs a line of the image", expected=f"a complete line, 0 to {last}, and a length",
                    got=f"line {d.line}, length {d.length:g} nm",
                )  # fmt: skip
    if not bridges and not breaks:
        return shape
    out = shape.copy()
    y, x = np.arange(shape.shape[0]), np.arange(shape.shape[1])
    for defects, target in ((bridges, 1.0), (breaks, 0.0)):
        for d in defects:
            k, half = int(complete[d.line]), 0.5 * d.length / pixel_y
            centre = d.y / pixel_y
            along = _step((y - centre + half) / blur[1]) - _step((y - centre - half) / blur[1])
            if target:
                begin, end = right[k], left[k + 1]
            else:  # with its blooms, at most to the middle of the spaces beside it
                begin, end = left[k] - reach, right[k] + reach
                if k > 0:
                    begin = np.maximum(begin, 0.5 * (right[k - 1] + left[k]))
                if k + 1 < left.shape[0]:
                    end = np.minimum(end, 0.5 * (right[k] + left[k + 1]))
            across = _step((x[None, :] - begin[:, None]) / blur[0]) * _step((end[:, None] - x[None, :]) / blur[0])
            if target:  # the edges of both lines, half way up, and their blooms fade into the bridge
                inside = (x[None, :] >= begin[:, None]) & (x[None, :] <= end[:, None])
                across = np.where(inside, 1.0, across)
            out += along[:, None] * across * (target - out)
    return out


def _step(t: np.ndarray) -> np.ndarray:
    """Normal distribution function."""
    from scipy.special import ndtr

    return np.asarray(ndtr(t))


def rows_of(defects: tuple[LineDefect, ...], pixel_y: float) -> list[dict[str, float]]:
    """What was drawn, for the truth: line, first and last row at half height."""
    return [
        {"line": d.line, "first_row": (d.y - 0.5 * d.length) / pixel_y, "last_row": (d.y + 0.5 * d.length) / pixel_y}
        for d in defects
    ]
