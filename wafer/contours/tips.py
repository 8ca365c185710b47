"""Line ends: pull-back and tip-to-tip from the found contours.

The place of a tip is where the contour crosses the axis of the design line: the value there of the least-squares
parabola through the contour over the central half of the end. It is linear in the vertices, so that noise propagates
exactly, and does not seek the outermost vertex, which noise would push outward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.contours.design import Edges
from wafer.contours.registration import Registration
from wafer.contours.trace import Trace

CENTRAL = 0.25  # of the width to either side of the axis
LEAST = 5  # vertices that a parabola needs
NARROW = "the end is too narrow for its contour"
_FACING = 0.4
_OPPOSITE = -0.98


@dataclass(frozen=True, eq=False)
class Tip:
    """The end of a design line in the image.

    ``edge`` index of the design edge; ``place`` (2,) its middle and ``axis`` (2,) unit vector outward, in lengths from
    the middle of the image (y down); ``width`` of the end; ``excess`` of the contour beyond the design on the axis
    (negative: pulled back) or NaN with the ``reason``; ``row`` (n,) its change per change of each vertex's edge, place
    of the design fixed; ``motion`` (6,) its change per change of the registration.
    """

    edge: int
    place: np.ndarray
    axis: np.ndarray
    width: float
    excess: float
    reason: str
    row: np.ndarray
    motion: np.ndarray


@dataclass(frozen=True)
class Gap:
    """Two tips that face each other: numbers of the tips, the ``design`` distance."""

    one: int
    other: int
    design: float


def find_tips(
    trace: Trace, edges: Edges, rows: np.ndarray, found: Registration, place: np.ndarray, normal: np.ndarray,
    pixel: tuple[float, float], size: tuple[float, float], limit: float,
) -> list[Tip]:  # fmt: skip
    """All line ends of the design whose end lies within the image (``size`` in lengths). ``limit`` as for edges."""
    result = []
    good = trace.state == 0
    margin = 12.0 * max(pixel)
    for e in np.flatnonzero(edges.line_end):
        middle = 0.5 * (rows[e, 0:2] + rows[e, 2:4])
        if abs(middle[0]) > 0.5 * size[0] - margin or abs(middle[1]) > 0.5 * size[1] - margin:
            continue
        axis = rows[e, 4:6]
        width = float(np.hypot(*(rows[e, 2:4] - rows[e, 0:2])))
        relative = place - middle
        along, across = relative @ axis, -relative[:, 0] * axis[1] + relative[:, 1] * axis[0]
        with np.errstate(invalid="ignore"):
            mine = np.flatnonzero(
                good & (np.abs(across) <= CENTRAL * width) & (np.abs(along) < limit) & (normal @ axis > _FACING)
            )
        row, motion = np.zeros(len(place)), np.zeros(6)
        middle_place = middle - found.values[:2]
        motion[:4] = (-axis[0], -axis[1], -(axis[0] * middle_place[1] - axis[1] * middle_place[0]),
                      -float(axis @ middle_place))  # fmt: skip
        reason = ""
        contours = np.unique(trace.seeds.contour[mine])
        if mine.size < LEAST:
            reason = "no contour near the end" if not mine.size else NARROW
        elif contours.size > 1:
            reason = "several contours near the end"
        if reason:
            result.append(Tip(int(e), middle, axis, width, math.nan, reason, row, motion))
            continue
        s = across[mine] / (CENTRAL * width)
        inverse = np.linalg.pinv(np.column_stack((np.ones_like(s), s, s * s)))
        gain = trace.seeds.ux[mine] * pixel[0] * axis[0] + trace.seeds.uy[mine] * pixel[1] * axis[1]
        row[mine] = inverse[0] * gain
        result.append(Tip(int(e), middle, axis, width, float(inverse[0] @ along[mine]), "", row, motion))
    return result


def find_gaps(tips: list[Tip]) -> list[Gap]:
    """Pairs of tips that face each other along one axis, each with the nearest one ahead of it."""
    found: list[Gap] = []
    for i, tip in enumerate(tips):
        best, partner = math.inf, -1
        for j, other in enumerate(tips):
            if j == i or float(tip.axis @ other.axis) > _OPPOSITE:
                continue
            ahead = other.place - tip.place
            along = float(ahead @ tip.axis)
            across = abs(-ahead[0] * tip.axis[1] + ahead[1] * tip.axis[0])
            if 0.0 < along < best and across < 0.25 * min(tip.width, other.width):
                best, partner = along, j
        if partner > i or (partner >= 0 and partner < i and not any(g.one == partner and g.other == i for g in found)):
            found.append(Gap(i, partner, best))
    return found
