"""Forms that are sums of few modes: waves up to a wave number, and lobes or polynomials times polynomials.

Two kinds of form that no Matern field is. Machined surfaces are often *waves up to some wave number* and none beyond:
the smoothest Matern field, the Gaussian, leaves so much beyond that the surface between the rows of a bore becomes too
uncertain. Taper, barrel, bend, twist and bow are *polynomials* along a feature (times lobes round it), as in
R. P. Henke et al., Precision Engineering 23 (1999) 273: they rise towards the edges, as no stationary field does.

A surface is unrolled into a direction along (the axis of a cylinder, the longest extent of a plane) and one across.
Modes are products of functions of one of them; a form gives each an independent coefficient, whose variance falls with
the wave numbers w along and across: ``exp(-((w_across length)^2 + (w_along stretch length)^2)^(q/2) / 2)``, q = 8 for
waves, 2 for polynomials, where a Legendre polynomial of degree d counts as the wave number pi d / extent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.features.base import basis

WAVES, POLYNOMIALS = "waves", "polynomials"
_STEEP = {WAVES: 8.0, POLYNOMIALS: 2.0}
_NEGLIGIBLE = 1e-6  # variance of a mode, relative to the largest, below which it is left out
_APART = 3.0  # waves repeat after so many extents: correlations do not reach round


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Places along and across (N,) each, in the unit of the points; ``turn``: circumference, or 0 where no way leads
    round. ``extents`` (across, along)."""

    across: np.ndarray
    along: np.ndarray
    turn: float

    @property
    def extents(self) -> tuple[float, float]:
        return self.turn or float(np.ptp(self.across)), float(np.ptp(self.along))

    @property
    def scale(self) -> float:
        """Length across of wave number 1 of a polynomial, of one lobe round: lengths of polynomials are parts of it."""
        return self.turn / (2.0 * math.pi) if self.turn else self.extents[0] / math.pi


def unrolled(feature: Any, xyz: np.ndarray, direction: np.ndarray) -> Unrolled | None:
    """A plane or cylinder unrolled along ``direction``; None where it has no extent in one of the two."""
    turn = 0.0
    if feature.kind == "cylinder":
        u, v = basis(direction)
        y = xyz - feature.point
        angle = np.mod(np.arctan2(y @ v, y @ u), 2.0 * math.pi)
        order = np.sort(angle)
        gaps = np.diff(order, append=order[0] + 2.0 * math.pi)
        widest = int(np.argmax(gaps))
        radius = float(feature.radius)
        if gaps[widest] >= math.pi - 1e-9:  # as `surfaces.coordinates`: a sector is a strip
            first = order[(widest + 1) % len(order)]
            angle = np.mod(angle - first + 1e-12, 2.0 * math.pi)
        else:
            turn = 2.0 * math.pi * radius
        across, along = radius * angle, y @ direction
    else:
        centred = xyz - feature.point
        across, along = centred @ np.cross(feature.normal, direction), centred @ direction
    found = Unrolled(across, along, turn)
    return found if min(found.extents) > 1e-6 * max(found.extents) else None


class Modes:
    """Modes of one family over all places: columns and wave numbers along and across, as far as lengths ask for.

    ``shortest`` (across, along): the shortest lengths that are asked for later.
    """

    def __init__(self, family: str, surface: Unrolled, shortest: tuple[float, float]) -> None:
        self.steep = _STEEP[family]
        # exp(-(w length)^q / 2) = negligible
        reach = (-2.0 * math.log(_NEGLIGIBLE)) ** (1.0 / self.steep)
        parts = []
        for x, extent, turn, length in (
            (surface.across, surface.extents[0], surface.turn, shortest[0]),
            (surface.along, surface.extents[1], 0.0, shortest[1]),
        ):
            if turn or family == WAVES:
                parts.append(_cosines(x, turn or _APART * extent, reach / length))
            else:
                parts.append(_legendre(x, extent, reach / length))
        (self.across, self.across_waves), (self.along, self.along_waves) = parts

    def of(
        self, length: float, stretch: float, rows: np.ndarray | slice = slice(None)
    ) -> tuple[np.ndarray, np.ndarray]:
        """Modes (N, k) at ``rows`` of the places and variances (k,) of a form with this length across and ``stretch``
        times that along."""
        waves = (self.across_waves[:, None] * length) ** 2 + (self.along_waves * (stretch * length)) ** 2
        variance = np.exp(-0.5 * waves ** (self.steep / 2.0))
        i, j = np.nonzero(variance > _NEGLIGIBLE)
        return self.across[rows][:, i] * self.along[rows][:, j], variance[i, j]


def _cosines(x: np.ndarray, period: float, top: float) -> tuple[np.ndarray, np.ndarray]:
    """1, and cosine and sine of unit mean square, of every whole number of waves in the period up to wave number top"""
    k = np.arange(1, int(top * period / (2.0 * math.pi)) + 1) * (2.0 * math.pi / period)
    angle = np.outer(x - x.min(), k)
    columns = [np.ones((len(x), 1)), math.sqrt(2.0) * np.cos(angle), math.sqrt(2.0) * np.sin(angle)]
    return np.concatenate(columns, axis=1), np.concatenate([[0.0], k, k])


def _legendre(x: np.ndarray, extent: float, top: float) -> tuple[np.ndarray, np.ndarray]:
    """Legendre polynomials of unit mean square over the extent."""
    from numpy.polynomial.legendre import legvander

    degree = np.arange(int(top * extent / math.pi) + 1)
    t = np.clip(2.0 * (x - x.min()) / extent - 1.0, -1.0, 1.0)
    return legvander(t, int(degree[-1])) * np.sqrt(2.0 * degree + 1.0), degree * (math.pi / extent)
