"""Deviations of more points than memory holds: the stream is summarised block by block, its extremes are kept.

Kept of every small cell of the surface are its count, how many points are beyond the tolerance, and its lowest and
highest point; of the whole the moments, a histogram of doubles (bins of 1/4096 of an octave), and the sums that carry
the uncertainty of the alignment. So mean, spread, shares, extremes and the counts of faces are those of all points;
quantiles are right to a bin. The state after any point does not depend on how the stream was cut into blocks, and can
be stored and taken up again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from pointcloud.deviation.field import DeviationField, is_coarse, marks, plausibility
from pointcloud.deviation.statistics import QUANTILES, DeviationStatistics, band_edges, expected_extreme, rms_widened
from pointcloud.deviation.uncertainty import DeviationUncertainty
from pointcloud.kernels import codes
from pointcloud.nominal.surface import ClosestPoints, FloatArray, NominalSurface, as_points

CELLS = 60_000  # of the surface, about
_TINY = 2.0**-50  # of the nominal's size: the lower end of the histogram
_SLOTS = 1 << 18
_WORDS = ("points", "with_sign", "on_open_border", "beyond_limit", "beyond_angle", "non_finite", "non_manifold",
          "approximate")  # fmt: skip


_PER_CELL = ("keys", "cells", "extremes")


def _table(rows: dict[str, NDArray[Any]], slots: int) -> dict[str, NDArray[Any]]:
    """A hash table of ``slots`` places with these rows of cells."""
    from pointcloud.kernels import stream as k

    keys, places = np.full(slots, -1, dtype=np.int64), np.empty(len(rows["keys"]), dtype=np.int64)
    k.rehash(np.ascontiguousarray(rows["keys"]), keys, places)
    table = {"keys": keys}
    for name in _PER_CELL[1:]:
        array = np.zeros((slots, *rows[name].shape[1:]), dtype=rows[name].dtype)
        array[places] = rows[name]
        table[name] = array
    return table


@dataclass(eq=False)
class _State:
    """All that a stream leaves behind; arrays only, so that it can be stored."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self.__dict__["arrays"][name]
        except KeyError:
            raise AttributeError(name) from None


_MOST_AROUND = 20_000_000  # cells looked at about others


