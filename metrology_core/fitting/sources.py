"""Points that are read piece by piece: what a block source is, and its finite points as chunks that kernels take.

A block source has ``n_points`` (or ``shape``) and ``read(start, stop)`` giving (stop - start, 3) numbers. Whatever
pieces it is stored in, the kernels see the chunks that they would see of one array in memory: the same partial sums,
the same bits. The next piece is read while the kernels work on this one.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import AbbeError, DataError, ParameterError
from metrology_core.fitting.memory import kernel_view
from metrology_core.kernels import layout

SLICE = 4 * layout.CHUNK  # points evaluated together outside the kernels
PIECE = 4 * SLICE  # points read at once: 6 MB of coordinates
LARGE = 1 << 20  # points from which arrays that are mapped, or would have to be converted, are read in pieces


class ArrayPoints:
    """A block source over an array, mapped or not: pieces are converted, the array is not.

    Pieces of a mapped file are given back to the system after use, so that the memory in use does not grow with it.
    """

    def __init__(self, array: np.ndarray) -> None:
        if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != 3:
            raise ParameterError(
                "not an array of points", expected="real numbers of shape (n, 3)", got=f"{array.dtype} {array.shape}"
            )
        self.array = array
        self.n_points = len(array)

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(self.array[start:stop], dtype=np.float64)

    def done(self, start: int, stop: int) -> None:
        """Let the pages of these points go."""
        mapped = getattr(self.array, "_mmap", None)
        if mapped is None or not hasattr(mapped, "madvise") or not self.array.flags.c_contiguous:
            return
        base = np.frombuffer(mapped, np.uint8).ctypes.data
        row = self.array.strides[0]
        first = self.array.ctypes.data - base + start * row
        first = (first + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        last = (self.array.ctypes.data - base + stop * row) // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first and self.array.mode == "r":  # type: ignore[attr-defined]
            mapped.madvise(mmap.MADV_DONTNEED, first, last - first)


def as_source(points: Any) -> Any:
    """The block source that `points` is, or None: an object with ``read``, or a large array that is mapped from a file
    or would need a copy."""
    if isinstance(points, np.ndarray):
        if points.ndim != 2 or len(points) < LARGE or points.shape[1] != 3 or points.dtype.kind not in "fiu":
            return None
        plain = points.dtype == np.float64 and points.flags.c_contiguous and not isinstance(points, np.memmap)
        return None if plain else ArrayPoints(points)
    pointset = hasattr(points, "points_are") and hasattr(points, "xyz")
    if pointset or not callable(getattr(points, "read", None)):
        return None
    count_points(points)
    return points


def count_points(source: Any) -> int:
    """Number of points of a block source; `ParameterError` where it does not say."""
    count = getattr(source, "n_points", None)
    shape = getattr(source, "shape", None)
    if count is None and isinstance(shape, tuple) and len(shape) == 2 and shape[1] == 3:
        count = shape[0]
    if isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)) or count < 0:
        raise ParameterError(
            "not a block source",
            expected="n_points (or shape (n, 3)) and read(start, stop) giving (stop - start, 3) numbers",
            got=f"{type(source).__name__} with n_points {count!r} and shape {shape!r}"[:120],
        )
    return int(count)


def read_piece(source: Any, start: int, stop: int) -> np.ndarray:
    """Points start to stop as contiguous float64; `DataError` naming them where the source fails or lies."""
    where = f"points {start} to {stop}"
    try:
        given = source.read(start, stop)
    except AbbeError as error:
        error.where = error.where or where
        raise
    except Exception as error:
        raise DataError("the block source failed", where=where, got=f"{type(error).__name__}: {error}"[:200]) from error
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.shape != (stop - start, 3):
        raise DataError(
            "the block source gave something else than it was asked for",
            where=where,
            expected=f"numbers of shape ({stop - start}, 3)",
            got=f"{array.dtype} of shape {array.shape}",
        )
    return np.ascontiguousarray(array, dtype=np.float64)


class Stream:
    """The finite points (with weight, where there are weights) of a block source, numbered as if they were one array.

    `blocks` passes over them; `len` and `stream[rows]` work once `count` has been called.
    """

    def __init__(self, source: Any, weights: np.ndarray) -> None:
        self.source = source
        self.n_points = count_points(source)
        self._weights = kernel_view(weights)
        self._kept: list[int] = []  # of each piece, how many points count
        self._edges = np.zeros(1, np.int64)
        self._clean = False
        self._seen: dict[int, np.ndarray] = {}
        self._passing: dict[int, np.ndarray] = {}
        self.not_finite = 0

    def __len__(self) -> int:
        return int(self._edges[-1])

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first point, piece as read) of the whole source, the next one being read meanwhile."""
        done = getattr(self.source, "done", None)
        starts = list(range(0, self.n_points, PIECE))
        if not starts:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="abbe-read") as reader:

            def ask(start: int) -> Any:
                return reader.submit(read_piece, self.source, start, min(start + PIECE, self.n_points))

            waiting = ask(0)
            for start in starts:
                piece = waiting.result()
                if start + PIECE < self.n_points:
                    waiting = ask(start + PIECE)
                yield start, piece
                if done is not None:
                    done(start, start + len(piece))

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """(points (3 m,), their weights or none, number of the first point): whole chunks, the last one shorter."""
        first_pass = not self._kept and self.n_points > 0
        weighted = self._weights.size > 0
        none = np.empty(0)
        carry, carry_weights = np.empty((0, 3)), none
        number = 0
        counts: list[int] = []
        bad = 0
        for start, piece in self.pieces():
            load = self._weights[start : start + len(piece)] if weighted else none
            if first_pass or self._kept[start // PIECE] < len(piece):
                finite = np.isfinite(piece).all(axis=1)
                bad += len(piece) - int(np.count_nonzero(finite))
                keep = finite & (load > 0.0) if weighted else finite
                if not keep.all():
                    piece = piece[keep]
                    load = load[keep] if weighted else none
            counts.append(len(piece))
            if len(carry):
                piece = np.concatenate((carry, piece))
                load = np.concatenate((carry_weights, load)) if weighted else none
            whole = len(piece) - len(piece) % SLICE
            if whole:
                part = piece[:whole]
                yield kernel_view(part), (load[:whole] if weighted else none), number
                number += whole
            carry, carry_weights = piece[whole:].copy(), (load[whole:].copy() if weighted else none)
        if first_pass:
            self._kept = counts
            self._edges = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
            self.not_finite = bad
            self._clean = len(self) == self.n_points
        if len(carry):
            yield carry.reshape(-1), carry_weights, number

    def each(self, work: Callable[[np.ndarray, np.ndarray, int, int, int], object]) -> None:
        """Call ``work(points, weights, first chunk, start, stop)`` over the chunks of every block, threaded."""
        for flat, load, number in self.blocks():
            chunks = (len(flat) // 3 + layout.CHUNK - 1) // layout.CHUNK
            first = number // layout.CHUNK
            run_blocks(functools.partial(work, flat, load, first), chunks)

    # --- single points
    def remember(self, rows: np.ndarray, xyz: np.ndarray) -> None:
        """Note the coordinates of points that a pass came by, until `settle`."""
        for row, point in zip(rows.tolist(), xyz):
            self._passing[row] = point.copy()

    def settle(self, rows: np.ndarray) -> None:
        """Keep the coordinates of these points of the pass, and forget the others."""
        for row in rows.tolist():
            point = self._passing.get(row)
            if point is not None:
                self._seen[row] = point
        self._passing.clear()

    def __getitem__(self, rows: Any) -> np.ndarray:
        """(m, 3) of the points with these numbers (or of a mask's, or a (rows, columns) pair's)."""
        if isinstance(rows, tuple):
            return self[rows[0]][:, rows[1]]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        wanted = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        result = np.empty((len(wanted), 3))
        missing = []
        for k, row in enumerate(wanted.tolist()):
            known = self._seen.get(row)
            if known is None:
                missing.append(k)
            else:
                result[k] = known
        if missing:
            left = np.array(missing)
            piece_of = np.searchsorted(self._edges, wanted[left], side="right") - 1
            for number in np.unique(piece_of):
                here = left[piece_of == number]
                start = int(number) * PIECE
                piece = read_piece(self.source, start, min(start + PIECE, self.n_points))
                if not self._clean:
                    piece = piece[self.counting(piece, start)]
                result[here] = piece[wanted[here] - self._edges[number]]
        return result

    def counting(self, piece: np.ndarray, start: int) -> np.ndarray:
        """Which points of a piece that begins at `start` count."""
        if self._kept and self._kept[start // PIECE] == len(piece) and start % PIECE == 0:
            return np.ones(len(piece), bool)
        keep = np.isfinite(piece).all(axis=1)
        return keep & (self._weights[start : start + len(piece)] > 0.0) if self._weights.size else keep

    def used(self) -> np.ndarray | None:
        """(n_points,) mask of the points that count, None where all do."""
        if self._clean:
            return None
        return np.concatenate([self.counting(piece, start) for start, piece in self.pieces()])

    def original(self, rows: np.ndarray) -> np.ndarray:
        """Numbers in the source of the points with these numbers among those that count."""
        if self._clean:
            return rows
        result = np.empty(len(rows), np.int64)
        piece_of = np.searchsorted(self._edges, rows, side="right") - 1
        for number in np.unique(piece_of):
            start = int(number) * PIECE
            piece = read_piece(self.source, start, min(start + PIECE, self.n_points))
            places = np.flatnonzero(self.counting(piece, start))
            here = piece_of == number
            result[here] = start + places[rows[here] - self._edges[number]]
        return result


class AsGiven:
    """The points of a source as it numbers them, for what looks at an array: length, slices of rows, rows by number.

    A point that is not finite is all NaN.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.shape = (stream.n_points, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def _read(self, start: int, stop: int) -> np.ndarray:
        piece = read_piece(self.stream.source, start, stop)
        bad = ~np.isfinite(piece).all(axis=1)
        if bad.any():
            piece = piece.copy()
            piece[bad] = np.nan
        return piece

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if (start, stop, step) == (0, len(self), 1) and columns in (slice(None), slice(None, 3)):
                return self
            return self._read(start, max(start, stop))[::step][:, columns]
        wanted = np.atleast_1d(np.asarray(rows))
        if wanted.dtype == np.bool_:
            wanted = np.flatnonzero(wanted)
        result = np.empty((len(wanted), 3))
        for number in np.unique(wanted // SLICE):
            here = wanted // SLICE == number
            first, last = int(wanted[here].min()), int(wanted[here].max()) + 1
            result[here] = self._read(first, last)[wanted[here] - first]
        return result[:, columns]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """All points in memory: only what has a row for every point asks for this."""
        return self._read(0, len(self)).astype(dtype or np.float64, copy=False)


def used_slices(xyz: Any, used: np.ndarray | None, weights: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(points that count, their weights or none) of an array or of a source as given, in slices of its own numbering:
    bounded memory.
    """
    none = np.empty(0)
    if isinstance(xyz, AsGiven):
        for start, piece in xyz.stream.pieces():
            keep = xyz.stream.counting(piece, start)
            for a in range(0, len(piece), SLICE):
                here = keep[a : a + SLICE]
                load = weights[start + a : start + a + len(here)][here] if weights.size else none
                yield piece[a : a + SLICE][here], load
        return
    for a in range(0, len(xyz), SLICE):
        part, load = xyz[a : a + SLICE], (weights[a : a + SLICE] if weights.size else none)
        if used is not None:
            here = used[a : a + SLICE]
            part, load = part[here], (load[here] if weights.size else none)
        yield part, load


def each_chunk(points: Any, work: Callable[[np.ndarray, int, int, int], object]) -> None:
    """Call ``work(points, first chunk, start, stop)`` over chunks of an array (n, 3) or of a stream, threaded.

    start, stop count the chunks of the array handed over, `first chunk` is the number of its first chunk in the whole.
    """
    if isinstance(points, Stream):
        points.each(lambda flat, load, first, start, stop: work(flat.reshape(-1, 3), first, start, stop))
        return
    run_blocks(lambda start, stop: work(points, 0, start, stop), (len(points) + layout.CHUNK - 1) // layout.CHUNK)
