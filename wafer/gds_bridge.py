"""The one door to GDSII and OASIS (gdstk, extra ``gds``): flattened, merged polygons of one layer. Nothing measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metrology_core.errors import MissingDependencyError, ParameterError, ReaderError


def read_layout(
    path: Path, oasis: bool, cell: str | None, layer: str | None
) -> tuple[tuple[np.ndarray, ...], str, str]:
    """Polygons of a layer (n, 2) in nm, the unit, and cell and layer in words.

    Overlapping and touching polygons come back as one; holes as rings of their own. Raises
    `MissingDependencyError` without gdstk, `ReaderError` for a damaged file, `ParameterError` where cell or layer is
    not there or has to be named.
    """
    try:
        import gdstk
    except ImportError as error:
        raise MissingDependencyError(
            "reading GDSII and OASIS needs gdstk", remedy="pip install 'abbe[gds]', or give the polygons as text"
        ) from error
    try:
        library = gdstk.read_oas(str(path)) if oasis else gdstk.read_gds(str(path))
        top = [c for c in library.top_level() if isinstance(c, gdstk.Cell)]
        cells = {c.name: c for c in library.cells if isinstance(c, gdstk.Cell)}
    except Exception as error:  # the library reports damage in several types
        raise ReaderError(
            "the layout cannot be read", path=path.name, got=f"{type(error).__name__}: {error}", remedy="check the file"
        ) from error
    if cell is None:
        if len(top) != 1:
            raise ParameterError(
                "the layout has not exactly one top cell", expected="cell: one of " + ", ".join(sorted(cells)[:20])
            )
        chosen = top[0]
    elif cell in cells:
        chosen = cells[cell]
    else:
        raise ParameterError(f"the layout has no cell {cell!r}", expected=", ".join(sorted(cells)[:20]))
    shapes = chosen.get_polygons()
    present = sorted({(s.layer, s.datatype) for s in shapes})
    wanted = _layer(layer, present)
    mine = [s for s in shapes if (s.layer, s.datatype) in wanted]
    step = float(library.precision) / float(library.unit)
    merged = gdstk.boolean(mine, [], "or", precision=step)
    factor = float(library.unit) / 1e-9
    words = f"cell {chosen.name}, layer {', '.join(f'{a}/{b}' for a, b in wanted)}"
    rings = [ring for p in merged for ring in uncut([(float(x), float(y)) for x, y in p.points])]
    return tuple(np.array(ring) * factor for ring in rings), "nm", words


def uncut(ring: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Take the cuts out of a polygon: an edge that runs there and back joins a hole to its surround. Returns rings."""
    where = {(a, b): i for i, (a, b) in enumerate(zip(ring, ring[1:] + ring[:1], strict=True)) if a != b}
    for (a, b), i in where.items():
        j = where.get((b, a))
        if j is None:
            continue
        first, second = min(i, j), max(i, j)
        # vertices after the first cut up to the second, and the rest; each closes on itself
        parts = [ring[first + 1 : second], ring[second + 1 :] + ring[:first]]
        return [found for part in parts if len(part) > 2 for found in uncut(part)]
    return [ring]


def _layer(layer: str | None, present: list[tuple[int, int]]) -> list[tuple[int, int]]:
    known = ", ".join(f"{a}/{b}" for a, b in present[:20]) or "none"
    if layer is None:
        if len(present) != 1:
            raise ParameterError("the layout has not exactly one layer", expected=f"layer: one of {known}")
        return present
    try:
        numbers = [int(part) for part in layer.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ParameterError("a layer is a number, or layer/datatype", got=repr(layer), expected="for example 10/0")
    found = [p for p in present if p[0] == numbers[0] and (len(numbers) == 1 or p[1] == numbers[1])]
    if not found:
        raise ParameterError(f"the cell has nothing on layer {layer}", expected=known)
    return found
