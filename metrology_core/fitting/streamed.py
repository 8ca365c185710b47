"""Least squares of points that are read block by block: data larger than memory.

Every pass reads the source once, in order, in runs of whole chunks (see `passes`): the bits are those of a fit to the
same points in memory, for any block size, source and number of threads. Points that are not finite are left out, and
the rest closes up, as in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.passes import NEAR_FROM, SHARES, Points, Seen, Work
from metrology_core.kernels import layout

RUN = 32  # chunks in memory at a time: 12.6 MB of coordinates


def is_source(points: Any) -> bool:
    """Whether these are points that are read block by block (`metrology_core.hdf5.BlockSource`), not in memory."""
    return (
        hasattr(points, "n_points") and callable(getattr(points, "blocks", None)) and not hasattr(points, "points_are")
    )


def check_arguments(criterion: str, **given: Any) -> None:
    """Refuse what needs all points at once."""
    if criterion != "least_squares":
        raise CriterionError(
            "points that are read in blocks can be fitted by least squares only",
            expected="criterion='least_squares'",
            got=criterion,
            remedy="read the points into memory: source.read(0, source.n_points)",
        )
    for name, value in given.items():
        if value is not None:
            raise ParameterError(
                f"points that are read in blocks take no {name}",
                expected="feature, material, fixed, start and unit only",
                remedy="read the points into memory: source.read(0, source.n_points)",
            )


class Stream(Points):
    """Passes over the finite points of a source, in runs of RUN whole chunks."""

    may_drop = True

    def __init__(self, source: Any) -> None:
        self.source = source
        self.given = int(source.n_points)
        self.n = self.given  # finite points, once they are counted
        self.near = np.empty((0, 3))

    def runs(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first chunk, (m, 3) points): all of RUN chunks but the last."""
        size = RUN * layout.CHUNK
        buffer, filled, done = np.empty((min(size, max(self.given, 1)), 3)), 0, 0
        for block in self.source.blocks():
            part = np.asarray(block, dtype=np.float64)
            if part.ndim != 2 or part.shape[1] != 3:
                raise ParameterError("a block is no list of points", expected="(m, 3)", got=str(part.shape))
            if not self.clean:
                part = part[np.isfinite(part).all(axis=1)]
            place = 0
            while place < len(part):
                take = min(size - filled, len(part) - place)
                if filled + take > len(buffer):
                    raise ParameterError("the source gives more points than it announced", expected=str(self.given))
                buffer[filled : filled + take] = part[place : place + take]
                filled, place = filled + take, place + take
                if filled == size:
                    yield done, buffer
                    done, filled = done + RUN, 0
        if filled:
            yield done, buffer[:filled]
        if done * layout.CHUNK + filled != self.n:
            raise ParameterError(
                "the source gave another number of points than before",
                expected=str(self.n),
                got=str(done * layout.CHUNK + filled),
            )

    def each(self, work: Work, seen: Seen | None = None) -> None:
        nothing = np.empty(0)
        for first, points in self.runs():
            flat = kernel_view(points)
            count = -(-len(points) // layout.CHUNK)

            def part(start: int, stop: int, flat: np.ndarray = flat, first: int = first) -> None:
                work(flat, nothing, first, start, stop)

            run_blocks(part, count, shares=SHARES)
            if seen is not None:
                seen(first * layout.CHUNK, points, nothing)


def small(source: Any) -> bool:
    """Whether the points are so few that they are read at once."""
    return int(source.n_points) < NEAR_FROM
