"""Zones of very many simulated surfaces over one set of places: one linear program each (`minimax_lp`)."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.minimax_lp import LP_OPTIMAL, lp_exchange


@kernel
def zones(surfaces, rows, box, plus, minus, start, stop, out):  # type: ignore[no-untyped-def]
    """min over x of the largest of ``+- (surface + rows' x)``, for surfaces (draws, m) start to stop.

    rows (nf, m); out (draws, nf + 1): x and the smallest h, all NaN where no solution was found. On regular places
    multipliers vanish, and the exchange, which goes by their ratios, may run in circles (1 of 10 000 to 60 000 smooth
    surfaces). Then rows are changed by less than a billionth of the largest, each by another part of it, so that none
    vanishes (Charnes, Econometrica 20 (1952) 160), and h moves by no more than that times the sum of ``|x|``.
    """
    nf, m = rows.shape
    basis = np.empty(nf + 1, np.int64)
    mult = np.empty(nf + 1)
    z = np.empty(nf + 1)
    t = np.empty(m)
    c = np.empty(m)
    moved = np.empty((nf, m))
    for i in range(start, stop):
        scale = 0.0
        for k in range(m):
            scale = max(scale, abs(surfaces[i, k]))
        if scale == 0.0:
            scale = 1.0
        for k in range(m):
            c[k] = surfaces[i, k] / scale
        state = lp_exchange(rows, c, m, nf, plus, minus, box, basis, mult, z, t)
        for attempt in range(1, 4):
            if state == LP_OPTIMAL:
                break
            for j in range(nf):
                for k in range(m):  # multiples of the golden section: no two alike
                    part = (j * m + k + 1) * 0.6180339887498949 * attempt
                    moved[j, k] = rows[j, k] + 1e-9 * (part - np.floor(part) - 0.5)
            state = lp_exchange(moved, c, m, nf, plus, minus, box, basis, mult, z, t)
        for k in range(nf + 1):
            out[i, k] = z[k] * scale if state == LP_OPTIMAL else np.nan
