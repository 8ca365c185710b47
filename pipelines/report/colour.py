"""Colours of deviations: bands anchored at the tolerance, told apart with any kind of colour vision.

Diverging and monotonic in lightness on each side (after Crameri, Nature Communications 11 (2020) 5444): blue is less
material than nominal, ochre more; beyond the limits violet and red, hatched as well, because colour is never the only
sign. Grey-white is |deviation| < U: not distinguishable from zero. The edges are shares of the tolerance on each side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EDGES = (0.25, 0.5, 0.75, 1.0)
BELOW = "#2a0a5c"
NEGATIVE = ("#bcd6e4", "#84b4cf", "#3d84b0", "#164a80")  # from zero towards the lower limit
NEUTRAL = "#ebebe6"
POSITIVE = ("#f4d3a8", "#e6a860", "#c27a2c", "#8a5210")  # from zero towards the upper limit
ABOVE = "#8e0022"
NO_LIMIT = "#c3b8cf"
NO_DATA = "#a4adb5"  # the nominal where nothing was measured
HATCH = "#ffd9b8"  # stripes on what lies beyond a limit
GUARD = "#ffffff"  # thin stripes the other way, on what lies nearer to a limit than its U

# Index of a band = its place here; the viewer and the picture share this order.
BANDS = (BELOW, *reversed(NEGATIVE), NEUTRAL, *POSITIVE, ABOVE, NO_LIMIT)
N_BELOW, N_NEUTRAL, N_ABOVE, N_NO_LIMIT = 0, 5, 10, 11


def rgb(colour: str) -> NDArray[np.float64]:
    """sRGB components 0..255 of ``#rrggbb``."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)


def shares(value: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviation as a share of the limit on its own side: +1 at the upper limit, -1 at the lower; NaN without limit.

    A limit of zero on a side makes any deviation to that side lie beyond it. Where both limits lie on one side of zero
    the zone's middle takes the place of zero: share = (deviation - middle) / half width.
    """
    middle = np.where((lower > 0.0) | (upper < 0.0), 0.5 * (lower + upper), 0.0)
    v, lo, up = value - middle, lower - middle, upper - middle
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(up > 0.0, v / up, np.where(v > 0.0, np.inf, 0.0))
        negative = np.where(lo < 0.0, -v / lo, np.where(v < 0.0, -np.inf, 0.0))
    out = np.where(v >= 0.0, positive, negative)
    return np.where(np.isnan(lower) | np.isnan(upper), np.nan, out)


def band_index(
    share: NDArray[np.float64], value: NDArray[np.float64], expanded: float | NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Band of each point; ``expanded`` is U, one or one each. Beyond a limit wins over "not distinguishable from
    zero"."""
    magnitude = np.abs(share)
    step = np.searchsorted(np.asarray(EDGES[:-1]), magnitude, side="right")  # 0..3
    band = np.where(share < 0.0, N_NEUTRAL - 1 - step, N_NEUTRAL + 1 + step)
    band = np.where(np.abs(value) < expanded, N_NEUTRAL, band)
    band = np.where(magnitude > 1.0, np.where(share > 0.0, N_ABOVE, N_BELOW), band)
    return np.where(np.isnan(share), N_NO_LIMIT, band).astype(np.uint8)


def margins(value: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance inside the nearer limit, negative beyond it; infinite where no limit is stated.

    Points with |margin| < U lie in the guard band T -+ U (ISO 14253-1): neither side of the limit is proved for them.
    """
    out = np.minimum(upper - value, value - lower)
    return np.where(np.isnan(out), np.inf, out)
