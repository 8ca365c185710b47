"""Which form of a full circle enters its fit: aliasing of lobes on equally spaced points, exactly.

A k-lobe radial form ``a cos(k theta - phase)``, seen at n angles ``theta_0 + 2 pi j / n``, enters the radius of the
least-squares circle where k is a multiple of n, its centre where k is 1 more or less than one; elsewhere not at all
(first order in a / radius). A sampling strategy is judged by which lobes it lets through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from metrology_core.errors import ParameterError


@dataclass(frozen=True)
class LobeAlias:
    """Effect on the least-squares circle, in the unit of the amplitude: ``radius``, ``x`` and ``y`` of the centre."""

    radius: float
    x: float
    y: float


def lobe_alias(points: int, lobes: int, amplitude: float = 1.0, phase: float = 0.0, start: float = 0.0) -> LobeAlias:
    """Change of the least-squares circle by ``amplitude cos(lobes theta - phase)`` on ``points`` equal steps from the
    angle ``start`` (rad). Raises `ParameterError` for fewer than 3 points or a negative number of lobes."""
    if points < 3 or int(points) != points:
        raise ParameterError("a circle needs at least 3 points", got=repr(points))
    if lobes < 0 or int(lobes) != lobes:
        raise ParameterError("the number of lobes is a whole number", expected=">= 0", got=repr(lobes))
    m = lobes % points
    # the sum of cos(k theta_j - phase) over the points is n cos(k start - phase) for k = 0 mod n, else 0
    radius = amplitude * math.cos(lobes * start - phase) if m == 0 else 0.0
    x = y = 0.0
    if m == 1:  # (2/n) sum form(theta) cos(theta): the difference of the two angles stays
        x += amplitude * math.cos((lobes - 1) * start - phase)
        y -= amplitude * math.sin((lobes - 1) * start - phase)
    if (lobes + 1) % points == 0:
        x += amplitude * math.cos((lobes + 1) * start - phase)
        y += amplitude * math.sin((lobes + 1) * start - phase)
    return LobeAlias(radius, x, y)
