"""The linear program of one minimax step for any rows: the door of Python to the exchange method."""

from __future__ import annotations

import numpy as np

from metrology_core._jit import kernel
from metrology_core.kernels.minimax_lp import lp_exchange


@kernel
def minimax_step(at, c, box, basis, multipliers, z):  # type: ignore[no-untyped-def]
    """min h with |c_i + a_i.x| <= h, |x_j| <= box_j: basis codes, multipliers, z (x, then h); returns its status."""
    nf, m = at.shape
    return lp_exchange(at, c, m, nf, True, True, box, basis, multipliers, z, np.empty(m))
