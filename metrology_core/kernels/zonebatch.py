"""Zones of very many simulated surfaces over one set of places: one linear program each (`minimax_lp`)."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.minimax_lp import LP_OPTIMAL, lp_exchange


@kernel
def zones(surfaces, rows, box, plus, minus, start, stop, out):  # type: ignore[no-untyped-def]
    """min over x of the largest of ``+- (surface + rows' x)``, for surfaces (draws, m) start to stop.

    rows (nf, m); out (draws, nf + 1): x and the smallest h, all NaN where no solution was found.
    """
    nf, m = rows.shape
    basis = np.empty(nf + 1, np.int64)
    mult = np.empty(nf + 1)
    z = np.empty(nf + 1)
    t = np.empty(m)
    c = np.empty(m)
    for i in range(start, stop):
        scale = 0.0
        for k in range(m):
            scale = max(scale, abs(surfaces[i, k]))
        if scale == 0.0:
            scale = 1.0
        for k in range(m):
            c[k] = surfaces[i, k] / scale
        state = lp_exchange(rows, c, m, nf, plus, minus, box, basis, mult, z, t)
        for k in range(nf + 1):
            out[i, k] = z[k] * scale if state == LP_OPTIMAL else np.nan