class DeviationStream:
    """Summary of deviations that arrive in blocks; lengths in the unit of the nominal, which has triangles.

    ``limit``: search limit; ``offset``: tip radius taken off; ``uncertainty`` as for `deviate`, with one noise for all
    points; ``tolerance`` (low, high). Raises `ParameterError`.
    """

    def __init__(
        self,
        nominal: NominalSurface,
        *,
        limit: float | None = None,
        offset: float = 0.0,
        uncertainty: DeviationUncertainty | None = None,
        tolerance: tuple[float, float] | None = None,
        state: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        from pointcloud.kernels import stream as k

        mesh = getattr(nominal, "mesh", None)
        if mesh is None:
            raise ParameterError("a stream of deviations needs a nominal of triangles")
        model = uncertainty if uncertainty is not None else DeviationUncertainty()
        if model.noise is not None and np.ndim(model.noise):
            raise ParameterError("a stream has one noise for all points", got=f"{np.shape(model.noise)}")
        if model.tessellation is None:
            model = model.with_tessellation(nominal.chord_tolerance)
        self.nominal, self.limit, self.offset, self.model, self.tolerance = nominal, limit, offset, model, tolerance
        self.unit = nominal.unit
        low, high = mesh.bounds
        size = float(np.linalg.norm(high - low))
        area = float(mesh.areas().sum())
        edge = max(math.sqrt(area / CELLS), 2.0 * float((high - low).max()) / k.MOST_CELLS, 1e-12 * size)
        numbers = np.zeros(k.N_NUMBERS)
        numbers[k.LOW_X : k.LOW_Z + 1] = low - edge
        numbers[k.EDGE], numbers[k.TINY], numbers[k.OFFSET] = edge, _TINY * size, offset
        numbers[k.LOW], numbers[k.HIGH] = (-math.inf, math.inf) if tolerance is None else tolerance
        one = np.zeros((1, 3))
        plain = DeviationUncertainty(model.noise, model.common, tessellation=model.tessellation)
        numbers[k.VARIANCE] = float(plain.of_points(one, one)[0]) ** 2
        numbers[k.PIVOT_X : k.PIVOT_Z + 1] = model.pivot
        self.edge, self.area, self._numbers = edge, area, numbers
        self._factor = np.ascontiguousarray(model.factor())
        self._edges = np.array(band_edges(tolerance))
        self._state = _State(self._empty(mesh.n_triangles) if state is None else self._checked(dict(state)))

    # --- state
    def _empty(self, n_faces: int) -> dict[str, NDArray[Any]]:
        from pointcloud.kernels import stream as k

        return {
            "histogram": np.zeros(1 + 2 * k.OCTAVES * k.PARTS, dtype=np.int64),
            "levers": np.zeros((1 + 2 * k.OCTAVES * k.COARSE, 7)),
            "sums": np.zeros(18),
            "bands": np.zeros(len(self._edges) + 1, dtype=np.int64),
            "faces": np.zeros(n_faces, dtype=np.int64),
            "keys": np.full(_SLOTS, -1, dtype=np.int64),
            "cells": np.zeros((_SLOTS, k.N_CELL)),
            "extremes": np.zeros((_SLOTS, 2, k.N_COLUMNS)),
            "used": np.zeros(1, dtype=np.int64),
            "words": np.zeros(len(_WORDS), dtype=np.int64),
            "box": np.array([[np.inf] * 3, [-np.inf] * 3]),
        }

    def _checked(self, state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        fresh = self._empty(getattr(self.nominal, "n_faces", 0))
        for name, array in fresh.items():
            stored = state.get(name)
            free = name in _PER_CELL
            if stored is None or stored.dtype != array.dtype or stored.shape[free:] != array.shape[free:]:
                raise ParameterError("this is not the state of such a stream", where=name)
        rows = {name: state[name] for name in _PER_CELL}
        count = len(rows["keys"])
        if any(len(array) != count for array in rows.values()) or int(state["used"][0]) != count:
            raise ParameterError("this is not the state of such a stream", where="keys")
        slots = max(_SLOTS, 1 << (2 * count).bit_length())
        return {**state, **_table(rows, slots)}

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays from which the stream can be taken up again (``state=``)."""
        arrays = dict(self._state.arrays)
        order = self._order()
        return arrays | {name: arrays[name][order] for name in _PER_CELL}

    def _grow(self) -> None:
        arrays = self._state.arrays
        rows = {name: arrays[name][self._order()] for name in _PER_CELL}
        arrays.update(_table(rows, 2 * len(arrays["keys"])))

    def add(self, points: Any, base: int, *, ordered: bool = False) -> None:
        """Take in aligned points (n, 3) in the nominal's unit; ``base`` is the number of the first one in the file."""
        from pointcloud.kernels import stream as k

        xyz = as_points(points)
        found = self._closest(xyz, ordered)
        s = self._state.arrays
        counts = found.counts()
        s["words"] += np.array([counts[name] for name in _WORDS])
        rows = xyz[np.isfinite(xyz).all(axis=1)]
        if len(rows):
            s["box"][0] = np.minimum(s["box"][0], rows.min(axis=0))
            s["box"][1] = np.maximum(s["box"][1], rows.max(axis=0))
        at = 0
        while at < len(xyz):
            at = k.summarise(
                xyz, found.rows, found.words, base, at, self._numbers, self._factor, self._edges, s["histogram"],
                s["levers"], s["sums"], s["bands"], s["faces"], s["keys"], s["cells"], s["extremes"], s["used"],
            )  # fmt: skip
            if at < len(xyz):
                self._grow()

    def _closest(self, xyz: FloatArray, ordered: bool) -> ClosestPoints:
        if ordered and hasattr(self.nominal, "order"):
            return self.nominal.closest(xyz, limit=self.limit, ordered=True)  # type: ignore[call-arg]
        return self.nominal.closest(xyz, limit=self.limit)

    # --- results
    @property
    def n(self) -> int:
        """Points with a deviation."""
        return int(self._state.sums[0])

    @property
    def counts(self) -> dict[str, int]:
        """As `ClosestPoints.counts`, of all points."""
        return dict(zip(_WORDS, self._state.words.tolist()))

    @property
    def box(self) -> FloatArray:
        """(2, 3) smallest and largest coordinates of the points."""
        return np.asarray(self._state.box)

    @property
    def face_counts(self) -> NDArray[np.int64]:
        """(m,) points on each face of the nominal."""
        return self._state.faces

    def extreme_numbers(self) -> NDArray[np.int64]:
        """Numbers, in the file, of the points that `extremes` holds, sorted."""
        from pointcloud.kernels import stream as k

        return np.unique(self._state.extremes[self._order()][:, :, k.INDEX].astype(np.int64))

    def flags(self, of_points: tuple[str, ...] = ()) -> tuple[str, ...]:
        """As those of `deviate`, for all points; ``of_points`` are the flags that the points carry."""
        names = {*of_points, *marks(self.counts), *self.model.flags(), *plausibility(self.box, self.nominal)}
        names |= set(getattr(getattr(self.nominal, "mesh", None), "flags", ()))
        some = self.extremes().closest
        if is_coarse(self.model, self.nominal, some.foot[:4096], some.normal[:4096]):
            names.add("tessellation_coarse")
        return tuple(sorted(names))

    @property
    def guard(self) -> float | None:
        """Share of the points nearer to a limit than twice their standard uncertainty."""
        return None if self.tolerance is None or not self.n else float(self._state.sums[5] / self.n)

    @property
    def spacing(self) -> float:
        """One over the root of the number of points per measured area."""
        mesh: Any = getattr(self.nominal, "mesh", None)
        area = float(mesh.areas()[self._state.faces > 0].sum())
        return math.sqrt(area / self.n) if self.n else 0.0

    def _order(self) -> NDArray[np.int64]:
        """Slots in use, in the order of their keys."""
        keys = self._state.keys
        slots = np.flatnonzero(keys >= 0)
        return slots[np.argsort(keys[slots])]

    def statistics(self, name: str = "all") -> DeviationStatistics | None:
        """As `deviation_statistics.statistics`, of all points; quantiles to a bin, which is an influence of theirs."""
        n = self.n
        if not n:
            return None
        s, model = self._state, self.model
        mean, sd = float(s.sums[1]), math.sqrt(s.sums[2] / (n - 1)) if n > 1 else 0.0
        rms = math.sqrt(s.sums[3] / n)
        arm, weighted = s.sums[6:12], s.sums[12:18]
        sigma = None if model.noise is None else float(model.noise)
        spread = 1.0
        if model.correlation_length and self.spacing > 0.0:
            spread = math.sqrt(1.0 + 2.0 * math.pi * (model.correlation_length / self.spacing) ** 2)

        def linear(value: float, what: str, total: float, lever: FloatArray, count: float, **rest: Any) -> Measured:
            own = None if sigma is None else sigma * min(1.0, spread / math.sqrt(count))
            return model.of_sums(value, self.unit, total, lever, own, f"{name}/{what}", **rest)

        lowest, highest = self._extreme(0), self._extreme(1)
        outside = 1.0 / (rms * n) if rms > 0.0 else 0.0
        bands, below, above = self._bands()
        return DeviationStatistics(
            name, n, linear(mean, "mean", 1.0, arm / n, n),
            linear(sd, "sd", 0.0, (weighted - mean * arm) / ((n - 1) * sd) if sd > 0.0 else np.zeros(6), max(n - 1, 1),
                   lower_bound=0.0),
            linear(rms, "rms", mean * n * outside if rms > 0.0 else 1.0,
                   weighted * outside if rms > 0.0 else arm / n, n, lower_bound=0.0,
                   extra=rms_widened(rms, model, name)),
            self._single(lowest, "minimum", name, sigma), self._single(highest, "maximum", name, sigma),
            tuple((p, self._quantile(p, linear)) for p in QUANTILES), self.tolerance, bands, below, above,
        )  # fmt: skip

    def _extreme(self, side: int) -> FloatArray:
        rows = self._state.extremes[self._order(), side]
        values = rows[:, 0]
        hit = np.flatnonzero(values == (values.min() if side == 0 else values.max()))
        return np.asarray(rows[hit[np.argmin(rows[hit, 1])]])

    def _single(self, row: FloatArray, what: str, name: str, sigma: float | None) -> Measured:
        foot, normal = row[5:8], row[8:11]
        lever = np.concatenate([np.cross(foot - self.model.pivot, normal), normal])
        bias = 0.0 if sigma is None else sigma * expected_extreme(self.n)
        extra = {
            Influence(f"noise/{self.model.scope}/{name}/{what}/bias", f"noise widens the {what} (not corrected)", "B",
                      distribution="rectangular"): bias / math.sqrt(3.0)
        }  # fmt: skip
        return self.model.of_sums(float(row[0]), self.unit, 1.0, lever, sigma, f"{name}/{what}", extra=extra)

    def _bins(self) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Counts of the bins from the lowest value to the highest, and their edges."""
        from pointcloud.kernels import stream as k

        half = k.OCTAVES * k.PARTS
        tiny = float(self._numbers[k.TINY])
        octave, part = np.divmod(np.arange(half), k.PARTS)
        low = tiny * np.ldexp(1.0 + part / k.PARTS, octave)
        high = np.append(low[1:], tiny * 2.0**k.OCTAVES)
        h = self._state.histogram
        return (
            np.concatenate([h[1 + half :][::-1], h[:1], h[1 : 1 + half]]),
            np.concatenate([-high[::-1], [-tiny], low]),
            np.concatenate([-low[::-1], [tiny], high]),
        )

    def _quantile(self, p: float, linear: Any) -> Measured:
        counts, low, high = self._bins()
        total = np.cumsum(counts)
        rank = p * (self.n - 1)
        b = int(np.searchsorted(total, rank, side="right"))
        before = float(total[b] - counts[b])
        value = float(low[b] + (high[b] - low[b]) * (rank - before + 0.5) / counts[b])
        value = min(max(value, self._extreme(0)[0]), self._extreme(1)[0])
        near = 2 * max(1, math.isqrt(self.n) // 2) + 1
        lever = self._lever_at(b, near)
        extra = {
            Influence(f"histogram/{self.model.scope}/q{p:g}", "width of a bin (rectangular)", "B",
                      distribution="rectangular"): float(high[b] - low[b]) / math.sqrt(12.0)
        }  # fmt: skip
        result: Measured = linear(value, f"q{p:g}", 1.0, lever, near, extra=extra)
        return result

    def _lever_at(self, b: int, near: int) -> FloatArray:
        """Mean lever arm of at least ``near`` points about bin ``b`` (in the order of `_bins`)."""
        from pointcloud.kernels import stream as k

        half, group = k.OCTAVES * k.PARTS, k.PARTS // k.COARSE
        rows = self._state.levers
        part = k.OCTAVES * k.COARSE
        levers = np.concatenate([rows[1 + part :][::-1], rows[:1], rows[1 : 1 + part]])
        at = (
            part
            if b == half
            else part + 1 + (b - half - 1) // group
            if b > half
            else part - 1 - (half - 1 - b) // group
        )
        total = np.concatenate([np.zeros((1, 7)), np.cumsum(levers, axis=0)])
        reach = 0
        while True:
            low, high = max(0, at - reach), min(len(levers), at + reach + 1)
            sums = total[high] - total[low]
            if sums[6] >= near or (low == 0 and high == len(levers)):
                return np.asarray(sums[:6] / max(sums[6], 1.0))
            reach += 1

    def largest_share(self, share: float) -> float:
        """Size that the given share of the absolute deviations exceeds, to a bin."""
        from pointcloud.kernels import stream as k

        half = k.OCTAVES * k.PARTS
        h = self._state.histogram
        sizes = np.concatenate([h[:1], h[1 : 1 + half] + h[1 + half :]])
        b = int(np.searchsorted(np.cumsum(sizes), (1.0 - share) * self.n))
        octave, part = divmod(max(b - 1, 0), k.PARTS)
        return float(self._numbers[k.TINY]) * math.ldexp(1.0 + (part + 1) / k.PARTS, octave)

    def n_beyond(self, beyond: tuple[float, float]) -> int:
        """Points beyond (low, high), to a bin of the histogram, at least the true number."""
        counts, low, high = self._bins()
        return int(counts[(high > beyond[1]) | (low < beyond[0])].sum())

    def _bands(self) -> tuple[tuple[tuple[float, float, float], ...], float | None, float | None]:
        if self.tolerance is None:
            return (), None, None
        edges = [-math.inf, *self._edges.tolist(), math.inf]
        shares = (self._state.bands / self.n).tolist()
        return tuple(zip(edges, edges[1:], shares)), shares[0], shares[-1]

    # --- fields of some points
    def field_of(self, xyz: FloatArray, found: ClosestPoints, method: str, flags: tuple[str, ...]) -> DeviationField:
        """Some of the points as a field."""
        value = found.distance - self.offset if self.offset else found.distance.copy()
        return DeviationField(
            xyz, value, found, self.nominal, self.model, method, self.tolerance, flags=flags, counts=self.counts
        )

    def extremes(self, method: str = "", flags: tuple[str, ...] = ()) -> DeviationField:
        """The lowest and the highest point of every cell, in the order of the file."""
        from pointcloud.kernels import stream as k

        rows = self._state.extremes[self._order()].reshape(-1, k.N_COLUMNS)
        rows = rows[np.unique(rows[:, k.INDEX], return_index=True)[1]]
        found = ClosestPoints.empty(len(rows))
        found.rows[:, 0:3], found.rows[:, 3] = rows[:, k.FOOT : k.FOOT + 3], rows[:, k.VALUE] + self.offset
        found.rows[:, 4:7] = rows[:, k.NORMAL : k.NORMAL + 3]
        found.words[:, 14], found.words[:, 15] = rows[:, k.FACE].astype(np.int32), codes.FACE
        return self.field_of(np.ascontiguousarray(rows[:, k.X : k.X + 3]), found, method, flags)

    def around(self, feet: FloatArray, reach: float, width: float = 0.0) -> CellSet:
        """The cells that hold these feet (n, 3), those that touch them, and those within ``width``; ``reach``: the
        largest deviation there."""
        from pointcloud.kernels import stream as k

        wanted = np.unique(np.floor((feet - self._numbers[: k.LOW_Z + 1]) / self.edge).astype(np.int64), axis=0)
        far = max(1, math.ceil(width / self.edge))
        while far > 1 and len(wanted) * (2 * far + 1) ** 3 > _MOST_AROUND:
            far -= 1
        steps = np.stack(np.meshgrid(*[np.arange(-far, far + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        cells = np.unique((wanted[:, None] + steps).reshape(-1, 3), axis=0)
        cells = cells[(cells >= 0).all(axis=1)]
        keys = (((cells[:, 0] << 36) | (cells[:, 1] << 18) | cells[:, 2])[:, None] * 6 + np.arange(6)).ravel()
        order = self._order()
        slots = order[np.isin(self._state.keys[order], keys)]
        table = np.full(1 << max(4, int(4 * max(len(slots), 1)).bit_length()), -1, dtype=np.int64)
        k.rehash(np.ascontiguousarray(self._state.keys[slots]), table, np.empty(len(slots), dtype=np.int64))
        return CellSet(self, cells, table, int(self._state.cells[slots, k.COUNT].sum()), reach)


class CellSet:
    """Some cells of a stream, to pick their points in a second pass. ``n_points``: how many there are."""

    def __init__(
        self, stream: DeviationStream, cells: NDArray[np.int64], table: NDArray[np.int64], n_points: int, reach: float
    ) -> None:
        self._stream, self._table, self.n_points = stream, table, n_points
        low = stream._numbers[:3]
        boxes = np.stack([low + cells * stream.edge - reach, low + (cells + 1) * stream.edge + reach], axis=1)
        self._low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        size = max(float((high - self._low).max()) / 160.0, 1e-300)
        self._scale = 1.0 / size
        shape = np.floor((high - self._low) * self._scale).astype(np.int64) + 1
        voxels = np.zeros(tuple(shape), dtype=np.bool_)
        first = np.floor((boxes[:, 0] - self._low) * self._scale).astype(np.int64)
        last = np.minimum(np.floor((boxes[:, 1] - self._low) * self._scale).astype(np.int64), shape - 1)
        for a, b in np.unique(np.concatenate([first, last], axis=1), axis=0).reshape(-1, 2, 3):
            voxels[a[0] : b[0] + 1, a[1] : b[1] + 1, a[2] : b[2] + 1] = True
        self._voxels, self._shape = voxels, shape.astype(np.float64)

    def pick(self, points: FloatArray) -> tuple[NDArray[np.int64], ClosestPoints]:
        """Which of the aligned points (n, 3) are in the cells, and their feet."""
        from pointcloud.kernels import stream as k

        chosen = np.empty(len(points), dtype=np.bool_)
        k.near_boxes(points, self._low, self._scale, self._shape, self._voxels, chosen)
        index = np.flatnonzero(chosen)
        found = self._stream._closest(np.ascontiguousarray(points[index]), False)
        inside = np.empty(len(index), dtype=np.bool_)
        k.within_cells(found.rows, found.words, self._stream._numbers, self._table, inside)
        return index[inside], ClosestPoints(np.ascontiguousarray(found.rows[inside]))
