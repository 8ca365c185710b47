"""Design polygons: text files, GDSII and OASIS (through the door); edges, corners, line ends.

Design coordinates have x to the right and y up; `Design` keeps them as the file has them, in ``unit``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrology_core.errors import ParameterError, ReaderError
from metrology_core.provenance import Source, digest_bytes
from metrology_core.units import convert
from metrology_core.units import unit as _unit

MAX_BYTES = 2**28
MAX_VERTICES = 5_000_000
SHARP = math.radians(20.0)  # a vertex that turns more is a corner
CONVEX, CONCAVE, LINE_END = 0, 1, 2  # kinds of corners
_END_RATIO = 1.5  # a line end is shorter than its neighbours by this factor


@dataclass(frozen=True, eq=False)
class Design:
    """Polygons (each (n, 2), without a repeated last vertex) in ``unit``; nested ones are holes in turn. ``source`` the
    file; ``layer`` in words where the file has layers."""

    polygons: tuple[np.ndarray, ...]
    unit: str
    source: Source | None = None
    layer: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", _unit(self.unit).name)
        kept = []
        for number, polygon in enumerate(self.polygons):
            p = np.array(polygon, np.float64)
            if p.ndim != 2 or p.shape[1] != 2 or not np.isfinite(p).all():
                raise ParameterError(
                    f"polygon {number + 1} of the design is not a list of places", expected="finite (n, 2) coordinates"
                )
            p = p[np.any(p != np.roll(p, 1, axis=0), axis=1)]
            if len(p) < 3 or abs(area_of(p)) <= 1e-12 * float(np.ptp(p, axis=0).max(initial=0.0)) ** 2:
                raise ParameterError(
                    f"polygon {number + 1} of the design has no area", got=f"{len(p)} different vertices",
                    remedy="remove it from the design",
                )  # fmt: skip
            p.setflags(write=False)
            kept.append(p)
        if not kept:
            raise ParameterError("the design has no polygon", remedy="check file, cell and layer")
        object.__setattr__(self, "polygons", tuple(kept))

    def to(self, unit: str) -> Design:
        """The same polygons in another unit."""
        factor = convert(1.0, self.unit, unit)
        return Design(tuple(p * factor for p in self.polygons), unit, self.source, self.layer)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Bounding box: x and y of the lower left, x and y of the upper right corner."""
        low = np.min([p.min(axis=0) for p in self.polygons], axis=0)
        high = np.max([p.max(axis=0) for p in self.polygons], axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def area_of(polygon: np.ndarray) -> float:
    """Signed area, positive counterclockwise (y up)."""
    x, y = polygon.T
    x, y = x - x[0], y - y[0]
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


@dataclass(frozen=True, eq=False)
class Edges:
    """All edges of a design as they bound its features.

    ``start``, ``end``, ``normal`` (m, 2), the normal pointing out of the feature; ``polygon`` (m,) number; ``arc`` (m,)
    length of the boundary before the edge, ``length`` (m,); ``corners`` per polygon the arc lengths of its sharp
    corners, ``corner_kind`` whether they are `CONVEX`, `CONCAVE` or of a `LINE_END`, and ``around`` (p,) its perimeter;
    ``line_end`` (m,) whether an edge is the end of a line; ``rings`` the oriented polygons.
    """

    start: np.ndarray
    end: np.ndarray
    normal: np.ndarray
    polygon: np.ndarray
    arc: np.ndarray
    length: np.ndarray
    corners: tuple[np.ndarray, ...]
    corner_kind: tuple[np.ndarray, ...]
    around: np.ndarray
    line_end: np.ndarray
    rings: tuple[np.ndarray, ...]

    def from_corner(self, edge: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Distance along the boundary to the nearest sharp corner; inf where a polygon has none; NaN for edge -1."""
        return self.nearest_corner(edge, along)[0]

    def nearest_corner(self, edge: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distance of `from_corner`, and kind and number of that corner (`CONVEX` and -1 where there is none)."""
        result = np.full(edge.shape, math.nan)
        kind, number = np.full(edge.shape, CONVEX), np.full(edge.shape, -1)
        before = 0
        for p, corners in enumerate(self.corners):
            mine = np.flatnonzero((edge >= 0) & (self.polygon[np.maximum(edge, 0)] == p))
            if not corners.size:
                result[mine] = math.inf
                continue
            at = self.arc[edge[mine]] + along[mine]
            ring = np.concatenate((corners[-1:] - self.around[p], corners, corners[:1] + self.around[p]))
            k = np.clip(np.searchsorted(ring, at), 1, ring.size - 1)
            back, ahead = at - ring[k - 1], ring[k] - at
            result[mine] = np.minimum(back, ahead)
            nearest = (np.where(back <= ahead, k - 1, k) - 1) % corners.size
            kind[mine], number[mine] = self.corner_kind[p][nearest], before + nearest
            before += corners.size
        return result, kind, number

    def boundaries(self, edge: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,) number of the polygon, -1 for edge -1; (n,) place along its boundary; and by number the length
        around."""
        valid = edge >= 0
        k = np.maximum(edge, 0)
        return np.where(valid, self.polygon[k], -1), np.where(valid, self.arc[k] + along, math.nan), self.around

    def mapped(self, place: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """(m, 6) rows for the nearest-edge kernel: p -> ``turn`` @ p + ``place``; the turn may mirror and scale."""
        n = self.normal @ turn.T
        return np.ascontiguousarray(
            np.column_stack((self.start @ turn.T + place, self.end @ turn.T + place, n / np.hypot(*n.T)[:, None]))
        )


def edges_of(design: Design) -> Edges:
    """Orient the polygons (features to the left of their edges), find corners and line ends."""
    rings = oriented(design.polygons)
    parts: list[list[np.ndarray]] = [[] for _ in range(7)]
    corners, kinds, around = [], [], []
    for number, p in enumerate(rings):
        d = np.roll(p, -1, axis=0) - p
        length = np.hypot(*d.T)
        along = d / length[:, None]
        turn = _turns(along)  # at the start of each edge
        arc = np.concatenate(([0.0], np.cumsum(length)[:-1]))
        sharp = np.abs(turn) > SHARP
        corners.append(arc[sharp])
        around.append(float(length.sum()))
        end = _line_ends(length, turn)
        # a line end has a corner at its start and one where the next edge starts
        kinds.append(np.where(end | np.roll(end, 1), LINE_END, np.where(turn > 0.0, CONVEX, CONCAVE))[sharp])
        normal = np.column_stack((along[:, 1], -along[:, 0]))
        n = len(p)
        for part, values in zip(
            parts, (p, np.roll(p, -1, axis=0), normal, np.full(n, number), arc, length, end), strict=True
        ):
            part.append(values)
    start, stop, normal, polygon, arc, length, ends = (np.concatenate(part) for part in parts)
    # cuts that join a hole to its surround run there and back: no edges of anything
    keys = {(*np.round(a, 6), *np.round(b, 6)) for a, b in zip(start, stop, strict=True)}
    real = np.array([(*np.round(b, 6), *np.round(a, 6)) not in keys for a, b in zip(start, stop, strict=True)], bool)
    return Edges(
        start[real], stop[real], normal[real], polygon[real], arc[real], length[real], tuple(corners),
        tuple(kinds), np.array(around), ends[real].astype(bool), tuple(rings),
    )  # fmt: skip


def _turns(along: np.ndarray) -> np.ndarray:
    before = np.roll(along, 1, axis=0)
    cross = before[:, 0] * along[:, 1] - before[:, 1] * along[:, 0]
    result: np.ndarray = np.arctan2(cross, np.sum(before * along, axis=1))
    return result


def _line_ends(length: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Edges between two convex corners of about 90 degrees whose neighbours are clearly longer."""
    right = np.abs(turn - 0.5 * math.pi) < SHARP
    beside = np.minimum(np.roll(length, 1), np.roll(length, -1))
    result: np.ndarray = right & np.roll(right, -1) & (beside > _END_RATIO * length)
    return result


def oriented(polygons: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Counterclockwise, those nested an odd number of times clockwise; vertices on straight edges left out."""
    boxes = np.array([(*p.min(axis=0), *p.max(axis=0)) for p in polygons])
    result = []
    for i, p in enumerate(polygons):
        x, y = p[0]
        holding = np.flatnonzero((boxes[:, 0] < x) & (boxes[:, 1] < y) & (boxes[:, 2] > x) & (boxes[:, 3] > y))
        depth = sum(_inside(polygons[j], x, y) for j in holding if j != i)
        ring = p if (area_of(p) > 0.0) == (depth % 2 == 0) else p[::-1]
        d = np.roll(ring, -1, axis=0) - ring
        straight = np.abs(_turns(d / np.hypot(*d.T)[:, None])) < 1e-9
        result.append(np.ascontiguousarray(ring[~straight]))
    return result


def _inside(polygon: np.ndarray, x: float, y: float) -> bool:
    a, b = polygon, np.roll(polygon, -1, axis=0)
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    return bool(np.count_nonzero(crosses & (at > x)) % 2)


def read_design(
    path: str | Path, *, unit: str | None = None, cell: str | None = None, layer: str | None = None
) -> Design:
    """Read design polygons.

    Text: one vertex ``x y`` (or ``x, y``) a line, an empty line between polygons, ``#`` starts a comment; a line
    ``unit nm`` before the first vertex states the unit, else ``unit`` must. GDSII and OASIS (recognised by their first
    bytes) need the extra ``gds``: all polygons of ``layer`` (``10`` or ``10/0``) in ``cell`` (default: the only top
    cell), flattened and merged; they carry their own unit. Raises `ReaderError` with file and line, `ParameterError`
    for arguments that do not fit the file.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ReaderError("the design is too large", path=file.name, expected=f"at most {MAX_BYTES} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise ReaderError(
            "the design cannot be read", path=file.name, got=error.strerror or type(error).__name__,
            remedy="check path and rights",
        ) from error  # fmt: skip
    source = Source(file.name, digest_bytes(data), len(data), "design")
    if data[:4] == b"\x00\x06\x00\x02" or data[:13] == b"%SEMI-OASIS\r\n":
        from wafer.gds_bridge import read_layout

        polygons, found, words = read_layout(file, data[:1] == b"%", cell, layer)
        return Design(polygons, found, source, words)
    if cell is not None or layer is not None:
        raise ParameterError(
            "cell and layer belong to GDSII and OASIS files", got=file.name, remedy="leave them out for a text file"
        )
    polygons, stated = _parse(data, file.name)
    if stated is not None and unit is not None and _unit(stated).name != _unit(unit).name:
        raise ParameterError("the design file states another unit", expected=stated, got=unit)
    final = stated or unit
    if final is None:
        raise ReaderError(
            "the unit of the design is not known", path=file.name, remedy="write 'unit nm' in its first line"
        )
    return Design(polygons, final, source)


def _parse(data: bytes, name: str) -> tuple[tuple[np.ndarray, ...], str | None]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReaderError(
            "the design is neither text nor GDSII or OASIS", path=name, place=f"byte {error.start}"
        ) from error
    unit: str | None = None
    polygons: list[np.ndarray] = []
    current: list[tuple[float, float]] = []
    started = 0

    def close(line: int) -> None:
        if not current:
            return
        if len(current) < 3:
            raise ReaderError(
                "a polygon needs three vertices",
                path=name,
                place=f"line {started}",
                got=f"{len(current)}, up to line {line}",
            )
        polygons.append(np.array(current))
        current.clear()

    total = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if not line:
            if not raw.strip():
                close(number)
            continue
        words = line.replace(",", " ").split()
        if words[0].lower() == "unit" and len(words) == 2 and not polygons and not current and unit is None:
            unit = _unit(words[1]).name
            continue
        try:
            x, y = (float(w) for w in words)
        except ValueError:
            x = y = math.nan
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ReaderError(
                "this line is no vertex", path=name, place=f"line {number}", expected="two numbers: x y", got=line[:60]
            )
        if not current:
            started = number
        current.append((x, y))
        total += 1
        if total > MAX_VERTICES:
            raise ReaderError("the design has too many vertices", path=name, expected=f"at most {MAX_VERTICES}")
    close(len(text.splitlines()))
    if not polygons:
        raise ReaderError("the design has no polygon", path=name, expected="lines 'x y'", remedy="check the file")
    return tuple(polygons), unit
