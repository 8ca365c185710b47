"""What makes the values of a map doubtful though each of them can be read: flags of the map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from wafer.maps.sites import SiteMap

SAME_PLACE = 0.01  # mm: stages place worse than that, so two values this near belong to one site
_LEAST = 3  # lines above the last from which its length can be judged


def doubts(found: SiteMap) -> tuple[str, ...]:
    """Flags: those that the reader found, two values at one place, a thickness below zero."""
    flags = list(found.doubts)
    known = np.isfinite(found.value)
    places = np.rint(np.c_[found.x, found.y][known] / SAME_PLACE)
    if len(np.unique(places, axis=0)) < len(places):
        flags.append("sites_repeated")
    if found.unit and bool((found.value[known] < 0.0).any()):
        flags.append("thickness_negative")
    return tuple(flags)


def repeated_names(names: Sequence[str]) -> frozenset[str]:
    """The names that stand for several wafers of a file."""
    return frozenset(name for name, count in Counter(names).items() if name and count > 1)


def is_cut(text: str, rows: Sequence[Sequence[str]], sites: Sequence[int]) -> bool:
    """Whether a file stops in the midst of its last table: no end of the last line, and a last number that is shorter
    than all above it, or fewer ``sites`` than every other block of the file. A missing end of line alone is a habit of
    some tools."""
    if text.endswith(("\n", "\r")) or not rows or not rows[-1]:
        return False
    if len(sites) > 1 and sites[-1] < min(sites[:-1]):
        return True
    last = rows[-1]
    column = [row[-1] for row in rows[:-1] if len(row) == len(last) and _decimals(row[-1]) is not None]
    lengths = {_decimals(cell) for cell in column}
    mine = _decimals(last[-1])
    if len(column) < _LEAST or len(lengths) > 1 or mine is None:
        return False
    return mine < min(n for n in lengths if n is not None)


def _decimals(cell: str) -> int | None:
    try:
        float(cell)
    except ValueError:
        return None
    return len(cell.partition(".")[2])
