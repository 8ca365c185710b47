"""What lies about a corner of the design and says nothing of its edges: how far rounding reaches, seen in the contours.

A printed corner is an arc; near it the contour leaves both edges of the design. How far is read off the contours: the
errors less those far from corners, at the distance t from the corner, medians over all corners of a kind, are compared
with an arc of radius r,

    e(t) = -+ (r - sqrt(r^2 - (r - t + p)^2)) for t < p + r, else 0

by least absolute deviations. p is where the two printed edges meet: moved by the offset of the edges, at line ends by
the pull-back of the end. Line ends, other convex corners and concave ones are kinds of their own. The beam rounds sharp
corners in the same way, and is part of r.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wafer.contours.design import CONCAVE, CONVEX, LINE_END, Edges

if TYPE_CHECKING:
    from wafer.contours.registration import Matches

WIDTHS = 1.5  # widths of the edge (10 % to 90 %) that are left out at least
LEAST = 5.0  # px
_BEYOND = 0.75  # widths of the edge beyond the end of the arc: the beam smooths it
_SIDES = 0.35  # of an edge that an estimated zone takes from either side at most ...
_END_SIDES = 0.25  # ... and of a line end: its central half holds the tip
_FARTHEST = 48.0  # px from a corner that are looked at
_RADII = np.arange(0.0, 40.25, 0.25)  # px, candidates of r
_LEAST_CORNERS, _LEAST_OF_BIN, _LEAST_BINS = 2, 4, 5
KINDS = {CONVEX: "convex", CONCAVE: "concave", LINE_END: "line_end"}


@dataclass(frozen=True)
class Rounding:
    """Corners of one kind: ``radius`` of the printed arc, ``begin`` p of the printed corner along the design edge,
    lengths, over ``corners`` corners."""

    radius: float
    begin: float
    corners: int


@dataclass(frozen=True)
class Zone:
    """How far from a corner the edges do not count: ``reach`` by kind of corner; ``source``: ``stated``, ``estimated``
    (from ``rounding`` by kind) or ``edge_width`` where no corner could be judged. A stated zone holds everywhere, an
    estimated one leaves the middle of short edges."""

    reach: tuple[float, float, float]
    source: str
    rounding: tuple[Rounding | None, Rounding | None, Rounding | None] = (None, None, None)

    @classmethod
    def stated(cls, corner: float) -> Zone:
        return cls((corner,) * 3, "stated")

    @classmethod
    def of_width(cls, width: float, px: float) -> Zone:
        """What the beam alone rounds: ``width`` of the edge in px."""
        return cls((px * max(LEAST, WIDTHS * width),) * 3, "edge_width")

    @property
    def longest(self) -> float:
        return max(self.reach)

    def outside(self, matches: Matches, edges: Edges) -> np.ndarray:
        """(n,) whether a vertex lies on an edge of the design, farther from its corners than the zone."""
        edge = np.maximum(matches.edge, 0)
        reach = np.array(self.reach)[matches.corner]
        if self.source != "stated":
            share = np.where(edges.line_end[edge], _END_SIDES, _SIDES)
            reach = np.minimum(reach, share * edges.length[edge])
        result: np.ndarray = (matches.edge >= 0) & (matches.from_corner > reach)
        return result

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "kinds": {
                name: {
                    "reach": self.reach[k],
                    **({} if (found := self.rounding[k]) is None else
                       {"radius": found.radius, "begin": found.begin, "corners": found.corners}),
                }
                for k, name in KINDS.items()
            },
        }  # fmt: skip


def estimated(matches: Matches, edges: Edges, first: Zone, width: float, px: float) -> Zone:
    """The zone from the contours, registered with the zone ``first`` of the beam alone; never less than that."""
    rounding = [rounding_of(matches, edges, first, kind, px) for kind in KINDS]
    if all(r is None for r in rounding):
        return first
    seen = [
        None if r is None else max(first.reach[k], r.begin + r.radius + _BEYOND * width * px)
        for k, r in enumerate(rounding)
    ]
    most = max(s for s in seen if s is not None)
    reach = [most if s is None else s for s in seen]  # a kind that cannot be judged is as wide as the widest
    return Zone((reach[0], reach[1], reach[2]), "estimated", (rounding[0], rounding[1], rounding[2]))


def rounding_of(matches: Matches, edges: Edges, first: Zone, kind: int, px: float) -> Rounding | None:
    """Arc at the corners of a kind; None where too few lie in the image."""
    edge = np.maximum(matches.edge, 0)
    on = (matches.edge >= 0) & ~edges.line_end[edge] & np.isfinite(matches.epe)
    far = on & (matches.from_corner > first.longest)
    near = on & (matches.corner == kind) & (matches.from_corner < np.minimum(_FARTHEST * px, 0.5 * edges.length[edge]))
    corners = np.unique(matches.corner_number[near]).size
    if corners < _LEAST_CORNERS or far.sum() < _LEAST_OF_BIN:
        return None
    offset = float(np.median(matches.epe[far]))
    sign = 1.0 if kind == CONCAVE else -1.0
    begin = sign * offset
    if kind == LINE_END:
        inner = (matches.edge >= 0) & edges.line_end[edge] & (matches.from_corner > _END_SIDES * edges.length[edge])
        if inner.any():
            begin = -float(np.median(matches.epe[inner]))
    inward = sign * (matches.epe[near] - offset) / px
    at = matches.from_corner[near] / px
    bins = np.floor(at).astype(np.int64)
    t, depth, weight = [], [], []
    for b in np.unique(bins):
        mine = bins == b
        if (count := int(mine.sum())) >= _LEAST_OF_BIN:
            t.append(float(np.median(at[mine])))
            depth.append(float(np.median(inward[mine])))
            weight.append(count**0.5)
    if len(t) < _LEAST_BINS:
        return None
    r = _RADII[:, None]
    rest = np.clip(r - (np.array(t) - begin / px), 0.0, r)
    arc = r - np.sqrt(np.maximum(r * r - rest * rest, 0.0))
    cost = np.abs(arc - np.array(depth)) @ np.array(weight)
    return Rounding(float(_RADII[int(np.argmin(cost))]) * px, begin, corners)
